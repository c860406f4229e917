/* hf_modules.c - sentence-transformers' modules in a Hugging Face directory (hf.h): pooling, dense layers, normalizing, the length of texts.
 * Nothing is trusted. */
#include <string.h>
#include "base/file.h"
#include "import/hf.h"

static quern_status read_pooling(qn_hf *s, const qn_json *c, const char *file) {
  static const struct {
    const char *key, *value; /* a flag, or the value of pooling_mode */
    uint32_t pool;
  } modes[] = {{"pooling_mode_mean_tokens", "mean", QN_POOL_MEAN},
               {"pooling_mode_cls_token", "cls", QN_POOL_CLS},
               {"pooling_mode_lasttoken", "lasttoken", QN_POOL_LAST},
               {"pooling_mode_max_tokens", "max", QN_POOL_NONE},
               {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", QN_POOL_NONE},
               {"pooling_mode_weightedmean_tokens", "weightedmean", QN_POOL_NONE}};
  qn_error *e = &s->base.env->error;
  const char *mode = qn_json_string(c, 0, "pooling_mode", NULL);
  uint32_t count = 0;
  for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    if (mode ? strcmp(mode, modes[i].value) != 0 : !qn_json_bool(c, 0, modes[i].key, 0)) continue;
    if (modes[i].pool == QN_POOL_NONE) {
      return qn_fail(e, QUERN_E_UNSUPPORTED, "%s: pooling \"%s\" is not supported (supported: mean, cls, lasttoken)",
                     file, modes[i].value);
    }
    s->base.arch.pool = modes[i].pool;
    count++;
  }
  if (count != 1) {
    return qn_fail(e, count ? QUERN_E_UNSUPPORTED : QUERN_E_SOURCE,
                   "%s: %u pooling modes are set; one of mean, cls, lasttoken is supported", file, count);
  }
  int64_t width = qn_json_int(c, 0, "word_embedding_dimension", s->base.arch.width);
  if (width != s->base.arch.width) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: word_embedding_dimension is %lld, hidden_size in config.json %u", file,
                   (long long)width, s->base.arch.width);
  }
  return QUERN_OK;
}

/* Module `index` of its kind, whose inputs are the outputs of the one before it. */
static quern_status read_dense(qn_hf *s, uint32_t index, const qn_json *c, const char *file, const char *path) {
  qn_arch *a = &s->base.arch;
  qn_error *e = &s->base.env->error;
  const char *name = qn_json_string(c, 0, "activation_function", ""), *dot = strrchr(name, '.');
  const char *activation = dot ? dot + 1 : name;
  const int64_t in = qn_json_int(c, 0, "in_features", -1), out = qn_json_int(c, 0, "out_features", -1);
  const uint32_t before = index ? a->dense : a->width;
  char dir[QN_HF_PATH];
  if (in != before) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: in_features is %lld, %s %u", file, (long long)in,
                   index ? "the outputs before it" : "the hidden size in config.json", before);
  }
  if (out < 1 || out > QN_MAX_WIDTH) {
    return qn_fail(e, QUERN_E_SOURCE, "%s: out_features is not a number between 1 and %u", file,
                   (unsigned)QN_MAX_WIDTH);
  }
  if (strcmp(activation, "Tanh") != 0 && strcmp(activation, "Identity") != 0) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "%s: activation_function \"%.*s\" is not supported (supported: Identity, Tanh)", file, 64, name);
  }
  s->dense[index].bias = qn_json_bool(c, 0, "bias", 1);
  QN_TRY(qn_path_join(s->base.env, dir, sizeof dir, s->dir, path));
  QN_TRY(qn_safetensors_open(&s->dense[index].weights, s->base.env, dir, s->limit));
  *(index ? &a->dense2 : &a->dense) = (uint32_t)out;
  *(index ? &a->dense2_activation : &a->dense_activation) = !strcmp(activation, "Tanh") ? QN_ACT_TANH : QN_ACT_NONE;
  return QUERN_OK;
}

#define MODULES "supported: Transformer, Pooling, at most two Dense, Normalize"
enum { TRANSFORMER = 1, POOLING, DENSE, NORMALIZE };

