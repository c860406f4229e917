/* test_static.c - files with what no recipe makes yet: static scales and zero points at the inputs of linear operators, for all
 * channels and by groups. Made from a quantized model, tensor by tensor; the same bytes on every kernel set, near the float
 * model; and what later versions may add to a file, ignored or refused. */
#include <math.h>
#include "format/qrn.h"
#include "kernels/layout.h"
#include "model/arch.h"
#include "qrn_seal.h"
#include "tiny_session.h"

enum { WIDTH = 64, FFN = 96, TOKENS = 40 };
static qn_env env;

/* ---- rewriting a file ---------------------------------------------------------------------------------------------- */

/* What becomes of the input of an operator. */
typedef struct given {
  const char *operator; /* "ffn.up" */
  uint32_t n, k, group, symmetric;
  float scale, zero;
} given;

static const given *given_of(const given *list, size_t count, const char *site) {
  for (size_t i = 0; i < count; i++) {
    const char *at = strstr(site, list[i].operator);
    if (at && !strcmp(at + strlen(list[i].operator), ".in")) return &list[i];
  }
  return NULL;
}

/* Sums of an i8 operator's weights by groups, from its panels. */
static void weight_sums(const qrn_reader *r, const char *layer, const given *g, float *out) {
  char name[128];
  const uint64_t shape[2] = {g->n, g->k}, rows[1] = {g->n};
  const void *w = NULL, *scale = NULL;
  const size_t groups = qk_groups(g->k, g->group);
  snprintf(name, sizeof name, "%s.weight", layer);
  CHECK_EQ(qrn_need_tensor(r, name, QRN_I8, QRN_PANELS, 2, shape, &w), QUERN_OK);
  snprintf(name, sizeof name, "%s.scale", layer);
  CHECK_EQ(qrn_need_tensor(r, name, QRN_F32, QRN_ROWS, 1, rows, &scale), QUERN_OK);
  for (uint32_t row = 0; w && scale && row < g->n; row++)
    for (uint32_t i = 0; i < g->k; i++) {
      const size_t at = (row / 16 * (qk_k8(g->k) / 4) + i / 4) * 64 + row % 16 * 4 + i % 4;
      out[(row / 16 * groups + i / g->group) * 16 + row % 16] += (float)((int)((const uint8_t *)w)[at] - 128) *
                                                                 ((const float *)scale)[row];
    }
}

/* The tensors that a static input adds; declare, or write what was declared. */
static quern_status put_given(qrn_writer *w, const qrn_reader *r, const char *site, const given *g, int declare) {
  static float values[16], sums[16 * 16 * 16];
  const uint64_t groups = g->group ? qk_groups(g->k, g->group) : 1, panels[2] = {g->n, groups};
  char name[128], layer[96];
  snprintf(layer, sizeof layer, "%.*s", (int)strlen(site) - 3, site);
  for (int i = 0; i < (g->symmetric ? 1 : 2); i++) {
    snprintf(name, sizeof name, "%s.%s", site, i ? "zero" : "scale");
    for (size_t j = 0; j < groups; j++) values[j] = i ? g->zero + (float)j : g->scale * (1.0f + 0.125f * (float)j);
    QN_TRY(declare ? qrn_declare_tensor(w, name, QRN_F32, QRN_ROWS, 1, &groups)
                   : qrn_write_tensor(w, name, values, groups * sizeof(float)));
  }
  if (!g->group || g->symmetric) return QUERN_OK;
  snprintf(name, sizeof name, "%s.sums", site);
  memset(sums, 0, sizeof sums);
  if (!declare) weight_sums(r, layer, g, sums);
  return declare ? qrn_declare_tensor(w, name, QRN_F32, QRN_PANELS, 2, panels)
                 : qrn_write_tensor(w, name, sums, qk_weight_bytes_f32(g->n, groups));
}

static quern_status put_tensors(qrn_writer *w, const qrn_reader *r, int declare) {
  const uint8_t *data = r->data + r->section[QRN_DATA]->offset;
  for (uint32_t i = 0; i < r->tensor_count; i++) {
    const qrn_tensor *t = &r->tensors[i];
    if (!declare)
      QN_TRY(qrn_write_tensor(w, qrn_tensor_name(r, t), data + t->offset, t->bytes));
    else if (t->group)
      QN_TRY(qrn_declare_codes(w, qrn_tensor_name(r, t), t->dtype, t->layout, t->dim, t->group));
    else
      QN_TRY(qrn_declare_tensor(w, qrn_tensor_name(r, t), t->dtype, t->layout, t->rank, t->dim));
  }
  return QUERN_OK;
}

