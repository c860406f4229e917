"""quern.py - Quern for Python: one file over ctypes and numpy, nothing to compile.

    import quern
    with quern.Model("models/all-MiniLM-L6-v2.int8.qrn") as model:
        vectors = model.embed(["a cat on a mat", "the stock market fell"])     # float32 [2, 384]
        hits = model.search("kitten", ["a cat on a mat", "the stock market fell"])

Numbers stay in numpy's memory: results are written by the library straight into the array that is returned, or into
one of yours (`out=`); `embed_arrow` and `classify_arrow` take text in the Arrow layout (bytes and offsets) without
copying it. A Model may be shared by threads: its calls take turns; open one Model per thread to run side by side.
The library is looked for in QUERN_LIBRARY, beside this file (where a wheel puts it), in the build folder of the tree
this file lies in, then in the system.
"""
from __future__ import annotations

import ctypes as ct
import ctypes.util
import logging
import os
import threading
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

try:
    import numpy as np
except ModuleNotFoundError:
    raise ImportError("quern.py needs numpy: pip install numpy") from None

__all__ = ["Model", "QuernError", "Hit", "Label", "Answer", "quantize", "version", "isa_names"]

Text = Union[str, bytes]
Pair = Tuple[Text, Text]
FilePath = Union[str, bytes, os.PathLike]
Bytes = Union[bytes, bytearray, memoryview, np.ndarray]

# ---- the C interface: include/quern.h ------------------------------------------------------------------------------

_u32, _u64, _i32, _p, _size = ct.c_uint32, ct.c_uint64, ct.c_int32, ct.c_void_p, ct.c_size_t
_MOST = {kind: (1 << 8 * ct.sizeof(kind)) - 1 for kind in (_u32, _u64, _size)}
_Progress = ct.CFUNCTYPE(_i32, _p, _u64, _u64, ct.c_char_p)
_Log = ct.CFUNCTYPE(None, _p, _i32, ct.c_char_p)


class _Struct(ct.Structure):
    """A struct of quern.h: starts with its size."""

    def __init__(self, **values):
        for name, kind in self._fields_:  # ctypes would take a number modulo the field's size
            most, value = _MOST.get(kind), values.get(name, 0)
            if most and not 0 <= value <= most:
                raise ValueError(f"{name} must be 0 to {most}, not {value}")
        super().__init__(size=ct.sizeof(type(self)), **values)


class _ContextOptions(_Struct):
    _fields_ = [("size", _u32), ("threads", _u32), ("isa", ct.c_char_p), ("alloc", _p), ("log", _Log), ("log_user", _p),
                ("parallel", _p), ("parallel_user", _p), ("log_level", _i32), ("reserved", _u32)]


class _ModelOptions(_Struct):
    _fields_ = [("size", _u32), ("flags", _u32), ("max_bytes", _u64), ("progress", _Progress), ("progress_user", _p)]


class _ModelInfo(_Struct):
    _fields_ = [("size", _u32)] + [(name, _u32) for name in (
        "layers", "width", "heads", "kv_heads", "ffn_width", "vocab", "max_tokens", "sentence_tokens", "labels",
        "embedding_width", "regression", "tensors", "sites", "span")] + [("params", _u64), ("bytes", _u64)]


class _SessionOptions(_Struct):
    _fields_ = [("size", _u32), ("flags", _u32), ("max_tokens", _u32), ("max_sequences", _u32), ("text_tokens", _u32),
                ("pool", _u32), ("workspace", _p), ("workspace_bytes", _size)]


class _Stats(_Struct):
    _fields_ = [("size", _u32), ("reserved", _u32), ("sequences", _u64), ("tokens", _u64), ("texts_cut", _u64),
                ("ns_encode", _u64), ("bytes", _u64)]


class _View(ct.Structure):
    _fields_ = [("data", ct.POINTER(ct.c_float)), ("rows", _u64), ("cols", _u64)]


class _AnswerOptions(_Struct):
    _fields_ = [("size", _u32), ("stride", _u32), ("answer_tokens", _u32), ("reserved", _u32), ("window", _p),
                ("window_user", _p)]


class _QuantizeOptions(_Struct):
    _fields_ = [("size", _u32), ("flags", _u32), ("seed", _u32), ("calibration_rows", _u32), ("recipe", ct.c_char_p),
                ("calibration_path", ct.c_char_p), ("report_path", ct.c_char_p), ("max_bytes", _u64),
                ("progress", _Progress), ("progress_user", _p), ("max_loss", ct.c_double)]


