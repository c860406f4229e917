/* eval.h - what the tasks of `quern eval` share: rows of a TSV file, metrics, the run's state. */
#ifndef QN_CLI_EVAL_H
#define QN_CLI_EVAL_H
#include "cli.h"

/* ---- rows (eval_tsv.c) ------------------------------------------------------------------------------------------- */

#define TSV_MAX_COLUMNS 64u

typedef struct qn_tsv_field {
  const char *text;
  size_t bytes;
} qn_tsv_field;

/* A file whose first line names its columns, fields separated by single tabs, no quoting. */
typedef struct qn_tsv {
  qn_cli_lines lines;
  char *header;
  qn_tsv_field columns[TSV_MAX_COLUMNS], fields[TSV_MAX_COLUMNS];
  uint32_t count;
} qn_tsv;

int qn_tsv_open(qn_tsv *t, qn_cli_state *c, const char *path);
void qn_tsv_close(qn_tsv *t);
/* Index of a column, -1: there is none. */
int qn_tsv_column(const qn_tsv *t, const char *name);
/* Reads the next row into fields, skipping empty lines; *more 0 at the end. */
int qn_tsv_next(qn_tsv *t, int *more);
/* Field i as a finite number. */
int qn_tsv_number(qn_tsv *t, int column, double *out);
/* Fails with the column names that the file has; `wanted` says which are missing. */
int qn_tsv_fail_columns(qn_tsv *t, const char *wanted);

/* ---- metrics (eval_metrics.c) ------------------------------------------------------------------------------------ */

/* Correlations of x and y, n values each; 0 where one of them is constant. */
double qn_metric_pearson(const double *x, const double *y, size_t n);
/* Cosine of two vectors of n values; 0 where one of them is zero. */
double qn_metric_cosine(const float *a, const float *b, size_t n);
/* Ranks with ties averaged, then Pearson. CLI_FAILED: no memory. */
int qn_metric_spearman(qn_cli_state *c, const double *x, const double *y, size_t n, double *out);
/* Sorts x ascending. */
void qn_metric_sort(double *x, size_t n);

/* Counts of (true, predicted) classes. */
typedef struct qn_confusion {
  uint64_t *counts; /* [classes][classes] */
  uint32_t classes;
} qn_confusion;
double qn_metric_accuracy(const qn_confusion *m);
/* Two classes: F1 of class 1. More: the mean of F1 over the classes that occur. */
double qn_metric_f1(const qn_confusion *m);
/* Matthews' correlation; for more than two classes its R_K form. */
double qn_metric_matthews(const qn_confusion *m);

/* Squared error of values against a reference's, over the variance of the reference's. Zero-initialise. */
typedef struct qn_eval_error {
  double squared, mean, spread; /* spread: sum of squared differences from the mean */
  uint64_t count;
} qn_eval_error;
void qn_eval_error_add(qn_eval_error *e, double x, double reference);
double qn_eval_error_normalized(const qn_eval_error *e); /* 0 where the reference is constant */

/* An answer against the right ones, separated by "|||", as SQuAD does: the best exact match (0 or 1) and the best F1 of
   words. 0: no memory (eval_answers.c). */
int qn_metric_answer(const char *answer, size_t n, const char *right, size_t right_n, double *exact, double *f1);

/* ---- identifiers (eval_ids.c) ------------------------------------------------------------------------------------ */

#define EVAL_NO_ID UINT32_MAX

/* Identifiers, numbered from 0 in the order they were added. Zero-initialise. */
typedef struct qn_eval_ids {
  char *bytes;
  size_t cap;
  size_t *starts; /* [count + 1]: of each in bytes */
  uint32_t count;
  uint32_t *slots; /* [slot_count], a power of two: numbers, EVAL_NO_ID where empty */
  size_t slot_count;
} qn_eval_ids;

/* EVAL_NO_ID: it was not added. */
uint32_t qn_eval_ids_find(const qn_eval_ids *ids, const char *text, size_t n);
/* The number of one that is there, or a new one. */
int qn_eval_ids_add(qn_cli_state *c, qn_eval_ids *ids, const char *text, size_t n, uint32_t *out);
void qn_eval_ids_free(qn_eval_ids *ids);

/* ---- the run (verb_eval.c) --------------------------------------------------------------------------------------- */

#define EVAL_MAX_METRICS 8u

typedef struct qn_eval_metric {
  const char *name;
  double value;
} qn_eval_metric;

typedef struct qn_eval_run {
  qn_cli_state *c;
  qn_cli_model model, reference;
  int has_reference;
  const char *path;           /* --data: of the rows, or of a directory */
  qn_tsv data;                /* the rows; not for retrieval, which has files of its own */
  uint64_t rows, limit;       /* limit 0: all */
  uint32_t context;           /* of ppl: tokens of a window; 0: the default */
  qn_cli_answering answering; /* of squad */
  qn_eval_metric metrics[EVAL_MAX_METRICS];
  uint32_t qn_metric_count;
  qn_eval_metric reference_metrics[EVAL_MAX_METRICS]; /* the same, of the reference */
  uint32_t reference_metric_count;
  const char *comparison; /* NULL: `compared` stand in the reference object itself; else the object's name there */
  qn_eval_metric compared[EVAL_MAX_METRICS];
  uint32_t compared_count;
} qn_eval_run;

/* Values of one kind, collected row by row. */
typedef struct qn_eval_series {
  double *x;
  size_t count, cap;
} qn_eval_series;

int qn_eval_series_add(qn_cli_state *c, qn_eval_series *s, double x);
void qn_eval_put_metric(qn_eval_run *r, const char *name, double value);
void qn_eval_put_reference_metric(qn_eval_run *r, const char *name, double value);
void qn_eval_put_compared(qn_eval_run *r, const char *name, double value);
/* Mean, 1st percentile and minimum of the cosines of both models' embeddings; sorts them. None: nothing. */
void qn_eval_put_cosines(qn_eval_run *r, qn_eval_series *cosines);
/* Fails unless the model gives embeddings, and the reference ones of the same width. */
int qn_eval_check_embeddings(qn_eval_run *r);
/* The next row, counting it, up to the limit; *more 0 at the end. */
int qn_eval_next_row(qn_eval_run *r, int *more);

int qn_eval_sts(qn_eval_run *r);       /* eval_sts.c */
int qn_eval_classify(qn_eval_run *r);  /* eval_classify.c */
int qn_eval_squad(qn_eval_run *r);     /* eval_squad.c */
int qn_eval_retrieval(qn_eval_run *r); /* eval_retrieval.c */
int qn_eval_ppl(qn_eval_run *r);       /* eval_ppl.c */
int qn_eval_choice(qn_eval_run *r);    /* eval_choice.c */

#endif
