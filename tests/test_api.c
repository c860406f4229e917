/* test_api.c - the public interface beside the numbers: options of other versions, ways to open, sessions in the caller's
 * memory, the host's thread pool, cancelling, errors and their messages. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "format/qrn.h"
#include "quern.h"
#include "test.h"
#include "tiny_model.h"

static char dir[256], path[300];
static quern_context *c;
static quern_model *m;

static int message_has(const char *word) {
  char message[512] = "";
  quern_context_error(c, message, sizeof message);
  if (strstr(message, word)) return 1;
  printf("  message: %s\n", message);
  return 0;
}

static void setup(void) {
  tiny_options o = tiny_defaults();
  CHECK(tiny_model_write(dir, &o));
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  CHECK_EQ(quern_quantize_file(c, dir, path, NULL, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, c, path, NULL), QUERN_OK);
}

static void test_arguments(void) {
  quern_session *s = NULL;
  quern_tensor_view view;
  const int32_t ids[] = {2, 3, 95, 96, -1};
  const uint32_t one = 1, zero = 0, long_ = 65;
  CHECK_EQ(quern_context_create(NULL, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_model_open(NULL, c, path, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_model_open(&m, NULL, path, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_session_create(&s, NULL, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  CHECK_EQ(quern_encode(s, ids, NULL, &zero, 1, &view), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_encode(s, ids, NULL, &long_, 1, &view), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_encode(s, ids, NULL, &one, 0, &view), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_encode(s, ids + 2, NULL, &one, 1, &view), QUERN_OK);
  CHECK_EQ(quern_encode(s, ids + 3, NULL, &one, 1, &view), QUERN_E_ARGUMENT); /* vocabulary is 96 */
  CHECK_EQ(quern_encode(s, ids + 4, NULL, &one, 1, &view), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_encode(s, ids, ids + 2, &one, 1, &view), QUERN_E_ARGUMENT); /* token type 95 of 2 */
  CHECK_EQ(quern_embed(s, "the", 3, NULL, 32, NULL), QUERN_E_ARGUMENT);
  float out[32];
  const int64_t backwards[] = {0, 3, 1}, negative[] = {-1, 3};
  CHECK_EQ(quern_embed(s, "the", 3, out, 31, NULL), QUERN_E_CAPACITY);
  CHECK_EQ(quern_embed_batch(s, "the", backwards, 2, out, 32, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_embed_batch(s, "the", negative, 1, out, 32, NULL), QUERN_E_ARGUMENT);
  char message[512];
  CHECK_EQ(quern_session_error(s, message, sizeof message), QUERN_OK);
  CHECK(strstr(message, "offset") != NULL);
  CHECK_EQ(quern_embed(s, "the", 3, NULL, 32, NULL), QUERN_E_ARGUMENT); /* each failure has its own message */
  CHECK_EQ(quern_session_error(s, message, sizeof message), QUERN_OK);
  CHECK(strstr(message, "out must be given") != NULL);
  CHECK_EQ(quern_model_open(&m, c, NULL, NULL), QUERN_E_ARGUMENT);
  CHECK(message_has("path"));
  CHECK_EQ(quern_embed(s, "the", 3, out, 32, NULL), QUERN_OK); /* a failed call does no harm */
  quern_session_free(s);
}

/* Texts of nothing have no ids to put the template around. */
static void test_empty_texts(void) {
  int32_t ids[8], types[8];
  size_t n = 0;
  CHECK_EQ(quern_tokenize_pair(m, "", 0, "", 0, 0, ids, types, 8, &n), QUERN_OK);
  CHECK_EQ(n, 3); /* [CLS] [SEP] [SEP] */
  CHECK(types[1] == 0 && types[2] == 1);
  CHECK_EQ(quern_tokenize(m, NULL, 0, 0, ids, 8, &n), QUERN_OK);
  CHECK_EQ(n, 2);
  CHECK_EQ(quern_tokenize_pair(m, NULL, 0, " ", 1, QUERN_NO_SPECIAL, ids, types, 8, &n), QUERN_OK);
  CHECK_EQ(n, 0);
}

