/* recipe_sites.c - what a static recipe says of sites, one by one or by pattern; and a recipe written out. Stateless; any thread. */
#include <stdarg.h>
#include <string.h>
#include "kernels/layout.h"
#include "quant/groups.h"
#include "quant/recipe.h"

static const char *const estimators[QN_RANGES] = {"minmax", "running", "percentile", "mse"};
static const char *const migrations[QN_MIGRATES] = {"none", "attention", "all", "balanced", "auto"};
static const char *const clips[QN_CLIPS] = {"minmax", "tokenwise", "fine"};
static const char *const roundings[QN_ROUNDINGS] = {"nearest", "calibrated", "either"};
static const char *const orders[QN_ORDERS] = {"none", "range", "range-by-layer"};
static const char *const placements[2] = {"all", "inputs"};
#define PERCENTILE 99.99
#define GROUPS_MOST 131072 /* channels of the widest site there can be */

void qn_recipe_free(qn_env *env, qn_recipe *r) {
  qn_free(env, r->rules, r->rules_room * sizeof *r->rules);
  r->rules = NULL;
  r->rule_count = r->rules_room = 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* *estimator and *percentile are left as they are where the object has none. where: for messages. */
static quern_status read_estimator(qn_env *env, const qn_json *j, uint32_t at, const char *file, const char *where,
                                   int *estimator, double *percentile) {
  const char *name = qn_json_string(j, at, "estimator", NULL);
  if (name) {
    *estimator = 0;
    while (*estimator < QN_RANGES && strcmp(name, estimators[*estimator]) != 0) ++*estimator;
    if (*estimator == QN_RANGES)
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "%s: %s.estimator is \"minmax\", \"running\", \"percentile\" or \"mse\"", file, where);
  }
  if (!qn_json_get(j, at, "percentile")) return QUERN_OK;
  *percentile = qn_json_number(j, at, "percentile", -1);
  if (!(*percentile > 50 && *percentile <= 100))
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: %s.percentile is above 50 and at most 100", file, where);
  return QUERN_OK;
}

quern_status qn_recipe_estimator(qn_recipe *r, qn_env *env, const qn_json *j, uint32_t at, const char *file) {
  int estimator = QN_RANGE_MINMAX;
  r->percentile = PERCENTILE;
  QN_TRY(read_estimator(env, j, at, file, "activations", &estimator, &r->percentile));
  r->estimator = (uint32_t)estimator;
  return QUERN_OK;
}

/* *out: which of `count` names the recipe's member has, 0 where it has none. */
static quern_status read_choice(qn_env *env, const qn_json *j, const char *file, const char *member,
                                const char *const *names, uint32_t count, uint32_t *out) {
  char list[64];
  size_t used = 0;
  const uint32_t at = qn_json_get(j, 0, member);
  const char *name = qn_json_string(j, 0, member, at ? "" : names[0]);
  for (*out = 0; *out < count; ++*out)
    if (!strcmp(name, names[*out])) return QUERN_OK;
  for (uint32_t i = 0; i < count; i++)
    used += qn_format(list + used, sizeof list - used, "%s\"%s\"", i ? ", " : "", names[i]);
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s is one of %s", file, member, list);
}

quern_status qn_recipe_rounding(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  QN_TRY(read_choice(env, j, file, "rounding", roundings, QN_ROUNDINGS, &r->rounding));
  if (r->rounding && (r->id != QN_RECIPE_INT8 || r->weight_bits == 8))
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: rounding \"%s\" is for weights of 6, 4 or 2 bits, with activations that are not static", file,
                   roundings[r->rounding]);
  return QUERN_OK;
}

quern_status qn_recipe_order(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  QN_TRY(read_choice(env, j, file, "order", orders, QN_ORDERS, &r->order));
  if (r->order && (qn_json_get(j, 0, "migrate") || qn_json_get(j, 0, "clip")))
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: order cannot be combined with migrate or clip: leave out one",
                   file);
  if (r->order && r->id != QN_RECIPE_STATIC)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: order belongs to \"activations\": {\"static\": true}", file);
  return QUERN_OK;
}

