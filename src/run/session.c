/* session.c - the memory of a session: every buffer, sized by the same code that counts and that lays out. */
#include "run/session.h"

#include <string.h>

#include "base/checked.h"

/* log2(e): scores are kept in units of log2 (docs/NUMERICS.md). */
#define LOG2_E 1.44269504088896340736

#define MAX_TOKENS (1u << 24)
#define MAX_SEQUENCES (1u << 20)
#define DEFAULT_TOKENS 2048u
#define DEFAULT_SEQUENCES 64u

quern_status qn_session_resolve(quern_session_options *o, const quern_model *m, qn_error *error) {
  const qn_arch *a = &m->arch;
  if (o->flags & ~QUERN_NO_NORMALIZE) return qn_fail(error, QUERN_E_ARGUMENT, "unknown session flags 0x%x", o->flags);
  if (o->pool > QUERN_POOL_LAST) return qn_fail(error, QUERN_E_ARGUMENT, "unknown pooling %u", o->pool);
  if (!o->text_tokens) o->text_tokens = a->sentence_tokens;
  if (o->text_tokens > a->positions)
    return qn_fail(error, QUERN_E_ARGUMENT, "texts of %u tokens were asked for, the model's position limit is %u",
                   o->text_tokens, a->positions);
  if (!o->max_tokens) o->max_tokens = DEFAULT_TOKENS;
  if (!o->max_sequences) o->max_sequences = DEFAULT_SEQUENCES;
  if (o->max_tokens > MAX_TOKENS || o->max_sequences > MAX_SEQUENCES)
    return qn_fail(error, QUERN_E_ARGUMENT, "a session holds at most %u tokens and %u sequences a pass", MAX_TOKENS,
                   MAX_SEQUENCES);
  if (o->max_sequences > o->max_tokens) o->max_sequences = o->max_tokens;
  return QUERN_OK;
}

/* With what the smallest groups need, where there are some, and a second plane where codes may have 16 bits. */
static qk_codes take_codes(qn_arena *a, size_t rows, size_t d, const quern_model *m) {
  const size_t ld = qk_k8(d), groups = ld / QK_GROUP, scales = rows * (m->inputs_grouped ? groups : 1);
  return (qk_codes){.codes = qn_arena_take(a, rows * ld, 1),
                    .ld = ld,
                    .scale = qn_arena_take(a, scales, sizeof(float)),
                    .zero = qn_arena_take(a, scales, sizeof(float)),
                    .start = qn_arena_take(a, rows, sizeof(int32_t)),
                    .group_start = m->grouped ? qn_arena_take(a, rows * groups, sizeof(int32_t)) : NULL,
                    .part_start = m->parted ? qn_arena_take(a, rows * QK_PARTS, sizeof(int32_t)) : NULL,
                    .low = m->wide ? qn_arena_take(a, rows * ld, 1) : NULL,
                    .low_start = m->wide ? qn_arena_take(a, rows, sizeof(int32_t)) : NULL};
}

static qn_head_static take_static_head(qn_arena *a, size_t n, uint32_t h) {
  const size_t rows = qk_round_up(n, QK_LANES), hp = qk_round_up(h, QK_LANES);
  return (qn_head_static){.head = {.q = qn_arena_take(a, rows * hp, 1),
                                   .k = qn_arena_take(a, rows * hp, 1),
                                   .k_start = qn_arena_take(a, rows, sizeof(int32_t)),
                                   .k_less = qn_arena_take(a, rows, sizeof(int32_t)),
                                   .v = qn_arena_take(a, qk_weight_bytes(h, n, 8), 1),
                                   .v_sums = qn_arena_take(a, hp, sizeof(int32_t)),
                                   .h = h},
                          .scratch = qn_arena_take(a, qk_attention_scratch(n), 1)};
}

/* One head of the longest sequence that fits. */
static qk_head_q8 take_head(qn_arena *a, size_t tokens, uint32_t h) {
  const size_t rows = qk_round_up(tokens, QK_BLOCK), bytes = rows * qk_round_up(h, QK_LANES);
  return (qk_head_q8){.q = qn_arena_take(a, bytes, 1),
                      .q_scale = qn_arena_take(a, rows, sizeof(float)),
                      .k = qn_arena_take(a, bytes, 1),
                      .k_scale = qn_arena_take(a, rows, sizeof(float)),
                      .k_start = qn_arena_take(a, rows, sizeof(int32_t)),
                      .v = qn_arena_take(a, bytes, 1),
                      .v_scale = qn_arena_take(a, rows, sizeof(float)),
                      .h = h};
}

