/* arch_encoder.c - what encoders like BERT share: config.json and tensor names, read by the tables of a family (family.h).
 * Knows names and fields only; shapes are checked where tensors are read. Stateless. */
#include <math.h>
#include <string.h>
#include "model/family.h"

#define SPAN_OUTPUT "qa_outputs"
static const qn_name span_head[] = {{"head.out", SPAN_OUTPUT}, {NULL, NULL}}; /* in every family, without a prefix */

/* ---- names ---- */

/* A model's own export has bare names, a model with a head puts them below the prefix. */
static const char *prefix_of(const qn_encoder_names *f, qn_has_fn *has_tensor, void *user) {
  char name[96];
  qn_format(name, sizeof name, "%sembeddings.word_embeddings.weight", f->prefix);
  return has_tensor(user, name) ? f->prefix : "";
}

/* Exports of the first years call a norm's weight and bias gamma and beta. */
static void old_norm_name(qn_has_fn *has_tensor, void *user, char *buf, size_t cap) {
  char old[160];
  char *dot = strrchr(buf, '.');
  if (!strstr(buf, "LayerNorm.") || has_tensor(user, buf)) return;
  const char *last = !strcmp(dot, ".weight") ? "gamma" : "beta";
  qn_format(old, sizeof old, "%.*s.%s", (int)(dot - buf), buf, last);
  if (has_tensor(user, old)) qn_format(buf, cap, "%s", old);
}

/* Their name of the stem of `bytes` bytes; NULL: the table has none. */
static const char *look_up(const qn_name *table, const char *stem, size_t bytes) {
  for (; table->ours; table++)
    if (strlen(table->ours) == bytes && !memcmp(table->ours, stem, bytes)) return table->theirs;
  return NULL;
}

/* The source's name for one of ours into buf; 0: the family has none. */
static int source_name(const qn_encoder_names *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user,
                       char *buf, size_t cap) {
  const char *last = strrchr(name, '.'), *number = name + strlen("layers."), *theirs;
  const int is_gain = last && !strcmp(last, ".gain"),
            has_tail = is_gain || (last && (!strcmp(last, ".weight") || !strcmp(last, ".bias")));
  const char *tail = has_tail && !is_gain ? last : ".weight", *prefix = prefix_of(f, has_tensor, user);
  const size_t stem = has_tail ? (size_t)(last - name) : strlen(name);
  int found = 0;
  if (!strncmp(name, "head.", 5) && a->head == QN_HEAD_NONE) return 0;
  if (!strncmp(name, "layers.", 7)) {
    const char *rest = strchr(number, '.');
    if (!rest || rest >= name + stem) return 0;
    theirs = look_up(f->layer, rest + 1, (size_t)(name + stem - rest - 1));
    found = theirs && qn_format(buf, cap, "%s%s%.*s.%s%s", prefix, f->layer_stem, (int)(rest - number), number, theirs,
                                tail) < cap;
  } else if ((theirs = look_up(a->head == QN_HEAD_SPAN ? span_head : f->head, name, stem))) {
    found = qn_format(buf, cap, "%s%s", theirs, tail) < cap;
  } else if ((theirs = look_up(f->outer, name, stem))) {
    found = qn_format(buf, cap, "%s%s%s", prefix, theirs, tail) < cap;
  }
  if (found) old_norm_name(has_tensor, user, buf, cap);
  return found;
}

int qn_encoder_origin(const qn_encoder_names *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user,
                      qn_origin *out) {
  *out = (qn_origin){0};
  return source_name(f, a, name, has_tensor, user, out->name, sizeof out->name);
}

/* ---- config.json ---- */

quern_status qn_config_size(qn_env *env, const qn_json *c, const char *key, uint32_t *out) {
  if (!qn_json_get(c, 0, key)) return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s is missing", key);
  int64_t v = qn_json_int(c, 0, key, -1);
  if (v < 1 || v > INT32_MAX) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s is not a positive whole number", key);
  }
  *out = (uint32_t)v;
  return QUERN_OK;
}

quern_status qn_config_number(qn_env *env, const qn_json *c, const char *key, double otherwise, double least,
                              double most, double *out) {
  *out = qn_config_given(c, key) ? qn_json_number(c, 0, key, NAN) : otherwise;
  if (*out >= least && *out <= most) return QUERN_OK;
  char low[32], high[32];
  qn_format_number(low, sizeof low, least);
  qn_format_number(high, sizeof high, most);
  return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s is not a number between %s and %s", key, low, high);
}

int qn_config_given(const qn_json *c, const char *key) {
  uint32_t i = qn_json_get(c, 0, key);
  return i != 0 && c->nodes[i].kind != QN_JSON_NULL;
}

quern_status qn_config_activation(qn_env *env, const qn_json *c, const char *key, uint32_t otherwise, uint32_t *out) {
  static const struct {
    const char *name;
    uint32_t act;
  } acts[] = {{"gelu", QN_ACT_GELU},
              {"gelu_new", QN_ACT_GELU_TANH},
              {"gelu_pytorch_tanh", QN_ACT_GELU_TANH},
              {"relu", QN_ACT_RELU},
              {"silu", QN_ACT_SILU}};
  const char *name = qn_json_string(c, 0, key, NULL);
  *out = otherwise;
  if (!qn_config_given(c, key)) return QUERN_OK;
  if (!name) return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s is not a string", key);
  for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
    if (!strcmp(acts[i].name, name)) {
      *out = acts[i].act;
      return QUERN_OK;
    }
  }
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                 "config.json: %s \"%.*s\" is not supported (supported: gelu, gelu_new, gelu_pytorch_tanh, relu, silu)",
                 key, 64, name);
}

