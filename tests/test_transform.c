/* test_transform.c - models whose inputs are in another basis: what an exact transform changes is what 14 bits lose, and the same bytes
 * whatever the kernel set, the threads and the calls that rows came in. */
#include "decoder_session.h"
#include "transformed.h"

#define TOKENS 120u
#define VOCAB TINY_VOCAB

static const char *const archs[] = {"llama", "gemma3", "phi2", "mistral", NULL};
/* Without groups of inputs. */
static const char *const recipe_json[][2] = {
    {"eight", "{\"name\":\"eight\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"outliers\":0},"
              "\"embeddings\":{\"bits\":8}}"},
    {"four", "{\"name\":\"four\",\"weights\":{\"bits\":4,\"group\":0,\"minimum\":true},"
             "\"activations\":{\"bits\":8,\"outliers\":0},\"embeddings\":{\"bits\":8}}"}};
static const char *recipe_path(int four) {
  static char path[512];
  CHECK(tiny_text(dir, recipe_json[four][0], recipe_json[four][1]));
  snprintf(path, sizeof path, "%s/%s", dir, recipe_json[four][0]);
  return path;
}

static const char *const encoders[] = {"nomic", "embeddinggemma", "projected", NULL};
static const transformed_options kinds[] = {{16, TRANSFORMED_DENSE, 0, 4, 0.9f, 0},
                                            {16, TRANSFORMED_SIGNS, 0, 6, 0, 32},
                                            {32, TRANSFORMED_SIGNS, 0, 4, 0.75f, 64},
                                            {16, TRANSFORMED_NONE, 0, 8, 0, 0}};

/* The architecture by name, with sizes that blocks divide; as a file `name`, transformed. */
static int make_transformed(const char *name, int four, const transformed_options *o) {
  const char *recipe = recipe_path(four);
  char from[1024], to[1024];
  const int projected = !strcmp(name, "projected");
  tiny_source = tiny_arch(projected ? "nomic" : name);
  tiny_source.heads = 4, tiny_source.kv_heads = tiny_source.kv_heads == 1 ? 1 : 2;
  tiny_source.ffn = 96;
  if (!tiny_source.causal) tiny_source.kv_heads = 4;
  if (projected) tiny_source.embed_width = 64;
  make_decoder(name, recipe);
  snprintf(from, sizeof from, "%s", decoder_path(name, recipe));
  snprintf(to, sizeof to, "%s", decoder_path(name, "transformed"));
  return transformed_write(from, to, o);
}

static double cosine(const float *a, const float *b, size_t n) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < n; i++)
    ab += (double)a[i] * (double)b[i], aa += (double)a[i] * (double)a[i], bb += (double)b[i] * (double)b[i];
  return ab / sqrt(aa * bb);
}

static void logits_of(const char *arch, const char *recipe, const char *isa, uint32_t threads, uint32_t chunk,
                      float *out) {
  const quern_session_options so = session_of(64, 2, 512, TOKENS);
  decoder d = open_decoder(arch, recipe, isa, threads, &so);
  if (d.s) feed_rows(&d, 1, 0, 0, TOKENS, chunk, out);
  close_decoder(&d);
}
static void hidden_of(const char *arch, const char *recipe, const char *isa, uint32_t threads, float *out) {
  static const uint32_t lens[] = {3, 17, 64, 35, 1};
  const quern_session_options so = session_of(256, 8, 0, 0);
  int32_t ids[TOKENS];
  quern_tensor_view v = {0};
  for (uint32_t i = 0; i < TOKENS; i++) ids[i] = token_of(3, i);
  decoder d = open_decoder(arch, recipe, isa, threads, &so);
  if (d.s) CHECK_EQ(say(&d, quern_encode(d.s, ids, NULL, lens, 5, &v)), QUERN_OK);
  if (v.data) memcpy(out, v.data, v.rows * v.cols * sizeof(float));
  close_decoder(&d);
}

static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];

/* Rotated, reordered and rotated back, by weights that are reordered too. */
static void exact_ones_change_little(void) {
  static const int seconds[] = {TRANSFORMED_DENSE, TRANSFORMED_SIGNS};
  for (int s = 0; s < 2; s++) {
    const transformed_options o = {16, seconds[s], 1, 8, 0, s ? 32 : 0};
    for (int f = 0; archs[f]; f++) {
      CHECK(make_transformed(archs[f], 0, &o));
      logits_of(archs[f], recipe_json[0][0], NULL, 1, 40, want);
      logits_of(archs[f], "transformed", NULL, 1, 40, got);
      CHECK(cosine(want, got, TOKENS * VOCAB) > 0.998);
    }
    for (int f = 0; encoders[f]; f++) {
      CHECK(make_transformed(encoders[f], 0, &o));
      hidden_of(encoders[f], recipe_json[0][0], NULL, 1, want);
      hidden_of(encoders[f], "transformed", NULL, 1, got);
      CHECK(cosine(want, got, TOKENS * 32) > 0.998);
    }
  }
}

