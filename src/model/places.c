/* places.c - places of a static recipe (places.h). The arrays of queries, keys and values lie one behind the other, so that one
 * product writes all three. */
#include "model/places.h"

#include "kernels/layout.h"

const qn_place *qn_model_place(const quern_model *m, uint32_t kind, uint32_t layer) {
  return &m->places[qn_site_index(&m->arch, kind, layer)];
}

static const float *values_of(const quern_model *m, const char *site, const char *suffix) {
  char name[96];
  qn_format(name, sizeof name, "%s%s", site, suffix);
  const qrn_tensor *t = qrn_find_tensor(&m->file, name);
  return t ? (const float *)(const void *)(qrn_section_data(&m->file, QRN_DATA, &(size_t){0}) + t->offset) : NULL;
}

/* The arrays of a place, which is read-only but here. */
typedef struct arrays {
  float *by, *scale, *zero;
  qk_limits *limits;
} arrays;

/* Panel p of a site's arrays. */
static void set_panel(const arrays *a, const qn_site *site, uint32_t bits, size_t p, float scale, float zero) {
  const float off = site->flags & QN_SITE_WEIGHTS ? zero : 0.0f;
  a->by[p] = 1.0f / scale;
  a->scale[p] = scale;
  a->zero[p] = zero - off;
  a->limits[p] = (qk_limits){qn_site_lowest(bits) - off, qn_site_highest(bits) - off};
}

static void fill(const quern_model *m, uint32_t i, const qn_site *site, const arrays *a, qn_place *out) {
  const qrn_site *s = &m->file.sites[i];
  const float *scale = values_of(m, site->name, ".scale"), *zero = values_of(m, site->name, ".zero");
  *out = (qn_place){.bits = s->grain == QRN_GRAIN_STATIC ? s->bits : 32};
  if (out->bits == 32) return;
  for (size_t p = 0; p < qk_panels(site->channels); p++) {
    const size_t g = s->group ? p * QK_PANEL / s->group : 0;
    set_panel(a, site, s->bits, p, scale[g], zero ? zero[g] : 0.0f);
  }
  out->by = a->by;
  out->scale = a->scale;
  out->zero = a->zero;
  out->limits = s->bits <= 8 ? a->limits : NULL;
}

quern_status qn_places_create(quern_model *m, uint64_t limit) {
  const uint32_t count = qn_site_count(&m->arch);
  size_t panels = 0;
  void *p = NULL;
  qn_site site;
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(&m->arch, i, &site);
    panels += qk_panels(site.channels);
  }
  const size_t bytes = count * sizeof(qn_place) + 5 * panels * sizeof(float); /* less than the weights have */
  if (bytes > limit)
    return qn_fail(&m->env->error, QUERN_E_LIMIT, "opening needs %zu bytes more than the limit", bytes - (size_t)limit);
  QN_TRY(qn_alloc(m->env, &p, bytes, "the sites of the model"));
  m->places = p;
  m->places_bytes = bytes;
  arrays a = {.by = (float *)(void *)(m->places + count)};
  a.scale = a.by + panels;
  a.zero = a.scale + panels;
  a.limits = (qk_limits *)(void *)(a.zero + panels);
  m->place_panels = panels;
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(&m->arch, i, &site);
    fill(m, i, &site, &a, &m->places[i]);
    m->wide |= m->places[i].bits == 16;
    const size_t own = qk_panels(site.channels);
    a = (arrays){a.by + own, a.scale + own, a.zero + own, a.limits + own};
  }
  return QUERN_OK;
}

void qn_place_set(quern_model *m, uint32_t i, float scale, float zero) {
  float *first = (float *)(void *)(m->places + qn_site_count(&m->arch));
  const size_t panels = m->place_panels, at = (size_t)(m->places[i].by - first);
  const arrays a = {first + at, first + panels + at, first + 2 * panels + at,
                    (qk_limits *)(void *)(first + 3 * panels) + at};
  qn_site site;
  qn_site_at(&m->arch, i, &site);
  for (size_t p = 0; p < qk_panels(site.channels); p++) set_panel(&a, &site, m->places[i].bits, p, scale, zero);
}
