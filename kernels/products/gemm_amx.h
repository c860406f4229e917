/* gemm_amx.h - the 8-bit product (kernels.h: qk_gemm_q8) over AMX tiles. Over lanes and the vocabulary of kernels/amx/tiles_amx.h;
 * a set also names QK_FEW_ROWS, the product that takes what is left when rows are too few for tiles.
 *
 * A group is four tiles of sums, 32 rows x 2 panels or 16 rows x 4: four chains of products cover their latency. A strip
 * of 32 rows stays in the L1 cache, in parts along K where it is too long for that, while a block of panels passes; the block
 * stays in L2 while all strips pass it, and the next block is fetched meanwhile. Nothing asks lines into L1: tiles that come
 * from L2 multiply at 0.95 of those in registers as they are, and the requests took a third of the time. Weights are loaded as
 * data that passes, so that the strip's codes stay in L1: a seventh at K = 1,536. Sums of a group go to L1, and their epilogue follows at once:
 * among the products of the next group, in one piece or in slices, it took as long (docs/KERNELS.md). */
#ifndef QK_PRODUCTS_GEMM_AMX_H
#define QK_PRODUCTS_GEMM_AMX_H
#include "kernels/products/amx_config.h"
#include "kernels/products/finish_q8.h"

/* Steps are of 64 channels: a tile. */
#define QK_AMX_PART 24u           /* steps of a part: 48 KiB of codes */
#define QK_AMX_BLOCK (128u << 10) /* bytes of a block of panels, a fraction of L2 */
#define QK_AMX_FEW 4u             /* fewer rows are left to QK_FEW_ROWS: tiles take as long for one row as for 16 */
#define QK_AMX_STRIP (2 * QK_AMX_ROWS)
#define QK_AMX_STEP_BYTES (QK_AMX_ROWS * QK_AMX_BYTES) /* of a panel */
#define QK_AMX_UNDER_WAY 4u                            /* groups at once, when K has parts */
#define QK_AMX_LINE 64u

/* A product on its way. */
typedef struct qk_amx_gemm {
  const qk_gemm_q8 *op;
  size_t panel_bytes, steps;
  const uint8_t *soon, *soon_end; /* what is left of the next block to fetch */
  size_t soon_lines;              /* of them, at each step */
  int32_t start[2][QK_AMX_ROWS * QK_PANEL] __attribute__((aligned(64)));
  int32_t sums[QK_AMX_UNDER_WAY][QK_AMX_STRIP * QK_TILE_WIDTH] __attribute__((aligned(64)));
} qk_amx_gemm;

/* A part of K of a group. */
typedef struct qk_amx_job {
  const int8_t *a;        /* of the first row */
  const uint8_t *w;       /* of the first panel */
  const int32_t *from[4]; /* what the tiles begin with */
  size_t from_bytes, steps;
  int32_t *sums;
} qk_amx_job;

/* Lines come in pairs. */
QK_INLINE void qk_amx_fetch_soon(qk_amx_gemm *g) {
  for (size_t i = g->soon_lines; i > 0 && g->soon < g->soon_end; i--, g->soon += 2 * QK_AMX_LINE)
    __builtin_prefetch(g->soon, 0, 2);
}

/* Where the sums of tile t lie: rows of QK_TILE_WIDTH. */
QK_INLINE size_t qk_amx_sums_at(size_t t, const size_t halves) {
  return halves > 1 ? t / 2 * QK_AMX_ROWS * QK_TILE_WIDTH + t % 2 * QK_PANEL : t * QK_PANEL;
}

