/* family.h - the families that arch.c's table lists, one arch_*.c each, and what encoders like BERT share: a family says
 * by tables what its config's members and its tensors are called. Stateless. */
#ifndef QN_FAMILY_H
#define QN_FAMILY_H
#include "model/arch.h"

extern const qn_family qn_family_bert, qn_family_mpnet, qn_family_distilbert, qn_family_electra;

typedef int qn_has_fn(void *user, const char *name);

/* Our name and theirs, both without ".weight", ".bias"; our ".gain" is their ".weight". A list ends with {NULL, NULL}. */
typedef struct qn_name {
  const char *ours, *theirs;
} qn_name;

typedef struct qn_encoder_names {
  const char *prefix;  /* of all tensors but the head's in a model with a head: "bert." */
  const char *classes; /* how those of config.json's architectures begin: "Bert" */
  const char *width, *layers, *heads, *ffn, *hidden_act; /* members of config.json */
  uint32_t head_activation;                              /* of the dense layer before the head's output */
  int has_types;                                         /* there is a token-type table */
  const qn_name *outer;                                  /* below the prefix */
  const char *layer_stem; /* below the prefix, before a layer's number: "encoder.layer." */
  const qn_name *layer;   /* below layers.N. and layer_stem N. */
  const qn_name *head;    /* of a classification, without the prefix */
} qn_encoder_names;

/* A post-norm encoder with a classification or span head or none, absolute positions from row 0. */
quern_status qn_encoder_describe(const qn_encoder_names *f, qn_arch *a, qn_env *env, const qn_json *config,
                                 qn_has_fn *has_tensor, void *user);
/* qn_family's source_name. */
int qn_encoder_source_name(const qn_encoder_names *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor,
                           void *user, char *buf, size_t cap);

/* A positive size that config.json must have. */
quern_status qn_config_size(qn_env *env, const qn_json *config, const char *key, uint32_t *out);
/* config.json has the member, and not as null. */
int qn_config_given(const qn_json *config, const char *key);
#endif
