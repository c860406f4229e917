/* generate.c - continues a text, printing it as it comes; Ctrl-C ends it. */
#include <quern.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static quern_session *s;

static void interrupt(int number) { (void)number, quern_session_cancel(s); }

static int32_t print(void *user, int32_t id, const char *utf8, size_t len) {
  (void)user, (void)id;
  return fwrite(utf8, 1, len, stdout) != len || fflush(stdout) != 0; /* nobody reads: end */
}

int main(int argc, char **argv) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session_options so;
  quern_generate_options go;
  int32_t ids[1024];
  size_t n = 0;
  char why[512] = "usage: generate MODEL.qrn TEXT";
  quern_session_options_init(&so, sizeof so);
  quern_generate_options_init(&go, sizeof go);
  go.max_new = 200;
  so.max_sequences = 1;
  so.cache_tokens = 1024 + go.max_new;
  int ok = argc == 3 && !quern_context_create(&c, NULL) && !quern_model_open(&m, c, argv[1], NULL) &&
           !quern_tokenize(m, argv[2], strlen(argv[2]), 0, ids, 1024, &n) && !quern_session_create(&s, m, &so);
  if (ok) signal(SIGINT, interrupt);
  ok = ok && !quern_decode_feed(s, 0, ids, (uint32_t)n) && !quern_generate(s, 0, &go, print, NULL, NULL);
  if (!ok && s) quern_session_error(s, why, sizeof why);
  if (!ok && c && !s) quern_context_error(c, why, sizeof why);
  if (!ok) fprintf(stderr, "generate: %s\n", why);
  if (ok) puts("");
  signal(SIGINT, SIG_DFL);
  quern_session_free(s), quern_model_free(m), quern_context_free(c);
  return !ok;
}
