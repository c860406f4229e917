/* quern.h - the public interface of Quern, an inference runtime for integer-quantized transformers.
 *
 * Objects:  context (threads, CPU kernels, allocator) > model (a mapped .qrn file, read-only) > session (memory).
 * Lifetime: free sessions and models before their context. A session holds a reference to its model, so that either may
 *           be freed first; memory that a model was opened from outlives both. Every `*_free` takes NULL.
 * Threads:  a context and a model may be used from any number of threads at once. A session serves one call at a time;
 *           quern_session_cancel alone may be called on it from another thread meanwhile.
 * Forks:    a child may use and free what it inherited, but for sessions that had a call in progress: its calls run on the
 *           calling thread, as the workers stay with the parent. What a child creates has threads of its own.
 * Errors:   every fallible function returns a quern_status; outputs are written only on QUERN_OK. The message that says
 *           what to do is kept by the object: quern_context_error, quern_session_error.
 * Options:  structs start with `size`, the sizeof that the caller was compiled with; fill them with their `_init`.
 * Numbers:  results are the same bytes on every CPU, thread count and batch composition (docs/NUMERICS.md).
 * The library never prints, exits, aborts or reads the locale or the environment. Compiles as C99, C11 and C++11. */
#ifndef QUERN_H
#define QUERN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(QUERN_SHARED)
#ifdef QUERN_BUILD
#define QUERN_API __declspec(dllexport)
#else
#define QUERN_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define QUERN_API __attribute__((visibility("default")))
#else
#define QUERN_API
#endif

#define QUERN_VERSION_NUMBER 100u /* 0.1.0: major * 10000 + minor * 100 + patch */

/* ---- status ------------------------------------------------------------------------------------------------------ */

/* 0 is success. The numbers never change; new ones are added at the end. */
typedef int32_t quern_status;
#define QUERN_OK 0
#define QUERN_E_ARGUMENT 1    /* a NULL, a size of 0, an option out of range: the caller's mistake */
#define QUERN_E_MEMORY 2      /* the allocator returned NULL */
#define QUERN_E_IO 3          /* open, read, write, map or rename failed; the message has the system's reason */
#define QUERN_E_FORMAT 4      /* not a .qrn file, or one whose structure contradicts itself */
#define QUERN_E_VERSION 5     /* a .qrn file of a version that this library does not read */
#define QUERN_E_CHECKSUM 6    /* a section's bytes are not those that were written */
#define QUERN_E_SOURCE 7      /* a source to quantize that is malformed: JSON, safetensors, tokenizer, missing tensor */
#define QUERN_E_UNSUPPORTED 8 /* well formed, but of a kind that is not supported: architecture, tokenizer, recipe */
#define QUERN_E_LIMIT 9       /* the byte limit that the caller set would be exceeded */
#define QUERN_E_CAPACITY 10   /* a buffer of the caller's or the session is too small; the message has the size */
#define QUERN_E_CANCELLED 11  /* a callback returned nonzero, or quern_session_cancel was called */
#define QUERN_E_NONFINITE 12  /* NaN or infinity met in weights or activations */
#define QUERN_E_ISA 13    /* a kernel set that this CPU or this build does not have; the message lists those it has */
#define QUERN_E_SYSTEM 14 /* a thread or another system resource could not be had */
#define QUERN_E_TASK 15   /* the model has no such output: no classification head, no tokenizer, ... */

/* Library version, QUERN_VERSION_NUMBER of the build. */
QUERN_API uint32_t quern_version(void);
/* Short constant name of a status, "ok", "out of memory", ...; never NULL. */
QUERN_API const char *quern_status_name(quern_status s);

/* ---- callbacks --------------------------------------------------------------------------------------------------- */

/* level: 0 error, 1 warning, 2 info, 3 debug */
typedef void quern_log_fn(void *user, int32_t level, const char *message);
typedef int32_t quern_progress_fn(void *user, uint64_t done, uint64_t total, const char *what); /* nonzero cancels */
typedef void quern_task_fn(void *task, uint32_t index);
/* The host's own thread pool: run fn(task, 0) ... fn(task, n - 1), in any order, on any threads, and return when all
   are done. Called from the thread that called the library. */
typedef void quern_parallel_fn(void *user, quern_task_fn *fn, void *task, uint32_t n);

/* The host's allocator. alloc returns `size` bytes aligned to `align` (a power of two, at most 64) or NULL; free gets
   the size that was asked for. Both may be called from any thread that calls the library. */
