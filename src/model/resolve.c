/* resolve.c - every tensor and site that an architecture calls for, found in a file and checked by name, dtype, layout and shape
 * (resolve.h). Damage leads to a status, never out of bounds. Stateless; any thread. */
#include "model/resolve.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "kernels/layout.h"

/* What resolving one model needs to know. */
typedef struct resolver {
  const qrn_reader *file;
  qn_env *env;
  const qn_arch *arch;
  int is_float;  /* linear operators and tables are f32; else what the file says */
  int is_static; /* sites are those of a static recipe, resolved by themselves */
  int grouped, inputs_grouped;
  uint32_t transformed; /* the most channels */
  uint64_t params;
  uint32_t sites;   /* resolved: they come in order */
  uint32_t tensors; /* resolved */
  uint8_t *seen;    /* NULL, or [tensors of the file]: which are */
} resolver;

#define NAME_BYTES 64

static quern_status need(resolver *r, const char *base, const char *suffix, uint32_t dtype, uint32_t layout,
                         uint32_t rank, const uint64_t *dim, const void **out) {
  char name[NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", base, suffix);
  QN_TRY(qrn_need_tensor(r->file, name, dtype, layout, rank, dim, out));
  const qrn_tensor *t = qrn_find_tensor(r->file, name);
  if (!(t->flags & QRN_IGNORABLE)) r->tensors++; /* each is asked for once */
  if (r->seen) r->seen[t - r->file->tensors] = 1;
  return QUERN_OK;
}

static quern_status need_vector(resolver *r, const char *base, const char *suffix, uint32_t dtype, uint64_t n,
                                const void **out) {
  return need(r, base, suffix, dtype, QRN_ROWS, 1, &n, out);
}

static quern_status need_floats(resolver *r, const char *base, const char *suffix, uint64_t n, const float **out) {
  const void *p = NULL;
  QN_TRY(need_vector(r, base, suffix, QRN_F32, n, &p));
  *out = p;
  r->params += n;
  return QUERN_OK;
}

/* The tensor base + suffix; NULL: absent. */
static const qrn_tensor *find(const resolver *r, const char *base, const char *suffix) {
  char name[NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", base, suffix);
  return qrn_find_tensor(r->file, name);
}

/* Its dtype; an absent tensor is reported where it is needed. */
static uint32_t dtype_of(const resolver *r, const char *base, const char *suffix) {
  const qrn_tensor *t = find(r, base, suffix);
  return t ? t->dtype : QRN_I8;
}

/* ---- sites ---- */

static quern_status unsupported(const resolver *r, const char *what, const char *name) {
  return qn_fail(&r->env->error, QUERN_E_UNSUPPORTED, "%s%s is not supported; a later version may have made the file",
                 what, name);
}

/* The next site, which must be base + suffix. */
static quern_status need_site(resolver *r, const char *base, const char *suffix, const qrn_site **out) {
  char name[NAME_BYTES];
  qn_format(name, sizeof name, "%s%s", base, suffix);
  const qrn_reader *f = r->file;
  if (r->sites >= f->site_count || strcmp(f->site_names + f->sites[r->sites].name, name) != 0)
    return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: site %s is missing, or out of order", name);
  *out = &f->sites[r->sites++];
  return QUERN_OK;
}

/* One that an attention has: floats, or symmetric codes of 8 bits by token and head. */
static quern_status need_head_site(resolver *r, const char *base, const char *suffix) {
  const qrn_site *s;
  QN_TRY(need_site(r, base, suffix, &s));
  const int runs = r->is_float ? s->bits == 32
                               : s->bits == 8 && s->grain == QRN_GRAIN_TOKEN_HEAD && s->groups == 1 && s->symmetric;
  return runs ? QUERN_OK : unsupported(r, "the quantization of site ", r->file->site_names + s->name);
}

/* Scales and zero points that the file gives. Read here: their limits are part of the arithmetic. */
static quern_status resolve_static(resolver *r, const char *site, uint64_t groups, uint32_t bits, qn_input *in) {
  const float lowest = qn_site_lowest(bits), highest = qn_site_highest(bits);
  const void *p = NULL;
  QN_TRY(need_vector(r, site, ".scale", QRN_F32, groups, &p));
  in->scale = p;
  if (!in->symmetric) {
    QN_TRY(need_vector(r, site, ".zero", QRN_F32, groups, &p));
    in->zero = p;
  }
  for (uint64_t i = 0; i < groups; i++) {
    const float scale = in->scale[i], zero = in->zero ? in->zero[i] : 0.0f;
    if (!(scale >= 0x1p-100f && scale <= 0x1p100f) || !(zero >= lowest && zero <= highest) || zero != (float)(int)zero)
      return qn_fail(
          &r->env->error, QUERN_E_FORMAT,
          "malformed .qrn file: scale or zero point %llu of site %s: a scale is 2^-100 to 2^100, a zero point an "
          "integer from %d to %d",
          (unsigned long long)i, site, (int)lowest, (int)highest);
  }
  return QUERN_OK;
}

/* Whether a static recipe may have a site like this. */
static int place_runs(const qn_site *site, const qrn_site *s) {
  const uint32_t may = site->flags;
  if (may & QN_SITE_DYNAMIC) return s->bits == 8 && s->grain == QRN_GRAIN_TOKEN && s->groups == 1 && !s->symmetric;
  if (s->bits == 32) return (may & QN_SITE_MAY_FLOAT) != 0;
  if (s->groups > 1 && !(may & QN_SITE_MAY_GROUP)) return 0;
  if (s->groups > 1 && may & QN_SITE_INPUT && s->bits != 8) return 0;
  return s->grain == QRN_GRAIN_STATIC &&
         (s->bits == 8 || (s->bits == 16 && may & QN_SITE_MAY_16) || (s->bits < 8 && may & QN_SITE_MAY_LOW)) &&
         (s->symmetric || s->bits < 8 || !(may & QN_SITE_WEIGHTS));
}

/* Where the groups of a site end that are not equally wide. Read here: kernels take their channels from them. */
static quern_status resolve_ends(resolver *r, const qn_site *site, uint32_t groups) {
  const void *p = NULL;
  int32_t before = 0;
  QN_TRY(need_vector(r, site->name, ".ends", QRN_I32, groups, &p));
  for (uint32_t g = 0; g < groups; g++) {
    const int32_t end = ((const int32_t *)p)[g];
    if (end <= before || (g + 1 == groups ? end != (int32_t)site->channels : end >= (int32_t)site->channels))
      return qn_fail(
          &r->env->error, QUERN_E_FORMAT,
          "malformed .qrn file: end %u of the groups of site %s: ascending channels are expected, and the last "
          "one to be %u",
          g, site->name, site->channels);
    before = end;
  }
  return QUERN_OK;
}

/* All sites of a static recipe: they are those of the table, in its order. */
static quern_status resolve_sites(resolver *r, const qn_arch *a) {
  const uint32_t count = qn_site_count(a);
  for (uint32_t i = 0; i < count; i++) {
    const qrn_site *s;
    qn_site site;
    qn_input values = {0};
    qn_site_at(a, i, &site);
    QN_TRY(need_site(r, site.name, "", &s));
    if (!place_runs(&site, s)) return unsupported(r, "the quantization of site ", site.name);
    if (s->groups > 1 && !s->group)
      QN_TRY(resolve_ends(r, &site, s->groups));
    else if (s->groups != (s->group ? qk_groups(site.channels, s->group) : 1))
      return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: site %s has %u groups of %u in %u channels",
                     site.name, s->groups, s->group, site.channels);
    values.symmetric = s->symmetric;
    if (s->grain == QRN_GRAIN_STATIC) QN_TRY(resolve_static(r, site.name, s->groups, s->bits, &values));
  }
  return QUERN_OK;
}

/* ---- linear operators ---- */

/* Whether the static site of an operator's input has groups. */
static int input_has_parts(const resolver *r, const char *base) {
  char name[NAME_BYTES];
  qn_format(name, sizeof name, "%s.in", base);
  for (uint32_t i = 0; i < r->file->site_count; i++)
    if (!strcmp(r->file->site_names + r->file->sites[i].name, name)) return r->file->sites[i].groups > 1;
  return 0;
}

static quern_status resolve_clip(resolver *r, const char *base, qn_input *in) {
  const void *p = NULL;
  if (!find(r, base, ".in.clip")) return QUERN_OK;
  QN_TRY(need_vector(r, base, ".in.clip", QRN_F32, 1, &p));
  in->clip = *(const float *)p;
  if (!(in->clip >= 0x1p-6f && in->clip <= 1))
    return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: %s.in.clip is not in 1/64 ... 1", base);
  return QUERN_OK;
}

static quern_status resolve_input(resolver *r, const char *base, qn_linear *out) {
  const qrn_site *s;
  if (r->is_static) {
    if (out->dtype != QRN_I8 || out->group)
      return unsupported(r, "a static input of weights with groups or of less than 8 bits: ", base);
    if (!input_has_parts(r, base)) return QUERN_OK;
    const void *p = NULL;
    QN_TRY(need_vector(r, base, ".in.sums", QRN_F32, out->n, &p));
    out->part_sums = p;
    return QUERN_OK;
  }
  QN_TRY(need_site(r, base, ".in", &s));
  const char *name = r->file->site_names + s->name;
  if (r->is_float) return s->bits == 32 ? QUERN_OK : unsupported(r, "the quantization of site ", name);
  const uint64_t groups = s->group ? qk_groups(out->k, s->group) : 1;
  const int low = s->bits == 6 || s->bits == 4;
  if (!(s->bits == 8 || low) || !(s->grain == QRN_GRAIN_TOKEN || (s->grain == QRN_GRAIN_STATIC && !low)))
    return unsupported(r, "the quantization of site ", name);
  if (s->groups != groups)
    return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: site %s has %u groups of %u in %u channels",
                   name, s->groups, s->group, out->k);
  out->in = (qn_input){.group = s->group, .symmetric = s->symmetric, .bits = s->bits};
  if (s->grain == QRN_GRAIN_STATIC) return resolve_static(r, name, groups, 8, &out->in);
  return resolve_clip(r, base, &out->in);
}

