/* model.c - opens a .qrn file as a model: checks the architecture and resolves every tensor it calls for, by name,
 * dtype, layout and shape. Reads no weights. A model is read-only once created; the reference count alone changes. */
#include "model/model.h"

#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "kernels/layout.h"
#include "model/places.h"

/* What resolving one model needs to know. */
typedef struct resolver {
  const qrn_reader *file;
  qn_env *env;
  int is_float;  /* linear operators and tables are f32; else what the file says */
  int is_static; /* sites are those of a static recipe, resolved by themselves */
  int grouped, inputs_grouped;
  uint64_t params;
  uint32_t sites;   /* resolved: they come in order */
  uint32_t tensors; /* resolved */
  uint8_t *seen;    /* NULL, or [tensors of the file]: which are */
} resolver;

#define NAME_BYTES 64
#define LAYER_TENSORS 8u /* that a layer has at least: four weights, two norms of a gain and a bias */

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
  return qn_fail(&r->env->error, QUERN_E_UNSUPPORTED, "%s%s is not supported by this version: use a later one", what,
                 name);
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
  if (s->bits != 8 || (s->grain != QRN_GRAIN_TOKEN && s->grain != QRN_GRAIN_STATIC))
    return unsupported(r, "the quantization of site ", name);
  if (s->groups != groups)
    return qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: site %s has %u groups of %u in %u channels",
                   name, s->groups, s->group, out->k);
  out->in = (qn_input){.group = s->group, .symmetric = s->symmetric};
  if (s->grain == QRN_GRAIN_STATIC) QN_TRY(resolve_static(r, name, groups, 8, &out->in));
  return QUERN_OK;
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
  if (out->dtype != QRN_I8 && find(r, base, ".step")) {
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
  if (find(r, base, ".min")) QN_TRY(need_group_panels(r, base, ".min", out, out->group, &out->min));
  QN_TRY(need_vector(r, base, ".sums", QRN_F32, out->n, &p));
  out->value_sums = p;
  return QUERN_OK;
}

static quern_status resolve_codes(resolver *r, const char *base, qn_linear *out) {
  const void *p = NULL;
  QN_TRY(resolve_scales(r, base, out));
  if (out->in.group) {
    const int own = out->steps || !out->group || out->group >= out->k; /* weights have no groups in the sum */
    if (!own && out->group != out->in.group)
      return qn_fail(&r->env->error, QUERN_E_UNSUPPORTED,
                     "%s: weights in groups of %u on an input in groups of %u are not supported by this version", base,
                     out->group, out->in.group);
    if (!out->in.symmetric) QN_TRY(need_group_panels(r, base, ".in.sums", out, out->in.group, &out->group_sums));
    r->inputs_grouped = 1;
  }
  r->grouped |= out->in.group || (out->group && !out->steps);
  if (find(r, base, ".smooth")) {
    QN_TRY(need_vector(r, base, ".smooth", QRN_F32, out->k, &p));
    out->smooth = p;
  }
  return QUERN_OK;
}

