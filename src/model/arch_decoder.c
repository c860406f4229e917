/* arch_decoder.c - what decoders, and encoders made like them, share: config.json and tensor names, read by the tables of a family
 * (family.h); what a family says whatever file a model comes in. Knows names and fields only; shapes are checked where tensors are read.
 * Stateless. */
#include <string.h>
#include "model/family.h"

/* ---- names ---- */

int qn_tensor_name_parse(const char *name, qn_tensor_name *out) {
  const char *last = strrchr(name, '.'), *from = name;
  if (!last) return 0;
  const int gain = !strcmp(last, ".gain"), bias = !strcmp(last, ".bias"),
            tailed = gain || bias || !strcmp(last, ".weight");
  out->layer = UINT32_MAX;
  if (!strncmp(name, "layers.", 7)) {
    out->layer = 0;
    for (from = name + 7; *from >= '0' && *from <= '9'; from++) out->layer = out->layer * 10 + (uint32_t)(*from - '0');
    if (*from++ != '.') return 0;
  }
  if (tailed && last < from) return 0;
  out->stem = from;
  out->bytes = tailed ? (size_t)(last - from) : strlen(from);
  out->tail = bias ? ".bias" : ".weight";
  out->is_norm = gain || (bias && out->bytes >= 5 && !memcmp(from + out->bytes - 5, ".norm", 5));
  return 1;
}

const qn_decoder_name *qn_decoder_find(const qn_decoder_name *table, const qn_tensor_name *n) {
  for (; table->ours; table++)
    if (strlen(table->ours) == n->bytes && !memcmp(table->ours, n->stem, n->bytes)) return table;
  return NULL;
}

void qn_decoder_fused(const qn_arch *a, uint32_t third, qn_origin *out) {
  const uint32_t inner = qn_arch_inner(a), shared = a->kv_heads * a->head_dim;
  out->rows = qn_arch_qkv(a);
  out->first = third == 1 ? 0 : third == 2 ? inner : inner + shared;
}

int qn_tensor_name_is_qkv(const qn_tensor_name *n) {
  return n->bytes == 6 && !memcmp(n->stem, "attn.", 5) && strchr("qkv", n->stem[5]);
}

static const qn_tensor_name tokens_name = {.stem = "embed.tokens", .bytes = 12};
static const qn_decoder_name head_name = {"head.out", "lm_head", QN_BIAS_MAY, 0};

/* The family's name for it; NULL: it has none. A tied head is the table of tokens. */
static const qn_decoder_name *find_name(const qn_decoder *f, const qn_arch *a, const qn_tensor_name *n) {
  if (n->layer != UINT32_MAX) return qn_decoder_find(f->layer, n);
  const int of_head = n->bytes == strlen(head_name.ours) && !memcmp(n->stem, head_name.ours, n->bytes);
  if (of_head && !a->tied) return &head_name;
  return qn_decoder_find(f->outer, of_head ? &tokens_name : n);
}

int qn_decoder_origin(const qn_decoder *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user,
                      qn_origin *out) {
  const size_t cap = sizeof out->name;
  size_t length;
  qn_tensor_name n;
  *out = (qn_origin){0};
  if (!qn_tensor_name_parse(name, &n)) return 0;
  const qn_decoder_name *theirs = find_name(f, a, &n);
  const int may_lack = !n.is_norm && !strcmp(n.tail, ".bias");
  if (!theirs || (may_lack && theirs->bias == QN_BIAS_NONE)) return 0;
  qn_format(out->name, cap, "%s%s.weight", f->prefix, qn_decoder_find(f->outer, &tokens_name)->theirs);
  const char *prefix = theirs == &head_name || !has_tensor(user, out->name) ? "" : f->prefix;
  if (n.layer != UINT32_MAX)
    length = qn_format(out->name, cap, "%s%s%u.%s%s", prefix, f->layer_stem, n.layer, theirs->theirs, n.tail);
  else
    length = qn_format(out->name, cap, "%s%s%s", prefix, theirs->theirs, n.tail);
  const int must = theirs->bias == QN_BIAS_MUST || (f->biased && qn_tensor_name_is_qkv(&n));
  if (length >= cap || (may_lack && !must && !has_tensor(user, out->name))) return 0;
  if (theirs->fused) qn_decoder_fused(a, theirs->fused, out);
  if (n.is_norm && f->plus_1) out->plus = 1.0f;
  return 1;
}

