/* test_quant.c - packing, and the whole quantize job on a small model: what the file holds, and that nothing
 * is left behind when the job fails at any point. */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include "base/thread.h"
#include "format/qrn.h"
#include "kernels/layout.h"
#include "quant/quant.h"
#include "quant/split.h"
#include "tests/faulty_alloc.h"
#include "tests/test.h"
#include "tests/tiny_model.h"

static char root[256], src[300], out[300], other[300], report[300];
static qn_env env;

static void fresh(const tiny_options *o) {
  tiny_dir_remove(root);
  mkdir(root, 0777);
  mkdir(src, 0777);
  CHECK(tiny_model_write(src, o));
}

static quern_status quantize(const char *dst, const char *recipe) {
  quern_quantize_result r;
  qn_quantize_job job = {.src = src, .dst = dst, .recipe = recipe};
  return qn_quantize(&env, &job, &r);
}

static int message_has(const char *words) {
  char message[QN_ERROR_BYTES];
  qn_error_copy(&env.error, message, sizeof message);
  if (strstr(message, words)) return 1;
  printf("  message: %s\n", message);
  return 0;
}

static int same_files(const char *a, const char *b) {
  size_t na = 0, nb = 1;
  uint8_t *pa = tiny_read(a, &na), *pb = tiny_read(b, &nb);
  int same = pa && pb && na == nb && !memcmp(pa, pb, na);
  free(pa), free(pb);
  return same;
}

static int write_text(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  if (!f) return 0;
  fputs(text, f);
  return fclose(f) == 0;
}

/* ---- packing ---- */

/* The definition once more, in the plainest way. */
static int code_of(const float *row, uint32_t d, uint32_t i, float *scale) {
  float most = 0;
  for (uint32_t j = 0; j < d; j++) most = fmaxf(most, fabsf(row[j]));
  *scale = most < 0x1p-100f ? 0 : most / 127;
  return *scale == 0 ? 0 : (int)rintf(row[i] * (127 / most));
}

static void packs_by_definition(void) {
  static float w[40 * 200];
  static uint8_t panels[48 * 256];
  static int8_t codes[40 * 200];
  float scale[40], row_scale[40];
  int32_t sums[40];
  static const uint32_t shapes[][2] = {{1, 1}, {16, 64}, {17, 65}, {40, 200}, {3, 63}};
  for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
    uint32_t n = shapes[s][0], k = shapes[s][1], kp = (uint32_t)qk_k8(k);
    for (uint32_t i = 0; i < n * k; i++) w[i] = tiny_weight(7, "w", i) * (i % 3 ? 1.0f : 1.37f);
    if (n > 2) memset(w + k, 0, k * sizeof *w);
    if (n > 2) w[2 * k] = 3e38f;
    memset(panels, 0x11, sizeof panels);
    qn_pack_linear_i8(w, n, k, 127.0f, panels, scale, sums);
    qn_pack_rows_i8(w, n, k, 127.0f, codes, row_scale);
    for (uint32_t r = 0; r < (n + 15) / 16 * 16; r++) {
      int32_t sum = 0;
      for (uint32_t i = 0; i < kp; i++) {
        int code = (int8_t)(panels[r / 16 * 16 * kp + i / 4 * 64 + r % 16 * 4 + i % 4] ^ 0x80), expected = 0;
        float expected_scale = 0;
        if (r < n && i < k) {
          expected = code_of(w + r * k, k, i, &expected_scale);
          CHECK(expected_scale == scale[r] && expected_scale == row_scale[r]);
          CHECK_EQ(codes[r * k + i], expected);
        }
        CHECK_EQ(code, expected);
        sum += expected;
      }
      if (r < n) CHECK_EQ(sums[r], sum);
    }
  }
}

