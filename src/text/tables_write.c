/* tables_write.c - the tables that all kinds of tokenizer have in common to the bytes of a TOKENIZER section. The same
 * description gives the same bytes. One thread. */
#include "text/tables_write.h"
#include <string.h>

quern_status qn_tables_begin(qn_tables_writer *w, tok_spec *s, const qn_tokenizer_kind *kind) {
  *w = (qn_tables_writer){.s = s, .kind = kind};
  w->h = (qn_tok_header){.kind = kind->kind,
                         .vocab = s->vocab,
                         .unk = s->unk,
                         .added = s->added_count,
                         .single = s->single_count,
                         .pair = s->pair_count};
  return qn_alloc_array(s->env, (void **)&w->order, s->added_count, 4, "the order of added tokens");
}

quern_status qn_tables_put(qn_tables_writer *w, tok_entry *k, const void *text, size_t bytes) {
  if (w->pool.bytes > UINT32_MAX / 2)
    return qn_fail(&w->s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: 2 GiB of tokens and more are not supported");
  k->at = (uint32_t)w->pool.bytes;
  k->stored = (uint32_t)bytes;
  return bytes ? qn_buffer_append(w->s->env, &w->pool, text, bytes) : QUERN_OK;
}

/* The pattern of an added token: that of the kind when it is normalized or its text is stored in another form. */
static quern_status put_pattern(qn_tables_writer *w, qn_added *a, const tok_entry *k) {
  uint32_t chars = 1;
  a->pattern = k->at;
  a->pattern_bytes = k->stored;
  const int same = k->stored == k->bytes && memcmp(w->pool.data + k->at, k->text, k->bytes) == 0;
  if (!(a->flags & QN_ADDED_NORMALIZED) && same) return QUERN_OK;
  const uint32_t at = (uint32_t)w->patterns.bytes;
  if (a->flags & QN_ADDED_NORMALIZED)
    QN_TRY(w->pattern(w, k, &chars));
  else
    QN_TRY(qn_buffer_append(w->s->env, &w->patterns, k->text, k->bytes));
  a->pattern_bytes = (uint32_t)w->patterns.bytes - at;
  a->pattern = (uint32_t)w->pool.bytes + at;
  if (chars == 0 || chars > QN_TOK_MAX_PATTERN_CHARS)
    return qn_fail(&w->s->env->error, QUERN_E_UNSUPPORTED,
                   "tokenizer: added token \"%.*s\" has %u characters when normalized; 1 to %u are supported",
                   (int)k->bytes, k->text, chars, QN_TOK_MAX_PATTERN_CHARS);
  if ((a->flags & QN_ADDED_NORMALIZED) && chars > w->h.pattern_chars) w->h.pattern_chars = chars;
  return QUERN_OK;
}

quern_status qn_tables_put_added(qn_tables_writer *w, uint64_t keys) {
  tok_spec *s = w->s;
  for (uint32_t i = 0; i < s->added_count; i++) {
    qn_added *a = &s->added[i];
    a->rank = i;
    QN_TRY(put_pattern(w, a, &s->tokens[a->id]));
    if (a->flags & QN_ADDED_NORMALIZED)
      w->h.normalized++;
    else
      w->h.raw++;
  }
  QN_TRY(qn_buffer_append(s->env, &w->pool, w->patterns.data, w->patterns.bytes));
  w->h.pool_bytes = (uint32_t)w->pool.bytes;
  w->h.slot_bits = 4; /* at most half full */
  while (((uint64_t)1 << w->h.slot_bits) < 2 * keys) w->h.slot_bits++;
  return QUERN_OK;
}

quern_status qn_tables_insert(qn_tables_writer *w, uint32_t slot, uint64_t end) {
  uint32_t *slots = qn_tables_at(w, QN_TABLE_SLOTS), mask = (1u << w->h.slot_bits) - 1u;
  uint32_t at = qn_tok_slot_first(end, w->h.slot_bits), probe = 1;
  for (; slots[at] != QN_TOK_EMPTY; at = (at + 1u) & mask) probe++;
  slots[at] = slot;
  if (probe > w->h.max_probe) w->h.max_probe = probe;
  if (probe > QN_TOK_MAX_PROBE)
    return qn_fail(&w->s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: the vocabulary's texts defeat the hash table");
  return QUERN_OK;
}

static void fill_tokens(qn_tables_writer *w) {
  const tok_spec *s = w->s;
  uint32_t *offsets = qn_tables_at(w, QN_TABLE_OFFSETS), at = 0;
  uint8_t *flags = qn_tables_at(w, QN_TABLE_TOKENS);
  for (uint32_t i = 0; i < s->vocab; i++) {
    offsets[i] = s->tokens[i].at;
    at = s->tokens[i].at + s->tokens[i].stored;
    flags[i] = s->tokens[i].flags;
  }
  offsets[s->vocab] = at;
  /* An added token that is normalized is written back as its pattern, and counts as special when that text is. */
  for (uint32_t i = 0; i < s->added_count; i++) {
    const qn_added *a = &s->added[i];
    if (!(a->flags & QN_ADDED_NORMALIZED)) continue;
    uint32_t same = qn_spec_find(s, (const char *)w->pool.data + a->pattern, a->pattern_bytes);
    int special = same != QN_TOK_EMPTY && (s->tokens[same].flags & QN_TOKEN_SPECIAL);
    flags[a->id] = (uint8_t)(QN_TOKEN_PRESENT | QN_TOKEN_PATTERN | (special ? QN_TOKEN_SPECIAL : 0));
  }
}

typedef int before_fn(const qn_tables_writer *w, const qn_added *x, const qn_added *y);

static int before_by_id(const qn_tables_writer *w, const qn_added *x, const qn_added *y) {
  (void)w;
  return x->id < y->id;
}

static int before_by_pattern(const qn_tables_writer *w, const qn_added *x, const qn_added *y) {
  uint32_t n = x->pattern_bytes < y->pattern_bytes ? x->pattern_bytes : y->pattern_bytes;
  int c = memcmp(w->pool.data + x->pattern, w->pool.data + y->pattern, n);
  if (c != 0 || x->pattern_bytes != y->pattern_bytes) return c != 0 ? c < 0 : x->pattern_bytes < y->pattern_bytes;
  int special_x = w->s->tokens[x->id].flags & QN_TOKEN_SPECIAL;
  int special_y = w->s->tokens[y->id].flags & QN_TOKEN_SPECIAL;
  return special_x != special_y ? special_x > special_y : x->rank < y->rank;
}

/* Heapsort of indices into `added`: no recursion, no memory, n log n at worst. */
static void sort(const qn_tables_writer *w, const qn_added *added, uint32_t *order, uint32_t n, before_fn *before) {
  for (uint32_t start = n / 2, end = n; end > 1;) {
    uint32_t root = 0, item;
    if (start > 0) {
      root = --start;
      item = order[root];
    } else {
      item = order[--end];
      order[end] = order[0];
    }
    for (uint32_t child; (child = 2 * root + 1) < end; root = child) {
      if (child + 1 < end && before(w, &added[order[child]], &added[order[child + 1]])) child++;
      if (!before(w, &added[item], &added[order[child]])) break;
      order[root] = order[child];
    }
    order[root] = item;
  }
}

/* ADDED by id, then the index of those of each kind by pattern, and the bytes that start one matched in raw text. */
static void fill_added(qn_tables_writer *w) {
  qn_added *added = qn_tables_at(w, QN_TABLE_ADDED);
  uint8_t *classes = qn_tables_at(w, QN_TABLE_CLASSES);
  uint32_t total = w->s->added_count;
  for (uint32_t i = 0; i < total; i++) w->order[i] = i;
  sort(w, w->s->added, w->order, total, before_by_id);
  for (uint32_t i = 0; i < total; i++) added[i] = w->s->added[w->order[i]];
  for (uint32_t kind = 0; kind <= QN_ADDED_NORMALIZED; kind += QN_ADDED_NORMALIZED) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < total; i++)
      if ((added[i].flags & QN_ADDED_NORMALIZED) == kind) w->order[n++] = i;
    sort(w, added, w->order, n, before_by_pattern);
    if (n) memcpy(qn_tables_at(w, kind ? QN_TABLE_NORMAL : QN_TABLE_RAW), w->order, n * sizeof *w->order);
  }
  for (uint32_t i = 0; i < total; i++) {
    if (added[i].flags & QN_ADDED_NORMALIZED) continue;
    const uint8_t *pattern = w->pool.data + added[i].pattern;
    classes[*pattern] |= QN_CLASS_STARTS_RAW;
    if (added[i].pattern_bytes >= 3 && memcmp(pattern, "\xEF\xBF\xBD", 3) == 0) /* stands for malformed bytes, too */
      for (uint32_t c = 128; c < 256; c++) classes[c] |= QN_CLASS_STARTS_RAW;
  }
}

