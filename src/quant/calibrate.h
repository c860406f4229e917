/* calibrate.h - the float model run over text, every site observed. */
#ifndef QN_CALIBRATE_H
#define QN_CALIBRATE_H
#include "quant/observed.h"
#include "quant/outputs.h"
#include "quant/quant.h"

#define QN_CALIBRATION_ROWS 256u
#define QN_CALIBRATION_LONG 96u     /* of a decoder, whose texts are longer */
#define QN_CALIBRATION_WINDOW 2048u /* tokens of a decoder's text where `tokens_most` is given */
#define QN_CALIBRATION_WINDOWS 16u
#define QN_CALIBRATION_BATCH 32u /* texts of a pass, at most */

/* Texts drawn from a file: rows by the seed, in the order of the file. */
typedef struct qn_calibration_text {
  qn_buffer utf8, offsets; /* offsets: int64_t [texts + 1] */
  size_t texts;            /* twice as many as rows where they are pairs */
  int pairs;
  int unnamed; /* a .tsv file whose first line names no columns, taken as text */
  size_t rows_found;
  size_t tokens_most; /* of a decoder: so many tokens are run, of each text as many as of others where it has them; 0: all */
} qn_calibration_text;
/* Columns that texts are taken from, for messages. */
#define QN_TEXT_COLUMNS                                                                                                \
  "sentence or text; or sentence1 and sentence2, premise and hypothesis, question and sentence, question1 and "        \
  "question2, question and context"
/* One text a line, a tab separates the two of a pair; or, where the first line names columns separated by tabs, the first
   of QN_TEXT_COLUMNS that are there; of a .jsonl file the "text" of each line's object. Blank lines are left out. At most `rows` are drawn. */
quern_status qn_calibration_read(qn_calibration_text *t, qn_env *env, const char *path, uint32_t rows, uint32_t seed);
/* The same of those with the most bytes, of equal ones the first. */
quern_status qn_calibration_longest(qn_calibration_text *t, qn_env *env, const char *path, uint32_t rows);
/* Of n rows the `best` with the greatest measure, of equal ones the first, become the first ones, in the order of rows. */
typedef struct qn_ranked_row {
  double measure;
  size_t row;
} qn_ranked_row;
void qn_rank_rows(qn_ranked_row *rows, size_t n, size_t best);
/* Rows as the job selects them: of outliers, the float model of its source is made for that. */
quern_status qn_calibration_select(qn_calibration_text *t, qn_env *env, const qn_quantize_job *job, uint32_t rows);
/* Texts of a row, and rows. */
static inline size_t qn_calibration_each(const qn_calibration_text *t) { return t->pairs ? 2 : 1; }
static inline size_t qn_calibration_rows(const qn_calibration_text *t) { return t->texts / qn_calibration_each(t); }
void qn_calibration_free(qn_env *env, qn_calibration_text *t);

/* Makes the float model of job's source in memory and runs it over texts. outputs: NULL, or what it puts out. */
quern_status qn_calibrate(qn_observed *o, qn_env *env, const qn_quantize_job *job, const qn_calibration_text *text,
                          int histograms, qn_outputs *outputs);
/* A session for blocks of such texts. */
quern_status qn_calibration_session(quern_session **out, qn_env *env, quern_model *m);
/* Runs the first `texts` of them through it. Of a failure env says what was being done, and on which file. */
quern_status qn_calibration_run(quern_session *s, qn_env *env, const qn_calibration_text *t, size_t texts,
                                qn_emit_fn *emit, void *user, const char *doing, const char *path);

/* The same of a decoder, whose texts are no pairs: what emit sees of the session are its lens, starts and hidden states. Of a failure either
   the session or env says what it was. */
quern_status qn_calibration_decode(quern_session *s, qn_env *env, const qn_calibration_text *text, size_t count,
                                   qn_emit_fn *emit, void *user);

/* Pool and kernels that a job runs models with: its own, or one thread and the best kernels, which closing frees. */
quern_status qn_engine_open(quern_context *c, qn_env *env, const qn_quantize_job *job);
void qn_engine_close(quern_context *c, const qn_quantize_job *job);
/* The model that job `to` makes, in memory, handed to fn; on job's pool and kernels, or one thread and the best. */
quern_status qn_with_model(qn_env *env, const qn_quantize_job *to, const qn_quantize_job *job,
                           quern_status (*fn)(void *user, quern_model *m), void *user);
/* The float model of job's source, with its migration, made in memory, handed to fn; on job's pool and kernels, or one thread and the best. */
quern_status qn_with_float_model(qn_env *env, const qn_quantize_job *job,
                                 quern_status (*fn)(void *user, quern_model *m), void *user);
/* A number for each i, the same for the same seed everywhere. */
uint64_t qn_draw(uint64_t seed, uint64_t i);
#endif