static void test_options_of_other_versions(void) {
  struct {
    quern_session_options o;
    uint64_t newer;
  } big = {.newer = 0};
  size_t bytes = 0, same = 0;
  quern_session_options_init(&big.o, sizeof big.o);
  CHECK_EQ(quern_session_bytes(m, &big.o, &same), QUERN_OK);
  big.o.size = sizeof big;
  CHECK_EQ(quern_session_bytes(m, &big.o, &bytes), QUERN_OK); /* newer fields that are zero */
  CHECK_EQ(bytes, same);
  big.newer = 1;
  CHECK_EQ(quern_session_bytes(m, &big.o, &bytes), QUERN_E_ARGUMENT);
  big.o.size = 12; /* an older, shorter struct: size, flags, max_tokens */
  big.o.max_tokens = 100;
  big.o.max_sequences = 1u << 31; /* not read */
  CHECK_EQ(quern_session_bytes(m, &big.o, &bytes), QUERN_OK);
  CHECK(bytes < same);
  big.o.size = 0;
  CHECK_EQ(quern_session_bytes(m, &big.o, &bytes), QUERN_E_ARGUMENT);
  quern_model_info info = {.size = 12};
  info.width = 77;
  CHECK_EQ(quern_model_get_info(m, &info), QUERN_OK);
  CHECK_EQ(info.layers, 2);
  CHECK_EQ(info.size, 12);
}

