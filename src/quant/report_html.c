/* report_html.c - report.html (report.h): one page with its style and pictures in it, which fetches nothing and runs nothing. */
#include <string.h>

#include "quant/report_charts.h"
#include "quant/report_style.h"

static void put_bytes(qn_page *p, uint64_t bytes) {
  const int large = bytes >= 1000000;
  qn_page_fixed(p, (double)bytes / (large ? 1e6 : 1e3), 1);
  qn_page_text(p, large ? " MB" : " kB");
}

static void put_percent(qn_page *p, double share, uint32_t digits) {
  qn_page_fixed(p, 100 * share, digits);
  qn_page_text(p, " %");
}

static void open_card(qn_page *p) { qn_page_text(p, "<div class=\"card\"><b>"); }
static void close_card(qn_page *p, const char *label) { qn_page_put(p, "</b><span>%s</span></div>\n", label); }

static void put_cards(qn_page *p, const qn_report *r, uint32_t worst) {
  const qn_examination *x = r->examined;
  char label[128];
  qn_page_text(p, "<div class=\"cards\">\n");
  open_card(p);
  put_bytes(p, r->source_bytes);
  qn_page_text(p, " &#8594; ");
  put_bytes(p, r->tensor_bytes);
  close_card(p, "weights in the source, tensors in the file");
  open_card(p);
  qn_page_fixed(p, r->tensor_bytes ? (double)r->source_bytes / (double)r->tensor_bytes : 0, 2);
  qn_page_text(p, " &#215;");
  close_card(p, "smaller");
  if (x->layers) {
    open_card(p);
    qn_page_number(p, x->output_error);
    close_card(p, "squared error of the outputs over their spread");
    if (x->cosine > 0) {
      open_card(p);
      qn_page_fixed(p, x->cosine, 5);
      close_card(p, "mean cosine of embeddings with the float model&#8217;s");
    }
  }
  if (r->plan->count) {
    open_card(p);
    put_percent(p, qn_report_share_of_16(r->plan), 1);
    close_card(p, "of a token&#8217;s activations have 16 bits");
  }
  open_card(p);
  put_percent(p, worst < r->count ? r->rows[worst].error : 0, 2);
  qn_format(label, sizeof label, "error of the worst operator&#8217;s weights%s%s", worst < r->count ? ", " : "",
            worst < r->count ? r->rows[worst].name : "");
  close_card(p, label);
  qn_page_text(p, "</div>\n");
}

static void put_changes(qn_page *p, const qn_report *r) {
  qn_page_text(p, "<h2>What was changed</h2>\n<div class=\"box\"><ul>\n<li>Rounding: ");
  qn_page_put(p, "weights have %u bits, activations %s%u, embeddings %u.</li>\n", r->recipe->weight_bits,
              r->plan->count ? "mostly " : "", r->recipe->activation_bits, r->recipe->embedding_bits);
  for (uint32_t i = 0;; i++) {
    const size_t before = p->buffer.bytes;
    qn_page_text(p, "<li>");
    if (!qn_report_change(r, i, p)) {
      if (p->status == QUERN_OK) p->buffer.bytes = before;
      break;
    }
    qn_page_text(p, "</li>\n");
  }
  qn_page_text(p, "</ul></div>\n");
}

static void put_error_row(qn_page *p, double v, double most) {
  qn_page_text(p, "</td><td class=\"l\">");
  qn_chart_bar(p, 640, v, most, -1);
  qn_page_text(p, "</td><td>");
  qn_page_number(p, v);
  qn_page_text(p, "</td></tr>\n");
}

