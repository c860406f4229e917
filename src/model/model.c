/* model.c - opens a .qrn file as a model: checks the architecture, has its tensors resolved (resolve.c), opens the tokenizer. Reads no
 * weights. A model is read-only once created; the reference count alone changes. */
#include "model/model.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "model/places.h"
#include "model/resolve.h"

#define LAYER_TENSORS 5u /* that a layer has at least: four weights, the gain of a norm */
#define ARCH_BYTES_LEAST 128u
#define ARCH_BYTES_MOST 4096u

/* The ARCH section as a checked qn_arch. A shorter record lacks fields that are 0; what a longer one has more must be 0. */
static quern_status read_arch(const qrn_reader *file, qn_env *env, qn_arch *out) {
  size_t bytes = 0;
  const uint8_t *p = qrn_section_data(file, QRN_ARCH, &bytes);
  if (!p || bytes < ARCH_BYTES_LEAST || bytes > ARCH_BYTES_MOST || bytes % 4 || qn_load_u32(p) != bytes)
    return qn_fail(&env->error, QUERN_E_FORMAT, "malformed .qrn file: the architecture section has %zu bytes", bytes);
  memset(out, 0, sizeof *out);
  memcpy(out, p, qn_min_size(bytes, sizeof *out));
  out->bytes = sizeof *out;
  for (size_t i = sizeof *out; i < bytes; i++)
    if (p[i])
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "architecture: fields that are not known here are in use: a later version made the file; use one");
  return qn_arch_check(out, env, QUERN_E_FORMAT);
}

/* Ids in decimal with blanks between them, each of the vocabulary. */
static quern_status read_ends(quern_model *m) {
  qrn_meta v;
  if (!m->arch.causal || !qrn_meta_find(&m->file, "tokenizer.end", &v)) return QUERN_OK;
  const char *text = v.value;
  uint64_t id = 0;
  int digits = 0;
  for (size_t i = 0; i <= v.value_bytes; i++) {
    const int ends = i == v.value_bytes || text[i] == ' ';
    if (!ends && (text[i] < '0' || text[i] > '9' || digits == 9)) break;
    if (ends && (!digits || id >= m->arch.vocab || m->end_count == QN_ENDS_MOST)) break;
    if (ends)
      m->ends[m->end_count++] = (int32_t)id;
    else
      id = digits ? 10 * id + (uint64_t)(text[i] - '0') : (uint64_t)(text[i] - '0');
    digits = ends ? 0 : digits + 1;
    if (i == v.value_bytes) return QUERN_OK;
  }
  return qn_fail(&m->env->error, QUERN_E_FORMAT,
                 "malformed .qrn file: tokenizer.end is no list of at most %u token ids", (unsigned)QN_ENDS_MOST);
}

quern_status qn_model_create(quern_model **out, struct quern_context *c, qn_env *env, qn_map map, uint64_t limit) {
  quern_status status;
  qrn_reader file;
  qn_arch arch;
  void *block = NULL;
  size_t bytes = 0;

  QN_TRY_CLEANUP(qrn_open(&file, env, map.data, map.bytes));
  QN_TRY_CLEANUP(read_arch(&file, env, &arch));
  if (arch.layers > file.tensor_count / LAYER_TENSORS) { /* before memory is taken for them */
    status = qn_fail(&env->error, QUERN_E_FORMAT, "malformed .qrn file: %u layers in %u tensors", arch.layers,
                     file.tensor_count);
    goto cleanup;
  }
  bytes = qn_round_up(sizeof(quern_model), 64) +
          (size_t)arch.layers * sizeof(qn_layer); /* layers <= 4096: no overflow */
  if (limit && bytes > limit) {
    status = qn_fail(&env->error, QUERN_E_LIMIT, "opening needs %zu bytes, the limit is %llu", bytes,
                     (unsigned long long)limit);
    goto cleanup;
  }
  QN_TRY_CLEANUP(qn_alloc(env, &block, bytes, "the model"));
  memset(block, 0, bytes);
  quern_model *m = block;
  m->context = c;
  m->env = env;
  atomic_init(&m->references, 1);
  m->file = file;
  m->arch = arch;
  m->bytes = bytes;
  m->layers = (qn_layer *)((uint8_t *)block + qn_round_up(sizeof(quern_model), 64));
  QN_TRY_CLEANUP(qn_model_resolve(m));
  if (arch.recipe == QN_RECIPE_STATIC) QN_TRY_CLEANUP(qn_places_create(m, limit ? limit - bytes : UINT64_MAX));
  size_t tokenizer_bytes = 0;
  const uint8_t *tokenizer = qrn_section_data(&file, QRN_TOKENIZER, &tokenizer_bytes);
  if (tokenizer) {
    QN_TRY_CLEANUP(qn_tokenizer_open(&m->tokenizer, env, tokenizer, tokenizer_bytes));
    if (m->tokenizer.vocab > arch.vocab) {
      status = qn_fail(&env->error, QUERN_E_FORMAT, "the tokenizer has %u ids, the embedding table %u rows",
                       m->tokenizer.vocab, arch.vocab);
      goto cleanup;
    }
  }
  QN_TRY_CLEANUP(read_ends(m));
  m->map = map;
  *out = m;
  return QUERN_OK;

cleanup:
  if (block) qn_free(env, ((quern_model *)block)->places, ((quern_model *)block)->places_bytes);
  qn_free(env, block, bytes);
  qn_map_close(&map);
  return status;
}

const float *qn_model_frequency(const quern_model *m, uint32_t layer) {
  return m->local_frequency && qn_arch_is_local(&m->arch, layer) ? m->local_frequency : m->frequency;
}

void qn_model_retain(quern_model *m) { atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed); }

void qn_model_release(quern_model *m) {
  if (!m || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) return;
  qn_map map = m->map;
  qn_free(m->env, m->places, m->places_bytes);
  qn_free(m->env, m, m->bytes);
  qn_map_close(&map);
}
