/* test_hostile_file.c - malicious .qrn files, each made from a good one by a row of a table, their checksums put right so that
 * the check behind them is reached: refused with a status and a message, before memory is taken on the file's word. */
#define _GNU_SOURCE
#include <math.h>
#include "hostile_qrn.h"
#include "tiny_model.h"
#include "transformed.h"

/* The memory that opening a file may take: no more than the file, and a page for the model itself. */
static size_t open_plan(size_t bytes) { return bytes + 4096; }

static char dir[256];
typedef struct base_file {
  uint8_t *data;
  size_t bytes;
} base_file;
enum { CLASSIFIER, EMBEDDER, FLOATS, TRANSFORMED, DENSE, BASES };
static base_file bases[BASES];

/* tr: NULL, or how inputs are transformed. */
static void make_base(base_file *f, const tiny_options *o, const char *recipe, const transformed_options *tr) {
  char path[300], plain[300];
  quern_quantize_options qo;
  quern_quantize_options_init(&qo, sizeof qo);
  qo.recipe = recipe;
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  CHECK(tiny_model_write(dir, o));
  snprintf(plain, sizeof plain, "%s/plain.qrn", dir);
  CHECK_EQ(quern_quantize_file(hostile_context, dir, tr ? plain : path, &qo, NULL), QUERN_OK);
  if (tr) CHECK(transformed_write(plain, path, tr));
  f->data = tiny_read(path, &f->bytes);
  CHECK(f->data != NULL);
}

static void setup(void) {
  tiny_options o = tiny_defaults();
  const transformed_options signs = {16, TRANSFORMED_SIGNS, 0, 4, 0.9f, 0}, dense = {16, TRANSFORMED_DENSE, 0, 6, 0, 0};
  o.heads = 2, o.ffn = 48, o.layers = 1, o.positions = 16, o.max_seq = 12, o.labels = 3;
  o.model_type = "electra", o.embed_width = 5, o.labels = 3;
  CHECK(hostile_start());
  make_base(&bases[TRANSFORMED], &o, "int8", &signs);
  make_base(&bases[DENSE], &o, "int8", &dense);
  o.width = 8, o.ffn = 16;
  make_base(&bases[CLASSIFIER], &o, "int8", NULL);
  o.model_type = "mpnet", o.embed_width = 0, o.labels = 0, o.dense = 7;
  make_base(&bases[EMBEDDER], &o, "int8", NULL);
  o.model_type = "electra", o.dense = 0, o.labels = 3;
  make_base(&bases[FLOATS], &o, "float", NULL);
}

/* ---- rows ---- */

typedef struct row {
  const char *name;
  int base;
  hostile_stage stage;
  quern_status status;
  const char *words;
  change change[2];
} row;

#define F(name_, words_, ...)                                                                                          \
  {                                                                                                                    \
    name_, CLASSIFIER, AT_OPEN, QUERN_E_FORMAT, words_, { __VA_ARGS__ }                                                \
  }
#define A(member, v, words_) F("arch: " #member " " #v, words_, U32(ARCH, qn_arch, member, v))
#define UNSUPPORTED(member, v)                                                                                         \
  {                                                                                                                    \
    "arch: " #member " " #v, CLASSIFIER, AT_OPEN, QUERN_E_UNSUPPORTED, "", { U32(ARCH, qn_arch, member, v) }           \
  }
/* What a later version may bring. */
#define LATER(name_, words_, ...)                                                                                      \
  {                                                                                                                    \
    name_, CLASSIFIER, AT_OPEN, QUERN_E_UNSUPPORTED, words_, { __VA_ARGS__ }                                           \
  }
#define T(member, v, words_) F("tokenizer: " #member " " #v, words_, U32(TOKENIZER, qn_tok_header, member, v))
#define NUMBERS(base_, t, i, bits)                                                                                     \
  {                                                                                                                    \
    "value: " t " " #bits, base_, AT_RUN, QUERN_E_NONFINITE, "NaN or infinity", { FLOAT(t, i, bits) }                  \
  }