static quern_status put_all(qrn_writer *w, const qrn_reader *r, const given *list, size_t count, const char *more,
                            const uint8_t *arch, size_t arch_bytes) {
  const uint64_t one = 1;
  const float value = 1;
  uint64_t bytes;
  size_t tokenizer_bytes;
  qrn_meta m;
  for (uint32_t i = 0; qrn_meta_at(r, i, &m); i++) QN_TRY(qrn_put_string(w, m.key, m.value, m.value_bytes));
  QN_TRY(qrn_put_section(w, QRN_ARCH, arch, arch_bytes));
  const uint8_t *tokenizer = qrn_section_data(r, QRN_TOKENIZER, &tokenizer_bytes);
  QN_TRY(qrn_put_section(w, QRN_TOKENIZER, tokenizer, tokenizer_bytes));
  QN_TRY(put_tensors(w, r, 1));
  for (uint32_t i = 0; i < r->site_count; i++) {
    const char *name = r->site_names + r->sites[i].name;
    const given *g = given_of(list, count, name);
    qrn_site site = r->sites[i];
    if (g) {
      site.grain = QRN_GRAIN_STATIC, site.symmetric = g->symmetric, site.group = g->group;
      site.groups = g->group ? (uint32_t)qk_groups(g->k, g->group) : 1;
      QN_TRY(put_given(w, r, name, g, 1));
    }
    QN_TRY(qrn_put_site(w, name, &site));
  }
  if (more) QN_TRY(qrn_declare_tensor(w, more, QRN_F32, QRN_ROWS, 1, &one));
  char path[300];
  path_of(path, sizeof path, "static");
  QN_TRY(qrn_writer_start(w, path, 0));
  QN_TRY(put_tensors(w, r, 0));
  for (uint32_t i = 0; i < r->site_count; i++) {
    const char *name = r->site_names + r->sites[i].name;
    const given *g = given_of(list, count, name);
    if (g) QN_TRY(put_given(w, r, name, g, 0));
  }
  if (more) QN_TRY(qrn_write_tensor(w, more, &value, sizeof value));
  return qrn_writer_finish(w, &bytes);
}

/* dir/plain.qrn becomes dir/static.qrn. more: a tensor of one float beside its own, or NULL. arch NULL: its own. */
static void rewrite(const given *list, size_t count, const char *more, const uint8_t *arch, size_t arch_bytes) {
  char path[300];
  qn_map map;
  qrn_reader r;
  qrn_writer *w = NULL;
  size_t own;
  path_of(path, sizeof path, "plain");
  CHECK_EQ(qn_map_open(&map, &env, path, 0), QUERN_OK);
  CHECK_EQ(qrn_open(&r, &env, map.data, map.bytes), QUERN_OK);
  const uint8_t *its = qrn_section_data(&r, QRN_ARCH, &own);
  CHECK_EQ(qrn_writer_create(&w, &env), QUERN_OK);
  CHECK_EQ(put_all(w, &r, list, count, more, arch ? arch : its, arch ? arch_bytes : own), QUERN_OK);
  qrn_writer_free(w);
  qn_map_close(&map);
}

/* ---- static inputs ------------------------------------------------------------------------------------------------- */

static tiny_options options(void) {
  tiny_options o = tiny_defaults();
  o.width = WIDTH, o.heads = 2, o.ffn = FFN, o.layers = 2, o.positions = 64, o.max_seq = 64;
  return o;
}
static const char *const recipes[] = {"float", "plain", NULL};

/* Hidden states of one sequence. */
static void run(const char *recipe, const char *isa, float out[TOKENS * WIDTH]) {
  const uint32_t tokens = TOKENS;
  int32_t ids[TOKENS], types[TOKENS] = {0};
  quern_tensor_view v = {0};
  opened m = open_model(recipe, isa, 1, TOKENS, 1);
  for (uint32_t i = 0; i < TOKENS; i++) ids[i] = (int32_t)(tiny_hash(i) % TINY_VOCAB);
  CHECK_EQ(quern_encode(m.s, ids, types, &tokens, 1, &v), QUERN_OK);
  memset(out, 0, TOKENS * WIDTH * sizeof *out);
  if (v.data) memcpy(out, v.data, TOKENS * WIDTH * sizeof *out);
  close_model(&m);
}

