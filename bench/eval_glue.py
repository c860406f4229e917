#!/usr/bin/env python3
"""Recipes on GLUE classifiers: one table of recipes x models.

    eval_glue.py build/quern GLUE DIR... [--recipes float,int8,...] [--rows N] [--work DIR] [--json FILE]

DIR: Hugging Face directories whose names end in -cola, -mrpc, -stsb, -rte or -sst2; what comes before is the model's name.
GLUE: a folder of CoLA, MRPC, STS-B, RTE, SST-2, each with train.tsv (calibration: 256 rows, seed 0) and dev.tsv (scored, texts cut to
128 tokens). A recipe is a preset's name or a JSON file. Metrics x 100: Matthews, F1, mean of Pearson and Spearman,
accuracy, accuracy. drop: mean over a model's tasks against the float recipe, which is run once a directory; nmse: squared error of the
logits over their variance.
Fetches nothing. The standard library alone."""
import argparse
import hashlib
import json
import os
import subprocess
import tempfile

TASKS = {"cola": "CoLA", "mrpc": "MRPC", "stsb": "STS-B", "rte": "RTE", "sst2": "SST-2"}
TEXTS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("sentence",))  # columns, by task
MAX_TOKENS = "128"


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(" ".join(command) + "\n" + done.stderr)
    return done.stdout


def name_of(recipe):
    return os.path.basename(recipe).removesuffix(".json")


def read(path, most):
    """Texts as `classify` takes them, and labels or scores, of the first `most` rows (0: all)."""
    with open(path, encoding="utf-8", newline="\n") as f:
        lines = [line.rstrip("\r\n").split("\t") for line in f if line.strip()]
    at = {name: i for i, name in enumerate(lines[0])}
    columns = next(c for c in TEXTS if c[0] in at)
    rows = lines[1:most + 1] if most else lines[1:]
    return ["\t".join(row[at[c]] for c in columns) for row in rows], \
        [row[at["score" if "score" in at else "label"]] for row in rows]


def pearson(x, y):
    mx, my = sum(x) / len(x), sum(y) / len(y)
    xy = sum((a - mx) * (b - my) for a, b in zip(x, y))
    return xy / (sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y)) ** 0.5


def ranks(x):
    """From 1; equal values share the mean of theirs."""
    order, result = sorted(range(len(x)), key=x.__getitem__), [0.0] * len(x)
    first = 0
    while first < len(x):
        end = first
        while end < len(x) and x[order[end]] == x[order[first]]:
            end += 1
        for i in order[first:end]:
            result[i] = (first + 1 + end) / 2
        first = end
    return result