typedef struct quern_allocator {
  uint32_t size;
  uint32_t reserved; /* 0 */
  void *user;
  void *(*alloc)(void *user, size_t size, size_t align);
  void (*free)(void *user, void *p, size_t size);
} quern_allocator;

/* ---- context ----------------------------------------------------------------------------------------------------- */

typedef struct quern_context quern_context;

typedef struct quern_context_options {
  uint32_t size;
  uint32_t threads;             /* 0: the CPUs this process may use, by affinity and cgroup; else 1 ... 1024 */
  const char *isa;              /* NULL: the best this CPU has; else a name of quern_isa_name: may only lower */
  const quern_allocator *alloc; /* NULL: the C library's; the struct is copied */
  quern_log_fn *log;            /* NULL: silent */
  void *log_user;
  quern_parallel_fn *parallel; /* not NULL: the library starts no threads and hands its work to this, `threads` wide */
  void *parallel_user;
  int32_t log_level; /* messages up to this level are delivered; default 1 */
  uint32_t reserved; /* 0 */
} quern_context_options;

QUERN_API void quern_context_options_init(quern_context_options *o, uint32_t size);
/* Creates a context and its worker threads (threads - 1; none with `parallel`). `o` may be NULL for the defaults. On failure
   there is no context to ask: the message goes to o->log at level 0. */
QUERN_API quern_status quern_context_create(quern_context **out, const quern_context_options *o);
QUERN_API void quern_context_free(quern_context *c);
/* Copies the message of the last failed call on this context or a model of it, NUL-terminated and cut to `cap` bytes.
   With calls on several threads it is one of their messages. "" before the first failure. */
QUERN_API quern_status quern_context_error(const quern_context *c, char *buf, size_t cap);
/* Name of the kernel set in use, and threads used, the caller's included. */
QUERN_API const char *quern_context_isa(const quern_context *c);
QUERN_API uint32_t quern_context_threads(const quern_context *c);
/* The kernel sets that this build knows and this CPU can run, from least to most capable: i = 0, 1, ... until NULL. */
QUERN_API const char *quern_isa_name(uint32_t i);

/* ---- model ------------------------------------------------------------------------------------------------------- */

typedef struct quern_model quern_model;

#define QUERN_OPEN_VERIFY 1u /* check every checksum before returning: reads the whole file */

typedef struct quern_model_options {
  uint32_t size;
  uint32_t flags;              /* QUERN_OPEN_* */
  uint64_t max_bytes;          /* 0: no limit; else a larger file, or one whose opening needs more, is QUERN_E_LIMIT */
  quern_progress_fn *progress; /* during QUERN_OPEN_VERIFY, bytes; may cancel */
  void *progress_user;
} quern_model_options;

QUERN_API void quern_model_options_init(quern_model_options *o, uint32_t size);
/* Maps a .qrn file read-only. Its structure is checked; weights and tokenizer tables are not read until used. The file
   must not be changed in place while it is open (replacing it by rename is fine). `o` may be NULL. */
QUERN_API quern_status quern_model_open(quern_model **out, quern_context *c, const char *path,
                                        const quern_model_options *o);
/* The same from a descriptor, which stays the caller's and may be closed after the call. The file starts at offset 0.
 */
QUERN_API quern_status quern_model_open_fd(quern_model **out, quern_context *c, int32_t fd,
                                           const quern_model_options *o);
/* The same from memory, used in place: `data`, aligned to 64 bytes, must outlive the model. */
QUERN_API quern_status quern_model_open_memory(quern_model **out, quern_context *c, const void *data, size_t n,
                                               const quern_model_options *o);
/* One more reference: each retain needs one more free. */
QUERN_API quern_status quern_model_retain(quern_model *m);
QUERN_API void quern_model_free(quern_model *m);

