/* quant.h - making .qrn files: recipe -> float tensors of a source -> packed tensors -> file. */
#ifndef QN_QUANT_H
#define QN_QUANT_H
#include "base/env.h"
#include "import/import.h"
#include "model/sites.h"

/* How the range of a static site is estimated from what calibration saw. */
enum {
  QN_RANGE_MINMAX,     /* least and greatest value */
  QN_RANGE_RUNNING,    /* their means over blocks of texts */
  QN_RANGE_PERCENTILE, /* of all values, as far from either end; from here on histograms are read */
  QN_RANGE_MSE,        /* the ends with the least squared error */
  QN_RANGES
};

/* What norms keep out of what they put out (migrate.h): nothing, their gain, or what balances the ranges of channels, more or less.
   AUTO: what changes the outputs least on calibration text. */
enum { QN_MIGRATE_NONE, QN_MIGRATE_ATTENTION, QN_MIGRATE_ALL, QN_MIGRATE_BALANCED, QN_MIGRATE_AUTO, QN_MIGRATES };
#define QN_MIGRATE_BALANCED_MORE QN_MIGRATE_AUTO /* a way to migrate, which no recipe asks for by itself */
#define QN_MIGRATE_WAYS QN_MIGRATES
/* How weights become codes: the nearest; those that change outputs least on calibration text (round.h); the latter where a job has such
   text, else the former. */
enum { QN_ROUNDING_NEAREST, QN_ROUNDING_CALIBRATED, QN_ROUNDING_EITHER, QN_ROUNDINGS };
/* How far ranges are drawn in (clip.h): not; to a quantile of tokens' extremes, one for all sites; then site by site. */
enum { QN_CLIP_MINMAX, QN_CLIP_TOKENWISE, QN_CLIP_FINE, QN_CLIPS };

/* The second rotation of a transform (input_transform.h): none, a matrix, signs and a Hadamard matrix. */
enum { QN_ROTATE2_NONE, QN_ROTATE2_DENSE, QN_ROTATE2_HADAMARD };
/* Ranges of weights of 4 bits with one scale an output channel: those that leave the least squared error; a part of what holds all; the part that
   is learned for each channel and end (learn_clip.h). */
#define QN_ACTIVATION_CLIP_SEARCHED (-1.0)
enum { QN_WEIGHT_CLIP_SEARCHED, QN_WEIGHT_CLIP_PART, QN_WEIGHT_CLIP_LEARNED };

/* What a recipe says of a site; members that it does not mention are as the recipe's activations have them. */
typedef struct qn_site_rule {
  char site[64];      /* a name; each * stands for any characters of a static site's */
  uint32_t bits;      /* 4, 6, 8, 16, 32: float; 0: not said */
  int symmetric;      /* -1: not said */
  uint32_t group;     /* of channels with a scale of their own; 0: one for all */
  uint32_t count;     /* of groups, in the place of their width; 0: not said */
  int uneven;         /* of these: as wide as ranges call for; else all the same. -1: not said */
  int powers;         /* of these: scales are powers of two apart. -1: not said */
  int estimator;      /* QN_RANGE_*; -1: not said */
  double percentile;  /* 0: not said */
  double low, high;   /* the range itself, where low < high */
  double scale, zero; /* scale and zero point themselves, where scale > 0 */
} qn_site_rule;

/* Orders of channels, folded into the tensors (groups.h). */
enum {
  QN_ORDER_NONE,   /* as the model has them */
  QN_ORDER_RANGE,  /* by ascending range, as groups want them: one order for all layers */
  QN_ORDER_LAYERS, /* each layer's own, by its ranges: norms behind attention change it */
  QN_ORDERS
};

