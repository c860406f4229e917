/* migrate.c - gamma migration (migrate.h). Deterministic; one thread. */
#include "quant/migrate.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/sort.h"

int qn_migration_of(const float *gain, uint32_t width, float *by, float *work) {
  for (uint32_t i = 0; i < width; i++) {
    if (!isfinite(gain[i])) return 0;
    work[i] = fabsf(gain[i]);
  }
  qn_sort_floats(work, width);
  const float least = QN_MIGRATE_LEAST * work[width / 2];
  if (!(least >= 0x1p-60f)) return 0;
  for (uint32_t i = 0; i < width; i++) by[i] = fabsf(gain[i]) >= least ? gain[i] : copysignf(least, gain[i]);
  return 1;
}

static quern_status read_norm(qn_migration *m, qn_source *source, uint32_t i, float *work) {
  char name[QN_ITEM_NAME_BYTES];
  const uint64_t dim[2] = {m->width, 1};
  float *by = m->by + (size_t)i * m->width;
  if (i == 0)
    qn_format(name, sizeof name, "embed.norm.gain");
  else
    qn_format(name, sizeof name, "layers.%u.%s.norm.gain", (i - 1) / 2, i % 2 ? "attn" : "ffn");
  QN_TRY(qn_source_read(source, name, 1, dim, work, NULL));
  m->moves[i] = (uint8_t)qn_migration_of(work, m->width, by, work + m->width);
  return QUERN_OK;
}

/* A power of each channel's reach, over the median of them. */
static void balance(qn_migration *m, uint32_t i, const float *reach, float *work) {
  for (uint32_t c = 0; c < m->width; c++) {
    const float root = sqrtf(reach[c]);
    work[c] = m->mode == QN_MIGRATE_BALANCED ? root : root * sqrtf(root);
  }
  m->moves[i] = (uint8_t)qn_migration_of(work, m->width, m->by + (size_t)i * m->width, work + m->width);
  const float median = work[m->width + m->width / 2];
  for (uint32_t c = 0; m->moves[i] && c < m->width; c++) m->by[(size_t)i * m->width + c] /= median;
}

quern_status qn_migration_create(qn_migration *m, qn_env *env, qn_source *source, const qn_arch *a, uint32_t mode,
                                 const float *reach) {
  void *p = NULL;
  float *work = NULL;
  const uint32_t norms = mode == QN_MIGRATE_NONE ? 0 : 2 * a->layers;
  quern_status status = QUERN_OK;
  *m = (qn_migration){.mode = mode, .width = a->width};
  if (!norms) return QUERN_OK;
  QN_TRY(qn_alloc_array(env, &p, (size_t)norms * a->width, sizeof *m->by, "gains that move"));
  m->by = p;
  m->bytes = (size_t)norms * a->width * sizeof *m->by;
  QN_TRY(qn_alloc_array(env, &p, norms, sizeof *m->moves, "gains that move"));
  m->moves = p;
  m->of_moves = norms * sizeof *m->moves;
  m->norms = norms;
  memset(m->moves, 0, m->of_moves);
  QN_TRY(qn_alloc_array(env, &p, 2 * (size_t)a->width, sizeof *work, "gains"));
  work = p;
  for (uint32_t i = 0; i < norms && status == QUERN_OK; i++)
    if (mode >= QN_MIGRATE_BALANCED && (i || !a->embed_width))
      balance(m, i, reach + (size_t)i * m->width, work);
    else if (i % 2 ? mode < QN_MIGRATE_BALANCED : mode == QN_MIGRATE_ALL && (i || !a->embed_width))
      status = read_norm(m, source, i, work);
  qn_free(env, work, 2 * (size_t)a->width * sizeof *work);
  return status;
}

void qn_migration_free(qn_env *env, qn_migration *m) {
  qn_free(env, m->by, m->bytes);
  qn_free(env, m->moves, m->of_moves);
  *m = (qn_migration){0};
}

const float *qn_migration_by(const qn_migration *m, uint32_t i) {
  return i < m->norms && m->moves[i] ? m->by + (size_t)i * m->width : NULL;
}

void qn_migrate_item(const qn_migration *m, const qn_item *it, float *x) {
  const float *by = it->norm >= 0 ? qn_migration_by(m, (uint32_t)it->norm) : NULL;
  if (!by) return;
  if (it->kind == QN_ITEM_VECTOR) {
    for (uint32_t i = 0; i < it->n; i++) x[i] /= by[i];
    return;
  }
  for (size_t r = 0; r < it->n; r++)
    for (size_t i = 0; i < it->k; i++) x[r * it->k + i] *= by[i];
}
