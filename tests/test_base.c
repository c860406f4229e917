/* test_base.c - messages, memory, hashes, UTF-8, numbers, files. */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/utf8.h"
#include "faulty_alloc.h"
#include "test.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static qn_env env;
static char dir[] = "/tmp/quern-base-XXXXXX";

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static void formats_its_subset(void) {
  char b[128];
  CHECK_EQ(qn_format(b, sizeof b, "%s|%.*s|%c|%d|%u|%x|%%", "ab", 3, "xyzzy", 'q', -7, 42u, 255u), 19);
  CHECK(!strcmp(b, "ab|xyz|q|-7|42|ff|%"));
  qn_format(b, sizeof b, "%lld %llu %zu %llx", (long long)INT64_MIN, (unsigned long long)UINT64_MAX, (size_t)0,
            0xabcdef0123456789ull);
  CHECK(!strcmp(b, "-9223372036854775808 18446744073709551615 0 abcdef0123456789"));
  qn_format(b, sizeof b, "%ld %lu %.*s", -5L, 5ul, 9, "ab");
  CHECK(!strcmp(b, "-5 5 ab"));
  CHECK_EQ(qn_format(b, 4, "%s", "abcdef"), 6);
  CHECK(!strcmp(b, "abc"));
  CHECK_EQ(qn_format(b, 1, "%d", 12345), 5);
  CHECK(!strcmp(b, ""));
  CHECK_EQ(qn_format(NULL, 0, "%d", 12345), 5);
}

static void errors_are_kept_and_cut(void) {
  qn_error e;
  char b[8], longer[2 * QN_ERROR_BYTES];
  qn_error_init(&e);
  qn_error_copy(&e, b, sizeof b);
  CHECK(!strcmp(b, ""));
  CHECK_EQ(qn_fail(&e, QUERN_E_IO, "%s is gone", "file"), QUERN_E_IO);
  qn_error_copy(&e, b, sizeof b);
  CHECK(!strcmp(b, "file is"));
  qn_error_copy(&e, b, 0);
  qn_fail(&e, QUERN_E_IO, "while opening: %s", e.text); /* its own text as an argument */
  CHECK(!strcmp(e.text, "while opening: file is gone"));
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = 0;
  qn_fail(&e, QUERN_E_IO, "%s", longer);
  CHECK_EQ(strlen(e.text), QN_ERROR_BYTES - 1);
  CHECK_EQ(qn_fail(NULL, QUERN_E_FORMAT, "nobody listens"), QUERN_E_FORMAT);
  CHECK(!strcmp(qn_errno_text(ENOENT), "no such file or directory"));
  CHECK(!strcmp(qn_errno_text(123456), "system error"));
#ifdef __GLIBC__
  int told = 0;
  for (int err = 1; err < 134; err++) { /* the command has the same words from the C library */
    if (!strcmp(qn_errno_text(err), "system error")) continue;
    CHECK(!strcmp(qn_errno_text(err) + 1, strerror(err) + 1) && qn_errno_text(err)[0] == (strerror(err)[0] | 0x20));
    told++;
  }
  CHECK(told > 30);
#endif
}

static int log_calls;
static char log_last[64];
static void keep_log(void *user, int32_t level, const char *message) {
  log_calls += user == &log_calls && level <= 1;
  qn_format(log_last, sizeof log_last, "%s", message);
}

