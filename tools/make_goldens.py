#!/usr/bin/env python3
"""Makes tests/goldens/*.json: what transformers computes for small models of each family that Quern knows.

    make_goldens.py tests/goldens [NAME...]

A file has config.json as a string, names and shapes of the tensors, token ids, hidden states after each layer for some of
the tokens, and the logits of a classifier; FAMILY_span.json instead the start and end logits of every token. The weights are not in it: element i of a tensor is a function of its name and i, the one of
tests/tiny_model.h (seed 1), with outliers of eight times the usual size. Needs torch and transformers (made with 1.13 and
4.40, the span heads with 2.15 and 5.24); tests/test_goldens.c reads the files and needs neither.
"""
import copy
import json
import os
import sys

import numpy as np
import torch
import transformers

WIDTH, LAYERS, HEADS, FFN, VOCAB, TOKENS, LABELS = 24, 2, 3, 40, 50, 110, 3
ROWS = [0, 1, 8, 31, 47, 64, 90, 109]
USUAL = dict(hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS, intermediate_size=FFN, vocab_size=VOCAB,
             max_position_embeddings=TOKENS + 2, num_labels=LABELS)
MODELS = {
    "bert": (transformers.BertForSequenceClassification, transformers.BertConfig(**USUAL)),
    "mpnet": (transformers.MPNetForSequenceClassification, transformers.MPNetConfig(**USUAL, layer_norm_eps=1e-5)),
    "distilbert": (transformers.DistilBertForSequenceClassification,
                   transformers.DistilBertConfig(dim=WIDTH, n_layers=LAYERS, n_heads=HEADS, hidden_dim=FFN, vocab_size=VOCAB,
                                                 max_position_embeddings=TOKENS, num_labels=LABELS)),
    "electra": (transformers.ElectraForSequenceClassification, transformers.ElectraConfig(**USUAL, embedding_size=14)),
}
SPANS = {name + "_span": (getattr(transformers, family.__name__.replace("SequenceClassification", "QuestionAnswering")), config)
         for name, (family, config) in MODELS.items()}


def splitmix(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def weight(name, shape):
    """tiny_weight of tests/tiny_model.h, seed 1."""
    h = np.array([1], np.uint64)
    for byte in name.encode():
        h = splitmix(h ^ np.uint64(byte))
    h = splitmix(h ^ splitmix(np.arange(int(np.prod(shape)), dtype=np.uint64)))
    x = ((h & np.uint64(255)).astype(np.float32) - 128) / 512
    x = np.where((h >> np.uint64(16)) & np.uint64(127) == 0, x * 8, x)
    if "LayerNorm.weight" in name or "layer_norm.weight" in name:
        x = 1 + x / 2
    return torch.from_numpy(x.astype(np.float32).reshape(shape))


def make(name):
    family, config = (MODELS | SPANS)[name]
    config = copy.deepcopy(config)
    span = name in SPANS
    if span:
        config.num_labels = 2
    config.architectures = [family.__name__]
    model = family(config).eval()
    tensors = {k: tuple(v.shape) for k, v in model.state_dict().items() if v.is_floating_point()}
    model.load_state_dict({k: weight(k, s) for k, s in tensors.items()}, strict=False)
    ids = [2 + (i * i * 7 + i * 3) % (VOCAB - 2) for i in range(TOKENS)]
    types = [int(i >= 60) for i in range(TOKENS)]
    given = {"token_type_ids": torch.tensor([types])} if config.model_type in ("bert", "electra") else {}
    with torch.no_grad():
        out = model(torch.tensor([ids]), attention_mask=torch.ones(1, TOKENS), output_hidden_states=True, **given)
    hidden = [[float("%.8g" % v) for v in h[0, ROWS].flatten()] for h in out.hidden_states[1:]]
    made = {"config": config.to_json_string(), "tensors": [[k, *s] for k, s in tensors.items()], "ids": ids, "types": types}
    logits = torch.stack((out.start_logits, out.end_logits), -1).flatten() if span else out.logits[0]
    made |= {} if span else {"rows": ROWS, "hidden": hidden}
    return made | {"logits": [float("%.8g" % v) for v in logits]}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[2:] or [*MODELS, *SPANS]:
        with open(os.path.join(sys.argv[1], name + ".json"), "w", encoding="utf-8") as f:
            items = (json.dumps(k) + ": " + json.dumps(v) for k, v in make(name).items())
            f.write("{" + ",\n".join(items) + "}\n")


if __name__ == "__main__":
    main()
