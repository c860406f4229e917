"""Draws measurements as one HTML file that needs nothing else: a roofline of the kernels and
their bars, their inner loops on modelled CPUs, the comparison of engines.

    build/quern bench --limits --threads 1 --json > limits.json
    build/quern bench --kernels --json > kernels.json
    python3 bench/report --limits limits.json --kernels kernels.json --mca mca.json --peers RESULT.json -o report.html

Each part may be left out. Needs nothing but Python.
"""
import argparse
import json
import sys
from html import escape

import bars
import loops
import roofline

STYLE = """
:root { --ink: #1c1c1a; --soft: #6b6a65; --ground: #fcfcfa; --line: #dddcd6; --integer: #1f6f8b; --float: #b5651d; --peer: #a9a8a2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6df; --soft: #9b9a93; --ground: #1a1a18; --line: #3a3935; --integer: #5fb3cf; --float: #e0985a; --peer: #6d6c66; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; display: block; overflow-x: auto; }
td, th { padding: .2rem .6rem; border-bottom: 1px solid var(--line); text-align: left; font-variant-numeric: tabular-nums; }
.label { font-size: 12px; fill: var(--soft); } .head { font-size: 14px; font-weight: 600; fill: var(--ink); }
.grid { stroke: var(--line); stroke-width: .6; } .roof { stroke: var(--soft); stroke-width: 1.3; }
.roof.integer { stroke: var(--integer); } .roof.float { stroke: var(--float); }
circle { stroke-width: 1.6; } circle.integer { fill: var(--integer); stroke: var(--integer); }
circle.float { fill: var(--float); stroke: var(--float); } circle.attention { fill: var(--ground); }
rect.quern { fill: var(--integer); } rect.peer { fill: var(--peer); } rect.full { opacity: .55; }
.warning { border-left: 4px solid var(--float); padding-left: .7rem; }
"""


def kernel_section(kernels, limits):
    if limits["threads"] != 1:
        raise ValueError(f"the limits are of {limits['threads']} threads, the kernels of one: "
                         "run bench --limits --threads 1")
    yield f"<h2>Kernels under the machine's limits ({escape(kernels['isa'])}, one thread)</h2>"
    yield f"<figure>{roofline.draw(kernels, limits)}</figure>"
    yield ("<p>Blue: integer kernels; orange: float; open circles: attention. A point's name shows when the pointer "
           "rests on it. Operands that stay in a cache may lie above the slopes of those behind it.</p>")
    yield "<table><thead><tr>" + "".join(f"<th>{h}</th>" for h in ("kernel", "shape", "µs", "speed", "of peak"))
    yield "</tr></thead><tbody>" + "".join(roofline.rows(kernels)) + "</tbody></table>"
    if kernels.get("bars"):
        yield from loops.bar_section(kernels["bars"])


def page(args):
    parts = []
    if args.kernels:
        parts += kernel_section(read(args.kernels), read(args.limits))
    for path in args.mca:
        result = read(path)
        if result.get("format") != "quern mca 1":
            raise ValueError(f"{path} is no result of bench/mca.py")
        parts += loops.section(result)
    for path in args.peers:
        result = read(path)
        if result.get("format") != "quern peers 1":
            raise ValueError(f"{path} is no result of bench/peers")
        parts += bars.section(result)
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/><title>Quern: measured</title>'
            f"<style>{STYLE}</style></head><body>\n<h1>Quern: measured</h1>\n" + "\n".join(parts)
            + "\n</body></html>\n")


def read(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def main():
    p = argparse.ArgumentParser(prog="bench/report", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--limits", metavar="FILE", help="of quern bench --limits --threads 1 --json")
    p.add_argument("--kernels", metavar="FILE", help="of quern bench --kernels --json; needs --limits")
    p.add_argument("--peers", metavar="FILE", nargs="+", default=[], help="of bench/peers, one for each model")
    p.add_argument("--mca", metavar="FILE", nargs="+", default=[], help="of bench/mca.py")
    p.add_argument("-o", "--out", metavar="FILE", required=True)
    args = p.parse_args()
    if bool(args.kernels) != bool(args.limits):
        p.error("--kernels and --limits belong together")
    if not args.kernels and not args.peers and not args.mca:
        p.error("give --kernels and --limits, --mca, --peers, or all of them")
    try:
        text = page(args)
    except (OSError, ValueError, KeyError) as e:
        sys.exit(f"bench/report: {e!r}" if isinstance(e, KeyError) else f"bench/report: {e}")
    with open(args.out, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