static void logs_up_to_the_level(void) {
  qn_env e;
  qn_env_init(&e, NULL, keep_log, &log_calls, 1);
  qn_log(&e, 2, "no");
  qn_log(&e, 1, "yes %d", 1);
  CHECK_EQ(log_calls, 1);
  CHECK(!strcmp(log_last, "yes 1"));
  qn_log(&env, 0, "nobody listens");
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void allocates_aligned_and_checked(void) {
  void *p = &env;
  CHECK_EQ(qn_alloc(&env, &p, 0, "nothing"), QUERN_OK);
  CHECK(p == NULL);
  CHECK_EQ(qn_alloc(&env, &p, 100, "a thing"), QUERN_OK);
  CHECK((uintptr_t)p % 64 == 0);
  qn_free(&env, p, 100);
  CHECK_EQ(qn_alloc(&env, &p, SIZE_MAX - 3, "a thing"), QUERN_E_MEMORY);
  CHECK(p == NULL && strstr(env.error.text, "a thing") != NULL);
  CHECK_EQ(qn_alloc_array(&env, &p, SIZE_MAX / 4, 8, "things"), QUERN_E_MEMORY);
  CHECK_EQ(qn_alloc_array(&env, &p, 3, 5, "things"), QUERN_OK);
  for (int i = 0; i < 15; i++) CHECK_EQ(((char *)p)[i], 0);
  qn_free(&env, p, 15);
  qn_free(&env, NULL, 7);
}

static quern_status fill_buffer(const quern_allocator *alloc, void *arg) {
  qn_env e;
  qn_buffer b = {NULL, 0, 0};
  quern_status status;
  (void)arg;
  qn_env_init(&e, alloc, NULL, NULL, 0);
  for (uint32_t i = 0; i < 1000; i++) QN_TRY_CLEANUP(qn_buffer_append(&e, &b, &i, sizeof i));
  QN_TRY_CLEANUP(qn_buffer_append(&e, &b, "x", 1));
  QN_TRY_CLEANUP(qn_buffer_pad(&e, &b, 64));
  QN_TRY_CLEANUP(qn_buffer_pad(&e, &b, 64));
  CHECK_EQ(b.bytes, 4032);
  for (uint32_t i = 0; i < 1000; i++) CHECK_EQ(qn_load_u32(b.data + 4 * i), i);
  for (size_t i = 4001; i < b.bytes; i++) CHECK_EQ(b.data[i], 0);
cleanup:
  qn_buffer_free(&e, &b);
  return status;
}

static void buffers_grow(void) {
  long n;
  CHECK_EQ(faulty_each(fill_buffer, NULL, &n), 0);
  CHECK(n >= 5 && n < 20);
}

static void arenas_count_and_lay_out_alike(void) {
  static _Alignas(64) uint8_t block[64 * 4];
  qn_arena count = {NULL, 0, 0, 0}, real = {block, 0, sizeof block, 0};
  CHECK(qn_arena_take(&count, 3, 5) == NULL);
  CHECK(qn_arena_take(&count, 0, 5) == NULL);
  CHECK(qn_arena_take(&count, 65, 1) == NULL);
  CHECK_EQ(count.used, 192);
  CHECK(!count.overflow);
  CHECK(qn_arena_take(&real, 3, 5) == block);
  qn_arena_take(&real, 0, 5);
  CHECK(qn_arena_take(&real, 65, 1) == block + 64);
  CHECK_EQ(real.used, count.used);
  CHECK(qn_arena_take(&real, 65, 1) == NULL && real.overflow);
  qn_arena_take(&count, SIZE_MAX, 2);
  CHECK(count.overflow);
  count = (qn_arena){NULL, 64, 0, 0};
  qn_arena_take(&count, SIZE_MAX - 100, 1);
  CHECK(count.overflow);
}

static void sizes_are_checked(void) {
  size_t s;
  uint64_t u;
  CHECK(qn_mul_size(3, 4, &s) && s == 12);
  CHECK(!qn_mul_size(SIZE_MAX / 2 + 1, 2, &s));
  CHECK(!qn_add_u64(UINT64_MAX, 1, &u));
  CHECK(qn_in_range(5, 5, 10) && !qn_in_range(5, 6, 10) && !qn_in_range(11, 0, 10) && qn_in_range(10, 0, 10));
  CHECK(!qn_in_range(UINT64_MAX, 2, UINT64_MAX));
}

/* ---- hash -------------------------------------------------------------------------------------------------------- */

static void xxh64_known_values(void) {
  static const struct {
    size_t bytes;
    int seeded;
    uint64_t hash;
  } known[] = {{0, 0, 0xEF46DB3751D8E999ull},  {0, 1, 0xAC75FDA2929B17EFull},   {1, 0, 0xE934A84ADB052768ull},
               {1, 1, 0x5014607643A9B4C3ull},  {4, 0, 0x9136A0DCA57457EEull},   {14, 0, 0x8282DCC4994E35C8ull},
               {14, 1, 0xC3BD6BF63DEB6DF0ull}, {222, 0, 0xB641AE8CB691C174ull}, {222, 1, 0x20CB8AB7AE10C14Aull}};
  uint8_t data[222];
  uint64_t g = 2654435761u;
  for (size_t i = 0; i < sizeof data; i++) {
    data[i] = (uint8_t)(g >> 56);
    g *= 11400714785074694797ull;
  }
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    CHECK(qn_xxh64(data, known[i].bytes, known[i].seeded ? 2654435761u : 0) == known[i].hash);
  CHECK(qn_xxh64("abc", 3, 0) == 0x44BC2CF5AD770999ull);
  CHECK(qn_xxh64("Nobody inspects the spammish repetition", 39, 0) == 0xFBCEA83C8A378BF1ull);
  /* Any cutting into pieces gives the same. */
  for (size_t n = 0; n <= sizeof data; n++) {
    uint64_t whole = qn_xxh64(data, n, 7);
    for (size_t piece = 1; piece < 70; piece += piece < 34 ? 1 : 35) {
      qn_xxh64_state s;
      qn_xxh64_begin(&s, 7);
      for (size_t i = 0; i < n; i += piece) qn_xxh64_update(&s, data + i, qn_min_size(piece, n - i));
      qn_xxh64_update(&s, NULL, 0);
      CHECK(qn_xxh64_end(&s) == whole);
    }
  }
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

static void utf8_round_trip(void) {
  for (uint32_t cp = 0; cp < 0x110000; cp++) {
    uint8_t b[4];
    uint32_t used;
    if (cp >= 0xD800 && cp < 0xE000) continue;
    uint32_t n = qn_utf8_encode(cp, b);
    if (qn_utf8_decode(b, n, &used) != cp || used != n) CHECK(0);
    if (n > 1 && (qn_utf8_decode(b, n - 1, &used) != QN_REPLACEMENT || used != n - 1)) CHECK(0);
  }
}

/* bytes -> lengths of the pieces, each malformed unless told by a capital letter in `want`'s place: "1" malformed of one
   byte, "A" well formed of one, "B" of two, ... */
static void check_pieces(const char *bytes, size_t n, const char *want) {
  const uint8_t *p = (const uint8_t *)bytes;
  for (; n; want++) {
    uint32_t used, cp = qn_utf8_decode(p, n, &used);
    uint32_t good = *want >= 'A';
    CHECK_EQ(used, good ? *want - 'A' + 1 : *want - '0');
    CHECK((cp != QN_REPLACEMENT) == good);
    if (!used || used > n) return;
    p += used, n -= used;
  }
  CHECK_EQ(*want, 0);
}
#define PIECES(bytes, want) check_pieces(bytes, sizeof bytes - 1, want)

static void utf8_maximal_subparts(void) {
  PIECES("a\xC2\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", "ABCD");
  PIECES("\x80\xBF\xC0\x80\xC1\xBF", "111111");
  PIECES("\xE0\x80\x80", "111");             /* overlong */
  PIECES("\xE0\xA0x", "2A");                 /* cut */
  PIECES("\xED\xA0\x80", "111");             /* surrogate */
  PIECES("\xF0\x80\x80\x80", "1111");        /* overlong */
  PIECES("\xF4\x90\x80\x80", "1111");        /* above U+10FFFF */
  PIECES("\xF5\xFF\xFE", "111");             /* never */
  PIECES("\xF1\x80\x80\xE1\x80\xC2", "321"); /* the Unicode standard's table 3-8 */
  PIECES("\xF0\x9F\x98", "3");
  PIECES("\xE2\x82\xE2\x82\xAC", "2C");
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static void check_number(const char *text, double want, size_t used) {
  double d = -12345;
  CHECK_EQ(qn_parse_number(text, strlen(text), &d), used);
  if (used && memcmp(&d, &want, sizeof d)) {
    printf("  %s: %a, not %a\n", text, d, want);
    CHECK(0);
  }
}

static void numbers_are_rounded_correctly(void) {
  check_number("0", 0.0, 1);
  check_number("-0", -0.0, 2);
  check_number("+12.5x", 12.5, 5);
  check_number("1e", 1, 1);
  check_number("1e+", 1, 1);
  check_number(".5", 0.5, 2);
  check_number("5.", 5, 2);
  check_number("", 0, 0);
  check_number("-", 0, 0);
  check_number(".", 0, 0);
  check_number("e5", 0, 0);
  check_number("0.1", 0.1, 3);
  check_number("1e22", 1e22, 4);
  check_number("1e23", 1e23, 4);
  check_number("8.5e-23", 8.5e-23, 7);
  check_number("9007199254740993", 9007199254740992.0, 16); /* tie: to even */
  check_number("9007199254740993.0000000000000001", 9007199254740994.0, 33);
  check_number("9007199254740995", 9007199254740996.0, 16);
  check_number("123456789012345678", 123456789012345678.0, 18);
  check_number("1.7976931348623157e308", 1.7976931348623157e308, 22);
  check_number("1.7976931348623159e308", (double)INFINITY, 22);
  check_number("1e309", (double)INFINITY, 5);
  check_number("1e99999999999999999999", (double)INFINITY, 22);
  check_number("-1e-99999999999999999999", -0.0, 24);
  check_number("0e999", 0.0, 5);
  check_number("2.2250738585072014e-308", 2.2250738585072014e-308, 23);
  check_number("2.2250738585072011e-308", 2.2250738585072011e-308, 23);
  check_number("4.9406564584124654e-324", 4.9406564584124654e-324, 23);
  check_number("2.4703282292062328e-324", 4.9406564584124654e-324, 23); /* just above half of the smallest */
  check_number("2.4703282292062327e-324", 0.0, 23);
  check_number("1e-400", 0.0, 6);
  check_number("100000000000000000000000000000e-29", 1, 34);
  check_number("0.000000000000000000000000000001e30", 1, 35);
}

static void check_text(double v, const char *want) {
  char text[32];
  CHECK_EQ(qn_format_number(text, sizeof text, v), strlen(want));
  if (strcmp(text, want)) {
    printf("  %a: %s, not %s\n", v, text, want);
    CHECK(0);
  }
}

/* Any bits: as many digits as the C library needs, the same digits, and the same value back. */
static void check_any(uint64_t bits) {
  double v, back, theirs;
  char text[32], c_text[40];
  memcpy(&v, &bits, sizeof v);
  if (v != v || v - v != 0) return;
  int n = 1;
  do snprintf(c_text, sizeof c_text, "%.*e", n - 1, v);
  while (strtod(c_text, NULL) != v && ++n);
  const size_t used = qn_format_number(text, sizeof text, v);
  int digits = 0, zeros = 0;
  for (const char *p = text + (text[0] == '-'); *p && *p != 'e'; p++) {
    if (*p == '.' || (*p == '0' && !digits)) continue;
    zeros = *p == '0' ? zeros + 1 : 0;
    digits++;
  }
  CHECK(qn_parse_number(text, used, &back) == used && qn_parse_number(c_text, strlen(c_text), &theirs));
  if (memcmp(&back, &v, sizeof v) || memcmp(&theirs, &v, sizeof v) || (v != 0 && digits - zeros != n)) {
    printf("  %a: %s, wanted %s\n", v, text, c_text);
    CHECK(0);
  }
}

static void numbers_as_text(void) {
  check_text(0.0, "0");
  check_text(-0.0, "-0");
  check_text(1, "1");
  check_text(-3, "-3");
  check_text(100, "100");
  check_text(0.1, "0.1");
  check_text(0.1 + 0.2, "0.30000000000000004");
  check_text(1.0 / 3, "0.3333333333333333");
  check_text(123.456, "123.456");
  check_text(0.00001, "0.00001");
  check_text(0.000001, "1e-6");
  check_text(0.00000125, "1.25e-6");
  check_text(9007199254740993.0, "9007199254740992");
  check_text(99999999999999999.0, "1e17");
  check_text(12345678901234568.0, "12345678901234568");
  check_text(1e22, "1e22");
  check_text(1.7976931348623157e308, "1.7976931348623157e308");
  check_text(-2.2250738585072014e-308, "-2.2250738585072014e-308");
  check_text(4.9406564584124654e-324, "5e-324");
  check_text((double)INFINITY, "inf");
  check_text(-(double)INFINITY, "-inf");
  check_text((double)NAN, "nan");
  uint64_t x = 1;
  for (int i = 0; i < 5000; i++) check_any(x = x * 6364136223846793005u + 1442695040888963407u);
  for (int i = 0; i < 5000; i++) { /* few digits, few bits */
    x = x * 6364136223846793005u + 1442695040888963407u;
    double v = (double)(x >> 50) / (double)(1 + (x & 1023)) * 1e-3;
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    check_any(bits);
    check_any((x >> 62) << 51 | (uint64_t)(i % 2047) << 52);
    check_any(x >> (12 + i % 52)); /* subnormals */
  }
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static const char *in_dir(const char *name) {
  static char path[256];
  CHECK_EQ(qn_path_join(&env, path, sizeof path, dir, name), QUERN_OK);
  return path;
}

static int files_in_dir(void) {
  int n = 0;
  DIR *d = opendir(dir);
  for (struct dirent *e; (e = readdir(d)) != NULL;) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

static void check_content(const char *path, const void *want, size_t bytes) {
  qn_map m;
  CHECK_EQ(qn_map_open(&m, &env, path, 0), QUERN_OK);
  CHECK(m.bytes == bytes && (!bytes || !memcmp(m.data, want, bytes)));
  qn_map_close(&m);
  qn_map_close(&m);
}

static void outputs_appear_whole(void) {
  qn_output *o;
  size_t n = 300000;
  uint8_t *data = malloc(n);
  for (size_t i = 0; i < n; i++) data[i] = (uint8_t)(i * 2654435761u >> 13);
  CHECK_EQ(qn_output_open(&o, &env, in_dir("a"), 0), QUERN_OK);
  for (size_t at = 0, piece = 1; at < n; piece = piece * 3 % 100000 + 1) { /* below and above the buffer's size */
    size_t k = qn_min_size(piece, n - at);
    CHECK_EQ(qn_output_write(o, data + at, k), QUERN_OK);
    at += k;
  }
  CHECK(!qn_path_exists(in_dir("a")));
  memset(data + 10, 7, 90000);
  CHECK_EQ(qn_output_rewrite(o, 10, data + 10, 90000), QUERN_OK);
  data[n - 1] ^= 1;
  CHECK_EQ(qn_output_rewrite(o, n - 1, data + n - 1, 1), QUERN_OK);
  CHECK_EQ(qn_output_rewrite(o, n - 1, data, 2), QUERN_E_ARGUMENT);
  CHECK_EQ(qn_output_commit(o), QUERN_OK);
  check_content(in_dir("a"), data, n);
  /* Replaced by a commit, not by an abort. */
  CHECK_EQ(qn_output_open(&o, &env, in_dir("a"), 0), QUERN_OK);
  CHECK_EQ(qn_output_write(o, "new", 3), QUERN_OK);
  qn_output_abort(o);
  qn_output_abort(NULL);
  check_content(in_dir("a"), data, n);
  CHECK_EQ(qn_output_open(&o, &env, in_dir("a"), 0), QUERN_OK);
  CHECK_EQ(qn_output_write(o, "new", 3), QUERN_OK);
  CHECK_EQ(qn_output_commit(o), QUERN_OK);
  check_content(in_dir("a"), "new", 3);
  /* Two at once on one path do not meet. */
  qn_output *other;
  CHECK_EQ(qn_output_open(&o, &env, in_dir("a"), 0), QUERN_OK);
  CHECK_EQ(qn_output_open(&other, &env, in_dir("a"), 0), QUERN_OK);
  CHECK_EQ(qn_output_commit(o), QUERN_OK);
  qn_output_abort(other);
  check_content(in_dir("a"), NULL, 0);
  /* A dry run creates nothing. */
  unlink(in_dir("a"));
  CHECK_EQ(qn_output_open(&o, &env, in_dir("a"), 1), QUERN_OK);
  CHECK_EQ(qn_output_write(o, data, n), QUERN_OK);
  CHECK_EQ(qn_output_rewrite(o, 0, data, 9), QUERN_OK);
  CHECK_EQ(qn_output_commit(o), QUERN_OK);
  CHECK_EQ(qn_output_open(&o, &env, NULL, 1), QUERN_OK);
  CHECK_EQ(qn_output_commit(o), QUERN_OK);
  CHECK_EQ(files_in_dir(), 0);
  free(data);
}

static void failing_outputs_leave_nothing(void) {
  qn_output *o = (qn_output *)&env;
  struct rlimit was, small;
  char block[4096] = {0};
  CHECK_EQ(qn_output_open(&o, &env, "/nonexistent/dir/a", 0), QUERN_E_IO);
  CHECK(o == NULL);
  CHECK_EQ(qn_output_open(&o, &env, dir, 0), QUERN_E_IO);
  CHECK_EQ(qn_output_open(&o, &env, "/dev/null", 0), QUERN_E_IO);
  void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &was);
  small = was;
  small.rlim_cur = 100000;
  for (int late = 0; late < 2; late++) { /* met while writing, or in the commit's flush */
    int blocks = late ? 25 : 200;
    quern_status status = QUERN_OK;
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    CHECK_EQ(qn_output_open(&o, &env, in_dir("full"), 0), QUERN_OK);
    for (int i = 0; i < blocks && status == QUERN_OK; i++) status = qn_output_write(o, block, sizeof block);
    CHECK_EQ(status, late ? QUERN_OK : QUERN_E_IO);
    if (!late) CHECK_EQ(qn_output_write(o, block, 1), QUERN_E_IO);
    CHECK_EQ(qn_output_commit(o), QUERN_E_IO);
    setrlimit(RLIMIT_FSIZE, &was);
    CHECK(strstr(env.error.text, "full: write: file too large") != NULL);
    CHECK_EQ(files_in_dir(), 0);
  }
  signal(SIGXFSZ, handler);
}

static void maps_refuse_what_is_no_file(void) {
  qn_map m;
  CHECK_EQ(qn_map_open(&m, &env, in_dir("gone"), 0), QUERN_E_IO);
  CHECK(strstr(env.error.text, "no such file") != NULL);
  CHECK_EQ(qn_map_open(&m, &env, dir, 0), QUERN_E_IO);
  CHECK_EQ(qn_map_open(&m, &env, "/dev/zero", 0), QUERN_E_IO);
  CHECK_EQ(mkfifo(in_dir("fifo"), 0600), 0);
  CHECK_EQ(qn_map_open(&m, &env, in_dir("fifo"), 0), QUERN_E_IO); /* and does not wait */
  unlink(in_dir("fifo"));
  CHECK_EQ(qn_map_open_fd(&m, &env, -1, 0), QUERN_E_IO);
  int fd = open(in_dir("ten"), O_RDWR | O_CREAT, 0600);
  CHECK_EQ(write(fd, "0123456789", 10), 10);
  CHECK_EQ(qn_map_open_fd(&m, &env, fd, 9), QUERN_E_LIMIT);
  CHECK(m.data == NULL);
  CHECK_EQ(qn_map_open_fd(&m, &env, fd, 10), QUERN_OK);
  close(fd);
  CHECK(m.bytes == 10 && m.mapped && !memcmp(m.data, "0123456789", 10));
  qn_map_close(&m);
  CHECK(m.data == NULL);
  CHECK(qn_path_exists(in_dir("ten")) && !qn_path_is_directory(in_dir("ten"), 1) && qn_path_is_directory(dir, 0));
  CHECK(!qn_path_is_directory(in_dir("absent"), 1));
  char name[5000];
  memset(name, 'x', sizeof name); /* longer than any name: the system tells nothing */
  name[sizeof name - 1] = 0;
  CHECK(qn_path_is_directory(name, 1) && !qn_path_is_directory(name, 0) && qn_path_exists(name));
  unlink(in_dir("ten"));
  char small[8];
  CHECK_EQ(qn_path_join(&env, small, sizeof small, "abc/", "defg"), QUERN_E_ARGUMENT);
  CHECK_EQ(qn_path_join(&env, small, sizeof small, "abc/", "def"), QUERN_OK);
  CHECK(!strcmp(small, "abc/def"));
}

static quern_status write_small(const quern_allocator *alloc, void *arg) {
  qn_env e;
  qn_output *o;
  qn_env_init(&e, alloc, NULL, NULL, 0);
  QN_TRY(qn_output_open(&o, &e, arg, 0));
  qn_output_write(o, "x", 1);
  return qn_output_commit(o);
}

static void output_allocations_may_fail(void) {
  long n;
  char path[256];
  memcpy(path, in_dir("small"), sizeof path);
  CHECK_EQ(faulty_each(write_small, path, &n), 0);
  CHECK_EQ(n, 1);
  CHECK_EQ(files_in_dir(), 1);
  unlink(path);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!mkdtemp(dir)) return 1;
  RUN(formats_its_subset);
  RUN(errors_are_kept_and_cut);
  RUN(logs_up_to_the_level);
  RUN(allocates_aligned_and_checked);
  RUN(buffers_grow);
  RUN(arenas_count_and_lay_out_alike);
  RUN(sizes_are_checked);
  RUN(xxh64_known_values);
  RUN(utf8_round_trip);
  RUN(utf8_maximal_subparts);
  RUN(numbers_are_rounded_correctly);
  RUN(numbers_as_text);
  RUN(outputs_appear_whole);
  RUN(failing_outputs_leave_nothing);
  RUN(maps_refuse_what_is_no_file);
  RUN(output_allocations_may_fail);
  rmdir(dir);
  return TEST_END();
}
