/* arch_electra.c - the ELECTRA family: names of transformers' ElectraModel and ElectraForSequenceClassification. BERT
 * with embeddings of another width, which a linear operator leads to that of the layers. Stateless. */
#include "model/family.h"

static const qn_name outer[] = {
    {"embed.tokens", "embeddings.word_embeddings"},
    {"embed.positions", "embeddings.position_embeddings"},
    {"embed.types", "embeddings.token_type_embeddings"},
    {"embed.norm", "embeddings.LayerNorm"},
    {"embed.project", "embeddings_project"},
    {NULL, NULL},
};
static const qn_name head[] = {
    {"head.pooler", "classifier.dense"},
    {"head.out", "classifier.out_proj"},
    {NULL, NULL},
};
static const qn_encoder_names names = {
    .prefix = "electra.",
    .classes = "Electra",
    QN_BERT_MEMBERS,
    .head_activation = QN_ACT_GELU,
    .has_types = 1,
    .outer = outer,
    .layer_stem = "encoder.layer.",
    .layer = qn_bert_layer,
    .head = head,
};

static quern_status describe(qn_arch *a, qn_env *env, const qn_json *c, qn_has_fn *has_tensor, void *user) {
  QN_TRY(qn_encoder_describe(&names, a, env, c, has_tensor, user));
  a->family = QN_FAMILY_ELECTRA;
  uint32_t tables = 128; /* transformers' default */
  if (qn_config_given(c, "embedding_size")) QN_TRY(qn_config_size(env, c, "embedding_size", &tables));
  a->embed_width = tables != a->width ? tables : 0;
  return QUERN_OK;
}

static int origin(const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user, qn_origin *out) {
  return qn_encoder_origin(&names, a, name, has_tensor, user, out);
}

static const char *const model_types[] = {"electra", NULL};

const qn_family qn_family_electra = {QN_FAMILY_ELECTRA, "electra", model_types, describe, origin, NULL};