class _QuantizeResult(_Struct):
    _fields_ = [("size", _u32), ("reserved", _u32), ("source_bytes", _u64), ("bytes", _u64),
                ("worst_weight_error", ct.c_double), ("loss", ct.c_double)]


_E_CAPACITY = 10
_NO_SPECIAL, _NO_NORMALIZE, _PAIRS, _OPEN_VERIFY, _DRY_RUN = 1, 1, 2, 1, 1
_POOLS = {"model": 0, "mean": 1, "cls": 2, "last": 3}

_SIGNATURES = {  # name: (result, arguments)
    "quern_version": (_u32, []),
    "quern_status_name": (ct.c_char_p, [_i32]),
    "quern_isa_name": (ct.c_char_p, [_u32]),
    "quern_context_create": (_i32, [_p, _p]),
    "quern_context_free": (None, [_p]),
    "quern_context_error": (_i32, [_p, ct.c_char_p, _size]),
    "quern_context_isa": (ct.c_char_p, [_p]),
    "quern_context_threads": (_u32, [_p]),
    "quern_model_open": (_i32, [_p, _p, ct.c_char_p, _p]),
    "quern_model_free": (None, [_p]),
    "quern_model_get_info": (_i32, [_p, _p]),
    "quern_model_get_meta": (_i32, [_p, ct.c_char_p, _p, _size, _p]),
    "quern_model_meta_key": (ct.c_char_p, [_p, _u32]),
    "quern_tokenize": (_i32, [_p, ct.c_char_p, _size, _u32, _p, _size, _p]),
    "quern_tokenize_spans": (_i32, [_p, ct.c_char_p, _size, _u32, _p, _p, _size, _p]),
    "quern_detokenize": (_i32, [_p, _p, _size, _u32, _p, _size, _p]),
    "quern_session_create": (_i32, [_p, _p, _p]),
    "quern_session_free": (None, [_p]),
    "quern_session_error": (_i32, [_p, ct.c_char_p, _size]),
    "quern_session_cancel": (_i32, [_p]),
    "quern_session_get_stats": (_i32, [_p, _p]),
    "quern_encode": (_i32, [_p, _p, _p, _p, _u32, _p]),
    "quern_embed_batch": (_i32, [_p, _p, _p, _size, _p, _size, _p]),
    "quern_classify_batch": (_i32, [_p, _p, _p, _size, _u32, _p, _p, _size]),
    "quern_answer_batch": (_i32, [_p, _p, _p, _size, _p, _p, _p]),
    "quern_quantize_file": (_i32, [_p, ct.c_char_p, ct.c_char_p, _p, _p]),
}


def _load() -> ct.CDLL:
    here = Path(__file__).resolve()
    near = (here.with_name("libquern.so"), here.parents[2] / "build" / "libquern.so")
    path = os.environ.get("QUERN_LIBRARY") or next((str(p) for p in near if p.exists()), None) or \
        ctypes.util.find_library("quern")
    if not path:
        raise ImportError("libquern.so was not found: run `make` in the project's root, or set QUERN_LIBRARY to it")
    library = ct.CDLL(path)
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_lib = _load()


class QuernError(Exception):
    """A call failed: `status` is the number and `name` the short name of quern.h; the text says what to do."""

    def __init__(self, status: int, message: str):
        self.status = status
        self.name = _lib.quern_status_name(status).decode()
        super().__init__(message or self.name)


def version() -> str:
    """Version of the library that was loaded, "0.1.0"."""
    n = _lib.quern_version()
    return f"{n // 10000}.{n // 100 % 100}.{n % 100}"


def isa_names() -> List[str]:
    """The kernel sets that this machine can run, the least capable first."""
    names: List[str] = []
    while (name := _lib.quern_isa_name(len(names))) is not None:
        names.append(name.decode())
    return names


class _Context:
    """A quern_context, and the errors it tells. Warnings of the library go to the logger "quern"."""

    def __init__(self, threads: int, isa: Optional[str]):
        last = [""]

        def log(_user, level, message):
            last[0] = message.decode("utf-8", "replace")
            if level == 1:
                logging.getLogger("quern").warning(last[0])

        self.handle = _p()
        self._log = _Log(log)  # lives as long as the context that calls it
        options = _ContextOptions(threads=threads, isa=isa.encode() if isa else None, log=self._log, log_level=1)
        status = _lib.quern_context_create(ct.byref(self.handle), ct.byref(options))
        if status:  # there is no context to ask: the message came as a log line
            raise QuernError(status, last[0])

    def check(self, status: int) -> None:
        if status:
            text = ct.create_string_buffer(512)
            _lib.quern_context_error(self.handle, text, len(text))
            raise QuernError(status, text.value.decode("utf-8", "replace"))

    def close(self) -> None:
        _lib.quern_context_free(self.handle)
        self.handle = _p()


