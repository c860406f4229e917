"""engine.py - what the comparison asks of an engine, and what engines share.

An engine is one file, engine_NAME.py, with a class `Engine` of the interface below; the driver knows no more of it.
Its variants are the settings worth trying ("float", "int8", ...). Files that a variant needs are made once by
`prepare`, in a process of their own, so that neither their making nor the packages it takes count in what `load` is
measured by.
"""
import importlib
import importlib.metadata
import json
import os
import shutil
from dataclasses import dataclass
from typing import Callable, Dict, List, Optional

import numpy as np

NAMES = ("quern", "onnxruntime", "openvino", "ctranslate2", "llamacpp")
FULL = ("float", "bf16")  # variants whose products are of floats

# ids [batch, seq] int64, every sequence of full length -> normalized sentence embeddings [batch, width] float32
Embed = Callable[[np.ndarray], np.ndarray]


class Unavailable(Exception):
    """This engine or variant cannot run here, or cannot run this model; the text says why."""


@dataclass
class Task:
    """What one child process works on. Paths are absolute."""

    directory: Optional[str]  # of Hugging Face; None: only quern runs, on `qrn`
    qrn: Optional[str]  # a file to use instead of quantizing the directory
    work: str  # folder of prepared files, one subfolder for each variant
    calibration: Optional[str]  # .npy of token ids of one text a row, -1 after its end
    threads: int
    vocab: int
    flags: List[str]  # features of this CPU, as /proc/cpuinfo names them

    def config(self) -> dict:
        if not self.directory:
            raise Unavailable("needs the Hugging Face directory: give --model")
        with open(os.path.join(self.directory, "config.json"), encoding="utf-8") as f:
            return json.load(f)

    def calibration_ids(self) -> List[np.ndarray]:
        """One array [1, tokens] of each calibration text."""
        return [row[row >= 0][None] for row in np.load(self.calibration)]

    def has_vnni(self) -> bool:
        return "avx512_vnni" in self.flags or "avx_vnni" in self.flags

    def has_bf16(self) -> bool:
        return "avx512_bf16" in self.flags or "amx_bf16" in self.flags


class EngineBase:
    """One engine with the task's threads."""

    module = ""  # what `load` needs
    remedy = "pip install -r bench/peers/requirements.txt"  # where it is missing
    packages: List[str] = []  # whose versions the result states
    variants: Dict[str, str] = {}  # name: the settings in words

    def __init__(self, task: Task):
        self.task = task

    def runtime(self):
        return require(self.module, self.remedy)

    def versions(self) -> Dict[str, str]:
        found = {}
        for package in self.packages:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                pass
        return found

    def stamp(self, variant: str) -> list:
        """What the variant's files depend on, in JSON's types."""
        weights = os.path.join(self.task.directory or "", "model.safetensors")
        calibration = file_stamp(self.task.calibration)[0] if self.task.calibration else 0
        return [self.variants[variant], self.versions(), file_stamp(weights) if self.task.directory else 0, calibration]

    def prepare(self, variant: str, folder: str) -> None:
        """Writes into `folder`, which is empty and new, what `load` opens."""

    def load(self, variant: str, folder: str) -> Embed:
        """Opens it; the module is imported already."""
        raise NotImplementedError


def create(name: str, task: Task) -> EngineBase:
    return importlib.import_module(f"engine_{name}").Engine(task)


def require(module: str, remedy: str = EngineBase.remedy):
    """The module, or Unavailable with the way to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise Unavailable(f"cannot import {module}: {e} ({remedy})") from None


def file_stamp(path: str) -> List[int]:
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns]


def prepared(engine: EngineBase, name: str, variant: str) -> str:
    """Folder of the variant's files. They are made now unless they are there, of the same source by the same versions
    with the same settings; a making that fails leaves none."""
    folder, stamp = os.path.join(engine.task.work, f"{name}-{variant}"), json.dumps(engine.stamp(variant))
    if not os.path.isdir(folder) or read_text(folder + ".json") != stamp:
        part = f"{folder}.part{os.getpid()}"
        os.makedirs(part)
        try:
            engine.prepare(variant, part)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        with open(folder + ".json", "w", encoding="utf-8") as f:
            f.write(stamp)
    return folder


def read_text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except OSError:
        return None


def folder_bytes(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(root, f)) for root, _, files in os.walk(folder) for f in files)


def random_ids(batch: int, seq: int, vocab: int) -> np.ndarray:
    """The token ids that every engine is timed on: drawn by a fixed seed. Without the first thousand, which in BERT's
    vocabularies are special and unused tokens."""
    low = min(1000, vocab // 2)
    return np.random.default_rng(batch * 65536 + seq).integers(low, vocab, (batch, seq)).astype(np.int64)