static void put_errors(qn_page *p, const qn_report *r) {
  const qn_examination *x = r->examined;
  double most = x->output_error;
  if (!x->layers) return;
  for (uint32_t l = 0; l <= x->layers; l++) most = x->layer_error[l] > most ? x->layer_error[l] : most;
  qn_page_put(p,
              "<h2>Error behind each layer</h2>\n<p>Hidden states of %zu tokens and outputs of %zu rows of text, of "
              "the integer model "
              "against the float model: squared error over the spread.</p>\n<div class=\"box\"><table>\n",
              x->tokens, x->rows);
  for (uint32_t l = 0; l <= x->layers; l++) {
    if (l)
      qn_page_put(p, "<tr><td>layer %u", l - 1);
    else
      qn_page_text(p, "<tr><td>embeddings");
    put_error_row(p, x->layer_error[l], most);
  }
  qn_page_text(p, "<tr><td><b>outputs</b>");
  put_error_row(p, x->output_error, most);
  qn_page_text(p, "</table></div>\n");
}

/* ---- a choice ---- */

static void put_form(qn_page *p, const qn_choice_form *f) {
  qn_page_put(p, "%u bits", f->bits);
  if (f->groups > 1) qn_page_put(p, ", %u groups", f->groups);
}

/* What sites of a layer cost in error when they take their cheapest form, each alone. layer QN_NO_LAYER: of no layer. */
static double sensitivity(const qn_report *r, uint32_t layer) {
  double sum = 0;
  for (uint32_t i = 0; i < r->choice->sites; i++) {
    const qn_choice_site *c = &r->choice->site[i];
    qn_site site;
    qn_site_at(r->arch, i, &site);
    if (site.layer == layer && c->forms && c->form[c->forms - 1].error > 0) sum += c->form[c->forms - 1].error;
  }
  return sum;
}

static void put_choice(qn_page *p, const qn_report *r) {
  const qn_choice *c = r->choice;
  double most = sensitivity(r, QN_NO_LAYER);
  qn_site site;
  for (uint32_t l = 0; l < r->arch->layers; l++) most = sensitivity(r, l) > most ? sensitivity(r, l) : most;
  qn_page_put(p, "<h2>Choosing by measurement</h2>\n<p>All sites began with their most bits, at a loss of ");
  qn_page_number(p, c->least_loss);
  qn_page_put(p,
              " on the whole calibration text. Each move makes one site cheaper, in the order of the error that it "
              "added by itself over "
              "what it saves. Trials ran over %zu of %zu rows; a move that lost too much was taken back (rings). Cost "
              "is in multiply-adds of "
              "8 bits a token: 16 bits are two planes, a group&#8217;s sum in a product counts as ",
              c->trial_rows, c->rows);
  qn_page_number(p, QN_COST_JOIN);
  qn_page_text(p, ", a byte of an activation as ");
  qn_page_number(p, QN_COST_BYTE);
  qn_page_text(p, ". Weights take the same bytes whatever is chosen.</p>\n<div class=\"box\">");
  qn_chart_moves(p, c);
  qn_page_text(p,
               "</div>\n<details><summary>What each layer adds<span>error with a site at its cheapest, summed over the "
               "layer</span></summary>\n<table>\n");
  for (uint32_t l = 0; l <= r->arch->layers; l++) {
    if (l < r->arch->layers)
      qn_page_put(p, "<tr><td>layer %u", l);
    else
      qn_page_text(p, "<tr><td>elsewhere");
    put_error_row(p, sensitivity(r, l < r->arch->layers ? l : QN_NO_LAYER), most);
  }
  qn_page_put(
      p,
      "</table></details>\n<details><summary>%u moves<span>in order, with the loss after each</span></summary>\n"
      "<div class=\"wrap\"><table>\n<tr><th>site</th><th>from</th><th>to</th><th>loss</th><th></th></tr>\n",
      c->moves);
  for (uint32_t i = 0; i < c->moves; i++) {
    static const char *const ends[] = {"taken back", "kept", "taken back in the end"};
    const qn_choice_move *m = &c->move[i];
    const qn_choice_form *form = c->site[m->site].form;
    qn_site_at(r->arch, m->site, &site);
    qn_page_put(p, "<tr><td><code>%s</code></td><td>", site.name);
    put_form(p, &form[m->to - 1]);
    qn_page_text(p, "</td><td>");
    put_form(p, &form[m->to]);
    qn_page_text(p, "</td><td>");
    qn_page_number(p, m->loss);
    qn_page_put(p, "</td><td>%s</td></tr>\n", ends[m->kept]);
  }
  qn_page_text(p, "</table></div></details>\n");
}

