/* tokenizer.c - opening the TOKENIZER section, templates, and ids back to text. Encoding is in wordpiece.c. Nothing
 * from the section is believed: sizes are checked at open, contents where they are used. Read-only: any thread. */
#include <string.h>
#include "base/checked.h"
#include "text/wordpiece.h"

quern_status qn_tokenizer_open(qn_tokenizer *t, qn_env *env, const void *data, size_t bytes) {
  if (((uintptr_t)data & 63u) != 0) return qn_fail(&env->error, QUERN_E_ARGUMENT, "tokenizer: not 64-byte aligned");
  if (bytes < sizeof(qn_wp_header))
    return qn_fail(&env->error, QUERN_E_FORMAT, "tokenizer: the section has %zu bytes, too few for its header", bytes);
  const qn_wp_header *h = data;
  if (h->kind != QN_TOKENIZER_WORDPIECE)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "tokenizer: kind %u is unknown (1, WordPiece, is known)", h->kind);
  uint64_t offset[QN_WP_TABLES], size[QN_WP_TABLES];
  uint64_t total = qn_wp_layout(h, offset, size);
  if (total == 0 || total != bytes)
    return qn_fail(&env->error, QUERN_E_FORMAT, "tokenizer: the section has %zu bytes, not what its header tells",
                   bytes);
  if ((h->flags & ~QN_WP_FLAGS) != 0 || h->unk >= h->vocab || h->max_word_chars == 0 ||
      h->max_word_chars > QN_WP_MAX_WORD_CHARS || h->max_token_bytes > QN_WP_MAX_TOKEN_BYTES ||
      h->max_probe > QN_WP_MAX_PROBE || h->pattern_chars > QN_WP_MAX_PATTERN_CHARS || h->prefix_bytes > h->pool_bytes)
    return qn_fail(&env->error, QUERN_E_FORMAT, "tokenizer: a number in the header is out of range");
  *t = (qn_tokenizer){.env = env, .data = data, .bytes = bytes, .kind = h->kind, .vocab = h->vocab};
  for (uint32_t i = 0; i < QN_WP_TABLES; i++) {
    t->tables[i] = t->data + offset[i];
    t->sizes[i] = size[i];
  }
  return QUERN_OK;
}

static void put(qn_ids *out, uint32_t id, int32_t type) {
  if (out->count < out->cap) {
    out->ids[out->count] = (int32_t)id;
    if (out->types) out->types[out->count] = type;
  }
  out->count++;
}

uint32_t qn_tokenizer_specials(const qn_tokenizer *t, int pair) {
  uint32_t table = pair ? QN_WP_PAIR : QN_WP_SINGLE, n = 0;
  const qn_wp_item *item = t->tables[table];
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) n += !(item[i].what & QN_WP_SEQUENCE);
  return n;
}

uint32_t qn_tokenizer_types(const qn_tokenizer *t, int pair) {
  uint32_t table = pair ? QN_WP_PAIR : QN_WP_SINGLE, most = 0;
  const qn_wp_item *item = t->tables[table];
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) {
    uint32_t type = item[i].type & 0x7FFFFFFFu;
    if (type > most) most = type;
  }
  return most + 1;
}

size_t qn_tokenizer_before(const qn_tokenizer *t, int pair, int second, size_t other) {
  uint32_t table = pair ? QN_WP_PAIR : QN_WP_SINGLE;
  const qn_wp_item *item = t->tables[table];
  size_t before = 0;
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) {
    if (!(item[i].what & QN_WP_SEQUENCE))
      before++;
    else if ((int)(item[i].what & 1u) == second)
      break;
    else
      before += other;
  }
  return before;
}