static void packs_edges(void) {
  /* Ties go to even; the largest magnitude is exactly +-127; tiny and denormal rows are zero. */
  static const float ties[8] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -127, 126.5f};
  static const int8_t expected[8] = {127, 0, 2, 2, 0, -2, -127, 126};
  int8_t codes[8];
  float scale;
  qn_pack_rows_i8(ties, 1, 8, 127.0f, codes, &scale);
  CHECK(scale == 1 && !memcmp(codes, expected, 8));
  float small[2] = {0x1p-101f, -0x1p-120f};
  qn_pack_rows_i8(small, 1, 2, 127.0f, codes, &scale);
  CHECK(scale == 0 && codes[0] == 0 && codes[1] == 0);
  small[0] = 0x1p-100f;
  qn_pack_rows_i8(small, 1, 2, 127.0f, codes, &scale);
  CHECK(scale == 0x1p-100f / 127 && codes[0] == 127 && codes[1] == 0);
  for (uint32_t bits = 0x00800000; bits < 0x7f800000; bits += 0x12345) {
    float x[2];
    memcpy(x, &bits, 4);
    x[1] = -x[0];
    qn_pack_rows_i8(x, 1, 2, 127.0f, codes, &scale);
    CHECK(scale == 0 || (codes[0] == 127 && codes[1] == -127));
  }
  float panels[2 * 16 * 3], w[17 * 3];
  for (int i = 0; i < 51; i++) w[i] = (float)i;
  qn_pack_linear_f32(w, 17, 3, panels);
  CHECK(panels[0] == 0 && panels[1] == 3 && panels[16] == 1 && panels[48] == 48 && panels[49] == 0 && panels[80] == 50);
}

/* ---- the file ---- */

typedef struct opened {
  qn_map map;
  qrn_reader file;
} opened;

static int open_file(opened *o, const char *path) {
  if (qn_map_open(&o->map, &env, path, 0) != QUERN_OK) return 0;
  if (qrn_open(&o->file, &env, o->map.data, o->map.bytes) == QUERN_OK && qrn_verify(&o->file, NULL, NULL) == QUERN_OK) {
    return 1;
  }
  message_has("nothing: the file should be valid");
  qn_map_close(&o->map);
  return 0;
}

static const void *tensor(const opened *o, const char *name, uint32_t dtype, uint32_t layout, uint64_t n, uint64_t k) {
  uint64_t dim[2] = {n, k};
  const void *data = NULL;
  if (qrn_need_tensor(&o->file, name, dtype, layout, k ? 2 : 1, dim, &data) != QUERN_OK) message_has("no error");
  return data;
}

enum { SPLIT = 16, FFN = 64, SPLIT_K = FFN + SPLIT };

/* Neurons that layer `layer` of the tiny model, of width 32, has split. */
static void split_of(char layer, uint32_t source[SPLIT]) {
  static float down[32 * FFN];
  float most[32];
  uint32_t shares[FFN];
  char name[] = "encoder.layer.0.output.dense.weight";
  name[14] = layer;
  for (uint32_t i = 0; i < 32 * FFN; i++) down[i] = tiny_weight(1, name, i);
  qn_split_choose(down, 32, FFN, SPLIT, source, shares, most);
}