typedef struct quern_model_info {
  uint32_t size;
  uint32_t layers, width, heads, kv_heads, ffn_width;
  uint32_t vocab;
  uint32_t max_tokens;      /* position limit */
  uint32_t sentence_tokens; /* length that texts are cut to by default, special tokens included */
  uint32_t labels;          /* outputs of the classification head; 0: none */
  uint32_t embedding_width; /* floats of one embedding; 0: the model is no embedder */
  uint32_t regression;      /* 1: the head is a regression: one score, no classes */
  uint32_t tensors, sites;  /* counts for quern_model_get_tensor and quern_model_get_site */
  uint32_t span;            /* 1: the head finds answers in a context: quern_answer */
  uint64_t params;          /* weights, as counted before quantization */
  uint64_t bytes;           /* of the file */
  uint32_t decoder;         /* 1: the head gives the next token: quern_decode_feed */
  uint32_t causal;          /* 1: a token sees those up to it */
  uint32_t head_dim;        /* channels of a head */
  uint32_t rotary;          /* of these, how many are rotated by position; 0: positions come from a table */
  uint32_t window;          /* how far local layers see, in tokens; 0: all layers see everything */
  uint32_t global_every;    /* with a window: each n-th layer sees everything; 0: none does */
  uint32_t gated;           /* 1: the feed-forward block multiplies by a gate */
  uint32_t tied;            /* 1: the head is the table of tokens */
  const char *norm;         /* "layer", "rms" */
  const char *placement;    /* of norms: "post", "pre", "sandwich", "parallel" (docs/FORMAT.md, ARCH) */
  const char *activation;   /* of the feed-forward block: "gelu", "gelu-tanh", "relu", "silu" */
} quern_model_info;
QUERN_API quern_status quern_model_get_info(const quern_model *m, quern_model_info *info);

/* Metadata as text, numbers in decimal, reals with the fewest digits that read back: "general.architecture", "general.recipe", "general.producer", "general.source",
   "tokenizer.kind", "label.0", ... *len: bytes without the NUL. QUERN_E_ARGUMENT: no such key; QUERN_E_CAPACITY: cap
   too small, *len is set. buf may be NULL with cap 0 to ask for the length (QUERN_OK then). */
QUERN_API quern_status quern_model_get_meta(const quern_model *m, const char *key, char *buf, size_t cap, size_t *len);
/* Key number i in file order, valid as long as the model; NULL past the end. */
QUERN_API const char *quern_model_meta_key(const quern_model *m, uint32_t i);

typedef struct quern_tensor_info {
  uint32_t size;
  uint32_t rank;
  uint64_t dim[4];    /* row-major logical shape */
  uint64_t bytes;     /* in the file */
  uint64_t offset;    /* from the start of the file */
  const char *name;   /* valid as long as the model */
  const char *dtype;  /* "f32", "i8", "i32", "u4", "u2", ... */
  const char *layout; /* "rows" or "panels" (docs/FORMAT.md) */
  uint32_t group;     /* of small codes: elements of a row that share a scale; else 0 */
  uint32_t reserved;
} quern_tensor_info;
QUERN_API quern_status quern_model_get_tensor(const quern_model *m, uint32_t i, quern_tensor_info *info);

typedef struct quern_site_info {
  uint32_t size;
  uint32_t bits;           /* 8, ...; 32: float */
  uint32_t groups;         /* 1: whole row */
  uint32_t symmetric;      /* 1: no zero point */
  const char *name;        /* "layers.3.ffn.down.in" */
  const char *granularity; /* "none" (float), "token", "token-head", "static": the same for every token */
  uint32_t group;          /* channels that share a scale; 0: all */
  uint32_t reserved;
  /* [groups] of a static site, x ~ (code - zero) * scale. scale NULL: not static; zero NULL: 0 */
  const float *scale, *zero;
} quern_site_info;
/* A site is a named place where an activation is quantized. What info points to is the model's. */
QUERN_API quern_status quern_model_get_site(const quern_model *m, uint32_t i, quern_site_info *info);

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* Bytes begin ... end - 1 of a text. */
typedef struct quern_span {
  uint64_t begin, end;
} quern_span;

#define QUERN_PLAIN                                                                                                    \
  4u /* quern_tokenize: special tokens that the text spells are characters like others, as what a stranger wrote */
#define QUERN_NO_SPECIAL 1u /* tokenize without the model's special tokens; detokenize with them left in the text */

/* Text to token ids, with the model's special tokens, never cut. Malformed UTF-8 becomes one U+FFFD per maximal
   subpart. In *n the ids needed, also with QUERN_E_CAPACITY (cap < *n; ids is unspecified then). Any thread; keeps
   nothing allocated. */
QUERN_API quern_status quern_tokenize(const quern_model *m, const char *utf8, size_t len, uint32_t flags, int32_t *ids,
                                      size_t cap, size_t *n);
/* The same, and in spans[i] the bytes of the text that token i came from, as Hugging Face's tokenizers give them in
   characters: from the first character that the token has something of to the last, accents that were taken off one
   included; neighbours share a character that both have something of. Special tokens of the template: 0, 0. */
