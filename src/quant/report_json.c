/* report_json.c - report.json (report.h). Numbers of ranges have 4 digits that count. */
#include <string.h>

#include "quant/report.h"

static void put_key(qn_page *p, const char *key, double v) {
  qn_page_text(p, key);
  qn_page_number(p, v);
}

static void put_operators(qn_page *p, const qn_report *r) {
  qn_page_text(p, ",\n  \"operators\": [");
  for (uint32_t i = 0; i < r->count; i++) {
    const qn_report_row *row = &r->rows[i];
    qn_page_put(p, "%s\n    {\"name\": \"%s\", \"kind\": \"%s\", \"shape\": [%u, %u], ", i ? "," : "", row->name,
                row->linear ? "linear" : "table", row->n, row->k);
    qn_page_put(p, "\"bytes_before\": %llu, \"bytes_after\": %llu, \"error\": ", (unsigned long long)row->before,
                (unsigned long long)row->after);
    qn_page_fixed(p, row->error, 9);
    qn_page_put(p, ", \"worst_channel\": %u, \"worst_channel_error\": ", row->worst);
    qn_page_fixed(p, row->worst_error, 9);
    qn_page_text(p, "}");
  }
  qn_page_text(p, "\n  ]");
}

static void put_parts(qn_page *p, const qn_report *r) {
  qn_report_part part[QN_REPORT_PARTS];
  qn_report_parts(r, part);
  qn_page_text(p, ",\n  \"sizes\": [");
  for (uint32_t i = 0; i < QN_REPORT_PARTS; i++)
    qn_page_put(p, "%s\n    {\"part\": \"%s\", \"bytes_before\": %llu, \"bytes_after\": %llu}", i ? "," : "",
                part[i].name, (unsigned long long)part[i].before, (unsigned long long)part[i].after);
  qn_page_text(p, "\n  ],\n  \"changes\": [");
  for (uint32_t i = 0;; i++) {
    qn_page sentence = {.env = p->env};
    const int more = qn_report_change(r, i, &sentence);
    if (p->status == QUERN_OK) p->status = sentence.status;
    if (more && p->status == QUERN_OK) p->status = qn_buffer_append(p->env, &sentence.buffer, "", 1);
    if (more && p->status == QUERN_OK) {
      qn_page_text(p, i ? ",\n    " : "\n    ");
      qn_page_string(p, (const char *)sentence.buffer.data);
    }
    qn_buffer_free(p->env, &sentence.buffer);
    if (!more || p->status != QUERN_OK) break;
  }
  qn_page_text(p, "\n  ]");
}

static void put_errors(qn_page *p, const qn_report *r) {
  const qn_examination *x = r->examined;
  if (!x->layers) {
    qn_page_text(p, ",\n  \"errors\": null");
    return;
  }
  qn_page_put(p, ",\n  \"errors\": {\"rows\": %zu, \"tokens\": %zu", x->rows, x->tokens);
  put_key(p, ", \"output\": ", x->output_error);
  if (x->cosine > 0) {
    qn_page_text(p, ", \"mean_cosine\": ");
    qn_page_fixed(p, x->cosine, 6);
  }
  qn_page_text(p, ", \"layers\": [");
  for (uint32_t l = 0; l <= x->layers; l++) put_key(p, l ? ", " : "", x->layer_error[l]);
  qn_page_text(p, "]}");
}

/* Ranges of channels as two lists. */
static void put_series(qn_page *p, const char *name, const qn_series *s) {
  qn_page_put(p, ",\n     \"%s\": {\"low\": [", name);
  for (uint32_t c = 0; c < s->n; c++) put_key(p, c ? "," : "", (double)qn_series_at(s, c).low);
  qn_page_text(p, "], \"high\": [");
  for (uint32_t c = 0; c < s->n; c++) put_key(p, c ? "," : "", (double)qn_series_at(s, c).high);
  qn_page_text(p, "]}");
}