def metric(task, outputs, gold):
    """x 100. outputs: a row of logits or a score for each text."""
    if task == "stsb":
        x, y = [o[0] for o in outputs], [float(g) for g in gold]
        return 50 * (pearson(x, y) + pearson(ranks(x), ranks(y)))
    names = {"entailment": 0, "not_entailment": 1}
    pairs = [(o.index(max(o)), names[g] if g in names else int(g)) for o, g in zip(outputs, gold)]
    tp, tn = pairs.count((1, 1)), pairs.count((0, 0))
    fp, fn = pairs.count((1, 0)), pairs.count((0, 1))
    if task == "mrpc":
        return 200 * tp / max(1, 2 * tp + fp + fn)
    if task == "cola":
        return 100 * (tp * tn - fp * fn) / max(1, (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
    return 100 * (tp + tn) / len(pairs)


def nmse(got, of):
    flat = [x for row in of for x in row]
    mean = sum(flat) / len(flat)
    error = sum((a - b) ** 2 for g, o in zip(got, of) for a, b in zip(g, o))
    return error / sum((x - mean) ** 2 for x in flat)


def outputs_of(options, model, texts, work):
    """Logits or scores of texts by a model file."""
    path = os.path.join(work, "texts.txt")
    with open(path, "w", encoding="utf-8", newline="\n") as f:
        f.write("".join(text + "\n" for text in texts))
    lines = run(options.quern, "classify", model, path, "--max-tokens", MAX_TOKENS, "--quiet").splitlines()
    return [row.get("logits") or [row["score"]] for row in map(json.loads, lines)]


def float_outputs(options, directory, texts, data, work):
    """Those of the float recipe, kept in the work folder under the bytes that they depend on."""
    key = hashlib.sha256(f"{options.rows} {MAX_TOKENS}".encode())
    for path in [os.path.join(directory, name) for name in sorted(os.listdir(directory))] + [data]:
        if os.path.isfile(path):
            with open(path, "rb") as f:
                key.update(hashlib.sha256(f.read()).digest())
    kept = os.path.join(options.work or work, f"{os.path.basename(directory)}.float.{key.hexdigest()[:16]}.json")
    if not os.path.exists(kept):
        model = os.path.join(work, "float.qrn")
        run(options.quern, "quantize", directory, "-o", model, "--recipe", "float", "--quiet")
        got = outputs_of(options, model, texts, work)
        os.remove(model)
        with open(kept + ".part", "w") as f:
            json.dump(got, f)
        os.replace(kept + ".part", kept)
    with open(kept) as f:
        return json.load(f)


def evaluate(options, work, directory):
    """{recipe: (metric x 100, nmse, agreement)} of one directory."""
    task = directory.rsplit("-", 1)[1]
    data = os.path.join(options.glue, TASKS[task])
    dev = os.path.join(data, "dev.tsv")
    texts, gold = read(dev, options.rows)
    base = float_outputs(options, directory, texts, dev, work)
    rows = {"float": (metric(task, base, gold), 0.0, 1.0)}
    for recipe in options.recipes.split(","):
        if recipe == "float":
            continue
        path = os.path.join(work, f"{os.path.basename(directory)}.{name_of(recipe)}.qrn")
        run(options.quern, "quantize", directory, "-o", path, "--recipe", recipe, "--quiet",
            "--calibrate", os.path.join(data, "train.tsv"))
        got = outputs_of(options, path, texts, work)
        os.remove(path)
        same = sum(g.index(max(g)) == b.index(max(b)) for g, b in zip(got, base)) / len(base)
        rows[name_of(recipe)] = (metric(task, got, gold), nmse(got, base), same)
    return rows


def table(models):
    """models: {name: {task: rows}}."""
    for model, tasks in models.items():
        recipes = list(next(iter(tasks.values())))
        print(f"\n{model}\n")
        print("| recipe | " + " | ".join(TASKS[t] for t in tasks) + " | mean | drop | nmse | agreement |")
        print("|---" * (len(tasks) + 5) + "|")
        base = sum(rows["float"][0] for rows in tasks.values()) / len(tasks)
        for recipe in recipes:
            got = [rows[recipe] for rows in tasks.values()]
            mean = sum(g[0] for g in got) / len(got)
            cells = [f"{g[0]:.2f}" for g in got] + [f"{mean:.2f}", f"{base - mean:.2f}"]
            cells += [f"{sum(g[1] for g in got) / len(got):.4f}", f"{sum(g[2] for g in got) / len(got):.3f}"]
            print(f"| `{recipe}` | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quern")
    parser.add_argument("glue")
    parser.add_argument("directories", nargs="+")
    parser.add_argument("--recipes", default="float,int8,w8a8-static,mixed,mixed-gelu")
    parser.add_argument("--rows", type=int, default=0, help="of each dev set; default: all")
    parser.add_argument("--work", help="a folder for models while they are used, and where what the float recipe gives is "
                        "kept for the next run; default: a temporary one")
    parser.add_argument("--json", help="a file for the numbers")
    options = parser.parse_args()
    models = {}
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        for directory in options.directories:
            base, _, task = os.path.basename(os.path.normpath(directory)).rpartition("-")
            if task not in TASKS:
                raise SystemExit(f"{directory}: its name must end in one of -" + ", -".join(TASKS))
            models.setdefault(base, {})[task] = evaluate(options, work, os.path.normpath(directory))
    table(models)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(models, f, indent=1)


if __name__ == "__main__":
    main()
