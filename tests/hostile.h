/* hostile.h - what the tests of malicious files share: a context whose allocator counts, how a file or a source was refused
 * and whether that went as a row of a table says. Tests only; one thread. */
#ifndef QN_HOSTILE_H
#define QN_HOSTILE_H
#include "faulty_alloc.h"
#include "test.h"

/* Where a row is refused. */
typedef enum hostile_stage { AT_OPEN, AT_VERIFY, AT_SESSION, AT_RUN, AT_QUANTIZE, NOWHERE } hostile_stage;

typedef struct hostile_refusal {
  hostile_stage stage;
  quern_status status;
  char message[512];
  size_t peak; /* bytes live at once, the context's own left out */
} hostile_refusal;

static faulty_alloc hostile_heap;
static quern_context *hostile_context;
static size_t hostile_before;

static inline int hostile_start(void) {
  static quern_allocator alloc;
  quern_context_options o;
  alloc = faulty_allocator(&hostile_heap);
  quern_context_options_init(&o, sizeof o);
  o.alloc = &alloc;
  o.threads = 1;
  return quern_context_create(&hostile_context, &o) == QUERN_OK;
}

/* Around each row. */
static inline void hostile_begin(void) {
  hostile_before = hostile_heap.live_bytes;
  hostile_heap.peak_bytes = hostile_before;
}
static inline void hostile_end(hostile_refusal *r) { r->peak = hostile_heap.peak_bytes - hostile_before; }

static inline void hostile_note(hostile_refusal *r, hostile_stage stage, quern_status status) {
  r->stage = stage;
  r->status = status;
  quern_context_error(hostile_context, r->message, sizeof r->message);
}

/* plan: the most bytes that refusing it may take. Returns whether all is as the row says, and prints what is not. */
static inline int hostile_as_said(const char *name, const hostile_refusal *r, hostile_stage stage, quern_status status,
                                  const char *words, size_t plan) {
  static const char *const stages[] = {"open", "verify", "session", "run", "quantize", "nowhere"};
  const int kept = hostile_heap.live_bytes != hostile_before || hostile_heap.wrong_sizes != 0;
  if (r->stage == stage && r->status == status && strstr(r->message, words) && r->peak <= plan && !kept) return 1;
  printf("  %s: at %s, status %d, peak %zu of %zu%s, message: %s\n", name, stages[r->stage], (int)r->status, r->peak,
         plan, kept ? ", memory kept" : "", r->message);
  return 0;
}
#endif
