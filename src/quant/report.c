/* report.c - report.json and report.html of a quantization: sizes, and the error of every operator. The page is one
 * file: its style and bars (inline SVG) are in it, and nothing is fetched. No dates: the same job, the same bytes.
 * Not here: how errors are measured (quantize.c). One thread. */
#include "quant/report.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "base/json.h"

typedef struct page {
  qn_env *env;
  qn_buffer buffer;
  quern_status status; /* the first failure; later output is dropped */
} page;

static void put(page *p, const char *fmt, ...) QN_PRINTF(2, 3);
static void put(page *p, const char *fmt, ...) {
  char text[1024];
  va_list ap;
  va_start(ap, fmt);
  size_t n = qn_vformat(text, sizeof text, fmt, ap);
  va_end(ap);
  if (n >= sizeof text) n = sizeof text - 1;
  if (p->status == QUERN_OK) p->status = qn_buffer_append(p->env, &p->buffer, text, n);
}

static void put_plain(page *p, const char *text) {
  if (p->status == QUERN_OK) p->status = qn_buffer_append(p->env, &p->buffer, text, strlen(text));
}

/* v >= 0 with `digits` decimals, rounded half up. */
static void put_fixed(page *p, double v, uint32_t digits) {
  char text[40];
  uint64_t scale = 1;
  for (uint32_t i = 0; i < digits; i++) scale *= 10;
  double scaled = v * (double)scale + 0.5;
  uint64_t whole = scaled < 1e18 ? (uint64_t)scaled : (uint64_t)1e18;
  char *at = text + sizeof text;
  *--at = 0;
  for (uint32_t i = 0; i < digits; i++, whole /= 10) *--at = (char)('0' + whole % 10);
  if (digits) *--at = '.';
  do *--at = (char)('0' + whole % 10);
  while (whole /= 10);
  put_plain(p, at);
}

/* Text from outside, for HTML. */
static void put_escaped(page *p, const char *text) {
  for (; *text; text++) {
    switch (*text) {
      case '<':
        put_plain(p, "&lt;");
        break;
      case '>':
        put_plain(p, "&gt;");
        break;
      case '&':
        put_plain(p, "&amp;");
        break;
      case '"':
        put_plain(p, "&quot;");
        break;
      default:
        put(p, "%c", *text);
        break;
    }
  }
}

/* Text from outside, for JSON. */
static void put_string(page *p, const char *text) {
  put_plain(p, "\"");
  for (; *text; text++) {
    uint8_t c = (uint8_t)*text;
    if (c == '"' || c == '\\')
      put(p, "\\%c", c);
    else if (c < 0x20)
      put(p, "\\u00%x%x", c >> 4, c & 15);
    else
      put(p, "%c", c);
  }
  put_plain(p, "\"");
}

static void put_number(page *p, const char *key, double v) {
  char text[32];
  qn_format_number(text, sizeof text, v);
  put(p, "%s%s", key, text);
}

static uint32_t worst_row(const qn_report *r) {
  uint32_t worst = r->count;
  for (uint32_t i = 0; i < r->count; i++)
    if (r->rows[i].linear && (worst == r->count || r->rows[i].error > r->rows[worst].error)) worst = i;
  return worst;
}

/* ---- JSON ---- */

/* Of the values at static sites of a token: how many have 16 bits. Scores and probabilities, which are by token and key, are left out. */
static double share_of_16(const qn_plan *plan) {
  uint64_t all = 0, wide = 0;
  for (uint32_t i = 0; i < plan->count; i++) {
    const qn_site_plan *s = &plan->site[i];
    if (!qn_plan_is_static(s) || s->site.channels == 1) continue;
    all += s->site.channels;
    wide += s->rule.bits == 16 ? s->site.channels : 0;
  }
  return all ? (double)wide / (double)all : 0;
}