quern_status qn_tokenizer_template(const qn_tokenizer *t, const int32_t *a, size_t na, const int32_t *b, size_t nb,
                                   int pair, qn_ids *out) {
  uint32_t table = pair ? QN_WP_PAIR : QN_WP_SINGLE;
  const qn_wp_item *item = t->tables[table];
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) {
    int32_t type = (int32_t)(item[i].type & 0x7FFFFFFFu);
    if (!(item[i].what & QN_WP_SEQUENCE)) {
      if (item[i].what >= t->vocab)
        return qn_fail(&t->env->error, QUERN_E_FORMAT, "tokenizer: the template has id %u of %u", item[i].what,
                       t->vocab);
      put(out, item[i].what, type);
      continue;
    }
    int second = item[i].what & 1u;
    const int32_t *ids = second ? b : a;
    size_t n = second ? nb : na;
    for (size_t k = 0; ids && k < n; k++) put(out, (uint32_t)ids[k], type);
  }
  return QUERN_OK;
}

static uint32_t token_flags(const qn_tokenizer *t, int32_t id) {
  if (id < 0 || (uint32_t)id >= t->vocab) return 0;
  return ((const uint8_t *)t->tables[QN_WP_TOKENS])[id];
}

int qn_tokenizer_is_special(const qn_tokenizer *t, int32_t id) {
  return (token_flags(t, id) & QN_WP_TOKEN_SPECIAL) != 0;
}

/* In s, replaces every `from`, left to right, by `to`, which is not longer; returns the new length. */
static size_t replace(char *s, size_t n, const char *from, const char *to) {
  size_t f = strlen(from), r = strlen(to), at = 0, kept = 0;
  while (at < n) {
    if (n - at >= f && memcmp(s + at, from, f) == 0) {
      memcpy(s + kept, to, r);
      at += f;
      kept += r;
    } else {
      s[kept++] = s[at++];
    }
  }
  return kept;
}

/* The WordPiece decoder's cleanup, in its order, of one token with the blank before it. */
static size_t clean_up(char *s, size_t n) {
  static const char *const rule[][2] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
  };
  for (size_t i = 0; i < sizeof rule / sizeof rule[0]; i++) n = replace(s, n, rule[i][0], rule[i][1]);
  return n;
}

quern_status qn_tokenizer_decode(const qn_tokenizer *t, const int32_t *ids, size_t n, int keep_special, char *buf,
                                 size_t cap, size_t *len) {
  const qn_wp_header *h = (const void *)t->data;
  const uint32_t *offsets = t->tables[QN_WP_OFFSETS];
  const char *pool = t->tables[QN_WP_POOL];
  char text[QN_WP_MAX_TOKEN_BYTES + 1]; /* a blank and the token */
  size_t total = 0;
  int first = 1;
  for (size_t i = 0; i < n; i++) {
    uint32_t flags = token_flags(t, ids[i]);
    if (!(flags & QN_WP_TOKEN_PRESENT) || (!keep_special && (flags & QN_WP_TOKEN_SPECIAL))) continue;
    uint32_t from = offsets[ids[i]], to = offsets[ids[i] + 1];
    if (flags & QN_WP_TOKEN_PATTERN) {
      const qn_wp_added *a = qn_wp_find_added(t, (uint32_t)ids[i]);
      from = a ? a->pattern : 1;
      to = a && a->pattern_bytes <= UINT32_MAX - from ? from + a->pattern_bytes : 0;
    }
    if (from > to || to > t->sizes[QN_WP_POOL] || to - from > QN_WP_MAX_TOKEN_BYTES)
      return qn_fail(&t->env->error, QUERN_E_FORMAT, "tokenizer: token %d has no text in the section", ids[i]);
    size_t bytes = 0;
    if ((h->flags & QN_WP_DECODER) && (flags & QN_WP_TOKEN_CONTINUES) && !first) {
      from = to - from < h->prefix_bytes ? to : from + h->prefix_bytes;
    } else if (!first) {
      text[bytes++] = ' ';
    }
    memcpy(text + bytes, pool + from, to - from);
    bytes += to - from;
    if (h->flags & QN_WP_CLEANUP) bytes = clean_up(text, bytes);
    if (total < cap) memcpy(buf + total, text, qn_min_size(bytes, cap - total));
    total += bytes;
    first = 0;
  }
  if (total < cap) buf[total] = 0;
  *len = total;
  if (cap != 0 && total >= cap)
    return qn_fail(&t->env->error, QUERN_E_CAPACITY, "the text needs %zu bytes, with its NUL", total + 1);
  return QUERN_OK;
}
