/* test_groups.c - groups of channels of static sites: their widths, scales and parts, the order of channels folded into a model, the
 * models that come of it (the same bytes on every kernel set and thread count, near the float model), and bad input. */
#include <math.h>

#include "faulty_alloc.h"
#include "format/qrn.h"
#include "model/parts.h"
#include "qrn_seal.h"
#include "quant/groups.h"
#include "quant/order.h"
#include "quant/permute.h"
#include "tiny_session.h"

static qn_env env;
static char texts[300];

/* ---- widths -------------------------------------------------------------------------------------------------------- */

enum { CHANNELS = 7 * 16 - 5 };
typedef struct weighed {
  qn_extremes x;
  float weight;
} weighed;
static double cost_of(const weighed *w, const uint32_t *ends, uint32_t count) {
  double cost = 0;
  for (uint32_t g = 0, i = 0; g < count; g++) {
    double low = 0, high = 0, weight = 0;
    for (; i < ends[g]; i++) {
      low = fmin(low, (double)w[i].x.low), high = fmax(high, (double)w[i].x.high);
      weight += (double)w[i].weight;
    }
    cost += weight * (high - low) * (high - low);
  }
  return cost;
}
/* The least cost of cutting behind `count - 1` of the units that are left, one by one. */
static double least_cost(const weighed *x, uint32_t *ends, uint32_t g, uint32_t count, uint32_t unit) {
  double least = INFINITY;
  if (g + 1 == count) {
    ends[g] = CHANNELS;
    return cost_of(x, ends, count);
  }
  for (uint32_t e = (g ? ends[g - 1] : 0) + unit; e < CHANNELS; e += unit) {
    ends[g] = e;
    least = fmin(least, least_cost(x, ends, g + 1, count, unit));
  }
  return least;
}
static void test_cuts(uint32_t unit, uint32_t most, int weighs) {
  qn_extremes x[CHANNELS];
  weighed in_order[CHANNELS];
  float weight[CHANNELS];
  uint32_t order[CHANNELS], ends[8], scratch[8];
  const qn_channels of = {x, weighs ? weight : NULL, order};
  for (uint32_t i = 0; i < CHANNELS; i++) {
    order[i] = (i * 5 + 3) % CHANNELS;
    const float size = i % 9 ? (float)i : 40.0f * (float)i;
    x[i] = (qn_extremes){-size * (float)(tiny_hash(i) % 3), size};
    weight[i] = weighs ? (float)(tiny_hash(i + 1000) % 50) / 8 : 1;
  }
  for (uint32_t i = 0; i < CHANNELS; i++) in_order[i] = (weighed){x[order[i]], weight[order[i]]};
  for (uint32_t count = 1; count <= most; count++) {
    CHECK_EQ(qn_groups_uneven(&env, &of, CHANNELS, count, unit, ends), QUERN_OK);
    for (uint32_t g = 0; g + 1 < count; g++) CHECK(ends[g] % unit == 0 && ends[g] > (g ? ends[g - 1] : 0));
    CHECK_EQ(ends[count - 1], CHANNELS);
    const double got = cost_of(in_order, ends, count), least = least_cost(in_order, scratch, 0, count, unit);
    CHECK(fabs(got - least) <= 1e-9 * least);
  }
}
static void test_widths(void) {
  uint32_t ends[8];
  test_cuts(16, 7, 0);
  test_cuts(16, 7, 1);
  test_cuts(1, 3, 1);
  CHECK_EQ(qn_groups_unit(&(qn_site){.channels = 1500}), 2);
  CHECK_EQ(qn_groups_unit(&(qn_site){.channels = 1500, .flags = QN_SITE_INPUT}), 16);
  qn_groups_equal(96, 6, 16, ends);
  for (uint32_t g = 0; g < 6; g++) CHECK_EQ(ends[g], 16 * (g + 1));
  qn_groups_equal(100, 7, 1, ends); /* 14 or 15 each */
  for (uint32_t g = 0; g < 7; g++) CHECK_EQ(ends[g], 100 * (g + 1) / 7);
}

/* ---- parts --------------------------------------------------------------------------------------------------------- */

