/* test_import.c - Hugging Face directories and safetensors files: what is read, and every way they are refused. */
#include <math.h>
#include <stddef.h>
#include "import/safetensors.h"
#include "source_dir.h"

static void reads_a_sentence_encoder(void) {
  static const char *const dtypes[] = {"F32", "F16", "BF16"};
  for (uint32_t i = 0; i < 6; i++) {
    tiny_options o = tiny_defaults();
    o.dtype = dtypes[i % 3];
    o.shards = i < 3 ? 1 : 3;
    qn_source *s = open_model(&o);
    if (!s) return;
    const qn_arch *a = qn_source_arch(s);
    CHECK_EQ(a->family, QN_FAMILY_BERT);
    CHECK(a->layers == 2 && a->width == 32 && a->heads == 2 && a->kv_heads == 2 && a->head_dim == 16 && a->ffn == 64);
    CHECK(a->vocab == TINY_VOCAB && a->positions == 64 && a->position_offset == 0 && a->types == 2);
    CHECK(a->activation == QN_ACT_GELU && a->norm_eps == 1e-12f && a->recipe == 0);
    CHECK(a->pool == QN_POOL_MEAN && a->normalize == 1 && a->head == QN_HEAD_NONE && a->sentence_tokens == 48);
    CHECK(!strcmp(qn_source_name(s), strrchr(dir, '/') + 1)); /* not the model that it was trained from */
    CHECK(same_weights(s, &o, "embed.tokens", "embeddings.word_embeddings.weight", 2, 96, 32));
    CHECK(same_weights(s, &o, "embed.positions", "embeddings.position_embeddings.weight", 2, 64, 32));
    CHECK(same_weights(s, &o, "embed.types", "embeddings.token_type_embeddings.weight", 2, 2, 32));
    CHECK(same_weights(s, &o, "embed.norm.gain", "embeddings.LayerNorm.weight", 1, 1, 32));
    CHECK(same_weights(s, &o, "layers.1.attn.q.weight", "encoder.layer.1.attention.self.query.weight", 2, 32, 32));
    CHECK(same_weights(s, &o, "layers.1.attn.k.bias", "encoder.layer.1.attention.self.key.bias", 1, 1, 32));
    CHECK(same_weights(s, &o, "layers.0.attn.v.weight", "encoder.layer.0.attention.self.value.weight", 2, 32, 32));
    CHECK(same_weights(s, &o, "layers.0.attn.out.bias", "encoder.layer.0.attention.output.dense.bias", 1, 1, 32));
    CHECK(
        same_weights(s, &o, "layers.0.attn.norm.gain", "encoder.layer.0.attention.output.LayerNorm.weight", 1, 1, 32));
    CHECK(same_weights(s, &o, "layers.1.ffn.up.weight", "encoder.layer.1.intermediate.dense.weight", 2, 64, 32));
    CHECK(same_weights(s, &o, "layers.1.ffn.down.weight", "encoder.layer.1.output.dense.weight", 2, 32, 64));
    CHECK(same_weights(s, &o, "layers.1.ffn.norm.bias", "encoder.layer.1.output.LayerNorm.bias", 1, 1, 32));
    qn_source_close(s);
  }
}

static void reads_heads(void) {
  tiny_options o = tiny_defaults();
  o.labels = 3;
  qn_source *s = open_model(&o);
  if (!s) return;
  const qn_arch *a = qn_source_arch(s);
  CHECK(a->head == QN_HEAD_CLASSIFY && a->labels == 3 && a->head_pooler == 1 && a->head_activation == QN_ACT_TANH);
  CHECK(a->pool == QN_POOL_NONE && a->normalize == 0 && a->sentence_tokens == 64);
  CHECK(qn_source_label(s, 2) && !strcmp(qn_source_label(s, 2), "label-c"));
  CHECK(qn_source_label(s, 3) == NULL);
  CHECK(same_weights(s, &o, "head.pooler.weight", "pooler.dense.weight", 2, 32, 32));
  CHECK(same_weights(s, &o, "head.out.weight", "classifier.weight", 2, 3, 32));
  CHECK(same_weights(s, &o, "head.out.bias", "classifier.bias", 1, 1, 3));
  CHECK(same_weights(s, &o, "embed.tokens", "embeddings.word_embeddings.weight", 2, 96, 32));
  qn_source_close(s);
  o.labels = 1;
  s = open_model(&o);
  if (!s) return;
  CHECK(qn_source_arch(s)->head == QN_HEAD_REGRESSION && qn_source_arch(s)->labels == 1);
  qn_source_close(s);
}