/* A linear operator of the file against the generator's weights; int8 or float. sources: parts joined by rows. */
static int linear_is(const opened *o, const char *name, const char *const *sources, uint32_t parts, uint32_t rows,
                     uint32_t k, int int8) {
  static float w[96 * 64], bias[96], panels_f32[96 * 64];
  static uint8_t panels[96 * 128];
  float scale[96];
  int32_t sums[96];
  char full[128];
  uint32_t n = parts * rows, source[SPLIT];
  const int up = int8 && strstr(name, "ffn.up") != NULL, down = int8 && strstr(name, "ffn.down") != NULL;
  for (uint32_t i = 0; i < n * k; i++) {
    snprintf(full, sizeof full, "%s.weight", sources[i / (rows * k)]);
    w[i] = tiny_weight(1, full, i % (rows * k));
  }
  for (uint32_t i = 0; i < n; i++) {
    snprintf(full, sizeof full, "%s.bias", sources[i / rows]);
    bias[i] = tiny_weight(1, full, i % rows);
  }
  if (up || down) split_of(name[7], source);
  if (up) {
    qn_split_rows(w, FFN, k, SPLIT, source);
    qn_split_rows(bias, FFN, 1, SPLIT, source);
    n += SPLIT;
  }
  if (down) {
    qn_split_columns(w, n, FFN, SPLIT, source);
    k = SPLIT_K;
  }
  snprintf(full, sizeof full, "%s.bias", name);
  const void *got = tensor(o, full, QRN_F32, QRN_ROWS, n, 0);
  if (!got || memcmp(got, bias, n * sizeof *bias)) return 0;
  snprintf(full, sizeof full, "%s.weight", name);
  got = tensor(o, full, int8 ? QRN_I8 : QRN_F32, QRN_PANELS, n, k);
  if (!int8) {
    qn_pack_linear_f32(w, n, k, panels_f32);
    return got && !memcmp(got, panels_f32, qk_weight_bytes_f32(n, k));
  }
  /* Exact in float: the stored weight times the smoothing vector is the source's. */
  snprintf(full, sizeof full, "%s.smooth", name);
  const int smoothed = !strncmp(name, "layers.", 7);
  const float *smooth = smoothed ? tensor(o, full, QRN_F32, QRN_ROWS, k, 0) : NULL;
  for (uint32_t i = 0; smooth && i < n * k; i++) w[i] /= smooth[i % k];
  for (uint32_t i = 0; smooth && i < k; i++)
    if (!(smooth[i] > 0 && smooth[i] < 1e6f)) return 0;
  if (down) qn_split_share(w, n, FFN, SPLIT, 127.0f, source);
  qn_pack_linear_i8(w, n, k, 127.0f, panels, scale, sums);
  if (smoothed != (smooth != NULL) || !got || memcmp(got, panels, qk_weight_bytes(n, k, 8))) return 0;
  snprintf(full, sizeof full, "%s.scale", name);
  got = tensor(o, full, QRN_F32, QRN_ROWS, n, 0);
  if (!got || memcmp(got, scale, n * sizeof *scale)) return 0;
  snprintf(full, sizeof full, "%s.sums", name);
  got = tensor(o, full, QRN_I32, QRN_ROWS, n, 0);
  return got && !memcmp(got, sums, n * sizeof *sums);
}

static int meta_is(const opened *o, const char *key, const char *value) {
  qrn_meta m;
  return qrn_meta_find(&o->file, key, &m) && m.type == QRN_STRING && m.value_bytes == strlen(value) &&
         !memcmp(m.value, value, m.value_bytes);
}

