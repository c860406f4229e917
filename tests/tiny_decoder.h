/* tiny_decoder.h - writes a small decoder, or an encoder made like one, of any family, from the same weights as a Hugging Face directory
 * or as a GGUF file, for tests.
 *
 *   tiny_decoder o = tiny_decoder_of("gemma3");   llama, mistral, qwen2, gemma3, embeddinggemma, phi2, nomic
 *   tiny_decoder_write(dir, &o);                  config.json and model.safetensors
 *   tiny_decoder_gguf(path, &o);                  not of embeddinggemma
 *
 * Weights are tiny_weight's by the directory's names, gains of norms alike. Everything is static inline. POSIX; one thread. */
#ifndef QN_TINY_DECODER_H
#define QN_TINY_DECODER_H
#include <math.h>
#include "tiny_gguf.h"

typedef struct tiny_decoder {
  const char *family;
  uint32_t width, layers, heads, kv_heads, head_dim, ffn, vocab, positions, window, every;
  int tied;
  uint64_t seed;
  /* of a directory */
  const char *more_config; /* members, put behind the others: of two of one name the last counts */
  const char *class_name;
  /* of a GGUF file */
  const char *skip_key;            /* one that is left out, without the architecture; NULL: none */
  void (*more_keys)(tiny_gguf *w); /* NULL: none */
  const char *more_tensor;         /* one that no model has; NULL: none */
  /* of both */
  const char *skip, *poison; /* a tensor by the directory's name that is left out, whose element 3 is NaN; NULL: none */
} tiny_decoder;

static inline int tiny_decoder_is(const tiny_decoder *o, const char *family) { return !strcmp(o->family, family); }
static inline int tiny_decoder_gemma(const tiny_decoder *o) { return strstr(o->family, "gemma") != NULL; }

static __attribute__((noinline, unused)) tiny_decoder tiny_decoder_of(const char *family) {
  tiny_decoder o = {.family = family,
                    .width = 32,
                    .layers = 2,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = 8,
                    .ffn = 48,
                    .vocab = 80,
                    .positions = 64,
                    .more_config = "",
                    .seed = 1};
  if (tiny_decoder_gemma(&o)) o.head_dim = 16, o.window = 16, o.every = 2, o.tied = 1;
  if (!strcmp(family, "mistral")) o.window = 16;
  if (!strcmp(family, "phi2")) o.kv_heads = 4, o.head_dim = 8;
  if (!strcmp(family, "nomic")) o.kv_heads = 4;
  o.class_name = !strcmp(family, "embeddinggemma") ? "Gemma3TextModel"
                 : !strcmp(family, "nomic")        ? "NomicBertModel"
                                                   : "TestForCausalLM";
  return o;
}

/* ---- tensors ---- */

typedef struct tiny_decoder_tensor {
  char hf[96], gguf[64];
  uint32_t rows, cols; /* cols 0: a vector of rows */
  uint32_t paired;     /* heads whose rows a GGUF file of LLaMA has as neighbours; 0: it is as it is */
  int gain;
} tiny_decoder_tensor;

/* Both names may have a %u for the layer. */
static inline void tiny_decoder_add(const tiny_decoder *o, tiny_decoder_tensor *t, uint32_t *n, const char *hf,
                                    const char *gguf, uint32_t layer, uint32_t rows, uint32_t cols, uint32_t paired) {
  tiny_decoder_tensor *out = &t[*n];
  memset(out, 0, sizeof *out);
  snprintf(out->hf, sizeof out->hf, hf, layer);
  snprintf(out->gguf, sizeof out->gguf, gguf, layer);
  if (o->skip && !strcmp(o->skip, out->hf)) return;
  out->rows = rows, out->cols = cols, out->paired = paired;
  out->gain = !cols && strstr(out->hf, "norm") && strstr(out->hf, ".weight");
  ++*n;
}