/* ---- sizes ---- */

static void put_sizes(qn_page *p, const qn_report *r) {
  qn_report_part part[QN_REPORT_PARTS];
  qn_report_parts(r, part);
  qn_page_text(p, "<h2>Sizes</h2>\n<p>Bytes by part: above in the source, below in the file.</p>\n<div class=\"box\">");
  qn_chart_parts(p, part);
  qn_page_text(p, "<table class=\"key\">\n<tr><th>part</th><th>before</th><th>after</th><th>smaller</th></tr>\n");
  for (int i = 0; i < QN_REPORT_PARTS; i++) {
    if (!part[i].before && !part[i].after) continue;
    qn_page_put(p, "<tr><td><i style=\"background:var(--%c)\"></i>%s</td><td>", 'a' + i, part[i].name);
    put_bytes(p, part[i].before);
    qn_page_text(p, "</td><td>");
    put_bytes(p, part[i].after);
    qn_page_text(p, "</td><td>");
    if (part[i].after) qn_page_fixed(p, (double)part[i].before / (double)part[i].after, 2);
    qn_page_text(p, "</td></tr>\n");
  }
  qn_page_text(p, "</table></div>\n");
}

/* ---- sites ---- */

static void put_range(qn_page *p, double low, double high) {
  qn_page_number(p, low);
  qn_page_text(p, " &#8230; ");
  qn_page_number(p, high);
}

static void put_outliers(qn_page *p, const qn_site_examined *x) {
  if (x->outlier_channels)
    qn_page_put(p, "<div><b>%u outlier channel%s</b>: ", x->outlier_channels, x->outlier_channels > 1 ? "s" : "");
  for (uint32_t i = 0; i < x->channels; i++) {
    const qn_outlier_channel *c = &x->channel[i];
    qn_page_put(p, "%s%u (", i ? ", " : "", c->channel);
    if (x->median_channel > 0) {
      qn_page_fixed(p, (double)((c->high - c->low) / x->median_channel), 0);
      qn_page_text(p, " &#215; the median)");
    } else {
      put_range(p, (double)c->low, (double)c->high);
      qn_page_text(p, ")");
    }
  }
  if (x->outlier_channels) qn_page_text(p, "</div>");
  if (x->outlier_tokens)
    qn_page_put(p, "<div><b>%u outlier token%s</b>: ", x->outlier_tokens, x->outlier_tokens > 1 ? "s" : "");
  for (uint32_t i = 0; i < x->tokens; i++) {
    const qn_outlier_token *t = &x->token[i];
    qn_page_put(p, "%s%u &#215; <code>", i ? ", " : "", t->count);
    if (t->text[0])
      qn_page_escaped(p, t->text);
    else
      qn_page_put(p, "id %d", t->id);
    qn_page_put(p, "</code> at %u", t->first);
    if (t->last != t->first) qn_page_put(p, "&#8211;%u", t->last);
  }
  if (x->outlier_tokens) qn_page_text(p, "</div>");
}

