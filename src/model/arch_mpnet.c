/* arch_mpnet.c - the MPNet family: names of transformers' MPNetModel and MPNetForSequenceClassification. Scores have
 * a bias by distance, tokens have no types, and positions begin after the padding's row. Stateless. */
#include "model/family.h"

#define POSITION_OFFSET 2u /* row 1 is the padding's, row 0 is not used */

static const qn_name outer[] = {
    {"embed.tokens", "embeddings.word_embeddings"},
    {"embed.positions", "embeddings.position_embeddings"},
    {"embed.norm", "embeddings.LayerNorm"},
    {"attn.relative_bias", "encoder.relative_attention_bias"},
    {NULL, NULL},
};
static const qn_name layer[] = {
    {"attn.q", "attention.attn.q"},   {"attn.k", "attention.attn.k"},       {"attn.v", "attention.attn.v"},
    {"attn.out", "attention.attn.o"}, {"attn.norm", "attention.LayerNorm"}, {"ffn.up", "intermediate.dense"},
    {"ffn.down", "output.dense"},     {"ffn.norm", "output.LayerNorm"},     {NULL, NULL},
};
static const qn_name head[] = {
    {"head.pooler", "classifier.dense"},
    {"head.out", "classifier.out_proj"},
    {NULL, NULL},
};
static const qn_encoder_names names = {
    .prefix = "mpnet.",
    .classes = "MPNet",
    QN_BERT_MEMBERS,
    .head_activation = QN_ACT_TANH,
    .has_types = 0,
    .outer = outer,
    .layer_stem = "encoder.layer.",
    .layer = layer,
    .head = head,
};

static quern_status describe(qn_arch *a, qn_env *env, const qn_json *c, qn_has_fn *has_tensor, void *user) {
  QN_TRY(qn_encoder_describe(&names, a, env, c, has_tensor, user));
  a->family = QN_FAMILY_MPNET;
  a->relative_bias = 1;
  a->position_offset = POSITION_OFFSET;
  if (a->positions <= POSITION_OFFSET) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "config.json: max_position_embeddings is %u, of which %u are not used",
                   a->positions, POSITION_OFFSET);
  }
  a->positions -= POSITION_OFFSET;
  uint32_t buckets = QN_RELATIVE_BUCKETS;
  if (qn_config_given(c, "relative_attention_num_buckets")) {
    QN_TRY(qn_config_size(env, c, "relative_attention_num_buckets", &buckets));
  }
  if (buckets != QN_RELATIVE_BUCKETS) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "config.json: relative_attention_num_buckets %u is not supported (supported: %u)", buckets,
                   QN_RELATIVE_BUCKETS);
  }
  return QUERN_OK;
}

static int origin(const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user, qn_origin *out) {
  return qn_encoder_origin(&names, a, name, has_tensor, user, out);
}

static const char *const model_types[] = {"mpnet", NULL};

const qn_family qn_family_mpnet = {QN_FAMILY_MPNET, "mpnet", model_types, describe, origin, NULL};
