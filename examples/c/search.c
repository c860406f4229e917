/* search.c - prints the line of standard input whose meaning is closest to a question. */
#include <quern.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *s = NULL;
  float q[1024], v[1024], score, best = -2;
  uint32_t width = 0;
  char line[4096], answer[4096] = "", why[512] = "usage: search MODEL.qrn QUESTION < LINES";
  int ok = argc == 3 && !quern_context_create(&c, NULL) && !quern_model_open(&m, c, argv[1], NULL) &&
           !quern_session_create(&s, m, NULL) && !quern_embed(s, argv[2], strlen(argv[2]), q, 1024, &width);
  while (ok && fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    ok = !quern_embed(s, line, strlen(line), v, 1024, NULL);
    if (ok && (score = quern_dot(c, q, v, width)) > best) best = score, strcpy(answer, line);
  }
  if (!ok && s) quern_session_error(s, why, sizeof why);
  if (!ok && c && !s) quern_context_error(c, why, sizeof why);
  if (!ok) fprintf(stderr, "search: %s\n", why);
  if (ok && best > -2) printf("%.3f  %s\n", best, answer);
  quern_session_free(s), quern_model_free(m), quern_context_free(c);
  return !ok;
}
