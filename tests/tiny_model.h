/* tiny_model.h - writes a small encoder of any family as a Hugging Face directory, for tests. Random but seeded weights with a few large
 * outliers; a weight is a pure function of (seed, tensor name, index), so that a test can know what was written.
 *
 *   char dir[256];
 *   tiny_dir_make(dir, sizeof dir);                       a new directory below TMPDIR or /tmp
 *   tiny_options o = tiny_defaults();                     width 32, 2 layers, 2 heads, ffn 64, 64 positions, F32
 *   o.model_type = "mpnet";                               bert (default), mpnet, distilbert, electra
 *   o.labels = 3;                                         a classifier (1: regression); 0: a sentence encoder
 *   tiny_model_write(dir, &o);                            1 on success
 *   ... qn_source_open(&s, env, dir, 0) ...
 *   tiny_dir_remove(dir);
 *
 * Vocabulary (vocab.txt, TINY_VOCAB tokens): [PAD] [UNK] [CLS] [SEP] [MASK], a ... z, 0 ... 9, ##a ... ##z, ##0 ...
 * ##9, . , ! ? and a few whole words ("the", "cat", "dog", ...): lower-case text becomes tokens without [UNK].
 * Everything is static inline: include it where it is needed, with test.h or without. POSIX; one thread. */
#ifndef QN_TINY_MODEL_H
#define QN_TINY_MODEL_H
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct tiny_options {
  uint32_t width, layers, heads, ffn;
  uint32_t positions;     /* that tokens may use */
  uint32_t types;         /* of bert and electra */
  uint32_t embed_width;   /* of electra's tables; 0: width */
  uint32_t dense;         /* outputs of 2_Dense of a sentence encoder, with tanh; 0: none */
  uint32_t labels;        /* of a ...ForSequenceClassification, names with a prefix; 1: regression; 0: without a head */
  int span;               /* a ...ForQuestionAnswering; not with labels */
  uint32_t max_seq;       /* sentence_bert_config.json's max_seq_length; 0: no such file */
  uint32_t shards;        /* 0, 1: model.safetensors; 2 ... 9: that many files and an index */
  int sentence;           /* modules.json and 1_Pooling/config.json */
  int normalize;          /* modules.json has Normalize */
  int tokenizer;          /* vocab.txt and tokenizer_config.json */
  const char *dtype;      /* "F32", "F16", "BF16" */
  const char *activation; /* hidden_act */
  const char *pooling;    /* "mean", "cls", "lasttoken", "max" */
  const char *model_type;
  const char *more_config; /* JSON members that end in a comma, put first into config.json, or "" */
  const char *skip;        /* name of a tensor to leave out, or NULL */
  const char *poison;      /* name of a tensor whose element 5 is NaN, or NULL */
  uint64_t seed;
} tiny_options;

#define TINY_VOCAB 96u
static const char *const tiny_words[] = {"the",  "cat",   "dog", "sat", "on",  "mat", "a1", "ing",
                                         "##er", "##ing", "is",  "of",  "and", "to",  "in"};

static inline tiny_options tiny_defaults(void) {
  return (tiny_options){.width = 32,
                        .layers = 2,
                        .heads = 2,
                        .ffn = 64,
                        .positions = 64,
                        .types = 2,
                        .max_seq = 48,
                        .sentence = 1,
                        .normalize = 1,
                        .tokenizer = 1,
                        .dtype = "F32",
                        .activation = "gelu",
                        .pooling = "mean",
                        .model_type = "bert",
                        .more_config = "",
                        .seed = 1};
}

/* ---- directories ---- */

static inline int tiny_dir_make(char *buf, size_t cap) {
  const char *base = getenv("TMPDIR");
  snprintf(buf, cap, "%s/quern-test-XXXXXX", base && *base ? base : "/tmp");
  return mkdtemp(buf) != NULL;
}