QK_INLINE void qk_amx_run(qk_amx_gemm *g, const qk_amx_job *j, const int halves, const int panels) {
  const size_t lda = g->op->a.ld, panel_bytes = g->panel_bytes, steps = j->steps, from_bytes = j->from_bytes;
  const int8_t *a = j->a;
  const uint8_t *w = j->w;
  AMX_LOAD(0, j->from[0], from_bytes);
  if (panels > 1) AMX_LOAD(1, j->from[1], from_bytes);
  if (halves > 1 || panels > 2) AMX_LOAD(2, j->from[2], from_bytes);
  if (halves > 1 ? panels > 1 : panels > 3) AMX_LOAD(3, j->from[3], from_bytes);
  for (size_t s = 0; s < steps; s++) {
    AMX_LOAD(4, a, lda);
    AMX_LOAD_PASSING(6, w, QK_AMX_LINE);
    AMX_DOT(0, 4, 6);
    if (panels > 1) {
      AMX_LOAD_PASSING(7, w + panel_bytes, QK_AMX_LINE);
      AMX_DOT(1, 4, 7);
    }
    if (halves > 1) {
      AMX_LOAD(5, a + QK_AMX_ROWS * lda, lda);
      AMX_DOT(2, 5, 6);
      if (panels > 1) AMX_DOT(3, 5, 7);
    } else if (panels > 2) {
      AMX_LOAD_PASSING(6, w + 2 * panel_bytes, QK_AMX_LINE);
      AMX_DOT(2, 4, 6);
      if (panels > 3) {
        AMX_LOAD_PASSING(7, w + 3 * panel_bytes, QK_AMX_LINE);
        AMX_DOT(3, 4, 7);
      }
    }
    qk_amx_fetch_soon(g);
    a += QK_AMX_BYTES;
    w += QK_AMX_STEP_BYTES;
  }
  const size_t sums_bytes = QK_TILE_WIDTH * sizeof(int32_t);
  int32_t *second = j->sums + qk_amx_sums_at(2, (size_t)halves);
  AMX_STORE(0, j->sums, sums_bytes);
  if (panels > 1) AMX_STORE(1, j->sums + 16, sums_bytes);
  if (halves > 1 || panels > 2) AMX_STORE(2, second, sums_bytes);
  if (halves > 1 ? panels > 1 : panels > 3) AMX_STORE(3, second + 16, sums_bytes);
}

typedef void qk_amx_fn(qk_amx_gemm *g, const qk_amx_job *j);
#define QK_AMX_DEFINE(h, p)                                                                                            \
  static __attribute__((noinline)) void qk_amx_##h##x##p(qk_amx_gemm *g, const qk_amx_job *j) {                        \
    qk_amx_run(g, j, h, p);                                                                                            \
  }
QK_AMX_DEFINE(1, 1)
QK_AMX_DEFINE(1, 2)
QK_AMX_DEFINE(1, 3)
QK_AMX_DEFINE(1, 4)
QK_AMX_DEFINE(2, 1)
QK_AMX_DEFINE(2, 2)
static qk_amx_fn *const qk_amx_groups[2][4] = {{qk_amx_1x1, qk_amx_1x2, qk_amx_1x3, qk_amx_1x4},
                                               {qk_amx_2x1, qk_amx_2x2}};

/* Tiles 0 and 1, and 2 and 3, are sums of 16 rows each, 4 and 5 their codes; up to 16 rows share out the four of them. */
static inline qk_amx_config qk_amx_strip_config(size_t rows) {
  qk_amx_config c = qk_amx_whole();
  const int halves = rows > QK_AMX_ROWS;
  const uint8_t first = (uint8_t)(halves ? QK_AMX_ROWS : rows), second = (uint8_t)(halves ? rows - QK_AMX_ROWS : rows);
  c.rows[0] = c.rows[1] = c.rows[4] = first;
  c.rows[2] = c.rows[3] = c.rows[5] = second;
  return c;
}

