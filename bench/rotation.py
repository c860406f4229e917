#!/usr/bin/env python3
"""Forms of inputs in another basis (docs/ROTATION.md) on decoders: perplexity and multiple choice, a line of JSON for each result.

    rotation.py run build/quern OUT.jsonl --models NAME=SOURCE... --text FILE --valid FILE [--choice DIR] [--forms NAME...]
    rotation.py table OUT.jsonl

Quantizes each source in each form with the text's windows (--rows of 2,048 tokens), scores --windows windows of 2,048 tokens of --valid, and
with --choice the first --limit rows of each set there that is named in SETS, in the forms of --choice-forms. --slots threads work at once;
a form whose codes are rounded by calibration takes --threads of them, others one. Files are made in --work. Forms are ordered as in the
paper's ablation (2406.01721, table 5). Nothing is fetched. The standard library alone."""
import argparse
import json
import os
import subprocess
import threading
import time

SETS = {"WinoGrande": "WinoGrande_dev_a", "PIQA": "PIQA_valid_half_a", "HellaSwag": "HellaSwag_val_half_a", "BoolQ": "BoolQ_dev_half_a",
        "MMLU": "MMLU_val", "ARC-C": "ARC-C_validation", "ARC-E": "ARC-E_validation"}


def recipe(bits, clip, kept, **more):
    weights = {"bits": bits, "group": 0, "minimum": True, "clip": clip} if bits == 4 else {"bits": bits}
    activations = {"bits": bits, "clip": kept} if kept != 1 else {"bits": bits}
    return {"weights": weights, "activations": activations, "embeddings": {"bits": 8}, "head": {"bits": 8, "group": 64}, "split": 0,
            "smooth": True, **more}


DUQUANT = {"transform": "duquant"}
FORMS = {  # a preset's name where there is no recipe
    "float": None,
    "naive4": recipe(4, 1, 1, smooth=False, transform="none"),
    "smooth4": recipe(4, 1, 1, transform="none"),
    "hadamard4": recipe(4, 0.8, 0.9, transform="hadamard"),
    "first4": recipe(4, 0.8, 0.9, **DUQUANT, permute=False, rotate2=False),
    "ordered4": recipe(4, 0.8, 0.9, **DUQUANT, rotate2=False),
    "unordered4": recipe(4, 0.8, 0.9, **DUQUANT, permute=False),
    "dense4": recipe(4, 0.8, 0.9, **DUQUANT),
    "second-hadamard4": recipe(4, 0.8, 0.9, **DUQUANT, rotate2="hadamard"),
    "auto4": recipe(4, 0.8, 0.9, transform="auto", rotate2="hadamard", budget=4),
    "duquant4-lwc": None,
    "duquant4": None,
    "hadamard4-rounded": recipe(4, "searched", 0.9, transform="hadamard", rounding="calibrated"),
    "dense4-rounded": recipe(4, "searched", 0.9, **DUQUANT, rounding="calibrated"),
    "second-hadamard4-rounded": recipe(4, "searched", "searched", **DUQUANT, rotate2="hadamard", rounding="calibrated"),
    "naive6": recipe(6, 1, 1, smooth=False, transform="none"),
    "hadamard6": recipe(6, 1, 1, transform="hadamard"),
    "dense6": recipe(6, 1, 1, **DUQUANT),
    "duquant6": None,
}
ROUNDED = ("duquant4", "duquant6", "hadamard4-rounded", "dense4-rounded", "second-hadamard4-rounded")


class Slots:
    """Threads that may work at once; who asks first is served first."""

    def __init__(self, count):
        self.free, self.turn, self.next, self.changed = count, 0, 0, threading.Condition()

    def take(self, count):
        with self.changed:
            mine, self.next = self.next, self.next + 1
            self.changed.wait_for(lambda: self.turn == mine and self.free >= count)
            self.free, self.turn = self.free - count, self.turn + 1
            self.changed.notify_all()

    def give(self, count):
        with self.changed:
            self.free += count
            self.changed.notify_all()


