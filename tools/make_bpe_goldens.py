#!/usr/bin/env python3
"""Writes tests/bpe_golden.h: small BPE vocabularies, rules around them, and what the `tokenizers` package gives for texts.

Needs that package; not part of `make test`. The output is deterministic for one version of it.

usage: make_bpe_goldens.py [FILE]
"""
import json
import os
import sys
import unicodedata

import tokenizers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "bpe_golden.h")
CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the other dogs don't care: they're asleep.",
    "It's the year 2024; there were 1234 of them, then 56,789.  \n\n\tThe end.\n",
    "Der schnelle braune Fuchs springt \u00fcber den faulen Hund. Caf\u00e9 na\u00efve r\u00e9sum\u00e9, \u00e9t\u00e9.",
    "aaaa aaaaaaaa abababab banana bandana ananas ==== ------ the then there these them",
    "\u0431\u044b\u0441\u0442\u0440\u0430\u044f \u043b\u0438\u0441\u0430 \u0438 \u043b\u0435\u043d\u0438\u0432\u0430\u044f "
    "\u0441\u043e\u0431\u0430\u043a\u0430 \u4e2d\u56fd\u4eba \u4e2d\u56fd \u4eba\u6c11",
] * 4
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
LINES = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXTS = [
    "", "the", " the", "The quick brown fox", "don't DON'T don'\u017f we'LL 'tis they're", "a  b   c", "x \n\n  y\n", "\t\n \t",
    "   ", "trailing  ", "12345 6789 1a2b", "\u0661\u0662\u0663 \u00bd\u2162 \U00011de3\U00016ff4", "!!!\n\n?? ...\r\n",
    "caf\u00e9 cafe\u0301 e\u0323\u0301 \u1112\u1161\u11ab \uac00\u11a8", "\u212b\u0344\u0958 \u0041\u0327\u030a\u0301",
    "\u4e2d\u56fd\u4eba\u6c11 \u0e01\u0e34\u0e19 \u0939\u093f\u0928\u094d\u0926\u0940", "\U0001f600 \U0001f468\u200d\U0001f469",
    "<|end|>the<|end|>", "a<|end|> b", "  <|user|>  x", "no<|en", "\u2581the\u2581 \u2581\u2581", "aaaaaaaaaaaaaaaaaaa",
    "abababababab", "banana bandana", "===--==--===", "\ufffd\u00a0\u2003\u0085x", "\x00\x7f", "the<x>the", " <x> ",
]
# Of long texts only the number of ids and a hash are kept: (unit, how often).
LONG = [("a", 5000), ("ab", 3000), ("the", 2000), (" ", 5000), ("\u00e9", 3000), ("e\u0301", 1500), ("=-", 3000),
        (" \n", 2500), ("\u4e2d\u56fd", 2000), ("\U0001f600", 1200), ("ban", 1700), ("1", 4000)]


def fnv(values):
    h = 0xCBF29CE484222325
    for v in values:
        h = (h ^ v) * 0x100000001B3 % (1 << 64)
    return h


def added(i, text, special, normalized=False):
    return {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized,
            "special": special}


def train(characters):
    t = Tokenizer(models.BPE(unk_token="<unk>" if characters else None, byte_fallback=characters, fuse_unk=characters))
    special = ["<unk>", "<s>"] if characters else []
    if characters:
        t.normalizer = normalizers.Replace(" ", "\u2581")
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        special += ["<0x%02X>" % b for b in range(256)]
        alphabet = list("abcdefghijklmnopqrstuvwxyzTD.,=-'<>|\u2581\u4e2d\u56fd\u4eba\u0431\u044b")
    else:
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=460 if characters else 400, special_tokens=special, initial_alphabet=alphabet, limit_alphabet=1000,
        show_progress=False))
    return json.loads(t.to_str())["model"]


def variants():
    bytes_model, characters_model = train(False), train(True)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    gpt2 = dict(byte_level, use_regex=True)

    def words(regex):
        return {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}, byte_level]}

    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    fused = [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
             {"type": "Fuse"}]
    n, m = len(bytes_model["vocab"]), len(characters_model["vocab"])
    marks = [added(n, "<|end|>", True), added(n + 1, "<|user|>", False), added(n + 2, "<x>", False, True)]
    marks_of_characters = [added(0, "<unk>", True), added(1, "<s>", True), added(m, "<|end|>", True),
                           added(m + 1, "<|user|>", False)]

    def of_bytes(name, splitter, normalizer=None, ignore=False, tokens=marks):
        return (name, 0, dict(bytes_model, ignore_merges=ignore), tokens, normalizer, splitter, byte_level)

    return [
        of_bytes("gpt2", gpt2),
        of_bytes("smollm", {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, gpt2]}),
        of_bytes("llama3", words(CONTRACTIONS + r"\p{N}{1,3}" + LINES), ignore=True),
        of_bytes("qwen2", words(CONTRACTIONS + r"\p{N}" + LINES), {"type": "NFC"}),
        of_bytes("prefix", dict(gpt2, add_prefix_space=True), tokens=marks[:2]),
        ("gemma", 1, characters_model, marks_of_characters, replace, None,
         {"type": "Sequence", "decoders": fused}),
        ("llama2", 1, characters_model, marks_of_characters + [added(m + 2, "<x>", False, True)],
         {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace]}, None,
         {"type": "Sequence", "decoders": fused + [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]}),
        ("metaspace", 1, characters_model, marks_of_characters, None,
         {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False},
         {"type": "Sequence", "decoders": fused + [{"type": "Strip", "content": " ", "start": 1, "stop": 0}]}),
    ]


