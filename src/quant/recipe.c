/* recipe.c - recipes: presets (presets.c), and JSON files of the same shape. Not here: how one is carried out (quantize.c).
 * Stateless; any thread. */
#include <string.h>
#include "base/file.h"
#include "base/json.h"
#include "quant/recipe.h"

#define RECIPE_BYTES (1u << 20)
#define INT8_SPLIT 16u /* as the presets say */

/* A name goes into metadata and reports unescaped. */
static int valid_name(const char *name) {
  size_t n = strlen(name);
  return n > 0 && n < sizeof((qn_recipe *)0)->name &&
         strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == n;
}

/* What codes may say beside their bits: a bit each. */
enum {
  GROUP = 1,
  MINIMUM = 2,
  SCALES = 4,
  SYMMETRIC = 8,
  STATIC_RANGES = 16,
  ESTIMATOR = 32,
  PERCENTILE = 64,
  OUTLIERS = 128,
  CLIP = 256
};

/* {"bits": 4, "group": 32, ...}: bits and group, and which members there may be besides. *at: the object. */
static quern_status read_codes(qn_env *env, const qn_json *j, const char *file, const char *key, uint32_t *at,
                               uint32_t *bits) {
  static const char *const members[] = {"group",     "minimum",    "scales",   "symmetric", "static",
                                        "estimator", "percentile", "outliers", "clip"};
  *at = qn_json_get(j, 0, key);
  const int64_t v = *at ? qn_json_int(j, *at, "bits", -1) : -1;
  if (!*at || j->nodes[*at].kind != QN_JSON_OBJECT)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: %s %s: {\"bits\": 8} or other bits (docs/RECIPES.md)", file, key,
                   *at ? "is an object" : "must be there");
  const int weights = key[0] == 'w', activations = key[0] == 'a', head = key[0] == 'h';
  const uint32_t may = v == 6 && !activations ? (weights || head ? GROUP : 0)
                       : weights              ? (v < 8    ? GROUP | MINIMUM | SCALES | CLIP
                                                 : v == 8 ? GROUP
                                                          : 0)
                       : head                 ? (v < 8    ? GROUP | MINIMUM | SCALES
                                                 : v == 8 ? GROUP
                                                          : 0)
                       : activations
                           ? (v > 8                               ? 0
                              : qn_json_bool(j, *at, "static", 0) ? STATIC_RANGES | SYMMETRIC | ESTIMATOR | PERCENTILE
                              : v != 4 && v != 6 && v != 8
                                  ? 0
                                  : CLIP | STATIC_RANGES | GROUP | SYMMETRIC | (v == 8 ? OUTLIERS : 0))
                           : (v < 8 ? GROUP : 0);
  for (uint32_t k = *at + 1; k < j->nodes[*at].next; k = j->nodes[k + 1].next) {
    const char *member = j->nodes[k].string;
    uint32_t m = 0;
    while (m < sizeof members / sizeof members[0] && strcmp(member, members[m]) != 0) m++;
    if (strcmp(member, "bits") == 0) continue;
    if (m == sizeof members / sizeof members[0])
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s.%.*s is no member of a recipe (docs/RECIPES.md has all)",
                     file, key, 64, member);
    if (v > 0 && !(may >> m & 1))
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s.%s does not go with %lld bits", file, key, member,
                     (long long)v);
  }
  if (v < 1 || v > 32)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: %s.bits must be there, a whole number from 1 to 32", file, key);
  *bits = (uint32_t)v;
  return QUERN_OK;
}

static uint32_t group_in(const qn_json *j, uint32_t at, uint32_t otherwise) {
  return qn_json_get(j, at, "group") ? (uint32_t)qn_json_int(j, at, "group", -1) : otherwise;
}

static int is_one_of(uint32_t x, uint32_t a, uint32_t b, uint32_t c) { return x == a || x == b || x == c; }

static int is_group(uint32_t x) { return x == 0 || is_one_of(x, 32, 64, 128); }

/* "scales" of weights or of the head. *steps: they are integers. */
static quern_status read_scales(qn_env *env, const qn_json *j, const char *file, const char *key, uint32_t at,
                                int *steps) {
  const char *scales = qn_json_string(j, at, "scales", "float");
  *steps = !strcmp(scales, "integer");
  if (*steps || !strcmp(scales, "float")) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s.scales is \"float\" or \"integer\"", file, key);
}

