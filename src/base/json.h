/* json.h - a JSON document as an array of nodes. Strict RFC 8259, UTF-8 checked, no recursion (depth at most 64),
 * numbers parsed without the locale. All memory is one qn_alloc block of at most about 23 times the text (5 times for a
 * tokenizer.json). Duplicate keys: the last wins. Lookups walk the members of one object: walk large ones yourself. A
 * \u escape that is half of a surrogate pair is malformed. */
#ifndef QN_JSON_H
#define QN_JSON_H
#include "base/env.h"

typedef enum qn_json_kind {
  QN_JSON_NULL,
  QN_JSON_FALSE,
  QN_JSON_TRUE,
  QN_JSON_NUMBER,
  QN_JSON_STRING,
  QN_JSON_ARRAY,
  QN_JSON_OBJECT
} qn_json_kind;

/* Node i. Children of a container follow it; `next` is the index just past the node and all below it. In an object,
   each member is a string node (the key) followed by the value. */
typedef struct qn_json_node {
  qn_json_kind kind;
  uint32_t next;
  uint32_t count;     /* children of an array, members of an object */
  uint32_t bytes;     /* of a string, unescaped; it is also NUL-terminated */
  const char *string; /* unescaped UTF-8 (may contain NUL) */
  double number;
} qn_json_node;

typedef struct qn_json {
  qn_json_node *nodes;
  uint32_t count;
  size_t bytes; /* of the block */
} qn_json;

/* name: for messages ("config.json: line 3: ..."). Fails with QUERN_E_SOURCE. */
quern_status qn_json_parse(qn_json *out, qn_env *env, const char *name, const void *text, size_t bytes);
void qn_json_free(qn_env *env, qn_json *j);
/* The value of a key in object node i, as a node index; 0 when i is no object or has no such key (node 0 is the root).
 */
uint32_t qn_json_get(const qn_json *j, uint32_t i, const char *key);
/* Like get, with a path of keys separated by dots: "model.vocab". */
uint32_t qn_json_path(const qn_json *j, uint32_t i, const char *path);
/* Typed reads of a member with a default; a value of another type gives the default. Integers must be exact and in
 * range. */
int64_t qn_json_int(const qn_json *j, uint32_t i, const char *key, int64_t otherwise);
double qn_json_number(const qn_json *j, uint32_t i, const char *key, double otherwise);
int qn_json_bool(const qn_json *j, uint32_t i, const char *key, int otherwise);
const char *qn_json_string(const qn_json *j, uint32_t i, const char *key, const char *otherwise);

/* Decimal text to double, correctly rounded for up to 19 digits. Returns bytes used, 0: no number. */
size_t qn_parse_number(const char *p, size_t bytes, double *out);
/* The other way: v rounded to the fewest digits that read back to it: "0.1", "-3", "1.5e300"; "nan", "inf", "-inf". As
 * qn_format: terminated, the length returned; 32 bytes suffice. */
size_t qn_format_number(char *buf, size_t cap, double v);
#endif