/* Whatever the kernel set, the threads and the calls that rows came in. */
static void same_bytes_of(const char *arch, const char *recipe) {
  static const uint32_t chunks[] = {1, 7, 16, 60};
  logits_of(arch, recipe, "ref", 1, 60, want);
  for (uint32_t i = 0; quern_isa_name(i); i++)
    for (uint32_t c = 0; c < 4; c++) {
      memset(got, 0, sizeof got);
      logits_of(arch, recipe, quern_isa_name(i), 1 + (c + i) % 3, chunks[c], got);
      CHECK(!memcmp(want, got, sizeof got));
    }
}
static void decoders_same_bytes(void) {
  for (int f = 0; archs[f]; f++) {
    CHECK(make_transformed(archs[f], f % 2 == 0, &kinds[f]));
    same_bytes_of(archs[f], "transformed");
  }
}

/* Scales by group as recipes give them, the last group of an input narrower, beside weights of each kind that has one scale a channel. */
static void groups_same_bytes(void) {
#define GROUPED(weights, activations, group)                                                                           \
  "{\"name\":\"grouped\",\"weights\":{\"bits\":" weights "},\"activations\":{\"bits\":" activations                    \
  ",\"group\":" group                                                                                                  \
  ",\"symmetric\":true},\"embeddings\":{\"bits\":8},\"head\":{\"bits\":8,\"group\":32},\"transform\":\"duquant\","     \
  "\"block\":32,\"steps\":4}"
  static const struct {
    const char *recipe;
    double least; /* cosine with the float logits */
  } made[] = {{GROUPED("6", "6", "64"), 0.9},
              {GROUPED("8", "8", "32"), 0.98},
              {GROUPED("4,\"group\":0,\"minimum\":true", "6", "64"), 0.6},
              {GROUPED("6", "4,\"clip\":0.9", "32"), 0.6}};
#undef GROUPED
  static float floats[TOKENS * VOCAB];
  char path[512];
  snprintf(path, sizeof path, "%s/grouped", dir);
  tiny_source = tiny_arch("llama");
  tiny_source.width = 96, tiny_source.head_dim = 24, tiny_source.ffn = 160;
  make_decoder("wide", "float");
  logits_of("wide", "float", NULL, 1, 60, floats);
  for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
    CHECK(tiny_text(dir, "grouped", made[i].recipe));
    make_decoder("wide", path);
    same_bytes_of("wide", "grouped");
    CHECK(cosine(floats, want, TOKENS * VOCAB) > made[i].least);
  }
}

static void encoders_same_bytes(void) {
  for (int f = 0; encoders[f]; f++) {
    CHECK(make_transformed(encoders[f], f % 2 == 0, &kinds[f]));
    hidden_of(encoders[f], "transformed", "ref", 1, want);
    for (uint32_t i = 0; quern_isa_name(i); i++)
      for (uint32_t threads = 1; threads <= 3; threads++) {
        memset(got, 0, sizeof got);
        hidden_of(encoders[f], "transformed", quern_isa_name(i), threads, got);
        CHECK(!memcmp(want, got, TOKENS * 32 * sizeof(float)));
      }
  }
}

/* Queries and keys that are multiplied by a Hadamard matrix give the same scores. */
static void hadamard_heads(void) {
  for (int kind = 0; kind < 2; kind++) {
    const char *recipe = kind ? "float" : recipe_path(0);
    for (uint32_t hadamard = 0; hadamard < 2; hadamard++) {
      tiny_source = tiny_arch("llama");
      tiny_source.heads = 2, tiny_source.kv_heads = 1, tiny_source.head_dim = tiny_source.rotary = 16;
      tiny_source.head_hadamard = hadamard;
      make_decoder(hadamard ? "turned" : "plain", recipe);
    }
    logits_of("plain", kind ? "float" : "eight", NULL, 1, 40, want);
    logits_of("turned", kind ? "float" : "eight", NULL, 1, 40, got);
    CHECK(memcmp(want, got, sizeof got) != 0);
    CHECK(cosine(want, got, TOKENS * VOCAB) > (kind ? 0.99999999 : 0.999));
    memcpy(want, got, sizeof got);
    for (uint32_t i = 0; quern_isa_name(i); i++) {
      logits_of("turned", kind ? "float" : "eight", quern_isa_name(i), 1 + i % 2, 7, got);
      CHECK(!memcmp(want, got, sizeof got));
    }
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(exact_ones_change_little);
  RUN(decoders_same_bytes);
  RUN(groups_same_bytes);
  RUN(encoders_same_bytes);
  RUN(hadamard_heads);
  tiny_dir_remove(dir);
  return TEST_END();
}