/* Removes dir with its files and the files of its directories (two levels; nothing here is deeper). */
static inline void tiny_dir_remove_level(const char *dir, int level) {
  char path[1024];
  DIR *d = opendir(dir);
  if (!d) return;
  for (struct dirent *e; (e = readdir(d));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, e->d_name) >= sizeof path) continue;
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && level > 0)
      tiny_dir_remove_level(path, level - 1);
    else
      unlink(path);
  }
  closedir(d);
  rmdir(dir);
}
static inline void tiny_dir_remove(const char *dir) { tiny_dir_remove_level(dir, 2); }

/* Number of entries of dir, . and .. left out; -1: no such directory. */
static inline int tiny_dir_count(const char *dir) {
  DIR *d = opendir(dir);
  int n = -2;
  if (!d) return -1;
  while (readdir(d)) n++;
  closedir(d);
  return n;
}

/* Writes a file of dir; 1 on success. */
static inline int tiny_file(const char *dir, const char *name, const void *data, size_t bytes) {
  char path[1024];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  if (!f) return 0;
  size_t done = bytes ? fwrite(data, 1, bytes, f) : 0;
  return (fclose(f) == 0) & (done == bytes);
}
static inline int tiny_text(const char *dir, const char *name, const char *text) {
  return tiny_file(dir, name, text, strlen(text));
}
/* Reads a whole file into malloc'd memory; NULL on failure. */
static inline uint8_t *tiny_read(const char *path, size_t *bytes) {
  FILE *f = fopen(path, "rb");
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  *bytes = (size_t)ftell(f);
  rewind(f);
  uint8_t *p = aligned_alloc(64, (*bytes + 64) / 64 * 64); /* as models in memory have to be */
  if (p && fread(p, 1, *bytes, f) != *bytes) free(p), p = NULL;
  if (p) p[*bytes] = 0;
  fclose(f);
  return p;
}

/* ---- weights ---- */

