/* eval_choice.c - multiple choice: of several texts that may follow another the likeliest, by the sum of its tokens' log-probabilities and
 * by that over its bytes. What all choices begin with is read once, in a sequence of its own, and shared. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "eval.h"

#define CHOICES 16u
#define SHARED 0u /* the sequence of what is common, and that of a choice */
#define CHOICE 1u

/* The texts of a row: before + choice i, of which the choice is scored. */
typedef struct row {
  qn_cli_batch texts; /* before and choice in turn */
  uint32_t right;
} row;

typedef struct choice {
  qn_eval_run *r;
  int gold, stem, sentence, passage, answers[CHOICES]; /* columns; -1: none */
  row row;
  int32_t *before, *ids; /* tokens of a text without and with its choice */
  size_t before_count, count;
  float *log_probabilities;
  size_t cap;      /* of log_probabilities */
  int32_t *shared; /* what is in the sequence SHARED */
  size_t shared_count, shared_cap;
  uint64_t right, right_by_length;
  uint64_t without; /* rows whose right choice is not among theirs */
} choice;

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static int add_text(choice *c, const char *const *parts, const size_t *bytes, size_t n) {
  size_t total = 0;
  char *text = NULL;
  for (size_t i = 0; i < n; i++) total += bytes[i];
  int code = qn_cli_grow(c->r->c, &text, total + 1, 1);
  for (size_t i = 0, at = 0; i < n && !code; at += bytes[i++])
    if (bytes[i]) memcpy(text + at, parts[i], bytes[i]);
  if (!code) code = qn_cli_batch_add(c->r->c, &c->row.texts, text, total);
  free(text);
  return code;
}

/* before, and a blank with an answer. */
static int add_stem(choice *c, qn_tsv_field stem, qn_tsv_field answer) {
  const char *const parts[] = {" ", answer.text};
  const size_t bytes[] = {1, answer.bytes};
  int code = qn_cli_batch_add(c->r->c, &c->row.texts, stem.text, stem.bytes);
  return code ? code : add_text(c, parts, bytes, 2);
}

/* A sentence with the answer in the place of its "_": what follows that is scored. */
static int add_sentence(choice *c, qn_tsv_field sentence, qn_tsv_field answer) {
  const char *gap = sentence.bytes ? memchr(sentence.text, '_', sentence.bytes) : NULL;
  if (!gap)
    return qn_cli_fail(c->r->c, CLI_FAILED, "line %llu of %s: the sentence has no _ for the choices",
                       (unsigned long long)c->r->data.lines.number, c->r->path);
  const size_t first = (size_t)(gap - sentence.text);
  const char *const parts[] = {sentence.text, answer.text};
  const size_t bytes[] = {first, answer.bytes};
  int code = add_text(c, parts, bytes, 2);
  return code ? code : qn_cli_batch_add(c->r->c, &c->row.texts, gap + 1, sentence.bytes - first - 1);
}

/* A question about a passage, whose answers are no and yes. */
static int add_passage(choice *c, qn_tsv_field passage, qn_tsv_field question) {
  static const qn_tsv_field no = {"no", 2}, yes = {"yes", 3};
  char *text = NULL;
  const size_t room = passage.bytes + question.bytes + 32;
  int code = qn_cli_grow(c->r->c, &text, room, 1);
  if (!code) {
    const int n = snprintf(text, room, "%.*s\nQuestion: %.*s?\nAnswer:", (int)passage.bytes, passage.text,
                           (int)question.bytes, question.text);
    const qn_tsv_field before = {text, (size_t)n};
    code = add_stem(c, before, no);
    if (!code) code = add_stem(c, before, yes);
  }
  free(text);
  return code;
}

