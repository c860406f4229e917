#!/usr/bin/env python3
"""Makes tests/goldens/gguf_blocks.json: blocks of each GGUF type that Quern reads and the floats that ggml's definition gives.

    make_gguf_goldens.py tests/goldens/gguf_blocks.json

"NAME": {"blocks": bytes in hexadecimal, "floats": float32 bit patterns, each 8 hexadecimal digits}. Blocks are random bytes with
finite scales; F16 and BF16 have their special values. Needs numpy and the gguf package (made with 0.19), whose numpy code is
held against ggml's by its own tests; tests/test_gguf.c reads the file and needs neither.
"""
import json
import sys

import gguf
import numpy as np

# Where the halves lie in a block.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
# Zeros, the smallest and largest subnormals, the smallest and largest normals, 1, of both signs where that says more.
F16 = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00, 0x0123, 0x3555]
BF16 = [0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x7F7F, 0xFF7F, 0x3F80, 0xC049, 0x1234]


def make(rng, name):
    if name == "F16" or name == "BF16":
        return np.array(F16 if name == "F16" else BF16, np.uint16).view(np.uint8)
    if name == "F32":
        return np.array([0.0, -0.0, 1.5, -3.25e-40, 3.4e38], np.float32).view(np.uint8)
    values, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.integers(0, 256, (1 if values == 256 else 2, size), dtype=np.uint8)
    for at in HALVES[name]:
        blocks[:, at + 1] &= 0xBF  # below 2 in magnitude
    return blocks.ravel()


def main():
    rng, out = np.random.default_rng(3), {}
    for name in ["F32", "F16", "BF16", *HALVES]:
        data = make(rng, name)
        floats = gguf.dequantize(data, gguf.GGMLQuantizationType[name])
        assert np.all(np.isfinite(floats))
        bits = np.ascontiguousarray(floats, np.float32).ravel().view(np.uint32)
        out[name] = {"blocks": data.tobytes().hex(), "floats": "".join("%08x" % b for b in bits)}
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        json.dump(out, f, indent=0)
        f.write("\n")


if __name__ == "__main__":
    main()
