/* batch.c - embeds many texts in one call and measures it: the batch interface, the session's memory told beforehand,
 * messages and clean-up on every path.  batch MODEL.qrn < LINES
 *
 * Texts are given as one buffer and n + 1 offsets, the layout of an Apache Arrow string column: nothing is copied and
 * no padding is computed, whatever the mix of lengths. */
#include <quern.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_TEXTS = 100000, MAX_BYTES = 16 << 20 };

int main(int argc, char **argv) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *s = NULL;
  quern_session_options so;
  quern_model_info info = {.size = sizeof info};
  quern_stats stats = {.size = sizeof stats};
  size_t n = 0, used = 0, start = 0, workspace_bytes = 0;
  char why[512] = "out of memory", *text = malloc(MAX_BYTES);
  int64_t *offsets = malloc((MAX_TEXTS + 1) * sizeof *offsets);
  float *out = NULL;
  int code = 1;

  if (argc != 2) {
    fprintf(stderr, "usage: batch MODEL.qrn < LINES\n");
    goto cleanup;
  }
  if (!text || !offsets) goto failed;

  /* Lines become one buffer without the newlines, and offsets. */
  offsets[0] = 0;
  for (int ch = getchar(); ch != EOF && used < MAX_BYTES && n < MAX_TEXTS; ch = getchar()) {
    if (ch != '\n')
      text[used++] = (char)ch;
    else
      offsets[++n] = (int64_t)used, start = used;
  }
  if (used > start && n < MAX_TEXTS) offsets[++n] = (int64_t)used;
  if (n == 0) {
    fprintf(stderr, "batch: no lines\n");
    goto cleanup;
  }

  if (quern_context_create(&c, NULL)) goto failed;
  if (quern_model_open(&m, c, argv[1], NULL) || quern_model_get_info(m, &info)) goto failed;
  quern_session_options_init(&so, sizeof so);
  so.max_tokens = 4096;
  if (quern_session_bytes(m, &so, &workspace_bytes) || quern_session_create(&s, m, &so)) goto failed;
  out = malloc(n * info.embedding_width * sizeof *out);
  if (!out) goto failed;
  if (quern_embed_batch(s, text, offsets, n, out, n * info.embedding_width, NULL)) goto failed;
  if (quern_session_get_stats(s, &stats)) goto failed;

  printf("%zu texts, %llu tokens -> %zu x %u floats with %s, %u threads\n", n, (unsigned long long)stats.tokens, n,
         (unsigned)info.embedding_width, quern_context_isa(c), (unsigned)quern_context_threads(c));
  printf("%.1f ms in the layers; the session took %zu bytes, as told beforehand\n", (double)stats.ns_encode / 1e6,
         workspace_bytes);
  code = 0;
  goto cleanup;

failed:
  if (s)
    quern_session_error(s, why, sizeof why);
  else if (c)
    quern_context_error(c, why, sizeof why);
  fprintf(stderr, "batch: %s\n", why);
cleanup:
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
  free(out);
  free(offsets);
  free(text);
  return code;
}
