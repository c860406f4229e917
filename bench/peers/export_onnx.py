"""export_onnx.py - a BERT or MPNet sentence encoder as an ONNX graph, straight from its safetensors, without torch.

    python3 bench/peers/export_onnx.py HF_DIR OUT.onnx

The graph has the operators and the order of a Hugging Face export, which optimizers look for: token ids and mask in,
mean-pooled and normalized embeddings out, opset 17. What does not depend on the input is computed here: BERT's row of
token type 0 is added to the positions, MPNet's distances are put into buckets.
"""
import os
import sys

import numpy as np

import engine

RELATIVE_GATHER = "relative_attention_bias"  # the node that looks MPNet's bias up: small, and kept in float32

BERT = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
        "context": "attention.output.dense", "context_norm": "attention.output.LayerNorm"}
MPNET = {"query": "attention.attn.q", "key": "attention.attn.k", "value": "attention.attn.v",
         "context": "attention.attn.o", "context_norm": "attention.LayerNorm"}


def read_weights(directory):
    """Name to float32 array, without the prefix of the family."""
    safetensors = engine.require("safetensors.numpy")
    tensors = safetensors.load_file(os.path.join(directory, "model.safetensors"))
    strip = lambda name: name.split(".", 1)[1] if name.startswith(("bert.", "mpnet.")) else name
    return {strip(name): np.asarray(x, np.float32) for name, x in tensors.items() if x.dtype.kind == "f"}


def relative_buckets(positions):
    """[positions, positions] int64: MPNet's row of the bias table for each distance (query, key)."""
    distance = np.arange(positions)[None, :] - np.arange(positions)[:, None]
    size = np.abs(distance)
    far = 8 + np.floor(8 * np.log(np.maximum(size, 1) / 8) / np.log(16) + 1e-9).astype(np.int64)
    return np.where(size < 8, size, np.minimum(far, 15)) + 16 * (distance > 0)


class Graph:
    """Nodes and constants under construction; operations return the name of their result."""

    def __init__(self, onnx):
        self.onnx, self.nodes, self.constants = onnx, [], {}

    def constant(self, name, value):
        if name not in self.constants:
            self.constants[name] = self.onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def ints(self, *values):
        return self.constant("ints_" + "_".join(map(str, values)), np.array(values, np.int64))

    def float(self, value):
        return self.constant(f"float_{value}", np.array(value, np.float32))

    def op(self, kind, *inputs, name=None, **attributes):
        name = name or f"{kind}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


