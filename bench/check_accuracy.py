#!/usr/bin/env python3
"""Compares embeddings of the quern command with a numpy forward pass in float32, and a quantized model with the float one.

    check_accuracy.py QUERN HF_DIR FLOAT.qrn OTHER.qrn TEXTS [--max-tokens 512]

Prints the largest cosine distance of FLOAT.qrn to numpy and the mean, 1st percentile and minimum cosine of OTHER.qrn to
FLOAT.qrn. HF_DIR: a sentence-transformers directory of a BERT or MPNet model
with mean pooling. Needs numpy, scipy, safetensors, tokenizers.
"""
import argparse
import json
import os
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file
from scipy.special import erf
from tokenizers import Tokenizer


class Bert:
    """The forward pass in float32, by the names of a Hugging Face export without a head."""

    query, key, value = "attention.self.query", "attention.self.key", "attention.self.value"
    attention_out, attention_norm = "attention.output.dense", "attention.output.LayerNorm"

    def __init__(self, directory):
        self.config = json.load(open(os.path.join(directory, "config.json")))
        self.weights = load_file(os.path.join(directory, "model.safetensors"))

    def norm(self, x, name):
        mean = x.mean(-1, keepdims=True)
        var = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) / np.sqrt(var + self.config["layer_norm_eps"]) * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def embed(self, ids):
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        return x + w["embeddings.token_type_embeddings.weight"][0]

    def score_bias(self, n):
        return 0

    def __call__(self, ids):
        heads, n = self.config["num_attention_heads"], len(ids)
        x = self.norm(self.embed(ids), "embeddings.LayerNorm")
        bias = self.score_bias(n)
        for layer in range(self.config["num_hidden_layers"]):
            p = f"encoder.layer.{layer}."
            q, k, v = (self.linear(x, p + m).reshape(n, heads, -1).transpose(1, 0, 2) for m in (self.query, self.key, self.value))
            s = q @ k.transpose(0, 2, 1) / np.sqrt(np.float32(q.shape[-1])) + bias
            e = np.exp(s - s.max(-1, keepdims=True))
            context = (e / e.sum(-1, keepdims=True)) @ v
            x = self.norm(x + self.linear(context.transpose(1, 0, 2).reshape(n, -1), p + self.attention_out), p + self.attention_norm)
            h = self.linear(x, p + "intermediate.dense")
            h = h * np.float32(0.5) * (1 + erf(h / np.sqrt(np.float32(2))))
            x = self.norm(x + self.linear(h, p + "output.dense"), p + "output.LayerNorm")
        y = x.mean(0)
        return y / np.linalg.norm(y)


class MPNet(Bert):
    """No token types, positions from row 2, a bias of scores by relative position."""

    query, key, value = "attention.attn.q", "attention.attn.k", "attention.attn.v"
    attention_out, attention_norm = "attention.attn.o", "attention.LayerNorm"

    def embed(self, ids):
        w = self.weights
        return w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][2 : 2 + len(ids)]

    def score_bias(self, n):
        distance = np.arange(n)[None, :] - np.arange(n)[:, None]
        size = np.abs(distance)
        far = 8 + np.floor(8 * np.log(np.maximum(size, 1) / 8) / np.log(16) + 1e-9).astype(int)
        bucket = np.where(size < 8, size, np.minimum(far, 15)) + 16 * (distance > 0)
        return self.weights["encoder.relative_attention_bias.weight"][bucket].transpose(2, 0, 1)


MODELS = {"bert": Bert, "mpnet": MPNet}


def embed(quern, model, texts, max_tokens):
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "v.npy")
        subprocess.run([quern, "embed", model, texts, "--format", "npy", "-o", out, "--max-tokens", str(max_tokens), "--quiet"], check=True)
        return np.load(out)


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("quern", "directory", "float_model", "other_model", "texts"):
        parser.add_argument(name)
    parser.add_argument("--max-tokens", type=int, default=512)
    args = parser.parse_args()
    texts = open(args.texts, encoding="utf-8").read().split("\n")[:-1]
    tokenizer = Tokenizer.from_file(os.path.join(args.directory, "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(args.max_tokens)
    model_type = json.load(open(os.path.join(args.directory, "config.json")))["model_type"]
    model = MODELS[model_type](args.directory)
    reference = np.stack([model(np.array(tokenizer.encode(t).ids)) for t in texts])
    exact = embed(args.quern, args.float_model, args.texts, args.max_tokens)
    other = embed(args.quern, args.other_model, args.texts, args.max_tokens)
    distance = 1 - cosines(exact, reference)
    c = cosines(other, exact)
    print(f"{len(texts)} texts")
    print(f"{args.float_model} to numpy: largest cosine distance {distance.max():.2e}")
    print(f"{args.other_model} to float: cosine mean {c.mean():.5f}, 1st percentile {np.percentile(c, 1):.5f}, minimum {c.min():.5f}")


if __name__ == "__main__":
    main()
