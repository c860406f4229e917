"""Quern's decoders beside llama.cpp's, made from the same GGUF file: prefill, decoding, perplexity, memory, size.

    python3 bench/decoders --source MODEL.gguf --out RESULT [--recipes int4,int8] [--peers q4_0,q8_0] [--threads 1,2]

Engines take turns: every engine a case, --repeat times, then the next case, with each number of threads, as often as --rounds says;
the best run counts. All are pinned to the same CPUs. Files are kept in build/decoders. A recipe is held against the peer at its place in --peers; a
.qrn file in the place of a recipe is taken as it is. Of encoders --encode 16x128 is the case. RESULT.json has every number, RESULT.md the
tables.
"""
import argparse
import json
import os
import sys

import engines
import tables

sys.path.append(os.path.join(engines.ROOT, "bench", "peers"))
import machine  # noqa: E402  (bench/peers/machine.py)


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def names(text):
    return [part for part in text.split(",") if part]


def shapes(text):
    return [("encode", *map(int, part.split("x"))) for part in names(text)]


def options():
    parser = argparse.ArgumentParser(prog="bench/decoders", description=__doc__.split("\n\n")[0])
    parser.add_argument("--source", help="a GGUF file of a decoder, with --encode of an encoder, for all that is no file yet")
    parser.add_argument("--out", required=True, help="RESULT.json and RESULT.md are written")
    parser.add_argument("--recipes", type=names, default="int4,int8", help="of Quern, or .qrn files; default: int4,int8")
    parser.add_argument("--peers", type=names, default="q4_0,q8_0",
                        help="llama.cpp's file types (f32 too), in the order of --recipes; default: q4_0,q8_0")
    parser.add_argument("--threads", type=numbers, default="1", help="one or more numbers; default: 1")
    parser.add_argument("--prompts", type=numbers, default="512,2048", help="tokens of a prompt; default: 512,2048")
    parser.add_argument("--depths", type=numbers, default="0,1024", help="tokens before those decoded; default: 0,1024")
    parser.add_argument("--decode", type=int, default=64, help="tokens to decode; default: 64")
    parser.add_argument("--encode", type=shapes, default="", help="SEQUENCESxTOKENS, of encoders, instead of prompts and depths")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="runs in a turn; default: 2")
    parser.add_argument("--text", help="for perplexity: a text file; without it none is measured")
    parser.add_argument("--context", type=int, default=512, help="tokens of a perplexity window; default: 512")
    parser.add_argument("--windows", type=int, default=0, help="windows at most; default: all of the text")
    return parser.parse_args()


def name_of(recipe):
    return os.path.basename(recipe).removesuffix(".qrn")


def made(o, name, make):
    """A converted file, kept until the source is newer."""
    if not o.source:
        sys.exit(f"bench/decoders: {name} is made of a --source, and none is given")
    folder = os.path.join(engines.ROOT, "build", "decoders", os.path.splitext(os.path.basename(o.source))[0])
    path = os.path.join(folder, name)
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(o.source):
        make(path + ".part")
        os.replace(path + ".part", path)
    return path


def begin(o, cpus, context):
    """The engines with so many threads as there are CPUs."""
    result = []
    for recipe in o.recipes:
        path = recipe if recipe.endswith(".qrn") else \
            made(o, f"{recipe}.qrn", lambda target, r=recipe: engines.quantize(o.source, target, r))
        result.append(engines.Quern(name_of(recipe), path, cpus, o.decode, o.repeat))
    for kind in dict.fromkeys(o.peers):
        path = made(o, f"{kind}.gguf", lambda target, k=kind: engines.convert(o.source, target, k))
        result.append(engines.Llama(kind, path, cpus, o.decode, o.repeat, context))
    return result


def measure(by_threads, cases, rounds):
    runs = [{"threads": threads, "engine": e.name, "case": case, "tokens_per_second": []}
            for case in cases for threads, group in by_threads.items() for e in group]
    for _ in range(rounds):
        for run in runs:
            engine = next(e for e in by_threads[run["threads"]] if e.name == run["engine"])
            run["tokens_per_second"].append(engine.measure(run["case"]))
    return runs


def limits(group):
    """The best that was found between the runs."""
    return {"peak": max((e.peak for e in group if hasattr(e, "peak")), default=0),
            "bandwidth": max((e.bandwidth for e in group if hasattr(e, "bandwidth")), default=0)}


def about(o, engine):
    return {"engine": engine.name, "bytes": os.path.getsize(engine.path), "memory": engine.memory,
            "open_ms": engine.open_ms,
            "perplexity": engine.perplexity(o.text, o.context, o.windows) if o.text else None}


def main():
    o = options()
    cpus = machine.pin(max(o.threads))
    described = machine.describe(cpus)
    cases = o.encode or [("prefill", n) for n in o.prompts] + [("decode", d) for d in o.depths]
    context = max([s[1] * s[2] for s in o.encode] or o.prompts + [d + o.decode for d in o.depths] + [o.context])
    by_threads = {n: begin(o, cpus[:n], context) for n in o.threads}
    runs = measure(by_threads, cases, o.rounds)
    first = by_threads[o.threads[0]]
    result = {"machine": described, "threads": o.threads, "source": os.path.basename(o.source or ""), "cases": cases,
              "pairs": [[f"Quern {name_of(r)}", f"llama.cpp {o.peers[i]}" if i < len(o.peers) else None]
                        for i, r in enumerate(o.recipes)],
              "limits": {str(n): limits(group) for n, group in by_threads.items()},
              "work": {e.name: {tables.name_of(case): work for case, work in e.work.items()}
                       for e in first if hasattr(e, "work")},
              "engines": [about(o, e) for e in first], "runs": runs}
    for group in by_threads.values():
        for engine in group:
            engine.close()
    machine.add_load_after(described, max(o.threads))
    with open(o.out + ".json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    with open(o.out + ".md", "w", encoding="utf-8") as f:
        f.write(tables.tables(result))
    print(tables.tables(result), end="")


if __name__ == "__main__":
    main()
