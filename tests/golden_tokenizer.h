/* golden_tokenizer.h - what tests of tokenizers that are made from a tokenizer.json share: a tokenizer of a golden variant, its ids, spans
 * and texts against the golden ones, damaged sections, failing allocations. Included behind a header of golden values
 * (golden_variants, golden_texts, golden_long); before it a test says
 *
 *   ROWS           of the embedding table
 *   WINDOW         characters of a word that are held at once
 *   HEADER_BYTES   of the section's header
 *
 * and it defines variant_json and variant_kind. Tests only; one thread. */
#ifndef QN_GOLDEN_TOKENIZER_H
#define QN_GOLDEN_TOKENIZER_H
#include <stdlib.h>

#include "base/utf8.h"
#include "damage_bytes.h"
#include "faulty_alloc.h"
#include "test.h"
#include "text/tokenizer.h"

#define VARIANTS (sizeof golden_variants / sizeof golden_variants[0])
#define TEXTS (sizeof golden_texts / sizeof golden_texts[0])
#define LONGS (sizeof golden_long / sizeof golden_long[0])

/* Writes the tokenizer.json of a variant into json; returns its bytes. */
static size_t variant_json(size_t v);
/* As qn_tokenizer_name says. */
static const char *variant_kind(size_t v);

typedef struct made {
  qn_env env;
  qn_buffer section;
  qn_tokenizer t;
} made;

static char json[65536];

static inline quern_status build(qn_env *env, qn_buffer *section, size_t n) {
  qn_json j = {0};
  quern_status s = qn_json_parse(&j, env, "tokenizer.json", json, n);
  if (!s) s = qn_tokenizer_build(env, &j, NULL, 0, NULL, ROWS, section);
  qn_json_free(env, &j);
  return s;
}

static inline quern_status make_json(made *m, size_t n) {
  memset(m, 0, sizeof *m);
  qn_env_init(&m->env, NULL, NULL, NULL, 0);
  const quern_status s = n < sizeof json ? build(&m->env, &m->section, n) : QUERN_E_CAPACITY;
  return s ? s : qn_tokenizer_open(&m->t, &m->env, m->section.data, m->section.bytes);
}

static inline void make(made *m, size_t v) {
  if (!make_json(m, variant_json(v))) return;
  printf("  %s: %s\n", golden_variants[v].name, m->env.error.text); /* nothing can be tested without it */
  exit(1);
}

static inline void unmake(made *m) { qn_buffer_free(&m->env, &m->section); }

/* Spans change no id, lie within the text and follow one another. */
static inline int same_with_spans(const made *m, golden_text in, const int32_t *ids, size_t n) {
  int32_t again[256];
  quern_span spans[256];
  qn_ids out = {.ids = again, .spans = spans, .cap = 256};
  if (qn_tokenizer_encode(&m->t, in.p, in.n, 0, &out) != QUERN_OK || out.count != n) return 0;
  if (memcmp(again, ids, n * sizeof *ids) != 0) return 0;
  for (size_t i = 0; i < n; i++)
    if (spans[i].begin > spans[i].end || spans[i].end > in.n || (i && spans[i].begin < spans[i - 1].begin)) return 0;
  return 1;
}

/* Id by id gives the same text as all at once, and whole characters in each step. */
static inline int streams(const made *m, const int32_t *ids, size_t n, const char *want, size_t len) {
  char piece[QN_DETOKENIZER_BYTES];
  qn_detokenizer d;
  size_t at = 0, got = 0;
  qn_detokenizer_begin(&d, &m->t, 1);
  for (size_t i = 0; i <= n; i++) {
    char little[2];
    const qn_detokenizer before = d;
    if (i < n && qn_detokenizer_feed(&d, ids[i], little, 1, &got) == QUERN_E_CAPACITY &&
        memcmp(&before, &d, sizeof d) != 0)
      return 0;
    if (i < n) d = before;
    const quern_status s = i < n ? qn_detokenizer_feed(&d, ids[i], piece, sizeof piece, &got)
                                 : qn_detokenizer_end(&d, piece, sizeof piece, &got);
    if (s != QUERN_OK || piece[got] != 0 || at + got > len || memcmp(want + at, piece, got) != 0) return 0;
    for (size_t k = 0, used = 0; k < got; k += used) {
      uint32_t u = 0;
      const uint32_t cp = qn_utf8_decode((const uint8_t *)piece + k, got - k, &u);
      if (cp == QN_REPLACEMENT && u != 3) return 0;
      used = u;
    }
    at += got;
  }
  return at == len;
}

