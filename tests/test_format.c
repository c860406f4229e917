/* test_format.c - .qrn files: what is written is read back; every truncation and every bit flip is refused by verify and
 * survived by open; malformed files with right checksums are refused; allocation and output failures leave nothing. */
#include "format/qrn.h"
#include "faulty_alloc.h"
#include "qrn_seal.h"
#include "test.h"
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static qn_env env;
static char dir[] = "/tmp/quern-format-XXXXXX";
static char path[128];
static int with_tokenizer = 1; /* without, the section table is padded */

static const uint64_t shape_a[2] = {3, 5}, shape_p[2] = {17, 70}, shape_f[2] = {2, 3}, shape_v[1] = {7};
static uint8_t panels[32 * 128];
static float rows[15], panel_floats[16 * 3];
static int32_t sums[7];

/* The file of these tests: names declared out of order, every dtype and layout. */
static quern_status write_file(qn_env *e, const char *to, int discard, uint64_t *bytes) {
  qrn_writer *w = NULL;
  quern_status status;
  qrn_site site = {.bits = 8, .grain = QRN_GRAIN_TOKEN, .groups = 1, .symmetric = 1};
  static const char arch[36] = "what the architecture section holds";
  QN_TRY_CLEANUP(qrn_writer_create(&w, e));
  QN_TRY_CLEANUP(qrn_put_string(w, "general.architecture", "bert", 4));
  QN_TRY_CLEANUP(qrn_put_u64(w, "a.count", 42));
  QN_TRY_CLEANUP(qrn_put_f64(w, "eightkey", 0.5));
  QN_TRY_CLEANUP(qrn_put_string(w, "empty", "", 0));
  QN_TRY_CLEANUP(qrn_put_section(w, QRN_ARCH, arch, sizeof arch));
  if (with_tokenizer) QN_TRY_CLEANUP(qrn_put_section(w, QRN_TOKENIZER, "some words", 10));
  QN_TRY_CLEANUP(qrn_put_site(w, "layers.0.in", &site));
  site.bits = 32, site.grain = QRN_GRAIN_NONE;
  QN_TRY_CLEANUP(qrn_put_site(w, "a.out", &site));
  QN_TRY_CLEANUP(qrn_declare_tensor(w, "w.panels", QRN_I8, QRN_PANELS, 2, shape_p));
  QN_TRY_CLEANUP(qrn_declare_tensor(w, "embed", QRN_F32, QRN_ROWS, 2, shape_a));
  QN_TRY_CLEANUP(qrn_declare_tensor(w, "z.sums", QRN_I32, QRN_ROWS, 1, shape_v));
  QN_TRY_CLEANUP(qrn_declare_tensor(w, "embed.f32", QRN_F32, QRN_PANELS, 2, shape_f));
  QN_TRY_CLEANUP(qrn_writer_start(w, to, discard));
  QN_TRY_CLEANUP(qrn_write_tensor(w, "w.panels", panels, sizeof panels));
  QN_TRY_CLEANUP(qrn_write_tensor(w, "embed", rows, sizeof rows));
  QN_TRY_CLEANUP(qrn_write_tensor(w, "z.sums", sums, sizeof sums));
  QN_TRY_CLEANUP(qrn_write_tensor(w, "embed.f32", panel_floats, sizeof panel_floats));
  QN_TRY_CLEANUP(qrn_writer_finish(w, bytes));
cleanup:
  qrn_writer_free(w);
  return status;
}

/* A copy of the file's bytes, aligned, exactly as large as said, so that a sanitizer sees every step past the end. */
static uint8_t *copy_aligned(const void *data, size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, 64, bytes ? bytes : 1)) abort();
  if (bytes) memcpy(p, data, bytes);
  return p;
}

static uint8_t *load(size_t *bytes) {
  qn_map m;
  if (write_file(&env, path, 0, NULL) != QUERN_OK || qn_map_open(&m, &env, path, 0) != QUERN_OK) abort();
  uint8_t *p = copy_aligned(m.data, m.bytes);
  *bytes = m.bytes;
  qn_map_close(&m);
  return p;
}

