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

static void reads_span_heads(void) {
  static const char *const families[] = {"bert", "mpnet", "distilbert", "electra"};
  for (int f = 0; f < 4; f++) {
    tiny_options o = tiny_defaults();
    o.model_type = families[f], o.span = 1;
    o.more_config = "\"id2label\": {\"0\": \"x\", \"1\": \"y\", \"2\": \"z\"},"; /* means nothing here */
    qn_source *s = open_model(&o);
    if (!s) return;
    const qn_arch *a = qn_source_arch(s);
    CHECK(a->head == QN_HEAD_SPAN && a->labels == 2 && a->head_pooler == 0 && a->pool == QN_POOL_NONE);
    CHECK_EQ(a->sentence_tokens, 64);
    CHECK(same_weights(s, &o, "head.out.weight", "qa_outputs.weight", 2, 2, 32));
    CHECK(same_weights(s, &o, "head.out.bias", "qa_outputs.bias", 1, 1, 2));
    CHECK(same_weights(s, &o, "layers.1.attn.out.weight", "encoder.layer.1.attention.output.dense.weight", 2, 32, 32));
    CHECK(qn_source_label(s, 0) == NULL);
    qn_source_close(s);
    CHECK(edit("config.json", "\"architectures\"", "\"architecture_\"")); /* the tensors tell as well */
    CHECK_EQ(qn_source_open(&s, &env, dir, 0), QUERN_OK);
    CHECK(s && qn_source_arch(s)->head == QN_HEAD_SPAN);
    qn_source_close(s);
  }
}

static void refuses_span_heads(void) {
  tiny_options o = tiny_defaults();
  o.model_type = "mpnet", o.span = 1;
  fresh(&o);
  CHECK(edit("config.json", "ForQuestionAnswering", "ForMultipleChoice"));
  CHECK(refused(QUERN_E_UNSUPPORTED, "MPNetForMultipleChoice"));
  fresh(&o);
  CHECK(edit("config.json", "MPNetForQuestionAnswering", "BertForQuestionAnswering"));
  CHECK(refused(QUERN_E_UNSUPPORTED, "supported: MPNetForSequenceClassification, MPNetForQuestionAnswering"));
  fresh(&o);
  CHECK(edit("config.json", "ForQuestionAnswering", "ForSequenceClassification"));
  CHECK(refused(QUERN_E_SOURCE, "MPNetForSequenceClassification without classifier.out_proj.weight"));
  o.skip = "qa_outputs.weight";
  fresh(&o);
  CHECK(refused(QUERN_E_SOURCE, "MPNetForQuestionAnswering without qa_outputs.weight"));
  o.skip = NULL, o.span = 0, o.labels = 2;
  fresh(&o);
  CHECK(edit("config.json", "ForSequenceClassification", "ForQuestionAnswering"));
  CHECK(refused(QUERN_E_SOURCE, "without qa_outputs.weight"));
  o.labels = 0, o.span = 1;
  fresh(&o); /* three outputs instead of two, in a header of the same length */
  CHECK(edit("model.safetensors", "\"shape\":[2,32],\"data_", "\"shape\":[4,16],\"data_"));
  qn_source *s = NULL;
  CHECK_EQ(qn_source_open(&s, &env, dir, 0), QUERN_OK);
  if (!s) return;
  char message[QN_ERROR_BYTES];
  float weights[64];
  const uint64_t dim[2] = {2, 32};
  int present = 0;
  CHECK_EQ(qn_source_read(s, "head.out.weight", 2, dim, weights, &present), QUERN_E_SOURCE);
  qn_error_copy(&env.error, message, sizeof message);
  CHECK(strstr(message, "qa_outputs.weight") != NULL);
  qn_source_close(s);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(reads_families);
  RUN(reads_a_dense_module);
  RUN(reads_span_heads);
  RUN(refuses_span_heads);
  tiny_dir_remove(dir);
  return TEST_END();
}