quern_status qn_recipe_suppression(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  uint32_t placement;
  QN_TRY(read_choice(env, j, file, "placement", placements, 2, &placement));
  QN_TRY(read_choice(env, j, file, "migrate", migrations, QN_MIGRATES, &r->migrate));
  QN_TRY(read_choice(env, j, file, "clip", clips, QN_CLIPS, &r->clip));
  r->inputs_only = (int)placement;
  if (r->id == QN_RECIPE_STATIC) return QUERN_OK;
  if (r->inputs_only || r->clip)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: %s belongs to \"activations\": {\"static\": true}", file,
                   r->inputs_only ? "placement" : "clip");
  if (r->migrate && (r->id != QN_RECIPE_FLOAT || r->migrate >= QN_MIGRATE_BALANCED))
    return qn_fail(
        &env->error, QUERN_E_UNSUPPORTED,
        "%s: migrate belongs to \"activations\": {\"static\": true}; a float recipe may say \"attention\" or "
        "\"all\"",
        file);
  return QUERN_OK;
}

quern_status qn_recipe_choice(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  static const char *const others[] = {"sites", "order", "placement", "migrate", "clip", "unfold"};
  if (!qn_json_get(j, 0, "max_loss")) return QUERN_OK;
  r->max_loss = qn_json_number(j, 0, "max_loss", -1);
  if (!(r->max_loss > 0 && r->max_loss <= 1))
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: max_loss is above 0 and at most 1", file);
  if (r->id != QN_RECIPE_STATIC)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: max_loss belongs to \"activations\": {\"static\": true}",
                   file);
  if (r->weight_bits != 8 || r->split)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: max_loss chooses activations, with weights of 8 bits and \"split\": 0", file);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (qn_json_get(j, 0, others[i]))
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "%s: max_loss chooses the sites: \"%s\" cannot be said beside it", file, others[i]);
  return QUERN_OK;
}

static quern_status check_members(qn_env *env, const qn_json *j, uint32_t at, const char *file, const char *site) {
  static const char *const members[] = {"bits",      "symmetric",  "group", "groups", "widths", "scales",
                                        "estimator", "percentile", "low",   "high",   "scale",  "zero"};
  if (j->nodes[at].kind != QN_JSON_OBJECT)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: sites: %.*s: an object like {\"bits\": 16} is expected", file, 64,
                   site);
  for (uint32_t k = at + 1; k < j->nodes[at].next; k = j->nodes[k + 1].next) {
    size_t i = 0;
    while (i < sizeof members / sizeof members[0] && strcmp(members[i], j->nodes[k].string) != 0) i++;
    if (i == sizeof members / sizeof members[0])
      return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                     "%s: sites: %.*s: \"%.*s\" is no member of a site (docs/RECIPES.md has all)", file, 64, site, 64,
                     j->nodes[k].string);
  }
  return QUERN_OK;
}

/* Of two words which it is; absent: -1. */
static quern_status read_either(qn_env *env, const qn_json *j, uint32_t at, const char *file, const char *site,
                                const char *member, const char *no, const char *yes, int *out) {
  const char *word = qn_json_get(j, at, member) ? qn_json_string(j, at, member, "") : NULL;
  *out = !word ? -1 : strcmp(word, yes) == 0;
  if (word && !*out && strcmp(word, no) != 0)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: sites: %s.%s is \"%s\" or \"%s\"", file, site, member, no,
                   yes);
  return QUERN_OK;
}

/* Groups by their number. */
static quern_status read_groups(qn_site_rule *rule, qn_env *env, const qn_json *j, uint32_t at, const char *file,
                                const char *site) {
  const int64_t count = qn_json_get(j, at, "groups") ? qn_json_int(j, at, "groups", -1) : 0;
  if (qn_json_get(j, at, "groups") && (count < 2 || count > GROUPS_MOST))
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "%s: sites: %s: groups is 2 up to the number of the site's channels", file, site);
  rule->count = (uint32_t)count;
  QN_TRY(read_either(env, j, at, file, site, "widths", "equal", "uneven", &rule->uneven));
  QN_TRY(read_either(env, j, at, file, site, "scales", "float", "powers", &rule->powers));
  if (rule->count && rule->group)
    return qn_fail(&env->error, QUERN_E_SOURCE,
                   "%s: sites: %s: group is the width of groups, groups their number: one of "
                   "them",
                   file, site);
  return QUERN_OK;
}

