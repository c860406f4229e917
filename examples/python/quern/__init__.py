"""Quern for Python, over ctypes and numpy: nothing to compile.

    import quern
    with quern.Model("models/all-MiniLM-L6-v2.int8.qrn") as model:
        vectors = model.embed(["a cat on a mat", "the stock market fell"])     # float32 [2, 384]
        hits = model.search("kitten", ["a cat on a mat", "the stock market fell"])

    with quern.Model("smollm2.qrn") as model, model.decoder() as decoder:
        for text in decoder.generate("Once upon a time", max_new=100):
            print(text, end="", flush=True)

Numbers stay in numpy's memory: results are written by the library straight into the array that is returned, or into
one of yours (`out=`); `embed_arrow` and `classify_arrow` take text in the Arrow layout (bytes and offsets) without
copying it. A Model may be shared by threads: its calls take turns; open one Model per thread to run side by side. So
may a Decoder, and several of one Model run side by side.
The library is looked for in QUERN_LIBRARY, beside these files (where a wheel puts it), in the build folder of the tree
that they lie in, then in the system.
"""
from ._decoder import Decoder, Generation, Sampling
from ._library import QuernError, isa_names, version
from ._model import Answer, Hit, Label, Model, quantize

__all__ = ["Model", "Decoder", "Generation", "Sampling", "QuernError", "Hit", "Label", "Answer", "quantize", "version",
           "isa_names"]
