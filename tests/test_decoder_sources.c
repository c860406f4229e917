/* test_decoder_sources.c - decoders, and encoders made like them, of each family from a directory and from a GGUF file: what is read of
 * them, and that both become the same tensors bit for bit, in our order of rows. What is refused: test_hostile_decoder_source.c. */
#include <math.h>
#include <stddef.h>
#include "decoder_dir.h"
#include "faulty_alloc.h"

static const char *const families[] = {"llama", "mistral", "qwen2", "gemma3", "phi2", "nomic"};
#define FAMILIES (sizeof families / sizeof families[0])

/* ---- what is read ---- */

static void reads_each_family(void) {
  static const struct {
    uint32_t id, norm, place, activation, causal, gated, rotary, window, every, tied, head;
  } expected[FAMILIES] = {
      {QN_FAMILY_LLAMA, 2, QN_PLACE_PRE, QN_ACT_SILU, 1, 1, 8, 0, 0, 0, QN_HEAD_TOKENS},
      {QN_FAMILY_MISTRAL, 2, QN_PLACE_PRE, QN_ACT_SILU, 1, 1, 8, 16, 0, 0, QN_HEAD_TOKENS},
      {QN_FAMILY_QWEN2, 2, QN_PLACE_PRE, QN_ACT_SILU, 1, 1, 8, 0, 0, 0, QN_HEAD_TOKENS},
      {QN_FAMILY_GEMMA3, 2, QN_PLACE_SANDWICH, QN_ACT_GELU_TANH, 1, 1, 16, 16, 2, 1, QN_HEAD_TOKENS},
      {QN_FAMILY_PHI2, 1, QN_PLACE_PARALLEL, QN_ACT_GELU_TANH, 1, 0, 4, 0, 0, 0, QN_HEAD_TOKENS},
      {QN_FAMILY_NOMIC, 1, QN_PLACE_POST, QN_ACT_SILU, 0, 1, 8, 0, 0, 0, QN_HEAD_NONE},
  };
  for (size_t f = 0; f < FAMILIES; f++) {
    const tiny_decoder o = tiny_decoder_of(families[f]);
    fresh(&o);
    CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
    qn_source *a = open_source(dir), *b = open_source(file);
    if (!a || !b) return;
    qn_arch from_dir = *qn_source_arch(a), from_file = *qn_source_arch(b);
    CHECK(from_dir.family == expected[f].id && from_dir.norm == expected[f].norm);
    CHECK(from_dir.place == expected[f].place && from_dir.activation == expected[f].activation);
    CHECK(from_dir.causal == expected[f].causal && from_dir.gated == expected[f].gated);
    CHECK(from_dir.rotary == expected[f].rotary && from_dir.window == expected[f].window);
    CHECK(from_dir.global_every == expected[f].every && from_dir.tied == expected[f].tied);
    CHECK(from_dir.head == expected[f].head && from_dir.labels == (from_dir.head ? o.vocab : 0));
    CHECK(from_dir.kv_heads == o.kv_heads && from_dir.head_dim == o.head_dim && from_dir.ffn == o.ffn);
    CHECK(from_dir.pool == (from_dir.head ? QN_POOL_NONE : QN_POOL_MEAN));
    from_file.normalize = from_dir.normalize; /* a directory says it in modules.json, which this one has not */
    CHECK(!memcmp(&from_dir, &from_file, sizeof from_dir));
    CHECK(!strcmp(qn_source_name(b), "m.gguf"));
    qn_source_close(a);
    qn_source_close(b);
  }
}

