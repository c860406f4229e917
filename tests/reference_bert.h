/* reference_bert.h - the forward pass of a tiny_model.h encoder in double precision, as plainly as it can be written: what the
 * library's results are compared with. Tests only. */
#ifndef QN_REFERENCE_BERT_H
#define QN_REFERENCE_BERT_H
#include <math.h>

#include "tiny_model.h"

typedef struct reference {
  const tiny_options *o;
  uint32_t n; /* tokens */
  double *x;  /* [n, width] */
} reference;

/* out[n, rows] = in[n, cols] W^T + b, weights by their source name. */
static inline void reference_linear(const reference *r, const double *in, double *out, uint32_t rows, uint32_t cols,
                                    const char *name) {
  char weight[96], bias[96];
  snprintf(weight, sizeof weight, "%s.weight", name);
  snprintf(bias, sizeof bias, "%s.bias", name);
  for (uint32_t i = 0; i < r->n; i++) {
    for (uint32_t j = 0; j < rows; j++) {
      double sum = tiny_weight(r->o->seed, bias, j);
      for (uint32_t c = 0; c < cols; c++)
        sum += in[i * cols + c] * (double)tiny_weight(r->o->seed, weight, (uint64_t)j * cols + c);
      out[i * rows + j] = sum;
    }
  }
}

static inline void reference_norm(const reference *r, uint32_t d, const char *name) {
  char gain[96], bias[96];
  snprintf(gain, sizeof gain, "%s.weight", name);
  snprintf(bias, sizeof bias, "%s.bias", name);
  for (uint32_t i = 0; i < r->n; i++) {
    double *x = r->x + i * d, mean = 0, var = 0;
    for (uint32_t c = 0; c < d; c++) mean += x[c] / d;
    for (uint32_t c = 0; c < d; c++) var += (x[c] - mean) * (x[c] - mean) / d;
    for (uint32_t c = 0; c < d; c++)
      x[c] = (x[c] - mean) / sqrt(var + 1e-12) * (double)tiny_weight(r->o->seed, gain, c) +
             (double)tiny_weight(r->o->seed, bias, c);
  }
}

/* T5's bucket of a distance, key - query, by its definition in floats. */
static inline uint32_t reference_bucket(int distance) {
  const int d = abs(distance), far = d < 8 ? d : 8 + (int)(log(d / 8.0) / log(16.0) * 8 + 1e-9);
  return (uint32_t)((far < 15 ? far : 15) + (distance > 0 ? 16 : 0));
}

static inline double reference_bias(const reference *r, uint32_t head, int distance) {
  if (!tiny_is(r->o, "mpnet")) return 0;
  return (double)tiny_weight(r->o->seed, "encoder.relative_attention_bias.weight",
                             (uint64_t)reference_bucket(distance) * r->o->heads + head);
}

static inline void reference_attention(const reference *r, const double *q, const double *k, const double *v,
                                       double *out) {
  const uint32_t n = r->n, d = r->o->width, h = d / r->o->heads;
  double *p = malloc(n * sizeof *p);
  for (uint32_t head = 0; head < r->o->heads; head++) {
    for (uint32_t i = 0; i < n; i++) {
      double max = -INFINITY, sum = 0;
      for (uint32_t j = 0; j < n; j++) {
        p[j] = 0;
        for (uint32_t c = head * h; c < (head + 1) * h; c++) p[j] += q[i * d + c] * k[j * d + c];
        p[j] = p[j] / sqrt(h) + reference_bias(r, head, (int)j - (int)i);
        max = fmax(max, p[j]);
      }
      for (uint32_t j = 0; j < n; j++) sum += p[j] = exp(p[j] - max);
      for (uint32_t c = head * h; c < (head + 1) * h; c++) {
        double y = 0;
        for (uint32_t j = 0; j < n; j++) y += p[j] / sum * v[j * d + c];
        out[i * d + c] = y;
      }
    }
  }
  free(p);
}

static inline void reference_layer(reference *r, uint32_t layer, double *scratch) {
  const uint32_t d = r->o->width, f = r->o->ffn;
  const size_t nd = (size_t)r->n * d;
  char name[96];
  double *q = scratch, *k = q + nd, *v = k + nd, *a = v + nd, *b = a + nd, *h = b + nd;
#define REFERENCE_NAME(suffix) (snprintf(name, sizeof name, "encoder.layer.%u.%s", layer, suffix), name)
  reference_linear(r, r->x, q, d, d, REFERENCE_NAME("attention.self.query"));
  reference_linear(r, r->x, k, d, d, REFERENCE_NAME("attention.self.key"));
  reference_linear(r, r->x, v, d, d, REFERENCE_NAME("attention.self.value"));
  reference_attention(r, q, k, v, a);
  reference_linear(r, a, b, d, d, REFERENCE_NAME("attention.output.dense"));
  for (size_t i = 0; i < nd; i++) r->x[i] += b[i];
  reference_norm(r, d, REFERENCE_NAME("attention.output.LayerNorm"));
  reference_linear(r, r->x, h, f, d, REFERENCE_NAME("intermediate.dense"));
  for (size_t i = 0; i < (size_t)r->n * f; i++) h[i] = h[i] * 0.5 * (1 + erf(h[i] / sqrt(2)));
  reference_linear(r, h, b, d, f, REFERENCE_NAME("output.dense"));
  for (size_t i = 0; i < nd; i++) r->x[i] += b[i];
  reference_norm(r, d, REFERENCE_NAME("output.LayerNorm"));
#undef REFERENCE_NAME
}

/* Sum of the embedding tables and its norm: x [n, width of the tables]. */
static inline void reference_embed(const reference *r, const int32_t *ids, const int32_t *types) {
  const tiny_options *o = r->o;
  const uint32_t e = tiny_table_width(o), offset = tiny_position_offset(o);
  const int typed = tiny_is(o, "bert") || tiny_is(o, "electra");
  for (uint32_t i = 0; i < r->n; i++) {
    for (uint32_t c = 0; c < e; c++) {
      double *x = &r->x[i * e + c];
      *x = (double)tiny_weight(o->seed, "embeddings.word_embeddings.weight", (uint64_t)(uint32_t)ids[i] * e + c) +
           (double)tiny_weight(o->seed, "embeddings.position_embeddings.weight", (uint64_t)(i + offset) * e + c);
      if (typed)
        *x += (double)tiny_weight(o->seed, "embeddings.token_type_embeddings.weight",
                                  (uint64_t)(uint32_t)(types ? types[i] : 0) * e + c);
    }
  }
  reference_norm(r, e, "embeddings.LayerNorm");
}

/* Hidden states of the last layer into out [n, width]; types may be NULL. */
static inline void reference_bert(const tiny_options *o, const int32_t *ids, const int32_t *types, uint32_t n,
                                  double *out) {
  const uint32_t d = o->width, e = tiny_table_width(o);
  double *scratch = malloc((5 * (size_t)n * d + (size_t)n * (o->ffn > e ? o->ffn : e)) * sizeof *scratch);
  reference r = {o, n, out}, tables = {o, n, o->embed_width ? scratch : out};
  reference_embed(&tables, ids, types);
  if (o->embed_width) reference_linear(&r, scratch, out, d, e, "embeddings_project");
  for (uint32_t l = 0; l < o->layers; l++) reference_layer(&r, l, scratch);
  free(scratch);
}
#endif