static qk_parts parts_by(const float *scale, const uint32_t *ends, uint32_t count, qk_part *p, float *unit) {
  const qn_runs runs = {.ends = ends, .count = count, .channels = ends[count - 1]};
  return qn_parts_make(scale, &runs, p, unit);
}
static void test_parts(void) {
  static const uint32_t ends[] = {32, 64, 96, 128};
  qk_part p[20];
  float unit;
  const float powers[] = {0.25f, 0.25f, 2.0f, 0.5f};
  qk_parts parts = parts_by(powers, ends, 4, p, &unit);
  CHECK(parts.shifts && parts.count == 3 && unit == 0.25f &&
        !parts.any); /* the first two are neighbours of one scale */
  CHECK(p[0].first == 64 && p[0].end == 96 && p[0].shift == 0);
  CHECK(p[1].first == 96 && p[1].shift == 2);
  CHECK(p[2].first == 0 && p[2].end == 64 && p[2].shift == 1);
  const float floats[] = {0.25f, 0.25f, 2.0f, 0.3f};
  parts = parts_by(floats, ends, 4, p, &unit);
  CHECK(!parts.shifts && parts.count == 4 && unit == 1.0f && !parts.any);
  for (uint32_t g = 0; g < 4; g++) CHECK(p[g].end == ends[g] && p[g].scale == floats[g] && !p[g].shift);
  /* Sums beyond the bound are joined in floats: 32 * 2^11 + 96 is within it, 32 * 2^12 is not. */
  const float within[] = {1, 1, 1, 0x1p11f}, beyond[] = {1, 1, 1, 0x1p12f}, far[] = {0x1p-90f, 1, 1, 1};
  CHECK(parts_by(within, ends, 4, p, &unit).shifts == 1);
  CHECK(parts_by(beyond, ends, 4, p, &unit).shifts == 0);
  CHECK(parts_by(far, ends, 4, p, &unit).shifts == 0);
  /* Parts of any channels, and more of them than the fast product takes; joined by shifts they may be few whole panels again. */
  static const uint32_t some[] = {31, 64, 96, 128};
  CHECK(parts_by(floats, some, 4, p, &unit).any == 1);
  CHECK(parts_by(powers, some, 4, p, &unit).any == 0);
  const float apart[] = {0.25f, 0.5f, 2.0f, 0.5f};
  parts = parts_by(apart, some, 4, p, &unit);
  CHECK(parts.any == 1 && parts.count == 4);
  CHECK(p[1].first == 31 && p[1].shift == 2 && p[2].first == 96 && p[2].shift == 0 && p[3].first == 0 &&
        p[3].shift == 1);
  float many[20];
  for (uint32_t g = 0; g < 20; g++) many[g] = g < 10 ? 1.0f : 4.0f;
  const qn_runs runs = {.group = 32, .count = 20, .channels = 630};
  parts = qn_parts_make(many, &runs, p, &unit);
  CHECK(parts.shifts && parts.count == 2 && !parts.any && p[0].first == 320 && p[0].end == 630 && p[1].shift == 2);
  many[3] = 1.1f;
  parts = qn_parts_make(many, &runs, p, &unit);
  CHECK(!parts.shifts && parts.count == 20 && parts.any && p[19].first == 608 && p[19].end == 630);
}

/* Scales of powers are not below what ranges need, and within the bound whatever the ranges are. */
static void test_powers(void) {
  enum { N = 96 };
  qn_extremes x[N];
  float scale[6], zero[6], unit;
  uint32_t ends[6];
  qk_part p[QK_PARTS];
  for (uint32_t seed = 0; seed < 50; seed++) {
    for (uint32_t i = 0; i < N; i++) {
      const float size = ldexpf(1.0f, -(int)(tiny_hash(seed * N + i) % (seed % 30 + 1)));
      x[i] = (qn_extremes){-size, size * (float)(i % 3)};
    }
    qn_site_plan s = {.site = {.channels = N}, .groups = 6, .scale = scale, .zero = zero, .ends = ends};
    s.rule = (qn_site_rule){.bits = 8, .count = 6, .powers = 1, .symmetric = seed % 2 == 1};
    qn_groups_equal(N, 6, 16, ends);
    CHECK_EQ(qn_groups_fill(&s, &env, &(qn_channels){.seen = x}), QUERN_OK);
    CHECK(parts_by(scale, ends, 6, p, &unit).shifts == 1);
    for (uint32_t i = 0; i < N; i++) {
      const float most = 127.5f, g_zero = zero[i / 16], by = 1 / scale[i / 16];
      CHECK(x[i].high * by + g_zero <= most && x[i].low * by + g_zero >= -most);
    }
  }
}

