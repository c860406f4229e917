/* eval_retrieval.c - ranking documents for queries: nDCG and recall of the best 10 by the dot product of embeddings.
 *
 * Judgements are read first, then the queries that have a relevant document; their embeddings and their best 10 are
 * held while the documents pass by in batches, so that memory grows with queries and judgements, not with documents.
 * A judged document that the corpus lacks counts as one that was never found, as in trec_eval. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "eval.h"

#define BEST 10u

enum { CORPUS, QUERIES, QRELS, FILES };
static const char *const file_names[FILES] = {"corpus.tsv", "queries.tsv", "qrels.tsv"};

typedef struct judgement {
  uint32_t query, document;
  size_t order; /* in the file: the last of several for the same two counts */
  double gain;  /* the relevance, 0 where it is negative */
} judgement;

/* A query that judgements name. */
typedef struct topic {
  size_t first, count, relevant; /* its judgements */
  int present;                   /* in queries.tsv */
} topic;

typedef struct hit {
  float score;
  uint32_t document; /* EVAL_NO_ID: one that no judgement names */
} hit;

/* What a model does with the same texts. */
typedef struct ranker {
  qn_cli_model *model;
  float *queries; /* [rows, d] */
  float *texts;   /* [CLI_BATCH_TEXTS, d]: the batch's embeddings */
  hit *hits;      /* [rows, BEST], best first */
} ranker;

typedef struct retrieval {
  qn_eval_run *r;
  size_t d;
  char *paths[FILES];
  qn_tsv files[FILES];
  int query_id, query_text, document_id, document_title, document_text; /* columns; title -1: there is none */
  qn_eval_ids queries, documents;                                       /* those that judgements name */
  judgement *judgements;                                                /* sorted by query and document */
  size_t judgement_count, judgement_cap;
  topic *topics;  /* [queries.count] */
  char *present;  /* [documents.count]: in the corpus */
  uint32_t *rows; /* [r->rows]: the topics of the queries asked */
  size_t found;   /* hits kept for each query: min(documents, BEST) */
  ranker rankers[2];
  uint32_t ranker_count;
  qn_cli_batch batch;
  uint32_t batch_documents[CLI_BATCH_TEXTS];
  char *joined; /* title and text */
  size_t joined_cap;
  qn_eval_series cosines, gains;
} retrieval;

/* ---- judgements -------------------------------------------------------------------------------------------------- */

static int open_files(retrieval *t) {
  for (uint32_t i = 0; i < FILES; i++) {
    size_t bytes = strlen(t->r->path) + strlen(file_names[i]) + 2;
    int code = qn_cli_grow(t->r->c, &t->paths[i], bytes, 1);
    if (code) return code;
    snprintf(t->paths[i], bytes, "%s/%s", t->r->path, file_names[i]);
    if ((code = qn_tsv_open(&t->files[i], t->r->c, t->paths[i])) != 0) return code;
  }
  return CLI_DONE;
}

static int find_column(qn_tsv *f, const char *name, int *out) {
  char wanted[64];
  *out = qn_tsv_column(f, name);
  if (*out >= 0) return CLI_DONE;
  snprintf(wanted, sizeof wanted, "the column %s", name);
  return qn_tsv_fail_columns(f, wanted);
}

static int add_judgement(retrieval *t, int query, int document, int relevance) {
  qn_tsv *f = &t->files[QRELS];
  judgement j = {.order = t->judgement_count};
  double value = 0;
  int code = qn_tsv_number(f, relevance, &value);
  if (!code) { code = qn_eval_ids_add(t->r->c, &t->queries, f->fields[query].text, f->fields[query].bytes, &j.query); }
  if (!code) {
    code = qn_eval_ids_add(t->r->c, &t->documents, f->fields[document].text, f->fields[document].bytes, &j.document);
  }
  if (!code && t->judgement_count == t->judgement_cap) {
    size_t cap = t->judgement_cap ? t->judgement_cap * 2 : 1024;
    code = qn_cli_grow(t->r->c, &t->judgements, cap, sizeof *t->judgements);
    if (!code) t->judgement_cap = cap;
  }
  if (code) return code;
  j.gain = value > 0 ? value : 0;
  t->judgements[t->judgement_count++] = j;
  return CLI_DONE;
}

static int compare_judgements(const void *a, const void *b) {
  const judgement *x = a, *y = b;
  if (x->query != y->query) return x->query < y->query ? -1 : 1;
  if (x->document != y->document) return x->document < y->document ? -1 : 1;
  return (x->order > y->order) - (x->order < y->order);
}

