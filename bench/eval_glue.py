#!/usr/bin/env python3
"""Recipes on GLUE classifiers: one table of recipes x models.

    eval_glue.py build/quern GLUE DIR... [--recipes float,int8,...] [--rows N] [--work DIR] [--json FILE]

DIR: Hugging Face directories whose names end in -cola, -mrpc, -stsb, -rte or -sst2; what comes before is the model's name.
GLUE: a folder of CoLA, MRPC, STS-B, RTE, SST-2, each with train.tsv (calibration: 256 rows, seed 0) and dev.tsv (scored, texts cut to
128 tokens). A recipe is a preset's name or a JSON file. Metrics x 100: Matthews, F1, mean of Pearson and Spearman,
accuracy, accuracy. drop: mean over a model's tasks against the float recipe; nmse: squared error of the logits over their variance.
Fetches nothing. The standard library alone."""
import argparse
import json
import os
import subprocess
import tempfile

TASKS = {
    "cola": ("CoLA", lambda m: m["matthews"]),
    "mrpc": ("MRPC", lambda m: m["f1"]),
    "stsb": ("STS-B", lambda m: (m["pearson"] + m["spearman"]) / 2),
    "rte": ("RTE", lambda m: m["accuracy"]),
    "sst2": ("SST-2", lambda m: m["accuracy"]),
}


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(" ".join(command) + "\n" + done.stderr)
    return done.stdout


def name_of(recipe):
    return os.path.basename(recipe).removesuffix(".json")


def evaluate(options, work, directory):
    """{recipe: (metric x 100, nmse, agreement)} of one directory."""
    task, metric = TASKS[directory.rsplit("-", 1)[1]]
    data = os.path.join(options.glue, task)
    rows, paths = {}, {}
    for recipe in options.recipes.split(","):
        path = os.path.join(work, f"{os.path.basename(directory)}.{name_of(recipe)}.qrn")
        run(options.quern, "quantize", directory, "-o", path, "--recipe", recipe, "--quiet",
            "--calibrate", os.path.join(data, "train.tsv"))
        command = [options.quern, "eval", path, "--task", "classify", "--data", os.path.join(data, "dev.tsv"),
                   "--max-tokens", "128", "--json", "--quiet"]
        if options.rows:
            command += ["--limit", str(options.rows)]
        if "float" in paths:
            command += ["--reference", paths["float"]]
        result = json.loads(run(*command))
        compared = result.get("reference", {})
        rows[name_of(recipe)] = (100 * metric(result["metrics"]), compared.get("nmse", 0.0), compared.get("agreement", 1.0))
        paths[name_of(recipe)] = path
        if name_of(recipe) != "float":
            os.remove(path)
    os.remove(paths["float"])
    return rows


def table(models):
    """models: {name: {task: rows}}."""
    for model, tasks in models.items():
        recipes = list(next(iter(tasks.values())))
        print(f"\n{model}\n")
        print("| recipe | " + " | ".join(TASKS[t][0] for t in tasks) + " | mean | drop | nmse | agreement |")
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
    parser.add_argument("--work", help="a folder for the models; default: a temporary one")
    parser.add_argument("--json", help="a file for the numbers")
    options = parser.parse_args()
    if options.recipes.split(",")[0] != "float":
        options.recipes = "float," + options.recipes
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