static inline uint64_t tiny_hash(uint64_t x) { /* splitmix64 */
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* Element i of a tensor by the name that a BertModel has for it, whatever its family calls it: uniform in +-0.25, one in 128 eight times that; norm gains
   around 1. Multiples of 2^-9 (and of 2^-6 for outliers): F16 holds them exactly, BF16 rounds them. */
static inline float tiny_weight(uint64_t seed, const char *name, uint64_t i) {
  uint64_t h = seed;
  for (const char *p = name; *p; p++) h = tiny_hash(h ^ (uint64_t)(unsigned char)*p);
  h = tiny_hash(h ^ tiny_hash(i));
  float x = (float)((int)(h & 0xff) - 128) / 512.0f;
  if (((h >> 16) & 127) == 0) x *= 8;
  return strstr(name, "LayerNorm.weight") || strstr(name, "layer_norm.weight") ? 1.0f + x / 2 : x;
}

/* x as dtype; what tiny_model_write stores. x is finite, and within half range for F16. */
static inline uint16_t tiny_bf16(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  if (x != x) return 0x7fc0;
  return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}
static inline uint16_t tiny_f16(float x) { /* exact for what tiny_weight gives; cut, not rounded, elsewhere */
  uint32_t u;
  memcpy(&u, &x, 4);
  uint32_t sign = (u >> 16) & 0x8000;
  int e = (int)((u >> 23) & 0xff) - 127 + 15;
  if (x != x) return 0x7e00;
  if (e <= 0) return (uint16_t)sign;
  return (uint16_t)(sign | (uint32_t)e << 10 | ((u >> 13) & 0x3ff));
}

/* ---- the model ---- */

typedef struct tiny_tensor {
  char base[64], name[192]; /* as a BertModel and as the family calls it */
  uint32_t rows, cols;      /* rows 0: a vector of cols */
  uint32_t shard;
} tiny_tensor;

/* What a family calls its tensors: replacements in BERT's names, all in this order. */
typedef struct tiny_family {
  const char *type, *classes;
  const char *rename[10][2];
} tiny_family;

static inline const tiny_family *tiny_family_of(const tiny_options *o) {
  static const tiny_family families[] = {
      {"bert", "Bert", {{NULL, NULL}}},
      {"mpnet",
       "MPNet",
       {{"attention.self.query", "attention.attn.q"},
        {"attention.self.key", "attention.attn.k"},
        {"attention.self.value", "attention.attn.v"},
        {"attention.output.dense", "attention.attn.o"},
        {"attention.output.LayerNorm", "attention.LayerNorm"},
        {"classifier.", "classifier.out_proj."},
        {"pooler.dense", "classifier.dense"}}},
      {"distilbert",
       "DistilBert",
       {{"encoder.layer", "transformer.layer"},
        {"attention.self.query", "attention.q_lin"},
        {"attention.self.key", "attention.k_lin"},
        {"attention.self.value", "attention.v_lin"},
        {"attention.output.dense", "attention.out_lin"},
        {"attention.output.LayerNorm", "sa_layer_norm"},
        {"intermediate.dense", "ffn.lin1"},
        {"output.dense", "ffn.lin2"},
        {"output.LayerNorm", "output_layer_norm"},
        {"pooler.dense", "pre_classifier"}}},
      {"electra", "Electra", {{"classifier.", "classifier.out_proj."}, {"pooler.dense", "classifier.dense"}}},
  };
  for (size_t i = 1; i < sizeof families / sizeof families[0]; i++)
    if (!strcmp(families[i].type, o->model_type)) return &families[i];
  return &families[0]; /* unknown ones are written as bert */
}

static inline int tiny_is(const tiny_options *o, const char *type) { return !strcmp(tiny_family_of(o)->type, type); }
static inline uint32_t tiny_table_width(const tiny_options *o) { return o->embed_width ? o->embed_width : o->width; }
/* Rows of the position table before those of tokens. */
static inline uint32_t tiny_position_offset(const tiny_options *o) { return tiny_is(o, "mpnet") ? 2 : 0; }

/* t->name from t->base. */
static inline void tiny_rename(const tiny_options *o, tiny_tensor *t) {
  const tiny_family *f = tiny_family_of(o);
  char name[160], next[160];
  snprintf(name, sizeof name, "%s", t->base);
  for (int i = 0; i < 10 && f->rename[i][0]; i++) {
    const char *from = f->rename[i][0], *at = strstr(name, from);
    if (!at) continue;
    snprintf(next, sizeof next, "%.*s%s%s", (int)(at - name), name, f->rename[i][1], at + strlen(from));
    snprintf(name, sizeof name, "%s", next);
  }
  const int bare = (!o->labels && !o->span) || strstr(name, "classifier") || strstr(name, "qa_outputs");
  snprintf(t->name, sizeof t->name, "%s%s%s", bare ? "" : f->type, bare ? "" : ".", name);
}

/* The tensors in order; at most cap. Returns how many. */
static inline uint32_t tiny_tensors(const tiny_options *o, tiny_tensor *t, uint32_t cap) {
  uint32_t n = 0, w = o->width, f = o->ffn, e = tiny_table_width(o);
#define TINY_ADD(rows_, cols_, ...)                                                                                    \
  do {                                                                                                                 \
    char base_[64];                                                                                                    \
    snprintf(base_, sizeof base_, __VA_ARGS__);                                                                        \
    if (n < cap && !(o->skip && !strcmp(o->skip, base_))) {                                                            \
      snprintf(t[n].base, sizeof t[n].base, "%s", base_);                                                              \
      t[n].rows = (rows_), t[n].cols = (cols_), t[n].shard = 0;                                                        \
      tiny_rename(o, &t[n++]);                                                                                         \
    }                                                                                                                  \
  } while (0)
  TINY_ADD(TINY_VOCAB, e, "embeddings.word_embeddings.weight");
  TINY_ADD(o->positions + tiny_position_offset(o), e, "embeddings.position_embeddings.weight");
  if (tiny_is(o, "bert") || tiny_is(o, "electra")) TINY_ADD(o->types, e, "embeddings.token_type_embeddings.weight");
  TINY_ADD(0, e, "embeddings.LayerNorm.weight");
  TINY_ADD(0, e, "embeddings.LayerNorm.bias");
  if (o->embed_width) {
    TINY_ADD(w, e, "embeddings_project.weight");
    TINY_ADD(0, w, "embeddings_project.bias");
  }
  if (tiny_is(o, "mpnet")) TINY_ADD(32, o->heads, "encoder.relative_attention_bias.weight");
  for (uint32_t l = 0; l < o->layers; l++) {
    static const char *const attention[] = {"self.query", "self.key", "self.value", "output.dense"};
    for (int i = 0; i < 4; i++) {
      TINY_ADD(w, w, "encoder.layer.%u.attention.%s.weight", l, attention[i]);
      TINY_ADD(0, w, "encoder.layer.%u.attention.%s.bias", l, attention[i]);
    }
    TINY_ADD(0, w, "encoder.layer.%u.attention.output.LayerNorm.weight", l);
    TINY_ADD(0, w, "encoder.layer.%u.attention.output.LayerNorm.bias", l);
    TINY_ADD(f, w, "encoder.layer.%u.intermediate.dense.weight", l);
    TINY_ADD(0, f, "encoder.layer.%u.intermediate.dense.bias", l);
    TINY_ADD(w, f, "encoder.layer.%u.output.dense.weight", l);
    TINY_ADD(0, w, "encoder.layer.%u.output.dense.bias", l);
    TINY_ADD(0, w, "encoder.layer.%u.output.LayerNorm.weight", l);
    TINY_ADD(0, w, "encoder.layer.%u.output.LayerNorm.bias", l);
  }
  if (o->labels || (tiny_is(o, "bert") && !o->span)) {
    TINY_ADD(w, w, "pooler.dense.weight");
    TINY_ADD(0, w, "pooler.dense.bias");
  }
  if (o->labels) {
    TINY_ADD(o->labels, w, "classifier.weight");
    TINY_ADD(0, o->labels, "classifier.bias");
  }
  if (o->span) {
    TINY_ADD(2, w, "qa_outputs.weight");
    TINY_ADD(0, 2, "qa_outputs.bias");
  }
#undef TINY_ADD
  return n;
}

static inline uint64_t tiny_elements(const tiny_tensor *t) { return (uint64_t)(t->rows ? t->rows : 1) * t->cols; }

/* Header and data of one safetensors file: the tensors of `shard`. */
static inline int tiny_safetensors(const char *dir, const char *file, const tiny_options *o, const tiny_tensor *t,
                                   uint32_t count, uint32_t shard) {
  char path[1024];
  size_t item = strcmp(o->dtype, "F32") ? 2 : 4, cap = 256 + 192 * (size_t)count, used = 0;
  uint64_t offset = 0, header;
  char *json = malloc(cap);
  snprintf(path, sizeof path, "%s/%s", dir, file);
  FILE *f = fopen(path, "wb");
  if (!json || !f) {
    free(json);
    if (f) fclose(f);
    return 0;
  }
  used += (size_t)snprintf(json + used, cap - used, "{\"__metadata__\":{\"format\":\"pt\"}");
  for (uint32_t i = 0; i < count; i++) {
    char shape[48];
    if (t[i].shard != shard) continue;
    if (t[i].rows)
      snprintf(shape, sizeof shape, "%u,%u", t[i].rows, t[i].cols);
    else
      snprintf(shape, sizeof shape, "%u", t[i].cols);
    uint64_t bytes = tiny_elements(&t[i]) * item;
    used += (size_t)snprintf(json + used, cap - used,
                             ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}", t[i].name,
                             o->dtype, shape, (unsigned long long)offset, (unsigned long long)(offset + bytes));
    offset += bytes;
  }
  used += (size_t)snprintf(json + used, cap - used, "}");
  while (used % 8) json[used++] = ' ';
  header = used;
  int ok = fwrite(&header, 8, 1, f) == 1 && fwrite(json, 1, used, f) == used;
  for (uint32_t i = 0; i < count && ok; i++) {
    if (t[i].shard != shard) continue;
    int poisoned = o->poison && !strcmp(t[i].base, o->poison);
    for (uint64_t e = 0; e < tiny_elements(&t[i]) && ok; e++) {
      float x = tiny_weight(o->seed, t[i].base, e);
      uint32_t nan_bits = 0x7fc00000;
      if (poisoned && e == 5) memcpy(&x, &nan_bits, 4);
      uint16_t half = !strcmp(o->dtype, "BF16") ? tiny_bf16(x) : tiny_f16(x);
      ok = (item == 4 ? fwrite(&x, 4, 1, f) : fwrite(&half, 2, 1, f)) == 1;
    }
  }
  free(json);
  return (fclose(f) == 0) & ok;
}