static quern_status read_rule(qn_site_rule *rule, qn_env *env, const qn_json *j, uint32_t at, const char *file,
                              const char *site) {
  *rule = (qn_site_rule){.symmetric = -1, .estimator = -1, .uneven = -1, .powers = -1};
  if (strlen(site) >= sizeof rule->site)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: sites: \"%.*s...\" is longer than any name", file, 32, site);
  if (strspn(site, "abcdefghijklmnopqrstuvwxyz0123456789.*") != strlen(site) || !*site)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: sites: \"%.*s\" is no name of a site, nor a pattern of names",
                   file, 64, site);
  qn_format(rule->site, sizeof rule->site, "%s", site);
  QN_TRY(check_members(env, j, at, file, site));
  const int64_t bits = qn_json_get(j, at, "bits") ? qn_json_int(j, at, "bits", -1) : 0;
  const int64_t group = qn_json_int(j, at, "group", 0);
  if (bits != 0 && bits != 4 && bits != 6 && bits != 8 && bits != 16 && bits != 32)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: sites: %s: bits is 4, 6, 8 or 16, or 32 for float", file,
                   site);
  if (group < 0 || group > 512 || group % 32 != 0)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "%s: sites: %s: group is a multiple of 32 up to 512, or 0", file,
                   site);
  rule->bits = (uint32_t)bits;
  rule->group = (uint32_t)group;
  QN_TRY(read_groups(rule, env, j, at, file, site));
  if (qn_json_get(j, at, "symmetric")) rule->symmetric = qn_json_bool(j, at, "symmetric", 0);
  QN_TRY(read_estimator(env, j, at, file, site, &rule->estimator, &rule->percentile));
  rule->low = qn_json_number(j, at, "low", 0);
  rule->high = qn_json_number(j, at, "high", 0);
  rule->scale = qn_json_number(j, at, "scale", 0);
  rule->zero = qn_json_number(j, at, "zero", 0);
  if (rule->low > 0 || rule->high < 0 || rule->low < -1e30 || rule->high > 1e30)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: sites: %s: low <= 0 <= high is expected: 0 has a code of its own",
                   file, site);
  if (qn_json_get(j, at, "scale") && !(rule->scale >= 1e-30 && rule->scale <= 1e30))
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: sites: %s: scale is not between 1e-30 and 1e30", file, site);
  return QUERN_OK;
}

quern_status qn_recipe_rules(qn_recipe *r, qn_env *env, const qn_json *j, const char *file) {
  const uint32_t at = qn_json_get(j, 0, "sites");
  void *p = NULL;
  uint32_t i = 0;
  if (!at) return QUERN_OK;
  if (j->nodes[at].kind != QN_JSON_OBJECT)
    return qn_fail(&env->error, QUERN_E_SOURCE, "%s: sites: an object of names and what they are is expected", file);
  QN_TRY(qn_alloc_array(env, &p, j->nodes[at].count, sizeof *r->rules, "the sites of a recipe"));
  r->rules = p;
  r->rule_count = r->rules_room = j->nodes[at].count;
  for (uint32_t k = at + 1; k < j->nodes[at].next; k = j->nodes[k + 1].next)
    QN_TRY(read_rule(&r->rules[i++], env, j, k + 1, file, j->nodes[k].string));
  return QUERN_OK;
}

/* ---- meaning ----------------------------------------------------------------------------------------------------- */

/* Without recursion: a * takes as little as it can, and more when what follows does not fit. */
static int fits(const char *pattern, const char *name) {
  const char *star = NULL, *from = NULL;
  while (*name) {
    if (*pattern == '*') {
      star = pattern++;
      from = name;
    } else if (*pattern == *name) {
      pattern++, name++;
    } else if (star) {
      pattern = star + 1;
      name = ++from;
    } else {
      return 0;
    }
  }
  while (*pattern == '*') pattern++;
  return !*pattern;
}

/* Bits of a site that no rule mentions. With inputs alone: residual sums, outputs of operators and the logits stay float; what only
   the head takes and, since softmax makes differences of scores factors, the scores are kept as fine as they can be. */
