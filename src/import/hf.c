/* hf.c - a Hugging Face directory as a qn_source: config, weights, sentence-transformers' modules, labels, tokenizer.
 * Not here: the meaning of config.json (model/arch_*.c), the weight files (safetensors.c), tokenizer tables (text/).
 * Invariant: an open source has a checked arch; files are mapped or parsed, never trusted. Thread rule: read-only once
 * open; errors go to the env it was opened with. */
#include "import/import.h"
#include <string.h>
#include "base/checked.h"
#include "base/file.h"
#include "import/safetensors.h"
#include "text/tokenizer.h"

#define HF_PATH 4096u
#define HF_JSON_BYTES (64u << 20) /* of a JSON file at most; the largest published tokenizer.json have some 35 MB */

struct qn_source {
  qn_env *env;
  qn_safetensors weights, dense; /* dense: of the module after pooling, where there is one */
  int dense_bias;
  qn_json config;
  const qn_family *family;
  qn_arch arch;
  const char **labels; /* [arch.labels], into config; NULL: the config has none */
  uint64_t limit;
  char name[256];
  char dir[HF_PATH];
};

/* ---- files ---- */

/* Parses dir/name. Absent: *found = 0. */
static quern_status load_json(const qn_source *s, const char *name, qn_json *out, int *found) {
  char path[HF_PATH];
  qn_map map;
  *out = (qn_json){0};
  *found = 0;
  QN_TRY(qn_path_join(s->env, path, sizeof path, s->dir, name));
  if (!qn_path_exists(path)) return QUERN_OK;
  QN_TRY(qn_map_open(&map, s->env, path, s->limit && s->limit < HF_JSON_BYTES ? s->limit : HF_JSON_BYTES));
  quern_status status = qn_json_parse(out, s->env, name, map.data, map.bytes);
  qn_map_close(&map);
  *found = status == QUERN_OK;
  return status;
}

static int has_tensor(void *user, const char *name) {
  const qn_source *s = user;
  return qn_safetensors_find(&s->weights, name) != NULL;
}

/* ---- config.json ---- */

static quern_status unsupported_family(const qn_source *s, const char *type) {
  char list[256];
  size_t n = 0;
  for (uint32_t i = 0; qn_family_name(i) && n < sizeof list; i++) {
    n += qn_format(list + n, sizeof list - n, "%s%s", i ? ", " : "", qn_family_name(i));
  }
  return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED,
                 "config.json: architecture \"%.*s\" is not supported (supported: %s)", 64, type, list);
}

static quern_status read_config(qn_source *s) {
  int found;
  QN_TRY(load_json(s, "config.json", &s->config, &found));
  if (!found) {
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "%s has no config.json; a Hugging Face model directory has", s->dir);
  }
  if (s->config.nodes[0].kind != QN_JSON_OBJECT) {
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "config.json is not a JSON object");
  }
  const char *type = qn_json_string(&s->config, 0, "model_type", NULL);
  if (!type) {
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "config.json: model_type is missing; is %s a model's directory?",
                   s->dir);
  }
  s->family = qn_family_find(type);
  return s->family ? QUERN_OK : unsupported_family(s, type);
}

/* Where the model comes from, as the config says; of a path of the machine that made it only the last component. A sentence
   encoder's config names the model it was trained from: there the directory's name counts. */
static void read_name(qn_source *s) {
  char modules[1024];
  const int sentence = qn_path_join(s->env, modules, sizeof modules, s->dir, "modules.json") == QUERN_OK &&
                       qn_path_exists(modules);
  const char *name = sentence ? "" : qn_json_string(&s->config, 0, "_name_or_path", "");
  int is_path = name[0] == '/' || name[0] == '.' || name[0] == '~' || strchr(name, '\\') || strchr(name, ':');
  if (!name[0]) name = s->dir, is_path = 1;
  size_t end = strlen(name), start;
  while (end > 0 && (name[end - 1] == '/' || name[end - 1] == '\\')) end--;
  for (start = is_path ? end : 0; start > 0 && name[start - 1] != '/' && name[start - 1] != '\\';) start--;
  qn_format(s->name, sizeof s->name, "%.*s", (int)qn_min_size(end - start, sizeof s->name - 1), name + start);
}

