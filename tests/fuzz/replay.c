/* replay.c - drives a fuzz target without libFuzzer: each file of its corpus, cut short at several places, and with bytes
 * changed. A broken contract ends the process; the last line is for tests/run.sh. Run from the project's root.
 *
 *   fuzz_NAME [FILE or DIRECTORY]...    default: tests/fuzz/corpus/NAME */
#include <dirent.h>
#include <stdio.h>
#include "tests/fuzz/fuzz.h"

#define CUTS 4
#define CHANGES 8

static int fed;

/* The target gets memory of exactly this size, so that a sanitizer sees a step past its end. */
static void feed(const uint8_t *data, size_t bytes) {
  uint8_t *copy = malloc(bytes ? bytes : 1);
  if (!copy) abort();
  memcpy(copy, data, bytes);
  LLVMFuzzerTestOneInput(copy, bytes);
  free(copy);
}

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

static int feed_file(const char *path) {
  FILE *f = fopen(path, "rb");
  static uint8_t data[1 << 20];
  if (!f) return 0;
  const size_t n = fread(data, 1, sizeof data, f);
  fclose(f);
  feed(data, n);
  for (size_t i = 1; i < CUTS; i++) feed(data, n * i / CUTS);
  for (uint64_t i = 0; n && i < CHANGES; i++) {
    const size_t at = mix(n * 1000 + i) % n;
    const uint8_t was = data[at];
    data[at] = (uint8_t)(mix(i + 77) >> 8);
    feed(data, n);
    data[at] = was;
  }
  fed++;
  return 1;
}

static int feed_path(const char *path) {
  DIR *d = opendir(path);
  char name[1024];
  int ok = 1;
  if (!d) return feed_file(path);
  for (struct dirent *e; (e = readdir(d));) {
    if (e->d_name[0] == '.') continue;
    ok &= (size_t)snprintf(name, sizeof name, "%s/%s", path, e->d_name) < sizeof name && feed_file(name);
  }
  closedir(d);
  return ok;
}

int main(int argc, char **argv) {
  char corpus[1024];
  const char *target = strstr(argv[0], "fuzz_");
  int ok = 1;
  for (const char *next = target; next; next = strstr(next + 1, "fuzz_")) target = next;
  snprintf(corpus, sizeof corpus, "tests/fuzz/corpus/%s", target ? target + 5 : "");
  feed((const uint8_t *)"", 0);
  for (int i = 1; i < argc; i++) ok &= feed_path(argv[i]);
  if (argc < 2) ok = feed_path(corpus);
  ok &= fed > 0;
  if (!ok) printf("  not every file of %s could be read, or there is none\n", argc < 2 ? corpus : argv[1]);
  printf("%d passed, %d failed\n", fed, !ok);
  return !ok;
}
