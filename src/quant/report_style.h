/* report_style.h - how report.html looks: the one place for its style. Nothing is fetched; light and dark follow the reader's setting. */
#ifndef QN_REPORT_STYLE_H
#define QN_REPORT_STYLE_H

static const char qn_report_style[] =
    "<style>\n"
    ":root{color-scheme:light "
    "dark;--ink:#1b2230;--soft:#667085;--line:#e3e7ee;--paper:#fff;--wash:#f5f7fa;--bar:#3b6fd4;"
    "--mark:#d4573b;--a:#3b6fd4;--b:#2f9e8f;--c:#d9a13b;--d:#9a6fd0;--e:#8a94a6}\n"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ef;--soft:#98a2b3;--line:#2b3240;--paper:#161b26;--wash:#"
    "0f131b;"
    "--bar:#6f9cf0;--mark:#f08a6f;--a:#6f9cf0;--b:#4fbfae;--c:#e0b45c;--d:#b592e6;--e:#78839a}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--wash);color:var(--ink);font:15px/1.5 "
    "system-ui,sans-serif}\n"
    "main{max-width:1120px;margin:0 auto;padding:40px 24px 80px}\n"
    "h1{font-size:27px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}h2{font-size:19px;margin:44px 0 6px}\n"
    "p{color:var(--soft);margin:0 0 16px;max-width:78ch}ul{margin:0;padding-left:20px}\n"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(185px,1fr));gap:14px;margin-top:22px}\n"
    ".card,.box,details{background:var(--paper);border:1px solid var(--line);border-radius:10px}\n"
    ".card{padding:14px 18px}.card b{display:block;font-size:23px}.card span{color:var(--soft);font-size:13px}\n"
    ".box{padding:16px 20px}\n"
    "table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}.wrap{overflow-x:auto}\n"
    "th,td{padding:5px 12px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\n"
    "tr:last-child td{border-bottom:0}th{color:var(--soft);font-weight:500;font-size:13px}\n"
    "th:first-child,td:first-child,.l{text-align:left}.worst td:first-child{color:var(--mark);font-weight:600}\n"
    "svg{display:block;max-width:100%}svg text{fill:var(--soft);font:11px system-ui,sans-serif}\n"
    "code{font:13px ui-monospace,monospace}\n"
    "details{margin:10px 0;padding:0 20px}summary{cursor:pointer;padding:12px 0;font-weight:600}\n"
    "summary span{color:var(--soft);font-weight:400;margin-left:10px}\n"
    ".sites{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:14px;padding-bottom:18px}\n"
    ".site{border:1px solid var(--line);border-radius:8px;padding:10px 14px;min-width:0;font-size:13px}\n"
    ".site h3{margin:0 0 4px;font-size:14px;display:flex;gap:6px;align-items:center;flex-wrap:wrap}\n"
    ".site h3 code{flex:1}.tag{font-size:12px;font-weight:500;border-radius:9px;padding:0 8px;background:var(--wash);"
    "border:1px solid var(--line)}.wide{color:var(--mark);border-color:var(--mark)}\n"
    ".site div{color:var(--soft);overflow-wrap:anywhere}.site b{color:var(--ink);font-weight:500}\n"
    ".key i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:7px}\n"
    ".r{stroke:var(--bar);stroke-width:1.7}.z{stroke:var(--line)}.q{stroke:var(--mark);fill:none;stroke-width:1.3}\n"
    "</style>\n";
#endif
