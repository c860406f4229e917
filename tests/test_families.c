/* test_families.c - config.json, names and heads of the families beside BERT, and the dense module of sentence-transformers:
 * what is read, and what is refused. */
#include "source_dir.h"

static void reads_families(void) {
  tiny_options o = tiny_defaults();
  o.model_type = "mpnet", o.labels = 2;
  qn_source *s = open_model(&o);
  if (!s) return;
  const qn_arch *a = qn_source_arch(s);
  CHECK(a->family == QN_FAMILY_MPNET && a->types == 0 && a->relative_bias == 1 && a->embed_width == 0);
  CHECK(a->positions == 64 && a->position_offset == 2 && a->head_activation == QN_ACT_TANH);
  CHECK(same_weights(s, &o, "attn.relative_bias", "encoder.relative_attention_bias.weight", 2, 32, 2));
  CHECK(same_weights(s, &o, "layers.1.attn.out.weight", "encoder.layer.1.attention.output.dense.weight", 2, 32, 32));
  CHECK(same_weights(s, &o, "head.pooler.bias", "pooler.dense.bias", 1, 1, 32));
  CHECK(same_weights(s, &o, "head.out.weight", "classifier.weight", 2, 2, 32));
  qn_source_close(s);
  CHECK(edit("config.json", "\"max_position_embeddings\": 66", "\"max_position_embeddings\": 2"));
  CHECK(refused(QUERN_E_SOURCE, "max_position_embeddings"));
  o.more_config = "\"relative_attention_num_buckets\": 64,";
  fresh(&o);
  CHECK(refused(QUERN_E_UNSUPPORTED, "relative_attention_num_buckets 64"));
  o.more_config = "";
  fresh(&o);
  CHECK(edit("config.json", "ForSequence", "ForToken"));
  CHECK(refused(QUERN_E_UNSUPPORTED, "MPNetForTokenClassification"));
  o.model_type = "distilbert";
  s = open_model(&o);
  if (!s) return;
  a = qn_source_arch(s);
  CHECK(a->family == QN_FAMILY_DISTILBERT && a->types == 0 && a->relative_bias == 0 && a->position_offset == 0);
  CHECK(a->width == 32 && a->layers == 2 && a->ffn == 64 && a->head_activation == QN_ACT_RELU);
  CHECK(same_weights(s, &o, "layers.0.ffn.norm.gain", "encoder.layer.0.output.LayerNorm.weight", 1, 1, 32));
  qn_source_close(s);
  o.model_type = "electra", o.embed_width = 24;
  s = open_model(&o);
  if (!s) return;
  a = qn_source_arch(s);
  CHECK(a->family == QN_FAMILY_ELECTRA && a->types == 2 && a->embed_width == 24);
  CHECK(a->head_activation == QN_ACT_GELU);
  CHECK(same_weights(s, &o, "embed.project.weight", "embeddings_project.weight", 2, 32, 24));
  CHECK(same_weights(s, &o, "embed.types", "embeddings.token_type_embeddings.weight", 2, 2, 24));
  qn_source_close(s);
}

static void reads_a_dense_module(void) {
  static const struct {
    const char *from, *to;
    quern_status status;
    const char *words;
  } cases[] = {
      {"\"in_features\": 32", "\"in_features\": 48", QUERN_E_SOURCE, "in_features is 48"},
      {"\"out_features\": 20", "\"out_features\": 0", QUERN_E_SOURCE, "out_features"},
      {"\"out_features\": 20", "\"out_features\": 1e9", QUERN_E_SOURCE, "out_features"},
      {"activation.Tanh", "activation.ReLU", QUERN_E_UNSUPPORTED, "ReLU"},
  };
  tiny_options o = tiny_defaults();
  o.dense = 20;
  qn_source *s = open_model(&o);
  if (!s) return;
  const qn_arch *a = qn_source_arch(s);
  CHECK(a->dense == 20 && a->dense_activation == QN_ACT_TANH && a->normalize == 1 && a->pool == QN_POOL_MEAN);
  CHECK(same_weights(s, &o, "pool.dense.weight", "linear.weight", 2, 20, 32));
  CHECK(same_weights(s, &o, "pool.dense.bias", "linear.bias", 1, 1, 20));
  qn_source_close(s);
  CHECK(edit("2_Dense/config.json", "\"bias\": true", "\"bias\": false"));
  CHECK(edit("2_Dense/config.json", "activation.Tanh", "linear.Identity"));
  CHECK_EQ(qn_source_open(&s, &env, dir, 0), QUERN_OK);
  if (!s) return;
  CHECK(qn_source_arch(s)->dense_activation == QN_ACT_NONE);
  CHECK(!same_weights(s, &o, "pool.dense.bias", "linear.bias", 1, 1, 20)); /* there is none */
  qn_source_close(s);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    fresh(&o);
    CHECK(edit("2_Dense/config.json", cases[i].from, cases[i].to));
    CHECK(refused(cases[i].status, cases[i].words));
  }
  fresh(&o);
  remove_file("2_Dense/model.safetensors");
  CHECK(refused(QUERN_E_SOURCE, "model.safetensors"));
  fresh(&o);
  CHECK(edit("modules.json", "models.Pooling", "models.Dense"));
  CHECK(refused(QUERN_E_UNSUPPORTED, "order"));
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(reads_families);
  RUN(reads_a_dense_module);
  tiny_dir_remove(dir);
  return TEST_END();
}
