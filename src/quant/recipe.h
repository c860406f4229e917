/* recipe.h - what reads a recipe's JSON, between recipe.c and recipe_sites.c. */
#ifndef QN_RECIPE_H
#define QN_RECIPE_H
#include "base/json.h"
#include "quant/quant.h"

/* The estimator that the object at node `at` names, and its percentile. */
quern_status qn_recipe_estimator(qn_recipe *r, qn_env *env, const qn_json *j, uint32_t at, const char *file);
/* "rounding". */
quern_status qn_recipe_rounding(qn_recipe *r, qn_env *env, const qn_json *j, const char *file);
/* "order". */
quern_status qn_recipe_order(qn_recipe *r, qn_env *env, const qn_json *j, const char *file);
/* "placement", "migrate" and "clip". */
quern_status qn_recipe_suppression(qn_recipe *r, qn_env *env, const qn_json *j, const char *file);
/* "max_loss", which leaves nothing else to say of sites. */
quern_status qn_recipe_choice(qn_recipe *r, qn_env *env, const qn_json *j, const char *file);
/* The rules of "sites". */
quern_status qn_recipe_rules(qn_recipe *r, qn_env *env, const qn_json *j, const char *file);
/* "transform" and what belongs to it; "clip" of weights and activations, whose objects are at these nodes. */
quern_status qn_recipe_transform(qn_recipe *r, qn_env *env, const qn_json *j, const char *file);
quern_status qn_recipe_clips(qn_recipe *r, qn_env *env, const qn_json *j, uint32_t weights, uint32_t activations,
                             const char *file);
/* Those members as they are in a recipe that is written out, into text [bytes], "" for none; and of weights and activations, by which. */
size_t qn_recipe_format_transform(const qn_recipe *r, char *text, size_t bytes);
size_t qn_recipe_format_clip(const qn_recipe *r, int activations, char *text, size_t bytes);
#endif