class Bench:
    def __init__(self, args):
        args.threads = min(args.threads, args.slots)  # else one would wait for ever
        self.args, self.slots, self.lock = args, Slots(args.slots), threading.Lock()
        self.pieces = {name: list(self.cut(name)) for name in SETS} if args.choice else {}

    def put(self, **result):
        with self.lock, open(self.args.out, "a", encoding="utf-8") as f:
            f.write(json.dumps(result) + "\n")
            print(json.dumps(result), flush=True)

    def quern(self, *arguments):
        done = subprocess.run([self.args.quern, *arguments, "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
        return done.stdout

    def perplexity(self, model, form, file, threads):
        begin = time.time()
        answer = self.quern("eval", file, "--task", "ppl", "--data", self.args.valid, "--threads", str(threads), "--json",
                            "--context", "2048", "--limit", str(self.args.windows))
        self.put(model=model, form=form, task="ppl", seconds=round(time.time() - begin, 1), **json.loads(answer)["metrics"])

    def make(self, model, source, form, file, threads):
        more, path = [], os.path.join(self.args.work, form + ".json")
        if FORMS[form]:
            with open(path, "w", encoding="utf-8") as f:
                json.dump({"name": form, **FORMS[form]}, f)
        if form not in ("float", "naive4", "naive6"):
            more = ["--calibrate", self.args.text, "--rows", str(self.args.rows)]
        begin = time.time()
        self.quern("quantize", source, "-o", file, "--recipe", path if FORMS[form] else form, "--threads", str(threads), *more)
        self.put(model=model, form=form, task="quantize", seconds=round(time.time() - begin, 1), threads=threads, bytes=os.path.getsize(file))

    def form(self, model, source, form, threads):
        """Gives back the slots that it was started with."""
        file = os.path.join(self.args.work, f"{model}.{form}.qrn")
        try:
            self.make(model, source, form, file, threads)
            self.perplexity(model, form, file, threads)
        except RuntimeError as e:
            return self.put(model=model, form=form, error=str(e))
        finally:
            self.slots.give(threads)
        if self.args.choice and form in self.args.choice_forms:
            each = [threading.Thread(target=self.choice, args=(model, form, file, name)) for name in SETS]
            for t in each:
                t.start()
            for t in each:
                t.join()
        os.remove(file)

    def cut(self, name):
        """The rows of a set in files of --piece rows, so that threads share it."""
        with open(os.path.join(self.args.choice, SETS[name] + ".tsv"), encoding="utf-8", newline="\n") as f:
            head, *rows = f.read().rstrip("\n").split("\n")
        rows = rows[:self.args.limit or None]
        for i in range(0, len(rows), self.args.piece):
            path = os.path.join(self.args.work, f"{name}.{i}.tsv")
            with open(path, "w", encoding="utf-8", newline="\n") as f:
                f.write("\n".join([head, *rows[i:i + self.args.piece], ""]))
            yield path

    def choice(self, model, form, file, name):
        results, begin = [], time.time()

        def piece(path):
            try:
                results.append(json.loads(self.quern("eval", file, "--task", "choice", "--data", path, "--threads", "1", "--json")))
            except RuntimeError as e:
                self.put(model=model, form=form, error=str(e))
            finally:
                self.slots.give(1)

        each = []
        for path in self.pieces[name]:
            self.slots.take(1)
            each.append(threading.Thread(target=piece, args=(path,)))
            each[-1].start()
        for t in each:
            t.join()
        if len(results) == len(each):
            rows = sum(r["rows"] for r in results)
            mean = {m: sum(r["metrics"][m] * r["rows"] for r in results) / rows for m in results[0]["metrics"]}
            self.put(model=model, form=form, task="choice:" + name, rows=rows, seconds=round(time.time() - begin, 1), **mean)

    def run(self):
        started = []
        for form in self.args.forms:
            for model in self.args.models:
                threads = self.args.threads if form in ROUNDED else 1
                self.slots.take(threads)
                started.append(threading.Thread(target=self.form, args=(*model.split("=", 1), form, threads)))
                started[-1].start()
        for t in started:
            t.join()


def row(*cells):
    print("| " + " | ".join(cells) + " |")


def header(*cells):
    row("", *cells)
    row(*["---"] * (len(cells) + 1))


def table(path):
    with open(path, encoding="utf-8") as f:
        results = {(r["model"], r["form"], r.get("task")): r for r in map(json.loads, f)}
    models = list(dict.fromkeys(model for model, _, _ in results))
    header(*models)
    for form in FORMS:
        cells = [results.get((m, form, "ppl"), {}).get("perplexity") for m in models]
        if any(cells):
            row(form, *[f"{c:.3f}" if c else "" for c in cells])
    print()
    header(*SETS, "mean")
    for model in models:
        for form in FORMS:
            cells = [results.get((model, form, "choice:" + s), {}).get("accuracy_norm") for s in SETS]
            there = [c for c in cells if c is not None]
            if there:
                row(f"{model} {form}", *[f"{c * 100:.1f}" if c is not None else "" for c in cells], f"{sum(there) / len(there) * 100:.1f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = p.add_subparsers(dest="verb", required=True)
    show = verbs.add_parser("table", help="results as tables in Markdown")
    show.add_argument("out", metavar="OUT.jsonl")
    r = verbs.add_parser("run", help="quantize and score; results are added to the file", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    r.add_argument("quern", metavar="QUERN", help="the command")
    r.add_argument("out", metavar="OUT.jsonl", help="results are added to it")
    r.add_argument("--models", nargs="+", required=True, metavar="NAME=SOURCE", help="decoders as quern quantize takes them")
    r.add_argument("--text", required=True, help="what is calibrated on")
    r.add_argument("--valid", required=True, help="what perplexity is measured on")
    r.add_argument("--choice", metavar="DIR", help="a folder with " + ", ".join(f + ".tsv" for f in SETS.values()))
    r.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS), metavar="FORM", help="of " + ", ".join(FORMS))
    r.add_argument("--choice-forms", nargs="+", default=["float", "naive4", "duquant4"], choices=list(FORMS), metavar="FORM", help="that choose")
    r.add_argument("--rows", type=int, default=16, help="windows of 2,048 tokens that are calibrated on")
    r.add_argument("--windows", type=int, default=8, help="of 2,048 tokens that are scored")
    r.add_argument("--limit", type=int, default=0, help="rows of each set, 0: all")
    r.add_argument("--piece", type=int, default=150, help="rows of a set that a thread takes at once")
    r.add_argument("--slots", type=int, default=os.cpu_count(), help="threads at work")
    r.add_argument("--threads", type=int, default=4, help="of a form that is rounded by calibration")
    r.add_argument("--work", default=".", help="folder for files")
    args = p.parse_args()
    try:
        table(args.out) if args.verb == "table" else Bench(args).run()
    except OSError as e:
        raise SystemExit(f"rotation.py: {e}") from None


if __name__ == "__main__":
    main()
