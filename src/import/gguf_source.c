/* gguf_source.c - a GGUF file as a qn_source: its metadata as an architecture, its tensors by the names that all architectures there
 * share. Not here: the file itself (gguf.c). Nothing is trusted, and what is not known is refused: a key or a tensor that changes what
 * the model computes. Thread rule: as source.h. */
#include <string.h>

#include "base/checked.h"
#include "import/gguf_tokenizer.h"
#include "import/source.h"
#include "model/family.h"

#define KEY_BYTES 96u

typedef struct qn_gguf_source {
  qn_source base;
  qn_gguf file;
  char prefix[32]; /* of the architecture's keys: "llama" */
} qn_gguf_source;

/* ---- names ---- */

static const qn_name outer[] = {
    {"embed.tokens", "token_embd"}, {"embed.types", "token_types"}, {"embed.norm", "token_embd_norm"},
    {"final.norm", "output_norm"},  {"head.out", "output"},         {NULL, NULL},
};
/* Below blk.N.; of two names of one tensor the second is where the first is not. Norms behind a block have names of their own. */
static const qn_name layer[] = {
    {"attn.q", "attn_q"},
    {"attn.k", "attn_k"},
    {"attn.v", "attn_v"},
    {"attn.out", "attn_output"},
    {"attn.q.norm", "attn_q_norm"},
    {"attn.k.norm", "attn_k_norm"},
    {"attn.post", "post_attention_norm"},
    {"ffn.gate", "ffn_gate"},
    {"ffn.up", "ffn_up"},
    {"ffn.down", "ffn_down"},
    {"ffn.post", "post_ffw_norm"},
    {NULL, NULL},
};
static const qn_name before[] = {{"attn.norm", "attn_norm"}, {"ffn.norm", "ffn_norm"}, {NULL, NULL}};
static const qn_name behind[] = {{"attn.norm", "attn_output_norm"}, {"ffn.norm", "layer_output_norm"}, {NULL, NULL}};
#define FUSED "attn_qkv"
#define FACTORS "rope_freqs.weight" /* what each rotary frequency is divided by */

static const char *look_up(const qn_name *table, const qn_tensor_name *n) {
  for (; table->ours; table++)
    if (strlen(table->ours) == n->bytes && !memcmp(table->ours, n->stem, n->bytes)) return table->theirs;
  return NULL;
}

static int has(const qn_gguf_source *s, const char *name) { return qn_gguf_find_tensor(&s->file, name) != NULL; }

static int origin(const qn_source *source, const char *name, qn_origin *out) {
  const qn_gguf_source *s = (const qn_gguf_source *)source;
  const qn_arch *a = &source->arch;
  const qn_decoder *f = source->family->decoder;
  qn_tensor_name n;
  *out = (qn_origin){0};
  if (!qn_tensor_name_parse(name, &n)) return 0;
  const int in_layer = n.layer != UINT32_MAX, qkv = in_layer && qn_tensor_name_is_qkv(&n);
  const char *theirs = look_up(in_layer ? layer : outer, &n);
  if (in_layer && !theirs) theirs = look_up(a->place == QN_PLACE_POST ? behind : before, &n);
  if (!theirs) return 0;
  if (!in_layer && a->tied && !strcmp(theirs, "output")) theirs = "token_embd";
  char block[32] = "";
  if (in_layer) qn_format(block, sizeof block, "blk.%u.", n.layer);
  qn_format(out->name, sizeof out->name, "%s" FUSED ".weight", block);
  const int fused = qkv && has(s, out->name);
  qn_format(out->name, sizeof out->name, "%s%s%s", block, fused ? FUSED : theirs, n.tail);
  if (fused) qn_decoder_fused(a, n.stem[5] == 'q' ? 1 : n.stem[5] == 'k' ? 2 : 3, out);
  out->pairs = f->pairs && qkv && n.stem[5] != 'v';
  const qn_decoder_name *rule = in_layer ? qn_decoder_find(f->layer, &n) : NULL;
  const int must = n.is_norm || (rule && rule->bias == QN_BIAS_MUST) || (f->biased && qkv);
  return strcmp(n.tail, ".bias") != 0 || must || has(s, out->name);
}

