/* report_charts.c - see report_charts.h. */
#include "quant/report_charts.h"

#include <math.h>

void qn_chart_bar(qn_page *p, double v, double most, double tick) {
  qn_page_text(p, "<svg width=\"180\" height=\"14\"><rect y=\"3\" height=\"8\" rx=\"2\" fill=\"var(--bar)\" width=\"");
  qn_page_fixed(p, most > 0 ? 178 * fmin(v / most, 1) : 0, 1);
  qn_page_text(p, "\"/>");
  if (tick >= 0) {
    qn_page_text(p, "<rect height=\"14\" width=\"2\" fill=\"var(--mark)\" x=\"");
    qn_page_fixed(p, most > 0 ? 178 * tick / most : 0, 1);
    qn_page_text(p, "\"/>");
  }
  qn_page_text(p, "</svg>");
}

/* ---- channels ---- */

#define WIDTH 340
#define HEIGHT 92
#define COLUMNS 170u

static double place(double v, double most) {
  const double a = most > 0 ? sqrt(fmin(fabs(v) / most, 1)) * (HEIGHT / 2 - 3) : 0;
  return HEIGHT / 2 - (v < 0 ? -a : a);
}

static void put_columns(qn_page *p, const qn_series *s, double most) {
  const uint32_t columns = s->n < COLUMNS ? s->n : COLUMNS;
  qn_page_text(p, "<path class=\"r\" d=\"");
  for (uint32_t c = 0; c < columns; c++) {
    qn_extremes e = {0, 0};
    for (uint32_t i = s->n * c / columns; i < s->n * (c + 1) / columns; i++) {
      const qn_extremes at = qn_series_at(s, i);
      e.low = fminf(e.low, at.low);
      e.high = fmaxf(e.high, at.high);
    }
    qn_page_text(p, "M");
    qn_page_fixed(p, (c + 0.5) * WIDTH / columns, 1);
    qn_page_text(p, " ");
    qn_page_fixed(p, place((double)e.high, most) - 0.3, 1);
    qn_page_text(p, "V");
    qn_page_fixed(p, place((double)e.low, most) + 0.3, 1);
  }
  qn_page_text(p, "\"/>");
}

/* The end of what codes of each group reach, at the top (1) or the bottom. */
static void put_codes(qn_page *p, const qn_site_plan *plan, double most, int top) {
  const double code = (double)(top ? qn_site_highest(plan->rule.bits) : qn_site_lowest(plan->rule.bits));
  double x = 0;
  qn_page_text(p, "<path class=\"q\" d=\"");
  for (uint32_t g = 0; g < plan->groups; g++) {
    qn_page_text(p, g ? "L" : "M");
    for (int i = 0; i < 2; i++) {
      qn_page_fixed(p, x, 1);
      qn_page_text(p, " ");
      qn_page_fixed(p, place((code - (double)plan->zero[g]) * (double)plan->scale[g], most), 1);
      if (!i) qn_page_text(p, "L");
      x = (double)plan->ends[g] * WIDTH / plan->site.channels;
    }
  }
  qn_page_text(p, "\"/>");
}

void qn_chart_channels(qn_page *p, const qn_series *s, const qn_site_plan *plan) {
  double most = 0;
  for (uint32_t i = 0; i < s->n; i++) {
    const qn_extremes e = qn_series_at(s, i);
    most = fmax(most, fmax(fabs((double)e.low), fabs((double)e.high)));
  }
  qn_page_put(p, "<svg width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">", WIDTH, HEIGHT, WIDTH, HEIGHT);
  qn_page_put(p, "<path class=\"z\" d=\"M0 %dH%d\"/>", HEIGHT / 2, WIDTH);
  put_columns(p, s, most);
  if (plan) put_codes(p, plan, most, 1), put_codes(p, plan, most, 0);
  qn_page_text(p, "<text x=\"2\" y=\"10\">&#177;");
  qn_page_number(p, most);
  qn_page_text(p, "</text></svg>");
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