/* The grid of powers begins above the site's scale where the other groups gain more than the widest one loses. */
static void test_grid(void) {
  enum { N = 64 };
  qn_extremes x[N];
  float scale[2], zero[2];
  uint32_t ends[2] = {48, N};
  qn_site_plan s = {.site = {.channels = N}, .groups = 2, .scale = scale, .zero = zero, .ends = ends};
  s.rule = (qn_site_rule){.bits = 8, .count = 2, .powers = 1, .symmetric = 1};
  for (uint32_t i = 0; i < N; i++) x[i] = i < 48 ? (qn_extremes){-127 * 0.51f, 127 * 0.51f} : (qn_extremes){-127, 127};
  CHECK_EQ(qn_groups_fill(&s, &env, &(qn_channels){.seen = x}), QUERN_OK);
  CHECK(scale[1] == 1.125f && scale[0] == 1.125f / 2);
  for (uint32_t i = 0; i < 48; i++) x[i] = (qn_extremes){-127 * 0.5f, 127 * 0.5f};
  CHECK_EQ(qn_groups_fill(&s, &env, &(qn_channels){.seen = x}), QUERN_OK);
  CHECK(scale[1] == 1 && scale[0] == 0.5f);
}

/* ---- order --------------------------------------------------------------------------------------------------------- */

static void test_permute(void) {
  enum { N = 12, K = 5 };
  float x[N * K], y[N * K], work[N];
  uint32_t order[N];
  for (uint32_t seed = 0; seed < 20; seed++) {
    for (uint32_t i = 0; i < N; i++) order[i] = i;
    for (uint32_t i = N; i > 1; i--) {
      const uint32_t j = (uint32_t)(tiny_hash(seed * 100 + i) % i), t = order[j];
      order[j] = order[i - 1], order[i - 1] = t;
    }
    for (uint32_t i = 0; i < N * K; i++) x[i] = y[i] = (float)i;
    qn_permute_rows(x, N, K, order, work);
    for (uint32_t i = 0; i < N; i++) CHECK(!memcmp(x + i * K, y + order[i] * K, K * sizeof *x));
    memcpy(x, y, sizeof x);
    qn_permute_columns(x, K, N, order, work);
    for (uint32_t r = 0; r < K; r++)
      for (uint32_t i = 0; i < N; i++) CHECK(x[r * N + i] == y[r * N + order[i]]);
  }
}

/* One order, or one for each layer: each channel once, the widest last. */
static void test_order(const char *order, uint32_t orders) {
  enum { D = 64, LAYERS_HERE = 3 };
  char path[300], json[600];
  qn_recipe r;
  qn_plan p;
  qn_observed seen = {0};
  const qn_arch a = {.layers = LAYERS_HERE,
                     .width = D,
                     .heads = 4,
                     .head_dim = 16,
                     .ffn = 96,
                     .head = QN_HEAD_CLASSIFY,
                     .labels = 2,
                     .recipe = QN_RECIPE_STATIC};
  snprintf(path, sizeof path, "%s/order.json", dir);
  snprintf(
      json, sizeof json,
      "{\"name\":\"x\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},\"embeddings\":{\"bits\":"
      "8},\"order\":\"%s\",\"sites\":{\"*.ffn.down.out\":{\"groups\":4},\"*.ffn.sum\":{\"groups\":4}}}",
      order);
  CHECK(tiny_text(dir, "order.json", json));
  CHECK_EQ(qn_recipe_load(&r, &env, path), QUERN_OK);
  CHECK_EQ(qn_observed_create(&seen, &env, &a, 1, 0), QUERN_OK);
  CHECK_EQ(qn_plan_create(&p, &env, &a, &r), QUERN_OK);
  for (uint32_t i = 0; i < seen.sites; i++)
    for (uint32_t c = 0; c < seen.site[i].channels; c++) {
      const float size = 1 + (float)(tiny_hash(i * 1000 + c) % 100) / 100 + (c == 5 ? 200.0f : 0);
      seen.site[i].channel[c] = (qn_extremes){-size, size};
    }
  CHECK_EQ(qn_order_find(&p, &env, &seen), QUERN_OK);
  CHECK_EQ(p.orders, orders);
  for (uint32_t l = 0; l < LAYERS_HERE; l++) {
    const uint32_t *got = qn_plan_order(&p, (int)l);
    uint8_t times[D] = {0};
    for (uint32_t i = 0; i < D; i++) times[got[i]]++;
    for (uint32_t i = 0; i < D; i++) CHECK_EQ(times[i], 1);
    CHECK_EQ(got[D - 1], 5);
    CHECK((got == qn_plan_order(&p, (int)l - 1)) == (orders == 1 || l == 0));
  }
  qn_plan_free(&env, &p);
  qn_observed_free(&env, &seen);
  qn_recipe_free(&env, &r);
}
static void test_orders(void) {
  test_order("range", 1);
  test_order("range-by-layer", 3);
}