static void put_site_ranges(qn_page *p, const qn_report *r, uint32_t i, const qn_site_plan *plan) {
  const qn_examination *x = r->examined;
  const int values = plan && qn_plan_is_static(plan);
  const qn_extremes seen = x->layers ? x->before.site[i].all : (qn_extremes){0, 0};
  qn_series s, after;
  qn_page_text(p, "<div>");
  if (x->layers) {
    qn_page_text(p, "seen ");
    put_range(p, (double)seen.low, (double)seen.high);
  }
  if (values && (plan->low > seen.low || plan->low < seen.low || plan->high > seen.high || plan->high < seen.high)) {
    qn_page_text(p, x->layers ? "; range " : "range ");
    put_range(p, (double)plan->low, (double)plan->high);
  }
  if (x->layers && x->site[i].clipped > 0) {
    qn_page_text(p, "; <b>");
    put_percent(p, x->site[i].clipped, 1);
    qn_page_text(p, " of the tokens clipped</b>");
  }
  qn_page_text(p, "</div>");
  if (!x->layers || !qn_report_before(r, i, &s)) return;
  const int changed = qn_report_after(r, i, &after);
  qn_chart_channels(p, &s, changed || !values ? NULL : plan);
  if (!changed) return;
  const qn_extremes whole = qn_series_whole(&after);
  qn_page_put(p, "<div>%s",
              after.order ? "sorted by range, in groups"
              : after.by  ? "smoothed: "
                          : "without its gain: ");
  if (!after.order) put_range(p, (double)whole.low, (double)whole.high);
  qn_page_text(p, "</div>");
  qn_chart_channels(p, &after, values ? plan : NULL);
}

static void put_site(qn_page *p, const qn_report *r, uint32_t i, const qn_site *site) {
  const qn_site_plan *plan = r->plan->count ? &r->plan->site[i] : NULL;
  const uint32_t bits = plan ? plan->rule.bits : r->recipe->activation_bits;
  const char *name = strncmp(site->name, "layers.", 7) ? site->name : strchr(site->name + 7, '.') + 1;
  qn_page_put(p, "<div class=\"site\"><h3><code>%s</code>", name);
  if (bits == 32)
    qn_page_text(p, "<span class=\"tag\">float</span>");
  else
    qn_page_put(p, "<span class=\"tag%s\">%u bit</span>", bits == 16 ? " wide" : "", bits);
  if (plan && plan->groups > 1) qn_page_put(p, "<span class=\"tag\">%u groups</span>", plan->groups);
  if (!plan || (bits != 32 && !qn_plan_is_static(plan))) qn_page_text(p, "<span class=\"tag\">by token</span>");
  qn_page_text(p, "</h3>");
  put_site_ranges(p, r, i, plan);
  if (r->examined->layers) put_outliers(p, &r->examined->site[i]);
  qn_page_text(p, "</div>\n");
}

/* Sites of a layer; QN_NO_LAYER: before or behind the layers. */
static void put_sites_of(qn_page *p, const qn_report *r, uint32_t layer, int behind) {
  const uint32_t count = qn_site_count(r->arch);
  uint32_t n = 0, wide = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (uint32_t i = 0; i < count; i++) {
      qn_site site;
      qn_site_at(r->arch, i, &site);
      const int here = site.layer == layer && (layer != QN_NO_LAYER || (site.kind > QN_SITE_FFN_SUM) == behind);
      if (!here || !qn_report_has_site(r, &site)) continue;
      if (pass) put_site(p, r, i, &site);
      n += !pass;
      wide += !pass && r->plan->count && r->plan->site[i].rule.bits == 16;
    }
    if (!n) return;
    if (pass) break;
    qn_page_put(p, "<details%s><summary>", layer == 0 ? " open=\"open\"" : "");
    if (layer == QN_NO_LAYER)
      qn_page_text(p, behind ? "Head and pooling" : "Embeddings");
    else
      qn_page_put(p, "Layer %u", layer);
    qn_page_put(p, "<span>%u site%s", n, n > 1 ? "s" : "");
    if (wide) qn_page_put(p, ", %u of 16 bits", wide);
    qn_page_text(p, "</span></summary>\n<div class=\"sites\">\n");
  }
  qn_page_text(p, "</div></details>\n");
}

