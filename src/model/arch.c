/* arch.c - the check of a qn_arch, wherever it came from, and the table of families.
 * Not here: what a family's config means (arch_*.c), where an arch's tensors lie in a file (model.c).
 * Stateless; any thread. */
#include "model/arch.h"
#include <stddef.h>
#include <string.h>
#include "kernels/layout.h"
#include "model/family.h"

_Static_assert(sizeof(qn_arch) == 192, "qn_arch is a file format");

static const qn_family *const families[] = {
    &qn_family_bert,    &qn_family_mpnet, &qn_family_distilbert, &qn_family_electra, &qn_family_llama,
    &qn_family_mistral, &qn_family_qwen2, &qn_family_gemma3,     &qn_family_phi2,    &qn_family_nomic};
enum { FAMILIES = sizeof families / sizeof families[0] };

const qn_family *qn_family_at(uint32_t i) { return i < FAMILIES ? families[i] : NULL; }

const char *qn_family_name(uint32_t i) { return i < FAMILIES ? families[i]->name : NULL; }

const qn_family *qn_family_find(const char *model_type) {
  for (uint32_t i = 0; i < FAMILIES; i++)
    for (const char *const *t = families[i]->model_types; *t; t++)
      if (!strcmp(*t, model_type)) return families[i];
  return NULL;
}

quern_status qn_family_describe(const qn_family *f, qn_arch *a, qn_rotation rotation[2], qn_env *env, const qn_json *c,
                                qn_has_fn *has_tensor, void *user) {
  return f->decoder ? qn_decoder_describe(f->decoder, a, rotation, env, c, has_tensor, user)
                    : f->describe(a, env, c, has_tensor, user);
}

int qn_family_origin(const qn_family *f, const qn_arch *a, const char *name, qn_has_fn *has_tensor, void *user,
                     qn_origin *out) {
  return f->decoder ? qn_decoder_origin(f->decoder, a, name, has_tensor, user, out)
                    : f->origin(a, name, has_tensor, user, out);
}

const qn_family *qn_family_find_gguf(const char *architecture) {
  for (uint32_t i = 0; i < FAMILIES; i++) {
    const struct qn_decoder *d = families[i]->decoder;
    if (d && d->gguf && !strcmp(d->gguf, architecture)) return families[i];
  }
  return NULL;
}

uint32_t qn_arch_record_bytes(const qn_arch *a) {
  static const qn_arch nothing;
  const size_t first = offsetof(qn_arch, final_norm);
  return memcmp((const char *)a + first, (const char *)&nothing + first, sizeof *a - first) ? sizeof *a
                                                                                            : (uint32_t)first;
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
    {"labels", offsetof(qn_arch, labels), 0, QN_MAX_VOCAB},
    {"normalize", offsetof(qn_arch, normalize), 0, 1},
    {"head pooler", offsetof(qn_arch, head_pooler), 0, 1},
    {"relative bias", offsetof(qn_arch, relative_bias), 0, 1},
    {"embedding width", offsetof(qn_arch, embed_width), 0, QN_MAX_WIDTH},
    {"dense outputs", offsetof(qn_arch, dense), 0, QN_MAX_WIDTH},
    {"causal", offsetof(qn_arch, causal), 0, 1},
    {"gated", offsetof(qn_arch, gated), 0, 1},
    {"no embedding norm", offsetof(qn_arch, no_embed_norm), 0, 1},
    {"final norm", offsetof(qn_arch, final_norm), 0, 1},
    {"rotary dimensions", offsetof(qn_arch, rotary), 0, QN_MAX_HEAD_DIM},
    {"window", offsetof(qn_arch, window), 0, QN_MAX_POSITIONS},
    {"head Hadamard", offsetof(qn_arch, head_hadamard), 0, 1},
    {"global layers", offsetof(qn_arch, global_every), 0, QN_MAX_LAYERS},
    {"local rotary", offsetof(qn_arch, local_rotary), 0, 1},
    {"head norm", offsetof(qn_arch, head_norm), 0, 1},
    {"tied", offsetof(qn_arch, tied), 0, 1},
    {"outputs of the second dense operator", offsetof(qn_arch, dense2), 0, QN_MAX_WIDTH},
};