static inline int tiny_write_vocab(const char *dir) {
  char text[1024];
  size_t n = 0;
  uint32_t count = 5;
  n += (size_t)snprintf(text + n, sizeof text - n, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n");
  for (int part = 0; part < 2; part++) {
    for (int i = 0; i < 36; i++, count++) {
      n += (size_t)snprintf(text + n, sizeof text - n, "%s%c\n", part ? "##" : "", i < 26 ? 'a' + i : '0' + i - 26);
    }
  }
  for (const char *p = ".,!?"; *p; p++, count++) n += (size_t)snprintf(text + n, sizeof text - n, "%c\n", *p);
  for (size_t i = 0; i < sizeof tiny_words / sizeof tiny_words[0]; i++, count++) {
    n += (size_t)snprintf(text + n, sizeof text - n, "%s\n", tiny_words[i]);
  }
  return count == TINY_VOCAB && tiny_file(dir, "vocab.txt", text, n) &&
         tiny_text(dir, "tokenizer_config.json",
                   "{\"do_lower_case\": true, \"unk_token\": \"[UNK]\", \"sep_token\": \"[SEP]\", \"pad_token\": "
                   "\"[PAD]\", \"cls_token\": \"[CLS]\", \"mask_token\": \"[MASK]\", \"tokenize_chinese_chars\": true, "
                   "\"strip_accents\": null, \"tokenizer_class\": \"BertTokenizer\", \"model_max_length\": 64}");
}

static inline int tiny_write_config(const char *dir, const tiny_options *o) {
  static const char *const usual[] = {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
                                      "hidden_act"};
  static const char *const distilbert[] = {"dim", "n_layers", "n_heads", "hidden_dim", "activation"};
  const char *const *key = tiny_is(o, "distilbert") ? distilbert : usual;
  char text[4096];
  size_t n = 0;
  n += (size_t)snprintf(
      text, sizeof text,
      "{%s\n \"_name_or_path\": \"tiny/bert\",\n \"architectures\": [\"%s%s\"],\n \"model_type\": \"%s\",\n"
      " \"%s\": %u, \"%s\": %u, \"%s\": %u,\n"
      " \"%s\": %u, \"vocab_size\": %u, \"max_position_embeddings\": %u,\n"
      " \"type_vocab_size\": %u, \"embedding_size\": %u, \"%s\": \"%s\", \"layer_norm_eps\": 1e-12,\n"
      " \"position_embedding_type\": \"absolute\", \"pad_token_id\": 0",
      o->more_config, tiny_family_of(o)->classes,
      o->labels ? "ForSequenceClassification"
      : o->span ? "ForQuestionAnswering"
                : "Model",
      o->model_type, key[0], o->width, key[1], o->layers, key[2], o->heads, key[3], o->ffn, TINY_VOCAB,
      o->positions + tiny_position_offset(o), o->types, tiny_table_width(o), key[4], o->activation);
  if (o->labels) {
    n += (size_t)snprintf(text + n, sizeof text - n, ",\n \"id2label\": {");
    for (uint32_t i = 0; i < o->labels && n < 3500; i++) {
      n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%u\": \"label-%c\"", i ? ", " : "", i,
                            (char)('a' + i % 26));
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "}%s", o->labels == 1 ? ", \"problem_type\": \"regression\"" : "");
  }
  snprintf(text + n, sizeof text - n, "}\n");
  return tiny_text(dir, "config.json", text);
}

