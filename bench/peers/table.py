"""table.py - the result of a comparison as a Markdown page."""


def machine_line(result):
    m = result["machine"]
    features = ", ".join(m["features"]) or "no features known"
    return (f"{m['date']}; {m['cpu']}; {features}; {m['system']}, Python {m['python']}; {result['threads']} thread"
            f"{'s' if result['threads'] > 1 else ''} on CPU {', '.join(map(str, m['cpus']))}")


def busy_line(result):
    m = result["machine"]
    if m["busy"]:
        return (f"**The machine was busy** (load average {m['load_before']:.1f} before, {m['load_after']:.1f} after): "
                "these figures show that the comparison runs, and nothing else.")
    return f"Load average {m['load_before']:.1f} before, {m['load_after']:.1f} after."


def number(value, form):
    return "" if value is None else format(value, form)


def mib(value):
    return "" if value is None else f"{value / 1048576:.0f}"


def line(cells):
    return "| " + " | ".join(cells) + " |\n"


def case_name(case):
    return f"{case['batch']}×{case['seq']}"


def case_cells(row, names):
    """Tokens per second of batches, milliseconds of single sequences."""
    found = {case_name(c): c for c in row["cases"]}
    cells = []
    for name in names:
        case = found.get(name)
        if case is None:
            cells.append("")
        elif case["batch"] > 1:
            cells.append(f"{case['tokens_per_second']:,.0f} ({number(case['fraction_of_peak'], '.2f') or '?'})")
        else:
            cells.append(f"{case['best_ms']:.2f} ({number(case['fraction_of_peak'], '.2f') or '?'})")
    return cells


def against_the_fastest(rows, names):
    """Quern's int8 in each case, against the fastest variant of any other engine."""
    text = ""
    for name in names:
        found = {f"{r['engine']} {r['variant']}": c["tokens_per_second"] for r in rows for c in r["cases"]
                 if case_name(c) == name}
        own = found.get("quern int8")
        others = {k: v for k, v in found.items() if not k.startswith("quern ")}
        if own and others:
            best = max(others, key=others.get)
            ratio = own / others[best]
            text += f"- {name}: Quern's int8 does {ratio:.2f} times the tokens/s of {best}, the fastest other.\n"
    return text


def markdown(result):
    rows = [r for r in result["rows"] if "unavailable" not in r]
    names = list(dict.fromkeys(case_name(c) for r in rows for c in r["cases"]))
    heads = [f"{n} tokens/s" if not n.startswith("1×") else f"{n} ms" for n in names]
    text = f"# {result['model']}\n\n{machine_line(result)}.\n\n{busy_line(result)}\n\n"
    text += (f"Best of {result['rounds']} rounds, engines in turns. In brackets the fraction of this machine's peak of "
             "the same run, integer or float as the engine's weights are.\n\n")
    text += line(["engine", "settings"] + heads) + line(["---"] * (2 + len(heads)))
    for r in rows:
        text += line([f"{r['engine']} {r['variant']}", r["settings"]] + case_cells(r, names))
    if not result["machine"]["busy"]:
        text += "\n" + against_the_fastest(rows, names)
    text += "\n" + line(["engine", "cosine mean", "1st percentile", "minimum", "load ms", "first ms",
                         "memory after one text, MiB", "peak memory, MiB", "files, MiB"]) + line(["---"] * 9)
    for r in rows:
        cosine = r.get("cosine", {})
        text += line([f"{r['engine']} {r['variant']}"] + [number(cosine.get(k), ".5f") for k in ("mean", "p1", "min")]
                     + [number(r["load_ms"], ".1f"), number(r["first_ms"], ".1f"), mib(r["first_rss_bytes"]),
                        mib(r.get("peak_rss_bytes")), mib(r["file_bytes"])])
    if result.get("texts"):
        text += (f"\nCosines over {result['texts']} texts, to {result['reference']}.\n" if result["reference"] else
                 "\nNo cosines: no engine gave a float reference.\n")
    if rows:
        text += f"Memory includes Python and numpy, {mib(rows[0]['python_rss_bytes'])} MiB.\n"
    missing = [r for r in result["rows"] if "unavailable" in r]
    if missing:
        text += "\n" + line(["not measured", "why"]) + line(["---"] * 2)
        for r in missing:
            text += line([f"{r['engine']} {r['variant']}", r["unavailable"].replace("|", "\\|")])
    versions = {k: v for r in rows for k, v in r["versions"].items()}
    text += "\nVersions: " + ", ".join(f"{k} {v}" for k, v in sorted(versions.items())) + ".\n"
    text += "Limits: " + ", ".join(f"{x['name']} {x['value']:.1f} {x['unit']}" for x in result["limits"]) + ".\n"
    return text