QUERN_API quern_status quern_tokenize_spans(const quern_model *m, const char *utf8, size_t len, uint32_t flags,
                                            int32_t *ids, quern_span *spans, size_t cap, size_t *n);
/* A pair of texts by the model's pair template; types: [cap] token types, may be NULL. */
QUERN_API quern_status quern_tokenize_pair(const quern_model *m, const char *a, size_t a_len, const char *b,
                                           size_t b_len, uint32_t flags, int32_t *ids, int32_t *types, size_t cap,
                                           size_t *n);
/* Token ids to text, special tokens left out unless QUERN_NO_SPECIAL. In *len the bytes needed without the NUL, also with
   QUERN_E_CAPACITY. */
QUERN_API quern_status quern_detokenize(const quern_model *m, const int32_t *ids, size_t n, uint32_t flags, char *buf,
                                        size_t cap, size_t *len);

/* What somebody said in a conversation. */
typedef struct quern_chat_message {
  const char *role; /* "system", of the first message alone, "user", "assistant" */
  const char *content;
  size_t content_len;
} quern_chat_message;

#define QUERN_CHAT_PROMPT 2u /* with the start of the assistant's next message behind the last one */

/* The form that the model's conversations are written in: "chatml", "llama3", "gemma", ...; "plain" where its source had no template
   that is known. */
QUERN_API const char *quern_chat_form(const quern_model *m);
/* A conversation of n messages as token ids, in a form by its name (NULL: the model's). Special tokens are those of the form: what a
   message says is taken as it is written, and never for one. flags: QUERN_CHAT_PROMPT, QUERN_NO_SPECIAL. *count as in
   quern_tokenize. An unknown form or role is QUERN_E_ARGUMENT. Any thread. */
QUERN_API quern_status quern_chat_tokenize(const quern_model *m, const char *form, const quern_chat_message *messages,
                                           uint32_t n, uint32_t flags, int32_t *ids, size_t cap, size_t *count);

/* ---- session ----------------------------------------------------------------------------------------------------- */

typedef struct quern_session quern_session;

#define QUERN_POOL_MODEL 0u /* as the model says */
#define QUERN_POOL_MEAN 1u
#define QUERN_POOL_CLS 2u
#define QUERN_POOL_LAST 3u

#define QUERN_NO_NORMALIZE 1u /* embeddings as pooled, also where the model would scale them to length 1 */

typedef struct quern_session_options {
  uint32_t size;
  uint32_t flags;      /* QUERN_NO_NORMALIZE */
  uint32_t max_tokens; /* most tokens of one pass, all its sequences together; 0: 2048. Longer batches run in passes */
  uint32_t max_sequences; /* most sequences of one pass; 0: 64. Of a decoder: sequences that are held; 0: 16 */
  uint32_t text_tokens;   /* texts are cut to this many tokens, specials included; 0: the model's sentence length */
  uint32_t pool;          /* QUERN_POOL_* */
  void *workspace;        /* NULL: allocated; else the session's memory, aligned to 64, the caller's, outlives it */
  size_t workspace_bytes; /* at least quern_session_bytes */
  /* of decoders alone */
  uint32_t
      cache_tokens; /* tokens whose keys and values are held, all sequences together, in pages of 64 that each sequence has
                            whole; 0: max_tokens, or 64 for each sequence where that is more */
  uint32_t
      cache_bits; /* of keys and values: 8, 4 (little over half the memory) or 32 (float); 0: 8, and 32 of a float model */
  uint32_t logit_rows; /* most rows that quern_decode_rows takes; 0: max_sequences */
  uint32_t reserved;   /* 0 */
} quern_session_options;

QUERN_API void quern_session_options_init(quern_session_options *o, uint32_t size);
/* Exact bytes a session with these options takes; it allocates nothing more, ever. */
QUERN_API quern_status quern_session_bytes(const quern_model *m, const quern_session_options *o, size_t *bytes);
QUERN_API quern_status quern_session_create(quern_session **out, quern_model *m, const quern_session_options *o);
QUERN_API void quern_session_free(quern_session *s);
QUERN_API quern_status quern_session_error(const quern_session *s, char *buf, size_t cap);
/* Makes the call in progress, or else the next one, return QUERN_E_CANCELLED within about a layer. Any thread; also
   from a signal handler. */
QUERN_API quern_status quern_session_cancel(quern_session *s);

