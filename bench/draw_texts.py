#!/usr/bin/env python3
"""Draws the texts that accuracy figures are taken on.

    draw_texts.py DATA_DIR TOKENIZER_JSON [--count 300] [--seed 0] > texts.txt

DATA_DIR has sts/*.tsv (sentence1, sentence2), squad/xquad*.tsv (context) and retrieval/scifact/corpus.tsv (title, text).
Texts are taken in turn from the three kinds, each shuffled by the seed, without repeats, if they have 3 to 512 tokens
(special tokens included). One text a line. Needs the `tokenizers` package.
"""
import argparse
import glob
import os
import random

from tokenizers import Tokenizer


def column_values(path, names):
    """Values of the named columns of a TSV with a header line, no quoting."""
    with open(path, encoding="utf-8") as f:
        header = f.readline().rstrip("\n").split("\t")
        wanted = [header.index(n) for n in names if n in header]
        for line in f:
            fields = line.rstrip("\n").split("\t")
            for i in wanted:
                if i < len(fields):
                    yield fields[i]


def read_kinds(data):
    sts = [t for p in sorted(glob.glob(os.path.join(data, "sts", "*.tsv"))) for t in column_values(p, ["sentence1", "sentence2"])]
    xquad = [t for p in sorted(glob.glob(os.path.join(data, "squad", "xquad*.tsv"))) for t in column_values(p, ["context"])]
    scifact = list(column_values(os.path.join(data, "retrieval", "scifact", "corpus.tsv"), ["title", "text"]))
    return [sts, xquad, scifact]


def draw(data, tokenizer, seed):
    """Yields texts in the list's order."""
    kinds = []
    for texts in read_kinds(data):
        texts = sorted(set(t.strip() for t in texts))
        random.Random(seed).shuffle(texts)
        kinds.append(iter(texts))
    seen_end = 0
    while seen_end < len(kinds):
        seen_end = 0
        for kind in kinds:
            for text in kind:
                if 3 <= len(tokenizer.encode(text).ids) <= 512:
                    yield text
                    break
            else:
                seen_end += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("tokenizer")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(args.tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    for i, text in enumerate(draw(args.data, tokenizer, args.seed)):
        if i == args.count:
            break
        print(text)


if __name__ == "__main__":
    main()
