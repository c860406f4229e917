/* table.c - the kernel sets of this build, in the order in which they build on each other, and the table made of them.
 * Nothing here is kept between calls: every context has its own table. A new set is its files and a line in `sets`. */
#include <string.h>
#include "kernels/sets.h"

/* clang-format off */
static const qk_isa *const sets[] = {
    &qk_isa_ref,
#if QK_X86
    &qk_isa_avx2,
    &qk_isa_avxvnni,
    &qk_isa_avx512,
    &qk_isa_avx512vnni,
    &qk_isa_amx,
#endif
#if QK_ARM64
    &qk_isa_neon,
    &qk_isa_dotprod,
    &qk_isa_i8mm,
#endif
};
/* clang-format on */
#define SETS (sizeof sets / sizeof sets[0])

static int allowed(const qk_isa *s, uint64_t features) { return (s->needs & ~features) == 0; }

const qk_isa *qk_isa_at(uint32_t i, uint64_t features) {
  for (size_t s = 0; s < SETS; s++)
    if (allowed(sets[s], features) && i-- == 0) return sets[s];
  return NULL;
}

int qk_table_build(qk_table *t, const char *isa, uint64_t features) {
  size_t last = SETS;
  for (size_t s = 0; s < SETS; s++)
    if (allowed(sets[s], features) && (!isa || strcmp(isa, sets[s]->name) == 0)) last = s;
  if (last == SETS) return 0;
  memset(t, 0, sizeof *t);
  for (size_t s = 0; s <= last; s++)
    if (allowed(sets[s], features)) sets[s]->overlay(t);
  t->isa = sets[last]->name;
  return 1;
}