typedef struct quern_stats {
  uint32_t size;
  uint32_t reserved;
  uint64_t sequences; /* run since the session began */
  uint64_t tokens;
  uint64_t texts_cut;                     /* texts that were longer than text_tokens and were cut */
  uint64_t ns_encode;                     /* time in the layers */
  uint64_t bytes;                         /* memory of the session */
  uint32_t cache_pages, cache_pages_free; /* of a decoder, 64 tokens each */
} quern_stats;
QUERN_API quern_status quern_session_get_stats(const quern_session *s, quern_stats *st);

/* ---- work -------------------------------------------------------------------------------------------------------- */

/* A view of the session's memory, valid until its next call. data: f32, row-major. */
typedef struct quern_tensor_view {
  const float *data;
  uint64_t rows, cols;
} quern_tensor_view;

/* Runs the encoder on `batch` sequences of token ids, one after another in ids; lens: [batch]; types: token types like
   ids, or NULL for all 0. *out: hidden states of the last layer, [sum of lens, width]. The sum of lens and batch must
   fit the session (QUERN_E_CAPACITY), each length the position limit; an id outside the vocabulary is QUERN_E_ARGUMENT.
 */
QUERN_API quern_status quern_encode(quern_session *s, const int32_t *ids, const int32_t *types, const uint32_t *lens,
                                    uint32_t batch, quern_tensor_view *out);

#define QUERN_PAIRS 2u /* texts 2i and 2i + 1 form pair i: n texts give n / 2 results */

/* Embeds n texts given as one UTF-8 buffer and n + 1 offsets (Arrow's string layout): text i is
   utf8[offsets[i]] ... utf8[offsets[i + 1] - 1]. out: [n, width] f32; cap: floats in out; *width may be NULL.
   Any n: texts run in as many passes as the session's size asks for; the result does not depend on it. */
QUERN_API quern_status quern_embed_batch(quern_session *s, const char *utf8, const int64_t *offsets, size_t n,
                                         float *out, size_t cap, uint32_t *width);
/* One text. */
QUERN_API quern_status quern_embed(quern_session *s, const char *utf8, size_t len, float *out, size_t cap,
                                   uint32_t *width);
/* Classifies n texts, or n / 2 pairs with QUERN_PAIRS in flags. logits: [results, labels] f32, cap: floats in it;
   probabilities: the same shape (softmax), or NULL. A regression head has one label; its logit is the score. */
QUERN_API quern_status quern_classify_batch(quern_session *s, const char *utf8, const int64_t *offsets, size_t n,
                                            uint32_t flags, float *logits, float *probabilities, size_t cap);
/* A window: a question and its context, or a piece of that, as the encoder read them. Valid during the callback. */
typedef struct quern_window {
  uint32_t size;
  uint32_t tokens;         /* rows of ids, spans and logits */
  uint64_t pair;           /* which question, from 0 */
  uint32_t context;        /* first row of the context's tokens */
  uint32_t context_tokens; /* how many there are */
  const int32_t *ids;      /* [tokens] */
  const quern_span *spans; /* [tokens] bytes of the context; 0, 0 for tokens that are not of it */
  const float *logits;     /* [tokens, 2] of each token as the start and as the end of the answer */
} quern_window;
typedef int32_t quern_window_fn(void *user, const quern_window *w); /* nonzero cancels */

typedef struct quern_answer_options {
  uint32_t size;
  uint32_t stride;         /* tokens that neighbouring windows share; 0: 128, or half of the room for the context where
                              that is less */
  uint32_t answer_tokens;  /* most tokens of an answer; 0: 30 */
  uint32_t reserved;       /* 0 */
  quern_window_fn *window; /* NULL; else gets every window in order, for its logits or to choose other answers */
  void *window_user;
} quern_answer_options;

QUERN_API void quern_answer_options_init(quern_answer_options *o, uint32_t size);
/* Answers questions from contexts: texts 2i and 2i + 1 (layout as above, n even) are question and context i. Needs a
   model with a span head (quern_model_info). A context that does not fit the session's text_tokens beside its question is
   cut into windows that overlap; a question that leaves no room is QUERN_E_CAPACITY.
   answers: [n / 2]: the bytes of context i. scores: [n / 2, 2]: the answer's, that is the logit of its first token as
   start plus that of its last as end, the highest over all windows; and that of there being no answer, the same of the
   first token of the sequence, the lowest over the windows: models of the SQuAD 2 kind mean "no answer" when it is the
   higher.
   Of equal scores the answer that begins first is taken, then the shorter. A context without tokens: 0, 0 and minus
   infinity. o may be NULL. After a failure both hold anything. */
