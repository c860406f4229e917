/* test_hostile_decoder_source.c - configs, metadata and tensors of decoders that are refused, in which words; damaged GGUF files. */
#include "decoder_dir.h"

static int refused(const char *path, quern_status expected, const char *words) {
  char message[QN_ERROR_BYTES] = "";
  qn_source *s = NULL;
  const quern_status status = qn_source_open(&s, &env, path, 0);
  if (status) qn_error_copy(&env.error, message, sizeof message);
  const int ok = status == expected && !s && strstr(message, words);
  if (!ok) printf("  status %d, message: %s\n", status, message);
  qn_source_close(s);
  return ok;
}

static void refuses_configs(void) {
  static const struct {
    const char *family, *more;
    quern_status status;
    const char *words;
  } cases[] = {
      {"llama", "\"x\": [1", QUERN_E_SOURCE, "config.json"},
      {"llama", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4}", QUERN_E_UNSUPPORTED, "\"yarn\""},
      {"llama", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}", QUERN_E_SOURCE, "rope_scaling.factor"},
      {"llama", "\"rope_scaling\": {\"type\": \"linear\"}", QUERN_E_SOURCE, "rope_scaling.factor"},
      {"llama", "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8}", QUERN_E_SOURCE, "low_freq_factor"},
      {"llama",
       "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4,"
       "\"original_max_position_embeddings\": 8}",
       QUERN_E_SOURCE, "not below high_freq_factor"},
      {"llama", "\"rope_parameters\": {\"rope_theta\": 1e300}", QUERN_E_SOURCE, "rope_theta"},
      {"llama", "\"rope_parameters\": {\"rope_theta\": -1}", QUERN_E_SOURCE, "rope_theta"},
      {"llama", "\"partial_rotary_factor\": 1e9", QUERN_E_SOURCE, "partial_rotary_factor"},
      {"llama", "\"partial_rotary_factor\": 0.4", QUERN_E_SOURCE, "rotary dimensions"},
      {"llama", "\"rope_parameters\": {\"partial_rotary_factor\": 2}", QUERN_E_SOURCE, "partial_rotary_factor"},
      {"llama", "\"rope_parameters\": {\"partial_rotary_factor\": 0.4}", QUERN_E_SOURCE, "rotary dimensions"},
      {"mistral", "\"hidden_act\": 7", QUERN_E_SOURCE, "hidden_act"},
      {"mistral", "\"hidden_act\": \"mish\"", QUERN_E_UNSUPPORTED, "mish"},
      {"mistral", "\"sliding_window\": 1e9", QUERN_E_SOURCE, "window"},
      {"mistral", "\"num_key_value_heads\": 3", QUERN_E_SOURCE, "do not share"},
      {"mistral", "\"num_key_value_heads\": 0", QUERN_E_SOURCE, "num_key_value_heads"},
      {"mistral", "\"head_dim\": 7", QUERN_E_SOURCE, "rotary dimensions"},
      {"mistral", "\"head_dim\": 512", QUERN_E_SOURCE, "head size"},
      {"mistral", "\"intermediate_size\": 40", QUERN_E_UNSUPPORTED, "multiple of 16"},
      {"mistral", "\"architectures\": [\"MistralForSequenceClassification\"]", QUERN_E_UNSUPPORTED,
       "MistralForSequenceClassification"},
      {"mistral", "\"architectures\": [\"MistralModel\"]", QUERN_E_UNSUPPORTED, "a head for tokens"},
      {"qwen2", "\"use_sliding_window\": true, \"sliding_window\": 8, \"max_window_layers\": 1", QUERN_E_UNSUPPORTED,
       "max_window_layers"},
      {"qwen2", "\"use_sliding_window\": true, \"sliding_window\": 0, \"max_window_layers\": 0", QUERN_E_SOURCE,
       "sliding_window"},
      {"gemma3", "\"layer_types\": [\"full_attention\"]", QUERN_E_SOURCE, "layer_types has 1"},
      {"gemma3", "\"layer_types\": [\"full_attention\", \"sliding_attention\"]", QUERN_E_UNSUPPORTED, "layer_types"},
      {"gemma3", "\"layer_types\": [7, null]", QUERN_E_UNSUPPORTED, "layer_types"},
      {"gemma3", "\"layer_types\": [\"chunked_attention\", \"full_attention\"]", QUERN_E_UNSUPPORTED,
       "chunked_attention"},
      {"gemma3", "\"query_pre_attn_scalar\": -4", QUERN_E_SOURCE, "query_pre_attn_scalar"},
      {"gemma3", "\"final_logit_softcapping\": -30", QUERN_E_SOURCE, "final_logit_softcapping"},
      {"gemma3", "\"use_bidirectional_attention\": true", QUERN_E_UNSUPPORTED, "a head for tokens"},
      {"embeddinggemma", "\"attn_logit_softcapping\": 30", QUERN_E_UNSUPPORTED, "score cap"},
      {"embeddinggemma", "\"use_bidirectional_attention\": false", QUERN_E_UNSUPPORTED, "a head for tokens"},
      {"phi2", "\"qk_layernorm\": true", QUERN_E_UNSUPPORTED, "qk_layernorm"},
      {"nomic", "\"rotary_scaling_factor\": 2", QUERN_E_UNSUPPORTED, "rotary_scaling_factor"},
      {"nomic", "\"activation_function\": \"geglu\"", QUERN_E_UNSUPPORTED, "geglu"},
      {"nomic", "\"prenorm\": true", QUERN_E_UNSUPPORTED, "prenorm"},
      {"nomic", "\"rotary_emb_interleaved\": true", QUERN_E_UNSUPPORTED, "rotary_emb_interleaved"},
      {"nomic", "\"num_experts\": 8", QUERN_E_UNSUPPORTED, "num_experts"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    tiny_decoder o = tiny_decoder_of(cases[i].family);
    o.more_config = cases[i].more;
    fresh(&o);
    if (!refused(dir, cases[i].status, cases[i].words)) {
      printf("  %s: %s\n", cases[i].family, cases[i].more);
      CHECK(0);
    }
  }
}