static double worst_distance(const float *a, const float *b) {
  double worst = 0;
  for (size_t i = 0; i < TOKENS; i++, a += WIDTH, b += WIDTH) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t c = 0; c < WIDTH; c++)
      ab += (double)a[c] * (double)b[c], aa += (double)a[c] * (double)a[c], bb += (double)b[c] * (double)b[c];
    worst = fmax(worst, 1 - ab / sqrt(aa * bb));
  }
  return worst;
}

static void runs_static_inputs(void) {
  static const given all[] = {{"attn.qkv", 3 * WIDTH, WIDTH, 0, 0, 0.04f, 5},
                              {"attn.out", WIDTH, WIDTH, 0, 1, 0.04f, 0},
                              {"ffn.up", FFN, WIDTH, 32, 0, 0.04f, -3},
                              {"ffn.down", WIDTH, FFN, 32, 1, 0.06f, 0}};
  static float want[TOKENS * WIDTH], got[TOKENS * WIDTH], floats[TOKENS * WIDTH], dynamic[TOKENS * WIDTH];
  const tiny_options o = options();
  CHECK(make(&o, recipes));
  rewrite(all, 4, NULL, NULL, 0);
  run("float", NULL, floats);
  run("plain", NULL, dynamic);
  run("static", "ref", want);
  for (uint32_t i = 0; quern_isa_name(i); i++) {
    run("static", quern_isa_name(i), got);
    CHECK(!memcmp(want, got, sizeof want));
  }
  CHECK(memcmp(want, dynamic, sizeof want) != 0);
  printf("  worst 1 - cosine with float: static %.2e, dynamic %.2e\n", worst_distance(want, floats),
         worst_distance(dynamic, floats));
  CHECK(worst_distance(want, floats) < 0.02);
}

static quern_status open_static(char *message, size_t cap) {
  char path[300];
  quern_context *c = NULL;
  quern_model *m = NULL;
  path_of(path, sizeof path, "static");
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  const quern_status status = quern_model_open(&m, c, path, NULL);
  quern_context_error(c, message, cap);
  quern_model_free(m);
  quern_context_free(c);
  return status;
}

static void refuses_bad_scales(void) {
  const tiny_options o = options();
  char message[512];
  CHECK(make(&o, recipes));
  const struct {
    float scale, zero;
  } bad[] = {{0, 0},        {-0.1f, 0},  {NAN, 0},     {INFINITY, 0}, {0x1p-101f, 0},
             {0x1p101f, 0}, {0.1f, 128}, {0.1f, 0.5f}, {0.1f, -128},  {0.1f, NAN}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    const given g = {"ffn.up", FFN, WIDTH, 0, 0, bad[i].scale, bad[i].zero};
    rewrite(&g, 1, NULL, NULL, 0);
    CHECK_EQ(open_static(message, sizeof message), QUERN_E_FORMAT);
    CHECK(strstr(message, "of site layers.0.ffn.up.in") != NULL);
  }
  /* a width that the weights' groups do not have is another matter than one channel too many */
  const given wide = {"ffn.up", FFN, WIDTH, 32, 0, 0.1f, 0};
  rewrite(&wide, 1, NULL, NULL, 0);
  CHECK_EQ(open_static(message, sizeof message), QUERN_OK);
}

/* ---- what later versions add ------------------------------------------------------------------------------------------ */

/* Of any alignment. */
static quern_status open_bytes(const uint8_t *file, size_t bytes) {
  quern_context *c = NULL;
  uint8_t *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
  CHECK(p != NULL);
  if (!p) return QUERN_E_MEMORY;
  memcpy(p, file, bytes);
  quern_model *m = NULL;
  quern_model_options o;
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY;
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  const quern_status status = quern_model_open_memory(&m, c, p, bytes, &o);
  quern_model_free(m);
  quern_context_free(c);
  free(p);
  return status;
}

