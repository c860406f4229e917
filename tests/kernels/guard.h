/* guard.h - what the kernel checker stands on: random numbers that depend on a case's seed alone (or on bytes given before
 * it), buffers between inaccessible pages, nasty values, and comparisons. Single-threaded; everything is reset by
 * case_begin. */
#ifndef GUARD_H
#define GUARD_H
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "kernels/kernels.h"

/* ---- random numbers ---- */
static uint64_t rng_state;
/* Draws that are decided, eight bytes each: a fuzzer's; the generator goes on behind them. */
static const uint8_t *rng_given;
static size_t rng_left;
static uint64_t rng(void) { /* splitmix64 */
  if (rng_left) {
    uint64_t x = 0;
    const size_t n = rng_left < sizeof x ? rng_left : sizeof x;
    memcpy(&x, rng_given, n);
    rng_given += n, rng_left -= n;
    return x;
  }
  uint64_t z = (rng_state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}
static size_t below(size_t n) { return n ? (size_t)(rng() >> 11) % n : 0; }
static float uniform(void) { return (float)(int32_t)(rng() >> 32) * 0x1p-31f; } /* -1 ... 1 */
/* uniform * 2^(least ... least + span - 1), drawn in this order. */
static float scaled(int least, size_t span) {
  float x = uniform();
  return ldexpf(x, least + (int)below(span));
}
#define PICK(...) (((const size_t[]){__VA_ARGS__})[below(sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))])

/* ---- buffers ---- */
/* A slot is a fixed mapping with an inaccessible page on both sides. A buffer touches its end, or its start; what lies
   around it in the slot is filled with a pattern that must survive. */
#define SLOTS 64
#define SLOT_BYTES ((size_t)3 << 20)
#define MARGIN 256u

typedef struct slot {
  uint8_t *map, *p; /* map: SLOT_BYTES accessible */
  size_t bytes;
} slot;
static slot slots[SLOTS];
static size_t slots_used;
static char fault_text[512]; /* written by the signal handler */

static void on_fault(int sig) {
  static const char *const names[] = {"signal", "illegal instruction", "bus error", "segmentation fault"};
  const char *name = names[sig == SIGILL ? 1 : sig == SIGBUS ? 2 : sig == SIGSEGV ? 3 : 0];
  if (write(1, "FAULT ", 6) < 0 || write(1, name, strlen(name)) < 0 || write(1, fault_text, strlen(fault_text)) < 0)
    _exit(2);
  _exit(1);
}
/* The slots' memory; faults end the process as the system likes. */
static int guard_map(void) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (size_t i = 0; i < SLOTS; i++) {
    uint8_t *m = mmap(NULL, SLOT_BYTES + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED || mprotect(m + page, SLOT_BYTES, PROT_READ | PROT_WRITE)) return 0;
    slots[i].map = m + page;
  }
  return 1;
}
/* Makes faults print fault_text. */
static inline void guard_signals(void) {
  signal(SIGSEGV, on_fault);
  signal(SIGBUS, on_fault);
  signal(SIGILL, on_fault);
}