#define RECIPE(name, more)                                                                                             \
  "{\"name\":\"" name "\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8,\"static\":true},"                      \
  "\"embeddings\":{\"bits\":8}," more "}"
#define FINE "\"*.sum\":{\"bits\":32},\"layers.*.out\":{\"bits\":32},\"*.in\":{\"bits\":16}"
#define EVERYWHERE(form)                                                                                               \
  "\"*.ffn.up.in\":{" form "},\"*.ffn.down.in\":{" form "},\"*.ffn.down.out\":{" form "},\"*.ffn.sum\":{" form "}"
/* Of channels, of neurons. */
#define EACH(form, neurons)                                                                                            \
  "\"*.attn.qkv.in\":{" form "},\"embed.sum\":{\"groups\":11},\"*.ffn.up.in\":{" form "},"                             \
  "\"*.ffn.down.in\":{" neurons "},\"*.ffn.down.out\":{" form "},\"*.ffn.sum\":{" form "}"
static const char *const forms[][2] = {
    {"plain-fine", RECIPE("plain-fine", "\"sites\":{" FINE "}")},
    {"order-fine", RECIPE("order-fine", "\"order\":\"range\",\"sites\":{" FINE "}")},
    {"layers-fine", RECIPE("layers-fine", "\"order\":\"range-by-layer\",\"sites\":{" FINE "}")},
    {"equal", RECIPE("equal", "\"order\":\"range\",\"sites\":{" EVERYWHERE("\"groups\":2") "}")},
    {"powers",
     RECIPE("powers", "\"order\":\"range\",\"sites\":{" EVERYWHERE("\"groups\":2,\"scales\":\"powers\"") "}")},
    {"uneven", RECIPE("uneven", "\"order\":\"range\",\"sites\":{\"*.attn.qkv.in\":{\"groups\":2}," EVERYWHERE(
                                    "\"groups\":3,\"widths\":\"uneven\",\"symmetric\":true") "}")},
    {"layers", RECIPE("layers", "\"order\":\"range-by-layer\",\"sites\":{\"*.attn.qkv.in\":{\"groups\":2}," EVERYWHERE(
                                    "\"groups\":3,\"widths\":\"uneven\"") ",\"*.attn.out.out\":{\"bits\":32}}")},
    {"width", RECIPE("width", "\"sites\":{" EVERYWHERE("\"group\":32") "}")},
    {"each", RECIPE("each", "\"order\":\"range\",\"sites\":{" EACH("\"groups\":64", "\"groups\":96") "}")},
    {"each-powers", RECIPE("each-powers", "\"sites\":{" EACH("\"groups\":64,\"scales\":\"powers\"",
                                                             "\"groups\":96,\"scales\":\"powers\"") "}")},
    {"many", RECIPE("many", "\"order\":\"range\",\"sites\":{" EVERYWHERE("\"groups\":24") "}")},
    {"odd",
     RECIPE("odd",
            "\"order\":\"range\",\"sites\":{\"*.attn.qkv.in\":{\"groups\":7},\"embed.sum\":{\"groups\":5}," EVERYWHERE(
                "\"groups\":5,\"scales\":\"powers\"") "}")},
    {"odd-16", RECIPE("odd-16", "\"sites\":{\"*.sum\":{\"groups\":31,\"bits\":16},\"*.ffn.up.in\":{\"groups\":3},"
                                "\"*.out.out\":{\"groups\":3},\"*.ffn.down.in\":{\"bits\":16}}")}};