QUERN_API quern_status quern_answer_batch(quern_session *s, const char *utf8, const int64_t *offsets, size_t n,
                                          const quern_answer_options *o, quern_span *answers, float *scores);
/* One question; scores: [2]. */
QUERN_API quern_status quern_answer(quern_session *s, const char *question, size_t question_len, const char *context,
                                    size_t context_len, const quern_answer_options *o, quern_span *answer,
                                    float *scores);
/* Inner product of two vectors in the library's fixed order (so that rankings agree everywhere). */
QUERN_API float quern_dot(const quern_context *c, const float *a, const float *b, size_t n);

/* ---- decoding ---------------------------------------------------------------------------------------------------- */

/* A session on a decoder (quern_model_info) holds sequences, numbered from 0 to max_sequences - 1 of its options: tokens, of
   which it keeps keys and values in pages of 64 from a pool of fixed size. A sequence without tokens is as new, and nothing
   needs to be opened or closed. The same tokens give the same bytes whatever calls they came in, whatever other sequences
   were in them, and whatever the sequence held before. */

/* Appends n tokens to a sequence. A call that fails appends none. QUERN_E_CAPACITY: the cache has no pages for them;
   QUERN_E_ARGUMENT: an id outside of the vocabulary, or more tokens than the model takes. */
QUERN_API quern_status quern_decode_feed(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n);
/* The same for n different sequences at once, whose tokens share the work of reading the weights: prompts of some, single
   tokens of others. offsets: [n + 1], ascending: tokens of sequences[i] are ids[offsets[i]] ... ids[offsets[i + 1] - 1], at
   least one. */
QUERN_API quern_status quern_decode_batch(quern_session *s, const uint32_t *sequences, const uint32_t *offsets,
                                          const int32_t *ids, uint32_t n);
/* Scores of all tokens to come next in a sequence, before softmax: *logits: [*n], of the session's memory, valid until its
   next call. They are made when they are first asked for, those of all sequences of the last feed or batch together. n may
   be NULL. QUERN_E_ARGUMENT: the sequence is empty, or its last token is one that quern_sequence_truncate or _copy left. */
QUERN_API quern_status quern_decode_logits(quern_session *s, uint32_t sequence, const float **logits, uint32_t *n);
/* The same after each of rows first ... first + n - 1 of the last feed or batch, counted over the tokens of all its sequences in
   their order; n at most logit_rows of the session's options. A call of more than max_tokens tokens has the rows of its last
   max_tokens or less: *of (may be NULL) is how many there are. n may be 0. */
QUERN_API quern_status quern_decode_rows(quern_session *s, uint32_t first, uint32_t n, quern_tensor_view *out,
                                         uint32_t *of);

/* quern_decode_feed, and log_probabilities [n]: the natural logarithm of each token's probability after those before it; 0 of the first
   token of a sequence. A failure may leave some of the tokens appended. */
QUERN_API quern_status quern_decode_score(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n,
                                          float *log_probabilities);

/* Tokens of a sequence. */
QUERN_API quern_status quern_sequence_length(quern_session *s, uint32_t sequence, uint32_t *tokens);
/* How many tokens a sequence begins with that are the first of these n: what need not be read again. 0 of a sequence of which parts
   were released (below). */
QUERN_API quern_status quern_sequence_prefix(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n,
                                             uint32_t *tokens);
/* Drops all but the first `tokens` (QUERN_E_ARGUMENT: it has not that many); pages that nobody holds are free again. Of a model whose
   layers all have a window, as Mistral's, pages that no token to come sees, penalties included, are free too once a call is through: its
   sequences may be longer than cache_tokens, and be cut to 0 or at most 64 tokens shorter; further is QUERN_E_ARGUMENT where parts
   are gone. (A call's own tokens are held until it ends: feed long texts in pieces.) */
QUERN_API quern_status quern_sequence_truncate(quern_session *s, uint32_t sequence, uint32_t tokens);
/* Sequence `to`, whose tokens are dropped, becomes the first `tokens` of `from` (QUERN_E_ARGUMENT: as truncate) without
   taking pages: both hold the same ones, and the first to append to a page that is not full gets a copy of it then. */
QUERN_API quern_status quern_sequence_copy(quern_session *s, uint32_t from, uint32_t to, uint32_t tokens);
/* Writes a sequence that has tokens to a file, under a temporary name first, so that a later session on the same model file goes on
   where this one is: the same bytes come of it on every CPU. */
