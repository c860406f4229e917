/* hf.c - a Hugging Face directory as a qn_source: config, weights, sentence-transformers' modules, labels, tokenizer.
 * Not here: the meaning of config.json (model/arch_*.c), the weight files (safetensors.c), tokenizer tables (text/).
 * Invariant: an open source has a checked arch; files are mapped or parsed, never trusted. Thread rule: read-only once
 * open; errors go to the env it was opened with. */
#include "import/hf.h"
#include <string.h>
#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "text/chat.h"
#include "text/tokenizer.h"

#define HF_JSON_BYTES (64u << 20) /* of a JSON file at most; the largest published tokenizer.json have some 35 MB */

/* ---- files ---- */

quern_status qn_hf_load_json(const qn_hf *s, const char *name, qn_json *out, int *found) {
  char path[QN_HF_PATH];
  qn_map map;
  *out = (qn_json){0};
  *found = 0;
  QN_TRY(qn_path_join(s->base.env, path, sizeof path, s->dir, name));
  if (!qn_path_exists(path)) return QUERN_OK;
  QN_TRY(qn_map_open(&map, s->base.env, path, s->limit && s->limit < HF_JSON_BYTES ? s->limit : HF_JSON_BYTES));
  quern_status status = qn_json_parse(out, s->base.env, name, map.data, map.bytes);
  qn_map_close(&map);
  *found = status == QUERN_OK;
  return status;
}

static int has_tensor(void *user, const char *name) {
  const qn_hf *s = user;
  return qn_safetensors_find(&s->weights, name) != NULL;
}

/* ---- config.json ---- */

static quern_status unsupported_family(const qn_hf *s, const char *type) {
  char list[256];
  size_t n = 0;
  for (uint32_t i = 0; qn_family_name(i) && n < sizeof list; i++) {
    n += qn_format(list + n, sizeof list - n, "%s%s", i ? ", " : "", qn_family_name(i));
  }
  return qn_fail(&s->base.env->error, QUERN_E_UNSUPPORTED,
                 "config.json: architecture \"%.*s\" is not supported (supported: %s)", 64, type, list);
}

static quern_status read_config(qn_hf *s) {
  int found;
  QN_TRY(qn_hf_load_json(s, "config.json", &s->config, &found));
  if (!found) {
    return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "%s has no config.json; a Hugging Face model directory has",
                   s->dir);
  }
  if (s->config.nodes[0].kind != QN_JSON_OBJECT) {
    return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "config.json is not a JSON object");
  }
  const char *type = qn_json_string(&s->config, 0, "model_type", NULL);
  if (!type) {
    return qn_fail(&s->base.env->error, QUERN_E_SOURCE,
                   "config.json: model_type is missing; is %s a model's directory?", s->dir);
  }
  s->base.family = qn_family_find(type);
  return s->base.family ? QUERN_OK : unsupported_family(s, type);
}

/* Where the model comes from, as the config says; of a path of the machine that made it only the last component. A sentence
   encoder's config names the model it was trained from: there the directory's name counts. */