static int files_in_dir(void) {
  int n = 0;
  DIR *d = opendir(dir);
  for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static void reads_back_what_was_written(void) {
  size_t bytes, n;
  uint64_t told = 0;
  CHECK_EQ(write_file(&env, NULL, 1, &told), QUERN_OK);
  uint8_t *p = load(&bytes);
  CHECK_EQ(told, bytes);
  CHECK_EQ(bytes % 64, 0);
  qrn_reader r;
  CHECK_EQ(qrn_open(&r, &env, p, bytes), QUERN_OK);
  CHECK_EQ(qrn_verify(&r, NULL, NULL), QUERN_OK);
  CHECK_EQ(r.tensor_count, 4);
  CHECK(!strcmp(qrn_tensor_name(&r, r.tensors), "embed") && !strcmp(qrn_tensor_name(&r, r.tensors + 3), "z.sums"));
  CHECK_EQ(r.site_count, 2);
  CHECK(!strcmp(r.site_names + r.sites[0].name, "layers.0.in") && !strcmp(r.site_names + r.sites[1].name, "a.out"));
  CHECK_EQ(r.sites[1].bits, 32);
  const void *data;
  CHECK_EQ(qrn_need_tensor(&r, "w.panels", QRN_I8, QRN_PANELS, 2, shape_p, &data), QUERN_OK);
  CHECK(!memcmp(data, panels, sizeof panels) && (uintptr_t)data % 64 == 0);
  CHECK_EQ(qrn_need_tensor(&r, "embed.f32", QRN_F32, QRN_PANELS, 2, shape_f, &data), QUERN_OK);
  CHECK(!memcmp(data, panel_floats, sizeof panel_floats) && (uintptr_t)data % 64 == 0);
  CHECK_EQ(qrn_need_tensor(&r, "embed", QRN_I8, QRN_ROWS, 2, shape_a, &data), QUERN_E_FORMAT);
  CHECK_EQ(qrn_need_tensor(&r, "embed", QRN_F32, QRN_ROWS, 2, shape_f, &data), QUERN_E_FORMAT);
  CHECK_EQ(qrn_need_tensor(&r, "gone", QRN_F32, QRN_ROWS, 2, shape_a, &data), QUERN_E_FORMAT);
  CHECK(strstr(env.error.text, "gone") != NULL);
  CHECK(qrn_find_tensor(&r, "embed.") == NULL && qrn_find_tensor(&r, "") == NULL);
  qrn_meta m;
  CHECK(qrn_meta_find(&r, "general.architecture", &m) && m.type == QRN_STRING && !strcmp(m.value, "bert"));
  CHECK(qrn_meta_find(&r, "a.count", &m) && m.type == QRN_U64 && *(const uint64_t *)m.value == 42);
  CHECK(qrn_meta_at(&r, 2, &m) && m.type == QRN_F64 && *(const double *)m.value == 0.5 && !strcmp(m.key, "eightkey"));
  CHECK(qrn_meta_at(&r, 3, &m) && m.value_bytes == 0);
  CHECK(!qrn_meta_at(&r, 4, &m) && !qrn_meta_find(&r, "a", &m));
  CHECK(!memcmp(qrn_section_data(&r, QRN_TOKENIZER, &n), "some words", 10) && n == 10);
  CHECK(qrn_section_data(&r, 99, &n) == NULL && n == 0);
  free(p);
}

static void same_calls_give_the_same_bytes(void) {
  size_t a_bytes, b_bytes;
  uint8_t *a = load(&a_bytes), *b = load(&b_bytes);
  CHECK(a_bytes == b_bytes && !memcmp(a, b, a_bytes));
  free(a), free(b);
}

static quern_status open_and_verify(const void *p, size_t bytes) {
  qrn_reader r;
  QN_TRY(qrn_open(&r, &env, p, bytes));
  return qrn_verify(&r, NULL, NULL);
}

static void every_truncation_is_refused(void) {
  size_t bytes;
  uint8_t *p = load(&bytes);
  for (size_t n = 0; n < bytes; n++) {
    uint8_t *cut = copy_aligned(p, n);
    qrn_reader r;
    CHECK(qrn_open(&r, &env, cut, n) != QUERN_OK);
    free(cut);
  }
  uint8_t *longer = calloc(1, bytes + 64), *more = copy_aligned(longer, bytes + 64);
  memcpy(more, p, bytes);
  CHECK_EQ(open_and_verify(more, bytes + 1), QUERN_E_FORMAT);
  CHECK_EQ(open_and_verify(more, bytes + 64), QUERN_E_FORMAT);
  free(longer), free(more), free(p);
}

static void refuse_every_bit_flip(void) {
  size_t bytes;
  uint8_t *p = load(&bytes);
  for (size_t i = 0; i < bytes; i++)
    for (int bit = 0; bit < 8; bit++) {
      p[i] ^= (uint8_t)(1 << bit);
      if (open_and_verify(p, bytes) == QUERN_OK) {
        printf("  bit %d of byte %zu goes unnoticed\n", bit, i);
        CHECK(0);
      }
      p[i] ^= (uint8_t)(1 << bit);
    }
  CHECK_EQ(open_and_verify(p, bytes), QUERN_OK);
  free(p);
}

static void every_bit_flip_is_refused(void) {
  refuse_every_bit_flip();
  with_tokenizer = 0;
  refuse_every_bit_flip();
  with_tokenizer = 1;
}

/* ---- malformed, with right checksums ----------------------------------------------------------------------------- */

/* Every byte of header, table, META, TENSORS and SITES set to several values, resealed: open decides without a fault,
   and what it lets pass can be walked. */
static void resealed_changes_never_fault(void) {
  size_t bytes;
  uint8_t *p = load(&bytes);
  size_t end = (size_t)(qrn_section_at(p, QRN_TOKENIZER) - p), refused = 0;
  static const uint8_t values[] = {0, 1, 0x40, 0x7F, 0x80, 0xFF};
  for (size_t i = 8; i < end; i++)
    for (size_t v = 0; v < sizeof values; v++) {
      uint8_t *q = copy_aligned(p, bytes);
      q[i] = values[v];
      qrn_seal(q, bytes);
      qrn_reader r;
      if (qrn_open(&r, &env, q, bytes) == QUERN_OK) {
        qrn_meta m;
        for (uint32_t k = 0; qrn_meta_at(&r, k, &m); k++) CHECK(strlen(m.key) == m.key_bytes);
        for (uint32_t k = 0; k < r.tensor_count; k++)
          CHECK(qrn_find_tensor(&r, qrn_tensor_name(&r, r.tensors + k)) == r.tensors + k);
        for (uint32_t k = 0; k < r.site_count; k++) CHECK(strlen(r.site_names + r.sites[k].name) > 0);
        qrn_verify(&r, NULL, NULL);
      } else {
        refused++;
      }
      free(q);
    }
  CHECK(refused > 1000);
  free(p);
}

/* One field changed and sealed: what open must say. */
#define CHANGED(expr, expected)                                                                                        \
  do {                                                                                                                 \
    uint8_t *q = copy_aligned(p, bytes);                                                                               \
    qrn_header *h = (qrn_header *)(void *)q;                                                                           \
    qrn_section *s = (qrn_section *)(void *)(q + sizeof *h);                                                           \
    qrn_tensor *t = (qrn_tensor *)(void *)(qrn_section_at(q, QRN_TENSORS) + 16);                                       \
    qrn_site *site = (qrn_site *)(void *)(qrn_section_at(q, QRN_SITES) + 16);                                          \
    uint32_t *meta = (uint32_t *)(void *)qrn_section_at(q, QRN_META);                                                  \
    (void)h, (void)s, (void)t, (void)site, (void)meta;                                                                 \
    expr;                                                                                                              \
    qrn_seal(q, bytes);                                                                                                \
    CHECK_EQ(open_and_verify(q, bytes), expected);                                                                     \
    free(q);                                                                                                           \
  } while (0)

static void malformed_fields_are_refused(void) {
  size_t bytes;
  uint8_t *p = load(&bytes);
  CHANGED((void)0, QUERN_OK);
  CHANGED(h->magic[0] = 0, QUERN_E_FORMAT);
  CHANGED(h->version = 0, QUERN_E_VERSION);
  CHANGED(h->version = 2, QUERN_E_VERSION);
  CHANGED(h->header_bytes = 128, QUERN_E_UNSUPPORTED);
  CHANGED(h->file_bytes += 64, QUERN_E_FORMAT);
  CHANGED(h->section_count = 5, QUERN_E_FORMAT);
  CHANGED(h->section_count = 0xFFFFFFFF, QUERN_E_FORMAT);
  CHANGED(h->needs = 1, QUERN_E_UNSUPPORTED);
  CHANGED(h->needs = 1u << 31, QUERN_E_UNSUPPORTED);
  CHANGED(h->reserved[23] = 1, QUERN_E_UNSUPPORTED);
  CHANGED(s[1].kind = QRN_META, QUERN_E_FORMAT);
  CHANGED(s[5].kind = 7, QUERN_E_UNSUPPORTED);
  CHANGED((s[5].kind = 7, s[5].flags = QRN_IGNORABLE), QUERN_E_FORMAT); /* but there is no DATA then */
  CHANGED((s[5].kind = 7, s[5].flags = 3), QUERN_E_UNSUPPORTED);
  CHANGED(s[2].flags = 1, QUERN_E_UNSUPPORTED);
  CHANGED(s[2].offset += 64, QUERN_E_FORMAT);
  CHANGED(s[2].bytes = ~0ull, QUERN_E_FORMAT);
  CHANGED(s[5].bytes -= 64, QUERN_E_FORMAT);
  CHANGED(s[4].kind = QRN_DATA + 0u, QUERN_E_FORMAT);
  CHANGED(meta[0] = 5, QUERN_E_FORMAT);
  CHANGED(meta[0] = 3, QUERN_E_FORMAT);
  CHANGED(meta[0] = 0x10000001, QUERN_E_FORMAT);
  CHANGED(meta[1] = 1, QUERN_E_FORMAT);
  CHANGED(meta[2] = 0, QUERN_E_FORMAT);
  CHANGED(meta[2] = 0xFFFFFFFF, QUERN_E_FORMAT);
  CHANGED(meta[3] = 4, QUERN_E_FORMAT);
  CHANGED(meta[3] = QRN_U64, QUERN_E_FORMAT);
  CHANGED(meta[5] = 0xFFFFFFFF, QUERN_E_FORMAT);
  CHANGED(((char *)meta)[8 + 16 + 3] = 0, QUERN_E_FORMAT);  /* NUL within the key */
  CHANGED(((char *)meta)[8 + 16 + 20] = 1, QUERN_E_FORMAT); /* no NUL behind it */
  CHANGED(t[0].name = 1, QUERN_E_FORMAT);
  CHANGED(t[0].name_bytes = 4, QUERN_E_FORMAT);
  CHANGED(t[0].name_bytes = 0, QUERN_E_FORMAT);
  CHANGED(t[3].name_bytes = 0xFFFFFFFF, QUERN_E_FORMAT);
  CHANGED(((char *)(t + 4))[0] = 'z', QUERN_E_FORMAT); /* not sorted */
  CHANGED(((char *)(t + 4))[2] = 0, QUERN_E_FORMAT);
  CHANGED(t[0].dtype = 0, QUERN_E_FORMAT);
  CHANGED(t[0].dtype = QRN_DTYPES, QUERN_E_UNSUPPORTED);
  CHANGED(t[0].dtype = QRN_U4, QUERN_E_FORMAT);
  CHANGED(t[0].group = 32, QUERN_E_FORMAT);
  CHANGED(t[0].layout = 0, QUERN_E_FORMAT);
  CHANGED(t[0].layout = 3, QUERN_E_UNSUPPORTED);
  CHANGED(t[0].rank = 0, QUERN_E_FORMAT);
  CHANGED(t[0].rank = 5, QUERN_E_FORMAT);
  CHANGED(t[0].flags = QRN_IGNORABLE, QUERN_OK);
  CHANGED(t[0].flags = 2, QUERN_E_UNSUPPORTED);
  CHANGED(t[0].reserved = 1, QUERN_E_UNSUPPORTED);
  CHANGED(t[0].dim[0] = 4, QUERN_E_FORMAT);
  CHANGED(t[0].dim[0] = 0, QUERN_E_FORMAT);
  CHANGED(t[0].dim[3] = 0, QUERN_E_FORMAT);
  CHANGED((t[0].dim[0] = 1ull << 62, t[0].dim[1] = 15), QUERN_E_FORMAT); /* wraps to 60 * 2^62 = 0 */
  CHANGED(t[0].dim[0] = 0xFFFFFFFFFFFFFFFFull, QUERN_E_FORMAT);
  CHANGED(t[2].dim[1] = 129, QUERN_E_FORMAT);
  CHANGED(t[2].dim[1] = 71, QUERN_OK); /* the same bytes: what it means is the model's to judge */
  CHANGED(t[2].dim[0] = 0xFFFFFFFFFFFFFFFEull, QUERN_E_FORMAT);
  CHANGED(t[0].offset = 32, QUERN_E_FORMAT);
  CHANGED(t[0].offset = 1ull << 40, QUERN_E_FORMAT);
  CHANGED(t[0].offset = 0ull - 64, QUERN_E_FORMAT);
  CHANGED(t[0].bytes = 64, QUERN_E_FORMAT);
  CHANGED(site[0].bits = 7, QUERN_E_UNSUPPORTED);
  CHANGED(site[0].bits = 32, QUERN_E_FORMAT);
  CHANGED(site[0].grain = 3, QUERN_OK);
  CHANGED(site[0].grain = 4, QUERN_E_UNSUPPORTED);
  CHANGED(site[0].groups = 0, QUERN_E_FORMAT);
  CHANGED(site[0].groups = 2, QUERN_E_FORMAT);
  CHANGED(site[0].group = 32, QUERN_E_FORMAT);
  CHANGED((site[0].groups = 2, site[0].group = 32), QUERN_OK);
  CHANGED((site[0].groups = 2, site[0].group = 48), QUERN_E_FORMAT);
  CHANGED((site[0].groups = 2, site[0].group = 544), QUERN_E_FORMAT);
  CHANGED((site[1].groups = 2, site[1].group = 32), QUERN_E_FORMAT); /* of floats */
  CHANGED(site[0].symmetric = 2, QUERN_E_UNSUPPORTED);
  CHANGED(site[0].flags = 2, QUERN_E_UNSUPPORTED);
  CHANGED(site[1].name = 0, QUERN_E_FORMAT);
  CHANGED(qrn_section_at(q, QRN_TOKENIZER)[10] = 1, QUERN_E_FORMAT); /* padding */
  uint8_t *odd = copy_aligned(p, bytes);
  qrn_reader r;
  CHECK_EQ(qrn_open(&r, &env, odd + 8, bytes - 8), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_open(&r, &env, NULL, 0), QUERN_E_FORMAT);
  free(odd), free(p);
}

static void tensor_bytes_are_exact(void) {
  static const uint64_t one[4] = {1, 1, 1, 1}, wide[4] = {1ull << 32, 1ull << 32, 1, 1}, k65[2] = {16, 65};
  CHECK_EQ(qrn_tensor_bytes(QRN_I8, QRN_PANELS, 2, one), 16 * 64);
  CHECK_EQ(qrn_tensor_bytes(QRN_I8, QRN_PANELS, 2, k65), 16 * 128);
  CHECK_EQ(qrn_tensor_bytes(QRN_F32, QRN_PANELS, 2, k65), 16 * 65 * 4);
  CHECK_EQ(qrn_tensor_bytes(QRN_I8, QRN_ROWS, 2, k65), 16 * 65);
  CHECK_EQ(qrn_tensor_bytes(QRN_I32, QRN_ROWS, 4, one), 4);
  CHECK_EQ(qrn_tensor_bytes(QRN_I32, QRN_PANELS, 2, one), 0);
  CHECK_EQ(qrn_tensor_bytes(QRN_I8, QRN_PANELS, 3, one), 0);
  CHECK_EQ(qrn_tensor_bytes(QRN_F32, QRN_ROWS, 2, wide), 0);
  CHECK_EQ(qrn_tensor_bytes(QRN_I8, QRN_PANELS, 2, wide), 0);
  CHECK_EQ(qrn_tensor_bytes(QRN_U4, QRN_PANELS, 2, k65), 16 * 128 / 2);
  CHECK_EQ(qrn_tensor_bytes(QRN_U4, QRN_ROWS, 2, k65), 16 * 128 / 2);
  CHECK_EQ(qrn_tensor_bytes(QRN_U6, QRN_PANELS, 2, k65), 16 * 128 * 3 / 4);
  CHECK_EQ(qrn_tensor_bytes(QRN_U6, QRN_ROWS, 2, k65), 0);
  CHECK_EQ(qrn_tensor_bytes(QRN_U2, QRN_ROWS, 2, k65), 16 * 128 / 4);
  CHECK_EQ(qrn_tensor_bytes(QRN_U2, QRN_PANELS, 2, k65), 16 * 128 / 4);
  CHECK_EQ(qrn_tensor_bytes(QRN_U8, QRN_PANELS, 2, k65), 16 * 65);
  CHECK_EQ(qrn_tensor_bytes(QRN_U8, QRN_ROWS, 1, k65), 16);
  CHECK_EQ(qrn_tensor_bytes(QRN_I16, QRN_PANELS, 2, k65), 16 * 66 * 2);
  CHECK_EQ(qrn_tensor_bytes(QRN_I16, QRN_ROWS, 1, k65), 32);
  CHECK_EQ(qrn_tensor_bytes(QRN_DTYPES, QRN_ROWS, 1, k65), 0);
  CHECK_EQ(qrn_tensor_bytes(QRN_U4, QRN_ROWS, 1, k65), 0);
  CHECK_EQ(qrn_tensor_bytes(QRN_U4, QRN_ROWS, 2, wide), 0);
}

/* Codes of less than a byte: their groups are told and checked, when a file is made and when it is opened. */
static void groups_are_checked(void) {
  static const uint64_t shape[2] = {16, 65};
  static const struct {
    uint32_t dtype, layout, group;
    int good;
  } cases[] = {{QRN_U4, QRN_PANELS, 32, 1},  {QRN_U4, QRN_PANELS, 64, 1},  {QRN_U4, QRN_PANELS, 128, 1},
               {QRN_U4, QRN_PANELS, 0, 0},   {QRN_U4, QRN_PANELS, 16, 0},  {QRN_U4, QRN_PANELS, 96, 1},
               {QRN_U4, QRN_PANELS, 512, 1}, {QRN_U4, QRN_PANELS, 544, 0}, {QRN_U8, QRN_PANELS, 32, 0},
               {QRN_U4, QRN_ROWS, 16, 1},    {QRN_U2, QRN_ROWS, 32, 1},    {QRN_U2, QRN_ROWS, 64, 0},
               {QRN_U2, QRN_PANELS, 32, 1},  {QRN_I8, QRN_PANELS, 32, 1},  {QRN_I8, QRN_ROWS, 32, 0},
               {QRN_I8, QRN_PANELS, 48, 0},  {QRN_I8, QRN_PANELS, 0, 1},   {QRN_U6, QRN_PANELS, 32, 1},
               {QRN_U6, QRN_PANELS, 128, 1}, {QRN_U6, QRN_PANELS, 0, 0},   {QRN_U6, QRN_ROWS, 32, 0}};
  static const uint8_t codes[1024];
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const int known = qrn_tensor_bytes(cases[i].dtype, cases[i].layout, 2, shape) != 0;
    CHECK_EQ(known && qrn_group_valid(cases[i].dtype, cases[i].layout, shape[1], cases[i].group), cases[i].good);
    qrn_writer *w = NULL;
    CHECK_EQ(qrn_writer_create(&w, &env), QUERN_OK);
    CHECK_EQ(qrn_declare_codes(w, "w", cases[i].dtype, cases[i].layout, shape, cases[i].group),
             cases[i].good ? QUERN_OK : QUERN_E_ARGUMENT);
    qrn_writer_free(w);
  }
  CHECK(qrn_group_valid(QRN_U4, QRN_PANELS, 1000, 1024) && !qrn_group_valid(QRN_U4, QRN_PANELS, 1000, 1000));
  qrn_writer *w = NULL;
  qn_buffer sink = {0};
  uint64_t bytes = 0;
  CHECK_EQ(qrn_writer_create(&w, &env), QUERN_OK);
  CHECK_EQ(qrn_put_section(w, QRN_ARCH, codes, 36), QUERN_OK);
  CHECK_EQ(qrn_declare_codes(w, "w", QRN_U4, QRN_PANELS, shape, 64), QUERN_OK);
  CHECK_EQ(qrn_writer_start_memory(w, &sink), QUERN_OK);
  CHECK_EQ(qrn_write_tensor(w, "w", codes, sizeof codes), QUERN_OK);
  CHECK_EQ(qrn_writer_finish(w, &bytes), QUERN_OK);
  qrn_writer_free(w);
  for (uint32_t group = 0; group <= 192; group += 32) {
    uint8_t *q = copy_aligned(sink.data, sink.bytes);
    qrn_tensor *t = (qrn_tensor *)(void *)(qrn_section_at(q, QRN_TENSORS) + 16);
    CHECK_EQ(t->group, 64);
    t->group = group;
    qrn_seal(q, sink.bytes);
    CHECK_EQ(open_and_verify(q, sink.bytes), group ? QUERN_OK : QUERN_E_FORMAT);
    free(q);
  }
  qn_buffer_free(&env, &sink);
}

