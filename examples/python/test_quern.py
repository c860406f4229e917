"""Tests of the package quern against the shipped model; needs numpy alone.  test_quern.py [MODEL.qrn]"""
import json
import os
import sys
import tempfile
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np  # noqa: E402
import quern  # noqa: E402

MODEL = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "models" / "all-MiniLM-L6-v2.int8.qrn")
PASSAGES = (ROOT / "examples" / "passages.txt").read_text(encoding="utf-8").splitlines()


WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat dog sat on mat is in ? . , cafe who where ##s a".split()


def write_weights(folder, tensors):
    """model.safetensors with random values of these shapes, by name."""
    random, header, data = np.random.default_rng(3), {}, b""
    for name, shape in tensors.items():
        values = random.normal(0, 0.3, shape).astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    Path(folder, "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)


def span_model(folder):
    """A tiny BertForQuestionAnswering with random weights, as a Hugging Face directory."""
    width, layer = 32, "bert.encoder.layer.0."
    shapes = {"qa_outputs": (2, width), layer + "intermediate.dense": (48, width), layer + "output.dense": (width, 48)}
    shapes.update({layer + "attention." + name: (width, width)
                   for name in ("self.query", "self.key", "self.value", "output.dense")})
    tensors = {f"bert.embeddings.{name}_embeddings.weight": (rows, width)
               for name, rows in (("word", len(WORDS)), ("position", 40), ("token_type", 2))}
    for name, shape in shapes.items():
        tensors.update({name + ".weight": shape, name + ".bias": shape[:1]})
    for name in ("bert.embeddings.", layer + "attention.output.", layer + "output."):
        tensors.update({name + "LayerNorm.weight": (width,), name + "LayerNorm.bias": (width,)})
    write_weights(folder, tensors)
    Path(folder, "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    Path(folder, "config.json").write_text(json.dumps({
        "model_type": "bert", "architectures": ["BertForQuestionAnswering"], "hidden_size": width,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": len(WORDS),
        "max_position_embeddings": 40}), encoding="utf-8")


