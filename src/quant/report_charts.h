/* report_charts.h - pictures of report.html, as inline SVG. Coordinates follow from numbers by exact operations: the same bytes on
 * every machine. */
#ifndef QN_REPORT_CHARTS_H
#define QN_REPORT_CHARTS_H
#include "quant/report.h"

/* A bar of `width` pixels for v out of `most`, with a tick at `tick` (below 0: none). */
void qn_chart_bar(qn_page *p, uint32_t width, double v, double most, double tick);
/* Ranges of channels, on a scale of square roots. plan: NULL, or the site whose codes' ranges are drawn over them, by groups. */
void qn_chart_channels(qn_page *p, const qn_series *s, const qn_site_plan *plan);
/* Bytes of parts, before and after. */
void qn_chart_parts(qn_page *p, const qn_report_part part[QN_REPORT_PARTS]);
/* Loss after each move of a choice. */
void qn_chart_moves(qn_page *p, const qn_choice *c);
#endif
