/* session.h - a session: the working memory of one stream of calls on a model, laid out once, and the passes that run
 * in it. One call at a time; cancel alone may come from elsewhere. */
#ifndef QN_SESSION_H
#define QN_SESSION_H
#include <stdatomic.h>

#include "base/share.h"
#include "model/model.h"
#include "model/sites.h"
#include "run/cache.h"
#include "run/context.h"
#include "run/sample.h"

/* Rows that one lane takes through all row steps of a layer at once: their activations stay in the L2 cache beside the
   weights that stream by. A multiple of every kernel's row tile. */
#define QN_BLOCK_ROWS 192u
/* Tokens that go through all layers together, for each thread (at least one whole sequence). */
#define QN_GROUP_TOKENS 256u

/* What an observer of a float model is shown: values of a site (model/sites.h), x: [rows, d] f32. */
typedef struct qn_seen {
  uint32_t kind, layer; /* QN_SITE_*; QN_NO_LAYER outside of the layers */
  uint32_t d;
  size_t row; /* the first of the rows within the pass: a token */
  size_t rows, ld;
  const float *x;
  int channels; /* columns are channels; else each row has values of one kind, as scores have */
} qn_seen;
/* Called from any lane; a value is shown once. */
typedef void qn_observe_fn(void *user, const qn_seen *seen);

/* Units of attention in a group, at most, or those of one sequence. */
#define QN_GROUP_UNITS (1u << 24)

/* One head of one sequence of a static recipe, as long as the longest is, and scratch for its attention. */
typedef struct qn_head_static {
  qk_head_codes head;
  void *scratch;
} qn_head_static;

/* Rows of one sequence among those that a decoder runs together. */
typedef struct qn_segment {
  uint32_t sequence, row, rows; /* row: of the group */
  uint32_t position;            /* of the first one */
  uint32_t units;               /* of attention, of the segments up to this one: attention_cache.c */
  size_t parts;                 /* floats of s->parts before those of this one */
} qn_segment;

/* A sequence that a decoder holds, beside its pages. */
typedef struct qn_sequence {
  uint32_t before;  /* tokens that it had when the call began */
  uint32_t in_call; /* 1: the call appends to it */
  uint32_t last;    /* 1: s->last has the hidden states of its last token */
  uint32_t logits;  /* row of s->logits that was made of them; QN_NO_LOGITS */
} qn_sequence;
#define QN_NO_LOGITS UINT32_MAX

/* Attention of a decoder (attention_cache.c): queries of a unit that is cut by blocks of keys, at most, and units that each lane
   gets, so that what is left in the end is short. */
#define QN_PART_QUERIES 16u
#define QN_UNITS_A_LANE 3u

/* Cosines and sines of positions: [group_tokens, rotary / 2]. */
typedef struct qn_turn {
  float *cosine, *sine;
} qn_turn;

/* Scratch of one lane (one task that runs at a time; lane i is the pool's thread i where that comes in time, so that a
   lane's memory is near the CPU that first wrote it). */
typedef struct qn_lane {
  qk_codes in;  /* [QN_BLOCK_ROWS, max(width, heads * head_dim, width of the tables)] codes (not float) */
  qk_codes mid; /* [QN_BLOCK_ROWS, ffn] codes (not float) */
  float *
      hidden; /* [QN_BLOCK_ROWS, max(outputs of ffn.up, width of the tables)]; static: max(width, width of the tables) */
  float *normed;   /* [QN_BLOCK_ROWS, width] output of a block's norm or product (not with norms behind blocks) */
  qk_head_q8 head; /* one head of one sequence (int8) */
  qk_codes out;    /* [QN_BLOCK_ROWS, width] codes of an operator's output (static) */
  float *row;      /* [QN_BLOCK_ROWS, width] rows whose channels change their order (static) */
  qn_head_static attention; /* (static) */
  uint8_t **blocks;         /* [cache.pages_most] one head's keys and values of one sequence (decoder) */
  void *attend;             /* (decoder) */
  void *transform;          /* of inputs with a transform: qk_transform_scratch of the widest */
  uint64_t units_cost;      /* of its units of a group's attention, planned */
  uint32_t units_end;       /* they begin where those of the lane before end */
} qn_lane;

/* One head's attention in one sequence of the pass. lane: whose it is, or QN_UNIT_CUT: all lanes'. */
#define QN_UNIT_CUT UINT32_MAX
typedef struct qn_unit {
  uint32_t sequence, head, lane;
} qn_unit;

/* A question and a piece of its context among the sequences of a pass. */
typedef struct qn_window {
  size_t pair;
  uint32_t first, count; /* rows of the context's tokens */
} qn_window;

struct quern_session {
  quern_model *model;
  const qk_table *kernels;
  qn_pool *pool;
  qn_error error;
  atomic_int cancel;
  uint32_t max_tokens, max_sequences, text_tokens, flags, pool_kind;
  uint32_t lanes, group_tokens, group_sequences;
  int own_memory; /* the block was allocated here */
  size_t bytes;
  quern_stats stats;
  float fold;             /* log2(e) times the scale of scores */
  qn_observe_fn *observe; /* NULL but in calibration */
  void *observe_user;
  float *observe_scratch; /* NULL: inputs of linear operators alone are shown; else all sites of layers and embeddings:
                             [lanes, observe_floats] */
  size_t observe_floats;  /* at least QN_BLOCK_ROWS * max(width, width of the tables), and 2 * text_tokens */

