/* places.c - places of a static recipe (places.h). The arrays of queries, keys and values lie one behind the other, so that one
 * product writes all three. */
#include "model/places.h"

#include "kernels/layout.h"
#include "model/parts.h"

const qn_place *qn_model_place(const quern_model *m, uint32_t kind, uint32_t layer) {
  return &m->places[qn_site_index(&m->arch, kind, layer)];
}

const void *qn_site_values(const quern_model *m, const char *site, const char *suffix) {
  char name[96];
  qn_format(name, sizeof name, "%s%s", site, suffix);
  const qrn_tensor *t = qrn_find_tensor(&m->file, name);
  return t ? qrn_section_data(&m->file, QRN_DATA, &(size_t){0}) + t->offset : NULL;
}

/* Channel behind group g. ends: of groups that are not equally wide, else NULL. */
static uint32_t end_of(const qrn_site *s, const int32_t *ends, uint32_t channels, uint32_t g) {
  if (s->groups == 1 || g + 1 == s->groups) return channels;
  return ends ? (uint32_t)ends[g] : (g + 1) * s->group;
}

/* The parts in which the product behind a site takes its channels. */
static void fill_parts(const qrn_site *s, const float *scale, const int32_t *ends, uint32_t channels, qk_part *part,
                       qn_place *out) {
  uint32_t end[QK_PARTS];
  for (uint32_t g = 0; g < s->groups; g++) end[g] = end_of(s, ends, channels, g);
  out->parts = qn_parts_make(scale, end, s->groups, part, &out->unit);
  out->one = 1.0f;
}

static int has_parts(const qn_site *site, const qrn_site *s) { return s->groups > 1 && site->flags & QN_SITE_INPUT; }

/* The arrays of a place, which is read-only but here. */
typedef struct arrays {
  float *by, *scale, *zero;
  qk_limits *limits;
} arrays;

/* From a panel of all places on. */
static arrays arrays_at(const quern_model *m, size_t panel) {
  float *first = m->place_values + panel;
  const size_t n = m->place_panels;
  return (arrays){first, first + n, first + 2 * n, (qk_limits *)(void *)(m->place_values + 3 * n) + panel};
}

/* Panel p of a site's arrays. */
static void set_panel(const arrays *a, const qn_site *site, uint32_t bits, size_t p, float scale, float zero) {
  const float off = site->flags & QN_SITE_WEIGHTS ? zero : 0.0f;
  a->by[p] = 1.0f / scale;
  a->scale[p] = scale;
  a->zero[p] = zero - off;
  a->limits[p] = (qk_limits){qn_site_lowest(bits) - off, qn_site_highest(bits) - off};
}

static void fill(const quern_model *m, uint32_t i, const qn_site *site, const arrays *a, qk_part *part, qn_place *out) {
  const qrn_site *s = &m->file.sites[i];
  const float *scale = qn_site_values(m, site->name, ".scale"), *zero = qn_site_values(m, site->name, ".zero");
  const int32_t *ends = qn_site_values(m, site->name, ".ends");
  *out = (qn_place){.bits = s->grain == QRN_GRAIN_STATIC ? s->bits : 32};
  if (out->bits == 32) return;
  for (size_t p = 0, g = 0; p < qk_panels(site->channels); p++) {
    while (p * QK_PANEL >= end_of(s, ends, site->channels, (uint32_t)g)) g++;
    set_panel(a, site, s->bits, p, scale[g], zero ? zero[g] : 0.0f);
  }
  out->by = a->by;
  out->scale = a->scale;
  out->zero = a->zero;
  out->limits = s->bits <= 8 ? a->limits : NULL;
  if (has_parts(site, s)) fill_parts(s, scale, ends, site->channels, part, out);
}

quern_status qn_places_create(quern_model *m, uint64_t limit) {
  const uint32_t count = qn_site_count(&m->arch);
  size_t panels = 0, parts = 0;
  void *p = NULL;
  qn_site site;
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(&m->arch, i, &site);
    panels += qk_panels(site.channels);
    if (has_parts(&site, &m->file.sites[i])) parts += m->file.sites[i].groups;
  }
  const size_t bytes = count * sizeof(qn_place) + parts * sizeof(qk_part) +
                       5 * panels * sizeof(float); /* less than the weights have */
  if (bytes > limit)
    return qn_fail(&m->env->error, QUERN_E_LIMIT, "opening needs %zu bytes more than the limit", bytes - (size_t)limit);
  QN_TRY(qn_alloc(m->env, &p, bytes, "the sites of the model"));
  m->places = p;
  m->places_bytes = bytes;
  qk_part *part = (qk_part *)(void *)(m->places + count);
  m->place_values = (float *)(void *)(part + parts);
  m->place_panels = panels;
  arrays a = arrays_at(m, 0);
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(&m->arch, i, &site);
    fill(m, i, &site, &a, part, &m->places[i]);
    if (has_parts(&site, &m->file.sites[i])) part += m->file.sites[i].groups;
    m->wide |= m->places[i].bits == 16;
    m->parted |= m->places[i].parts.count != 0;
    const size_t own = qk_panels(site.channels);
    a = (arrays){a.by + own, a.scale + own, a.zero + own, a.limits + own};
  }
  return QUERN_OK;
}

void qn_place_set(quern_model *m, uint32_t i, const qn_place_values *v) {
  qn_place *place = &m->places[i];
  const arrays a = arrays_at(m, (size_t)(place->by - m->place_values));
  qk_part *part = (qk_part *)(uintptr_t)place->parts.part;
  qn_site site;
  qn_site_at(&m->arch, i, &site);
  for (size_t p = 0, g = 0; p < qk_panels(site.channels); p++) {
    while (p * QK_PANEL >= v->ends[g]) g++;
    set_panel(&a, &site, v->bits, p, v->scale[g], v->zero[g]);
  }
  place->bits = v->bits;
  place->limits = v->bits <= 8 ? a.limits : NULL;
  if (!part) return;
  if (v->groups > 1) {
    place->parts = qn_parts_make(v->scale, v->ends, v->groups, part, &place->unit);
  } else {
    place->parts.count = 0;
  }
}
