#!/usr/bin/env python3
"""Checks that a chat model's answers stop where they should: by the token that ends them, and with none in the text.

    check_chat.py [--build build] [--recipe int8] [--tokens 200] MODEL.gguf|DIR|MODEL.qrn ...

Each source is quantized by the recipe, then asked some questions whose answers are short, always taking the likeliest token. An answer
that reaches --tokens, holds a marker of the form of conversations or is empty is reported; the exit status is then 1. Models that
are no chat models, whose form is "plain", are told so and left out.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

QUESTIONS = ["What is the capital of France?", "Say hello.", "What is 2 + 3? Answer with one number.",
             "Name one colour of the rainbow, in one word.", "Is water wet? Answer yes or no."]
MARKERS = ("<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|eot_id|>", "<|endoftext|>", "</s>", "[INST]", "[/INST]")


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit("check_chat.py: " + done.stderr.strip())
    return done.stdout


def check(quern, path, tokens):
    """Answers that do not stop as they should."""
    model = json.loads(run(quern, "inspect", path, "--json"))
    form = model["metadata"].get("chat.form")
    print("%s: form %s" % (os.path.basename(path), form))
    if form in (None, "plain"):
        print("  no chat model: left out")
        return 0
    lines = run(quern, "generate", path, "--chat", "--lines", "-", "-n", str(tokens), "--json", "--quiet",
                text="\n".join(QUESTIONS) + "\n").splitlines()
    bad = 0
    for question, line in zip(QUESTIONS, lines):
        answer = json.loads(line)
        ok = answer["reason"] == "end" and answer["text"].strip() and not any(m in answer["text"] for m in MARKERS)
        bad += not ok
        print("  %-4s %-45s %3d tokens, %s: %s" % ("ok" if ok else "BAD", question, answer["tokens"], answer["reason"],
                                                   json.dumps(answer["text"][:60])))
    return bad


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default="build", help="where quern is")
    p.add_argument("--recipe", default="int8")
    p.add_argument("--tokens", type=int, default=200, help="of an answer at most; default: 200")
    p.add_argument("models", nargs="+")
    a = p.parse_args()
    quern, bad = os.path.join(a.build, "quern"), 0
    with tempfile.TemporaryDirectory() as directory:
        for source in a.models:
            path = source
            if not source.endswith(".qrn"):
                path = os.path.join(directory, os.path.basename(os.path.normpath(source)) + ".qrn")
                run(quern, "quantize", source, "-o", path, "--recipe", a.recipe, "--quiet")
            bad += check(quern, path, a.tokens)
            if path != source:
                os.unlink(path)
    print("%d answers do not stop" % bad if bad else "all answers stop")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