static quern_status resolve_linear(resolver *r, const char *base, uint32_t n, uint32_t k, qn_linear *out) {
  const uint64_t shape[2] = {n, k};
  const uint32_t found = dtype_of(r, base, ".weight");
  const uint32_t dtype = r->is_float ? QRN_F32 : found == QRN_U4 || found == QRN_U2 ? found : QRN_I8;
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
  return need_floats(r, base, ".bias", width, &out->bias);
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

static quern_status resolve_shortcut(resolver *r, uint32_t index, const char *block, uint64_t width,
                                     const float **out) {
  char name[NAME_BYTES];
  const void *p = NULL;
  qn_format(name, sizeof name, "layers.%u.%s.shortcut", index, block);
  if (find(r, name, "")) QN_TRY(need_vector(r, name, "", QRN_F32, width, &p));
  *out = p;
  return QUERN_OK;
}

static quern_status resolve_layer(resolver *r, const qn_arch *a, uint32_t index, qn_layer *l) {
  const uint32_t inner = a->heads * a->head_dim;
  char base[NAME_BYTES];
  QN_TRY(resolve_shortcut(r, index, "attn", a->width, &l->attn_shortcut));
  QN_TRY(resolve_shortcut(r, index, "ffn", a->width, &l->ffn_shortcut));
  qn_format(base, sizeof base, "layers.%u.attn.qkv", index);
  QN_TRY(resolve_linear(r, base, 3 * inner, a->width, &l->qkv));
  qn_format(base, sizeof base, "layers.%u.attn.", index);
  static const char *const heads[] = {"q", "k", "v", "probs"};
  for (uint32_t i = 0; i < 4 && !r->is_static; i++) QN_TRY(need_head_site(r, base, heads[i]));
  qn_format(base, sizeof base, "layers.%u.attn.out", index);
  QN_TRY(resolve_linear(r, base, a->width, inner, &l->attn_out));
  qn_format(base, sizeof base, "layers.%u.attn.norm", index);
  QN_TRY(resolve_norm(r, base, a->width, &l->attn_norm));
  qn_format(base, sizeof base, "layers.%u.ffn.up", index);
  QN_TRY(resolve_linear(r, base, a->ffn, a->width, &l->ffn_up));
  qn_format(base, sizeof base, "layers.%u.ffn.down", index);
  QN_TRY(resolve_linear(r, base, a->width, a->ffn, &l->ffn_down));
  qn_format(base, sizeof base, "layers.%u.ffn.norm", index);
  return resolve_norm(r, base, a->width, &l->ffn_norm);
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

/* The order of hidden channels: each once. */
static quern_status resolve_order(resolver *r, uint32_t width, const int32_t **out) {
  const void *p = NULL;
  if (!r->is_static || !find(r, "hidden.order", "")) return QUERN_OK;
  QN_TRY(need_vector(r, "hidden.order", "", QRN_I32, width, &p));
  const int32_t *order = p;
  uint8_t *seen = NULL;
  void *memory = NULL;
  quern_status status = QUERN_OK;
  QN_TRY(qn_alloc(r->env, &memory, width, "the order of channels"));
  seen = memory;
  memset(seen, 0, width);
  for (uint32_t i = 0; i < width && status == QUERN_OK; i++) {
    if (order[i] < 0 || (uint32_t)order[i] >= width || seen[order[i]])
      status = qn_fail(&r->env->error, QUERN_E_FORMAT, "malformed .qrn file: hidden.order: entry %u is %d", i,
                       order[i]);
    else
      seen[order[i]] = 1;
  }
  qn_free(r->env, memory, width);
  *out = order;
  return status;
}

static quern_status resolve_all(resolver *r, quern_model *m) {
  const qn_arch *a = &m->arch;
  const uint32_t tables = qn_arch_table_width(a);
  if (r->is_static) QN_TRY(resolve_sites(r, a));
  QN_TRY(resolve_order(r, a->width, &m->order));
  QN_TRY(resolve_table(r, "embed.tokens", a->vocab, tables, &m->tokens));
  QN_TRY(resolve_table(r, "embed.positions", a->positions + a->position_offset, tables, &m->positions));
  if (a->types) QN_TRY(resolve_table(r, "embed.types", a->types, tables, &m->types));
  QN_TRY(resolve_norm(r, "embed.norm", tables, &m->embed_norm));
  if (a->embed_width) QN_TRY(resolve_linear(r, "embed.project", a->width, tables, &m->project));
  if (a->relative_bias) QN_TRY(resolve_bias(r, a, &m->relative_bias));
  for (uint32_t i = 0; i < a->layers; i++) QN_TRY(resolve_layer(r, a, i, &m->layers[i]));
  if (a->head != QN_HEAD_NONE) {
    if (a->head_pooler) QN_TRY(resolve_linear(r, "head.pooler", a->width, a->width, &m->pooler));
    QN_TRY(resolve_linear(r, "head.out", a->labels, a->width, &m->head));
  }
  if (a->dense) QN_TRY(resolve_linear(r, "pool.dense", a->dense, a->width, &m->dense));
  return QUERN_OK;
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

static quern_status resolve(quern_model *m) {
  resolver r = {.file = &m->file,
                .env = m->env,
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
  return QUERN_OK;
}

#define ARCH_BYTES_LEAST 128u
#define ARCH_BYTES_MOST 4096u

/* The ARCH section as a checked qn_arch. A shorter record lacks fields that are 0; what a longer one has more must be 0. */
static quern_status read_arch(const qrn_reader *file, qn_env *env, qn_arch *out) {
  size_t bytes = 0;
  const uint8_t *p = qrn_section_data(file, QRN_ARCH, &bytes);
  if (!p || bytes < ARCH_BYTES_LEAST || bytes > ARCH_BYTES_MOST || bytes % 4 || qn_load_u32(p) != bytes)
    return qn_fail(&env->error, QUERN_E_FORMAT, "malformed .qrn file: the architecture section has %zu bytes", bytes);
  memset(out, 0, sizeof *out);
  memcpy(out, p, qn_min_size(bytes, sizeof *out));
  out->bytes = sizeof *out;
  for (size_t i = sizeof *out; i < bytes; i++)
    if (p[i])
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "architecture: fields that this version does not know are in use: use a later one");
  return qn_arch_check(out, env, QUERN_E_FORMAT);
}

quern_status qn_model_create(quern_model **out, struct quern_context *c, qn_env *env, qn_map map, uint64_t limit) {
  quern_status status;
  qrn_reader file;
  qn_arch arch;
  void *block = NULL;
  size_t bytes = 0;

  QN_TRY_CLEANUP(qrn_open(&file, env, map.data, map.bytes));
  QN_TRY_CLEANUP(read_arch(&file, env, &arch));
  if (arch.layers > file.tensor_count / LAYER_TENSORS) { /* before memory is taken for them */
    status = qn_fail(&env->error, QUERN_E_FORMAT, "malformed .qrn file: %u layers in %u tensors", arch.layers,
                     file.tensor_count);
    goto cleanup;
  }
  bytes = qn_round_up(sizeof(quern_model), 64) +
          (size_t)arch.layers * sizeof(qn_layer); /* layers <= 4096: no overflow */
  if (limit && bytes > limit) {
    status = qn_fail(&env->error, QUERN_E_LIMIT, "opening needs %zu bytes, the limit is %llu", bytes,
                     (unsigned long long)limit);
    goto cleanup;
  }
  QN_TRY_CLEANUP(qn_alloc(env, &block, bytes, "the model"));
  memset(block, 0, bytes);
  quern_model *m = block;
  m->context = c;
  m->env = env;
  atomic_init(&m->references, 1);
  m->file = file;
  m->arch = arch;
  m->bytes = bytes;
  m->layers = (qn_layer *)((uint8_t *)block + qn_round_up(sizeof(quern_model), 64));
  QN_TRY_CLEANUP(resolve(m));
  if (arch.recipe == QN_RECIPE_STATIC) QN_TRY_CLEANUP(qn_places_create(m, limit ? limit - bytes : UINT64_MAX));
  size_t tokenizer_bytes = 0;
  const uint8_t *tokenizer = qrn_section_data(&file, QRN_TOKENIZER, &tokenizer_bytes);
  if (tokenizer) {
    QN_TRY_CLEANUP(qn_tokenizer_open(&m->tokenizer, env, tokenizer, tokenizer_bytes));
    if (m->tokenizer.vocab > arch.vocab) {
      status = qn_fail(&env->error, QUERN_E_FORMAT, "the tokenizer has %u ids, the embedding table %u rows",
                       m->tokenizer.vocab, arch.vocab);
      goto cleanup;
    }
  }
  m->map = map;
  *out = m;
  return QUERN_OK;

cleanup:
  if (block) qn_free(env, ((quern_model *)block)->places, ((quern_model *)block)->places_bytes);
  qn_free(env, block, bytes);
  qn_map_close(&map);
  return status;
}

void qn_model_retain(quern_model *m) { atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed); }

void qn_model_release(quern_model *m) {
  if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
  qn_map map = m->map;
  qn_free(m->env, m->places, m->places_bytes);
  qn_free(m->env, m, m->bytes);
  qn_map_close(&map);
}