/* "0", "1", ... without sign or leading zeros, below n. */
static int label_index(const char *key, uint32_t n, uint32_t *out) {
  uint64_t v = 0;
  if (!key[0] || (key[0] == '0' && key[1])) return 0;
  for (; *key; key++) {
    if (*key < '0' || *key > '9' || v > n) return 0;
    v = 10 * v + (uint64_t)(*key - '0');
  }
  *out = (uint32_t)v;
  return v < n;
}

static quern_status read_label_names(qn_source *s) {
  const qn_json *c = &s->config;
  uint32_t map = qn_json_get(c, 0, "id2label");
  if (!qn_arch_classifies(&s->arch) || !map || c->nodes[map].kind != QN_JSON_OBJECT) return QUERN_OK;
  void *p;
  QN_TRY(qn_alloc_array(s->env, &p, s->arch.labels, sizeof *s->labels, "label names"));
  s->labels = p;
  for (uint32_t k = map + 1; k < c->nodes[map].next; k = c->nodes[k + 1].next) {
    uint32_t i;
    if (c->nodes[k + 1].kind != QN_JSON_STRING || !label_index(c->nodes[k].string, s->arch.labels, &i)) {
      return qn_fail(&s->env->error, QUERN_E_SOURCE, "config.json: id2label: \"%.*s\" is not one of %u labels", 32,
                     c->nodes[k].string, s->arch.labels);
    }
    s->labels[i] = c->nodes[k + 1].string;
  }
  return QUERN_OK;
}

/* ---- sentence-transformers ---- */

static quern_status read_pooling(qn_source *s, const qn_json *c, const char *file) {
  static const struct {
    const char *key, *value; /* a flag, or the value of pooling_mode */
    uint32_t pool;
  } modes[] = {{"pooling_mode_mean_tokens", "mean", QN_POOL_MEAN},
               {"pooling_mode_cls_token", "cls", QN_POOL_CLS},
               {"pooling_mode_lasttoken", "lasttoken", QN_POOL_LAST},
               {"pooling_mode_max_tokens", "max", QN_POOL_NONE},
               {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", QN_POOL_NONE},
               {"pooling_mode_weightedmean_tokens", "weightedmean", QN_POOL_NONE}};
  qn_error *e = &s->env->error;
  const char *mode = qn_json_string(c, 0, "pooling_mode", NULL);
  uint32_t count = 0;
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    if (mode ? strcmp(mode, modes[i].value) != 0 : !qn_json_bool(c, 0, modes[i].key, 0)) continue;
    if (modes[i].pool == QN_POOL_NONE) {
      return qn_fail(e, QUERN_E_UNSUPPORTED, "%s: pooling \"%s\" is not supported (supported: mean, cls, lasttoken)",
                     file, modes[i].value);
    }
    s->arch.pool = modes[i].pool;
    count++;
  }
  if (count != 1) {
    return qn_fail(e, count ? QUERN_E_UNSUPPORTED : QUERN_E_SOURCE,
                   "%s: %u pooling modes are set; one of mean, cls, lasttoken is supported", file, count);
  }
  int64_t width = qn_json_int(c, 0, "word_embedding_dimension", s->arch.width);
  if (width != s->arch.width) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: word_embedding_dimension is %lld, hidden_size in config.json %u", file,
                   (long long)width, s->arch.width);
  }
  return QUERN_OK;
}