enum { FINE_FORMS = 3, UNEVEN = 5, LAYERS = 6, EACH_CHANNEL = 8, FORMS = sizeof forms / sizeof forms[0], WIDTH = 64 };

/* dir/made.qrn by a recipe. */
static quern_status quantize(const char *recipe, const char *isa, uint32_t threads, const quern_allocator *alloc,
                             char *message, size_t cap) {
  const making k = {.isa = isa, .threads = threads, .alloc = alloc, .recipe = recipe, .texts = texts};
  char path[300];
  path_of(path, sizeof path, "made");
  return make_file(&k, path, message, cap);
}
/* The same by one of JSON. */
static quern_status quantize_json(const char *json, const char *isa, uint32_t threads, const quern_allocator *alloc,
                                  char *message, size_t cap) {
  char recipe[300];
  snprintf(recipe, sizeof recipe, "%s/form.json", dir);
  CHECK(tiny_text(dir, "form.json", json));
  return quantize(recipe, isa, threads, alloc, message, cap);
}

static int embed(const char *isa, uint32_t threads, float out[WIDTH]) {
  static const char text[] = "the cat sat on the mat a1 b2 c3";
  opened m = open_model("made", isa, threads, 0, 0);
  const int ok = m.s && quern_embed(m.s, text, sizeof text - 1, out, WIDTH, NULL) == QUERN_OK;
  close_model(&m);
  return ok;
}
static double cosine(const float *a, const float *b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t c = 0; c < WIDTH; c++)
    ab += (double)a[c] * (double)b[c], aa += (double)a[c] * (double)a[c], bb += (double)b[c] * (double)b[c];
  return ab / sqrt(aa * bb);
}

static tiny_options options(const char *type) {
  tiny_options o = tiny_defaults();
  o.model_type = type, o.width = WIDTH, o.ffn = 96;
  if (!strcmp(type, "electra")) o.embed_width = 32;
  return o;
}

/* The order changes nothing but how things are rounded, and groups stay near the float model, in every family. */
static void test_models(void) {
  static const char *const types[] = {"bert", "mpnet", "distilbert", "electra"};
  float want[WIDTH], got[WIDTH], ref[WIDTH];
  char message[512] = "";
  for (size_t t = 0; t < 4; t++) {
    const tiny_options o = options(types[t]);
    CHECK(tiny_model_write(dir, &o) && write_texts(80));
    CHECK_EQ(quantize("float", NULL, 1, NULL, message, sizeof message), QUERN_OK);
    CHECK(embed(NULL, 1, want));
    for (size_t f = 0; f < FORMS; f++) {
      CHECK_EQ(quantize_json(forms[f][1], NULL, 1, NULL, message, sizeof message), QUERN_OK);
      CHECK(embed("ref", 1, ref));
      const double far = 1 - cosine(want, ref);
      printf("  %s, %s: 1 - cosine with float %.1e\n", types[t], forms[f][0], far);
      CHECK(far < (f < FINE_FORMS ? 2e-3 : 2e-2));
      for (uint32_t i = 0; quern_isa_name(i); i++)
        for (uint32_t threads = 1; threads <= 3; threads += 2) {
          CHECK(embed(quern_isa_name(i), threads, got));
          CHECK(!memcmp(ref, got, sizeof got));
        }
    }
  }
  if (message[0]) printf("  %s\n", message);
}

/* The same file on every kernel set and thread count. */
static void test_same_file(void) {
  const tiny_options o = options("mpnet");
  char path[300];
  size_t n = 0;
  CHECK(tiny_model_write(dir, &o) && write_texts(80));
  path_of(path, sizeof path, "made");
  for (size_t f = FINE_FORMS; f < FORMS; f++) {
    CHECK_EQ(quantize_json(forms[f][1], "ref", 1, NULL, NULL, 0), QUERN_OK);
    uint8_t *want = tiny_read(path, &n);
    for (uint32_t isa = 0; want && quern_isa_name(isa); isa++) {
      size_t m = 0;
      CHECK_EQ(quantize_json(forms[f][1], quern_isa_name(isa), 1 + isa % 3, NULL, NULL, 0), QUERN_OK);
      uint8_t *got = tiny_read(path, &m);
      CHECK(got && m == n && !memcmp(got, want, n));
      free(got);
    }
    free(want);
  }
}

/* ---- bad input ----------------------------------------------------------------------------------------------------- */