/* Kinds: outside of these is something that this version does not execute. */
static const bound kinds[] = {
    {"norm", offsetof(qn_arch, norm), QN_NORM_LAYER, QN_NORM_RMS},
    {"norm placement", offsetof(qn_arch, place), QN_PLACE_POST, QN_PLACE_PARALLEL},
    {"feed-forward activation", offsetof(qn_arch, activation), QN_ACT_GELU, QN_ACT_SILU},
    {"pooling", offsetof(qn_arch, pool), QN_POOL_NONE, QN_POOL_LAST},
    {"head", offsetof(qn_arch, head), QN_HEAD_NONE, QN_HEAD_TOKENS},
    {"recipe", offsetof(qn_arch, recipe), 0, QN_RECIPE_STATIC},
};

/* Numbers that are 0 where the model has none, and otherwise finite and at least 2^-64. */
static const struct {
  const char *name;
  size_t field;
} factors[] = {
    {"embedding scale", offsetof(qn_arch, embed_scale)},
    {"score scale", offsetof(qn_arch, score_scale)},
    {"score cap", offsetof(qn_arch, score_cap)},
    {"logit cap", offsetof(qn_arch, logit_cap)},
};

static uint32_t field_of(const qn_arch *a, size_t field) {
  uint32_t v;
  memcpy(&v, (const char *)a + field, sizeof v);
  return v;
}

static int family_known(uint32_t id) { return id >= QN_FAMILY_BERT && id <= QN_FAMILY_NOMIC; }

int qn_arch_is_bert_like(const qn_arch *a) {
  return a->norm == QN_NORM_LAYER && a->place == QN_PLACE_POST && a->kv_heads == a->heads && !a->causal && !a->gated &&
         !a->no_embed_norm && a->activation <= QN_ACT_RELU && qn_arch_record_bytes(a) == offsetof(qn_arch, final_norm);
}

/* ---- the check, part by part; each is given the status of nonsense ---- */

static quern_status check_fields(const qn_arch *a, qn_error *e, quern_status s) {
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    uint32_t v = field_of(a, kinds[i].field);
    if (v < kinds[i].min || v > kinds[i].max) {
      return qn_fail(e, QUERN_E_UNSUPPORTED, "architecture: %s of kind %u is not supported", kinds[i].name, v);
    }
  }
  if (a->activation == QN_ACT_TANH || a->activation == QN_ACT_NONE)
    return qn_fail(e, QUERN_E_UNSUPPORTED, "architecture: feed-forward activation of kind %u is not supported",
                   a->activation);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    uint32_t v = field_of(a, sizes[i].field);
    if (v < sizes[i].min || v > sizes[i].max) {
      return qn_fail(e, s, "architecture: %s is %u, outside of %u to %u", sizes[i].name, v, sizes[i].min, sizes[i].max);
    }
  }
  for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
    float v;
    memcpy(&v, (const char *)a + factors[i].field, sizeof v);
    if (field_of(a, factors[i].field) && !(v >= 0x1p-64f && v <= 0x1p64f)) /* refuses NaN and -0 too */
      return qn_fail(e, s, "architecture: the %s is not 0, nor a number from 2^-64 to 2^64", factors[i].name);
  }
  if (!(a->norm_eps > 0 && a->norm_eps <= 1)) { /* false for NaN too */
    return qn_fail(e, s, "architecture: the norm's epsilon is not between 0 and 1");
  }
  for (size_t i = 0; i < sizeof a->reserved / sizeof a->reserved[0]; i++) {
    if (a->reserved[i])
      return qn_fail(e, QUERN_E_UNSUPPORTED,
                     "architecture: fields that this version does not know are in use: use a later one");
  }
  return QUERN_OK;
}

