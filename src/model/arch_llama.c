/* arch_llama.c - LLaMA 1 to 3 and what is built alike (Vicuna, SmolLM2): names of transformers' LlamaForCausalLM. Stateless. */
#include "model/family.h"

const qn_decoder_name qn_llama_outer[] = {
    {"embed.tokens", "embed_tokens", QN_BIAS_NONE, 0}, {"final.norm", "norm", QN_BIAS_NONE, 0}, {NULL, NULL, 0, 0}};
const qn_decoder_name qn_llama_layer[] = {
    {"attn.q", "self_attn.q_proj", QN_BIAS_MAY, 0},
    {"attn.k", "self_attn.k_proj", QN_BIAS_MAY, 0},
    {"attn.v", "self_attn.v_proj", QN_BIAS_MAY, 0},
    {"attn.out", "self_attn.o_proj", QN_BIAS_MAY, 0},
    {"attn.norm", "input_layernorm", QN_BIAS_NONE, 0},
    {"ffn.gate", "mlp.gate_proj", QN_BIAS_MAY, 0},
    {"ffn.up", "mlp.up_proj", QN_BIAS_MAY, 0},
    {"ffn.down", "mlp.down_proj", QN_BIAS_MAY, 0},
    {"ffn.norm", "post_attention_layernorm", QN_BIAS_NONE, 0},
    {NULL, NULL, 0, 0},
};
static const qn_decoder decoder = {
    .family = QN_FAMILY_LLAMA,
    .norm = QN_NORM_RMS,
    .place = QN_PLACE_PRE,
    .activation = QN_ACT_SILU,
    .causal = 1,
    .gated = 1,
    .pairs = 1,
    .base = 10000,
    .rotated = 1,
    .gguf = "llama",
    .key = QN_DECODER_KEYS("rms_norm_eps", "hidden_act"),
    .prefix = "model.",
    .layer_stem = "layers.",
    .outer = qn_llama_outer,
    .layer = qn_llama_layer,
};

static const char *const model_types[] = {"llama", NULL};

const qn_family qn_family_llama = {QN_FAMILY_LLAMA, "llama", model_types, NULL, NULL, &decoder};
