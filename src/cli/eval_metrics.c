/* eval_metrics.c - correlations and classification metrics. Pure functions of their arguments, in double. */
#include <math.h>
#include <stdlib.h>
#include "eval.h"

double qn_metric_pearson(const double *x, const double *y, size_t n) {
  double mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < n; i++) mean_x += x[i], mean_y += y[i];
  if (n) mean_x /= (double)n, mean_y /= (double)n;
  for (size_t i = 0; i < n; i++) {
    double a = x[i] - mean_x, b = y[i] - mean_y;
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  return xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : 0;
}

double qn_metric_cosine(const float *a, const float *b, size_t n) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < n; i++) {
    ab += (double)a[i] * b[i];
    aa += (double)a[i] * a[i];
    bb += (double)b[i] * b[i];
  }
  return aa > 0 && bb > 0 ? ab / (sqrt(aa) * sqrt(bb)) : 0;
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void qn_metric_sort(double *x, size_t n) {
  if (n) qsort(x, n, sizeof *x, compare_doubles);
}

typedef struct ranked {
  double value;
  size_t index;
} ranked;

static int compare_ranked(const void *a, const void *b) {
  return compare_doubles(&((const ranked *)a)->value, &((const ranked *)b)->value);
}

/* Ranks from 1; equal values share the mean of theirs. scratch: [n]. */
static void rank(const double *x, size_t n, ranked *scratch, double *ranks) {
  for (size_t i = 0; i < n; i++) scratch[i] = (ranked){x[i], i};
  if (n) qsort(scratch, n, sizeof *scratch, compare_ranked);
  for (size_t first = 0, end; first < n; first = end) {
    for (end = first + 1; end < n && scratch[end].value == scratch[first].value;) end++;
    for (size_t i = first; i < end; i++) ranks[scratch[i].index] = 0.5 * (double)(first + 1 + end);
  }
}

int qn_metric_spearman(qn_cli_state *c, const double *x, const double *y, size_t n, double *out) {
  double *ranks = NULL;
  ranked *scratch = NULL;
  int code = qn_cli_grow(c, &ranks, 2 * n, sizeof *ranks);
  if (!code) code = qn_cli_grow(c, &scratch, n, sizeof *scratch);
  if (!code) {
    rank(x, n, scratch, ranks);
    rank(y, n, scratch, ranks + n);
    *out = qn_metric_pearson(ranks, ranks + n, n);
  }
  free(scratch);
  free(ranks);
  return code;
}

/* Sums of a class: right answers, true members, predicted members. */
typedef struct class_sums {
  double right, members, predicted;
} class_sums;

static class_sums sums_of(const qn_confusion *m, uint32_t k) {
  class_sums s = {(double)m->counts[(size_t)k * m->classes + k], 0, 0};
  for (uint32_t i = 0; i < m->classes; i++) {
    s.members += (double)m->counts[(size_t)k * m->classes + i];
    s.predicted += (double)m->counts[(size_t)i * m->classes + k];
  }
  return s;
}

double qn_metric_accuracy(const qn_confusion *m) {
  double right = 0, all = 0;
  for (uint32_t k = 0; k < m->classes; k++) {
    class_sums s = sums_of(m, k);
    right += s.right;
    all += s.members;
  }
  return all > 0 ? right / all : 0;
}

static double f1_of(class_sums s) {
  double sum = s.members + s.predicted;
  return sum > 0 ? 2 * s.right / sum : 0;
}

double qn_metric_f1(const qn_confusion *m) {
  double sum = 0;
  uint32_t occurring = 0;
  if (m->classes == 2) return f1_of(sums_of(m, 1));
  for (uint32_t k = 0; k < m->classes; k++) {
    class_sums s = sums_of(m, k);
    if (s.members + s.predicted == 0) continue;
    sum += f1_of(s);
    occurring++;
  }
  return occurring ? sum / occurring : 0;
}

double qn_metric_matthews(const qn_confusion *m) {
  double right = 0, all = 0, joint = 0, members = 0, predicted = 0;
  for (uint32_t k = 0; k < m->classes; k++) {
    class_sums s = sums_of(m, k);
    right += s.right;
    all += s.members;
    joint += s.members * s.predicted;
    members += s.members * s.members;
    predicted += s.predicted * s.predicted;
  }
  double scale = sqrt(all * all - members) * sqrt(all * all - predicted);
  return scale > 0 ? (right * all - joint) / scale : 0;
}

void qn_eval_error_add(qn_eval_error *e, double x, double reference) {
  const double before = reference - e->mean;
  e->squared += (x - reference) * (x - reference);
  e->mean += before / (double)++e->count;
  e->spread += before * (reference - e->mean); /* Welford: no large sums are subtracted */
}

double qn_eval_error_normalized(const qn_eval_error *e) { return e->spread > 0 ? e->squared / e->spread : 0; }
