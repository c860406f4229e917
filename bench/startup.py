#!/usr/bin/env python3
"""Times a process from its start, through opening the model, to one embedding: the figures of README.

    startup.py QUERN MODEL.qrn [--runs 20] [--threads N]

Prints the median time and the largest peak memory of the runs, after two that warm the cache. Needs nothing but Python.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

TEXT = b"Ice floats because water expands as it freezes, which makes the solid less dense than the liquid.\n"


def once(command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(TEXT)
    process.stdin.close()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status or not output.startswith(b"["):
        sys.exit(f"{command[0]} failed")
    return seconds * 1e3, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quern")
    parser.add_argument("model")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    command = [args.quern, "embed", args.model, "-"]
    if args.threads:
        command += ["--threads", str(args.threads)]
    runs = [once(command) for _ in range(args.runs + 2)][2:]
    times = [t for t, _ in runs]
    print(f"median {statistics.median(times):.2f} ms, best {min(times):.2f} ms, peak memory {max(m for _, m in runs):.1f} MiB")


main()
