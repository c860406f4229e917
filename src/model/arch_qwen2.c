/* arch_qwen2.c - Qwen2 and 2.5: names of transformers' Qwen2ForCausalLM. LLaMA with biases of queries, keys and values. Stateless. */
#include "model/family.h"

/* With use_sliding_window layers from max_window_layers on are local: all or none are supported. */
static quern_status read_own(qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *c) {
  (void)rotation;
  const int64_t first = qn_json_int(c, 0, "max_window_layers", 28);
  if (!qn_json_bool(c, 0, "use_sliding_window", 0) || !qn_config_given(c, "sliding_window") || first >= a->layers)
    return QUERN_OK;
  if (first > 0)
    return qn_fail(
        &env->error, QUERN_E_UNSUPPORTED,
        "config.json: max_window_layers %lld of %u layers is not supported: all layers have a window, or none",
        (long long)first, a->layers);
  return qn_config_size(env, c, "sliding_window", &a->window);
}

static const qn_decoder decoder = {
    .family = QN_FAMILY_QWEN2,
    .norm = QN_NORM_RMS,
    .place = QN_PLACE_PRE,
    .activation = QN_ACT_SILU,
    .causal = 1,
    .gated = 1,
    .biased = 1,
    .base = 10000,
    .rotated = 1,
    .gguf = "qwen2",
    .key = QN_DECODER_KEYS("rms_norm_eps", "hidden_act"),
    .prefix = "model.",
    .layer_stem = "layers.",
    .outer = qn_llama_outer,
    .layer = qn_llama_layer,
    .read = read_own,
};

static const char *const model_types[] = {"qwen2", NULL};

const qn_family qn_family_qwen2 = {QN_FAMILY_QWEN2, "qwen2", model_types, NULL, NULL, &decoder};