/* Panels of floats, one for each output channel and group. */
static quern_status need_group_panels(resolver *r, const char *base, const char *suffix, const qn_linear *l,
                                      uint32_t group, const float **out) {
  const uint64_t shape[2] = {l->n, qk_groups(l->k, group)};
  const void *p = NULL;
  QN_TRY(need(r, base, suffix, QRN_F32, QRN_PANELS, 2, shape, &p));
  *out = p;
  return QUERN_OK;
}

/* What codes have beside them: scales for channels or groups, sums. */
static quern_status resolve_scales(resolver *r, const char *base, qn_linear *out) {
  const void *p = NULL;
  const int small = out->dtype == QRN_U4 || out->dtype == QRN_U2; /* may have steps and minima */
  if (small && find(r, base, ".step")) {
    const uint64_t shape[2] = {out->n, qk_groups(out->k, out->group)};
    QN_TRY(need(r, base, ".step", QRN_U8, QRN_PANELS, 2, shape, &p));
    out->steps = p;
  }
  if (out->steps || !out->group) {
    QN_TRY(need_vector(r, base, ".scale", QRN_F32, out->n, &p));
    out->scale = p;
    QN_TRY(need_vector(r, base, ".sums", QRN_I32, out->n, &p));
    out->sums = p;
    return QUERN_OK;
  }
  QN_TRY(need_group_panels(r, base, ".scale", out, out->group, &out->scale));
  if (out->dtype != QRN_U6 && find(r, base, ".min"))
    QN_TRY(need_group_panels(r, base, ".min", out, out->group, &out->min));
  QN_TRY(need_vector(r, base, ".sums", QRN_F32, out->n, &p));
  out->value_sums = p;
  return QUERN_OK;
}

