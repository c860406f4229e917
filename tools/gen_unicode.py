#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c: the Unicode facts that normalizing and splitting text for tokenizers need.

The tokenizers of published models were run through the `tokenizers` package, whose parts carry Unicode data of
different ages. To give the same ids, the tables here carry the same mixture, written as Unicode 14 (Python 3.11's
unicodedata) plus the short exception lists below. Only the standard library is used; the output is deterministic.

usage: gen_unicode.py [--check] [FILE]      --check compares with FILE instead of writing it
"""
import os
import sys
import unicodedata as U

UNICODE = "14.0.0"
FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "src", "text", "unicode_tables.c")

# Format characters that the package's category table (Unicode 8, with gaps) does not know, so that they stay.
NOT_CONTROL = "890-891 8E2 110CD 13430-13438"
# Punctuation then and no longer, and punctuation that came later.
ALSO_PUNCTUATION = "166D 111C9"
NOT_PUNCTUATION = """
61D 9FD A76 C77 C84 1B7D-1B7E 2E43-2E4F 2E52-2E5D 10EAD 10F55-10F59 10F86-10F89 1144B-1144F 1145A-1145B 1145D
11660-1166C 116B9 1183B 11944-11946 119E2 11A3F-11A46 11A9A-11A9C 11A9E-11AA2 11C41-11C45 11C70-11C71
11EF7-11EF8 11FFF 12FF1-12FF2 16E97-16E9A 16FE2 1E95E-1E95F"""
# The same for nonspacing marks (category Mn).
ALSO_MARK = "1734"
NOT_MARK = """
7FD 898-89F 8CA-8E1 9FE AFA-AFF B55 C04 C3C D00 D3B-D3C D81 EBA 180F 1885-1886 1ABF-1ACE 1DF6-1DFB A82C A8C5
A8FF A9BD 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11070 11073-11074 110C2 111C9 111CF 1123E 1133B
11438-1143F 11442-11444 11446 1145E 1182F-11837 11839-1183A 1193B-1193C 1193E 11943 119D4-119D7 119DA-119DB
119E0 11A01-11A0A 11A33-11A38 11A3B-11A3E 11A47 11A51-11A56 11A59-11A5B 11A8A-11A96 11A98-11A99 11C30-11C36
11C38-11C3D 11C3F 11C92-11CA7 11CAA-11CB0 11CB2-11CB3 11CB5-11CB6 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45
11D47 11D90-11D91 11D95 11D97 11EF3-11EF4 16F4F 16FE4 1CF00-1CF2D 1CF30-1CF46 1E000-1E006 1E008-1E018
1E01B-1E021 1E023-1E024 1E026-1E02A 1E130-1E136 1E2AE 1E2EC-1E2EF 1E944-1E94A"""
# Characters whose combining class the package's normalization table does not know: 0 there.
CLASS_0 = """
7FD 898-89F 8CA-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1ACE 1DF6-1DFA A82C 10D24-10D27 10EAB-10EAC 10F46-10F50
10F82-10F85 11070 1133B 1145E 11839-1183A 1193D-1193E 11943 119E0 11A34 11A47 11A99 11D42 11D44-11D45 11D97
16FF0-16FF1 1E130-1E136 1E2AE 1E2EC-1E2EF"""
# Decomposes since Unicode 13, not in that table.
NOT_DECOMPOSED = "11938"
# Lower case and word characters (the regular expression \w) come from Unicode 17. first-last:first of the result.
LATER_LOWER = """
1C89:1C8A A7CB:264 A7CC:A7CD A7CE:A7CF A7D2:A7D3 A7D4:A7D5 A7DA:A7DB A7DC:19B 10D50-10D65:10D70 16EA0-16EB8:16EBB"""
ALSO_WORD = """
897 CF3 ECE 1C89-1C8A 200C-200D 24B6-24E9 A7CB-A7CD A7DA-A7DC 105C0-105F3 10D40-10D65 10D69-10D6D 10D6F-10D85
10EC2-10EC4 10EFC-10EFF 1123F-11241 11380-11389 1138B 1138E 11390-113B5 113B7-113C0 113C2 113C5 113C7-113CA
113CC-113D3 113E1-113E2 116D0-116E3 11BC0-11BE0 11BF0-11BF9 11F00-11F10 11F12-11F3A 11F3E-11F42 11F50-11F5A
1342F 13440-13455 13460-143FA 16100-16139 16D40-16D6C 16D70-16D79 18CFF 1B132 1B155 1CCF0-1CCF9 1DF25-1DF2A
1E030-1E06D 1E08F 1E4D0-1E4F9 1E5D0-1E5FA 1F130-1F149 1F150-1F169 1F170-1F189 2B739 2EBF0-2EE5D 31350-323AF"""
# Letters (\\p{L}) and numbers (\\p{N}) of the package's regular expressions that came after Unicode 14, and what its Digits
# splitter knows beyond those numbers.
ALSO_LETTER = """
1C89-1C8A A7CB-A7CD A7DA-A7DC 105C0-105F3 10D4A-10D65 10D6F-10D85 10EC2-10EC4 1123F-11240 11380-11389 1138B 1138E
11390-113B5 113B7 113D1 113D3 11BC0-11BE0 11F02 11F04-11F10 11F12-11F33 1342F 13441-13446 13460-143FA 16100-1611D
16D40-16D6C 18CFF 1B132 1B155 1DF25-1DF2A 1E030-1E06D 1E4D0-1E4EB 1E5D0-1E5ED 1E5F0 2B739 2EBF0-2EE5D 31350-323AF"""
ALSO_NUMBER = """
10D40-10D49 116D0-116E3 11BF0-11BF9 11F50-11F59 16130-16139 16D70-16D79 1CCF0-1CCF9 1D2C0-1D2D3 1E4F0-1E4F9
1E5F1-1E5FA"""
ALSO_DIGIT = "11DE0-11DE9 16FF4-16FF6"
# White_Space; the control characters among it count as space only where the code says so.
SPACE = "9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000"

(IS_SPACE, IS_CONTROL, IS_PUNCTUATION, IS_MARK, IS_WORD, HAS_LOWER, DECOMPOSES, IS_ORDERED, IS_LETTER, IS_NUMBER,
 IS_DIGIT, IS_UNSTABLE) = (1 << i for i in range(12))
CLASS_SHIFT = 24  # the combining class is in the top byte of a property word
BLOCK = 32  # code points of one block of properties
SUPER = 32  # blocks of one row of the index


def points(text):
    out = set()
    for item in text.split():
        first, _, last = item.partition("-")
        out.update(range(int(first, 16), int(last or first, 16) + 1))
    return out


SCALARS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def combining_class(c, zero=points(CLASS_0)):
    return 0 if c in zero else U.combining(chr(c))


def decompositions():
    """One step of canonical decomposition, without Hangul syllables: {code point: (first, second or 0)}."""
    whole, out = points(NOT_DECOMPOSED), {}
    for c in SCALARS:
        parts = U.decomposition(chr(c))
        if parts and parts[0] != "<" and c not in whole:
            first, _, second = parts.partition(" ")
            out[c] = (int(first, 16), int(second, 16) if second else 0)
    return out


def collect():
    space, later_word = points(SPACE), points(ALSO_WORD)
    not_control = points(NOT_CONTROL) | {9, 10, 13}
    also_punctuation, not_punctuation = points(ALSO_PUNCTUATION), points(NOT_PUNCTUATION)
    also_mark, not_mark = points(ALSO_MARK), points(NOT_MARK)
    lower = {}
    for item in LATER_LOWER.split():
        source, _, target = item.partition(":")
        for i, c in enumerate(sorted(points(source))):
            lower[c] = int(target, 16) + i
    category = {c: U.category(chr(c)) for c in SCALARS}
    whole = points(NOT_DECOMPOSED)
    marks = {c for c in SCALARS if (category[c] == "Mn" and c not in not_mark) or c in also_mark}
    letter, number, digit = points(ALSO_LETTER), points(ALSO_NUMBER), points(ALSO_DIGIT)
    steps = decompositions()
    composed = {c for c in steps if U.normalize("NFC", chr(c)) == chr(c)}
    behind = {steps[c][1] for c in composed} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    props = {}
    for c in SCALARS:
        ch, cat, p = chr(c), category[c], 0
        if c in space:
            p |= IS_SPACE
        if (cat in ("Cc", "Cf", "Co") and c not in not_control) or c == 0xFFFD:
            p |= IS_CONTROL
        ascii_symbol = c < 128 and cat[0] == "S"
        if (cat[0] == "P" and c not in not_punctuation) or ascii_symbol or c in also_punctuation:
            p |= IS_PUNCTUATION
        if cat in ("Mn", "Mc", "Me", "Nd", "Pc", "Nl") or ch.isalpha() or c in later_word:
            p |= IS_WORD
        small = ch.lower()
        if c not in lower and small != ch:
            lower[c] = ord(small[0])
            if len(small) > 1 and (c, small) != (0x130, "i\u0307"):
                sys.exit("gen_unicode.py: U+%04X has a lower case of several characters" % c)
        if c in lower:
            p |= HAS_LOWER
        if cat[0] == "L" or c in letter:
            p |= IS_LETTER
        if cat[0] == "N" or c in number:
            p |= IS_NUMBER | IS_DIGIT
        if c in digit:
            p |= IS_DIGIT
        if c in steps:
            p |= DECOMPOSES
        if (c in steps and c not in composed) or c in behind or combining_class(c):
            p |= IS_UNSTABLE
        hangul = 0xAC00 <= c <= 0xD7A3
        full = [c] if c in whole else [ord(x) for x in U.normalize("NFD", ch)]
        kept = [x for x in full if x not in marks]
        if not kept:
            p |= IS_MARK
            ordered = all(combining_class(x) for x in full)
        else:
            ordered = full == [c] and combining_class(c) != 0
            if kept != [c] and not hangul:
                # The code takes the kept characters one by one; a removed mark of class 0 among them must not matter.
                for x, y in zip(full, full[1:]):
                    if x in marks and not combining_class(x) and y in kept and combining_class(y):
                        sys.exit("gen_unicode.py: the order of U+%04X cannot be told from its kept characters" % c)
        if ordered:
            p |= IS_ORDERED
        props[c] = p | combining_class(c) << CLASS_SHIFT
    return props, lower, steps, composed


def lower_ranges(lower):
    """(first, count, stride, difference), stride 1 or 2, as few as a greedy walk finds."""
    keys, out = sorted(lower), []
    i = 0
    while i < len(keys):
        best = (1, 1)
        for stride in (1, 2):
            n = 1
            while keys[i] + n * stride in lower and (
                    lower[keys[i] + n * stride] - lower[keys[i]] == n * stride) and (
                    stride == 1 or keys[i] + n * stride - 1 not in lower):
                n += 1
            best = max(best, (n, stride), key=lambda x: x[0])
        n, stride = best
        out.append((keys[i], n, stride, lower[keys[i]] - keys[i]))
        i = keys.index(keys[i] + (n - 1) * stride) + 1
    return out


def array(kind, name, values, form="%d"):
    lines, line = [], " "
    for v in values:
        item = " " + form % v + ","
        if len(line) + len(item) > 119:
            lines.append(line)
            line = " "
        line += item
    lines.append(line)
    return "const %s %s[%d] = {\n%s\n};\n" % (kind, name, len(values), "\n".join(lines))


def generate():
    props, lower, steps, composed = collect()
    words = sorted(set(props.values()) | {0})
    assert len(words) <= 256
    number = {w: i for i, w in enumerate(words)}
    blocks, rows, index, top = [], [], [], []
    for base in range(0, 0x110000, BLOCK):
        block = tuple(number[props.get(c, 0)] for c in range(base, base + BLOCK))
        if block not in blocks:
            blocks.append(block)
        index.append(blocks.index(block))
    for base in range(0, len(index), SUPER):
        row = tuple(index[base:base + SUPER])
        if row not in rows:
            rows.append(row)
        top.append(rows.index(row))
    assert len(blocks) <= 65536 and len(rows) <= 256
    ranges = lower_ranges(lower)
    keys = sorted(steps)
    pairs = sorted((steps[c], keys.index(c)) for c in composed)
    size = (len(top) + len(rows) * SUPER * 2 + len(blocks) * BLOCK + len(words) * 4 + len(ranges) * 12 +
            len(keys) * 8 + len(pairs) * 2)
    parts = [
        "/* unicode_tables.c - made by tools/gen_unicode.py (change that, not this): %d bytes of tables, described in\n"
        " * text/unicode.h. Constants only: any number of threads. */\n"
        '#include "text/unicode.h"\n\n/* clang-format off */\n' % size,
        "/* Block row of each %d code points, blocks of each row, number of the properties in each block. */\n" % (
            BLOCK * SUPER),
        array("uint8_t", "qn_unicode_top", top),
        array("uint16_t", "qn_unicode_rows", [b for r in rows for b in r]),
        array("uint8_t", "qn_unicode_blocks", [p for b in blocks for p in b]),
        array("uint32_t", "qn_unicode_words", words, "0x%X"),
        "/* Lower case, ascending: first, count, stride, difference. */\n",
        "const qn_unicode_lower qn_unicode_lower_table[%d] = {\n%s\n};\n" % (
            len(ranges), "\n".join("  {0x%X, %d, %d, %d}," % r for r in ranges)),
        "/* One step of canonical decomposition, ascending: code point << 42 | first << 21 | second, or 0. */\n",
        array("uint64_t", "qn_unicode_steps", [c << 42 | steps[c][0] << 21 | steps[c][1] for c in keys], "0x%X"),
        "/* Indices of those that are composed again, by what they are composed of. */\n",
        array("uint16_t", "qn_unicode_composed", [i for _, i in pairs]),
    ]
    header = [
        ("TOP", len(top)), ("ROWS", len(rows) * SUPER), ("BLOCKS", len(blocks) * BLOCK), ("WORDS", len(words)),
        ("LOWER", len(ranges)), ("STEPS", len(keys)), ("COMPOSED", len(pairs))]
    return "".join(parts), header, size


def main():
    args = sys.argv[1:]
    check = "--check" in args
    args = [a for a in args if a != "--check"]
    path = args[0] if args else FILE
    if U.unidata_version != UNICODE:
        sys.exit("gen_unicode.py: this Python's unicodedata is Unicode %s; the exception lists are written against %s: "
                 "run it with Python 3.11" % (U.unidata_version, UNICODE))
    text, header, size = generate()
    if check:
        with open(path, encoding="ascii") as f:
            if f.read() != text:
                sys.exit("gen_unicode.py: %s is not what this script writes: run tools/gen_unicode.py" % path)
        print("%s is what this script writes" % os.path.relpath(path))
        return
    with open(path, "w", encoding="ascii", newline="\n") as f:
        f.write(text)
    print("%s: %d bytes of tables: %s" % (os.path.relpath(path), size, ", ".join("%s %d" % h for h in header)))


if __name__ == "__main__":
    main()
