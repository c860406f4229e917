/* wordpiece_write.c - a described WordPiece tokenizer to the bytes of a TOKENIZER section. The same description gives
 * the same bytes. One thread. */
#include <string.h>
#include "base/checked.h"
#include "base/utf8.h"
#include "text/wordpiece_build.h"

typedef struct wp_writer {
  wp_spec *s;
  qn_wp_header h;
  qn_buffer pool, patterns; /* patterns: of the added tokens that are normalized; they follow the pool */
  uint32_t *order;          /* [added] */
  uint8_t *out;             /* the section */
  uint64_t offset[QN_WP_TABLES], size[QN_WP_TABLES];
} wp_writer;

/* Can a word hold this piece? Words have no blanks, and punctuation only as a word of one character. */
static int fits_word(const char *text, uint32_t bytes, int rest) {
  const uint8_t *p = (const uint8_t *)text;
  uint32_t used = 0;
  for (uint32_t at = 0; at < bytes; at += used) {
    uint32_t props = qn_unicode_props(qn_utf8_decode(p + at, bytes - at, &used));
    if ((props & QN_UC_SPACE) || ((props & QN_UC_PUNCTUATION) && (rest || used != bytes))) return 0;
  }
  return bytes > 0;
}

/* Key of a token for the start (rest 0) or the rest of a word; 0: it has none. */
static int key_of(const wp_spec *s, const wp_token *k, int rest, const char **key, uint32_t *bytes) {
  *key = k->text;
  *bytes = k->bytes;
  if (!k->in_model) return 0;
  if (rest) {
    if (k->bytes < s->prefix_bytes || memcmp(k->text, s->prefix, s->prefix_bytes) != 0) return 0;
    *key += s->prefix_bytes;
    *bytes -= s->prefix_bytes;
  }
  return fits_word(*key, *bytes, rest);
}

/* The pattern by which an added token is found in normalized text. */
static quern_status append_pattern(wp_writer *w, qn_wp_added *a, const wp_token *k) {
  const uint8_t *p = (const uint8_t *)k->text;
  uint32_t used = 0, chars = 0;
  a->pattern = (uint32_t)w->patterns.bytes;
  for (uint32_t at = 0; at < k->bytes; at += used) {
    uint32_t out[8], n = qn_wp_normalize(w->s->flags, qn_utf8_decode(p + at, k->bytes - at, &used), out);
    for (uint32_t i = 0; i < n; i++) {
      if (out[i] == QN_WP_BARRIER) continue;
      if ((w->s->flags & QN_WP_STRIP) && (qn_unicode_props(out[i]) & QN_UC_ORDERED))
        return qn_fail(&w->s->env->error, QUERN_E_UNSUPPORTED,
                       "tokenizer: added token \"%.*s\" is normalized and holds the combining mark U+%x; not supported",
                       (int)k->bytes, k->text, out[i]);
      uint8_t bytes[4];
      QN_TRY(qn_buffer_append(w->s->env, &w->patterns, bytes, qn_utf8_encode(out[i], bytes)));
      chars++;
    }
  }
  a->pattern_bytes = (uint32_t)w->patterns.bytes - a->pattern;
  if (chars == 0 || chars > QN_WP_MAX_PATTERN_CHARS)
    return qn_fail(&w->s->env->error, QUERN_E_UNSUPPORTED,
                   "tokenizer: added token \"%.*s\" has %u characters when normalized; 1 to %u are supported",
                   (int)k->bytes, k->text, chars, QN_WP_MAX_PATTERN_CHARS);
  if (chars > w->h.pattern_chars) w->h.pattern_chars = chars;
  return QUERN_OK;
}

/* Texts into the pool: the prefix, then the tokens by id, then the patterns. Fills the sizes of the header. */
static quern_status collect(wp_writer *w) {
  wp_spec *s = w->s;
  uint64_t keys = 0;
  QN_TRY(qn_buffer_append(s->env, &w->pool, s->prefix, s->prefix_bytes));
  for (uint32_t i = 0; i < s->vocab; i++) {
    wp_token *k = &s->tokens[i];
    const char *key;
    uint32_t bytes;
    if (w->pool.bytes > UINT32_MAX / 2)
      return qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: 2 GiB of tokens and more are not supported");
    k->at = (uint32_t)w->pool.bytes;
    if (k->bytes) QN_TRY(qn_buffer_append(s->env, &w->pool, k->text, k->bytes));
    for (int rest = 0; rest < 2; rest++) {
      if (!key_of(s, k, rest, &key, &bytes)) continue;
      keys++;
      if (bytes > w->h.max_token_bytes) w->h.max_token_bytes = bytes;
    }
  }
  uint32_t patterns_at = (uint32_t)w->pool.bytes;
  for (uint32_t i = 0; i < s->added_count; i++) {
    qn_wp_added *a = &s->added[i];
    a->rank = i;
    a->pattern = s->tokens[a->id].at;
    a->pattern_bytes = s->tokens[a->id].bytes;
    if (a->flags & QN_WP_NORMALIZED) {
      QN_TRY(append_pattern(w, a, &s->tokens[a->id]));
      a->pattern += patterns_at;
      w->h.normalized++;
    } else {
      w->h.raw++;
    }
  }
  QN_TRY(qn_buffer_append(s->env, &w->pool, w->patterns.data, w->patterns.bytes));
  w->h.slot_bits = 4; /* at most half full */
  while (((uint64_t)1 << w->h.slot_bits) < 2 * keys) w->h.slot_bits++;
  return QUERN_OK;
}

