/* check_cache.h - keys and values in blocks, attention over them, and windows, of a set against the reference; and of the reference
 * against softmax in double. */
#ifndef CHECK_CACHE_H
#define CHECK_CACHE_H
#include "tests/kernels/check_decoder.h"

#define CACHE_BLOCKS 8u /* at most */

static size_t cache_head(void) {
  return below(3) ? PICK(64, 64, 32, 80, 96, 128) : PICK(1, 5, 16, 17, 20, 33, 48, 256);
}
static uint32_t cache_window(void) {
  return (uint32_t)(below(2) ? 0 : PICK(1, 2, 16, 63, 64, 65, 100, 130, 200, UINT32_MAX));
}
static size_t cache_position(void) { return below(2) ? PICK(0, 1, 62, 63, 64, 65, 127, 128, 129) : below(230); }

/* Blocks of keys and values, for both. */
typedef struct cache_pair {
  pair block[CACHE_BLOCKS];
  uint8_t *ref[CACHE_BLOCKS], *got[CACHE_BLOCKS];
  size_t blocks;
} cache_pair;
/* Clear ones, in which other tokens may have been: any codes and finite scales. */
static void cache_blocks(const qk_table *ref, cache_pair *c, size_t tokens, size_t h, size_t bits) {
  const size_t bytes = qk_cache_bytes(h, bits), used = below(2);
  const size_t codes = bits == 4 ? QK_BLOCK * (qk_round_up(h, 16) + 12) : bytes; /* steps stay */
  c->blocks = (tokens + QK_BLOCK - 1) / QK_BLOCK;
  for (size_t b = 0; b < c->blocks; b++) {
    c->block[b] = outputs(bytes, 64);
    c->ref[b] = c->block[b].ref, c->got[b] = c->block[b].got;
    ref->cache_clear(c->ref[b], (uint32_t)h, (uint32_t)bits);
    for (size_t i = 0; used && i < codes / 4; i++) {
      const uint32_t word = bits == 32 ? 0x3f800000u | (uint32_t)below(1 << 23)
                                       : 0x40000000u | (uint32_t)(rng() & 0x1fffffff);
      memcpy(c->ref[b] + 4 * i, &word, 4);
    }
    memcpy(c->got[b], c->ref[b], bytes);
  }
}

