/* report.c - report.json and report.html of a quantization: what both say, and the files. No dates: the same job, the same bytes.
 * Not here: how errors are measured (quantize.c, examine.c). One thread. */
#include "quant/report.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "quant/order.h"

uint32_t qn_report_worst(const qn_report *r) {
  uint32_t worst = r->count;
  for (uint32_t i = 0; i < r->count; i++)
    if (r->rows[i].linear && (worst == r->count || r->rows[i].error > r->rows[worst].error)) worst = i;
  return worst;
}

double qn_report_share_of_16(const qn_plan *plan) {
  uint64_t all = 0, wide = 0;
  for (uint32_t i = 0; i < plan->count; i++) {
    const qn_site_plan *s = &plan->site[i];
    if (!qn_plan_is_static(s) || s->site.channels == 1) continue;
    all += s->site.channels;
    wide += s->rule.bits == 16 ? s->site.channels : 0;
  }
  return all ? (double)wide / (double)all : 0;
}

void qn_report_parts(const qn_report *r, qn_report_part part[QN_REPORT_PARTS]) {
  static const char *const names[QN_REPORT_PARTS] = {"embeddings", "attention", "feed-forward", "head",
                                                     "the rest: norms, sites, what is not used"};
  uint64_t before = r->source_bytes, after = r->tensor_bytes;
  for (uint32_t i = 0; i < QN_REPORT_PARTS; i++) part[i] = (qn_report_part){names[i], 0, 0};
  for (uint32_t i = 0; i < r->count; i++) {
    const qn_report_row *row = &r->rows[i];
    const uint32_t at = !strncmp(row->name, "embed.", 6) ? 0
                        : strstr(row->name, ".attn.")    ? 1
                        : strstr(row->name, ".ffn.")     ? 2
                                                         : 3;
    part[at].before += row->before;
    part[at].after += row->after;
    before -= row->before < before ? row->before : before;
    after -= row->after < after ? row->after : after;
  }
  part[QN_REPORT_PARTS - 1].before = before;
  part[QN_REPORT_PARTS - 1].after = after;
}

int qn_report_has_site(const qn_report *r, const qn_site *site) {
  return r->plan->count || (r->recipe->activation_bits < 32 && site->flags & QN_SITE_ALWAYS);
}

/* ---- ranges of channels ---- */

qn_extremes qn_series_at(const qn_series *s, uint32_t i) {
  qn_extremes e = s->e[s->order ? s->order[i] : i];
  if (!(e.high >= e.low)) return (qn_extremes){0, 0};
  if (s->by) e.low *= s->by[i], e.high *= s->by[i];
  return e;
}

qn_extremes qn_series_whole(const qn_series *s) {
  qn_extremes all = {0, 0};
  for (uint32_t i = 0; i < s->n; i++) {
    const qn_extremes e = qn_series_at(s, i);
    all.low = e.low < all.low ? e.low : all.low;
    all.high = e.high > all.high ? e.high : all.high;
  }
  return all;
}

int qn_report_before(const qn_report *r, uint32_t site, qn_series *s) {
  const qn_examination *x = r->examined;
  if (site >= x->before.sites) return 0;
  *s = (qn_series){.e = x->before.site[site].channel, .n = x->before.site[site].channels};
  return s->n > 1;
}

int qn_report_after(const qn_report *r, uint32_t i, qn_series *s) {
  const qn_examination *x = r->examined;
  qn_site site;
  if (!qn_report_before(r, i, s)) return 0;
  qn_site_at(r->arch, i, &site);
  if (x->after.sites) {
    s->e = x->after.site[i].channel;
    return (site.kind == QN_SITE_QKV_IN && qn_migration_by(r->migration, 2 * site.layer)) ||
           (site.kind == QN_SITE_FFN_UP_IN && qn_migration_by(r->migration, 2 * site.layer + 1));
  }
  if (r->plan->count) {
    s->order = r->plan->site[i].groups > 1 ? qn_order_of(r->plan, &site) : NULL;
    return s->order != NULL;
  }
  if (!r->smooth->data || !(site.flags & QN_SITE_INPUT) || site.layer == QN_NO_LAYER) return 0;
  s->by = qn_maxima_of(r->smooth, site.layer, site.kind);
  return 1;
}

/* ---- what methods changed ---- */

static uint32_t sites_with(const qn_report *r, uint32_t bits, int groups) {
  uint32_t n = 0;
  for (uint32_t i = 0; i < r->plan->count; i++) {
    const qn_site_plan *s = &r->plan->site[i];
    n += qn_plan_is_static(s) && (groups ? s->groups > 1 : s->rule.bits == bits);
  }
  return n;
}

static int say_split(const qn_report *r, qn_page *p) {
  if (!r->arch->ffn_copies) return 0;
  qn_page_put(p,
              "Splitting: the %u feed-forward neurons a layer with the largest outgoing weights are repeated, their "
              "weights shared.",
              r->arch->ffn_copies);
  return 1;
}

static int say_rounding(const qn_report *r, qn_page *p) {
  if (!r->recipe->rounding) return 0;
  qn_page_put(p, "Calibrated rounding: codes of weights are those that change outputs least on %llu rows of ",
              (unsigned long long)r->calibration_rows);
  qn_page_escaped(p, r->calibration);
  qn_page_put(p, ", %llu tokens", (unsigned long long)r->calibration_tokens);
  if (r->calibration_tokens < r->calibration_wanted)
    qn_page_put(p, ", which is little: %llu or more are better than the nearest codes",
                (unsigned long long)r->calibration_wanted);
  qn_page_text(p, ".");
  return 1;
}
static int say_unfold(const qn_report *r, qn_page *p) {
  if (!r->recipe->unfold) return 0;
  qn_page_put(
      p, "Unfolding: what a few neurons of each layer reach beyond the others is taken by copies of them, %u at most.",
      r->recipe->unfold);
  return 1;
}
static int say_smooth(const qn_report *r, qn_page *p) {
  if (!r->smooth->data) return 0;
  qn_page_text(p,
               "Smoothing: inputs of the layers' operators are multiplied channel by channel, their weights divided.");
  return 1;
}