static inline void ids_are_golden(void) {
  for (size_t v = 0; v < VARIANTS; v++) {
    made m;
    make(&m, v);
    CHECK(strcmp(qn_tokenizer_name(&m.t), variant_kind(v)) == 0);
    for (size_t i = 0; i < TEXTS; i++) {
      int32_t ids[256], types[256];
      char got[2048] = "", text[2048];
      size_t n = 0, len = 0;
      qn_ids out = {.ids = ids, .types = types, .cap = 256};
      CHECK_EQ(qn_tokenizer_encode(&m.t, golden_texts[i].p, golden_texts[i].n, 3, &out), QUERN_OK);
      for (size_t k = 0; k < out.count; k++)
        n += (size_t)snprintf(got + n, sizeof got - n, k ? " %d" : "%d", (int)ids[k]);
      if (strcmp(got, golden_variants[v].ids[i]) != 0) {
        printf("  %s, text %zu gave %s, not %s\n", golden_variants[v].name, i, got, golden_variants[v].ids[i]);
        CHECK(0);
        continue;
      }
      CHECK(out.count == 0 || types[out.count - 1] == 3);
      CHECK(same_with_spans(&m, golden_texts[i], ids, out.count));
      CHECK_EQ(qn_tokenizer_decode(&m.t, ids, out.count, 1, text, sizeof text, &len), QUERN_OK);
      const int holds_nul = memchr(golden_texts[i].p, 0, golden_texts[i].n) != NULL; /* decoded ends there */
      if (!holds_nul && strcmp(text, golden_variants[v].decoded[i]) != 0) {
        printf("  %s, text %zu reads \"%s\", not \"%s\"\n", golden_variants[v].name, i, text,
               golden_variants[v].decoded[i]);
        CHECK(0);
      }
      CHECK(streams(&m, ids, out.count, text, len));
    }
    unmake(&m);
  }
}

static inline uint64_t fnv(uint64_t h, uint64_t v) { return (h ^ v) * 0x100000001B3u; }
#define FNV 0xCBF29CE484222325u

/* Words longer than the window, with spans and without. */
static inline void long_texts(void) {
  for (size_t v = 0; v < VARIANTS; v++) {
    made m;
    make(&m, v);
    for (size_t i = 0; i < LONGS; i++) {
      const size_t unit = strlen(golden_long[i].unit), n = unit * golden_long[i].times, cap = 4 * n + 1;
      char *text = malloc(n);
      int32_t *ids = malloc(cap * sizeof *ids);
      quern_span *spans = malloc(cap * sizeof *spans);
      for (size_t k = 0; k < golden_long[i].times; k++) memcpy(text + k * unit, golden_long[i].unit, unit);
      for (int traced = 0; traced < 2; traced++) {
        qn_ids out = {.ids = ids, .cap = cap, .spans = traced ? spans : NULL};
        CHECK_EQ(qn_tokenizer_encode(&m.t, text, n, 0, &out), QUERN_OK);
        uint64_t h = FNV;
        for (size_t k = 0; k < out.count && k < out.cap; k++) h = fnv(h, (uint64_t)ids[k]);
        CHECK_EQ(out.count, golden_variants[v].count[i]);
        CHECK(h == golden_variants[v].hash[i]);
      }
      free(spans), free(ids), free(text);
    }
    unmake(&m);
  }
}

/* Encodes and decodes what it can; ids must be below vocab whatever the section holds. */
static inline void exercise(const qn_tokenizer *t) {
  static char text[3 * WINDOW];
  int32_t ids[256];
  char buf[64];
  size_t len;
  for (size_t i = 0; i < TEXTS; i++) {
    quern_span spans[256];
    qn_ids out = {.ids = ids, .cap = 256, .spans = i % 2 ? spans : NULL};
    qn_tokenizer_encode(t, golden_texts[i].p, golden_texts[i].n, 0, &out);
    for (size_t k = 0; k < out.count && k < out.cap; k++) CHECK(ids[k] >= 0 && (uint32_t)ids[k] < t->vocab);
  }
  memset(text, 'a', sizeof text);
  qn_ids out = {.ids = ids, .cap = 256};
  qn_tokenizer_encode(t, text, sizeof text, 0, &out);
  for (int32_t i = 0; i < 100; i++) ids[i] = i;
  qn_tokenizer_decode(t, ids, 100, 1, buf, sizeof buf, &len);
}

static inline void damaged_sections(void) {
  for (size_t v = 0; v < VARIANTS; v++) {
    made m;
    qn_tokenizer t;
    make(&m, v);
    const size_t n = m.section.bytes;
    uint8_t *copy = aligned_alloc(64, (n + 127) & ~(size_t)63);
    memcpy(copy, m.section.data, n);
    for (size_t cut = 0; cut < n; cut += cut < 200 ? 1 : 61)
      CHECK(qn_tokenizer_open(&t, &m.env, copy, cut) == QUERN_E_FORMAT);
    uint64_t seed = 88172645463325252u + v;
    int opened = 0;
    for (int round = 0; round < 400; round++) {
      memcpy(copy, m.section.data, n);
      damage_bytes(copy, round % 8 == 0 ? HEADER_BYTES : n, 1 + round % 32, &seed);
      if (qn_tokenizer_open(&t, &m.env, copy, n) != QUERN_OK) continue;
      opened++;
      exercise(&t);
    }
    CHECK(opened > 100);
    free(copy);
    unmake(&m);
  }
}

/* Of faulty_each: builds from json; arg: its bytes. */
static inline quern_status attempt(const quern_allocator *alloc, void *arg) {
  qn_env env;
  qn_buffer section = {0};
  qn_env_init(&env, alloc, NULL, NULL, 0);
  const quern_status status = build(&env, &section, *(const size_t *)arg);
  qn_buffer_free(&env, &section);
  return status;
}

/* Of faulty_each: builds from a list that fits rows; arg: golden_list. */
typedef struct golden_list {
  qn_token_list list;
  uint32_t rows;
} golden_list;

static inline quern_status attempt_list(const quern_allocator *alloc, void *arg) {
  qn_env env;
  qn_buffer section = {0};
  const golden_list *l = arg;
  qn_env_init(&env, alloc, NULL, NULL, 0);
  const quern_status status = qn_tokenizer_build_list(&env, &l->list, l->rows, &section);
  qn_buffer_free(&env, &section);
  return status;
}
#endif