static inline int tiny_write_sentence(const char *dir, const tiny_options *o) {
  char text[1024];
#define TINY_MODULE                                                                                                    \
  ",\n {\"idx\": 2, \"name\": \"2\", \"path\": \"2_%s\", \"type\": \"sentence_transformers.models.%s\"}"
  char dense[160] = "", normalize[160] = "";
  if (o->dense) snprintf(dense, sizeof dense, TINY_MODULE, "Dense", "Dense");
  if (o->normalize) snprintf(normalize, sizeof normalize, TINY_MODULE, "Normalize", "Normalize");
#undef TINY_MODULE
  snprintf(text, sizeof text,
           "[{\"idx\": 0, \"name\": \"0\", \"path\": \"\", \"type\": \"sentence_transformers.models.Transformer\"},\n"
           " {\"idx\": 1, \"name\": \"1\", \"path\": \"1_Pooling\", \"type\": \"sentence_transformers.models.Pooling\"}"
           "%s%s]\n",
           dense, normalize);
  if (!tiny_text(dir, "modules.json", text)) return 0;
  snprintf(text, sizeof text, "%s/1_Pooling", dir);
  mkdir(text, 0777);
  snprintf(text, sizeof text,
           "{\"word_embedding_dimension\": %u, \"pooling_mode_cls_token\": %s, \"pooling_mode_mean_tokens\": %s, "
           "\"pooling_mode_max_tokens\": %s, \"pooling_mode_lasttoken\": %s}\n",
           o->width, strcmp(o->pooling, "cls") ? "false" : "true", strcmp(o->pooling, "mean") ? "false" : "true",
           strcmp(o->pooling, "max") ? "false" : "true", strcmp(o->pooling, "lasttoken") ? "false" : "true");
  if (!tiny_text(dir, "1_Pooling/config.json", text)) return 0;
  if (!o->dense) return 1;
  const tiny_tensor t[2] = {{.base = "linear.weight", .name = "linear.weight", .rows = o->dense, .cols = o->width},
                            {.base = "linear.bias", .name = "linear.bias", .cols = o->dense}};
  snprintf(text, sizeof text, "%s/2_Dense", dir);
  mkdir(text, 0777);
  snprintf(text, sizeof text,
           "{\"in_features\": %u, \"out_features\": %u, \"bias\": true, \"activation_function\": "
           "\"torch.nn.modules.activation.Tanh\"}\n",
           o->width, o->dense);
  return tiny_text(dir, "2_Dense/config.json", text) && tiny_safetensors(dir, "2_Dense/model.safetensors", o, t, 2, 0);
}

