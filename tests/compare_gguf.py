#!/usr/bin/env python3
"""Compares the floats that Quern reads from GGUF files with the `gguf` package's, bit by bit. Needs gguf and numpy; not
part of `make test`.

usage: compare_gguf.py build/tests/test_gguf FILE.gguf...    (--random N in place of a file: N blocks of random bytes of every type)

Names, types and shapes are compared too. NaNs may differ in their bits, not in their places. Ends with 0 when there is no
difference.
"""
import collections
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np

TYPES = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL".split()
QUANTS = gguf.GGMLQuantizationType


def write_random(path, blocks):
    """A tensor of each type; rows of two blocks."""
    rng = np.random.default_rng(7)
    writer = gguf.GGUFWriter(path, "random")
    for name in TYPES:
        _, size = gguf.GGML_QUANT_SIZES[QUANTS[name]]
        data = rng.integers(0, 256, (blocks, 2 * size), dtype=np.uint8)
        writer.add_tensor("blocks." + name, data, raw_dtype=QUANTS[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def compare(program, path):
    """(tensors of each type, differences)"""
    seen, wrong = collections.Counter(), 0
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    with subprocess.Popen([program, path], stdout=subprocess.PIPE, bufsize=1 << 20) as process:
        while line := process.stdout.readline():
            name, kind, _, *dims = line.decode().split()
            t = tensors.pop(name)
            ours = np.frombuffer(process.stdout.read(4 * t.n_elements), np.uint32)
            with np.errstate(all="ignore"):
                theirs = np.ascontiguousarray(gguf.dequantize(t.data, t.tensor_type)).ravel().view(np.uint32)
            both_nan = (ours & 0x7FFFFFFF > 0x7F800000) & (theirs & 0x7FFFFFFF > 0x7F800000)
            same = len(ours) == len(theirs) and bool(np.all((ours == theirs) | both_nan))
            if not same or kind != t.tensor_type.name or [int(d) for d in dims] != [int(d) for d in t.shape[::-1]]:
                print(f"  {name} ({kind} {dims}): differs from {t.tensor_type.name} {t.shape[::-1]}")
                wrong += 1
            seen[kind] += 1
    if process.returncode or tensors:
        print(f"  not read: {sorted(tensors)[:5]}, exit status {process.returncode}")
        wrong += 1
    return seen, wrong


def main():
    program, *paths = sys.argv[1:]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        if paths[:1] == ["--random"]:
            write_random(os.path.join(folder, "random.gguf"), int(paths[1]))
            paths = [os.path.join(folder, "random.gguf")]
        for path in paths:
            seen, differences = compare(program, path)
            wrong += differences
            print(f"{os.path.basename(path)}: {dict(seen)}, {differences} differences")
    return wrong != 0


if __name__ == "__main__":
    sys.exit(main())