def _progress(callback: Optional[Callable[[int, int, str], Optional[bool]]]) -> _Progress:
    """callback(done, total, what); returning True cancels. An exception in it cancels too."""
    if callback is None:
        return _Progress()

    def call(_user, done, total, what):
        try:
            return 1 if callback(done, total, what.decode("utf-8", "replace")) else 0
        except BaseException:
            return 1

    return _Progress(call)


# ---- text in and arrays out ----------------------------------------------------------------------------------------


def _utf8(text: Text) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "replace")
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"a text is str or bytes, not {type(text).__name__}")


def _arrow(texts: Sequence[Text]) -> Tuple[bytes, np.ndarray]:
    """Texts as the library takes them: one UTF-8 buffer and n + 1 offsets."""
    parts = [_utf8(t) for t in texts]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(p) for p in parts], out=offsets[1:])
    return b"".join(parts), offsets


def _column(data: Bytes, offsets: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The caller's buffer and offsets, checked, not copied (offsets are widened where they are not int64 already)."""
    data = np.frombuffer(data, np.uint8) if len(data) else np.zeros(1, np.uint8)
    offsets = np.ascontiguousarray(offsets, np.int64)
    if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] < 0 or (np.diff(offsets) < 0).any():
        raise ValueError("offsets must be one dimension of n + 1 ascending numbers, the first not negative")
    if offsets[-1] > data.nbytes:
        raise ValueError(f"the last offset, {offsets[-1]}, lies past the {data.nbytes} bytes of text")
    return data, offsets


def _result(out: Optional[np.ndarray], shape: Tuple[int, int]) -> np.ndarray:
    if out is None:
        return np.empty(shape, np.float32)
    if out.dtype != np.float32 or out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out must be a writable, C-contiguous float32 array of shape {shape}")
    return out


class Hit(NamedTuple):
    """One result of a search: cosine (of normalized embeddings), position in the texts, the text."""
    score: float
    index: int
    text: Text


class Label(NamedTuple):
    """One result of a classification. A regression head gives name "score", the score in logits[0], probability nan."""
    name: str
    index: int
    probability: float
    logits: np.ndarray


class Answer(NamedTuple):
    """An answer found in a context: its text, the bytes begin to end of the context (UTF-8) that it is, its score, and
    that of there being none, null_score, which models of the SQuAD 2 kind give the higher where they mean it."""
    text: str
    begin: int
    end: int
    score: float
    null_score: float


# ---- the model -----------------------------------------------------------------------------------------------------