/* Sorted, one for a query and a document, and where each query's are. */
static int index_judgements(retrieval *t) {
  judgement *j = t->judgements;
  size_t kept = 0;
  int code = qn_cli_grow(t->r->c, &t->topics, t->queries.count, sizeof *t->topics);
  if (!code) code = qn_cli_grow(t->r->c, &t->present, t->documents.count, 1);
  if (code) return code;
  memset(t->topics, 0, t->queries.count * sizeof *t->topics);
  memset(t->present, 0, t->documents.count);
  if (t->judgement_count) qsort(j, t->judgement_count, sizeof *j, compare_judgements);
  for (size_t i = 0; i < t->judgement_count; i++) {
    if (kept && j[kept - 1].query == j[i].query && j[kept - 1].document == j[i].document) kept--;
    j[kept++] = j[i];
  }
  t->judgement_count = kept;
  for (size_t i = 0; i < kept; i++) {
    topic *p = &t->topics[j[i].query];
    if (!p->count++) p->first = i;
    p->relevant += j[i].gain > 0;
  }
  return CLI_DONE;
}

static int read_judgements(retrieval *t) {
  qn_tsv *f = &t->files[QRELS];
  int query = 0, document = 0, relevance = 0, more = 1;
  int code = find_column(f, "qid", &query);
  if (!code) code = find_column(f, "docid", &document);
  if (!code) code = find_column(f, "rel", &relevance);
  while (!code && (code = qn_tsv_next(f, &more)) == CLI_DONE && more) {
    code = add_judgement(t, query, document, relevance);
  }
  return code ? code : index_judgements(t);
}

/* ---- queries ----------------------------------------------------------------------------------------------------- */

/* The batch's embeddings by every model, and how near they are. */
static int embed(retrieval *t) {
  const size_t d = t->d;
  int code = CLI_DONE;
  for (uint32_t k = 0; k < t->ranker_count && !code; k++) {
    code = qn_cli_model_embed(t->rankers[k].model, &t->batch, t->rankers[k].texts);
  }
  for (size_t i = 0; i < t->batch.texts && t->ranker_count == 2 && !code; i++) {
    double cosine = qn_metric_cosine(t->rankers[0].texts + i * d, t->rankers[1].texts + i * d, d);
    code = qn_eval_series_add(t->r->c, &t->cosines, cosine);
  }
  return code;
}

/* Room for the queries that may be asked, as far as --limit-bytes allows. */
static int make_room(retrieval *t) {
  qn_cli_state *c = t->r->c;
  const size_t each = t->ranker_count * (t->d * sizeof(float) + BEST * sizeof(hit));
  size_t rows = 0, bytes;
  int code = CLI_DONE;
  for (uint32_t i = 0; i < t->queries.count; i++) rows += t->topics[i].relevant > 0;
  if (t->r->limit && rows > t->r->limit) rows = (size_t)t->r->limit;
  if (__builtin_mul_overflow(rows, each, &bytes)) bytes = SIZE_MAX;
  if (c->common.limit_bytes && bytes > c->common.limit_bytes) {
    return qn_cli_fail(c, CLI_FAILED, "%zu queries need %zu bytes, above --limit-bytes %llu; --limit N asks fewer",
                       rows, bytes, (unsigned long long)c->common.limit_bytes);
  }
  for (uint32_t k = 0; k < t->ranker_count && !code; k++) {
    code = qn_cli_grow(c, &t->rankers[k].queries, rows, t->d * sizeof(float));
    if (!code) code = qn_cli_grow(c, &t->rankers[k].hits, rows, BEST * sizeof(hit));
  }
  return code ? code : qn_cli_grow(c, &t->rows, rows, sizeof *t->rows);
}

/* Embeds the queries in the batch; they are the last of the rows. */
static int ask(retrieval *t) {
  const size_t n = t->batch.texts;
  if (!n) return CLI_DONE;
  int code = embed(t);
  for (uint32_t k = 0; k < t->ranker_count && !code; k++) {
    memcpy(t->rankers[k].queries + ((size_t)t->r->rows - n) * t->d, t->rankers[k].texts, n * t->d * sizeof(float));
  }
  qn_cli_batch_clear(&t->batch);
  return code;
}

static int fail_twice(const qn_tsv *f, const qn_tsv_field *id) {
  return qn_cli_fail(f->lines.c, CLI_FAILED, "line %llu of %s: '%.*s' was there before",
                     (unsigned long long)f->lines.number, f->lines.path, (int)(id->bytes < 40 ? id->bytes : 40),
                     id->text);
}

