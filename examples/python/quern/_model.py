"""_model.py - Model: an open .qrn file, its text, embeddings, classes and answers; quantize."""
from __future__ import annotations

import ctypes as ct
import os
import threading
import weakref
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

from ._decoder import Decoder
from ._library import (
    CHAT_PROMPT, DRY_RUN, E_CAPACITY, E_TASK, NO_NORMALIZE, NO_SPECIAL, OPEN_VERIFY, PAIRS, POOLS, AnswerOptions, Bytes,
    ChatMessage, Context, FilePath, ModelInfo, ModelOptions, QuantizeOptions, QuantizeResult, QuernError, SessionOptions,
    StatsInfo, Text, View, arrow, column, lib, np, progress_callback, ptr, result_array, session_error, size_t,
    token_ids, utf8)

Pair = Tuple[Text, Text]
Message = Union[Dict[str, Text], Tuple[str, Text]]


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
    All but threads, isa, verify and max_bytes are about encoders; `decoder` takes what decoders need.
    """

    def __init__(self, path: Union[str, os.PathLike], *, threads: int = 0, isa: Optional[str] = None,
                 max_tokens: int = 0, max_sequences: int = 0, text_tokens: int = 0, pool: str = "model",
                 normalize: bool = True, verify: bool = False, max_bytes: int = 0):
        if pool not in POOLS:
            raise ValueError(f"pool must be one of {', '.join(POOLS)}, not {pool!r}")
        self._lock, self._pooled = threading.Lock(), pool != "model"
        self._model, self._session, self._decoders = ptr(), ptr(), weakref.WeakSet()
        self._context = Context(threads, isa)
        try:
            options = ModelOptions(flags=OPEN_VERIFY if verify else 0, max_bytes=max_bytes)
            self._context.check(lib.quern_model_open(ct.byref(self._model), self._context.handle, os.fsencode(path),
                                                      ct.byref(options)))
            self._info = ModelInfo()
            self._context.check(lib.quern_model_get_info(self._model, ct.byref(self._info)))
            self._options = SessionOptions(flags=0 if normalize else NO_NORMALIZE, max_tokens=max_tokens,
                                           max_sequences=max_sequences, text_tokens=text_tokens, pool=POOLS[pool])
            if not self._info.decoder:
                self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """The session. Of a decoder this one is made when it is asked for: what is generated has sessions of its own."""
        self._context.check(lib.quern_session_create(ct.byref(self._session), self._model, ct.byref(self._options)))

    def close(self) -> None:
        """Gives everything back, decoders of this model too. Closing twice is fine."""
        for decoder in list(self._decoders):
            decoder.close()
        with self._lock:
            lib.quern_session_free(self._session)
            lib.quern_model_free(self._model)
            self._session, self._model = ptr(), ptr()
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
            if not self._session:
                self._begin()
            status = call(self._session, *arguments)
            if status:
                raise QuernError(status, session_error(self._session))

    # What the model is

    @property
    def width(self) -> int:
        """Floats of one embedding; 0: the model is no embedder."""
        return self._info.embedding_width or (self._info.width if self._pooled else 0)

    @property
    def max_tokens(self) -> int:
        return self._info.max_tokens

    @property
    def info(self) -> Dict[str, Union[int, str]]:
        """The members of quern_model_info: layers, width, heads, vocab, params, bytes, decoder, ...; norm, placement
        and activation are names."""
        values = {name: getattr(self._info, name) for name, _ in self._info._fields_ if name not in ("size", "reserved")}
        return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}

    @property
    def isa(self) -> str:
        self._open()
        return lib.quern_context_isa(self._context.handle).decode()

    @property
    def threads(self) -> int:
        self._open()
        return lib.quern_context_threads(self._context.handle)

    @property
    def stats(self) -> Dict[str, int]:
        """Counts since the model was opened: sequences, tokens, texts_cut, ns_encode; bytes of the session. Those of
        what is generated: Decoder.stats."""
        stats = StatsInfo()
        self._run(lib.quern_session_get_stats, ct.byref(stats))
        return {name: getattr(stats, name) for name, _ in stats._fields_ if name not in ("size", "reserved")}

    def meta(self) -> Dict[str, str]:
        """The file's metadata: "general.architecture", "general.recipe", ..."""
        self._open()
        result: Dict[str, str] = {}
        n = size_t()
        while (key := lib.quern_model_meta_key(self._model, len(result))) is not None:
            self._context.check(lib.quern_model_get_meta(self._model, key, None, 0, ct.byref(n)))
            text = ct.create_string_buffer(n.value + 1)
            self._context.check(lib.quern_model_get_meta(self._model, key, text, len(text), ct.byref(n)))
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
        data = utf8(text)
        flags, n = 0 if special else NO_SPECIAL, size_t()
        ids = np.empty(len(data) + 8, np.int32)  # a token is a byte at least; a template adds a few
        while True:
            status = lib.quern_tokenize(self._model, data, len(data), flags, ids.ctypes.data, len(ids), ct.byref(n))
            if status == E_CAPACITY and n.value > len(ids):
                ids = np.empty(n.value, np.int32)
                continue
            self._context.check(status)
            return ids[:n.value].copy()

    def spans(self, text: Text, special: bool = True) -> Tuple[np.ndarray, np.ndarray]:
        """Token ids, and uint64 [n, 2]: the bytes of the text (UTF-8) that each came from, 0 and 0 of special tokens."""
        self._open()
        data = utf8(text)
        flags, n = 0 if special else NO_SPECIAL, size_t()
        cap = 64  # a byte may become several tokens
        while True:
            ids, spans = np.empty(cap, np.int32), np.empty((cap, 2), np.uint64)
            status = lib.quern_tokenize_spans(self._model, data, len(data), flags, ids.ctypes.data, spans.ctypes.data,
                                               cap, ct.byref(n))
            if status != E_CAPACITY or n.value <= cap:
                self._context.check(status)
                return ids[:n.value].copy(), spans[:n.value].copy()
            cap = n.value

    def detokenize(self, ids: Iterable[int], special: bool = False) -> str:
        """Text of token ids, the special ones left out unless special is True."""
        self._open()
        ids = token_ids(ids)
        flags, n = NO_SPECIAL if special else 0, size_t()
        arguments = self._model, ids.ctypes.data, len(ids), flags
        status = lib.quern_detokenize(*arguments, None, 0, ct.byref(n))
        if status not in (0, E_CAPACITY):
            self._context.check(status)
        text = ct.create_string_buffer(n.value + 1)
        self._context.check(lib.quern_detokenize(*arguments, text, len(text), ct.byref(n)))
        return text.raw[:n.value].decode("utf-8", "replace")

    @property
    def chat_form(self) -> str:
        """The form that conversations with this model are written in: "chatml", "llama3", ...; "plain": none is known."""
        self._open()
        return lib.quern_chat_form(self._model).decode()

    def tokenize_chat(self, messages: Sequence[Message], *, form: Optional[str] = None, prompt: bool = True,
                      special: bool = True) -> np.ndarray:
        """Token ids (int32) of a conversation: messages {"role": ..., "content": ...} or (role, content), roles "system"
        (of the first alone), "user" and "assistant".   form: by its name, not the model's.   prompt: with the start of
        the assistant's next message.   special: with the tokenizer's special tokens around it; those of the form are
        there always, and what a message says is never taken for one."""
        self._open()
        pairs = [(m["role"], m["content"]) if isinstance(m, dict) else m for m in messages]
        roles, contents = [utf8(role) for role, _ in pairs], [utf8(content) for _, content in pairs]
        said = (ChatMessage * len(pairs))(*[ChatMessage(role, content, len(content))
                                            for role, content in zip(roles, contents)])
        flags, n = (CHAT_PROMPT if prompt else 0) | (0 if special else NO_SPECIAL), size_t()
        cap = sum(map(len, contents)) + 32 * len(pairs) + 64
        while True:
            ids = np.empty(cap, np.int32)
            status = lib.quern_chat_tokenize(self._model, form.encode() if form else None, said, len(pairs), flags,
                                             ids.ctypes.data, cap, ct.byref(n))
            if status != E_CAPACITY or n.value <= cap:
                self._context.check(status)
                return ids[:n.value].copy()
            cap = n.value

    # Work

    def decoder(self, *, sequences: int = 1, cache_tokens: int = 0, max_tokens: int = 0, cache_bits: int = 0,
                logit_rows: int = 0) -> Decoder:
        """A Decoder: sequences of tokens that this model continues, in memory of their own.

        sequences: how many are held.   cache_tokens: tokens of all of them together, in pages of 64 that each has whole
        (0: max_tokens, or 64 for each where that is more).   max_tokens: of one pass (0: 2048).   cache_bits: of keys
        and values, 8, 4 or 32 (0: 8, and 32 of a float model).   logit_rows: what `rows` gives at most, and one more than
        `lookup` may be (0: 16, or one for each sequence where that is more)."""
        self._open()
        if not self._info.decoder:
            raise QuernError(E_TASK, "the model predicts no next tokens: embed, classify or answer may be what it is for")
        options = SessionOptions(max_sequences=sequences, cache_tokens=cache_tokens, max_tokens=max_tokens,
                                 cache_bits=cache_bits, logit_rows=logit_rows or max(16, sequences))
        decoder = Decoder(self, options)
        self._decoders.add(decoder)
        return decoder

    def embed(self, texts: Union[Text, Sequence[Text]], out: Optional[np.ndarray] = None) -> np.ndarray:
        """One text: float32 [width]. Several: float32 [n, width], in `out` when it is given."""
        if isinstance(texts, (str, bytes)):
            return self.embed([texts], None if out is None else out.reshape(1, -1))[0]
        return self.embed_arrow(*arrow(texts), out=out)

    def embed_arrow(self, data: Bytes, offsets: np.ndarray, out: Optional[np.ndarray] = None) -> np.ndarray:
        """Text i is data[offsets[i]:offsets[i + 1]], UTF-8. From a pyarrow large_string column without nulls:
        `_, offsets, data = column.buffers()`, then np.frombuffer(offsets, np.int64)[:n + 1]."""
        self._open()
        data, offsets = column(data, offsets)
        n = len(offsets) - 1
        out = result_array(out, (n, self.width))
        if n:
            self._run(lib.quern_embed_batch, data.ctypes.data, offsets.ctypes.data, n, out.ctypes.data, out.size, None)
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
        logits, probabilities = self.classify_arrow(*arrow(flat), pairs=pairs)
        if self._info.regression:
            return [Label("score", 0, float("nan"), row) for row in logits]
        names, best = self.labels, logits.argmax(1)
        return [Label(names[i], int(i), float(probabilities[row, i]), logits[row]) for row, i in enumerate(best)]

    def classify_arrow(self, data: Bytes, offsets: np.ndarray, pairs: bool = False) -> Tuple[np.ndarray, np.ndarray]:
        """Logits and probabilities, float32 [results, labels]. pairs: texts 2i and 2i + 1 are judged together."""
        self._open()
        data, offsets = column(data, offsets)
        n = len(offsets) - 1
        if pairs and n % 2:
            raise ValueError(f"pairs need an even number of texts, not {n}")
        shape = (n // 2 if pairs else n, max(self._info.labels, 1))
        logits, probabilities = np.empty(shape, np.float32), np.empty(shape, np.float32)
        if n:
            self._run(lib.quern_classify_batch, data.ctypes.data, offsets.ctypes.data, n, PAIRS if pairs else 0,
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
        data, offsets = arrow([text for question, context in pairs for text in (question, context)])
        n = len(offsets) // 2
        found, scores = np.empty((n, 2), np.uint64), np.empty((n, 2), np.float32)
        if n:
            options = AnswerOptions(stride=stride, answer_tokens=answer_tokens)
            self._run(lib.quern_answer_batch, data, offsets.ctypes.data, 2 * n, ct.byref(options), found.ctypes.data,
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
        view = View()

        def call(session, *arguments):  # the view is the session's until its next call: copied under the lock
            status = lib.quern_encode(session, *arguments)
            if status == 0:
                hidden.append(np.ctypeslib.as_array(view.data, (view.rows, view.cols)).copy())
            return status

        hidden: List[np.ndarray] = []
        self._run(call, ids.ctypes.data, None, lens.ctypes.data, len(lens), ct.byref(view))
        return np.split(hidden[0], np.cumsum(lens)[:-1].astype(np.int64))

    def cancel(self) -> None:
        """Makes the call in progress on another thread, or else the next one, fail with status 11, soon."""
        self._open()
        lib.quern_session_cancel(self._session)


def quantize(src: FilePath, dst: Optional[FilePath], recipe: FilePath = "int8", *,
             calibrate: Optional[FilePath] = None, rows: int = 0, seed: int = 0, max_loss: float = 0.0, select: str = "random",
             report: Optional[FilePath] = None, dry_run: bool = False, max_bytes: int = 0, threads: int = 0,
             progress: Optional[Callable[[int, int, str], Optional[bool]]] = None) -> Dict[str, float]:
    """Makes dst, a .qrn file, from src, a Hugging Face directory or a GGUF file, as `quern quantize` does. Gives source_bytes, bytes,
    worst_weight_error and loss (of recipes with max_loss, else 0).

    recipe: a preset's name, or the path of a JSON recipe.   calibrate: a file of texts, for recipes with static ranges
    or calibrated rounding; `rows` of them (0: 256, of decoders 96) are drawn by `seed`.   select: or they are the "longest", or of four times
    as many drawn those with the most "outliers".   max_loss: of recipe "auto" (0: as the recipe
    says).   report: a folder for report.json and report.html.   dry_run: do all but write dst, which may be None.
    max_bytes: of memory and of any source file (0: no limit).   progress(done, total, what) may return True to cancel.
    dst is replaced only when all went well."""
    kinds = ("random", "longest", "outliers")
    if select not in kinds:
        raise ValueError(f"select is one of {', '.join(kinds)}, not {select!r}")
    context = Context(threads, None)
    try:
        callback = progress_callback(progress)  # must live until the call returns
        path = lambda p: None if p is None else os.fsencode(p)
        options = QuantizeOptions(flags=DRY_RUN if dry_run else 0, seed=seed, calibration_rows=rows,
                                   recipe=path(recipe), calibration_path=path(calibrate), report_path=path(report),
                                   max_bytes=max_bytes, progress=callback, max_loss=max_loss,
                                   select=kinds.index(select))
        result = QuantizeResult()
        context.check(lib.quern_quantize_file(context.handle, os.fsencode(src), path(dst), ct.byref(options),
                                               ct.byref(result)))
        return {name: getattr(result, name) for name in ("source_bytes", "bytes", "worst_weight_error", "loss")}
    finally:
        context.close()
