/* source.c - a source model, whatever it comes from: its tensors by the names of model/arch.h, with shapes checked and rows in our order
 * (import.h). Not here: files (hf.c, gguf_source.c). Read-only once open. */
#include "import/source.h"

#include <string.h>

#include "base/checked.h"
#include "base/file.h"

quern_status qn_source_open(qn_source **out, qn_env *env, const char *path, uint64_t limit) {
  *out = NULL;
  if (!qn_path_exists(path)) return qn_fail(&env->error, QUERN_E_IO, "%s: no such file or directory", path);
  return qn_path_is_directory(path, 1) ? qn_source_open_directory(out, env, path, limit)
                                       : qn_source_open_gguf(out, env, path, limit);
}

void qn_source_close(qn_source *s) {
  if (s) s->kind->close(s);
}

const qn_arch *qn_source_arch(const qn_source *s) { return &s->arch; }

uint64_t qn_source_weight_bytes(const qn_source *s) { return s->kind->weight_bytes(s); }

const char *qn_source_label(const qn_source *s, uint32_t i) { return s->kind->label(s, i); }

const char *qn_source_name(const qn_source *s) { return s->name; }

quern_status qn_source_tokenizer(const qn_source *s, qn_buffer *section) { return s->kind->tokenizer(s, section); }

quern_status qn_source_speech(const qn_source *s, qn_speech *out) {
  *out = (qn_speech){.end_count = 0};
  return s->kind->speech(s, out);
}

void qn_speech_add(qn_speech *speech, int64_t id, uint32_t vocab) {
  if (id < 0 || id >= vocab || speech->end_count == QN_SPEECH_ENDS) return;
  for (uint32_t i = 0; i < speech->end_count; i++)
    if (speech->ends[i] == id) return;
  speech->ends[speech->end_count++] = (int32_t)id;
}

void qn_source_take_name(qn_source *s, const char *path) {
  size_t end = strlen(path), start;
  while (end > 0 && (path[end - 1] == '/' || path[end - 1] == '\\')) end--;
  for (start = end; start > 0 && path[start - 1] != '/' && path[start - 1] != '\\';) start--;
  qn_format(s->name, sizeof s->name, "%.*s", (int)qn_min_size(end - start, sizeof s->name - 1), path + start);
}

void qn_source_take_rotation(qn_source *s, const qn_rotation rotation[2], const float *factors) {
  if (s->arch.rotary) qn_rotation_frequencies(&rotation[0], s->arch.rotary, factors, s->frequency[0]);
  if (s->arch.local_rotary) qn_rotation_frequencies(&rotation[1], s->arch.rotary, NULL, s->frequency[1]);
}

/* ---- tensors ---- */

static void format_shape(char *buf, size_t cap, uint32_t rank, const uint64_t *dim) {
  size_t n = qn_format(buf, cap, "[");
  for (uint32_t i = 0; i < rank && i < QN_SOURCE_RANK && n < cap; i++) {
    n += qn_format(buf + n, cap - n, "%s%llu", i ? ", " : "", (unsigned long long)dim[i]);
  }
  if (n < cap) qn_format(buf + n, cap - n, rank > QN_SOURCE_RANK ? ", ...]" : "]");
}

/* The tensor that holds `name`, checked; entry NULL where the family has none. */
static quern_status find_tensor(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, qn_origin *o,
                                qn_source_tensor *out) {
  char is[128], expected[128];
  uint64_t whole[2] = {dim[0], rank == 2 ? dim[1] : 1};
  qn_error *e = &s->env->error;
  *out = (qn_source_tensor){0};
  if (!s->kind->origin(s, name, o)) return QUERN_OK;
  QN_TRY(s->kind->find(s, name, o, out));
  if (!out->entry) return qn_fail(e, QUERN_E_SOURCE, "tensor %s (%s) is missing in the weights", o->name, name);
  if (o->rows) whole[0] = o->rows;
  if (out->rank == rank && !memcmp(out->dim, whole, rank * sizeof *whole)) return QUERN_OK;
  format_shape(is, sizeof is, out->rank, out->dim);
  format_shape(expected, sizeof expected, rank, whole);
  return qn_fail(e, QUERN_E_SOURCE, "tensor %s has shape %s, %s asks for %s", o->name, is, s->kind->config, expected);
}

/* Rotary frequencies, which no source holds as they are; NULL: another tensor. */
static const float *frequencies_of(const qn_source *s, const char *name) {
  if (!strcmp(name, "rotary.frequency")) return s->frequency[0];
  return !strcmp(name, "rotary.local.frequency") ? s->frequency[1] : NULL;
}

quern_status qn_source_find(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, uint64_t *bytes) {
  qn_source_tensor t;
  qn_origin o;
  *bytes = 0;
  if (frequencies_of(s, name)) return QUERN_OK;
  QN_TRY(find_tensor(s, name, rank, dim, &o, &t));
  /* Of a tensor that is several of ours its share. */
  *bytes = o.rows && t.entry ? t.bytes / o.rows * dim[0] : t.bytes;
  return QUERN_OK;
}

quern_status qn_source_read(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim, float *dst,
                            int *present) {
  return qn_source_read_rows(s, name, rank, dim, 0, dim[0], dst, present);
}

/* The row of the source that row r of ours is, where neighbours are rotated together there: those of a head's first half are its even
   rows, those of the second its odd ones; what is not rotated stays. */
static uint64_t neighbour(const qn_arch *a, uint64_t r) {
  const uint64_t i = r % a->head_dim, half = a->rotary / 2;
  return i >= 2 * half ? r : r - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

quern_status qn_source_read_rows(const qn_source *s, const char *name, uint32_t rank, const uint64_t *dim,
                                 uint64_t first, uint64_t rows, float *dst, int *present) {
  const uint64_t width = rank == 2 ? dim[1] : 1;
  const float *frequencies = frequencies_of(s, name);
  qn_source_tensor t;
  qn_origin o;
  if (present) *present = 1;
  if (frequencies) {
    memcpy(dst, frequencies + first, (size_t)rows * sizeof *dst);
    return QUERN_OK;
  }
  QN_TRY(find_tensor(s, name, rank, dim, &o, &t));
  if (present) *present = t.entry != NULL;
  if (!t.entry && present) return QUERN_OK;
  if (!t.entry) return qn_fail(&s->env->error, QUERN_E_SOURCE, "a %s model has no tensor %s", s->family->name, name);
  if (o.pairs) {
    for (uint64_t r = 0; r < rows; r++)
      QN_TRY(s->kind->read(s, &t, o.first + neighbour(&s->arch, first + r), 1, dst + r * width));
  } else {
    QN_TRY(s->kind->read(s, &t, o.first + first, rows, dst));
  }
  if (o.plus != 0)
    for (uint64_t i = 0; i < rows * width; i++) dst[i] += o.plus;
  return QUERN_OK;
}
