/* fuzz_safetensors.c - any bytes as a safetensors file: open, find every tensor, convert those that are floats. */
#include "import/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  qn_env env;
  qn_safetensors s;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (qn_safetensors_open_memory(&s, &env, "fuzz.safetensors", data, bytes) != QUERN_OK) return 0;
  for (size_t i = 0; i < s.count; i++) {
    const qn_st_tensor *t = qn_safetensors_find(&s, s.tensors[i].name);
    if (t != &s.tensors[i]) abort();
    if (!qn_safetensors_is_float(t)) continue;
    float *values = malloc((size_t)t->elements * sizeof *values + 1); /* elements: bounded by the file's bytes */
    if (values) qn_safetensors_convert(t, 0, t->elements, values);
    free(values);
  }
  qn_safetensors_close(&s);
  return 0;
}
