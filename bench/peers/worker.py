"""worker.py - the child process of one variant of one engine; the driver starts it, people do not.

    worker.py prepare|serve ENGINE VARIANT TASK_JSON

`prepare` makes the variant's files and answers with their folder. `serve` loads them, answers with what that took, and
then obeys one JSON object a line on standard input: {"do": "time", "batch", "seq", "seconds", "least"},
{"do": "embed", "ids": FILE.npy, "out": FILE.npy}. Every answer is one line of JSON; {"unavailable": WHY} is one too.
What libraries print goes to standard error.
"""
import json
import os
import resource
import sys
import time

import numpy as np

import engine


def peak_rss_bytes():
    """Of this process alone: the counter of getrusage begins with the parent's memory."""
    try:
        with open("/proc/self/status", encoding="ascii") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def time_case(made, embed, batch, seq, seconds, least):
    """Milliseconds of each run: for so many seconds, at least so many runs."""
    ids = engine.random_ids(batch, seq, made.task.vocab)
    embed(ids)
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < least or time.perf_counter() < end:
        start = time.perf_counter()
        embed(ids)
        taken.append((time.perf_counter() - start) * 1e3)
    return {"ms": taken, "peak_rss_bytes": peak_rss_bytes()}


def embed_texts(_made, embed, ids, out):
    """Every text alone."""
    np.save(out, np.concatenate([embed(row[row >= 0][None]) for row in np.load(ids)]).astype(np.float32))
    return {"peak_rss_bytes": peak_rss_bytes()}


def load(made, variant, folder):
    """The variant's function, and what it took: to import its package, to open the model, to run one short sequence."""
    python_rss, clock = peak_rss_bytes(), [time.perf_counter()]
    made.runtime()
    clock.append(time.perf_counter())
    embed = made.load(variant, folder)
    clock.append(time.perf_counter())
    embed(engine.random_ids(1, 16, made.task.vocab))
    clock.append(time.perf_counter())
    import_ms, load_ms, first_ms = ((b - a) * 1e3 for a, b in zip(clock, clock[1:]))
    return embed, {"import_ms": import_ms, "load_ms": load_ms, "first_ms": first_ms, "python_rss_bytes": python_rss,
                   "first_rss_bytes": peak_rss_bytes(), "file_bytes": engine.folder_bytes(folder),
                   "versions": made.versions()}


def answer_line(stream, value):
    stream.write(json.dumps(value) + "\n")
    stream.flush()


def main():
    what, name, variant, text = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    made = engine.create(name, engine.Task(**json.loads(text)))
    try:
        folder = engine.prepared(made, name, variant)
        if what == "prepare":
            answer_line(answers, {"folder": folder})
            return
        embed, loaded = load(made, variant, folder)
    except engine.Unavailable as e:
        answer_line(answers, {"unavailable": str(e)})
        return
    answer_line(answers, loaded)
    for line in sys.stdin:
        command = json.loads(line)
        run = {"time": time_case, "embed": embed_texts}[command.pop("do")]
        answer_line(answers, run(made, embed, **command))


if __name__ == "__main__":
    main()
