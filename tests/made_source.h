/* made_source.h - small models of any architecture, quantized by the library from a source that is not there: the functions
 * of import/import.h are replaced in the link (Makefile: --wrap) by ones that make up any tensor that is asked for. A value is a pure
 * function of (seed, name, index), names being those of model/arch.h, so that reference_decoder.h knows what was read.
 *
 *   tiny_source = tiny_arch("llama"); ... change a field ...; quern_quantize_file(c, "any", path, &options, NULL);
 *
 * Tests only; one thread. */
#ifndef QN_MADE_SOURCE_H
#define QN_MADE_SOURCE_H
#include <math.h>

#include "import/import.h"
#include "tiny_model.h"

static qn_arch tiny_source;
static int tiny_biased; /* 0: no biases; 1: of queries, keys and values; 2: of all operators */
static uint64_t tiny_seed = 7;

static inline int tiny_ends(const char *name, const char *end) {
  const size_t n = strlen(name), m = strlen(end);
  return n >= m && !strcmp(name + n - m, end);
}
static inline int tiny_has(const char *name) {
  if (!tiny_ends(name, ".bias") || tiny_ends(name, "norm.bias")) return 1;
  return tiny_biased == 2 ||
         (tiny_biased == 1 && (strstr(name, "attn.q.") || strstr(name, "attn.k.") || strstr(name, "attn.v.")));
}
static inline float tiny_value(const char *name, uint64_t i) {
  if (tiny_ends(name, ".frequency"))
    return powf(strstr(name, "local") ? 100.0f : 10000.0f, -2.0f * (float)i / (float)tiny_source.rotary);
  const float x = tiny_weight(tiny_seed, name, i);
  return tiny_ends(name, ".gain") ? 1.0f + x / 2 : x;
}

/* ---- architectures ---- */

/* What all have in common; then by name. */
static inline qn_arch tiny_arch(const char *name) {
  qn_arch a = {.bytes = sizeof a,
               .family = QN_FAMILY_LLAMA,
               .layers = 3,
               .width = 32,
               .heads = 4,
               .kv_heads = 2,
               .head_dim = 8,
               .ffn = 48,
               .vocab = 96,
               .positions = 512,
               .norm = QN_NORM_RMS,
               .place = QN_PLACE_PRE,
               .activation = QN_ACT_SILU,
               .norm_eps = 1e-5f,
               .head = QN_HEAD_TOKENS,
               .labels = 96,
               .sentence_tokens = 512,
               .causal = 1,
               .gated = 1,
               .no_embed_norm = 1,
               .final_norm = 1,
               .rotary = 8};
  tiny_biased = 0;
  if (!strcmp(name, "mistral")) {
    a.family = QN_FAMILY_MISTRAL, a.window = 20, a.heads = 6, a.kv_heads = 3;
  } else if (!strcmp(name, "qwen2")) {
    a.family = QN_FAMILY_QWEN2, a.tied = 1, a.heads = 3, a.kv_heads = 1, a.head_dim = a.rotary = 24;
    tiny_biased = 1;
  } else if (!strcmp(name, "gemma3")) {
    a.family = QN_FAMILY_GEMMA3, a.place = QN_PLACE_SANDWICH, a.activation = QN_ACT_GELU_TANH, a.kv_heads = 1;
    a.head_dim = a.rotary = 16, a.window = 24, a.global_every = 2, a.local_rotary = a.head_norm = a.tied = 1;
    a.embed_scale = 5.65625f, a.score_scale = 0.3f;
  } else if (!strcmp(name, "capped")) { /* as Gemma 2 */
    a.place = QN_PLACE_SANDWICH, a.score_cap = 5, a.logit_cap = 3, a.kv_heads = 4;
  } else if (!strcmp(name, "phi2")) {
    a.family = QN_FAMILY_PHI2, a.norm = QN_NORM_LAYER, a.place = QN_PLACE_PARALLEL, a.gated = 0, a.rotary = 4;
    a.activation = QN_ACT_GELU_TANH, a.kv_heads = 4;
    tiny_biased = 2;
  } else if (!strcmp(name, "nomic")) {
    a.family = QN_FAMILY_NOMIC, a.norm = QN_NORM_LAYER, a.place = QN_PLACE_POST, a.kv_heads = 4, a.types = 2;
    a.causal = a.no_embed_norm = a.final_norm = a.head = a.labels = 0, a.pool = QN_POOL_MEAN;
  } else if (!strcmp(name, "embeddinggemma")) {
    a = tiny_arch("gemma3");
    a.causal = a.tied = a.head = a.labels = 0, a.pool = QN_POOL_MEAN, a.normalize = 1;
    a.dense = 40, a.dense_activation = QN_ACT_NONE, a.dense2 = 32, a.dense2_activation = QN_ACT_NONE;
  }
  return a;
}