static quern_status read_dense(qn_source *s, const qn_json *c, const char *file, const char *path) {
  qn_error *e = &s->env->error;
  const char *name = qn_json_string(c, 0, "activation_function", ""), *dot = strrchr(name, '.');
  const char *activation = dot ? dot + 1 : name;
  const int64_t in = qn_json_int(c, 0, "in_features", -1), out = qn_json_int(c, 0, "out_features", -1);
  char dir[HF_PATH];
  if (in != s->arch.width) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: in_features is %lld, the hidden size in config.json %u", file, (long long)in,
                   s->arch.width);
  }
  if (out < 1 || out > QN_MAX_WIDTH) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: out_features is not a number between 1 and %u", file,
                   (unsigned)QN_MAX_WIDTH);
  }
  if (strcmp(activation, "Tanh") != 0 && strcmp(activation, "Identity") != 0) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "%s: activation_function \"%.*s\" is not supported (supported: Identity, Tanh)", file, 64, name);
  }
  s->dense_bias = qn_json_bool(c, 0, "bias", 1);
  QN_TRY(qn_path_join(s->env, dir, sizeof dir, s->dir, path));
  QN_TRY(qn_safetensors_open(&s->dense, s->env, dir, s->limit));
  s->arch.dense = (uint32_t)out;
  s->arch.dense_activation = !strcmp(activation, "Tanh") ? QN_ACT_TANH : QN_ACT_NONE;
  return QUERN_OK;
}

#define MODULES "supported: Transformer, Pooling, at most one Dense, Normalize"
enum { TRANSFORMER = 1, POOLING, DENSE, NORMALIZE };

/* One entry of modules.json, node `at`; *done: the module before it. */
static quern_status read_module(qn_source *s, const qn_json *list, uint32_t at, uint32_t *done) {
  static const char *const modules[] = {"", "Transformer", "Pooling", "Dense", "Normalize"};
  qn_error *e = &s->env->error;
  const char *type = qn_json_string(list, at, "type", NULL), *path = qn_json_string(list, at, "path", "");
  if (!type) return qn_fail(e, QUERN_E_SOURCE, "modules.json: a module has no type");
  const char *dot = strrchr(type, '.');
  const char *last = dot ? dot + 1 : type;
  uint32_t step = NORMALIZE;
  while (step > 0 && strcmp(last, modules[step]) != 0) step--;
  if (step == 0) {
    return qn_fail(e, QUERN_E_UNSUPPORTED, "modules.json: module %.*s is not supported (" MODULES ")", 96, type);
  }
  if (step != *done + 1 && !(step == NORMALIZE && *done == POOLING)) {
    return qn_fail(e, QUERN_E_UNSUPPORTED, "modules.json: module %s stands out of order (" MODULES ")", last);
  }
  *done = step;
  if (step == TRANSFORMER && path[0]) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "modules.json: the transformer lies in %.*s; move its files beside modules.json", 96, path);
  }
  if (step == NORMALIZE) s->arch.normalize = 1;
  if (step == TRANSFORMER || step == NORMALIZE) return QUERN_OK;
  char file[160];
  if (!path[0] || path[0] == '.' || strpbrk(path, "/\\") || strlen(path) > 100) {
    return qn_fail(e, QUERN_E_SOURCE, "modules.json: the path of %s is not a plain directory name", last);
  }
  qn_format(file, sizeof file, "%s/config.json", path);
  qn_json config;
  int found;
  QN_TRY(load_json(s, file, &config, &found));
  if (!found) return qn_fail(e, QUERN_E_SOURCE, "%s/%s is missing; modules.json asks for it", s->dir, file);
  quern_status status = step == POOLING ? read_pooling(s, &config, file) : read_dense(s, &config, file, path);
  qn_json_free(s->env, &config);
  return status;
}

static quern_status read_modules(qn_source *s, int *found) {
  qn_json list;
  quern_status status = QUERN_OK;
  uint32_t done = 0;
  QN_TRY(load_json(s, "modules.json", &list, found));
  if (!*found) return QUERN_OK;
  if (list.nodes[0].kind != QN_JSON_ARRAY) {
    status = qn_fail(&s->env->error, QUERN_E_SOURCE, "modules.json is not a list of modules");
  }
  for (uint32_t k = 1; status == QUERN_OK && k < list.nodes[0].next; k = list.nodes[k].next) {
    status = read_module(s, &list, k, &done);
  }
  if (status == QUERN_OK && done < POOLING) {
    status = qn_fail(&s->env->error, QUERN_E_SOURCE, "modules.json: a Transformer followed by a Pooling is expected");
  }
  qn_json_free(s->env, &list);
  return status;
}

