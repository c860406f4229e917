/* arch.c - the check of a qn_arch, wherever it came from, and the table of families.
 * Not here: what a family's config means (arch_*.c), where an arch's tensors lie in a file (model.c).
 * Stateless; any thread. */
#include "model/arch.h"
#include <stddef.h>
#include <string.h>
#include "model/family.h"

_Static_assert(sizeof(qn_arch) == 128, "qn_arch is a file format");

static const qn_family *const families[] = {&qn_family_bert, &qn_family_mpnet, &qn_family_distilbert,
                                            &qn_family_electra};
enum { FAMILIES = sizeof families / sizeof families[0] };

const qn_family *qn_family_at(uint32_t i) { return i < FAMILIES ? families[i] : NULL; }

const char *qn_family_name(uint32_t i) { return i < FAMILIES ? families[i]->name : NULL; }

const qn_family *qn_family_find(const char *model_type) {
  for (uint32_t i = 0; i < FAMILIES; i++)
    for (const char *const *t = families[i]->model_types; *t; t++)
      if (!strcmp(*t, model_type)) return families[i];
  return NULL;
}

typedef struct bound {
  const char *name;
  size_t field;
  uint32_t min, max;
} bound;

/* Sizes: outside of these is a damaged file or a nonsensical config. */
static const bound sizes[] = {
    {"layers", offsetof(qn_arch, layers), 1, QN_MAX_LAYERS},
    {"width", offsetof(qn_arch, width), 1, QN_MAX_WIDTH},
    {"heads", offsetof(qn_arch, heads), 1, QN_MAX_WIDTH},
    {"key/value heads", offsetof(qn_arch, kv_heads), 1, QN_MAX_WIDTH},
    {"head size", offsetof(qn_arch, head_dim), 1, QN_MAX_HEAD_DIM},
    {"feed-forward width", offsetof(qn_arch, ffn), 1, QN_MAX_FFN},
    {"vocabulary", offsetof(qn_arch, vocab), 1, QN_MAX_VOCAB},
    {"positions", offsetof(qn_arch, positions), 1, QN_MAX_POSITIONS},
    {"position offset", offsetof(qn_arch, position_offset), 0, QN_MAX_POSITION_OFFSET},
    {"token types", offsetof(qn_arch, types), 0, QN_MAX_TYPES},
    {"labels", offsetof(qn_arch, labels), 0, QN_MAX_LABELS},
    {"normalize", offsetof(qn_arch, normalize), 0, 1},
    {"head pooler", offsetof(qn_arch, head_pooler), 0, 1},
    {"relative bias", offsetof(qn_arch, relative_bias), 0, 1},
    {"embedding width", offsetof(qn_arch, embed_width), 0, QN_MAX_WIDTH},
    {"dense outputs", offsetof(qn_arch, dense), 0, QN_MAX_WIDTH},
};

/* Kinds: outside of these is something that this version does not execute. */
static const bound kinds[] = {
    {"norm", offsetof(qn_arch, norm), QN_NORM_LAYER, QN_NORM_LAYER},
    {"norm placement", offsetof(qn_arch, place), QN_PLACE_POST, QN_PLACE_POST},
    {"feed-forward activation", offsetof(qn_arch, activation), QN_ACT_GELU, QN_ACT_RELU},
    {"pooling", offsetof(qn_arch, pool), QN_POOL_NONE, QN_POOL_LAST},
    {"head", offsetof(qn_arch, head), QN_HEAD_NONE, QN_HEAD_SPAN},
    {"recipe", offsetof(qn_arch, recipe), 0, QN_RECIPE_STATIC},
};

static uint32_t field_of(const qn_arch *a, size_t field) {
  uint32_t v;
  memcpy(&v, (const char *)a + field, sizeof v);
  return v;
}

static int family_known(uint32_t id) {
  for (uint32_t i = 0; i < FAMILIES; i++)
    if (families[i]->id == id) return 1;
  return 0;
}