static void reads_embeddinggemma(void) {
  tiny_decoder o = tiny_decoder_of("embeddinggemma");
  fresh(&o);
  qn_source *s = open_source(dir);
  if (!s) return;
  const qn_arch *a = qn_source_arch(s);
  CHECK(a->family == QN_FAMILY_GEMMA3 && !a->causal && a->head == QN_HEAD_NONE && !a->tied && a->pool == QN_POOL_MEAN);
  CHECK(a->window == 9 && a->global_every == 2 && a->local_rotary &&
        a->head_norm); /* 16 / 2 to either side, and itself */
  CHECK(a->embed_scale == sqrtf(32) && a->score_scale == 0);
  qn_source_close(s);
  /* Two dense modules one behind the other. */
  o.more_config = "\"query_pre_attn_scalar\": 64, \"layer_types\": [\"sliding_attention\", \"full_attention\"]";
  fresh(&o);
  CHECK(
      tiny_text(dir, "modules.json",
                "[{\"type\": \"a.Transformer\", \"path\": \"\"}, {\"type\": \"a.Pooling\", \"path\": \"1_Pooling\"},\n"
                "{\"type\": \"a.Dense\", \"path\": \"2_Dense\"}, {\"type\": \"a.Dense\", \"path\": \"3_Dense\"},\n"
                "{\"type\": \"a.Normalize\", \"path\": \"4_Normalize\"}]"));
  char path[400];
  static const char *const modules[] = {"1_Pooling", "2_Dense", "3_Dense"};
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, modules[i]);
    mkdir(path, 0777);
    if (i == 0) CHECK(tiny_text(path, "config.json", "{\"pooling_mode_mean_tokens\": true}"));
    if (i == 0) continue;
    const uint32_t in = i == 1 ? 32 : 64, out = i == 1 ? 64 : 24;
    char text[256];
    snprintf(text, sizeof text,
             "{\"in_features\": %u, \"out_features\": %u, \"bias\": false,\n"
             "\"activation_function\": \"torch.nn.modules.linear.Identity\"}",
             in, out);
    CHECK(tiny_text(path, "config.json", text));
    tiny_gguf w = {0};
    const uint64_t bytes = 4 * (uint64_t)in * out;
    snprintf(text, sizeof text, "{\"linear.weight\":{\"dtype\":\"F32\",\"shape\":[%u,%u],\"data_offsets\":[0,%llu]}}",
             out, in, (unsigned long long)bytes);
    tiny_gguf_u64(&w, strlen(text));
    tiny_gguf_raw(&w, text, strlen(text));
    for (uint64_t k = 0; k < bytes / 4; k++) {
      const float x = tiny_weight(1, modules[i], k);
      tiny_gguf_raw(&w, &x, 4);
    }
    CHECK(tiny_file(path, "model.safetensors", w.data, w.bytes));
    free(w.data);
  }
  s = open_source(dir);
  if (!s) return;
  a = qn_source_arch(s);
  CHECK(a->dense == 64 && a->dense2 == 24 && a->dense2_activation == QN_ACT_NONE && a->normalize);
  CHECK_EQ(qn_arch_embedding_width(a), 24);
  CHECK(a->score_scale == 0.125f);
  float got[24 * 64];
  const uint64_t dim[2] = {24, 64};
  CHECK_EQ(qn_source_read(s, "pool.dense2.weight", 2, dim, got, NULL), QUERN_OK);
  CHECK(got[100] == tiny_weight(1, "3_Dense", 100));
  int present = 1;
  CHECK_EQ(qn_source_read(s, "pool.dense2.bias", 1, dim, got, &present), QUERN_OK);
  CHECK_EQ(present, 0);
  qn_source_close(s);
}

static void all_local(tiny_gguf *w) {
  const uint8_t local[2] = {1, 1};
  tiny_gguf_array(w, "gemma3.attention.sliding_window_pattern", 7, 2);
  tiny_gguf_raw(w, local, sizeof local);
}
static void all_global(tiny_gguf *w) { tiny_gguf_int(w, "gemma3.attention.sliding_window_pattern", 1); }

/* Window and pattern of gemma3 as either kind of source tells them, 0 where the pattern is not told. */
static void reads_patterns(void) {
  static const struct {
    void (*keys)(tiny_gguf *w);
    const char *config;
    uint32_t window, every;
  } cases[] = {{all_local, "\"layer_types\": [\"sliding_attention\", \"sliding_attention\"]", 16, 0},
               {all_global, "\"layer_types\": [\"full_attention\", \"full_attention\"]", 0, 0},
               {NULL, "\"sliding_window_pattern\": null", 16, 6}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    tiny_decoder o = tiny_decoder_of("gemma3");
    o.skip_key = "attention.sliding_window_pattern", o.more_keys = cases[i].keys, o.more_config = cases[i].config;
    fresh(&o);
    CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
    for (int k = 0; k < 2; k++) {
      qn_source *s = open_source(k ? file : dir);
      if (!s) return;
      const qn_arch *a = qn_source_arch(s);
      CHECK(a->window == cases[i].window && a->global_every == cases[i].every);
      CHECK(a->local_rotary == (cases[i].window != 0));
      qn_source_close(s);
    }
  }
}

