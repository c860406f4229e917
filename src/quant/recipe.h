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
#endif
