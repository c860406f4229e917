/* family.h - the families that arch.c's table lists, one arch_*.c each, and what encoders like BERT share: a family says
 * by tables what its config's members and its tensors are called. Stateless. */
#ifndef QN_FAMILY_H
#define QN_FAMILY_H
#include "model/arch.h"

extern const qn_family qn_family_bert, qn_family_mpnet, qn_family_distilbert, qn_family_electra;
extern const qn_family qn_family_llama, qn_family_mistral, qn_family_qwen2, qn_family_gemma3, qn_family_phi2,
    qn_family_nomic;

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

/* Members of config.json as BERT has them, and the names of its layers, which others share. */
#define QN_BERT_MEMBERS                                                                                                \
  .width = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads", .ffn = "intermediate_size",   \
  .hidden_act = "hidden_act"
extern const qn_name qn_bert_layer[];

/* A post-norm encoder with a classification or span head or none, absolute positions from row 0. */
quern_status qn_encoder_describe(const qn_encoder_names *f, qn_arch *a, qn_env *env, const qn_json *config,
                                 qn_has_fn *has_tensor, void *user);
/* Its qn_family's origin. */
int qn_encoder_origin(const qn_encoder_names *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user,
                      qn_origin *out);

/* ---- decoders and what is made like them (arch_decoder.c) ---- */

enum { QN_BIAS_NONE, QN_BIAS_MAY, QN_BIAS_MUST }; /* of a linear operator: MAY: where the source has one */

/* As qn_name; `fused`: 0, or which third of a tensor of queries, keys and values it is: 1, 2, 3. */
typedef struct qn_decoder_name {
  const char *ours, *theirs;
  uint32_t bias, fused;
} qn_decoder_name;

/* What all models of a family have, and what config.json and tensors are called in a directory. */
typedef struct qn_decoder {
  uint32_t family;
  uint32_t norm, place;
  uint32_t activation; /* where the config says none */
  int causal, gated, head_norm;
  int biased; /* queries, keys and values must have biases */
  int scaled; /* embeddings are multiplied by the square root of the width */
  int tied;   /* where the config does not say */
  int plus_1; /* a directory holds the gains of norms less 1; GGUF files as they are */
  int pairs; /* a GGUF file holds rows of q and k that are rotated together as neighbours; a directory rotary / 2 apart */
  uint32_t global_every;   /* of models with a window */
  double base, local_base; /* of rotation, where the config says none; local_base 0: local layers have no own */
  double rotated;          /* fraction of a head's dimensions, likewise */
  const char *gguf;        /* general.architecture of a GGUF file; NULL: none */
  struct {                 /* members of config.json */
    const char *width, *layers, *heads, *ffn, *positions, *eps, *activation, *base, *rotated;
  } key;
  const char *prefix;           /* of all tensors but the head's, where the source has it: "model." */
  const char *layer_stem;       /* below the prefix, before a layer's number: "layers." */
  const qn_decoder_name *outer; /* below the prefix, but head.out; ends with {NULL} */
  const qn_decoder_name *layer; /* below layers.N. and layer_stem N. */
  /* What is the family's own in config.json: windows, caps, what is refused. NULL: nothing. */
  quern_status (*read)(qn_arch *a, qn_rotation *rotation, qn_env *env, const qn_json *config);
} qn_decoder;

/* Members of config.json that most of them share. */
#define QN_DECODER_KEYS(eps, activation)                                                                               \
  {                                                                                                                    \
    "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings", eps,    \
        activation, "rope_theta", "partial_rotary_factor"                                                              \
  }

/* LLaMA's names, which others share. */
extern const qn_decoder_name qn_llama_outer[], qn_llama_layer[];

/* What the family says of a zeroed arch before anything is read. */
void qn_decoder_start(const qn_decoder *f, qn_arch *a);
/* What follows from what was read: sizes, windows and the head are set. */
void qn_decoder_finish(const qn_decoder *f, qn_arch *a, qn_rotation *rotation);
/* qn_family_describe and qn_family_origin of a directory. */
quern_status qn_decoder_describe(const qn_decoder *f, qn_arch *a, qn_rotation *rotation, qn_env *env,
                                 const qn_json *config, qn_has_fn *has_tensor, void *user);
int qn_decoder_origin(const qn_decoder *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user,
                      qn_origin *out);
/* "layers.3.attn.q.weight" in parts. layer: UINT32_MAX outside of the layers; tail: ".weight" of gains and tables too, or ".bias". */
typedef struct qn_tensor_name {
  uint32_t layer;
  const char *stem; /* "attn.q", not terminated */
  size_t bytes;
  const char *tail;
  int is_norm; /* a gain, or the bias of a norm */
} qn_tensor_name;
int qn_tensor_name_parse(const char *name, qn_tensor_name *out); /* 0: none of arch.h's */
/* Whether it is one of queries, keys and values. */
int qn_tensor_name_is_qkv(const qn_tensor_name *n);
const qn_decoder_name *qn_decoder_find(const qn_decoder_name *table, const qn_tensor_name *n); /* NULL: not there */
/* Rows of a third of a fused tensor into *out. */
void qn_decoder_fused(const qn_arch *a, uint32_t third, qn_origin *out);

/* ---- members of config.json ---- */

/* A positive size that config.json must have. */
quern_status qn_config_size(qn_env *env, const qn_json *config, const char *key, uint32_t *out);
/* A number within bounds; absent or null: otherwise, which must be within them too. */
quern_status qn_config_number(qn_env *env, const qn_json *config, const char *key, double otherwise, double least,
                              double most, double *out);
/* A QN_ACT_* by transformers' name; absent or null: otherwise. */
quern_status qn_config_activation(qn_env *env, const qn_json *config, const char *key, uint32_t otherwise,
                                  uint32_t *out);
/* config.json has the member, and not as null. */
int qn_config_given(const qn_json *config, const char *key);
/* Refused if the member is there and true. */
quern_status qn_config_refuse(qn_env *env, const qn_json *config, const char *key);
/* The first of config.json's architectures, or NULL. */
const char *qn_config_class(const qn_json *config);
#endif