typedef struct qn_recipe {
  char name[64];
  uint32_t id; /* QN_RECIPE_* */
  uint32_t
      weight_bits; /* 2, 4, 6, 8 or 32; of static recipes 4, 6 or 8, in bytes, as elsewhere 6. Operators outside of the layers have 8 instead of fewer, and no groups */
  uint32_t weight_group; /* of inputs: 32, 64 or 128; 0: none, one scale for each output channel */
  int weight_min;    /* of 2 and 4 bits: a minimum beside each scale; with steps, of 4 bits, a zero point beside each */
  int weight_steps;  /* of 2 and 4 bits: a group's scale is an integer step times the output channel's */
  int preset;        /* it is a preset as of encoders: of a decoder it becomes another (qn_recipe_of_decoder) */
  uint32_t rounding; /* QN_ROUNDING_*, of 2 and 4 bits */
  uint32_t activation_bits;  /* 8, 6, 4 or 32 */
  uint32_t activation_group; /* of channels with a scale of their own: 32, 64 or 128; 0: one scale a token */
  int activation_outliers; /* of decoders, at inputs with outliers in ever other channels: channels with a scale of their own,
                                symmetric, as above; -1: as elsewhere; 0, not said: QN_OUTLIER_GROUP, or where all inputs have groups theirs */
  int activation_symmetric; /* no zero points at the inputs of the layers' linear operators */
  uint32_t embedding_bits;  /* 2, 4, 8 or 32; of static recipes also 6, in bytes */
  uint32_t embedding_group; /* of channels, of 2 and 4 bits: 16 or 32; else 0 */
  uint32_t head_bits;       /* of the operator that gives tokens: 8, 4, 32; 0: not said */
  uint32_t head_group;      /* as weight_group */
  int head_min, head_steps; /* as weight_min, weight_steps; of 4 bits */
  int smooth;               /* smoothing vectors at the inputs of the layers' linear operators (smooth.h) */
  uint32_t split;           /* copies of neurons of each feed-forward block (split.h), at most QN_SPLIT_MOST */
  uint32_t unfold;          /* the same of neurons that are unfolded (unfold.h), of static recipes; not with split */
  uint32_t estimator;       /* QN_RANGE_*, of static recipes */
  uint32_t order;           /* QN_ORDER_* of the channels of hidden states, of static recipes */
  double percentile;        /* of that estimator */
  int inputs_only;          /* of static recipes: inputs of products alone are rounded (recipe_sites.c) */
  uint32_t migrate, clip;   /* QN_MIGRATE_*, QN_CLIP_* */
  qn_site_rule *rules;      /* [rule_count], the last that fits counts; NULL: none */
  uint32_t rule_count;
  uint32_t rules_room; /* that are allocated */
  /* Inputs of the layers' operators in another basis (input_transform.h), of dynamic recipes: */
  int rotate, permute; /* a first rotation; an order of channels behind it */
  uint32_t rotate2;    /* QN_ROTATE2_* */
  uint32_t
      block; /* channels that are rotated together: 16 to 256, a power of two; less where it does not divide them */
  uint32_t steps;   /* of the search for a rotation (greedy.h) */
  uint32_t restart; /* of these after how many it begins anew; 0: never */
  uint32_t
      budget; /* above 0: transforms are chosen by what they lose, with as many times the work that this one takes (choose_transform.c) */
  int merge;  /* attention's output has a rotation within heads, which is merged into values (input_transform.h) */
  int outlier_row;        /* its channels are chosen as the published code does */
  int transforms;         /* activations are sampled: they are rotated, or smoothed as these are */
  uint32_t alpha;         /* in eighths, of activations' maxima in smoothing where transforms is 1 */
  uint32_t weight_clip;   /* QN_WEIGHT_CLIP_* */
  double weight_part;     /* of QN_WEIGHT_CLIP_PART */
  double activation_clip; /* of each token's range: a part, QN_ACTIVATION_CLIP_SEARCHED, or 0 for all */
  double max_loss; /* above 0: sites are chosen so that outputs lose no more (choose.h), and the recipe has none */
} qn_recipe;
#define QN_SPLIT_MOST 256u
#define QN_OUTLIER_GROUP 64

/* A preset's name, or the path of a JSON file (anything with a '/' or ending in .json) of a preset's shape:
   {"name": "...", "weights": {"bits": 4, "group": 32, "minimum": false, "scales": "float"},
    "activations": {"bits": 8, "group": 0, "symmetric": false}, "embeddings": {"bits": 2, "group": 32}, "smooth": true,
    "split": 16}; a static one has "activations": {"bits": 8, "static": true, "estimator": "minmax"} and may have "sites":
     {"layers.*.ffn.sum": {"bits": 16}, "layers.*.ffn.up.in": {"groups": 6, "widths": "uneven", "scales": "powers"}},
     "order": "range", "placement": "inputs", "migrate": "auto", "clip": "tokenwise" and "unfold": 64; or "max_loss": 0.02 alone;
   others may have "rounding": "calibrated" and "head": {"bits": 4, "group": 32, "minimum": true, "scales": "float"}.
   Members that are unknown, and combinations that this version cannot run, are refused by name. To be freed, after a failure too. */
