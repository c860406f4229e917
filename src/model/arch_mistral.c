/* arch_mistral.c - Mistral: names of transformers' MistralForCausalLM. LLaMA without biases, with a window in all layers or none; a GGUF file
 * of it says that it is of LLaMA. Stateless. */
#include "model/family.h"

static quern_status read_own(qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *c) {
  (void)rotation;
  return qn_config_given(c, "sliding_window") ? qn_config_size(env, c, "sliding_window", &a->window) : QUERN_OK;
}

static const qn_decoder decoder = {
    .family = QN_FAMILY_MISTRAL,
    .norm = QN_NORM_RMS,
    .place = QN_PLACE_PRE,
    .activation = QN_ACT_SILU,
    .causal = 1,
    .gated = 1,
    .pairs = 1,
    .base = 10000,
    .rotated = 1,
    .key = QN_DECODER_KEYS("rms_norm_eps", "hidden_act"),
    .prefix = "model.",
    .layer_stem = "layers.",
    .outer = qn_llama_outer,
    .layer = qn_llama_layer,
    .read = read_own,
};

static const char *const model_types[] = {"mistral", NULL};

const qn_family qn_family_mistral = {QN_FAMILY_MISTRAL, "mistral", model_types, NULL, NULL, &decoder};