static uint32_t usual_bits(const qn_recipe *r, const qn_site *site) {
  if (site->flags & QN_SITE_DYNAMIC || site->kind == QN_SITE_SCORES) return 8;
  if (!r->inputs_only) return site->flags & QN_SITE_MAY_LOW ? r->activation_bits : 8;
  if (site->flags & QN_SITE_MAY_FLOAT) return 32;
  return site->kind > QN_SITE_FFN_SUM ? 16 : r->activation_bits;
}

qn_site_rule qn_recipe_site(const qn_recipe *r, const qn_site *site) {
  qn_site_rule out = {
      .bits = usual_bits(r, site), .symmetric = -1, .estimator = (int)r->estimator, .percentile = r->percentile};
  qn_format(out.site, sizeof out.site, "%s", site->name);
  for (uint32_t i = 0; i < r->rule_count; i++) {
    const qn_site_rule *rule = &r->rules[i];
    if (site->flags & QN_SITE_DYNAMIC ? strcmp(rule->site, site->name) != 0 : !fits(rule->site, site->name)) continue;
    if (rule->bits) out.bits = rule->bits;
    if (rule->symmetric >= 0) out.symmetric = rule->symmetric;
    if (rule->estimator >= 0) out.estimator = rule->estimator;
    if (rule->percentile > 0) out.percentile = rule->percentile;
    if (rule->group) out.group = rule->group, out.count = 0;
    if (rule->count) out.count = rule->count, out.group = 0;
    if (rule->uneven >= 0) out.uneven = rule->uneven;
    if (rule->powers >= 0) out.powers = rule->powers;
    if (rule->low < rule->high) out.low = rule->low, out.high = rule->high;
    if (rule->scale > 0) out.scale = rule->scale, out.zero = rule->zero;
  }
  if (out.symmetric < 0) out.symmetric = r->activation_symmetric || (site->flags & QN_SITE_WEIGHTS && out.bits >= 8);
  if (site->channels <= out.group) out.group = 0;
  return out;
}

static quern_status refuse(qn_env *env, const qn_recipe *r, const qn_site_rule *s, const char *why) {
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "recipe %s: site %s %s", r->name, s->site, why);
}

/* Groups by their number: whether there are such. */
static quern_status check_groups(const qn_recipe *r, qn_env *env, const qn_site *site, const qn_site_rule *s) {
  const uint32_t unit = s->uneven > 0 ? qn_groups_unit(site) : 1;
  if (s->count > site->channels)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "recipe %s: site %s: %u groups are more than its %u channels",
                   r->name, site->name, s->count, site->channels);
  if (s->count > (site->channels + unit - 1) / unit)
    return qn_fail(
        &env->error, QUERN_E_UNSUPPORTED,
        "recipe %s: site %s: %u groups are more than its %u channels have runs of %u, which uneven widths are "
        "of: take fewer, or \"widths\": \"equal\"",
        r->name, site->name, s->count, site->channels, unit);
  if (site->kind == QN_SITE_FFN_DOWN_IN && (r->split || r->unfold))
    return refuse(env, r, s, "has groups, which cannot be combined with \"split\" or \"unfold\"");
  return QUERN_OK;
}

static int may_have_bits(const qn_site *site, uint32_t bits) {
  return bits == 16   ? (site->flags & QN_SITE_MAY_16) != 0
         : bits == 32 ? (site->flags & QN_SITE_MAY_FLOAT) != 0
                      : bits == 8 || (site->flags & QN_SITE_MAY_LOW) != 0;
}

static quern_status check_bits(const qn_recipe *r, qn_env *env, const qn_site *site, const qn_site_rule *s) {
  static const uint32_t all[] = {4, 6, 8, 16, 32};
  char list[32];
  size_t used = 0;
  if (may_have_bits(site, s->bits)) return QUERN_OK;
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
    if (may_have_bits(site, all[i])) used += qn_format(list + used, sizeof list - used, used ? ", %u" : "%u", all[i]);
  return qn_fail(&env->error, QUERN_E_UNSUPPORTED, "recipe %s: site %s cannot have %u bits; it may have %s", r->name,
                 s->site, s->bits, list);
}

