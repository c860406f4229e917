"""engine_llamacpp.py - llama.cpp's encoder, built from source by the package llama-cpp-python, called by its C interface.

The GGUF files are written here from the safetensors by the package gguf, as llama.cpp's own converter lays BERT out; it
knows no MPNet. It computes the mean itself; normalizing is in numpy, as for Quern. Its attention of a batch covers all
the batch's tokens and masks the other sequences, so sequences one after another are the faster way, and used.
"""
import ctypes
import os

import numpy as np

import engine
import export_onnx

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LAYER = {  # GGUF's names of a layer's operators; norms stay float
    "attn_q": "attention.self.query", "attn_k": "attention.self.key", "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense", "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense", "ffn_down": "output.dense", "layer_output_norm": "output.LayerNorm",
}


class Engine(engine.EngineBase):
    module = "llama_cpp"
    packages = ["llama-cpp-python", "gguf"]
    variants = {
        "float": "float32",
        "int8": "Q8_0: weights int8 in groups of 32, activations dynamic in groups of 32; sequences one by one",
    }

    def prepare(self, variant, folder):
        self.runtime()
        config = self.task.config()
        if config["model_type"] != "bert":
            raise engine.Unavailable(f"llama.cpp has no {config['model_type']} encoder")
        gguf = engine.require("gguf")
        kind = gguf.GGMLQuantizationType.Q8_0 if variant == "int8" else gguf.GGMLQuantizationType.F32
        writer = gguf.GGUFWriter(os.path.join(folder, "model.gguf"), "bert")
        write_header(gguf, writer, config, self.task.directory, variant)
        write_tensors(gguf, writer, export_onnx.read_weights(self.task.directory), config, kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def load(self, variant, folder):
        lib = self.runtime()
        quiet = lib.llama_log_callback(lambda level, text, user: None)
        lib.llama_log_set(quiet, None)
        lib.llama_backend_init()
        model = lib.llama_model_load_from_file(os.fsencode(os.path.join(folder, "model.gguf")),
                                               lib.llama_model_default_params())
        if not model:
            raise engine.Unavailable("llama.cpp does not load the file")
        longest, width = lib.llama_model_n_ctx_train(model), lib.llama_model_n_embd(model)
        options = lib.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = longest
        options.n_seq_max = 1
        options.n_threads = options.n_threads_batch = self.task.threads
        options.embeddings, options.pooling_type = True, lib.LLAMA_POOLING_TYPE_MEAN
        context = lib.llama_init_from_model(model, options)
        if not context:
            raise engine.Unavailable("llama.cpp makes no context")
        batch = lib.llama_batch_init(longest, 0, 1)
        for i in range(longest):
            batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = i, 1, 0, 1

        def pooled(ids, _alive=quiet):
            row = np.ascontiguousarray(ids, np.int32)
            ctypes.memmove(batch.token, row.ctypes.data, row.nbytes)
            batch.n_tokens = len(row)
            if lib.llama_encode(context, batch):
                raise RuntimeError("llama_encode failed")
            return np.ctypeslib.as_array(lib.llama_get_embeddings_seq(context, 0), (width,)).copy()

        def embed(ids):
            means = np.stack([pooled(row) for row in ids])
            return means / np.linalg.norm(means, axis=1, keepdims=True)

        return embed


def write_header(gguf, writer, config, directory, variant):
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if variant == "int8" else gguf.LlamaFileType.ALL_F32)
    with open(os.path.join(directory, "vocab.txt"), encoding="utf-8") as f:
        tokens = f.read().splitlines()
    is_control = [t in SPECIAL or t.startswith("[unused") for t in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([t if control else t[2:] if t.startswith("##") else "\u2581" + t
                           for t, control in zip(tokens, is_control)])
    writer.add_token_types([gguf.TokenType.CONTROL if control else gguf.TokenType.NORMAL for control in is_control])
    writer.add_token_type_count(config["type_vocab_size"])
    pad, unknown, first, separator, mask = (tokens.index(t) for t in SPECIAL)
    writer.add_pad_token_id(pad)
    writer.add_unk_token_id(unknown)
    writer.add_bos_token_id(first)
    writer.add_eos_token_id(separator)
    writer.add_sep_token_id(separator)
    writer.add_mask_token_id(mask)


def write_tensors(gguf, writer, weights, config, kind):
    def add(name, source, quantized):
        values = np.ascontiguousarray(weights[source], np.float32)
        to = kind if quantized else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(values, to), raw_dtype=to)

    add("token_embd.weight", "embeddings.word_embeddings.weight", True)
    add("position_embd.weight", "embeddings.position_embeddings.weight", False)
    add("token_types.weight", "embeddings.token_type_embeddings.weight", False)
    for part in ("weight", "bias"):
        add("token_embd_norm." + part, "embeddings.LayerNorm." + part, False)
        for i in range(config["num_hidden_layers"]):
            for name, source in LAYER.items():
                is_product = part == "weight" and not name.endswith("_norm")
                add(f"blk.{i}.{name}.{part}", f"encoder.layer.{i}.{source}.{part}", is_product)