static void refuses_tensors(void) {
  static const struct {
    const char *family, *skip;
    quern_status status;
    const char *words;
  } cases[] = {
      {"qwen2", "model.layers.1.self_attn.k_proj.bias", QUERN_E_SOURCE, "k_proj.bias"},
      {"llama", "model.layers.1.mlp.gate_proj.weight", QUERN_E_SOURCE, "gate_proj.weight"},
      {"llama", "lm_head.weight", QUERN_E_SOURCE, "lm_head.weight"},
      {"gemma3", "model.layers.0.self_attn.q_norm.weight", QUERN_E_SOURCE, "q_norm.weight"},
      {"phi2", "model.layers.0.mlp.fc1.bias", QUERN_E_SOURCE, "fc1.bias"},
      {"nomic", "encoder.layers.1.attn.Wqkv.weight", QUERN_E_SOURCE, "Wqkv.weight"},
  };
  char why[512], to[300];
  quern_quantize_options qo;
  quern_quantize_options_init(&qo, sizeof qo);
  snprintf(to, sizeof to, "%s/m.qrn", dir);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int poisoned = 0; poisoned < 2; poisoned++) {
      tiny_decoder o = tiny_decoder_of(cases[i].family);
      *(poisoned ? &o.poison : &o.skip) = cases[i].skip;
      fresh(&o);
      CHECK_EQ(quern_quantize_file(context, dir, to, &qo, NULL), poisoned ? QUERN_E_NONFINITE : cases[i].status);
      quern_context_error(context, why, sizeof why);
      CHECK(strstr(why, cases[i].words) != NULL);
      if (!poisoned) continue;
      CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
      CHECK_EQ(quern_quantize_file(context, file, to, &qo, NULL), QUERN_E_NONFINITE);
      CHECK_EQ(tiny_dir_count(dir), 3); /* no file is left */
    }
}

