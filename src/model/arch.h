/* arch.h - an architecture as data. A qn_arch lies in the ARCH section of the file as it is here; run/ executes any
 * valid one, model/arch_*.c fill it in from a family's config and say where the family keeps its tensors. */
#ifndef QN_ARCH_H
#define QN_ARCH_H
#include "base/env.h"
#include "base/json.h"
#include "model/rotation.h"

enum {
  QN_FAMILY_BERT = 1,
  QN_FAMILY_MPNET = 2,
  QN_FAMILY_DISTILBERT = 3,
  QN_FAMILY_ELECTRA = 4,
  QN_FAMILY_LLAMA = 5,
  QN_FAMILY_MISTRAL = 6,
  QN_FAMILY_QWEN2 = 7,
  QN_FAMILY_GEMMA3 = 8,
  QN_FAMILY_PHI2 = 9,
  QN_FAMILY_NOMIC = 10
};
enum { QN_NORM_LAYER = 1, QN_NORM_RMS = 2 }; /* RMS: not centred, without a bias */
/* Where a block's norm is. POST: x = norm(x + f(x)). PRE: x += f(norm(x)). SANDWICH: x += norm'(f(norm(x))).
   PARALLEL: one norm a layer, x += attention(norm(x)) + feed-forward(norm(x)). */
enum { QN_PLACE_POST = 1, QN_PLACE_PRE = 2, QN_PLACE_SANDWICH = 3, QN_PLACE_PARALLEL = 4 };
enum { QN_ACT_GELU = 1, QN_ACT_GELU_TANH = 2, QN_ACT_RELU = 3, QN_ACT_TANH = 4, QN_ACT_NONE = 5, QN_ACT_SILU = 6 };
enum { QN_POOL_NONE = 0, QN_POOL_MEAN = 1, QN_POOL_CLS = 2, QN_POOL_LAST = 3 };
enum {
  QN_HEAD_NONE = 0,
  QN_HEAD_CLASSIFY = 1,
  QN_HEAD_REGRESSION = 2,
  QN_HEAD_SPAN = 3,
  QN_HEAD_TOKENS = 4
}; /* TOKENS: logits of the next token */
enum { QN_RECIPE_FLOAT = 1, QN_RECIPE_INT8 = 2, QN_RECIPE_STATIC = 3 };

/* The most that a qn_arch may say. The inner dimension of an 8-bit product stays below 2^31 / (127 * 128) = 132,104, so
   that its sum fits int32; the other limits keep every product of two of them, in bytes, far below 2^63. */
enum {
  QN_MAX_LAYERS = 4096,
  QN_MAX_WIDTH = 65536, /* of hidden states, and of all heads together */
  QN_MAX_HEAD_DIM = 256,
  QN_MAX_FFN = 131072,
  QN_MAX_VOCAB = 1 << 24,
  QN_MAX_POSITIONS = 1 << 20,
  QN_MAX_POSITION_OFFSET = 64,
  QN_MAX_TYPES = 65536,
  QN_MAX_LABELS = 65536
};