static void check_model(int int8) {
  static const char *const qkv[] = {"encoder.layer.1.attention.self.query", "encoder.layer.1.attention.self.key",
                                    "encoder.layer.1.attention.self.value"};
  static const char *const attn_out[] = {"encoder.layer.0.attention.output.dense"};
  static const char *const up[] = {"encoder.layer.0.intermediate.dense"};
  static const char *const down[] = {"encoder.layer.1.output.dense"};
  tiny_options t = tiny_defaults();
  opened o;
  fresh(&t);
  CHECK_EQ(quantize(out, int8 ? NULL : "float"), QUERN_OK);
  CHECK_EQ(tiny_dir_count(root), 2);
  CHECK(open_file(&o, out));
  if (!o.map.data) return;
  CHECK(linear_is(&o, "layers.1.attn.qkv", qkv, 3, 32, 32, int8));
  CHECK(linear_is(&o, "layers.0.attn.out", attn_out, 1, 32, 32, int8));
  CHECK(linear_is(&o, "layers.0.ffn.up", up, 1, 64, 32, int8));
  CHECK(linear_is(&o, "layers.1.ffn.down", down, 1, 32, 64, int8));
  static float w[TINY_VOCAB * 32], scale[TINY_VOCAB];
  static int8_t codes[TINY_VOCAB * 32];
  for (uint32_t i = 0; i < TINY_VOCAB * 32; i++) w[i] = tiny_weight(1, "embeddings.word_embeddings.weight", i);
  const void *got = tensor(&o, "embed.tokens", int8 ? QRN_I8 : QRN_F32, QRN_ROWS, TINY_VOCAB, 32);
  qn_pack_rows_i8(w, TINY_VOCAB, 32, 127.0f, codes, scale);
  CHECK(got && !memcmp(got, int8 ? (void *)codes : (void *)w, int8 ? sizeof codes : sizeof w));
  if (int8) {
    got = tensor(&o, "embed.tokens.scale", QRN_F32, QRN_ROWS, TINY_VOCAB, 0);
    CHECK(got && !memcmp(got, scale, sizeof scale));
  }
  CHECK(tensor(&o, "embed.positions", int8 ? QRN_I8 : QRN_F32, QRN_ROWS, 64, 32) != NULL);
  CHECK(tensor(&o, "embed.types", QRN_F32, QRN_ROWS, 2, 32) != NULL);
  const float *gain = tensor(&o, "layers.1.ffn.norm.gain", QRN_F32, QRN_ROWS, 32, 0);
  CHECK(gain && gain[3] == tiny_weight(1, "encoder.layer.1.output.LayerNorm.weight", 3));
  CHECK(tensor(&o, "layers.0.attn.norm.bias", QRN_F32, QRN_ROWS, 32, 0) != NULL);
  CHECK(tensor(&o, "embed.norm.gain", QRN_F32, QRN_ROWS, 32, 0) != NULL);
  CHECK(qrn_find_tensor(&o.file, "head.pooler.weight") == NULL);
  CHECK_EQ(o.file.tensor_count, int8 ? 2 * 2 + 1 + 2 + 2 * (4 * 5 + 4) : 3 + 2 + 2 * (4 * 2 + 4));

  CHECK_EQ(o.file.site_count, 16);
  const qrn_site *site = &o.file.sites[9]; /* the second layer's second */
  CHECK(!strcmp(o.file.site_names + site->name, "layers.1.attn.q"));
  CHECK(site->bits == (int8 ? 8 : 32) && site->grain == (int8 ? QRN_GRAIN_TOKEN_HEAD : QRN_GRAIN_NONE));
  CHECK(site->groups == 1 && site->symmetric == 1 && o.file.sites[8].symmetric == !int8);
  CHECK(meta_is(&o, "general.architecture", "bert") && meta_is(&o, "general.recipe", int8 ? "int8" : "float"));
  CHECK(meta_is(&o, "general.source", strrchr(src, '/') + 1) && meta_is(&o, "tokenizer.kind", "wordpiece"));
  CHECK(meta_is(&o, "recipe.json", qn_recipe_preset_json(int8 ? "int8" : "float")));
  qrn_meta m;
  CHECK(!qrn_meta_find(&o.file, "label.0", &m) && qrn_meta_find(&o.file, "general.producer", &m));
  size_t bytes;
  const void *record = qrn_section_data(&o.file, QRN_ARCH, &bytes);
  qn_arch arch = {0}, *a = &arch;
  CHECK(record && bytes == 128); /* as readers of the first files expect it */
  memcpy(a, record, 128);
  CHECK_EQ(a->bytes, 128);
  a->bytes = sizeof *a;
  CHECK(a->ffn == (int8 ? SPLIT_K : FFN) && a->ffn_copies == (int8 ? SPLIT : 0));
  CHECK_EQ(qn_arch_check(a, &env, QUERN_E_FORMAT), QUERN_OK);
  CHECK_EQ(a->recipe, int8 ? QN_RECIPE_INT8 : QN_RECIPE_FLOAT);
  CHECK(qrn_section_data(&o.file, QRN_TOKENIZER, &bytes) != NULL);
  qn_map_close(&o.map);
}

static void makes_int8(void) { check_model(1); }
static void makes_float(void) { check_model(0); }

