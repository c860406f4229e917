/* arch_phi2.c - Phi-1.5 and Phi-2: names of transformers' PhiForCausalLM. One norm a layer, before attention and the feed-forward block
 * side by side; part of each head is rotated; biases everywhere. Stateless. */
#include "model/family.h"

static const qn_decoder_name outer[] = {{"embed.tokens", "embed_tokens", QN_BIAS_NONE, 0},
                                        {"final.norm", "final_layernorm", QN_BIAS_MUST, 0},
                                        {NULL, NULL, 0, 0}};
static const qn_decoder_name layer[] = {
    {"attn.q", "self_attn.q_proj", QN_BIAS_MUST, 0},   {"attn.k", "self_attn.k_proj", QN_BIAS_MUST, 0},
    {"attn.v", "self_attn.v_proj", QN_BIAS_MUST, 0},   {"attn.out", "self_attn.dense", QN_BIAS_MUST, 0},
    {"attn.norm", "input_layernorm", QN_BIAS_MUST, 0}, {"ffn.up", "mlp.fc1", QN_BIAS_MUST, 0},
    {"ffn.down", "mlp.fc2", QN_BIAS_MUST, 0},          {NULL, NULL, 0, 0},
};
static quern_status read_own(qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *c) {
  (void)a, (void)rotation;
  return qn_config_refuse(env, c, "qk_layernorm");
}

static const qn_decoder decoder = {
    .family = QN_FAMILY_PHI2,
    .norm = QN_NORM_LAYER,
    .place = QN_PLACE_PARALLEL,
    .activation = QN_ACT_GELU_TANH,
    .causal = 1,
    .base = 10000,
    .rotated = 0.5,
    .gguf = "phi2",
    .key = QN_DECODER_KEYS("layer_norm_eps", "hidden_act"),
    .prefix = "model.",
    .layer_stem = "layers.",
    .outer = outer,
    .layer = layer,
    .read = read_own,
};

static const char *const model_types[] = {"phi", NULL};

const qn_family qn_family_phi2 = {QN_FAMILY_PHI2, "phi2", model_types, NULL, NULL, &decoder};