/* The codes of weights, activations, embeddings and the head. */
static quern_status read_all_codes(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  uint32_t at;
  const int is_static = qn_json_bool(j, qn_json_get(j, 0, "activations"), "static", 0);
  QN_TRY(read_codes(env, j, file, "weights", &at, &r->weight_bits));
  const uint32_t weights = at;
  r->weight_group = group_in(j, at, r->weight_bits < 8 && r->weight_bits != 6 && !is_static ? 32 : 0);
  r->weight_min = qn_json_bool(j, at, "minimum", 0);
  QN_TRY(read_scales(env, j, file, "weights", at, &r->weight_steps));
  QN_TRY(read_codes(env, j, file, "activations", &at, &r->activation_bits));
  r->activation_group = group_in(j, at, 0);
  const int64_t outliers = qn_json_get(j, at, "outliers") ? qn_json_int(j, at, "outliers", 1) : 0;
  if (!is_group((uint32_t)outliers))
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: activations.outliers is 32, 64, 128, or 0 for none", file);
  r->activation_outliers = outliers ? (int)outliers : qn_json_get(j, at, "outliers") ? -1 : 0;
  r->activation_symmetric = qn_json_bool(j, at, "symmetric", 0);
  r->id = r->activation_bits == 32 ? QN_RECIPE_FLOAT : is_static ? QN_RECIPE_STATIC : QN_RECIPE_INT8;
  if (r->id == QN_RECIPE_STATIC) QN_TRY(qn_recipe_estimator(r, env, j, at, file));
  QN_TRY(qn_recipe_clips(r, env, j, weights, at, file));
  QN_TRY(read_codes(env, j, file, "embeddings", &at, &r->embedding_bits));
  r->embedding_group = r->embedding_bits < 8 && r->embedding_bits != 6 ? group_in(j, at, 32) : 0;
  if (!qn_json_get(j, 0, "head")) return QUERN_OK;
  QN_TRY(read_codes(env, j, file, "head", &at, &r->head_bits));
  const int small = r->head_bits < 8 && r->head_bits != 6;
  r->head_group = group_in(j, at, small ? 32 : 0);
  r->head_min = qn_json_bool(j, at, "minimum", small);
  QN_TRY(read_scales(env, j, file, "head", at, &r->head_steps));
  if (r->id == QN_RECIPE_FLOAT && r->head_bits != 32)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: activations of 32 bits need a head of 32: head.bits is %u",
                   file, r->head_bits);
  if (r->id == QN_RECIPE_FLOAT || r->head_bits == 8 || r->head_bits == 4 ||
      (r->head_bits == 6 && r->id == QN_RECIPE_INT8))
    return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                 "%s: head.bits is 8 or 4, with activations that are not static 6 too; not %u in this version", file,
                 r->head_bits);
}

/* What can be run: all float, or 8-bit activations with 8-, 4- or 2-bit weights and embeddings. */
static quern_status check_recipe(const qn_recipe *r, qn_env *env, const char *file) {
  const int all_float = r->weight_bits == 32 && r->activation_bits == 32 && r->embedding_bits == 32;
  const int is_static = r->id == QN_RECIPE_STATIC;
  const int embeddings = is_one_of(r->embedding_bits, 8, 4, 2) || r->embedding_bits == 6;
  const int integer = embeddings && is_one_of(r->activation_bits, 8, 6, 4) &&
                      (is_one_of(r->weight_bits, 8, 6, 4) || (!is_static && r->weight_bits == 2));
  if (!all_float && !integer) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: weights of %u, activations of %u and embeddings of %u bits cannot be combined; "
                   "all 32 can, activations of 8, 6 or 4 with weights and embeddings of 8, 6, 4 or 2, and static "
                   "activations of 8, 6 or 4 with weights of 8, 6 or 4 and embeddings of 8, 6, 4 or 2",
                   file, r->weight_bits, r->activation_bits, r->embedding_bits);
  }
  if (!is_group(r->weight_group)) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: weights.group is 32, 64, 128, or 0 for one scale an output channel; not %u", file,
                   r->weight_group);
  }
  if (!is_group(r->head_group)) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: head.group is 32, 64, 128, or 0 for one scale an output channel; not %u", file, r->head_group);
  }
  if (r->head_steps && !r->head_group)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: integer scales need a head.group", file);
  if (!is_group(r->activation_group)) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: activations.group is 32, 64, 128, or 0 for one scale a token; not %u", file,
                   r->activation_group);
  }
  if (r->weight_steps && (!r->weight_group || (r->weight_min && r->weight_bits != 4))) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: integer scales need a weights.group, and of 2 bits have no minimum", file);
  }
  if (r->activation_group && r->weight_group && !r->weight_steps && r->weight_group != r->activation_group) {
    return qn_fail(
        &env->error, QUERN_E_UNSUPPORTED,
        "%s: activations.group must be weights.group, %u, or weights have one scale an output channel or integer "
        "scales",
        file, r->weight_group);
  }
  if (is_static && (r->weight_group || r->weight_min || r->weight_steps)) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: static activations need weights with one scale an output channel: leave out group, minimum and "
                   "scales of weights",
                   file);
  }
  if (r->embedding_bits < 8 && r->embedding_bits != 6 && !is_one_of(r->embedding_group, 16, 32, 32)) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: embeddings.group is 16 or 32, not %u", file,
                   r->embedding_group);
  }
  return QUERN_OK;
}