class Encoder:
    """Builds the graph of one model."""

    def __init__(self, graph, weights, config):
        self.g, self.w, self.c = graph, weights, config
        self.names = {"bert": BERT, "mpnet": MPNET}[config["model_type"]]

    def linear(self, x, name):
        turned = np.ascontiguousarray(self.w[name + ".weight"].T)
        y = self.g.op("MatMul", x, self.g.constant(name + ".weight.T", turned))
        return self.g.op("Add", self.g.constant(name + ".bias", self.w[name + ".bias"]), y)

    def norm(self, x, name):
        gain, bias = (self.g.constant(name + part, self.w[name + part]) for part in (".weight", ".bias"))
        return self.g.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=self.c["layer_norm_eps"])

    def gelu(self, x):
        g = self.g
        y = g.op("Add", g.op("Erf", g.op("Div", x, g.float(np.sqrt(2.0)))), g.float(1.0))
        return g.op("Mul", g.op("Mul", x, y), g.float(0.5))

    def embeddings(self, length):
        g, w = self.g, self.w
        positions = w["embeddings.position_embeddings.weight"]
        if self.c["model_type"] == "mpnet":
            positions = positions[self.c["pad_token_id"] + 1:]
        else:
            positions = positions + w["embeddings.token_type_embeddings.weight"][0]
        words = g.op("Gather", g.constant("word_embeddings", w["embeddings.word_embeddings.weight"]), "input_ids")
        rows = g.op("Slice", g.constant("position_embeddings", positions[None]), g.ints(0), length, g.ints(1))
        return self.norm(g.op("Add", words, rows), "embeddings.LayerNorm")

    def score_bias(self, length):
        """[1, heads, seq, seq] of MPNet, None of BERT."""
        if self.c["model_type"] != "mpnet":
            return None
        g = self.g
        positions = self.c["max_position_embeddings"] - self.c["pad_token_id"] - 1
        buckets = g.constant("buckets", relative_buckets(positions).astype(np.int32))
        ends = g.op("Concat", length, length, axis=0)
        buckets = g.op("Slice", buckets, g.ints(0, 0), ends, g.ints(0, 1))
        table = g.constant("relative_bias", self.w["encoder.relative_attention_bias.weight"])
        bias = g.op("Gather", table, buckets, name=RELATIVE_GATHER)
        return g.op("Unsqueeze", g.op("Transpose", bias, perm=[2, 0, 1]), g.ints(0))

    def attention(self, x, prefix, mask, bias):
        g, heads, width = self.g, self.c["num_attention_heads"], self.c["hidden_size"]
        split = g.ints(0, 0, heads, width // heads)
        part = lambda name, perm: g.op(
            "Transpose", g.op("Reshape", self.linear(x, prefix + self.names[name]), split), perm=perm)
        q, k, v = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
        scores = g.op("Div", g.op("MatMul", q, k), g.float(np.sqrt(width // heads)))
        if bias:
            scores = g.op("Add", scores, bias)
        weights = g.op("Softmax", g.op("Add", scores, mask), axis=-1)
        y = g.op("Transpose", g.op("MatMul", weights, v), perm=[0, 2, 1, 3])
        return self.linear(g.op("Reshape", y, g.ints(0, 0, width)), prefix + self.names["context"])

    def mask(self, to):
        """0 where a token is, -10000 where none is: [batch, 1, 1, seq]."""
        g = self.g
        m = g.op("Unsqueeze", g.op("Unsqueeze", "attention_mask", g.ints(1)), g.ints(2))
        return g.op("Mul", g.op("Sub", g.float(1.0), g.op("Cast", m, to=to)), g.float(-10000.0))

    def pooled(self, x, to):
        g = self.g
        m = g.op("Cast", g.op("Unsqueeze", "attention_mask", g.ints(2)), to=to)
        total = g.op("ReduceSum", g.op("Mul", x, m), g.ints(1), keepdims=0)
        mean = g.op("Div", total, g.op("ReduceSum", m, g.ints(1), keepdims=0))
        square = g.op("ReduceSum", g.op("Mul", mean, mean), g.ints(1), keepdims=1)
        return g.op("Div", mean, g.op("Sqrt", square), name="sentence_embedding")

    def build(self, to):
        g = self.g
        shape = g.op("Shape", "input_ids")
        length = g.op("Unsqueeze", g.op("Gather", shape, g.constant("one", np.array(1, np.int64))), g.ints(0))
        x, mask, bias = self.embeddings(length), self.mask(to), self.score_bias(length)
        for i in range(self.c["num_hidden_layers"]):
            p = f"encoder.layer.{i}."
            x = self.norm(g.op("Add", self.attention(x, p, mask, bias), x), p + self.names["context_norm"])
            y = self.linear(self.gelu(self.linear(x, p + "intermediate.dense")), p + "output.dense")
            x = self.norm(g.op("Add", y, x), p + "output.LayerNorm")
        return self.pooled(x, to)


def check_supported(config):
    if config["model_type"] not in ("bert", "mpnet"):
        raise engine.Unavailable(f"the ONNX export knows bert and mpnet, not {config['model_type']}")
    if config.get("hidden_act") != "gelu":
        raise engine.Unavailable(f"the ONNX export knows gelu, not {config.get('hidden_act')}")


def export(task, path):
    """Writes the task's model as `path`."""
    config = task.config()
    check_supported(config)
    onnx = engine.require("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = Graph(onnx)
    out = Encoder(graph, read_weights(task.directory), config).build(kinds.FLOAT)
    inputs = [helper.make_tensor_value_info(n, kinds.INT64, ["batch", "seq"]) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info(out, kinds.FLOAT, ["batch", config["hidden_size"]])]
    made = helper.make_graph(graph.nodes, config["model_type"], inputs, outputs, list(graph.constants.values()))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    export(engine.Task(sys.argv[1], None, "", None, 1, 0, []), sys.argv[2])