quern_status qn_arch_check(const qn_arch *a, qn_env *env, quern_status s) {
  qn_error *e = &env->error;
  if (a->bytes != sizeof *a) {
    return qn_fail(e, s, "architecture: the record has %u bytes instead of %zu", a->bytes, sizeof *a);
  }
  if (!family_known(a->family)) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "architecture: family %u is not known; a later version may have made the file", a->family);
  }
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    uint32_t v = field_of(a, kinds[i].field);
    if (v < kinds[i].min || v > kinds[i].max) {
      return qn_fail(e, QUERN_E_UNSUPPORTED,
                     "architecture: %s of kind %u is not known; a later version may have made the file", kinds[i].name,
                     v);
    }
  }
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    uint32_t v = field_of(a, sizes[i].field);
    if (v < sizes[i].min || v > sizes[i].max) {
      return qn_fail(e, s, "architecture: %s is %u, outside of %u to %u", sizes[i].name, v, sizes[i].min, sizes[i].max);
    }
  }
  if ((uint64_t)a->heads * a->head_dim > QN_MAX_WIDTH) {
    return qn_fail(e, s, "architecture: %u heads of size %u are more than %u channels", a->heads, a->head_dim,
                   (unsigned)QN_MAX_WIDTH);
  }
  if (a->kv_heads != a->heads) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "architecture: %u key/value heads for %u heads (grouped attention) are not supported", a->kv_heads,
                   a->heads);
  }
  if (a->recipe == QN_RECIPE_STATIC && a->heads * a->head_dim % 16 != 0) {
    return qn_fail(
        e, QUERN_E_UNSUPPORTED,
        "architecture: static ranges need heads x head size to be a multiple of 16; it is %u: take another recipe",
        a->heads * a->head_dim);
  }
  if (!(a->norm_eps > 0 && a->norm_eps <= 1)) { /* false for NaN too */
    return qn_fail(e, s, "architecture: the norm's epsilon is not between 0 and 1");
  }
  if (a->sentence_tokens < 1 || a->sentence_tokens > a->positions) {
    return qn_fail(e, s, "architecture: texts of %u tokens with %u positions", a->sentence_tokens, a->positions);
  }
  if (a->normalize && a->pool == QN_POOL_NONE) {
    return qn_fail(e, s, "architecture: embeddings are normalized but not pooled");
  }
  if (a->ffn_copies >= a->ffn) {
    return qn_fail(e, s, "architecture: %u of %u feed-forward channels are copies", a->ffn_copies, a->ffn);
  }
  if (a->recipe == 0 && s != QUERN_E_SOURCE) return qn_fail(e, s, "architecture: the recipe is missing");
  if (a->head == QN_HEAD_NONE ? a->labels != 0 || a->head_pooler != 0
                              : (a->head == QN_HEAD_REGRESSION) != (a->labels == 1) || a->labels == 0) {
    return qn_fail(e, s, "architecture: a head of kind %u with %u labels contradicts itself", a->head, a->labels);
  }
  if (a->head == QN_HEAD_SPAN && (a->labels != 2 || a->head_pooler)) {
    return qn_fail(e, s, "architecture: a span head has 2 outputs and no pooler, not %u and %u", a->labels,
                   a->head_pooler);
  }
  if (a->head_pooler ? a->head_activation < QN_ACT_GELU || a->head_activation > QN_ACT_NONE : a->head_activation != 0) {
    return qn_fail(e, s, "architecture: the head pooler's activation %u is not a known one", a->head_activation);
  }
  if (a->dense ? a->pool == QN_POOL_NONE || a->dense_activation < QN_ACT_GELU || a->dense_activation > QN_ACT_NONE
               : a->dense_activation != 0) {
    return qn_fail(e, s, "architecture: %u dense outputs with activation %u and pooling %u contradict themselves",
                   a->dense, a->dense_activation, a->pool);
  }
  for (size_t i = 0; i < sizeof a->reserved / sizeof a->reserved[0]; i++) {
    if (a->reserved[i] != 0)
      return qn_fail(e, QUERN_E_UNSUPPORTED,
                     "architecture: fields that are not known here are in use: a later version made the file; use one");
  }
  return QUERN_OK;
}
