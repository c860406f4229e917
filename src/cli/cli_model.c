/* cli_model.c - a context, a model and its session, as the verbs use them. The session is made once the first texts are
 * known and only as large as they need, so that one short line costs little time and memory; it is replaced by a larger
 * one while larger batches come, up to PASS_TOKENS. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli.h"

#define PASS_TOKENS 4096u
#define PASS_SEQUENCES 256u

/* Errors come back as a status and are told once; only those of quern_context_create come here alone. */
static void on_log(void *user, int32_t level, const char *message) {
  qn_cli_state *c = user;
  if (level == 0 && !c->context) {
    snprintf(c->context_message, sizeof c->context_message, "%s", message);
  } else if (level > 0 && !c->common.quiet) {
    fprintf(stderr, "quern: warning: %s\n", message);
  }
}

int qn_cli_context_open(qn_cli_state *c) {
  quern_context_options o;
  if (c->context) return CLI_DONE;
  quern_context_options_init(&o, sizeof o);
  o.threads = c->common.threads;
  o.isa = c->common.isa;
  o.log = on_log;
  o.log_user = c;
  qn_cli_signals_block(1); /* the workers inherit this */
  quern_status s = quern_context_create(&c->context, &o);
  qn_cli_signals_block(0);
  if (s == QUERN_OK) return CLI_DONE;
  c->context = NULL;
  /* A kernel set is asked for by an option alone. */
  return qn_cli_fail(c, s == QUERN_E_ISA ? CLI_USAGE : CLI_FAILED, "%s",
                     c->context_message[0] ? c->context_message : quern_status_name(s));
}

int qn_cli_model_open(qn_cli_model *m, qn_cli_state *c, const char *path, uint32_t flags) {
  quern_model_options o;
  memset(m, 0, sizeof *m);
  m->c = c;
  m->path = path;
  int code = qn_cli_context_open(c);
  if (code) return code;
  quern_model_options_init(&o, sizeof o);
  o.flags = flags;
  o.max_bytes = c->common.limit_bytes;
  o.progress = qn_cli_progress;
  o.progress_user = c;
  quern_status s = quern_model_open(&m->model, c->context, path, &o);
  if (s != QUERN_OK) {
    m->model = NULL;
    return qn_cli_fail_status(c, s, path, NULL);
  }
  m->info.size = sizeof m->info;
  s = quern_model_get_info(m->model, &m->info);
  if (s != QUERN_OK) return qn_cli_fail_status(c, s, path, NULL);
  quern_session_options_init(&m->options, sizeof m->options);
  m->options.text_tokens = m->info.sentence_tokens;
  return CLI_DONE;
}

int qn_cli_model_fail_kind(const qn_cli_model *m, const char *lacks) {
  const quern_model_info *info = &m->info;
  const struct {
    uint32_t is;
    const char *kind, *verb, *task;
  } kinds[] = {{info->decoder, "a decoder", "quern generate", "--task ppl or choice"},
               {info->span, "an encoder that finds answers", "quern answer", "--task squad"},
               {info->labels, "a classifier", "quern classify", "--task classify"},
               {info->embedding_width, "an embedder", "quern embed or search", "--task sts or retrieval"}};
  const int is_eval = strcmp(m->c->verb->name, "eval") == 0;
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (kinds[i].is)
      return qn_cli_fail(m->c, CLI_FAILED, "%s %s: it is %s, take %s", m->path, lacks, kinds[i].kind,
                         is_eval ? kinds[i].task : kinds[i].verb);
  return qn_cli_fail(m->c, CLI_FAILED, "%s %s", m->path, lacks);
}

/* Keeps its counts. */
void qn_cli_model_drop_session(qn_cli_model *m) {
  if (!m->session) return;
  quern_stats st = {.size = sizeof st};
  if (quern_session_get_stats(m->session, &st) == QUERN_OK) {
    m->texts += st.sequences;
    m->texts_cut += st.texts_cut;
  }
  qn_cli_signals_session(NULL);
  quern_session_free(m->session);
  m->session = NULL;
}

void qn_cli_model_close(qn_cli_model *m) {
  qn_cli_model_drop_session(m);
  quern_model_free(m->model);
  m->model = NULL;
}