quern_status qn_recipe_load(qn_recipe *r, qn_env *env, const char *name_or_path);
void qn_recipe_free(qn_env *env, qn_recipe *r);
const char *qn_recipe_preset_name(uint32_t i);       /* NULL past the end */
const char *qn_recipe_preset_json(const char *name); /* NULL: no such preset */
/* What it is of decoders; NULL: no such preset, or for encoders alone. */
const char *qn_recipe_preset_decoder_json(const char *name);
/* A preset becomes what it is of decoders; what no preset is stays. */
quern_status qn_recipe_of_decoder(qn_recipe *r, qn_env *env);
/* The recipe as one line of JSON, appended to *out, with a NUL behind it that is not counted. */
quern_status qn_recipe_format(const qn_recipe *r, qn_env *env, qn_buffer *out);
/* What a recipe makes of a site: all members are said. */
qn_site_rule qn_recipe_site(const qn_recipe *r, const qn_site *site);
/* Every rule of a static recipe names a site of the model, and says what it may be. */
quern_status qn_recipe_check_sites(const qn_recipe *r, qn_env *env, const qn_arch *a);

/* Which rows of the calibration file: drawn by the seed, the longest, those with the most outliers of four times as many drawn. */
enum { QN_SELECT_RANDOM, QN_SELECT_LONGEST, QN_SELECT_OUTLIERS, QN_SELECTS };

typedef struct qn_quantize_job {
  const char *src, *dst;
  const char *recipe, *calibration, *report; /* may be NULL */
  uint32_t seed, calibration_rows;           /* 0: QN_CALIBRATION_ROWS */
  uint32_t select;                           /* QN_SELECT_* */
  double max_loss;                           /* in the place of the recipe's; 0: not said */
  int dry_run;
  uint64_t limit;
  struct qn_pool *pool;           /* of the runs of the float model; NULL: one thread */
  const struct qk_table *kernels; /* of the same; NULL: the best */
  quern_progress_fn *progress;
  void *progress_user;
  const struct qn_migration *migration; /* NULL: what the recipe says */
  const qn_recipe *made;                /* a recipe that is there; else NULL: it is loaded */
  const struct qn_plan *plan;           /* the sites of a static recipe with their values; NULL: by the recipe */
  qn_buffer *memory; /* not NULL: the file goes here instead of to dst (empty before; the caller's to free) */
} qn_quantize_job;
/* Peak memory: the largest tensor as float and packed; before that, for a recipe that smooths or calibrates, the float model. One
   that rounds by calibration keeps half of k^2 floats for the k inputs of each of the layers' operators. A report is written
   before the model is put in place, so that a failing report leaves the old file too. */
quern_status qn_quantize(qn_env *env, const qn_quantize_job *job, quern_quantize_result *result);

/* Packing, one tensor at a time (pack.c); exact definitions in docs/NUMERICS.md.
   Symmetric per row, here of 8 bits (linear operators of 6 and 4 bits in bytes: the scale of the least squared error among absmax /
   most times 1, 0.95, ... 0.6, the first of equal ones, codes held within most): scale = absmax / 127 (0 for a row whose absmax is below 2^-100), code = rint(w * (127 / absmax)),
   even. */
/* To nearest, ties to even; |x| <= 2^22: adding 1.5 * 2^23 leaves no bits for the fraction. */
static inline float qn_pack_rint(float x) { return (x + 12582912.0f) - 12582912.0f; }
static inline float qn_pack_held(float x, float least, float most) { return x < least ? least : x > most ? most : x; }
static inline int32_t qn_pack_nearest(float x) { return (int32_t)qn_pack_rint(x); }
/* Scale of a row of d weights for codes up to `most`, 127 where they have 8 bits; *factor: what makes codes of them. */
float qn_pack_row_scale(const float *w, size_t d, float most, float *factor);
/* w: [n, k] f32 -> panels [ceil(n/16)][kp/4][16][4] of code ^ 0x80, kp = k rounded up to 64; scale, sums: [n]. */
void qn_pack_linear_i8(const float *w, uint32_t n, uint32_t k, float most, uint8_t *panels, float *scale,
                       int32_t *sums);
/* w: [n, k] f32 -> panels [ceil(n/16)][k][16] f32, zero padded. */
void qn_pack_linear_f32(const float *w, uint32_t n, uint32_t k, float *panels);
/* w: [rows, d] f32 -> codes [rows, d], scale [rows]. */
void qn_pack_rows_i8(const float *w, uint32_t rows, uint32_t d, float most, int8_t *codes, float *scale);