/* Whether models of this architecture have no such tensor. */
static int is_foreign(const qn_arch *a, const char *ours, int bias) {
  const struct {
    const char *name;
    int has;
  } parts[] = {{"attn.q.norm", a->head_norm != 0},
               {"attn.k.norm", a->head_norm != 0},
               {"attn.post", a->place == QN_PLACE_SANDWICH},
               {"ffn.post", a->place == QN_PLACE_SANDWICH},
               {"ffn.norm", a->place != QN_PLACE_PARALLEL},
               {"ffn.gate", a->gated != 0},
               {"embed.norm", !a->no_embed_norm},
               {"embed.types", a->types != 0},
               {"final.norm", a->final_norm != 0},
               {"head.out", a->head != QN_HEAD_NONE}};
  const size_t bytes = strlen(ours);
  if (bias && a->norm == QN_NORM_RMS && bytes > 5 && !strcmp(ours + bytes - 5, ".norm")) return 1;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (!strcmp(parts[i].name, ours)) return !parts[i].has;
  return 0;
}

/* A tensor of another name would be part of something that this version does not compute. */
static int is_known(const qn_gguf_source *s, const char *name) {
  const qn_name *const tables[] = {outer, layer, s->base.arch.place == QN_PLACE_POST ? behind : before};
  const int in_layer = !strncmp(name, "blk.", 4);
  const char *dot = strrchr(name, '.'), *stem = in_layer ? strchr(name + 4, '.') : name;
  if (!strcmp(name, FACTORS)) return 1;
  if (!stem || !dot || (strcmp(dot, ".weight") != 0 && strcmp(dot, ".bias") != 0)) return 0;
  if (in_layer) stem++;
  if (stem > dot) return 0;
  const size_t bytes = (size_t)(dot - stem);
  if (in_layer && bytes == strlen(FUSED) && !memcmp(stem, FUSED, bytes)) return 1;
  for (int t = in_layer ? 1 : 0; t < (in_layer ? 3 : 1); t++)
    for (const qn_name *i = tables[t]; i->ours; i++)
      if (strlen(i->theirs) == bytes && !memcmp(i->theirs, stem, bytes))
        return !is_foreign(&s->base.arch, i->ours, !strcmp(dot, ".bias"));
  return 0;
}

static quern_status refuse_unknown(const qn_gguf_source *s) {
  for (size_t i = 0; i < s->file.count; i++)
    if (!is_known(s, s->file.tensors[i].name))
      return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                     "%s: tensor %s is not known of architecture %s: this version does not run models with it",
                     s->file.name, s->file.tensors[i].name, s->prefix);
  return QUERN_OK;
}

/* ---- metadata ---- */

/* "llama.NAME" into buf. */
static const char *key_of(const qn_gguf_source *s, const char *name, char buf[KEY_BYTES]) {
  qn_format(buf, KEY_BYTES, "%s.%s", s->prefix, name);
  return buf;
}

static quern_status read_size(const qn_gguf_source *s, const char *name, int needed, uint32_t *out) {
  char key[KEY_BYTES];
  uint64_t v = *out;
  QN_TRY(qn_gguf_get_uint(&s->file, key_of(s, name, key), needed, INT32_MAX, &v));
  *out = (uint32_t)v;
  return QUERN_OK;
}

/* One number, or one for each layer, all the same. */
static quern_status read_layer_size(const qn_gguf_source *s, const char *name, int needed, uint32_t *out) {
  char key[KEY_BYTES];
  const qn_gguf_value *list = qn_gguf_find(&s->file, key_of(s, name, key));
  if (!list || !list->is_array) return read_size(s, name, needed, out);
  QN_TRY(qn_gguf_get_array(&s->file, key, 1, QN_GGUF_I32, &list));
  for (uint64_t i = 0; i < list->count; i++) {
    const int64_t v = qn_gguf_item_int(list, i), first = qn_gguf_item_int(list, 0);
    if (v != first || v < 0 || v > INT32_MAX)
      return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                     "%s: %s differs from layer to layer, which is not supported", s->file.name, key);
    *out = (uint32_t)v;
  }
  return QUERN_OK;
}

static quern_status read_float(const qn_gguf_source *s, const char *name, int needed, double *out) {
  char key[KEY_BYTES];
  return qn_gguf_get_float(&s->file, key_of(s, name, key), needed, out);
}

/* A number above 0 and up to a limit that a float holds. */
static quern_status read_factor(const qn_gguf_source *s, const char *name, double *out) {
  QN_TRY(read_float(s, name, 0, out));
  if (*out >= 0 && *out <= 1e12) return QUERN_OK;
  return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "%s: %s.%s is not a number from 0 to 1e12", s->file.name,
                 s->prefix, name);
}