/* An order of channels, which may be absent: each once. */
static quern_status resolve_order(resolver *r, const char *base, const char *suffix, uint32_t width,
                                  const int32_t **out) {
  const void *p = NULL;
  if (!find(r, base, suffix)) return QUERN_OK;
  QN_TRY(need_vector(r, base, suffix, QRN_I32, width, &p));
  const int32_t *order = p;
  uint8_t *seen = NULL;
  void *memory = NULL;
  quern_status status = QUERN_OK;
  QN_TRY(qn_alloc(r->env, &memory, width, "the order of channels"));
  seen = memory;
  memset(seen, 0, width);
  for (uint32_t i = 0; i < width && status == QUERN_OK; i++) {
    if (order[i] < 0 || (uint32_t)order[i] >= width || seen[order[i]])
      status = qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: %s%s: entry %u is %d", base, suffix, i,
                       order[i]);
    else
      seen[order[i]] = 1;
  }
  qn_free(r->env, memory, width);
  *out = order;
  return status;
}

/* A rotation of the input, which may be absent: a matrix of the block that all parts of a transform share. */
static quern_status resolve_rotation(resolver *r, const char *base, const char *suffix, qk_transform *t,
                                     const int16_t **out) {
  const void *p = NULL;
  const qrn_tensor *found = find(r, base, suffix);
  if (!found) return QUERN_OK;
  const uint64_t block = t->block ? t->block : found->dim[0], shape[2] = {block, block};
  QN_TRY(need(r, base, suffix, QRN_I16, QRN_PANELS, 2, shape, &p));
  t->block = block <= QK_TRANSFORM_BLOCK ? (uint32_t)block : QK_TRANSFORM_BLOCK + 1;
  *out = p;
  return QUERN_OK;
}