static int read_row(choice *c, int *more) {
  qn_tsv *t = &c->r->data;
  double gold;
  qn_cli_batch_clear(&c->row.texts);
  int code = qn_eval_next_row(c->r, more);
  if (code || !*more) return code;
  code = qn_tsv_number(t, c->gold, &gold);
  if (!code && c->passage >= 0) code = add_passage(c, t->fields[c->passage], t->fields[c->stem]);
  for (uint32_t i = 0; i < CHOICES && c->passage < 0 && !code; i++) {
    if (c->answers[i] < 0 || !t->fields[c->answers[i]].bytes) continue;
    const qn_tsv_field answer = t->fields[c->answers[i]];
    code = c->sentence >= 0 ? add_sentence(c, t->fields[c->sentence], answer) : add_stem(c, t->fields[c->stem], answer);
  }
  const size_t choices = c->row.texts.texts / 2;
  if (!code && !(gold >= 0 && gold < CHOICES && gold == floor(gold)))
    code = qn_cli_fail(c->r->c, CLI_FAILED, "line %llu of %s: the right choice is %g, not a column's number from 0 on",
                       (unsigned long long)t->lines.number, c->r->path, gold);
  if (!code && gold >= (double)choices) { /* published sets have a few, as where a fifth choice was left out */
    c->without++;
    c->r->rows--;
    qn_cli_batch_clear(&c->row.texts);
    return CLI_DONE;
  }
  if (!code) c->row.right = (uint32_t)gold;
  return code;
}

/* ---- scores ------------------------------------------------------------------------------------------------------ */

/* The first n ids into the sequence SHARED, which may begin with them already. Its last token's logits are there then. */
static int share(choice *c, size_t n) {
  qn_cli_model *m = &c->r->model;
  size_t same = 0;
  while (same < n && same < c->shared_count && c->shared[same] == c->ids[same]) same++;
  if (same == n && c->shared_count == n) return CLI_DONE;
  if (same == n) same--;
  int code = CLI_DONE;
  if (n > c->shared_cap && !(code = qn_cli_grow(c->r->c, &c->shared, n, sizeof *c->shared))) c->shared_cap = n;
  c->shared_count = 0;
  if (!code) code = qn_cli_model_call(m, quern_sequence_truncate(m->session, SHARED, (uint32_t)same));
  qn_cli_signals_session(m->session);
  if (!code) code = qn_cli_model_call(m, quern_decode_feed(m->session, SHARED, c->ids + same, (uint32_t)(n - same)));
  if (code) return code;
  memcpy(c->shared, c->ids, n * sizeof *c->ids);
  c->shared_count = n;
  return CLI_DONE;
}

/* The log-probability of choice i of the row after what is before it. */
static int score(choice *c, size_t i, double *sum) {
  qn_cli_state *cli = c->r->c;
  qn_cli_model *m = &c->r->model;
  const qn_cli_batch *b = &c->row.texts;
  const char *text = b->utf8 + b->offsets[2 * i];
  const size_t before = (size_t)(b->offsets[2 * i + 1] - b->offsets[2 * i]);
  size_t n = 0;
  int code = qn_cli_model_ids(m, text, before, QUERN_PLAIN, &c->before, &c->before_count);
  if (!code)
    code = qn_cli_model_ids(m, text, (size_t)(b->offsets[2 * i + 2] - b->offsets[2 * i]), QUERN_PLAIN, &c->ids,
                            &c->count);
  if (code) return code;
  while (n < c->before_count && n < c->count && c->before[n] == c->ids[n]) n++;
  if (!n || n == c->count)
    return qn_cli_fail(cli, CLI_FAILED, "line %llu of %s: a choice without tokens, or nothing before it",
                       (unsigned long long)c->r->data.lines.number, c->r->path);
  if (c->count > m->info.max_tokens)
    return qn_cli_fail(cli, CLI_FAILED, "line %llu of %s: %zu tokens, %s reads at most %u",
                       (unsigned long long)c->r->data.lines.number, c->r->path, c->count, m->path,
                       (unsigned)m->info.max_tokens);
  if (c->count > c->cap) {
    code = qn_cli_grow(cli, &c->log_probabilities, c->count, sizeof(float));
    if (!code) c->cap = c->count;
  }
  if (!code) code = share(c, n);
  if (!code) code = qn_cli_model_call(m, quern_sequence_copy(m->session, SHARED, CHOICE, (uint32_t)n));
  qn_cli_signals_session(m->session);
  if (!code)
    code = qn_cli_model_call(
        m, quern_decode_score(m->session, CHOICE, c->ids + n, (uint32_t)(c->count - n), c->log_probabilities));
  *sum = 0;
  for (size_t k = 0; k < c->count - n && !code; k++) *sum += c->log_probabilities[k];
  return code;
}

