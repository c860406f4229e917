"""_library.py - the C interface: structs and signatures of include/quern.h, the library that was found, contexts, and
text and arrays as the library takes them."""
from __future__ import annotations

import ctypes as ct
import ctypes.util
import logging
import os
from pathlib import Path
from typing import Callable, Iterable, List, Optional, Sequence, Tuple, Union

try:
    import numpy as np
except ModuleNotFoundError:
    raise ImportError("quern needs numpy: pip install numpy") from None

Text = Union[str, bytes]
FilePath = Union[str, bytes, os.PathLike]
Bytes = Union[bytes, bytearray, memoryview, np.ndarray]

# ---- the C interface: include/quern.h ------------------------------------------------------------------------------

u32, u64, i32, ptr, size_t = ct.c_uint32, ct.c_uint64, ct.c_int32, ct.c_void_p, ct.c_size_t
MOST = {kind: (1 << 8 * ct.sizeof(kind)) - 1 for kind in (u32, u64, size_t)}
Progress = ct.CFUNCTYPE(i32, ptr, u64, u64, ct.c_char_p)
Log = ct.CFUNCTYPE(None, ptr, i32, ct.c_char_p)
Token = ct.CFUNCTYPE(i32, ptr, i32, ptr, size_t)


class Struct(ct.Structure):
    """A struct of quern.h: starts with its size."""

    def __init__(self, **values):
        for name, kind in self._fields_:  # ctypes would take a number modulo the field's size
            most, value = MOST.get(kind), values.get(name, 0)
            if most and not 0 <= value <= most:
                raise ValueError(f"{name} must be 0 to {most}, not {value}")
        super().__init__(size=ct.sizeof(type(self)), **values)


class ContextOptions(Struct):
    _fields_ = [("size", u32), ("threads", u32), ("isa", ct.c_char_p), ("alloc", ptr), ("log", Log), ("log_user", ptr),
                ("parallel", ptr), ("parallel_user", ptr), ("log_level", i32), ("reserved", u32)]


class ModelOptions(Struct):
    _fields_ = [("size", u32), ("flags", u32), ("max_bytes", u64), ("progress", Progress), ("progress_user", ptr)]


class ModelInfo(Struct):
    _fields_ = [("size", u32)] + [(name, u32) for name in (
        "layers", "width", "heads", "kv_heads", "ffn_width", "vocab", "max_tokens", "sentence_tokens", "labels",
        "embedding_width", "regression", "tensors", "sites", "span")] + [("params", u64), ("bytes", u64)] + [
            (name, u32) for name in ("decoder", "causal", "head_dim", "rotary", "window", "global_every", "gated",
                                     "tied")] + [(name, ct.c_char_p) for name in ("norm", "placement", "activation")]


class SessionOptions(Struct):
    _fields_ = [("size", u32), ("flags", u32), ("max_tokens", u32), ("max_sequences", u32), ("text_tokens", u32),
                ("pool", u32), ("workspace", ptr), ("workspace_bytes", size_t), ("cache_tokens", u32),
                ("cache_bits", u32), ("logit_rows", u32), ("reserved", u32)]


class StatsInfo(Struct):
    _fields_ = [("size", u32), ("reserved", u32), ("sequences", u64), ("tokens", u64), ("texts_cut", u64),
                ("ns_encode", u64), ("bytes", u64), ("cache_pages", u32), ("cache_pages_free", u32)]


class View(ct.Structure):
    _fields_ = [("data", ct.POINTER(ct.c_float)), ("rows", u64), ("cols", u64)]


class AnswerOptions(Struct):
    _fields_ = [("size", u32), ("stride", u32), ("answer_tokens", u32), ("reserved", u32), ("window", ptr),
                ("window_user", ptr)]


class ChatMessage(ct.Structure):
    _fields_ = [("role", ct.c_char_p), ("content", ct.c_char_p), ("content_len", size_t)]


class SamplingOptions(Struct):
    _fields_ = [("size", u32), ("top_k", u32)] + [(name, ct.c_float) for name in (
        "temperature", "top_p", "min_p", "repeat_penalty", "presence_penalty")] + [
            ("penalty_tokens", u32), ("seed", u64), ("bias_ids", ptr), ("bias", ptr), ("biases", u32),
            ("reserved", u32)]


class GenerateOptions(Struct):
    _fields_ = [("size", u32), ("flags", u32), ("max_new", u32), ("lookup", u32), ("sampling", ptr), ("stop", ptr),
                ("stops", u32), ("stop_text_count", u32), ("stop_texts", ptr)]


class Generated(Struct):
    _fields_ = [("size", u32), ("tokens", u32), ("reason", u32), ("guessed", u32)]