static void an_expert(tiny_gguf *w) { tiny_gguf_int(w, "llama.expert_count", 8); }
static void yarn(tiny_gguf *w) { tiny_gguf_text(w, "llama.rope.scaling.type", "yarn"); }
static void scaled_logits(tiny_gguf *w) { tiny_gguf_float(w, "llama.logit_scale", 0.5f); }
static void no_causal(tiny_gguf *w) { tiny_gguf_bool(w, "llama.attention.causal", 0); }
static void ranked(tiny_gguf *w) { tiny_gguf_int(w, "nomic-bert.pooling_type", 4); }
static void uneven_heads(tiny_gguf *w) {
  const uint32_t heads[2] = {4, 2};
  tiny_gguf_array(w, "llama.attention.head_count_kv", 4, 2);
  tiny_gguf_raw(w, heads, sizeof heads);
}
static void even_heads(tiny_gguf *w) {
  const uint32_t heads[2] = {2, 2};
  tiny_gguf_array(w, "llama.attention.head_count_kv", 4, 2);
  tiny_gguf_raw(w, heads, sizeof heads);
}
static void another_pattern(tiny_gguf *w) {
  const uint8_t local[2] = {0, 1};
  tiny_gguf_array(w, "gemma3.attention.sliding_window_pattern", 7, 2);
  tiny_gguf_raw(w, local, sizeof local);
}
static void short_pattern(tiny_gguf *w) {
  const uint8_t local[1] = {1};
  tiny_gguf_array(w, "gemma3.attention.sliding_window_pattern", 7, 1);
  tiny_gguf_raw(w, local, sizeof local);
}
static void the_pattern(tiny_gguf *w) {
  const uint8_t local[2] = {1, 0};
  tiny_gguf_array(w, "gemma3.attention.sliding_window_pattern", 7, 2);
  tiny_gguf_raw(w, local, sizeof local);
}
static void text_for_a_number(tiny_gguf *w) { tiny_gguf_text(w, "llama.block_count", "2"); }
static void negative_base(tiny_gguf *w) { tiny_gguf_float(w, "llama.rope.freq_base", -3.0f); }
static void nan_base(tiny_gguf *w) { tiny_gguf_float(w, "llama.rope.freq_base", NAN); }
static void many_layers(tiny_gguf *w) { tiny_gguf_int(w, "llama.block_count", 1000000); }
static void no_layers(tiny_gguf *w) { tiny_gguf_int(w, "llama.block_count", 0); }
static void no_heads(tiny_gguf *w) { tiny_gguf_int(w, "llama.attention.head_count", 0); }
static void other_values(tiny_gguf *w) { tiny_gguf_int(w, "llama.attention.value_length", 4); }

