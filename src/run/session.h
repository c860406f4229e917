/* session.h - a session: the working memory of one stream of calls on a model, laid out once, and the passes that run
 * in it. One call at a time; cancel alone may come from elsewhere. */
#ifndef QN_SESSION_H
#define QN_SESSION_H
#include <stdatomic.h>

#include "model/model.h"
#include "run/context.h"

/* Rows that one lane takes through all row steps of a layer at once: their activations stay in the L2 cache beside the
   weights that stream by. A multiple of every kernel's row tile. */
#define QN_BLOCK_ROWS 192u
/* Tokens that go through all layers together, for each thread (at least one whole sequence). */
#define QN_GROUP_TOKENS 256u

/* Inputs of linear operators, as an observer sees them. */
enum { QN_INPUT_QKV, QN_INPUT_ATTN_OUT, QN_INPUT_FFN_UP, QN_INPUT_FFN_DOWN, QN_INPUT_KINDS, QN_INPUT_UNSEEN };
/* Watches x: [rows, d] f32, ld between rows, the input of one operator of a float model. Called from any lane. */
typedef void qn_observe_fn(void *user, uint32_t layer, uint32_t input, const float *x, size_t ld, size_t rows,
                           uint32_t d);

/* Scratch of one lane (one task that runs at a time). */
typedef struct qn_lane {
  qk_codes in;     /* [QN_BLOCK_ROWS, max(width, heads * head_dim, width of the tables)] codes (int8) */
  qk_codes mid;    /* [QN_BLOCK_ROWS, ffn] codes (int8) */
  float *hidden;   /* [QN_BLOCK_ROWS, max(ffn, width of the tables)] */
  qk_head_q8 head; /* one head of one sequence (int8) */
} qn_lane;

struct quern_session {
  quern_model *model;
  const qk_table *kernels;
  qn_pool *pool;
  qn_error error;
  atomic_int cancel;
  uint32_t max_tokens, max_sequences, text_tokens, flags, pool_kind;
  uint32_t lanes, group_tokens;
  int own_memory; /* the block was allocated here */
  size_t bytes;
  quern_stats stats;
  float fold;             /* log2(e) / sqrt(head_dim) */
  qn_observe_fn *observe; /* NULL but in calibration */
  void *observe_user;

  /* whole pass */
  int32_t *ids, *types, *positions; /* [max_tokens] */
  uint32_t *lens, *starts;          /* [max_sequences]; starts: first row of each sequence */
  float *x;                         /* [max_tokens, width] hidden states */
  float *pooled;                    /* [max_sequences, width] pooled or first-token rows */
  float *pooler_out;                /* [max_sequences, width] */
  float *logits;                    /* [max_sequences, labels] */
  qk_codes pooled_codes;            /* [max_sequences, width] */
  int32_t *text_ids;                /* [2, text_tokens] one text or pair before the template */
  /* one group of sequences */
  float *qkv;     /* [group_tokens, 3 * heads * head_dim] */
  float *context; /* [group_tokens, heads * head_dim] */
  qn_lane *lane;  /* [lanes] */
};

/* Options with their defaults filled in and checked against the model. */
quern_status qn_session_resolve(quern_session_options *o, const quern_model *m, qn_error *error);
/* Exact bytes of a session, and one over exactly these; o is resolved. The session holds a reference to the model. */
quern_status qn_session_count(const quern_model *m, const quern_session_options *o, size_t *bytes);
quern_status qn_session_create(quern_session **out, quern_model *m, const quern_session_options *o);
void qn_session_free(quern_session *s);

/* QK_ACT_* of a QN_ACT_*. */
uint32_t qn_kernel_act(uint32_t act);
/* Runs the encoder over s->ids/types (types NULL in `typed` 0), `batch` sequences of s->lens: hidden states in s->x.
 * encoder.c */
quern_status qn_encode_pass(quern_session *s, uint32_t batch, int typed);
/* Embeddings of the pass just run: out [batch, qn_arch_embedding_width]. heads.c */
quern_status qn_embed_pass(quern_session *s, uint32_t batch, float *out);
/* Logits [batch, labels], and probabilities or NULL. heads.c */
quern_status qn_classify_pass(quern_session *s, uint32_t batch, float *logits, float *probabilities);

/* Texts (Arrow layout) through as many passes as they need; pairs != 0: 2i and 2i + 1 together. `emit` gets each pass:
   results first ... first + batch - 1. texts.c */
typedef quern_status qn_emit_fn(void *user, size_t first, uint32_t batch);
quern_status qn_run_texts(quern_session *s, const char *utf8, const int64_t *offsets, size_t n, int pairs,
                          qn_emit_fn *emit, void *user);
#endif
