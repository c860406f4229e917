"""engines.py - the engines of bench/decoders. Each runs a case some times and gives the most tokens a second; a case is ("prefill", TOKENS), ("decode",
DEPTH) or, of encoders, ("encode", SEQUENCES, TOKENS).

Quern is a process for every case, llama.cpp two for all (llama.py), all of them on the CPUs that are theirs when they start.
"""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
QUERN = os.path.join(os.environ.get("BUILD", os.path.join(ROOT, "build")), "quern")


class Quern:
    def __init__(self, recipe, path, cpus, tokens, repeat):
        self.name, self.path, self.cpus, self.tokens, self.repeat = f"Quern {recipe}", path, cpus, tokens, repeat
        self.peak, self.bandwidth = 0.0, 0.0  # of this machine at the time, operations and bytes a second
        self.work = {}  # operations of a token, or bytes that it reads, by case
        self.memory, self.open_ms = 0, []

    def run(self, *arguments):
        os.sched_setaffinity(0, self.cpus)
        command = [QUERN, *arguments, "--threads", str(len(self.cpus)), "--json", "--quiet"]
        done = subprocess.run(command, stdout=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"{self.name}: it ended with {done.returncode}")
        return json.loads(done.stdout)

    def measure(self, case):
        what, number = case[:2]
        if what == "encode":
            shape = ["--batch", str(number), "--seq", str(case[2])]
        elif what == "prefill":
            shape = ["--prompt", str(number)]
        else:
            shape = ["--decode", str(self.tokens), "--depth", str(number)]
        got = self.run("bench", self.path, *shape, "--repeat", str(self.repeat))
        self.memory, self.open_ms = max(self.memory, got["peak_rss_bytes"]), self.open_ms + [got["load_ms"]]
        if what == "decode":
            self.bandwidth = max(self.bandwidth, got["bandwidth_bytes_per_second"])
            self.work[case] = got["bytes_per_token"]
            return got["best_decode_tokens_per_second"]
        speed = "tokens_per_second" if what == "encode" else "prefill_tokens_per_second"
        self.peak = max(self.peak, got["peak_gops"] * 1e9)
        self.work[case] = got["gops"] * 1e9 / got[speed]
        return got["best_" + speed]

    def perplexity(self, path, context, windows):
        limit = ["--limit", str(windows)] if windows else []
        return self.run("eval", self.path, "--task", "ppl", "--data", path, "--context", str(context),
                        *limit)["metrics"]["perplexity"]

    def close(self):
        pass


class Llama:
    """With flash attention and without it, each a process; the faster counts, case by case."""

    def __init__(self, kind, path, cpus, tokens, repeat, context):
        self.name, self.path, self.cpus, self.tokens, self.repeat = f"llama.cpp {kind}", path, cpus, tokens, repeat
        self.memory, self.open_ms = 0, []
        os.sched_setaffinity(0, cpus)
        command = [sys.executable, os.path.join(HERE, "llama.py"), path, str(len(cpus)), str(context)]
        alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy's threads would wait beside
        self.workers = [subprocess.Popen(command + [flash], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=alone)
                        for flash in ("1", "0")]
        for worker in self.workers:
            if worker.stdout.readline() != "ready\n":
                sys.exit(f"{self.name}: the worker did not start")
            self.open_ms.append(self.ask(worker, "opened"))

    def ask(self, worker, *words):
        print(*words, file=worker.stdin, flush=True)
        answer = worker.stdout.readline()
        if not answer:
            sys.exit(f"{self.name}: the worker ended")
        return float(answer)

    def measure(self, case):
        words = [*case, *([self.tokens] if case[0] == "decode" else [])]
        speed = max(self.ask(worker, *words) for _ in range(self.repeat) for worker in self.workers)
        self.memory = min(self.ask(worker, "memory") for worker in self.workers)
        return speed

    def perplexity(self, path, context, windows):
        return self.ask(self.workers[-1], "perplexity", os.path.abspath(path), context, windows)

    def close(self):
        for worker in self.workers:
            worker.stdin.close()
            worker.wait()


def quantize(source, path, recipe):
    if subprocess.run([QUERN, "quantize", source, "-o", path, "--recipe", recipe, "--quiet"]).returncode:
        sys.exit(f"Quern {recipe}: no file was made of {source}")


def convert(source, path, kind):
    import llama
    llama.begin()
    llama.convert(source, path, kind, len(os.sched_getaffinity(0)))