#define UP "layers.0.ffn.up"
#define TR(name_, words_, ...)                                                                                         \
  {                                                                                                                    \
    "transform: " name_, TRANSFORMED, AT_OPEN, QUERN_E_FORMAT, words_, { __VA_ARGS__ }                                 \
  }
/* Of a tensor of its input. */
#define BYTES(suffix, at_, n, v)                                                                                       \
  { .at = VALUE, .name = UP suffix, .field = (at_), .bytes = (n), .value = (v) }
#define SITE_OF(i, member, v)                                                                                          \
  { .at = SITE, .which = (i), .field = offsetof(qrn_site, member), .bytes = 4, .value = (v) }
#define TOP (~(uint64_t)0)
#define SIZES "not what its header tells"
#define RANGE "out of range"

static const row rows[] = {
    /* ---- header ---- */
    F("header: a text-mode transfer", "text-mode", AT(HEADER, 4, 1, '\n')),
    {"header: version 0",
     CLASSIFIER,
     AT_OPEN,
     QUERN_E_VERSION,
     "quantize the model again",
     {U32(HEADER, qrn_header, version, 0)}},
    {"header: version -1",
     CLASSIFIER,
     AT_OPEN,
     QUERN_E_VERSION,
     "use a later one",
     {U32(HEADER, qrn_header, version, ~0u)}},
    LATER("header: size 0", "later one", U32(HEADER, qrn_header, header_bytes, 0)),
    F("header: longer than the file by 2^63", "cut off", U64(HEADER, qrn_header, file_bytes, (uint64_t)1 << 63)),
    F("header: shorter than the file", "its header says", U64(HEADER, qrn_header, file_bytes, 64)),
    F("header: 2^32 - 1 sections", "section table", U32(HEADER, qrn_header, section_count, ~0u)),
    F("header: sections whose table wraps 32 bits", "section table", U32(HEADER, qrn_header, section_count, 1u << 27)),
    F("header: no sections", "do not end", U32(HEADER, qrn_header, section_count, 0)),
    F("header: one section less", "do not end", U32(HEADER, qrn_header, section_count, 5)),
    LATER("header: a need", "later one", U32(HEADER, qrn_header, needs, 1u << 31)),
    {"header: checksum", CLASSIFIER, AT_OPEN, QUERN_E_CHECKSUM, "header's checksum", {AT(RAW, 56, 4, 1)}},
    /* ---- section table ---- */
    F("section: offset -64", "overlap", IN_SECTION(QRN_DATA, offset, 8, TOP - 63)),
    F("section: size -1", "overlap", IN_SECTION(QRN_TENSORS, bytes, 8, TOP)),
    F("section: offset and size wrap", "overlap", IN_SECTION(QRN_DATA, bytes, 8, TOP - 4095)),
    F("section: one over another", "overlap", IN_SECTION(QRN_SITES, offset, 8, 256)),
    F("section: over the header", "overlap", IN_SECTION(QRN_META, offset, 8, 0)),
    F("section: kind twice", "not in order", IN_SECTION(QRN_ARCH, kind, 4, QRN_META)),
    F("section: kind 0", "not in order", IN_SECTION(QRN_META, kind, 4, 0)),
    LATER("section: kind negative", "a section is not known", IN_SECTION(QRN_DATA, kind, 4, 0x80000006u)),
    LATER("section: flags", "a section is not known", IN_SECTION(QRN_DATA, flags, 4, 1)),
    F("section: a gap behind it", "overlap", IN_SECTION(QRN_META, bytes, 8, 8)),
    {"section: DATA's checksum",
     CLASSIFIER,
     AT_VERIFY,
     QUERN_E_CHECKSUM,
     "section DATA",
     {{.at = RAW, .name = "DATA", .bytes = 1, .value = 0x55}}},
    /* ---- META ---- */
    F("meta: 2^32 - 1 entries", "too many", AT(META, 0, 4, ~0u)),
    F("meta: one entry more", "malformed", AT(META, 0, 4, 65536)),
    F("meta: one entry less", "goes on", AT(META, 0, 4, 1)),
    F("meta: reserved", "no head", AT(META, 4, 4, 1)),
    F("meta: key of 2^32 - 1", "malformed", AT(META, 8, 4, ~0u)),
    F("meta: key that wraps when padded", "malformed", AT(META, 8, 4, 0xFFFFFFF8u)),
    F("meta: key of nothing", "malformed", AT(META, 8, 4, 0)),
    F("meta: value of -1", "malformed", AT(META, 16, 8, TOP)),
    F("meta: value that wraps when padded", "malformed", AT(META, 16, 8, TOP - 7)),
    F("meta: type 0", "malformed", AT(META, 12, 4, 0)),
    F("meta: type -1", "malformed", AT(META, 12, 4, ~0u)),
    F("meta: a string as a number", "malformed", AT(META, 12, 4, QRN_U64)),
    F("meta: key twice", "a key twice", RENAME("general.source", "general.recipe")),
    F("meta: NUL within a key", "not terminated", AT(META, 26, 1, 0)),
    F("meta: key that does not end", "not terminated", AT(META, 24 + 20, 1, 'x')),
    /* ---- ARCH ---- */
    A(bytes, 127, "architecture section"),
    UNSUPPORTED(family, 99),
    A(layers, 0, "layers"),
    A(layers, 4096, "4096 layers in"),
    A(layers, 0xFFFFFFFFu, "layers"),
    A(width, 0, "width"),
    A(width, 65537, "width"),
    A(width, 0x80000000u, "width"),
    A(width, 9, "another type or shape"),
    F("arch: heads that do not divide", "another type or shape", U32(ARCH, qn_arch, heads, 3),
      U32(ARCH, qn_arch, kv_heads, 3)),
    F("arch: heads times size wraps", "channels", U32(ARCH, qn_arch, heads, 65536), U32(ARCH, qn_arch, head_dim, 256)),
    A(kv_heads, 1, "another type or shape"),
    A(kv_heads, 3, "do not share"),
    A(kv_heads, 0xFFFFFFFFu, "key/value heads"),
    A(kv_heads, 0, "key/value heads"),
    A(head_dim, 0, "head size"),
    A(head_dim, 0xFFFFFFFCu, "head size"),
    A(ffn, 0, "feed-forward"),
    A(ffn, 0xFFFFFFF0u, "feed-forward"),
    A(vocab, 0x80000000u, "vocabulary"),
    A(vocab, 1u << 24, "another type or shape"),
    A(vocab, 8, "another type or shape"),
    A(positions, 0, "positions"),
    A(positions, 0xFFFFFFFFu, "positions"),
    A(positions, 1u << 20, "another type or shape"),
    A(position_offset, 0xFFFFFFFEu, "position offset"),
    A(position_offset, 64, "another type or shape"),
    A(types, 0xFFFFFFFFu, "token types"),
    A(types, 65536, "another type or shape"),
    A(norm_eps, NOT_A_NUMBER, "epsilon"),
    A(norm_eps, INFINITE, "epsilon"),
    A(norm_eps, 0xbf800000u, "epsilon"),
    A(norm_eps, 0, "epsilon"),
    UNSUPPORTED(norm, 2),
    UNSUPPORTED(place, 0),
    UNSUPPORTED(place, 2),
    UNSUPPORTED(place, 5),
    UNSUPPORTED(norm, 3),
    UNSUPPORTED(activation, 4),
    UNSUPPORTED(activation, 7),
    UNSUPPORTED(activation, 0x80000001u),
    UNSUPPORTED(pool, 4),
    UNSUPPORTED(head, 5),
    UNSUPPORTED(recipe, 4),
    A(recipe, 0, "recipe"),
    A(recipe, 1, "another type or shape"),
    A(normalize, 2, "normalize"),
    A(labels, 0, "labels"),
    A(labels, 0xFFFFFFFFu, "labels"),
    A(labels, 65536, "another type or shape"),
    A(labels, 65537, "labels"),
    A(head_pooler, 2, "head pooler"),
    A(head_activation, 77, "activation"),
    A(sentence_tokens, 0, "0 tokens"),
    A(sentence_tokens, 0xFFFFFFFFu, "positions"),
    A(relative_bias, 2, "relative bias"),
    A(relative_bias, 1, "attn.relative_bias is missing"),
    A(embed_width, 0xFFFFFFFFu, "embedding width"),
    A(embed_width, 65536, "another type or shape"),
    A(dense, 0xFFFFFFFFu, "dense outputs"),
    A(dense, 5, "dense"),
    A(dense_activation, 9, "dense"),
    A(ffn_copies, 0xFFFFFFFFu, "copies"),
    A(head, 3, "a span head has 2 outputs"),
    A(causal, 2, "causal"),
    UNSUPPORTED(causal, 1),
    A(gated, 2, "gated"),
    UNSUPPORTED(gated, 1), /* with copies */
    UNSUPPORTED(no_embed_norm, 1),
    A(bytes, 124, "architecture section"),
    A(bytes, 132, "architecture section"),
    /* ---- TENSORS ---- */
    F("tensors: 2^32 - 1 of them", "size of TENSORS", AT(TENSORS, 0, 4, ~0u)),
    F("tensors: names of 2^32 - 1", "size of TENSORS", AT(TENSORS, 4, 4, ~0u)),
    F("tensors: reserved", "no head", AT(TENSORS, 8, 8, 1)),
    F("tensor: name at 2^32 - 1", "name of a tensor", IN_TENSOR("embed.norm.bias", name, 4, ~0u)),
    F("tensor: name within another", "name of a tensor", IN_TENSOR("embed.norm.bias", name, 4, 1)),
    F("tensor: name of nothing", "name of a tensor", IN_TENSOR("embed.norm.bias", name_bytes, 4, 0)),
    F("tensor: name that wraps", "name of a tensor", IN_TENSOR("embed.norm.bias", name_bytes, 4, ~0u)),
    F("tensor: name cut short", "name of a tensor", RENAME("embed.norm.bias", "embed.norm.bia\0")),
    F("tensor: name twice", "not sorted", RENAME("layers.0.ffn.norm.gain", "layers.0.ffn.norm.bias")),
    F("tensor: missing", "embed.norm.gain is missing", RENAME("embed.norm.gain", "embed.norm.gone")),
    F("tensor: type 0", "embed.norm.bias", IN_TENSOR("embed.norm.bias", dtype, 4, 0)),
    LATER("tensor: type negative", "kind of tensor embed.norm.bias",
          IN_TENSOR("embed.norm.bias", dtype, 4, 0x80000001u)),
    F("tensor: another type of the same size", "another type or shape",
      IN_TENSOR("embed.norm.bias", dtype, 4, QRN_I32)),
    LATER("tensor: layout 9", "kind of tensor embed.norm.bias", IN_TENSOR("embed.norm.bias", layout, 4, 9)),
    F("tensor: panels as rows", "head.out.weight", IN_TENSOR("head.out.weight", layout, 4, QRN_ROWS)),
    F("tensor: rank 0", "embed.norm.bias", IN_TENSOR("embed.norm.bias", rank, 4, 0)),
    F("tensor: rank 2^32 - 1", "embed.norm.bias", IN_TENSOR("embed.norm.bias", rank, 4, ~0u)),
    F("tensor: dims that wrap to the right size", "embed.norm.bias",
      IN_TENSOR("embed.norm.bias", dim[0], 8, ((uint64_t)1 << 62) + 5)),
    F("tensor: dims whose product wraps to 0", "embed.tokens", IN_TENSOR("embed.tokens", dim[0], 8, (uint64_t)1 << 32),
      IN_TENSOR("embed.tokens", dim[1], 8, (uint64_t)1 << 32)),
    F("tensor: panels that wrap when padded", "head.out.weight", IN_TENSOR("head.out.weight", dim[0], 8, TOP - 14)),
    F("tensor: dim -1", "embed.norm.bias", IN_TENSOR("embed.norm.bias", dim[0], 8, TOP)),
    F("tensor: dim 0", "embed.norm.bias", IN_TENSOR("embed.norm.bias", dim[0], 8, 0)),
    F("tensor: dims the other way round", "another type or shape", IN_TENSOR("embed.tokens", dim[0], 8, 5),
      IN_TENSOR("embed.tokens", dim[1], 8, 96)),
    F("tensor: a dim past the rank", "embed.norm.bias", IN_TENSOR("embed.norm.bias", dim[3], 8, 2)),
    F("tensor: offset -64", "embed.norm.bias", IN_TENSOR("embed.norm.bias", offset, 8, TOP - 63)),
    F("tensor: offset not aligned", "embed.norm.bias", IN_TENSOR("embed.norm.bias", offset, 8, 4)),
    F("tensor: offset past the end", "embed.norm.bias", IN_TENSOR("embed.norm.bias", offset, 8, (uint64_t)1 << 40)),
    F("tensor: size -1", "embed.norm.bias", IN_TENSOR("embed.norm.bias", bytes, 8, TOP)),
    F("tensor: size 0", "embed.norm.bias", IN_TENSOR("embed.norm.bias", bytes, 8, 0)),
    LATER("tensor: flags", "kind of tensor embed.norm.bias", IN_TENSOR("embed.norm.bias", flags, 4, 2)),
    LATER("tensor: reserved", "kind of tensor embed.norm.bias", IN_TENSOR("embed.norm.bias", reserved, 8, 1)),
    /* ---- SITES ---- */
    F("sites: 2^32 - 1 of them", "size of SITES", AT(SITES, 0, 4, ~0u)),
    F("sites: names of 0", "size of SITES", AT(SITES, 4, 4, 0)),
    F("site: name at -1", "name of a site", U32(SITE, qrn_site, name, ~0u)),
    F("site: name that wraps", "name of a site", U32(SITE, qrn_site, name_bytes, ~0u)),
    LATER("site: 5 bits", "kind of site embed.project.in", U32(SITE, qrn_site, bits, 5)),
    LATER("site: grain -1", "kind of site", U32(SITE, qrn_site, grain, ~0u)),
    F("site: no groups", "bits, grain", U32(SITE, qrn_site, groups, 0)),
    F("site: groups without a width", "bits, grain", U32(SITE, qrn_site, groups, 2)),
    F("site: more groups than channels", "has 7 groups of 32", U32(SITE, qrn_site, groups, 7),
      U32(SITE, qrn_site, group, 32)),
    LATER("site: symmetric 2", "kind of site", U32(SITE, qrn_site, symmetric, 2)),
    LATER("site: flags", "kind of site", U32(SITE, qrn_site, flags, 1)),
    LATER("site: 16 bits", "site embed.project.in is not supported", U32(SITE, qrn_site, bits, 16)),
    LATER("site: a scale for each head at a linear operator", "is not supported",
          U32(SITE, qrn_site, grain, QRN_GRAIN_TOKEN_HEAD)),
    F("site: static, without scales", "embed.project.in.scale is missing",
      U32(SITE, qrn_site, grain, QRN_GRAIN_STATIC)),
    F("site: another name", "layers.0.attn.qkv.in is missing", RENAME("layers.0.attn.qkv.in", "layers.0.attn.qkv.on")),
    LATER("tensor: one that is not known", "tensor layers.0.attn.out.bios",
          RENAME("layers.0.attn.out.bias", "layers.0.attn.out.bios")),
    /* ---- TOKENIZER ---- */
    LATER("tokenizer: kind 9", "kind 9", U32(TOKENIZER, qn_tok_header, kind, 9)),
    T(flags, 0x80000000u, SIZES),
    T(vocab, 0, SIZES),
    T(vocab, 0xFFFFFFFFu, SIZES),
    T(vocab, 0xFFFFFEu, SIZES),
    T(unk, 96, SIZES),
    T(unk, 0xFFFFFFFFu, SIZES),
    T(max_word_chars, 0, SIZES),
    T(max_word_chars, 1001, SIZES),
    T(max_word_chars, 0xFFFFFFFFu, SIZES),
    T(max_token_bytes, 1025, RANGE),
    T(max_probe, 0xFFFFFFFFu, RANGE),
    T(pattern_chars, 257, RANGE),
    T(prefix_bytes, 0xFFFFFFFFu, SIZES),
    T(slot_bits, 0, SIZES),
    T(slot_bits, 27, SIZES),
    T(slot_bits, 64, SIZES),
    T(slot_bits, 0xFFFFFFFFu, SIZES),
    T(added, 0xFFFFFFFFu, SIZES),
    T(raw, 0xFFFFFFFFu, SIZES),
    T(normalized, 0x40000000u, SIZES),
    T(single, 65, SIZES),
    T(pair, 0xFFFFFFFFu, SIZES),
    T(pool_bytes, 0xFFFFFFFFu, SIZES),
    {"template: an id past the vocabulary",
     CLASSIFIER,
     AT_RUN,
     QUERN_E_FORMAT,
     "template has id",
     {AT(TEMPLATE, 0, 4, 96)}},
    {"template: an id of 2^31 - 1",
     CLASSIFIER,
     AT_RUN,
     QUERN_E_FORMAT,
     "template has id",
     {AT(TEMPLATE, 0, 4, 0x7FFFFFFF)}},
    {"template: a token type past the table",
     CLASSIFIER,
     AT_RUN,
     QUERN_E_ARGUMENT,
     "token type",
     {AT(TEMPLATE, 4, 4, 0x7FFFFFFF)}},
    /* ---- values ---- */
    NUMBERS(CLASSIFIER, "embed.tokens.scale", 2, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "embed.positions.scale", 0, INFINITE),
    NUMBERS(CLASSIFIER, "embed.types", 0, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "embed.norm.gain", 0, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "embed.project.bias", 3, INFINITE),
    NUMBERS(CLASSIFIER, "layers.0.attn.qkv.scale", 0, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "layers.0.attn.qkv.scale", 23, INFINITE),
    NUMBERS(CLASSIFIER, "layers.0.attn.qkv.smooth", 1, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "layers.0.attn.out.bias", 1, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "layers.0.attn.norm.bias", 7, INFINITE),
    NUMBERS(CLASSIFIER, "layers.0.ffn.up.scale", 15, INFINITE),
    NUMBERS(CLASSIFIER, "layers.0.ffn.down.scale", 0, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "layers.0.ffn.norm.gain", 7, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "head.pooler.scale", 2, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "head.out.scale", 2, NOT_A_NUMBER),
    NUMBERS(CLASSIFIER, "head.out.bias", 0, INFINITE),
    NUMBERS(EMBEDDER, "pool.dense.scale", 6, NOT_A_NUMBER),
    NUMBERS(EMBEDDER, "pool.dense.bias", 0, NOT_A_NUMBER),
    {"value: attn.relative_bias",
     EMBEDDER,
     AT_OPEN,
     QUERN_E_NONFINITE,
     "attn.relative_bias",
     {FLOAT("attn.relative_bias", 15, NOT_A_NUMBER)}},
    {"value: attn.relative_bias INFINITE",
     EMBEDDER,
     AT_OPEN,
     QUERN_E_NONFINITE,
     "attn.relative_bias",
     {FLOAT("attn.relative_bias", 61, INFINITE)}},
    /* ---- inputs in another basis ---- */
    TR("order: entry -1", ".in.order", BYTES(".in.order", 4, 4, 0xffffffffu)),
    TR("order: entry past the end", ".in.order", BYTES(".in.order", 0, 4, 32)),
    TR("order: entry twice", ".in.order", BYTES(".in.order", 0, 4, 5), BYTES(".in.order", 8, 4, 5)),
    TR("signs: 0", ".in.signs: entry 3 is 0", BYTES(".in.signs", 3, 1, 0)),
    TR("signs: 2", ".in.signs: entry 31 is 2", BYTES(".in.signs", 31, 1, 2)),
    TR("signs: of another block", ".in.signs", IN_TENSOR(UP ".in.signs", dim[0], 8, 1),
       IN_TENSOR(UP ".in.signs", dim[1], 8, 32)),
    TR("signs: one row less", ".in.signs", IN_TENSOR(UP ".in.signs", dim[0], 8, 1),
       IN_TENSOR(UP ".in.signs", bytes, 8, 16)),
    TR("rotation: floats", ".in.rotation", IN_TENSOR(UP ".in.rotation", dtype, 4, QRN_F32)),
    TR("rotation: not square", ".in.rotation", IN_TENSOR(UP ".in.rotation", dim[1], 8, 15)),
    TR("clip: 0", ".in.clip", BYTES(".in.clip", 0, 4, 0)),
    TR("clip: NaN", ".in.clip", BYTES(".in.clip", 0, 4, NOT_A_NUMBER)),
    TR("clip: above 1", ".in.clip", BYTES(".in.clip", 0, 4, 0x3f800001u)),
    {"transform: signs beside a second rotation",
     DENSE,
     AT_OPEN,
     QUERN_E_FORMAT,
     "",
     {RENAME(UP ".in.rotation2", UP ".in.signs\0\0\0")}},
    {"transform: an order alone",
     DENSE,
     AT_OPEN,
     QUERN_E_UNSUPPORTED,
     UP ".in.",
     {RENAME(UP ".in.rotation", UP ".in.rotatiom"), RENAME(UP ".in.rotation2", UP ".in.rotatiom2")}},
    {"transform: 5 bits", TRANSFORMED, AT_OPEN, QUERN_E_UNSUPPORTED, "", {SITE_OF(0, bits, 5)}},
    {"transform: groups with zero points",
     TRANSFORMED,
     AT_OPEN,
     QUERN_E_UNSUPPORTED,
     "groups with zero points",
     {SITE_OF(8, groups, 2), SITE_OF(8, group, 32)}},
    {"transform: 16 bits", TRANSFORMED, AT_OPEN, QUERN_E_UNSUPPORTED, "quantization of site", {SITE_OF(0, bits, 16)}},
    {"value: a matrix of the least numbers",
     TRANSFORMED,
     NOWHERE,
     QUERN_OK,
     "",
     {BYTES(".in.rotation", 0, 4, 0x80008000u), BYTES(".in.rotation", 64, 4, 0x80008000u)}},
    NUMBERS(FLOATS, "head.out.bias", 1, NOT_A_NUMBER),
    NUMBERS(FLOATS, "head.pooler.bias", 1, NOT_A_NUMBER),
    NUMBERS(FLOATS, "layers.0.ffn.up.weight", 3, NOT_A_NUMBER),
};