static int check_cache_append(const qk_table *ref, const qk_table *t) {
  const size_t h = cache_head(), bits = PICK(8, 8, 4, 4, 32), position = cache_position(),
               ld = h + below(2) * below(100);
  const size_t rows = below(3) ? below(70) : 1, own = below(2), kinds = below(2) ? CALM_KINDS : KINDS;
  size_t cut[8], bad = 0;
  cache_pair c;
  cache_blocks(ref, &c, position + rows + 1, h, bits);
  for (size_t b = 0; own && b < c.blocks; b++) {
    ref->cache_clear(c.ref[b], (uint32_t)h, (uint32_t)bits);
    t->cache_clear(c.got[b], (uint32_t)h, (uint32_t)bits);
  }
  qk_append a = {.block = c.ref, .k = rows_of(rows, ld, h, kinds), .v = rows_of(rows, ld, h, kinds), .ldx = ld}, b;
  a.h = (uint32_t)h, a.bits = (uint32_t)bits, a.position = (uint32_t)position;
  b = a;
  b.block = c.got;
  const size_t want = ref->cache_append(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->cache_append(&b, cut[i], cut[i + 1]);
  for (size_t i = 0; i < c.blocks; i++)
    if (!(bits == 32 ? same_floats("block", c.block[i]) : same_bytes("block", c.block[i]))) return 0;
  return same_count("cache_append", want, bad);
}

/* Everything that attends, without outputs. many: rows of a prefill. */
static qk_attend_cache attend_of(const qk_table *ref, cache_pair *c, size_t rows, size_t heads, size_t bits) {
  const size_t h = cache_head(), position = cache_position(), tokens = position + rows,
               kinds = below(4) ? 1 + below(CALM_KINDS) : KINDS;
  const size_t own = bits == 32 || kinds != KINDS ? CALM_KINDS : KINDS;
  cache_blocks(ref, c, tokens, h, bits);
  const qk_append append = {.block = c->ref,
                            .k = rows_of(tokens, h, h, own),
                            .v = rows_of(tokens, h, h, own),
                            .ldx = h,
                            .h = (uint32_t)h,
                            .bits = (uint32_t)bits};
  ref->cache_append(&append, 0, tokens);
  for (size_t b = 0; b < c->blocks && kinds == KINDS && bits == 8;
       b++) { /* scales that reach overflow, 0 and the smallest */
    const qk_head_q8 head = qk_cache_head(c->ref[b], h, bits);
    for (size_t j = 0; j < QK_BLOCK; j++) {
      if (below(8) == 0) head.v_scale[j] = ldexpf(1.0f, -149 + (int)below(240));
      if (below(8) == 0) head.k_scale[j] = ldexpf(1.0f, (int)below(240) - 120);
    }
  }
  qk_attend_cache op = {.block = (const uint8_t *const *)c->ref,
                        .keys = (uint32_t)(tokens + below(2) * below(64)),
                        .heads = (uint32_t)heads};
  op.ldq = heads * h + below(2) * below(40);
  op.q = rows_of(rows, op.ldq, heads * h, own);
  op.h = (uint32_t)h, op.bits = (uint32_t)bits, op.position = (uint32_t)position, op.before = cache_window();
  op.fold = 1.442695f / sqrtf((float)h);
  if (below(4) == 0) op.cap = fabsf(scaled(0, 6)) + 0.5f;
  op.ldo = heads * h + below(2) * below(40);
  /* What no row sees need not be there. */
  for (size_t b = 0; b < c->blocks; b++)
    if (qk_span_of(position, op.before, op.keys, 1).first >= (b + 1) * QK_BLOCK) c->ref[b] = NULL;
  return op;
}
static int check_attend_as(const qk_table *ref, const qk_table *t, size_t bits) {
  const size_t heads = 1 + below(9), rows = below(3) ? 1 + below(20) : PICK(1, 1, 16, 64, 65, 200);
  size_t cut[8], bad = 0;
  cache_pair c;
  qk_attend_cache a = attend_of(ref, &c, rows, heads, bits), b = a;
  pair y = outputs_rows(rows, a.ldo, heads * a.h);
  a.out = y.ref, b.out = y.got;
  a.scratch = b.scratch = buffer(qk_attend_scratch(a.h), 64);
  const size_t want = ref->attend_cache(&a, 0, rows);
  for (size_t i = 0, k = cuts(rows, 1, cut); i < k; i++) bad += t->attend_cache(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, a.ldo, heads * a.h) && same_count("attend_cache", want, bad);
}
static int check_attend_cache(const qk_table *ref, const qk_table *t) { return check_attend_as(ref, t, 8); }
static int check_attend_4(const qk_table *ref, const qk_table *t) { return check_attend_as(ref, t, 4); }
static int check_attend_f32(const qk_table *ref, const qk_table *t) { return check_attend_as(ref, t, 32); }

/* Parts of blocks cut anywhere, merged, are what the whole is. */
static int check_attend_part(const qk_table *ref, const qk_table *t) {
  const size_t heads = 1 + below(9), rows = 1 + below(16 / heads), bits = PICK(8, 8, 4, 32);
  size_t cut[8], bad = 0;
  cache_pair c;
  qk_attend_cache a = attend_of(ref, &c, rows, heads, bits), b = a;
  pair y = outputs_rows(rows, a.ldo, heads * a.h);
  a.out = y.ref, b.out = y.got;
  a.scratch = b.scratch = buffer(qk_attend_scratch(a.h), 64);
  const size_t b0 = qk_span_of(a.position, a.before, a.keys, 1).first / QK_BLOCK,
               words = qk_attend_part_words(rows * heads, a.h);
  const size_t blocks = (a.position + rows - 1) / QK_BLOCK + 1 - b0;
  float *parts = buffer(blocks * words * 4, 64);
  const size_t want = ref->attend_cache(&a, 0, rows);
  for (size_t i = 0, k = cuts(blocks, 1, cut); i < k; i++)
    bad = t->attend_part(&b, 0, rows, b0 + cut[i], b0 + cut[i + 1], parts + cut[i] * words);
  t->attend_merge(&b, 0, rows, b0, b0 + blocks, parts);
  return same_rows("out", y, a.ldo, heads * a.h) && same_count("attend_part", want, bad);
}

/* Windows of attention over whole sequences. */
static int check_window(const qk_table *ref, const qk_table *t, size_t floats) {
  size_t n = head_tokens(), h = head_size(), ld = h + below(20), ldo = h + below(2) * below(40), cut[8];
  const uint32_t before = (uint32_t)PICK(1, 2, 17, 40, 63, 64, 65, 90, 128, UINT32_MAX);
  const float *q = rows_of(n, ld, h, CALM_KINDS), *k = rows_of(n, ld, h, CALM_KINDS),
              *v = rows_of(n, ld, h, CALM_KINDS);
  const float *bias = bias_of(n), fold = 1.442695f / sqrtf((float)h);
  pair y = outputs_rows(n, ldo, h);
  head_pair p = head_outputs(n, h);
  const qk_pack_q8 pack = {.head = p.ref, .q = q, .k = k, .v = v, .ldx = ld, .fold = fold};
  ref->pack_q8(&pack, 0, n);
  qk_attention_q8 a = {.head = p.ref, .bias = bias, .ldo = ldo, .before = before}, b = a;
  qk_attention_f32 c = {.q = q, .k = k, .v = v, .ldx = ld, .fold = fold, .bias = bias, .ldo = ldo, .before = before}, d;
  c.n = (uint32_t)n, c.h = (uint32_t)h, d = c;
  a.out = c.out = y.ref, b.out = d.out = y.got;
  if (floats)
    ref->attention_f32(&c, 0, n);
  else
    ref->attention_q8(&a, 0, n);
  for (size_t i = 0, parts = cuts(n, 1, cut); i < parts; i++)
    if (floats)
      t->attention_f32(&d, cut[i], cut[i + 1]);
    else
      t->attention_q8(&b, cut[i], cut[i + 1]);
  return same_rows("out", y, ldo, h);
}
static int check_window_q8(const qk_table *ref, const qk_table *t) { return check_window(ref, t, 0); }
static int check_window_f32(const qk_table *ref, const qk_table *t) { return check_window(ref, t, 1); }

/* ---- the reference ---- */

/* Rows appended one by one, or many at once, are what pack_q8 makes of them. */
static int mean_append(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t n = head_tokens(), h = head_size(), hp = qk_round_up(h, 16);
  float *q = rows_of(n, h, h, 1), *k = rows_of(n, h, h, KINDS), *v = rows_of(n, h, h, KINDS);
  head_pair p = head_outputs(n, h);
  const qk_pack_q8 pack = {.head = p.ref, .q = q, .k = k, .v = v, .ldx = h, .fold = 1.0f};
  const size_t want = t->pack_q8(&pack, 0, n);
  uint8_t *block[CACHE_BLOCKS];
  size_t cut[8], bad = 0;
  for (size_t b = 0; b * QK_BLOCK < n; b++) {
    block[b] = buffer(qk_cache_bytes(h, 8), 64);
    t->cache_clear(block[b], (uint32_t)h, 8);
  }
  const qk_append op = {.block = block, .k = k, .v = v, .ldx = h, .h = (uint32_t)h, .bits = 8};
  if (below(2))
    for (size_t r = 0; r < n; r++) bad += t->cache_append(&op, r, r + 1);
  else
    for (size_t i = 0, c = cuts(n, 1, cut); i < c; i++) bad += t->cache_append(&op, cut[i], cut[i + 1]);
  for (size_t b = 0; b * QK_BLOCK < n; b++) {
    const qk_head_q8 head = qk_cache_head(block[b], h, 8);
    const size_t j0 = b * QK_BLOCK;
    if (memcmp(head.k, p.ref.k + j0 * hp, QK_BLOCK * hp)) return failed("keys of block %zu", b);
    if (memcmp(head.v, p.ref.v + j0 * hp, QK_BLOCK * hp)) return failed("values of block %zu", b);
    if (memcmp(head.k_scale, p.ref.k_scale + j0, 256)) return failed("scales of keys of block %zu", b);
    if (memcmp(head.k_start, p.ref.k_start + j0, 256)) return failed("starts of block %zu", b);
    if (memcmp(head.v_scale, p.ref.v_scale + j0, 256)) return failed("scales of values of block %zu", b);
  }
  return same_count("cache_append", want, bad);
}

/* Attention over a cache against softmax in double. */
static int mean_attend(const qk_table *ref, const qk_table *t) {
  (void)ref;
  const size_t h = cache_head(), heads = 1 + below(3), rows = 1 + below(3), bits = PICK(8, 32, 4);
  const size_t position = cache_position(), n = position + rows, r = below(rows), head = below(heads), i = position + r;
  uint8_t *block[CACHE_BLOCKS];
  float *k = rows_of(n, h, h, 1), *v = rows_of(n, h, h, 1), *q = rows_of(rows, heads * h, heads * h, 1);
  for (size_t b = 0; b * QK_BLOCK < n; b++) {
    block[b] = buffer(qk_cache_bytes(h, bits), 64);
    t->cache_clear(block[b], (uint32_t)h, (uint32_t)bits);
  }
  const qk_append append = {.block = block, .k = k, .v = v, .ldx = h, .h = (uint32_t)h, .bits = (uint32_t)bits};
  t->cache_append(&append, 0, n);
  qk_attend_cache op = {.block = (const uint8_t *const *)block, .q = q, .ldq = heads * h, .ldo = heads * h};
  op.keys = (uint32_t)n, op.heads = (uint32_t)heads, op.h = (uint32_t)h, op.bits = (uint32_t)bits;
  op.position = (uint32_t)position, op.before = cache_window(), op.fold = 1.44269504f / sqrtf((float)h);
  op.cap = below(2) ? 4.0f : 0.0f;
  float *y = op.out = buffer(rows * heads * h * 4, 4);
  op.scratch = buffer(qk_attend_scratch(h), 64);
  t->attend_cache(&op, 0, rows);
  double s[512], max = -1e300, z = 0, size = 0, off = 0;
  for (size_t j = 0; j < n * h; j++) size += (double)v[j] * (double)v[j] / (double)n;
  for (size_t j = 0; j <= i; j++) {
    s[j] = 0;
    for (size_t c = 0; c < h; c++) s[j] += (double)q[(r * heads + head) * h + c] * (double)k[j * h + c];
    s[j] *= (double)op.fold;
    if (op.cap > 0) s[j] = 4 * tanh(s[j] / 4);
    if (op.before && i - j >= op.before) s[j] = -1e300;
    max = fmax(max, s[j]);
  }
  for (size_t j = 0; j <= i; j++) z += s[j] = exp2(s[j] - max);
  for (size_t c = 0; c < h; c++) {
    double want = 0;
    const double got = (double)y[(r * heads + head) * h + c];
    for (size_t j = 0; j <= i; j++) want += s[j] / z * (double)v[j * h + c];
    if (bits == 32 && !same_value("attend_cache of floats", got, want, 2e-4)) return 0;
    off += (got - want) * (got - want);
  }
  return same_value("attend_cache, relative error", sqrt(off / size), 0, bits == 4 ? 0.8 : 0.1);
}
#endif