/* It may grow at its end, by fields whose 0 means what files without them mean. */
typedef struct qn_arch { /* 192 bytes */
  uint32_t bytes;        /* sizeof(qn_arch) */
  uint32_t family;
  uint32_t layers, width, heads, kv_heads, head_dim, ffn;
  uint32_t vocab;
  uint32_t positions;       /* rows of the position table that tokens may use */
  uint32_t position_offset; /* first row used (BERT 0, MPNet 2); the table has positions + position_offset rows */
  uint32_t types;           /* rows of the token-type table; 0: none */
  uint32_t norm, place, activation;
  float norm_eps;
  uint32_t pool;            /* QN_POOL_*; NONE: no embedder */
  uint32_t normalize;       /* embeddings are scaled to length 1 */
  uint32_t head;            /* QN_HEAD_* */
  uint32_t labels;          /* outputs of the head; of a span head 2: start and end */
  uint32_t head_pooler;     /* the head has a dense layer (pooler) with activation head_activation before the output */
  uint32_t head_activation; /* QN_ACT_*; 0 without a pooler */
  uint32_t sentence_tokens; /* default length that texts are cut to, <= positions */
  uint32_t recipe;        /* QN_RECIPE_*. FLOAT: all is float. INT8: inputs of linear operators have 8 bits, weights and
                               tables what their tensors say. STATIC: codes of sites travel between operators */
  uint32_t relative_bias; /* 1: attention scores have a bias by distance and head, the same in all layers */
  uint32_t embed_width;   /* width of the embedding tables where a linear operator leads from it to width; 0: width */
  uint32_t dense;         /* outputs of a linear operator between pooling and normalizing; 0: none */
  uint32_t dense_activation; /* QN_ACT_*; 0 without one */
  uint32_t ffn_copies;       /* how many of ffn repeat others of the source's neurons (quant/split.h) */
  uint32_t causal;           /* 1: a token sees those up to it */
  uint32_t gated; /* 1: ffn.up has 2 * ffn outputs, gates and values in turns of 16: hidden = act(gate) * value */
  uint32_t no_embed_norm; /* 1: no norm behind the embedding sum */
  /* From here on files of 128 bytes have 0. */
  uint32_t final_norm; /* 1: a norm behind the last layer */
  uint32_t
      rotary; /* dimensions of each head that are rotated by position, even, in pairs (i, i + rotary / 2); 0: positions
                            are a table's */
  uint32_t window;                    /* of local layers: keys j with |i - j| < window; 0: all layers see all keys */
  uint32_t global_every;              /* n > 0: layers n - 1, 2 n - 1, ... see all keys; 0: all layers are local */
  uint32_t local_rotary;              /* 1: local layers have frequencies of their own */
  uint32_t head_norm;                 /* 1: queries and keys have an RMS norm by head, before they are rotated */
  uint32_t tied;                      /* 1: the head's weights are the table of tokens too */
  float embed_scale;                  /* what embeddings are multiplied by; 0: 1 */
  float score_scale;                  /* of queries times keys; 0: 1 / sqrt(head_dim) */
  float score_cap, logit_cap;         /* c: x becomes c * tanh(x / c); 0: none */
  uint32_t dense2, dense2_activation; /* outputs of a linear operator behind pool.dense, and its QN_ACT_*; 0: none */
  uint32_t
      head_hadamard; /* 1: queries and keys are multiplied by a Hadamard matrix of their head behind the rotation */
  uint32_t reserved[2];
} qn_arch;

/* Bytes that a file's record takes: those of the first version where the fields that came later are 0, so that a reader which
   does not know them reads it. */
uint32_t qn_arch_record_bytes(const qn_arch *a);

/* Buckets of a relative bias in the source: 16 for keys up to the query, 16 for keys after it. */
#define QN_RELATIVE_BUCKETS 32u

/* Floats of a row of the embedding tables, and of an embedding. */
static inline uint32_t qn_arch_table_width(const qn_arch *a) { return a->embed_width ? a->embed_width : a->width; }
static inline uint32_t qn_arch_embedding_width(const qn_arch *a) {
  return a->dense2 ? a->dense2 : a->dense ? a->dense : a->width;
}
/* Channels of all heads together; outputs of the operators that make queries, keys and values, and of ffn.up. */
static inline uint32_t qn_arch_inner(const qn_arch *a) { return a->heads * a->head_dim; }
static inline uint32_t qn_arch_qkv(const qn_arch *a) { return (a->heads + 2 * a->kv_heads) * a->head_dim; }
static inline uint32_t qn_arch_up(const qn_arch *a) { return a->gated ? 2 * a->ffn : a->ffn; }
/* Whether a layer sees the window alone. */
static inline int qn_arch_is_local(const qn_arch *a, uint32_t layer) {
  return a->window && !(a->global_every && (layer + 1) % a->global_every == 0);
}
/* An encoder as BERT is one: norms of QN_NORM_LAYER behind each block, a table of positions, as many heads of keys as of queries,
   GELU or ReLU. What smooths, splits, calibrates and makes ranges static is for these. */
int qn_arch_is_bert_like(const qn_arch *a);
/* A head on the first token, with classes or one score; a span head is on every token instead. */
static inline int qn_arch_classifies(const qn_arch *a) {
  return a->head == QN_HEAD_CLASSIFY || a->head == QN_HEAD_REGRESSION;
}

