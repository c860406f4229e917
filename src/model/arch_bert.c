/* arch_bert.c - the BERT family: config.json and tensor names of transformers' BertModel and
 * BertForSequenceClassification. Knows names and fields only; shapes are checked where tensors are read. Stateless. */
#include <string.h>
#include "model/family.h"

typedef int has_fn(void *user, const char *name);

/* ---- names ---- */

typedef struct pair {
  const char *ours, *theirs;
} pair;

static const pair outer_names[] = {
    {"embed.tokens", "embeddings.word_embeddings.weight"},
    {"embed.positions", "embeddings.position_embeddings.weight"},
    {"embed.types", "embeddings.token_type_embeddings.weight"},
    {"embed.norm.gain", "embeddings.LayerNorm.weight"},
    {"embed.norm.bias", "embeddings.LayerNorm.bias"},
    {"head.pooler.weight", "pooler.dense.weight"},
    {"head.pooler.bias", "pooler.dense.bias"},
};
/* Below "layers.N." and "encoder.layer.N.". */
static const pair layer_names[] = {
    {"attn.q", "attention.self.query"},
    {"attn.k", "attention.self.key"},
    {"attn.v", "attention.self.value"},
    {"attn.out", "attention.output.dense"},
    {"attn.norm", "attention.output.LayerNorm"},
    {"ffn.up", "intermediate.dense"},
    {"ffn.down", "output.dense"},
    {"ffn.norm", "output.LayerNorm"},
};

/* BertModel's own export has bare names, a model with a head puts them below "bert.". */
static const char *prefix_of(has_fn *has_tensor, void *user) {
  return has_tensor(user, "bert.embeddings.word_embeddings.weight") ? "bert." : "";
}

/* Exports of the first years call a norm's weight and bias gamma and beta. */
static void old_norm_name(has_fn *has_tensor, void *user, char *buf, size_t cap) {
  char old[160];
  char *dot = strrchr(buf, '.');
  if (!strstr(buf, "LayerNorm.") || has_tensor(user, buf)) return;
  const char *last = !strcmp(dot, ".weight") ? "gamma" : "beta";
  qn_format(old, sizeof old, "%.*s.%s", (int)(dot - buf), buf, last);
  if (has_tensor(user, old)) qn_format(buf, cap, "%s", old);
}

static int layer_name(const char *name, const char *prefix, char *buf, size_t cap) {
  const char *number = name + strlen("layers.");
  const char *rest = strchr(number, '.');
  const char *last = strrchr(name, '.');
  if (!rest || last <= rest) return 0;
  rest++;
  for (size_t i = 0; i < sizeof layer_names / sizeof layer_names[0]; i++) {
    const char *ours = layer_names[i].ours;
    if (strlen(ours) != (size_t)(last - rest) || memcmp(ours, rest, (size_t)(last - rest)) != 0) continue;
    const char *tail = !strcmp(last, ".gain") ? ".weight" : last;
    return qn_format(buf, cap, "%sencoder.layer.%.*s.%s%s", prefix, (int)(rest - 1 - number), number,
                     layer_names[i].theirs, tail) < cap;
  }
  return 0;
}

static int source_name(const qn_arch *a, const char *name, has_fn *has_tensor, void *user, char *buf, size_t cap) {
  const char *prefix = prefix_of(has_tensor, user);
  int found = 0;
  if (!strncmp(name, "layers.", 7)) {
    found = layer_name(name, prefix, buf, cap);
  } else if (!strncmp(name, "head.out.", 9)) {
    return a->head != QN_HEAD_NONE && qn_format(buf, cap, "classifier.%s", name + 9) < cap;
  } else {
    for (size_t i = 0; i < sizeof outer_names / sizeof outer_names[0] && !found; i++) {
      if (!strcmp(outer_names[i].ours, name)) found = qn_format(buf, cap, "%s%s", prefix, outer_names[i].theirs) < cap;
    }
  }
  if (found) old_norm_name(has_tensor, user, buf, cap);
  return found;
}

/* ---- config.json ---- */

/* A size that must be there. */
static quern_status need_size(qn_env *env, const qn_json *c, const char *key, uint32_t *out) {
  if (!qn_json_get(c, 0, key)) return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s is missing", key);
  int64_t v = qn_json_int(c, 0, key, -1);
  if (v < 1 || v > INT32_MAX) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s is not a positive whole number", key);
  }
  *out = (uint32_t)v;
  return QUERN_OK;
}

/* A member with another value than null. */
static int given(const qn_json *c, const char *key) {
  uint32_t i = qn_json_get(c, 0, key);
  return i != 0 && c->nodes[i].kind != QN_JSON_NULL;
}

static quern_status read_activation(qn_env *env, const qn_json *c, uint32_t *out) {
  static const struct {
    const char *name;
    uint32_t act;
  } acts[] = {{"gelu", QN_ACT_GELU},
              {"gelu_new", QN_ACT_GELU_TANH},
              {"gelu_pytorch_tanh", QN_ACT_GELU_TANH},
              {"relu", QN_ACT_RELU}};
  const char *name = given(c, "hidden_act") ? qn_json_string(c, 0, "hidden_act", NULL) : "gelu";
  if (!name) return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: hidden_act is not a string");
  for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
    if (!strcmp(acts[i].name, name)) {
      *out = acts[i].act;
      return QUERN_OK;
    }
  }
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                 "config.json: hidden_act \"%.*s\" is not supported (supported: gelu, gelu_new, gelu_pytorch_tanh, "
                 "relu)",
                 64, name);
}