/* ---- refusing them ---- */

static int runs(hostile_refusal *r, quern_model *m, int labels) {
  quern_session *s = NULL;
  quern_session_options o;
  float out[8];
  const int64_t offsets[] = {0, 11};
  quern_session_options_init(&o, sizeof o);
  o.max_tokens = 16, o.max_sequences = 1;
  quern_status status = quern_session_create(&s, m, &o);
  if (status != QUERN_OK) return hostile_note(r, AT_SESSION, status), 0;
  status = labels ? quern_classify_batch(s, "the cat sat", offsets, 1, 0, out, NULL, 8)
                  : quern_embed_batch(s, "the cat sat", offsets, 1, out, 8, NULL);
  if (status != QUERN_OK) {
    hostile_note(r, AT_RUN, status);
    quern_session_error(s, r->message, sizeof r->message);
  }
  quern_session_free(s);
  return status == QUERN_OK;
}

/* Opened, opened with its checksums read, run: how far it comes. */
static void try_file(hostile_refusal *r, const uint8_t *p, size_t bytes, int labels) {
  quern_model *m = NULL;
  quern_model_options o;
  quern_model_options_init(&o, sizeof o);
  *r = (hostile_refusal){.stage = NOWHERE};
  hostile_begin();
  for (int stage = AT_OPEN; stage <= AT_VERIFY; stage++) {
    o.flags = stage == AT_VERIFY ? QUERN_OPEN_VERIFY : 0;
    const quern_status status = quern_model_open_memory(&m, hostile_context, p, bytes, &o);
    if (status != QUERN_OK) {
      hostile_end(r);
      hostile_note(r, (hostile_stage)stage, status);
      return;
    }
    quern_model_free(m);
  }
  hostile_end(r);
  if (quern_model_open_memory(&m, hostile_context, p, bytes, NULL) == QUERN_OK) runs(r, m, labels);
  quern_model_free(m);
}