static void take_lane(qn_lane *l, qn_arena *a, const quern_model *m, size_t longest) {
  const qn_arch *arch = &m->arch;
  const size_t inner = (size_t)arch->heads * arch->head_dim;
  const size_t tables = qn_arch_table_width(arch);
  const int is_static = arch->recipe == QN_RECIPE_STATIC;
  const size_t hidden = qn_max_size(is_static ? arch->width : arch->ffn, tables);
  qn_lane lane = {.hidden = qn_arena_take(a, QN_BLOCK_ROWS * hidden, sizeof(float))};
  if (is_static) {
    lane.out = take_codes(a, QN_BLOCK_ROWS, arch->width, m);
    lane.row = qn_arena_take(a, arch->width, sizeof(float));
    lane.attention = take_static_head(a, longest, arch->head_dim);
  }
  if (arch->recipe != QN_RECIPE_FLOAT) {
    lane.in = take_codes(a, QN_BLOCK_ROWS, qn_max_size(tables, qn_max_size(arch->width, inner)), m);
    lane.mid = take_codes(a, QN_BLOCK_ROWS, arch->ffn, m);
    if (!is_static) lane.head = take_head(a, longest, arch->head_dim);
  }
  if (l) *l = lane;
}

/* Codes of a static recipe that are more than one block's. */
static void take_static(quern_session *s, qn_arena *a, const quern_model *m, size_t tokens, size_t sequences,
                        size_t group) {
  const qn_arch *arch = &m->arch;
  const size_t inner = (size_t)arch->heads * arch->head_dim;
  s->codes = take_codes(a, tokens, arch->width, m);
  s->qkv_codes = qn_arena_take(a, group * 3 * inner, 1);
  s->context_codes = take_codes(a, group, inner, m);
  s->exp = qn_arena_take(a, (size_t)arch->layers * 32, sizeof(int16_t));
  if (qn_arch_classifies(arch)) s->pooler_codes = take_codes(a, sequences, arch->width, m);
  if (arch->head != QN_HEAD_NONE)
    s->logit_codes = take_codes(a, arch->head == QN_HEAD_SPAN ? tokens : sequences, arch->labels, m);
}

static void lay_out_buffers(quern_session *s, const quern_model *m, const quern_session_options *o, qn_arena *a) {
  const qn_arch *arch = &m->arch;
  const size_t tokens = o->max_tokens, sequences = o->max_sequences, width = arch->width;
  const size_t inner = (size_t)arch->heads * arch->head_dim;
  const uint32_t lanes = qn_pool_threads(m->context->pool);
  const size_t longest = qn_min_size(arch->positions, tokens);
  /* A group ends with the sequence that fills it. */
  const size_t group = qn_min_size(tokens, (size_t)QN_GROUP_TOKENS * lanes + longest);

  s->max_tokens = o->max_tokens;
  s->max_sequences = o->max_sequences;
  s->text_tokens = o->text_tokens;
  s->flags = o->flags;
  s->pool_kind = o->pool;
  s->lanes = lanes;
  s->group_tokens = (uint32_t)group;
  s->group_sequences = (uint32_t)qn_min_size(qn_min_size(sequences, group),
                                             qn_max_size(QN_GROUP_UNITS / arch->heads, 1));
  s->ids = qn_arena_take(a, tokens, sizeof(int32_t));
  s->types = qn_arena_take(a, tokens, sizeof(int32_t));
  s->positions = qn_arena_take(a, tokens, sizeof(int32_t));
  s->lens = qn_arena_take(a, sequences, sizeof(uint32_t));
  s->starts = qn_arena_take(a, sequences, sizeof(uint32_t));
  s->x = qn_arena_take(a, tokens * width, sizeof(float));
  s->pooled = qn_arena_take(a, sequences * width, sizeof(float));
  if (qn_arch_classifies(arch)) s->pooler_out = qn_arena_take(a, sequences * width, sizeof(float));
  if (arch->head == QN_HEAD_SPAN) {
    s->logits = qn_arena_take(a, tokens * arch->labels, sizeof(float));
    s->spans = qn_arena_take(a, tokens, sizeof(quern_span));
    s->windows = qn_arena_take(a, sequences, sizeof(qn_window));
    s->context_ids = qn_arena_take(a, tokens, sizeof(int32_t));
    s->context_spans = qn_arena_take(a, tokens, sizeof(quern_span));
  }
  if (arch->recipe != QN_RECIPE_FLOAT && (qn_arch_classifies(arch) || arch->dense))
    s->pooled_codes = take_codes(a, sequences, width, m);
  s->text_ids = qn_arena_take(a, 2 * (size_t)o->text_tokens, sizeof(int32_t));
  if (arch->recipe == QN_RECIPE_STATIC) {
    take_static(s, a, m, tokens, sequences, group);
  } else {
    s->qkv = qn_arena_take(a, group * 3 * inner, sizeof(float));
    s->context = qn_arena_take(a, group * inner, sizeof(float));
  }
  s->units = qn_arena_take(a, (size_t)s->group_sequences * arch->heads, sizeof(qn_unit));
  s->lane = qn_arena_take(a, lanes, sizeof(qn_lane));
  s->share = qn_arena_take(a, lanes, sizeof(qn_share));
  for (uint32_t i = 0; i < lanes; i++) take_lane(s->lane ? &s->lane[i] : NULL, a, m, longest);
}

