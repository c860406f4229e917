#!/usr/bin/env python3
"""Compares decoders of every family with transformers, layer by layer, on small random models with outliers.

    check_families.py [--build build] [--only TEXT] [--tokens 150] [--gguf]

Each case is a directory as transformers' save_pretrained writes it, quantized with the recipe float by the quern command. The
first 1, 2, ... all of its layers are models of their own, so that a difference shows at the layer that brings it in: logits of
all tokens of decoders, hidden states of encoders, by the norm of the difference over the norm. Cases with `old`
have config.json as transformers 4 wrote it. With --gguf each model is written as a GGUF file in F32 too, as llama.cpp's
converter does (families_gguf.py), and the same outputs of both sources are compared. Exit status 1 if one is above 1e-4.
Needs numpy, torch and transformers, and with --gguf gguf.
"""
import argparse
import copy
import ctypes as ct
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
import transformers as tf
from transformers.models.gemma3 import modeling_gemma3 as gemma3

LIMIT, VOCAB = 1e-4, 211
USUAL = dict(vocab_size=VOCAB, hidden_size=96, intermediate_size=176, num_hidden_layers=4, num_attention_heads=6,
             max_position_embeddings=512, attn_implementation="eager")
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)
GEMMA = dict(USUAL, num_hidden_layers=7, num_attention_heads=4, num_key_value_heads=1, head_dim=32, query_pre_attn_scalar=24,
             sliding_window=32)
