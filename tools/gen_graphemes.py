#!/usr/bin/env python3
"""Writes src/text/graphemes.c: which characters hang on to their neighbours, by Unicode's extended grapheme clusters (UAX 29).

A character that extends the one before it (Extend, SpacingMark, ZWJ), that joins the one after it (Prepend), that stands alone
(Control). Rules for Hangul, emoji and conjuncts are left out: the clusters that they make are too long to matter to the one
reader, src/text/charsmap.c. Needs the package `regex`, whose Unicode is the table's; the output is deterministic for one version.

usage: gen_graphemes.py [FILE]
"""
import os
import sys

import regex

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "text", "graphemes.c")
CLASSES = [r"[\p{GCB=Extend}\p{GCB=SpacingMark}\p{GCB=ZWJ}]", r"\p{GCB=Prepend}", r"[\p{GCB=Control}\p{GCB=CR}\p{GCB=LF}]"]


def main():
    patterns = [regex.compile(p) for p in CLASSES]
    runs = []
    for cp in range(0x110000):
        if 0xD800 <= cp < 0xE000:
            continue
        which = next((i + 1 for i, p in enumerate(patterns) if p.match(chr(cp))), 0)
        if runs and runs[-1][1] == cp - 1 and runs[-1][2] == which:
            runs[-1][1] = cp
        elif which:
            runs.append([cp, cp, which])
    words = []
    for first, last, which in runs:
        while first <= last:  # 9 bits for the length, less one
            n = min(last - first + 1, 512)
            words.append(first << 11 | (n - 1) << 2 | which)
            first += n
    with open(sys.argv[1] if len(sys.argv) > 1 else FILE, "w", encoding="ascii") as out:
        out.write("/* graphemes.c - made by tools/gen_graphemes.py (change that, not this) with regex %s: %d bytes of tables.\n"
                  " * Constants only: any number of threads. */\n#include \"text/charsmap.h\"\n\n/* clang-format off */\n"
                  "/* Runs of code points, ascending: first << 11 | length - 1 << 2 | QN_GRAPHEME_*. */\n"
                  "static const uint32_t runs[%d] = {\n" % (regex.__version__, 4 * len(words), len(words)))
        for i in range(0, len(words), 10):
            out.write("  " + ", ".join("0x%X" % w for w in words[i:i + 10]) + ",\n")
        out.write("};\n/* clang-format on */\n\n"
                  "uint32_t qn_grapheme_class(uint32_t cp) {\n"
                  "  size_t lo = 0, hi = sizeof runs / sizeof runs[0];\n"
                  "  while (lo < hi) { /* the first run that begins behind cp */\n"
                  "    const size_t middle = (lo + hi) / 2;\n"
                  "    if (runs[middle] >> 11 <= cp)\n"
                  "      lo = middle + 1;\n"
                  "    else\n"
                  "      hi = middle;\n"
                  "  }\n"
                  "  if (!lo) return 0;\n"
                  "  const uint32_t run = runs[lo - 1];\n"
                  "  return cp - (run >> 11) <= (run >> 2 & 511u) ? run & 3u : 0;\n"
                  "}\n")


if __name__ == "__main__":
    main()
