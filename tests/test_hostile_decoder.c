/* test_hostile_decoder.c - malicious .qrn files of decoders, each made from a good one by a row of a table, their checksums put right:
 * refused with a status and a message when they are opened, before memory is taken on the file's word. */
#define _GNU_SOURCE
#include "hostile_qrn.h"
#include "tiny_decoder.h"

/* The memory that opening a file may take: no more than the file, and a page for the model itself. */
static size_t open_plan(size_t bytes) { return bytes + 4096; }

static char dir[256];
typedef struct base_file {
  uint8_t *data;
  size_t bytes;
} base_file;
enum { GEMMA, GEMMA4, STEPPED, LLAMA, PHI, NOMIC, EMBEDDER, BASES };
static base_file bases[BASES];

static void make_base(base_file *f, const char *family, const char *recipe) {
  char path[300], json[300];
  quern_quantize_options qo;
  tiny_decoder o = tiny_decoder_of(family);
  o.width = 16, o.heads = 2, o.kv_heads = strcmp(family, "nomic") && strcmp(family, "phi2") ? 1 : 2, o.ffn = 16;
  o.layers = strstr(family, "gemma") ? 2 : 1, o.vocab = 40, o.positions = 16;
  quern_quantize_options_init(&qo, sizeof qo);
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  snprintf(json, sizeof json, "%s/r.json", dir);
  CHECK(tiny_decoder_write(dir, &o) && tiny_text(dir, "r.json", recipe));
  qo.recipe = recipe[0] == '{' ? json : recipe;
  CHECK_EQ(quern_quantize_file(hostile_context, dir, path, &qo, NULL), QUERN_OK);
  uint8_t *data = tiny_read(path, &f->bytes);
  CHECK(data && posix_memalign((void **)&f->data, 64, f->bytes) == 0);
  if (data && f->data) memcpy(f->data, data, f->bytes);
  free(data);
}

static void setup(void) {
  CHECK(hostile_start());
  make_base(&bases[GEMMA], "gemma3", "int8");
  make_base(&bases[GEMMA4], "gemma3",
            "{\"name\":\"four\",\"weights\":{\"bits\":4,\"group\":32},\"activations\":{\"bits\":8},"
            "\"embeddings\":{\"bits\":4,\"group\":32}}");
  make_base(&bases[STEPPED], "gemma3",
            "{\"name\":\"steps\",\"weights\":{\"bits\":8},\"activations\":{\"bits\":8},\"embeddings\":{\"bits\":8},"
            "\"head\":{\"bits\":4,\"group\":32,\"minimum\":true,\"scales\":\"integer\"}}");
  make_base(&bases[LLAMA], "llama", "float");
  make_base(&bases[PHI], "phi2", "int8-g32");
  make_base(&bases[NOMIC], "nomic", "int4");
  make_base(&bases[EMBEDDER], "embeddinggemma", "int8");
}

typedef struct row {
  const char *name;
  int base;
  quern_status status;
  const char *words;
  change change[2];
} row;

#define A(base_, member, v, words_)                                                                                    \
  {                                                                                                                    \
#member " " #v, base_, QUERN_E_FORMAT, words_, { U32(ARCH, qn_arch, member, v) }                                   \
  }
#define U(base_, member, v)                                                                                            \
  {                                                                                                                    \
#member " " #v, base_, QUERN_E_UNSUPPORTED, "", { U32(ARCH, qn_arch, member, v) }                                  \
  }
#define GONE(base_, tensor, as)                                                                                        \
  {                                                                                                                    \
    "without " tensor, base_, QUERN_E_FORMAT, tensor " is missing", { RENAME(tensor, as) }                             \
  }
#define SHAPE "another type or shape"