static void refused(const char *more, quern_status status, const char *words) {
  char json[1024], message[512] = "";
  snprintf(json, sizeof json, RECIPE("x", "%s"), more);
  CHECK_EQ(quantize_json(json, NULL, 1, NULL, message, sizeof message), status);
  CHECK(strstr(message, words));
  if (!strstr(message, words)) printf("  message: %s\n", message);
}

/* Opening the file fails. */
static void does_not_open(uint8_t *p, size_t bytes, quern_status status, const char *words) {
  char path[300], message[512] = "";
  quern_context *c = NULL;
  quern_model *m = NULL;
  qrn_seal(p, bytes);
  CHECK(tiny_file(dir, "damaged.qrn", p, bytes));
  path_of(path, sizeof path, "damaged");
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, c, path, NULL), status);
  quern_context_error(c, message, sizeof message);
  CHECK(strstr(message, words));
  if (!strstr(message, words)) printf("  message: %s\n", message);
  quern_model_free(m);
  quern_context_free(c);
}

/* The file made last, and one of its tensors; NULL. */
static uint8_t *read_made(size_t *bytes, qrn_reader *r, const char *tensor, const qrn_tensor **t) {
  char path[300];
  path_of(path, sizeof path, "made");
  uint8_t *p = tiny_read(path, bytes);
  const int opens = p && qrn_open(r, &env, p, *bytes) == QUERN_OK;
  CHECK(opens);
  *t = opens ? qrn_find_tensor(r, tensor) : NULL;
  CHECK(*t != NULL);
  if (*t) return p;
  free(p);
  return NULL;
}

/* The file with one number of a tensor changed. */
static void damaged(const char *tensor, size_t at, int32_t value, const char *words) {
  size_t bytes = 0;
  qrn_reader r;
  const qrn_tensor *t;
  uint8_t *p = read_made(&bytes, &r, tensor, &t);
  if (!p) return;
  memcpy(p + r.section[QRN_DATA]->offset + t->offset + at * 4, &value, 4);
  does_not_open(p, bytes, QUERN_E_FORMAT, words);
  free(p);
}

/* With a tensor of half the size; with one of a name that this version does not know, as one before knows none of it. */
static void test_bad_tensor(const char *tensor) {
  size_t bytes = 0;
  qrn_reader r;
  const qrn_tensor *t;
  uint8_t *p = read_made(&bytes, &r, tensor, &t);
  if (!p) return;
  qrn_tensor *own = (qrn_tensor *)(void *)(p + ((const uint8_t *)t - p));
  char *name = (char *)(p + ((const uint8_t *)qrn_tensor_name(&r, t) - p)) + strlen(tensor) - 1;
  ++*name;
  does_not_open(p, bytes, QUERN_E_UNSUPPORTED, "a later version may have made");
  --*name;
  own->dim[0] /= 2, own->bytes /= 2;
  does_not_open(p, bytes, QUERN_E_FORMAT, tensor);
  free(p);
}