/* `rows` rows, at most 32, against panels p0 ... p1 - 1. */
static void qk_amx_strip(qk_amx_gemm *g, size_t m, size_t rows, size_t p0, size_t p1) {
  const qk_gemm_q8 *op = g->op;
  const size_t halves = rows > QK_AMX_ROWS ? 2 : 1, unit = 4 / halves;
  const size_t parts = (g->steps + QK_AMX_PART - 1) / QK_AMX_PART;
  const size_t span = parts > 1 ? QK_AMX_UNDER_WAY * unit : p1 - p0;
  for (size_t r = 0; r < rows; r++)
    vi_store(g->start[r / QK_AMX_ROWS] + r % QK_AMX_ROWS * QK_PANEL, vi_set1(op->a.start[m + r]));
  for (size_t p = p0; p < p1; p += span) {
    const size_t end = p1 - p < span ? p1 : p + span;
    for (size_t part = 0, s = 0; part < parts; part++) {
      qk_amx_job j = {.a = op->a.codes + m * op->a.ld + s * QK_AMX_BYTES,
                      .steps = qk_tile_share(g->steps, parts, part)};
      for (size_t q = p; q < end; q += unit) {
        const size_t panels = end - q < unit ? end - q : unit;
        j.sums = g->sums[parts > 1 ? (q - p) / unit : 0];
        j.w = op->w + q * g->panel_bytes + s * QK_AMX_STEP_BYTES;
        for (size_t t = 0; t < 4; t++)
          j.from[t] = part ? j.sums + qk_amx_sums_at(t, halves) : g->start[halves > 1 ? t / 2 : 0];
        j.from_bytes = (part ? QK_TILE_WIDTH : QK_PANEL) * sizeof(int32_t);
        qk_amx_groups[halves - 1][panels - 1](g, &j);
        if (part + 1 == parts) QK_FINISH_Q8(op, j.sums, QK_TILE_WIDTH, m, rows, q, panels, 0);
      }
      s += j.steps;
    }
  }
}

/* Whole strips of rows m0 ... m1 - 1, block by block. */
static void qk_amx_blocks(qk_amx_gemm *g, size_t m0, size_t m1, size_t p0, size_t p1) {
  const size_t fit = QK_AMX_BLOCK / g->panel_bytes / 8 * 8, panels = fit ? fit : 8;
  for (size_t p = p0; p < p1; p += panels) {
    const size_t end = p1 - p < panels ? p1 : p + panels, after = p1 - end < panels ? p1 : end + panels;
    const size_t steps = (m1 - m0) / QK_AMX_STRIP * ((end - p + 1) / 2) * g->steps;
    const size_t lines = (after - end) * g->panel_bytes / (2 * QK_AMX_LINE);
    g->soon = g->op->w + end * g->panel_bytes;
    g->soon_end = g->op->w + after * g->panel_bytes;
    g->soon_lines = (lines + steps - 1) / steps;
    for (size_t m = m0; m < m1; m += QK_AMX_STRIP) qk_amx_strip(g, m, QK_AMX_STRIP, p, end);
  }
}

static void qk_gemm_q8_over_amx(const qk_gemm_q8 *op, size_t m0, size_t m1, size_t p0, size_t p1) {
  if (op->a.low || op->a.parts.count) { /* planes and parts: they are not tiles' work yet */
    QK_FEW_ROWS(op, m0, m1, p0, p1);
    return;
  }
  const size_t rest = (m1 - m0) % QK_AMX_STRIP, few = rest < QK_AMX_FEW ? rest : 0, whole = m1 - rest;
  if (p0 < p1 && m1 - m0 > few) {
    qk_amx_gemm g;
    g.op = op;
    g.panel_bytes = QK_PANEL * qk_k8(op->k);
    g.steps = qk_k8(op->k) / QK_AMX_BYTES;
    g.soon = g.soon_end = NULL;
    g.soon_lines = 0;
    if (whole > m0) {
      const qk_amx_config c = qk_amx_whole();
      AMX_CONFIGURE(&c);
      qk_amx_blocks(&g, m0, whole, p0, p1);
    }
    if (rest > few) {
      const qk_amx_config c = qk_amx_strip_config(rest);
      AMX_CONFIGURE(&c);
      qk_amx_strip(&g, whole, rest, p0, p1);
    }
    AMX_RELEASE();
  }
  if (few) QK_FEW_ROWS(op, m1 - few, m1, p0, p1);
}
#endif