/* Signs before a Hadamard transform, by blocks. Read here: kernels multiply by them in integers. */
static quern_status resolve_signs(resolver *r, const char *base, uint32_t k, qk_transform *t) {
  const void *p = NULL;
  const qrn_tensor *found = find(r, base, ".in.signs");
  if (!found) return QUERN_OK;
  const uint64_t block = t->block ? t->block : found->dim[1], shape[2] = {block ? k / block : 0, block};
  QN_TRY(need(r, base, ".in.signs", QRN_I8, QRN_ROWS, 2, shape, &p));
  t->block = block <= QK_TRANSFORM_BLOCK ? (uint32_t)block : QK_TRANSFORM_BLOCK + 1;
  t->signs = p;
  if (t->second || (t->block & (t->block - 1)))
    return qn_fail(
        &r->env->error, QUERN_E_FORMAT,
        "malformed .qrn file: %s.in.signs stands beside a second rotation, or its block is not a power of two", base);
  for (uint32_t i = 0; i < k; i++)
    if (t->signs[i] != 1 && t->signs[i] != -1)
      return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: %s.in.signs: entry %u is %d", base, i,
                     t->signs[i]);
  return QUERN_OK;
}

/* What is done to the input before it is quantized. */
static quern_status resolve_transform(resolver *r, const char *base, qn_linear *l) {
  qk_transform t = {.smooth = l->smooth};
  QN_TRY(resolve_rotation(r, base, ".in.rotation", &t, &t.first));
  QN_TRY(resolve_rotation(r, base, ".in.rotation2", &t, &t.second));
  QN_TRY(resolve_signs(r, base, l->k, &t));
  if (!t.block) return QUERN_OK; /* an order by itself belongs into the weights: nothing knows its tensor */
  if (t.block % QK_LANES || t.block > QK_TRANSFORM_BLOCK || l->k % t.block)
    return qn_fail(
        &r->env->error, QUERN_E_FORMAT,
        "malformed .qrn file: %s: a transform's block is a multiple of %u up to %u that divides the %u inputs", base,
        QK_LANES, QK_TRANSFORM_BLOCK, l->k);
  QN_TRY(resolve_order(r, base, ".in.order", l->k, &t.order));
  if (l->in.scale || (l->in.group && !l->in.symmetric))
    return unsupported(r, "a transform of an input that is static or has groups with zero points: ", base);
  l->transform = t;
  r->transformed = l->k > r->transformed ? l->k : r->transformed;
  return QUERN_OK;
}

static quern_status resolve_codes(resolver *r, const char *base, qn_linear *out) {
  const void *p = NULL;
  QN_TRY(resolve_scales(r, base, out));
  if (find(r, base, ".smooth")) {
    QN_TRY(need_vector(r, base, ".smooth", QRN_F32, out->k, &p));
    out->smooth = p;
  }
  if (!r->is_static) QN_TRY(resolve_transform(r, base, out));
  if (out->in.group) {
    const int own = out->steps || !out->group || out->group >= out->k; /* weights have no groups in the sum */
    if (!own && out->group != out->in.group)
      return qn_fail(&r->env->error, QUERN_E_UNSUPPORTED,
                     "%s: weights in groups of %u on an input in groups of %u are not supported", base, out->group,
                     out->in.group);
    if (!out->in.symmetric) QN_TRY(need_group_panels(r, base, ".in.sums", out, out->in.group, &out->group_sums));
    r->inputs_grouped = 1;
  }
  r->grouped |= out->in.group || (out->group && !out->steps);
  return QUERN_OK;
}

