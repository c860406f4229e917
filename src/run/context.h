/* context.h - the context object: environment, pool, kernel table. */
#ifndef QN_CONTEXT_H
#define QN_CONTEXT_H
#include "base/env.h"
#include "base/thread.h"
#include "kernels/kernels.h"

typedef struct quern_context {
  qn_env env;
  qn_pool *pool;
  qk_table kernels; /* built once, by qk_table_build */
} quern_context;
#endif