/* ---- what a family says ---- */

void qn_decoder_start(const qn_decoder *f, qn_arch *a) {
  a->bytes = sizeof *a;
  a->family = f->family;
  a->norm = f->norm;
  a->place = f->place;
  a->activation = f->activation;
  a->causal = f->causal != 0;
  a->gated = f->gated != 0;
  a->head_norm = f->head_norm != 0;
  a->no_embed_norm = a->final_norm = f->place != QN_PLACE_POST;
}

void qn_decoder_finish(const qn_decoder *f, qn_arch *a, qn_rotation *rotation) {
  if (f->scaled) a->embed_scale = (float)__builtin_sqrt((double)a->width);
  if (a->global_every == 1) a->window = 0; /* all layers are global */
  if (!a->window) a->global_every = 0;
  if (a->window && f->local_base > 0 && !(rotation[1].base > 0)) rotation[1].base = f->local_base;
  a->local_rotary = a->window && rotation[1].base > 0;
  a->labels = a->head == QN_HEAD_TOKENS ? a->vocab : 0;
}

/* ---- config.json ---- */

quern_status qn_config_refuse(qn_env *env, const qn_json *c, const char *key) {
  if (!qn_json_bool(c, 0, key, 0)) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "config.json: %s is true, which is not supported", key);
}

static quern_status read_sizes(const qn_decoder *f, qn_arch *a, qn_env *env, const qn_json *c) {
  double eps;
  QN_TRY(qn_config_size(env, c, f->key.width, &a->width));
  QN_TRY(qn_config_size(env, c, f->key.layers, &a->layers));
  QN_TRY(qn_config_size(env, c, f->key.heads, &a->heads));
  QN_TRY(qn_config_size(env, c, f->key.ffn, &a->ffn));
  QN_TRY(qn_config_size(env, c, "vocab_size", &a->vocab));
  QN_TRY(qn_config_size(env, c, f->key.positions, &a->positions));
  a->kv_heads = a->heads;
  if (qn_config_given(c, "num_key_value_heads")) QN_TRY(qn_config_size(env, c, "num_key_value_heads", &a->kv_heads));
  if (qn_config_given(c, "head_dim")) {
    QN_TRY(qn_config_size(env, c, "head_dim", &a->head_dim));
  } else if (a->width % a->heads != 0) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s %u is not a multiple of %s %u", f->key.width, a->width,
                   f->key.heads, a->heads);
  } else {
    a->head_dim = a->width / a->heads;
  }
  QN_TRY(qn_config_number(env, c, f->key.eps, f->norm == QN_NORM_RMS ? 1e-6 : 1e-5, 1e-30, 1, &eps));
  a->norm_eps = (float)eps;
  return f->key.activation ? qn_config_activation(env, c, f->key.activation, f->activation, &a->activation) : QUERN_OK;
}

/* A number of an object within config.json that it must have. */
static quern_status need_number(qn_env *env, const qn_json *c, uint32_t at, const char *key, double *out) {
  *out = qn_json_number(c, at, key, -1);
  if (*out > 0 && *out <= 1e9) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: rope_scaling.%s is not a number above 0", key);
}

/* Later exports keep the base, and what scales it, in an object of its own, of each kind of layer where there are two. */
static uint32_t rotation_object(const qn_json *c) {
  const uint32_t all = qn_json_get(c, 0, "rope_parameters"), full = qn_json_get(c, all, "full_attention");
  return full ? full : all ? all : qn_json_get(c, 0, "rope_scaling");
}