static quern_status refuse_decoders(qn_env *env, const qn_json *c) {
  static const char *const flags[] = {"is_decoder", "add_cross_attention", "is_encoder_decoder"};
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
    if (qn_json_bool(c, 0, flags[i], 0)) {
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "config.json: %s is true; this architecture is supported as an encoder only", flags[i]);
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
  if (qn_config_given(c, "num_labels")) return qn_config_size(env, c, "num_labels", out);
  if (names && c->nodes[names].kind == QN_JSON_OBJECT && c->nodes[names].count > 0) {
    *out = c->nodes[names].count;
  } else {
    *out = 2; /* transformers' default */
  }
  return QUERN_OK;
}

const char *qn_config_class(const qn_json *c) {
  uint32_t classes = qn_json_get(c, 0, "architectures");
  if (!classes || c->nodes[classes].kind != QN_JSON_ARRAY || c->nodes[classes].count == 0) return NULL;
  const qn_json_node *first = &c->nodes[classes + 1];
  return first->kind == QN_JSON_STRING ? first->string : NULL;
}

/* QN_HEAD_CLASSIFY or QN_HEAD_SPAN by the name of a class; QN_HEAD_NONE: another one. */
static uint32_t head_of_class(const qn_encoder_names *f, const char *class) {
  static const struct {
    const char *ending;
    uint32_t head;
  } known[] = {{"ForSequenceClassification", QN_HEAD_CLASSIFY}, {"ForQuestionAnswering", QN_HEAD_SPAN}};
  const size_t stem = strlen(f->classes);
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (!strncmp(class, f->classes, stem) && !strcmp(class + stem, known[i].ending)) return known[i].head;
  return QN_HEAD_NONE;
}

/* A dense layer with an activation, then the output. */
static quern_status describe_classifier(const qn_encoder_names *f, qn_arch *a, qn_env *env, const qn_json *c,
                                        const char *missing) {
  if (missing) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "the model has a classifier but no %s: a token classifier, which is not supported", missing);
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
  a->head_activation = f->head_activation;
  return QUERN_OK;
}

/* The head by its tensors. Other heads have tensors of the same names, so the class decides where the config gives it. */
static quern_status describe_head(const qn_encoder_names *f, qn_arch *a, qn_env *env, const qn_json *c,
                                  qn_has_fn *has_tensor, void *user) {
  const qn_arch with_head = {.head = QN_HEAD_CLASSIFY};
  char output[96], dense[96];
  if (!source_name(f, &with_head, "head.out.weight", has_tensor, user, output, sizeof output) ||
      !source_name(f, &with_head, "head.pooler.weight", has_tensor, user, dense, sizeof dense))
    return QUERN_OK;
  const int classifier = has_tensor(user, output) || has_tensor(user, "classifier.weight"),
            span = has_tensor(user, SPAN_OUTPUT ".weight");
  const char *class = qn_config_class(c);
  uint32_t head = class ? head_of_class(f, class) : span ? QN_HEAD_SPAN : QN_HEAD_CLASSIFY;
  if (!classifier && !span && head != QN_HEAD_SPAN) return QUERN_OK;
  if (head == QN_HEAD_NONE) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "config.json: the head of %.*s is not supported (supported: %sForSequenceClassification, "
                   "%sForQuestionAnswering)",
                   64, class, f->classes, f->classes);
  }
  if (!class && classifier && span) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "the model has both a classifier and %s: config.json's architectures must say which is meant",
                   SPAN_OUTPUT);
  }
  if (head == QN_HEAD_CLASSIFY && classifier) {
    const char *missing = !has_tensor(user, output) ? output : !has_tensor(user, dense) ? dense : NULL;
    return describe_classifier(f, a, env, c, missing);
  }
  if (head == QN_HEAD_CLASSIFY || !span) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "the model is a %.*s without %s", 64, class,
                   head == QN_HEAD_CLASSIFY ? output : SPAN_OUTPUT ".weight");
  }
  a->head = QN_HEAD_SPAN;
  a->labels = 2;
  return QUERN_OK;
}

quern_status qn_encoder_describe(const qn_encoder_names *f, qn_arch *a, qn_env *env, const qn_json *c,
                                 qn_has_fn *has_tensor, void *user) {
  a->bytes = sizeof *a;
  a->norm = QN_NORM_LAYER;
  a->place = QN_PLACE_POST;
  QN_TRY(refuse_decoders(env, c));
  QN_TRY(qn_config_size(env, c, f->width, &a->width));
  QN_TRY(qn_config_size(env, c, f->layers, &a->layers));
  QN_TRY(qn_config_size(env, c, f->heads, &a->heads));
  QN_TRY(qn_config_size(env, c, f->ffn, &a->ffn));
  QN_TRY(qn_config_size(env, c, "vocab_size", &a->vocab));
  QN_TRY(qn_config_size(env, c, "max_position_embeddings", &a->positions));
  a->types = f->has_types ? 2 : 0;
  if (f->has_types && qn_config_given(c, "type_vocab_size"))
    QN_TRY(qn_config_size(env, c, "type_vocab_size", &a->types));
  if (a->width % a->heads != 0) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: %s %u is not a multiple of %s %u", f->width, a->width,
                   f->heads, a->heads);
  }
  a->kv_heads = a->heads;
  a->head_dim = a->width / a->heads;
  QN_TRY(qn_config_activation(env, c, f->hidden_act, QN_ACT_GELU, &a->activation));
  double eps;
  QN_TRY(qn_config_number(env, c, "layer_norm_eps", 1e-12, 1e-30, 1, &eps));
  a->norm_eps = (float)eps;
  return describe_head(f, a, env, c, has_tensor, user);
}
