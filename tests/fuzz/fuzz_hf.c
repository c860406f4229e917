/* fuzz_hf.c - a Hugging Face directory as one input, through the quantizer: refused with a message and no file left behind,
 * or made into a file that verifies and runs. Parts are separated by bytes 0xFF, in the order of `files`; an empty part is
 * a file that is not there; the header of model.safetensors gets its length and its data. The first byte chooses options. */
#include "tests/fuzz/fuzz_quantize.h"
#include "tests/tiny_model.h"

#define DATA_BYTES 6144u

static const char *const files[] = {"model.safetensors",
                                    "config.json",
                                    "tokenizer.json",
                                    "vocab.txt",
                                    "tokenizer_config.json",
                                    "modules.json",
                                    "1_Pooling/config.json",
                                    "sentence_bert_config.json",
                                    "model.safetensors.index.json",
                                    "2_Dense/model.safetensors",
                                    "2_Dense/config.json"};
#define FILES (sizeof files / sizeof files[0])

static char dir[256];

static void remove_dir(void) { tiny_dir_remove(dir); }

static void make_dir(void) {
  char path[300];
  snprintf(dir, sizeof dir, "/dev/shm/quern-fuzz-XXXXXX");
  FUZZ_NEED(mkdtemp(dir) || tiny_dir_make(dir, sizeof dir));
  snprintf(path, sizeof path, "%s/1_Pooling", dir);
  FUZZ_NEED(mkdir(path, 0777) == 0);
  snprintf(path, sizeof path, "%s/2_Dense", dir);
  FUZZ_NEED(mkdir(path, 0777) == 0);
  atexit(remove_dir);
}

static void put_weights(const char *name, const uint8_t *header, size_t bytes) {
  static uint8_t file[(1 << 20) + DATA_BYTES];
  const uint64_t n = bytes;
  if (bytes > sizeof file - 8 - DATA_BYTES) return;
  memcpy(file, &n, sizeof n);
  memcpy(file + 8, header, bytes);
  for (size_t i = 0; i < DATA_BYTES / 4; i++) { /* floats around 1 */
    const float x = (float)((int)(tiny_hash(i) % 256) - 100) / 128.0f;
    memcpy(file + 8 + bytes + 4 * i, &x, sizeof x);
  }
  FUZZ_NEED(tiny_file(dir, name, file, 8 + bytes + DATA_BYTES));
}

static void put_files(fuzz_input *in) {
  for (size_t i = 0; i < FILES; i++) {
    const uint8_t *end = in->left ? memchr(in->p, 0xFF, in->left) : NULL, *part = in->p;
    const size_t n = end ? (size_t)(end - in->p) : in->left;
    char path[300];
    in->p += n, in->left -= n;
    fuzz_u8(in);
    snprintf(path, sizeof path, "%s/%s", dir, files[i]);
    unlink(path);
    if (!n) continue;
    const char *end_of_name = strrchr(files[i], '.');
    if (!strcmp(end_of_name, ".safetensors"))
      put_weights(files[i], part, n);
    else
      FUZZ_NEED(tiny_file(dir, files[i], part, n));
  }
}

/* What was made runs; damage in the source may show as a status, never as a fault or a value that is not finite. */
static void use(quern_context *c, const char *path) {
  quern_session *s = NULL;
  quern_session_options so;
  quern_model_info info;
  quern_model *m = fuzz_open_made(c, path, &info);
  quern_session_options_init(&so, sizeof so);
  so.max_sequences = 2;
  so.max_tokens = info.max_tokens < 64 ? 64 : info.max_tokens;
  if (quern_session_create(&s, m, &so) == QUERN_OK) {
    const size_t width = info.labels ? info.labels : info.embedding_width;
    const int64_t offsets[] = {0, 5, 12};
    float *out = malloc(2 * width * sizeof *out + 1);
    FUZZ_NEED(out);
    const quern_status status = info.labels
                                    ? quern_classify_batch(s, "a abbb\xff a b", offsets, 2, 0, out, NULL, 2 * width)
                                    : quern_embed_batch(s, "a abbb\xff a b", offsets, 2, out, 2 * width, NULL);
    for (size_t i = 0; status == QUERN_OK && i < 2 * width; i++) FUZZ_NEED(out[i] - out[i] == 0);
    free(out);
  }
  quern_session_free(s);
  quern_model_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  fuzz_input in = {data, bytes};
  quern_quantize_options qo;
  char path[300];
  if (!dir[0]) make_dir();
  const uint32_t options = fuzz_u8(&in);
  put_files(&in);
  snprintf(path, sizeof path, "%s/m.qrn", dir);
  quern_quantize_options_init(&qo, sizeof qo);
  qo.recipe = options & 1 ? "int8" : "float";
  if (options & 2) qo.max_bytes = (uint64_t)16 << (options >> 4 & 15) << 4;
  fuzz_quantize(dir, path, &qo, options & 4 ? 1 + (options >> 3) : 0, use);
  return 0;
}