/* pack_group.c: linear operators of codes with groups, or of few bits. */
typedef struct qn_form {
  uint32_t bits, group; /* bits 8, 6, 4 or 2; group: of inputs, a multiple of 32, qk_k8(k) for all; of 8 bits 0: all */
  int min, steps;       /* of 4 and 2 bits: with minima; with integer steps of scales */
  int zeros;            /* of 4 bits with steps: a zero point beside each of them */
} qn_form;
typedef struct qn_packed {
  uint8_t *panels;    /* kernels/layout.h */
  float *scale;       /* qn_form_scales: panels of [n, groups], or of [n] with steps or without a group */
  float *min;         /* alike; NULL: none */
  uint8_t *steps;     /* panels of [n, groups], 1 ... 15, above them zero point XOR 8; NULL: none */
  float *sums;        /* [n] sums of the values of each output channel: without steps */
  int32_t *code_sums; /* [n] sums of codes times steps: with them */
} qn_packed;
size_t qn_form_groups(const qn_form *f, size_t k);
size_t qn_form_scales(const qn_form *f, size_t n, size_t k);
/* Scales, minima and steps for w [n, k] f32. work: [2 * groups]. Every output channel depends on itself alone; scales of 4 and 2 bits are
   searched for. */
void qn_pack_grids(const float *w, uint32_t n, uint32_t k, const qn_form *f, const qn_packed *to, float *work);
/* The nearest codes on those, and their sums. */
void qn_pack_codes(const float *w, uint32_t n, uint32_t k, const qn_form *f, const qn_packed *to);
/* What codes low ... high of some weights stand for: code * scale + min. by: 1 / scale, or 0 where that is nothing. */
typedef struct qn_grid {
  float scale, min, by, low, high;
  int has_min;
} qn_grid;
/* The grid of weight i of a row, and those of its group. */
qn_grid qn_packed_grid(const qn_packed *p, const qn_form *f, size_t k, size_t row, size_t i);
/* As wide times `by`, around its middle where it has a minimum, else around 0. Then the same of all grids of a row. */
qn_grid qn_grid_widened(qn_grid g, float by);
void qn_packed_widen(const qn_packed *p, const qn_form *f, size_t k, size_t row, float by);
/* The nearest code to w, without an offset. */
static inline float qn_grid_code(const qn_grid *g, float w) {
  return qn_pack_held(qn_pack_rint(qn_pack_held((w - g->min) * g->by, -128, 128)), g->low, g->high);
}
/* What weight i of a row stands for; scale alone of 8 bits without a group (pack.c). */
double qn_packed_value(const qn_packed *p, const qn_form *f, size_t k, size_t row, size_t i);
/* Sums of the values of groups of `group` inputs, to panels of [n, groups]: group is the form's, or it has one scale a channel. */
void qn_packed_sums(const qn_packed *p, const qn_form *f, uint32_t n, uint32_t k, uint32_t group, float *sums);

/* pack_zero.c: codes of 4 bits with integer steps and zero points. */
/* Scale of a channel of k weights, and its steps, QK_PANEL apart, as qn_packed has them. own: [2 * groups]. */
float qn_pack_zeros(const float *w, size_t k, size_t group, float *own, uint8_t *steps);
static inline int qn_step_of(uint8_t step) { return step & 15; }
static inline int qn_zero_of(uint8_t step) { return step >> 4 ^ 8; }

/* pack_small.c: codes of 4 and 2 bits with a minimum. */
/* Scale and minimum of the codes 0 ... top of n >= 1 weights. */
void qn_pack_grid(const float *w, size_t n, float top, float *scale, float *min);
/* w: [rows, d] f32 -> codes, scale [rows, 2], step [rows, groups, 2] of a table of 4 or 2 bits (kernels.h).
   work: [2 * groups]. */
void qn_pack_rows_small(const float *w, uint32_t rows, uint32_t d, uint32_t bits, uint32_t group, uint8_t *codes,
                        float *scale, int8_t *step, float *work);
/* What element i of a row stands for; for reports. */
float qn_value_small(const uint8_t *codes, const float *scale, const int8_t *step, uint32_t d, uint32_t bits,
                     uint32_t group, size_t row, size_t i);
#endif