#define TINY_DECODER_TENSORS 64u
/* The tensors; returns how many. */
static inline uint32_t tiny_decoder_tensors(const tiny_decoder *o, tiny_decoder_tensor t[TINY_DECODER_TENSORS]) {
  const uint32_t w = o->width, q = o->heads * o->head_dim, kv = o->kv_heads * o->head_dim;
  const int phi = tiny_decoder_is(o, "phi2"), qwen = tiny_decoder_is(o, "qwen2"), gemma = tiny_decoder_gemma(o);
  const int pairs = tiny_decoder_is(o, "llama") || tiny_decoder_is(o, "mistral");
  uint32_t n = 0;
#define ADD(...) tiny_decoder_add(o, t, &n, __VA_ARGS__)
  if (tiny_decoder_is(o, "nomic")) {
    ADD("embeddings.word_embeddings.weight", "token_embd.weight", 0, o->vocab, w, 0);
    ADD("embeddings.token_type_embeddings.weight", "token_types.weight", 0, 2, w, 0);
    ADD("emb_ln.weight", "token_embd_norm.weight", 0, w, 0, 0);
    ADD("emb_ln.bias", "token_embd_norm.bias", 0, w, 0, 0);
    for (uint32_t l = 0; l < o->layers; l++) {
      ADD("encoder.layers.%u.attn.Wqkv.weight", "blk.%u.attn_qkv.weight", l, q + 2 * kv, w, 0);
      ADD("encoder.layers.%u.attn.out_proj.weight", "blk.%u.attn_output.weight", l, w, q, 0);
      ADD("encoder.layers.%u.norm1.weight", "blk.%u.attn_output_norm.weight", l, w, 0, 0);
      ADD("encoder.layers.%u.norm1.bias", "blk.%u.attn_output_norm.bias", l, w, 0, 0);
      ADD("encoder.layers.%u.mlp.fc12.weight", "blk.%u.ffn_gate.weight", l, o->ffn, w, 0);
      ADD("encoder.layers.%u.mlp.fc11.weight", "blk.%u.ffn_up.weight", l, o->ffn, w, 0);
      ADD("encoder.layers.%u.mlp.fc2.weight", "blk.%u.ffn_down.weight", l, w, o->ffn, 0);
      ADD("encoder.layers.%u.norm2.weight", "blk.%u.layer_output_norm.weight", l, w, 0, 0);
      ADD("encoder.layers.%u.norm2.bias", "blk.%u.layer_output_norm.bias", l, w, 0, 0);
    }
    return n;
  }
  ADD("model.embed_tokens.weight", "token_embd.weight", 0, o->vocab, w, 0);
  ADD(phi ? "model.final_layernorm.weight" : "model.norm.weight", "output_norm.weight", 0, w, 0, 0);
  if (phi) ADD("model.final_layernorm.bias", "output_norm.bias", 0, w, 0, 0);
  if (!o->tied) ADD("lm_head.weight", "output.weight", 0, o->vocab, w, 0);
  if (phi) ADD("lm_head.bias", "output.bias", 0, o->vocab, 0, 0);
  for (uint32_t l = 0; l < o->layers; l++) {
    ADD("model.layers.%u.self_attn.q_proj.weight", "blk.%u.attn_q.weight", l, q, w, pairs ? o->heads : 0);
    ADD("model.layers.%u.self_attn.k_proj.weight", "blk.%u.attn_k.weight", l, kv, w, pairs ? o->kv_heads : 0);
    ADD("model.layers.%u.self_attn.v_proj.weight", "blk.%u.attn_v.weight", l, kv, w, 0);
    if (phi || qwen) {
      ADD("model.layers.%u.self_attn.q_proj.bias", "blk.%u.attn_q.bias", l, q, 0, 0);
      ADD("model.layers.%u.self_attn.k_proj.bias", "blk.%u.attn_k.bias", l, kv, 0, 0);
      ADD("model.layers.%u.self_attn.v_proj.bias", "blk.%u.attn_v.bias", l, kv, 0, 0);
    }
    ADD(phi ? "model.layers.%u.self_attn.dense.weight" : "model.layers.%u.self_attn.o_proj.weight",
        "blk.%u.attn_output.weight", l, w, q, 0);
    ADD("model.layers.%u.input_layernorm.weight", "blk.%u.attn_norm.weight", l, w, 0, 0);
    if (phi) {
      ADD("model.layers.%u.self_attn.dense.bias", "blk.%u.attn_output.bias", l, w, 0, 0);
      ADD("model.layers.%u.input_layernorm.bias", "blk.%u.attn_norm.bias", l, w, 0, 0);
      ADD("model.layers.%u.mlp.fc1.weight", "blk.%u.ffn_up.weight", l, o->ffn, w, 0);
      ADD("model.layers.%u.mlp.fc1.bias", "blk.%u.ffn_up.bias", l, o->ffn, 0, 0);
      ADD("model.layers.%u.mlp.fc2.weight", "blk.%u.ffn_down.weight", l, w, o->ffn, 0);
      ADD("model.layers.%u.mlp.fc2.bias", "blk.%u.ffn_down.bias", l, w, 0, 0);
      continue;
    }
    if (gemma) {
      ADD("model.layers.%u.self_attn.q_norm.weight", "blk.%u.attn_q_norm.weight", l, o->head_dim, 0, 0);
      ADD("model.layers.%u.self_attn.k_norm.weight", "blk.%u.attn_k_norm.weight", l, o->head_dim, 0, 0);
      ADD("model.layers.%u.post_attention_layernorm.weight", "blk.%u.post_attention_norm.weight", l, w, 0, 0);
      ADD("model.layers.%u.post_feedforward_layernorm.weight", "blk.%u.post_ffw_norm.weight", l, w, 0, 0);
    }
    ADD(gemma ? "model.layers.%u.pre_feedforward_layernorm.weight" : "model.layers.%u.post_attention_layernorm.weight",
        "blk.%u.ffn_norm.weight", l, w, 0, 0);
    ADD("model.layers.%u.mlp.gate_proj.weight", "blk.%u.ffn_gate.weight", l, o->ffn, w, 0);
    ADD("model.layers.%u.mlp.up_proj.weight", "blk.%u.ffn_up.weight", l, o->ffn, w, 0);
    ADD("model.layers.%u.mlp.down_proj.weight", "blk.%u.ffn_down.weight", l, w, o->ffn, 0);
  }
#undef ADD
  return n;
}

