/* transformed.h - a .qrn file once more, with inputs of few bits in another basis: for tests of what executes them. Tests only.
 *
 *   transformed_options o = {.block = 16, .second = TRANSFORMED_SIGNS, .bits = 4};
 *   transformed_write(from, to, &o);                      1 on success
 *
 * Operators whose inputs the block divides get a transform, all but those of heads and of inputs with groups. `exact`: Hadamard matrices both times, with blocks of
 * channels put in the reverse order between, so that weights of 8 bits whose blocks of inputs are put so too compute what those of the file
 * did, but for what 14 bits lose. Else: matrices of random signs, any order, random signs; weights as they are, results that mean nothing. */
#ifndef QN_TRANSFORMED_H
#define QN_TRANSFORMED_H
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "format/qrn.h"
#include "kernels/layout.h"
#include "tiny_model.h"

enum { TRANSFORMED_NONE, TRANSFORMED_DENSE, TRANSFORMED_SIGNS };
typedef struct transformed_options {
  uint32_t block;
  int second; /* TRANSFORMED_* */
  int exact;  /* a power of 4; with a second step */
  uint32_t bits;
  float clip;     /* 0: none */
  uint32_t group; /* of wider inputs, symmetric; 0: one scale a token */
} transformed_options;

static inline int transformed_sign(uint64_t seed, size_t i) { return tiny_hash(seed * 1000003 + i) & 1 ? 1 : -1; }

/* The operator whose input a site is, or NULL: of heads, with groups. name: room for its weight's. */
static inline const qrn_tensor *transformed_weight(const qrn_reader *r, const qrn_site *s, const transformed_options *o,
                                                   char name[96]) {
  const char *site = r->site_names + s->name;
  const size_t n = strlen(site);
  if (n < 4 || s->groups > 1 || strcmp(site + n - 3, ".in") || !strncmp(site, "head.", 5)) return NULL;
  snprintf(name, 96, "%.*s.weight", (int)(n - 3), site);
  const qrn_tensor *t = qrn_find_tensor(r, name);
  return t && t->dim[1] % o->block == 0 ? t : NULL;
}

static inline int16_t *transformed_matrix(const transformed_options *o, uint64_t seed) {
  const size_t b = o->block;
  int16_t *p = calloc(b * b, sizeof *p);
  const double one = 8192 / sqrt((double)b);
  for (size_t j = 0; p && j < b; j++)
    for (size_t i = 0; i < b; i++) {
      const int sign = o->exact ? (__builtin_popcountll(i & j) % 2 ? -1 : 1) : transformed_sign(seed, j * b + i);
      p[j / 16 * b * 16 + i / 2 * 32 + j % 16 * 2 + i % 2] = (int16_t)(sign * (int)one);
    }
  return p;
}

/* Weights of 8 bits whose blocks of inputs are in the reverse order. */
static inline void transformed_reverse(uint8_t *to, const uint8_t *from, size_t n, size_t k, size_t block) {
  const size_t panel = QK_PANEL * qk_k8(k);
  memcpy(to, from, qk_weight_bytes(n, k, 8));
  for (size_t p = 0; p < qk_panels(n); p++)
    for (size_t i = 0; i < k; i++) {
      const size_t j = (k / block - 1 - i / block) * block + i % block;
      for (size_t l = 0; l < 16; l++)
        to[p * panel + j / 4 * 64 + l * 4 + j % 4] = from[p * panel + i / 4 * 64 + l * 4 + i % 4];
    }
}

#define TRANSFORMED_TRY(expr)                                                                                          \
  do {                                                                                                                 \
    if ((expr) != QUERN_OK) goto done;                                                                                 \
  } while (0)

static inline quern_status transformed_declare(qrn_writer *w, const char *base, const char *suffix, uint32_t dtype,
                                               uint32_t layout, uint64_t n, uint64_t k) {
  char name[96];
  const uint64_t dim[2] = {n, k};
  snprintf(name, sizeof name, "%.*s%s", (int)(strlen(base) - strlen(".weight")), base, suffix);
  return qrn_declare_tensor(w, name, dtype, layout, k ? 2 : 1, dim);
}
static inline quern_status transformed_put(qrn_writer *w, const char *base, const char *suffix, const void *data,
                                           size_t bytes) {
  char name[96];
  snprintf(name, sizeof name, "%.*s%s", (int)(strlen(base) - strlen(".weight")), base, suffix);
  return data ? qrn_write_tensor(w, name, data, bytes) : QUERN_E_MEMORY;
}

static inline quern_status transformed_declare_all(qrn_writer *w, const transformed_options *o, const char *name,
                                                   const qrn_tensor *t) {
  const uint64_t k = t->dim[1], b = o->block;
  quern_status s = transformed_declare(w, name, ".in.rotation", QRN_I16, QRN_PANELS, b, b);
  if (!s) s = transformed_declare(w, name, ".in.order", QRN_I32, QRN_ROWS, k, 0);
  if (!s && o->second == TRANSFORMED_DENSE)
    s = transformed_declare(w, name, ".in.rotation2", QRN_I16, QRN_PANELS, b, b);
  if (!s && o->second == TRANSFORMED_SIGNS) s = transformed_declare(w, name, ".in.signs", QRN_I8, QRN_ROWS, k / b, b);
  if (!s && o->clip != 0) s = transformed_declare(w, name, ".in.clip", QRN_F32, QRN_ROWS, 1, 0);
  return s;
}
static inline quern_status transformed_put_all(qrn_writer *w, const transformed_options *o, const char *name,
                                               const qrn_tensor *t) {
  const size_t k = (size_t)t->dim[1], b = o->block;
  int16_t *first = transformed_matrix(o, 1), *second = transformed_matrix(o, 2);
  int32_t *order = malloc(k * sizeof *order);
  int8_t *signs = malloc(k);
  for (size_t i = 0; order && i < k; i++) {
    const size_t from = tiny_hash(i) % (i + 1);
    order[i] = (int32_t)i;
    if (o->exact) continue;
    order[i] = order[from], order[from] = (int32_t)i;
  }
  for (size_t i = 0; order && o->exact && i < k; i++) order[i] = (int32_t)((k / b - 1 - i / b) * b + i % b);
  for (size_t i = 0; signs && i < k; i++) signs[i] = (int8_t)(o->exact ? 1 : transformed_sign(3, i));
  quern_status s = transformed_put(w, name, ".in.rotation", first, b * b * 2);
  if (!s) s = transformed_put(w, name, ".in.order", order, k * 4);
  if (!s && o->second == TRANSFORMED_DENSE) s = transformed_put(w, name, ".in.rotation2", second, b * b * 2);
  if (!s && o->second == TRANSFORMED_SIGNS) s = transformed_put(w, name, ".in.signs", signs, k);
  if (!s && o->clip != 0) s = transformed_put(w, name, ".in.clip", &o->clip, 4);
  free(first), free(second), free(order), free(signs);
  return s;
}