static int32_t cancel_at_once(void *user, uint64_t done, uint64_t total, const char *what) {
  (void)what;
  ++*(int *)user;
  return done <= total;
}

static void verify_can_be_cancelled(void) {
  size_t bytes;
  int calls = 0;
  uint8_t *p = load(&bytes);
  qrn_reader r;
  CHECK_EQ(qrn_open(&r, &env, p, bytes), QUERN_OK);
  CHECK_EQ(qrn_verify(&r, cancel_at_once, &calls), QUERN_E_CANCELLED);
  CHECK_EQ(calls, 1);
  free(p);
}

/* ---- the writer's refusals and failures -------------------------------------------------------------------------- */

static void calls_out_of_turn_are_refused(void) {
  qrn_writer *w;
  qrn_site bad = {.bits = 8, .grain = QRN_GRAIN_TOKEN, .groups = 3};
  static const uint64_t zero[2] = {0, 3};
  CHECK_EQ(qrn_writer_create(&w, &env), QUERN_OK);
  CHECK_EQ(qrn_writer_start(w, path, 1), QUERN_E_ARGUMENT); /* no ARCH */
  CHECK_EQ(qrn_put_section(w, QRN_DATA, "x", 1), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_put_section(w, QRN_ARCH, "x", 1), QUERN_OK);
  CHECK_EQ(qrn_put_section(w, QRN_ARCH, "x", 1), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_put_site(w, "s", &bad), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_put_u64(w, "k", 1), QUERN_OK);
  CHECK_EQ(qrn_put_string(w, "k", "2", 1), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_put_u64(w, "", 1), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_declare_tensor(w, "a", QRN_F32, QRN_ROWS, 2, shape_a), QUERN_OK);
  CHECK_EQ(qrn_declare_tensor(w, "a", QRN_F32, QRN_ROWS, 2, shape_a), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_declare_tensor(w, "b", QRN_F32, QRN_ROWS, 2, zero), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_declare_tensor(w, "", QRN_F32, QRN_ROWS, 2, shape_a), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_write_tensor(w, "a", rows, sizeof rows), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_writer_finish(w, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_writer_start(w, path, 1), QUERN_OK);
  CHECK_EQ(qrn_put_u64(w, "l", 1), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_write_tensor(w, "b", rows, sizeof rows), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_write_tensor(w, "a", rows, 4), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_writer_finish(w, NULL), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_write_tensor(w, "a", rows, sizeof rows), QUERN_OK);
  CHECK_EQ(qrn_write_tensor(w, "a", rows, sizeof rows), QUERN_E_ARGUMENT);
  CHECK_EQ(qrn_writer_finish(w, NULL), QUERN_OK);
  CHECK_EQ(qrn_writer_finish(w, NULL), QUERN_E_ARGUMENT);
  qrn_writer_free(w);
  qrn_writer_free(NULL);
}

static quern_status attempt_to_write(const quern_allocator *alloc, void *arg) {
  (void)arg;
  qn_env e;
  qn_env_init(&e, alloc, NULL, NULL, 0);
  return write_file(&e, path, 0, NULL);
}

static void every_allocation_may_fail(void) {
  long n;
  size_t bytes;
  free(load(&bytes)); /* the old file stays through all failures */
  CHECK_EQ(faulty_each(attempt_to_write, NULL, &n), 0);
  CHECK(n > 10);
  CHECK_EQ(files_in_dir(), 1);
}

static void failing_output_leaves_the_old_file(void) {
  size_t old_bytes;
  uint8_t *old = load(&old_bytes);
  struct rlimit was, small = {1024, RLIM_INFINITY};
  CHECK_EQ(write_file(&env, "/nonexistent/dir/x.qrn", 0, NULL), QUERN_E_IO);
  CHECK(strstr(env.error.text, "does not exist") != NULL);
  CHECK_EQ(write_file(&env, dir, 0, NULL), QUERN_E_IO);
  CHECK_EQ(write_file(&env, "/dev/null", 0, NULL), QUERN_E_IO);
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &was);
  small.rlim_max = was.rlim_max;
  panels[0] ^= 1; /* the new file would differ */
  CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  CHECK_EQ(write_file(&env, path, 0, NULL), QUERN_E_IO);
  CHECK(strstr(env.error.text, "file too large") != NULL);
  setrlimit(RLIMIT_FSIZE, &was);
  signal(SIGXFSZ, handler);
  panels[0] ^= 1;
  CHECK_EQ(files_in_dir(), 1);
  qn_map m;
  CHECK_EQ(qn_map_open(&m, &env, path, 0), QUERN_OK);
  CHECK(m.bytes == old_bytes && !memcmp(m.data, old, old_bytes));
  qn_map_close(&m);
  free(old);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  for (size_t i = 0; i < sizeof panels; i++) panels[i] = (uint8_t)(i * 37);
  for (int i = 0; i < 15; i++) rows[i] = (float)i;
  for (int i = 0; i < 48; i++) panel_floats[i] = (float)-i;
  for (int i = 0; i < 7; i++) sums[i] = i * 1000;
  if (!mkdtemp(dir)) return 1;
  qn_format(path, sizeof path, "%s/model.qrn", dir);
  RUN(reads_back_what_was_written);
  RUN(same_calls_give_the_same_bytes);
  RUN(every_truncation_is_refused);
  RUN(every_bit_flip_is_refused);
  RUN(resealed_changes_never_fault);
  RUN(malformed_fields_are_refused);
  RUN(tensor_bytes_are_exact);
  RUN(groups_are_checked);
  RUN(verify_can_be_cancelled);
  RUN(calls_out_of_turn_are_refused);
  RUN(every_allocation_may_fail);
  RUN(failing_output_leaves_the_old_file);
  unlink(path);
  rmdir(dir);
  return TEST_END();
}