static quern_status read_sentence_length(qn_source *s) {
  qn_json c;
  int found;
  QN_TRY(load_json(s, "sentence_bert_config.json", &c, &found));
  int64_t n = found ? qn_json_int(&c, 0, "max_seq_length", s->arch.positions) : s->arch.positions;
  if (found) qn_json_free(s->env, &c);
  if (n < 1)
    return qn_fail(&s->env->error, QUERN_E_SOURCE, "sentence_bert_config.json: max_seq_length is not positive");
  if (n < s->arch.positions) s->arch.sentence_tokens = (uint32_t)n;
  return QUERN_OK;
}

/* What happens to the hidden states: sentence-transformers' modules, or the classification head, or the default. Sets
   only values that keep the arch valid. */
static quern_status read_outputs(qn_source *s) {
  int modules;
  QN_TRY(read_modules(s, &modules));
  if (s->arch.head != QN_HEAD_NONE) return QUERN_OK;
  QN_TRY(read_sentence_length(s));
  if (!modules) {
    s->arch.pool = QN_POOL_MEAN;
    qn_log(s->env, 2, "%s has no modules.json: embeddings are the mean of the tokens, not normalized", s->dir);
  }
  return QUERN_OK;
}

/* ---- entry points ---- */

static quern_status open_directory(qn_source *s, const char *dir) {
  qn_error *e = &s->env->error;
  if (qn_format(s->dir, sizeof s->dir, "%s", dir) >= sizeof s->dir) {
    return qn_fail(e, QUERN_E_ARGUMENT, "%.*s...: the path is too long", 256, dir);
  }
  if (!qn_path_exists(dir)) return qn_fail(e, QUERN_E_IO, "%s: no such file or directory", dir);
  if (!qn_path_is_directory(dir, 1)) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "%s is a file; a Hugging Face model directory (with config.json) is supported", dir);
  }
  QN_TRY(read_config(s));
  read_name(s);
  QN_TRY(qn_safetensors_open(&s->weights, s->env, dir, s->limit));
  QN_TRY(s->family->describe(&s->arch, s->env, &s->config, has_tensor, s));
  s->arch.sentence_tokens = s->arch.positions;
  QN_TRY(qn_arch_check(&s->arch, s->env, QUERN_E_SOURCE)); /* before sizes are used */
  QN_TRY(read_outputs(s));
  return read_label_names(s);
}

quern_status qn_source_open(qn_source **out, qn_env *env, const char *dir, uint64_t limit) {
  void *p;
  *out = NULL;
  QN_TRY(qn_alloc_array(env, &p, 1, sizeof(qn_source), "the source model"));
  qn_source *s = p;
  s->env = env;
  s->limit = limit;
  quern_status status = open_directory(s, dir);
  if (status == QUERN_OK)
    *out = s;
  else
    qn_source_close(s);
  return status;
}

void qn_source_close(qn_source *s) {
  if (!s) return;
  qn_safetensors_close(&s->weights);
  qn_safetensors_close(&s->dense);
  if (s->labels) qn_free(s->env, (void *)s->labels, s->arch.labels * sizeof *s->labels);
  qn_json_free(s->env, &s->config);
  qn_free(s->env, s, sizeof *s);
}

const qn_arch *qn_source_arch(const qn_source *s) { return &s->arch; }

uint64_t qn_source_weight_bytes(const qn_source *s) { return s->weights.bytes + s->dense.bytes; }

const char *qn_source_label(const qn_source *s, uint32_t i) {
  return s->labels && i < s->arch.labels ? s->labels[i] : NULL;
}

const char *qn_source_name(const qn_source *s) { return s->name; }

/* ---- tensors ---- */

static void format_shape(char *buf, size_t cap, uint32_t rank, const uint64_t *dim) {
  size_t n = qn_format(buf, cap, "[");
  for (uint32_t i = 0; i < rank && i < QN_ST_RANK && n < cap; i++) {
    n += qn_format(buf + n, cap - n, "%s%llu", i ? ", " : "", (unsigned long long)dim[i]);
  }
  if (n < cap) qn_format(buf + n, cap - n, rank > QN_ST_RANK ? ", ...]" : "]");
}