static int score_row(choice *c) {
  const size_t choices = c->row.texts.texts / 2;
  double best = -INFINITY, best_by_length = -INFINITY;
  uint32_t chosen = 0, chosen_by_length = 0;
  for (uint32_t i = 0; i < choices; i++) {
    double sum;
    int code = score(c, i, &sum);
    if (code) return code;
    const double by_length = sum / (double)(c->row.texts.offsets[2 * i + 2] - c->row.texts.offsets[2 * i + 1]);
    if (sum > best) best = sum, chosen = i;
    if (by_length > best_by_length) best_by_length = by_length, chosen_by_length = i;
  }
  c->right += chosen == c->row.right;
  c->right_by_length += chosen_by_length == c->row.right;
  return CLI_DONE;
}

/* ---- the task ---------------------------------------------------------------------------------------------------- */

static int find_columns(choice *c) {
  static const char *const stems[] = {"question", "ctx", "goal"};
  const qn_tsv *t = &c->r->data;
  c->gold = qn_tsv_column(t, "gold");
  c->sentence = qn_tsv_column(t, "sentence");
  c->passage = qn_tsv_column(t, "passage");
  c->stem = -1;
  for (uint32_t i = 0; i < 3 && c->stem < 0; i++) c->stem = qn_tsv_column(t, stems[i]);
  if (c->passage >= 0) c->gold = qn_tsv_column(t, "label");
  for (uint32_t i = 0; i < CHOICES; i++) {
    char name[8];
    snprintf(name, sizeof name, "c%u", (unsigned)i);
    c->answers[i] = qn_tsv_column(t, name);
  }
  const char *missing = c->gold < 0 ? (c->passage >= 0 ? "the column label" : "the column gold")
                        : c->stem < 0 && (c->sentence < 0 || c->passage >= 0)
                            ? "a column question, ctx, goal or sentence"
                        : c->passage < 0 && (c->answers[0] < 0 || c->answers[1] < 0) ? "the columns c0 and c1"
                                                                                     : NULL;
  return missing ? qn_tsv_fail_columns(&c->r->data, missing) : CLI_DONE;
}

static int run_rows(choice *c) {
  qn_cli_model *m = &c->r->model;
  const uint32_t context = m->info.max_tokens < 4096 ? m->info.max_tokens : 4096; /* of the longest row */
  m->options.cache_tokens = 2 * context;
  int code = qn_cli_model_session(m, context < 512 ? context : 512, 2);
  for (int more = 1; !code;) {
    code = read_row(c, &more);
    if (code || !more) break;
    if (c->row.texts.texts) code = score_row(c);
  }
  if (!code && c->without)
    qn_cli_note(c->r->c, "%s: rows without their right choice are left out: %llu", c->r->path,
                (unsigned long long)c->without);
  return code;
}

int qn_eval_choice(qn_eval_run *r) {
  choice c = {.r = r};
  if (!r->model.info.decoder) return qn_cli_model_fail_kind(&r->model, "predicts no next tokens");
  if (r->has_reference) return qn_cli_fail(r->c, CLI_USAGE, "--task choice takes no --reference");
  int code = find_columns(&c);
  if (!code) code = run_rows(&c);
  if (!code && r->rows) {
    qn_eval_put_metric(r, "accuracy", (double)c.right / (double)r->rows);
    qn_eval_put_metric(r, "accuracy_norm", (double)c.right_by_length / (double)r->rows);
  }
  qn_cli_batch_free(&c.row.texts);
  free(c.before);
  free(c.ids);
  free(c.shared);
  free(c.log_probabilities);
  return code;
}
