"""engine_quern.py - Quern through examples/python/quern: `encode`, then mean pooling and normalization in numpy.

`encode` copies the hidden states into numpy's memory; that copy counts in Quern's time.
"""
import os
import shutil
import sys

import numpy as np

import engine

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "python"))


class Engine(engine.EngineBase):
    module = "quern"
    remedy = "run make, or set QUERN_LIBRARY"
    variants = {"float": "recipe float", "int8": "recipe int8: weights per channel, activations dynamic per token"}
    passes = 4096  # tokens of one pass, for which a session holds memory: 32 texts of 128

    def versions(self):
        return {"quern": self.runtime().version()}

    def stamp(self, variant):
        library = os.environ.get("QUERN_LIBRARY", "")
        made_by = self.task.qrn or (library if os.path.exists(library) else __file__)
        return super().stamp(variant) + [engine.file_stamp(made_by)]

    def prepare(self, variant, folder):
        path = os.path.join(folder, "model.qrn")
        if self.task.qrn and variant == "int8":
            shutil.copyfile(self.task.qrn, path)
        elif self.task.directory:
            self.runtime().quantize(self.task.directory, path, variant, threads=self.task.threads)
        else:
            raise engine.Unavailable("needs the Hugging Face directory: give --model")

    def load(self, variant, folder):
        quern = self.runtime()
        model = quern.Model(os.path.join(folder, "model.qrn"), threads=self.task.threads, max_tokens=self.passes,
                            max_sequences=32)

        def embed(ids):
            pooled = np.stack([hidden.mean(0) for hidden in model.encode(ids)])
            return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

        return embed
