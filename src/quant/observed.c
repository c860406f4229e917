/* observed.c - the store of what calibration saw (observed.h). Minima, maxima and counts alone are kept while lanes run, so that the
 * order in which they come does not matter. */
#include "quant/observed.h"

#include <string.h>

#include "base/checked.h"

static const qn_extremes nothing = {__builtin_inff(), -__builtin_inff()};

static inline void widen(qn_extremes *e, float x) {
  e->low = x < e->low ? x : e->low;
  e->high = x > e->high ? x : e->high;
}
static void join(qn_extremes *e, const qn_extremes *with) {
  widen(e, with->low);
  widen(e, with->high);
}

static void lay_out(qn_observed *o, qn_arena *a) {
  qn_site_seen *sites = qn_arena_take(a, o->sites, sizeof *o->site);
  for (uint32_t i = 0; i < o->sites; i++) {
    qn_site s;
    qn_site_at(&o->arch, i, &s);
    qn_site_seen seen = {.channels = s.channels, .all = nothing, .block = nothing};
    seen.channel = qn_arena_take(a, s.channels, sizeof *seen.channel);
    seen.token = qn_arena_take(a, o->tokens, sizeof *seen.token);
    if (o->histograms) seen.bin = qn_arena_take(a, QN_BINS, sizeof *seen.bin);
    if (!sites) continue;
    for (uint32_t c = 0; c < s.channels; c++) seen.channel[c] = nothing;
    for (size_t t = 0; t < o->tokens; t++) seen.token[t] = nothing;
    if (seen.bin) memset(seen.bin, 0, QN_BINS * sizeof *seen.bin);
    sites[i] = seen;
  }
  o->site = sites;
  o->id = qn_arena_take(a, o->tokens, sizeof *o->id);
  o->position = qn_arena_take(a, o->tokens, sizeof *o->position);
}

quern_status qn_observed_create(qn_observed *o, qn_env *env, const qn_arch *a, size_t tokens, int histograms) {
  qn_arena arena = {0};
  *o = (qn_observed){.arch = *a,
                     .sites = qn_site_count(a),
                     .tokens = tokens,
                     .histograms = histograms,
                     .lock = PTHREAD_MUTEX_INITIALIZER};
  lay_out(o, &arena);
  if (arena.overflow) return qn_fail(&env->error, QUERN_E_MEMORY, "calibration does not fit the address space");
  QN_TRY(qn_alloc(env, &o->memory, arena.used, "what calibration sees"));
  o->bytes = arena.used;
  arena = (qn_arena){.base = o->memory, .cap = o->bytes};
  lay_out(o, &arena);
  return QUERN_OK;
}

void qn_observed_free(qn_env *env, qn_observed *o) {
  qn_free(env, o->memory, o->bytes);
  *o = (qn_observed){0};
}

static uint32_t bin_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  const uint32_t least = (127u - QN_BIN_EXPONENT) << QN_BIN_FRACTION;
  uint32_t at = (bits & 0x7fffffffu) >> (23 - QN_BIN_FRACTION);
  at = at < least ? 0 : at - least;
  if (at >= QN_BINS_A_SIGN) at = QN_BINS_A_SIGN - 1;
  return bits >> 31 ? QN_BINS_A_SIGN - 1 - at : QN_BINS_A_SIGN + at;
}

static float magnitude_at(uint32_t at) {
  const uint32_t bits = (at + ((127u - QN_BIN_EXPONENT) << QN_BIN_FRACTION)) << (23 - QN_BIN_FRACTION);
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

float qn_bin_end(uint32_t bin) {
  if (bin >= QN_BINS_A_SIGN) return magnitude_at(bin - QN_BINS_A_SIGN + 1);
  return bin == QN_BINS_A_SIGN - 1 ? 0.0f : -magnitude_at(QN_BINS_A_SIGN - 1 - bin);
}
float qn_bin_value(uint32_t bin) {
  if (bin == QN_BINS_A_SIGN || bin == QN_BINS_A_SIGN - 1) return 0.0f;
  const uint32_t at = bin > QN_BINS_A_SIGN ? bin - QN_BINS_A_SIGN : QN_BINS_A_SIGN - 1 - bin;
  const float middle = 0.5f * (magnitude_at(at) + magnitude_at(at + 1));
  return bin > QN_BINS_A_SIGN ? middle : -middle;
}

void qn_observed_see(void *user, const qn_seen *seen) {
  qn_observed *o = user;
  const uint32_t index = qn_site_index(&o->arch, seen->kind, seen->layer);
  if (index == UINT32_MAX) return;
  qn_site_seen *s = &o->site[index];
  pthread_mutex_lock(&o->lock);
  for (size_t r = 0; r < seen->rows; r++) {
    const float *x = seen->x + r * seen->ld;
    qn_extremes row = nothing;
    for (uint32_t i = 0; i < seen->d; i++) widen(&row, x[i]);
    for (uint32_t i = 0; i < seen->d && seen->channels; i++) widen(&s->channel[i], x[i]);
    for (uint32_t i = 0; i < seen->d && s->bin; i++) s->bin[bin_of(x[i])]++;
    const size_t at = o->first + seen->row + r;
    if (at < o->tokens) join(&s->token[at], &row);
    if (!seen->channels) join(&s->channel[0], &row);
    join(&s->block, &row);
    s->count += seen->d;
  }
  pthread_mutex_unlock(&o->lock);
}

void qn_observed_tokens(qn_observed *o, const int32_t *ids, const int32_t *positions, size_t tokens) {
  for (size_t i = 0; i < tokens && o->first + i < o->tokens; i++) {
    o->id[o->first + i] = ids[i];
    o->position[o->first + i] = positions[i];
  }
}

void qn_observed_end_block(qn_observed *o, size_t tokens, size_t texts) {
  for (uint32_t i = 0; i < o->sites; i++) {
    qn_site_seen *s = &o->site[i];
    join(&s->all, &s->block);
    s->low_of_blocks += (double)s->block.low;
    s->high_of_blocks += (double)s->block.high;
    s->block = nothing;
  }
  o->first += tokens;
  o->texts += texts;
  o->blocks++;
}
