"""tables.py - what bench/decoders measured, as tables."""


def name_of(case):
    what, *numbers = case
    return f"{numbers[0]} x {numbers[1]} tokens" if what == "encode" else f"{what} {numbers[0]}" if what == "prefill" else \
        f"decode at {numbers[0]}"


def best(result, threads, engine, case):
    return max(next(r["tokens_per_second"] for r in result["runs"]
                    if r["threads"] == threads and r["engine"] == engine and r["case"] == case))


def of_limit(result, threads, engine, case):
    """A share of the peak, of one that decodes of the bandwidth: the best run of each."""
    work = result["work"].get(engine, {}).get(name_of(case))
    limit = result["limits"][str(threads)]["bandwidth" if case[0] == "decode" else "peak"]
    return best(result, threads, engine, case) * work / limit if work and limit else None


def speeds(result, threads):
    pairs = result["pairs"]
    head = ["tokens/s"]
    for engine, peer in pairs:
        head += [engine, "of the limit", peer, "times"] if peer else [engine, "of the limit"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case in result["cases"]:
        cells = [name_of(case)]
        for engine, peer in pairs:
            share, speed = of_limit(result, threads, engine, case), best(result, threads, engine, case)
            cells += [f"{speed:,.1f}", "" if share is None else f"{share:.3f}"]
            if peer:
                other = best(result, threads, peer, case)
                cells += [f"{other:,.1f}", f"{speed / other:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def scaling(result, few, many):
    """More threads over fewer, and the same of the limits."""
    engines = [e for pair in result["pairs"] for e in pair if e]
    lines = [f"| {many} threads over {few} | " + " | ".join(engines) + " | the limit |", "|---" * (len(engines) + 2) + "|"]
    for case in result["cases"]:
        ratios = [best(result, many, e, case) / best(result, few, e, case) for e in engines]
        key = "bandwidth" if case[0] == "decode" else "peak"
        ratios.append(result["limits"][str(many)][key] / result["limits"][str(few)][key])
        lines.append(f"| {name_of(case)} | " + " | ".join(f"{r:.2f}" for r in ratios) + " |")
    return lines


def files(result):
    lines = ["| engine | file, MB | peak memory, MB | over the file | opening, ms | perplexity |", "|---|---|---|---|---|---|"]
    for row in result["engines"]:
        perplexity = "" if row["perplexity"] is None else f"{row['perplexity']:.3f}"
        lines.append(f"| {row['engine']} | {row['bytes'] / 1e6:.1f} | {row['memory'] / 1e6:.1f} | "
                     f"{row['memory'] / row['bytes']:.2f} | {min(row['open_ms']):.2f} | {perplexity} |")
    return lines


def tables(result):
    parts = []
    counts = result["threads"]
    for threads in counts:
        limits = result["limits"][str(threads)]
        said = [f"peak {limits['peak'] / 1e9:,.0f} GOPS"] if limits["peak"] else []
        said += [f"bandwidth {limits['bandwidth'] / 1e9:.1f} GB/s"] if limits["bandwidth"] else []
        parts.append([f"{threads} thread{'s' if threads > 1 else ''}: {', '.join(said)}", ""] + speeds(result, threads))
    if len(counts) > 1:
        parts.append(scaling(result, counts[0], counts[-1]))
    parts.append(files(result))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"
