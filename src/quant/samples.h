/* samples.h - rows that the linear operators of the layers take, kept of a run of the float model: some drawn by a seed, and those with the
 * largest magnitudes; and the largest magnitude of every channel. What transforms are found on (input_transform.h). */
#ifndef QN_SAMPLES_H
#define QN_SAMPLES_H
#include <pthread.h>

#include "quant/inputs.h"
#include "run/session.h"

#define QN_SAMPLES_DRAWN 192u
#define QN_SAMPLES_LARGEST 64u
#define QN_SAMPLES_MOST (QN_SAMPLES_DRAWN + QN_SAMPLES_LARGEST)

/* One that is kept. */
typedef struct qn_kept_row {
  uint64_t row, key; /* of the run; of those drawn what is least */
  float most;        /* the largest magnitude */
  uint32_t channel;  /* that has it */
  uint32_t slot;     /* of the rows: where it lies */
} qn_kept_row;

/* Of an input of a layer. */
typedef struct qn_sample_site {
  qn_kept_row drawn[QN_SAMPLES_DRAWN],
      largest[QN_SAMPLES_LARGEST]; /* in the end by rows, and by descending magnitude */
  uint32_t drawn_count, largest_count;
} qn_sample_site;

typedef struct qn_samples {
  uint64_t seed, base; /* base: rows of the passes before */
  qn_inputs inputs;
  float *rows;           /* of each input [QN_SAMPLES_MOST, width] */
  float *maxima;         /* of each input [width] */
  qn_sample_site *sites; /* [layers, QN_SITE_KINDS] */
  size_t row_bytes, maxima_bytes, site_bytes;
  pthread_mutex_t lock;
} qn_samples;

/* To be freed, after a failure too. */
quern_status qn_samples_create(qn_samples *s, qn_env *env, const qn_arch *a, uint64_t seed);
void qn_samples_free(qn_env *env, qn_samples *s);
/* Rows that an observer is shown, from any thread: which are kept does not depend on the order. NaN and infinity are passed over. */
void qn_samples_see(qn_samples *s, const qn_seen *seen);
/* When all have been seen: into their order. */
void qn_samples_end(qn_samples *s);
static inline const qn_sample_site *qn_samples_site(const qn_samples *s, uint32_t layer, uint32_t input) {
  return &s->sites[layer * QN_SITE_KINDS + input];
}
const float *qn_samples_maxima(const qn_samples *s, uint32_t layer, uint32_t input);
/* Rows that are kept of an input, into out [at most QN_SAMPLES_MOST, width]; returns how many. */
size_t qn_samples_rows(const qn_samples *s, uint32_t layer, uint32_t input, float *out);
#endif
