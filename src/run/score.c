/* score.c - log-probabilities of tokens (score.h). */
#include "run/score.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

/* x = 2^e m, m in sqrt(1/2) ... sqrt(2): e log(2) + 2 artanh((m - 1) / (m + 1)), by its series. */
double qn_ln(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int64_t e = (int64_t)(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u;
  double m, sum = 0;
  memcpy(&m, &bits, sizeof m);
  if (m > 1.4142135623730951) m *= 0.5, e++;
  const double f = (m - 1) / (m + 1), s = f * f;
  for (int k = 23; k >= 1; k -= 2) sum = sum * s + 1.0 / k;
  return (double)e * 0.6931471805599453 + 2 * f * sum;
}

/* Of a token, by the logits after those before it. The largest logit's probability is 1 / sum of exponentials. */
static float log_probability(const quern_session *s, const float *logits, int32_t id) {
  const uint32_t vocab = s->sampler.vocab;
  float *p = s->sampler.values, most = -INFINITY;
  uint32_t best = 0;
  for (uint32_t i = 0; i < vocab; i++)
    if (logits[i] > most) most = logits[i], best = i;
  s->kernels->softmax(logits, p, vocab);
  return (float)((double)(logits[id] - most) + qn_ln((double)p[best]));
}

/* Tokens 1 ... n - 1 of those of the last pass by the rows of the ones before them. */
static quern_status score_rows(quern_session *s, const int32_t *ids, uint32_t n, float *out) {
  const float *logits;
  for (uint32_t i = 0, rows; i + 1 < n; i += rows) {
    rows = (uint32_t)qn_min_size(n - 1 - i, s->logit_rows);
    QN_TRY(qn_decode_rows(s, i, rows, &logits));
    for (uint32_t r = 0; r < rows; r++)
      out[i + r + 1] = log_probability(s, logits + (size_t)r * s->sampler.vocab, ids[i + r + 1]);
  }
  return QUERN_OK;
}

quern_status qn_score(quern_session *s, uint32_t sequence, const int32_t *ids, uint32_t n, float *log_probabilities) {
  for (uint32_t i = 0, rows; i < n; i += rows) {
    rows = (uint32_t)qn_min_size(n - i, s->max_tokens);
    if ((uint32_t)ids[i] >= s->sampler.vocab)
      return qn_fail(&s->error, QUERN_E_ARGUMENT, "token id %d is outside the vocabulary of %u", ids[i],
                     s->sampler.vocab);
    log_probabilities[i] = 0;
    if (s->cache.sequence[sequence].length) {
      const float *logits;
      QN_TRY(qn_decode_logits(s, sequence, &logits));
      log_probabilities[i] = log_probability(s, logits, ids[i]);
    }
    QN_TRY(qn_decode(s, &sequence, &rows, 1, ids + i));
    QN_TRY(score_rows(s, ids + i, rows, log_probabilities + i));
  }
  return QUERN_OK;
}
