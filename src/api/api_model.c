/* api_model.c - quern_model_open* and what can be asked of an open model. */
#include <string.h>

#include "api/api_options.h"
#include "base/checked.h"
#include "base/json.h"
#include "model/places.h"
#include "run/context.h"

void quern_model_options_init(quern_model_options *o, uint32_t size) {
  if (!o) return;
  memset(o, 0, qn_min_size(size, sizeof *o));
  o->size = size;
}

static quern_status resolve(quern_context *c, quern_model_options *o, const quern_model_options *given) {
  quern_model_options_init(o, sizeof *o);
  if (given && !QN_OPTIONS_COPY(o, given))
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT,
                   "model options of an unknown size or with unknown fields: use "
                   "quern_model_options_init");
  if (o->flags & ~QUERN_OPEN_VERIFY)
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT, "unknown open flags 0x%x", o->flags);
  return QUERN_OK;
}

/* From a map, which it takes over. */
static quern_status open_map(quern_model **out, quern_context *c, qn_map map, const quern_model_options *o) {
  quern_model *m = NULL;
  QN_TRY(qn_model_create(&m, c, &c->env, map, o->max_bytes));
  if (o->flags & QUERN_OPEN_VERIFY) {
    quern_status status = qrn_verify(&m->file, o->progress, o->progress_user);
    if (status != QUERN_OK) {
      qn_model_release(m);
      return status;
    }
  }
  *out = m;
  return QUERN_OK;
}

quern_status quern_model_open(quern_model **out, quern_context *c, const char *path,
                              const quern_model_options *options) {
  quern_model_options o;
  qn_map map;
  if (!c) return QUERN_E_ARGUMENT;
  if (!out || !path)
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT,
                   "a model is opened from a path, into a pointer: one of them is NULL");
  QN_TRY(resolve(c, &o, options));
  quern_status status = qn_map_open(&map, &c->env, path, o.max_bytes);
  if (status == QUERN_E_IO && qn_path_is_directory(path, 0))
    return qn_fail(&c->env.error, status,
                   "%s is a directory, not a .qrn file: `quern quantize` makes one of a Hugging Face directory", path);
  QN_TRY(status);
  status = open_map(out, c, map, &o);
  if (status == QUERN_OK) return QUERN_OK;
  char why[QN_ERROR_BYTES];
  qn_error_copy(&c->env.error, why, sizeof why);
  return qn_fail(&c->env.error, status, "%s: %s", path, why);
}

quern_status quern_model_open_fd(quern_model **out, quern_context *c, int32_t fd, const quern_model_options *options) {
  quern_model_options o;
  qn_map map;
  if (!c) return QUERN_E_ARGUMENT;
  if (!out) return qn_fail(&c->env.error, QUERN_E_ARGUMENT, "a model is opened into a pointer: it is NULL");
  QN_TRY(resolve(c, &o, options));
  QN_TRY(qn_map_open_fd(&map, &c->env, fd, o.max_bytes));
  return open_map(out, c, map, &o);
}

quern_status quern_model_open_memory(quern_model **out, quern_context *c, const void *data, size_t n,
                                     const quern_model_options *options) {
  quern_model_options o;
  if (!c) return QUERN_E_ARGUMENT;
  if (!out || !data)
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT,
                   "a model is opened from memory, into a pointer: one of them is NULL");
  QN_TRY(resolve(c, &o, options));
  if ((uintptr_t)data % QRN_ALIGN)
    return qn_fail(&c->env.error, QUERN_E_ARGUMENT, "a model in memory must be aligned to %u bytes", QRN_ALIGN);
  if (o.max_bytes && n > o.max_bytes)
    return qn_fail(&c->env.error, QUERN_E_LIMIT, "the model has %zu bytes, the limit is %llu", n,
                   (unsigned long long)o.max_bytes);
  const qn_map map = {.data = data, .bytes = n, .mapped = 0};
  return open_map(out, c, map, &o);
}

quern_status quern_model_retain(quern_model *m) {
  if (!m) return QUERN_E_ARGUMENT;
  qn_model_retain(m);
  return QUERN_OK;
}

void quern_model_free(quern_model *m) { qn_model_release(m); }

