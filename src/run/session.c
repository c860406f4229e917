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
#define DEFAULT_DECODED 16u /* sequences of a decoder */
#define MAX_CACHE_TOKENS (1u << 28)

/* What a decoder's session holds: sequences, whose number has nothing to do with the tokens of a pass, and their pages. */
static quern_status resolve_cache(quern_session_options *o, const qn_arch *a, qn_error *error) {
  if (!a->causal) {
    if (o->cache_tokens || o->cache_bits || o->logit_rows)
      return qn_fail(error, QUERN_E_ARGUMENT, "cache_tokens, cache_bits and logit_rows are for decoders: leave them 0");
    return QUERN_OK;
  }
  if (!o->cache_tokens)
    o->cache_tokens = (uint32_t)qn_max_size(o->max_tokens, (size_t)o->max_sequences * QN_PAGE_TOKENS);
  if (!o->cache_bits) o->cache_bits = a->recipe == QN_RECIPE_FLOAT ? 32 : 8;
  if (!o->logit_rows) o->logit_rows = o->max_sequences;
  if (o->cache_tokens > MAX_CACHE_TOKENS)
    return qn_fail(error, QUERN_E_ARGUMENT, "a session's cache holds at most %u tokens", MAX_CACHE_TOKENS);
  if (o->cache_bits != 4 && o->cache_bits != 8 && o->cache_bits != 32)
    return qn_fail(error, QUERN_E_ARGUMENT, "keys and values have 4, 8 or 32 bits, not %u", o->cache_bits);
  if (o->logit_rows > MAX_TOKENS)
    return qn_fail(error, QUERN_E_ARGUMENT, "a session holds logits of at most %u rows", MAX_TOKENS);
  return QUERN_OK;
}

