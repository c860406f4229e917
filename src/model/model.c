/* model.c - opens a .qrn file as a model: checks the architecture and resolves every tensor it calls for, by name,
 * dtype, layout and shape. Reads no weights. A model is read-only once created; the reference count alone changes. */
#include "model/model.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "kernels/layout.h"

/* What resolving one model needs to know. */
typedef struct resolver {
  const qrn_reader *file;
  qn_env *env;
  int is_float; /* linear operators and tables are f32; else what the file says */
  int grouped;  /* some are u4 */
  uint64_t params;
} resolver;

#define NAME_BYTES 64
#define LAYER_TENSORS 8u /* that a layer has at least: four weights, two norms of a gain and a bias */

static quern_status need_vector(const resolver *r, const char *base, const char *suffix, uint32_t dtype, uint64_t n,
                                const void **out) {
  char name[NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", base, suffix);
  return qrn_need_tensor(r->file, name, dtype, QRN_ROWS, 1, &n, out);
}

static quern_status need_floats(resolver *r, const char *base, const char *suffix, uint64_t n, const float **out) {
  const void *p = NULL;
  QN_TRY(need_vector(r, base, suffix, QRN_F32, n, &p));
  *out = p;
  r->params += n;
  return QUERN_OK;
}

/* Whether the optional tensor base + suffix is in the file. */
static int has_tensor(const resolver *r, const char *base, const char *suffix) {
  char name[NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", base, suffix);
  return qrn_find_tensor(r->file, name) != NULL;
}

/* The dtype of base + suffix; an absent tensor is reported where it is needed. */
static uint32_t dtype_of(const resolver *r, const char *base, const char *suffix) {
  char name[NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", base, suffix);
  const qrn_tensor *t = qrn_find_tensor(r->file, name);
  return t ? t->dtype : QRN_I8;
}

static quern_status need_group_panels(const resolver *r, const char *base, const char *suffix, const qn_linear *l,
                                      const float **out) {
  char name[NAME_BYTES];
  const uint64_t shape[2] = {l->n, qk_groups(l->k, l->group)};
  const void *p = NULL;
  qn_format(name, sizeof name, "%s%s", base, suffix);
  QN_TRY(qrn_need_tensor(r->file, name, QRN_F32, QRN_PANELS, 2, shape, &p));
  *out = p;
  return QUERN_OK;
}

/* What weights with groups of inputs have beside their codes. */
static quern_status resolve_groups(resolver *r, const char *base, const char *weight, qn_linear *out) {
  const void *p = NULL;
  out->group = qrn_find_tensor(r->file, weight)->group;
  r->grouped = 1;
  QN_TRY(need_group_panels(r, base, ".scale", out, &out->scale));
  if (has_tensor(r, base, ".min")) QN_TRY(need_group_panels(r, base, ".min", out, &out->min));
  QN_TRY(need_vector(r, base, ".sums", QRN_F32, out->n, &p));
  out->value_sums = p;
  return QUERN_OK;
}

static quern_status resolve_linear(resolver *r, const char *base, uint32_t n, uint32_t k, qn_linear *out) {
  char name[NAME_BYTES];
  const uint64_t shape[2] = {n, k};
  const void *p = NULL;
  const uint32_t dtype = r->is_float ? QRN_F32 : dtype_of(r, base, ".weight") == QRN_U4 ? QRN_U4 : QRN_I8;
  *out = (qn_linear){.n = n, .k = k, .dtype = dtype};
  qn_format(name, sizeof name, "%s.weight", base);
  QN_TRY(qrn_need_tensor(r->file, name, dtype, QRN_PANELS, 2, shape, &out->weight));
  if (dtype == QRN_U4) QN_TRY(resolve_groups(r, base, name, out));
  if (dtype == QRN_I8) {
    QN_TRY(need_vector(r, base, ".scale", QRN_F32, n, &p));
    out->scale = p;
    QN_TRY(need_vector(r, base, ".sums", QRN_I32, n, &p));
    out->sums = p;
  }
  if (!r->is_float) {
    if (has_tensor(r, base, ".smooth")) {
      QN_TRY(need_vector(r, base, ".smooth", QRN_F32, k, &p));
      out->smooth = p;
    }
  }
  r->params += (uint64_t)n * k;
  if (has_tensor(r, base, ".bias")) QN_TRY(need_floats(r, base, ".bias", n, &out->bias));
  return QUERN_OK;
}

static quern_status resolve_norm(resolver *r, const char *base, uint32_t width, qn_norm *out) {
  QN_TRY(need_floats(r, base, ".gain", width, &out->gain));
  return need_floats(r, base, ".bias", width, &out->bias);
}

/* Rows of codes as the file has them, or, in any recipe, of floats: small tables are not worth the error. */
static quern_status resolve_table(resolver *r, const char *name, uint32_t rows, uint32_t width, qn_table *out) {
  const uint64_t shape[2] = {rows, width};
  const void *p = NULL;
  static const uint32_t bits[] = {[QRN_F32] = 32, [QRN_I8] = 8, [QRN_I32] = 0, [QRN_U4] = 4, [QRN_U2] = 2};
  const uint32_t found = dtype_of(r, name, "");
  const uint32_t dtype = r->is_float || !bits[found] ? QRN_F32 : found;
  *out = (qn_table){.rows = rows, .bits = bits[dtype]};
  QN_TRY(qrn_need_tensor(r->file, name, dtype, QRN_ROWS, 2, shape, &out->data));
  if (dtype == QRN_I8) {
    QN_TRY(need_vector(r, name, ".scale", QRN_F32, rows, &p));
    out->scale = p;
  }
  if (out->bits < 8) {
    out->group = qrn_find_tensor(r->file, name)->group;
    const uint64_t pair[2] = {rows, 2}, steps[3] = {rows, qk_groups(width, out->group), 2};
    char part[NAME_BYTES];
    qn_format(part, sizeof part, "%s.scale", name);
    QN_TRY(qrn_need_tensor(r->file, part, QRN_F32, QRN_ROWS, 2, pair, &p));
    out->scale = p;
    qn_format(part, sizeof part, "%s.step", name);
    QN_TRY(qrn_need_tensor(r->file, part, QRN_I8, QRN_ROWS, 3, steps, &p));
    out->step = p;
  }
  r->params += (uint64_t)rows * width;
  return QUERN_OK;
}

static quern_status resolve_layer(resolver *r, const qn_arch *a, uint32_t index, qn_layer *l) {
  const uint32_t inner = a->heads * a->head_dim;
  char base[NAME_BYTES];
  qn_format(base, sizeof base, "layers.%u.attn.qkv", index);
  QN_TRY(resolve_linear(r, base, 3 * inner, a->width, &l->qkv));
  qn_format(base, sizeof base, "layers.%u.attn.out", index);
  QN_TRY(resolve_linear(r, base, a->width, inner, &l->attn_out));
  qn_format(base, sizeof base, "layers.%u.attn.norm", index);
  QN_TRY(resolve_norm(r, base, a->width, &l->attn_norm));
  qn_format(base, sizeof base, "layers.%u.ffn.up", index);
  QN_TRY(resolve_linear(r, base, a->ffn, a->width, &l->ffn_up));
  qn_format(base, sizeof base, "layers.%u.ffn.down", index);
  QN_TRY(resolve_linear(r, base, a->width, a->ffn, &l->ffn_down));
  qn_format(base, sizeof base, "layers.%u.ffn.norm", index);
  return resolve_norm(r, base, a->width, &l->ffn_norm);
}

static quern_status resolve_bias(resolver *r, const qn_arch *a, const float **out) {
  const uint64_t shape[2] = {a->heads, 2 * (uint64_t)a->positions - 1};
  const void *p = NULL;
  QN_TRY(qrn_need_tensor(r->file, "attn.relative_bias", QRN_F32, QRN_ROWS, 2, shape, &p));
  /* It goes into scores, where no kernel counts NaN or infinity and a softmax may hide them. Some 50 KB. */
  if (!qn_all_finite(p, (size_t)(shape[0] * shape[1])))
    return qn_fail(&r->env->error, QUERN_E_NONFINITE,
                   "NaN or infinity in attn.relative_bias: the file is damaged (quern verify) or its source had such "
                   "weights");
  *out = p;
  r->params += QN_RELATIVE_BUCKETS * (uint64_t)a->heads; /* of which the rows are made */
  return QUERN_OK;
}

static quern_status resolve(quern_model *m) {
  const qn_arch *a = &m->arch;
  resolver r = {.file = &m->file, .env = m->env, .is_float = a->recipe == QN_RECIPE_FLOAT};
  const uint32_t tables = qn_arch_table_width(a);
  QN_TRY(resolve_table(&r, "embed.tokens", a->vocab, tables, &m->tokens));
  QN_TRY(resolve_table(&r, "embed.positions", a->positions + a->position_offset, tables, &m->positions));
  if (a->types) QN_TRY(resolve_table(&r, "embed.types", a->types, tables, &m->types));
  QN_TRY(resolve_norm(&r, "embed.norm", tables, &m->embed_norm));
  if (a->embed_width) QN_TRY(resolve_linear(&r, "embed.project", a->width, tables, &m->project));
  if (a->relative_bias) QN_TRY(resolve_bias(&r, a, &m->relative_bias));
  for (uint32_t i = 0; i < a->layers; i++) QN_TRY(resolve_layer(&r, a, i, &m->layers[i]));
  if (a->head != QN_HEAD_NONE) {
    if (a->head_pooler) QN_TRY(resolve_linear(&r, "head.pooler", a->width, a->width, &m->pooler));
    QN_TRY(resolve_linear(&r, "head.out", a->labels, a->width, &m->head));
  }
  if (a->dense) QN_TRY(resolve_linear(&r, "pool.dense", a->dense, a->width, &m->dense));
  m->params = r.params;
  m->grouped = r.grouped;
  return QUERN_OK;
}

/* The ARCH section as a checked qn_arch. */
static quern_status read_arch(const qrn_reader *file, qn_env *env, qn_arch *out) {
  size_t bytes = 0;
  const uint8_t *p = qrn_section_data(file, QRN_ARCH, &bytes);
  if (!p || bytes != sizeof *out)
    return qn_fail(env ? &env->error : NULL, QUERN_E_FORMAT,
                   "the architecture section has %zu bytes, not %zu: quantize the model again with this version", bytes,
                   sizeof *out);
  memcpy(out, p, sizeof *out);
  return qn_arch_check(out, env, QUERN_E_FORMAT);
}

quern_status qn_model_create(quern_model **out, struct quern_context *c, qn_env *env, qn_map map, uint64_t limit) {
  quern_status status;
  qrn_reader file;
  qn_arch arch;
  void *block = NULL;
  size_t bytes = 0;

  QN_TRY_CLEANUP(qrn_open(&file, env, map.data, map.bytes));
  QN_TRY_CLEANUP(read_arch(&file, env, &arch));
  if (arch.layers > file.tensor_count / LAYER_TENSORS) { /* before memory is taken for them */
    status = qn_fail(&env->error, QUERN_E_FORMAT, "malformed .qrn file: %u layers in %u tensors", arch.layers,
                     file.tensor_count);
    goto cleanup;
  }
  bytes = qn_round_up(sizeof(quern_model), 64) +
          (size_t)arch.layers * sizeof(qn_layer); /* layers <= 4096: no overflow */
  if (limit && bytes > limit) {
    status = qn_fail(&env->error, QUERN_E_LIMIT, "opening needs %zu bytes, the limit is %llu", bytes,
                     (unsigned long long)limit);
    goto cleanup;
  }
  QN_TRY_CLEANUP(qn_alloc(env, &block, bytes, "the model"));
  memset(block, 0, bytes);
  quern_model *m = block;
  m->context = c;
  m->env = env;
  atomic_init(&m->references, 1);
  m->file = file;
  m->arch = arch;
  m->bytes = bytes;
  m->layers = (qn_layer *)((uint8_t *)block + qn_round_up(sizeof(quern_model), 64));
  QN_TRY_CLEANUP(resolve(m));
  size_t tokenizer_bytes = 0;
  const uint8_t *tokenizer = qrn_section_data(&file, QRN_TOKENIZER, &tokenizer_bytes);
  if (tokenizer) {
    QN_TRY_CLEANUP(qn_tokenizer_open(&m->tokenizer, env, tokenizer, tokenizer_bytes));
    if (m->tokenizer.vocab > arch.vocab) {
      status = qn_fail(&env->error, QUERN_E_FORMAT, "the tokenizer has %u ids, the embedding table %u rows",
                       m->tokenizer.vocab, arch.vocab);
      goto cleanup;
    }
  }
  m->map = map;
  *out = m;
  return QUERN_OK;

cleanup:
  qn_free(env, block, bytes);
  qn_map_close(&map);
  return status;
}

void qn_model_retain(quern_model *m) { atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed); }

void qn_model_release(quern_model *m) {
  if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
  qn_map map = m->map;
  qn_free(m->env, m, m->bytes);
  qn_map_close(&map);
}
