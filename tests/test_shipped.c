/* test_shipped.c - the shipped model: its checksums hold, and its embeddings have the bytes that stand here, on every kernel set, any
 * number of threads, alone or in a batch, with every compiler. When a numeric definition changes on purpose, the hash printed
 * by the failing test replaces the one below. */
#include <stdlib.h>

#include "base/hash.h"
#include "quern.h"
#include "test.h"

#define PATH "models/all-MiniLM-L6-v2.int8.qrn"
#define WIDTH 384
#define EXPECTED 0x2d11bb69d7b2d297ull

static const char *const texts[] = {
    "A dripping tap is usually a worn washer.",
    "",
    "How do I stop the faucet from leaking?",
    "\xc3\x9c"
    "ber den Wolken mu\xc3\x9f die Freiheit wohl grenzenlos sein \xe2\x80\x94 \xe4\xbd\xa0\xe5\xa5\xbd, "
    "\xf0\x9f\x98\x80!",
    "Eine zweite Zeile, damit der Stapel ungleich lang ist, und noch ein paar W\xc3\xb6rter, bis sie mehr Token hat "
    "als ein "
    "Block von vierundsechzig Schl\xc3\xbcsseln fa\xc3\x9ft: one, two, three, four, five, six, seven, eight, nine, "
    "ten, eleven, "
    "twelve, thirteen, fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty, twenty-one.",
};
enum { TEXTS = sizeof texts / sizeof *texts };

static char joined[2048];
static int64_t offsets[TEXTS + 1];

static quern_model *open_model(quern_context **c, const char *isa, uint32_t threads) {
  quern_context_options o;
  quern_model *m = NULL;
  quern_context_options_init(&o, sizeof o);
  o.isa = isa;
  o.threads = threads;
  CHECK_EQ(quern_context_create(c, &o), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, *c, PATH, NULL), QUERN_OK);
  return m;
}

/* All texts in one batch, or one call each. */
static uint64_t embed_hash(quern_model *m, int batch) {
  static float out[TEXTS][WIDTH];
  quern_session *s = NULL;
  memset(out, 0, sizeof out);
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  if (batch) CHECK_EQ(quern_embed_batch(s, joined, offsets, TEXTS, out[0], TEXTS * WIDTH, NULL), QUERN_OK);
  for (int i = 0; !batch && i < TEXTS; i++)
    CHECK_EQ(quern_embed(s, texts[i], strlen(texts[i]), out[i], WIDTH, NULL), QUERN_OK);
  quern_session_free(s);
  return qn_xxh64(out, sizeof out, 0);
}

static void test_verifies(void) {
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_model_options o;
  quern_model_options_init(&o, sizeof o);
  o.flags = QUERN_OPEN_VERIFY;
  CHECK_EQ(quern_context_create(&c, NULL), QUERN_OK);
  CHECK_EQ(quern_model_open(&m, c, PATH, &o), QUERN_OK);
  quern_model_free(m);
  quern_context_free(c);
}

static void test_bytes(void) {
  for (uint32_t isa = 0; quern_isa_name(isa); isa++) {
    for (uint32_t threads = 1; threads <= (isa ? 8u : 2u); threads++) {
      quern_context *c = NULL;
      quern_model *m = open_model(&c, quern_isa_name(isa), threads);
      if (!m) return;
      const uint64_t hash = embed_hash(m, (int)threads % 2);
      if (hash != EXPECTED)
        printf("  %s, %u threads: 0x%llx\n", quern_isa_name(isa), threads, (unsigned long long)hash);
      CHECK(hash == EXPECTED);
      quern_model_free(m);
      quern_context_free(c);
    }
  }
}

/* The two about taps are nearer to each other than to anything else. */
static void test_makes_sense(void) {
  quern_context *c = NULL;
  quern_model *m = open_model(&c, NULL, 1);
  quern_session *s = NULL;
  static float out[TEXTS][WIDTH];
  CHECK_EQ(quern_session_create(&s, m, NULL), QUERN_OK);
  CHECK_EQ(quern_embed_batch(s, joined, offsets, TEXTS, out[0], TEXTS * WIDTH, NULL), QUERN_OK);
  const float near = quern_dot(c, out[0], out[2], WIDTH);
  CHECK(near > 0.4f);
  for (int i = 0; i < TEXTS; i++) {
    const float length = quern_dot(c, out[i], out[i], WIDTH);
    CHECK(length > 0.99999f && length < 1.00001f);
    if (i != 0 && i != 2) CHECK(quern_dot(c, out[0], out[i], WIDTH) < near - 0.2f);
  }
  quern_session_free(s);
  quern_model_free(m);
  quern_context_free(c);
}

int main(void) {
  for (int i = 0; i < TEXTS; i++) {
    strcat(joined, texts[i]);
    offsets[i + 1] = (int64_t)strlen(joined);
  }
  RUN(test_verifies);
  RUN(test_bytes);
  RUN(test_makes_sense);
  return TEST_END();
}