static quern_status insert(wp_writer *w, uint32_t id, int rest, const char *key, uint32_t bytes) {
  uint32_t *slots = (uint32_t *)(void *)(w->out + w->offset[QN_WP_SLOTS]), mask = (1u << w->h.slot_bits) - 1u;
  uint64_t hash = rest ? QN_WP_HASH_REST : QN_WP_HASH_START;
  for (uint32_t i = 0; i < bytes; i++) hash = qn_wp_hash_byte(hash, (uint8_t)key[i]);
  uint64_t end = qn_wp_hash_end(hash);
  uint32_t at = qn_wp_slot_first(end, w->h.slot_bits), probe = 1;
  for (; slots[at] != QN_WP_EMPTY; at = (at + 1u) & mask) probe++;
  slots[at] = id | qn_wp_slot_key(end, rest);
  if (bytes > 1) {
    uint8_t *reach = w->out + w->offset[QN_WP_REACH] + qn_wp_reach_index((uint8_t)key[0], (uint8_t)key[1], rest);
    if (bytes > *reach) *reach = (uint8_t)(bytes < 255 ? bytes : 255);
  }
  if (probe > w->h.max_probe) w->h.max_probe = probe;
  if (probe > QN_WP_MAX_PROBE)
    return qn_fail(&w->s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: the vocabulary's texts defeat the hash table");
  return QUERN_OK;
}

static int starts_with_prefix(const wp_writer *w, uint32_t at, uint32_t bytes) {
  return bytes >= w->s->prefix_bytes && memcmp(w->pool.data + at, w->s->prefix, w->s->prefix_bytes) == 0;
}

static quern_status fill_tokens(wp_writer *w) {
  const wp_spec *s = w->s;
  uint32_t *offsets = (uint32_t *)(void *)(w->out + w->offset[QN_WP_OFFSETS]), at = 0;
  uint8_t *flags = w->out + w->offset[QN_WP_TOKENS];
  memset(w->out + w->offset[QN_WP_SLOTS], 0xFF, w->size[QN_WP_SLOTS]);
  for (uint32_t i = 0; i < s->vocab; i++) {
    const wp_token *k = &s->tokens[i];
    const char *key;
    uint32_t bytes;
    offsets[i] = k->at;
    at = k->at + k->bytes;
    flags[i] = k->flags;
    if (!(k->flags & QN_WP_TOKEN_PRESENT)) continue;
    if (starts_with_prefix(w, k->at, k->bytes)) flags[i] |= QN_WP_TOKEN_CONTINUES;
    for (int rest = 0; rest < 2; rest++)
      if (key_of(s, k, rest, &key, &bytes)) QN_TRY(insert(w, i, rest, key, bytes));
  }
  offsets[s->vocab] = at;
  /* An added token that is normalized is written back as its pattern, and counts as special when that text is. */
  for (uint32_t i = 0; i < s->added_count; i++) {
    const qn_wp_added *a = &s->added[i];
    if (!(a->flags & QN_WP_NORMALIZED)) continue;
    uint32_t same = qn_wp_spec_find(s, (const char *)w->pool.data + a->pattern, a->pattern_bytes);
    int special = same != QN_WP_EMPTY && (s->tokens[same].flags & QN_WP_TOKEN_SPECIAL);
    flags[a->id] = (uint8_t)(QN_WP_TOKEN_PRESENT | (special ? QN_WP_TOKEN_SPECIAL : 0));
    flags[a->id] |= QN_WP_TOKEN_PATTERN;
    if (starts_with_prefix(w, a->pattern, a->pattern_bytes)) flags[a->id] |= QN_WP_TOKEN_CONTINUES;
  }
  return QUERN_OK;
}

typedef int wp_before_fn(const wp_writer *w, const qn_wp_added *x, const qn_wp_added *y);

static int before_by_id(const wp_writer *w, const qn_wp_added *x, const qn_wp_added *y) {
  (void)w;
  return x->id < y->id;
}

static int before_by_pattern(const wp_writer *w, const qn_wp_added *x, const qn_wp_added *y) {
  uint32_t n = x->pattern_bytes < y->pattern_bytes ? x->pattern_bytes : y->pattern_bytes;
  int c = memcmp(w->pool.data + x->pattern, w->pool.data + y->pattern, n);
  if (c != 0 || x->pattern_bytes != y->pattern_bytes) return c != 0 ? c < 0 : x->pattern_bytes < y->pattern_bytes;
  int special_x = w->s->tokens[x->id].flags & QN_WP_TOKEN_SPECIAL;
  int special_y = w->s->tokens[y->id].flags & QN_WP_TOKEN_SPECIAL;
  return special_x != special_y ? special_x > special_y : x->rank < y->rank;
}

/* Heapsort of indices into `added`: no recursion, no memory, n log n at worst. */
static void sort(const wp_writer *w, const qn_wp_added *added, uint32_t *order, uint32_t n, wp_before_fn *before) {
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

/* ADDED by id, then the index of those of each kind by pattern. */
static void fill_added(wp_writer *w) {
  qn_wp_added *added = (qn_wp_added *)(void *)(w->out + w->offset[QN_WP_ADDED]);
  uint32_t total = w->s->added_count;
  for (uint32_t i = 0; i < total; i++) w->order[i] = i;
  sort(w, w->s->added, w->order, total, before_by_id);
  for (uint32_t i = 0; i < total; i++) added[i] = w->s->added[w->order[i]];
  for (uint32_t kind = 0; kind <= QN_WP_NORMALIZED; kind += QN_WP_NORMALIZED) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < total; i++)
      if ((added[i].flags & QN_WP_NORMALIZED) == kind) w->order[n++] = i;
    sort(w, added, w->order, n, before_by_pattern);
    if (n) memcpy(w->out + w->offset[kind ? QN_WP_NORMAL : QN_WP_RAW], w->order, n * sizeof *w->order);
  }
}