/* Every tensor of a recipe of small codes is there, operators outside of the layers have 8 bits. */
static void makes_small(void) {
  static const char recipe[] = "{\"name\":\"x\",\"weights\":{\"bits\":4,\"group\":32,\"minimum\":true},"
                               "\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":2,\"group\":16}}";
  char path[300];
  for (int with_min = 0; with_min < 2; with_min++) {
    tiny_options t = tiny_defaults();
    opened o;
    t.labels = 3;
    fresh(&t);
    snprintf(path, sizeof path, "%.*s/r.json", 290, src);
    CHECK(write_text(path, recipe));
    CHECK_EQ(quantize(out, with_min ? path : "int4"), QUERN_OK);
    CHECK(open_file(&o, out));
    if (!o.map.data) return;
    /* 64 inputs and 16 copies of split neurons */
    CHECK(tensor(&o, "layers.1.ffn.down.weight", QRN_U4, QRN_PANELS, 32, 80) != NULL);
    CHECK_EQ(qrn_find_tensor(&o.file, "layers.1.ffn.down.weight")->group, 32);
    CHECK(tensor(&o, "layers.1.ffn.down.scale", QRN_F32, QRN_PANELS, 32, 3) != NULL);
    CHECK(tensor(&o, "layers.1.ffn.down.sums", QRN_F32, QRN_ROWS, 32, 0) != NULL);
    CHECK_EQ(qrn_find_tensor(&o.file, "layers.1.ffn.down.min") != NULL, with_min);
    CHECK(tensor(&o, "head.pooler.weight", QRN_I8, QRN_PANELS, 32, 32) != NULL);
    CHECK(tensor(&o, "embed.tokens", with_min ? QRN_U2 : QRN_I8, QRN_ROWS, TINY_VOCAB, 32) != NULL);
    if (with_min) CHECK(tensor(&o, "embed.tokens.scale", QRN_F32, QRN_ROWS, TINY_VOCAB, 2) != NULL);
    if (with_min) CHECK_EQ(qrn_find_tensor(&o.file, "embed.tokens.step")->dim[1], 2);
    qn_map_close(&o.map);
  }
}

static void makes_heads(void) {
  static const char *const pooler[] = {"pooler.dense"}, *const classifier[] = {"classifier"};
  for (uint32_t labels = 1; labels <= 3; labels += 2) {
    tiny_options t = tiny_defaults();
    opened o;
    t.labels = labels;
    fresh(&t);
    CHECK_EQ(quantize(out, "int8"), QUERN_OK);
    CHECK(open_file(&o, out));
    if (!o.map.data) return;
    CHECK(linear_is(&o, "head.pooler", pooler, 1, 32, 32, 1));
    CHECK(linear_is(&o, "head.out", classifier, 1, labels, 32, 1));
    CHECK_EQ(o.file.site_count, 18);
    CHECK(meta_is(&o, "label.0", "label-a") && (labels == 1 || meta_is(&o, "label.2", "label-c")));
    qn_map_close(&o.map);
  }
}

static void makes_span_heads(void) {
  static const char *const outputs[] = {"qa_outputs"};
  for (int int8 = 0; int8 < 2; int8++) {
    tiny_options t = tiny_defaults();
    opened o;
    qrn_meta label;
    t.span = 1;
    fresh(&t);
    CHECK_EQ(quantize(out, int8 ? "int8" : "float"), QUERN_OK);
    CHECK(open_file(&o, out));
    if (!o.map.data) return;
    CHECK(linear_is(&o, "head.out", outputs, 1, 2, 32, int8));
    CHECK(qrn_find_tensor(&o.file, "head.pooler.weight") == NULL);
    CHECK_EQ(o.file.site_count, 17);
    CHECK(!strcmp(o.file.site_names + o.file.sites[16].name, "head.out.in"));
    CHECK(o.file.sites[16].bits == (int8 ? 8 : 32) && !qrn_meta_find(&o.file, "label.0", &label));
    qn_map_close(&o.map);
  }
}

static void same_bytes_again(void) {
  tiny_options t = tiny_defaults();
  fresh(&t);
  CHECK_EQ(quantize(out, NULL), QUERN_OK);
  CHECK_EQ(quantize(other, "int8"), QUERN_OK);
  CHECK(same_files(out, other));
  t.dtype = "F16"; /* holds these weights exactly */
  t.shards = 3;
  tiny_dir_remove(src);
  mkdir(src, 0777);
  CHECK(tiny_model_write(src, &t));
  CHECK_EQ(quantize(other, "int8"), QUERN_OK);
  CHECK(same_files(out, other));
  t.seed = 2;
  CHECK(tiny_model_write(src, &t));
  CHECK_EQ(quantize(other, "int8"), QUERN_OK);
  CHECK(!same_files(out, other));
}

static void works_without_tokenizer(void) {
  tiny_options t = tiny_defaults();
  opened o;
  size_t bytes;
  t.tokenizer = 0;
  fresh(&t);
  CHECK_EQ(quantize(out, NULL), QUERN_OK);
  CHECK(open_file(&o, out));
  CHECK(qrn_section_data(&o.file, QRN_TOKENIZER, &bytes) == NULL);
  qn_map_close(&o.map);
}