static void reads_variants(void) {
  tiny_options o = tiny_defaults();
  o.pooling = "cls", o.normalize = 0, o.activation = "gelu_new", o.max_seq = 1000;
  qn_source *s = open_model(&o);
  if (!s) return;
  CHECK(qn_source_arch(s)->pool == QN_POOL_CLS && qn_source_arch(s)->normalize == 0);
  CHECK(qn_source_arch(s)->activation == QN_ACT_GELU_TANH && qn_source_arch(s)->sentence_tokens == 64);
  qn_source_close(s);
  o.sentence = 0, o.max_seq = 0, o.activation = "relu";
  s = open_model(&o);
  if (!s) return;
  CHECK(qn_source_arch(s)->pool == QN_POOL_MEAN && qn_source_arch(s)->normalize == 0);
  CHECK(qn_source_arch(s)->activation == QN_ACT_RELU && qn_source_arch(s)->sentence_tokens == 64);
  qn_source_close(s);
  o.labels = 2;
  s = open_model(&o);
  if (!s) return;
  CHECK(!strcmp(qn_source_name(s), "tiny/bert"));
  qn_source_close(s);
  o.labels = 0;
  s = open_model(&o);
  if (!s) return;
  qn_source_close(s);
  CHECK(edit("config.json", "\"tiny/bert\"", "\"/home/someone/models/mine/\""));
  CHECK(qn_source_open(&s, &env, dir, 0) == QUERN_OK && !strcmp(qn_source_name(s), "mine"));
  qn_source_close(s);
  /* Names of the first exports. */
  CHECK(edit("model.safetensors", "\"embeddings.LayerNorm.weight\"", "\"embeddings.LayerNorm.gamma\" "));
  CHECK(qn_source_open(&s, &env, dir, 0) == QUERN_OK);
  CHECK(same_weights(s, &o, "embed.norm.gain", "embeddings.LayerNorm.weight", 1, 1, 32));
  qn_source_close(s);
}

static void refuses_missing_files(void) {
  tiny_options o = tiny_defaults();
  qn_source *s = NULL;
  CHECK_EQ(qn_source_open(&s, &env, "/nonexistent/model", 0), QUERN_E_IO);
  fresh(&o);
  char path[512];
  snprintf(path, sizeof path, "%s/vocab.txt", dir);
  CHECK_EQ(qn_source_open(&s, &env, path, 0), QUERN_E_SOURCE); /* no GGUF file */
  CHECK_EQ(qn_source_open(&s, &env, dir, 1000), QUERN_E_LIMIT);
  remove_file("1_Pooling/config.json");
  CHECK(refused(QUERN_E_SOURCE, "1_Pooling/config.json"));
  remove_file("modules.json");
  remove_file("model.safetensors");
  CHECK(refused(QUERN_E_SOURCE, "model.safetensors"));
  tiny_text(dir, "pytorch_model.bin", "x");
  CHECK(refused(QUERN_E_UNSUPPORTED, "convert them to safetensors"));
  tiny_text(dir, "model.safetensors", "");
  CHECK(refused(QUERN_E_SOURCE, "model.safetensors"));
  remove_file("config.json");
  CHECK(refused(QUERN_E_SOURCE, "config.json"));
}

