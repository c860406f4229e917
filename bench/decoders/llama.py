"""llama.py - llama.cpp's decoders, built from source by the package llama-cpp-python, called by its C interface.

As a program it is the worker of bench/decoders: `llama.py FILE.gguf THREADS CONTEXT FLASH` reads commands, one a line, and answers
each with a number: `prefill N`, `decode DEPTH N` (tokens a second), `perplexity TEXT CONTEXT WINDOWS`; of encoders `encode SEQUENCES TOKENS`
(tokens a second); `opened` (ms that opening took), `memory` (bytes, the peak of the process). FLASH: 1 with flash attention, 0 without.
"""
import ctypes
import os
import sys
import time

import llama_cpp as lib
import numpy as np

FILE_TYPES = {"f32": 0, "q4_0": 2, "q8_0": 7}  # llama_ftype
MOST_SEQUENCES = 64  # of an encoder's batch
SHOWN = lib.llama_log_callback(lambda level, text, user: None)


def begin():
    lib.llama_log_set(SHOWN, None)
    lib.llama_backend_init()


def convert(source, target, kind, threads):
    """The same model in another of FILE_TYPES, as llama.cpp's own tool makes it."""
    options = lib.llama_model_quantize_default_params()
    options.nthread, options.ftype, options.allow_requantize = threads, FILE_TYPES[kind], True
    if lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(options)):
        raise SystemExit(f"llama.cpp cannot make {kind} of {source}")


class Model:
    def __init__(self, path, threads, context, flash):
        begin_at = time.perf_counter()
        self.model = lib.llama_model_load_from_file(os.fsencode(path), lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp does not load {path}")
        options = lib.llama_context_default_params()
        options.n_ctx = options.n_batch = context
        options.n_ubatch = context if self.is_encoder() else min(context, 512)
        options.embeddings = self.is_encoder()
        options.n_seq_max = MOST_SEQUENCES if self.is_encoder() else 1
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = flash
        self.context = lib.llama_init_from_model(self.model, options)
        self.open_ms = (time.perf_counter() - begin_at) * 1e3
        self.vocab = lib.llama_model_get_vocab(self.model)
        self.words = lib.llama_vocab_n_tokens(self.vocab)
        self.batch = lib.llama_batch_init(context, 0, 1)

    def is_encoder(self):
        return self.key("general.architecture").endswith("bert")

    def key(self, name):
        text = ctypes.create_string_buffer(64)
        lib.llama_model_meta_val_str(self.model, name.encode(), text, len(text))
        return text.value.decode()

    def opened(self):
        return self.open_ms

    def memory(self):
        with open("/proc/self/status", encoding="ascii") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))

    def clear(self):
        lib.llama_memory_clear(lib.llama_get_memory(self.context), True)

    def tokenize(self, text):
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 8))()
        return list(ids[:lib.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)])

    def feed(self, ids, position, every=False):
        batch = self.batch
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i] = token, position + i
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            batch.logits[i] = every or i == len(ids) - 1
        if lib.llama_decode(self.context, batch):
            raise SystemExit("llama_decode failed")
        lib.llama_synchronize(self.context)

    def logits(self, rows):
        return np.ctypeslib.as_array(lib.llama_get_logits(self.context), shape=(rows, self.words))

    def prefill(self, count):
        self.clear()
        ids = some_ids(count, self.words)
        begin_at = time.perf_counter()
        self.feed(ids, 0)
        return count / (time.perf_counter() - begin_at)

    def decode(self, depth, count):
        self.clear()
        if depth:
            self.feed(some_ids(depth, self.words), 0)
        ids = some_ids(count, self.words)
        self.feed(ids[:1], depth)
        begin_at = time.perf_counter()
        for i in range(1, count):
            self.feed(ids[i:i + 1], depth + i)
        return (count - 1) / (time.perf_counter() - begin_at)

    def encode(self, sequences, tokens):
        """All at once or one after another, as is faster: attention of a batch covers the tokens of all."""
        return max(self.encode_batches(sequences, tokens, at_once) for at_once in (1, sequences))

    def encode_batches(self, sequences, tokens, at_once):
        ids, batch = some_ids(at_once * tokens, self.words), self.batch
        batch.n_tokens = at_once * tokens
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i] = token, i % tokens
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, i // tokens, 1
        begin_at = time.perf_counter()
        for _ in range(sequences // at_once):
            if lib.llama_encode(self.context, batch):
                raise SystemExit("llama_encode failed")
            lib.llama_synchronize(self.context)
        return sequences * tokens / (time.perf_counter() - begin_at)

    def perplexity(self, path, context, windows):
        """As `quern eval --task ppl` counts: windows without overlap, all predictions but a window's first token."""
        with open(path, encoding="utf-8") as f:
            ids = self.tokenize(f.read())
        total = count = 0
        for start in range(0, min(len(ids) // context, windows or len(ids)) * context, context):
            window = ids[start:start + context]
            self.clear()
            self.feed(window, 0, every=True)
            x = self.logits(context)[:-1].astype(np.float64)
            x -= x.max(axis=1, keepdims=True)
            total += (np.log(np.exp(x).sum(axis=1)) - x[np.arange(context - 1), window[1:]]).sum()
            count += context - 1
        return float(np.exp(total / count))


def some_ids(count, words):
    """Token ids that are the same for every engine: speed does not depend on them."""
    return [(i * 7919 + 13) % min(words, 30000) for i in range(count)]


def main():
    begin()
    model = Model(sys.argv[1], *map(int, sys.argv[2:5]))
    print("ready", flush=True)
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "perplexity":
            print(model.perplexity(rest[0], int(rest[1]), int(rest[2])), flush=True)
        else:
            print(getattr(model, verb)(*map(int, rest)), flush=True)


if __name__ == "__main__":
    main()
