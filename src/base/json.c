/* json.c - JSON text to an array of nodes, in two passes: one counts, one builds in a single block.
 * Not a writer, not an index: lookups walk the members. Invariant: node i's children are nodes i+1 ... next-1, in text
 * order, so that a subtree is skipped in one step. Thread rule: a parsed document is read-only. */
#include "base/json.h"
#include "base/checked.h"
#include "base/utf8.h"
#include <string.h>

#define JSON_DEPTH 64

typedef struct json_parser {
  qn_env *env;
  const char *name;
  const uint8_t *p; /* the text */
  size_t bytes, at;
  qn_json_node *nodes;
  uint32_t count, cap;
  char *strings; /* where the next string goes */
} json_parser;

static quern_status json_fail(const json_parser *j, const char *what) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < j->at && i < j->bytes; i++) {
    column++;
    if (j->p[i] == '\n') line++, column = 1;
  }
  return qn_fail(&j->env->error, QUERN_E_SOURCE, "%s: line %zu, column %zu: %s", j->name, line, column, what);
}

/* An upper bound on the nodes of a text: outside of strings, every value and key but the first follows one of these.
 * Exact but for empty containers when the text is valid; json_node checks it when not. Two nodes in three bytes ("[],")
 * is the most there can be, as counting stops where parsing will: nested too deeply. */
static size_t json_count(const uint8_t *p, size_t bytes) {
  size_t n = 1, depth = 0;
  for (size_t i = 0; i < bytes; i++) {
    switch (p[i]) {
      case ',':
      case ':':
        n++;
        break;
      case '[':
      case '{':
        n++;
        if (++depth > JSON_DEPTH) return n;
        break;
      case ']':
      case '}':
        depth -= depth > 0;
        break;
      case '"':
        for (i++; i < bytes && p[i] != '"'; i++) i += p[i] == '\\';
        break;
      default:
        break;
    }
  }
  return n;
}

static void json_space(json_parser *j) {
  while (j->at < j->bytes) {
    uint8_t c = j->p[j->at];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') break;
    j->at++;
  }
}

/* The byte at hand, 0 at the end (a NUL in the text is no valid token either). */
static uint8_t json_peek(const json_parser *j) { return j->at < j->bytes ? j->p[j->at] : 0; }

/* NULL when the bound was wrong, which only a malformed text can do. */
static qn_json_node *json_node(json_parser *j, qn_json_kind kind) {
  if (j->count == j->cap) return NULL;
  qn_json_node *n = &j->nodes[j->count++];
  *n = (qn_json_node){.kind = kind, .next = j->count};
  return n;
}

static int json_hex4(json_parser *j, uint32_t *out) {
  uint32_t v = 0;
  if (j->bytes - j->at < 4) return 0;
  for (int i = 0; i < 4; i++) {
    uint8_t c = j->p[j->at + (size_t)i];
    uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)c - '0'
                     : c >= 'a' && c <= 'f' ? (uint32_t)c - 'a' + 10
                     : c >= 'A' && c <= 'F' ? (uint32_t)c - 'A' + 10
                                            : 16;
    if (digit > 15) return 0;
    v = v << 4 | digit;
  }
  j->at += 4;
  *out = v;
  return 1;
}

/* Behind a backslash. Writes at most as many bytes as the escape has. */
static quern_status json_escape(json_parser *j, char **to) {
  uint8_t c = json_peek(j);
  static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
  const char *simple = c ? strchr(from, c) : NULL;
  if (simple) {
    j->at++;
    *(*to)++ = into[simple - from];
    return QUERN_OK;
  }
  uint32_t cp, low;
  if (c != 'u') return json_fail(j, "an escape that JSON does not have");
  j->at++;
  if (!json_hex4(j, &cp)) return json_fail(j, "\\u needs four hexadecimal digits");
  if (cp >= 0xD800 && cp <= 0xDFFF) {
    int pair = cp <= 0xDBFF && j->bytes - j->at >= 6 && j->p[j->at] == '\\' && j->p[j->at + 1] == 'u';
    if (pair) j->at += 2;
    if (!pair || !json_hex4(j, &low) || low < 0xDC00 || low > 0xDFFF)
      return json_fail(j, "half of a surrogate pair stands alone");
    cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
  }
  *to += qn_utf8_encode(cp, (uint8_t *)*to);
  return QUERN_OK;
}