static void margins(const slot *s, uint8_t **lo, size_t *lo_n, uint8_t **hi, size_t *hi_n) {
  size_t before = (size_t)(s->p - s->map), after = SLOT_BYTES - before - s->bytes;
  *lo_n = before < MARGIN ? before : MARGIN;
  *lo = s->p - *lo_n;
  *hi_n = after < MARGIN ? after : MARGIN;
  *hi = s->p + s->bytes;
}
/* A buffer of `bytes`, aligned to `align` and often to no more; content undefined. */
static void *buffer(size_t bytes, size_t align) {
  if (slots_used == SLOTS || bytes + 64 > SLOT_BYTES) {
    printf("checker: buffer too large\n");
    exit(2);
  }
  slot *s = &slots[slots_used++];
  size_t at = below(3) ? SLOT_BYTES - bytes : below(2) * align * below(64 / align + 1);
  s->p = s->map + at / align * align;
  s->bytes = bytes;
  uint8_t *lo, *hi;
  size_t lo_n, hi_n;
  margins(s, &lo, &lo_n, &hi, &hi_n);
  memset(lo, 0xc5, lo_n);
  memset(hi, 0xc5, hi_n);
  return s->p;
}
static int margins_whole(void) {
  for (size_t i = 0; i < slots_used; i++) {
    uint8_t *lo, *hi;
    size_t lo_n, hi_n;
    margins(&slots[i], &lo, &lo_n, &hi, &hi_n);
    for (size_t j = 0; j < lo_n; j++)
      if (lo[j] != 0xc5) return 0;
    for (size_t j = 0; j < hi_n; j++)
      if (hi[j] != 0xc5) return 0;
  }
  return 1;
}
/* Two buffers with the same pattern in them: outputs of the reference and of the set under test. */
typedef struct pair {
  void *ref, *got;
  size_t bytes;
} pair;
static pair pairs[SLOTS];
static size_t pairs_used;
static pair outputs(size_t bytes, size_t align) {
  pair o = {buffer(bytes, align), buffer(bytes, align), bytes};
  pairs[pairs_used++] = o;
  uint64_t x = 0;
  for (size_t i = 0; i < bytes; i++, x >>= 8) {
    if (i % 8 == 0) x = rng() | 1;
    ((uint8_t *)o.ref)[i] = (uint8_t)x;
  }
  if (bytes) memcpy(o.got, o.ref, bytes);
  return o;
}
static pair outputs_f32(size_t n) {
  pair o = outputs(n * sizeof(float), sizeof(float));
  for (size_t i = 0; i < n; i++) ((float *)o.ref)[i] = (float)(int32_t)(uint32_t)rng();
  if (n) memcpy(o.got, o.ref, o.bytes);
  return o;
}

/* Mixes what the reference put out in this case into h; all NaN count as one. */
static inline uint64_t hash_outputs(uint64_t h) {
  for (size_t i = 0; i < pairs_used; i++)
    for (size_t at = 0; at < pairs[i].bytes; at += 4) {
      uint32_t u = 0;
      memcpy(&u, (uint8_t *)pairs[i].ref + at, pairs[i].bytes - at < 4 ? pairs[i].bytes - at : 4);
      if ((u & 0x7fffffffu) > 0x7f800000u) u = 0x7fc00000u;
      h = (h ^ u) * 0x9e3779b97f4a7c15u;
      h ^= h >> 32;
    }
  return h;
}

/* ---- failures ---- */
static char fail_text[256];
/* Notes the first failure of a case; returns 0, so that a test can end with it. */
__attribute__((format(printf, 1, 2))) static int failed(const char *fmt, ...) {
  if (!fail_text[0]) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(fail_text, sizeof fail_text, fmt, ap);
    va_end(ap);
  }
  return 0;
}
static void case_begin(uint64_t seed) {
  rng_state = seed;
  rng_left = 0;
  slots_used = 0;
  pairs_used = 0;
  fail_text[0] = 0;
}

static int same_bytes(const char *what, pair o) {
  for (size_t i = 0; i < o.bytes; i++)
    if (((uint8_t *)o.ref)[i] != ((uint8_t *)o.got)[i])
      return failed("%s: byte %zu of %zu is %d, not %d", what, i, o.bytes, ((uint8_t *)o.got)[i],
                    ((uint8_t *)o.ref)[i]);
  return 1;
}
/* Which NaN an operation gives is not defined; everything else is compared by its bits. */
static int same_floats(const char *what, pair o) {
  for (size_t i = 0; i < o.bytes / 4; i++) {
    float a = ((float *)o.ref)[i], b = ((float *)o.got)[i];
    if (memcmp(&a, &b, 4) && !(isnan(a) && isnan(b)))
      return failed("%s: element %zu of %zu is %a, not %a", what, i, o.bytes / 4, (double)b, (double)a);
  }
  return 1;
}
static inline int same_value(const char *what, double got, double want, double error) {
  return fabs(got - want) <= error
             ? 1
             : failed("%s: %.9g, not %.9g (error %.3g, at most %.3g)", what, got, want, fabs(got - want), error);
}
/* [rows, ld] f32 of which a kernel may write the first n of each row: the rest is marked, and must stay as it is. */
static const uint32_t gap_mark = 0xc5c5c5c5u;
static pair outputs_rows(size_t rows, size_t ld, size_t n) {
  pair o = outputs_f32(rows ? (rows - 1) * ld + n : 0);
  for (size_t i = 0; i < o.bytes / 4; i++)
    if (i % ld >= n) memcpy((float *)o.ref + i, &gap_mark, 4), memcpy((float *)o.got + i, &gap_mark, 4);
  return o;
}
static int same_rows(const char *what, pair o, size_t ld, size_t n) {
  for (size_t i = 0; i < o.bytes / 4; i++)
    if (i % ld >= n && memcmp((float *)o.ref + i, &gap_mark, 4))
      return failed("%s: the reference wrote between rows, at element %zu", what, i);
  return same_floats(what, o);
}
static int same_count(const char *what, size_t ref, size_t got) {
  return ref == got ? 1 : failed("%s: returns %zu, not %zu", what, got, ref);
}

