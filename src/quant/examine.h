/* examine.h - what calibration text shows of a model and of what was made of it, for the report: what sites saw, outlier channels and
 * tokens, the error behind each layer and of the outputs. */
#ifndef QN_EXAMINE_H
#define QN_EXAMINE_H
#include "quant/calibrate.h"
#include "quant/migrate.h"
#include "quant/ranges.h"

/* A channel is an outlier where its range is above this many times the median of its site's channels; a token where its greatest
   magnitude is, by the median of the site's tokens. */
#define QN_OUTLIER_CHANNEL 6.0f
#define QN_OUTLIER_TOKEN 4.0f
#define QN_OUTLIERS 5u /* of each that are kept, the greatest */

typedef struct qn_outlier_channel {
  uint32_t channel; /* of the model's own order */
  float low, high;
} qn_outlier_channel;
typedef struct qn_outlier_token {
  int32_t id;
  uint32_t count, first, last; /* how often; least and greatest position in its text */
  float low, high;
  char text[40]; /* as the tokenizer has it, cut; empty: there is no tokenizer */
} qn_outlier_token;

/* What one site saw of the float model. */
typedef struct qn_site_examined {
  float median_channel, median_token;
  uint32_t outlier_channels, outlier_tokens; /* how many there are; those kept: */
  uint32_t channels, tokens;
  qn_outlier_channel channel[QN_OUTLIERS]; /* by descending range */
  qn_outlier_token token[QN_OUTLIERS];     /* different ones, by descending count */
  double clipped;                          /* of tokens: the part that is not within the range of codes */
} qn_site_examined;

typedef struct qn_examination {
  qn_observed before, after; /* of the float model; after: with its gains migrated, sites 0: as before */
  qn_site_examined *site;    /* [before.sites] */
  double *layer_error; /* [layers + 1] qn_error_over_spread of hidden states behind the embeddings and each layer */
  double output_error, cosine; /* qn_outputs_loss; mean cosine of embeddings, 0 where there are none */
  size_t rows, tokens;         /* that errors were taken on: outputs of rows of text, hidden states of tokens */
  uint32_t layers;             /* 0: there was no text */
} qn_examination;

typedef struct qn_examining {
  qn_env *env;
  const qn_quantize_job *job; /* with calibration */
  const qn_recipe *recipe;
  const qn_arch *arch;
  const qn_plan *plan;           /* of a static recipe; else without sites */
  const qn_migration *migration; /* of none: without norms */
} qn_examining;
/* Runs the float model over the text, and what recipe, plan and migration make of it over some of it. To be freed after a failure
   too. */
quern_status qn_examine(const qn_examining *e, qn_examination *out);
void qn_examination_free(qn_env *env, qn_examination *x);
#endif