/* ---- the job ---- */

typedef struct watch {
  uint64_t cancel_at, calls, last, total;
  int in_order;
} watch;

static int32_t on_progress(void *user, uint64_t done, uint64_t total, const char *what) {
  watch *w = user;
  w->in_order &= done == w->calls && what && *what;
  w->last = done, w->total = total;
  return w->calls++ == w->cancel_at;
}

static void reports_and_cancels(void) {
  tiny_options t = tiny_defaults();
  fresh(&t);
  watch w = {.cancel_at = UINT64_MAX, .in_order = 1};
  qn_quantize_job job = {.src = src, .dst = out, .progress = on_progress, .progress_user = &w};
  quern_quantize_result r = {0}, dry = {0};
  CHECK_EQ(qn_quantize(&env, &job, &r), QUERN_OK);
  CHECK(w.in_order && w.last == w.total && w.total == 3 && w.calls == 4);
  CHECK(r.bytes > 0 && r.source_bytes > r.bytes && r.worst_weight_error > 1e-4 && r.worst_weight_error < 0.05);
  struct stat st;
  CHECK(stat(out, &st) == 0 && (uint64_t)st.st_size == r.bytes);
  CHECK(write_text(out, "the old file"));
  job.dry_run = 1;
  CHECK_EQ(qn_quantize(&env, &job, &dry), QUERN_OK);
  CHECK(dry.bytes == r.bytes && stat(out, &st) == 0 && st.st_size == 12);
  job.dst = NULL;
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK);
  job.dry_run = 0, job.dst = out;
  for (uint64_t i = 0; i < 4; i++) {
    w = (watch){.cancel_at = i, .in_order = 1};
    CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_CANCELLED);
    CHECK(w.calls == i + 1 && tiny_dir_count(root) == 2 && stat(out, &st) == 0 && st.st_size == 12);
  }
  w.cancel_at = UINT64_MAX;
  /* The limit holds for what is live at once: peak - 1 is refused, the peak is enough. */
  faulty_alloc f = {0};
  quern_allocator a = faulty_allocator(&f);
  qn_env own;
  qn_env_init(&own, &a, NULL, NULL, 0);
  CHECK_EQ(qn_quantize(&own, &job, NULL), QUERN_OK);
  job.limit = f.peak_bytes - 1;
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_LIMIT);
  CHECK(message_has("limit of"));
  job.limit = f.peak_bytes;
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK);
  job.limit = 20000; /* less than model.safetensors */
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_LIMIT);
  CHECK(message_has("model.safetensors"));
}

static void writes_reports(void) {
  tiny_options t = tiny_defaults();
  char path[400];
  qn_json j;
  size_t bytes;
  fresh(&t);
  FILE *f = fopen(other, "w");
  if (f) fclose(f);
  qn_quantize_job job = {.src = src, .dst = out, .report = other};
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_E_IO); /* a file where the directory should be */
  CHECK_EQ(tiny_dir_count(root), 2);
  job.report = report;
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK);
  CHECK_EQ(qn_quantize(&env, &job, NULL), QUERN_OK); /* into the directory that is there now */
  CHECK_EQ(tiny_dir_count(report), 2);
  snprintf(path, sizeof path, "%s/report.json", report);
  uint8_t *text = tiny_read(path, &bytes);
  CHECK_EQ(qn_json_parse(&j, &env, "report.json", text, bytes), QUERN_OK);
  uint32_t list = qn_json_get(&j, 0, "operators");
  CHECK(list && j.nodes[list].count == 3 + 8);
  CHECK(!strcmp(qn_json_string(&j, 0, "source", ""), strrchr(src, '/') + 1));
  CHECK_EQ(qn_json_int(&j, list + 1, "bytes_before", 0), TINY_VOCAB * 32 * 4);
  CHECK_EQ(qn_json_int(&j, list + 1, "bytes_after", 0), TINY_VOCAB * (32 + 4));
  double error = qn_json_number(&j, list + 1, "error", -1),
         worst = qn_json_number(&j, list + 1, "worst_channel_error", -1);
  CHECK(error > 1e-4 && error < 0.05 && worst >= error);
  qn_json_free(&env, &j);
  free(text);
  snprintf(path, sizeof path, "%s/report.html", report);
  text = tiny_read(path, &bytes);
  CHECK(text && strstr((char *)text, "layers.1.ffn.down") && strstr((char *)text, "</html>"));
  CHECK(text && !strstr((char *)text, "http"));
  free(text);
}

