/* report_transform.c - what a report says of inputs in another basis (report.h): ranges of sampled tokens from step to step, and the
 * largest values that were met, by token and channel. */
#include "quant/report.h"

#define SHOWN 3u /* of the largest values of an input */

static const char *const steps[QN_TRAIL_STEPS] = {"as it is", "smoothed", "rotated", "rotated again"};
static const char *const keys[QN_TRAIL_STEPS] = {"raw", "smoothed", "first", "second"};

/* What a transform is made of. */
static void put_shape(qn_page *p, const qn_transform_shape *s) {
  const struct {
    int has;
    const char *name;
  } parts[] = {{s->first, "rotation"},
               {s->order, "order"},
               {s->second, "rotation"},
               {s->signs, "Hadamard"},
               {s->head != 0, "merged"}};
  for (size_t i = 0, n = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (parts[i].has) qn_page_put(p, "%s%s", n++ ? ", " : "", parts[i].name);
}

static void put_json(qn_page *p, const char *name, const qn_trail *t, const qn_sample_site *s) {
  qn_page_put(p, "{\"site\": \"%s\", \"block\": %u, \"steps\": %u, \"parts\": \"", name, t->shape.block,
              t->shape.steps);
  put_shape(p, &t->shape);
  qn_page_text(p, "\", \"ranges\": {");
  for (uint32_t i = 0, n = 0; i < QN_TRAIL_STEPS; i++) {
    if (!(t->range[i] > 0)) continue;
    qn_page_put(p, "%s\"%s\": ", n++ ? ", " : "", keys[i]);
    qn_page_number(p, t->range[i]);
  }
  qn_page_text(p, "}, \"uneven\": [");
  qn_page_number(p, t->uneven[0]);
  qn_page_text(p, ", ");
  qn_page_number(p, t->uneven[1]);
  qn_page_text(p, "], \"largest\": [");
  for (uint32_t i = 0; i < SHOWN && i < s->largest_count; i++) {
    qn_page_put(p, "%s{\"token\": %llu, \"channel\": %u, \"value\": ", i ? ", " : "",
                (unsigned long long)s->largest[i].row, s->largest[i].channel);
    qn_page_number(p, (double)s->largest[i].most);
    qn_page_text(p, "}");
  }
  qn_page_text(p, "]}");
}

static void put_html(qn_page *p, const char *name, const qn_trail *t, const qn_sample_site *s) {
  qn_page_put(p, "<tr><td><code>%s</code></td><td>%u: ", name, t->shape.block);
  put_shape(p, &t->shape);
  qn_page_text(p, "</td>");
  for (uint32_t i = 0; i < QN_TRAIL_STEPS; i++) {
    qn_page_text(p, "<td>");
    if (t->range[i] > 0) qn_page_fixed(p, t->range[i], 2);
    qn_page_text(p, "</td>");
  }
  qn_page_text(p, "<td>");
  for (uint32_t i = 0; i < 2 && t->uneven[1] > 0; i++) {
    if (i) qn_page_text(p, " &#8594; ");
    qn_page_fixed(p, t->uneven[i], 2);
  }
  qn_page_text(p, "</td><td>");
  for (uint32_t i = 0; i < SHOWN && i < s->largest_count; i++) {
    qn_page_text(p, i ? "; " : "");
    qn_page_fixed(p, (double)s->largest[i].most, 1);
    qn_page_put(p, " (%llu, %u)", (unsigned long long)s->largest[i].row, s->largest[i].channel);
  }
  qn_page_text(p, "</td></tr>\n");
}

void qn_report_trails(qn_page *p, const qn_report *r, int json) {
  uint32_t n = 0;
  if (json) {
    qn_page_text(p, ",\n  \"transforms\": [");
  } else {
    qn_page_text(
        p, "<h2>Inputs in another basis</h2>\n<p>Range of a token&#8217;s values over their root mean square, of the "
           "tokens that "
           "were kept of calibration text: what codes lose grows with it. Blocks: the largest mean of a block&#8217;s "
           "channel "
           "maxima over that of all, before and behind the order. Largest: magnitudes as the model has them (token, "
           "channel).</p>\n<div class=\"wide\"><table><tr><th>input</th><th>channels of a block, steps</th>");
    for (uint32_t i = 0; i < QN_TRAIL_STEPS; i++) qn_page_put(p, "<th>%s</th>", steps[i]);
    qn_page_text(p, "<th>blocks</th><th>largest</th></tr>\n");
  }
  for (uint32_t i = 0; i < qn_site_count(r->arch); i++) {
    qn_site site;
    qn_site_at(r->arch, i, &site);
    if (!qn_inputs_have(&r->samples->inputs, site.layer, site.kind)) continue;
    const qn_trail *t = &r->trails[site.layer * QN_SITE_KINDS + site.kind];
    const qn_sample_site *s = qn_samples_site(r->samples, site.layer, site.kind);
    if (json) qn_page_text(p, n++ ? ",\n    " : "\n    ");
    (json ? put_json : put_html)(p, site.name, t, s);
  }
  qn_page_text(p, json ? "\n  ]" : "</table></div>\n");
}