static void test_open_ways(void) {
  quern_model *a = NULL, *b = NULL;
  size_t bytes = 0;
  uint8_t *file = tiny_read(path, &bytes), *memory = NULL;
  CHECK(file && posix_memalign((void **)&memory, 64, bytes + 64) == 0);
  memcpy(memory, file, bytes);
  int fd = open(path, O_RDONLY);
  CHECK_EQ(quern_model_open_fd(&a, c, fd, NULL), QUERN_OK);
  close(fd);
  CHECK_EQ(quern_model_open_memory(&b, c, memory, bytes, NULL), QUERN_OK);
  float x[3][32];
  quern_model *models[] = {m, a, b};
  for (int i = 0; i < 3; i++) {
    quern_session *s = NULL;
    CHECK_EQ(quern_session_create(&s, models[i], NULL), QUERN_OK);
    CHECK_EQ(quern_embed(s, "the cat", 7, x[i], 32, NULL), QUERN_OK);
    quern_session_free(s);
  }
  CHECK(!memcmp(x[0], x[1], sizeof x[0]) && !memcmp(x[0], x[2], sizeof x[0]));
  CHECK_EQ(quern_model_retain(a), QUERN_OK);
  quern_model_free(a);
  quern_model_info info = {.size = sizeof info};
  CHECK_EQ(quern_model_get_info(a, &info), QUERN_OK); /* one reference is left */
  quern_model_free(a);
  quern_model_free(b);
  quern_model *none = NULL;
  CHECK_EQ(quern_model_open_memory(&none, c, memory + 1, bytes, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(quern_model_open_fd(&none, c, -1, NULL), QUERN_E_IO);
  CHECK(none == NULL);
  free(file);
  free(memory);
}

static void test_open_failures(void) {
  quern_model *none = NULL;
  quern_model_options o;
  char other[320];
  CHECK_EQ(quern_model_open(&none, c, "/no/such/file.qrn", NULL), QUERN_E_IO);
  CHECK(message_has("/no/such/file.qrn"));
  CHECK_EQ(quern_model_open(&none, c, dir, NULL), QUERN_E_IO);
  CHECK(message_has("is a directory, not a .qrn file: `quern quantize`"));
  snprintf(other, sizeof other, "%s/config.json", dir);
  CHECK_EQ(quern_model_open(&none, c, other, NULL), QUERN_E_FORMAT);
  CHECK(message_has("/config.json: not a .qrn file"));
  quern_model_options_init(&o, sizeof o);
  o.max_bytes = 100;
  CHECK_EQ(quern_model_open(&none, c, path, &o), QUERN_E_LIMIT);
  CHECK(message_has("100"));
  o.max_bytes = 0;
  o.flags = 128;
  CHECK_EQ(quern_model_open(&none, c, path, &o), QUERN_E_ARGUMENT);
  CHECK(none == NULL);
}

static int32_t stop_at_once(void *user, uint64_t done, uint64_t total, const char *what) {
  (void)total, (void)what;
  *(uint64_t *)user += 1;
  return done != UINT64_MAX;
}

static void test_verify_on_open(void) {
  quern_model *a = NULL;
  quern_model_options o;
  uint64_t calls = 0;
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY;
  CHECK_EQ(quern_model_open(&a, c, path, &o), QUERN_OK);
  quern_model_free(a);
  a = NULL;
  o.progress = stop_at_once;
  o.progress_user = &calls;
  CHECK_EQ(quern_model_open(&a, c, path, &o), QUERN_E_CANCELLED);
  CHECK(a == NULL && calls == 1);
}

/* A real in the place of a text of 9 bytes, which takes the same room; META's checksum is not read by an open. */
static void test_metadata_of_reals(void) {
  static const char key[] = "tokenizer.kind";
  const uint32_t type = QRN_F64;
  const uint64_t bytes = 8;
  const double values[] = {0.1, -2.5, 1e300, 7};
  const char *const texts[] = {"0.1", "-2.5", "1e300", "7"};
  size_t file_bytes = 0;
  uint8_t *file = tiny_read(path, &file_bytes), *memory = NULL;
  CHECK(file && posix_memalign((void **)&memory, 64, file_bytes) == 0);
  memcpy(memory, file, file_bytes);
  uint8_t *at = memory;
  while (memcmp(at + 16, key, sizeof key)) at++;
  memcpy(at + 4, &type, sizeof type);
  memcpy(at + 8, &bytes, sizeof bytes);
  memset(at + 32, 0, 16);
  for (int i = 0; i < 4; i++) {
    quern_model *b = NULL;
    char buf[32];
    size_t len = 0;
    memcpy(at + 32, &values[i], sizeof values[i]);
    CHECK_EQ(quern_model_open_memory(&b, c, memory, file_bytes, NULL), QUERN_OK);
    CHECK_EQ(quern_model_get_meta(b, key, buf, sizeof buf, &len), QUERN_OK);
    CHECK(!strcmp(buf, texts[i]) && len == strlen(texts[i]));
    quern_model_free(b);
  }
  free(file);
  free(memory);
}

static void test_metadata(void) {
  char buf[64];
  size_t len = 0;
  CHECK_EQ(quern_model_get_meta(m, "general.architecture", buf, sizeof buf, &len), QUERN_OK);
  CHECK(!strcmp(buf, "bert") && len == 4);
  CHECK_EQ(quern_model_get_meta(m, "general.architecture", buf, 4, &len), QUERN_E_CAPACITY);
  CHECK_EQ(quern_model_get_meta(m, "general.architecture", NULL, 0, &len), QUERN_OK);
  CHECK_EQ(quern_model_get_meta(m, "no.such", buf, sizeof buf, &len), QUERN_E_ARGUMENT);
  uint32_t keys = 0;
  for (const char *key; (key = quern_model_meta_key(m, keys)); keys++)
    CHECK_EQ(quern_model_get_meta(m, key, NULL, 0, &len), QUERN_OK);
  CHECK(keys > 2);
  quern_model_info info = {.size = sizeof info};
  quern_tensor_info t = {.size = sizeof t};
  quern_site_info site = {.size = sizeof site};
  uint64_t bytes = 0;
  CHECK_EQ(quern_model_get_info(m, &info), QUERN_OK);
  for (uint32_t i = 0; i < info.tensors; i++) {
    CHECK_EQ(quern_model_get_tensor(m, i, &t), QUERN_OK);
    CHECK(t.name && t.dtype && t.layout && t.offset % 64 == 0 && t.offset + t.bytes <= info.bytes);
    bytes += t.bytes;
  }
  CHECK(bytes > info.params && bytes < info.bytes);
  CHECK_EQ(quern_model_get_tensor(m, info.tensors, &t), QUERN_E_ARGUMENT);
  int found = 0;
  for (uint32_t i = 0; i < info.sites; i++) {
    CHECK_EQ(quern_model_get_site(m, i, &site), QUERN_OK);
    found |= !strcmp(site.name, "layers.1.ffn.down.in") && site.bits == 8 && !strcmp(site.granularity, "token");
  }
  CHECK(found);
  CHECK_EQ(quern_model_get_site(m, info.sites, &site), QUERN_E_ARGUMENT);
}

static void test_workspace(void) {
  quern_session_options o;
  quern_session *s = NULL;
  size_t bytes = 0;
  quern_session_options_init(&o, sizeof o);
  o.max_tokens = 64;
  o.max_sequences = 2;
  CHECK_EQ(quern_session_bytes(m, &o, &bytes), QUERN_OK);
  uint8_t *memory = NULL;
  CHECK(posix_memalign((void **)&memory, 64, bytes + 128) == 0);
  memset(memory + bytes, 0x5a, 64);
  o.workspace = memory;
  o.workspace_bytes = bytes - 1;
  CHECK_EQ(quern_session_create(&s, m, &o), QUERN_E_CAPACITY);
  o.workspace = memory + 8;
  o.workspace_bytes = bytes;
  CHECK_EQ(quern_session_create(&s, m, &o), QUERN_E_CAPACITY);
  o.workspace = memory;
  CHECK_EQ(quern_session_create(&s, m, &o), QUERN_OK);
  float x[32];
  CHECK_EQ(quern_embed(s, "the cat sat on the mat and the dog", 34, x, 32, NULL), QUERN_OK);
  for (int i = 0; i < 64; i++) CHECK_EQ(memory[bytes + (size_t)i], 0x5a);
  quern_stats stats = {.size = sizeof stats};
  CHECK_EQ(quern_session_get_stats(s, &stats), QUERN_OK);
  CHECK_EQ(stats.sequences, 1);
  CHECK_EQ(stats.bytes, bytes);
  quern_session_free(s);
  free(memory);
}

static void test_texts_are_cut(void) {
  quern_session_options o;
  quern_session *s = NULL;
  quern_session_options_init(&o, sizeof o);
  o.text_tokens = 5;
  CHECK_EQ(quern_session_create(&s, m, &o), QUERN_OK);
  float a[32], b[32];
  quern_stats stats = {.size = sizeof stats};
  CHECK_EQ(quern_embed(s, "the cat sat on the mat", 22, a, 32, NULL), QUERN_OK);
  CHECK_EQ(quern_embed(s, "the cat sat", 11, b, 32, NULL), QUERN_OK);
  CHECK(!memcmp(a, b, sizeof a));
  CHECK_EQ(quern_session_get_stats(s, &stats), QUERN_OK);
  CHECK_EQ(stats.texts_cut, 1);
  CHECK_EQ(stats.tokens, 10);
  quern_session_free(s);
  o.text_tokens = 65; /* past the position limit */
  CHECK_EQ(quern_session_create(&s, m, &o), QUERN_E_ARGUMENT);
}

/* ---- host threads, cancel ---- */

static int host_runs;
static void host_parallel(void *user, quern_task_fn *fn, void *task, uint32_t n) {
  (void)user;
  host_runs++;
  for (uint32_t i = n; i-- > 0;) fn(task, i); /* any order */
}

static void test_host_pool(void) {
  quern_context_options o;
  quern_context *host = NULL;
  quern_model *hm = NULL;
  quern_session *s = NULL, *base = NULL;
  float a[32], b[32];
  quern_context_options_init(&o, sizeof o);
  o.parallel = host_parallel;
  o.threads = 4;
  CHECK_EQ(quern_context_create(&host, &o), QUERN_OK);
  CHECK_EQ(quern_context_threads(host), 4);
  CHECK_EQ(quern_model_open(&hm, host, path, NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&s, hm, NULL), QUERN_OK);
  CHECK_EQ(quern_session_create(&base, m, NULL), QUERN_OK);
  CHECK_EQ(quern_embed(s, "the dog", 7, a, 32, NULL), QUERN_OK);
  CHECK_EQ(quern_embed(base, "the dog", 7, b, 32, NULL), QUERN_OK);
  CHECK(host_runs > 0 && !memcmp(a, b, sizeof a));
  quern_session_free(s);
  quern_session_free(base);
  quern_model_free(hm);
  quern_context_free(host);
}

static char logged[256];
static void keep_log(void *user, int32_t level, const char *message) {
  (void)user;
  if (level == 0) snprintf(logged, sizeof logged, "%s", message);
}

static void test_bad_context_options(void) {
  quern_context_options o;
  quern_context *x = NULL;
  const quern_allocator none = {.size = sizeof none};
  quern_context_options_init(&o, sizeof o);
  o.log = keep_log;
  o.threads = UINT32_MAX;
  CHECK_EQ(quern_context_create(&x, &o), QUERN_E_ARGUMENT);
  CHECK(!strcmp(logged, "4294967295 threads: 1 to 1024 are possible, 0 for as many as CPUs may be used"));
  o.threads = 1;
  o.alloc = &none;
  CHECK_EQ(quern_context_create(&x, &o), QUERN_E_ARGUMENT);
  CHECK(!strcmp(logged, "the allocator lacks alloc or free"));
  CHECK(x == NULL);
}

static void test_isa_choice(void) {
  quern_context_options o;
  quern_context *x = NULL;
  quern_context_options_init(&o, sizeof o);
  o.isa = "no-such-isa";
  CHECK_EQ(quern_context_create(&x, &o), QUERN_E_ISA);
  CHECK(x == NULL);
  o.isa = "ref";
  CHECK_EQ(quern_context_create(&x, &o), QUERN_OK);
  CHECK(!strcmp(quern_context_isa(x), "ref"));
  quern_context_free(x);
  CHECK(!strcmp(quern_isa_name(0), "ref"));
}

typedef struct runner {
  quern_session *s;
  atomic_int stop;
  int cancelled, other;
} runner;

static void *run_until_stopped(void *arg) {
  runner *r = arg;
  float x[32];
  while (!atomic_load(&r->stop)) {
    quern_status status = quern_embed(r->s, "the cat sat on the mat", 22, x, 32, NULL);
    r->cancelled += status == QUERN_E_CANCELLED;
    r->other += status != QUERN_E_CANCELLED && status != QUERN_OK;
  }
  return NULL;
}

static void test_cancel(void) {
  quern_session *s = NULL;
  float x[32];
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  CHECK_EQ(quern_session_cancel(s), QUERN_OK);
  CHECK_EQ(quern_embed(s, "the", 3, x, 32, NULL), QUERN_E_CANCELLED);
  CHECK_EQ(quern_embed(s, "the", 3, x, 32, NULL), QUERN_OK);
  runner r = {.s = s};
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, run_until_stopped, &r) == 0);
  for (int i = 0; i < 200; i++) {
    quern_session_cancel(s);
    usleep(100);
  }
  atomic_store(&r.stop, 1);
  pthread_join(thread, NULL);
  CHECK(r.cancelled > 0);
  CHECK_EQ(r.other, 0);
  quern_session_free(s);
}