/* Every field in range and consistent; `s` is the status to fail with (QUERN_E_FORMAT from a file, QUERN_E_SOURCE from
   a config, where alone recipe may still be 0). A kind that this version does not know is QUERN_E_UNSUPPORTED. */
quern_status qn_arch_check(const qn_arch *a, qn_env *env, quern_status s);

/* Name of family i ("bert"), NULL past the end: for messages. */
const char *qn_family_name(uint32_t i);

/* The tensors of a model, by the names they have in the file, before quantization (e: width of the embedding tables):
     embed.tokens [vocab, e]  embed.positions [positions + position_offset, e]  embed.types [types, e]
     embed.norm.gain embed.norm.bias [e]  embed.project.{weight,bias} [width, e]
     attn.relative_bias [QN_RELATIVE_BUCKETS, heads] (the file has it by distance: [heads, 2 * positions - 1])
     layers.N.attn.{q,k,v}.{weight,bias}   [heads * head_dim, width] (the file has them joined as layers.N.attn.qkv)
     layers.N.attn.out.{weight,bias}       [width, heads * head_dim]
     layers.N.attn.norm.{gain,bias}
     layers.N.ffn.up.{weight,bias} [ffn, width]  layers.N.ffn.down.{weight,bias} [width, ffn]
     layers.N.ffn.norm.{gain,bias} head.pooler.{weight,bias} [width, width]  head.out.{weight,bias} [labels, width]
     pool.dense.{weight,bias} [dense, width]  pool.dense2.{weight,bias} [dense2, dense]
   With kv_heads below heads attn.k and attn.v have kv_heads * head_dim rows. Where the arch says so there are also
     layers.N.ffn.gate.{weight,bias} [ffn, width] (gated: in the file they alternate with ffn.up's, as layers.N.ffn.up)
     layers.N.attn.post.gain layers.N.ffn.post.gain [width]  layers.N.attn.{q,k}.norm.gain [head_dim]
     final.norm.{gain,bias} [width]  rotary.frequency rotary.local.frequency [rotary / 2]
   and not: embed.tokens where the head is tied, embed.positions with rotary, norms that the arch has not, a bias of RMS norms. */

/* Where a source keeps one of the tensors above. */
typedef struct qn_origin {
  char name[192];
  uint32_t first, rows; /* its rows begin at row `first` of a tensor of `rows`; rows 0: they are the whole tensor */
  int pairs;  /* rows of a head that are rotated together are neighbours in the source, rotary / 2 apart here */
  float plus; /* what is added to its values */
} qn_origin;

typedef int qn_has_fn(void *user, const char *name); /* does the source have this tensor name? (heads, prefixes) */

/* A family: turns its config into an arch, and its tensor names into those above. */
typedef struct qn_family {
  uint32_t id;
  const char *name;               /* "bert" */
  const char *const *model_types; /* config.json's model_type values, NULL-terminated */
  /* qn_family_describe and qn_family_origin of a family without a decoder; rotation is left alone. */
  quern_status (*describe)(qn_arch *a, qn_env *env, const qn_json *config, qn_has_fn *has_tensor, void *user);
  int (*origin)(const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user, qn_origin *out);
  const struct qn_decoder *decoder; /* the tables of a decoder or what is made like one (family.h); else NULL */
} qn_family;
/* Reads config.json (root node 0) into a zeroed arch: all but pool, normalize, sentence_tokens and recipe; and how positions are rotated,
   where the arch says that they are: rotation[0] in all layers but local ones, rotation[1] in those, if they have their own. */
quern_status qn_family_describe(const qn_family *f, qn_arch *a, qn_rotation rotation[2], qn_env *env,
                                const qn_json *config, qn_has_fn *has_tensor, void *user);
/* Where a directory has one of the names above; returns 0 when this family has none (a bias that is always zero, say). */
int qn_family_origin(const qn_family *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user,
                     qn_origin *out);
const qn_family *qn_family_find(const char *model_type);        /* NULL: unsupported */
const qn_family *qn_family_find_gguf(const char *architecture); /* by a GGUF file's general.architecture; likewise */
const qn_family *qn_family_at(uint32_t i);                      /* the table; NULL past the end */
#endif