/* What attention and the blocks are made of. */
static quern_status check_layers(const qn_arch *a, qn_error *e, quern_status s) {
  if ((uint64_t)a->heads * a->head_dim > QN_MAX_WIDTH) {
    return qn_fail(e, s, "architecture: %u heads of size %u are more than %u channels", a->heads, a->head_dim,
                   (unsigned)QN_MAX_WIDTH);
  }
  if (a->kv_heads > a->heads || a->heads % a->kv_heads != 0)
    return qn_fail(e, s, "architecture: %u heads do not share %u key/value heads evenly", a->heads, a->kv_heads);
  if (a->ffn_copies >= a->ffn) {
    return qn_fail(e, s, "architecture: %u of %u feed-forward channels are copies", a->ffn_copies, a->ffn);
  }
  if (a->gated && (a->ffn % 16 != 0 || a->ffn_copies))
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "architecture: a gated feed-forward block has a multiple of 16 channels and no copies, "
                   "not %u and %u",
                   a->ffn, a->ffn_copies);
  if (a->rotary % 2 || a->rotary > a->head_dim)
    return qn_fail(e, s, "architecture: %u rotary dimensions of heads of size %u", a->rotary, a->head_dim);
  if (a->rotary && a->position_offset)
    return qn_fail(e, s, "architecture: rotary positions have no table, and so no offset %u in it", a->position_offset);
  if (!a->window && (a->global_every || a->local_rotary))
    return qn_fail(e, s, "architecture: local layers are described, but they have no window");
  if (a->local_rotary && !a->rotary)
    return qn_fail(e, s, "architecture: local layers have rotary frequencies, but nothing is rotated");
  if (a->relative_bias && (a->rotary || a->window || a->causal || a->score_cap != 0 || a->kv_heads != a->heads))
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "architecture: a relative bias is not supported beside rotary positions, a window, a score cap, "
                   "shared key/value heads or in a causal model");
  if (a->head_norm && !a->rotary)
    return qn_fail(e, QUERN_E_UNSUPPORTED, "architecture: norms of heads without rotary positions are not supported");
  if (a->head_hadamard && (!a->rotary || a->head_dim < QK_LANES || (a->head_dim & (a->head_dim - 1))))
    return qn_fail(
        e, QUERN_E_UNSUPPORTED,
        "architecture: Hadamard matrices need rotary positions and heads whose size is a power of two from %u "
        "on, not %u",
        QK_LANES, a->head_dim);
  return QUERN_OK;
}

/* Norms where the steps of run/ have them. */
static quern_status check_norms(const qn_arch *a, qn_error *e) {
  const int post = a->place == QN_PLACE_POST;
  if (post ? a->final_norm || a->no_embed_norm || a->norm != QN_NORM_LAYER : !a->final_norm || !a->no_embed_norm)
    return qn_fail(
        e, QUERN_E_UNSUPPORTED,
        "architecture: norms of kind %u placed as %u, %s final norm and %s embedding norm, are not supported", a->norm,
        a->place, a->final_norm ? "with a" : "without a", a->no_embed_norm ? "no" : "an");
  if (a->place == QN_PLACE_SANDWICH && a->norm != QN_NORM_RMS)
    return qn_fail(e, QUERN_E_UNSUPPORTED, "architecture: norms around blocks are RMS norms");
  if (!post && a->embed_width)
    return qn_fail(e, QUERN_E_UNSUPPORTED, "architecture: embeddings of another width need an embedding norm");
  return QUERN_OK;
}