def c_string(data, indent):
    """Bytes as a C string, in lines."""
    lines, line = [], ""
    for b in data:
        if b in (0x22, 0x5C):
            item = "\\" + chr(b)
        elif 32 <= b < 127 and b != 0x3F:
            item = chr(b)
        else:
            item = "\\%03o" % b
        if len(line) + len(item) > 115 - indent:
            lines.append(line)
            line = ""
        line += item
    lines.append(line)
    return ("\n" + " " * indent).join('"%s"' % x for x in lines)


def as_json(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else FILE
    out = ["/* bpe_golden.h - made by tools/make_bpe_goldens.py (change that, not this) with tokenizers %s: small BPE vocabularies,"
           % tokenizers.__version__,
           " * and the ids and texts that the package gives. */",
           "#ifndef QN_BPE_GOLDEN_H\n#define QN_BPE_GOLDEN_H\n#include <stddef.h>\n#include <stdint.h>\n",
           "/* clang-format off */"]
    all_variants = variants()
    for which in (0, 1):
        model = dict(next(v[2] for v in all_variants if v[1] == which))
        model.pop("ignore_merges", None)
        out.append("static const char %s_model[] =\n  %s;" % (
            ("byte", "character")[which], c_string(as_json(model)[1:-1], 2)))
    out.append("typedef struct golden_text {\n  const char *p;\n  size_t n;\n} golden_text;")
    out.append("static const golden_text golden_texts[%d] = {" % len(TEXTS))
    out += ["  {%s, %d}," % (c_string(t.encode("utf-8"), 3), len(t.encode("utf-8"))) for t in TEXTS]
    out.append("};\nstatic const struct {\n  const char *unit;\n  uint32_t times;\n} golden_long[%d] = {" % len(LONG))
    out += ["  {%s, %d}," % (c_string(u.encode("utf-8"), 3), n) for u, n in LONG]
    out.append("};\n/* rest: everything of the tokenizer.json but the model; ids, decoded: of the texts; hash: of the long ones' ids. */")
    out.append("static const struct golden_variant {\n  const char *name;\n  int characters, ignore_merges;\n  const char *rest;\n"
               "  const char *ids[%d], *decoded[%d];\n  uint64_t count[%d], hash[%d];\n} golden_variants[%d] = {" % (
                   len(TEXTS), len(TEXTS), len(LONG), len(LONG), len(all_variants)))
    for name, which, model, marks, normalizer, splitter, decoder in all_variants:
        rest = {"added_tokens": marks, "normalizer": normalizer, "pre_tokenizer": splitter, "post_processor": None,
                "decoder": decoder}
        t = Tokenizer.from_str(json.dumps(dict(rest, version="1.0", truncation=None, padding=None, model=model)))
        ids = [t.encode(x, add_special_tokens=False).ids for x in TEXTS]
        longs = [t.encode(u * n, add_special_tokens=False).ids for u, n in LONG]
        out.append('  {"%s", %d, %d,\n   %s,\n   {' % (
            name, which, bool(model.get("ignore_merges")), c_string(as_json(rest)[1:-1], 3)))
        out += ["    \"%s\"," % " ".join(map(str, x)) for x in ids]
        out.append("   },\n   {")
        out += ["    %s," % c_string(t.decode(x, skip_special_tokens=False).encode("utf-8"), 4) for x in ids]
        out.append("   },\n   {%s},\n   {%s}}," % (
            ", ".join(str(len(x)) for x in longs), ", ".join("0x%016XU" % fnv(x) for x in longs)))
    out.append("};")
    nfc = normalizers.NFC()
    scalars = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    alone, pairs = [], []
    for c in scalars:
        alone += [ord(x) for x in nfc.normalize_str(chr(c))] + [0]
        if unicodedata.decomposition(chr(c))[:1] not in ("", "<"):
            text = unicodedata.normalize("NFD", chr(c)) + "\u0323\u0301"
            pairs += [ord(x) for x in nfc.normalize_str(text)] + [0]
    out.append("/* Of NFC of every code point, each followed by 0; and of every canonical decomposition with U+0323 U+0301 behind it. */")
    out.append("static const uint64_t golden_nfc[2] = {0x%016XU, 0x%016XU};" % (fnv(alone), fnv(pairs)))
    out.append("/* clang-format on */\n#endif")
    with open(path, "w", encoding="ascii", newline="\n") as f:
        f.write("\n".join(out) + "\n")
    print("%s: %d lines" % (os.path.relpath(path), sum(x.count("\n") + 1 for x in out)))


if __name__ == "__main__":
    main()