/* What became of each site. */
static void put_json_sites(page *p, const qn_report *r) {
  put_plain(p, ",\n  \"calibration\": ");
  if (r->calibration) {
    put_plain(p, "{\"file\": ");
    put_string(p, r->calibration);
    put(p, ", \"rows\": %llu, \"seed\": %u}", (unsigned long long)r->calibration_rows, r->seed);
  } else {
    put_plain(p, "null");
  }
  put_plain(p, ",\n  \"share_of_16_bits\": ");
  put_fixed(p, share_of_16(r->plan), 4);
  if (r->output_error > 0) put_number(p, ",\n  \"output_error\": ", r->output_error);
  put_plain(p, ",\n  \"sites\": [");
  for (uint32_t i = 0; i < r->plan->count; i++) {
    const qn_site_plan *s = &r->plan->site[i];
    put(p, "%s\n    {\"name\": \"%s\", \"bits\": %u", i ? "," : "", s->site.name, s->rule.bits);
    if (qn_plan_is_static(s)) {
      put_number(p, ", \"low\": ", (double)s->low);
      put_number(p, ", \"high\": ", (double)s->high);
      put(p, ", \"groups\": %u, \"symmetric\": %s", s->groups, s->rule.symmetric ? "true" : "false");
      put_number(p, ", \"scale\": ", (double)s->scale[0]);
      put_number(p, ", \"zero\": ", (double)s->zero[0]);
    }
    put_plain(p, "}");
  }
  put_plain(p, "\n  ]");
}

static void make_json(page *p, const qn_report *r) {
  uint32_t worst = worst_row(r);
  put_plain(p, "{\n  \"source\": ");
  put_string(p, r->source);
  put_plain(p, ",\n  \"recipe\": ");
  if (p->status == QUERN_OK) p->status = qn_recipe_format(r->recipe, p->env, &p->buffer);
  put_plain(p, ",\n");
  put(p, "  \"layers\": %u, \"width\": %u, \"heads\": %u, \"ffn_width\": %u, \"vocab\": %u,\n", r->arch->layers,
      r->arch->width, r->arch->heads, r->arch->ffn, r->arch->vocab);
  put(p, "  \"source_bytes\": %llu,\n  \"tensor_bytes\": %llu,\n  \"worst_weight_error\": ",
      (unsigned long long)r->source_bytes, (unsigned long long)r->tensor_bytes);
  put_fixed(p, worst < r->count ? r->rows[worst].error : 0, 9);
  put_plain(p, ",\n  \"operators\": [");
  for (uint32_t i = 0; i < r->count; i++) {
    const qn_report_row *row = &r->rows[i];
    put(p, "%s\n    {\"name\": \"%s\", \"kind\": \"%s\", \"shape\": [%u, %u], ", i ? "," : "", row->name,
        row->linear ? "linear" : "table", row->n, row->k);
    put(p, "\"bytes_before\": %llu, \"bytes_after\": %llu, \"error\": ", (unsigned long long)row->before,
        (unsigned long long)row->after);
    put_fixed(p, row->error, 9);
    put(p, ", \"worst_channel\": %u, \"worst_channel_error\": ", row->worst);
    put_fixed(p, row->worst_error, 9);
    put_plain(p, "}");
  }
  put_plain(p, "\n  ]");
  if (r->plan->count) put_json_sites(p, r);
  put_plain(p, "\n}\n");
}

/* ---- HTML ---- */