static quern_status resolve_linear(resolver *r, const char *base, uint32_t n, uint32_t k, qn_linear *out) {
  const uint64_t shape[2] = {n, k};
  const uint32_t found = dtype_of(r, base, ".weight");
  const uint32_t dtype = r->is_float ? QRN_F32 : found == QRN_U6 || found == QRN_U4 || found == QRN_U2 ? found : QRN_I8;
  *out = (qn_linear){.n = n, .k = k, .dtype = dtype};
  QN_TRY(need(r, base, ".weight", dtype, QRN_PANELS, 2, shape, &out->weight));
  out->group = find(r, base, ".weight")->group;
  QN_TRY(resolve_input(r, base, out));
  if (!r->is_float) QN_TRY(resolve_codes(r, base, out));
  r->params += (uint64_t)n * k;
  if (find(r, base, ".bias")) QN_TRY(need_floats(r, base, ".bias", n, &out->bias));
  return QUERN_OK;
}

static quern_status resolve_norm(resolver *r, const char *base, uint32_t width, qn_norm *out) {
  QN_TRY(need_floats(r, base, ".gain", width, &out->gain));
  return r->arch->norm == QN_NORM_LAYER ? need_floats(r, base, ".bias", width, &out->bias) : QUERN_OK;
}

/* Rows of codes as the file has them, or, in any recipe, of floats: small tables are not worth the error. */
static quern_status resolve_table(resolver *r, const char *name, uint32_t rows, uint32_t width, qn_table *out) {
  const uint64_t shape[2] = {rows, width};
  const void *p = NULL;
  static const uint32_t bits[QRN_DTYPES] = {[QRN_F32] = 32, [QRN_I8] = 8, [QRN_U4] = 4, [QRN_U2] = 2};
  const uint32_t found = dtype_of(r, name, "");
  const uint32_t dtype = r->is_float || !bits[found] ? QRN_F32 : found;
  *out = (qn_table){.rows = rows, .bits = bits[dtype]};
  QN_TRY(need(r, name, "", dtype, QRN_ROWS, 2, shape, &out->data));
  if (dtype == QRN_I8) {
    QN_TRY(need_vector(r, name, ".scale", QRN_F32, rows, &p));
    out->scale = p;
  }
  if (out->bits < 8) {
    out->group = find(r, name, "")->group;
    const uint64_t pair[2] = {rows, 2}, steps[3] = {rows, qk_groups(width, out->group), 2};
    QN_TRY(need(r, name, ".scale", QRN_F32, QRN_ROWS, 2, pair, &p));
    out->scale = p;
    QN_TRY(need(r, name, ".step", QRN_I8, QRN_ROWS, 3, steps, &p));
    out->step = p;
  }
  r->params += (uint64_t)rows * width;
  return QUERN_OK;
}

/* The rows of the head's weights as the table of tokens: floats, or codes of 8, 6 or 4 bits. */
static quern_status resolve_tied(const resolver *r, const qn_linear *l, qn_table *out) {
  const uint32_t bits = l->dtype == QRN_F32 ? 32 : l->dtype == QRN_I8 ? 8 : l->dtype == QRN_U6 ? 6 : 4;
  if (l->dtype == QRN_U2 || l->smooth || l->transform.block)
    return unsupported(r, "the form of head.out's weights, which are the table of tokens too", "");
  *out = (qn_table){.rows = l->n, .bits = bits, .group = l->group, .panels = l, .data = l->weight, .scale = l->scale};
  return QUERN_OK;
}

static quern_status resolve_shortcut(resolver *r, uint32_t index, const char *block, uint64_t width,
                                     const float **out) {
  char name[NAME_BYTES];
  const void *p = NULL;
  qn_format(name, sizeof name, "layers.%u.%s.shortcut", index, block);
  if (find(r, name, "")) QN_TRY(need_vector(r, name, "", QRN_F32, width, &p));
  *out = p;
  return QUERN_OK;
}