static void good_files_pass(void) {
  for (int i = 0; i < BASES; i++) {
    hostile_refusal r;
    uint8_t *p = NULL;
    CHECK(posix_memalign((void **)&p, 64, bases[i].bytes) == 0);
    memcpy(p, bases[i].data, bases[i].bytes);
    try_file(&r, p, bases[i].bytes, i != EMBEDDER);
    CHECK_EQ(r.stage, NOWHERE);
    CHECK(r.peak <= open_plan(bases[i].bytes));
    free(p);
  }
}

static void every_row_is_refused(void) {
  const size_t count = sizeof rows / sizeof rows[0];
  for (size_t i = 0; i < count; i++) {
    const row *w = &rows[i];
    const base_file *f = &bases[w->base];
    hostile_refusal r;
    uint8_t *p = NULL; /* exactly as long, so that a sanitizer sees a step past the end */
    CHECK(posix_memalign((void **)&p, 64, f->bytes) == 0);
    memcpy(p, f->data, f->bytes);
    for (int late = 0; late < 2; late++) {
      for (int k = 0; k < 2; k++)
        if (w->change[k].at != NO_PLACE && (w->change[k].at == RAW) == late) apply(p, f->bytes, &w->change[k]);
      if (!late) qrn_seal(p, f->bytes);
    }
    try_file(&r, p, f->bytes, w->base != EMBEDDER);
    CHECK(hostile_as_said(w->name, &r, w->stage, w->status, w->words, open_plan(f->bytes)));
    free(p);
  }
  printf("  %zu malicious files\n", count);
}