static void put_sites(qn_page *p, const qn_report *r) {
  qn_page_text(p, "<h2>Sites</h2>\n<p>Where activations are quantized, in order. ");
  if (r->examined->layers)
    qn_page_put(p,
                "Bars: what each channel reaches on calibration text, on a scale of square roots; lines: what codes "
                "reach. Outlier channels: "
                "above %d times the median range; outlier tokens: above %d times the median of tokens&#8217; greatest "
                "magnitudes, with how "
                "often and at which positions.",
                (int)QN_OUTLIER_CHANNEL, (int)QN_OUTLIER_TOKEN);
  else
    qn_page_text(
        p,
        "With calibration text (<code>--calibrate</code>) the report has ranges, outliers and errors of layers too.");
  qn_page_text(p, "</p>\n");
  put_sites_of(p, r, QN_NO_LAYER, 0);
  for (uint32_t l = 0; l < r->arch->layers; l++) put_sites_of(p, r, l, 0);
  put_sites_of(p, r, QN_NO_LAYER, 1);
}

/* ---- operators ---- */

static void put_operators(qn_page *p, const qn_report *r, uint32_t linear, uint32_t worst) {
  const char *part = linear ? "channel" : "row";
  double most = 0;
  for (uint32_t i = 0; i < r->count; i++)
    if (r->rows[i].linear == linear && r->rows[i].worst_error > most) most = r->rows[i].worst_error;
  qn_page_put(
      p,
      "<div class=\"box wrap\"><table>\n<tr><th>%s</th><th>shape</th><th>before</th><th>after</th><th>error</th>"
      "<th class=\"l\">error, and worst %s</th><th>worst %s</th></tr>\n",
      linear ? "operator" : "table", part, part);
  for (uint32_t i = 0; i < r->count; i++) {
    const qn_report_row *row = &r->rows[i];
    if (row->linear != linear) continue;
    qn_page_put(p, "<tr%s><td><code>%s</code></td><td>%u &#215; %u</td><td>",
                i == worst && row->error > 0 ? " class=\"worst\"" : "", row->name, row->n, row->k);
    put_bytes(p, row->before);
    qn_page_text(p, "</td><td>");
    put_bytes(p, row->after);
    qn_page_text(p, "</td><td>");
    put_percent(p, row->error, 3);
    qn_page_text(p, "</td><td>");
    qn_chart_bar(p, 180, row->error, most, row->worst_error);
    qn_page_put(p, "</td><td>%u: ", row->worst);
    put_percent(p, row->worst_error, 3);
    qn_page_text(p, "</td></tr>\n");
  }
  qn_page_text(p, "</table></div>\n");
}

static void put_head(qn_page *p, const qn_report *r) {
  qn_page_text(p, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n<title>Quantization of ");
  qn_page_escaped(p, r->source);
  qn_page_text(p, "</title>\n");
  qn_page_text(p, qn_report_style);
  qn_page_text(p, "</head><body><main>\n<h1>");
  qn_page_escaped(p, r->source);
  qn_page_put(p, "</h1>\n<p>Recipe <b>%s</b>. %u layers, width %u, %u heads, feed-forward %u, vocabulary %u.",
              r->recipe->name, r->arch->layers, r->arch->width, r->arch->heads, r->arch->ffn, r->arch->vocab);
  if (r->calibration) {
    qn_page_put(p, " Calibration text: %llu rows of ", (unsigned long long)r->calibration_rows);
    qn_page_escaped(p, r->calibration);
    qn_page_put(p, ", drawn by seed %u.", r->seed);
  }
  qn_page_text(p, "</p>\n");
}

void qn_report_html(qn_page *p, const qn_report *r) {
  const uint32_t worst = qn_report_worst(r);
  put_head(p, r);
  put_cards(p, r, worst);
  put_changes(p, r);
  put_errors(p, r);
  if (r->choice->sites) put_choice(p, r);
  put_sizes(p, r);
  if (r->recipe->activation_bits < 32) put_sites(p, r);
  if (r->trails) qn_report_trails(p, r, 0);
  qn_page_text(p,
               "<h2>Linear operators</h2>\n<p>Error is the root mean square of what rounding changed, relative to the "
               "weights&#8217; own; the tick marks the worst output channel.</p>\n");
  put_operators(p, r, 1, worst);
  qn_page_text(p, "<h2>Embedding tables</h2>\n");
  put_operators(p, r, 0, r->count);
  qn_page_text(p, "</main></body></html>\n");
}
