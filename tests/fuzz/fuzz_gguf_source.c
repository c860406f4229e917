/* fuzz_gguf_source.c - a GGUF file of a decoder, damaged, through the quantizer: refused with a message and no file left behind, or made
 * into a file that verifies and runs. The first byte chooses a family's good file, or none; the second options; then come changes, each a
 * place, a number of bytes and what these become; of no family all the rest is the file. */
#include "tests/fuzz/fuzz_quantize.h"
#include "tests/tiny_decoder.h"

static const char *const families[] = {"llama", "mistral", "qwen2", "gemma3", "phi2", "nomic"};
#define FAMILIES (sizeof families / sizeof families[0])
static const char *const recipes[] = {"float", "int8", "int8-g32", "int4"};
static char dir[256];
static tiny_gguf good[FAMILIES];

static void end(void) {
  for (size_t i = 0; i < FAMILIES; i++) free(good[i].data);
  tiny_dir_remove(dir);
}

/* Of LLaMA's file, so that its metadata has texts and lists of all kinds. */
static void put_tokenizer(tiny_gguf *w) {
  static const char *const tokens[] = {"a", "b", "ab", "<e>"};
  static const int32_t types[] = {1, 1, 1, 3};
  tiny_gguf_text(w, "tokenizer.ggml.model", "gpt2");
  tiny_gguf_text(w, "tokenizer.ggml.pre", "gpt-2");
  tiny_gguf_array(w, "tokenizer.ggml.tokens", 8, 4);
  for (int i = 0; i < 4; i++) tiny_gguf_string(w, tokens[i]);
  tiny_gguf_items(w, "tokenizer.ggml.token_type", 5, 4, types, sizeof types);
  tiny_gguf_array(w, "tokenizer.ggml.merges", 8, 1);
  tiny_gguf_string(w, "a b");
  tiny_gguf_int(w, "tokenizer.ggml.eos_token_id", 3);
}

static void begin(void) {
  snprintf(dir, sizeof dir, "/dev/shm/quern-fuzz-XXXXXX");
  FUZZ_NEED(mkdtemp(dir) || tiny_dir_make(dir, sizeof dir));
  for (size_t i = 0; i < FAMILIES; i++) {
    tiny_decoder o = tiny_decoder_of(families[i]);
    if (!strcmp(families[i], "llama")) o.more_keys = put_tokenizer;
    tiny_decoder_make_gguf(&good[i], &o);
  }
  atexit(end);
}

static void put_file(fuzz_input *in, uint32_t family) {
  static uint8_t file[1 << 20];
  size_t bytes = in->left < sizeof file ? in->left : sizeof file;
  if (family == FAMILIES) {
    if (bytes) memcpy(file, in->p, bytes);
  } else {
    bytes = good[family].bytes;
    FUZZ_NEED(bytes <= sizeof file);
    memcpy(file, good[family].data, bytes);
    while (in->left) {
      const size_t at = ((size_t)fuzz_u16(in) << 4 | fuzz_u8(in) % 16) % bytes;
      for (uint32_t n = fuzz_u8(in) % 8 + 1, i = 0; i < n && at + i < bytes; i++) file[at + i] = (uint8_t)fuzz_u8(in);
    }
  }
  FUZZ_NEED(tiny_file(dir, "m.gguf", file, bytes));
}

/* What was made runs; damage in the source may show as a status, never as a fault or a value that is not finite. */
static void use(quern_context *c, const char *path) {
  quern_session *s = NULL;
  quern_session_options so;
  quern_model_info info;
  quern_model *m = fuzz_open_made(c, path, &info);
  quern_session_options_init(&so, sizeof so);
  so.max_sequences = 1;
  so.max_tokens = 64;
  static const int32_t ids[] = {0, 1, 2, 1};
  const uint32_t len = 4;
  quern_tensor_view v;
  const float *logits;
  uint32_t n = 0;
  if (info.vocab > 2 && quern_session_create(&s, m, &so) == QUERN_OK) {
    if (!info.decoder) {
      (void)quern_encode(s, ids, NULL, &len, 1, &v);
    } else if (quern_decode_feed(s, 0, ids, len) == QUERN_OK && quern_decode_logits(s, 0, &logits, &n) == QUERN_OK) {
      for (uint32_t i = 0; i < n; i++) FUZZ_NEED(logits[i] - logits[i] == 0);
    }
  }
  quern_session_free(s);
  quern_model_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  fuzz_input in = {data, bytes};
  quern_quantize_options qo;
  char source[300], path[300];
  if (!dir[0]) begin();
  const uint32_t family = fuzz_below(&in, FAMILIES + 1), options = fuzz_u8(&in);
  put_file(&in, family);
  snprintf(source, sizeof source, "%s/m.gguf", dir);
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  quern_quantize_options_init(&qo, sizeof qo);
  qo.recipe = recipes[options & 3];
  if (options & 4) qo.max_bytes = (uint64_t)1 << (8 + (options >> 4 & 15));
  fuzz_quantize(source, path, &qo, options & 8 ? 1 + (options >> 4) : 0, use);
  return 0;
}
