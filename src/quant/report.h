/* report.h - what quantization did to each operator: report.json for programs, report.html for people. */
#ifndef QN_REPORT_H
#define QN_REPORT_H
#include "base/env.h"
#include "quant/quant.h"
#include "quant/ranges.h"

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
  double output_error;     /* of suppression (suppress.h) on calibration text */
  const qn_plan *plan;     /* the sites of a static recipe; else without any */
  const char *calibration; /* name of the file that their ranges came from; NULL: none */
  uint64_t calibration_rows;
  uint32_t seed;
} qn_report;

/* Writes dir/report.json and dir/report.html; dir is created when it is missing. */
quern_status qn_report_write(const qn_report *r, qn_env *env, const char *dir);
#endif