static inline uint64_t tiny_decoder_elements(const tiny_decoder_tensor *t) {
  return (uint64_t)t->rows * (t->cols ? t->cols : 1);
}

/* Element i as a directory or a GGUF file has it. */
static inline float tiny_decoder_value(const tiny_decoder *o, const tiny_decoder_tensor *t, uint64_t i, int gguf) {
  const uint64_t cols = t->cols ? t->cols : 1, row = i / cols, h = o->head_dim, in = row % h;
  if (o->poison && !strcmp(o->poison, t->hf) && i == 3) return (float)NAN;
  if (gguf && t->paired) i = (row - in + in % 2 * (h / 2) + in / 2) * cols + i % cols;
  const float x = tiny_weight(o->seed, t->hf, i);
  return gguf && t->gain && tiny_decoder_gemma(o) ? x + 1.0f : x;
}

/* ---- a directory ---- */

static inline int tiny_decoder_config(const char *dir, const tiny_decoder *o) {
  static const char *const types[][2] = {{"llama", "llama"},
                                         {"mistral", "mistral"},
                                         {"qwen2", "qwen2"},
                                         {"gemma3", "gemma3_text"},
                                         {"phi2", "phi"},
                                         {"nomic", "nomic_bert"},
                                         {"embeddinggemma", "gemma3_text"}};
  char text[4096], window[256] = "";
  const char *type = "", *comma = *o->more_config ? ", " : "";
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (tiny_decoder_is(o, types[i][0])) type = types[i][1];
  if (o->window) snprintf(window, sizeof window, "\"sliding_window\": %u,\n", o->window);
  if (o->every)
    snprintf(window, sizeof window, "\"sliding_window\": %u, \"sliding_window_pattern\": %u,\n", o->window, o->every);
  if (tiny_decoder_is(o, "nomic"))
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"architectures\": [\"%s\"], \"n_embd\": %u, \"n_layer\": %u, \"n_head\": %u,\n"
             "\"n_inner\": %u, \"n_positions\": %u, \"vocab_size\": %u, \"type_vocab_size\": 2,\n"
             "\"layer_norm_epsilon\": 1e-12, \"rotary_emb_base\": 1000, \"rotary_emb_fraction\": 1.0,\n"
             "\"activation_function\": \"swiglu\", \"prenorm\": false, \"qkv_proj_bias\": false%s%s}\n",
             type, o->class_name, o->width, o->layers, o->heads, o->ffn, o->positions, o->vocab, comma, o->more_config);
  else
    snprintf(text, sizeof text,
             "{\"model_type\": \"%s\", \"architectures\": [\"%s\"], \"hidden_size\": %u, \"num_hidden_layers\": %u,\n"
             "\"num_attention_heads\": %u, \"num_key_value_heads\": %u, \"head_dim\": %u, \"intermediate_size\": %u,\n"
             "\"max_position_embeddings\": %u, \"vocab_size\": %u, \"%s\": 1e-05, \"rope_theta\": 500000.0,\n"
             "%s%s\"tie_word_embeddings\": %s, \"%s\": \"%s\"%s%s}\n",
             type, o->class_name, o->width, o->layers, o->heads, o->kv_heads, o->head_dim, o->ffn, o->positions,
             o->vocab, tiny_decoder_is(o, "phi2") ? "layer_norm_eps" : "rms_norm_eps", window,
             tiny_decoder_is(o, "embeddinggemma") ? "\"use_bidirectional_attention\": true,\n" : "",
             o->tied ? "true" : "false", tiny_decoder_gemma(o) ? "hidden_activation" : "hidden_act",
             tiny_decoder_gemma(o)        ? "gelu_pytorch_tanh"
             : tiny_decoder_is(o, "phi2") ? "gelu_new"
                                          : "silu",
             comma, o->more_config);
  return tiny_text(dir, "config.json", text);
}