static const row rows[] = {
    /* fields */
    A(GEMMA, bytes, 188, "architecture section"),
    A(GEMMA, heads, 3, SHAPE),
    A(GEMMA, heads, 0xFFFFFFFFu, "heads"),
    A(GEMMA, kv_heads, 2, SHAPE),
    A(GEMMA, head_dim, 15, "rotary dimensions"),
    A(GEMMA, labels, 41, "a head for tokens"),
    A(GEMMA, vocab, 41, "a head for tokens"),
    A(GEMMA, head, 3, "a span head"),
    A(GEMMA, head, 0, "labels"),
    A(GEMMA, head_pooler, 1, "a head for tokens"),
    A(GEMMA, pool, 1, "a head for tokens"),
    A(GEMMA, position_offset, 1, "no table"),
    A(GEMMA, final_norm, 2, "final norm"),
    U(GEMMA, final_norm, 0),
    A(GEMMA, rotary, 3, "rotary dimensions"),
    A(GEMMA, rotary, 18, "rotary dimensions"),
    A(GEMMA, rotary, 8, SHAPE),
    A(GEMMA, rotary, 0xFFFFFFFEu, "rotary"),
    A(GEMMA, rotary, 0, "nothing is rotated"),
    A(GEMMA, window, 0, "no window"),
    A(GEMMA, window, 0xFFFFFFFFu, "window"),
    A(GEMMA, global_every, 0xFFFFFFFFu, "global layers"),
    A(GEMMA, local_rotary, 2, "local rotary"),
    A(GEMMA, head_norm, 2, "head norm"),
    A(GEMMA, head_hadamard, 2, "head Hadamard"),
    A(GEMMA, tied, 0, "embed.tokens is missing"),
    A(GEMMA, tied, 2, "tied"),
    A(GEMMA, embed_scale, NOT_A_NUMBER, "embedding scale"),
    A(GEMMA, embed_scale, INFINITE, "embedding scale"),
    A(GEMMA, embed_scale, 1, "embedding scale"),       /* a denormal */
    A(GEMMA, score_scale, 0xbf800000u, "score scale"), /* -1 */
    A(GEMMA, score_cap, 0x80000000u, "score cap"),     /* -0 */
    A(GEMMA, logit_cap, 0x7f7fffffu, "logit cap"),     /* the largest */
    A(GEMMA, dense2, 8, "second dense"),
    A(GEMMA, dense2_activation, 4, "second dense"),
    A(GEMMA, recipe, 1, SHAPE),
    A(GEMMA, gated, 0, SHAPE),
    A(GEMMA, ffn, 32, SHAPE),
    U(GEMMA, ffn, 17),
    U(GEMMA, ffn_copies, 8),
    U(GEMMA, recipe, 3),
    U(GEMMA, causal, 0),
    U(GEMMA, no_embed_norm, 0),
    U(GEMMA, norm, 1),
    U(GEMMA, place, 1),
    U(GEMMA, types, 2),
    U(GEMMA, relative_bias, 1),
    U(GEMMA, embed_width, 8),
    U(GEMMA, reserved, 1),
    U(LLAMA, head_hadamard, 1),
    U(LLAMA, tied, 1), /* a table that nothing reads */
    U(LLAMA, place, 1),
    A(LLAMA, place, 3, "layers.0.attn.post.gain is missing"),
    A(LLAMA, head_norm, 1, "attn.q.norm.gain is missing"),
    A(LLAMA, norm, 1, "norm.bias is missing"),
    A(PHI, place, 2, "ffn.norm.gain is missing"),
    A(PHI, gated, 1, SHAPE),
    A(PHI, rotary, 2, SHAPE),
    A(NOMIC, gated, 0, SHAPE),
    A(NOMIC, rotary, 0, "embed.positions is missing"),
    U(NOMIC, causal, 1),
    U(NOMIC, final_norm, 1),
    U(NOMIC, score_cap, 0x40000000u),
    A(NOMIC, logit_cap, 0x40000000u, "without a head for tokens"),
    A(EMBEDDER, tied, 1, "without a head for tokens"),
    U(EMBEDDER, local_rotary, 0), /* frequencies that nothing reads */
    A(EMBEDDER, dense, 8, "contradict themselves"),
    /* tensors */
    GONE(GEMMA, "rotary.frequency", "rotary.frequence"),
    GONE(GEMMA, "rotary.local.frequency", "rotary.local.frequence"),
    GONE(GEMMA, "final.norm.gain", "final.norm.gone"),
    GONE(GEMMA, "layers.1.attn.post.gain", "layers.1.attn.post.gone"),
    GONE(GEMMA, "layers.0.ffn.post.gain", "layers.0.ffn.post.gone"),
    GONE(GEMMA, "layers.1.attn.k.norm.gain", "layers.1.attn.k.norm.gone"),
    GONE(GEMMA4, "head.out.weight", "head.out.weighs"),
    GONE(PHI, "final.norm.bias", "final.norm.bios"),
    {"an infinite frequency", GEMMA, QUERN_E_NONFINITE, "rotary.frequency", {FLOAT("rotary.frequency", 3, INFINITE)}},
    {"a local frequency that is no number",
     EMBEDDER,
     QUERN_E_NONFINITE,
     "rotary.local.frequency",
     {FLOAT("rotary.local.frequency", 0, NOT_A_NUMBER)}},
    {"frequencies of another shape",
     GEMMA,
     QUERN_E_FORMAT,
     "rotary.frequency",
     {IN_TENSOR("rotary.frequency", dim[0], 8, 16)}},
    {"frequencies of another type", GEMMA, QUERN_E_FORMAT, SHAPE, {IN_TENSOR("rotary.frequency", dtype, 4, QRN_I32)}},
    {"a bias of RMS norms", PHI, QUERN_E_UNSUPPORTED, "final.norm.bias", {U32(ARCH, qn_arch, norm, 2)}},
    {"a tied head in rows",
     GEMMA,
     QUERN_E_FORMAT,
     "head.out.weight",
     {IN_TENSOR("head.out.weight", layout, 4, QRN_ROWS)}},
    {"a tied head of 2 bits",
     GEMMA4,
     QUERN_E_FORMAT,
     "head.out.weight",
     {IN_TENSOR("head.out.weight", dtype, 4, QRN_U2)}},
    {"a tied head of 2 bits with steps",
     STEPPED,
     QUERN_E_FORMAT,
     "head.out.weight",
     {IN_TENSOR("head.out.weight", dtype, 4, QRN_U2)}},
    {"steps of another type", STEPPED, QUERN_E_FORMAT, "head.out.step", {IN_TENSOR("head.out.step", dtype, 4, QRN_I8)}},
    {"steps of fewer channels", STEPPED, QUERN_E_FORMAT, "head.out.step", {IN_TENSOR("head.out.step", dim[0], 8, 39)}},
    {"steps of more groups", STEPPED, QUERN_E_FORMAT, "head.out.step", {IN_TENSOR("head.out.step", dim[1], 8, 2)}},
    {"scales of groups without steps", STEPPED, QUERN_E_FORMAT, SHAPE, {RENAME("head.out.step", "head.out.stop")}},
    {"sites of another model",
     GEMMA,
     QUERN_E_FORMAT,
     "is missing",
     {RENAME("layers.1.attn.probs", "layers.1.attn.probe")}},
};