def raises(kind, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def test_the_library_says_what_it_is(_):
    assert quern.version().count(".") == 2
    names = quern.isa_names()
    assert names[0] == "ref" and len(set(names)) == len(names)


def test_info_and_meta(m):
    assert (m.width, m.info["layers"], m.info["heads"]) == (384, 6, 12)
    meta = m.meta()
    assert meta["general.recipe"] == "int8" and meta["general.architecture"] == "bert"
    assert all(key.replace(".", "").replace("_", "").isalnum() for key in meta)
    assert m.isa in quern.isa_names() and m.threads >= 1 and m.labels == []


def test_tokens_there_and_back(m):
    ids = m.tokenize("Hello, world!")
    assert ids.dtype == np.int32 and ids.tolist() == [101, 7592, 1010, 2088, 999, 102]
    assert m.tokenize("Hello, world!", special=False).tolist() == ids[1:-1].tolist()
    assert m.tokenize("").tolist() == [101, 102] and m.detokenize([]) == ""
    assert m.detokenize(ids) == "hello, world!"
    assert len(m.tokenize("word " * 5000)) == 5002


def test_where_tokens_come_from(m):
    text = "Caf\u00e9s \u6771\u4eac cafe\u0301!"
    ids, spans = m.spans(text)
    assert ids.tolist() == m.tokenize(text).tolist() and spans.shape == (len(ids), 2)
    assert spans[0].tolist() == spans[-1].tolist() == [0, 0]
    parts = [text.encode()[a:b].decode() for a, b in spans[1:-1].tolist()]
    assert parts == ["Caf\u00e9s", "\u6771", "\u4eac", "cafe", "!"], parts
    ids, spans = m.spans("word " * 5000, special=False)
    assert len(ids) == 5000 and spans[4999].tolist() == [24995, 24999]


def test_answers(m):
    question, context = "Where is the cat?", "The caf\u00e9. " + "A dog sat on the mat, the cat is in the caf\u00e9. " * 4
    with tempfile.TemporaryDirectory() as folder:
        span_model(folder)
        path = os.path.join(folder, "span.qrn")
        quern.quantize(folder, path)
        with quern.Model(path, threads=2) as model:
            assert model.info["span"] == 1 and model.labels == [] and model.width == 0
            one = model.answer((question, context))
            assert one.text and context.encode()[one.begin:one.end].decode() == one.text
            assert np.isfinite([one.score, one.null_score]).all()
            short = model.answer((question, context), stride=8, answer_tokens=1)
            assert " " not in short.text
            batch = model.answer([(question, context), ("Who?", ""), (question, "mat"), ("Who?", "a caf\u00e9")])
            assert batch[0] == one and batch[1][:4] == ("", 0, 0, -np.inf) and batch[2].text == "mat"
            assert batch[3] == model.answer(("Who?", "a caf\u00e9")) and model.answer([]) == []
            assert raises(quern.QuernError, model.answer, ("the " * 40, "cat")).status == 10
            assert raises(quern.QuernError, model.answer, (question, context), stride=39).status == 1
            assert raises(quern.QuernError, model.classify, "a").status == 15
    assert raises(quern.QuernError, m.answer, (question, context)).status == 15


def test_quantizing(_):
    with tempfile.TemporaryDirectory() as folder:
        span_model(folder)
        texts, report = Path(folder, "texts.txt"), os.path.join(folder, "report")
        texts.write_text("the cat sat\tthe dog is in the cafe\n" * 20, encoding="utf-8")
        path, seen = os.path.join(folder, "static.qrn"), []
        error = raises(quern.QuernError, quern.quantize, folder, path, "mixed")
        assert "--calibrate" in str(error) or "calibration" in str(error)
        result = quern.quantize(folder, path, "mixed", calibrate=texts, rows=8, seed=3, report=report,
                                progress=lambda done, total, what: seen.append(what))
        assert result["bytes"] == os.path.getsize(path) and result["loss"] == 0 and "calibration" in seen
        about = json.loads(Path(report, "report.json").read_text(encoding="utf-8"))
        assert about["calibration"]["rows"] == 8 and about["calibration"]["seed"] == 3, about["calibration"]
        assert os.path.exists(os.path.join(report, "report.html"))
        recipe = Path(folder, "mine.json")
        recipe.write_text('{"name": "mine", "weights": {"bits": 8}, "activations": {"bits": 8, "static": true}, '
                          '"embeddings": {"bits": 8}, "max_loss": 0.5}', encoding="utf-8")
        result = quern.quantize(folder, None, recipe, calibrate=texts, max_loss=0.9, dry_run=True)
        assert 0 < result["loss"] <= 0.9 and not os.path.exists(os.path.join(folder, "None"))
        assert raises(quern.QuernError, quern.quantize, folder, path, max_bytes=100).status == 9
        assert raises(quern.QuernError, quern.quantize, folder, path, progress=lambda *_: True).status == 11
        assert raises(quern.QuernError, quern.quantize, folder, path, "auto", calibrate=texts, max_loss=2).status == 1
        raises(ValueError, quern.quantize, folder, path, rows=-1)


def test_a_batch_equals_its_texts_alone(m):
    texts = PASSAGES[:20] + ["", "naïve café 東京", "\u0000", "x" * 3000]
    batch = m.embed(texts)
    assert batch.shape == (24, 384) and batch.dtype == np.float32 and np.isfinite(batch).all()
    for text, row in zip(texts, batch):
        assert m.embed(text).tobytes() == row.tobytes()
    assert np.allclose((batch * batch).sum(1), 1, atol=1e-5)


def test_threads_and_kernels_do_not_change_a_bit(m):
    want = m.embed(PASSAGES[:8]).tobytes()
    for isa in quern.isa_names():
        with quern.Model(MODEL, isa=isa, threads=2, max_tokens=512) as other:
            assert other.isa == isa and other.threads == 2
            assert other.embed(PASSAGES[:8]).tobytes() == want


def test_out_is_written_in_place(m):
    matrix = np.zeros((3, 384), np.float32)
    assert m.embed(PASSAGES[:3], out=matrix) is matrix
    assert (matrix == m.embed(PASSAGES[:3])).all()
    for bad in (np.zeros((2, 384), np.float32), np.zeros((3, 384)), np.zeros((3, 768), np.float32)[:, ::2]):
        raises(ValueError, m.embed, PASSAGES[:3], out=bad)


def test_arrow_columns(m):
    data = np.frombuffer("Zürich?one two!".encode(), np.uint8)
    offsets = np.array([0, 7, 8, 15, 15], np.int64)
    assert m.embed_arrow(data, offsets).tobytes() == m.embed(["Zürich", "?", "one two", ""]).tobytes()
    assert m.embed_arrow(b"abcdef", np.array([2, 4], np.int32)).tobytes() == m.embed(["cd"]).tobytes()
    assert m.embed_arrow(b"", np.array([0])).shape == (0, 384) and m.embed([]).shape == (0, 384)
    raises(ValueError, m.embed_arrow, b"abc", np.array([0, 4]))
    raises(ValueError, m.embed_arrow, b"abc", np.array([0, 2, 1]))
    raises(ValueError, m.embed_arrow, b"abc", np.array([-1, 2]))


def test_search_finds_meaning(m):
    vectors = m.embed(PASSAGES)
    for question, word in (("My faucet won't stop leaking", "tap drips"), ("Why do I cry in the kitchen?", "Onions"),
                           ("What makes that loud bang in a storm?", "thunder")):
        hits = m.search(question, PASSAGES, k=3, vectors=vectors)
        assert len(hits) == 3 and word in hits[0].text and PASSAGES[hits[0].index] == hits[0].text
        assert hits[0].score >= hits[1].score >= hits[2].score
    raises(ValueError, m.search, "a", PASSAGES, vectors=vectors[:3])


def test_hidden_states(m):
    one, two = m.encode([m.tokenize("one text"), m.tokenize("another, longer text")])
    assert one.shape == (4, 384) and two.shape == (6, 384)
    assert m.encode([m.tokenize("one text")])[0].tobytes() == one.tobytes()
    error = raises(quern.QuernError, m.encode, [[101, 30522, 102]])
    assert error.status == 1 and "30522" in str(error)
    raises(quern.QuernError, m.encode, [[101, -1, 102]])
    assert m.encode([]) == []
    for texts in ("hello", b"hello", ["hello"], [101, 102]):
        assert "embed" in str(raises(TypeError, m.encode, texts))


def test_a_model_without_a_head_does_not_classify(m):
    assert raises(quern.QuernError, m.classify, ["good", "bad"]).status == 15
    assert raises(quern.QuernError, m.classify, ("premise", "hypothesis")).status == 15
    m.embed("still usable")


def test_texts_of_the_wrong_kind(model):
    for bad in (3, None, [1, 2], ["a", None]):
        raises(TypeError, model.embed, bad)
    raises(ValueError, model.search, "q", ["a"], k=0)


def test_bad_files_and_options(_):
    error = raises(quern.QuernError, quern.Model, "/nonexistent/x.qrn")
    assert error.status == 3 and "/nonexistent/x.qrn" in str(error)
    with tempfile.TemporaryDirectory() as folder:
        short = os.path.join(folder, "short.qrn")
        Path(short).write_bytes(Path(MODEL).read_bytes()[:100000])
        assert raises(quern.QuernError, quern.Model, short).status == 4
        Path(short).write_bytes(b"hello" * 100)
        assert raises(quern.QuernError, quern.Model, short).status == 4
        error = raises(quern.QuernError, quern.quantize, folder, os.path.join(folder, "out.qrn"))
        assert "config.json" in str(error) and not os.path.exists(os.path.join(folder, "out.qrn"))
    error = raises(quern.QuernError, quern.Model, MODEL, isa="z80")
    assert error.status == 13 and "ref" in str(error)
    assert raises(quern.QuernError, quern.Model, MODEL, max_bytes=1000).status == 9
    raises(ValueError, quern.Model, MODEL, pool="median")
    assert "threads must be 0" in str(raises(ValueError, quern.Model, MODEL, threads=-1))
    error = raises(quern.QuernError, quern.Model, MODEL, threads=1025)
    assert error.status == 1 and "1025 threads: 1 to 1024" in str(error)


def test_cancel_and_close(_):
    m = quern.Model(MODEL, threads=1, verify=True)
    m.cancel()
    assert raises(quern.QuernError, m.embed, "cancelled before it began").status == 11
    assert m.embed("the next call runs").shape == (384,)
    assert m.stats["sequences"] >= 1 and m.stats["bytes"] > 0
    m.close()
    m.close()
    raises(ValueError, m.embed, "closed")
    raises(ValueError, m.tokenize, "closed")


def test_one_model_serves_many_threads(m):
    want = m.embed(PASSAGES[:4]).tobytes()
    got = []
    threads = [threading.Thread(target=lambda: got.append(m.embed(PASSAGES[:4]).tobytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [want] * 8


def run(tests, model) -> int:
    """Runs each function of that mapping whose name begins with test_; gives the exit code."""
    passed = failed = 0
    for name, test in list(tests.items()):
        if name.startswith("test_"):
            try:
                test(model)
                passed += 1
                print("ok   " + name)
            except Exception:
                failed += 1
                traceback.print_exc(file=sys.stdout)
                print("FAIL " + name)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    with quern.Model(MODEL, threads=2) as shipped:
        code = run(globals(), shipped)
    sys.exit(code)