static quern_status check_site(const qn_recipe *r, qn_env *env, const qn_site *site) {
  const qn_site_rule s = qn_recipe_site(r, site);
  const double lowest = (double)qn_site_lowest(s.bits), highest = (double)qn_site_highest(s.bits);
  if (site->flags & QN_SITE_DYNAMIC)
    return s.bits == 8 && !s.group && !(s.scale > 0) && !(s.low < s.high)
               ? QUERN_OK
               : refuse(env, r, &s, "always has 8 bits and a scale for each row, found while running");
  QN_TRY(check_bits(r, env, site, &s));
  if ((s.group || s.count) && !(site->flags & QN_SITE_MAY_GROUP))
    return refuse(env, r, &s,
                  "cannot have groups: sums, outputs of operators and inputs of attn.qkv, ffn.up and ffn.down can");
  if ((s.group || s.count) && (r->clip || r->migrate))
    return refuse(env, r, &s, "cannot have groups where ranges are clipped or gains migrated");
  if ((s.group || s.count) && site->flags & QN_SITE_INPUT && s.bits != 8)
    return refuse(env, r, &s, "has groups: with them its codes have 8 bits");
  if (s.count) QN_TRY(check_groups(r, env, site, &s));
  if (!s.symmetric && s.bits == 8 && site->flags & QN_SITE_WEIGHTS)
    return refuse(env, r, &s, "is symmetric: attention multiplies by it");
  if (s.scale > 0 &&
      (s.zero < lowest || s.zero > highest || s.zero != (double)(int)s.zero || (s.symmetric && s.zero != 0)))
    return refuse(env, r, &s, "has a zero point that is no code of it");
  return QUERN_OK;
}

