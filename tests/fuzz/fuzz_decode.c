/* fuzz_decode.c - a session on a decoder: calls in any order with any arguments, and any bytes as a saved sequence, whose checksum and
 * model are put right first, or nothing would get past them. Statuses must be those that the header tells, and sequences
 * must hold what they were given. */
#include <math.h>
#include "tests/fuzz/fuzz_decoder.h"

enum { VOCAB = 80, SEQUENCES = 3, PAGES = 4 };

static fuzz_decoder decoder;

/* The rest of the input as a saved file. */
static void write_saved(fuzz_input *in) {
  size_t n;
  const uint8_t *p = fuzz_take(in, 1 << 16, &n);
  fuzz_write_saved(&decoder, p, n);
}

static int32_t on_token(void *user, int32_t id, const char *utf8, size_t len) {
  fuzz_input *in = user;
  FUZZ_NEED(id >= -1 && id < VOCAB && (utf8 || !len));
  return fuzz_u8(in) == 255;
}

static void sampling(fuzz_input *in, quern_sampling_options *o) {
  quern_sampling_options_init(o, sizeof *o);
  o->temperature = (float)fuzz_u8(in) / 64 - 0.5f;
  o->top_k = fuzz_u8(in);
  o->top_p = (float)fuzz_u8(in) / 200;
  o->min_p = (float)fuzz_u8(in) / 250;
  o->repeat_penalty = (float)fuzz_u8(in) / 100;
  o->penalty_tokens = fuzz_u16(in);
  o->seed = fuzz_u8(in);
}

/* lengths: what each sequence must hold. */
static void step(quern_session *s, fuzz_input *in, uint32_t *lengths) {
  int32_t ids[40];
  float scores[40];
  uint32_t offsets[SEQUENCES + 1] = {0}, sequences[SEQUENCES], length = 0;
  const uint32_t call = fuzz_below(in, 10), seq = fuzz_below(in, SEQUENCES + 1), other = fuzz_below(in, SEQUENCES),
                 n = fuzz_below(in, 40);
  const int is = seq < SEQUENCES;
  quern_sampling_options so;
  quern_tensor_view view;
  const float *logits;
  for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)fuzz_u8(in) - (i == 39);
  quern_status status = QUERN_OK;
  switch (call) {
    case 0:
      status = quern_decode_feed(s, seq, ids, n);
      if (status == QUERN_OK) lengths[seq] += n;
      break;
    case 1:
      for (uint32_t i = 0; i < SEQUENCES; i++) {
        sequences[i] = fuzz_u8(in) < 250 ? i : 0;
        offsets[i + 1] = offsets[i] + n / SEQUENCES;
      }
      status = quern_decode_batch(s, sequences, offsets, ids, SEQUENCES);
      for (uint32_t i = 0; i < SEQUENCES && status == QUERN_OK; i++) lengths[sequences[i]] += n / SEQUENCES;
      break;
    case 2:
      if (quern_decode_logits(s, seq, &logits, NULL) == QUERN_OK)
        for (uint32_t i = 0; i < VOCAB; i++) FUZZ_NEED(isfinite(logits[i]));
      break;
    case 3:
      if (quern_decode_rows(s, fuzz_u8(in), n, &view, NULL) == QUERN_OK)
        FUZZ_NEED(view.rows == n && view.cols == VOCAB);
      break;
    case 4:
      status = quern_sequence_truncate(s, seq, n);
      if (status == QUERN_OK) lengths[seq] = n;
      break;
    case 5:
      status = quern_sequence_copy(s, other, seq, n);
      if (status == QUERN_OK) lengths[seq] = n;
      break;
    case 6:
      sampling(in, &so);
      status = quern_decode_next(s, &seq, 1, &so, ids);
      if (status == QUERN_OK) lengths[seq]++;
      break;
    case 7: {
      quern_generate_options o;
      quern_generated made = {.size = sizeof made};
      quern_generate_options_init(&o, sizeof o);
      sampling(in, &so);
      o.sampling = &so;
      o.max_new = 1 + n;
      o.lookup = fuzz_below(in, 6);
      status = quern_generate(s, seq, &o, on_token, in, &made);
      if (is) FUZZ_NEED(quern_sequence_length(s, seq, &lengths[seq]) == QUERN_OK); /* it appends what it tells */
      break;
    }
    case 8:
      status = quern_decode_score(s, seq, ids, n, scores);
      if (is) FUZZ_NEED(quern_sequence_length(s, seq, &lengths[seq]) == QUERN_OK);
      break;
    default:
      if (fuzz_u8(in) & 1) {
        status = quern_sequence_save(s, seq, fuzz_path);
        if (status == QUERN_OK) status = quern_sequence_restore(s, other, fuzz_path);
        if (status == QUERN_OK) lengths[other] = lengths[seq];
      } else {
        write_saved(in);
        if (quern_sequence_restore(s, other, fuzz_path) == QUERN_OK)
          FUZZ_NEED(quern_sequence_length(s, other, &lengths[other]) == QUERN_OK);
      }
      unlink(fuzz_path);
  }
  for (uint32_t i = 0; i < SEQUENCES; i++)
    FUZZ_NEED(quern_sequence_length(s, i, &length) == QUERN_OK && length == lengths[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
  fuzz_input in = {data, bytes};
  quern_session *s = NULL;
  quern_session_options so;
  uint32_t lengths[SEQUENCES] = {0};
  if (!decoder.model) fuzz_make_decoder(&decoder, "llama");
  quern_session_options_init(&so, sizeof so);
  so.max_tokens = 1 + fuzz_below(&in, 64);
  so.max_sequences = SEQUENCES;
  so.cache_tokens = 64 * PAGES;
  static const uint32_t bits[] = {8, 32, 4, 32};
  so.cache_bits = bits[fuzz_u8(&in) & 3];
  so.logit_rows = 1 + fuzz_below(&in, 8);
  FUZZ_NEED(quern_session_create(&s, decoder.model, &so) == QUERN_OK);
  for (int i = 0; i < 60 && in.left; i++) step(s, &in, lengths);
  for (uint32_t i = 0; i < SEQUENCES; i++) FUZZ_NEED(quern_sequence_free(s, i) == QUERN_OK);
  quern_stats st = {.size = sizeof st};
  FUZZ_NEED(quern_session_get_stats(s, &st) == QUERN_OK && st.cache_pages_free == st.cache_pages);
  quern_session_free(s);
  return 0;
}
