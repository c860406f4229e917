/* quant.h - making .qrn files: recipe -> float tensors of a source -> packed tensors -> file. */
#ifndef QN_QUANT_H
#define QN_QUANT_H
#include "base/env.h"
#include "import/import.h"

typedef struct qn_recipe {
  char name[64];
  uint32_t id;              /* QN_RECIPE_* */
  uint32_t weight_bits;     /* 8 or 32 */
  uint32_t activation_bits; /* 8 or 32 */
  uint32_t embedding_bits;  /* 8 or 32 */
  int smooth;               /* smoothing vectors at the inputs of the layers' linear operators (smooth.h) */
  uint32_t split;           /* copies of neurons of each feed-forward block (split.h), at most QN_SPLIT_MOST */
} qn_recipe;
#define QN_SPLIT_MOST 256u

/* A preset's name, or the path of a JSON file (anything with a '/' or ending in .json) of a preset's shape:
   {"name": "...", "weights": {"bits": 8}, "activations": {"bits": 8}, "embeddings": {"bits": 8}}. Members that are
   unknown, and combinations that this version cannot run, are refused by name. */
quern_status qn_recipe_load(qn_recipe *r, qn_env *env, const char *name_or_path);
const char *qn_recipe_preset_name(uint32_t i);       /* NULL past the end */
const char *qn_recipe_preset_json(const char *name); /* NULL: no such preset */
/* The recipe as one line of JSON; returns its length. */
size_t qn_recipe_format(const qn_recipe *r, char *buf, size_t cap);

typedef struct qn_quantize_job {
  const char *src, *dst;
  const char *recipe, *calibration, *report; /* may be NULL */
  uint32_t seed;
  int dry_run;
  uint64_t limit;
  quern_progress_fn *progress;
  void *progress_user;
  qn_buffer *memory; /* not NULL: the file goes here instead of to dst (empty before; the caller's to free) */
} qn_quantize_job;
/* Peak memory: the largest tensor as float and packed; before that, for a recipe that smooths, the float model. A report is written
   before the model is put in place, so that a failing report leaves the old file too. */
quern_status qn_quantize(qn_env *env, const qn_quantize_job *job, quern_quantize_result *result);

/* Packing, one tensor at a time (pack.c); exact definitions in docs/NUMERICS.md.
   Symmetric per row: scale = absmax / 127 (0 for a row whose absmax is below 2^-100), code = rint(w * (127 / absmax)),
   even. */
/* To nearest, ties to even; |x| <= 2^22. */
int32_t qn_pack_nearest(float x);
/* Scale of a row of d weights; *factor: what makes codes of them. */
float qn_pack_row_scale(const float *w, size_t d, float *factor);
/* w: [n, k] f32 -> panels [ceil(n/16)][kp/4][16][4] of code ^ 0x80, kp = k rounded up to 64; scale, sums: [n]. */
void qn_pack_linear_i8(const float *w, uint32_t n, uint32_t k, uint8_t *panels, float *scale, int32_t *sums);
/* w: [n, k] f32 -> panels [ceil(n/16)][k][16] f32, zero padded. */
void qn_pack_linear_f32(const float *w, uint32_t n, uint32_t k, float *panels);
/* w: [rows, d] f32 -> codes [rows, d], scale [rows]. */
void qn_pack_rows_i8(const float *w, uint32_t rows, uint32_t d, int8_t *codes, float *scale);
#endif