static inline int tiny_decoder_write(const char *dir, const tiny_decoder *o) {
  tiny_decoder_tensor t[TINY_DECODER_TENSORS];
  const uint32_t n = tiny_decoder_tensors(o, t);
  uint64_t at = 0;
  tiny_gguf file = {0};
  char entry[512];
  tiny_gguf_u64(&file, 0);
  for (uint32_t i = 0; i < n; i++) {
    const uint64_t bytes = 4 * tiny_decoder_elements(&t[i]);
    char shape[48];
    snprintf(shape, sizeof shape, t[i].cols ? "%u,%u" : "%u", t[i].rows, t[i].cols);
    snprintf(entry, sizeof entry, "%s\"%.95s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
             i ? "," : "{", t[i].hf, shape, (unsigned long long)at, (unsigned long long)(at + bytes));
    tiny_gguf_raw(&file, entry, strlen(entry));
    at += bytes;
  }
  tiny_gguf_raw(&file, "}", 1);
  const uint64_t header = file.bytes - 8;
  memcpy(file.data, &header, 8);
  for (uint32_t i = 0; i < n; i++)
    for (uint64_t k = 0; k < tiny_decoder_elements(&t[i]); k++) {
      const float x = tiny_decoder_value(o, &t[i], k, 0);
      tiny_gguf_raw(&file, &x, sizeof x);
    }
  const int ok = tiny_file(dir, "model.safetensors", file.data, file.bytes) && tiny_decoder_config(dir, o);
  free(file.data);
  return ok;
}

/* ---- a GGUF file ---- */