/* ---- refusing them ---- */

static void try_file(hostile_refusal *r, const uint8_t *p, size_t bytes) {
  quern_model *m = NULL;
  *r = (hostile_refusal){.stage = NOWHERE};
  hostile_begin();
  const quern_status status = quern_model_open_memory(&m, hostile_context, p, bytes, NULL);
  hostile_end(r);
  if (status != QUERN_OK) hostile_note(r, AT_OPEN, status);
  quern_model_free(m);
}

static void good_files_pass(void) {
  for (int i = 0; i < BASES; i++) {
    hostile_refusal r;
    try_file(&r, bases[i].data, bases[i].bytes);
    CHECK_EQ(r.stage, NOWHERE);
    CHECK(r.peak <= open_plan(bases[i].bytes));
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
    for (int k = 0; k < 2; k++)
      if (w->change[k].at != NO_PLACE) apply(p, f->bytes, &w->change[k]);
    qrn_seal(p, f->bytes);
    try_file(&r, p, f->bytes);
    CHECK(hostile_as_said(w->name, &r, AT_OPEN, w->status, w->words, open_plan(f->bytes)));
    free(p);
  }
  printf("  %zu malicious files\n", count);
}

/* Every bit of a file: verifying refuses it, and opening it without returns, whatever comes of it. */
static void survives_every_bit_flip(void) {
  static const int damaged[] = {GEMMA4, STEPPED, NOMIC};
  for (int b = 0; b < 3; b++) {
    const base_file *f = &bases[damaged[b]];
    uint32_t accepted = 0, opened = 0;
    for (size_t i = 0; i < f->bytes * 8; i++) {
      quern_model *m = NULL;
      quern_model_options o;
      quern_model_options_init(&o, sizeof o);
      f->data[i / 8] ^= (uint8_t)(1u << (i % 8));
      if (quern_model_open_memory(&m, hostile_context, f->data, f->bytes, &o) == QUERN_OK) {
        quern_model_info info = {.size = sizeof info};
        opened += quern_model_get_info(m, &info) == QUERN_OK && info.placement && info.norm && info.activation;
        quern_model_free(m);
        o.flags = QUERN_OPEN_VERIFY;
        accepted += quern_model_open_memory(&m, hostile_context, f->data, f->bytes, &o) == QUERN_OK;
      }
      f->data[i / 8] ^= (uint8_t)(1u << (i % 8));
    }
    CHECK(accepted == 0 && opened > 0);
  }
}

/* Steps are not read when a file is opened: whatever they are, tokens come in and logits out, or a status. */
static void runs_any_steps(void) {
  const base_file *f = &bases[STEPPED];
  qrn_tensor *t = tensor_of(f->data, "head.out.step");
  CHECK(t != NULL);
  for (uint32_t v = 0; t && v < 256; v += 5) {
    static const int32_t ids[] = {1, 2, 3, 39};
    const float *logits = NULL;
    quern_model *m = NULL;
    quern_session *s = NULL;
    quern_session_options so;
    quern_session_options_init(&so, sizeof so);
    so.max_sequences = 1, so.cache_tokens = so.max_tokens = 16;
    memset(qrn_section_at(f->data, QRN_DATA) + t->offset, (int)v, t->bytes);
    CHECK_EQ(quern_model_open_memory(&m, hostile_context, f->data, f->bytes, NULL), QUERN_OK);
    CHECK_EQ(quern_session_create(&s, m, &so), QUERN_OK);
    quern_status status = quern_decode_feed(s, 0, ids, 4);
    if (status == QUERN_OK) status = quern_decode_logits(s, 0, &logits, NULL);
    CHECK(status == QUERN_OK || status == QUERN_E_NONFINITE);
    for (uint32_t i = 0; status == QUERN_OK && i < 40; i++) CHECK(logits[i] - logits[i] == 0);
    quern_session_free(s);
    quern_model_free(m);
  }
}

int main(void) {
  if (!tiny_dir_make(dir, sizeof dir)) return 1;
  RUN(setup);
  RUN(good_files_pass);
  RUN(every_row_is_refused);
  RUN(survives_every_bit_flip);
  RUN(runs_any_steps);
  for (int i = 0; i < BASES; i++) free(bases[i].data);
  quern_context_free(hostile_context);
  tiny_dir_remove(dir);
  return TEST_END();
}
