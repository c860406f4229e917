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

/* by, scale and zero have `step` floats between them; limits follow, two floats each. */
static void fill(const quern_model *m, uint32_t i, const qn_site *site, float *by, qk_limits *limits, size_t step,
                 qn_place *out) {
  const qrn_site *s = &m->file.sites[i];
  const size_t panels = qk_panels(site->channels);
  const float *scale = values_of(m, site->name, ".scale"), *zero = values_of(m, site->name, ".zero");
  *out = (qn_place){.bits = s->grain == QRN_GRAIN_STATIC ? s->bits : 32};
  if (out->bits == 32) return;
  for (size_t p = 0; p < panels; p++) {
    const size_t g = s->group ? p * QK_PANEL / s->group : 0;
    by[p] = 1.0f / scale[g];
    by[step + p] = scale[g];
    by[2 * step + p] = zero ? zero[g] : 0.0f;
    limits[p] = (qk_limits){qn_site_lowest(s->bits), qn_site_highest(s->bits)};
    if (!(site->flags & QN_SITE_WEIGHTS)) continue;
    limits[p].lowest -= by[2 * step + p];
    limits[p].highest -= by[2 * step + p];
    by[2 * step + p] = 0.0f;
  }
  out->limits = s->bits <= 8 ? limits : NULL;
  out->by = by;
  out->scale = by + step;
  out->zero = by + 2 * step;
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
  float *by = (float *)(void *)(m->places + count);
  qk_limits *limits = (qk_limits *)(void *)(by + 3 * panels);
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(&m->arch, i, &site);
    fill(m, i, &site, by, limits, panels, &m->places[i]);
    m->wide |= m->places[i].bits == 16;
    by += qk_panels(site.channels);
    limits += qk_panels(site.channels);
  }
  return QUERN_OK;
}
