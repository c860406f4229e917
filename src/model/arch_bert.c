/* arch_bert.c - the BERT family: names of transformers' BertModel and BertForSequenceClassification, whose
 * head takes the model's pooler. Stateless. */
#include "model/family.h"

static const qn_name outer[] = {
    {"embed.tokens", "embeddings.word_embeddings"},
    {"embed.positions", "embeddings.position_embeddings"},
    {"embed.types", "embeddings.token_type_embeddings"},
    {"embed.norm", "embeddings.LayerNorm"},
    {"head.pooler", "pooler.dense"},
    {NULL, NULL},
};
const qn_name qn_bert_layer[] = {
    {"attn.q", "attention.self.query"},
    {"attn.k", "attention.self.key"},
    {"attn.v", "attention.self.value"},
    {"attn.out", "attention.output.dense"},
    {"attn.norm", "attention.output.LayerNorm"},
    {"ffn.up", "intermediate.dense"},
    {"ffn.down", "output.dense"},
    {"ffn.norm", "output.LayerNorm"},
    {NULL, NULL},
};
static const qn_name head[] = {
    {"head.out", "classifier"},
    {NULL, NULL},
};
static const qn_encoder_names names = {
    .prefix = "bert.",
    .classes = "Bert",
    QN_BERT_MEMBERS,
    .head_activation = QN_ACT_TANH,
    .has_types = 1,
    .outer = outer,
    .layer_stem = "encoder.layer.",
    .layer = qn_bert_layer,
    .head = head,
};

static quern_status describe(qn_arch *a, qn_env *env, const qn_json *c, qn_has_fn *has_tensor, void *user) {
  QN_TRY(qn_encoder_describe(&names, a, env, c, has_tensor, user));
  a->family = QN_FAMILY_BERT;
  return QUERN_OK;
}

static int origin(const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user, qn_origin *out) {
  return qn_encoder_origin(&names, a, name, has_tensor, user, out);
}

static const char *const model_types[] = {"bert", NULL};

const qn_family qn_family_bert = {QN_FAMILY_BERT, "bert", model_types, describe, origin, NULL};