static int say_migration(const qn_report *r, qn_page *p) {
  uint32_t moved = 0;
  for (uint32_t i = 0; i < r->migration->norms; i++) moved += qn_migration_by(r->migration, i) != NULL;
  if (!r->recipe->migrate) return 0;
  qn_page_put(p, "Migration: the gains of %u of %u norms went into the weights and shortcuts behind them.", moved,
              2 * r->arch->layers + 1);
  return 1;
}

static int say_clip(const qn_report *r, qn_page *p) {
  uint32_t sites = 0, of = 0;
  double most = 0;
  if (!r->recipe->clip || !r->examined->layers) return 0;
  for (uint32_t i = 0; i < r->plan->count; i++) {
    if (!qn_plan_is_static(&r->plan->site[i])) continue;
    of++;
    sites += r->examined->site[i].clipped > 0;
    most = r->examined->site[i].clipped > most ? r->examined->site[i].clipped : most;
  }
  qn_page_put(p, "Clipping: %u of %u ranges end within what tokens reach; at most ", sites, of);
  qn_page_fixed(p, 100 * most, 1);
  qn_page_text(p, " % of the tokens of a site are cut.");
  return 1;
}

static int say_groups(const qn_report *r, qn_page *p) {
  const uint32_t sites = sites_with(r, 0, 1);
  if (!sites) return 0;
  qn_page_put(p, "Groups: %u sites have groups of channels with scales of their own%s.", sites,
              r->plan->orders > 1 ? ", channels of each layer sorted by range"
              : r->plan->order    ? ", channels sorted by range"
                                  : "");
  return 1;
}

static int say_bits(const qn_report *r, qn_page *p) {
  static const uint32_t bits[] = {16, 8, 6, 4};
  const char *between = "Bits of sites: ";
  if (!r->plan->count) return 0;
  for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
    const uint32_t n = sites_with(r, bits[i], 0);
    if (n) qn_page_put(p, "%s%u have %u", between, n, bits[i]), between = ", ";
  }
  qn_page_text(p, ".");
  return 1;
}

static int say_choice(const qn_report *r, qn_page *p) {
  const qn_choice *c = r->choice;
  uint32_t kept = 0;
  if (!c->sites) return 0;
  for (uint32_t i = 0; i < c->moves; i++) kept += c->move[i].kept == 1;
  qn_page_put(p, "Choice: %u of %u moves from the most bits were kept; cost ", kept, c->moves);
  qn_page_fixed(p, 100 * c->cost / c->cost_before, 1);
  qn_page_text(p, " % of that of the most bits, loss ");
  qn_page_number(p, c->loss);
  qn_page_text(p, " of at most ");
  qn_page_number(p, c->max_loss);
  qn_page_text(p, ".");
  return 1;
}

int qn_report_change(const qn_report *r, uint32_t i, qn_page *p) {
  static int (*const all[])(const qn_report *, qn_page *) = {
      say_split, say_rounding, say_unfold, say_smooth, say_migration, say_clip, say_groups, say_bits, say_choice};
  qn_page nothing = {.env = p->env, .status = QUERN_E_CANCELLED}; /* takes no text */
  for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
    if (all[k](r, &nothing) && i-- == 0) return all[k](r, p);
  return 0;
}

/* ---- files ---- */

static quern_status write_page(const qn_report *r, qn_env *env, const char *dir, const char *name,
                               void (*make)(qn_page *p, const qn_report *r)) {
  char path[4096];
  qn_page p = {.env = env};
  qn_output *o = NULL;
  quern_status status;
  make(&p, r);
  QN_TRY_CLEANUP(p.status);
  QN_TRY_CLEANUP(qn_path_join(env, path, sizeof path, dir, name));
  QN_TRY_CLEANUP(qn_output_open(&o, env, path, 0));
  status = qn_output_write(o, p.buffer.data, p.buffer.bytes);
  if (status == QUERN_OK)
    status = qn_output_commit(o);
  else
    qn_output_abort(o);
cleanup:
  qn_buffer_free(env, &p.buffer);
  return status;
}

static quern_status make_directory(qn_env *env, const char *dir, int *made) {
  *made = mkdir(dir, 0777) == 0;
  if (*made || errno == EEXIST) return QUERN_OK;
  return qn_fail(&env->error, QUERN_E_IO, "%s: the report's directory cannot be created: %s", dir,
                 qn_errno_text(errno));
}

quern_status qn_report_check(qn_env *env, const char *dir) {
  char path[4096];
  int made;
  QN_TRY(make_directory(env, dir, &made));
  quern_status status = qn_path_join(env, path, sizeof path, dir, "report.json");
  if (status == QUERN_OK) status = qn_output_check(env, path);
  if (made) rmdir(dir);
  return status;
}

quern_status qn_report_write(const qn_report *r, qn_env *env, const char *dir) {
  int made;
  QN_TRY(make_directory(env, dir, &made));
  QN_TRY(write_page(r, env, dir, "report.json", qn_report_json));
  return write_page(r, env, dir, "report.html", qn_report_html);
}