QUERN_API quern_status quern_sequence_save(quern_session *s, uint32_t sequence, const char *path);
/* Makes a sequence what was saved, its own tokens are dropped. A file that is cut, damaged, of another model file or another
   cache_bits, or that the cache has no pages for, is refused, and the sequence is as it was. */
QUERN_API quern_status quern_sequence_restore(quern_session *s, uint32_t sequence, const char *path);
/* quern_sequence_truncate to 0. */
QUERN_API quern_status quern_sequence_free(quern_session *s, uint32_t sequence);

/* ---- choosing and generating --------------------------------------------------------------------------------------- */

/* How the next token is chosen; docs/NUMERICS.md has the arithmetic. A draw depends on seed, sequence and position alone. */
typedef struct quern_sampling_options {
  uint32_t size;
  uint32_t top_k;          /* candidates at most; 0: all */
  float temperature;       /* 0: always the most likely token */
  float top_p;             /* the most likely ones that together have this probability; 1: all */
  float min_p;             /* those with at least this share of the most likely one's probability; 0: all */
  float repeat_penalty;    /* above 1: tokens of the last penalty_tokens become less likely */
  float presence_penalty;  /* taken from their scores; 0: nothing */
  uint32_t penalty_tokens; /* at most 1024; the default is 64 */
  uint64_t seed;
  const int32_t *bias_ids; /* [biases] */
  const float *bias;       /* [biases] added to the scores of these tokens; minus infinity: never */
  uint32_t biases;
  uint32_t reserved; /* 0 */
} quern_sampling_options;
/* Temperature 0, no penalties, no biases. */
QUERN_API void quern_sampling_options_init(quern_sampling_options *o, uint32_t size);

/* Chooses the token after the last one of a sequence, without appending it. o may be NULL: the most likely one. */
QUERN_API quern_status quern_decode_sample(quern_session *s, uint32_t sequence, const quern_sampling_options *o,
                                           int32_t *id);
/* The same for n different sequences, and appends them, all in one pass. ids: [n]. A call that fails appends none. */
QUERN_API quern_status quern_decode_next(quern_session *s, const uint32_t *sequences, uint32_t n,
                                         const quern_sampling_options *o, int32_t *ids);

/* A token and the text that is complete with it: whole characters, not terminated, valid during the call; may be empty. id -1: text
   that was held back, at the end. Nonzero ends the generation. */
typedef int32_t quern_token_fn(void *user, int32_t id, const char *utf8, size_t len);

#define QUERN_STOP_LENGTH 1u /* max_new tokens */
#define QUERN_STOP_END 2u  /* a token that ends texts, the model's or the caller's; it is not handed out or appended */
#define QUERN_STOP_TEXT 3u /* a text of the caller's */
#define QUERN_STOP_CALLBACK 4u /* the callback */

typedef struct quern_generate_options {
  uint32_t size;
  uint32_t flags;   /* QUERN_NO_SPECIAL: text with special tokens in it */
  uint32_t max_new; /* tokens at most; 0: as many as the model has positions for */
  uint32_t lookup;  /* tokens guessed ahead at most, by what followed the same words before; less than
                                             logit_rows of the session, at most 64; 0: none. The text is the same, sooner */
  const quern_sampling_options *sampling; /* NULL: the most likely token */
  const int32_t *stop;                    /* [stops] tokens that end it, beside the model's */
  uint32_t stops;
  uint32_t stop_text_count;
  const char *const *stop_texts; /* [stop_text_count], at most 64 of 1 to 256 bytes each: they are not handed out */
} quern_generate_options;
QUERN_API void quern_generate_options_init(quern_generate_options *o, uint32_t size);

typedef struct quern_generated {
  uint32_t size;
  uint32_t tokens;  /* handed out */
  uint32_t reason;  /* QUERN_STOP_* */
  uint32_t guessed; /* of the tokens, those that had been guessed */
} quern_generated;

/* Generates after the tokens of a sequence, to which it appends all that it hands out. A failure, as QUERN_E_CAPACITY when the cache is
   full or QUERN_E_CANCELLED, leaves in the sequence what was handed out before, but for the last token. o, fn and result may be
   NULL. */
QUERN_API quern_status quern_generate(quern_session *s, uint32_t sequence, const quern_generate_options *o,
                                      quern_token_fn *fn, void *user, quern_generated *result);