quern_status qn_tables_fill(qn_tables_writer *w, const qn_tok_header *header) {
  qn_env *env = w->s->env;
  const uint64_t total = qn_tok_layout(w->kind, header, w->offset, w->size);
  if (total == 0 || total > SIZE_MAX)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "tokenizer: the vocabulary is too large");
  w->bytes = (size_t)total;
  QN_TRY(qn_alloc_array(env, (void **)&w->out, w->bytes, 1, "the tokenizer section"));
  memcpy(w->out, header, w->kind->header_bytes);
  memset(qn_tables_at(w, QN_TABLE_SLOTS), 0xFF, (size_t)w->size[QN_TABLE_SLOTS]);
  if (w->pool.bytes) memcpy(qn_tables_at(w, QN_TABLE_POOL), w->pool.data, w->pool.bytes);
  memcpy(qn_tables_at(w, QN_TABLE_SINGLE), w->s->single, (size_t)w->size[QN_TABLE_SINGLE]);
  memcpy(qn_tables_at(w, QN_TABLE_PAIR), w->s->pair, (size_t)w->size[QN_TABLE_PAIR]);
  fill_tokens(w);
  fill_added(w);
  return QUERN_OK;
}

quern_status qn_tables_finish(qn_tables_writer *w, qn_buffer *section) {
  memcpy(w->out, &w->h, sizeof w->h);
  return qn_buffer_append(w->s->env, section, w->out, w->bytes);
}

void qn_tables_free(qn_tables_writer *w) {
  qn_free(w->s->env, w->out, w->bytes);
  qn_free(w->s->env, w->order, w->s->added_count * (size_t)4);
  qn_buffer_free(w->s->env, &w->pool);
  qn_buffer_free(w->s->env, &w->patterns);
}