static void read_name(qn_hf *s) {
  char modules[1024];
  const int sentence = qn_path_join(s->base.env, modules, sizeof modules, s->dir, "modules.json") == QUERN_OK &&
                       qn_path_exists(modules);
  const char *name = sentence ? "" : qn_json_string(&s->config, 0, "_name_or_path", "");
  const int is_path = name[0] == '/' || name[0] == '.' || name[0] == '~' || strchr(name, '\\') || strchr(name, ':');
  if (name[0] && !is_path) {
    size_t end = strlen(name);
    while (end > 0 && name[end - 1] == '/') end--;
    qn_format(s->base.name, sizeof s->base.name, "%.*s", (int)qn_min_size(end, sizeof s->base.name - 1), name);
  } else {
    qn_source_take_name(&s->base, name[0] ? name : s->dir);
  }
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

static quern_status read_label_names(qn_hf *s) {
  const qn_json *c = &s->config;
  uint32_t map = qn_json_get(c, 0, "id2label");
  if (!qn_arch_classifies(&s->base.arch) || !map || c->nodes[map].kind != QN_JSON_OBJECT) return QUERN_OK;
  void *p;
  QN_TRY(qn_alloc_array(s->base.env, &p, s->base.arch.labels, sizeof *s->labels, "label names"));
  s->labels = p;
  for (uint32_t k = map + 1; k < c->nodes[map].next; k = c->nodes[k + 1].next) {
    uint32_t i;
    if (c->nodes[k + 1].kind != QN_JSON_STRING || !label_index(c->nodes[k].string, s->base.arch.labels, &i)) {
      return qn_fail(&s->base.env->error, QUERN_E_SOURCE, "config.json: id2label: \"%.*s\" is not one of %u labels", 32,
                     c->nodes[k].string, s->base.arch.labels);
    }
    s->labels[i] = c->nodes[k + 1].string;
  }
  return QUERN_OK;
}

/* ---- tensors ---- */

/* Which dense module a tensor's name is of, and what is behind it; -1: of none. */
static int dense_of(const char *name, const char **rest) {
  *rest = name;
  if (!strncmp(name, "pool.dense.", 11)) return *rest += 11, 0;
  return !strncmp(name, "pool.dense2.", 12) ? *rest += 12, 1 : -1;
}

static int origin(const qn_source *source, const char *name, qn_origin *out) {
  const qn_hf *s = (const qn_hf *)source;
  const char *rest;
  const int dense = dense_of(name, &rest);
  if (dense < 0) return qn_family_origin(source->family, &source->arch, name, has_tensor, (void *)(uintptr_t)s, out);
  *out = (qn_origin){0};
  qn_format(out->name, sizeof out->name, "linear.%s", rest);
  return (dense ? source->arch.dense2 : source->arch.dense) && (s->dense[dense].bias || strcmp(rest, "bias") != 0);
}

static quern_status find(const qn_source *source, const char *name, const qn_origin *o, qn_source_tensor *out) {
  const qn_hf *s = (const qn_hf *)source;
  const char *rest;
  const int dense = dense_of(name, &rest);
  const qn_st_tensor *t = qn_safetensors_find(dense < 0 ? &s->weights : &s->dense[dense].weights, o->name);
  if (!t) return QUERN_OK;
  if (!qn_safetensors_is_float(t)) {
    return qn_fail(&source->env->error, QUERN_E_SOURCE, "tensor %s has dtype %.*s; F32, F16 and BF16 are supported",
                   o->name, 16, t->dtype);
  }
  *out = (qn_source_tensor){.entry = t, .name = t->name, .rank = t->rank, .bytes = t->end - t->begin};
  memcpy(out->dim, t->dim, sizeof out->dim);
  return QUERN_OK;
}

static quern_status read_rows(const qn_source *source, const qn_source_tensor *t, uint64_t first, uint64_t rows,
                              float *dst) {
  uint64_t width = 1, bad = 0;
  for (uint32_t i = 1; i < t->rank; i++) width *= t->dim[i]; /* rank is what was asked for: at most 2 */
  const uint64_t n = rows * width;
  qn_safetensors_convert(t->entry, first * width, n, dst);
  if (qn_all_finite(dst, (size_t)n)) return QUERN_OK;
  while (qn_all_finite(dst + bad, 1)) bad++;
  return qn_fail(&source->env->error, QUERN_E_NONFINITE, "tensor %s: element %llu is %s", t->name,
                 (unsigned long long)(first * width + bad), dst[bad] != dst[bad] ? "NaN" : "infinite");
}

static uint64_t weight_bytes(const qn_source *source) {
  const qn_hf *s = (const qn_hf *)source;
  return s->weights.bytes + s->dense[0].weights.bytes + s->dense[1].weights.bytes;
}

static const char *label(const qn_source *source, uint32_t i) {
  const qn_hf *s = (const qn_hf *)source;
  return s->labels && i < source->arch.labels ? s->labels[i] : NULL;
}

/* ---- tokenizer ---- */

static quern_status build_from_vocab(const qn_hf *s, const qn_json *settings, qn_buffer *section) {
  char path[QN_HF_PATH];
  qn_map map;
  QN_TRY(qn_path_join(s->base.env, path, sizeof path, s->dir, "vocab.txt"));
  if (!qn_path_exists(path)) {
    qn_log(s->base.env, 1, "%s has neither tokenizer.json nor vocab.txt: the model will take token ids only", s->dir);
    return QUERN_OK;
  }
  QN_TRY(qn_map_open(&map, s->base.env, path, s->limit));
  quern_status status = qn_tokenizer_build(s->base.env, NULL, (const char *)map.data, map.bytes, settings,
                                           s->base.arch.vocab, section);
  qn_map_close(&map);
  return status;
}

static quern_status build_tokenizer(const qn_source *source, qn_buffer *section) {
  const qn_hf *s = (const qn_hf *)source;
  qn_json tokenizer, settings;
  int has_tokenizer, has_settings;
  QN_TRY(qn_hf_load_json(s, "tokenizer_config.json", &settings, &has_settings));
  quern_status status = qn_hf_load_json(s, "tokenizer.json", &tokenizer, &has_tokenizer);
  const qn_json *given = has_settings ? &settings : NULL;
  if (status == QUERN_OK && has_tokenizer) {
    status = qn_tokenizer_build(s->base.env, &tokenizer, NULL, 0, given, s->base.arch.vocab, section);
    qn_json_free(s->base.env, &tokenizer);
  } else if (status == QUERN_OK) {
    status = build_from_vocab(s, given, section);
  }
  qn_json_free(s->base.env, &settings);
  if (status != QUERN_E_UNSUPPORTED || qn_arch_is_bert_like(&source->arch)) return status;
  char why[QN_ERROR_BYTES];
  qn_error_copy(&source->env->error, why, sizeof why);
  qn_log(source->env, 1, "%s: the model will take token ids only", why);
  section->bytes = 0;
  return QUERN_OK;
}

/* eos_token_id of a config: a number, or several. */
static void add_ends(const qn_json *c, uint32_t vocab, qn_speech *out) {
  const uint32_t node = qn_json_get(c, 0, "eos_token_id");
  if (!node) return;
  if (c->nodes[node].kind != QN_JSON_ARRAY) {
    qn_speech_add(out, qn_json_int(c, 0, "eos_token_id", -1), vocab);
    return;
  }
  for (uint32_t k = node + 1; k < c->nodes[node].next; k = c->nodes[k].next)
    if (c->nodes[k].kind == QN_JSON_NUMBER && c->nodes[k].number >= 0 && c->nodes[k].number < vocab)
      qn_speech_add(out, (int64_t)c->nodes[k].number, vocab);
}

static quern_status read_speech(const qn_source *source, qn_speech *out) {
  const qn_hf *s = (const qn_hf *)source;
  qn_json c;
  int found;
  add_ends(&s->config, source->arch.vocab, out);
  QN_TRY(qn_hf_load_json(s, "generation_config.json", &c, &found));
  if (found) {
    add_ends(&c, source->arch.vocab, out);
    qn_json_free(source->env, &c);
  }
  QN_TRY(qn_hf_load_json(s, "tokenizer_config.json", &c, &found));
  if (found) {
    const char *template = qn_json_string(&c, 0, "chat_template", NULL);
    if (template) out->chat = qn_chat_detect(template, strlen(template));
    qn_json_free(source->env, &c);
  }
  return QUERN_OK;
}

/* ---- opening ---- */

static quern_status open_directory(qn_hf *s, const char *dir) {
  qn_arch *a = &s->base.arch;
  if (qn_format(s->dir, sizeof s->dir, "%s", dir) >= sizeof s->dir)
    return qn_fail(&s->base.env->error, QUERN_E_ARGUMENT, "%.*s...: the path is too long", 256, dir);
  QN_TRY(read_config(s));
  read_name(s);
  QN_TRY(qn_safetensors_open(&s->weights, s->base.env, dir, s->limit));
  qn_rotation rotation[2] = {{0}};
  QN_TRY(qn_family_describe(s->base.family, a, rotation, s->base.env, &s->config, has_tensor, s));
  a->sentence_tokens = a->positions;
  QN_TRY(qn_arch_check(a, s->base.env, QUERN_E_SOURCE)); /* before sizes are used */
  qn_source_take_rotation(&s->base, rotation, NULL);
  QN_TRY(qn_hf_read_outputs(s));
  return read_label_names(s);
}

static void close_directory(qn_source *source) {
  qn_hf *s = (qn_hf *)source;
  qn_env *env = source->env;
  qn_safetensors_close(&s->weights);
  for (uint32_t i = 0; i < QN_HF_DENSE; i++) qn_safetensors_close(&s->dense[i].weights);
  if (s->labels) qn_free(env, (void *)s->labels, source->arch.labels * sizeof *s->labels);
  qn_json_free(env, &s->config);
  qn_free(env, s, sizeof *s);
}

quern_status qn_source_open_directory(qn_source **out, qn_env *env, const char *dir, uint64_t limit) {
  static const qn_source_kind kind = {"config.json", close_directory, weight_bytes, label,    build_tokenizer,
                                      read_speech,   origin,          find,         read_rows};
  void *p;
  QN_TRY(qn_alloc_array(env, &p, 1, sizeof(qn_hf), "the source model"));
  qn_hf *s = p;
  s->base.env = env;
  s->base.kind = &kind;
  s->limit = limit;
  const quern_status status = open_directory(s, dir);
  if (status == QUERN_OK)
    *out = &s->base;
  else
    close_directory(&s->base);
  return status;
}