/* Prompts for quern_generate_batch, and what becomes of them: numbered from 0 as they come. The functions are called on the calling
   thread and must not call the session. */
typedef struct quern_prompts {
  uint32_t size;
  uint32_t reserved; /* 0 */
  void *user;
  /* Returns 1 and the tokens of the next prompt, valid until it is called again; 0: there is none. With wait 1 nothing is left to do
     meanwhile, and 0 ends the call; else it is called again after the next step. */
  int32_t (*next)(void *user, int32_t wait, const int32_t **ids, uint32_t *n);
  /* As quern_token_fn; may be NULL. Nonzero ends this prompt's generation. */
  int32_t (*token)(void *user, uint64_t prompt, int32_t id, const char *utf8, size_t len);
  /* All of the prompt's text has been handed out; may be NULL. */
  void (*done)(void *user, uint64_t prompt, const quern_generated *result);
} quern_prompts;

/* Continues many prompts, as many at a time as the session has sequences, and pages for all that each may come to: a step takes a
   token of each, and the prompts that have joined. Of each comes what quern_generate gives it in sequence 0 of a session of its own,
   to the byte, but that max_new is cut to the model's positions, and `lookup` is not used. The session's sequences are dropped before
   and after. A failure ends the call. */
QUERN_API quern_status quern_generate_batch(quern_session *s, const quern_generate_options *o,
                                            const quern_prompts *prompts);

/* ---- quantize ---------------------------------------------------------------------------------------------------- */

#define QUERN_DRY_RUN 1u        /* do everything but write the file */
#define QUERN_SELECT_RANDOM 0u  /* rows drawn by the seed */
#define QUERN_SELECT_LONGEST 1u /* those with the most bytes */
#define QUERN_SELECT_OUTLIERS                                                                                          \
  2u /* of four times as many drawn those whose activations have the most outliers: a pass of the float model */

typedef struct quern_quantize_options {
  uint32_t size;
  uint32_t flags;
  uint32_t seed;
  uint32_t
      calibration_rows; /* drawn from the calibration file by the seed; 0: 256, of decoders 96. Needs calibration_path */
  const char *recipe;   /* NULL: "int8"; a preset's name or the path of a .json recipe */
  /* NULL: none; texts for recipes with static ranges or calibrated rounding: one a line, a tab separates a pair; or
     columns named by the first line as quern eval has them, which a .tsv file of more than two columns must have; of a .jsonl file
     the member "text" of each line's object */
  const char *calibration_path;
  const char *report_path;     /* NULL: none; a directory: report.json and report.html are written there */
  uint64_t max_bytes;          /* 0: no limit; most bytes of memory and of any source file */
  quern_progress_fn *progress; /* per layer; may cancel */
  void *progress_user;
  /* For recipe "auto" and others with max_loss: of the outputs on the calibration text, their squared error over their
     spread, above 0 and at most 1; 0: as the recipe says. */
  double max_loss;
  uint32_t select; /* QUERN_SELECT_*: which rows of the calibration file */
  uint32_t reserved;
} quern_quantize_options;

typedef struct quern_quantize_result {
  uint32_t size;
  uint32_t reserved;
  uint64_t source_bytes;     /* weights of the source */
  uint64_t bytes;            /* of the .qrn file */
  double worst_weight_error; /* largest over the linear operators: rms(w - quantized w) / rms(w) */
  double loss;               /* of recipes with max_loss: what the outputs lose on the calibration text; else 0 */
} quern_quantize_result;

QUERN_API void quern_quantize_options_init(quern_quantize_options *o, uint32_t size);
/* Makes dst, a .qrn file, from src, a Hugging Face directory or a GGUF file. dst is written under a temporary name and renamed: a
   failed or cancelled call leaves the old file or none. The same source, recipe, calibration file and seed give the same bytes. r may be
   NULL. */
QUERN_API quern_status quern_quantize_file(quern_context *c, const char *src, const char *dst,
                                           const quern_quantize_options *o, quern_quantize_result *r);
/* A preset recipe as JSON; i = 0, 1, ... until NULL. */
QUERN_API const char *quern_recipe_name(uint32_t i);
QUERN_API const char *quern_recipe_json(const char *name); /* NULL: no such preset */
/* What that preset is where the model is a decoder; NULL: no such preset, or for encoders alone. */
QUERN_API const char *quern_recipe_decoder_json(const char *name);

#ifdef __cplusplus
}
#endif
#endif
