/* test_damage.c - damaged model files and failing allocators: verify refuses every truncation and every flipped bit; opening and
 * running a damaged file gives a status or wrong numbers, never a fault; every allocation fails in turn without a leak. Worth most under
 * sanitizers (make check-san). */
#include "quern.h"
#include "test.h"
#include "tiny_model.h"

static char dir[256], path[300];
static uint8_t *file, *copy; /* copy: aligned to 64, for damage */
static size_t bytes;
static quern_context *c;

/* Small models, so that all their bits can be tried; together they have everything that a file may hold. */
static const char *const families[] = {"electra", "mpnet", "bert", "distilbert", NULL};
static const char *family;
/* Static recipes are those of the last two, classifiers: with 16 bits and groups of channels, some of one channel, and with 6 bits and
   gains that migrate. */
static int is_static(void) { return !strcmp(family, "bert") || !strcmp(family, "distilbert"); }
static char texts[300], low_bits[300], groups[300];
static quern_quantize_options recipe_of(void) {
  quern_quantize_options o;
  quern_quantize_options_init(&o, sizeof o);
  if (!is_static()) return o;
  o.recipe = strcmp(family, "bert") ? low_bits : groups;
  o.calibration_path = texts;
  return o;
}
static tiny_options smallest(void) {
  tiny_options o = tiny_defaults();
  o.model_type = family;
  o.embed_width = strcmp(family, "electra") ? 0 : 5;
  if (is_static())
    o.labels = 2;
  else if (strcmp(family, "electra"))
    o.span = 1;
  else
    o.dense = 7;
  o.width = is_static() ? 16 : 8, o.heads = 1, o.ffn = 8, o.layers = 1, o.positions = 8, o.max_seq = 8;
  return o;
}

static void setup(void) {
  tiny_options o = smallest();
  quern_context_options co;
  quern_context_options_init(&co, sizeof co);
  co.threads = 1;
  const quern_quantize_options qo = recipe_of();
  CHECK(tiny_model_write(dir, &o) && tiny_text(dir, "texts.txt", "the cat\na dog\n"));
  CHECK(tiny_text(dir, "low.json",
                  "{\"name\":\"low\",\"weights\":{\"bits\":6},\"activations\":{\"bits\":6,\"static\":true},"
                  "\"embeddings\":{\"bits\":6},\"placement\":\"inputs\",\"migrate\":\"all\"}"));
  CHECK(tiny_text(dir, "groups.json",
                  "{\"name\":\"groups\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},"
                  "\"embeddings\":{\"bits\":8},\"order\":\"range\",\"sites\":{\"*.attn.sum\":{\"bits\":16},"
                  "\"*.ffn.up.in\":{\"groups\":16},\"*.ffn.sum\":{\"groups\":5},\"*.ffn.down.in\":{\"groups\":3,"
                  "\"scales\":\"powers\"},\"head.out.out\":{\"groups\":2}}}"));
  CHECK_EQ(quern_context_create(&c, &co), QUERN_OK);
  CHECK_EQ(quern_quantize_file(c, dir, path, &qo, NULL), QUERN_OK);
  file = tiny_read(path, &bytes);
  CHECK(file && posix_memalign((void **)&copy, 64, bytes) == 0);
  if (file && copy) memcpy(copy, file, bytes);
  printf("  %s: %zu bytes\n", family, bytes);
}

static quern_status verify(const uint8_t *data, size_t n) {
  quern_model *m = NULL;
  quern_model_options o;
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY;
  quern_status status = quern_model_open_memory(&m, c, data, n, &o);
  quern_model_free(m);
  return status;
}

/* Opens and uses a model in every way; the results do not matter, that it returns does. */
static void use(const uint8_t *data, size_t n) {
  quern_model *m = NULL;
  quern_session *s = NULL;
  quern_session_options so;
  if (quern_model_open_memory(&m, c, data, n, NULL) != QUERN_OK) return;
  quern_model_info info = {.size = sizeof info};
  quern_tensor_info t = {.size = sizeof t};
  quern_site_info site = {.size = sizeof site};
  char text[256];
  int32_t ids[64];
  size_t len = 0;
  quern_model_get_info(m, &info);
  for (uint32_t i = 0; i < info.tensors; i++) quern_model_get_tensor(m, i, &t);
  for (uint32_t i = 0; i < info.sites; i++) quern_model_get_site(m, i, &site);
  for (uint32_t i = 0; quern_model_meta_key(m, i); i++)
    quern_model_get_meta(m, quern_model_meta_key(m, i), text, sizeof text, &len);
  quern_span spans[64];
  quern_tokenize(m, "the Cat's m\xc3\xa4t [MASK] \xff", 20, 0, ids, 64, &len);
  quern_tokenize_spans(m, "the Cat's m\xc3\xa4t [MASK] \xff", 20, 0, ids, spans, 64, &len);
  for (int32_t i = 0; i < 64; i++) ids[i] = i * 3 - 4;
  quern_detokenize(m, ids, 64, QUERN_NO_SPECIAL, text, sizeof text, &len);
  quern_session_options_init(&so, sizeof so);
  so.max_tokens = 64;
  size_t need = 0;
  /* A damaged width may ask for gigabytes: such a session is refused by the host's plan, not tried. */
  if (quern_session_bytes(m, &so, &need) == QUERN_OK && need < (64u << 20) && info.width < 4096 &&
      quern_session_create(&s, m, &so) == QUERN_OK) {
    float *out = malloc(info.width * sizeof *out);
    quern_span answer;
    float scores[2];
    static const int64_t offsets[2] = {0, 20};
    quern_embed(s, "the cat sat on a mat", 20, out, info.width, NULL);
    if (info.labels <= info.width)
      quern_classify_batch(s, "the cat sat on a mat", offsets, 1, 0, out, NULL, info.width);
    quern_answer(s, "a?", 2, "the cat sat on a mat", 20, NULL, &answer, scores);
    quern_session_free(s);
    free(out);
  }
  quern_model_free(m);
}