/* What comes behind the layers, and whether a model that is causal is one that this version runs. */
static quern_status check_outputs(const qn_arch *a, qn_error *e, quern_status s) {
  const int tokens = a->head == QN_HEAD_TOKENS;
  if (a->sentence_tokens < 1 || a->sentence_tokens > a->positions) {
    return qn_fail(e, s, "architecture: texts of %u tokens with %u positions", a->sentence_tokens, a->positions);
  }
  if (a->normalize && a->pool == QN_POOL_NONE) {
    return qn_fail(e, s, "architecture: embeddings are normalized but not pooled");
  }
  if (!tokens && a->labels > QN_MAX_LABELS)
    return qn_fail(e, s, "architecture: labels is %u, outside of 0 to %u", a->labels, (unsigned)QN_MAX_LABELS);
  if (a->head == QN_HEAD_NONE ? a->labels != 0 || a->head_pooler != 0
                              : (a->head == QN_HEAD_REGRESSION) != (a->labels == 1 && !tokens) || a->labels == 0) {
    return qn_fail(e, s, "architecture: a head of kind %u with %u labels contradicts itself", a->head, a->labels);
  }
  if (a->head == QN_HEAD_SPAN && (a->labels != 2 || a->head_pooler)) {
    return qn_fail(e, s, "architecture: a span head has 2 outputs and no pooler, not %u and %u", a->labels,
                   a->head_pooler);
  }
  if (tokens && (a->labels != a->vocab || a->head_pooler || a->pool != QN_POOL_NONE))
    return qn_fail(e, s, "architecture: a head for tokens has %u outputs, no pooler and no pooling, not %u, %u and %u",
                   a->vocab, a->labels, a->head_pooler, a->pool);
  if (!tokens && (a->tied || a->logit_cap != 0))
    return qn_fail(e, s, "architecture: %s without a head for tokens",
                   a->tied ? "tied embeddings" : "a cap of its logits");
  if (a->head_pooler ? a->head_activation < QN_ACT_GELU || a->head_activation > QN_ACT_NONE : a->head_activation != 0) {
    return qn_fail(e, s, "architecture: the head pooler's activation %u is not a known one", a->head_activation);
  }
  if (a->dense ? a->pool == QN_POOL_NONE || a->dense_activation < QN_ACT_GELU || a->dense_activation > QN_ACT_NONE
               : a->dense_activation != 0) {
    return qn_fail(e, s, "architecture: %u dense outputs with activation %u and pooling %u contradict themselves",
                   a->dense, a->dense_activation, a->pool);
  }
  if (a->dense2 ? !a->dense || a->dense2_activation < QN_ACT_GELU || a->dense2_activation > QN_ACT_NONE
                : a->dense2_activation != 0) {
    return qn_fail(e, s,
                   "architecture: %u outputs of a second dense operator with activation %u behind %u of the "
                   "first contradict themselves",
                   a->dense2, a->dense2_activation, a->dense);
  }
  if (a->causal ? !tokens || !a->rotary || a->place == QN_PLACE_POST || a->types : tokens || a->score_cap != 0)
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   a->causal ? "architecture: a causal model has rotary positions, norms before its blocks, no token "
                               "types and a head for tokens"
                             : "architecture: a head for tokens and a score cap are for causal models");
  return QUERN_OK;
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
  QN_TRY(check_fields(a, e, s));
  if (a->recipe == 0 && s != QUERN_E_SOURCE) return qn_fail(e, s, "architecture: the recipe is missing");
  QN_TRY(check_layers(a, e, s));
  QN_TRY(check_norms(a, e));
  QN_TRY(check_outputs(a, e, s));
  if (a->recipe != QN_RECIPE_STATIC) return QUERN_OK;
  if (!qn_arch_is_bert_like(a))
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "architecture: static ranges are for encoders like BERT; this one needs a recipe "
                   "like int8, int4 or float");
  if (qn_arch_inner(a) % 16 != 0) {
    return qn_fail(e, QUERN_E_UNSUPPORTED,
                   "architecture: static ranges need heads x head size to be a multiple of 16; it is %u",
                   qn_arch_inner(a));
  }
  return QUERN_OK;
}
