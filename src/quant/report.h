/* report.h - what quantization did to a model: report.json for programs, report.html for people. */
#ifndef QN_REPORT_H
#define QN_REPORT_H
#include "quant/choose.h"
#include "quant/examine.h"
#include "quant/page.h"
#include "quant/samples.h"
#include "quant/smooth.h"
#include "quant/input_transform.h"

typedef struct qn_report_row {
  char name[64];
  uint32_t linear; /* 1: linear operator, 0: embedding table */
  uint32_t n, k;
  uint64_t before, after; /* bytes in the source and in the file, scales and biases included */
  double error;           /* rms(w - quantized w) / rms(w) */
  double worst_error;     /* the same of the worst output channel (or row) */
  uint32_t worst;         /* its index */
} qn_report_row;

typedef struct qn_report {
  const char *source;
  const qn_recipe *recipe;
  const qn_arch *arch;
  uint64_t source_bytes;
  uint64_t tensor_bytes; /* of all tensors in the file */
  qn_report_row *rows;
  uint32_t count;
  double search_error;     /* of suppression (suppress.h) on calibration text */
  const qn_plan *plan;     /* the sites of a static recipe; else without any */
  const char *calibration; /* name of the file of texts; NULL: none */
  uint64_t calibration_rows;
  uint64_t calibration_tokens,
      calibration_wanted; /* that codes were chosen by, and should be at least; 0: not counted */
  uint32_t seed;
  const qn_examination *examined; /* of that text; layers 0: nothing */
  const qn_choice *choice;        /* of a recipe that chose; else without sites */
  const qn_migration *migration;  /* else without norms */
  const qn_trail *trails;         /* [layers, QN_SITE_KINDS] of inputs that are transformed; NULL: none are */
  const qn_samples *samples;      /* with trails: the rows that they are of */
  const qn_maxima *smooth;        /* what inputs are multiplied by, laid out as their maxima are; else without data */
} qn_report;

/* Whether a report can be written there, before the work; nothing is left behind. */
quern_status qn_report_check(qn_env *env, const char *dir);
/* Writes dir/report.json and dir/report.html; dir is created when it is missing. */
quern_status qn_report_write(const qn_report *r, qn_env *env, const char *dir);

/* ---- what both are made of: report.c ---- */

/* The row with the greatest error among linear operators; count: there is none. */
uint32_t qn_report_worst(const qn_report *r);
/* Of the values at static sites of a token: how many have 16 bits. Scores and probabilities, which are by token and key, are left out. */
double qn_report_share_of_16(const qn_plan *plan);
/* Parts of the model and their bytes before and after; the last has what is in no row. */
enum { QN_REPORT_PARTS = 5 };
typedef struct qn_report_part {
  const char *name;
  uint64_t before, after;
} qn_report_part;
void qn_report_parts(const qn_report *r, qn_report_part part[QN_REPORT_PARTS]);
/* What each method changed, as sentences: sentence i onto the page; 0: there are no more. */
int qn_report_change(const qn_report *r, uint32_t i, qn_page *p);
/* Whether a site is quantized by the recipe, static or not. */
int qn_report_has_site(const qn_report *r, const qn_site *site);

/* Ranges of a site's channels: of channel i of n extremes e[order ? order[i] : i], times by[i]. */
typedef struct qn_series {
  const qn_extremes *e;
  const uint32_t *order;
  const float *by; /* NULL: 1 */
  uint32_t n;
} qn_series;
qn_extremes qn_series_at(const qn_series *s, uint32_t i);
/* Of all channels, and 0. */
qn_extremes qn_series_whole(const qn_series *s);
/* Before, as the model has them, and as they are quantized; 0: there is nothing, or both are the same. */
int qn_report_before(const qn_report *r, uint32_t site, qn_series *s);
int qn_report_after(const qn_report *r, uint32_t site, qn_series *s);

/* Inputs in another basis, for either file: report_transform.c. */
void qn_report_trails(qn_page *p, const qn_report *r, int json);
/* The files: report_json.c, report_html.c. */
void qn_report_json(qn_page *p, const qn_report *r);
void qn_report_html(qn_page *p, const qn_report *r);
#endif
