/* fuzz_tokenizer.c - any text through any TOKENIZER section, and any bytes as a tokenizer.json or a vocab.txt: no fault,
 * ids below vocab. The first byte chooses what and the kind; the next ones change a good section at given places, the
 * rest is the text. */
#include <stdlib.h>
#include <string.h>
#include "text/tokenizer.h"
#include "tests/fuzz/fuzz.h"

static const char good[] =
    "{\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\",\"special\":true},{\"id\":2,\"content\":\"[SEP]\",\"special\":"
    "true,"
    "\"lstrip\":true,\"rstrip\":true},{\"id\":11,\"content\":\"New  York\",\"single_word\":true,\"rstrip\":true},"
    "{\"id\":12,\"content\":\"\\ufffdz\",\"normalized\":false},{\"id\":13,\"content\":\"  \",\"lstrip\":true,"
    "\"rstrip\":true}],\"normalizer\":{\"type\":\"BertNormalizer\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
    "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],\"cls\":[\"[CLS]\",1]},\"decoder\":{"
    "\"type\":"
    "\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":"
    "20,"
    "\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##a\":4,\"ab\":5,\"##b\":6,\".\":7,\"\\u0431\":8,\"e\":9,"
    "\"##e\":10}}}";

#define BPE(rules)                                                                                                     \
  "{\"added_tokens\":[{\"id\":9,\"content\":\"<e>\",\"special\":true},{\"id\":10,\"content\":\"bb\",\"normalized\":"   \
  "false},{"                                                                                                           \
  "\"id\":11,\"content\":\"a<\",\"normalized\":true}]," rules                                                          \
  "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"aa\":3,\"abab\":4,\"\\u0120\":5,\"\\u0120a\":6,\"\\u2581\":7,\"\\u2581a\":8," \
  "\"<0xC3>\":12,"                                                                                                     \
  "\"<0xA9>\":13},\"merges\":[\"a b\",\"a a\",\"ab ab\",\"\\u0120 a\",\"\\u2581 a\"]}}"
#define LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
static const char byte_level[] = BPE(
    "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
    "\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}{1,3}| "
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\"}"
    "," LEVEL "]},\"decoder\":" LEVEL ",\"model\":{\"type\":\"BPE\",");
static const char characters[] = BPE(
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"},{\"type\":"
    "\"Replace\",\"pattern\":{\"String\":\" "
    "\"},\"content\":\"\\u2581\"}]},\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{"
    "\"type\":\"Replace\",\"pattern\":{\"String\":\"\\u2581\"},\"content\":\" "
    "\"},{\"type\":\"ByteFallback\"}]},\"model\":{"
    "\"type\":\"BPE\",\"byte_fallback\":true,\"fuse_unk\":true,\"unk_token\":\"b\",");
/* The map makes "b" of "a" and an accent, a blank of U+00A0, nothing of U+00AD. */
static const char unigram[] =
    "{\"added_tokens\":[{\"id\":1,\"content\":\"</s>\",\"special\":true,\"lstrip\":true}],\"normalizer\":{\"type\":"
    "\"Sequence\",\"normalizers\":[{\"type\":\"Precompiled\",\"precompiled_charsmap\":\""
    "AAQAAAAEAAABAACAAwAAgAUAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGGEAQAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAgQUCAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAoI0CAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACtvQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMIIAwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADM"
    "MAMAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAYgAgAAA="
    "\"},{\"type\":\"Strip\","
    "\"strip_left\":true,\"strip_right\":true},{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" "
    "\"}]},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"always\"},"
    "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\"},\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"
    "\"byte_fallback\":true,\"vocab\":[[\"<unk>\",0],[\"</s>\",0],[\"a\",-3],[\"b\",-3.5],[\"ab\",-5],[\"aa\",-4],["
    "\"\\u2581\",-2],[\"\\u2581a\",-4.25],[\"\\u00e9\",-6],[\"<0xC3>\",0],[\"<0xA8>\",0],[\"baab\",-7]]}}";
static const struct {
  const char *json;
  size_t bytes;
} goods[] = {{good, sizeof good - 1},
             {byte_level, sizeof byte_level - 1},
             {characters, sizeof characters - 1},
             {unigram, sizeof unigram - 1}};

