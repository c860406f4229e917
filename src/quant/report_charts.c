/* report_charts.c - see report_charts.h. */
#include "quant/report_charts.h"

#include <math.h>

void qn_chart_bar(qn_page *p, uint32_t width, double v, double most, double tick) {
  const double whole = width - 2;
  qn_page_put(p, "<svg width=\"%u\" height=\"14\"><rect y=\"3\" height=\"8\" rx=\"2\" fill=\"var(--bar)\" width=\"",
              width);
  qn_page_fixed(p, most > 0 ? whole * fmin(v / most, 1) : 0, 1);
  qn_page_text(p, "\"/>");
  if (tick >= 0) {
    qn_page_text(p, "<rect height=\"14\" width=\"2\" fill=\"var(--mark)\" x=\"");
    qn_page_fixed(p, most > 0 ? whole * tick / most : 0, 1);
    qn_page_text(p, "\"/>");
  }
  qn_page_text(p, "</svg>");
}

/* ---- channels ---- */

#define WIDTH 340
#define HEIGHT 84
#define COLUMNS 170u

/* A scale of square roots from the least to the greatest value, 0 within. */
typedef struct scale {
  double zero, unit; /* where 0 is, from above; pixels a root */
  double low, high;
} scale;

static scale scale_of(const qn_series *s) {
  const qn_extremes e = qn_series_whole(s);
  const double low = (double)e.low, high = (double)e.high;
  const double roots = sqrt(high) + sqrt(-low), unit = roots > 0 ? (HEIGHT - 8) / roots : 0;
  return (scale){4 + unit * sqrt(high), unit, low, high};
}

static double place(const scale *at, double v) {
  return v < 0 ? at->zero + at->unit * sqrt(fmin(-v, -at->low * 1.1))
               : at->zero - at->unit * sqrt(fmin(v, at->high * 1.1));
}

static void put_columns(qn_page *p, const qn_series *s, const scale *at) {
  const uint32_t columns = s->n < COLUMNS ? s->n : COLUMNS;
  qn_page_text(p, "<path class=\"r\" d=\"");
  for (uint32_t c = 0; c < columns; c++) {
    qn_extremes e = {0, 0};
    for (uint32_t i = s->n * c / columns; i < s->n * (c + 1) / columns; i++) {
      const qn_extremes one = qn_series_at(s, i);
      e.low = fminf(e.low, one.low);
      e.high = fmaxf(e.high, one.high);
    }
    qn_page_text(p, "M");
    qn_page_fixed(p, (c + 0.5) * WIDTH / columns, 1);
    qn_page_text(p, " ");
    qn_page_fixed(p, place(at, (double)e.high) - 0.3, 1);
    qn_page_text(p, "V");
    qn_page_fixed(p, place(at, (double)e.low) + 0.3, 1);
  }
  qn_page_text(p, "\"/>");
}

/* The end of what codes of each group reach, at the top (1) or the bottom. */
static void put_codes(qn_page *p, const qn_site_plan *plan, const scale *at, int top) {
  const double code = (double)(top ? qn_site_highest(plan->rule.bits) : qn_site_lowest(plan->rule.bits));
  double x = 0;
  qn_page_text(p, "<path class=\"q\" d=\"");
  for (uint32_t g = 0; g < plan->groups; g++) {
    qn_page_text(p, g ? "L" : "M");
    for (int i = 0; i < 2; i++) {
      qn_page_fixed(p, x, 1);
      qn_page_text(p, " ");
      qn_page_fixed(p, place(at, (code - (double)plan->zero[g]) * (double)plan->scale[g]), 1);
      if (!i) qn_page_text(p, "L");
      x = (double)plan->ends[g] * WIDTH / plan->site.channels;
    }
  }
  qn_page_text(p, "\"/>");
}

void qn_chart_channels(qn_page *p, const qn_series *s, const qn_site_plan *plan) {
  const scale at = scale_of(s);
  qn_page_put(p, "<svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\"><path class=\"z\" d=\"M0 ", WIDTH, HEIGHT,
              WIDTH, HEIGHT);
  qn_page_fixed(p, at.zero, 1);
  qn_page_put(p, "H%d\"/>", WIDTH);
  put_columns(p, s, &at);
  if (plan) put_codes(p, plan, &at, 1), put_codes(p, plan, &at, 0);
  qn_page_text(p, "</svg>");
}

/* ---- parts ---- */

void qn_chart_parts(qn_page *p, const qn_report_part part[QN_REPORT_PARTS]) {
  double most[2] = {0, 0};
  for (int i = 0; i < QN_REPORT_PARTS; i++) most[0] += (double)part[i].before, most[1] += (double)part[i].after;
  const double whole = fmax(most[0], most[1]);
  qn_page_text(p, "<svg width=\"1040\" height=\"66\" viewBox=\"0 0 1040 66\">");
  for (int row = 0; row < 2; row++) {
    double x = 0;
    for (int i = 0; i < QN_REPORT_PARTS && whole > 0; i++) {
      const double width = 1040 * (double)(row ? part[i].after : part[i].before) / whole;
      qn_page_put(p, "<rect y=\"%d\" height=\"28\" fill=\"var(--%c)\" x=\"", row * 36, 'a' + i);
      qn_page_fixed(p, x, 1);
      qn_page_text(p, "\" width=\"");
      qn_page_fixed(p, width, 1);
      qn_page_text(p, "\"/>");
      x += width;
    }
  }
  qn_page_text(p, "</svg>");
}

/* ---- a choice ---- */

#define MOVES_WIDTH 1040
#define MOVES_HEIGHT 180

void qn_chart_moves(qn_page *p, const qn_choice *c) {
  const double most = 1.35 * c->max_loss, step = (double)MOVES_WIDTH / (c->moves ? c->moves : 1);
  const double limit = MOVES_HEIGHT - MOVES_HEIGHT * c->max_loss / most;
  qn_page_put(p, "<svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">", MOVES_WIDTH, MOVES_HEIGHT, MOVES_WIDTH,
              MOVES_HEIGHT);
  qn_page_put(p, "<path class=\"z\" d=\"M0 %d.5H%d\"/><path class=\"q\" stroke-dasharray=\"5 4\" d=\"M0 ",
              MOVES_HEIGHT - 1, MOVES_WIDTH);
  qn_page_fixed(p, limit, 1);
  qn_page_put(p, "H%d\"/><text x=\"2\" y=\"", MOVES_WIDTH);
  qn_page_fixed(p, limit - 5, 1);
  qn_page_text(p, "\">");
  qn_page_number(p, c->max_loss);
  qn_page_text(p, " allowed</text>");
  for (uint32_t i = 0; i < c->moves; i++) {
    const qn_choice_move *m = &c->move[i];
    qn_page_text(p, "<circle r=\"3.2\" cx=\"");
    qn_page_fixed(p, (i + 0.5) * step, 1);
    qn_page_text(p, "\" cy=\"");
    qn_page_fixed(p, fmax(4, MOVES_HEIGHT - MOVES_HEIGHT * m->loss / most), 1);
    qn_page_text(p, m->kept == 1 ? "\" fill=\"var(--bar)\"/>" : "\" class=\"q\"/>");
  }
  qn_page_text(p, "</svg>");
}