static void put_outliers(qn_page *p, const qn_site_examined *x) {
  qn_page_put(p, ",\n     \"outlier_channels\": {\"count\": %u, \"greatest\": [", x->outlier_channels);
  for (uint32_t i = 0; i < x->channels; i++) {
    const qn_outlier_channel *c = &x->channel[i];
    qn_page_put(p, "%s{\"channel\": %u", i ? ", " : "", c->channel);
    put_key(p, ", \"low\": ", (double)c->low);
    put_key(p, ", \"high\": ", (double)c->high);
    qn_page_text(p, "}");
  }
  put_key(p, "], \"median_range\": ", (double)x->median_channel);
  qn_page_put(p, "},\n     \"outlier_tokens\": {\"count\": %u, \"most\": [", x->outlier_tokens);
  for (uint32_t i = 0; i < x->tokens; i++) {
    const qn_outlier_token *t = &x->token[i];
    qn_page_put(p, "%s{\"id\": %d, \"token\": ", i ? ", " : "", t->id);
    qn_page_string(p, t->text);
    qn_page_put(p, ", \"count\": %u, \"first_position\": %u, \"last_position\": %u", t->count, t->first, t->last);
    put_key(p, ", \"low\": ", (double)t->low);
    put_key(p, ", \"high\": ", (double)t->high);
    qn_page_text(p, "}");
  }
  put_key(p, "], \"median_magnitude\": ", (double)x->median_token);
  qn_page_text(p, "}");
}

static void put_plan(qn_page *p, const qn_site_plan *s) {
  put_key(p, ", \"low\": ", (double)s->low);
  put_key(p, ", \"high\": ", (double)s->high);
  qn_page_put(p, ", \"groups\": %u, \"symmetric\": %s, \"scales\": [", s->groups, s->rule.symmetric ? "true" : "false");
  for (uint32_t g = 0; g < s->groups; g++) {
    char scale[32];
    qn_format_number(scale, sizeof scale, (double)s->scale[g]);
    qn_page_put(p, "%s{\"end\": %u, \"scale\": %s, \"zero\": %d}", g ? ", " : "", s->ends[g], scale, (int)s->zero[g]);
  }
  qn_page_text(p, "]");
}

static void put_sites(qn_page *p, const qn_report *r) {
  const char *between = "";
  const uint32_t count = qn_site_count(r->arch);
  qn_page_text(p, ",\n  \"share_of_16_bits\": ");
  qn_page_fixed(p, qn_report_share_of_16(r->plan), 4);
  qn_page_text(p, ",\n  \"sites\": [");
  for (uint32_t i = 0; i < count; i++) {
    qn_series s;
    qn_site site;
    qn_site_at(r->arch, i, &site);
    if (!qn_report_has_site(r, &site)) continue;
    qn_page_put(p, "%s\n    {\"name\": \"%s\", \"channels\": %u, \"bits\": %u", between, site.name, site.channels,
                r->plan->count ? r->plan->site[i].rule.bits : r->recipe->activation_bits);
    if (r->plan->count && qn_plan_is_static(&r->plan->site[i])) put_plan(p, &r->plan->site[i]);
    if (r->examined->layers) {
      put_key(p, ", \"clipped_tokens\": ", r->examined->site[i].clipped);
      put_key(p, ", \"seen\": {\"low\": ", (double)r->examined->before.site[i].all.low);
      put_key(p, ", \"high\": ", (double)r->examined->before.site[i].all.high);
      qn_page_text(p, "}");
      put_outliers(p, &r->examined->site[i]);
      if (qn_report_before(r, i, &s)) put_series(p, "channels_before", &s);
      if (qn_report_after(r, i, &s)) put_series(p, "channels_after", &s);
    }
    qn_page_text(p, "}");
    between = ",";
  }
  qn_page_text(p, "\n  ]");
}

