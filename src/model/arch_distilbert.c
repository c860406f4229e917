/* arch_distilbert.c - the DistilBERT family: names of transformers' DistilBertModel and
 * DistilBertForSequenceClassification. Tokens have no types. Stateless. */
#include "model/family.h"

static const qn_name outer[] = {
    {"embed.tokens", "embeddings.word_embeddings"},
    {"embed.positions", "embeddings.position_embeddings"},
    {"embed.norm", "embeddings.LayerNorm"},
    {NULL, NULL},
};
static const qn_name layer[] = {
    {"attn.q", "attention.q_lin"},     {"attn.k", "attention.k_lin"},     {"attn.v", "attention.v_lin"},
    {"attn.out", "attention.out_lin"}, {"attn.norm", "sa_layer_norm"},    {"ffn.up", "ffn.lin1"},
    {"ffn.down", "ffn.lin2"},          {"ffn.norm", "output_layer_norm"}, {NULL, NULL},
};
static const qn_name head[] = {
    {"head.pooler", "pre_classifier"},
    {"head.out", "classifier"},
    {NULL, NULL},
};
static const qn_encoder_names names = {
    .prefix = "distilbert.",
    .classes = "DistilBert",
    .width = "dim",
    .layers = "n_layers",
    .heads = "n_heads",
    .ffn = "hidden_dim",
    .hidden_act = "activation",
    .head_activation = QN_ACT_RELU,
    .has_types = 0,
    .outer = outer,
    .layer_stem = "transformer.layer.",
    .layer = layer,
    .head = head,
};

static quern_status describe(qn_arch *a, qn_env *env, const qn_json *c, qn_has_fn *has_tensor, void *user) {
  QN_TRY(qn_encoder_describe(&names, a, env, c, has_tensor, user));
  a->family = QN_FAMILY_DISTILBERT;
  return QUERN_OK;
}

static int origin(const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user, qn_origin *out) {
  return qn_encoder_origin(&names, a, name, has_tensor, user, out);
}

static const char *const model_types[] = {"distilbert", NULL};

const qn_family qn_family_distilbert = {QN_FAMILY_DISTILBERT, "distilbert", model_types, describe, origin, NULL};