class QuantizeOptions(Struct):
    _fields_ = [("size", u32), ("flags", u32), ("seed", u32), ("calibration_rows", u32), ("recipe", ct.c_char_p),
                ("calibration_path", ct.c_char_p), ("report_path", ct.c_char_p), ("max_bytes", u64),
                ("progress", Progress), ("progress_user", ptr), ("max_loss", ct.c_double), ("select", u32), ("reserved", u32)]


class QuantizeResult(Struct):
    _fields_ = [("size", u32), ("reserved", u32), ("source_bytes", u64), ("bytes", u64),
                ("worst_weight_error", ct.c_double), ("loss", ct.c_double)]


E_CAPACITY, E_CANCELLED, E_TASK = 10, 11, 15
NO_SPECIAL, NO_NORMALIZE, PAIRS, CHAT_PROMPT, OPEN_VERIFY, DRY_RUN = 1, 1, 2, 2, 1, 1
POOLS = {"model": 0, "mean": 1, "cls": 2, "last": 3}

SIGNATURES = {  # name: (result, arguments)
    "quern_version": (u32, []),
    "quern_status_name": (ct.c_char_p, [i32]),
    "quern_isa_name": (ct.c_char_p, [u32]),
    "quern_context_create": (i32, [ptr, ptr]),
    "quern_context_free": (None, [ptr]),
    "quern_context_error": (i32, [ptr, ct.c_char_p, size_t]),
    "quern_context_isa": (ct.c_char_p, [ptr]),
    "quern_context_threads": (u32, [ptr]),
    "quern_model_open": (i32, [ptr, ptr, ct.c_char_p, ptr]),
    "quern_model_free": (None, [ptr]),
    "quern_model_get_info": (i32, [ptr, ptr]),
    "quern_model_get_meta": (i32, [ptr, ct.c_char_p, ptr, size_t, ptr]),
    "quern_model_meta_key": (ct.c_char_p, [ptr, u32]),
    "quern_tokenize": (i32, [ptr, ct.c_char_p, size_t, u32, ptr, size_t, ptr]),
    "quern_tokenize_spans": (i32, [ptr, ct.c_char_p, size_t, u32, ptr, ptr, size_t, ptr]),
    "quern_detokenize": (i32, [ptr, ptr, size_t, u32, ptr, size_t, ptr]),
    "quern_chat_form": (ct.c_char_p, [ptr]),
    "quern_chat_tokenize": (i32, [ptr, ct.c_char_p, ptr, u32, u32, ptr, size_t, ptr]),
    "quern_session_create": (i32, [ptr, ptr, ptr]),
    "quern_session_free": (None, [ptr]),
    "quern_session_error": (i32, [ptr, ct.c_char_p, size_t]),
    "quern_session_cancel": (i32, [ptr]),
    "quern_session_get_stats": (i32, [ptr, ptr]),
    "quern_encode": (i32, [ptr, ptr, ptr, ptr, u32, ptr]),
    "quern_embed_batch": (i32, [ptr, ptr, ptr, size_t, ptr, size_t, ptr]),
    "quern_classify_batch": (i32, [ptr, ptr, ptr, size_t, u32, ptr, ptr, size_t]),
    "quern_answer_batch": (i32, [ptr, ptr, ptr, size_t, ptr, ptr, ptr]),
    "quern_decode_feed": (i32, [ptr, u32, ptr, u32]),
    "quern_decode_batch": (i32, [ptr, ptr, ptr, ptr, u32]),
    "quern_decode_logits": (i32, [ptr, u32, ptr, ptr]),
    "quern_decode_rows": (i32, [ptr, u32, u32, ptr, ptr]),
    "quern_decode_score": (i32, [ptr, u32, ptr, u32, ptr]),
    "quern_decode_sample": (i32, [ptr, u32, ptr, ptr]),
    "quern_decode_next": (i32, [ptr, ptr, u32, ptr, ptr]),
    "quern_generate": (i32, [ptr, u32, ptr, Token, ptr, ptr]),
    "quern_sequence_length": (i32, [ptr, u32, ptr]),
    "quern_sequence_prefix": (i32, [ptr, u32, ptr, u32, ptr]),
    "quern_sequence_truncate": (i32, [ptr, u32, u32]),
    "quern_sequence_copy": (i32, [ptr, u32, u32, u32]),
    "quern_sequence_save": (i32, [ptr, u32, ct.c_char_p]),
    "quern_sequence_restore": (i32, [ptr, u32, ct.c_char_p]),
    "quern_sequence_free": (i32, [ptr, u32]),
    "quern_quantize_file": (i32, [ptr, ct.c_char_p, ct.c_char_p, ptr, ptr]),
}


