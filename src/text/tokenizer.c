/* tokenizer.c - opening the TOKENIZER section, and templates. Encoding is in the file of each kind, ids back to text in
 * detokenize.c. Nothing from the section is believed: sizes are checked at open, contents where they are used.
 * Read-only: any thread. */
#include "text/tables.h"

quern_status qn_tokenizer_open(qn_tokenizer *t, qn_env *env, const void *data, size_t bytes) {
  if (((uintptr_t)data & 63u) != 0) return qn_fail(&env->error, QUERN_E_ARGUMENT, "tokenizer: not 64-byte aligned");
  if (bytes < sizeof(qn_tok_header))
    return qn_fail(&env->error, QUERN_E_FORMAT, "tokenizer: the section has %zu bytes, too few for its header", bytes);
  const qn_tok_header *h = data;
  const qn_tokenizer_kind *kind = qn_tokenizer_find_kind(h->kind);
  if (!kind)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "tokenizer: kind %u is unknown; this release knows 1 to 4",
                   h->kind);
  if (bytes < kind->header_bytes)
    return qn_fail(&env->error, QUERN_E_FORMAT, "tokenizer: the section has %zu bytes, too few for its header", bytes);
  if (h->max_token_bytes > QN_TOK_MAX_TOKEN_BYTES || h->max_probe > QN_TOK_MAX_PROBE ||
      h->pattern_chars > QN_TOK_MAX_PATTERN_CHARS)
    return qn_fail(&env->error, QUERN_E_FORMAT, "tokenizer: a number in the header is out of range");
  uint64_t offset[QN_TOKENIZER_TABLES], size[QN_TOKENIZER_TABLES];
  uint64_t total = qn_tok_layout(kind, h, offset, size);
  if (total == 0 || total != bytes)
    return qn_fail(&env->error, QUERN_E_FORMAT, "tokenizer: the section's %zu bytes are not what its header tells",
                   bytes);
  *t = (qn_tokenizer){.env = env, .data = data, .bytes = bytes, .kind = h->kind, .vocab = h->vocab, .is = kind};
  for (uint32_t i = 0; i < kind->tables; i++) {
    t->tables[i] = t->data + offset[i];
    t->sizes[i] = size[i];
  }
  return QUERN_OK;
}

const char *qn_tokenizer_name(const qn_tokenizer *t) { return t->is->name; }

quern_status qn_tokenizer_encode(const qn_tokenizer *t, const char *utf8, size_t len, int32_t type, qn_ids *out) {
  return t->is->encode(t, &(qn_text){.utf8 = utf8, .bytes = len}, type, out);
}

quern_status qn_tokenizer_encode_text(const qn_tokenizer *t, const qn_text *text, int32_t type, qn_ids *out) {
  return t->is->encode(t, text, type, out);
}

static void put(qn_ids *out, uint32_t id, int32_t type) {
  if (out->count < out->cap) {
    out->ids[out->count] = (int32_t)id;
    if (out->types) out->types[out->count] = type;
  }
  out->count++;
}

uint32_t qn_tokenizer_specials(const qn_tokenizer *t, int pair) {
  uint32_t table = pair ? QN_TABLE_PAIR : QN_TABLE_SINGLE, n = 0;
  const qn_template_item *item = t->tables[table];
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) n += !(item[i].what & QN_TEMPLATE_TEXT);
  return n;
}

uint32_t qn_tokenizer_types(const qn_tokenizer *t, int pair) {
  uint32_t table = pair ? QN_TABLE_PAIR : QN_TABLE_SINGLE, most = 0;
  const qn_template_item *item = t->tables[table];
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) {
    uint32_t type = item[i].type & 0x7FFFFFFFu;
    if (type > most) most = type;
  }
  return most + 1;
}

size_t qn_tokenizer_before(const qn_tokenizer *t, int pair, int second, size_t other) {
  uint32_t table = pair ? QN_TABLE_PAIR : QN_TABLE_SINGLE;
  const qn_template_item *item = t->tables[table];
  size_t before = 0;
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) {
    if (!(item[i].what & QN_TEMPLATE_TEXT))
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
  uint32_t table = pair ? QN_TABLE_PAIR : QN_TABLE_SINGLE;
  const qn_template_item *item = t->tables[table];
  for (uint64_t i = 0; i < t->sizes[table] / sizeof *item; i++) {
    int32_t type = (int32_t)(item[i].type & 0x7FFFFFFFu);
    if (!(item[i].what & QN_TEMPLATE_TEXT)) {
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

int qn_tokenizer_is_special(const qn_tokenizer *t, int32_t id) {
  if (id < 0 || (uint32_t)id >= t->vocab) return 0;
  return (((const uint8_t *)t->tables[QN_TABLE_TOKENS])[id] & QN_TOKEN_SPECIAL) != 0;
}