static void test_bad_input(void) {
  const tiny_options o = options("bert");
  CHECK(tiny_model_write(dir, &o) && write_texts(40));
  refused("\"sites\":{\"layers.1.ffn.sum\":{\"groups\":65}}", QUERN_E_UNSUPPORTED,
          "layers.1.ffn.sum: 65 groups are more than its 64 channels");
  refused("\"sites\":{\"layers.1.ffn.up.in\":{\"groups\":5,\"widths\":\"uneven\"}}", QUERN_E_UNSUPPORTED,
          "5 groups are more than its 64 channels have runs of 16");
  refused("\"sites\":{\"layers.1.ffn.sum\":{\"groups\":131073}}", QUERN_E_UNSUPPORTED, "groups is 2 up to");
  refused("\"sites\":{\"layers.1.ffn.sum\":{\"groups\":-2}}", QUERN_E_UNSUPPORTED, "groups is 2 up to");
  refused("\"sites\":{\"layers.1.ffn.sum\":{\"groups\":1}}", QUERN_E_UNSUPPORTED, "groups is 2 up to");
  refused("\"sites\":{\"layers.1.ffn.sum\":{\"groups\":2,\"group\":32}}", QUERN_E_SOURCE, "one of them");
  refused("\"sites\":{\"layers.1.ffn.sum\":{\"widths\":\"odd\"}}", QUERN_E_UNSUPPORTED, "\"equal\" or \"uneven\"");
  refused("\"sites\":{\"layers.1.ffn.sum\":{\"scales\":\"odd\"}}", QUERN_E_UNSUPPORTED, "\"float\" or \"powers\"");
  refused("\"sites\":{\"layers.9.ffn.sum\":{\"groups\":2}}", QUERN_E_UNSUPPORTED, "none of the model's");
  refused("\"sites\":{\"*.attn.q\":{\"groups\":2}}", QUERN_E_UNSUPPORTED, "cannot have groups");
  refused("\"sites\":{\"*.ffn.up.in\":{\"groups\":2,\"bits\":16}}", QUERN_E_UNSUPPORTED, "codes have 8 bits");
  refused("\"sites\":{\"*.ffn.down.in\":{\"groups\":2,\"widths\":\"uneven\"}},\"split\":4", QUERN_E_UNSUPPORTED,
          "\"split\"");
  refused("\"order\":\"size\"", QUERN_E_UNSUPPORTED, "order is");
  CHECK_EQ(quantize("peg", NULL, 1, NULL, NULL, 0), QUERN_OK); /* 6 do not divide 64 */
  CHECK_EQ(quantize_json(forms[UNEVEN][1], NULL, 1, NULL, NULL, 0), QUERN_OK);
  damaged("layers.0.ffn.sum.ends", 1, 64, "end 1 of the groups of site layers.0.ffn.sum");
  damaged("layers.0.ffn.sum.ends", 2, 80, "end 2 of the groups of site layers.0.ffn.sum");
  damaged("layers.0.ffn.up.in.ends", 0, -16, "end 0 of the groups of site layers.0.ffn.up.in");
  CHECK_EQ(quantize_json(forms[EACH_CHANNEL][1], NULL, 1, NULL, NULL, 0), QUERN_OK);
  damaged("layers.0.ffn.up.in.ends", 63, 65, "end 63 of the groups of site layers.0.ffn.up.in");
  damaged("layers.0.ffn.up.in.ends", 40, 40, "end 40 of the groups of site layers.0.ffn.up.in");
  damaged("layers.0.ffn.sum.ends", 0, 0, "end 0 of the groups of site layers.0.ffn.sum");
  damaged("layers.0.ffn.sum.ends", 10, INT32_MAX, "end 10 of the groups of site layers.0.ffn.sum");
  damaged("layers.0.ffn.down.in.scale", 95, 0, "scale or zero point 95 of site layers.0.ffn.down.in");
  damaged("hidden.order", 7, 64, "hidden.order: entry 7 is 64");
  damaged("hidden.order", 7, -1, "hidden.order: entry 7 is -1");
  CHECK_EQ(quantize_json(forms[LAYERS][1], NULL, 1, NULL, NULL, 0), QUERN_OK);
  damaged("layers.1.attn.norm.order", 63, 64, "layers.1.attn.norm.order: entry 63 is 64");
  damaged("layers.1.attn.norm.order", 0, INT32_MIN, "layers.1.attn.norm.order: entry 0 is -2147483648");
  test_bad_tensor("layers.1.attn.norm.order");
}

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  char path[300];
  path_of(path, sizeof path, "made");
  const quern_status s = quantize_json(arg, NULL, 1, alloc, NULL, 0);
  return s == QUERN_OK ? open_once(alloc, path) : s;
}
static void test_memory(void) {
  tiny_options o = options("bert");
  long allocations = 0;
  o.layers = 2;
  CHECK(tiny_model_write(dir, &o) && tiny_text(dir, "texts.txt", "a b\nthe cat\n"));
  CHECK_EQ(faulty_each(attempt, (void *)(uintptr_t)forms[LAYERS][1], &allocations), 0);
  CHECK_EQ(faulty_each(attempt, (void *)(uintptr_t)forms[EACH_CHANNEL][1], &allocations), 0);
  printf("  %ld allocations\n", allocations);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  snprintf(texts, sizeof texts, "%s/texts.txt", dir);
  RUN(test_widths);
  RUN(test_parts);
  RUN(test_powers);
  RUN(test_grid);
  RUN(test_permute);
  RUN(test_orders);
  RUN(test_models);
  RUN(test_same_file);
  RUN(test_bad_input);
  RUN(test_memory);
  tiny_dir_remove(dir);
  return TEST_END();
}