quern_status qn_recipe_check_sites(const qn_recipe *r, qn_env *env, const qn_arch *a) {
  const uint32_t count = qn_site_count(a);
  qn_site site;
  for (uint32_t k = 0; k < r->rule_count; k++) {
    int used = 0;
    for (uint32_t i = 0; i < count && !used; i++) {
      qn_site_at(a, i, &site);
      used = fits(r->rules[k].site, site.name);
    }
    if (!used) return refuse(env, r, &r->rules[k], "is none of the model's: quern inspect --sites lists them");
  }
  for (uint32_t i = 0; i < count; i++) {
    qn_site_at(a, i, &site);
    QN_TRY(check_site(r, env, &site));
  }
  return QUERN_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

typedef struct text {
  qn_env *env;
  qn_buffer *out;
  quern_status status; /* the first failure */
} text;

static void put(text *t, const char *fmt, ...) QN_PRINTF(2, 3);
static void put(text *t, const char *fmt, ...) {
  char part[256];
  va_list ap;
  va_start(ap, fmt);
  const size_t n = qn_vformat(part, sizeof part, fmt, ap);
  va_end(ap);
  if (t->status == QUERN_OK) t->status = qn_buffer_append(t->env, t->out, part, n);
}
static void put_number(text *t, const char *key, double v) {
  char number[32];
  qn_format_number(number, sizeof number, v);
  put(t, "%s%s", key, number);
}
static const char *truth(int x) { return x ? "true" : "false"; }

static void put_rule(text *t, const qn_site_rule *rule) {
  const char *between = "";
  put(t, "\"%s\":{", rule->site);
  if (rule->bits) put(t, "\"bits\":%u", rule->bits), between = ",";
  if (rule->symmetric >= 0) put(t, "%s\"symmetric\":%s", between, truth(rule->symmetric)), between = ",";
  if (rule->group) put(t, "%s\"group\":%u", between, rule->group), between = ",";
  if (rule->count) put(t, "%s\"groups\":%u", between, rule->count), between = ",";
  if (rule->uneven >= 0) put(t, "%s\"widths\":\"%s\"", between, rule->uneven ? "uneven" : "equal"), between = ",";
  if (rule->powers >= 0) put(t, "%s\"scales\":\"%s\"", between, rule->powers ? "powers" : "float"), between = ",";
  if (rule->estimator >= 0) put(t, "%s\"estimator\":\"%s\"", between, estimators[rule->estimator]), between = ",";
  if (rule->percentile > 0) put(t, "%s", between), put_number(t, "\"percentile\":", rule->percentile), between = ",";
  if (rule->low < rule->high) {
    put(t, "%s", between), put_number(t, "\"low\":", rule->low), put_number(t, ",\"high\":", rule->high);
    between = ",";
  }
  if (rule->scale > 0)
    put(t, "%s", between), put_number(t, "\"scale\":", rule->scale), put_number(t, ",\"zero\":", rule->zero);
  put(t, "}");
}

quern_status qn_recipe_format(const qn_recipe *r, qn_env *env, qn_buffer *out) {
  text t = {env, out, QUERN_OK};
  char part[256];
  put(&t, "{\"name\":\"%s\",\"weights\":{\"bits\":%u", r->name, r->weight_bits);
  if (r->weight_bits < 8 && r->weight_bits != 6 && r->id != QN_RECIPE_STATIC)
    put(&t, ",\"group\":%u,\"minimum\":%s,\"scales\":\"%s\"", r->weight_group, truth(r->weight_min),
        r->weight_steps ? "integer" : "float");
  else if (r->weight_group)
    put(&t, ",\"group\":%u", r->weight_group);
  if (qn_recipe_format_clip(r, 0, part, sizeof part)) put(&t, "%s", part);
  put(&t, "},\"activations\":{\"bits\":%u", r->activation_bits);
  if (r->id == QN_RECIPE_STATIC) {
    put(&t, ",\"static\":true,\"symmetric\":%s,\"estimator\":\"%s\"", truth(r->activation_symmetric),
        estimators[r->estimator]);
    if (r->estimator == QN_RANGE_PERCENTILE) put_number(&t, ",\"percentile\":", r->percentile);
  } else if (r->activation_group || r->activation_symmetric) {
    put(&t, ",\"group\":%u,\"symmetric\":%s", r->activation_group, truth(r->activation_symmetric));
  }
  if (r->activation_outliers && r->activation_bits == 8)
    put(&t, ",\"outliers\":%d", r->activation_outliers > 0 ? r->activation_outliers : 0);
  if (qn_recipe_format_clip(r, 1, part, sizeof part)) put(&t, "%s", part);
  put(&t, "},\"embeddings\":{\"bits\":%u", r->embedding_bits);
  if (r->embedding_group) put(&t, ",\"group\":%u", r->embedding_group);
  if (r->head_bits) put(&t, "},\"head\":{\"bits\":%u", r->head_bits);
  if (r->head_bits && (r->head_bits < 8 || r->head_group)) put(&t, ",\"group\":%u", r->head_group);
  if (r->head_bits && r->head_bits < 6) put(&t, ",\"minimum\":%s", truth(r->head_min));
  if (r->head_steps) put(&t, ",\"scales\":\"integer\"");
  put(&t, "},\"smooth\":%s,\"split\":%u", truth(r->smooth), r->split);
  if (r->unfold) put(&t, ",\"unfold\":%u", r->unfold);
  if (r->rounding) put(&t, ",\"rounding\":\"%s\"", roundings[r->rounding]);
  if (qn_recipe_format_transform(r, part, sizeof part)) put(&t, "%s", part);
  if (r->order) put(&t, ",\"order\":\"%s\"", orders[r->order]);
  if (r->inputs_only) put(&t, ",\"placement\":\"%s\"", placements[1]);
  if (r->migrate) put(&t, ",\"migrate\":\"%s\"", migrations[r->migrate]);
  if (r->clip) put(&t, ",\"clip\":\"%s\"", clips[r->clip]);
  if (r->max_loss > 0) put_number(&t, ",\"max_loss\":", r->max_loss);
  for (uint32_t i = 0; i < r->rule_count; i++) {
    put(&t, i ? "," : ",\"sites\":{");
    put_rule(&t, &r->rules[i]);
  }
  put(&t, r->rule_count ? "}}" : "}");
  if (t.status == QUERN_OK) t.status = qn_buffer_reserve(env, out, 1);
  if (t.status == QUERN_OK) out->data[out->bytes] = 0;
  return t.status;
}
