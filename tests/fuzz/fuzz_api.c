/* fuzz_api.c - the public interface as a sequence of calls that the input chooses: contexts with options, models opened in
 * every way, whole and damaged, sessions, work, cancelling, objects freed in every order that the contract allows, and
 * arguments that must be refused. Nothing faults or leaks; a failure has a message; a whole model answers the same whatever
 * its context and its session. */
#define _GNU_SOURCE /* memfd_create */
#include <stdio.h>
#include <sys/mman.h>
#include "tests/fuzz/fuzz_models.h"
#include "tests/qrn_seal.h"

#define SLOTS 3u
#define STEPS 48
#define HEAP_BYTES ((size_t)24 << 20)

typedef struct slot_context {
  quern_context *c;
  fuzz_heap heap; /* of this context */
  uint32_t users; /* models and sessions of it that are alive */
} slot_context;

typedef struct slot_model {
  quern_model *m;
  uint8_t *copy; /* a damaged file's own memory */
  uint32_t context, source, sessions;
  int whole;
} slot_model;

typedef struct slot_session {
  quern_session *s;
  void *workspace;
  uint32_t model, context;
  quern_session_options options;
} slot_session;

typedef struct world {
  fuzz_input in;
  slot_context context[SLOTS];
  slot_model model[SLOTS];
  slot_session session[SLOTS];
} world;

/* ---- answers ---- */

static void known(quern_status s) { FUZZ_NEED(s >= QUERN_OK && s <= QUERN_E_TASK); }
static void context_said(const quern_context *c, quern_status s) {
  char text[600] = "";
  known(s);
  FUZZ_NEED(quern_context_error(c, text, sizeof text) == QUERN_OK && (s == QUERN_OK || text[0]));
}
static void session_said(const quern_session *x, quern_status s) {
  char text[600] = "";
  known(s);
  FUZZ_NEED(quern_session_error(x, text, sizeof text) == QUERN_OK && (s == QUERN_OK || text[0]));
}

static void backwards(void *user, quern_task_fn *fn, void *task, uint32_t n) {
  (void)user;
  while (n--) fn(task, n);
}
static int32_t stop_after(void *user, uint64_t done, uint64_t total, const char *what) {
  FUZZ_NEED(done <= total && what);
  return (*(int *)user)-- == 0;
}

/* ---- contexts ---- */

static void open_context(world *w, slot_context *x) {
  static const uint32_t older[] = {
      0,
      2,
      offsetof(quern_context_options, threads),
      offsetof(quern_context_options, isa),
      offsetof(quern_context_options, alloc),
      offsetof(quern_context_options, parallel)}; /* sizes of older callers, and no sizes */
  quern_context_options o;
  fuzz_input *in = &w->in;
  if (x->c) return;
  quern_context_options_init(&o, sizeof o);
  x->heap = (fuzz_heap){.left = HEAP_BYTES, .fail_at = fuzz_below(in, 8) ? 0 : 1 + fuzz_below(in, 40)};
  const quern_allocator alloc = fuzz_allocator(&x->heap);
  o.alloc = &alloc;
  o.threads = 1 + fuzz_below(in, 3);
  o.isa = quern_isa_name(fuzz_below(in, 8)); /* NULL past the last: the best */
  if (fuzz_below(in, 3) == 0) o.parallel = backwards;
  if (fuzz_below(in, 32) == 0) o.isa = "no such set";
  if (fuzz_below(in, 32) == 0) o.threads = 1025;
  if (fuzz_below(in, 32) == 0) o.size = older[fuzz_below(in, sizeof older / sizeof older[0])];
  const quern_status s = quern_context_create(&x->c, &o);
  known(s);
  FUZZ_NEED((s == QUERN_OK) == (x->c != NULL) && (x->c || !x->heap.live));
}

static void close_context(slot_context *x) {
  if (!x->c || x->users) return;
  quern_context_free(x->c);
  FUZZ_NEED(!x->heap.live && x->heap.left == HEAP_BYTES);
  x->c = NULL;
}

/* ---- models ---- */

