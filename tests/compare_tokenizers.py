#!/usr/bin/env python3
"""Compares `quern tokenize` with the `tokenizers` package, token by token. Needs that package; not part of `make test`.

usage: compare_tokenizers.py QUERN MODEL.qrn HF_DIR FILE|DIR...

Each line of a FILE is a text; of a DIR, all files below it. A file named *_hex.tsv holds a text's bytes in hexadecimal
in its first column, and may open with a line that starts with '#'. Malformed UTF-8 is compared with what Python's
decoder makes of it (errors='replace'). Texts are neither cut nor padded. Ends with 0 when there is no difference.
"""
import os
import subprocess
import sys

from tokenizers import Tokenizer

SHOWN = 5  # differences printed of each file


def collect(paths):
    for path in paths:
        if os.path.isdir(path):
            for folder, folders, names in os.walk(path):
                folders.sort()
                yield from (os.path.join(folder, name) for name in sorted(names))
        else:
            yield path


def read_texts(path):
    """Lines as bytes, and whether they go to quern as hexadecimal."""
    with open(path, "rb") as f:
        data = f.read()
    lines = data.split(b"\n")
    if lines and lines[-1] == b"":
        lines.pop()
    if not path.endswith("_hex.tsv"):
        # What ends a line is the reader's affair: a carriage return before a line feed is left out of the comparison.
        return [line[:-1] if line.endswith(b"\r") else line for line in lines], False
    if lines and lines[0].startswith(b"#"):
        lines = lines[1:]
    return [bytes.fromhex(line.split(b"\t")[0].decode("ascii")) for line in lines], True


def run_quern(command, model, texts, as_hex, options):
    lines = [t.hex().encode("ascii") for t in texts] if as_hex else texts
    done = subprocess.run([command, "tokenize", model, "-", "--quiet"] + (["--hex"] if as_hex else []) + options,
                          input=b"".join(line + b"\n" for line in lines), stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("compare_tokenizers.py: quern ended with code %d" % done.returncode)
    rows = done.stdout.decode("ascii").split("\n")[:-1]
    if len(rows) != len(texts):
        sys.exit("compare_tokenizers.py: %d lines in, %d lines out" % (len(texts), len(rows)))
    return [[int(x) for x in row.split()] for row in rows]


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    command, model, directory = sys.argv[1:4]
    reference = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    total_lines = total_tokens = total_bad = 0
    for path in collect(sys.argv[4:]):
        texts, as_hex = read_texts(path)
        decoded = [t.decode("utf-8", "replace") for t in texts]
        bad = 0
        for special in (True, False):
            got = run_quern(command, model, texts, as_hex, [] if special else ["--no-special"])
            want = [e.ids for e in reference.encode_batch(decoded, add_special_tokens=special)]
            for number, (text, g, w) in enumerate(zip(texts, got, want), 1):
                total_tokens += len(w)
                if g != w:
                    bad += 1
                    if bad <= SHOWN:
                        print("%s:%d: %r\n  tokenizers %s\n  quern      %s" % (path, number, text[:200], w, g))
        total_lines += len(texts)
        total_bad += bad
        print("%s: %d lines, %d differences" % (path, len(texts), bad))
    print("%d lines, %d tokens, %d differences" % (total_lines, total_tokens, total_bad))
    sys.exit(total_bad != 0)


if __name__ == "__main__":
    main()
