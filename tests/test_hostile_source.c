/* test_hostile_source.c - malicious directories to quantize, each made from a good one by a row of a table: refused with a
 * status and a message, no file left behind, no file outside read, memory within a plan. */
#include "hostile.h"
#include "source_dir.h"
#include "text/tokenizer.h"
#include <sys/stat.h>

/* The memory that refusing a source may take: twice what lies in the directory, a JSON tree of at most 23 times the text of
   the file that was changed (base/json.h), 8 bytes for each of 65,536 labels, twice where the source is opened twice (int8), and some buffers. */
static size_t refusal_plan(size_t source_bytes, size_t file_bytes) {
  return 2 * source_bytes + 23 * file_bytes + 1200000;
}

static char out[400];

static const char tokenizer[] =
    "{\"added_tokens\": [{\"id\": 2, \"content\": \"[CLS]\", \"special\": true}],\n"
    "\"normalizer\": {\"type\": \"BertNormalizer\", \"lowercase\": true}, \"pre_tokenizer\": {\"type\": "
    "\"BertPreTokenizer\"},\n"
    "\"post_processor\": {\"type\": \"TemplateProcessing\",\n"
    " \"single\": [{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", "
    "\"type_id\": 0}}],\n"
    " \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}],\n"
    " \"special_tokens\": {\"[CLS]\": {\"id\": \"[CLS]\", \"ids\": [2], \"tokens\": [\"[CLS]\"]}}},\n"
    "\"decoder\": {\"type\": \"WordPiece\", \"prefix\": \"##\", \"cleanup\": true},\n"
    "\"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"max_input_chars_per_word\": 100,\n"
    " \"vocab\": {\"[UNK]\": 1, \"[CLS]\": 2, \"the\": 3, \"cat\": 4, \"##s\": 5}}}\n";

/* ---- rows ---- */

typedef enum base_kind { SENTENCE, HEAD, SHARDS, DENSE, SHORT } base_kind;
typedef void make_fn(const char *path);

typedef struct row {
  const char *name;
  base_kind base;
  const char *file;      /* that is changed */
  const char *from, *to; /* the first `from` becomes `to`; from NULL: `to` is the whole file */
  make_fn *make;         /* not NULL: makes the file instead */
  quern_status status;
  const char *words;
} row;

static void write_all(const char *path, const void *data, size_t bytes) {
  FILE *f = fopen(path, "wb");
  CHECK(f && fwrite(data, 1, bytes, f) == bytes);
  if (f) CHECK(fclose(f) == 0);
}

/* `before`, n times `unit`, `after`. */
static void write_repeated(const char *path, const char *before, const char *unit, size_t n, const char *after) {
  const size_t each = strlen(unit), head = strlen(before), tail = strlen(after);
  char *text = malloc(head + n * each + tail + 1);
  memcpy(text, before, head);
  for (size_t i = 0; i < n; i++) memcpy(text + head + i * each, unit, each);
  memcpy(text + head + n * each, after, tail);
  write_all(path, text, head + n * each + tail);
  free(text);
}

static void deep_arrays(const char *p) { write_repeated(p, "", "[", 200000, ""); }
static void deep_objects(const char *p) { write_repeated(p, "", "{\"a\":", 65, "1"); }
static void many_nodes(const char *p) { write_repeated(p, "[", "[],", 60000, "1"); }
static void long_number(const char *p) {
  write_repeated(p, "{\"model_type\": \"bert\", \"hidden_size\": ", "9", 200000, "}");
}
static void nul_in_text(const char *p) { write_all(p, "{\"model_type\": \"bert\0\"}", 23); }
static void empty_file(const char *p) { write_all(p, "", 0); }
static void fifo(const char *p) { CHECK(mkfifo(p, 0600) == 0); }
static void directory(const char *p) { CHECK(mkdir(p, 0700) == 0); }
static void link_loop(const char *p) { CHECK(symlink(p, p) == 0); }
static void link_to_passwd(const char *p) { CHECK(symlink("/etc/passwd", p) == 0); }
static void link_to_zeros(const char *p) { CHECK(symlink("/dev/zero", p) == 0); }
static void link_to_nothing(const char *p) { CHECK(symlink("/no/such/file", p) == 0); }

