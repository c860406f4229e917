/* reader.c - normalized characters of raw text, without storing it. Composition follows the algorithm of Unicode
 * (UAX 15): a starter takes the marks behind it, in canonical order, that it composes with and that none of the same or a
 * higher class before them blocks; a starter that follows without marks left between is taken alike. */
#include "text/reader.h"
#include "base/utf8.h"

/* The part at the place, and on to the next; QN_READ_END at the end. */
static uint32_t next_part(const qn_reader *r, qn_part *at) {
  if (at->p >= r->end) return QN_READ_END;
  uint32_t used = 0, parts[4];
  const uint32_t cp = qn_utf8_decode(at->p, (size_t)(r->end - at->p), &used);
  const uint32_t n = qn_unicode_decompose(cp, parts), part = parts[at->sub < n ? at->sub : n - 1];
  if (++at->sub >= n) *at = (qn_part){at->p + used, 0};
  return part;
}

static int same(qn_part a, qn_part b) { return a.p == b.p && a.sub == b.sub; }

/* Past the marks at `at`. */
static qn_part skip_marks(const qn_reader *r, qn_part at) {
  for (;;) {
    qn_part next = at;
    const uint32_t part = next_part(r, &next);
    if (part == QN_READ_END || qn_unicode_class(part) == 0) return at;
    at = next;
  }
}

/* The lowest class above m->class among the marks, or -1. */
static int32_t next_class(const qn_reader *r, const qn_marks *m) {
  int32_t best = -1;
  for (qn_part at = m->from; !same(at, m->to);) {
    const int32_t class = (int32_t)qn_unicode_class(next_part(r, &at));
    if (class > m->class && (best < 0 || class < best)) best = class;
  }
  return best;
}

/* The next mark that is not composed, or QN_READ_END. */
static uint32_t next_mark(const qn_reader *r, qn_marks *m) {
  for (;;) {
    if (same(m->at, m->to)) {
      const int32_t class = next_class(r, m);
      if (class < 0) return QN_READ_END;
      m->class = class;
      m->at = m->from;
    }
    const uint32_t mark = next_part(r, &m->at);
    if ((int32_t)qn_unicode_class(mark) != m->class) continue;
    const uint32_t joined = m->starter != QN_READ_END && m->last < m->class ? qn_unicode_compose(m->starter, mark) : 0;
    if (joined) {
      m->starter = joined;
      continue;
    }
    m->last = m->class;
    return mark;
  }
}

static qn_marks begin_marks(uint32_t starter, qn_part from, qn_part to) {
  return (qn_marks){.from = from, .to = to, .at = to, .starter = starter, .class = 0, .last = -1};
}

/* The sequence that begins at part `sub` of the raw character at p: its starter is the current character, its marks
   follow. A sequence without a starter gives its first mark. */
static void begin_sequence(qn_reader *r) {
  qn_part at = {r->p, r->sub}, behind = at;
  const uint32_t first = next_part(r, &behind);
  uint32_t starter = qn_unicode_class(first) ? QN_READ_END : first;
  r->from = r->p;
  for (;;) {
    if (starter != QN_READ_END) at = behind;
    r->marks = begin_marks(starter, at, skip_marks(r, at));
    qn_marks all = r->marks;
    const uint32_t left = next_mark(r, &all);
    behind = r->marks.to;
    if (left == QN_READ_END) { /* none is left between: a starter may follow and be taken */
      const uint32_t other = next_part(r, &behind);
      const uint32_t joined = other != QN_READ_END ? qn_unicode_compose(all.starter, other) : 0;
      if (joined) {
        starter = joined;
        continue;
      }
    }
    while (left != QN_READ_END && next_mark(r, &all) != QN_READ_END) {}
    r->p = r->marks.to.p, r->sub = r->marks.to.sub;
    r->to = r->p;
    r->in_marks = left != QN_READ_END;
    r->cp = all.starter != QN_READ_END ? all.starter : next_mark(r, &r->marks);
    return;
  }
}

static int is_unstable(const qn_reader *r, const uint8_t *p) {
  uint32_t used = 0;
  if (p >= r->end || *p < 0x80) return 0;
  return (qn_unicode_props(qn_utf8_decode(p, (size_t)(r->end - p), &used)) & QN_UC_UNSTABLE) != 0;
}

void qn_reader_next(qn_reader *r) {
  if (r->left == 0) {
    r->cp = QN_READ_END;
    return;
  }
  r->left--;
  if (r->in_marks) {
    r->cp = next_mark(r, &r->marks);
    if (r->cp != QN_READ_END) return;
    r->in_marks = 0;
  }
  if (r->p >= r->end) {
    r->cp = QN_READ_END;
    return;
  }
  uint32_t used = 1;
  r->cp = qn_utf8_decode(r->p, (size_t)(r->end - r->p), &used);
  if ((r->flags & QN_READ_NFC) &&
      (r->sub || (r->cp >= 0x80 && (qn_unicode_props(r->cp) & QN_UC_UNSTABLE)) || is_unstable(r, r->p + used))) {
    begin_sequence(r);
    return;
  }
  r->from = r->p;
  r->to = r->p += used;
  if (r->cp == 0x2581u && (r->flags & QN_READ_BLANKS)) r->cp = ' ';
}

void qn_reader_begin(qn_reader *r, const uint8_t *text, const uint8_t *end, uint32_t flags, int blank) {
  *r = (qn_reader){.flags = flags, .from = text, .to = text, .p = text, .end = end, .left = UINT64_MAX};
  if (blank && text < end)
    r->cp = ' ';
  else
    qn_reader_next(r);
}

void qn_reader_seek(qn_reader *r, const uint8_t *p) {
  r->left -= (uint64_t)(p - r->p);
  r->p = p;
  qn_reader_next(r);
}