static void refuses_configs(void) {
  static const struct {
    const char *from, *to;
    quern_status status;
    const char *words;
  } cases[] = {
      {"\"bert\"", "\"gpt2\"", QUERN_E_UNSUPPORTED,
       "\"gpt2\" is not supported (supported: bert, mpnet, distilbert, electra, llama, mistral, "},
      {"\"model_type\"", "\"model_tape\"", QUERN_E_SOURCE, "model_type"},
      {"{", "", QUERN_E_SOURCE, "config.json"},
      {"{", "[], {", QUERN_E_SOURCE, "config.json"},
      {"\"hidden_size\": 32, ", "", QUERN_E_SOURCE, "hidden_size is missing"},
      {"\"hidden_size\": 32", "\"hidden_size\": \"32\"", QUERN_E_SOURCE, "hidden_size"},
      {"\"hidden_size\": 32", "\"hidden_size\": 32.5", QUERN_E_SOURCE, "hidden_size"},
      {"\"hidden_size\": 32", "\"hidden_size\": -32", QUERN_E_SOURCE, "hidden_size"},
      {"\"hidden_size\": 32", "\"hidden_size\": 33", QUERN_E_SOURCE, "num_attention_heads"},
      {"\"hidden_size\": 32", "\"hidden_size\": 65538", QUERN_E_SOURCE, "width"},
      {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 0", QUERN_E_SOURCE, "num_hidden_layers"},
      {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 5000", QUERN_E_SOURCE, "layers is 5000"},
      {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1e300", QUERN_E_SOURCE, "num_hidden_layers"},
      {"\"intermediate_size\": 64", "\"intermediate_size\": 131073", QUERN_E_SOURCE, "feed-forward"},
      {"\"vocab_size\": 96", "\"vocab_size\": 16777217", QUERN_E_SOURCE, "vocabulary"},
      {"\"max_position_embeddings\": 64", "\"max_position_embeddings\": 1048577", QUERN_E_SOURCE, "positions"},
      {"\"hidden_act\": \"gelu\"", "\"hidden_act\": \"mish\"", QUERN_E_UNSUPPORTED, "\"mish\""},
      {"\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 0", QUERN_E_SOURCE, "layer_norm_eps"},
      {"\"absolute\"", "\"relative_key\"", QUERN_E_UNSUPPORTED, "relative_key"},
      {"\"pad_token_id\": 0", "\"is_decoder\": true", QUERN_E_UNSUPPORTED, "is_decoder"},
      {"\"pad_token_id\": 0", "\"add_cross_attention\": true", QUERN_E_UNSUPPORTED, "add_cross_attention"},
  };
  tiny_options o = tiny_defaults();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fresh(&o);
    CHECK(edit("config.json", cases[i].from, cases[i].to));
    if (!refused(cases[i].status, cases[i].words)) {
      printf("  case %zu: %s\n", i, cases[i].to);
      CHECK(0);
    }
  }
}

static void refuses_heads(void) {
  static const struct {
    const char *from, *to;
    quern_status status;
    const char *words;
  } cases[] = {
      {"ForSequenceClassification", "ForTokenClassification", QUERN_E_UNSUPPORTED, "BertForTokenClassification"},
      {"{", "{\"problem_type\": \"multi_label_classification\",", QUERN_E_UNSUPPORTED, "multi_label"},
      {"{", "{\"problem_type\": \"regression\",", QUERN_E_UNSUPPORTED, "regression with 3"},
      {"{", "{\"num_labels\": 2,", QUERN_E_SOURCE, "id2label: \"2\""},
      {"\"1\": ", "\"01\": ", QUERN_E_SOURCE, "\"01\""},
      {"\"1\": ", "\"-1\": ", QUERN_E_SOURCE, "\"-1\""},
      {"\"1\": ", "\"18446744073709551617\": ", QUERN_E_SOURCE, "id2label"},
      {"{", "{\"num_labels\": 100000,", QUERN_E_SOURCE, "labels is 100000"},
  };
  tiny_options o = tiny_defaults();
  o.labels = 3;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fresh(&o);
    CHECK(edit("config.json", cases[i].from, cases[i].to));
    if (!refused(cases[i].status, cases[i].words)) {
      printf("  case %zu: %s\n", i, cases[i].to);
      CHECK(0);
    }
  }
  o.skip = "pooler.dense.weight";
  fresh(&o);
  CHECK(refused(QUERN_E_UNSUPPORTED, "token classifier"));
}

static void refuses_modules(void) {
  tiny_options o = tiny_defaults();
  o.pooling = "max";
  fresh(&o);
  CHECK(refused(QUERN_E_UNSUPPORTED, "\"max\""));
  o.pooling = "none";
  fresh(&o);
  CHECK(refused(QUERN_E_SOURCE, "0 pooling modes"));
  o.pooling = "mean";
  fresh(&o);
  CHECK(edit("1_Pooling/config.json", "\"pooling_mode_cls_token\": false", "\"pooling_mode_cls_token\": true"));
  CHECK(refused(QUERN_E_UNSUPPORTED, "2 pooling modes"));
  fresh(&o);
  CHECK(edit("1_Pooling/config.json", "32", "48"));
  CHECK(refused(QUERN_E_SOURCE, "word_embedding_dimension"));
  fresh(&o);
  CHECK(edit("modules.json", "models.Normalize", "models.LSTM"));
  CHECK(refused(QUERN_E_UNSUPPORTED, "models.LSTM"));
  fresh(&o);
  CHECK(edit("modules.json", "models.Pooling", "models.Normalize"));
  CHECK(refused(QUERN_E_UNSUPPORTED, "order"));
  fresh(&o);
  CHECK(edit("modules.json", "1_Pooling", "../secret"));
  CHECK(refused(QUERN_E_SOURCE, "plain directory name"));
  fresh(&o);
  CHECK(tiny_text(dir, "modules.json", "{}") && refused(QUERN_E_SOURCE, "modules.json"));
  CHECK(tiny_text(dir, "modules.json", "[]") && refused(QUERN_E_SOURCE, "modules.json"));
  CHECK(tiny_text(dir, "modules.json", "[1, 2]") && refused(QUERN_E_SOURCE, "modules.json"));
  fresh(&o);
  CHECK(edit("sentence_bert_config.json", "48", "0"));
  CHECK(refused(QUERN_E_SOURCE, "max_seq_length"));
}

/* Status of reading one tensor, and words of the message. */
static int read_refused(const char *name, uint64_t rows, uint64_t cols, quern_status expected, const char *words) {
  static float got[96 * 64];
  char message[QN_ERROR_BYTES];
  uint64_t dim[2] = {rows, cols};
  qn_source *s = NULL;
  if (qn_source_open(&s, &env, dir, 0) != QUERN_OK) return 0;
  quern_status status = qn_source_read(s, name, 2, dim, got, NULL);
  qn_error_copy(&env.error, message, sizeof message);
  int ok = status == expected && strstr(message, words);
  if (!ok) printf("  status %d, message: %s\n", status, status ? message : "");
  qn_source_close(s);
  return ok;
}

static void refuses_tensors(void) {
  tiny_options o = tiny_defaults();
  o.skip = "encoder.layer.1.output.dense.weight";
  fresh(&o);
  CHECK(read_refused("layers.1.ffn.down.weight", 32, 64, QUERN_E_SOURCE, "encoder.layer.1.output.dense.weight"));
  CHECK(read_refused("layers.1.ffn.up.weight", 64, 33, QUERN_E_SOURCE, "[64, 32], config.json asks for [64, 33]"));
  CHECK(read_refused("layers.1.ffn.norm.gain", 32, 1, QUERN_E_SOURCE, "shape [32]"));
  CHECK(read_refused("layers.2.ffn.up.weight", 64, 32, QUERN_E_SOURCE, "encoder.layer.2"));
  CHECK(read_refused("head.out.weight", 2, 32, QUERN_E_SOURCE, "has no tensor head.out.weight"));
  CHECK(read_refused("layers.0.nonsense.weight", 2, 32, QUERN_E_SOURCE, "nonsense"));
  o.skip = NULL;
  o.poison = "encoder.layer.0.intermediate.dense.weight";
  for (int i = 0; i < 3; i++) {
    o.dtype = i == 0 ? "F32" : i == 1 ? "F16" : "BF16";
    fresh(&o);
    CHECK(read_refused("layers.0.ffn.up.weight", 64, 32, QUERN_E_NONFINITE,
                       "encoder.layer.0.intermediate.dense.weight: element 5 is NaN"));
  }
  o.poison = NULL, o.dtype = "I32";
  fresh(&o); /* the generator writes two bytes an element then: the sizes contradict the dtype */
  CHECK(refused(QUERN_E_SOURCE, "do not fit its shape and dtype I32"));
  o.dtype = "I16";
  fresh(&o);
  CHECK(read_refused("layers.0.ffn.up.weight", 64, 32, QUERN_E_SOURCE, "dtype I16"));
}

static void refuses_shards(void) {
  static const char *const names[] = {
      "../model-00001-of-00002.safetensors", "/etc/passwd", "", "..", ".hidden", "a\\\\b", "a\\u0000b"};
  tiny_options o = tiny_defaults();
  const char *index = "model.safetensors.index.json", *first = "model-00001-of-00002.safetensors";
  o.shards = 2;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    fresh(&o);
    CHECK(edit(index, first, names[i]));
    CHECK(refused(QUERN_E_SOURCE, "plain file name"));
  }
  fresh(&o);
  CHECK(edit(index, first, "model-00002-of-00002.safetensors"));
  CHECK(refused(QUERN_E_SOURCE, "is not in model-00002"));
  fresh(&o);
  remove_file("model-00002-of-00002.safetensors");
  CHECK(refused(QUERN_E_SOURCE, "model-00002-of-00002.safetensors is missing"));
  fresh(&o);
  CHECK(edit("model-00002-of-00002.safetensors", "embeddings.position_embeddings.weight",
             "embeddings.word_embeddings.weight\",\"q\":\"") == 1);
  CHECK(refused(QUERN_E_SOURCE, ""));
  CHECK(tiny_text(dir, index, "{\"weight_map\": {}}") && refused(QUERN_E_SOURCE, "weight_map"));
  CHECK(tiny_text(dir, index, "{\"weight_map\": {\"a\": 1}}") && refused(QUERN_E_SOURCE, "plain file name"));
  CHECK(tiny_text(dir, index, "[") && refused(QUERN_E_SOURCE, index));
}