quern_status quern_model_get_info(const quern_model *m, quern_model_info *info) {
  if (!m || !info) return QUERN_E_ARGUMENT;
  static const char *const norms[] = {[QN_NORM_LAYER] = "layer", [QN_NORM_RMS] = "rms"};
  static const char *const places[] = {[QN_PLACE_POST] = "post",
                                       [QN_PLACE_PRE] = "pre",
                                       [QN_PLACE_SANDWICH] = "sandwich",
                                       [QN_PLACE_PARALLEL] = "parallel"};
  static const char *const acts[] = {
      [QN_ACT_GELU] = "gelu", [QN_ACT_GELU_TANH] = "gelu-tanh", [QN_ACT_RELU] = "relu", [QN_ACT_SILU] = "silu"};
  const qn_arch *a = &m->arch;
  const quern_model_info full = {.layers = a->layers,
                                 .width = a->width,
                                 .heads = a->heads,
                                 .kv_heads = a->kv_heads,
                                 .ffn_width = a->ffn - a->ffn_copies,
                                 .vocab = a->vocab,
                                 .max_tokens = a->positions,
                                 .sentence_tokens = a->sentence_tokens,
                                 .labels = qn_arch_classifies(a) ? a->labels : 0,
                                 .embedding_width = a->pool == QN_POOL_NONE ? 0 : qn_arch_embedding_width(a),
                                 .regression = a->head == QN_HEAD_REGRESSION,
                                 .tensors = m->file.tensor_count,
                                 .sites = m->file.site_count,
                                 .span = a->head == QN_HEAD_SPAN,
                                 .params = m->params,
                                 .bytes = m->file.bytes,
                                 .decoder = a->head == QN_HEAD_TOKENS,
                                 .causal = a->causal,
                                 .head_dim = a->head_dim,
                                 .rotary = a->rotary,
                                 .window = a->window,
                                 .global_every = a->global_every,
                                 .gated = a->gated,
                                 .tied = a->tied,
                                 .norm = norms[a->norm],
                                 .placement = places[a->place],
                                 .activation = acts[a->activation]};
  return qn_info_copy(info, &full, sizeof full) ? QUERN_OK : QUERN_E_ARGUMENT;
}

/* Text of a value: strings as they are, numbers in decimal. */
static size_t meta_text(const qrn_meta *v, char *number, size_t cap, const char **text) {
  *text = number;
  if (v->type == QRN_STRING) {
    *text = v->value;
    return v->value_bytes;
  }
  if (v->type == QRN_F64) {
    double d;
    memcpy(&d, v->value, sizeof d);
    return qn_format_number(number, cap, d);
  }
  uint64_t u;
  memcpy(&u, v->value, sizeof u);
  return qn_format(number, cap, "%llu", (unsigned long long)u);
}

quern_status quern_model_get_meta(const quern_model *m, const char *key, char *buf, size_t cap, size_t *len) {
  if (!m) return QUERN_E_ARGUMENT;
  if (!key || (!buf && cap))
    return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "metadata: the key or the buffer is NULL");
  qrn_meta v;
  if (!qrn_meta_find(&m->file, key, &v))
    return qn_fail(&m->env->error, QUERN_E_ARGUMENT, "the model has no metadata '%s'", key);
  char number[32];
  const char *text;
  const size_t n = meta_text(&v, number, sizeof number, &text);
  if (len) *len = n;
  if (!cap) return QUERN_OK;
  if (n >= cap) return qn_fail(&m->env->error, QUERN_E_CAPACITY, "metadata '%s' needs %zu bytes", key, n + 1);
  memcpy(buf, text, n);
  buf[n] = 0;
  return QUERN_OK;
}

const char *quern_model_meta_key(const quern_model *m, uint32_t i) {
  qrn_meta v;
  return m && qrn_meta_at(&m->file, i, &v) ? v.key : NULL;
}

quern_status quern_model_get_tensor(const quern_model *m, uint32_t i, quern_tensor_info *info) {
  static const char *const dtype[] = {[QRN_F32] = "f32", [QRN_I8] = "i8", [QRN_I32] = "i32", [QRN_U4] = "u4",
                                      [QRN_U2] = "u2",   [QRN_U8] = "u8", [QRN_I16] = "i16"};
  static const char *const layout[] = {[QRN_ROWS] = "rows", [QRN_PANELS] = "panels"};
  if (!m || !info || i >= m->file.tensor_count) return QUERN_E_ARGUMENT;
  const qrn_tensor *t = &m->file.tensors[i];
  quern_tensor_info full = {.rank = t->rank,
                            .bytes = t->bytes,
                            .offset = m->file.section[QRN_DATA]->offset + t->offset,
                            .name = qrn_tensor_name(&m->file, t),
                            .dtype = dtype[t->dtype],
                            .layout = layout[t->layout],
                            .group = t->group};
  memcpy(full.dim, t->dim, sizeof full.dim);
  return qn_info_copy(info, &full, sizeof full) ? QUERN_OK : QUERN_E_ARGUMENT;
}

quern_status quern_model_get_site(const quern_model *m, uint32_t i, quern_site_info *info) {
  static const char *const grain[] = {[QRN_GRAIN_NONE] = "none",
                                      [QRN_GRAIN_TOKEN] = "token",
                                      [QRN_GRAIN_TOKEN_HEAD] = "token-head",
                                      [QRN_GRAIN_STATIC] = "static"};
  if (!m || !info || i >= m->file.site_count) return QUERN_E_ARGUMENT;
  const qrn_site *t = &m->file.sites[i];
  const char *name = m->file.site_names + t->name;
  const int values = t->grain == QRN_GRAIN_STATIC;
  const quern_site_info full = {.scale = values ? qn_site_values(m, name, ".scale") : NULL,
                                .zero = values && !t->symmetric ? qn_site_values(m, name, ".zero") : NULL,
                                .bits = t->bits,
                                .groups = t->groups,
                                .symmetric = t->symmetric,
                                .name = name,
                                .granularity = grain[t->grain],
                                .group = t->group};
  return qn_info_copy(info, &full, sizeof full) ? QUERN_OK : QUERN_E_ARGUMENT;
}
