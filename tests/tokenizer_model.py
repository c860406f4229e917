#!/usr/bin/env python3
"""Writes the smallest model around a tokenizer, so that `quern quantize` takes it and compare_tokenizers.py can compare.

Needs numpy; for a GGUF also the gguf and tokenizers packages: the tokenizer is then made from its vocabulary, merges or
scores, with the normalizer and pre-tokenizer that its kind has. Not part of `make test`.

usage: tokenizer_model.py TOKENIZER.json|MODEL.gguf DIR
"""
import json
import os
import shutil
import struct
import sys

import numpy

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
LINES = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WIDTH = 32


def merges_by_score(vocab, scores):
    """As transformers converts a SentencePiece model: every way to cut a token in two tokens, by the token's score."""
    merges = []
    for text, i in vocab.items():
        for k in range(1, len(text)):
            if text[:k] in vocab and text[k:] in vocab:
                merges.append((text[:k], text[k:], scores[i]))
    merges.sort(key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    return [m[:2] for m in merges]


def from_gguf(path):
    from gguf import GGUFReader
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    fields = {k[15:]: f.contents() for k, f in GGUFReader(path).fields.items() if k.startswith("tokenizer.ggml.")}
    tokens, types, pre = fields["tokens"], fields["token_type"], fields.get("pre", "default")
    vocab = {text: i for i, text in enumerate(tokens)}
    if fields["model"] == "gpt2":
        merges = [tuple(m.split(" ")) for m in fields["merges"]]
        t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre == "llama-bpe"))
        words = {"qwen2": CONTRACTIONS + r"\p{N}" + LINES, "llama-bpe": CONTRACTIONS + r"\p{N}{1,3}" + LINES}
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre not in words)
        if pre == "qwen2":
            t.normalizer = normalizers.NFC()
        if pre in words:
            level = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words[pre]), "isolated"), level])
        elif pre in ("smollm", "starcoder"):
            level = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
        t.pre_tokenizer = level
        t.decoder = decoders.ByteLevel()
    elif fields["model"] == "llama":
        t = Tokenizer(models.BPE(vocab=vocab, merges=merges_by_score(vocab, fields["scores"]), fuse_unk=True,
                                 unk_token=tokens[fields["unknown_token_id"]], byte_fallback=True))
        blank = fields.get("add_space_prefix", True)
        steps = [normalizers.Prepend("\u2581")] if blank else []
        t.normalizer = normalizers.Sequence(steps + [normalizers.Replace(" ", "\u2581")])
        steps = [decoders.Strip(" ", 1, 0)] if blank else []
        t.decoder = decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()] + steps)
    else:
        sys.exit("tokenizer_model.py: a tokenizer of kind %s" % fields["model"])
    for special, kinds in ((True, (2, 3)), (False, (4,))):
        added = [AddedToken(x, special=special, normalized=False) for x, k in zip(tokens, types) if k in kinds]
        (t.add_special_tokens if special else t.add_tokens)(added)
    return t.to_str()


def write_weights(path, rows):
    w = WIDTH
    shapes = {"embeddings.word_embeddings.weight": (rows, w), "embeddings.position_embeddings.weight": (64, w),
              "embeddings.token_type_embeddings.weight": (2, w), "embeddings.LayerNorm.weight": (w,),
              "embeddings.LayerNorm.bias": (w,)}
    layer = "encoder.layer.0."
    for name, shape in (("attention.self.query", (w, w)), ("attention.self.key", (w, w)), ("attention.self.value", (w, w)),
                        ("attention.output.dense", (w, w)), ("intermediate.dense", (w, w)), ("output.dense", (w, w)),
                        ("attention.output.LayerNorm", (w,)), ("output.LayerNorm", (w,))):
        shapes[layer + name + ".weight"], shapes[layer + name + ".bias"] = shape, (w,)
    at, header = 0, {}
    for name, shape in shapes.items():
        size = 4 * int(numpy.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode("ascii")
    text += b" " * (-len(text) % 8)
    draw = numpy.random.default_rng(1)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            f.write(draw.standard_normal(shape, dtype=numpy.float32).tobytes())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, "tokenizer.json")
    if source.endswith(".gguf"):
        with open(target, "w", encoding="utf-8") as f:
            f.write(from_gguf(source))
    else:
        shutil.copy(source, target)
    with open(target, encoding="utf-8") as f:
        description = json.load(f)
    vocab = description["model"]["vocab"]  # of Unigram a list
    ids = list(vocab.values() if isinstance(vocab, dict) else range(len(vocab)))
    ids += [a["id"] for a in description["added_tokens"]]
    config = {"model_type": "bert", "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 1,
              "intermediate_size": WIDTH, "vocab_size": max(ids) + 1, "max_position_embeddings": 64,
              "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}
    with open(os.path.join(folder, "config.json"), "w", encoding="ascii") as f:
        json.dump(config, f)
    write_weights(os.path.join(folder, "model.safetensors"), max(ids) + 1)


if __name__ == "__main__":
    main()
