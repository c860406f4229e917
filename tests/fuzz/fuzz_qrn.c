/* fuzz_qrn.c - any bytes as a .qrn file. Checksums are put right first, or nothing would get past the header; then
 * opening, verifying and walking everything must not fault. */
#include "tests/fuzz/fuzz.h"
#include "tests/qrn_seal.h"

static void walk(const qrn_reader *r) {
  qrn_meta m;
  const void *data;
  volatile uint8_t sink = 0;
  for (uint32_t i = 0; i < 64 && qrn_meta_at(r, i, &m); i++) {
    if (strlen(m.key) != m.key_bytes || !qrn_meta_find(r, m.key, &m)) abort();
    if (((const char *)m.value)[m.value_bytes] != 0) abort();
  }
  for (uint32_t i = 0; i < r->tensor_count; i++) {
    const qrn_tensor *t = r->tensors + i;
    const char *name = qrn_tensor_name(r, t);
    if (qrn_find_tensor(r, name) != t) abort();
    if (qrn_need_tensor(r, name, t->dtype, t->layout, t->rank, t->dim, &data) != QUERN_OK) abort();
    sink ^= *(const uint8_t *)data ^ ((const uint8_t *)data)[t->bytes - 1];
  }
  for (uint32_t i = 0; i < r->site_count; i++)
    if (strlen(r->site_names + r->sites[i].name) != r->sites[i].name_bytes) abort();
  for (uint32_t kind = 0; kind < QRN_SECTION_KINDS + 1; kind++) {
    size_t n;
    const uint8_t *p = qrn_section_data(r, kind, &n);
    for (size_t i = 0; p && i < n; i++) sink ^= p[i];
  }
  (void)sink;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  qn_env env;
  qrn_reader r;
  void *copy = NULL;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (posix_memalign(&copy, QRN_ALIGN, bytes ? bytes : 1)) return 0;
  memcpy(copy, data, bytes);
  qrn_seal(copy, bytes);
  if (qrn_open(&r, &env, copy, bytes) == QUERN_OK) {
    qrn_verify(&r, NULL, NULL);
    walk(&r);
  } else if (!env.error.text[0]) {
    abort();
  }
  free(copy);
  return 0;
}