/* Some bytes changed, or the end cut off, the checksums put right or left. */
static size_t damage(fuzz_input *in, uint8_t *p, size_t bytes) {
  const uint32_t changes = fuzz_below(in, 6);
  for (uint32_t i = 0; i < changes; i++) {
    const size_t at = fuzz_u16(in) % bytes;
    p[at] = (uint8_t)fuzz_u8(in);
  }
  if (fuzz_below(in, 8) == 0) bytes = fuzz_u16(in) % bytes;
  if (fuzz_below(in, 4)) qrn_seal(p, bytes);
  return bytes;
}

static quern_status open_file(slot_model *m, quern_context *c, uint32_t way, const uint8_t *data, size_t bytes,
                              const quern_model_options *o) {
  char path[64];
  const int fd = memfd_create("quern-fuzz", MFD_CLOEXEC);
  FUZZ_NEED(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const quern_status s = way == 1 ? quern_model_open_fd(&m->m, c, fd, o) : quern_model_open(&m->m, c, path, o);
  close(fd);
  return s;
}

static void open_model(world *w, slot_model *m) {
  fuzz_input *in = &w->in;
  quern_model_options o;
  slot_context *x = &w->context[fuzz_below(in, SLOTS)];
  if (m->m || !x->c) return;
  quern_model_options_init(&o, sizeof o);
  const uint32_t source = fuzz_below(in, FUZZ_MODELS), way = fuzz_below(in, 3);
  size_t bytes = fuzz_models[source].bytes;
  int calls = fuzz_below(in, 4) ? -1 : (int)fuzz_below(in, 8);
  const int whole = (int)fuzz_below(in, 2), plain = fuzz_below(in, 4) == 0;
  uint8_t *copy = NULL;
  if (fuzz_below(in, 2)) o.flags = QUERN_OPEN_VERIFY;
  if (fuzz_below(in, 8) == 0) o.max_bytes = 1 + fuzz_u16(in);
  if (calls >= 0) o.progress = stop_after, o.progress_user = &calls;
  if (fuzz_below(in, 32) == 0) o.flags |= 6u;
  FUZZ_NEED(posix_memalign((void **)&copy, 64, bytes) == 0);
  memcpy(copy, fuzz_models[source].data, bytes);
  if (!whole) bytes = damage(in, copy, bytes);
  if (bytes < fuzz_models[source].bytes) { /* of exactly this size */
    uint8_t *cut = NULL;
    FUZZ_NEED(posix_memalign((void **)&cut, 64, bytes ? bytes : 1) == 0);
    memcpy(cut, copy, bytes);
    free(copy);
    copy = cut;
  }
  const quern_model_options *given = plain ? NULL : &o;
  const quern_status s = way == 0 ? quern_model_open_memory(&m->m, x->c, copy, bytes, given)
                                  : open_file(m, x->c, way, copy, bytes, given);
  context_said(x->c, s);
  FUZZ_NEED((s == QUERN_OK) == (m->m != NULL));
  FUZZ_NEED(!whole || given || x->heap.fail_at || s == QUERN_OK);
  if (way || !m->m) free(copy), copy = NULL;
  if (!m->m) return;
  m->copy = copy, m->source = source, m->whole = whole, m->sessions = 0;
  m->context = (uint32_t)(x - w->context);
  x->users++;
}

static void release_memory(world *w, slot_model *m) {
  free(m->copy);
  w->context[m->context].users--;
  *m = (slot_model){0};
}

/* The model's sessions may outlive it: they hold references. Its memory must not go before them. */
static void close_model(world *w, slot_model *m) {
  if (!m->m || (m->sessions && m->copy)) return;
  quern_model_free(m->m);
  if (m->sessions) {
    for (uint32_t i = 0; i < SLOTS; i++)
      if (w->session[i].s && &w->model[w->session[i].model] == m) w->session[i].model = SLOTS;
  }
  release_memory(w, m);
}

static void ask_model(world *w, slot_model *m) {
  char text[64];
  size_t len = 0;
  if (!m->m) return;
  fuzz_input *in = &w->in;
  quern_model_info info = {.size = fuzz_below(in, 4) ? sizeof info : fuzz_below(in, sizeof info + 1)};
  quern_tensor_info t = {.size = sizeof t};
  quern_site_info site = {.size = sizeof site};
  const uint32_t i = fuzz_u8(in);
  FUZZ_NEED((quern_model_get_info(m->m, &info) == QUERN_OK) == (info.size >= sizeof info.size));
  if (quern_model_get_tensor(m->m, i, &t) == QUERN_OK)
    FUZZ_NEED(t.name && t.dtype && t.layout && t.rank <= 4 && t.offset % 64 == 0);
  if (quern_model_get_site(m->m, i, &site) == QUERN_OK) FUZZ_NEED(site.name && site.granularity);
  const char *key = quern_model_meta_key(m->m, i % 16);
  if (key) {
    const size_t cap = fuzz_below(in, sizeof text + 1);
    const quern_status s = quern_model_get_meta(m->m, key, cap ? text : NULL, cap, &len);
    FUZZ_NEED(s == QUERN_E_CAPACITY ? len >= cap : s == QUERN_OK && (!cap || strlen(text) <= len));
  }
  FUZZ_NEED(quern_model_retain(m->m) == QUERN_OK);
  quern_model_free(m->m);
}

static void use_tokens(world *w, slot_model *m) {
  fuzz_input *in = &w->in;
  if (!m->m) return;
  const size_t cap = fuzz_below(in, 40);
  const uint32_t flags = fuzz_below(in, 16) ? fuzz_below(in, 2) : fuzz_u8(in);
  const int pair = (int)fuzz_below(in, 2);
  size_t a_len, b_len, n = SIZE_MAX, len = 0;
  const char *a = (const char *)fuzz_take(in, fuzz_below(in, 60), &a_len);
  const char *b = (const char *)fuzz_take(in, fuzz_below(in, 60), &b_len);
  int32_t *ids = malloc(cap * sizeof *ids + 1), *types = malloc(cap * sizeof *types + 1);
  char *text = malloc(cap + 1);
  FUZZ_NEED(ids && types && text);
  quern_status s = pair ? quern_tokenize_pair(m->m, a, a_len, b_len ? b : NULL, b_len, flags, ids, types, cap, &n)
                        : quern_tokenize(m->m, a, a_len, flags, ids, cap, &n);
  context_said(w->context[m->context].c, s);
  FUZZ_NEED(s != QUERN_OK || n <= cap);
  FUZZ_NEED(s != QUERN_E_CAPACITY || n > cap);
  if (s == QUERN_OK) {
    quern_model_info info = {.size = sizeof info};
    quern_model_get_info(m->m, &info);
    for (size_t i = 0; i < n; i++) FUZZ_NEED(ids[i] >= 0 && (uint32_t)ids[i] < info.vocab);
    for (size_t i = 0; i < n && fuzz_below(in, 4) == 0; i++) ids[i] = (int32_t)(fuzz_u16(in) - 300);
    s = quern_detokenize(m->m, ids, n, flags, cap ? text : NULL, cap, &len);
    context_said(w->context[m->context].c, s);
    FUZZ_NEED(s != QUERN_E_CAPACITY || len >= cap);
  }
  free(ids), free(types), free(text);
  quern_span *spans = malloc(cap * sizeof *spans + 1);
  int32_t *again = malloc(cap * sizeof *again + 1);
  FUZZ_NEED(spans && again);
  s = quern_tokenize_spans(m->m, a, a_len, flags, again, spans, cap, &n);
  context_said(w->context[m->context].c, s);
  for (size_t i = 0; s == QUERN_OK && i < n; i++) FUZZ_NEED(spans[i].begin <= spans[i].end && spans[i].end <= a_len);
  free(spans), free(again);
}

/* ---- sessions ---- */

static void open_session(world *w, slot_session *x) {
  fuzz_input *in = &w->in;
  slot_model *m = &w->model[fuzz_below(in, SLOTS)];
  quern_session_options *o = &x->options;
  size_t bytes = 0;
  if (x->s || !m->m) return;
  quern_session_options_init(o, sizeof *o);
  o->max_tokens = fuzz_below(in, 4) ? 16 + fuzz_below(in, 64) : fuzz_u16(in) << fuzz_below(in, 12);
  o->max_sequences = fuzz_below(in, 4) ? fuzz_below(in, 8) : fuzz_u16(in);
  o->text_tokens = fuzz_below(in, 3) ? 0 : fuzz_below(in, 18);
  o->pool = fuzz_below(in, 4) ? 0 : fuzz_below(in, 5);
  o->flags = fuzz_below(in, 16) ? fuzz_below(in, 2) : fuzz_u8(in);
  quern_status s = quern_session_bytes(m->m, o, &bytes);
  context_said(w->context[m->context].c, s);
  if (s == QUERN_OK && bytes < HEAP_BYTES && fuzz_below(in, 2)) {
    FUZZ_NEED(posix_memalign(&x->workspace, 64, bytes) == 0);
    o->workspace = x->workspace;
    o->workspace_bytes = fuzz_below(in, 8) ? bytes : bytes - 1;
  }
  if (s == QUERN_OK && bytes >= HEAP_BYTES && !w->context[m->context].heap.calls)
    return; /* the C library has no limit */
  const quern_status created = quern_session_create(&x->s, m->m, o);
  context_said(w->context[m->context].c, created);
  FUZZ_NEED((created == QUERN_OK) == (x->s != NULL) && (s == QUERN_OK || created == s));
  FUZZ_NEED(!o->workspace || created == (o->workspace_bytes < bytes ? QUERN_E_CAPACITY : QUERN_OK));
  if (!x->s) {
    free(x->workspace);
    x->workspace = NULL;
    return;
  }
  x->model = (uint32_t)(m - w->model), x->context = m->context;
  m->sessions++;
  w->context[x->context].users++;
}

static void close_session(world *w, slot_session *x) {
  if (!x->s) return;
  quern_session_free(x->s);
  free(x->workspace);
  w->context[x->context].users--;
  if (x->model < SLOTS) w->model[x->model].sessions--;
  *x = (slot_session){0};
}

/* The same texts by the reference kernels on one thread, in a session of its own. */
static void compare(const slot_session *x, uint32_t source, const char *text, const int64_t *offsets, size_t n,
                    const float *got, size_t floats) {
  static quern_context *c;
  quern_context_options co;
  quern_session_options o = x->options;
  quern_model *m = NULL;
  quern_session *s = NULL;
  const fuzz_model *f = &fuzz_models[source];
  quern_context_options_init(&co, sizeof co);
  co.isa = "ref", co.threads = 1;
  FUZZ_NEED(c || quern_context_create(&c, &co) == QUERN_OK);
  FUZZ_NEED(quern_model_open_memory(&m, c, f->data, f->bytes, NULL) == QUERN_OK);
  o.workspace = NULL, o.max_tokens = 64, o.max_sequences = 3;
  FUZZ_NEED(quern_session_create(&s, m, &o) == QUERN_OK);
  float *want = malloc(floats * sizeof *want + 1);
  FUZZ_NEED(want);
  FUZZ_NEED((f->labels ? quern_classify_batch(s, text, offsets, n, 0, want, NULL, floats)
                       : quern_embed_batch(s, text, offsets, n, want, floats, NULL)) == QUERN_OK);
  FUZZ_NEED(!memcmp(want, got, floats * sizeof *want));
  free(want);
  quern_session_free(s);
  quern_model_free(m);
}

static void work_on_texts(world *w, slot_session *x) {
  fuzz_input *in = &w->in;
  size_t bytes;
  int64_t offsets[7] = {0};
  if (!x->s) return;
  const size_t n = fuzz_below(in, 7);
  for (size_t i = 1; i <= n; i++) offsets[i] = offsets[i - 1] + fuzz_below(in, 24);
  const char *given = (const char *)fuzz_take(in, (size_t)offsets[n], &bytes);
  for (size_t i = 1; i <= n; i++)
    if (offsets[i] > (int64_t)bytes) offsets[i] = (int64_t)bytes;
  char *text = malloc(bytes + 1);
  FUZZ_NEED(text);
  memcpy(text, given, bytes);
  const uint32_t bad = fuzz_below(in, 24), cancel = fuzz_below(in, 12) == 0, classify = fuzz_below(in, 2);
  const uint32_t pairs = classify && fuzz_below(in, 4) == 0 ? QUERN_PAIRS : 0;
  int must_fail = 0;
  if (bad == 1 && n) offsets[n] = -1, must_fail = 1;
  if (bad == 2 && n > 1 && offsets[1] > 0) offsets[n] = offsets[1] - 1, must_fail = 1;
  slot_model *m = x->model < SLOTS ? &w->model[x->model] : NULL;
  const size_t width = m && m->whole ? fuzz_models[m->source].outputs : 70000;
  const size_t results = pairs ? n / 2 : n, cap = results * width - (bad == 3 && results);
  if (bad == 3 && results && m && m->whole) must_fail = 1;
  float *out = malloc(cap * sizeof *out + 1), *probabilities = malloc(cap * sizeof *out + 1);
  FUZZ_NEED(out && probabilities);
  if (cancel) quern_session_cancel(x->s);
  const quern_status s = classify ? quern_classify_batch(x->s, text, offsets, n, pairs | (bad == 4 ? 8u : 0), out,
                                                         fuzz_below(in, 2) ? probabilities : NULL, cap)
                                  : quern_embed_batch(x->s, text, offsets, n, bad == 5 && n ? NULL : out, cap, NULL);
  session_said(x->s, s);
  must_fail |= classify ? bad == 4 || (pairs && n % 2) : bad == 5 && n;
  FUZZ_NEED(!must_fail || s != QUERN_OK);
  FUZZ_NEED(!cancel || !n || (pairs && n == 1) || s != QUERN_OK);
  if (s == QUERN_OK && m && m->whole && n && !pairs && !fuzz_models[m->source].span &&
      classify == (uint32_t)fuzz_models[m->source].labels)
    compare(x, m->source, text, offsets, n, out, cap);
  if (cancel && s != QUERN_E_CANCELLED) { /* used up by the next call that gets so far, or never */
    float one[8];
    quern_embed(x->s, "a", 1, one, 8, NULL);
  }
  free(text), free(out), free(probabilities);
}

static int32_t see_window(void *user, const quern_window *v) {
  FUZZ_NEED(v->tokens && v->context + v->context_tokens <= v->tokens && v->ids && v->spans && v->logits);
  return (*(int *)user)-- == 0;
}

/* A question and a context, in windows that overlap as the input says: the answer lies in the context, and is the same by
   the reference. */
static void work_on_answers(world *w, slot_session *x) {
  fuzz_input *in = &w->in;
  size_t q_len, c_len;
  quern_answer_options o;
  quern_span answer = {7, 7}, again = {7, 7};
  float scores[2] = {0}, scores_again[2] = {0};
  if (!x->s) return;
  quern_answer_options_init(&o, sizeof o);
  o.stride = fuzz_below(in, 4) ? 0 : fuzz_u8(in);
  o.answer_tokens = fuzz_below(in, 4) ? 0 : fuzz_u8(in);
  int windows = fuzz_below(in, 4) ? -1 : (int)fuzz_below(in, 4);
  if (windows >= 0) o.window = see_window, o.window_user = &windows;
  const char *question = (const char *)fuzz_take(in, fuzz_below(in, 40), &q_len);
  const char *context = (const char *)fuzz_take(in, fuzz_below(in, 200), &c_len);
  const quern_status s = quern_answer(x->s, question, q_len, context, c_len, &o, &answer, scores);
  session_said(x->s, s);
  if (s != QUERN_OK) return;
  FUZZ_NEED(answer.begin <= answer.end && answer.end <= c_len);
  o.window = NULL;
  FUZZ_NEED(quern_answer(x->s, question, q_len, context, c_len, &o, &again, scores_again) == QUERN_OK);
  FUZZ_NEED(again.begin == answer.begin && again.end == answer.end && !memcmp(scores, scores_again, sizeof scores));
}

static void work_on_ids(world *w, slot_session *x) {
  fuzz_input *in = &w->in;
  int32_t ids[80], types[80];
  uint32_t lens[6], total = 0;
  quern_tensor_view view = {0};
  quern_stats before = {.size = sizeof before}, after = {.size = sizeof after};
  if (!x->s) return;
  const uint32_t batch = fuzz_below(in, 7), typed = fuzz_below(in, 2);
  int wrong = 0;
  for (uint32_t i = 0; i < batch; i++) total += lens[i] = fuzz_below(in, 13);
  for (uint32_t i = 0; i < total; i++) {
    ids[i] = fuzz_below(in, 32) ? (int32_t)fuzz_below(in, TINY_VOCAB) : (int32_t)(fuzz_u16(in) << 16);
    types[i] = fuzz_below(in, 32) ? (int32_t)fuzz_below(in, 2) : -1;
    wrong |= (uint32_t)ids[i] >= TINY_VOCAB;
  }
  quern_session_get_stats(x->s, &before);
  const quern_status s = quern_encode(x->s, ids, typed ? types : NULL, lens, batch, &view);
  quern_session_get_stats(x->s, &after);
  session_said(x->s, s);
  FUZZ_NEED(s == QUERN_OK ? view.data && view.rows == total && !wrong : !view.data);
  FUZZ_NEED(s == QUERN_OK ? after.tokens == before.tokens + total : after.tokens == before.tokens);
  for (uint64_t i = 0; i < view.rows * view.cols; i++) FUZZ_NEED(view.data[i] - view.data[i] == 0); /* finite */
}

/* What the mistakes of a caller get: a status, nothing else. */
static void misuse(world *w) {
  fuzz_input *in = &w->in;
  const slot_context *x = &w->context[fuzz_below(in, SLOTS)];
  const slot_model *m = &w->model[fuzz_below(in, SLOTS)];
  const slot_session *y = &w->session[fuzz_below(in, SLOTS)];
  quern_model *none = NULL;
  quern_session *no_session = NULL;
  quern_tensor_view view;
  size_t n;
  float f[4];
  FUZZ_NEED(quern_context_create(NULL, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_model_open_fd(&none, x->c, -1, NULL) != QUERN_OK && !none);
  FUZZ_NEED(quern_model_open(&none, x->c, NULL, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_model_open(&none, x->c, "/", NULL) != QUERN_OK && !none);
  FUZZ_NEED(quern_model_open_memory(&none, x->c, fuzz_models[0].data + 1, 64, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_quantize_file(x->c, "/dev/null", "/dev/null", NULL, NULL) != QUERN_OK);
  FUZZ_NEED(quern_session_create(NULL, m->m, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_session_create(&no_session, NULL, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_session_bytes(m->m, NULL, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_tokenize(m->m, NULL, 3, 0, NULL, 0, &n) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_tokenize(m->m, "a", 1, 0, NULL, 3, &n) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_encode(y->s, NULL, NULL, NULL, 0, &view) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_embed(y->s, "a", 1, NULL, 4, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_embed(y->s, "a", SIZE_MAX, f, 4, NULL) == QUERN_E_ARGUMENT);
  FUZZ_NEED(quern_classify_batch(y->s, "a", NULL, 1, 0, f, NULL, 4) == QUERN_E_ARGUMENT);
  quern_context_free(NULL), quern_model_free(NULL), quern_session_free(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  world w = {.in = {data, bytes}};
  if (!fuzz_models[0].data) fuzz_make_models();
  for (int i = 0; i < STEPS && w.in.left; i++) {
    const uint32_t op = fuzz_u8(&w.in), at = op / 16 % SLOTS;
    switch (op % 16) {
      case 0:
        open_context(&w, &w.context[at]);
        break;
      case 1:
        work_on_answers(&w, &w.session[at]);
        break;
      case 2:
      case 3:
        open_model(&w, &w.model[at]);
        break;
      case 4:
      case 5:
        open_session(&w, &w.session[at]);
        break;
      case 6:
        close_context(&w.context[at]);
        break;
      case 7:
        close_model(&w, &w.model[at]);
        break;
      case 8:
        close_session(&w, &w.session[at]);
        break;
      case 9:
        ask_model(&w, &w.model[at]);
        break;
      case 10:
      case 11:
        use_tokens(&w, &w.model[at]);
        break;
      case 12:
        work_on_ids(&w, &w.session[at]);
        break;
      case 13:
        misuse(&w);
        break;
      default:
        work_on_texts(&w, &w.session[at]);
        break;
    }
  }
  for (uint32_t i = 0; i < SLOTS; i++) close_session(&w, &w.session[i]);
  for (uint32_t i = 0; i < SLOTS; i++) close_model(&w, &w.model[i]);
  for (uint32_t i = 0; i < SLOTS; i++) close_context(&w.context[i]);
  for (uint32_t i = 0; i < SLOTS; i++) FUZZ_NEED(!w.context[i].c);
  return 0;
}