/* Sessions of one context on several threads at once, and two contexts of different kernel sets beside them. */
typedef struct worker {
  quern_model *m;
  float first[32];
  int different;
} worker;

static void *embed_many(void *arg) {
  worker *w = arg;
  quern_session *s = NULL;
  float x[32];
  if (quern_session_create(&s, w->m, NULL) != QUERN_OK) return NULL;
  for (int i = 0; i < 50; i++) {
    if (quern_embed(s, "the cat sat", 11, x, 32, NULL) != QUERN_OK) w->different++;
    if (i == 0) memcpy(w->first, x, sizeof x);
    w->different += memcmp(w->first, x, sizeof x) != 0;
  }
  quern_session_free(s);
  return NULL;
}

static void test_side_by_side(void) {
  quern_context_options o;
  quern_context *ref = NULL;
  quern_model *rm = NULL;
  quern_context_options_init(&o, sizeof o);
  o.isa = "ref";
  o.threads = 3;
  CHECK_EQ(quern_context_create(&ref, &o), QUERN_OK);
  CHECK_EQ(quern_model_open(&rm, ref, path, NULL), QUERN_OK);
  worker w[4] = {{.m = m}, {.m = m}, {.m = rm}, {.m = rm}};
  pthread_t thread[4];
  for (int i = 0; i < 4; i++) CHECK(pthread_create(&thread[i], NULL, embed_many, &w[i]) == 0);
  for (int i = 0; i < 4; i++) {
    pthread_join(thread[i], NULL);
    CHECK_EQ(w[i].different, 0);
    CHECK(!memcmp(w[i].first, w[0].first, sizeof w[0].first));
  }
  quern_model_free(rm);
  quern_context_free(ref);
}

static void test_frees_take_null(void) {
  quern_session_free(NULL);
  quern_model_free(NULL);
  quern_context_free(NULL);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  RUN(setup);
  if (m) {
    RUN(test_arguments);
    RUN(test_empty_texts);
    RUN(test_options_of_other_versions);
    RUN(test_open_ways);
    RUN(test_open_failures);
    RUN(test_verify_on_open);
    RUN(test_metadata);
    RUN(test_metadata_of_reals);
    RUN(test_workspace);
    RUN(test_texts_are_cut);
    RUN(test_host_pool);
    RUN(test_bad_context_options);
    RUN(test_isa_choice);
    RUN(test_cancel);
    RUN(test_side_by_side);
  }
  RUN(test_frees_take_null);
  quern_model_free(m);
  quern_context_free(c);
  tiny_dir_remove(dir);
  return TEST_END();
}