int qn_cli_model_text_tokens(qn_cli_model *m, uint32_t tokens) {
  if (!tokens) return CLI_DONE;
  if (tokens > m->info.max_tokens) {
    return qn_cli_fail(m->c, CLI_USAGE, "--max-tokens %u: %s reads at most %u tokens", (unsigned)tokens, m->path,
                       (unsigned)m->info.max_tokens);
  }
  m->options.text_tokens = tokens;
  return CLI_DONE;
}

int qn_cli_model_cache(qn_cli_model *m, uint32_t choice) {
  static const uint32_t bits[] = {0, 4, 8, 32};
  if (choice && !m->info.decoder)
    return qn_cli_fail(m->c, CLI_USAGE, "--cache: %s is no decoder and holds no keys and values", m->path);
  m->options.cache_bits = bits[choice];
  return CLI_DONE;
}

int qn_cli_model_session(qn_cli_model *m, uint64_t tokens, uint64_t sequences) {
  quern_session_options *o = &m->options;
  size_t bytes = 0;
  if (tokens > UINT32_MAX || sequences > UINT32_MAX)
    return qn_cli_fail(m->c, CLI_FAILED, "too many tokens for one pass");
  if (m->session && o->max_tokens >= tokens && o->max_sequences >= sequences) return CLI_DONE;
  if (m->session) {
    qn_cli_model_drop_session(m);
    tokens = tokens > o->max_tokens ? tokens : o->max_tokens;
    sequences = sequences > o->max_sequences ? sequences : o->max_sequences;
  }
  o->max_tokens = (uint32_t)tokens;
  o->max_sequences = (uint32_t)sequences;
  quern_status s = quern_session_bytes(m->model, o, &bytes);
  if (s == QUERN_OK && m->c->common.limit_bytes && bytes > m->c->common.limit_bytes) {
    return qn_cli_fail(m->c, CLI_FAILED, "a session for %u tokens needs %zu bytes, above --limit-bytes %llu",
                       (unsigned)tokens, bytes, (unsigned long long)m->c->common.limit_bytes);
  }
  if (s == QUERN_OK) s = quern_session_create(&m->session, m->model, o);
  if (s == QUERN_OK) return CLI_DONE;
  m->session = NULL;
  return qn_cli_fail_status(m->c, s, m->path, NULL);
}

/* A session for these n texts, or pairs of texts; whole: a long pair is not cut, but takes several sequences. */
static int session_for_texts(qn_cli_model *m, const qn_cli_batch *b, size_t first, size_t n, uint32_t flags,
                             int whole) {
  uint32_t limit = m->options.text_tokens;
  uint64_t tokens = 0, most = limit > PASS_TOKENS ? limit : PASS_TOKENS,
           sequences = n < PASS_SEQUENCES ? n : PASS_SEQUENCES;
  if (m->session && m->options.max_tokens >= most) {
    tokens = most;
  } else {
    size_t step = flags & QUERN_PAIRS ? 2 : 1;
    for (size_t i = first; i < first + n && tokens < most; i += step) {
      uint64_t text_tokens = 0;
      for (size_t j = i; j < i + step; j++) {
        size_t count = 0;
        quern_status s = quern_tokenize(m->model, b->utf8 + b->offsets[j], (size_t)(b->offsets[j + 1] - b->offsets[j]),
                                        0, NULL, 0, &count);
        if (s != QUERN_OK && s != QUERN_E_CAPACITY) return qn_cli_fail_status(m->c, s, m->path, NULL);
        text_tokens += count;
      }
      tokens += whole || text_tokens < limit ? text_tokens : limit;
    }
    if (tokens < limit) tokens = limit;
    if (tokens > most) tokens = most;
    if (whole) sequences += 2 * tokens / limit; /* windows, of which half is new by default or more */
  }
  return qn_cli_model_session(m, tokens, sequences);
}

int qn_cli_model_call(qn_cli_model *m, quern_status s) {
  qn_cli_signals_session(NULL);
  if (s != QUERN_OK) return qn_cli_fail_status(m->c, s, m->path, m->session);
  return qn_cli_interrupted();
}

int qn_cli_model_ids(qn_cli_model *m, const char *text, size_t n, uint32_t flags, int32_t **ids, size_t *count) {
  size_t cap = n / 3 + 16; /* a guess that mostly suffices */
  for (;;) {
    int code = qn_cli_grow(m->c, ids, cap, sizeof **ids);
    if (code) return code;
    quern_status s = quern_tokenize(m->model, text, n, flags, *ids, cap, count);
    if (s != QUERN_E_CAPACITY) return s == QUERN_OK ? CLI_DONE : qn_cli_fail_status(m->c, s, m->path, NULL);
    cap = *count;
  }
}