CASES = {
    "LLaMA-2": (tf.LlamaForCausalLM, tf.LlamaConfig, dict(USUAL, rms_norm_eps=1e-5)),
    "LLaMA-3": (tf.LlamaForCausalLM, tf.LlamaConfig, dict(USUAL, num_key_value_heads=2, rope_parameters=LLAMA3)),
    "LLaMA-3, tied": (tf.LlamaForCausalLM, tf.LlamaConfig,
                      dict(USUAL, num_key_value_heads=2, rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "LLaMA, biases, linear": (tf.LlamaForCausalLM, tf.LlamaConfig,
                              dict(USUAL, attention_bias=True, mlp_bias=True,
                                   rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=10000.0))),
    "Mistral, window 48": (tf.MistralForCausalLM, tf.MistralConfig, dict(USUAL, num_key_value_heads=3, sliding_window=48)),
    "Mistral, no window": (tf.MistralForCausalLM, tf.MistralConfig,
                           dict(USUAL, num_key_value_heads=2, head_dim=32, sliding_window=None)),
    "Qwen2": (tf.Qwen2ForCausalLM, tf.Qwen2Config,
              dict(USUAL, num_key_value_heads=2, rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "Qwen2, tied, window 40": (tf.Qwen2ForCausalLM, tf.Qwen2Config,
                               dict(USUAL, num_key_value_heads=1, tie_word_embeddings=True, use_sliding_window=True,
                                    sliding_window=40, max_window_layers=0)),
    "Gemma 3": (tf.Gemma3ForCausalLM, tf.Gemma3TextConfig, GEMMA),
    "Gemma 3, caps, linear": (tf.Gemma3ForCausalLM, tf.Gemma3TextConfig,
                              dict(GEMMA, num_key_value_heads=2, attn_logit_softcapping=20.0, final_logit_softcapping=5.0,
                                   rope_parameters={
                                       "sliding_attention": dict(rope_type="default", rope_theta=10000.0),
                                       "full_attention": dict(rope_type="linear", factor=8.0, rope_theta=1e6)})),
    "Gemma 3, encoder": (tf.Gemma3TextModel, tf.Gemma3TextConfig, dict(GEMMA, use_bidirectional_attention=True)),
    "Phi-2": (tf.PhiForCausalLM, tf.PhiConfig, dict(USUAL)),
    "Phi-2, 3/4 rotated": (tf.PhiForCausalLM, tf.PhiConfig,
                           dict(USUAL, rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                            partial_rotary_factor=0.75))),
}


def attention_with_cap(module, *args, **more):
    """transformers' own attention with the cap that it has, but leaves out of Gemma 3's layers."""
    return PLAIN_ATTENTION(module, *args, softcap=module.attn_logit_softcapping, **more)


PLAIN_ATTENTION = gemma3.eager_attention_forward
gemma3.eager_attention_forward = attention_with_cap


def old_config(config):
    """config.json as transformers 4 wrote it: rotation in members of its own."""
    r = config.pop("rope_parameters")
    if "full_attention" in r:
        config["rope_local_base_freq"], r = r["sliding_attention"]["rope_theta"], r["full_attention"]
    config["rope_theta"] = r.pop("rope_theta")
    if "partial_rotary_factor" in r:
        config["partial_rotary_factor"] = r.pop("partial_rotary_factor")
    config["rope_scaling"] = None if r.get("rope_type", "default") == "default" else r
    return config


@torch.no_grad()
def fill(model, seed):
    """Random weights, one in 128 eight times the usual size; a channel of the residual stream that reaches far beyond the others."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        x = torch.randn(p.shape, generator=g)
        outlier = torch.rand(p.shape, generator=g) < 1 / 128
        x = torch.where(outlier, 8 * x, x)
        if "norm" in name and name.endswith("weight"):
            zero_based = "gemma" in type(model).__name__.lower()
            p.copy_((0 if zero_based else 1) + x / 8)
        elif p.dim() == 1:
            p.copy_(x / 4)
        else:
            p.copy_(x / p.shape[1]**0.5)
        if name.endswith(("o_proj.weight", "down_proj.weight", "dense.weight", "fc2.weight")):
            p[5] *= 20


def first_layers(model, n):
    """The model of its first n layers; its weights are shared."""
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = n
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:n]
    part = type(model)(config).eval()
    part.load_state_dict({k: v for k, v in model.state_dict().items() if k in part.state_dict()})
    return part


class Options(ct.Structure):  # quern_session_options
    _fields_ = [(name, ct.c_uint32) for name in ("size", "flags", "max_tokens", "max_sequences", "text_tokens", "pool")] + [
        ("workspace", ct.c_void_p), ("workspace_bytes", ct.c_size_t)] + [
            (name, ct.c_uint32) for name in ("cache_tokens", "cache_bits", "logit_rows", "reserved")]


class View(ct.Structure):  # quern_tensor_view
    _fields_ = [("data", ct.POINTER(ct.c_float)), ("rows", ct.c_uint64), ("cols", ct.c_uint64)]


class Quern:
    def __init__(self, library):
        self.lib = ct.CDLL(os.path.abspath(library))
        self.context = ct.c_void_p()
        self.check(self.lib.quern_context_create(ct.byref(self.context), None))

    def check(self, status, session=None):
        if status:
            text = ct.create_string_buffer(512)
            if session:
                self.lib.quern_session_error(session, text, len(text))
            else:
                self.lib.quern_context_error(self.context, text, len(text))
            raise RuntimeError(text.value.decode())

    def outputs(self, path, ids, decoder):
        """Logits of a decoder, hidden states of an encoder: [tokens, n]."""
        model, session, view, options = ct.c_void_p(), ct.c_void_p(), View(), Options()
        n = len(ids)
        array = (ct.c_int32 * n)(*ids)
        self.check(self.lib.quern_model_open(ct.byref(model), self.context, path.encode(), None))
        self.lib.quern_session_options_init(ct.byref(options), ct.sizeof(options))
        options.max_tokens, options.max_sequences = n, 1
        if decoder:
            options.cache_tokens, options.logit_rows, options.cache_bits = n + 64, n, 32
        self.check(self.lib.quern_session_create(ct.byref(session), model, ct.byref(options)))
        if decoder:
            self.check(self.lib.quern_decode_feed(session, 0, array, n), session)
            self.check(self.lib.quern_decode_rows(session, 0, n, ct.byref(view), None), session)
        else:
            lens = (ct.c_uint32 * 1)(n)
            self.check(self.lib.quern_encode(session, array, None, lens, 1, ct.byref(view)), session)
        result = np.ctypeslib.as_array(view.data, shape=(view.rows, view.cols)).astype(np.float64)
        self.lib.quern_session_free(session)
        self.lib.quern_model_free(model)
        return result


def quantize(command, source, made):
    done = subprocess.run([command, "quantize", source, "-o", made, "--recipe", "float", "--quiet"], capture_output=True,
                          text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())


def relative(ours, theirs):
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def compare_gguf(quern, command, model, ids):
    """Relative differences of the first 1, 2, ... layers, of a GGUF file from a directory."""
    differences = []
    for n in range(1, model.config.num_hidden_layers + 1):
        part = first_layers(model, n)
        with tempfile.TemporaryDirectory() as directory:
            sources = [os.path.join(directory, name) for name in ("hf", "m.gguf")]
            part.save_pretrained(sources[0])
            families_gguf.write(part, sources[1])
            outputs = []
            for source in sources:
                quantize(command, source, source + ".qrn")
                outputs.append(quern.outputs(source + ".qrn", ids, True))
        differences.append(relative(outputs[1], outputs[0]))
    return differences


def compare(quern, command, model, ids, old):
    """Relative errors of the first 1, 2, ... layers."""
    errors = []
    for n in range(1, model.config.num_hidden_layers + 1):
        part = first_layers(model, n)
        with tempfile.TemporaryDirectory() as directory, torch.no_grad():
            source, made = os.path.join(directory, "hf"), os.path.join(directory, "float.qrn")
            part.save_pretrained(source)
            if old:
                path = os.path.join(source, "config.json")
                config = old_config(json.load(open(path)))
                json.dump(config, open(path, "w"))
            quantize(command, source, made)
            out = part(input_ids=torch.tensor([ids]))
            decoder = hasattr(out, "logits")
            theirs = (out.logits if decoder else out.last_hidden_state)[0].double().numpy()
            ours = quern.outputs(made, ids, decoder)
        errors.append(relative(ours, theirs))
    return errors


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--build", default="build", help="where quern and libquern.so are")
    p.add_argument("--only", default="", help="cases whose name has this text")
    p.add_argument("--tokens", type=int, default=150)
    p.add_argument("--gguf", action="store_true", help="GGUF files beside directories, in the place of transformers")
    a = p.parse_args()
    quern, command = Quern(os.path.join(a.build, "libquern.so")), os.path.join(a.build, "quern")
    ids = np.random.default_rng(3).integers(0, VOCAB, a.tokens).tolist()
    bad = 0
    what = "a GGUF file beside a directory, " if a.gguf else ""
    print(f"torch {torch.__version__}, transformers {tf.__version__}, {what}{a.tokens} tokens: relative error after 1, 2, ... layers")
    for name, (kind, config, members) in CASES.items():
        for old in (False, True)[:1 if a.gguf else 2]:
            title = name + (", old" if old else "")
            if a.only not in title:
                continue
            if a.gguf and "query_pre_attn_scalar" in members:  # no key says it: it is the width of heads there
                members = dict(members, query_pre_attn_scalar=members["head_dim"])
            model = kind(config(**members)).eval()
            if a.gguf and not hasattr(model, "lm_head"):
                continue  # EmbeddingGemma is another architecture there, which is not read
            fill(model, 1)
            try:
                errors = compare_gguf(quern, command, model, ids) if a.gguf else compare(quern, command, model, ids, old)
            except RuntimeError as e:
                print(f"{title:32} {e}")
                bad += 1
                continue
            bad += not max(errors) <= LIMIT
            print(f"{title:32} " + " ".join(f"{e:.1e}" for e in errors) + ("" if max(errors) <= LIMIT else "  DIFFERS"), flush=True)
    print(f"{bad} above {LIMIT}" if bad else "all equal")
    return bad > 0


if __name__ == "__main__":
    if "--gguf" in sys.argv:
        import families_gguf
    tf.logging.set_verbosity_error()
    tf.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    sys.exit(main())
