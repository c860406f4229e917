"""loops.py - what `bench/mca.py` got of llvm-mca, as a table: cycles of the kernels' inner loops on modelled CPUs; and the bars of
`quern bench --kernels --json`."""
from html import escape


def table(heads, lines):
    yield "<table><thead><tr>" + "".join(f"<th>{escape(h)}</th>" for h in heads) + "</tr></thead><tbody>"
    for cells in lines:
        yield "<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in cells) + "</tr>"
    yield "</tbody></table>"


def section(result):
    """HTML of one file of bench/mca.py."""
    yield f"<h2>Inner loops on modelled CPUs (llvm-mca {escape(result['tool'])})</h2>"
    yield ("<p>Cycles for one round of the loop, everything in the L1 cache, and those that its busiest unit alone needs: "
           "their ratio is what latencies and dispatch cost. A model of the CPU gave them, no CPU.</p>")
    heads = ("set", "kernel", "CPU", "instructions", "multiply-adds", "cycles", "busiest unit", "multiply-adds a cycle")
    keys = ("isa", "kernel", "cpu", "instructions", "multiply_adds", "cycles", "bound_cycles", "multiply_adds_per_cycle")
    yield from table(heads, ([loop[k] for k in keys] for loop in result["loops"]))


def bar_cells(bar):
    shape = " × ".join(str(bar[k]) for k in "mnk") if "m" in bar else ""
    if "group" in bar:
        shape += f", groups of {bar['group']}"
    limit, fraction, met = "", "", "not measured"
    if "met" in bar:
        limit, fraction = f"{bar['limit']:.0f} {bar['unit']}, {bar['limit_of']}", f"{bar['fraction']:.2f}"
        met = "met" if bar["met"] else "missed"
    value = f"{bar['value']:.0f}" if "value" in bar else ""
    return bar["isa"], bar["case"], shape, value, limit, fraction, f"{bar['bar']:g}", met, bar.get("reason", "")


def bar_section(bars):
    """HTML of the bars that were measured, and of those that others measure."""
    yield "<h3>The bars</h3>"
    heads = ("set", "case", "M × N × K", "reached", "limit", "fraction", "bar", "", "why")
    yield from table(heads, (bar_cells(b) for b in bars if "met" in b or b.get("unit", "").startswith("instructions")))