static void tells_unknown_tensors(void) {
  const tiny_options o = options();
  char message[512], path[300];
  size_t bytes = 0;
  CHECK(make(&o, recipes));
  rewrite(NULL, 0, "layers.1.ffn.up.rotate", NULL, 0);
  CHECK_EQ(open_static(message, sizeof message), QUERN_E_UNSUPPORTED);
  CHECK(strstr(message, "tensor layers.1.ffn.up.rotate") != NULL);
  path_of(path, sizeof path, "static");
  uint8_t *p = tiny_read(path, &bytes);
  CHECK(p != NULL);
  if (!p) return;
  qrn_tensor *t = (qrn_tensor *)(void *)(qrn_section_at(p, QRN_TENSORS) + 16);
  const uint32_t count = *(uint32_t *)(void *)qrn_section_at(p, QRN_TENSORS);
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp((const char *)(t + count) + t[i].name, "layers.1.ffn.up.rotate")) t[i].flags = QRN_IGNORABLE;
  qrn_seal(p, bytes);
  CHECK_EQ(open_bytes(p, bytes), QUERN_OK);
  /* a known one so marked is as good as any */
  for (uint32_t i = 0; i < count; i++) t[i].flags = QRN_IGNORABLE;
  qrn_seal(p, bytes);
  CHECK_EQ(open_bytes(p, bytes), QUERN_OK);
  free(p);
}

static void reads_longer_architectures(void) {
  const tiny_options o = options();
  char message[512], path[300];
  uint8_t arch[sizeof(qn_arch) + 32] = {0};
  qn_map map;
  qrn_reader r;
  size_t bytes = 0;
  CHECK(make(&o, recipes));
  path_of(path, sizeof path, "plain");
  CHECK_EQ(qn_map_open(&map, &env, path, 0), QUERN_OK);
  CHECK_EQ(qrn_open(&r, &env, map.data, map.bytes), QUERN_OK);
  const uint8_t *its = qrn_section_data(&r, QRN_ARCH, &bytes);
  CHECK_EQ(bytes, 128);
  memcpy(arch, its, bytes);
  qn_map_close(&map);
  arch[0] = sizeof arch;
  rewrite(NULL, 0, NULL, arch, sizeof arch);
  CHECK_EQ(open_static(message, sizeof message), QUERN_OK);
  arch[sizeof arch - 4] = 1; /* behind all that this version knows */
  rewrite(NULL, 0, NULL, arch, sizeof arch);
  CHECK_EQ(open_static(message, sizeof message), QUERN_E_UNSUPPORTED);
  CHECK(strstr(message, "fields that are not known here") != NULL);
}

/* A file with one more section behind the others. */
static void skips_ignorable_sections(void) {
  const tiny_options o = options();
  char path[300];
  size_t bytes = 0;
  CHECK(make(&o, recipes));
  path_of(path, sizeof path, "plain");
  uint8_t *p = tiny_read(path, &bytes), *q = aligned_alloc(64, bytes + 128);
  CHECK(p && q);
  if (!p || !q) return;
  qrn_header h;
  memcpy(&h, p, sizeof h);
  const size_t table = sizeof h + h.section_count * sizeof(qrn_section), first = (table + 63) / 64 * 64;
  const size_t moved = (table + sizeof(qrn_section) + 63) / 64 * 64 - first;
  memset(q, 0, bytes + 128);
  memcpy(q, p, table);
  memcpy(q + first + moved, p + first, bytes - first);
  qrn_section *s = (qrn_section *)(void *)(q + sizeof h);
  for (uint32_t i = 0; i < h.section_count; i++) s[i].offset += moved;
  s[h.section_count] = (qrn_section){.kind = 99, .flags = QRN_IGNORABLE, .offset = bytes + moved, .bytes = 60};
  h.section_count++;
  h.file_bytes = bytes + moved + 64;
  memcpy(q, &h, sizeof h);
  memset(q + bytes + moved, 7, 60);
  qrn_seal(q, h.file_bytes);
  CHECK_EQ(open_bytes(q, h.file_bytes), QUERN_OK);
  q[bytes + moved + 3] = 8; /* verified like the others */
  CHECK_EQ(open_bytes(q, h.file_bytes), QUERN_E_CHECKSUM);
  s[h.section_count - 1].flags = 0;
  qrn_seal(q, h.file_bytes);
  CHECK_EQ(open_bytes(q, h.file_bytes), QUERN_E_UNSUPPORTED);
  free(p), free(q);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(runs_static_inputs);
  RUN(refuses_bad_scales);
  RUN(tells_unknown_tensors);
  RUN(reads_longer_architectures);
  RUN(skips_ignorable_sections);
  tiny_dir_remove(dir);
  return TEST_END();
}