/* A safetensors file in memory: header text, then `data` zero bytes. */
static quern_status open_header(const char *header, size_t data) {
  uint8_t file[1024] = {0};
  uint64_t n = strlen(header);
  qn_safetensors s;
  memcpy(file, &n, 8);
  memcpy(file + 8, header, n);
  quern_status status = qn_safetensors_open_memory(&s, &env, "test.safetensors", file, 8 + n + data);
  if (status == QUERN_OK) qn_safetensors_close(&s);
  return status;
}

static void refuses_headers(void) {
#define ENTRY(name, dtype, shape, offsets)                                                                             \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
  static const char *const bad[] = {
      "",
      "x",
      "[]",
      "1",
      "{\"a\":1}",
      "{\"a\":{}}",
      "{" ENTRY("a", "F32", "[2]", "[0,9]") "}",
      "{" ENTRY("a", "F32", "[2]", "[8,0]") "}",
      "{" ENTRY("a", "F32", "[2]", "[-8,0]") "}",
      "{" ENTRY("a", "F32", "[2]", "[60,68]") "}",
      "{" ENTRY("a", "F32", "[2]", "[0,8,16]") "}",
      "{" ENTRY("a", "F32", "[2]", "[0,8.5]") "}",
      "{" ENTRY("a", "F32", "[2]", "8") "}",
      "{" ENTRY("a", "F32", "2", "[0,8]") "}",
      "{" ENTRY("a", "F32", "[-2]", "[0,8]") "}",
      "{" ENTRY("a", "F32", "[\"2\"]", "[0,8]") "}",
      "{" ENTRY("a", "F32", "[2.5]", "[0,8]") "}",
      "{" ENTRY("a", "F32", "[1e18]", "[0,8]") "}",
      "{" ENTRY("a", "F32", "[4294967296,4294967296]", "[0,0]") "}",
      "{" ENTRY("a", "F32", "[9007199254740992,512]", "[0,0]") "}",
      "{" ENTRY("a", "F32", "[4611686018427387904]", "[0,0]") "}",
      "{" ENTRY("a", "F32", "[2]", "[0,8]") "," ENTRY("b", "F32", "[2]", "[4,12]") "}",
      "{" ENTRY("a", "F32", "[2]", "[0,8]") "," ENTRY("a", "F32", "[2]", "[8,16]") "}",
      "{" ENTRY("a\\u0000b", "F32", "[2]", "[0,8]") "}",
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    quern_status status = open_header(bad[i], 64);
    if (status != QUERN_E_SOURCE) {
      printf("  %s: status %d\n", bad[i], status);
      CHECK(0);
    }
  }
  static const char *const good[] = {"{}",
                                     "{\"__metadata__\":{\"format\":\"pt\"}}  ",
                                     "{" ENTRY("a", "F32", "[2]", "[0,8]") "}",
                                     "{" ENTRY("a", "F32", "[]", "[0,4]") "}",
                                     "{" ENTRY("a", "F32", "[0,5]", "[0,0]") "}",
                                     "{" ENTRY("a", "F9", "[3]", "[0,2]") "}",
                                     "{" ENTRY("a", "I64", "[1,1,1,1,1,1]", "[0,8]") "}",
                                     "{" ENTRY("b", "F32", "[2]", "[8,16]") "," ENTRY("a", "F32", "[2]", "[0,8]") "}"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    quern_status status = open_header(good[i], 64);
    if (status != QUERN_OK) {
      printf("  %s: status %d\n", good[i], status);
      CHECK(0);
    }
  }
#undef ENTRY
  uint8_t file[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  qn_safetensors s;
  for (size_t n = 0; n <= sizeof file; n++) {
    CHECK_EQ(qn_safetensors_open_memory(&s, &env, "t", file, n), QUERN_E_SOURCE);
  }
}

/* Every truncation is refused; a changed byte of the header never faults (the sanitizers watch). */
static void survives_damage(void) {
  tiny_options o = tiny_defaults();
  char path[512];
  size_t bytes;
  o.layers = 1, o.width = 8, o.ffn = 8, o.positions = 4;
  fresh(&o);
  snprintf(path, sizeof path, "%s/model.safetensors", dir);
  uint8_t *file = tiny_read(path, &bytes);
  CHECK(file != NULL);
  if (!file) return;
  uint64_t header;
  memcpy(&header, file, 8);
  qn_safetensors s;
  uint32_t accepted = 0;
  for (size_t n = 0; n < bytes; n += n < header + 16 ? 7 : 97) {
    uint8_t *cut = malloc(n ? n : 1); /* exactly as long, so that reading past the end is seen */
    memcpy(cut, file, n);
    accepted += qn_safetensors_open_memory(&s, &env, "t", cut, n) == QUERN_OK;
    free(cut);
  }
  CHECK_EQ(accepted, 0);
  static float values[96 * 64];
  for (size_t i = 0; i < header + 8; i++) {
    uint8_t old = file[i];
    file[i] = (uint8_t)(old ^ (1u << (tiny_hash(i) & 7)));
    if (qn_safetensors_open_memory(&s, &env, "t", file, bytes) == QUERN_OK) {
      for (size_t t = 0; t < s.count; t++) {
        if (qn_safetensors_is_float(&s.tensors[t]) && s.tensors[t].elements <= 96 * 64)
          qn_safetensors_convert(&s.tensors[t], 0, s.tensors[t].elements, values);
      }
      qn_safetensors_close(&s);
    }
    file[i] = old;
  }
  free(file);
}

static void converts_exactly(void) {
  /* Every half and its value; NaN and infinity stay what they are. */
  uint8_t data[2];
  qn_st_tensor t = {.dtype = "F16", .elements = 1, .data = data};
  for (uint32_t h = 0; h < 65536; h++) {
    float got;
    data[0] = (uint8_t)h, data[1] = (uint8_t)(h >> 8);
    uint32_t e = (h >> 10) & 31, m = h & 1023;
    qn_safetensors_convert(&t, 0, 1, &got);
    if (e == 31) {
      CHECK(m ? got != got : got == (h & 0x8000 ? -INFINITY : INFINITY));
      continue;
    }
    double x = e ? 1 + m / 1024.0 : m / 1024.0;
    for (int i = 0; i < 15 - (int)(e ? e : 1); i++) x /= 2;
    for (int i = 0; i < (int)e - 15; i++) x *= 2;
    CHECK((double)got == (h & 0x8000 ? -x : x));
  }
}

static void checks_descriptions(void) {
  tiny_options o = tiny_defaults();
  qn_source *s = open_model(&o);
  if (!s) return;
  qn_arch good = *qn_source_arch(s), a;
  qn_source_close(s);
  good.recipe = QN_RECIPE_INT8;
  CHECK_EQ(qn_arch_check(&good, &env, QUERN_E_FORMAT), QUERN_OK);
  a = good, a.recipe = 0;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_SOURCE), QUERN_OK);
  /* Every word of the record: neither 0xffffffff nor a high bit is ever accepted but in scales, where the last is 2. */
  for (size_t i = 0; i < sizeof a / 4; i++) {
    static const uint32_t values[] = {0xffffffff, 0x80000000, 0x40000000};
    for (size_t v = 0; v < 3; v++) {
      a = good;
      memcpy((char *)&a + 4 * i, &values[v], 4);
      const int scale = 4 * i == offsetof(qn_arch, embed_scale) || 4 * i == offsetof(qn_arch, score_scale);
      if (!(scale && v == 2) && qn_arch_check(&a, &env, QUERN_E_FORMAT) == QUERN_OK) {
        printf("  word %zu: %x\n", i, values[v]);
        CHECK(0);
      }
    }
  }
  a = good, a.heads = a.kv_heads = 65536, a.head_dim = 256;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a = good, a.kv_heads = 1;
  CHECK(qn_arch_check(&a, &env, QUERN_E_FORMAT) == QUERN_OK && !qn_arch_is_bert_like(&a));
  a = good, a.sentence_tokens = a.positions + 1;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a = good, a.head = QN_HEAD_CLASSIFY;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a.labels = 2;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_OK);
  a.head_pooler = 1;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a.head_activation = QN_ACT_TANH;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_OK);
  a = good, a.head = QN_HEAD_SPAN, a.labels = 2;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_OK);
  a.head_pooler = 1, a.head_activation = QN_ACT_TANH;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a = good, a.head = QN_HEAD_SPAN, a.labels = 3;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a.labels = 1;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a.labels = 0;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_FORMAT);
  a.head = QN_HEAD_TOKENS + 1, a.labels = 2;
  CHECK_EQ(qn_arch_check(&a, &env, QUERN_E_FORMAT), QUERN_E_UNSUPPORTED);
  CHECK(qn_family_find("bert") == qn_family_at(0) && qn_family_find("t5") == NULL && qn_family_at(10) == NULL);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(reads_a_sentence_encoder);
  RUN(reads_heads);
  RUN(reads_variants);
  RUN(refuses_missing_files);
  RUN(refuses_configs);
  RUN(refuses_heads);
  RUN(refuses_modules);
  RUN(refuses_tensors);
  RUN(refuses_shards);
  RUN(refuses_headers);
  RUN(survives_damage);
  RUN(converts_exactly);
  RUN(checks_descriptions);
  tiny_dir_remove(dir);
  return TEST_END();
}