  /* whole pass */
  int32_t *ids, *types, *positions; /* [max_tokens] */
  uint32_t *lens, *starts;          /* [max_sequences]; starts: first row of each sequence */
  float *x;              /* [max_tokens, width] hidden states; static: made of codes when they are asked for */
  qk_codes codes;        /* [max_tokens, width] hidden states (static) */
  float *pooled;         /* [max_sequences, width] pooled or first-token rows */
  float *pooler_out;     /* [max_sequences, max(width, dense)] of the pooler, or of the first of two dense operators */
  qk_codes pooled_codes; /* alike */
  qk_codes pooler_codes; /* [max_sequences, width] (static) */
  qk_codes logit_codes;  /* [max(max_sequences, max_tokens with a span head), labels] (static) */
  int32_t *text_ids;     /* [2, text_tokens] one text or pair before the template */
  /* the same, with a span head */
  float *logits;             /* [max_tokens, 2] start, end; of a decoder below */
  quern_span *spans;         /* [max_tokens] bytes of the context that each token came from */
  qn_window *windows;        /* [max_sequences] */
  int32_t *context_ids;      /* [max_tokens] tokens of one context, before windows */
  quern_span *context_spans; /* [max_tokens] */
  /* one group of sequences */
  float *qkv;             /* [group_tokens, (heads + 2 * kv_heads) * head_dim] (not static) */
  float *context;         /* [group_tokens, heads * head_dim] (not static) */
  int8_t *qkv_codes;      /* [group_tokens, 3 * heads * head_dim] (static) */
  qk_codes context_codes; /* [group_tokens, heads * head_dim] (static) */
  int16_t *exp;           /* [layers, 32] tables of attention_codes (static) */
  qn_unit *units;         /* [group_sequences * heads] */
  qn_lane *lane;          /* [lanes] */
  qn_share *share;        /* [lanes] of the operation that runs */
  qn_turn turn[2];        /* (rotary) of all layers, or of global ones; of local ones */
  /* decoder; logits: [logit_rows, vocab] */
  qn_cache cache;
  qn_sequence *sequences; /* [max_sequences] */
  qn_sampler sampler;
  uint32_t *feeds; /* [max_sequences] of the last pass: whose tokens, s->lens each */
  uint32_t feed_count, feed_rows;
  uint32_t *call_lens;    /* [max_sequences] tokens of a call for each of its sequences, as arguments */
  qn_segment *segments;   /* [max_sequences] */
  float *last;            /* [max_sequences, width] */
  float *head_rows;       /* [logit_rows, width] */
  uint32_t *logit_owners; /* [logit_rows] sequences */
  uint32_t logit_rows, logit_count;
  float *parts; /* [64] [parts_floats] of attention cut by blocks of keys */
  size_t parts_floats;
};

/* Options with their defaults filled in and checked against the model. */
quern_status qn_session_resolve(quern_session_options *o, const quern_model *m, qn_error *error);
/* Exact bytes of a session, and one over exactly these; o is resolved. The session holds a reference to the model. */
quern_status qn_session_count(const quern_model *m, const quern_session_options *o, size_t *bytes);
quern_status qn_session_create(quern_session **out, quern_model *m, const quern_session_options *o);
void qn_session_free(quern_session *s);

/* QK_ACT_* of a QN_ACT_*. */
uint32_t qn_kernel_act(uint32_t act);
/* Hidden states of the pass just run as floats in s->x, which they are already unless the recipe is static. heads_static.c */
void qn_hidden_floats(quern_session *s, uint32_t batch);
/* Runs the encoder over s->ids/types (types NULL in `typed` 0), `batch` sequences of s->lens: hidden states in s->x.
 * encoder.c */
quern_status qn_encode_pass(quern_session *s, uint32_t batch, int typed);
/* Embeddings of the pass just run: out [batch, qn_arch_embedding_width]. heads.c */
quern_status qn_embed_pass(quern_session *s, uint32_t batch, float *out);
/* Logits [batch, labels], and probabilities or NULL. heads.c */
quern_status qn_classify_pass(quern_session *s, uint32_t batch, float *logits, float *probabilities);

/* Logits of a span head at the `rows` tokens of the pass just run, into s->logits. answers.c */
quern_status qn_span_pass(quern_session *s, uint32_t rows);

/* Questions being answered: fill in s, options, answers and scores, then begin, add every pair in order, flush. A pair's
   answer is complete with the flush, written as its passes run. answers.c */
typedef struct qn_answers {
  quern_session *s;
  quern_answer_options options;
  quern_span *answers;  /* [pairs] */
  float *scores;        /* [pairs, 2] */
  uint32_t batch, rows; /* of the pass that is being filled */
} qn_answers;
quern_status qn_answers_begin(qn_answers *a);
quern_status qn_answers_add(qn_answers *a, size_t pair, const char *question, size_t question_len, const char *context,
                            size_t context_len);
quern_status qn_answers_flush(qn_answers *a);

/* Texts (Arrow layout) through as many passes as they need; pairs != 0: 2i and 2i + 1 together. `emit` gets each pass:
   results first ... first + batch - 1. texts.c */
typedef quern_status qn_emit_fn(void *user, size_t first, uint32_t batch);
quern_status qn_run_texts(quern_session *s, const char *utf8, const int64_t *offsets, size_t n, int pairs,
                          qn_emit_fn *emit, void *user);
#endif
