"""GGUF counterparts of transformers' models for check_families.py: the names, the order of rows and the keys that llama.cpp's converter
gives them, by the gguf package's own table of names; weights in F32, no tokenizer. Of windows of LLaMA's and Qwen2's architecture,
which that converter leaves out, the key that other architectures have."""
import math

import gguf
import torch

ARCHITECTURES = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2", "gemma3_text": "GEMMA3", "phi": "PHI2"}


def neighbours(w, heads):
    """Rows of a head's first and second half in turn, as the rotation of LLaMA's architecture has them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).transpose(1, 2).reshape(w.shape)


def llama3_factors(rope, dim):
    """What each frequency is divided by (rope_freqs.weight)."""
    low, high = (rope["original_max_position_embeddings"] / rope[k] for k in ("low_freq_factor", "high_freq_factor"))
    out = []
    for i in range(0, dim, 2):
        length = 2 * math.pi * rope["rope_theta"]**(i / dim)
        smooth = (rope["original_max_position_embeddings"] / length - rope["low_freq_factor"]) / (
            rope["high_freq_factor"] - rope["low_freq_factor"])
        out.append(1 if length < high else rope["factor"] if length > low else 1 / ((1 - smooth) / rope["factor"] + smooth))
    return torch.tensor(out, dtype=torch.float32)


def write(model, path):
    c = model.config
    name = ARCHITECTURES[c.model_type]
    arch = getattr(gguf.MODEL_ARCH, name)
    pairs, gemma = name == "LLAMA", name == "GEMMA3"
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    kv_heads = getattr(c, "num_key_value_heads", None) or c.num_attention_heads
    rope = c.rope_parameters
    w = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(kv_heads)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    if name == "PHI2":
        w.add_layer_norm_eps(c.layer_norm_eps)
    else:
        w.add_layer_norm_rms_eps(c.rms_norm_eps)
    window = getattr(c, "sliding_window", None)
    if window and (gemma or name == "LLAMA" or "sliding_attention" in c.layer_types):
        w.add_sliding_window(window)
    if gemma:
        w.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
        for value, add in ((c.attn_logit_softcapping, w.add_attn_logit_softcapping),
                           (c.final_logit_softcapping, w.add_final_logit_softcapping)):
            if value:
                add(value)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1)))
    if rope.get("rope_type") == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])
    names = gguf.get_tensor_name_map(arch, c.num_hidden_layers)
    for ours, x in model.state_dict().items():
        if c.tie_word_embeddings and ours == "lm_head.weight":
            continue
        if pairs and ".q_proj." in ours:
            x = neighbours(x, c.num_attention_heads)
        if pairs and ".k_proj." in ours:
            x = neighbours(x, kv_heads)
        if gemma and "norm.weight" in ours:
            x = x + 1
        theirs = names.get_name(ours, try_suffixes=(".weight", ".bias"))
        if not theirs:
            raise RuntimeError(f"gguf has no name for {ours}")
        w.add_tensor(theirs, x.contiguous().numpy())
    if rope.get("rope_type") == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(rope, head_dim).numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
