/* sites.h - the places of a model where activations are quantized, as a table that follows from the architecture: names, channels, what a
 * recipe may make of each. Stateless; any thread. */
#ifndef QN_SITES_H
#define QN_SITES_H
#include "model/arch.h"

/* In order of execution. */
enum {
  QN_SITE_EMBED_SUM,  /* sum of the embedding tables */
  QN_SITE_PROJECT_IN, /* output of the embedding norm, where a linear operator follows */
  QN_SITE_QKV_IN,     /* output of the norm before a layer */
  QN_SITE_Q,
  QN_SITE_K,
  QN_SITE_V,
  QN_SITE_SCORES,
  QN_SITE_PROBS,
  QN_SITE_ATTN_OUT_IN, /* context */
  QN_SITE_ATTN_OUT,
  QN_SITE_ATTN_SUM,    /* residual sum */
  QN_SITE_FFN_UP_IN,   /* output of the attention norm */
  QN_SITE_FFN_DOWN_IN, /* output of the activation */
  QN_SITE_FFN_OUT,
  QN_SITE_FFN_SUM,   /* residual sum */
  QN_SITE_POOLER_IN, /* output of the last norm: the first of these that the model has, */
  QN_SITE_HEAD_IN,   /* that of the pooler, where there is one */
  QN_SITE_LOGITS,
  QN_SITE_POOL_IN,
  QN_SITE_DENSE_IN, /* pooled embeddings */
  QN_SITE_KINDS
};

enum {
  QN_SITE_ALWAYS = 1,     /* in the list of every recipe; else of static ones alone */
  QN_SITE_INPUT = 2,      /* the input of a linear operator */
  QN_SITE_WEIGHTS = 4,    /* attention multiplies by it as by weights: of 8 bits symmetric */
  QN_SITE_DYNAMIC = 8,    /* has a scale for each row in static recipes too */
  QN_SITE_MAY_16 = 16,    /* a static recipe may give it 16 bits */
  QN_SITE_MAY_FLOAT = 32, /* a static recipe may leave it out */
  QN_SITE_MAY_GROUP = 64, /* a static recipe may give groups of its channels scales of their own */
  QN_SITE_MAY_LOW = 128   /* a static recipe may give it 6 or 4 bits */
};

/* The lowest and the highest code of a static site. Of 4 and 6 bits all of them are used; of 8 and 16 bits both ends are as far. */
static inline float qn_site_highest(uint32_t bits) {
  return bits == 16 ? 16383.0f : bits == 6 ? 31.0f : bits == 4 ? 7.0f : 127.0f;
}
static inline float qn_site_lowest(uint32_t bits) { return -qn_site_highest(bits) - (bits < 8 ? 1.0f : 0.0f); }

#define QN_NO_LAYER UINT32_MAX
typedef struct qn_site {
  char name[64];
  uint32_t kind, layer; /* layer: QN_NO_LAYER outside of the layers */
  uint32_t channels;    /* 1: scores and probabilities, which have none */
  uint32_t flags;
} qn_site;

/* Sites of a model in a static recipe, in order of execution. */
uint32_t qn_site_count(const qn_arch *a);
/* Site i < qn_site_count. */
void qn_site_at(const qn_arch *a, uint32_t i, qn_site *out);
/* Which site that is; UINT32_MAX: the model has none of this kind. */
uint32_t qn_site_index(const qn_arch *a, uint32_t kind, uint32_t layer);
/* The kind of the last norm's output. */
uint32_t qn_site_output_kind(const qn_arch *a);
#endif