def load() -> ct.CDLL:
    here = Path(__file__).resolve()
    near = (here.with_name("libquern.so"), here.parents[3] / "build" / "libquern.so")
    path = os.environ.get("QUERN_LIBRARY") or next((str(p) for p in near if p.exists()), None) or \
        ctypes.util.find_library("quern")
    if not path:
        raise ImportError("libquern.so was not found: run `make` in the project's root, or set QUERN_LIBRARY to it")
    library = ct.CDLL(path)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


lib = load()


class QuernError(Exception):
    """A call failed: `status` is the number and `name` the short name of quern.h; the text says what to do."""

    def __init__(self, status: int, message: str):
        self.status = status
        self.name = lib.quern_status_name(status).decode()
        super().__init__(message or self.name)


def version() -> str:
    """Version of the library that was loaded, "0.1.0"."""
    n = lib.quern_version()
    return f"{n // 10000}.{n // 100 % 100}.{n % 100}"


def isa_names() -> List[str]:
    """The kernel sets that this machine can run, the least capable first."""
    names: List[str] = []
    while (name := lib.quern_isa_name(len(names))) is not None:
        names.append(name.decode())
    return names


class Context:
    """A quern_context, and the errors it tells. Warnings of the library go to the logger "quern"."""

    def __init__(self, threads: int, isa: Optional[str]):
        last = [""]

        def log(_user, level, message):
            last[0] = message.decode("utf-8", "replace")
            if level == 1:
                logging.getLogger("quern").warning(last[0])

        self.handle = ptr()
        self._log = Log(log)  # lives as long as the context that calls it
        options = ContextOptions(threads=threads, isa=isa.encode() if isa else None, log=self._log, log_level=1)
        status = lib.quern_context_create(ct.byref(self.handle), ct.byref(options))
        if status:  # there is no context to ask: the message came as a log line
            raise QuernError(status, last[0])

    def check(self, status: int) -> None:
        if status:
            text = ct.create_string_buffer(512)
            lib.quern_context_error(self.handle, text, len(text))
            raise QuernError(status, text.value.decode("utf-8", "replace"))

    def close(self) -> None:
        lib.quern_context_free(self.handle)
        self.handle = ptr()


def progress_callback(callback: Optional[Callable[[int, int, str], Optional[bool]]]) -> Progress:
    """callback(done, total, what); returning True cancels. An exception in it cancels too."""
    if callback is None:
        return Progress()

    def call(_user, done, total, what):
        try:
            return 1 if callback(done, total, what.decode("utf-8", "replace")) else 0
        except BaseException:
            return 1

    return Progress(call)


# ---- text in and arrays out ----------------------------------------------------------------------------------------


def utf8(text: Text) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "replace")
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"a text is str or bytes, not {type(text).__name__}")


def arrow(texts: Sequence[Text]) -> Tuple[bytes, np.ndarray]:
    """Texts as the library takes them: one UTF-8 buffer and n + 1 offsets."""
    parts = [utf8(t) for t in texts]
    offsets = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(p) for p in parts], out=offsets[1:])
    return b"".join(parts), offsets


def column(data: Bytes, offsets: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The caller's buffer and offsets, checked, not copied (offsets are widened where they are not int64 already)."""
    data = np.frombuffer(data, np.uint8) if len(data) else np.zeros(1, np.uint8)
    offsets = np.ascontiguousarray(offsets, np.int64)
    if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] < 0 or (np.diff(offsets) < 0).any():
        raise ValueError("offsets must be one dimension of n + 1 ascending numbers, the first not negative")
    if offsets[-1] > data.nbytes:
        raise ValueError(f"the last offset, {offsets[-1]}, lies past the {data.nbytes} bytes of text")
    return data, offsets


def result_array(out: Optional[np.ndarray], shape: Tuple[int, int]) -> np.ndarray:
    if out is None:
        return np.empty(shape, np.float32)
    if out.dtype != np.float32 or out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out must be a writable, C-contiguous float32 array of shape {shape}")
    return out


def token_ids(ids: Iterable[int]) -> np.ndarray:
    """Token ids as int32 in a row; a text is none."""
    if isinstance(ids, (str, bytes)):
        raise TypeError("token ids are numbers: tokenize makes them of a text")
    array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError("token ids are one row of whole numbers")
    if array.size and (array.min() < -2**31 or array.max() >= 2**31):
        raise ValueError("a token id does not fit 32 bits")
    return np.ascontiguousarray(array, np.int32)


def session_error(session) -> str:
    text = ct.create_string_buffer(512)
    lib.quern_session_error(session, text, len(text))
    return text.value.decode("utf-8", "replace")
