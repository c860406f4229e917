/* arch_gemma3.c - Gemma 3 and EmbeddingGemma: names of transformers' Gemma3ForCausalLM and Gemma3TextModel. Norms before and behind each
 * block and of heads, whose gains a directory holds less 1; local layers with a rotation of their own and every sixth a global one;
 * scaled embeddings, which are the head too. Stateless. */
#include <string.h>
#include "model/family.h"

#define GLOBAL_EVERY 6
#define LOCAL_BASE 10000

static const qn_decoder_name outer[] = {
    {"embed.tokens", "embed_tokens", QN_BIAS_NONE, 0}, {"final.norm", "norm", QN_BIAS_NONE, 0}, {NULL, NULL, 0, 0}};
static const qn_decoder_name layer[] = {
    {"attn.q", "self_attn.q_proj", QN_BIAS_MAY, 0},
    {"attn.k", "self_attn.k_proj", QN_BIAS_MAY, 0},
    {"attn.v", "self_attn.v_proj", QN_BIAS_MAY, 0},
    {"attn.out", "self_attn.o_proj", QN_BIAS_MAY, 0},
    {"attn.q.norm", "self_attn.q_norm", QN_BIAS_NONE, 0},
    {"attn.k.norm", "self_attn.k_norm", QN_BIAS_NONE, 0},
    {"attn.norm", "input_layernorm", QN_BIAS_NONE, 0},
    {"attn.post", "post_attention_layernorm", QN_BIAS_NONE, 0},
    {"ffn.gate", "mlp.gate_proj", QN_BIAS_NONE, 0},
    {"ffn.up", "mlp.up_proj", QN_BIAS_NONE, 0},
    {"ffn.down", "mlp.down_proj", QN_BIAS_NONE, 0},
    {"ffn.norm", "pre_feedforward_layernorm", QN_BIAS_NONE, 0},
    {"ffn.post", "post_feedforward_layernorm", QN_BIAS_NONE, 0},
    {NULL, NULL, 0, 0},
};
/* Which layers are global: a list, or every so many. */
static quern_status read_layers(qn_arch *a, qn_env *env, const qn_json *c) {
  static const char *const keys[] = {"sliding_window_pattern", "_sliding_window_pattern"};
  const uint32_t list = qn_json_get(c, 0, "layer_types");
  a->global_every = GLOBAL_EVERY;
  for (int i = 0; i < 2; i++)
    if (qn_config_given(c, keys[i])) QN_TRY(qn_config_size(env, c, keys[i], &a->global_every));
  if (!list || c->nodes[list].kind != QN_JSON_ARRAY) return QUERN_OK;
  uint32_t i = 0;
  a->global_every = 0;
  for (uint32_t k = list + 1; k < c->nodes[list].next; k = c->nodes[k].next, i++) {
    const char *kind = c->nodes[k].kind == QN_JSON_STRING ? c->nodes[k].string : "";
    const int global = !strcmp(kind, "full_attention");
    if (global && !a->global_every) a->global_every = i + 1;
    if ((!global && strcmp(kind, "sliding_attention") != 0) ||
        (a->global_every && global != ((i + 1) % a->global_every == 0)))
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "config.json: layer_types: \"%.*s\" of layer %u is not supported: sliding_attention in all layers "
                     "but each n-th, which has full_attention",
                     32, kind, i);
  }
  if (i != a->layers)
    return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: layer_types has %u entries for %u layers", i, a->layers);
  return QUERN_OK;
}

static quern_status read_cap(qn_env *env, const qn_json *c, const char *key, float *out) {
  double v;
  QN_TRY(qn_config_number(env, c, key, 0, 0, 1e6, &v));
  *out = (float)v;
  return QUERN_OK;
}

static quern_status read_attention(qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *c) {
  const uint32_t local = qn_json_path(c, 0, "rope_parameters.sliding_attention");
  double scalar;
  QN_TRY(qn_config_number(env, c, "query_pre_attn_scalar", a->head_dim, 1e-6, 1e6, &scalar));
  if (scalar != a->head_dim) a->score_scale = (float)(1 / __builtin_sqrt(scalar));
  QN_TRY(read_cap(env, c, "attn_logit_softcapping", &a->score_cap));
  QN_TRY(read_cap(env, c, "final_logit_softcapping", &a->logit_cap));
  a->window = 4096; /* transformers' default */
  if (qn_config_given(c, "sliding_window")) QN_TRY(qn_config_size(env, c, "sliding_window", &a->window));
  QN_TRY(qn_config_number(env, c, "rope_local_base_freq", LOCAL_BASE, 1.001, 1e12, &rotation[1].base));
  const double base = local ? qn_json_number(c, local, "rope_theta", 0) : 0;
  if (base > 1 && base <= 1e12) rotation[1].base = base;
  return QUERN_OK;
}

static quern_status read_own(qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *c) {
  QN_TRY(read_attention(a, rotation, env, c));
  QN_TRY(read_layers(a, env, c));
  if (qn_json_bool(c, 0, "use_bidirectional_attention", 0)) {
    a->causal = 0;
    a->window = a->window / 2 + 1; /* as many on either side; transformers' Gemma3TextConfig says so */
  }
  return QUERN_OK;
}

static const qn_decoder decoder = {
    .family = QN_FAMILY_GEMMA3,
    .norm = QN_NORM_RMS,
    .place = QN_PLACE_SANDWICH,
    .activation = QN_ACT_GELU_TANH,
    .causal = 1,
    .gated = 1,
    .head_norm = 1,
    .scaled = 1,
    .tied = 1,
    .plus_1 = 1,
    .global_every = GLOBAL_EVERY,
    .base = 1000000,
    .local_base = LOCAL_BASE,
    .rotated = 1,
    .gguf = "gemma3",
    .key = QN_DECODER_KEYS("rms_norm_eps", "hidden_activation"),
    .prefix = "model.",
    .layer_stem = "layers.",
    .outer = outer,
    .layer = layer,
    .read = read_own,
};

static const char *const model_types[] = {"gemma3_text", NULL};

const qn_family qn_family_gemma3 = {QN_FAMILY_GEMMA3, "gemma3", model_types, NULL, NULL, &decoder};
