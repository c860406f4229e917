/* recipe_transform.c - what a recipe says of transforms of activations and of how far ranges are drawn in: reading, writing. Stateless; any
 * thread. */
#include <string.h>

#include "quant/recipe.h"

#define BLOCK 128u
#define STEPS 64u
#define RESTART 2u
#define STEPS_MOST 4096
#define ALPHA 5u /* eighths */
#define BUDGET 8u
#define BUDGET_MOST 64

enum { NONE, HADAMARD, DUQUANT, AUTO, KINDS };
static const char *const kinds[KINDS] = {"none", "hadamard", "duquant", "auto"};
static const char *const outliers[] = {"column", "row"};

static quern_status refuse(qn_env *env, const char *file, const char *why) {
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s", file, why);
}

/* Which of two or four words a member is; *out stays where it is absent. */
static quern_status read_word(qn_env *env, const qn_json *j, const char *file, const char *member,
                              const char *const *words, uint32_t count, uint32_t *out) {
  const uint32_t at = qn_json_get(j, 0, member);
  const char *word = at ? qn_json_string(j, 0, member, "") : NULL;
  for (uint32_t i = 0; word && i < count; i++)
    if (!strcmp(word, words[i])) {
      *out = i;
      return QUERN_OK;
    }
  return word ? qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s is \"%s\", \"%s\"%s", file, member, words[0],
                        words[1], count > 2 ? ", \"duquant\" or \"auto\"" : " alone")
              : QUERN_OK;
}

/* true, false or "hadamard". */
static quern_status read_second(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  const uint32_t at = qn_json_get(j, 0, "rotate2");
  if (!at) return QUERN_OK;
  const qn_json_kind kind = j->nodes[at].kind;
  if (kind == QN_JSON_STRING && !strcmp(j->nodes[at].string, "hadamard"))
    r->rotate2 = QN_ROTATE2_HADAMARD;
  else if (kind == QN_JSON_TRUE || kind == QN_JSON_FALSE)
    r->rotate2 = kind == QN_JSON_TRUE ? QN_ROTATE2_DENSE : QN_ROTATE2_NONE;
  else
    return refuse(env, file, "rotate2 is true, false or \"hadamard\"");
  return QUERN_OK;
}

/* A whole number within limits; absent: otherwise. */
static quern_status read_count(qn_env *env, const qn_json *j, const char *file, const char *member, int64_t least,
                               int64_t most, uint32_t otherwise, uint32_t *out) {
  const int64_t v = qn_json_get(j, 0, member) ? qn_json_int(j, 0, member, -1) : otherwise;
  *out = (uint32_t)v;
  if (v >= least && v <= most) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_SOURCE, "%s: %s is a number from %lld to %lld", file, member, (long long)least,
                 (long long)most);
}

quern_status qn_recipe_transform(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  static const char *const members[] = {"rotate",  "permute", "rotate2", "block", "steps",
                                        "restart", "outlier", "alpha",   "merge", "budget"};
  const uint32_t at = qn_json_get(j, 0, "transform");
  uint32_t kind = 0, row = 0;
  for (size_t i = 0; i < sizeof members / sizeof members[0] && !at; i++)
    if (qn_json_get(j, 0, members[i]))
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s belongs to a \"transform\"", file, members[i]);
  if (!at && r->activation_clip == QN_ACTIVATION_CLIP_SEARCHED)
    return refuse(env, file, "activations.clip \"searched\" belongs to a \"transform\"");
  if (!at) return QUERN_OK;
  QN_TRY(read_word(env, j, file, "transform", kinds, KINDS, &kind));
  if (r->id != QN_RECIPE_INT8)
    return refuse(env, file, "transform belongs to activations of 8 bits or less that are not static");
  if (r->activation_group && !r->activation_symmetric)
    return refuse(
        env, file,
        "groups of a transformed input have no zero points: activations need \"symmetric\": true beside group");
  if (r->activation_symmetric && !r->activation_group)
    return refuse(env, file,
                  "a transformed input has one scale and a zero point a token, or symmetric scales by group: give "
                  "activations a group, or leave out symmetric");
  if (r->split) return refuse(env, file, "split and transform cannot be combined: leave out one");
  r->transforms = 1;
  r->rotate = qn_json_bool(j, 0, "rotate", kind >= DUQUANT);
  r->permute = qn_json_bool(j, 0, "permute", kind >= DUQUANT);
  r->rotate2 = kind >= DUQUANT ? QN_ROTATE2_DENSE : kind == HADAMARD ? QN_ROTATE2_HADAMARD : QN_ROTATE2_NONE;
  QN_TRY(read_second(r, env, j, file));
  if (kind == HADAMARD && (r->rotate || r->permute || r->rotate2 != QN_ROTATE2_HADAMARD))
    return refuse(
        env, file,
        "transform \"hadamard\" is signs and a Hadamard matrix alone: \"duquant\" has rotations and an order");
  if (kind == NONE && (r->rotate || r->permute || r->rotate2))
    return refuse(env, file, "transform \"none\" has no rotation and no order");
  if (r->permute && !r->rotate && !r->rotate2)
    return refuse(env, file, "permute without a rotation is not done: leave it out, or give a rotation");
  QN_TRY(read_count(env, j, file, "block", 16, 256, BLOCK, &r->block));
  if (r->block & (r->block - 1)) return refuse(env, file, "block is 16, 32, 64, 128 or 256");
  QN_TRY(read_count(env, j, file, "steps", 1, STEPS_MOST, STEPS, &r->steps));
  QN_TRY(read_count(env, j, file, "restart", 0, STEPS_MOST, RESTART, &r->restart));
  QN_TRY(read_word(env, j, file, "outlier", outliers, 2, &row));
  r->outlier_row = (int)row;
  r->merge = qn_json_bool(j, 0, "merge", 0);
  if (kind == AUTO) QN_TRY(read_count(env, j, file, "budget", 1, BUDGET_MOST, BUDGET, &r->budget));
  if (kind != AUTO && qn_json_get(j, 0, "budget")) return refuse(env, file, "budget belongs to transform \"auto\"");
  if (kind == AUTO && !r->rotate && !r->rotate2)
    return refuse(env, file, "transform \"auto\" begins with a rotation: the recipe has none");
  if (kind == NONE && r->activation_clip == QN_ACTIVATION_CLIP_SEARCHED)
    return refuse(env, file, "activations.clip is searched for behind a transform: the recipe has none");
  if (r->merge && !r->rotate && !r->rotate2) return refuse(env, file, "merge is for rotations: the recipe has none");
  const double alpha = qn_json_number(j, 0, "alpha", ALPHA / 8.0);
  r->alpha = alpha >= 0 && alpha < 1 ? (uint32_t)(8 * alpha) : 8;
  if ((double)r->alpha != 8 * alpha || r->alpha > 7)
    return refuse(env, file, "alpha is a number of eighths below 1: 0.5, 0.625");
  return QUERN_OK;
}