/* Smoothing, splitting, sites. */
static quern_status read_rest(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  QN_TRY(qn_recipe_rounding(r, env, j, file));
  r->smooth = qn_json_bool(j, 0, "smooth", r->id == QN_RECIPE_INT8);
  const int64_t split = qn_json_int(j, 0, "split",
                                    r->id == QN_RECIPE_INT8 && !qn_json_get(j, 0, "transform") ? INT8_SPLIT : 0);
  if (split < 0 || split > QN_SPLIT_MOST) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: split must be 0 to %u", file, QN_SPLIT_MOST);
  }
  r->split = (uint32_t)split;
  const int64_t unfold = qn_json_get(j, 0, "unfold") ? qn_json_int(j, 0, "unfold", -1) : 0;
  if (unfold < 0 || unfold > QN_SPLIT_MOST)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: unfold must be 0 to %u", file, QN_SPLIT_MOST);
  r->unfold = (uint32_t)unfold;
  if (r->unfold && (r->id != QN_RECIPE_STATIC || r->split))
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: unfold %s", file,
                   r->split ? "and split cannot be combined: leave out one"
                            : "belongs to \"activations\": {\"static\": true}");
  if (r->split && r->id == QN_RECIPE_FLOAT) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: split has no meaning where weights are float", file);
  }
  if (r->smooth && r->id != QN_RECIPE_INT8) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: smooth has no meaning where activations are %s", file,
                   r->id == QN_RECIPE_FLOAT ? "float" : "static: they are also what is added to further ones");
  }
  QN_TRY(qn_recipe_order(r, env, j, file));
  if (r->id != QN_RECIPE_STATIC && qn_json_get(j, 0, "sites")) {
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: sites belong to \"activations\": {\"static\": true}", file);
  }
  QN_TRY(qn_recipe_suppression(r, env, j, file));
  QN_TRY(qn_recipe_transform(r, env, j, file));
  QN_TRY(qn_recipe_choice(r, env, j, file));
  return r->id == QN_RECIPE_STATIC ? qn_recipe_rules(r, env, j, file) : QUERN_OK;
}

/* Whether the member at `at` of object o stands there before. Of many the first are looked at: there are fewer names than that, but of sites. */
static int is_again(const qn_json *j, uint32_t o, uint32_t at) {
  uint32_t k = o + 1;
  for (uint32_t i = 0; i < 64 && k < at; i++, k = j->nodes[k + 1].next)
    if (!strcmp(j->nodes[k].string, j->nodes[at].string)) return 1;
  return 0;
}

/* Members that are true or false, and those that are numbers, wherever they stand: another type is a mistake, not a default, and so is a
   member that is given twice. */
