/* arch_nomic.c - nomic-bert: names of its authors' NomicBertModel. An encoder with norms behind its blocks as BERT's, but rotary positions,
 * a gated feed-forward block and queries, keys and values in one tensor. Stateless. */
#include <string.h>
#include "model/family.h"

static const qn_decoder_name outer[] = {
    {"embed.tokens", "embeddings.word_embeddings", QN_BIAS_NONE, 0},
    {"embed.types", "embeddings.token_type_embeddings", QN_BIAS_NONE, 0},
    {"embed.norm", "emb_ln", QN_BIAS_MUST, 0},
    {NULL, NULL, 0, 0},
};
static const qn_decoder_name layer[] = {
    {"attn.q", "attn.Wqkv", QN_BIAS_MAY, 1}, {"attn.k", "attn.Wqkv", QN_BIAS_MAY, 2},
    {"attn.v", "attn.Wqkv", QN_BIAS_MAY, 3}, {"attn.out", "attn.out_proj", QN_BIAS_MAY, 0},
    {"attn.norm", "norm1", QN_BIAS_MUST, 0}, {"ffn.gate", "mlp.fc12", QN_BIAS_MAY, 0},
    {"ffn.up", "mlp.fc11", QN_BIAS_MAY, 0},  {"ffn.down", "mlp.fc2", QN_BIAS_MAY, 0},
    {"ffn.norm", "norm2", QN_BIAS_MUST, 0},  {NULL, NULL, 0, 0},
};
static quern_status read_own(qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *c) {
  static const char *const flags[] = {"prenorm", "use_rms_norm", "rotary_emb_interleaved", "parallel_block", "causal"};
  const char *activation = qn_json_string(c, 0, "activation_function", "");
  (void)a, (void)rotation;
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) QN_TRY(qn_config_refuse(env, c, flags[i]));
  if (strcmp(activation, "swiglu") != 0)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "config.json: activation_function \"%.*s\" is not supported (supported: swiglu)", 32, activation);
  if (!qn_config_given(c, "rotary_scaling_factor") && qn_json_int(c, 0, "num_experts", 0) <= 0) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                 "config.json: rotary_scaling_factor and num_experts are not supported");
}

static const qn_decoder decoder = {
    .family = QN_FAMILY_NOMIC,
    .norm = QN_NORM_LAYER,
    .place = QN_PLACE_POST,
    .activation = QN_ACT_SILU,
    .gated = 1,
    .base = 10000,
    .rotated = 1,
    .gguf = "nomic-bert",
    .key = {"n_embd", "n_layer", "n_head", "n_inner", "n_positions", "layer_norm_epsilon", NULL, "rotary_emb_base",
            "rotary_emb_fraction"},
    .prefix = "",
    .layer_stem = "encoder.layers.",
    .outer = outer,
    .layer = layer,
    .read = read_own,
};

static const char *const model_types[] = {"nomic_bert", NULL};

const qn_family qn_family_nomic = {QN_FAMILY_NOMIC, "nomic-bert", model_types, NULL, NULL, &decoder};