static void header_of(const char *path, uint64_t header, const char *text, size_t file_bytes) {
  uint8_t *file = calloc(1, file_bytes + 8);
  memcpy(file, &header, 8);
  memcpy(file + 8, text, strlen(text));
  write_all(path, file, file_bytes);
  free(file);
}
static void header_wraps(const char *p) { header_of(p, ~(uint64_t)0 - 7, "{}", 64); }
static void header_negative(const char *p) { header_of(p, (uint64_t)1 << 63, "{}", 64); }
static void header_past_end(const char *p) { header_of(p, 57, "{}", 64); }
static void header_too_long(const char *p) { header_of(p, (8u << 20) + 1, "{}", (8u << 20) + 64); }
static void header_missing(const char *p) { header_of(p, 2, "", 7); }

static void more_rows(const char *p) {
  char text[1200] = "[UNK]\n[CLS]\n[SEP]\n";
  for (int i = 0; i < 120; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "w%d\n", i);
  write_all(p, text, strlen(text));
}
static void long_line(const char *p) { write_repeated(p, "[UNK]\n[CLS]\n[SEP]\n", "y", 1025, "\n"); }

static void many_items(const char *path, const char *part, const char *item, size_t n) {
  const char *at = strstr(tokenizer, part);
  char *before = calloc(1, sizeof tokenizer);
  memcpy(before, tokenizer, (size_t)(at - tokenizer) + strlen(part));
  write_repeated(path, before, item, n, at + strlen(part));
  free(before);
}
#define CLS_ITEM "{\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}},"
static void template_too_long(const char *p) { many_items(p, "\"single\": [", CLS_ITEM, 65); }
static void template_fills_positions(const char *p) { many_items(p, "\"single\": [", CLS_ITEM, 62); }
static void many_added(const char *p) {
  many_items(p, "\"added_tokens\": [", "{\"id\": 3, \"content\": \"the\"},", 97);
}
static void long_token(const char *p) {
  char *token = malloc(1100);
  memset(token, 'z', 1025);
  snprintf(token + 1025, 16, "\": 9, \"");
  token[0] = 'z';
  many_items(p, "\"vocab\": {\"", token, 1);
  free(token);
}

/* 1,100 shards named in an index; each must exist to be counted. */
static void many_shards(const char *path) {
  char *text = malloc(1100 * 64), name[64];
  size_t n = (size_t)sprintf(text, "{\"weight_map\": {");
  for (int i = 0; i < 1100; i++) {
    snprintf(name, sizeof name, "s%d.safetensors", i);
    header_of((snprintf(out, sizeof out, "%s/%s", dir, name), out), 2, "{}", 10);
    n += (size_t)sprintf(text + n, "%s\"t%d\": \"%s\"", i ? "," : "", i, name);
  }
  n += (size_t)sprintf(text + n, "}}");
  write_all(path, text, n);
  free(text);
}

#define C(name_, from_, to_, words_)                                                                                   \
  { "config: " name_, SENTENCE, "config.json", from_, to_, NULL, QUERN_E_SOURCE, words_ }
#define J(name_, text_, words_)                                                                                        \
  { "json: " name_, SENTENCE, "config.json", NULL, text_, NULL, QUERN_E_SOURCE, words_ }
#define K(name_, from_, to_, words_)                                                                                   \
  { "tokenizer: " name_, SENTENCE, "tokenizer.json", from_, to_, NULL, QUERN_E_SOURCE, words_ }
#define KU(name_, from_, to_, words_)                                                                                  \
  { "tokenizer: " name_, SENTENCE, "tokenizer.json", from_, to_, NULL, QUERN_E_UNSUPPORTED, words_ }
#define V(name_, text_, words_)                                                                                        \
  { "vocab: " name_, SENTENCE, "vocab.txt", NULL, text_, NULL, QUERN_E_SOURCE, words_ }