/* Writes the model into dir, which exists; 1 on success. A second call overwrites the files of the first. */
static inline int tiny_model_write(const char *dir, const tiny_options *o) {
  uint32_t cap = 20 + 16 * o->layers;
  tiny_tensor *t = calloc(cap, sizeof *t);
  if (!t) return 0;
  uint32_t n = tiny_tensors(o, t, cap);
  int ok = tiny_write_config(dir, o);
  if (o->tokenizer) ok &= tiny_write_vocab(dir);
  if (o->sentence && !o->labels && !o->span) ok &= tiny_write_sentence(dir, o);
  if (o->max_seq) {
    char text[128];
    snprintf(text, sizeof text, "{\"max_seq_length\": %u, \"do_lower_case\": false}\n", o->max_seq);
    ok &= tiny_text(dir, "sentence_bert_config.json", text);
  }
  if (o->shards < 2) {
    ok &= tiny_safetensors(dir, "model.safetensors", o, t, n, 0);
  } else {
    char file[64];
    size_t room = 256 + 160 * (size_t)n, used = 0;
    char *index = malloc(room);
    for (uint32_t i = 0; i < n; i++) t[i].shard = i % o->shards;
    if (index) {
      used += (size_t)snprintf(index, room, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
      for (uint32_t i = 0; i < n; i++) {
        used += (size_t)snprintf(index + used, room - used, "%s\"%s\": \"model-%05u-of-%05u.safetensors\"",
                                 i ? ", " : "", t[i].name, t[i].shard + 1, o->shards);
      }
      snprintf(index + used, room - used, "}}\n");
      ok &= tiny_text(dir, "model.safetensors.index.json", index);
    }
    ok &= index != NULL;
    free(index);
    for (uint32_t s = 0; s < o->shards; s++) {
      snprintf(file, sizeof file, "model-%05u-of-%05u.safetensors", s + 1, o->shards);
      ok &= tiny_safetensors(dir, file, o, t, n, s);
    }
  }
  free(t);
  return ok;
}
#endif
