/* fuzz_json.c - any bytes as JSON: no fault, and what is accepted is a well-formed tree that can be walked. */
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  qn_env env;
  qn_json j;
  double number;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (qn_parse_number((const char *)data, bytes, &number) > bytes) abort();
  if (qn_json_parse(&j, &env, "fuzz", data, bytes) != QUERN_OK) {
    if (j.nodes || j.count || !env.error.text[0]) abort();
    return 0;
  }
  /* Every node lies within its parent, and an object's keys are strings. */
  if (j.nodes[0].next != j.count) abort();
  for (uint32_t i = 0; i < j.count; i++) {
    const qn_json_node *n = &j.nodes[i];
    uint32_t children = 0;
    if (n->next <= i || n->next > j.count) abort();
    if (n->kind == QN_JSON_STRING && n->string[n->bytes] != 0) abort();
    if (n->kind < QN_JSON_ARRAY) {
      if (n->next != i + 1) abort();
      continue;
    }
    uint32_t k = i + 1;
    for (; k < n->next; k = j.nodes[k].next, children++)
      if (n->kind == QN_JSON_OBJECT && j.nodes[k++].kind != QN_JSON_STRING) abort();
    if (k != n->next || children != n->count) abort();
  }
  uint32_t at = qn_json_path(&j, 0, "a.b");
  qn_json_int(&j, at, "c", 0);
  qn_json_free(&env, &j);
  return 0;
}
