/* fit_recipe.c - see fit_recipe.h. */
#include "quant/fit_recipe.h"

#include "kernels/layout.h"

/* A head that is the table of tokens too, where the recipe has few bits for tables and says nothing of heads. */
static quern_status fit_tied_head(qn_recipe *r, qn_env *env) {
  if (r->embedding_bits == 6) {
    r->head_bits = 6;
    return QUERN_OK;
  }
  if (r->embedding_bits != 4)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "recipe %s: embeddings of %u bits are the head of this model too, which has 8, 6 or 4", r->name,
                   r->embedding_bits);
  r->head_bits = 4;
  r->head_group = 32;
  r->head_min = 1;
  return QUERN_OK;
}

/* Heads whose keys may lie in caches of few bits: rotated too, where a Hadamard matrix fits them. */
static void rotate_heads(const qn_recipe *r, qn_arch *a) {
  const int fits = a->rotary && a->head_dim >= QK_LANES && !(a->head_dim & (a->head_dim - 1));
  if (a->causal && fits && (r->rotate || r->rotate2)) a->head_hadamard = 1;
}

quern_status qn_fit_recipe(qn_recipe *r, qn_arch *a, qn_env *env) {
  if (qn_arch_is_bert_like(a)) {
    r->activation_outliers = 0;
    return QUERN_OK;
  }
  if (a->causal) QN_TRY(qn_recipe_of_decoder(r, env));
  if (!a->causal || r->id != QN_RECIPE_INT8)
    r->activation_outliers = 0;
  else if (!r->activation_outliers)
    r->activation_outliers = r->activation_group ? (int)r->activation_group : QN_OUTLIER_GROUP;
  rotate_heads(r, a);
  r->split = 0;
  if (r->migrate)
    return qn_fail(&env->error, QUERN_E_UNSUPPORTED,
                   "recipe %s migrates gains, which is done in encoders like BERT alone", r->name);
  return !a->tied || r->head_bits || r->embedding_bits >= 8 ? QUERN_OK : fit_tied_head(r, env);
}

int qn_balances(const qn_recipe *r, const qn_arch *a) { return r->id == QN_RECIPE_INT8 && a->causal && a->rotary; }