/* Id by id gives what all at once gives. */
static void stream(const qn_tokenizer *t, const int32_t *ids, size_t n) {
  static char whole[1 << 16];
  char piece[QN_DETOKENIZER_BYTES];
  size_t len = 0, at = 0, got = 0;
  qn_detokenizer d;
  if (qn_tokenizer_decode(t, ids, n, 0, whole, sizeof whole, &len) != QUERN_OK) return;
  qn_detokenizer_begin(&d, t, 0);
  for (size_t i = 0; i <= n; i++) {
    if ((i < n ? qn_detokenizer_feed(&d, ids[i], piece, sizeof piece, &got)
               : qn_detokenizer_end(&d, piece, sizeof piece, &got)) != QUERN_OK)
      abort();
    if (got > len - at || memcmp(whole + at, piece, got) != 0) abort();
    at += got;
  }
  if (at != len) abort();
}

/* whole: the section is as it was written; then tracing where tokens came from changes none of them. */
static void run(const qn_tokenizer *t, const uint8_t *text, size_t bytes, int whole) {
  int32_t ids[512], types[512];
  char buf[256];
  size_t len = 0;
  qn_ids out = {.ids = ids, .types = types, .cap = 512};
  const quern_status status = qn_tokenizer_encode(t, (const char *)text, bytes, 1, &out);
  if (status != QUERN_OK) { /* only BPE of a damaged section */
    if (whole || t->kind == QN_TOKENIZER_WORDPIECE) abort();
    return;
  }
  size_t n = out.count < out.cap ? out.count : out.cap;
  for (size_t i = 0; i < n; i++)
    if (ids[i] < 0 || (uint32_t)ids[i] >= t->vocab || types[i] != 1) abort();
  int32_t again[512];
  quern_span spans[512];
  qn_ids traced = {.ids = again, .cap = 512, .spans = spans};
  if (qn_tokenizer_encode(t, (const char *)text, bytes, 1, &traced) != QUERN_OK && whole) abort();
  if (whole && traced.count != out.count) abort();
  for (size_t i = 0; i < traced.count && i < traced.cap; i++)
    if ((whole && ids[i] != again[i]) || spans[i].begin > spans[i].end || spans[i].end > bytes) abort();
  qn_tokenizer_decode(t, ids, n, 1, buf, sizeof buf, &len);
  stream(t, ids, n);
  for (size_t i = 0; i < n; i++) ids[i] = (int32_t)i;
  qn_tokenizer_decode(t, ids, n, 0, buf, sizeof buf, &len);
  int32_t all[600];
  qn_ids both = {.ids = all, .cap = 600};
  qn_tokenizer_template(t, ids, n, ids, n / 2, 1, &both);
  qn_tokenizer_specials(t, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  qn_env env;
  qn_json j = {0};
  qn_buffer section = {0};
  qn_tokenizer t;
  if (bytes < 2) return 0;
  const uint32_t kind = data[0] / 4 % 4;
  uint32_t mode = data[0] % 4, changes = mode == 0 ? data[1] % 16 : 0;
  data += 2, bytes -= 2;
  if (bytes < changes * (size_t)4) return 0;
  qn_env_init(&env, NULL, NULL, NULL, 0);
  quern_status status;
  if (mode == 3) {
    status = qn_tokenizer_build(&env, NULL, (const char *)data, bytes, NULL, 64, &section);
  } else {
    int own = mode == 2;
    status = qn_json_parse(&j, &env, "fuzz", own ? (const void *)data : goods[kind].json,
                           own ? bytes : goods[kind].bytes);
    if (!status) status = qn_tokenizer_build(&env, &j, NULL, 0, NULL, 64, &section);
  }
  if (!status) {
    for (uint32_t i = 0; i < changes; i++, data += 4, bytes -= 4) /* mostly the header and the small tables */
      section.data[(size_t)(data[0] | data[1] << 8) % section.bytes] = data[2];
    if (qn_tokenizer_open(&t, &env, section.data, section.bytes) == QUERN_OK) run(&t, data, bytes, changes == 0);
  } else if (!env.error.text[0] || section.bytes) {
    abort();
  }
  qn_buffer_free(&env, &section);
  qn_json_free(&env, &j);
  return 0;
}
