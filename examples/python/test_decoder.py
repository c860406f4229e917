"""Tests of decoders with the package quern, on a tiny one that is made here, and of the shipped model as none; needs
numpy alone.  test_decoder.py [MODEL.qrn]"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from test_quern import MODEL, np, quern, raises, run, write_weights

POSITIONS = 4096
END = 256 + 4
PROMPT = "the cat on the"  # 8 tokens


def byte_character(byte):
    """The character that stands for a byte in a byte-level vocabulary."""
    shown = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    hidden = [b for b in range(256) if b not in shown]
    return chr(byte if byte in shown else 256 + hidden.index(byte))


def write_decoder(folder):
    """A tiny LLaMA with random weights and a byte-level BPE, as a Hugging Face directory."""
    width, ffn, vocab = 32, 48, END + 3
    tensors = {"model.embed_tokens.weight": (vocab, width), "model.norm.weight": (width,),
               "lm_head.weight": (vocab, width)}
    for layer in ("model.layers.0.", "model.layers.1."):
        tensors.update({layer + "self_attn." + name + ".weight": (rows, width) for name, rows in (
            ("q_proj", width), ("k_proj", 16), ("v_proj", 16), ("o_proj", width))})
        tensors.update({layer + "mlp.gate_proj.weight": (ffn, width), layer + "mlp.up_proj.weight": (ffn, width),
                        layer + "mlp.down_proj.weight": (width, ffn), layer + "input_layernorm.weight": (width,),
                        layer + "post_attention_layernorm.weight": (width,)})
    write_weights(folder, tensors)
    vocabulary = {byte_character(b): b for b in range(256)}
    vocabulary.update({"th": 256, "the": 257, "at": 258, "cat": 259})
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    files = {"config.json": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": width, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": ffn,
        "max_position_embeddings": POSITIONS, "vocab_size": vocab, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": False, "hidden_act": "silu", "eos_token_id": END}, "tokenizer.json": {
            "added_tokens": [{"id": END + i, "content": text, "special": True, "single_word": False, "lstrip": False,
                              "rstrip": False, "normalized": False}
                             for i, text in enumerate(("<|endoftext|>", "<|im_start|>", "<|im_end|>"))],
            "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": ["t h", "th e", "a t", "c at"]}},
        "tokenizer_config.json": {"chat_template": "<|im_start|>"}}
    for name, value in files.items():
        Path(folder, name).write_text(json.dumps(value), encoding="utf-8")


def log_softmax(x):
    x = x.astype(np.float64)
    return x - x.max() - np.log(np.exp(x - x.max()).sum())


def test_what_a_decoder_is(m):
    info = m.info
    assert (info["decoder"], info["causal"], info["head_dim"], info["vocab"], info["labels"]) == (1, 1, 8, END + 3, 0)
    assert (info["norm"], info["placement"], info["activation"]) == ("rms", "pre", "silu")
    with m.decoder(sequences=3, cache_tokens=256) as decoder:
        decoder.feed(PROMPT)
        stats = decoder.stats
        assert stats["cache_pages"] == 4 and stats["cache_pages_free"] == 3 and stats["tokens"] == 8
    assert raises(quern.QuernError, m.embed, "a text").status == 15
    with quern.Model(MODEL) as encoder:
        assert encoder.info["decoder"] == 0
        assert raises(quern.QuernError, encoder.decoder).status == 15


def test_the_same_tokens_give_the_same_bytes(m):
    ids = m.tokenize(PROMPT * 12)
    with m.decoder(sequences=4, cache_tokens=1024, logit_rows=128) as d:
        d.feed(ids)
        rows = d.rows(0, len(ids))
        assert rows.shape == (len(ids), m.info["vocab"]) and rows.dtype == np.float32
        assert d.logits().tobytes() == rows[-1].tobytes()
        for i, token in enumerate(ids[:20]):
            d.feed([token], 1)
            assert d.logits(1).tobytes() == rows[i].tobytes()
        d.feed_batch({3: ids[:33], 1: ids[20:], 2: "the"})
        assert d.logits(1).tobytes() == rows[-1].tobytes() and d.logits(3).tobytes() == rows[32].tobytes()
        assert [d.length(i) for i in range(4)] == [len(ids), len(ids), 1, 33]
        assert d.sample() == rows[-1].argmax() == d.sample(1)
        got = d.next([3, 0])
        assert got.dtype == np.int32 and got.tolist() == [rows[32].argmax(), rows[-1].argmax()] and d.length(3) == 34
        for bad in ([1.5], [[1]], [None], 3):
            raises(TypeError, d.feed, bad)
        assert raises(quern.QuernError, d.feed, [m.info["vocab"]]).status == 1
        assert raises(quern.QuernError, d.feed, []).status == 1 and raises(quern.QuernError, d.logits, 4).status == 1
        raises(ValueError, d.feed, [2**31])


def test_scores(m):
    ids = m.tokenize(PROMPT * 3)
    with m.decoder(logit_rows=64) as d:
        d.feed(ids)
        rows = d.rows(0, len(ids))
        d.truncate(0)
        got = d.score(ids)
        want = [0.0] + [log_softmax(rows[i])[ids[i + 1]] for i in range(len(ids) - 1)]
        assert np.allclose(got, want, atol=1e-5) and got.dtype == np.float32
        d.truncate(0)
        d.feed(ids[:7])
        assert d.score(ids[7:]).tobytes() == got[7:].tobytes() and d.length() == len(ids)


def test_sequences(m):
    ids = m.tokenize(PROMPT * 8)
    with tempfile.TemporaryDirectory() as folder, m.decoder(sequences=3, cache_tokens=512) as d:
        d.feed(ids)
        want = d.logits()
        d.truncate(30)
        assert d.length() == 30 and raises(quern.QuernError, d.truncate, 31).status == 1
        d.copy(0, 2)
        d.copy(0, 1, 20)
        assert (d.length(1), d.length(2)) == (20, 30)
        d.feed_batch({1: ids[20:], 2: ids[30:]})
        assert d.logits(1).tobytes() == d.logits(2).tobytes() == want.tobytes()
        path = Path(folder, "sequence")
        d.save(path, 1)
        d.restore(path, 0)
        assert d.length() == len(ids)
        with m.decoder() as other:
            other.restore(path)
            assert "".join(other.generate(max_new=20)) == "".join(d.generate(sequence=2, max_new=20))
        path.write_bytes(path.read_bytes()[:-1])
        assert raises(quern.QuernError, d.restore, path).status == 4 and d.length() == len(ids)


def test_generating(m):
    with m.decoder() as d:
        d.feed(PROMPT)
        want = [int(d.next()[0]) for _ in range(40)]
        generation = d.generate(PROMPT, max_new=40)
        assert generation.reason is None and generation.ids == []
        pieces = list(generation)
        assert generation.ids == want and generation.reason == "length" and generation.guessed == 0
        assert all(pieces) and "".join(pieces) == m.detokenize(want) and list(generation) == []
        assert d.length() == 8 + 40
        assert "".join(d.generate(m.tokenize(PROMPT), max_new=40)) == "".join(pieces)
        assert "".join(d.generate(PROMPT.encode(), max_new=25)) + "".join(d.generate(max_new=15)) == "".join(pieces)
        looked_up = d.generate(PROMPT, max_new=400, lookup=8)
        text = "".join(looked_up)
        assert text == "".join(d.generate(PROMPT, max_new=400)) and looked_up.guessed > 0
        assert text.startswith("".join(pieces).rstrip("\ufffd"))
        assert len(d.generate(PROMPT).ids) == 0  # nothing runs before it is asked for
        d.feed([1])


def test_prefixes_are_not_read_again(m):
    ids = m.tokenize(PROMPT * 4)
    with m.decoder() as d:
        want = "".join(d.generate(ids, max_new=10))
        read = d.stats["tokens"]
        assert read == len(ids) + 10
        assert "".join(d.generate(ids, max_new=10)) == want
        assert d.stats["tokens"] == read + 1 + 10  # the last token alone
        other = np.concatenate([ids[:20], ids[:5]])
        read = d.stats["tokens"]
        text = "".join(d.generate(other, max_new=10))
        assert d.stats["tokens"] == read + 5 + 10
        d.truncate(0)
        assert "".join(d.generate(other, max_new=10)) == text
        assert raises(quern.QuernError, list, d.generate(np.array([], np.int32))).status == 1


def test_ends(m):
    with m.decoder() as d:
        whole = "".join(d.generate(PROMPT, max_new=60))
        stop = next(c for c in whole[5:] if c.isalnum() and c.isascii())
        for stops in (stop, [stop, b"never"], ["never", stop]):
            generation = d.generate(PROMPT, max_new=60, stop=stops)
            assert "".join(generation) == whole[:whole.index(stop)] and generation.reason == "text"
        ids = m.tokenize(stop)
        generation = d.generate(PROMPT, max_new=60, stop=int(ids[0]))
        assert whole.startswith("".join(generation)) and generation.reason == "end" and ids[0] not in generation.ids
        reasons = []
        for seed in range(12):
            generation = d.generate(PROMPT, max_new=100, sampling=quern.Sampling(temperature=1.5, seed=seed))
            "".join(generation)
            reasons.append(generation.reason)
        assert set(reasons) == {"end", "length"}, reasons
        raises(ValueError, d.generate, PROMPT, stop="a\0")
        raises(ValueError, d.generate, PROMPT, max_new=-1)
        for bad in ({"stop": ""}, {"stop": "x" * 257}, {"lookup": 16}, {"sampling": quern.Sampling(top_p=2)}):
            assert raises(quern.QuernError, list, d.generate(PROMPT, **bad)).status == 1
        assert raises(quern.QuernError, list, d.generate("")).status == 1
        assert "".join(d.generate(PROMPT, max_new=60)) == whole


def test_sampling(m):
    def text(**options):
        return "".join(d.generate(PROMPT, max_new=30, sampling=quern.Sampling(**options)))

    with m.decoder(sequences=2) as d:
        greedy = text()
        assert text(temperature=1, seed=7) == text(temperature=1, seed=7) != text(temperature=1, seed=8)
        assert text(temperature=2, top_k=1) == text(temperature=2, min_p=1) == greedy
        assert text(repeat_penalty=3) != greedy != text(presence_penalty=4)
        d.generate(PROMPT)
        d.truncate(0)
        d.feed(PROMPT)
        likeliest = d.sample()
        other = d.sample(sampling=quern.Sampling(bias={likeliest: -np.inf}))
        assert other != likeliest and d.sample(sampling=quern.Sampling(bias={5: 1000.0, 6: -1.0})) == 5
        nothing = quern.Sampling(bias={i: -np.inf for i in range(m.info["vocab"])})
        assert "forbid" in str(raises(quern.QuernError, d.sample, sampling=nothing))
        assert raises(quern.QuernError, d.sample, sampling=quern.Sampling(bias={-1: 1.0})).status == 1


def test_chat(m):
    assert m.chat_form == "chatml"
    start, end = END + 1, END + 2
    ids = m.tokenize_chat([("user", PROMPT + "<|im_end|>")])
    assert ids.dtype == np.int32 and ids.tolist().count(start) == 2 and ids.tolist().count(end) == 1
    shown = m.detokenize(ids, special=True)
    assert shown == f"<|im_start|>user\n{PROMPT}<|im_end|><|im_end|>\n<|im_start|>assistant\n", shown
    said = [{"role": "system", "content": "the cat"}, {"role": "user", "content": PROMPT},
            {"role": "assistant", "content": b"on"}, {"role": "user", "content": ""}]
    assert m.tokenize_chat(said).tolist().count(start) == 5
    assert m.tokenize_chat(said, prompt=False).tolist().count(start) == 4
    assert m.tokenize_chat(said, form="plain").tolist().count(start) == 0
    assert len(m.tokenize_chat([("user", "x" * 5000)] * 3)) > 15000
    with m.decoder() as d:
        assert "".join(d.generate(said, max_new=20)) == "".join(d.generate(m.tokenize_chat(said), max_new=20))
    assert raises(quern.QuernError, m.tokenize_chat, []).status == 1
    assert raises(quern.QuernError, m.tokenize_chat, [("king", "on")]).status == 1
    assert raises(quern.QuernError, m.tokenize_chat, [("user", "on")], form="none").status == 1


def test_leaving_the_loop(m):
    with m.decoder(cache_tokens=POSITIONS) as d:
        whole = "".join(d.generate(PROMPT, max_new=60))
        generation = d.generate(PROMPT, max_new=60)
        text = ""
        for piece in generation:
            text += piece
            assert "generating" in str(raises(RuntimeError, d.length))
            raises(RuntimeError, next, d.generate(PROMPT))
            if len(text) > 8:
                break
        generation.close()
        generation.close()
        assert whole.startswith(text) and generation.reason == "stopped" and list(generation) == []
        assert d.length() == 8 + len(generation.ids)  # what was handed out is there
        assert text + "".join(d.generate(max_new=60 - len(generation.ids))) == whole
        for piece in d.generate(PROMPT):
            break
        assert d.length() > 8  # forgotten: it has ended
        with d.generate(PROMPT) as generation:
            next(generation)
        d.truncate(0)


def test_an_interrupt_ends_it(m):
    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    prompt = m.tokenize("the cat on " * 1000)[:4000]
    try:
        with m.decoder(cache_tokens=POSITIONS) as d:
            whole = "".join(d.generate(PROMPT, max_new=10))
            for delay in (0.0001, 0.0003, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1):
                generation = d.generate(prompt, max_new=0)  # some of these come while the prompt is read
                try:
                    signal.setitimer(signal.ITIMER_REAL, delay)
                    while next(generation, None) is not None:
                        pass
                    time.sleep(1)
                except KeyboardInterrupt:
                    pass
                generation.close()
                assert "".join(d.generate(PROMPT, max_new=10)) == whole
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_cancel_and_close(m):
    d = m.decoder()
    d.cancel()
    assert raises(quern.QuernError, d.feed, PROMPT).status == 11
    d.feed(PROMPT)
    generation = d.generate()
    next(generation)
    d.cancel()
    assert raises(quern.QuernError, list, generation).status == 11
    d.truncate(0)
    generation = d.generate(PROMPT)
    next(generation)
    d.close()
    d.close()
    assert list(generation) == []
    for call in (d.length, d.cancel, d.logits):
        raises(ValueError, call)
    raises(ValueError, next, d.generate([1, 2]))
    with m.decoder(cache_tokens=64) as small:
        generation = small.generate(PROMPT, max_new=200)
        text = ""
        try:
            for piece in generation:
                text += piece
            assert False
        except quern.QuernError as full:
            assert full.status == 10 and len(generation.ids) >= 56 and text
        small.truncate(0)


def test_the_model_closes_its_decoders(_):
    with tempfile.TemporaryDirectory() as folder:
        write_decoder(folder)
        path = os.path.join(folder, "m.qrn")
        quern.quantize(folder, path, "float")
        model = quern.Model(path, threads=1)
        d = model.decoder(cache_tokens=256)
        generation = d.generate(PROMPT)
        next(generation)
        model.close()
        assert list(generation) == []
        raises(ValueError, d.length)
        raises(ValueError, model.decoder)
        # A generation that is open when Python ends does not hold it up.
        program = ("import sys, quern; m = quern.Model(sys.argv[1]); d = m.decoder(); g = d.generate('the'); "
                   "print(len(next(g)) > 0)")
        folders = os.pathsep.join(filter(None, (str(Path(quern.__file__).parents[1]), os.environ.get("PYTHONPATH"))))
        done = subprocess.run([sys.executable, "-c", program, path], timeout=60, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": folders})
        assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", ""), done


def test_decoders_side_by_side(m):
    with m.decoder() as d:
        want = "".join(d.generate(PROMPT, max_new=100))
    got = []

    def work():
        with m.decoder() as mine:
            got.append("".join(mine.generate(PROMPT, max_new=100)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [want] * 4


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        write_decoder(made)
        quern.quantize(made, os.path.join(made, "tiny.qrn"))
        with quern.Model(os.path.join(made, "tiny.qrn"), threads=2) as tiny:
            code = run(globals(), tiny)
    sys.exit(code)