/* ---- the same files ---- */

static uint8_t *quantized(const char *from, const char *recipe, size_t *bytes) {
  char to[400], why[512] = "";
  quern_quantize_options o;
  quern_quantize_options_init(&o, sizeof o);
  o.recipe = recipe;
  snprintf(to, sizeof to, "%s/m.qrn", dir);
  if (quern_quantize_file(context, from, to, &o, NULL) != QUERN_OK) {
    quern_context_error(context, why, sizeof why);
    printf("  %s\n", why);
    return NULL;
  }
  size_t n = 0;
  uint8_t *data = tiny_read(to, &n), *aligned = NULL;
  if (data && posix_memalign((void **)&aligned, 64, n) == 0) memcpy(aligned, data, n), *bytes = n;
  free(data);
  return aligned;
}

static quern_model *opened(const uint8_t *data, size_t bytes) {
  quern_model *m = NULL;
  quern_model_options o;
  char why[512];
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY;
  if (data && quern_model_open_memory(&m, context, data, bytes, &o) != QUERN_OK) {
    quern_context_error(context, why, sizeof why);
    printf("  %s\n", why);
  }
  CHECK(m != NULL);
  return m;
}

static void both_give_the_same_tensors(void) {
  static const char *const recipes[] = {"float", "int8", "int8-g32", "int4", "int4-g128"};
  for (size_t f = 0; f < FAMILIES; f++)
    for (size_t r = 0; r < sizeof recipes / sizeof recipes[0]; r++) {
      const tiny_decoder o = tiny_decoder_of(families[f]);
      size_t n[2] = {0, 0};
      uint32_t different = 0;
      fresh(&o);
      CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
      uint8_t *data[2] = {quantized(dir, recipes[r], &n[0]), quantized(file, recipes[r], &n[1])};
      quern_model *m[2] = {opened(data[0], n[0]), opened(data[1], n[1])};
      if (!m[0] || !m[1]) return;
      quern_model_info info[2] = {{.size = sizeof info[0]}, {.size = sizeof info[1]}};
      for (int i = 0; i < 2; i++) CHECK_EQ(quern_model_get_info(m[i], &info[i]), QUERN_OK);
      CHECK_EQ(info[0].tensors, info[1].tensors);
      for (uint32_t i = 0; i < info[0].tensors && i < info[1].tensors; i++) {
        quern_tensor_info a = {.size = sizeof a}, b = {.size = sizeof b};
        quern_model_get_tensor(m[0], i, &a);
        quern_model_get_tensor(m[1], i, &b);
        const int same = !strcmp(a.name, b.name) && a.bytes == b.bytes && !strcmp(a.dtype, b.dtype) &&
                         !memcmp(data[0] + a.offset, data[1] + b.offset, (size_t)a.bytes);
        if (!same) printf("  %s, %s: %s\n", families[f], recipes[r], a.name);
        different += !same;
      }
      CHECK_EQ(different, 0);
      for (int i = 0; i < 2; i++) quern_model_free(m[i]), free(data[i]);
    }
}

static const float *floats_of(quern_model *m, const uint8_t *data, const char *name) {
  quern_model_info info = {.size = sizeof info};
  quern_model_get_info(m, &info);
  for (uint32_t i = 0; i < info.tensors; i++) {
    quern_tensor_info t = {.size = sizeof t};
    quern_model_get_tensor(m, i, &t);
    if (!strcmp(t.name, name)) return (const float *)(const void *)(data + t.offset);
  }
  printf("  no tensor %s\n", name);
  return NULL;
}
/* Element [r][c] of f32 panels of k columns. */
static float panel(const float *p, uint32_t k, uint32_t r, uint32_t c) {
  return p ? p[((size_t)(r / 16) * k + c) * 16 + r % 16] : NAN;
}