static quern_status refuse_decoders(qn_env *env, const qn_json *c) {
  static const char *const flags[] = {"is_decoder", "add_cross_attention", "is_encoder_decoder"};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    if (qn_json_bool(c, 0, flags[i], 0)) {
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "config.json: %s is true; bert is supported as an encoder only",
                     flags[i]);
    }
  }
  const char *kind = qn_json_string(c, 0, "position_embedding_type", "absolute");
  if (strcmp(kind, "absolute") != 0) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "config.json: position_embedding_type \"%.*s\" is not supported (supported: absolute)", 64, kind);
  }
  return QUERN_OK;
}

static quern_status read_labels(qn_env *env, const qn_json *c, uint32_t *out) {
  uint32_t names = qn_json_get(c, 0, "id2label");
  if (given(c, "num_labels")) return need_size(env, c, "num_labels", out);
  if (names && c->nodes[names].kind == QN_JSON_OBJECT && c->nodes[names].count > 0) {
    *out = c->nodes[names].count;
  } else {
    *out = 2; /* transformers' default */
  }
  return QUERN_OK;
}

/* The head of BertForSequenceClassification: pooler (dense, tanh), then classifier. Other heads have a tensor of the
   same name, so the class is asked for where the config gives it. */
static quern_status describe_head(qn_arch *a, qn_env *env, const qn_json *c, has_fn *has_tensor, void *user) {
  char pooler[64];
  if (!has_tensor(user, "classifier.weight")) return QUERN_OK;
  uint32_t classes = qn_json_get(c, 0, "architectures");
  if (classes && c->nodes[classes].kind == QN_JSON_ARRAY && c->nodes[classes].count > 0) {
    const qn_json_node *first = &c->nodes[classes + 1];
    if (first->kind == QN_JSON_STRING && strcmp(first->string, "BertForSequenceClassification") != 0) {
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "config.json: the head of %.*s is not supported (supported: BertForSequenceClassification)", 64,
                     first->string);
    }
  }
  qn_format(pooler, sizeof pooler, "%spooler.dense.weight", prefix_of(has_tensor, user));
  if (!has_tensor(user, pooler)) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "the model has classifier.weight but no %s: a token classifier, which is not supported", pooler);
  }
  QN_TRY(read_labels(env, c, &a->labels));
  const char *problem = qn_json_string(c, 0, "problem_type", NULL);
  if (problem && !strcmp(problem, "multi_label_classification")) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "config.json: problem_type \"%s\" is not supported", problem);
  }
  int regression = problem && !strcmp(problem, "regression");
  if (regression && a->labels != 1) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "config.json: a regression with %u outputs is not supported (one is)", a->labels);
  }
  a->head = a->labels == 1 ? QN_HEAD_REGRESSION : QN_HEAD_CLASSIFY;
  a->head_pooler = 1;
  a->head_activation = QN_ACT_TANH;
  return QUERN_OK;
}

static quern_status describe(qn_arch *a, qn_env *env, const qn_json *c, has_fn *has_tensor, void *user) {
  a->bytes = sizeof *a;
  a->family = QN_FAMILY_BERT;
  a->norm = QN_NORM_LAYER;
  a->place = QN_PLACE_POST;
  QN_TRY(refuse_decoders(env, c));
  QN_TRY(need_size(env, c, "hidden_size", &a->width));
  QN_TRY(need_size(env, c, "num_hidden_layers", &a->layers));
  QN_TRY(need_size(env, c, "num_attention_heads", &a->heads));
  QN_TRY(need_size(env, c, "intermediate_size", &a->ffn));
  QN_TRY(need_size(env, c, "vocab_size", &a->vocab));
  QN_TRY(need_size(env, c, "max_position_embeddings", &a->positions));
  a->types = 2;
  if (given(c, "type_vocab_size")) QN_TRY(need_size(env, c, "type_vocab_size", &a->types));
  if (a->width % a->heads != 0) {
    return qn_fail(&env->error, QUERN_E_SOURCE,
                   "config.json: hidden_size %u is not a multiple of num_attention_heads %u", a->width, a->heads);
  }
  a->kv_heads = a->heads;
  a->head_dim = a->width / a->heads;
  QN_TRY(read_activation(env, c, &a->activation));
  double eps = given(c, "layer_norm_eps") ? qn_json_number(c, 0, "layer_norm_eps", -1) : 1e-12;
  if (!(eps >= 1e-30 && eps <= 1)) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: layer_norm_eps is not a number between 1e-30 and 1");
  }
  a->norm_eps = (float)eps;
  return describe_head(a, env, c, has_tensor, user);
}

static const char *const model_types[] = {"bert", NULL};

const qn_family qn_family_bert = {QN_FAMILY_BERT, "bert", model_types, describe, source_name};
