#!/usr/bin/env python3
"""Compares `quern tokenize` with the `tokenizers` package, token by token. Needs that package; not part of `make test`.

usage: compare_tokenizers.py [--ids] QUERN MODEL.qrn HF_DIR FILE|DIR...

Each line of a FILE is a text; of a DIR, all files below it. A file named *_hex.tsv holds a text's bytes in hexadecimal
in its first column, and may open with a line that starts with '#'. Malformed UTF-8 is compared with what Python's
decoder makes of it (errors='replace'). Texts are neither cut nor padded. Ids are compared, and the bytes of
the text that each token came from; with --ids the ids alone (of BPE the package tells places in whole characters).
tokenizer_model.py makes a model of any tokenizer. Ends with 0 when there is no difference.
"""
import codecs
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
    return [[tuple(int(x) for x in token.split(":")) for token in row.split()] for row in rows]


def decode(data):
    """The text, and for each of its characters, and its end, the byte of data where it begins."""
    malformed = {}  # position: bytes that became one U+FFFD

    def replace(error):
        malformed[error.start] = error.end - error.start
        return "\ufffd", error.end

    codecs.register_error("counted", replace)
    text = data.decode("utf-8", "counted")
    starts, at = [], 0
    for character in text:
        starts.append(at)
        at += malformed.get(at) or len(character.encode("utf-8"))
    assert at == len(data)
    return text, starts + [at]


def main():
    args = [a for a in sys.argv[1:] if a != "--ids"]
    if len(args) < 4:
        sys.exit(__doc__)
    command, model, directory = args[:3]
    ids_alone = len(args) < len(sys.argv) - 1
    reference = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    total_lines = total_tokens = total_bad = 0
    for path in collect(args[3:]):
        texts, as_hex = read_texts(path)
        decoded = [decode(t) for t in texts]
        bad = 0
        for special in (True, False):
            options = [] if special else ["--no-special"]
            plain = run_quern(command, model, texts, as_hex, options)
            got = run_quern(command, model, texts, as_hex, options + ["--spans"])
            if plain != [[token[:1] for token in row] for row in got]:
                sys.exit("compare_tokenizers.py: --spans changes the ids of " + path)
            encoded = reference.encode_batch([text for text, _ in decoded], add_special_tokens=special)
            want = [[(i, starts[a], starts[b]) for i, (a, b) in zip(e.ids, e.offsets)]
                    for e, (_, starts) in zip(encoded, decoded)]
            if ids_alone:
                got, want = plain, [[token[:1] for token in row] for row in want]
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