static void failures_leave_nothing(void) {
  tiny_options t = tiny_defaults();
  t.skip = "encoder.layer.1.output.dense.bias";
  fresh(&t);
  CHECK_EQ(quantize(out, NULL), QUERN_E_SOURCE);
  CHECK(message_has("encoder.layer.1.output.dense.bias"));
  CHECK_EQ(tiny_dir_count(root), 1);
  t.skip = NULL, t.poison = "encoder.layer.1.output.dense.weight";
  fresh(&t);
  CHECK_EQ(quantize(out, NULL), QUERN_E_NONFINITE);
  CHECK(message_has("encoder.layer.1.output.dense.weight"));
  CHECK_EQ(tiny_dir_count(root), 1);
  t.poison = NULL;
  fresh(&t);
  char path[400];
  snprintf(path, sizeof path, "%s/no/such.qrn", root);
  CHECK_EQ(quantize(path, NULL), QUERN_E_IO);
  CHECK_EQ(quantize(src, NULL), QUERN_E_IO); /* a directory */
  CHECK_EQ(tiny_dir_count(root), 1);
  /* A disk that is full after n bytes. */
  struct rlimit old, now;
  struct stat st;
  CHECK_EQ(quantize(out, NULL), QUERN_OK);
  CHECK(stat(out, &st) == 0);
  uint64_t whole = (uint64_t)st.st_size;
  CHECK(write_text(out, "the old file"));
  getrlimit(RLIMIT_FSIZE, &old);
  signal(SIGXFSZ, SIG_IGN);
  for (uint64_t n = whole - 1; n > 0; n = n > 5000 ? n - 5000 : 0) {
    now = old;
    now.rlim_cur = n;
    setrlimit(RLIMIT_FSIZE, &now);
    quern_status status = quantize(out, NULL);
    setrlimit(RLIMIT_FSIZE, &old);
    CHECK_EQ(status, QUERN_E_IO);
    CHECK(tiny_dir_count(root) == 2 && stat(out, &st) == 0 && st.st_size == 12);
  }
  signal(SIGXFSZ, SIG_DFL);
}

static quern_status attempt(const quern_allocator *alloc, void *arg) {
  qn_env own;
  (void)arg;
  qn_env_init(&own, alloc, NULL, NULL, 0);
  qn_quantize_job job = {.src = src, .dst = out, .report = report};
  return qn_quantize(&own, &job, NULL);
}

static void survives_every_allocation(void) {
  for (uint32_t labels = 0; labels <= 3; labels += 3) {
    tiny_options t = tiny_defaults();
    long allocations;
    t.labels = labels, t.layers = 1, t.shards = 2;
    fresh(&t);
    CHECK_EQ(faulty_each(attempt, NULL, &allocations), 0);
    CHECK(allocations > 20);
    CHECK(tiny_dir_count(root) == 3 && tiny_dir_count(report) == 2);
  }
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(root, sizeof root)) return 1;
  snprintf(src, sizeof src, "%s/model", root);
  snprintf(out, sizeof out, "%s/out.qrn", root);
  snprintf(other, sizeof other, "%s/other.qrn", root);
  snprintf(report, sizeof report, "%s/report", root);
  RUN(packs_by_definition);
  RUN(packs_edges);
  RUN(makes_int8);
  RUN(makes_float);
  RUN(makes_small);
  RUN(makes_heads);
  RUN(makes_span_heads);
  RUN(same_bytes_again);
  RUN(works_without_tokenizer);
  RUN(reports_and_cancels);
  RUN(writes_reports);
  RUN(failures_leave_nothing);
  RUN(survives_every_allocation);
  tiny_dir_remove(root);
  return TEST_END();
}