/* The tensor, checked; NULL where the family has none. */
static quern_status find_tensor(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim,
                                const qn_st_tensor **out) {
  char source[192], is[128], expected[128];
  qn_error *e = &s->env->error;
  *out = NULL;
  const int dense = !strncmp(name, "pool.dense.", 11);
  if (dense && (!s->arch.dense || (!s->dense_bias && !strcmp(name, "pool.dense.bias")))) return QUERN_OK;
  if (dense)
    qn_format(source, sizeof source, "linear.%s", name + 11);
  else if (!s->family->source_name(&s->arch, name, has_tensor, (void *)s, source, sizeof source)) /* only reads */
    return QUERN_OK;
  const qn_st_tensor *t = qn_safetensors_find(dense ? &s->dense : &s->weights, source);
  if (!t) return qn_fail(e, QUERN_E_SOURCE, "tensor %s (%s) is missing in the weights", source, name);
  if (!qn_safetensors_is_float(t)) {
    return qn_fail(e, QUERN_E_SOURCE, "tensor %s has dtype %.*s; F32, F16 and BF16 are supported", source, 16,
                   t->dtype);
  }
  if (t->rank != rank || memcmp(t->dim, dim, rank * sizeof *dim) != 0) {
    format_shape(is, sizeof is, t->rank, t->dim);
    format_shape(expected, sizeof expected, rank, dim);
    return qn_fail(e, QUERN_E_SOURCE, "tensor %s has shape %s, config.json asks for %s", source, is, expected);
  }
  *out = t;
  return QUERN_OK;
}

quern_status qn_source_find(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, uint64_t *bytes) {
  const qn_st_tensor *t;
  QN_TRY(find_tensor(s, name, rank, dim, &t));
  *bytes = t ? t->end - t->begin : 0;
  return QUERN_OK;
}

quern_status qn_source_read(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, float *dst,
                            int *present) {
  const qn_st_tensor *t;
  QN_TRY(find_tensor(s, name, rank, dim, &t));
  if (present) *present = t != NULL;
  if (!t && present) return QUERN_OK;
  if (!t) return qn_fail(&s->env->error, QUERN_E_SOURCE, "a %s model has no tensor %s", s->family->name, name);
  uint64_t bad = qn_safetensors_convert(t, dst);
  if (bad != UINT64_MAX) {
    return qn_fail(&s->env->error, QUERN_E_NONFINITE, "tensor %s: element %llu is %s", t->name, (unsigned long long)bad,
                   dst[bad] != dst[bad] ? "NaN" : "infinite");
  }
  return QUERN_OK;
}

/* ---- tokenizer ---- */

static quern_status build_from_vocab(const qn_source *s, const qn_json *settings, qn_buffer *section) {
  char path[HF_PATH];
  qn_map map;
  QN_TRY(qn_path_join(s->env, path, sizeof path, s->dir, "vocab.txt"));
  if (!qn_path_exists(path)) {
    qn_log(s->env, 1, "%s has neither tokenizer.json nor vocab.txt: the model will take token ids only", s->dir);
    return QUERN_OK;
  }
  QN_TRY(qn_map_open(&map, s->env, path, s->limit));
  quern_status status = qn_tokenizer_build(s->env, NULL, (const char *)map.data, map.bytes, settings, s->arch.vocab,
                                           section);
  qn_map_close(&map);
  return status;
}

quern_status qn_source_tokenizer(const qn_source *s, qn_buffer *section) {
  qn_json tokenizer, settings;
  int has_tokenizer, has_settings;
  QN_TRY(load_json(s, "tokenizer_config.json", &settings, &has_settings));
  quern_status status = load_json(s, "tokenizer.json", &tokenizer, &has_tokenizer);
  const qn_json *given = has_settings ? &settings : NULL;
  if (status == QUERN_OK && has_tokenizer) {
    status = qn_tokenizer_build(s->env, &tokenizer, NULL, 0, given, s->arch.vocab, section);
    qn_json_free(s->env, &tokenizer);
  } else if (status == QUERN_OK) {
    status = build_from_vocab(s, given, section);
  }
  qn_json_free(s->env, &settings);
  return status;
}
