"""bars.py - the comparison of `bench/peers` as bars, one group for each case, and a table of what is no speed."""
from html import escape

from svg import Drawing

WIDTH, NAMES, ROW, GAP = 900, 190, 19, 34


def engine_class(row):
    kind = "quern" if row["engine"] == "quern" else "peer"
    return kind + (" full" if row["is_float"] else "")


def draw_case(rows, batch, seq):
    """Engines by tokens per second, the fastest first."""
    found = [(row, case) for row in rows for case in row["cases"] if (case["batch"], case["seq"]) == (batch, seq)]
    found.sort(key=lambda f: -f[1]["tokens_per_second"])
    d = Drawing(WIDTH, GAP + ROW * len(found) + 6, f"{batch} sequences of {seq} tokens")
    d.text(0, 20, f"{batch} × {seq} tokens", kind="head")
    most = found[0][1]["tokens_per_second"]
    for i, (row, case) in enumerate(found):
        speed, y = case["tokens_per_second"], GAP + i * ROW
        length = (WIDTH - NAMES - 290) * speed / most
        name = f"{row['engine']} {row['variant']}"
        words = f"{speed:,.0f} tokens/s, {case['best_ms']:.2f} ms"
        share = case["fraction_of_peak"]
        d.text(NAMES - 8, y + 13, name, "end")
        d.bar(NAMES, y + 2, length, ROW - 5, engine_class(row), f"{name}, {row['settings']}: {words}")
        d.text(NAMES + length + 6, y + 13, words + (f", {share:.2f} of peak" if share else ""))
    return str(d)


def table(rows):
    heads = ("engine", "settings", "cosine mean", "minimum", "load ms", "first ms", "peak MiB", "files MiB")
    yield "<table><thead><tr>" + "".join(f"<th>{h}</th>" for h in heads) + "</tr></thead><tbody>"
    for r in rows:
        cosine = r.get("cosine")
        near = [f"{cosine[k]:.5f}" for k in ("mean", "min")] if cosine else ["", ""]
        cells = [f"{r['engine']} {r['variant']}", r["settings"], *near, f"{r['load_ms']:.1f}", f"{r['first_ms']:.1f}",
                 f"{r.get('peak_rss_bytes', r['first_rss_bytes']) / 1048576:.0f}", f"{r['file_bytes'] / 1048576:.0f}"]
        yield "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>"
    yield "</tbody></table>"


def section(result):
    """HTML of one comparison."""
    m = result["machine"]
    rows = [r for r in result["rows"] if "unavailable" not in r]
    cases = list(dict.fromkeys((c["batch"], c["seq"]) for r in rows for c in r["cases"]))
    yield f"<h2>{escape(result['model'])}: Quern and other engines</h2>"
    yield (f"<p>{escape(m['cpu'])}; {escape(', '.join(m['features']))}; {escape(m['system'])}; threads: "
           f"{result['threads']}. Best of {result['rounds']} rounds, engines in turns, on the same token ids.</p>")
    if m["busy"]:
        yield (f'<p class="warning">The machine was busy: load average {m["load_before"]:.1f} before, '
               f'{m["load_after"]:.1f} after. These figures show that the comparison runs, and nothing else.</p>')
    for batch, seq in cases:
        yield f"<figure>{draw_case(rows, batch, seq)}</figure>"
    if result.get("reference"):
        yield f"<p>Cosines over {result['texts']} texts, to {escape(result['reference'])}.</p>"
    yield from table(rows)
    missing = [r for r in result["rows"] if "unavailable" in r]
    if missing:
        yield "<h3>Not measured</h3><ul>"
        for r in missing:
            yield f"<li>{escape(r['engine'])} {escape(r['variant'])}: {escape(r['unavailable'])}</li>"
        yield "</ul>"