/* What would change the model and is not read. */
static quern_status refuse_keys(const qn_gguf_source *s) {
  static const char *const sizes[] = {"expert_count", "rope.scaling.yarn_log_multiplier"};
  static const char *const floats[] = {"attention.max_alibi_bias", "attention.clamp_kqv", "logit_scale",
                                       "residual_scale",           "embedding_scale",     "attention.scale"};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] + sizeof floats / sizeof floats[0]; i++) {
    const size_t f = i - sizeof sizes / sizeof sizes[0];
    const char *name = i < sizeof sizes / sizeof sizes[0] ? sizes[i] : floats[f];
    char key[KEY_BYTES];
    const qn_gguf_value *v = qn_gguf_find(&s->file, key_of(s, name, key));
    int zero = 1;
    for (size_t b = 0; v && b < v->bytes; b++) zero &= v->data[b] == 0;
    if (!zero)
      return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED, "%s: %s is not supported by this version", s->file.name,
                     key);
  }
  return QUERN_OK;
}

static quern_status read_sizes(qn_gguf_source *s) {
  qn_arch *a = &s->base.arch;
  const int rms = a->norm == QN_NORM_RMS;
  const qn_gguf_tensor *tokens = qn_gguf_find_tensor(&s->file, "token_embd.weight");
  double eps = 1e-5;
  QN_TRY(read_size(s, "embedding_length", 1, &a->width));
  QN_TRY(read_size(s, "block_count", 1, &a->layers));
  QN_TRY(read_layer_size(s, "attention.head_count", 1, &a->heads));
  a->kv_heads = a->heads;
  QN_TRY(read_layer_size(s, "attention.head_count_kv", 0, &a->kv_heads));
  QN_TRY(read_layer_size(s, "feed_forward_length", 1, &a->ffn));
  QN_TRY(read_size(s, "context_length", 1, &a->positions));
  QN_TRY(read_float(s, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", 1, &eps));
  if (!tokens || tokens->rank != 2 || tokens->dim[0] > QN_MAX_VOCAB)
    return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "%s: token_embd.weight is %s", s->file.name,
                   tokens ? "not a matrix of at most 2^24 rows" : "missing");
  a->vocab = (uint32_t)tokens->dim[0];
  a->norm_eps = eps > 0 && eps <= 1 ? (float)eps : 0; /* which the check refuses */
  if (a->positions > QN_MAX_POSITIONS) a->positions = QN_MAX_POSITIONS;
  a->head_dim = a->heads ? a->width / a->heads : 0;
  QN_TRY(read_size(s, "attention.key_length", 0, &a->head_dim));
  uint32_t values = a->head_dim;
  QN_TRY(read_size(s, "attention.value_length", 0, &values));
  if (values != a->head_dim)
    return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                   "%s: keys of %u and values of %u channels are not supported", s->file.name, a->head_dim, values);
  return QUERN_OK;
}

static quern_status read_rotation(qn_gguf_source *s, qn_rotation *r) {
  qn_arch *a = &s->base.arch;
  char key[KEY_BYTES];
  qn_gguf_text kind = {"none", 4};
  r->base = 10000;
  a->rotary = a->head_dim;
  QN_TRY(read_factor(s, "rope.freq_base", &r->base));
  QN_TRY(read_factor(s, "rope.freq_base_swa", &r[1].base));
  QN_TRY(read_size(s, "rope.dimension_count", 0, &a->rotary));
  QN_TRY(read_factor(s, "rope.scale_linear", &r->linear));
  QN_TRY(qn_gguf_get_text(&s->file, key_of(s, "rope.scaling.type", key), 0, &kind));
  if (qn_gguf_text_is(kind, "linear")) {
    QN_TRY(read_factor(s, "rope.scaling.factor", &r->linear));
  } else if (!qn_gguf_text_is(kind, "none")) {
    return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                   "%s: %s \"%.*s\" is not supported (supported: none, linear, and LLaMA 3's factors)", s->file.name,
                   key, (int)qn_min_size(kind.bytes, 32), kind.data);
  }
  if (r->base > 1 && (r[1].base > 1 || r[1].base == 0)) return QUERN_OK;
  return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "%s: a rotary base is not above 1", s->file.name);
}

/* Local layers: a pattern says each n-th is global, or lists which are local. */
static quern_status read_window(qn_gguf_source *s) {
  qn_arch *a = &s->base.arch;
  char key[KEY_BYTES];
  const qn_gguf_value *list = qn_gguf_find(&s->file, key_of(s, "attention.sliding_window_pattern", key));
  QN_TRY(read_size(s, "attention.sliding_window", 0, &a->window));
  a->global_every = s->base.family->decoder->global_every;
  if (!list || !list->is_array) return read_size(s, "attention.sliding_window_pattern", 0, &a->global_every);
  QN_TRY(qn_gguf_get_array(&s->file, key, 1, list->kind == QN_GGUF_BOOL ? QN_GGUF_BOOL : QN_GGUF_I32, &list));
  a->global_every = 0;
  if (list->count != a->layers)
    return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "%s: %s has %llu entries for %u layers", s->file.name, key,
                   (unsigned long long)list->count, a->layers);
  for (uint64_t i = 0; i < list->count; i++) {
    const int global = qn_gguf_item_int(list, i) == 0;
    if (global && !a->global_every) a->global_every = (uint32_t)i + 1;
    if (a->global_every && global != ((i + 1) % a->global_every == 0))
      return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                     "%s: %s is not supported: each n-th layer is global, or none", s->file.name, key);
  }
  return QUERN_OK;
}