static void refuses_gguf(void) {
  static const struct {
    const char *family, *skip_key;
    void (*more)(tiny_gguf *w);
    const char *tensor;
    quern_status status; /* OK: it is read */
    const char *words;
  } cases[] = {
      {"llama", NULL, an_expert, NULL, QUERN_E_UNSUPPORTED, "llama.expert_count"},
      {"llama", NULL, yarn, NULL, QUERN_E_UNSUPPORTED, "\"yarn\""},
      {"llama", NULL, scaled_logits, NULL, QUERN_E_UNSUPPORTED, "llama.logit_scale"},
      {"llama", NULL, no_causal, NULL, QUERN_E_UNSUPPORTED, "tensor output.weight"},
      {"nomic", NULL, ranked, NULL, QUERN_E_UNSUPPORTED, "pooling_type 4"},
      {"llama", "attention.head_count_kv", uneven_heads, NULL, QUERN_E_UNSUPPORTED, "differs from layer to layer"},
      {"llama", "attention.head_count_kv", even_heads, NULL, QUERN_OK, ""},
      {"gemma3", "attention.sliding_window_pattern", another_pattern, NULL, QUERN_E_UNSUPPORTED, "pattern"},
      {"gemma3", "attention.sliding_window_pattern", short_pattern, NULL, QUERN_E_SOURCE, "1 entries for 2 layers"},
      {"gemma3", "attention.sliding_window_pattern", the_pattern, NULL, QUERN_OK, ""},
      {"llama", "block_count", text_for_a_number, NULL, QUERN_E_SOURCE, "llama.block_count"},
      {"llama", "block_count", many_layers, NULL, QUERN_E_SOURCE, "layers is 1000000"},
      {"llama", "block_count", no_layers, NULL, QUERN_E_SOURCE, "layers is 0"},
      {"llama", "attention.head_count", no_heads, NULL, QUERN_E_SOURCE, "heads is 0"},
      {"llama", "attention.value_length", other_values, NULL, QUERN_E_UNSUPPORTED, "values of 4"},
      {"llama", "rope.freq_base", negative_base, NULL, QUERN_E_SOURCE, "rope.freq_base"},
      {"llama", "rope.freq_base", nan_base, NULL, QUERN_E_SOURCE, "rope.freq_base"},
      {"llama", "embedding_length", NULL, NULL, QUERN_E_SOURCE, "llama.embedding_length"},
      {"llama", "attention.layer_norm_rms_epsilon", NULL, NULL, QUERN_E_SOURCE, "layer_norm_rms_epsilon"},
      {"phi2", "attention.layer_norm_epsilon", NULL, NULL, QUERN_E_SOURCE, "layer_norm_epsilon"},
      {"llama", NULL, NULL, "blk.0.attn_q_norm.weight", QUERN_E_UNSUPPORTED, "blk.0.attn_q_norm.weight"},
      {"llama", NULL, NULL, "blk.0.attn_norm.bias", QUERN_E_UNSUPPORTED, "blk.0.attn_norm.bias"},
      {"llama", NULL, NULL, "blk.0.ffn_gate_exps.weight", QUERN_E_UNSUPPORTED, "ffn_gate_exps"},
      {"llama", NULL, NULL, "blk.", QUERN_E_UNSUPPORTED, "tensor blk."},
      {"llama", NULL, NULL, "position_embd.weight", QUERN_E_UNSUPPORTED, "position_embd"},
      {"phi2", NULL, NULL, "blk.0.ffn_norm.weight", QUERN_E_UNSUPPORTED, "ffn_norm"},
      {"phi2", NULL, NULL, "rope_freqs.weight", QUERN_E_SOURCE, "2 are expected"},
      {"gpt2", NULL, NULL, NULL, QUERN_E_UNSUPPORTED,
       "\"gpt2\" is not supported (supported: llama, qwen2, gemma3, phi2, nomic-bert)"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    tiny_decoder o = tiny_decoder_of(cases[i].family);
    o.skip_key = cases[i].skip_key, o.more_keys = cases[i].more, o.more_tensor = cases[i].tensor;
    fresh(&o);
    CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
    if (cases[i].status == QUERN_OK) {
      qn_source_close(open_source(file));
    } else if (!refused(file, cases[i].status, cases[i].words)) {
      printf("  case %zu\n", i);
      CHECK(0);
    }
  }
}

/* Every truncation, and a bit of every byte before the data: a status or a model, never a fault. */
static void survives_damaged_gguf(void) {
  const tiny_decoder o = tiny_decoder_of("gemma3");
  tiny_gguf w;
  size_t opened_some = 0;
  fresh(&o);
  tiny_decoder_make_gguf(&w, &o);
  const size_t header = 4096 < w.bytes ? 4096 : w.bytes;
  for (size_t i = 0; i < header; i++) {
    const uint8_t was = w.data[i];
    qn_source *s = NULL;
    w.data[i] = (uint8_t)(was ^ (1u << (tiny_hash(i) & 7)));
    CHECK(tiny_file(dir, "m.gguf", w.data, i % 3 ? w.bytes : i));
    if (qn_source_open(&s, &env, file, 0) == QUERN_OK) {
      float row[64];
      const qn_arch *a = qn_source_arch(s);
      const uint64_t dim[2] = {a->head_dim * a->kv_heads, a->width};
      if (a->width <= 64) (void)qn_source_read_rows(s, "layers.0.attn.k.weight", 2, dim, 0, 1, row, NULL);
      opened_some++;
    }
    qn_source_close(s);
    w.data[i] = was;
  }
  CHECK(opened_some > 0 && opened_some < header);
  free(w.data);
}

int main(void) {
  if (!decoder_dir_start()) return 1;
  RUN(refuses_configs);
  RUN(refuses_tensors);
  RUN(refuses_gguf);
  RUN(survives_damaged_gguf);
  decoder_dir_end();
  return TEST_END();
}