/* One entry of modules.json, node `at`; *done: the module before it. */
static quern_status read_module(qn_hf *s, const qn_json *list, uint32_t at, uint32_t *done) {
  static const char *const modules[] = {"", "Transformer", "Pooling", "Dense", "Normalize"};
  qn_error *e = &s->base.env->error;
  const char *type = qn_json_string(list, at, "type", NULL), *path = qn_json_string(list, at, "path", "");
  if (!type) return qn_fail(e, QUERN_E_SOURCE, "modules.json: a module has no type");
  const char *dot = strrchr(type, '.');
  const char *last = dot ? dot + 1 : type;
  uint32_t step = NORMALIZE;
  while (step > 0 && strcmp(last, modules[step]) != 0) step--;
  if (step == 0) {
    return qn_fail(e, QUERN_E_UNSUPPORTED, "modules.json: module %.*s is not supported (" MODULES ")", 96, type);
  }
  const uint32_t index = s->base.arch.dense != 0; /* of a Dense */
  if (step != *done + 1 && !(step == NORMALIZE && *done == POOLING) &&
      !(step == DENSE && *done == DENSE && !s->base.arch.dense2)) {
    return qn_fail(e, QUERN_E_UNSUPPORTED, "modules.json: module %s stands out of order (" MODULES ")", last);
  }
  *done = step;
  if (step == TRANSFORMER && path[0]) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "modules.json: the transformer lies in %.*s; move its files beside modules.json", 96, path);
  }
  if (step == NORMALIZE) s->base.arch.normalize = 1;
  if (step == TRANSFORMER || step == NORMALIZE) return QUERN_OK;
  char file[160];
  if (!path[0] || path[0] == '.' || strpbrk(path, "/\\") || strlen(path) > 100) {
    return qn_fail(e, QUERN_E_SOURCE, "modules.json: the path of %s is not a plain directory name", last);
  }
  qn_format(file, sizeof file, "%s/config.json", path);
  qn_json config;
  int found;
  QN_TRY(qn_hf_load_json(s, file, &config, &found));
  if (!found) return qn_fail(e, QUERN_E_SOURCE, "%s/%s is missing; modules.json asks for it", s->dir, file);
  quern_status status = step == POOLING ? read_pooling(s, &config, file) : read_dense(s, index, &config, file, path);
  qn_json_free(s->base.env, &config);
  return status;
}

static quern_status read_modules(qn_hf *s, int *found) {
  qn_json list;
  quern_status status = QUERN_OK;
  uint32_t done = 0;
  QN_TRY(qn_hf_load_json(s, "modules.json", &list, found));
  if (!*found) return QUERN_OK;
  if (list.nodes[0].kind != QN_JSON_ARRAY) {
    status = qn_fail(&s->base.env->error, QUERN_E_SOURCE, "modules.json is not a list of modules");
  }
  for (uint32_t k = 1; status == QUERN_OK && k < list.nodes[0].next; k = list.nodes[k].next) {
    status = read_module(s, &list, k, &done);
  }
  if (status == QUERN_OK && done < POOLING) {
    status = qn_fail(&s->base.env->error, QUERN_E_SOURCE,
                     "modules.json: a Transformer followed by a Pooling is expected");
  }
  qn_json_free(s->base.env, &list);
  return status;
}

static quern_status read_sentence_length(qn_hf *s) {
  qn_json c;
  int found;
  QN_TRY(qn_hf_load_json(s, "sentence_bert_config.json", &c, &found));
  int64_t n = found ? qn_json_int(&c, 0, "max_seq_length", s->base.arch.positions) : s->base.arch.positions;
  if (found) qn_json_free(s->base.env, &c);
  if (n < 1)
    return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "sentence_bert_config.json: max_seq_length is not positive");
  if (n < s->base.arch.positions) s->base.arch.sentence_tokens = (uint32_t)n;
  return QUERN_OK;
}

quern_status qn_hf_read_outputs(qn_hf *s) {
  int modules;
  QN_TRY(read_modules(s, &modules));
  if (s->base.arch.head != QN_HEAD_NONE) return QUERN_OK;
  QN_TRY(read_sentence_length(s));
  if (!modules) {
    s->base.arch.pool = QN_POOL_MEAN;
    qn_log(s->base.env, 2, "%s has no modules.json: embeddings are the mean of the tokens, not normalized", s->dir);
  }
  return QUERN_OK;
}
