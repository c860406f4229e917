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

static qn_runs runs_of(const quern_model *m, const qn_site *site, const qrn_site *s) {
  return (qn_runs){.ends = qn_site_values(m, site->name, ".ends"), s->groups, s->group, site->channels};
}
/* Whether channels that share a scale are not whole panels. */
static int by_column(const qn_runs *r) {
  for (uint32_t g = 0; g + 1 < r->count; g++)
    if (qn_run_end(r, g) % QK_PANEL != 0) return 1;
  return 0;
}
/* Entries of a site's arrays. */
static size_t entries_of(const qn_runs *r) {
  return by_column(r) ? qk_round_up(r->channels, QK_PANEL) : qk_panels(r->channels);
}

static int has_parts(const qn_site *site, const qrn_site *s) { return s->groups > 1 && site->flags & QN_SITE_INPUT; }

/* The arrays of a place, which is read-only but here. */
typedef struct arrays {
  float *by, *scale, *zero;
  qk_limits *limits;
} arrays;

/* From an entry of all places on. */
static arrays arrays_at(const quern_model *m, size_t entry) {
  float *first = m->place_values + entry;
  const size_t n = m->place_entries;
  return (arrays){first, first + n, first + 2 * n, (qk_limits *)(void *)(m->place_values + 3 * n) + entry};
}

/* Entry p of a site's arrays. */
static void set_entry(const arrays *a, const qn_site *site, uint32_t bits, size_t p, float scale, float zero) {
  const float off = site->flags & QN_SITE_WEIGHTS ? zero : 0.0f;
  a->by[p] = 1.0f / scale;
  a->scale[p] = scale;
  a->zero[p] = zero - off;
  a->limits[p] = (qk_limits){qn_site_lowest(bits) - off, qn_site_highest(bits) - off};
}

static void fill(const quern_model *m, uint32_t i, const qn_site *site, const arrays *a, qk_part *part, qn_place *out) {
  const qrn_site *s = &m->file.sites[i];
  const float *scale = qn_site_values(m, site->name, ".scale"), *zero = qn_site_values(m, site->name, ".zero");
  const qn_runs runs = runs_of(m, site, s);
  *out = (qn_place){.bits = s->grain == QRN_GRAIN_STATIC ? s->bits : 32, .by_column = (uint32_t)by_column(&runs)};
  if (out->bits == 32) return;
  const size_t entries = entries_of(&runs), each = out->by_column ? 1 : QK_PANEL;
  for (size_t e = 0, g = 0; e < entries; e++) {
    while (g + 1 < runs.count && e * each >= qn_run_end(&runs, (uint32_t)g)) g++;
    set_entry(a, site, s->bits, e, scale[g], zero ? zero[g] : 0.0f);
  }
  out->by = a->by;
  out->scale = a->scale;
  out->zero = a->zero;
  out->limits = s->bits <= 8 ? a->limits : NULL;
  out->one = 1.0f;
  if (has_parts(site, s)) out->parts = qn_parts_make(scale, &runs, part, &out->unit);
}

quern_status qn_places_create(quern_model *m, uint64_t limit) {
  const uint32_t count = qn_site_count(&m->arch);
  size_t entries = 0, parts = 0;
  void *p = NULL;
  qn_site site;
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(&m->arch, i, &site);
    const qn_runs runs = runs_of(m, &site, &m->file.sites[i]);
    entries += entries_of(&runs);
    if (has_parts(&site, &m->file.sites[i])) parts += m->file.sites[i].groups;
  }
  const size_t bytes = count * sizeof(qn_place) + parts * sizeof(qk_part) +
                       5 * entries * sizeof(float); /* less than the weights have */
  if (bytes > limit)
    return qn_fail(&m->env->error, QUERN_E_LIMIT, "opening needs %zu bytes more than the limit", bytes - (size_t)limit);
  QN_TRY(qn_alloc(m->env, &p, bytes, "the sites of the model"));
  m->places = p;
  m->places_bytes = bytes;
  qk_part *part = (qk_part *)(void *)(m->places + count);
  m->place_values = (float *)(void *)(part + parts);
  m->place_entries = entries;
  arrays a = arrays_at(m, 0);
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(&m->arch, i, &site);
    fill(m, i, &site, &a, part, &m->places[i]);
    if (has_parts(&site, &m->file.sites[i])) part += m->file.sites[i].groups;
    m->wide |= m->places[i].bits == 16;
    m->parted |= qk_parts_have_starts(&m->places[i].parts);
    const qn_runs runs = runs_of(m, &site, &m->file.sites[i]);
    const size_t own = entries_of(&runs);
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
  const size_t each = place->by_column ? 1 : QK_PANEL;
  for (size_t e = 0, g = 0; e < qk_panels(site.channels) * (QK_PANEL / each); e++) {
    while (g + 1 < v->groups && e * each >= v->ends[g]) g++;
    set_entry(&a, &site, v->bits, e, v->scale[g], v->zero[g]);
  }
  place->bits = v->bits;
  place->limits = v->bits <= 8 ? a.limits : NULL;
  if (!part) return;
  if (v->groups > 1) {
    const qn_runs runs = {.ends = v->ends, .count = v->groups, .channels = site.channels};
    place->parts = qn_parts_make(v->scale, &runs, part, &place->unit);
  } else {
    place->parts.count = 0;
  }
}
