/* api_context.c - quern_context_*, versions, statuses, kernel sets. */
#include <string.h>

#include "api/api_options.h"
#include "base/checked.h"
#include "run/context.h"

#define MAX_THREADS 1024u

uint32_t quern_version(void) { return QUERN_VERSION_NUMBER; }

const char *quern_status_name(quern_status s) {
  static const char *const name[] = {"ok",
                                     "invalid argument",
                                     "out of memory",
                                     "input or output error",
                                     "not a valid model file",
                                     "unsupported model file version",
                                     "checksum mismatch",
                                     "invalid source model",
                                     "unsupported",
                                     "over the byte limit",
                                     "too small",
                                     "cancelled",
                                     "not finite",
                                     "kernel set not available",
                                     "system resource not available",
                                     "not offered by this model"};
  return s >= 0 && (size_t)s < sizeof name / sizeof *name ? name[s] : "unknown status";
}

const char *quern_isa_name(uint32_t i) {
  const qk_isa *isa = qk_isa_at(i, qk_cpu_features());
  return isa ? isa->name : NULL;
}

void quern_context_options_init(quern_context_options *o, uint32_t size) {
  if (!o) return;
  memset(o, 0, qn_min_size(size, sizeof *o));
  o->size = size;
  if (size >= offsetof(quern_context_options, log_level) + sizeof o->log_level) o->log_level = 1;
}

/* "ref, avx2, avx512vnni" */
static void list_isas(char *buf, size_t cap) {
  size_t n = 0;
  buf[0] = 0;
  for (uint32_t i = 0; quern_isa_name(i) && n < cap; i++)
    n += qn_format(buf + n, cap - n, "%s%s", i ? ", " : "", quern_isa_name(i));
}

static quern_status start(quern_context *c, const quern_context_options *o) {
  if (!qk_table_build(&c->kernels, o->isa, qk_cpu_features())) {
    char names[128];
    list_isas(names, sizeof names);
    return qn_fail(&c->env.error, QUERN_E_ISA, "no kernel set '%s' here: this build on this CPU has %s",
                   o->isa ? o->isa : "", names);
  }
  return qn_pool_create(&c->pool, &c->env, o->threads ? o->threads : qn_usable_cpus(), o->parallel, o->parallel_user);
}

quern_status quern_context_create(quern_context **out, const quern_context_options *options) {
  quern_context_options o;
  if (!out) return QUERN_E_ARGUMENT;
  quern_context_options_init(&o, sizeof o);
  if (options && !QN_OPTIONS_COPY(&o, options)) return QUERN_E_ARGUMENT;

  qn_env env;
  void *block = NULL;
  qn_env_init(&env, o.alloc, o.log, o.log_user, o.log_level);
  if (o.threads > MAX_THREADS) {
    qn_log(&env, 0, "%u threads: 1 to %u are possible, 0 for as many as CPUs may be used", o.threads, MAX_THREADS);
    return QUERN_E_ARGUMENT;
  }
  if (!env.alloc.alloc || !env.alloc.free) {
    qn_log(&env, 0, "the allocator lacks alloc or free");
    return QUERN_E_ARGUMENT;
  }
  quern_status status = qn_alloc(&env, &block, sizeof(quern_context), "the context");
  if (status != QUERN_OK) return status;
  quern_context *c = block;
  memset(c, 0, sizeof *c);
  qn_env_init(&c->env, o.alloc, o.log, o.log_user, o.log_level);
  status = start(c, &o);
  if (status != QUERN_OK) {
    qn_log(&c->env, 0, "%s", c->env.error.text);
    qn_free(&env, c, sizeof *c);
    return status;
  }
  *out = c;
  return QUERN_OK;
}

void quern_context_free(quern_context *c) {
  if (!c) return;
  qn_pool_free(c->pool);
  qn_env env;
  qn_env_init(&env, &c->env.alloc, NULL, NULL, 0);
  qn_free(&env, c, sizeof *c);
}

quern_status quern_context_error(const quern_context *c, char *buf, size_t cap) {
  if (!c || !buf || !cap) return QUERN_E_ARGUMENT;
  qn_error_copy(&c->env.error, buf, cap);
  return QUERN_OK;
}

const char *quern_context_isa(const quern_context *c) { return c ? c->kernels.isa : ""; }
uint32_t quern_context_threads(const quern_context *c) { return c ? qn_pool_threads(c->pool) : 0; }

float quern_dot(const quern_context *c, const float *a, const float *b, size_t n) {
  if (!c || !a || !b) return 0.0f;
  const qn_fpenv fp = qn_fpenv_enter();
  const float y = c->kernels.dot(a, b, n);
  qn_fpenv_leave(fp);
  return y;
}