/* The session struct at the start of the arena, then its buffers. s: that struct, or while counting any. */
static void lay_out(quern_session *s, const quern_model *m, const quern_session_options *o, qn_arena *arena) {
  (void)qn_arena_take(arena, 1, sizeof *s);
  lay_out_buffers(s, m, o, arena);
}

quern_status qn_session_count(const quern_model *m, const quern_session_options *o, size_t *bytes) {
  qn_arena arena = {0};
  quern_session counting = {0};
  lay_out(&counting, m, o, &arena);
  if (arena.overflow)
    return qn_fail(&m->env->error, QUERN_E_MEMORY,
                   "a session of %u tokens and %u sequences does not fit the address space", o->max_tokens,
                   o->max_sequences);
  *bytes = arena.used;
  return QUERN_OK;
}

static void build_exp(quern_session *s) {
  const qn_fpenv guard = qn_fpenv_enter();
  for (uint32_t i = 0; i < s->model->arch.layers; i++)
    qk_exp_build(s->exp + (size_t)i * 32, qn_model_place(s->model, QN_SITE_SCORES, i)->scale[0]);
  qn_fpenv_leave(guard);
}

quern_status qn_session_create(quern_session **out, quern_model *m, const quern_session_options *o) {
  size_t bytes = 0;
  QN_TRY(qn_session_count(m, o, &bytes));
  void *block = o->workspace;
  if (block && ((uintptr_t)block % QRN_ALIGN || o->workspace_bytes < bytes))
    return qn_fail(&m->env->error, QUERN_E_CAPACITY, "the workspace needs %zu bytes aligned to %u", bytes, QRN_ALIGN);
  if (!block) QN_TRY(qn_alloc(m->env, &block, bytes, "the session"));

  qn_arena arena = {.base = block, .cap = bytes};
  quern_session *s = block;
  memset(s, 0, sizeof *s);
  lay_out(s, m, o, &arena);
  s->model = m;
  s->kernels = &m->context->kernels;
  s->pool = m->context->pool;
  s->own_memory = !o->workspace;
  s->bytes = bytes;
  s->stats.bytes = bytes;
  s->fold = (float)(LOG2_E / __builtin_sqrt((double)m->arch.head_dim));
  if (s->exp) build_exp(s);
  qn_error_init(&s->error);
  atomic_init(&s->cancel, 0);
  qn_model_retain(m);
  *out = s;
  return QUERN_OK;
}

void qn_session_free(quern_session *s) {
  if (!s) return;
  quern_model *m = s->model;
  if (s->own_memory) qn_free(m->env, s, s->bytes);
  qn_model_release(m);
}