static void test_intact(void) {
  CHECK_EQ(verify(copy, bytes), QUERN_OK);
  use(copy, bytes);
}

static void test_every_truncation(void) {
  uint32_t accepted = 0;
  for (size_t n = 0; n < bytes; n++) {
    uint8_t *part = NULL; /* of exactly n bytes, so that a sanitizer sees reads past it */
    if (posix_memalign((void **)&part, 64, n ? n : 1)) return;
    memcpy(part, file, n);
    accepted += verify(part, n) == QUERN_OK;
    free(part);
  }
  CHECK_EQ(accepted, 0);
}

static void test_every_bit_flip(void) {
  uint32_t accepted = 0;
  for (size_t i = 0; i < bytes * 8; i++) {
    copy[i / 8] ^= (uint8_t)(1u << (i % 8));
    accepted += verify(copy, bytes) == QUERN_OK;
    use(copy, bytes);
    copy[i / 8] = file[i / 8];
  }
  CHECK_EQ(accepted, 0);
}

/* Whole bytes and runs replaced. */
static void test_random_damage(void) {
  for (uint64_t i = 0; i < 20000; i++) {
    const size_t at = tiny_hash(i) % bytes, n = 1 + tiny_hash(i + 1) % 8;
    for (size_t j = at; j < at + n && j < bytes; j++)
      copy[j] = tiny_hash(i) & 256 ? 0xff : (uint8_t)tiny_hash(i * 8 + j);
    use(copy, bytes);
    memcpy(copy, file, bytes);
  }
}

/* ---- allocation failures ---- */

typedef struct counting {
  long calls, fail_at; /* the call that fails, from 1; 0: none */
  long live;
} counting;

static void *counting_alloc(void *user, size_t size, size_t align) {
  counting *k = user;
  if (++k->calls == k->fail_at) return NULL;
  void *p = NULL;
  if (posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, size)) return NULL;
  k->live++;
  return p;
}
static void counting_free(void *user, void *p, size_t size) {
  (void)size;
  ((counting *)user)->live--;
  free(p);
}

/* Everything from context to embedding and a quantized file; the status of what failed. */
static quern_status whole_life(counting *k, uint32_t threads) {
  quern_allocator alloc = {.size = sizeof alloc, .user = k, .alloc = counting_alloc, .free = counting_free};
  quern_context_options co;
  quern_context *x = NULL;
  quern_model *m = NULL;
  quern_session *s = NULL;
  char out_path[320];
  float out[8];
  size_t n = 0;
  int32_t ids[64];
  snprintf(out_path, sizeof out_path, "%s/again.qrn", dir);
  quern_context_options_init(&co, sizeof co);
  co.alloc = &alloc;
  co.threads = threads;
  const quern_quantize_options qo = recipe_of();
  quern_status status = quern_context_create(&x, &co);
  if (status == QUERN_OK) status = quern_quantize_file(x, dir, out_path, &qo, NULL);
  if (status == QUERN_OK) status = quern_model_open(&m, x, out_path, NULL);
  if (status == QUERN_OK) status = quern_tokenize(m, "the cat", 7, 0, ids, 64, &n);
  if (status == QUERN_OK) status = quern_session_create(&s, m, NULL);
  if (status == QUERN_OK) {
    quern_span answer;
    static const int64_t offsets[2] = {0, 7};
    status = is_static()       ? quern_classify_batch(s, "the cat", offsets, 1, 0, out, NULL, 8)
             : smallest().span ? quern_answer(s, "a?", 2, "the cat", 7, NULL, &answer, out)
                               : quern_embed(s, "the cat", 7, out, 8, NULL);
  }
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(x);
  return status;
}

static void test_every_allocation_fails(void) {
  counting k = {0};
  CHECK_EQ(whole_life(&k, 2), QUERN_OK);
  CHECK_EQ(k.live, 0);
  const long total = k.calls;
  CHECK(total > 5);
  for (long i = 1; i <= total; i++) {
    const int files = tiny_dir_count(dir);
    k = (counting){.fail_at = i};
    CHECK_EQ(whole_life(&k, 2), QUERN_E_MEMORY);
    CHECK_EQ(k.live, 0);
    CHECK_EQ(tiny_dir_count(dir), files); /* no partial file */
  }
  printf("  %ld allocations\n", total);
}

int main(void) {
  for (int i = 0; families[i]; i++) {
    family = families[i];
    if (!tiny_dir_make(dir, sizeof dir)) return 1;
    snprintf(path, sizeof path, "%s/m.qrn", dir);
    snprintf(texts, sizeof texts, "%s/texts.txt", dir);
    snprintf(low_bits, sizeof low_bits, "%s/low.json", dir);
    snprintf(groups, sizeof groups, "%s/groups.json", dir);
    RUN(setup);
    if (file && copy) {
      RUN(test_intact);
      RUN(test_every_truncation);
      RUN(test_every_bit_flip);
      RUN(test_random_damage);
      RUN(test_every_allocation_fails);
    }
    quern_context_free(c);
    free(file);
    free(copy);
    c = NULL, file = copy = NULL;
    tiny_dir_remove(dir);
  }
  return TEST_END();
}