static int json_is_plain(uint8_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

static quern_status json_string(json_parser *j) {
  qn_json_node *n = json_node(j, QN_JSON_STRING);
  if (!n) return json_fail(j, "malformed");
  char *to = j->strings;
  n->string = to;
  j->at++;
  for (;;) {
    size_t plain = j->at;
    while (plain < j->bytes && json_is_plain(j->p[plain])) plain++;
    memcpy(to, j->p + j->at, plain - j->at);
    to += plain - j->at;
    j->at = plain;
    if (j->at == j->bytes) return json_fail(j, "a string that does not end");
    uint8_t c = j->p[j->at];
    if (c == '"') break;
    if (c == '\\') {
      j->at++;
      QN_TRY(json_escape(j, &to));
    } else if (c < 0x20) {
      return json_fail(j, "a control character in a string");
    } else {
      uint32_t used, cp = qn_utf8_decode(j->p + j->at, j->bytes - j->at, &used);
      /* U+FFFD itself is EF BF BD; anything else that decodes to it is malformed. */
      if (cp == QN_REPLACEMENT && !(used == 3 && c == 0xEF)) return json_fail(j, "malformed UTF-8");
      memcpy(to, j->p + j->at, used);
      to += used;
      j->at += used;
    }
  }
  j->at++;
  n->bytes = (uint32_t)(to - n->string);
  *to++ = 0;
  j->strings = to;
  return QUERN_OK;
}

static size_t json_digits(const json_parser *j, size_t at) {
  size_t i = at;
  while (i < j->bytes && j->p[i] >= '0' && j->p[i] <= '9') i++;
  return i - at;
}

static quern_status json_number(json_parser *j) {
  size_t i = j->at, digits;
  if (j->p[i] == '-') i++;
  digits = json_digits(j, i);
  if (!digits || (digits > 1 && j->p[i] == '0')) return json_fail(j, "malformed number");
  i += digits;
  if (i < j->bytes && j->p[i] == '.') {
    digits = json_digits(j, ++i);
    if (!digits) return json_fail(j, "malformed number");
    i += digits;
  }
  if (i < j->bytes && (j->p[i] == 'e' || j->p[i] == 'E')) {
    i++;
    if (i < j->bytes && (j->p[i] == '-' || j->p[i] == '+')) i++;
    digits = json_digits(j, i);
    if (!digits) return json_fail(j, "malformed number");
    i += digits;
  }
  qn_json_node *n = json_node(j, QN_JSON_NUMBER);
  if (!n) return json_fail(j, "malformed");
  qn_parse_number((const char *)j->p + j->at, i - j->at, &n->number);
  if (n->number - n->number != 0) return json_fail(j, "a number beyond the range of a double");
  j->at = i;
  return QUERN_OK;
}

static quern_status json_literal(json_parser *j, const char *word, qn_json_kind kind) {
  size_t n = strlen(word);
  if (j->bytes - j->at < n || memcmp(j->p + j->at, word, n)) return json_fail(j, "no JSON value");
  if (!json_node(j, kind)) return json_fail(j, "malformed");
  j->at += n;
  return QUERN_OK;
}

/* A string, number or literal. */
static quern_status json_scalar(json_parser *j) {
  switch (json_peek(j)) {
    case '"':
      return json_string(j);
    case 't':
      return json_literal(j, "true", QN_JSON_TRUE);
    case 'f':
      return json_literal(j, "false", QN_JSON_FALSE);
    case 'n':
      return json_literal(j, "null", QN_JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
      return json_number(j);
    default:
      return json_fail(j, j->at == j->bytes ? "the text ends too early" : "no JSON value");
  }
}

/* "key" : */
static quern_status json_key(json_parser *j) {
  json_space(j);
  if (json_peek(j) != '"') return json_fail(j, "a member's name is missing");
  QN_TRY(json_string(j));
  json_space(j);
  if (json_peek(j) != ':') return json_fail(j, "':' is missing");
  j->at++;
  return QUERN_OK;
}

static quern_status json_document(json_parser *j) {
  uint32_t open[JSON_DEPTH]; /* containers around the place at hand */
  uint32_t depth = 0;
  for (;;) {
    /* A value is due. */
    json_space(j);
    uint8_t c = json_peek(j);
    int opened = c == '{' || c == '[';
    if (opened) {
      if (depth == JSON_DEPTH) return json_fail(j, "nested too deeply");
      if (!json_node(j, c == '{' ? QN_JSON_OBJECT : QN_JSON_ARRAY)) return json_fail(j, "malformed");
      open[depth++] = j->count - 1;
      j->at++;
      json_space(j);
      if (json_peek(j) != (c == '{' ? '}' : ']')) {
        if (c == '{') QN_TRY(json_key(j));
        continue;
      }
    } else {
      QN_TRY(json_scalar(j));
      if (depth) j->nodes[open[depth - 1]].count++;
    }
    /* A value is complete, or an empty container stands before its end: close what ends here. */
    for (;;) {
      if (!depth) {
        json_space(j);
        return j->at == j->bytes ? QUERN_OK : json_fail(j, "text behind the value");
      }
      qn_json_node *top = &j->nodes[open[depth - 1]];
      json_space(j);
      c = json_peek(j);
      if (c == ',' && !opened) {
        j->at++;
        if (top->kind == QN_JSON_OBJECT) QN_TRY(json_key(j));
        break;
      }
      if (c != (top->kind == QN_JSON_OBJECT ? '}' : ']'))
        return json_fail(j, j->at == j->bytes             ? "the text ends too early"
                            : top->kind == QN_JSON_OBJECT ? "',' or '}' is missing"
                                                          : "',' or ']' is missing");
      j->at++;
      top->next = j->count;
      opened = 0;
      if (--depth) j->nodes[open[depth - 1]].count++;
    }
  }
}

quern_status qn_json_parse(qn_json *out, qn_env *env, const char *name, const void *text, size_t bytes) {
  json_parser j = {.env = env, .name = name, .p = text, .bytes = bytes};
  *out = (qn_json){NULL, 0, 0};
  if (bytes >= UINT32_MAX)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: %zu bytes are too many for a JSON file", name, bytes);
  size_t cap = json_count(text, bytes), block;
  /* Strings lose their quotes and gain a NUL: they never take more than the text does. */
  if (!qn_mul_size(cap, sizeof(qn_json_node), &block) || !qn_add_size(block, bytes, &block))
    return qn_fail(&env->error, QUERN_E_MEMORY, "%s: out of memory", name);
  void *memory;
  QN_TRY(qn_alloc(env, &memory, block, name));
  j.nodes = memory;
  j.cap = (uint32_t)cap; /* <= bytes + 1 */
  j.strings = (char *)memory + cap * sizeof(qn_json_node);
  quern_status status = json_document(&j);
  if (status != QUERN_OK) {
    qn_free(env, memory, block);
    return status;
  }
  *out = (qn_json){j.nodes, j.count, block};
  return QUERN_OK;
}

void qn_json_free(qn_env *env, qn_json *j) {
  qn_free(env, j->nodes, j->bytes);
  *j = (qn_json){NULL, 0, 0};
}

static uint32_t json_member(const qn_json *j, uint32_t i, const char *key, size_t key_bytes) {
  uint32_t found = 0;
  if (i >= j->count || j->nodes[i].kind != QN_JSON_OBJECT) return 0;
  for (uint32_t k = i + 1; k < j->nodes[i].next; k = j->nodes[k + 1].next) {
    const qn_json_node *name = &j->nodes[k];
    if (name->bytes == key_bytes && !memcmp(name->string, key, key_bytes)) found = k + 1;
  }
  return found;
}

uint32_t qn_json_get(const qn_json *j, uint32_t i, const char *key) { return json_member(j, i, key, strlen(key)); }

uint32_t qn_json_path(const qn_json *j, uint32_t i, const char *path) {
  for (;;) {
    size_t n = strcspn(path, ".");
    i = json_member(j, i, path, n);
    if (!i || !path[n]) return i;
    path += n + 1;
  }
}

double qn_json_number(const qn_json *j, uint32_t i, const char *key, double otherwise) {
  uint32_t k = qn_json_get(j, i, key);
  return k && j->nodes[k].kind == QN_JSON_NUMBER ? j->nodes[k].number : otherwise;
}

int64_t qn_json_int(const qn_json *j, uint32_t i, const char *key, int64_t otherwise) {
  const double exact = 9007199254740992.0; /* 2^53: beyond it neighbours are lost */
  uint32_t k = qn_json_get(j, i, key);
  if (!k || j->nodes[k].kind != QN_JSON_NUMBER) return otherwise;
  double d = j->nodes[k].number;
  if (!(d >= -exact && d <= exact) || d != (double)(int64_t)d) return otherwise;
  return (int64_t)d;
}

int qn_json_bool(const qn_json *j, uint32_t i, const char *key, int otherwise) {
  uint32_t k = qn_json_get(j, i, key);
  if (!k) return otherwise;
  return j->nodes[k].kind == QN_JSON_TRUE ? 1 : j->nodes[k].kind == QN_JSON_FALSE ? 0 : otherwise;
}

const char *qn_json_string(const qn_json *j, uint32_t i, const char *key, const char *otherwise) {
  uint32_t k = qn_json_get(j, i, key);
  return k && j->nodes[k].kind == QN_JSON_STRING ? j->nodes[k].string : otherwise;
}
