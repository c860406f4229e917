"""What a model of a CPU says of the kernels' inner loops: cycles by llvm-mca, which knows no cache, no branch, no neighbour.

    python3 bench/mca.py --build build -o mca.json
    python3 bench/mca.py --build build-aarch64 --objdump aarch64-linux-gnu-objdump -o mca-aarch64.json

Takes the innermost loop with the most products out of each kernel's disassembly and runs it through llvm-mca. Needs Python,
binutils and llvm-mca (Debian: llvm-19; older ones know fewer CPUs).
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys

# Multiply-adds of one instruction, by its name and the widest register among its operands.
PRODUCTS = {
    "vpdpbusd": {"zmm": 64, "ymm": 32},
    "vpmaddubsw": {"zmm": 64, "ymm": 32},
    "sdot": 16, "udot": 16, "usmmla": 32,
    "smull": 8, "smull2": 8, "smlal": 8, "smlal2": 8,
}
# vpmaddwd multiplies where bytes were widened; after vpmaddubsw it only adds.
WIDENED = {"vpmaddwd": {"zmm": 32, "ymm": 16}}

# (set, what it is, object, function) of the kernels whose loops are looked at, and the CPUs that have their instructions.
X86 = ("znver3", "sapphirerapids")
WIDE = ("znver4", "sapphirerapids")
ARM = ("neoverse-v1", "neoverse-v2")
KERNELS = [
    ("avx2", "8 bit, 4 rows", "avx2/products_avx2.o", "qk_tile_4x1", X86),
    ("avx2", "8 bit, 1 row", "avx2/products_avx2.o", "qk_row_run", X86),
    ("avx2", "4 bit, 4 rows, groups of 32", "avx2/gemm_q4_avx2.o", "qk_tile_group_most_single", X86),
    ("avx2", "4 bit, 4 rows", "avx2/gemm_q4_avx2.o", "qk_tile_group_4x1", X86),
    ("avx2", "4 bit, 1 row", "avx2/gemm_q4_avx2.o", "qk_tile_group_row", X86),
    ("avxvnni", "8 bit, 6 rows", "avxvnni/isa_avxvnni.o", "qk_tile_6x1", ("sapphirerapids",)),
    ("avxvnni", "8 bit, 1 row", "avxvnni/isa_avxvnni.o", "qk_row_run", ("sapphirerapids",)),
    ("avxvnni", "4 bit, 6 rows", "avxvnni/gemm_q4_avxvnni.o", "qk_tile_group_6x1", ("sapphirerapids",)),
    ("avx512", "8 bit, 4 rows", "avx512/products_avx512.o", "qk_tile_4x4", WIDE),
    ("avx512vnni", "8 bit, 6 rows", "avx512vnni/isa_avx512vnni.o", "qk_tile_6x4", WIDE),
    ("avx512vnni", "8 bit, 1 row", "avx512vnni/isa_avx512vnni.o", "qk_row_run", WIDE),
    ("avx512vnni", "4 bit, 4 rows", "avx512vnni/gemm_q4_avx512vnni.o", "qk_tile_group_4x4", WIDE),
    ("avx512vnni", "4 bit, 1 row", "avx512vnni/gemm_q4_avx512vnni.o", "qk_tile_group_row", WIDE),
    ("neon", "8 bit, 4 rows", "neon/isa_neon.o", "qk_tile_4x1", ARM),
    ("dotprod", "8 bit, 6 rows", "dotprod/isa_dotprod.o", "qk_tile_dotprod_6", ARM),
    ("dotprod", "4 bit, 4 rows", "dotprod/gemm_q4_dotprod.o", "qk_tile_group_4x1", ARM),
    ("i8mm", "8 bit, 12 rows", "i8mm/isa_i8mm.o", "qk_tile_i8mm_6", ARM),
    ("i8mm", "4 bit, 12 rows, groups of 32", "i8mm/gemm_q4_i8mm.o", "qk_tile_q4_i8mm_6_single", ARM),
]


def disassemble(objdump, path, function):
    """[(address, text)] of a function."""
    out = subprocess.run([objdump, "-d", "--no-show-raw-insn", f"--disassemble={function}", path], check=True,
                         capture_output=True, text=True).stdout
    found = re.findall(r"^\s+([0-9a-f]+):\s+(\S.*?)\s*$", out, re.M)
    return [(int(address, 16), re.sub(r"\s*(//|<| # |\s#\s).*", "", text)) for address, text in found]


def multiply_adds(lines):
    """Of the instructions: those that multiply bytes, or, where there are none, widened ones."""
    for table in (PRODUCTS, WIDENED):
        total = 0
        for text in lines:
            each = table.get(re.sub(r"^\{vex\}\s*", "", text).split()[0], 0)
            total += each if isinstance(each, int) else each["zmm" if "zmm" in text else "ymm"]
        if total:
            return total
    return 0


def inner_loops(code):
    """Bodies of the loops that hold no other, without the jump back."""
    spans = []
    for i, (address, text) in enumerate(code):
        jump = re.match(r"(j\w+|b\.\w+|b|cbnz|cbz|tbnz|tbz)\s+(?:.*,\s*)?(?:0x)?([0-9a-f]+)$", text)
        target = int(jump.group(2), 16) if jump else address + 1
        start = next((k for k, line in enumerate(code) if line[0] == target), None)
        if target <= address and start is not None:
            spans.append((start, i))
    spans = [s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    jumps = re.compile(r"(j\w+|b\.\w+|b|cbnz|cbz|tbnz|tbz|nop\w*)\b")
    return [[text for _, text in code[a:b] if not jumps.match(text)] for a, b in spans]


def analyse(mca, triple, cpu, lines):
    """(cycles of an iteration, instructions, what the busiest resource needs)."""
    run = subprocess.run([mca, f"-mtriple={triple}", f"-mcpu={cpu}", "--iterations=200", "--json"], check=False,
                         input="\n".join(lines) + "\n", capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"{cpu}: " + (run.stderr.strip().splitlines() or ["llvm-mca failed"])[0])
    start = run.stdout.index("{")
    view = json.loads(run.stdout[start:])["CodeRegions"][0]["SummaryView"]
    return view["TotalCycles"] / view["Iterations"], view["Instructions"] // view["Iterations"], view["BlockRThroughput"]


def rows(args):
    known = subprocess.run([args.mca, "-mtriple=x86_64", "-mcpu=help"], check=False, capture_output=True, text=True,
                           input="").stderr
    known += subprocess.run([args.mca, "-mtriple=aarch64", "-mcpu=help"], check=False, capture_output=True, text=True,
                            input="").stderr
    for isa, what, path, function, cpus in KERNELS:
        path = os.path.join(args.build, "kernels", path)
        code = disassemble(args.objdump, path, function) if os.path.exists(path) else []
        if not code:
            continue
        loop = max(inner_loops(code), key=multiply_adds, default=[])
        macs = multiply_adds(loop)
        if not macs:
            raise ValueError(f"{function} in {path} has no loop with products")
        triple = "aarch64" if cpus == ARM else "x86_64"
        for cpu in cpus:
            if not re.search(rf"^\s*{re.escape(cpu)}\s", known, re.M):
                print(f"mca: {args.mca} does not know {cpu}", file=sys.stderr)
                continue
            cycles, instructions, bound = analyse(args.mca, triple, cpu, loop)
            yield {"isa": isa, "kernel": what, "function": function, "cpu": cpu, "instructions": instructions,
                   "multiply_adds": macs, "cycles": round(cycles, 2), "bound_cycles": round(bound, 2),
                   "multiply_adds_per_cycle": round(macs / cycles, 2)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build", help="a folder that make filled: default build")
    p.add_argument("--objdump", default="objdump", help="for the architecture of the build")
    p.add_argument("--mca", default=next((n for n in ("llvm-mca-19", "llvm-mca", "llvm-mca-14") if shutil.which(n)), None),
                   help="llvm-mca: default, what is installed")
    p.add_argument("-o", "--out", metavar="FILE", required=True)
    args = p.parse_args()
    if not args.mca:
        sys.exit("mca: no llvm-mca: install llvm-19 (Debian), or name it by --mca")
    try:
        found = list(rows(args))
    except (OSError, ValueError, subprocess.CalledProcessError) as e:
        sys.exit(f"mca: {e}")
    if not found:
        sys.exit(f"mca: no kernels in {args.build}: run make")
    version = subprocess.run([args.mca, "--version"], check=True, capture_output=True, text=True).stdout
    result = {"format": "quern mca 1", "tool": re.search(r"LLVM version (\S+)", version).group(1), "loops": found}
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
