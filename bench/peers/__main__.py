"""Runs a sentence encoder in Quern and in other engines, side by side, and compares speed, accuracy, memory and size.

    python3 bench/peers --model HF_DIR --text FILE --out RESULT

writes RESULT.json and RESULT.md. Nothing is downloaded: models are folders, packages are those that are installed, and
what is missing becomes a row that says so. bench/README.md tells the rest.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
except ImportError:
    sys.exit("bench/peers needs numpy: pip install numpy")

import engine
import machine
import table

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CASES = "32x128,1x16,1x64,1x128,1x256,1x512"
REFERENCES = (("onnxruntime", "float"), ("openvino", "float"), ("quern", "float"))  # of accuracy: the first there is


class Child:
    """A worker process, asked and answering in lines of JSON. A worker that dies answers why it is unavailable."""

    def __init__(self, what, name, variant, task, log):
        self.log = log
        arguments = [sys.executable, os.path.join(HERE, "worker.py"), what, name, variant, json.dumps(vars(task))]
        with open(log, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                            text=True)

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        code = self.process.wait()
        with open(self.log, encoding="utf-8", errors="replace") as f:
            said = [s.strip() for s in f if s.strip()]
        return {"unavailable": f"ended with code {code}: {said[-1] if said else 'no message'}"}

    def ask(self, **command):
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self.answer()

    def close(self):
        self.process.communicate()


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- what is measured ----------------------------------------------------------------------------------------------


def check_pooling(directory):
    """The engines pool by the mean and normalize; a model that does otherwise would be compared with itself wrongly."""
    path = os.path.join(directory, "1_Pooling", "config.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            modes = [k for k, v in json.load(f).items() if k.startswith("pooling_mode_") and v]
        if modes != ["pooling_mode_mean_tokens"]:
            raise SystemExit(f"{path}: the comparison knows mean pooling only, not {', '.join(modes)}")


def tokenizer(args):
    """From a text to its token ids, cut to --max-tokens: by the directory's tokenizer.json, else by Quern."""
    if args.model:
        tokenizers = engine.require("tokenizers")
        made = tokenizers.Tokenizer.from_file(os.path.join(args.model, "tokenizer.json"))
        made.no_padding()
        made.enable_truncation(args.max_tokens)
        return lambda text: made.encode(text).ids
    model = open_quern(args)

    def ids(text):
        found = model.tokenize(text)
        return found if len(found) <= args.max_tokens else np.append(found[:args.max_tokens - 1], found[-1])

    return ids


def open_quern(args):
    return engine.create("quern", None).runtime().Model(args.qrn, threads=1)


def write_ids(texts, encode, path):
    rows = [encode(t) for t in texts]
    ids = np.full((len(rows), max(map(len, rows))), -1, np.int64)
    for row, found in zip(ids, rows):
        row[:len(found)] = found
    np.save(path, ids)


def read_lines(path):
    with open(path, encoding="utf-8") as f:
        return [line for line in f.read().split("\n") if line]


def model_sizes(args):
    """Layers, width, feed-forward width, vocabulary."""
    if args.model:
        with open(os.path.join(args.model, "config.json"), encoding="utf-8") as f:
            c = json.load(f)
        keys = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
        if any(k not in c for k in keys):
            raise SystemExit(f"{args.model}/config.json: the comparison needs {', '.join(keys)}")
        return {"layers": c[keys[0]], "width": c[keys[1]], "ffn_width": c[keys[2]], "vocab": c[keys[3]]}
    with open_quern(args) as model:
        return {k: model.info[k] for k in ("layers", "width", "ffn_width", "vocab")}


def ops_per_token(sizes, seq):
    """Multiplications and additions, as `quern bench` counts them: linear operators, and attention's two products."""
    d = sizes["width"]
    return sizes["layers"] * (2 * (4 * d * d + 2 * d * sizes["ffn_width"]) + 4 * seq * d)