/* Float models from both, against the generator. */
static void rows_are_in_our_order(void) {
  static const char *const sources[] = {"m.gguf", ""};
  const tiny_decoder o = tiny_decoder_of("llama");
  const uint32_t inner = 32, shared = 16;
  fresh(&o);
  CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
  for (int i = 0; i < 2; i++) {
    size_t n;
    char path[400];
    uint32_t wrong = 0;
    snprintf(path, sizeof path, "%s/%s", dir, sources[i]);
    uint8_t *data = quantized(path, "float", &n);
    quern_model *m = opened(data, n);
    if (!m) return;
    const float *qkv = floats_of(m, data, "layers.1.attn.qkv.weight"),
                *up = floats_of(m, data, "layers.1.ffn.up.weight");
    const float *out = floats_of(m, data, "head.out.weight");
    for (uint32_t r = 0; r < inner + 2 * shared; r++) {
      const uint32_t part = r < inner ? 0 : r < inner + shared ? 1 : 2;
      char name[96];
      snprintf(name, sizeof name, "model.layers.1.self_attn.%c_proj.weight", "qkv"[part]);
      const uint32_t row = r - (part == 0 ? 0 : part == 1 ? inner : inner + shared);
      for (uint32_t c = 0; c < 32; c++) wrong += panel(qkv, 32, r, c) != tiny_weight(1, name, row * 32 + c);
    }
    for (uint32_t r = 0; r < 96; r++)
      for (uint32_t c = 0; c < 32; c++)
        wrong += panel(up, 32, r, c) !=
                 tiny_weight(1,
                             r / 16 % 2 ? "model.layers.1.mlp.up_proj.weight" : "model.layers.1.mlp.gate_proj.weight",
                             (r / 32 * 16 + r % 16) * 32 + c);
    for (uint32_t r = 0; r < 80; r++) wrong += panel(out, 32, r, 7) != tiny_weight(1, "lm_head.weight", r * 32 + 7);
    CHECK_EQ(wrong, 0);
    quern_model_free(m);
    free(data);
  }
}

static void gains_are_as_multiplied(void) {
  const tiny_decoder o = tiny_decoder_of("gemma3");
  size_t n;
  fresh(&o);
  uint8_t *data = quantized(dir, "float", &n);
  quern_model *m = opened(data, n);
  if (!m) return;
  const float *k = floats_of(m, data, "layers.0.attn.k.norm.gain"), *last = floats_of(m, data, "final.norm.gain");
  CHECK(k && k[5] == 1.0f + tiny_weight(1, "model.layers.0.self_attn.k_norm.weight", 5));
  CHECK(last && last[31] == 1.0f + tiny_weight(1, "model.norm.weight", 31));
  CHECK(floats_of(m, data, "layers.1.ffn.post.gain") != NULL);
  quern_session *s = NULL;
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  quern_session_free(s);
  quern_model_free(m);
  free(data);
}

/* Name, dtype and group of a tensor; 0: there is none. */
static int has_tensor(quern_model *m, const char *name, const char *dtype, uint32_t group) {
  quern_model_info info = {.size = sizeof info};
  quern_model_get_info(m, &info);
  for (uint32_t i = 0; i < info.tensors; i++) {
    quern_tensor_info t = {.size = sizeof t};
    quern_model_get_tensor(m, i, &t);
    if (!strcmp(t.name, name)) return !strcmp(t.dtype, dtype) && t.group == group;
  }
  return 0;
}