static const char style[] =
    "<style>\n"
    ":root{--ink:#1d2433;--soft:#667085;--line:#e4e7ec;--paper:#fff;--wash:#f7f8fa;--bar:#3b6fd4;--mark:#d4573b}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2b3240;--paper:#12161f;"
    "--wash:#1a202c;--bar:#6f9cf0;--mark:#f08a6f}}\n"
    "body{margin:0;background:var(--wash);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\n"
    "main{max-width:1040px;margin:0 auto;padding:40px 24px}\n"
    "h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:36px 0 12px}p{color:var(--soft);margin:0 0 20px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px}\n"
    ".card{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:14px 18px}\n"
    ".card b{display:block;font-size:24px}.card span{color:var(--soft);font-size:13px}\n"
    "table{width:100%;border-collapse:collapse;background:var(--paper);border:1px solid var(--line);"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:6px 12px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\n"
    "th{color:var(--soft);font-weight:500;font-size:13px}th:first-child,td:first-child{text-align:left}\n"
    "tr.worst td:first-child{color:var(--mark);font-weight:600}svg{display:block}\n"
    ".wrap{overflow-x:auto}code{font:13px ui-monospace,monospace}\n"
    "</style>\n";

static void put_bytes(page *p, uint64_t bytes) {
  if (bytes >= 1000000) {
    put_fixed(p, (double)bytes / 1e6, 1);
    put_plain(p, " MB");
  } else {
    put_fixed(p, (double)bytes / 1e3, 1);
    put_plain(p, " kB");
  }
}

static void open_card(page *p) { put_plain(p, "<div class=card><b>"); }
static void close_card(page *p, const char *label) { put(p, "</b><span>%s</span></div>\n", label); }

static void make_cards(page *p, const qn_report *r, uint32_t worst) {
  put_plain(p, "<div class=cards>\n");
  open_card(p);
  put_bytes(p, r->source_bytes);
  close_card(p, "weights in the source");
  open_card(p);
  put_bytes(p, r->tensor_bytes);
  close_card(p, "tensors in the file");
  open_card(p);
  put_fixed(p, r->tensor_bytes ? (double)r->source_bytes / (double)r->tensor_bytes : 0, 2);
  put_plain(p, " &times;");
  close_card(p, "smaller");
  open_card(p);
  put_fixed(p, worst < r->count ? 100 * r->rows[worst].error : 0, 2);
  put_plain(p, " %");
  put_plain(p, "</b><span>error of the worst operator");
  if (worst < r->count) put(p, ", %s", r->rows[worst].name);
  put_plain(p, "</span></div>\n");
  put_plain(p, "</div>\n");
}

/* A bar of `error` out of `most`, with a tick at the worst channel's error. */
static void put_bar(page *p, const qn_report_row *row, double most) {
  put_plain(p, "<svg width=180 height=14 role=img><rect y=3 height=8 rx=2 fill=\"var(--bar)\" width=");
  put_fixed(p, most > 0 ? 180 * row->error / most : 0, 1);
  put_plain(p, " /><rect y=0 height=14 width=2 fill=\"var(--mark)\" x=");
  put_fixed(p, most > 0 ? 178 * row->worst_error / most : 0, 1);
  put_plain(p, " /></svg>");
}

static void make_table(page *p, const qn_report *r, uint32_t linear, uint32_t worst) {
  double most = 0;
  for (uint32_t i = 0; i < r->count; i++)
    if (r->rows[i].linear == linear && r->rows[i].worst_error > most) most = r->rows[i].worst_error;
  put(p,
      "<div class=wrap><table>\n<tr><th>%s<th>shape<th>before<th>after<th>error<th style=\"text-align:left\">error, "
      "and "
      "worst %s<th>worst %s</tr>\n",
      linear ? "operator" : "table", linear ? "channel" : "row", linear ? "channel" : "row");
  for (uint32_t i = 0; i < r->count; i++) {
    const qn_report_row *row = &r->rows[i];
    if (row->linear != linear) continue;
    put(p, "<tr%s><td><code>%s</code><td>%u &times; %u<td>", i == worst && row->error > 0 ? " class=worst" : "",
        row->name, row->n, row->k);
    put_bytes(p, row->before);
    put_plain(p, "<td>");
    put_bytes(p, row->after);
    put_plain(p, "<td>");
    put_fixed(p, 100 * row->error, 3);
    put_plain(p, " %<td>");
    put_bar(p, row, most);
    put(p, "<td>%u: ", row->worst);
    put_fixed(p, 100 * row->worst_error, 3);
    put_plain(p, " %</tr>\n");
  }
  put_plain(p, "</table></div>\n");
}

