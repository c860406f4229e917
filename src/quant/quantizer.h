/* quantizer.h - a quantize job at work, shared by quantize.c (the data) and describe.c (what the file says before its data). */
#ifndef QN_QUANTIZER_H
#define QN_QUANTIZER_H
#include "format/qrn.h"
#include "quant/choose.h"
#include "quant/items.h"
#include "quant/migrate.h"
#include "quant/moments.h"
#include "quant/quant.h"
#include "quant/ranges.h"
#include "quant/report.h"
#include "quant/smooth.h"
#include "quant/token_codes.h"
#include "quant/input_transform.h"

typedef struct qn_quantizer {
  qn_env *env;
  const qn_quantize_job *job;
  qn_source *source;
  qrn_writer *writer;
  qn_recipe recipe;
  qn_arch arch;
  qn_report report;
  qn_buffer rows_found; /* the report's rows: they grow with what the source has, not with what its config says */
  /* Of the linear operators' inputs, where the recipe smooths, and of queries and keys, where these are balanced. */
  qn_maxima maxima;
  qn_moments moments;         /* of the same inputs, where weights are rounded by calibration */
  qn_samples samples;         /* rows of the same inputs, where they are transformed */
  qn_transform_shape *shapes; /* [layers, QN_SITE_KINDS] of transforms, where they are chosen; else NULL */
  size_t shapes_bytes;
  qn_transform merged; /* what values have of attention's output, until that is written */
  qn_buffer trails;    /* for a report: qn_trail [layers, QN_SITE_KINDS] */
  qn_plan plan;        /* the sites of a static recipe */
  qn_migration migration;
  qn_choice choice;        /* of a recipe with max_loss */
  qn_examination examined; /* for a report */
  qn_maxima smoothed; /* for a report, and where inputs are transformed: smoothing vectors, laid out as maxima are */
  uint32_t *split;    /* [layers, arch.ffn_copies]: the neuron that a copy repeats */
  size_t split_bytes;
  uint64_t done, total; /* progress: embeddings, layers, head */
  /* Working memory for the largest item. */
  void *floats, *packed;
  float *scale, *min, *group_sums, *bias, *smooth, *work;
  void *sums;   /* int32 or float */
  int8_t *step; /* of tables; of linear operators unsigned */
  size_t floats_bytes, packed_bytes, rows, scales, steps;
} qn_quantizer;

/* Bits of an item's codes: fewer than 8 are for the layers, where the bytes are. */
uint32_t qn_quantizer_bits(const qn_quantizer *q, const qn_item *it);
/* Codes of a linear operator. */
qn_form qn_quantizer_form(const qn_quantizer *q, const qn_item *it);
/* The greatest code of an item that has codes of 8 bits or less in bytes, with one scale a row. */
float qn_quantizer_most(const qn_quantizer *q, const qn_item *it);
/* Whether an item has codes of 8 bits with one scale a row. */
int qn_quantizer_plain(const qn_quantizer *q, const qn_item *it);
/* Channels of an operator's input that share a scale; 0: all. */
uint32_t qn_quantizer_input_group(const qn_quantizer *q, const qn_item *it);
/* Whether it has no zero points. */
int qn_quantizer_symmetric(const qn_quantizer *q, const qn_item *it);
/* Whether the sums of its weights by groups of the input are in the file; whether its input is smoothed. */
int qn_quantizer_group_sums(const qn_quantizer *q, const qn_item *it);
/* The site of an operator's input, where it is static and has groups; else NULL. */
const qn_site_plan *qn_quantizer_parts(const qn_quantizer *q, const qn_item *it);
int qn_quantizer_smooths(const qn_quantizer *q, const qn_item *it);
/* Whether its smoothing vector is in the file, since it does not fold (fold.h). */
int qn_quantizer_multiplies(const qn_quantizer *q, const qn_item *it);

/* Bits of the codes of an operator's input; those codes where they are found while running. */
uint32_t qn_quantizer_input_bits(const qn_quantizer *q, const qn_item *it);
qn_token_codes qn_quantizer_token_codes(const qn_quantizer *q, const qn_item *it);
/* Which parts the transform of an operator's input has; block 0: it has none. */
qn_transform_shape qn_quantizer_shape(const qn_quantizer *q, const qn_item *it);
/* Whether its input has a clip factor in the file. */
int qn_quantizer_clips(const qn_quantizer *q, const qn_item *it);
int qn_quantizer_needs_moments(const qn_quantizer *q);
int qn_quantizer_needs_samples(const qn_quantizer *q);

/* quantize.c: an item's floats, of a linear operator its bias too, into the working memory, in the orders that the recipe calls for.
   find_smooth.c: the smoothing vectors of inputs that are transformed, before anything is written. choose_transform.c: q->shapes, where the
   recipe leaves them open. */
quern_status qn_quantizer_read(qn_quantizer *q, qn_item *it);
quern_status qn_quantizer_find_smooth(qn_quantizer *q);
quern_status qn_quantizer_choose_transforms(qn_quantizer *q);

/* write_linear.c: the working memory as an item's codes; one of an item's tensors; all of a linear operator's, whose weights are in
   q->floats. */
qn_packed qn_quantizer_packed(const qn_quantizer *q);
quern_status qn_quantizer_write(qn_quantizer *q, const qn_item *it, const char *suffix, const void *data, size_t bytes);
quern_status qn_quantizer_write_linear(qn_quantizer *q, const qn_item *it);
/* The nearest codes of q->floats, on ranges that need no text, into the working memory. */
quern_status qn_quantizer_pack_nearest(qn_quantizer *q, const qn_item *it);
/* Rows of an operator's input that were kept, smoothed, into *out (to be freed: QN_SAMPLES_MOST rows); *count 0: there are none. */
quern_status qn_quantizer_rows(const qn_quantizer *q, const qn_item *it, void **out, size_t *count, qn_trail *trail);
uint64_t qn_quantizer_transform_seed(const qn_quantizer *q, const qn_item *it);
/* write_transform.c: values and their bias, in q->floats and q->bias, in the basis that attention's output of that layer has, where the two are merged.
   The transform of an operator's input, by which q->floats, its weights already smoothed, are changed; its tensors, where it is not merged. */
quern_status qn_quantizer_merge(qn_quantizer *q, const qn_item *it);
quern_status qn_quantizer_transform(qn_quantizer *q, const qn_item *it, qn_transform *t);
quern_status qn_quantizer_write_transform(qn_quantizer *q, const qn_item *it, const qn_transform *t);
quern_status qn_quantizer_declare_transform(qn_quantizer *q, const qn_item *it);

/* Checks every item against the source, so that a missing tensor is found before anything is written, and counts the working memory.
   Then what each becomes. */
quern_status qn_quantizer_size(qn_quantizer *q);
quern_status qn_quantizer_declare(qn_quantizer *q);
/* What shortcuts are multiplied by, and the values of static sites, declared behind all other tensors. */
quern_status qn_quantizer_write_vectors(qn_quantizer *q);
/* META, ARCH, SITES and TOKENIZER. */
quern_status qn_quantizer_describe(qn_quantizer *q);
#endif
