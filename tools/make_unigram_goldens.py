#!/usr/bin/env python3
"""Writes tests/unigram_golden.h: small unigram vocabularies, a character map, rules around them, and what the `tokenizers` package
gives for texts.

Needs that package; not part of `make test`. The output is deterministic for one version of it.

usage: make_unigram_goldens.py [FILE]
"""
import base64
import json
import os
import struct
import sys

import tokenizers
from make_bpe_goldens import CORPUS, LONG, TEXTS, added, as_json, c_string, fnv
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "unigram_golden.h")
MAP = {"\u00e9": ["e\u0301"], "fi": ["\ufb01"], "1": ["\u2460"], " ": list("\u00a0\u3000\u2003\t\n\r\u0085\ufffd"), "A": ["\uff21"],
       "...": ["\u2026"], "": ["\u00ad", "\u200b", "\x00", "\x7f"], '"': ["\u201c", "\u201d"], "\u00fc": ["u\u0308"], "ab": ["abc"],
       "x": ["\u0600"]}
MORE = ["e\u0301a e\u0301\u0301 u\u0308", "\ufb01x \ufb01\u0301 \u2460\u0301\u0301 abc\u0301 ab", "a\u00a0\u3000b\r\nc\r\u0301", "\u0600a \u0600\u0301 x\u200d\u0301",
        "\u2026\u201cA\u201d \uff21\ufe0f", "\u00ad\u200b", "a\u0301\u00ad\u0301 \u1100\u1161\u11a8\u0301", "\u093f\u094d\u0915 \U0001f3fb\u0301",
        "\u2028\u0301 \u00a0 ", "a  \u2581 b \u2581", "  a", "\u2581a"]


def charsmap(rules):
    """A double array as SentencePiece's Darts has it, and the strings."""
    strings, pairs = b"\0", []
    for to, froms in rules.items():
        at = len(strings)
        strings += to.encode() + b"\0"
        pairs += [(text.encode(), at) for text in froms if "\0" not in text]
    tree = {}
    for text, at in pairs:
        node = tree
        for b in text:
            node = node.setdefault(b, {})
        node[None] = at
    units, used = [0] * 4096, {0}

    def place(node, pos, label):
        children = [0 if b is None else b for b in node]
        base = next(o for o in range(1, 4096) if not any(o ^ b in used for b in children))
        used.update(base ^ b for b in children)
        units[pos] = (pos ^ base) << 10 | (None in node) << 8 | label
        for b, child in node.items():
            if b is None:
                units[base] = 0x80000000 | child
            else:
                place(child, base ^ b, b)

    place(tree, 0, 0)
    size = (max(used) | 255) + 1
    return struct.pack("<I%dI" % size, 4 * size, *units[:size]) + strings


def train(fallback):
    t = Tokenizer(models.Unigram())
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "</s>"] + (["<0x%02X>" % b for b in range(256)] if fallback else [])
    t.train_from_iterator(CORPUS, trainers.UnigramTrainer(vocab_size=260 + len(special), special_tokens=special, unk_token="<unk>",
                                                          show_progress=False))
    model = json.loads(t.to_str())["model"]
    model["vocab"] = [[text, round(score, 6)] for text, score in model["vocab"]
                      if text not in ("q", "z", "\u0431", "\u56fd", "9")]  # some characters are none
    return dict(model, byte_fallback=fallback)


def variants():
    plain, fallback = train(False), train(True)
    n = len(plain["vocab"])
    marks = [added(0, "<unk>", True), added(1, "</s>", True), added(n, "<|end|>", True), dict(added(n + 1, "<x>", True), lstrip=True)]
    precompiled = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(MAP)).decode()}

    def metaspace(scheme, split=True):
        return {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": split}

    def sequence(kind, *parts):
        return {"type": "Sequence", kind: list(parts)}

    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    collapse = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u2581"}
    fused = sequence("decoders", {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"},
                     {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return [
        ("t5", 0, plain, marks, sequence("normalizers", precompiled),
         sequence("pretokenizers", {"type": "WhitespaceSplit"}, metaspace("always")), metaspace("always")),
        ("xlm", 0, plain, marks, sequence("normalizers", precompiled, strip, collapse), metaspace("always"), metaspace("always")),
        ("stripped", 0, plain, marks, sequence("normalizers", dict(strip, strip_left=True), collapse), metaspace("never"),
         metaspace("never")),
        ("bytes", 1, fallback, marks[:2], None, metaspace("first", False), fused),
    ]


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else FILE
    texts = TEXTS + MORE
    out = ["/* unigram_golden.h - made by tools/make_unigram_goldens.py (change that, not this) with tokenizers %s: small unigram"
           % tokenizers.__version__,
           " * vocabularies, and the ids and texts that the package gives. */",
           "#ifndef QN_UNIGRAM_GOLDEN_H\n#define QN_UNIGRAM_GOLDEN_H\n#include <stddef.h>\n#include <stdint.h>\n", "/* clang-format off */"]
    all_variants = variants()
    for which in (0, 1):
        model = next(v[2] for v in all_variants if v[1] == which)
        out.append("static const char %s_model[] =\n  %s;" % (("plain", "fallback")[which], c_string(as_json(model), 2)))
    out.append("typedef struct golden_text {\n  const char *p;\n  size_t n;\n} golden_text;")
    out.append("static const golden_text golden_texts[%d] = {" % len(texts))
    out += ["  {%s, %d}," % (c_string(t.encode("utf-8"), 3), len(t.encode("utf-8"))) for t in texts]
    out.append("};\nstatic const struct {\n  const char *unit;\n  uint32_t times;\n} golden_long[%d] = {" % len(LONG))
    out += ["  {%s, %d}," % (c_string(u.encode("utf-8"), 3), n) for u, n in LONG]
    out.append("};\n/* rest: everything of the tokenizer.json but the model; ids, decoded: of the texts; hash: of the long ones' ids. */")
    out.append("static const struct golden_variant {\n  const char *name;\n  int fallback;\n  const char *rest;\n"
               "  const char *ids[%d], *decoded[%d];\n  uint64_t count[%d], hash[%d];\n} golden_variants[%d] = {" % (
                   len(texts), len(texts), len(LONG), len(LONG), len(all_variants)))
    for name, which, model, marks, normalizer, splitter, decoder in all_variants:
        rest = {"added_tokens": marks, "normalizer": normalizer, "pre_tokenizer": splitter, "post_processor": None, "decoder": decoder}
        t = Tokenizer.from_str(json.dumps(dict(rest, version="1.0", truncation=None, padding=None, model=model)))
        ids = [t.encode(x, add_special_tokens=False).ids for x in texts]
        longs = [t.encode(u * n, add_special_tokens=False).ids for u, n in LONG]
        out.append('  {"%s", %d,\n   %s,\n   {' % (name, which, c_string(as_json(rest)[1:-1], 3)))
        out += ["    \"%s\"," % " ".join(map(str, x)) for x in ids]
        out.append("   },\n   {")
        out += ["    %s," % c_string(t.decode(x, skip_special_tokens=False).encode("utf-8"), 4) for x in ids]
        out.append("   },\n   {%s},\n   {%s}}," % (
            ", ".join(str(len(x)) for x in longs), ", ".join("0x%016XU" % fnv(x) for x in longs)))
    out.append("};\n/* clang-format on */\n#endif")
    with open(path, "w", encoding="ascii", newline="\n") as f:
        f.write("\n".join(out) + "\n")
    print("%s: %d lines" % (os.path.relpath(path), sum(x.count("\n") + 1 for x in out)))


if __name__ == "__main__":
    main()