/* what, and the calibration text. */
static void put_calibration(page *p, const qn_report *r, const char *what) {
  if (!r->calibration) return;
  put(p, "%s %llu rows of ", what, (unsigned long long)r->calibration_rows);
  put_escaped(p, r->calibration);
  put(p, ", drawn by seed %u. ", r->seed);
}

static void make_sites(page *p, const qn_report *r) {
  put_plain(p, "<h2>Sites</h2>\n<p>Where activations are quantized, in order. ");
  put_calibration(p, r, "Ranges are those of");
  put_fixed(p, 100 * share_of_16(r->plan), 1);
  put_plain(p, " % of a token&rsquo;s values have 16 bits.</p>\n<div class=wrap><table>\n"
               "<tr><th>site<th>channels<th>bits<th>groups<th>least<th>greatest<th>scale<th>zero</tr>\n");
  for (uint32_t i = 0; i < r->plan->count; i++) {
    const qn_site_plan *s = &r->plan->site[i];
    put(p, "<tr><td><code>%s</code><td>%u<td>%u<td>%u", s->site.name, s->site.channels, s->rule.bits, s->groups);
    if (qn_plan_is_static(s)) {
      put_number(p, "<td>", (double)s->low);
      put_number(p, "<td>", (double)s->high);
      put_number(p, "<td>", (double)s->scale[0]);
      put_number(p, "<td>", (double)s->zero[0]);
    } else {
      put_plain(p, "<td><td><td><td>");
    }
    put_plain(p, "</tr>\n");
  }
  put_plain(p, "</table></div>\n");
}

static void make_html(page *p, const qn_report *r) {
  uint32_t worst = worst_row(r);
  put_plain(p, "<!doctype html>\n<html lang=en><meta charset=utf-8>\n"
               "<meta name=viewport content=\"width=device-width,initial-scale=1\">\n<title>Quantization of ");
  put_escaped(p, r->source);
  put_plain(p, "</title>\n");
  put_plain(p, style);
  put_plain(p, "<main>\n<h1>");
  put_escaped(p, r->source);
  put(p, "</h1>\n<p>Recipe <b>%s</b>: weights %u bit, activations %u bit, embeddings %u bit. ", r->recipe->name,
      r->recipe->weight_bits, r->recipe->activation_bits, r->recipe->embedding_bits);
  put(p, "%u layers, width %u, %u heads, feed-forward %u, vocabulary %u.</p>\n", r->arch->layers, r->arch->width,
      r->arch->heads, r->arch->ffn, r->arch->vocab);
  make_cards(p, r, worst);
  put_plain(p, "<h2>Linear operators</h2>\n<p>Error is the root mean square of what rounding changed, relative to the "
               "weights&rsquo; own; the tick marks the worst output channel. ");
  if (r->recipe->rounding) put_calibration(p, r, "Codes are not the nearest, but those that change outputs least on");
  put_plain(p, "</p>\n");
  make_table(p, r, 1, worst);
  put_plain(p, "<h2>Embedding tables</h2>\n");
  make_table(p, r, 0, r->count);
  if (r->plan->count) make_sites(p, r);
  put_plain(p, "</main></html>\n");
}

/* ---- files ---- */

static quern_status write_page(const qn_report *r, qn_env *env, const char *dir, const char *name,
                               void (*make)(page *p, const qn_report *r)) {
  char path[4096];
  page p = {.env = env};
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

quern_status qn_report_write(const qn_report *r, qn_env *env, const char *dir) {
  if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
    return qn_fail(&env->error, QUERN_E_IO, "%s: the report's directory cannot be created: %s", dir,
                   qn_errno_text(errno));
  }
  QN_TRY(write_page(r, env, dir, "report.json", make_json));
  return write_page(r, env, dir, "report.html", make_html);
}
