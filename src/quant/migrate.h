/* migrate.h - gamma migration (2209.13325): a norm puts out what it has before its gain, and what takes its output is multiplied by
 * the gain instead: the columns of the linear operator that follows, and the shortcut around it. Or in the gain's place what balances
 * the ranges of channels. Nothing is changed but rounding. */
#ifndef QN_MIGRATE_H
#define QN_MIGRATE_H
#include "import/import.h"
#include "quant/items.h"
#include "quant/quant.h"

/* Norms are numbered as they run: 0 of the embeddings, 1 + 2N and 2 + 2N those of layer N. The last one is not among them: no
   shortcut takes its output. */
typedef struct qn_migration {
  uint32_t mode; /* one of the ways to migrate */
  uint32_t norms, width;
  float *by;       /* [norms, width]: what moves; not set where nothing does */
  uint8_t *moves;  /* [norms] */
  size_t bytes;    /* of by */
  size_t of_moves; /* bytes of moves */
} qn_migration;

/* A channel's gain moves whole, but where it is below this part of the norm's median (of magnitudes) that much of it does, with its
   sign: what is put out is divided by it. */
#define QN_MIGRATE_LEAST 0.05f

/* mode: as above, QN_MIGRATE_BALANCED (a power of the channels' reach moves: 1/2) or QN_MIGRATE_BALANCED_MORE (3/4). reach: for these
   two [2 * layers, width], the greatest magnitudes behind each norm, in the order of norms; else not read. The embeddings' norm keeps
   its gain where a linear operator widens its output. */
quern_status qn_migration_create(qn_migration *m, qn_env *env, qn_source *source, const qn_arch *a, uint32_t mode,
                                 const float *reach);
void qn_migration_free(qn_env *env, qn_migration *m);
/* What moves from the gains of one norm, [width]; work: [width]. Returns 0 where nothing can: gains that are not numbers, or mostly 0. */
int qn_migration_of(const float *gain, uint32_t width, float *by, float *work);
/* Of norm i; NULL: it keeps its gain. */
const float *qn_migration_by(const qn_migration *m, uint32_t i);
/* An item's floats as they are with it. */
void qn_migrate_item(const qn_migration *m, const qn_item *it, float *x);
#endif