/* The key of a number below the architecture, unless it is the one to skip; f: where it is no integer. */
static inline void tiny_decoder_key(const tiny_decoder *o, tiny_gguf *w, const char *name, uint32_t i, const float *f) {
  char key[96];
  if (o->skip_key && !strcmp(o->skip_key, name)) return;
  snprintf(key, sizeof key, "%s.%s",
           tiny_decoder_is(o, "nomic")     ? "nomic-bert"
           : tiny_decoder_is(o, "mistral") ? "llama"
                                           : o->family,
           name);
  if (f)
    tiny_gguf_float(w, key, *f);
  else
    tiny_gguf_int(w, key, i);
}

/* The file in memory; free(w->data) in the end. */
static inline void tiny_decoder_make_gguf(tiny_gguf *w, const tiny_decoder *o) {
  const int nomic = tiny_decoder_is(o, "nomic"), layer_norm = nomic || tiny_decoder_is(o, "phi2");
  const float eps = nomic ? 1e-12f : 1e-5f, base = nomic ? 1000.0f : 500000.0f;
  tiny_decoder_tensor t[TINY_DECODER_TENSORS];
  const uint32_t n = tiny_decoder_tensors(o, t);
  uint64_t at = 0;
  tiny_gguf_begin(w);
  tiny_gguf_text(w, "general.architecture", nomic ? "nomic-bert" : tiny_decoder_is(o, "mistral") ? "llama" : o->family);
  tiny_decoder_key(o, w, "embedding_length", o->width, NULL);
  tiny_decoder_key(o, w, "block_count", o->layers, NULL);
  tiny_decoder_key(o, w, "attention.head_count", o->heads, NULL);
  tiny_decoder_key(o, w, "attention.head_count_kv", o->kv_heads, NULL);
  tiny_decoder_key(o, w, "attention.key_length", o->head_dim, NULL);
  tiny_decoder_key(o, w, "attention.value_length", o->head_dim, NULL);
  tiny_decoder_key(o, w, "feed_forward_length", o->ffn, NULL);
  tiny_decoder_key(o, w, "context_length", o->positions, NULL);
  tiny_decoder_key(o, w, layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 0, &eps);
  tiny_decoder_key(o, w, "rope.freq_base", 0, &base);
  if (tiny_decoder_is(o, "phi2")) tiny_decoder_key(o, w, "rope.dimension_count", o->head_dim / 2, NULL);
  if (o->window) tiny_decoder_key(o, w, "attention.sliding_window", o->window, NULL);
  if (o->every) tiny_decoder_key(o, w, "attention.sliding_window_pattern", o->every, NULL);
  if (nomic) tiny_gguf_bool(w, "nomic-bert.attention.causal", 0);
  if (o->more_keys) o->more_keys(w);
  for (uint32_t i = 0; i < n; i++) {
    const uint64_t dim[2] = {t[i].cols ? t[i].cols : t[i].rows, t[i].rows};
    tiny_gguf_tensor(w, t[i].gguf, 0, t[i].cols ? 2 : 1, dim, at);
    at += (4 * tiny_decoder_elements(&t[i]) + 31) / 32 * 32;
  }
  if (o->more_tensor) tiny_gguf_tensor(w, o->more_tensor, 0, 1, (const uint64_t[]){o->head_dim / 2}, at);
  tiny_gguf_end(w, 0);
  for (uint32_t i = 0; i < n; i++) {
    for (uint64_t k = 0; k < tiny_decoder_elements(&t[i]); k++) {
      const float x = tiny_decoder_value(o, &t[i], k, 1);
      tiny_gguf_raw(w, &x, sizeof x);
    }
    while (w->bytes % 32) tiny_gguf_raw(w, "", 1);
  }
  for (uint32_t i = 0; o->more_tensor && i < 32; i++) {
    const float factor = 2.0f;
    tiny_gguf_raw(w, &factor, sizeof factor);
  }
}

static inline int tiny_decoder_gguf(const char *dir, const char *name, const tiny_decoder *o) {
  tiny_gguf w;
  tiny_decoder_make_gguf(&w, o);
  const int ok = tiny_file(dir, name, w.data, w.bytes);
  free(w.data);
  return ok;
}
#endif