static quern_status read_cap(const qn_gguf_source *s, const char *name, float *out) {
  double v = 0;
  QN_TRY(read_factor(s, name, &v));
  *out = (float)v;
  return QUERN_OK;
}

/* A head for tokens, or what embeddings are made of. */
static quern_status read_outputs(qn_gguf_source *s) {
  static const uint32_t pools[] = {QN_POOL_NONE, QN_POOL_MEAN, QN_POOL_CLS, QN_POOL_LAST};
  qn_arch *a = &s->base.arch;
  char key[KEY_BYTES];
  uint32_t pool = 1;
  uint64_t types = 0;
  int causal = (int)a->causal;
  QN_TRY(qn_gguf_get_bool(&s->file, key_of(s, "attention.causal", key), 0, &causal));
  a->causal = causal != 0;
  if (a->causal) {
    a->head = QN_HEAD_TOKENS;
    a->tied = !has(s, "output.weight");
    return QUERN_OK;
  }
  QN_TRY(read_size(s, "pooling_type", 0, &pool));
  if (pool < 1 || pool >= sizeof pools / sizeof pools[0])
    return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                   "%s: %s.pooling_type %u is not supported (supported: 1 mean, 2 first, 3 last token)", s->file.name,
                   s->prefix, pool);
  a->pool = pools[pool];
  a->normalize = 1; /* as what runs such files does */
  const qn_gguf_tensor *t = qn_gguf_find_tensor(&s->file, "token_types.weight");
  if (t && t->rank == 2) types = qn_min_size(t->dim[0], QN_MAX_TYPES);
  a->types = (uint32_t)types;
  return QUERN_OK;
}

/* The file may have a factor for each frequency of all layers that are not local. */
static quern_status take_frequencies(qn_gguf_source *s, const qn_rotation *rotation) {
  const qn_gguf_tensor *t = qn_gguf_find_tensor(&s->file, FACTORS);
  float factors[QN_MAX_HEAD_DIM / 2];
  if (t) {
    const uint32_t n = s->base.arch.rotary / 2;
    if (t->rank != 1 || t->columns != n)
      return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "%s: " FACTORS " has %llu factors, %u are expected",
                     s->file.name, (unsigned long long)t->elements, n);
    QN_TRY(qn_gguf_read(&s->file, t, 0, 1, factors));
    for (uint32_t i = 0; i < n; i++)
      if (!(factors[i] >= 1e-6f && factors[i] <= 1e6f))
        return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "%s: " FACTORS ": factor %u is out of range", s->file.name,
                       i);
  }
  qn_source_take_rotation(&s->base, rotation, t ? factors : NULL);
  return QUERN_OK;
}

/* Gemma's largest scales scores by another width than that of its heads. Nothing in its metadata says so; runtimes know it by its layers. */
#define GEMMA_27B_LAYERS 62u

static quern_status describe(qn_gguf_source *s) {
  const qn_decoder *f = s->base.family->decoder;
  qn_arch *a = &s->base.arch;
  qn_rotation rotation[2] = {{0}};
  qn_decoder_start(f, a);
  QN_TRY(refuse_keys(s));
  QN_TRY(read_sizes(s));
  QN_TRY(read_rotation(s, rotation));
  QN_TRY(read_window(s));
  QN_TRY(read_cap(s, "attn_logit_softcapping", &a->score_cap));
  QN_TRY(read_cap(s, "final_logit_softcapping", &a->logit_cap));
  QN_TRY(read_outputs(s));
  if (a->family == QN_FAMILY_LLAMA && a->window) a->family = QN_FAMILY_MISTRAL;
  if (a->family == QN_FAMILY_GEMMA3 && a->layers == GEMMA_27B_LAYERS && a->heads)
    a->score_scale = (float)(1 / __builtin_sqrt((double)(a->width / a->heads)));
  qn_decoder_finish(f, a, rotation);
  a->sentence_tokens = a->positions;
  QN_TRY(qn_arch_check(a, s->base.env, QUERN_E_SOURCE));
  QN_TRY(take_frequencies(s, rotation));
  return refuse_unknown(s);
}