/* Whether a tensor is the weight that an exact transform reorders. */
static inline int transformed_is_reversed(const qrn_reader *r, const qrn_tensor *t, const transformed_options *o) {
  char name[96];
  for (uint32_t i = 0; o->exact && i < r->site_count; i++)
    if (transformed_weight(r, &r->sites[i], o, name) == t) return 1;
  return 0;
}
static inline quern_status transformed_copy(qrn_writer *w, const qrn_reader *r, const qrn_tensor *t,
                                            const transformed_options *o) {
  size_t n;
  const uint8_t *data = qrn_section_data(r, QRN_DATA, &n) + t->offset;
  if (!transformed_is_reversed(r, t, o)) return qrn_write_tensor(w, qrn_tensor_name(r, t), data, (size_t)t->bytes);
  uint8_t *reversed = malloc((size_t)t->bytes);
  quern_status s = QUERN_E_MEMORY;
  if (reversed && t->dtype == QRN_I8 && !t->group) {
    transformed_reverse(reversed, data, (size_t)t->dim[0], (size_t)t->dim[1], o->block);
    s = qrn_write_tensor(w, qrn_tensor_name(r, t), reversed, (size_t)t->bytes);
  }
  free(reversed);
  return s;
}

static inline int transformed_write(const char *from, const char *to, const transformed_options *o) {
  qn_env env;
  qn_map map = {0};
  qrn_reader r;
  qrn_writer *w = NULL;
  qrn_meta m;
  char name[96];
  int good = 0;
  size_t n;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (qn_map_open(&map, &env, from, 0) != QUERN_OK) return 0;
  TRANSFORMED_TRY(qrn_open(&r, &env, map.data, map.bytes));
  TRANSFORMED_TRY(qrn_writer_create(&w, &env));
  for (uint32_t i = 0; qrn_meta_at(&r, i, &m); i++) {
    double d = 0;
    uint64_t u = 0;
    if (m.value_bytes == 8) memcpy(&d, m.value, 8), memcpy(&u, m.value, 8);
    TRANSFORMED_TRY(m.type == QRN_STRING ? qrn_put_string(w, m.key, m.value, m.value_bytes)
                    : m.type == QRN_U64  ? qrn_put_u64(w, m.key, u)
                                         : qrn_put_f64(w, m.key, d));
  }
  const uint32_t sections[] = {QRN_ARCH, QRN_TOKENIZER};
  for (int i = 0; i < 2; i++) {
    const uint8_t *data = qrn_section_data(&r, sections[i], &n);
    if (data) TRANSFORMED_TRY(qrn_put_section(w, sections[i], data, n));
  }
  for (uint32_t i = 0; i < r.site_count; i++) {
    qrn_site site = r.sites[i];
    const qrn_tensor *t = transformed_weight(&r, &r.sites[i], o, name);
    if (t) site.bits = o->bits;
    if (t && o->group && t->dim[1] > o->group) {
      site.groups = (uint32_t)qk_groups((size_t)t->dim[1], o->group);
      site.group = o->group;
      site.symmetric = 1;
    }
    TRANSFORMED_TRY(qrn_put_site(w, r.site_names + r.sites[i].name, &site));
  }
  for (uint32_t i = 0; i < r.tensor_count; i++) {
    const qrn_tensor *t = &r.tensors[i];
    TRANSFORMED_TRY(t->group ? qrn_declare_codes(w, qrn_tensor_name(&r, t), t->dtype, t->layout, t->dim, t->group)
                             : qrn_declare_tensor(w, qrn_tensor_name(&r, t), t->dtype, t->layout, t->rank, t->dim));
  }
  for (uint32_t i = 0; i < r.site_count; i++) {
    const qrn_tensor *t = transformed_weight(&r, &r.sites[i], o, name);
    if (t) TRANSFORMED_TRY(transformed_declare_all(w, o, name, t));
  }
  TRANSFORMED_TRY(qrn_writer_start(w, to, 0));
  for (uint32_t i = 0; i < r.tensor_count; i++) TRANSFORMED_TRY(transformed_copy(w, &r, &r.tensors[i], o));
  for (uint32_t i = 0; i < r.site_count; i++) {
    const qrn_tensor *t = transformed_weight(&r, &r.sites[i], o, name);
    if (t) TRANSFORMED_TRY(transformed_put_all(w, o, name, t));
  }
  good = qrn_writer_finish(w, NULL) == QUERN_OK;
done:
  if (!good) printf("  transformed: %s\n", env.error.text);
  qrn_writer_free(w);
  qn_map_close(&map);
  return good;
}
#endif
