/* generate.c - continues a text, printing it as it comes; Ctrl-C ends it. generate MODEL.qrn TEXT */
#include <quern.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static quern_session *running;

static void on_interrupt(int number) {
  (void)number;
  quern_session_cancel(running);
}

static int32_t print(void *user, int32_t id, const char *utf8, size_t len) {
  (void)user, (void)id;
  fwrite(utf8, 1, len, stdout);
  return fflush(stdout) != 0; /* nobody reads on: end */
}

static quern_status generate(quern_model *m, const char *text) {
  quern_session_options so;
  quern_generate_options go;
  int32_t ids[1024];
  size_t n = 0;
  quern_status s = quern_tokenize(m, text, strlen(text), 0, ids, 1024, &n);
  if (s != QUERN_OK) return s;
  quern_session_options_init(&so, sizeof so);
  so.max_sequences = 1;
  so.cache_tokens = (uint32_t)n + 200;
  s = quern_session_create(&running, m, &so);
  if (s != QUERN_OK) return s;
  signal(SIGINT, on_interrupt);
  quern_generate_options_init(&go, sizeof go);
  go.max_new = 200;
  s = quern_decode_feed(running, 0, ids, (uint32_t)n);
  if (s == QUERN_OK) s = quern_generate(running, 0, &go, print, NULL, NULL);
  puts("");
  if (s != QUERN_OK) {
    char why[256];
    quern_session_error(running, why, sizeof why);
    fprintf(stderr, "%s\n", why);
  }
  signal(SIGINT, SIG_DFL);
  quern_session_free(running);
  return s;
}

int main(int argc, char **argv) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  if (argc != 3 || quern_context_create(&c, NULL) != QUERN_OK) return 2;
  quern_status s = quern_model_open(&m, c, argv[1], NULL);
  if (s == QUERN_OK) s = generate(m, argv[2]);
  if (s != QUERN_OK) fprintf(stderr, "generate: %s\n", quern_status_name(s));
  quern_model_free(m);
  quern_context_free(c);
  return s != QUERN_OK;
}
