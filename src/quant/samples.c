/* samples.c - see samples.h. Both kinds of rows are the first ones of a total order, so that it does not matter when they come. */
#include "quant/samples.h"

#include <string.h>

#include "base/sort.h"
#include "quant/calibrate.h"

quern_status qn_samples_create(qn_samples *s, qn_env *env, const qn_arch *a, uint64_t seed) {
  void *p = NULL;
  *s = (qn_samples){.seed = seed, .inputs = qn_inputs_of(a, 0), .lock = PTHREAD_MUTEX_INITIALIZER};
  const size_t channels = s->inputs.stride * s->inputs.layers, sites = (size_t)s->inputs.layers * QN_SITE_KINDS;
  QN_TRY(qn_alloc_array(env, &p, channels, QN_SAMPLES_MOST * sizeof(float), "rows of activations"));
  s->rows = p;
  s->row_bytes = channels * QN_SAMPLES_MOST * sizeof(float);
  QN_TRY(qn_alloc_array(env, &p, channels, sizeof(float), "maxima of activations"));
  s->maxima = p;
  s->maxima_bytes = channels * sizeof(float);
  QN_TRY(qn_alloc_array(env, &p, sites, sizeof *s->sites, "rows of activations"));
  s->sites = p;
  s->site_bytes = sites * sizeof *s->sites;
  return QUERN_OK;
}

void qn_samples_free(qn_env *env, qn_samples *s) {
  qn_free(env, s->rows, s->row_bytes);
  qn_free(env, s->maxima, s->maxima_bytes);
  qn_free(env, s->sites, s->site_bytes);
  *s = (qn_samples){0};
}

static float *rows_of(const qn_samples *s, uint32_t layer, uint32_t input) {
  return s->rows + qn_inputs_at(&s->inputs, layer, input) * QN_SAMPLES_MOST;
}
const float *qn_samples_maxima(const qn_samples *s, uint32_t layer, uint32_t input) {
  return s->maxima + qn_inputs_at(&s->inputs, layer, input);
}

/* Whether a is to be kept rather than b. */
static int drawn_before(const qn_kept_row *a, const qn_kept_row *b) {
  return a->key < b->key || (a->key == b->key && a->row < b->row);
}
static int larger_before(const qn_kept_row *a, const qn_kept_row *b) {
  return a->most > b->most || (!(a->most < b->most) && a->row < b->row);
}

/* Keeps x among the `room` best, whose slots begin at `first`. Returns where its row goes; UINT32_MAX: it is none of them. */
static uint32_t keep(qn_kept_row *kept, uint32_t *count, uint32_t room, uint32_t first, qn_kept_row x,
                     int (*before)(const qn_kept_row *, const qn_kept_row *)) {
  uint32_t worst = 0;
  if (*count < room) {
    x.slot = first + *count;
    kept[(*count)++] = x;
    return x.slot;
  }
  for (uint32_t i = 1; i < room; i++)
    if (before(&kept[worst], &kept[i])) worst = i;
  if (!before(&x, &kept[worst])) return UINT32_MAX;
  x.slot = kept[worst].slot;
  kept[worst] = x;
  return x.slot;
}

/* Largest magnitude and its channel; 0: NaN or infinity. */
static int measure(const float *x, size_t d, qn_kept_row *out) {
  out->most = -1;
  for (size_t i = 0; i < d; i++) {
    const float a = x[i] < 0 ? -x[i] : x[i];
    if (!(a <= 0x1p120f)) return 0;
    if (a > out->most) out->most = a, out->channel = (uint32_t)i;
  }
  return 1;
}

void qn_samples_see(qn_samples *s, const qn_seen *seen) {
  if (!qn_inputs_have(&s->inputs, seen->layer, seen->kind)) return;
  qn_sample_site *site = &s->sites[seen->layer * QN_SITE_KINDS + seen->kind];
  float *rows = rows_of(s, seen->layer, seen->kind);
  float *maxima = s->maxima + qn_inputs_at(&s->inputs, seen->layer, seen->kind);
  const size_t d = seen->d;
  for (size_t r = 0; r < seen->rows; r++) {
    const float *x = seen->x + r * seen->ld;
    qn_kept_row now = {.row = s->base + seen->row + r};
    now.key = qn_draw(s->seed, now.row);
    if (!measure(x, d, &now)) continue;
    pthread_mutex_lock(&s->lock);
    const uint32_t at[2] = {
        keep(site->drawn, &site->drawn_count, QN_SAMPLES_DRAWN, 0, now, drawn_before),
        keep(site->largest, &site->largest_count, QN_SAMPLES_LARGEST, QN_SAMPLES_DRAWN, now, larger_before)};
    for (int i = 0; i < 2; i++)
      if (at[i] != UINT32_MAX) memcpy(rows + at[i] * d, x, d * sizeof *x);
    for (size_t i = 0; i < d; i++) {
      const float a = x[i] < 0 ? -x[i] : x[i];
      maxima[i] = a > maxima[i] ? a : maxima[i];
    }
    pthread_mutex_unlock(&s->lock);
  }
}

static int by_row(const void *a, const void *b) {
  const qn_kept_row *x = a, *y = b;
  return (x->row > y->row) - (x->row < y->row);
}
static int by_magnitude(const void *a, const void *b) { return larger_before(a, b) ? -1 : 1; }

void qn_samples_end(qn_samples *s) {
  for (size_t i = 0; i < (size_t)s->inputs.layers * QN_SITE_KINDS; i++) {
    qn_sample_site *site = &s->sites[i];
    qn_sort_items(site->drawn, site->drawn_count, sizeof *site->drawn, by_row);
    qn_sort_items(site->largest, site->largest_count, sizeof *site->largest, by_magnitude);
  }
}

size_t qn_samples_rows(const qn_samples *s, uint32_t layer, uint32_t input, float *out) {
  const qn_sample_site *site = qn_samples_site(s, layer, input);
  const float *rows = rows_of(s, layer, input);
  const size_t d = s->inputs.width[input];
  for (uint32_t i = 0; i < site->drawn_count; i++) memcpy(out + i * d, rows + site->drawn[i].slot * d, d * sizeof *out);
  for (uint32_t i = 0; i < site->largest_count; i++)
    memcpy(out + (site->drawn_count + i) * d, rows + site->largest[i].slot * d, d * sizeof *out);
  return site->drawn_count + site->largest_count;
}
