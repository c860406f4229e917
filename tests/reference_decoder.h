/* reference_decoder.h - the forward pass of any architecture that made_source.h makes up, in double precision, whole sequences
 * at once, as plainly as it can be written: what the library's results are compared with. Tests only. */
#ifndef QN_REFERENCE_DECODER_H
#define QN_REFERENCE_DECODER_H
#include <math.h>

#include "made_source.h"

typedef struct plain {
  const qn_arch *a;
  uint32_t n; /* tokens */
} plain;

static inline const char *plain_name(char *buf, size_t cap, int layer, const char *name) {
  if (layer >= 0)
    snprintf(buf, cap, "layers.%d.%s", layer, name);
  else
    snprintf(buf, cap, "%s", name);
  return buf;
}

/* out [n, rows] = x [n, cols] W^T + b. */
static inline void plain_linear(const plain *p, int layer, const char *name, const double *x, uint32_t cols,
                                double *out, uint32_t rows) {
  char base[96], weight[112], bias[112];
  plain_name(base, sizeof base, layer, name);
  snprintf(weight, sizeof weight, "%s.weight", base);
  snprintf(bias, sizeof bias, "%s.bias", base);
  float *w = malloc((size_t)rows * cols * sizeof *w);
  for (size_t i = 0; i < (size_t)rows * cols; i++) w[i] = tiny_value(weight, i);
  for (uint32_t r = 0; r < rows; r++) {
    const double b = tiny_has(bias) ? (double)tiny_value(bias, r) : 0;
    for (uint32_t i = 0; i < p->n; i++) {
      double sum = b;
      for (uint32_t c = 0; c < cols; c++) sum += x[(size_t)i * cols + c] * (double)w[(size_t)r * cols + c];
      out[(size_t)i * rows + r] = sum;
    }
  }
  free(w);
}

/* One row of d; rms: not centred, without a bias. */
static inline void plain_norm_row(const plain *p, const char *base, int rms, const double *x, double *y, uint32_t d) {
  char gain[112], bias[112];
  double mean = 0, var = 0;
  snprintf(gain, sizeof gain, "%s.gain", base);
  snprintf(bias, sizeof bias, "%s.bias", base);
  for (uint32_t c = 0; c < d && !rms; c++) mean += x[c] / d;
  for (uint32_t c = 0; c < d; c++) var += (x[c] - mean) * (x[c] - mean) / d;
  for (uint32_t c = 0; c < d; c++)
    y[c] = (x[c] - mean) / sqrt(var + (double)p->a->norm_eps) * (double)tiny_value(gain, c) +
           (rms ? 0 : (double)tiny_value(bias, c));
}
static inline void plain_norm(const plain *p, int layer, const char *name, const double *x, double *y) {
  char base[96];
  const uint32_t d = p->a->width;
  plain_name(base, sizeof base, layer, name);
  for (uint32_t i = 0; i < p->n; i++)
    plain_norm_row(p, base, p->a->norm == QN_NORM_RMS, x + (size_t)i * d, y + (size_t)i * d, d);
}

static inline double plain_act(uint32_t act, double x) {
  switch (act) {
    case QN_ACT_GELU:
      return x * 0.5 * (1 + erf(x / sqrt(2)));
    case QN_ACT_GELU_TANH:
      return x * 0.5 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case QN_ACT_RELU:
      return x > 0 ? x : 0;
    case QN_ACT_SILU:
      return x / (1 + exp(-x));
    default:
      return x;
  }
}

static inline int plain_is_local(const qn_arch *a, int layer) {
  return a->window && !(a->global_every && (uint32_t)(layer + 1) % a->global_every == 0);
}

/* The norm and the rotation of one head at a position, in place. */
static inline void plain_turn(const plain *p, int layer, const char *norm, double *x, uint32_t position) {
  const qn_arch *a = p->a;
  const char *frequency = a->local_rotary && plain_is_local(a, layer) ? "rotary.local.frequency" : "rotary.frequency";
  char base[96];
  plain_name(base, sizeof base, layer, norm);
  if (a->head_norm) plain_norm_row(p, base, 1, x, x, a->head_dim);
  for (uint32_t i = 0; i < a->rotary / 2; i++) {
    const double t = (double)position * (double)tiny_value(frequency, i);
    const double u = x[i], v = x[i + a->rotary / 2];
    x[i] = u * cos(t) - v * sin(t);
    x[i + a->rotary / 2] = v * cos(t) + u * sin(t);
  }
}

static inline int plain_sees(const qn_arch *a, int layer, uint32_t i, uint32_t j) {
  if (a->causal && j > i) return 0;
  return !plain_is_local(a, layer) || (uint32_t)abs((int)i - (int)j) < a->window;
}