/* The head as a recipe has it; one that is the table too is as the embeddings, unless the recipe says of it. */
static void heads_are_as_recipes_say(void) {
#define STEPPED "{\"name\":\"r\"," REST "8},\"head\":{\"bits\":4,\"group\":32,\"minimum\":true,\"scales\":\"integer\"}}"
#define REST "\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":"
  static const struct {
    const char *family, *recipe, *dtype;
    uint32_t group;
    int min, table;
  } cases[] = {
      {"gemma3", "{\"name\":\"r\"," REST "8}}", "i8", 0, 0, 0},
      {"gemma3", "{\"name\":\"r\"," REST "4}}", "u4", 32, 1, 0},
      {"gemma3", "{\"name\":\"r\"," REST "4},\"head\":{\"bits\":8}}", "i8", 0, 0, 0},
      {"gemma3", "{\"name\":\"r\"," REST "8},\"head\":{\"bits\":4,\"minimum\":false}}", "u4", 32, 0, 0},
      {"llama", "{\"name\":\"r\"," REST "4}}", "i8", 0, 0, 1},
      {"llama", "{\"name\":\"r\"," REST "8},\"head\":{\"bits\":4,\"group\":64}}", "u4", 64, 1, 1},
      {"llama", "{\"name\":\"r\"," REST "8},\"head\":{\"bits\":8,\"group\":32}}", "i8", 32, 0, 1},
      {"gemma3", "{\"name\":\"r\"," REST "8},\"head\":{\"bits\":8,\"group\":32}}", "i8", 32, 0, 0},
      {"gemma3", STEPPED, "u4", 32, 0, 0},
      {"llama", STEPPED, "u4", 32, 0, 1},
      {"gemma3", "int8", "i8", 64, 0, 0}, /* presets are made for decoders */
      {"llama", "int8-g32", "i8", 32, 0, 1},
      {"llama", "int4", "i8", 64, 0, 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const tiny_decoder o = tiny_decoder_of(cases[i].family);
    char recipe[400];
    size_t n = 0;
    fresh(&o);
    const int preset = cases[i].recipe[0] != '{';
    char made[1024] = "";
    size_t bytes = 0;
    CHECK(preset || tiny_text(dir, "r.json", cases[i].recipe));
    snprintf(recipe, sizeof recipe, "%s/r.json", dir);
    uint8_t *data = quantized(dir, preset ? cases[i].recipe : recipe, &n);
    quern_model *m = opened(data, n);
    if (!m) return;
    CHECK_EQ(quern_model_get_meta(m, "recipe.json", made, sizeof made, &bytes), QUERN_OK);
    CHECK_EQ(strstr(made, "\"smooth\":true") != NULL, !preset);
    CHECK_EQ(strstr(made, "\"transform\":\"hadamard\"") != NULL, preset);
    CHECK(has_tensor(m, "head.out.weight", cases[i].dtype, cases[i].group));
    CHECK_EQ(has_tensor(m, "head.out.min", "f32", 0), cases[i].min);
    CHECK_EQ(has_tensor(m, "head.out.step", "u8", 0), strstr(cases[i].recipe, "integer") != NULL);
    CHECK_EQ(has_tensor(m, "embed.tokens", strstr(cases[i].recipe, ":4}}") ? "u4" : "i8",
                        strstr(cases[i].recipe, ":4}}") ? 32 : 0),
             cases[i].table);
    quern_model_free(m);
    free(data);
  }
  const tiny_decoder o = tiny_decoder_of("gemma3");
  char recipe[400], to[400];
  quern_quantize_options qo;
  quern_quantize_options_init(&qo, sizeof qo);
  snprintf(recipe, sizeof recipe, "%s/r.json", dir);
  snprintf(to, sizeof to, "%s/m.qrn", dir);
  qo.recipe = recipe;
  fresh(&o);
  CHECK(tiny_text(dir, "r.json", "{\"name\":\"r\"," REST "2}}"));
  CHECK_EQ(quern_quantize_file(context, dir, to, &qo, NULL), QUERN_E_UNSUPPORTED);
  qo.recipe = "mixed"; /* static ranges are not for these */
  qo.calibration_path = recipe;
  CHECK_EQ(quern_quantize_file(context, dir, to, &qo, NULL), QUERN_E_UNSUPPORTED);
}

/* ---- failing allocations ---- */

static const char *made_by = "int4"; /* recipe */
static quern_status make_and_open(const quern_allocator *alloc, void *from) {
  char to[400];
  quern_context_options co;
  quern_quantize_options qo;
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_context_options_init(&co, sizeof co);
  quern_quantize_options_init(&qo, sizeof qo);
  snprintf(to, sizeof to, "%s/m.qrn", dir);
  co.alloc = alloc;
  co.threads = 1;
  qo.recipe = made_by;
  quern_status status = quern_context_create(&c, &co);
  if (status == QUERN_OK) status = quern_quantize_file(c, from, to, &qo, NULL);
  if (status == QUERN_OK) status = quern_model_open(&m, c, to, NULL);
  quern_model_free(m);
  quern_context_free(c);
  return status;
}

static void survives_every_allocation(void) {
  for (size_t f = 0; f < FAMILIES; f++) {
    const tiny_decoder o = tiny_decoder_of(families[f]);
    fresh(&o);
    CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
    long of_dir = 0, of_file = 0;
    CHECK_EQ(faulty_each(make_and_open, dir, &of_dir), 0);
    CHECK_EQ(faulty_each(make_and_open, file, &of_file), 0);
    CHECK(of_dir > 10 && of_file > 10);
    CHECK_EQ(tiny_dir_count(dir), 4); /* and no partial file */
    char recipe[400];
    snprintf(recipe, sizeof recipe, "%s/r.json", dir);
    made_by = recipe;
    CHECK(tiny_text(dir, "r.json", STEPPED));
    CHECK_EQ(faulty_each(make_and_open, dir, &of_dir), 0);
    CHECK_EQ(tiny_dir_count(dir), 5);
    made_by = "int4";
  }
}

/* ---- frequencies ---- */

static double largest(const qn_source *s, const char *name, const double *expected, uint32_t n) {
  float got[128];
  double most = 0;
  const uint64_t dim = n;
  CHECK_EQ(qn_source_read(s, name, 1, &dim, got, NULL), QUERN_OK);
  for (uint32_t i = 0; i < n; i++) most = fmax(most, fabs((double)got[i] / expected[i] - 1));
  return most;
}

static void llama3_scales(double *f, uint32_t n, double factor, double low, double high, double original) {
  for (uint32_t i = 0; i < n; i++) {
    const double wave = 6.283185307179586 / f[i], kept = (original / wave - low) / (high - low);
    f[i] = wave < original / high  ? f[i]
           : wave > original / low ? f[i] / factor
                                   : (1 - kept) * f[i] / factor + kept * f[i];
  }
}

static void more_factors(tiny_gguf *w) {
  tiny_gguf_text(w, "llama.rope.scaling.type", "linear");
  tiny_gguf_float(w, "llama.rope.scaling.factor", 8.0f);
}

static void frequencies_are_computed(void) {
  double expected[64], local[64];
  tiny_decoder o = tiny_decoder_of("llama");
  o.heads = o.kv_heads = 1, o.head_dim = 128;
  o.more_config = "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 32.0, \"low_freq_factor\": 1.0,\n"
                  "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}";
  fresh(&o);
  qn_source *s = open_source(dir);
  if (!s) return;
  for (int i = 0; i < 64; i++) expected[i] = pow(500000, -2.0 * i / 128);
  llama3_scales(expected, 64, 32, 1, 4, 8192);
  CHECK(largest(s, "rotary.frequency", expected, 64) < 1.2e-7);
  qn_source_close(s);
  /* Linear, and factors of a GGUF file. */
  o = tiny_decoder_of("llama");
  o.more_keys = more_factors, o.more_tensor = "rope_freqs.weight";
  CHECK(tiny_decoder_gguf(dir, "m.gguf", &o));
  s = open_source(file);
  if (!s) return;
  for (int i = 0; i < 4; i++) expected[i] = pow(500000, -2.0 * i / 8) / 16;
  CHECK(largest(s, "rotary.frequency", expected, 4) < 1.2e-7);
  qn_source_close(s);
  /* Local layers. */
  o = tiny_decoder_of("gemma3");
  o.more_config = "\"rope_local_base_freq\": 20000, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}";
  fresh(&o);
  s = open_source(dir);
  if (!s) return;
  for (int i = 0; i < 8; i++) expected[i] = pow(500000, -2.0 * i / 16) / 8, local[i] = pow(20000, -2.0 * i / 16);
  CHECK(largest(s, "rotary.frequency", expected, 8) < 1.2e-7);
  CHECK(largest(s, "rotary.local.frequency", local, 8) < 1.2e-7);
  qn_source_close(s);
}

int main(void) {
  if (!decoder_dir_start()) return 1;
  RUN(reads_each_family);
  RUN(reads_embeddinggemma);
  RUN(reads_patterns);
  RUN(both_give_the_same_tensors);
  RUN(rows_are_in_our_order);
  RUN(gains_are_as_multiplied);
  RUN(heads_are_as_recipes_say);
  RUN(frequencies_are_computed);
  RUN(survives_every_allocation);
  decoder_dir_end();
  return TEST_END();
}