quern_status qn_session_resolve(quern_session_options *o, const quern_model *m, qn_error *error) {
  const qn_arch *a = &m->arch;
  if (o->flags & ~QUERN_NO_NORMALIZE) return qn_fail(error, QUERN_E_ARGUMENT, "unknown session flags 0x%x", o->flags);
  if (o->pool > QUERN_POOL_LAST) return qn_fail(error, QUERN_E_ARGUMENT, "unknown pooling %u", o->pool);
  if (!o->text_tokens) o->text_tokens = a->sentence_tokens;
  if (o->text_tokens > a->positions)
    return qn_fail(error, QUERN_E_ARGUMENT, "texts of %u tokens were asked for, the model's position limit is %u",
                   o->text_tokens, a->positions);
  if (!o->max_tokens) o->max_tokens = DEFAULT_TOKENS;
  if (!o->max_sequences) o->max_sequences = a->causal ? DEFAULT_DECODED : DEFAULT_SEQUENCES;
  if (o->max_tokens > MAX_TOKENS || o->max_sequences > MAX_SEQUENCES)
    return qn_fail(error, QUERN_E_ARGUMENT, "a session holds at most %u tokens and %u sequences a pass", MAX_TOKENS,
                   MAX_SEQUENCES);
  if (o->max_sequences > o->max_tokens && !a->causal) o->max_sequences = o->max_tokens;
  return resolve_cache(o, a, error);
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

/* longest: tokens of a sequence. pages: of a decoder's. */
static void take_lane(qn_lane *l, qn_arena *a, const quern_model *m, size_t longest, size_t pages) {
  const qn_arch *arch = &m->arch;
  const size_t inner = qn_arch_inner(arch);
  const size_t tables = qn_arch_table_width(arch);
  const int is_static = arch->recipe == QN_RECIPE_STATIC;
  const size_t hidden = qn_max_size(is_static ? arch->width : qn_arch_up(arch), tables);
  qn_lane lane = {.hidden = qn_arena_take(a, QN_BLOCK_ROWS * hidden, sizeof(float))};
  if (arch->place != QN_PLACE_POST) lane.normed = qn_arena_take(a, QN_BLOCK_ROWS * (size_t)arch->width, sizeof(float));
  if (arch->causal) {
    lane.blocks = qn_arena_take(a, pages, sizeof *lane.blocks);
    lane.attend = qn_arena_take(a, qk_attend_scratch(arch->head_dim), 1);
  }
  if (is_static) {
    lane.out = take_codes(a, QN_BLOCK_ROWS, arch->width, m);
    lane.row = qn_arena_take(a, QN_BLOCK_ROWS * (size_t)arch->width, sizeof(float));
    lane.attention = take_static_head(a, longest, arch->head_dim);
  }
  if (arch->recipe != QN_RECIPE_FLOAT) {
    lane.in = take_codes(a, QN_BLOCK_ROWS, qn_max_size(tables, qn_max_size(arch->width, inner)), m);
    lane.mid = take_codes(a, QN_BLOCK_ROWS, arch->ffn, m);
    if (!is_static && !arch->causal) lane.head = take_head(a, longest, arch->head_dim);
  }
  if (m->transformed) lane.transform = qn_arena_take(a, qk_transform_scratch(m->transformed), 1);
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

/* Pages, and what is kept of each sequence. Of attention that is cut by blocks each lane has some parts, of one token's queries
   that share a head, over all blocks of the longest sequence. */
static void take_decoder(quern_session *s, qn_arena *a, const quern_model *m, const quern_session_options *o) {
  const qn_arch *arch = &m->arch;
  const size_t sequences = o->max_sequences, width = arch->width;
  const size_t share = qn_min_size(arch->heads / arch->kv_heads, QN_PART_QUERIES);
  s->cache = (qn_cache){.layers = arch->layers,
                        .heads = arch->kv_heads,
                        .h = arch->head_dim,
                        .bits = o->cache_bits,
                        .pages = qn_cache_pages(o->cache_tokens),
                        .sequences = o->max_sequences};
  /* Where all layers have a window, a sequence may grow beyond the pool. What is behind the window, penalties and tokens that may be
     taken back is released; pages hold all layers, so that one that sees everything keeps them. */
  const int windowed = arch->window && !arch->global_every && arch->window < arch->positions;
  s->cache.keep = windowed ? (uint32_t)qn_max_size(arch->window, QN_PENALTY_TOKENS) + QN_CACHE_SLACK : 0;
  s->cache.pages_most = qn_cache_pages(arch->positions);
  if (!windowed) s->cache.pages_most = (uint32_t)qn_min_size(s->cache.pages, s->cache.pages_most);
  s->logit_rows = o->logit_rows;
  s->parts_floats = s->lanes == 1
                        ? 0
                        : QN_UNITS_A_LANE * (size_t)s->lanes * qn_min_size(s->cache.pages, s->cache.pages_most) *
                              qk_attend_part_words(share, arch->head_dim);
  s->sequences = qn_arena_take(a, sequences, sizeof *s->sequences);
  s->feeds = qn_arena_take(a, sequences, sizeof *s->feeds);
  s->call_lens = qn_arena_take(a, sequences, sizeof *s->call_lens);
  s->call_sequences = qn_arena_take(a, sequences, sizeof *s->call_sequences);
  s->members = qn_arena_take(a, sequences, sizeof *s->members);
  s->segments = qn_arena_take(a, sequences, sizeof *s->segments);
  s->last = qn_arena_take(a, sequences * width, sizeof(float));
  s->head_rows = qn_arena_take(a, o->logit_rows * width, sizeof(float));
  s->logit_owners = qn_arena_take(a, o->logit_rows, sizeof *s->logit_owners);
  s->logits = qn_arena_take(a, o->logit_rows * (size_t)arch->labels, sizeof(float));
  s->sampler = (qn_sampler){.kernels = &m->context->kernels,
                            .vocab = arch->labels,
                            .values = qn_arena_take(a, arch->labels, sizeof(float)),
                            .order = qn_arena_take(a, arch->labels, sizeof(qn_candidate))};
  s->parts = qn_arena_take(a, s->parts_floats, sizeof(float));
  qn_cache_take(&s->cache, a);
}

/* What sequences of an encoder need that are pooled, classified or asked. */
static void take_outputs(quern_session *s, qn_arena *a, const quern_model *m, const quern_session_options *o) {
  const qn_arch *arch = &m->arch;
  const size_t tokens = o->max_tokens, sequences = o->max_sequences;
  const size_t width = qn_max_size(arch->width, arch->dense2 ? arch->dense : 0);
  s->types = qn_arena_take(a, tokens, sizeof(int32_t));
  s->pooled = qn_arena_take(a, sequences * arch->width, sizeof(float));
  if (qn_arch_classifies(arch) || arch->dense2) s->pooler_out = qn_arena_take(a, sequences * width, sizeof(float));
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
  s->units = qn_arena_take(a, (size_t)s->group_sequences * arch->heads, sizeof(qn_unit));
}

static void lay_out_buffers(quern_session *s, const quern_model *m, const quern_session_options *o, qn_arena *a) {
  const qn_arch *arch = &m->arch;
  const size_t tokens = o->max_tokens, sequences = o->max_sequences;
  const uint32_t lanes = qn_pool_threads(m->context->pool);
  const size_t longest = qn_min_size(arch->positions, tokens);
  /* A group ends with the sequence that fills it; a decoder's may be cut. */
  const size_t group = qn_min_size(tokens, (size_t)QN_GROUP_TOKENS * lanes + (arch->causal ? 0 : longest));

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
  s->positions = qn_arena_take(a, tokens, sizeof(int32_t));
  s->lens = qn_arena_take(a, sequences, sizeof(uint32_t));
  s->starts = qn_arena_take(a, sequences, sizeof(uint32_t));
  s->x = qn_arena_take(a, tokens * arch->width, sizeof(float));
  if (arch->causal)
    take_decoder(s, a, m, o);
  else
    take_outputs(s, a, m, o);
  for (uint32_t i = 0; arch->rotary && i < 1 + arch->local_rotary; i++) {
    s->turn[i].cosine = qn_arena_take(a, group * (arch->rotary / 2), sizeof(float));
    s->turn[i].sine = qn_arena_take(a, group * (arch->rotary / 2), sizeof(float));
  }
  if (arch->recipe == QN_RECIPE_STATIC) {
    take_static(s, a, m, tokens, sequences, group);
  } else {
    s->qkv = qn_arena_take(a, group * qn_arch_qkv(arch), sizeof(float));
    s->context = qn_arena_take(a, group * qn_arch_inner(arch), sizeof(float));
  }
  s->lane = qn_arena_take(a, lanes, sizeof(qn_lane));
  s->share = qn_arena_take(a, lanes, sizeof(qn_share));
  for (uint32_t i = 0; i < lanes; i++) take_lane(s->lane ? &s->lane[i] : NULL, a, m, longest, s->cache.pages_most);
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

static void begin_sequences(quern_session *s) {
  qn_cache_begin(&s->cache);
  for (uint32_t i = 0; i < s->max_sequences; i++) s->sequences[i] = (qn_sequence){.logits = QN_NO_LOGITS};
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
  const double scale = (double)m->arch.score_scale;
  s->fold = (float)(scale != 0 ? LOG2_E * scale : LOG2_E / __builtin_sqrt((double)m->arch.head_dim));
  if (s->exp) build_exp(s);
  if (m->arch.causal) begin_sequences(s);
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