#define S(name_, entries_, words_)                                                                                     \
  { "safetensors: " name_, SENTENCE, "model.safetensors", NULL, "{" entries_ "}", NULL, QUERN_E_SOURCE, words_ }
#define ENTRY(name_, dtype_, shape_, offsets_)                                                                         \
  "\"" name_ "\":{\"dtype\":\"" dtype_ "\",\"shape\":" shape_ ",\"data_offsets\":" offsets_ "}"
#define I(name_, to_, words_)                                                                                          \
  {                                                                                                                    \
    "index: " name_, SHARDS, "model.safetensors.index.json", "model-00001-of-00002.safetensors", to_, NULL,            \
        QUERN_E_SOURCE, words_                                                                                         \
  }
#define M(name_, base_, file_, make_, status_, words_)                                                                 \
  { name_, base_, file_, NULL, NULL, make_, status_, words_ }

static const row rows[] = {
    /* ---- config.json ---- */
    C("vocabulary of 0", "\"vocab_size\": 96", "\"vocab_size\": 0", "vocab"),
    C("vocabulary of -1", "\"vocab_size\": 96", "\"vocab_size\": -1", "vocab"),
    C("vocabulary of 2^24", "\"vocab_size\": 96", "\"vocab_size\": 16777216", "shape"),
    C("vocabulary of 2^32 + 96", "\"vocab_size\": 96", "\"vocab_size\": 4294967392", "vocab"),
    C("vocabulary of 1e300", "\"vocab_size\": 96", "\"vocab_size\": 1e300", "vocab"),
    C("vocabulary of half a row", "\"vocab_size\": 96", "\"vocab_size\": 96.5", "vocab"),
    C("vocabulary as text", "\"vocab_size\": 96", "\"vocab_size\": \"96\"", "vocab"),
    C("vocabulary as a list", "\"vocab_size\": 96", "\"vocab_size\": [96]", "vocab"),
    C("width of 0", "\"hidden_size\": 32", "\"hidden_size\": 0", "hidden_size"),
    C("width of -32", "\"hidden_size\": 32", "\"hidden_size\": -32", "hidden_size"),
    C("width of 65536", "\"hidden_size\": 32", "\"hidden_size\": 65536", ""),
    C("width given twice", "\"hidden_size\": 32", "\"hidden_size\": 32, \"hidden_size\": 64", "hidden_size"),
    C("heads that do not divide", "\"num_attention_heads\": 2", "\"num_attention_heads\": 3", "num_attention_heads"),
    C("no heads", "\"num_attention_heads\": 2", "\"num_attention_heads\": 0", "num_attention_heads"),
    C("heads of -2", "\"num_attention_heads\": 2", "\"num_attention_heads\": -2", "num_attention_heads"),
    C("4,096 layers", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4096", "encoder.layer.2."),
    C("10^9 layers", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1000000000", "layers"),
    C("a feed-forward block of 131,072", "\"intermediate_size\": 64", "\"intermediate_size\": 131072", "shape"),
    C("2^20 positions", "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 1048576", "shape"),
    C("-64 positions", "\"max_position_embeddings\": 64", "\"max_position_embeddings\": -64", "max_position"),
    C("65,536 token types", "\"type_vocab_size\": 2", "\"type_vocab_size\": 65536", "shape"),
    C("-1 token types", "\"type_vocab_size\": 2", "\"type_vocab_size\": -1", "type_vocab_size"),
    C("epsilon of -1", "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1", "layer_norm_eps"),
    C("epsilon of 1e999", "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": 1e999", "range of a double"),
    C("epsilon of NaN", "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": NaN", "no JSON value"),
    {"config: another architecture", SENTENCE, "config.json", "\"bert\"", "\"../bert\"", NULL, QUERN_E_UNSUPPORTED,
     "../bert"},
    {"config: label -1", HEAD, "config.json", "\"1\": ", "\"-1\": ", NULL, QUERN_E_SOURCE, "id2label"},
    {"config: label 2^64", HEAD, "config.json", "\"1\": ", "\"18446744073709551616\": ", NULL, QUERN_E_SOURCE,
     "id2label"},
    {"config: 65,536 labels", HEAD, "config.json", "{", "{\"num_labels\": 65536,", NULL, QUERN_E_SOURCE, "shape"},
    {"config: -1 labels", HEAD, "config.json", "{", "{\"num_labels\": -1,", NULL, QUERN_E_SOURCE, "num_labels"},
    /* ---- JSON ---- */
    J("nothing", "", "too early"),
    J("cut off", "{\"model_type\": \"bert\", \"hidden_size\":", "too early"),
    J("a list", "[]", "not a JSON object"),
    J("text behind it", "{} {}", "text behind"),
    J("a comment", "{/* */}", "name is missing"),
    J("a comma too many", "{\"a\": 1,}", "name is missing"),
    J("a byte order mark", "\xef\xbb\xbf{}", "no JSON value"),
    J("malformed UTF-8", "{\"model_type\": \"\xc3\x28\"}", "malformed UTF-8"),
    J("an overlong slash", "{\"model_type\": \"\xc0\xaf\"}", "malformed UTF-8"),
    J("a surrogate in UTF-8", "{\"model_type\": \"\xed\xa0\x80\"}", "malformed UTF-8"),
    J("half a surrogate pair", "{\"model_type\": \"\\ud800\"}", "surrogate"),
    J("a control character", "{\"model_type\": \"a\nb\"}", "control character"),
    J("a string that does not end", "{\"model_type\": \"bert", "does not end"),
    J("an escape at the end", "{\"model_type\": \"bert\\", "escape"),
    J("a number with a leading zero", "{\"hidden_size\": 032}", "number"),
    M("json: 200,000 arrays within each other", SENTENCE, "config.json", deep_arrays, QUERN_E_SOURCE,
      "nested too deeply"),
    M("json: 65 objects within each other", SENTENCE, "config.json", deep_objects, QUERN_E_SOURCE, "nested too deeply"),
    M("json: 60,000 empty arrays", SENTENCE, "config.json", many_nodes, QUERN_E_SOURCE, "too early"),
    M("json: a number of 200,000 digits", SENTENCE, "config.json", long_number, QUERN_E_SOURCE, ""),
    M("json: a NUL", SENTENCE, "config.json", nul_in_text, QUERN_E_SOURCE, "control character"),
    /* ---- tokenizer.json ---- */
    K("id -1", "\"the\": 3", "\"the\": -1", "has id -1"),
    K("id 96 of 96", "\"the\": 3", "\"the\": 96", "has id 96"),
    K("id 2^32 + 3", "\"the\": 3", "\"the\": 4294967299", "has id -1"),
    K("id 3.5", "\"the\": 3", "\"the\": 3.5", "has id -1"),
    K("id as text", "\"the\": 3", "\"the\": \"3\"", "no number"),
    K("id twice", "\"the\": 3", "\"the\": 2", "same id"),
    K("token twice", "\"the\": 3", "\"the\": 3, \"the\": 6", "twice"),
    K("vocabulary as a list", "\"vocab\": {", "\"vocab\": [], \"v\": {", "model.vocab"),
    K("no unknown token", "\"unk_token\": \"[UNK]\"", "\"unk_token\": \"[NONE]\"", "unknown token"),
    K("words of 0", "per_word\": 100", "per_word\": 0", "max_input_chars"),
    K("words of -1", "per_word\": 100", "per_word\": -1", "max_input_chars"),
    KU("words of 10^9", "per_word\": 100", "per_word\": 1000000000", "max_input_chars"),
    K("added tokens as an object", "\"added_tokens\": [", "\"added_tokens\": {}, \"a\": [", "no array"),
    K("added token of id -2", "{\"id\": 2,", "{\"id\": -2,", "no integer"),
    K("added token of another's id", "{\"id\": 2,", "{\"id\": 3,", "vocabulary gives it"),
    K("added token without text", "\"content\": \"[CLS]\"", "\"content\": 7", "no \"content\""),
    K("a flag of 1", "\"special\": true", "\"special\": 1", "neither true nor false"),
    K("template of an id past the vocabulary", "\"ids\": [2]", "\"ids\": [96]", "not in the vocabulary"),
    K("template of a negative id", "\"ids\": [2]", "\"ids\": [-1]", "not in the vocabulary"),
    K("template that refers to itself", "\"special_tokens\": {\"[CLS]\"", "\"special_tokens\": {\"A\"", "not defined"),
    K("template without a text", "\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],\n \"pair\"",
      "\"SpecialToken\": {\"id\": \"[CLS]\", \"type_id\": 0}}],\n \"pair\"", "must name A"),
    K("template of one text twice", "{\"id\": \"B\", \"type_id\": 1}", "{\"id\": \"A\", \"type_id\": 1}", "once each"),
    K("template of a negative type", "\"type_id\": 0}}, {\"Seq", "\"type_id\": -1}}, {\"Seq", "malformed"),
    K("template of a type past the table", "\"type_id\": 0}}, {\"Seq", "\"type_id\": 2}}, {\"Seq", "token type 2"),
    KU("another kind", "\"type\": \"WordPiece\", \"unk", "\"type\": \"WordLevel\", \"unk", "WordLevel"),
    KU("another normalizer", "BertNormalizer", "Replace", "Replace"),
    KU("another prefix", "\"prefix\": \"##\"", "\"prefix\": \"\"", "prefix"),
    M("tokenizer: a template of 67 items", SENTENCE, "tokenizer.json", template_too_long, QUERN_E_UNSUPPORTED,
      "64 items"),
    M("tokenizer: more special tokens than positions", SHORT, "tokenizer.json", template_fills_positions,
      QUERN_E_SOURCE, "leave no room"),
    M("tokenizer: more added tokens than rows", SENTENCE, "tokenizer.json", many_added, QUERN_E_SOURCE,
      "more added tokens"),
    M("tokenizer: a token of 1,026 bytes", SENTENCE, "tokenizer.json", long_token, QUERN_E_UNSUPPORTED, "1024"),
    /* ---- vocab.txt ---- */
    V("nothing", "", "no tokens"),
    V("no unknown token", "[CLS]\n[SEP]\n", "unk_token"),
    V("a token twice", "[UNK]\n[CLS]\n[SEP]\na\na\n", "twice"),
    V("malformed UTF-8", "[UNK]\n[CLS]\n[SEP]\na\xff\n", "UTF-8"),
    M("vocab: more lines than rows", SENTENCE, "vocab.txt", more_rows, QUERN_E_SOURCE, "rows 0 to 95"),
    M("vocab: a token of 1,025 bytes", SENTENCE, "vocab.txt", long_line, QUERN_E_UNSUPPORTED, "1024"),
    M("vocab: the file is a directory", SENTENCE, "vocab.txt", directory, QUERN_E_IO, "directory"),
    /* ---- safetensors ---- */
    S("a dimension of -32", ENTRY("a", "F32", "[-32,32]", "[0,4096]"), "whole number"),
    S("a dimension of 1e18", ENTRY("a", "F32", "[1e18,1]", "[0,4096]"), "whole number"),
    S("dimensions that wrap", ENTRY("a", "F32", "[1e15,1e15]", "[0,4096]"), "larger than any file"),
    S("dimensions that wrap to 0", ENTRY("a", "F32", "[4294967296,4294967296]", "[0,0]"), "larger than any file"),
    S("a size that wraps", ENTRY("a", "F32", "[4611686018427387904]", "[0,0]"), "whole number"),
    S("a shape as text", ENTRY("a", "F32", "\"32,32\"", "[0,4096]"), "malformed"),
    S("a type as a number", "\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}", "malformed"),
    S("offsets backwards", ENTRY("a", "F32", "[32,32]", "[4096,0]"), "not a range"),
    S("offsets of -8", ENTRY("a", "F32", "[32,32]", "[-8,4088]"), "not a range"),
    S("three offsets", ENTRY("a", "F32", "[32,32]", "[0,4096,8192]"), "malformed"),
    S("an offset past the end", ENTRY("a", "F32", "[32,32]", "[61440,65540]"), "ends at byte"),
    S("an offset of 9e15", ENTRY("a", "F32", "[32,32]", "[0,9e15]"), "ends at byte"),
    S("a tensor over another", ENTRY("a", "F32", "[8]", "[0,32]") "," ENTRY("b", "F32", "[8]", "[28,60]"), "overlap"),
    S("a size that is not its shape's", ENTRY("a", "F32", "[32,32]", "[0,2048]"), "do not fit"),
    S("a name twice", ENTRY("a", "F32", "[8]", "[0,32]") "," ENTRY("a", "F32", "[8]", "[32,64]"), "twice"),
    S("a NUL in a name", ENTRY("a\\u0000b", "F32", "[8]", "[0,32]"), "NUL"),
    S("a header that is no JSON", "\"a\":", "no JSON value"),
    M("safetensors: a header of -8", SENTENCE, "model.safetensors", header_wraps, QUERN_E_SOURCE, "cut short"),
    M("safetensors: a header of 2^63", SENTENCE, "model.safetensors", header_negative, QUERN_E_SOURCE, "cut short"),
    M("safetensors: a header past the end", SENTENCE, "model.safetensors", header_past_end, QUERN_E_SOURCE,
      "cut short"),
    M("safetensors: a header of 8 MiB and a byte", SENTENCE, "model.safetensors", header_too_long, QUERN_E_LIMIT,
      "limit"),
    M("safetensors: 7 bytes", SENTENCE, "model.safetensors", header_missing, QUERN_E_SOURCE, "7 bytes"),
    M("safetensors: nothing", SENTENCE, "model.safetensors", empty_file, QUERN_E_SOURCE, "0 bytes"),
    /* ---- files that are none, and files elsewhere ---- */
    M("file: config.json is a FIFO", SENTENCE, "config.json", fifo, QUERN_E_IO, "regular"),
    M("file: the weights are a FIFO", SENTENCE, "model.safetensors", fifo, QUERN_E_IO, "regular"),
    M("file: the weights are a directory", SENTENCE, "model.safetensors", directory, QUERN_E_IO, "directory"),
    M("file: the weights are a link to themselves", SENTENCE, "model.safetensors", link_loop, QUERN_E_IO,
      "symbolic links"),
    M("file: the weights are a link to /dev/zero", SENTENCE, "model.safetensors", link_to_zeros, QUERN_E_IO, "regular"),
    M("file: the weights are a link to nothing", SENTENCE, "model.safetensors", link_to_nothing, QUERN_E_SOURCE,
      "neither"),
    M("file: the weights are a link to another kind of file", SENTENCE, "model.safetensors", link_to_passwd,
      QUERN_E_SOURCE, "safetensors"),
    M("file: config.json is a link to another kind of file", SENTENCE, "config.json", link_to_passwd, QUERN_E_SOURCE,
      "line 1, column 1: no JSON value"),
    I("../../etc/passwd", "../../etc/passwd", "plain file name"),
    I("an absolute path", "/etc/passwd", "plain file name"),
    I("a path below", "a/b.safetensors", "plain file name"),
    I("the directory itself", ".", "plain file name"),
    I("another system's path", "..\\\\secret", "plain file name"),
    I("a name cut by a NUL", "model\\u0000-00001", "plain file name"),
    I("the index itself", "model.safetensors.index.json", "safetensors file"),
    I("the config", "config.json", "safetensors file"),
    I("a shard that is not there", "model-00009-of-00002.safetensors", "is missing"),
    I("the other shard", "model-00002-of-00002.safetensors", "is not in"),
    {"index: a file as a number", SHARDS, "model.safetensors.index.json", NULL, "{\"weight_map\": {\"a\": 1}}", NULL,
     QUERN_E_SOURCE, "plain file name"},
    {"index: an empty map", SHARDS, "model.safetensors.index.json", NULL, "{\"weight_map\": {}}", NULL, QUERN_E_SOURCE,
     "weight_map"},
    {"index: a map as a list", SHARDS, "model.safetensors.index.json", NULL, "{\"weight_map\": []}", NULL,
     QUERN_E_SOURCE, "weight_map"},
    M("index: 1,100 files", SHARDS, "model.safetensors.index.json", many_shards, QUERN_E_LIMIT, "1024 files"),
    M("index: a link to itself", SHARDS, "model.safetensors.index.json", link_loop, QUERN_E_IO, "symbolic links"),
    {"modules: a path upwards", SENTENCE, "modules.json", "1_Pooling", "../1_Pooling", NULL, QUERN_E_SOURCE,
     "plain directory"},
    {"modules: an absolute path", SENTENCE, "modules.json", "1_Pooling", "/etc", NULL, QUERN_E_SOURCE,
     "plain directory"},
    {"modules: the same module again", SENTENCE, "modules.json", "models.Normalize", "models.Pooling", NULL,
     QUERN_E_UNSUPPORTED, "order"},
    {"modules: the transformer elsewhere", SENTENCE, "modules.json", "\"path\": \"\"", "\"path\": \"/etc\"", NULL,
     QUERN_E_UNSUPPORTED, "/etc"},
    {"dense: inputs of -1", DENSE, "2_Dense/config.json", "\"in_features\": 32", "\"in_features\": -1", NULL,
     QUERN_E_SOURCE, "in_features"},
    {"dense: outputs of 1e18", DENSE, "2_Dense/config.json", "\"out_features\": 7", "\"out_features\": 1e18", NULL,
     QUERN_E_SOURCE, "out_features"},
    {"dense: outputs of 65536", DENSE, "2_Dense/config.json", "\"out_features\": 7", "\"out_features\": 65536", NULL,
     QUERN_E_SOURCE, "shape"},
    {"sentence: a length of -1", SENTENCE, "sentence_bert_config.json", "48", "-1", NULL, QUERN_E_SOURCE,
     "max_seq_length"},
};

/* ---- refusing them ---- */

static void make_source(base_kind kind, int with_tokenizer) {
  tiny_options o = tiny_defaults();
  if (kind == HEAD) o.labels = 3;
  if (kind == SHARDS) o.shards = 2;
  if (kind == DENSE) o.dense = 7;
  if (kind == SHORT) o.model_type = "mpnet", o.positions = 32, o.max_seq = 0;
  fresh(&o);
  if (with_tokenizer) CHECK(tiny_text(dir, "tokenizer.json", tokenizer));
}

static size_t bytes_below(const char *at, int level) {
  char path[1024];
  size_t total = 0;
  DIR *d = opendir(at);
  for (struct dirent *e; d && (e = readdir(d));) {
    struct stat st;
    if (e->d_name[0] == '.' || (size_t)snprintf(path, sizeof path, "%s/%s", at, e->d_name) >= sizeof path) continue;
    if (lstat(path, &st)) continue;
    total += S_ISDIR(st.st_mode) ? level ? bytes_below(path, level - 1) : 0 : (size_t)st.st_size;
  }
  if (d) closedir(d);
  return total;
}

static void quantize(hostile_refusal *r, const char *recipe) {
  quern_quantize_options o;
  quern_quantize_options_init(&o, sizeof o);
  o.recipe = recipe;
  snprintf(out, sizeof out, "%s/m.qrn", dir);
  *r = (hostile_refusal){.stage = NOWHERE};
  hostile_begin();
  const quern_status status = quern_quantize_file(hostile_context, dir, out, &o, NULL);
  hostile_end(r);
  if (status != QUERN_OK) hostile_note(r, AT_QUANTIZE, status);
}

static void good_sources_pass(void) {
  for (int kind = SENTENCE; kind <= SHORT; kind++)
    for (int json = 0; json < 2; json++) {
      hostile_refusal r;
      make_source((base_kind)kind, json);
      quantize(&r, "int8");
      CHECK(hostile_as_said("a good source", &r, NOWHERE, QUERN_OK, "", SIZE_MAX));
    }
}

static void every_row_is_refused(void) {
  const size_t count = sizeof rows / sizeof rows[0];
  for (size_t i = 0; i < 2 * count; i++) {
    const row *w = &rows[i / 2];
    char path[512];
    hostile_refusal r;
    make_source(w->base, !strcmp(w->file, "tokenizer.json"));
    snprintf(path, sizeof path, "%s/%s", dir, w->file);
    if (w->from) {
      CHECK(edit(w->file, w->from, w->to));
    } else {
      unlink(path);
      if (w->make)
        w->make(path);
      else if (!strcmp(w->file, "model.safetensors")) /* a header; there are 64 KiB of data */
        header_of(path, strlen(w->to), w->to, 8 + strlen(w->to) + 65536);
      else
        CHECK(tiny_text(dir, w->file, w->to));
    }
    struct stat st = {0};
    const int files = tiny_dir_count(dir);
    const size_t file_bytes = !stat(path, &st) && S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
    quantize(&r, i % 2 ? "int8" : "float");
    CHECK(
        hostile_as_said(w->name, &r, AT_QUANTIZE, w->status, w->words, refusal_plan(bytes_below(dir, 1), file_bytes)));
    CHECK(strstr(r.message, "root:") == NULL); /* of a file elsewhere nothing is told */
    CHECK_EQ(tiny_dir_count(dir), files);
    rmdir(path);
  }
  printf("  %zu malicious sources\n", count);
}

/* NaN and infinity in any of the weights. */
static void every_poisoned_tensor_is_refused(void) {
  static const char *const names[] = {
      "embeddings.word_embeddings.weight",         "embeddings.LayerNorm.bias",
      "encoder.layer.0.attention.self.query.bias", "encoder.layer.1.attention.output.LayerNorm.weight",
      "encoder.layer.1.output.dense.weight",       "classifier.weight"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    tiny_options o = tiny_defaults();
    hostile_refusal r;
    o.labels = 7;
    o.poison = names[i];
    fresh(&o);
    quantize(&r, "int8");
    CHECK(hostile_as_said(names[i], &r, AT_QUANTIZE, QUERN_E_NONFINITE, "is NaN", SIZE_MAX));
    CHECK(access(out, F_OK) != 0);
  }
}

/* Tokens of a vocabulary that share a place in its index: the time for each must not grow with those before. The hash is
   that of text/tables.h, in an index of 2^14 places. */
static void colliding_tokens_are_refused(void) {
  enum { TOKENS = 5000, ROWS = 8192 };
  char *text = malloc(TOKENS * 12 + 64);
  size_t n = (size_t)sprintf(text, "[UNK]\n[CLS]\n[SEP]\n"), found = 0;
  for (uint64_t i = 0; found < TOKENS; i++) {
    uint64_t h = 0x243F6A8885A308D3u;
    char token[9] = "";
    for (int k = 0; k < 8; k++) {
      token[k] = (char)('a' + (i >> 4 * k & 15));
      h = (h ^ (uint8_t)token[k]) * 0x9E3779B97F4A7C15u;
    }
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
    if ((h >> 32 & 16383) != 5) continue;
    n += (size_t)sprintf(text + n, "%s\n", token);
    found++;
  }
  qn_buffer section = {0};
  CHECK_EQ(qn_tokenizer_build(&env, NULL, text, n, NULL, ROWS, &section), QUERN_E_UNSUPPORTED);
  CHECK(strstr(env.error.text, "hash table") != NULL);
  free(text);
}

int main(void) {
  qn_env_init(&env, NULL, NULL, NULL, 0);
  if (!tiny_dir_make(dir, sizeof dir) || !hostile_start()) return 1;
  RUN(good_sources_pass);
  RUN(every_row_is_refused);
  RUN(every_poisoned_tensor_is_refused);
  RUN(colliding_tokens_are_refused);
  quern_context_free(hostile_context);
  tiny_dir_remove(dir);
  return TEST_END();
}