class Model:
    """An open .qrn file with a session to run it.

    threads: 0 for the CPUs this process may use.   isa: a name of isa_names(), to run a lesser kernel set.
    max_tokens: tokens of one pass, which fixes the memory used (0: 2048).   text_tokens: where texts are cut, special
    tokens included (0: as the model says).   pool: "model", "mean", "cls" or "last".   normalize: False for embeddings
    as they were pooled.   verify: check every checksum of the file first.   max_bytes: refuse to use more (0: no limit).
    """

    def __init__(self, path: Union[str, os.PathLike], *, threads: int = 0, isa: Optional[str] = None,
                 max_tokens: int = 0, max_sequences: int = 0, text_tokens: int = 0, pool: str = "model",
                 normalize: bool = True, verify: bool = False, max_bytes: int = 0):
        if pool not in _POOLS:
            raise ValueError(f"pool must be one of {', '.join(_POOLS)}, not {pool!r}")
        self._lock, self._pooled = threading.Lock(), pool != "model"
        self._model, self._session = _p(), _p()
        self._context = _Context(threads, isa)
        try:
            options = _ModelOptions(flags=_OPEN_VERIFY if verify else 0, max_bytes=max_bytes)
            self._context.check(_lib.quern_model_open(ct.byref(self._model), self._context.handle, os.fsencode(path),
                                                      ct.byref(options)))
            self._info = _ModelInfo()
            self._context.check(_lib.quern_model_get_info(self._model, ct.byref(self._info)))
            session = _SessionOptions(flags=0 if normalize else _NO_NORMALIZE, max_tokens=max_tokens,
                                      max_sequences=max_sequences, text_tokens=text_tokens, pool=_POOLS[pool])
            self._context.check(_lib.quern_session_create(ct.byref(self._session), self._model, ct.byref(session)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives everything back. Closing twice is fine."""
        with self._lock:
            _lib.quern_session_free(self._session)
            _lib.quern_model_free(self._model)
            self._session, self._model = _p(), _p()
            self._context.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self.close()

    def _open(self) -> None:
        if not self._model:
            raise ValueError("this model was closed")

    def _run(self, call: Callable[..., int], *arguments) -> None:
        """A call on the session: one at a time, its message on failure."""
        with self._lock:
            self._open()
            status = call(self._session, *arguments)
            if status:
                text = ct.create_string_buffer(512)
                _lib.quern_session_error(self._session, text, len(text))
                raise QuernError(status, text.value.decode("utf-8", "replace"))

    # What the model is

    @property
    def width(self) -> int:
        """Floats of one embedding; 0: the model is no embedder."""
        return self._info.embedding_width or (self._info.width if self._pooled else 0)

    @property
    def max_tokens(self) -> int:
        return self._info.max_tokens

    @property
    def info(self) -> Dict[str, int]:
        """The numbers of quern_model_info: layers, width, heads, vocab, params, bytes, ..."""
        return {name: getattr(self._info, name) for name, _ in self._info._fields_ if name not in ("size", "reserved")}

    @property
    def isa(self) -> str:
        self._open()
        return _lib.quern_context_isa(self._context.handle).decode()

    @property
    def threads(self) -> int:
        self._open()
        return _lib.quern_context_threads(self._context.handle)

    @property
    def stats(self) -> Dict[str, int]:
        """Counts since the model was opened: sequences, tokens, texts_cut, ns_encode; bytes of the session."""
        stats = _Stats()
        self._run(_lib.quern_session_get_stats, ct.byref(stats))
        return {name: getattr(stats, name) for name, _ in stats._fields_ if name not in ("size", "reserved")}

    def meta(self) -> Dict[str, str]:
        """The file's metadata: "general.architecture", "general.recipe", ..."""
        self._open()
        result: Dict[str, str] = {}
        n = _size()
        while (key := _lib.quern_model_meta_key(self._model, len(result))) is not None:
            self._context.check(_lib.quern_model_get_meta(self._model, key, None, 0, ct.byref(n)))
            text = ct.create_string_buffer(n.value + 1)
            self._context.check(_lib.quern_model_get_meta(self._model, key, text, len(text), ct.byref(n)))
            result[key.decode()] = text.value.decode("utf-8", "replace")
        return result

    @property
    def labels(self) -> List[str]:
        """Names of the classes; [] where the model has no classification head."""
        meta = self.meta()
        return [meta.get(f"label.{i}", str(i)) for i in range(self._info.labels)]

    # Text

    def tokenize(self, text: Text, special: bool = True) -> np.ndarray:
        """Token ids (int32), with the model's special tokens unless special is False; never cut."""
        self._open()
        data = _utf8(text)
        flags, n = 0 if special else _NO_SPECIAL, _size()
        ids = np.empty(len(data) + 8, np.int32)  # a token is a byte at least; a template adds a few
        while True:
            status = _lib.quern_tokenize(self._model, data, len(data), flags, ids.ctypes.data, len(ids), ct.byref(n))
            if status == _E_CAPACITY and n.value > len(ids):
                ids = np.empty(n.value, np.int32)
                continue
            self._context.check(status)
            return ids[:n.value].copy()

    def spans(self, text: Text, special: bool = True) -> Tuple[np.ndarray, np.ndarray]:
        """Token ids, and uint64 [n, 2]: the bytes of the text (UTF-8) that each came from, 0 and 0 of special tokens."""
        self._open()
        data = _utf8(text)
        flags, n = 0 if special else _NO_SPECIAL, _size()
        cap = 64  # a byte may become several tokens
        while True:
            ids, spans = np.empty(cap, np.int32), np.empty((cap, 2), np.uint64)
            status = _lib.quern_tokenize_spans(self._model, data, len(data), flags, ids.ctypes.data, spans.ctypes.data,
                                               cap, ct.byref(n))
            if status != _E_CAPACITY or n.value <= cap:
                self._context.check(status)
                return ids[:n.value].copy(), spans[:n.value].copy()
            cap = n.value

    def detokenize(self, ids: Iterable[int], special: bool = False) -> str:
        """Text of token ids, the special ones left out unless special is True."""
        self._open()
        ids = np.ascontiguousarray(ids if isinstance(ids, np.ndarray) else list(ids), np.int32)
        flags, n = _NO_SPECIAL if special else 0, _size()
        arguments = self._model, ids.ctypes.data, len(ids), flags
        status = _lib.quern_detokenize(*arguments, None, 0, ct.byref(n))
        if status not in (0, _E_CAPACITY):
            self._context.check(status)
        text = ct.create_string_buffer(n.value + 1)
        self._context.check(_lib.quern_detokenize(*arguments, text, len(text), ct.byref(n)))
        return text.raw[:n.value].decode("utf-8", "replace")

    # Work

    def embed(self, texts: Union[Text, Sequence[Text]], out: Optional[np.ndarray] = None) -> np.ndarray:
        """One text: float32 [width]. Several: float32 [n, width], in `out` when it is given."""
        if isinstance(texts, (str, bytes)):
            return self.embed([texts], None if out is None else out.reshape(1, -1))[0]
        return self.embed_arrow(*_arrow(texts), out=out)

    def embed_arrow(self, data: Bytes, offsets: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        """Text i is data[offsets[i]:offsets[i + 1]], UTF-8. From a pyarrow large_string column without nulls:
        `_, offsets, data = column.buffers()`, then np.frombuffer(offsets, np.int64)[:n + 1]."""
        self._open()
        data, offsets = _column(data, offsets)
        n = len(offsets) - 1
        out = _result(out, (n, self.width))
        if n:
            self._run(_lib.quern_embed_batch, data.ctypes.data, offsets.ctypes.data, n, out.ctypes.data, out.size, None)
        return out

    def search(self, query: Text, texts: Sequence[Text], k: int = 5,
               vectors: Optional[np.ndarray] = None) -> List[Hit]:
        """The k texts closest to the query, best first, ties in their order. Keep `vectors = model.embed(texts)` and
        pass them, so that only the query is embedded."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if vectors is None:
            vectors = self.embed(texts)
        if len(vectors) != len(texts):
            raise ValueError(f"{len(texts)} texts, but {len(vectors)} vectors")
        scores = vectors @ self.embed(query)
        best = np.argsort(-scores, kind="stable")[:k]
        return [Hit(float(scores[i]), int(i), texts[i]) for i in best]

    def classify(self, texts: Union[Text, Pair, Sequence[Union[Text, Pair]]]) -> Union[Label, List[Label]]:
        """One text or a (text, text) tuple: one Label. A list of either: a list of them."""
        if isinstance(texts, (str, bytes, tuple)):
            return self.classify([texts])[0]
        pairs = bool(texts) and isinstance(texts[0], tuple)
        flat = [text for pair in texts for text in pair] if pairs else texts
        logits, probabilities = self.classify_arrow(*_arrow(flat), pairs=pairs)
        if self._info.regression:
            return [Label("score", 0, float("nan"), row) for row in logits]
        names, best = self.labels, logits.argmax(1)
        return [Label(names[i], int(i), float(probabilities[row, i]), logits[row]) for row, i in enumerate(best)]

    def classify_arrow(self, data: Bytes, offsets: np.ndarray, pairs: bool = False) -> Tuple[np.ndarray, np.ndarray]:
        """Logits and probabilities, float32 [results, labels]. pairs: texts 2i and 2i + 1 are judged together."""
        self._open()
        data, offsets = _column(data, offsets)
        n = len(offsets) - 1
        if pairs and n % 2:
            raise ValueError(f"pairs need an even number of texts, not {n}")
        shape = (n // 2 if pairs else n, max(self._info.labels, 1))
        logits, probabilities = np.empty(shape, np.float32), np.empty(shape, np.float32)
        if n:
            self._run(_lib.quern_classify_batch, data.ctypes.data, offsets.ctypes.data, n, _PAIRS if pairs else 0,
                      logits.ctypes.data, probabilities.ctypes.data, logits.size)
        return logits, probabilities

    def answer(self, pairs: Union[Pair, Sequence[Pair]], *, stride: int = 0,
               answer_tokens: int = 0) -> Union[Answer, List[Answer]]:
        """One (question, context) tuple: one Answer. A list of them: a list. Needs a model with a span head.
        stride: tokens that windows of a long context share (0: 128, or half of a window where that is less).
        answer_tokens: most tokens of an answer (0: 30)."""
        if isinstance(pairs, tuple):
            return self.answer([pairs], stride=stride, answer_tokens=answer_tokens)[0]
        self._open()
        data, offsets = _arrow([text for question, context in pairs for text in (question, context)])
        n = len(offsets) // 2
        found, scores = np.empty((n, 2), np.uint64), np.empty((n, 2), np.float32)
        if n:
            options = _AnswerOptions(stride=stride, answer_tokens=answer_tokens)
            self._run(_lib.quern_answer_batch, data, offsets.ctypes.data, 2 * n, ct.byref(options), found.ctypes.data,
                      scores.ctypes.data)
        answers: List[Answer] = []
        for start, (begin, end), (score, null_score) in zip(offsets[1::2].tolist(), found.tolist(), scores.tolist()):
            text = data[start + begin:start + end].decode("utf-8", "replace")
            answers.append(Answer(text, begin, end, score, null_score))
        return answers

    def encode(self, sequences: Sequence[Sequence[int]]) -> List[np.ndarray]:
        """Hidden states of the last layer, [tokens, width] float32 for each sequence of token ids. Of texts: `embed`
        gives their embeddings, `encode([model.tokenize(text)])` the hidden states."""
        if isinstance(sequences, (str, bytes)) or any(isinstance(s, (str, bytes, int)) for s in sequences):
            raise TypeError("encode takes a list of sequences of token ids, as tokenize gives them; embed takes texts")
        if not len(sequences):
            return []
        lens = np.array([len(s) for s in sequences], np.uint32)
        ids = np.concatenate([np.asarray(s, np.int32) for s in sequences])
        view = _View()

        def call(session, *arguments):  # the view is the session's until its next call: copied under the lock
            status = _lib.quern_encode(session, *arguments)
            if status == 0:
                hidden.append(np.ctypeslib.as_array(view.data, (view.rows, view.cols)).copy())
            return status

        hidden: List[np.ndarray] = []
        self._run(call, ids.ctypes.data, None, lens.ctypes.data, len(lens), ct.byref(view))
        return np.split(hidden[0], np.cumsum(lens)[:-1].astype(np.int64))

    def cancel(self) -> None:
        """Makes the call in progress on another thread, or else the next one, fail with status 11, soon."""
        self._open()
        _lib.quern_session_cancel(self._session)


def quantize(src: FilePath, dst: Optional[FilePath], recipe: FilePath = "int8", *,
             calibrate: Optional[FilePath] = None, rows: int = 0, seed: int = 0, max_loss: float = 0.0,
             report: Optional[FilePath] = None, dry_run: bool = False, max_bytes: int = 0, threads: int = 0,
             progress: Optional[Callable[[int, int, str], Optional[bool]]] = None) -> Dict[str, float]:
    """Makes dst, a .qrn file, from src, a Hugging Face directory, as `quern quantize` does. Gives source_bytes, bytes,
    worst_weight_error and loss (of recipes with max_loss, else 0).

    recipe: a preset's name, or the path of a JSON recipe.   calibrate: a file of texts, for recipes with static ranges
    or calibrated rounding; `rows` of them (0: 256) are drawn by `seed`.   max_loss: of recipe "auto" (0: as the recipe
    says).   report: a folder for report.json and report.html.   dry_run: do all but write dst, which may be None.
    max_bytes: of memory and of any source file (0: no limit).   progress(done, total, what) may return True to cancel.
    dst is replaced only when all went well."""
    context = _Context(threads, None)
    try:
        callback = _progress(progress)  # must live until the call returns
        path = lambda p: None if p is None else os.fsencode(p)
        options = _QuantizeOptions(flags=_DRY_RUN if dry_run else 0, seed=seed, calibration_rows=rows,
                                   recipe=path(recipe), calibration_path=path(calibrate), report_path=path(report),
                                   max_bytes=max_bytes, progress=callback, max_loss=max_loss)
        result = _QuantizeResult()
        context.check(_lib.quern_quantize_file(context.handle, os.fsencode(src), path(dst), ct.byref(options),
                                               ct.byref(result)))
        return {name: getattr(result, name) for name in ("source_bytes", "bytes", "worst_weight_error", "loss")}
    finally:
        context.close()