static quern_status check_types(qn_env *env, const qn_json *j, const char *file) {
  static const char *const flags[] = {"smooth", "static", "symmetric", "minimum", "rotate", "permute", "merge"};
  static const char *const numbers[] = {"bits",  "group",   "groups", "split",      "unfold",   "scale",
                                        "zero",  "low",     "high",   "percentile", "outliers", "block",
                                        "steps", "restart", "alpha",  "budget"};
  for (uint32_t o = 0; o < j->count; o++) {
    if (j->nodes[o].kind != QN_JSON_OBJECT) continue;
    const int inner = o && j->nodes[o - 1].kind == QN_JSON_STRING; /* the member that it is */
    const char *in = inner ? j->nodes[o - 1].string : "", *dot = inner ? "." : "";
    for (uint32_t k = o + 1; k < j->nodes[o].next; k = j->nodes[k + 1].next) {
      const qn_json_kind kind = j->nodes[k + 1].kind;
      const char *name = j->nodes[k].string, *wanted = NULL;
      if (is_again(j, o, k))
        return qn_fail(&env->error, QUERN_E_SOURCE, "%s: %.*s%s%.*s is given twice", file, 64, in, dot, 64, name);
      for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (!strcmp(name, flags[i]) && kind != QN_JSON_FALSE && kind != QN_JSON_TRUE) wanted = "true or false";
      for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!strcmp(name, numbers[i]) && kind != QN_JSON_NUMBER) wanted = "a number";
      if (wanted) return qn_fail(&env->error, QUERN_E_SOURCE, "%s: %.*s%s%s is %s", file, 64, in, dot, name, wanted);
    }
  }
  return QUERN_OK;
}

static quern_status read_recipe(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  static const char *const members[] = {
      "name",    "weights", "activations", "embeddings", "smooth",   "split", "sites",     "order",  "placement",
      "migrate", "clip",    "unfold",      "max_loss",   "rounding", "head",  "transform", "rotate", "permute",
      "rotate2", "block",   "steps",       "restart",    "outlier",  "alpha", "merge",     "budget"};
  if (j->nodes[0].kind != QN_JSON_OBJECT) {
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: a recipe is a JSON object", file);
  }
  for (uint32_t k = 1; k < j->nodes[0].next; k = j->nodes[k + 1].next) {
    size_t i = 0;
    while (i < sizeof members / sizeof members[0] && strcmp(members[i], j->nodes[k].string) != 0) i++;
    if (i == sizeof members / sizeof members[0]) {
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "%s: \"%.*s\" is no member of a recipe (docs/RECIPES.md has all)", file, 64, j->nodes[k].string);
    }
  }
  QN_TRY(check_types(env, j, file));
  const char *name = qn_json_string(j, 0, "name", "");
  if (!valid_name(name)) {
    return qn_fail(&env->error, QUERN_E_SOURCE,
                   "%s: every recipe has a name: it must have 1 to %zu letters, digits, dots, dashes or underscores",
                   file, sizeof r->name - 1);
  }
  qn_format(r->name, sizeof r->name, "%s", name);
  QN_TRY(read_all_codes(r, env, j, file));
  QN_TRY(check_recipe(r, env, file));
  return read_rest(r, env, j, file);
}

static quern_status read_text(qn_recipe *r, qn_env *env, const char *name, const void *text, size_t bytes) {
  qn_json j;
  QN_TRY(qn_json_parse(&j, env, name, text, bytes));
  const quern_status status = read_recipe(r, env, &j, name);
  qn_json_free(env, &j);
  return status;
}

static quern_status load_file(qn_recipe *r, qn_env *env, const char *path) {
  qn_map map;
  QN_TRY(qn_map_open(&map, env, path, RECIPE_BYTES));
  const quern_status status = read_text(r, env, path, map.data, map.bytes);
  qn_map_close(&map);
  return status;
}

quern_status qn_recipe_load(qn_recipe *r, qn_env *env, const char *name_or_path) {
  size_t n = strlen(name_or_path);
  *r = (qn_recipe){0};
  if (strchr(name_or_path, '/') || (n > 5 && !strcmp(name_or_path + n - 5, ".json"))) {
    return load_file(r, env, name_or_path);
  }
  const char *json = qn_recipe_preset_json(name_or_path);
  if (json) {
    r->preset = 1;
    return read_text(r, env, name_or_path, json, strlen(json));
  }
  char list[256];
  size_t used = 0;
  for (uint32_t i = 0; (json = qn_recipe_preset_name(i)) != NULL; i++)
    used += qn_format(list + used, sizeof list - used, "%s%s", i ? ", " : "", json);
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "there is no recipe \"%.*s\" (presets: %s; or a .json file)", 64,
                 name_or_path, list);
}

quern_status qn_recipe_of_decoder(qn_recipe *r, qn_env *env) {
  const char *json = qn_recipe_preset_decoder_json(r->name);
  char name[sizeof r->name];
  if (!r->preset || !json) return QUERN_OK;
  memcpy(name, r->name, sizeof name);
  qn_recipe_free(env, r);
  *r = (qn_recipe){0}; /* a preset no more: what is made of it stays as it is */
  return read_text(r, env, name, json, strlen(json));
}