def limits(quern, threads):
    """The machine's limits now: name to {"unit", "value"}; {} where the command cannot tell."""
    command = [quern, "bench", "--limits", "--json", "--threads", str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as e:
        say(f"no limits: {e}")
        return {}
    keep = ("unit", "value", "operands")
    return {row["name"]: {k: row[k] for k in keep if k in row} for row in json.loads(done.stdout)["limits"]}


def best_of(a, b):
    return {name: max(a.get(name, row), row, key=lambda r: r["value"]) for name, row in b.items()} or a


def peak(found, is_float):
    """Of the loops of floats or of 8-bit integers; those of 4-bit weights are faster than any engine here may be."""
    kind = "float" if is_float else "int8"
    return max((row["value"] for row in found.values() if row.get("operands") == kind), default=None)


# ---- running -------------------------------------------------------------------------------------------------------


def start(name, variant, args, task, logs):
    """A row of the result, and the child that serves it or None. Loads --loads times; the best times count."""
    row = {"engine": name, "variant": variant, "settings": engine.create(name, task).variants[variant],
           "is_float": variant in engine.FULL, "cases": []}
    say(f"{name} {variant}: preparing")
    log = os.path.join(logs, f"{name}-{variant}.log")
    maker = Child("prepare", name, variant, task, log)
    answer = maker.answer()
    maker.close()
    child = None
    for _ in range(args.loads if "unavailable" not in answer else 0):
        if child:
            child.close()
        child = Child("serve", name, variant, task, log)
        answer = child.answer()
        if "unavailable" in answer:
            break
        for key in ("import_ms", "load_ms", "first_ms"):
            answer[key] = min(answer[key], row.get(key, answer[key]))
        row.update(answer)
    if "unavailable" in answer:
        say(f"{name} {variant}: {answer['unavailable']}")
        row["unavailable"] = answer["unavailable"]
        if child:
            child.close()
        child = None
    return row, child


def time_rounds(serving, args, task, found):
    """Every case in every engine, in turns, --rounds times, with the machine's limits between; the limits' best."""
    for done in range(args.rounds):
        found = best_of(found, limits(args.quern, task.threads))
        for batch, seq in args.cases:
            say(f"round {done + 1} of {args.rounds}: {batch} x {seq}")
            for row, child in serving:
                if "unavailable" in row:
                    continue
                answer = child.ask(do="time", batch=batch, seq=seq, seconds=args.seconds, least=args.least)
                time.sleep(args.pause)
                if "unavailable" in answer:
                    row["unavailable"] = answer["unavailable"]
                    continue
                case = next((c for c in row["cases"] if (c["batch"], c["seq"]) == (batch, seq)), None)
                if case is None:
                    case = {"batch": batch, "seq": seq, "ms": []}
                    row["cases"].append(case)
                case["ms"] += answer["ms"]
                row["peak_rss_bytes"] = answer["peak_rss_bytes"]
    return found


def finish_cases(row, sizes, found):
    most = peak(found, row["is_float"])
    for case in row["cases"]:
        ms = case.pop("ms")
        case.update(runs=len(ms), best_ms=min(ms), median_ms=float(np.median(ms)))
        case["tokens_per_second"] = case["batch"] * case["seq"] / case["best_ms"] * 1e3
        case["gops"] = case["tokens_per_second"] * ops_per_token(sizes, case["seq"]) * 1e-9
        case["fraction_of_peak"] = case["gops"] / most if most else None


def compare_texts(serving, ids, folder):
    """Adds each row's cosines to the reference's embeddings; which row that is, or None."""
    vectors = {}
    for row, child in serving:
        if "unavailable" in row:
            continue
        name = row["engine"], row["variant"]
        out = os.path.join(folder, "-".join(name) + ".npy")
        answer = child.ask(do="embed", ids=ids, out=out)
        if "unavailable" in answer:
            row["unavailable"] = answer["unavailable"]
        else:
            vectors[name] = np.load(out).astype(np.float64)
    reference = next((r for r in REFERENCES if r in vectors), None)
    for row, _ in serving:
        own = vectors.get((row["engine"], row["variant"]))
        if reference and own is not None:
            exact = vectors[reference]
            cosine = (own * exact).sum(1) / (np.linalg.norm(own, axis=1) * np.linalg.norm(exact, axis=1))
            row["cosine"] = {"mean": cosine.mean(), "p1": float(np.percentile(cosine, 1)), "min": cosine.min()}
    return " ".join(reference) if reference else None


def compare(args, cpus):
    sizes = model_sizes(args)
    result = {"format": "quern peers 1", "machine": machine.describe(cpus), "threads": args.threads,
              "model": os.path.basename(os.path.normpath(args.model or args.qrn)), "sizes": sizes,
              "rounds": args.rounds, "seconds": args.seconds}
    work = os.path.join(os.path.abspath(args.work), result["model"])
    os.makedirs(work, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="quern-peers-") as folder:
        encode, files = tokenizer(args), {}
        for what, path in (("calibration", args.calibrate), ("texts", args.text)):
            if path:
                files[what] = os.path.join(folder, what + ".npy")
                write_ids(read_lines(path), encode, files[what])
        absolute = lambda path: os.path.abspath(path) if path else None
        task = engine.Task(absolute(args.model), absolute(args.qrn), work, files["calibration"], args.threads,
                           sizes["vocab"], machine.cpu_info()[1])
        started = [start(name, variant, args, task, folder)
                   for name in args.engines for variant in engine.create(name, task).variants
                   if not args.variants or variant in args.variants]
        result["rows"] = [row for row, _ in started]
        serving = [(row, child) for row, child in started if child]
        found = time_rounds(serving, args, task, {})
        for row in result["rows"]:
            finish_cases(row, sizes, found)
        if args.text:
            result["texts"] = len(read_lines(args.text))
            result["reference"] = compare_texts(serving, files["texts"], folder)
        for _, child in serving:
            child.close()
    machine.add_load_after(result["machine"], args.threads)
    result["limits"] = [{"name": name, **row} for name, row in found.items()]
    return result


def parse():
    p = argparse.ArgumentParser(prog="bench/peers", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", metavar="DIR", help="Hugging Face directory of a BERT or MPNet sentence encoder")
    p.add_argument("--qrn", metavar="FILE",
                   help="Quern's int8 file, instead of quantizing DIR; without DIR only quern runs")
    p.add_argument("--text", metavar="FILE", help="one text a line, for accuracy")
    p.add_argument("--out", required=True, metavar="PREFIX", help="writes PREFIX.json and PREFIX.md")
    p.add_argument("--calibrate", metavar="FILE", default=os.path.join(ROOT, "examples", "passages.txt"),
                   help="one text a line, for engines that calibrate; default: examples/passages.txt")
    p.add_argument("--engines", metavar="NAMES", default=",".join(engine.NAMES), help="default: %(default)s")
    p.add_argument("--variants", metavar="NAMES", help="only these; default: all")
    p.add_argument("--threads", type=int, default=1, help="of every engine, pinned to as many CPUs; default: 1")
    p.add_argument("--cases", default=CASES, help="BATCHxTOKENS; default: %(default)s")
    p.add_argument("--rounds", type=int, default=5, help="turns of all engines; default: 5")
    p.add_argument("--seconds", type=float, default=0.5, help="of a case in a turn, at least; default: 0.5")
    p.add_argument("--least", type=int, default=2, help="runs of a case in a turn, at least; default: 2")
    p.add_argument("--loads", type=int, default=3, help="processes started to time loading; default: 3")
    p.add_argument("--pause", type=float, default=0.3, metavar="SECONDS",
                   help="between engines, until the last one's threads sleep; default: 0.3")
    p.add_argument("--max-tokens", type=int, default=512, help="where texts are cut; default: 512")
    p.add_argument("--quern", default=os.path.join(ROOT, "build", "quern"), metavar="FILE",
                   help="the command, with libquern.so beside it; default: build/quern")
    p.add_argument("--work", default=os.path.join(ROOT, "build", "peers"), metavar="DIR",
                   help="where converted models are kept for the next run; default: build/peers")
    args = p.parse_args()
    if not args.model and not args.qrn:
        p.error("give --model DIR, --qrn FILE, or both")
    for path in (args.model, args.qrn, args.text, args.calibrate):
        if path and not os.path.exists(path):
            p.error(f"{path} is not there")
    args.engines = args.engines.split(",")
    for name in args.engines:
        if name not in engine.NAMES:
            p.error(f"no engine {name}; there are {', '.join(engine.NAMES)}")
    args.variants = args.variants.split(",") if args.variants else None
    try:
        args.cases = [tuple(int(n) for n in case.split("x")) for case in args.cases.split(",")]
        if any(len(case) != 2 or min(case) < 1 for case in args.cases):
            raise ValueError
    except ValueError:
        p.error("--cases: BATCHxTOKENS, separated by commas")
    return args


def main():
    args = parse()
    if args.model:
        check_pooling(args.model)
    library = os.path.join(os.path.dirname(os.path.abspath(args.quern)), "libquern.so")
    if os.path.exists(library):  # the command's own: both are of one build
        os.environ["QUERN_LIBRARY"] = library
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    try:
        result = compare(args, machine.pin(args.threads))
    except engine.Unavailable as e:
        sys.exit(f"bench/peers: {e}")
    with open(args.out + ".json", "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    with open(args.out + ".md", "w", encoding="utf-8") as f:
        f.write(table.markdown(result))


if __name__ == "__main__":
    main()