quern_status qn_recipe_clips(qn_recipe *r, qn_env *env, const qn_json *j, uint32_t weights, uint32_t activations,
                             const char *file) {
  const uint32_t at = qn_json_get(j, weights, "clip");
  if (at && j->nodes[at].kind == QN_JSON_STRING) {
    const char *word = j->nodes[at].string;
    r->weight_clip = !strcmp(word, "learned") ? QN_WEIGHT_CLIP_LEARNED : QN_WEIGHT_CLIP_SEARCHED;
    if (!r->weight_clip && strcmp(word, "searched") != 0)
      return refuse(env, file, "weights.clip is a number, \"searched\" or \"learned\"");
  } else if (at) {
    r->weight_clip = QN_WEIGHT_CLIP_PART;
    r->weight_part = qn_json_number(j, weights, "clip", -1);
    if (!(r->weight_part > 0 && r->weight_part <= 1))
      return refuse(env, file, "weights.clip is above 0 and at most 1, or \"searched\" or \"learned\"");
  }
  if (r->weight_clip && (r->weight_bits != 4 || r->weight_group || !r->weight_min))
    return refuse(env, file, "weights.clip is for 4 bits with \"group\": 0 and \"minimum\": true");
  const uint32_t part = qn_json_get(j, activations, "clip");
  if (part && j->nodes[part].kind == QN_JSON_STRING && !strcmp(j->nodes[part].string, "searched")) {
    r->activation_clip = QN_ACTIVATION_CLIP_SEARCHED;
    return QUERN_OK;
  }
  r->activation_clip = part ? qn_json_number(j, activations, "clip", 0) : 0;
  if (part && !(r->activation_clip > 0 && r->activation_clip <= 1))
    return refuse(env, file, "activations.clip is above 0 and at most 1, or \"searched\"");
  return QUERN_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

size_t qn_recipe_format_transform(const qn_recipe *r, char *text, size_t bytes) {
  static const char *const second[] = {"false", "true", "\"hadamard\""};
  char alpha[32], budget[32] = "";
  if (!r->transforms) return qn_format(text, bytes, "%s", "");
  const int turns = r->rotate || r->permute || r->rotate2 == QN_ROTATE2_DENSE;
  const int kind = r->budget ? AUTO : turns ? DUQUANT : r->rotate2 ? HADAMARD : NONE;
  qn_format_number(alpha, sizeof alpha, r->alpha / 8.0);
  if (r->budget) qn_format(budget, sizeof budget, ",\"budget\":%u", r->budget);
  if (!kind) return qn_format(text, bytes, ",\"transform\":\"none\",\"alpha\":%s", alpha);
  return qn_format(text, bytes,
                   ",\"transform\":\"%s\",\"rotate\":%s,\"permute\":%s,\"rotate2\":%s,\"block\":%u,\"steps\":%u,"
                   "\"restart\":%u,\"outlier\":\"%s\",\"alpha\":%s%s%s",
                   kinds[kind], r->rotate ? "true" : "false", r->permute ? "true" : "false", second[r->rotate2],
                   r->block, r->steps, r->restart, outliers[r->outlier_row], alpha, r->merge ? ",\"merge\":true" : "",
                   budget);
}

size_t qn_recipe_format_clip(const qn_recipe *r, int activations, char *text, size_t bytes) {
  char number[32];
  const double part = activations ? r->activation_clip : r->weight_part;
  qn_format_number(number, sizeof number, part);
  if (!activations && r->weight_clip == QN_WEIGHT_CLIP_LEARNED) return qn_format(text, bytes, ",\"clip\":\"learned\"");
  if (part == QN_ACTIVATION_CLIP_SEARCHED) return qn_format(text, bytes, ",\"clip\":\"searched\"");
  return part > 0 ? qn_format(text, bytes, ",\"clip\":%s", number) : 0;
}