/* out [n, heads * head_dim] of x [n, width]. */
static inline void plain_attention(const plain *p, int layer, const double *x, double *out) {
  const qn_arch *a = p->a;
  const uint32_t h = a->head_dim, qd = a->heads * h, kd = a->kv_heads * h, share = a->heads / a->kv_heads;
  const size_t n = p->n;
  double *q = malloc(n * qd * sizeof *q), *k = malloc(n * kd * sizeof *k), *v = malloc(n * kd * sizeof *v);
  double *s = malloc(n * sizeof *s);
  const double scale = a->score_scale != 0 ? (double)a->score_scale : 1 / sqrt(h);
  plain_linear(p, layer, "attn.q", x, a->width, q, qd);
  plain_linear(p, layer, "attn.k", x, a->width, k, kd);
  plain_linear(p, layer, "attn.v", x, a->width, v, kd);
  for (uint32_t i = 0; i < n && a->rotary; i++) {
    for (uint32_t c = 0; c < qd; c += h) plain_turn(p, layer, "attn.q.norm", q + i * qd + c, i);
    for (uint32_t c = 0; c < kd; c += h) plain_turn(p, layer, "attn.k.norm", k + i * kd + c, i);
  }
  for (uint32_t head = 0; head < a->heads; head++)
    for (uint32_t i = 0; i < n; i++) {
      double max = -INFINITY, sum = 0;
      for (uint32_t j = 0; j < n; j++) {
        s[j] = -INFINITY;
        if (!plain_sees(a, layer, i, j)) continue;
        s[j] = 0;
        for (uint32_t c = 0; c < h; c++) s[j] += q[i * qd + head * h + c] * k[j * kd + head / share * h + c];
        s[j] *= scale;
        if (a->score_cap != 0) s[j] = (double)a->score_cap * tanh(s[j] / (double)a->score_cap);
        max = fmax(max, s[j]);
      }
      for (uint32_t j = 0; j < n; j++) sum += s[j] = exp(s[j] - max);
      for (uint32_t c = 0; c < h; c++) {
        double y = 0;
        for (uint32_t j = 0; j < n; j++) y += s[j] / sum * v[j * kd + head / share * h + c];
        out[i * qd + head * h + c] = y;
      }
    }
  free(q), free(k), free(v), free(s);
}

/* out [n, width] of x, by way of the feed-forward block. */
static inline void plain_ffn(const plain *p, int layer, const double *x, double *out) {
  const qn_arch *a = p->a;
  const size_t n = (size_t)p->n * a->ffn;
  double *up = malloc(n * sizeof *up), *gate = malloc(n * sizeof *gate);
  plain_linear(p, layer, "ffn.up", x, a->width, up, a->ffn);
  if (a->gated) plain_linear(p, layer, "ffn.gate", x, a->width, gate, a->ffn);
  for (size_t i = 0; i < n; i++)
    up[i] = a->gated ? plain_act(a->activation, gate[i]) * up[i] : plain_act(a->activation, up[i]);
  plain_linear(p, layer, "ffn.down", up, a->ffn, out, a->width);
  free(up), free(gate);
}

static inline void plain_add(double *x, const double *y, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static inline void plain_layer(const plain *p, int layer, double *x) {
  const qn_arch *a = p->a;
  const size_t n = (size_t)p->n * a->width;
  double *y = malloc(n * sizeof *y), *z = malloc(n * sizeof *z);
  double *context = malloc((size_t)p->n * a->heads * a->head_dim * sizeof *context);
  const int post = a->place == QN_PLACE_POST, sandwich = a->place == QN_PLACE_SANDWICH;
  if (post)
    memcpy(y, x, n * sizeof *y);
  else
    plain_norm(p, layer, "attn.norm", x, y);
  plain_attention(p, layer, y, context);
  plain_linear(p, layer, "attn.out", context, a->heads * a->head_dim, z, a->width);
  if (a->place == QN_PLACE_PARALLEL) {
    plain_add(x, z, n);
    plain_ffn(p, layer, y, z);
    plain_add(x, z, n);
  } else {
    if (sandwich) plain_norm(p, layer, "attn.post", z, z);
    plain_add(x, z, n);
    if (post) plain_norm(p, layer, "attn.norm", x, x);
    if (post)
      memcpy(y, x, n * sizeof *y);
    else
      plain_norm(p, layer, "ffn.norm", x, y);
    plain_ffn(p, layer, y, z);
    if (sandwich) plain_norm(p, layer, "ffn.post", z, z);
    plain_add(x, z, n);
    if (post) plain_norm(p, layer, "ffn.norm", x, x);
  }
  free(y), free(z), free(context);
}

/* Hidden states behind the last norm, [n, width], of tiny_source. */
static inline void plain_hidden(const int32_t *ids, uint32_t n, double *x) {
  const qn_arch *a = &tiny_source;
  const plain p = {a, n};
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t c = 0; c < a->width; c++) {
      double *v = &x[(size_t)i * a->width + c];
      *v = (double)tiny_value(a->tied ? "head.out.weight" : "embed.tokens", (uint64_t)(uint32_t)ids[i] * a->width + c);
      if (a->embed_scale != 0) *v *= (double)a->embed_scale;
      if (!a->rotary) *v += (double)tiny_value("embed.positions", (uint64_t)i * a->width + c);
      if (a->types) *v += (double)tiny_value("embed.types", c);
    }
  if (!a->no_embed_norm) plain_norm(&p, -1, "embed.norm", x, x);
  for (uint32_t l = 0; l < a->layers; l++) plain_layer(&p, (int)l, x);
  if (a->final_norm) plain_norm(&p, -1, "final.norm", x, x);
}

/* Logits after every token, [n, vocab]. */
static inline void plain_logits(const int32_t *ids, uint32_t n, double *logits) {
  const qn_arch *a = &tiny_source;
  const plain p = {a, n};
  double *x = malloc((size_t)n * a->width * sizeof *x);
  plain_hidden(ids, n, x);
  plain_linear(&p, -1, "head.out", x, a->width, logits, a->labels);
  for (size_t i = 0; i < (size_t)n * a->labels && a->logit_cap != 0; i++)
    logits[i] = (double)a->logit_cap * tanh(logits[i] / (double)a->logit_cap);
  free(x);
}
#endif