int qn_cli_model_embed(qn_cli_model *m, const qn_cli_batch *b, float *out) {
  int code = session_for_texts(m, b, 0, b->texts, 0, 0);
  if (code) return code;
  qn_cli_signals_session(m->session);
  return qn_cli_model_call(
      m, quern_embed_batch(m->session, b->utf8, b->offsets, b->texts, out, b->texts * m->info.embedding_width, NULL));
}

int qn_cli_model_classify(qn_cli_model *m, const qn_cli_batch *b, size_t first, size_t n, uint32_t flags, float *logits,
                          float *probabilities) {
  int code = session_for_texts(m, b, first, n, flags, 0);
  if (code) return code;
  size_t results = flags & QUERN_PAIRS ? n / 2 : n;
  qn_cli_signals_session(m->session);
  return qn_cli_model_call(m, quern_classify_batch(m->session, b->utf8, b->offsets + first, n, flags, logits,
                                                   probabilities, results * m->info.labels));
}

void qn_cli_answering_options(const qn_cli_answering *how, quern_answer_options *o) {
  quern_answer_options_init(o, sizeof *o);
  o->stride = how->stride;
  o->answer_tokens = how->answer_tokens;
}

int qn_cli_model_answer(qn_cli_model *m, const qn_cli_batch *b, const quern_answer_options *o, quern_span *answers,
                        float *scores) {
  int code = session_for_texts(m, b, 0, b->texts, QUERN_PAIRS, 1);
  if (code) return code;
  qn_cli_signals_session(m->session);
  return qn_cli_model_call(m, quern_answer_batch(m->session, b->utf8, b->offsets, b->texts, o, answers, scores));
}

void qn_cli_model_report_cut(qn_cli_model *m) {
  quern_stats st = {.size = sizeof st};
  if (m->session && quern_session_get_stats(m->session, &st) != QUERN_OK) return;
  uint64_t cut = m->texts_cut + st.texts_cut, texts = m->texts + st.sequences;
  if (cut) {
    qn_cli_note(m->c, "%llu of %llu texts %s cut to %u tokens", (unsigned long long)cut, (unsigned long long)texts,
                cut == 1 ? "was" : "were", (unsigned)m->options.text_tokens);
  }
}

int qn_cli_model_meta(qn_cli_model *m, const char *key, char **out) {
  size_t n = 0;
  *out = NULL;
  quern_status s = quern_model_get_meta(m->model, key, NULL, 0, &n);
  if (s == QUERN_E_ARGUMENT) return CLI_DONE;
  if (s != QUERN_OK) return qn_cli_fail_status(m->c, s, m->path, NULL);
  char *text = malloc(n + 1);
  if (!text) return qn_cli_fail(m->c, CLI_FAILED, "out of memory");
  s = quern_model_get_meta(m->model, key, text, n + 1, &n);
  if (s != QUERN_OK) {
    free(text);
    return qn_cli_fail_status(m->c, s, m->path, NULL);
  }
  *out = text;
  return CLI_DONE;
}

int qn_cli_model_labels(qn_cli_model *m, char ***labels) {
  char **names = calloc(m->info.labels + 1u, sizeof *names);
  int code = CLI_DONE;
  if (!names) return qn_cli_fail(m->c, CLI_FAILED, "out of memory");
  for (uint32_t i = 0; i < m->info.labels && !code; i++) {
    char key[32];
    snprintf(key, sizeof key, "label.%u", (unsigned)i);
    code = qn_cli_model_meta(m, key, &names[i]);
    if (code || names[i]) continue;
    snprintf(key, sizeof key, "LABEL_%u", (unsigned)i);
    names[i] = strdup(key);
    if (!names[i]) code = qn_cli_fail(m->c, CLI_FAILED, "out of memory");
  }
  if (code) {
    qn_cli_model_free_labels(m, names);
  } else {
    *labels = names;
  }
  return code;
}

void qn_cli_model_free_labels(qn_cli_model *m, char **labels) {
  for (uint32_t i = 0; labels && i < m->info.labels; i++) free(labels[i]);
  free(labels);
}