/* ---- tensors ---- */

static quern_status find(const qn_source *source, const char *name, const qn_origin *o, qn_source_tensor *out) {
  const qn_gguf_source *s = (const qn_gguf_source *)source;
  const qn_gguf_tensor *t = qn_gguf_find_tensor(&s->file, o->name);
  (void)name;
  if (!t) return QUERN_OK;
  QN_TRY(qn_gguf_check_type(&s->file, t));
  *out = (qn_source_tensor){.entry = t, .name = t->name, .rank = t->rank, .bytes = t->bytes};
  for (uint32_t i = 0; i < t->rank && i < QN_SOURCE_RANK; i++) out->dim[i] = t->dim[i];
  return QUERN_OK;
}

/* Of a vector the reader has one row: part of it goes through a copy. */
static quern_status read_rows(const qn_source *source, const qn_source_tensor *tensor, uint64_t first, uint64_t rows,
                              float *dst) {
  const qn_gguf_source *s = (const qn_gguf_source *)source;
  const qn_gguf_tensor *t = tensor->entry;
  const size_t bytes = (size_t)t->columns * sizeof(float);
  void *whole = NULL;
  if (t->rank == 2) return qn_gguf_read(&s->file, t, first, rows, dst);
  if (rows == t->columns) return qn_gguf_read(&s->file, t, 0, 1, dst);
  QN_TRY(qn_alloc(source->env, &whole, bytes, "a vector"));
  const quern_status status = qn_gguf_read(&s->file, t, 0, 1, whole);
  if (status == QUERN_OK) memcpy(dst, (const float *)whole + first, (size_t)rows * sizeof *dst);
  qn_free(source->env, whole, bytes);
  return status;
}

static uint64_t weight_bytes(const qn_source *source) { return ((const qn_gguf_source *)source)->file.bytes; }

static const char *label(const qn_source *source, uint32_t i) {
  (void)source, (void)i;
  return NULL;
}

static quern_status build_tokenizer(const qn_source *source, qn_buffer *section) {
  return qn_gguf_tokenizer(&((const qn_gguf_source *)source)->file, source->arch.vocab, section);
}

static quern_status read_speech(const qn_source *source, qn_speech *out) {
  return qn_gguf_speech(&((const qn_gguf_source *)source)->file, source->arch.vocab, out);
}

/* ---- opening ---- */

static quern_status read_architecture(qn_gguf_source *s) {
  qn_gguf_text name;
  QN_TRY(qn_gguf_get_text(&s->file, "general.architecture", 1, &name));
  if (name.bytes < sizeof s->prefix && !memchr(name.data, 0, name.bytes)) {
    memcpy(s->prefix, name.data, name.bytes);
    s->base.family = qn_family_find_gguf(s->prefix);
  }
  if (s->base.family) return QUERN_OK;
  char list[256] = "";
  size_t n = 0;
  for (uint32_t i = 0; qn_family_at(i); i++) {
    const qn_decoder *d = qn_family_at(i)->decoder;
    if (d && d->gguf && n < sizeof list) n += qn_format(list + n, sizeof list - n, "%s%s", n ? ", " : "", d->gguf);
  }
  return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                 "%s: general.architecture \"%.*s\" is not supported (supported: %s)", s->file.name,
                 (int)qn_min_size(name.bytes, 64), name.data, list);
}

static quern_status open_file(qn_gguf_source *s, const char *path, uint64_t limit) {
  QN_TRY(qn_gguf_open(&s->file, s->base.env, path, limit));
  QN_TRY(read_architecture(s));
  qn_source_take_name(&s->base, path);
  return describe(s);
}

static void close_file(qn_source *source) {
  qn_gguf_source *s = (qn_gguf_source *)source;
  if (s->file.env) qn_gguf_close(&s->file);
  qn_free(source->env, s, sizeof *s);
}

quern_status qn_source_open_gguf(qn_source **out, qn_env *env, const char *path, uint64_t limit) {
  static const qn_source_kind kind = {"its metadata", close_file, weight_bytes, label,    build_tokenizer,
                                      read_speech,    origin,     find,         read_rows};
  void *p;
  QN_TRY(qn_alloc_array(env, &p, 1, sizeof(qn_gguf_source), "the source model"));
  qn_gguf_source *s = p;
  s->base.env = env;
  s->base.kind = &kind;
  const quern_status status = open_file(s, path, limit);
  if (status == QUERN_OK)
    *out = &s->base;
  else
    close_file(&s->base);
  return status;
}