static void put_choice(qn_page *p, const qn_report *r) {
  const qn_choice *c = r->choice;
  qn_site site;
  put_key(p, ",\n  \"choice\": {\"max_loss\": ", c->max_loss);
  put_key(p, ", \"least_loss\": ", c->least_loss);
  put_key(p, ", \"loss\": ", c->loss);
  qn_page_put(p, ", \"trial_rows\": %zu, \"rows\": %zu", c->trial_rows, c->rows);
  put_key(p, ",\n    \"cost_model\": {\"byte\": ", QN_COST_BYTE);
  put_key(p, ", \"join\": ", QN_COST_JOIN);
  qn_page_text(p, ", \"unit\": \"multiply-adds of 8 bits a token\"}");
  put_key(p, ", \"cost_of_most_bits\": ", c->cost_before);
  put_key(p, ", \"cost\": ", c->cost);
  qn_page_put(p, ", \"weight_bytes\": %llu,\n    \"moves\": [", (unsigned long long)r->tensor_bytes);
  for (uint32_t i = 0; i < c->moves; i++) {
    const qn_choice_move *m = &c->move[i];
    const qn_choice_form *to = &c->site[m->site].form[m->to];
    qn_site_at(r->arch, m->site, &site);
    qn_page_put(p, "%s\n      {\"site\": \"%s\", \"bits\": %u, \"groups\": %u, \"kept\": %s", i ? "," : "", site.name,
                to->bits, to->groups, m->kept == 1 ? "true" : "false");
    put_key(p, ", \"loss\": ", m->loss);
    qn_page_text(p, "}");
  }
  qn_page_text(p, "\n    ],\n    \"sites\": [");
  for (uint32_t i = 0; i < c->sites; i++) {
    qn_site_at(r->arch, i, &site);
    qn_page_put(p, "%s\n      {\"name\": \"%s\", \"forms\": [", i ? "," : "", site.name);
    for (uint32_t f = 0; f < c->site[i].forms; f++) {
      const qn_choice_form *form = &c->site[i].form[f];
      qn_page_put(p, "%s{\"bits\": %u, \"groups\": %u", f ? ", " : "", form->bits, form->groups);
      put_key(p, ", \"multiply_adds\": ", form->multiply_adds);
      put_key(p, ", \"bytes\": ", form->bytes);
      put_key(p, ", \"error\": ", form->error);
      qn_page_text(p, "}");
    }
    qn_page_text(p, "]}");
  }
  qn_page_text(p, "\n    ]}");
}

void qn_report_json(qn_page *p, const qn_report *r) {
  const uint32_t worst = qn_report_worst(r);
  qn_page_text(p, "{\n  \"source\": ");
  qn_page_string(p, r->source);
  qn_page_text(p, ",\n  \"recipe\": ");
  if (p->status == QUERN_OK) p->status = qn_recipe_format(r->recipe, p->env, &p->buffer);
  qn_page_put(p, ",\n  \"layers\": %u, \"width\": %u, \"heads\": %u, \"ffn_width\": %u, \"vocab\": %u,\n",
              r->arch->layers, r->arch->width, r->arch->heads, r->arch->ffn, r->arch->vocab);
  qn_page_put(p, "  \"source_bytes\": %llu,\n  \"tensor_bytes\": %llu,\n  \"worst_weight_error\": ",
              (unsigned long long)r->source_bytes, (unsigned long long)r->tensor_bytes);
  qn_page_fixed(p, worst < r->count ? r->rows[worst].error : 0, 9);
  qn_page_text(p, ",\n  \"calibration\": ");
  if (r->calibration) {
    qn_page_text(p, "{\"file\": ");
    qn_page_string(p, r->calibration);
    qn_page_put(p, ", \"rows\": %llu, \"seed\": %u", (unsigned long long)r->calibration_rows, r->seed);
    if (r->calibration_tokens) qn_page_put(p, ", \"tokens\": %llu", (unsigned long long)r->calibration_tokens);
    qn_page_text(p, "}");
  } else {
    qn_page_text(p, "null");
  }
  if (r->search_error > 0) put_key(p, ",\n  \"search_error\": ", r->search_error);
  put_parts(p, r);
  put_errors(p, r);
  put_operators(p, r);
  if (r->choice->sites) put_choice(p, r);
  put_sites(p, r);
  if (r->trails) qn_report_trails(p, r, 1);
  qn_page_text(p, "\n}\n");
}
