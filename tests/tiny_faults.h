/* tiny_faults.h - the model of `dir` (tiny_session.h) made by a recipe from dir/texts.txt and opened, with every allocation failing in turn.
 * Tests only; one thread. */
#ifndef QN_TINY_FAULTS_H
#define QN_TINY_FAULTS_H
#include <unistd.h>

#include "faulty_alloc.h"
#include "tiny_session.h"

typedef struct faulty_making {
  const char *recipe;
  char texts[300];
} faulty_making;

static inline quern_status faulty_make_once(const quern_allocator *alloc, void *arg) {
  const faulty_making *f = arg;
  const making k = {.threads = 1, .alloc = alloc, .recipe = f->recipe, .texts = f->texts};
  char path[300];
  path_of(path, sizeof path, "faulty");
  unlink(path);
  const quern_status s = make_file(&k, path, NULL, 0);
  CHECK(s == QUERN_OK || access(path, F_OK) != 0);
  return s == QUERN_OK ? open_once(alloc, path) : s;
}

/* recipe: a preset or the path of a file; the source lies in `dir` already. */
static inline void faulty_make(const char *recipe) {
  faulty_making f = {.recipe = recipe};
  long allocations = 0;
  snprintf(f.texts, sizeof f.texts, "%s/texts.txt", dir);
  CHECK(tiny_text(dir, "texts.txt", "a b\nthe cat\n"));
  CHECK_EQ(faulty_each(faulty_make_once, &f, &allocations), 0);
  printf("  %ld allocations\n", allocations);
}
#endif