/* ---- the source ---- */

quern_status __wrap_qn_source_open(qn_source **out, qn_env *env, const char *dir, uint64_t limit);
void __wrap_qn_source_close(qn_source *s);
const qn_arch *__wrap_qn_source_arch(const qn_source *s);
uint64_t __wrap_qn_source_weight_bytes(const qn_source *s);
quern_status __wrap_qn_source_find(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim,
                                   uint64_t *bytes);
quern_status __wrap_qn_source_read(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, float *dst,
                                   int *present);
quern_status __wrap_qn_source_read_rows(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim,
                                        uint64_t first, uint64_t rows, float *dst, int *present);
const char *__wrap_qn_source_label(const qn_source *s, uint32_t i);
const char *__wrap_qn_source_name(const qn_source *s);
quern_status __wrap_qn_source_tokenizer(const qn_source *s, qn_buffer *section);
quern_status __wrap_qn_source_speech(const qn_source *s, qn_speech *out);

quern_status __wrap_qn_source_open(qn_source **out, qn_env *env, const char *dir, uint64_t limit) {
  (void)env, (void)dir, (void)limit;
  *out = (qn_source *)(void *)&tiny_source;
  return QUERN_OK;
}
void __wrap_qn_source_close(qn_source *s) { (void)s; }
const qn_arch *__wrap_qn_source_arch(const qn_source *s) { return (const qn_arch *)(const void *)s; }
uint64_t __wrap_qn_source_weight_bytes(const qn_source *s) { return s ? 1 : 0; }
const char *__wrap_qn_source_label(const qn_source *s, uint32_t i) { return s && i ? NULL : NULL; }
const char *__wrap_qn_source_name(const qn_source *s) { return s ? "tiny" : ""; }
quern_status __wrap_qn_source_speech(const qn_source *s, qn_speech *out) {
  (void)s;
  *out = (qn_speech){.end_count = 0};
  return QUERN_OK;
}
quern_status __wrap_qn_source_tokenizer(const qn_source *s, qn_buffer *section) {
  (void)s, (void)section;
  return QUERN_OK;
}
quern_status __wrap_qn_source_find(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim,
                                   uint64_t *bytes) {
  (void)s;
  *bytes = tiny_has(name) ? 4 * dim[0] * (rank == 2 ? dim[1] : 1) : 0;
  return QUERN_OK;
}
quern_status __wrap_qn_source_read_rows(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim,
                                        uint64_t first, uint64_t rows, float *dst, int *present) {
  const uint64_t width = rank == 2 ? dim[1] : 1;
  (void)s;
  if (present) *present = tiny_has(name);
  if (!tiny_has(name)) return QUERN_OK;
  for (uint64_t i = 0; i < rows * width; i++) dst[i] = tiny_value(name, first * width + i);
  return QUERN_OK;
}
quern_status __wrap_qn_source_read(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, float *dst,
                                   int *present) {
  return __wrap_qn_source_read_rows(s, name, rank, dim, 0, dim[0], dst, present);
}
#endif
