"""engine_ctranslate2.py - CTranslate2's encoder, converted from the safetensors by its own specification classes,
without transformers. It has no relative position bias, so BERT only. Pooling and normalization in numpy, as for Quern.
"""
import os

import numpy as np

import engine
import export_onnx


class Engine(engine.EngineBase):
    module = "ctranslate2"
    packages = ["ctranslate2"]
    variants = {"float": "float32", "int8": "int8: weights per channel, activations dynamic per token"}

    def prepare(self, variant, folder):
        self.runtime()
        config = self.task.config()
        if config["model_type"] != "bert":
            raise engine.Unavailable(f"CTranslate2 has no {config['model_type']} encoder of this kind")
        spec = bert_spec(export_onnx.read_weights(self.task.directory), config)
        with open(os.path.join(self.task.directory, "vocab.txt"), encoding="utf-8") as f:
            spec.register_vocabulary(f.read().splitlines())
        spec.config.unk_token = "[UNK]"
        spec.config.layer_norm_epsilon = config["layer_norm_eps"]
        spec.validate()
        spec.optimize(quantization="int8" if variant == "int8" else None)
        spec.save(folder)

    def load(self, variant, folder):
        ct2 = self.runtime()
        kind = "int8" if variant == "int8" else "float32"
        encoder = ct2.Encoder(folder, device="cpu", compute_type=kind, intra_threads=self.task.threads, inter_threads=1)

        def embed(ids):
            tokens = ct2.StorageView.from_array(np.ascontiguousarray(ids, np.int32))
            lengths = ct2.StorageView.from_array(np.full(len(ids), ids.shape[1], np.int32))
            pooled = np.array(encoder.forward_batch(tokens, lengths).last_hidden_state).mean(1)
            return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

        return embed


def bert_spec(weights, config):
    from ctranslate2.converters import utils
    from ctranslate2.specs import common_spec, transformer_spec

    encoder = transformer_spec.TransformerEncoderSpec(
        config["num_hidden_layers"], config["num_attention_heads"], pre_norm=False,
        activation=common_spec.Activation.GELU, layernorm_embedding=True, num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD)
    encoder.scale_embeddings = False

    def linear(spec, name):
        spec.weight, spec.bias = weights[name + ".weight"], weights[name + ".bias"]

    def norm(spec, name):
        spec.gamma, spec.beta = weights[name + ".weight"], weights[name + ".bias"]

    encoder.embeddings[0].weight = weights["embeddings.word_embeddings.weight"]
    encoder.embeddings[1].weight = weights["embeddings.token_type_embeddings.weight"]
    encoder.position_encodings.encodings = weights["embeddings.position_embeddings.weight"]
    norm(encoder.layernorm_embedding, "embeddings.LayerNorm")
    for i, layer in enumerate(encoder.layer):
        p = f"encoder.layer.{i}."
        qkv = [common_spec.LinearSpec() for _ in range(3)]
        for spec, name in zip(qkv, ("query", "key", "value")):
            linear(spec, p + "attention.self." + name)
        utils.fuse_linear(layer.self_attention.linear[0], qkv)
        linear(layer.self_attention.linear[1], p + "attention.output.dense")
        norm(layer.self_attention.layer_norm, p + "attention.output.LayerNorm")
        linear(layer.ffn.linear_0, p + "intermediate.dense")
        linear(layer.ffn.linear_1, p + "output.dense")
        norm(layer.ffn.layer_norm, p + "output.LayerNorm")
    return transformer_spec.TransformerEncoderModelSpec(encoder, pooling_layer=False)