/* A number of config.json, or of its object of rotation `at` where that has it. */
static quern_status rotation_number(qn_env *env, const qn_json *c, uint32_t at, const char *key, double otherwise,
                                    double least, double most, double *out) {
  QN_TRY(qn_config_number(env, c, key, otherwise, least, most, out));
  if (!at || !qn_json_get(c, at, key)) return QUERN_OK;
  *out = qn_json_number(c, at, key, -1);
  if (*out >= least && *out <= most) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s of the rotation is out of range", key);
}

static quern_status read_rotation(const qn_decoder *f, qn_arch *a, qn_rotation *r, qn_env *env, const qn_json *c) {
  const uint32_t object = rotation_object(c), at = object && c->nodes[object].kind == QN_JSON_OBJECT ? object : 0;
  double part;
  QN_TRY(rotation_number(env, c, at, f->key.rotated, f->rotated, 0.01, 1, &part));
  QN_TRY(rotation_number(env, c, at, f->key.base, f->base, 1.001, 1e12, &r->base));
  a->rotary = (uint32_t)((double)a->head_dim * part);
  if (!at) return QUERN_OK;
  const char *kind = qn_json_string(c, at, "rope_type", qn_json_string(c, at, "type", "default"));
  if (!strcmp(kind, "default")) return QUERN_OK;
  if (!strcmp(kind, "linear")) return need_number(env, c, at, "factor", &r->linear);
  if (strcmp(kind, "llama3") != 0)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "config.json: rope_scaling of type \"%.*s\" is not supported (supported: default, linear, llama3)",
                   32, kind);
  QN_TRY(need_number(env, c, at, "factor", &r->factor));
  QN_TRY(need_number(env, c, at, "low_freq_factor", &r->low));
  QN_TRY(need_number(env, c, at, "high_freq_factor", &r->high));
  QN_TRY(need_number(env, c, at, "original_max_position_embeddings", &r->original));
  if (r->low < r->high) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_SOURCE,
                 "config.json: rope_scaling: low_freq_factor is not below high_freq_factor");
}

static int ends_with(const char *s, const char *end) {
  const size_t n = strlen(s), m = strlen(end);
  return n >= m && !strcmp(s + n - m, end);
}

/* A head for tokens, or none: by the class, and without one by what the weights are. */
static quern_status read_head(const qn_decoder *f, qn_arch *a, qn_env *env, const qn_json *c, qn_has_fn *has_tensor,
                              void *user) {
  const char *class = qn_config_class(c);
  const int tied = qn_json_bool(c, 0, "tie_word_embeddings", f->tied);
  const int causal = class ? ends_with(class, "ForCausalLM") : has_tensor(user, "lm_head.weight") || tied;
  if (class && !causal && !ends_with(class, "Model"))
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "config.json: the head of %.*s is not supported (supported: ...Model, ...ForCausalLM)", 64, class);
  if (!causal || !f->causal) return QUERN_OK;
  a->head = QN_HEAD_TOKENS;
  a->tied = tied != 0;
  return QUERN_OK;
}

quern_status qn_decoder_describe(const qn_decoder *f, qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *c,
                                 qn_has_fn *has_tensor, void *user) {
  const qn_tensor_name types = {.stem = "embed.types", .bytes = 11};
  qn_decoder_start(f, a);
  QN_TRY(read_sizes(f, a, env, c));
  QN_TRY(read_rotation(f, a, rotation, env, c));
  if (qn_decoder_find(f->outer, &types) && qn_config_given(c, "type_vocab_size"))
    QN_TRY(qn_config_size(env, c, "type_vocab_size", &a->types));
  QN_TRY(read_head(f, a, env, c, has_tensor, user));
  if (f->read) QN_TRY(f->read(a, rotation, env, c));
  qn_decoder_finish(f, a, rotation);
  return QUERN_OK;
}