/* An order of hidden channels, which may be absent. */
static quern_status resolve_hidden_order(resolver *r, const char *base, const char *suffix, uint32_t width,
                                         const int32_t **out) {
  return r->is_static ? resolve_order(r, base, suffix, width, out) : QUERN_OK;
}

/* layers.N.NAME, in buf. */
static const char *layer_name(char buf[NAME_BYTES], uint32_t index, const char *name) {
  qn_format(buf, NAME_BYTES, "layers.%u.%s", index, name);
  return buf;
}

static quern_status resolve_attention(resolver *r, const qn_arch *a, uint32_t index, qn_layer *l) {
  static const char *const heads[] = {"q", "k", "v", "probs"};
  char base[NAME_BYTES];
  QN_TRY(resolve_linear(r, layer_name(base, index, "attn.qkv"), qn_arch_qkv(a), a->width, &l->qkv));
  for (uint32_t i = 0; i < 4 && !r->is_static; i++)
    QN_TRY(need_head_site(r, layer_name(base, index, "attn."), heads[i]));
  QN_TRY(resolve_linear(r, layer_name(base, index, "attn.out"), a->width, qn_arch_inner(a), &l->attn_out));
  if (!a->head_norm) return QUERN_OK;
  QN_TRY(need_floats(r, layer_name(base, index, "attn.q.norm"), ".gain", a->head_dim, &l->q_norm));
  return need_floats(r, layer_name(base, index, "attn.k.norm"), ".gain", a->head_dim, &l->k_norm);
}

static quern_status resolve_layer(resolver *r, const qn_arch *a, uint32_t index, qn_layer *l) {
  char base[NAME_BYTES];
  if (a->place == QN_PLACE_POST) {
    QN_TRY(resolve_shortcut(r, index, "attn", a->width, &l->attn_shortcut));
    QN_TRY(resolve_shortcut(r, index, "ffn", a->width, &l->ffn_shortcut));
  }
  QN_TRY(resolve_attention(r, a, index, l));
  QN_TRY(resolve_norm(r, layer_name(base, index, "attn.norm"), a->width, &l->attn_norm));
  QN_TRY(resolve_hidden_order(r, base, ".order", a->width, &l->attn_order));
  QN_TRY(resolve_linear(r, layer_name(base, index, "ffn.up"), qn_arch_up(a), a->width, &l->ffn_up));
  QN_TRY(resolve_linear(r, layer_name(base, index, "ffn.down"), a->width, a->ffn, &l->ffn_down));
  if (a->place == QN_PLACE_SANDWICH) {
    QN_TRY(resolve_norm(r, layer_name(base, index, "attn.post"), a->width, &l->attn_post));
    QN_TRY(resolve_norm(r, layer_name(base, index, "ffn.post"), a->width, &l->ffn_post));
  }
  return a->place == QN_PLACE_PARALLEL ? QUERN_OK
                                       : resolve_norm(r, layer_name(base, index, "ffn.norm"), a->width, &l->ffn_norm);
}

/* Some hundred floats, which become angles: no kernel counts NaN or infinity there. */
static quern_status resolve_frequencies(resolver *r, const char *name, uint32_t n, const float **out) {
  const void *p = NULL;
  QN_TRY(need_vector(r, name, "", QRN_F32, n, &p));
  if (!qn_all_finite(p, n))
    return qn_fail(&r->env->error, QUERN_E_NONFINITE, "NaN or infinity in %s: the file is damaged (quern verify)",
                   name);
  *out = p;
  return QUERN_OK;
}

static quern_status resolve_bias(resolver *r, const qn_arch *a, const float **out) {
  const uint64_t shape[2] = {a->heads, 2 * (uint64_t)a->positions - 1};
  const void *p = NULL;
  QN_TRY(need(r, "attn.relative_bias", "", QRN_F32, QRN_ROWS, 2, shape, &p));
  /* It goes into scores, where no kernel counts NaN or infinity and a softmax may hide them. Some 50 KB. */
  if (!qn_all_finite(p, (size_t)(shape[0] * shape[1])))
    return qn_fail(&r->env->error, QUERN_E_NONFINITE,
                   "NaN or infinity in attn.relative_bias: the file is damaged (quern verify) or its source had such "
                   "weights");
  *out = p;
  r->params += QN_RELATIVE_BUCKETS * (uint64_t)a->heads; /* of which the rows are made */
  return QUERN_OK;
}