/* ---- values ---- */
enum { UNIFORM, WIDE, ZEROS, DENORMAL, TINY, HALVES, CALM_KINDS, MIN = CALM_KINDS, MAX, ANY, HAS_NAN, HAS_INF, KINDS };
static float any_float(void) { /* any finite bit pattern */
  uint32_t u = (uint32_t)rng();
  if ((u & 0x7f800000u) == 0x7f800000u) u ^= 0x40000000u;
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}
static void fill(float *p, size_t n, size_t kind) {
  for (size_t i = 0; i < n; i++) switch (kind) {
      case WIDE:
        p[i] = scaled(-20, 40);
        break;
      case ZEROS:
        p[i] = below(2) ? 0.0f : -0.0f;
        break;
      case DENORMAL:
        p[i] = scaled(-149, 24);
        break;
      case TINY:
        p[i] = scaled(-100, 2);
        break;
      case HALVES:
        p[i] = (float)((int)below(509) - 254) * 0.5f;
        break;
      case MIN:
        p[i] = -FLT_MAX;
        break;
      case MAX:
        p[i] = FLT_MAX;
        break;
      case ANY:
        p[i] = any_float();
        break;
      default:
        p[i] = uniform() * 4.0f;
        break;
    }
  if (kind == HALVES && n) p[below(n)] = 127.0f;
  if (kind == HAS_NAN && n) p[below(n)] = NAN;
  if (kind == HAS_INF && n) p[below(n)] = below(2) ? INFINITY : -INFINITY;
}
/* [rows, ld] with rows of `d` values, the last row ending the buffer; each row of a kind of its own. Between rows: NaN.
 */
static float *rows_of(size_t rows, size_t ld, size_t d, size_t kinds) {
  size_t n = rows ? (rows - 1) * ld + d : 0;
  float *p = buffer(n * sizeof(float), sizeof(float));
  for (size_t i = 0; i < n; i++) p[i] = NAN;
  size_t one = below(2) ? below(kinds) : kinds;
  for (size_t r = 0; r < rows; r++) fill(p + r * ld, d, one < kinds ? one : below(3) ? UNIFORM : below(kinds));
  return p;
}
static float *vector_of(size_t n, size_t kinds) { return rows_of(n ? 1 : 0, n, n, kinds); }
/* Positive scales. */
static float *scales_of(size_t n, int wide) {
  float *p = buffer(n * sizeof(float), sizeof(float));
  for (size_t i = 0; i < n; i++) p[i] = wide && below(4) == 0 ? ldexpf(1.0f, (int)below(200) - 100) : fabsf(uniform());
  return p;
}
static size_t row_size(void) { /* widths around everything a kernel may unroll by */
  return below(3) ? 1 + below(160) : PICK(1, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 384);
}
/* Ascending cut points of 0 ... n, at multiples of `step`: cut[0] = 0, ..., cut[k] = n; returns k >= 1. */
static size_t cuts(size_t n, size_t step, size_t cut[8]) {
  size_t k = 0;
  cut[0] = 0;
  for (size_t left = below(2) ? 0 : below(5); left; left--) {
    size_t c = below(n + 1) / step * step;
    if (c > cut[k]) cut[++k] = c;
  }
  cut[++k] = n;
  return k;
}
#endif