/* Rows beyond the limit are read all the same, to know which queries there are. */
static int read_queries(retrieval *t) {
  qn_eval_run *r = t->r;
  qn_tsv *f = &t->files[QUERIES];
  const qn_tsv_field *id = &f->fields[t->query_id], *text = &f->fields[t->query_text];
  int code = make_room(t), more = 1;
  while (!code && (code = qn_tsv_next(f, &more)) == CLI_DONE && more) {
    uint32_t query = qn_eval_ids_find(&t->queries, id->text, id->bytes);
    if (query == EVAL_NO_ID) continue;
    if (t->topics[query].present) return fail_twice(f, id);
    t->topics[query].present = 1;
    if (!t->topics[query].relevant || (r->limit && r->rows >= r->limit)) continue;
    t->rows[r->rows++] = query;
    code = qn_cli_batch_add(r->c, &t->batch, text->text, text->bytes);
    if (!code && (t->batch.texts == CLI_BATCH_TEXTS || t->batch.bytes >= CLI_BATCH_BYTES)) code = ask(t);
  }
  if (!code) code = ask(t);
  if (code || r->rows) return code;
  return qn_cli_fail(r->c, CLI_FAILED, "no query of %s has a relevant document in %s", f->lines.path, t->paths[QRELS]);
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

/* Documents come in their order, so an equal score ranks behind those that are there. */
static void rank(hit *hits, size_t found, hit h) {
  size_t i = found;
  if (found == BEST && !(h.score > hits[--i].score)) return;
  for (; i && h.score > hits[i - 1].score; i--) hits[i] = hits[i - 1];
  hits[i] = h;
}

static int rank_documents(retrieval *t) {
  const size_t d = t->d;
  int code = t->batch.texts ? embed(t) : CLI_DONE;
  for (size_t i = 0; i < t->batch.texts && !code; i++) {
    for (uint32_t k = 0; k < t->ranker_count; k++) {
      const ranker *m = &t->rankers[k];
      for (size_t row = 0; row < t->r->rows; row++) {
        float score = quern_dot(t->r->c->context, m->queries + row * d, m->texts + i * d, d);
        rank(m->hits + row * BEST, t->found, (hit){score, t->batch_documents[i]});
      }
    }
    if (t->found < BEST) t->found++;
    code = qn_cli_interrupted();
  }
  qn_cli_batch_clear(&t->batch);
  return code;
}

/* Title, a space, text; the space only between two that are not empty. */
static int add_document(retrieval *t) {
  const qn_tsv *f = &t->files[CORPUS];
  const qn_tsv_field *id = &f->fields[t->document_id], *text = &f->fields[t->document_text],
                     *title = t->document_title < 0 ? NULL : &f->fields[t->document_title];
  uint32_t document = qn_eval_ids_find(&t->documents, id->text, id->bytes);
  if (document != EVAL_NO_ID && t->present[document]) return fail_twice(f, id);
  if (document != EVAL_NO_ID) t->present[document] = 1;
  t->batch_documents[t->batch.texts] = document;
  if (!title || !title->bytes) return qn_cli_batch_add(t->r->c, &t->batch, text->text, text->bytes);
  if (!text->bytes) return qn_cli_batch_add(t->r->c, &t->batch, title->text, title->bytes);
  size_t bytes = title->bytes + 1 + text->bytes;
  if (bytes > t->joined_cap) {
    int code = qn_cli_grow(t->r->c, &t->joined, 2 * bytes, 1);
    if (code) return code;
    t->joined_cap = 2 * bytes;
  }
  memcpy(t->joined, title->text, title->bytes);
  t->joined[title->bytes] = ' ';
  memcpy(t->joined + title->bytes + 1, text->text, text->bytes);
  return qn_cli_batch_add(t->r->c, &t->batch, t->joined, bytes);
}

static int read_documents(retrieval *t) {
  qn_tsv *f = &t->files[CORPUS];
  int code = CLI_DONE, more = 1;
  while (!code && (code = qn_tsv_next(f, &more)) == CLI_DONE && more) {
    code = add_document(t);
    if (!code && (t->batch.texts == CLI_BATCH_TEXTS || t->batch.bytes >= CLI_BATCH_BYTES)) {
      code = rank_documents(t);
      qn_cli_progress(t->r->c, f->lines.done, f->lines.total, "eval");
    }
  }
  if (!code) code = rank_documents(t);
  if (code || t->found) return code;
  return qn_cli_fail(t->r->c, CLI_FAILED, "%s has no documents", f->lines.path);
}

/* ---- metrics ----------------------------------------------------------------------------------------------------- */

/* The gain of a hit; judgements: of its query. */
static double gain_of(const hit *h, const judgement *judgements, size_t n) {
  for (size_t i = 0; i < n && h->document != EVAL_NO_ID; i++) {
    if (judgements[i].document == h->document) return judgements[i].gain;
  }
  return 0;
}

/* DCG: the gain divided by log2(1 + rank). */
static double discounted(double gain, size_t index) { return gain / log2((double)index + 2); }

/* Adds nDCG and recall of one query to the sums. */
static int measure(retrieval *t, const ranker *m, size_t row, double *ndcg, double *recall) {
  const topic *p = &t->topics[t->rows[row]];
  const judgement *j = t->judgements + p->first;
  double sum = 0, ideal = 0, relevant = 0;
  int code = CLI_DONE;
  for (size_t i = 0; i < t->found; i++) {
    double gain = gain_of(&m->hits[row * BEST + i], j, p->count);
    sum += discounted(gain, i);
    relevant += gain > 0;
  }
  t->gains.count = 0;
  for (size_t i = 0; i < p->count && !code; i++) code = qn_eval_series_add(t->r->c, &t->gains, j[i].gain);
  if (code) return code;
  qn_metric_sort(t->gains.x, t->gains.count);
  for (size_t i = 0; i < BEST && i < t->gains.count; i++) {
    ideal += discounted(t->gains.x[t->gains.count - 1 - i], i);
  }
  *ndcg += sum / ideal; /* there is a relevant document, so ideal > 0 */
  *recall += relevant / (double)p->relevant;
  return CLI_DONE;
}

static int put_metrics(retrieval *t) {
  const double n = (double)t->r->rows;
  for (uint32_t k = 0; k < t->ranker_count; k++) {
    double ndcg = 0, recall = 0;
    for (size_t row = 0; row < t->r->rows; row++) {
      int code = measure(t, &t->rankers[k], row, &ndcg, &recall);
      if (code) return code;
    }
    void (*put)(qn_eval_run *, const char *, double) = k ? qn_eval_put_reference_metric : qn_eval_put_metric;
    put(t->r, "ndcg_at_10", ndcg / n);
    put(t->r, "recall_at_10", recall / n);
  }
  qn_eval_put_cosines(t->r, &t->cosines);
  return CLI_DONE;
}

static void remark_unknown(retrieval *t) {
  unsigned long long queries = 0, documents = 0;
  for (size_t i = 0; i < t->judgement_count; i++) {
    const judgement *j = &t->judgements[i];
    if (!t->topics[j->query].present) {
      queries++;
    } else if (!t->present[j->document]) {
      documents++;
    }
  }
  if (!queries && !documents) return;
  qn_cli_note(t->r->c,
              "%s: of %zu judgements %llu name an unknown query (left out), %llu an unknown document "
              "(counted as not found)",
              t->paths[QRELS], t->judgement_count, queries, documents);
}

static int run_all(retrieval *t) {
  int code = open_files(t);
  if (!code) code = find_column(&t->files[CORPUS], "id", &t->document_id);
  if (!code) code = find_column(&t->files[CORPUS], "text", &t->document_text);
  t->document_title = qn_tsv_column(&t->files[CORPUS], "title");
  if (!code) code = find_column(&t->files[QUERIES], "qid", &t->query_id);
  if (!code) code = find_column(&t->files[QUERIES], "text", &t->query_text);
  for (uint32_t k = 0; k < t->ranker_count && !code; k++) {
    code = qn_cli_grow(t->r->c, &t->rankers[k].texts, CLI_BATCH_TEXTS, t->d * sizeof(float));
  }
  if (!code) code = read_judgements(t);
  if (!code) code = read_queries(t);
  if (!code) code = read_documents(t);
  if (code) return code;
  remark_unknown(t);
  return put_metrics(t);
}

int qn_eval_retrieval(qn_eval_run *r) {
  int code = qn_eval_check_embeddings(r);
  if (code) return code;
  retrieval *t = calloc(1, sizeof *t);
  if (!t) return qn_cli_fail(r->c, CLI_FAILED, "out of memory");
  t->r = r;
  t->d = r->model.info.embedding_width;
  t->rankers[0].model = &r->model;
  t->rankers[1].model = &r->reference;
  t->ranker_count = r->has_reference ? 2 : 1;
  code = run_all(t);
  for (uint32_t i = 0; i < FILES; i++) {
    qn_tsv_close(&t->files[i]);
    free(t->paths[i]);
  }
  for (uint32_t k = 0; k < 2; k++) {
    free(t->rankers[k].queries);
    free(t->rankers[k].texts);
    free(t->rankers[k].hits);
  }
  qn_eval_ids_free(&t->queries);
  qn_eval_ids_free(&t->documents);
  qn_cli_batch_free(&t->batch);
  free(t->judgements);
  free(t->topics);
  free(t->present);
  free(t->rows);
  free(t->joined);
  free(t->cosines.x);
  free(t->gains.x);
  free(t);
  return code;
}
