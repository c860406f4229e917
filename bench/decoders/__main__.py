"""Quern's decoders beside llama.cpp's, made from the same GGUF file: prefill, decoding, perplexity, size.

    python3 bench/decoders --source MODEL.gguf --out RESULT [--recipes int4,int8] [--peers q4_0,q8_0] [--threads 1]

Engines take turns: every engine a case, then the next case, as often as --rounds says; the best run counts. All are pinned to the
same CPUs. Files are kept in build/decoders. RESULT.json has every number, RESULT.md the tables.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "bench", "peers"))
import machine  # noqa: E402  (bench/peers/machine.py)

QUERN = os.path.join(ROOT, "build", "quern")


def options():
    parser = argparse.ArgumentParser(prog="bench/decoders", description=__doc__.split("\n\n")[0])
    parser.add_argument("--source", required=True, help="a GGUF file of a decoder")
    parser.add_argument("--out", required=True, help="RESULT.json and RESULT.md are written")
    parser.add_argument("--recipes", default="int4,int8", help="of Quern; default: int4,int8")
    parser.add_argument("--peers", default="q4_0,q8_0", help="llama.cpp's file types (f32 too); default: q4_0,q8_0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", default="512,2048", help="tokens of a prompt; default: 512,2048")
    parser.add_argument("--depths", default="0,1024", help="tokens before those decoded; default: 0,1024")
    parser.add_argument("--decode", type=int, default=64, help="tokens to decode; default: 64")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--text", help="for perplexity: a text file; without it none is measured")
    parser.add_argument("--context", type=int, default=512, help="tokens of a perplexity window; default: 512")
    parser.add_argument("--windows", type=int, default=0, help="windows at most; default: all of the text")
    return parser.parse_args()


def numbers(text):
    return [int(part) for part in text.split(",") if part]


class Quern:
    def __init__(self, recipe, o):
        self.name, self.threads = f"Quern {recipe}", str(o.threads)
        self.path = made(o, f"{recipe}.qrn", lambda path: subprocess.run(
            [QUERN, "quantize", o.source, "-o", path, "--recipe", recipe, "--quiet"], check=True))

    def run(self, *arguments):
        command = [QUERN, *arguments, "--threads", self.threads, "--json", "--quiet"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    def bench(self, prompt, decode, depth):
        return self.run("bench", self.path, "--prompt", str(prompt), "--decode", str(decode), "--depth", str(depth),
                        "--repeat", "1")

    def prefill(self, count):
        return self.bench(count, 1, 0)["prefill_tokens_per_second"]

    def decode(self, depth, count):
        return self.bench(1, count, depth)["decode_tokens_per_second"]

    def perplexity(self, path, context, windows):
        limit = ["--limit", str(windows)] if windows else []
        return self.run("eval", self.path, "--task", "ppl", "--data", path, "--context", str(context),
                        *limit)["metrics"]["perplexity"]

    def close(self):
        pass


class Llama:
    def __init__(self, kind, o, context):
        import llama
        self.name = f"llama.cpp {kind}"
        llama.begin()
        self.path = made(o, f"{kind}.gguf", lambda path: llama.convert(o.source, path, kind, o.threads))
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "llama.py"), self.path, str(o.threads),
                                         str(context)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            sys.exit(f"{self.name}: the worker did not start")

    def ask(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.name}: the worker ended")
        return float(answer)

    def prefill(self, count):
        return self.ask("prefill", count)

    def decode(self, depth, count):
        return self.ask("decode", depth, count)

    def perplexity(self, path, context, windows):
        return self.ask("perplexity", os.path.abspath(path), context, windows)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def made(o, name, make):
    """A converted file, kept until the source is newer."""
    folder = os.path.join(ROOT, "build", "decoders", os.path.splitext(os.path.basename(o.source))[0])
    path = os.path.join(folder, name)
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(o.source):
        make(path + ".part")
        os.replace(path + ".part", path)
    return path


def limits(threads):
    """Peak of 8-bit products and bandwidth of memory, measured now."""
    out = subprocess.run([QUERN, "bench", "--limits", "--threads", str(threads), "--json", "--quiet"], check=True,
                         stdout=subprocess.PIPE).stdout
    return json.loads(out)


def measure(engines, o):
    cases = [("prefill", n) for n in numbers(o.prompts)] + [("decode", d) for d in numbers(o.depths)]
    runs = {(e.name, *case): [] for e in engines for case in cases}
    for _ in range(o.rounds):
        for what, number in cases:
            for engine in engines:
                speed = engine.prefill(number) if what == "prefill" else engine.decode(number, o.decode)
                runs[engine.name, what, number].append(speed)
    return cases, runs


def table(result):
    cases = result["cases"]
    lines = ["| engine | MB | " + " | ".join(f"{what} {number}" for what, number in cases) + " | perplexity |",
             "|---" * (len(cases) + 3) + "|"]
    for row in result["rows"]:
        speeds = " | ".join(f"{max(runs):,.1f}" for runs in row["tokens_per_second"])
        perplexity = "" if row["perplexity"] is None else f"{row['perplexity']:.3f}"
        lines.append(f"| {row['engine']} | {row['bytes'] / 1e6:.0f} | {speeds} | {perplexity} |")
    return "\n".join(lines) + "\n"


def main():
    o = options()
    cpus = machine.pin(o.threads)
    described = machine.describe(cpus)
    context = max(numbers(o.prompts) + [d + o.decode for d in numbers(o.depths)] + [o.context])
    engines = [Quern(r, o) for r in o.recipes.split(",") if r] + [Llama(p, o, context) for p in o.peers.split(",") if p]
    before = limits(o.threads)
    cases, runs = measure(engines, o)
    rows = [{"engine": e.name, "bytes": os.path.getsize(e.path),
             "tokens_per_second": [runs[(e.name, *case)] for case in cases],
             "perplexity": e.perplexity(o.text, o.context, o.windows) if o.text else None} for e in engines]
    for engine in engines:
        engine.close()
    machine.add_load_after(described, o.threads)
    result = {"machine": described, "threads": o.threads, "source": os.path.basename(o.source), "cases": cases,
              "limits": [before, limits(o.threads)], "rows": rows}
    with open(o.out + ".json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
    with open(o.out + ".md", "w", encoding="utf-8") as f:
        f.write(table(result))
    print(table(result), end="")


if __name__ == "__main__":
    main()