static quern_status resolve_all(resolver *r, quern_model *m) {
  const qn_arch *a = &m->arch;
  const uint32_t tables = qn_arch_table_width(a);
  if (r->is_static) QN_TRY(resolve_sites(r, a));
  QN_TRY(resolve_hidden_order(r, "hidden.order", "", a->width, &m->order));
  if (!a->tied) QN_TRY(resolve_table(r, "embed.tokens", a->vocab, tables, &m->tokens));
  if (!a->rotary) QN_TRY(resolve_table(r, "embed.positions", a->positions + a->position_offset, tables, &m->positions));
  if (a->types) QN_TRY(resolve_table(r, "embed.types", a->types, tables, &m->types));
  if (!a->no_embed_norm) QN_TRY(resolve_norm(r, "embed.norm", tables, &m->embed_norm));
  if (a->embed_width) QN_TRY(resolve_linear(r, "embed.project", a->width, tables, &m->project));
  if (a->relative_bias) QN_TRY(resolve_bias(r, a, &m->relative_bias));
  if (a->rotary) QN_TRY(resolve_frequencies(r, "rotary.frequency", a->rotary / 2, &m->frequency));
  if (a->local_rotary) QN_TRY(resolve_frequencies(r, "rotary.local.frequency", a->rotary / 2, &m->local_frequency));
  for (uint32_t i = 0; i < a->layers; i++) QN_TRY(resolve_layer(r, a, i, &m->layers[i]));
  if (a->final_norm) QN_TRY(resolve_norm(r, "final.norm", a->width, &m->final_norm));
  if (a->head != QN_HEAD_NONE) {
    if (a->head_pooler) QN_TRY(resolve_linear(r, "head.pooler", a->width, a->width, &m->pooler));
    QN_TRY(resolve_linear(r, "head.out", a->labels, a->width, &m->head));
  }
  if (a->tied) QN_TRY(resolve_tied(r, &m->head, &m->tokens));
  if (a->dense) QN_TRY(resolve_linear(r, "pool.dense", a->dense, a->width, &m->dense));
  return a->dense2 ? resolve_linear(r, "pool.dense2", a->dense2, a->dense, &m->dense2) : QUERN_OK;
}

/* Tensors that nothing asked for would change what the model computes, were this version to know them: the first of them
   by name. */
static quern_status refuse_unknown(quern_model *m, resolver r) {
  void *p = NULL;
  QN_TRY(qn_alloc(m->env, &p, m->file.tensor_count, "which tensors are known"));
  memset(p, 0, m->file.tensor_count);
  r.seen = p;
  r.sites = 0;
  quern_status status = resolve_all(&r, m);
  for (uint32_t i = 0; i < m->file.tensor_count && status == QUERN_OK; i++) {
    const qrn_tensor *t = &m->file.tensors[i];
    if (!r.seen[i] && !(t->flags & QRN_IGNORABLE)) status = unsupported(&r, "tensor ", qrn_tensor_name(&m->file, t));
  }
  qn_free(m->env, p, m->file.tensor_count);
  return status;
}

quern_status qn_model_resolve(quern_model *m) {
  resolver r = {.file = &m->file,
                .env = m->env,
                .arch = &m->arch,
                .is_float = m->arch.recipe == QN_RECIPE_FLOAT,
                .is_static = m->arch.recipe == QN_RECIPE_STATIC};
  uint32_t must = 0;
  QN_TRY(resolve_all(&r, m));
  if (r.sites < m->file.site_count) return unsupported(&r, "site ", m->file.site_names + m->file.sites[r.sites].name);
  for (uint32_t i = 0; i < m->file.tensor_count; i++) must += !(m->file.tensors[i].flags & QRN_IGNORABLE);
  if (r.tensors != must) return refuse_unknown(m, r);
  m->params = r.params;
  m->grouped = r.grouped;
  m->inputs_grouped = r.inputs_grouped;
  m->transformed = r.transformed;
  return QUERN_OK;
}
