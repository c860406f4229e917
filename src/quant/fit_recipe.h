/* fit_recipe.h - what a recipe means for a model: what it leaves open is filled in by family, what has no place there is left out.
 * Stateless; any thread. */
#ifndef QN_FIT_RECIPE_H
#define QN_FIT_RECIPE_H
#include "quant/quant.h"

/* What a recipe does to encoders like BERT alone is left out for others, and what it does to decoders alone for all but those; presets
   for decoders become what serves these; a head that is the table of tokens too has that table's bits where the recipe says nothing of
   heads. The file's recipe says what was done. Whether heads are rotated (FORMAT.md: head_hadamard) is set in *a. */
quern_status qn_fit_recipe(qn_recipe *r, qn_arch *a, qn_env *env);
/* Queries and keys that positions rotate are balanced (balance.h), whatever is smoothed. */
int qn_balances(const qn_recipe *r, const qn_arch *a);
#endif