/* As many entries as there may be, each key twice: memory stays below the file's size. */
static void many_keys_are_refused(void) {
  const uint32_t count = 65536;
  const size_t old = bases[EMBEDDER].bytes;
  uint8_t *const from = bases[EMBEDDER].data;
  const qrn_section *s = qrn_section_of(from, QRN_META);
  const size_t start = (size_t)s->offset, end = start + (size_t)(s->bytes + 63) / 64 * 64;
  const size_t meta = 8 + (size_t)count * 32, room = (meta + 63) / 64 * 64, bytes = start + room + (old - end);
  uint8_t *p = NULL;
  CHECK(posix_memalign((void **)&p, 64, bytes) == 0);
  memset(p, 0, bytes);
  memcpy(p, from, start);
  memcpy(p + start + room, from + end, old - end);
  memcpy(p + start, &count, 4);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t head[4] = {4, QRN_STRING, 0, 0}, k = i / 2, key = 0x01010101u + (k & 127) + (k >> 7 << 8);
    memcpy(p + start + 8 + (size_t)i * 32, head, sizeof head);
    memcpy(p + start + 8 + (size_t)i * 32 + 16, &key, 4);
  }
  qrn_header *h = (qrn_header *)(void *)p;
  qrn_section *table = (qrn_section *)(void *)(p + sizeof *h);
  h->file_bytes = bytes;
  for (uint32_t i = 0; i < h->section_count; i++) {
    if (table[i].kind == QRN_META) table[i].bytes = meta;
    if (table[i].offset > start) table[i].offset += room - (end - start);
  }
  qrn_seal(p, bytes);
  hostile_refusal r;
  try_file(&r, p, bytes, 0);
  CHECK(hostile_as_said("meta: 65,536 entries, each key twice", &r, AT_OPEN, QUERN_E_FORMAT, "", open_plan(bytes)));
  free(p);
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(setup);
  if (bases[BASES - 1].data) {
    RUN(good_files_pass);
    RUN(every_row_is_refused);
    RUN(many_keys_are_refused);
  }
  quern_context_free(hostile_context);
  for (int i = 0; i < BASES; i++) free(bases[i].data);
  tiny_dir_remove(dir);
  return TEST_END();
}