static void fill_classes(wp_writer *w) {
  uint8_t *classes = w->out + w->offset[QN_WP_CLASSES];
  uint32_t flags = w->s->flags;
  for (uint32_t c = 0; c < 128; c++) {
    uint32_t props = qn_unicode_props(c), class = QN_WP_AS_IS;
    if ((flags & QN_WP_CLEAN) && (props & QN_UC_CONTROL))
      class = QN_WP_DROP;
    else if (props & QN_UC_SPACE)
      class = QN_WP_BLANK;
    else if (props & QN_UC_PUNCTUATION)
      class = QN_WP_PUNCTUATION;
    else if ((flags & QN_WP_LOWER) && (props & QN_UC_HAS_LOWER))
      class = QN_WP_UPPER;
    classes[c] = (uint8_t) class;
  }
  for (uint32_t i = 0; i < w->s->added_count; i++) {
    const qn_wp_added *a = &w->s->added[i];
    uint8_t first = w->pool.data[a->pattern];
    if (!(a->flags & QN_WP_NORMALIZED)) {
      classes[first] |= QN_WP_STARTS_RAW;
      /* U+FFFD also stands for malformed bytes */
      for (uint32_t c = 128;
           c < 256 && a->pattern_bytes >= 3 && memcmp(w->pool.data + a->pattern, "\xEF\xBF\xBD", 3) == 0; c++)
        classes[c] |= QN_WP_STARTS_RAW;
      continue;
    }
    for (uint32_t c = 0; c < 128; c++) {
      uint32_t out[8], n = qn_wp_normalize(flags, c, out);
      if (n == 1 && out[0] == first) classes[c] &= (uint8_t)~QN_WP_CLASS;
    }
  }
}

quern_status qn_wp_write(wp_spec *s, qn_buffer *section) {
  wp_writer w = {.s = s};
  uint64_t total = 0;
  quern_status status = QUERN_OK;
  w.h = (qn_wp_header){.kind = QN_TOKENIZER_WORDPIECE,
                       .flags = s->flags,
                       .vocab = s->vocab,
                       .unk = s->unk,
                       .max_word_chars = s->max_word_chars,
                       .added = s->added_count,
                       .single = s->single_count,
                       .pair = s->pair_count,
                       .prefix_bytes = s->prefix_bytes};
  QN_TRY_CLEANUP(qn_alloc_array(s->env, (void **)&w.order, s->added_count, 4, "the order of added tokens"));
  QN_TRY_CLEANUP(collect(&w));
  w.h.pool_bytes = (uint32_t)w.pool.bytes;
  total = qn_wp_layout(&w.h, w.offset, w.size);
  if (total == 0 || total > SIZE_MAX) {
    status = qn_fail(&s->env->error, QUERN_E_UNSUPPORTED, "tokenizer: the vocabulary is too large");
    goto cleanup;
  }
  QN_TRY_CLEANUP(qn_alloc_array(s->env, (void **)&w.out, (size_t)total, 1, "the tokenizer section"));
  QN_TRY_CLEANUP(fill_tokens(&w));
  fill_classes(&w);
  fill_added(&w);
  memcpy(w.out, &w.h, sizeof w.h);
  memcpy(w.out + w.offset[QN_WP_POOL], w.pool.data, w.pool.bytes);
  memcpy(w.out + w.offset[QN_WP_SINGLE], s->single, w.size[QN_WP_SINGLE]);
  memcpy(w.out + w.offset[QN_WP_PAIR], s->pair, w.size[QN_WP_PAIR]);
  QN_TRY_CLEANUP(qn_buffer_append(s->env, section, w.out, (size_t)total));
cleanup:
  qn_free(s->env, w.out, (size_t)total);
  qn_free(s->env, w.order, s->added_count * (size_t)4);
  qn_buffer_free(s->env, &w.pool);
  qn_buffer_free(s->env, &w.patterns);
  return status;
}
