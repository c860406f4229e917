"""roofline.py - Quern's kernels under the machine's limits: `bench --kernels --json` and `bench --limits --json`.

A kernel's place is its operations for each byte that it reads or writes once, and its operations per second. No kernel
can be above the peak of its instructions, nor above what a level of memory delivers if its operands came from there.
"""
import math
import re
from html import escape

from svg import Drawing, LogScale

WIDTH, HEIGHT = 900, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 860, 20, 410
# Bytes that a call moves, by the sizes in its row's shape.
MOVED = {
    "gemm_q8": lambda m, n, k: n * k + m * k + 4 * m * n,
    "gemm_f32": lambda m, n, k: 4 * (n * k + m * k + m * n),
    "attention_q8": lambda n, h: 3 * n * h + 4 * n * h,
    "attention_f32": lambda n, h: 4 * (3 * n * h + n * h),
}


def placed(row):
    """(operations per byte, GOPS), or None for kernels that are bound by bytes only or unknown here."""
    sizes = {name: int(value) for name, value in re.findall(r"\b([a-z]+)=(\d+)", row["shape"])}
    moved = MOVED.get(row["kernel"])
    if not moved or "gops" not in row:
        return None
    return row["gops"] * row["ns"] / moved(**sizes), row["gops"]


def limit_rows(limits):
    """The peaks (label, class, GOPS), the integer one first, and the bandwidths (label, GB/s), the fastest first."""
    rows, peaks = limits["limits"], []
    for operands, kind, unit in (("int8", "integer", "GOPS"), ("float", "float", "GFLOPS")):
        best = max((r for r in rows if r.get("operands") == operands), key=lambda r: r["value"], default=None)
        if best:
            peaks.append((f"{best['name']}: {best['value']:.0f} {unit}", kind, best["value"]))
    reads = [(r["name"], r["value"]) for r in rows if r["unit"] == "GB/s"]
    if not peaks or not reads:
        raise ValueError("the limits have no peak or no bandwidth")
    return peaks, sorted(reads, key=lambda r: -r[1])


def axes(d, x, y):
    for value in x.ticks():
        d.line(x(value), TOP, x(value), BOTTOM, "grid")
        d.text(x(value), BOTTOM + 18, f"{value:g}", "middle")
    for value in y.ticks():
        d.line(LEFT, y(value), RIGHT, y(value), "grid")
        d.text(LEFT - 8, y(value) + 4, f"{value:g}", "end")
    d.text((LEFT + RIGHT) / 2, HEIGHT - 20, "operations per byte moved", "middle")
    d.text(18, (TOP + BOTTOM) / 2, "GOPS or GFLOPS", "middle", turn=-90)


def draw(kernels, limits):
    peaks, reads = limit_rows(limits)
    points = [(row, place) for row in kernels["kernels"] if (place := placed(row))]
    if not points:
        raise ValueError("none of the kernels has operations that can be placed: run bench --kernels without a filter")
    highest = max(gops for _, _, gops in peaks)
    x = LogScale(min(1.0, *(p[0] for _, p in points)) * 0.8, max(1000.0, *(p[0] for _, p in points)) * 1.2, LEFT, RIGHT)
    y = LogScale(min(p[1] for _, p in points) * 0.6, max(highest, *(p[1] for _, p in points)) * 1.3, BOTTOM, TOP)
    d = Drawing(WIDTH, HEIGHT, "Roofline of the kernels")
    axes(d, x, y)
    for i, (name, speed) in enumerate(reads):
        start, end = max(x.low, y.low / speed), min(highest / speed, x.high)
        if start < end:
            slope = math.degrees(math.atan2(y(start * speed) - y(end * speed), x(end) - x(start)))
            d.line(x(start), y(start * speed), x(end), y(end * speed), "roof")
            at = start * (end / start) ** 0.08
            d.text(x(at), y(at * speed) - 5, f"{name.replace('read ', '')} {speed:.0f} GB/s", turn=-slope)
    for label, kind, gops in peaks:
        start = max(gops / reads[0][1], x.low)
        d.line(x(start), y(gops), RIGHT, y(gops), f"roof {kind}")
        d.text(RIGHT, y(gops) - 6, label, "end")
    for row, (intensity, gops) in points:
        kind = ("float" if row["kernel"].endswith("f32") else "integer") + (
            " attention" if row["kernel"].startswith("attention") else "")
        tip = f"{row['kernel']} {row['shape']}: {gops:.1f} GOPS, {row['fraction_of_peak']:.2f} of the peak"
        d.dot(x(intensity), y(gops), kind, tip)
    return str(d)


def rows(kernels):
    """Every kernel as rows of a table."""
    for r in kernels["kernels"]:
        if "gops" in r:
            speed, share = f"{r['gops']:.1f} GOPS", f"{r['fraction_of_peak']:.2f}"
        else:
            speed, share = f"{r['bytes_per_second'] / 1e9:.1f} GB/s", ""
        cells = (r["kernel"], r["shape"], f"{r['ns'] / 1e3:.2f}", speed, share)
        yield "<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>"
