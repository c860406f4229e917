"""_decoder.py - Decoder: sequences of tokens that a model continues; Generation: text as it comes; Sampling."""
from __future__ import annotations

import atexit
import ctypes as ct
import os
import threading
import weakref
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Union

from ._library import (
    E_CANCELLED, NO_SPECIAL, FilePath, Generated, GenerateOptions, QuernError, SamplingOptions, SessionOptions,
    StatsInfo, Text, Token, View, i32, lib, np, ptr, session_error, token_ids, u32, utf8)

if TYPE_CHECKING:
    from ._model import Message, Model

Prompt = Union[Text, Iterable[int], "Sequence[Message]"]
_REASONS = {1: "length", 2: "end", 3: "text", 4: "stopped"}


class Sampling(NamedTuple):
    """How the next token is chosen. A draw depends on seed, sequence and position alone."""
    temperature: float = 0  # 0: always the most likely token
    top_k: int = 0  # candidates at most; 0: all
    top_p: float = 1  # the most likely ones that together have this probability; 1: all
    min_p: float = 0  # those with at least this share of the most likely one's probability; 0: all
    repeat_penalty: float = 1  # above 1: the last penalty_tokens become less likely
    presence_penalty: float = 0  # taken from their scores
    penalty_tokens: int = 64
    seed: int = 0
    bias: Optional[Mapping[int, float]] = None  # added to the scores of these tokens; -inf: never

    def options(self) -> SamplingOptions:
        """The struct of the library; what it points to lives as long as it does."""
        bias = self.bias or {}
        ids, values = token_ids(bias), np.array(list(bias.values()), np.float32)
        o = SamplingOptions(top_k=self.top_k, temperature=self.temperature, top_p=self.top_p, min_p=self.min_p,
                            repeat_penalty=self.repeat_penalty, presence_penalty=self.presence_penalty,
                            penalty_tokens=self.penalty_tokens, seed=self.seed, bias_ids=ids.ctypes.data,
                            bias=values.ctypes.data, biases=len(ids))
        o.kept = ids, values
        return o


class Decoder:
    """Sequences of tokens, numbered from 0, that a model continues: `Model.decoder` makes one. What a sequence has read
    is held, so that it goes on from there. Calls from several threads take turns; while a Generation of it is not at its
    end, all others are refused. The same tokens give the same bytes, whatever other sequences there are."""

    def __init__(self, model: "Model", options: SessionOptions):
        self._model, self._lock, self._work = model, threading.Lock(), None
        self._session = ptr()
        model._context.check(lib.quern_session_create(ct.byref(self._session), model._model, ct.byref(options)))

    def close(self) -> None:
        """Ends what is being generated and gives the memory back. Closing twice is fine."""
        while True:
            work = self._work
            if work:
                work.end()
            with self._lock:
                if not self._work:  # none has begun meanwhile
                    lib.quern_session_free(self._session)
                    self._session = ptr()
                    return

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_session"):
            self.close()

    def _idle_session(self) -> ptr:
        """The session, unless a generation has it; the lock is held."""
        if not self._session:
            raise ValueError("this decoder was closed")
        if self._work:
            raise RuntimeError("this decoder is generating: iterate to the end, or close the generation, first")
        return self._session

    def _run(self, call, *arguments) -> None:
        with self._lock:
            session = self._idle_session()
            status = call(session, *arguments)
            if status:
                raise QuernError(status, session_error(session))

    def ids(self, prompt: Prompt) -> np.ndarray:
        """Token ids of a text, with the model's special tokens; of messages of a conversation, with the start of the
        assistant's next one (Model.tokenize_chat); ids as they are."""
        if isinstance(prompt, (str, bytes)):
            return self._model.tokenize(prompt)
        if not isinstance(prompt, np.ndarray):
            prompt = list(prompt)
            if prompt and isinstance(prompt[0], (dict, tuple)):
                return self._model.tokenize_chat(prompt)
        return token_ids(prompt)

    # Sequences

    def feed(self, prompt: Prompt, sequence: int = 0) -> None:
        """Appends tokens to a sequence: ids, or what `ids` makes of a text or of messages."""
        ids = self.ids(prompt)
        self._run(lib.quern_decode_feed, sequence, ids.ctypes.data, len(ids))

    def feed_batch(self, prompts: Mapping[int, Prompt]) -> None:
        """The same to several sequences at once, which share the work: {sequence: prompt}."""
        parts = [self.ids(prompt) for prompt in prompts.values()]
        sequences = np.array(list(prompts), np.uint32)
        offsets = np.cumsum([0] + [len(part) for part in parts]).astype(np.uint32)
        ids = np.concatenate(parts) if parts else np.empty(0, np.int32)
        self._run(lib.quern_decode_batch, sequences.ctypes.data, offsets.ctypes.data, ids.ctypes.data, len(parts))

    def length(self, sequence: int = 0) -> int:
        """Tokens of a sequence."""
        n = u32()
        self._run(lib.quern_sequence_length, sequence, ct.byref(n))
        return n.value

    def truncate(self, tokens: int, sequence: int = 0) -> None:
        """Drops all but the first tokens; truncate(0) makes a sequence as new."""
        self._run(lib.quern_sequence_truncate, sequence, tokens)

    def copy(self, source: int, to: int, tokens: Optional[int] = None) -> None:
        """Sequence `to` becomes the first tokens (None: all) of `source`; both share what they have in common."""
        self._run(lib.quern_sequence_copy, source, to, self.length(source) if tokens is None else tokens)

    def save(self, path: FilePath, sequence: int = 0) -> None:
        """Writes a sequence to a file, from which a later decoder of the same model file goes on."""
        self._run(lib.quern_sequence_save, sequence, os.fsencode(path))

    def restore(self, path: FilePath, sequence: int = 0) -> None:
        """Makes a sequence what was saved. A file that does not fit is refused and the sequence is as it was."""
        self._run(lib.quern_sequence_restore, sequence, os.fsencode(path))

    # Scores and choices

    def logits(self, sequence: int = 0) -> np.ndarray:
        """Scores of all tokens to come next, before softmax: float32 [vocab]."""
        data, n = ct.POINTER(ct.c_float)(), u32()
        return self._copied(lib.quern_decode_logits, lambda: np.ctypeslib.as_array(data, (n.value,)), sequence,
                            ct.byref(data), ct.byref(n))

    def rows(self, first: int, n: int) -> np.ndarray:
        """The same after each of n tokens of the last feed, counted over all its sequences: float32 [n, vocab]."""
        view, of = View(), u32()
        return self._copied(lib.quern_decode_rows, lambda: np.ctypeslib.as_array(view.data, (view.rows, view.cols)),
                            first, n, ct.byref(view), ct.byref(of))

    def _copied(self, call, look, *arguments) -> np.ndarray:
        """What a call shows of the session's memory, which is valid until its next call: copied under the lock."""
        found: List[np.ndarray] = []

        def run(session, *rest):
            status = call(session, *rest)
            if status == 0:
                found.append(look().copy())
            return status

        self._run(run, *arguments)
        return found[0]

    def score(self, prompt: Prompt, sequence: int = 0) -> np.ndarray:
        """feed, and float32 [n]: the natural logarithm of each token's probability after those before it; 0 of the first
        token of a sequence."""
        ids = self.ids(prompt)
        out = np.empty(len(ids), np.float32)
        self._run(lib.quern_decode_score, sequence, ids.ctypes.data, len(ids), out.ctypes.data)
        return out

    def sample(self, sequence: int = 0, sampling: Sampling = Sampling()) -> int:
        """Chooses the token after the last one of a sequence, without appending it."""
        chosen = i32()
        self._run(lib.quern_decode_sample, sequence, ct.byref(sampling.options()), ct.byref(chosen))
        return chosen.value

    def next(self, sequences: Iterable[int] = (0,), sampling: Sampling = Sampling()) -> np.ndarray:
        """The same for several sequences, and appends the tokens, all in one pass: int32 [n]."""
        numbers = np.array(list(sequences), np.uint32)
        out = np.empty(len(numbers), np.int32)
        self._run(lib.quern_decode_next, numbers.ctypes.data, len(numbers), ct.byref(sampling.options()),
                  out.ctypes.data)
        return out

    # Text

    def generate(self, prompt: Optional[Prompt] = None, *, sequence: int = 0, max_new: int = 256,
                 sampling: Sampling = Sampling(), stop: Union[Text, int, Iterable[Union[Text, int]]] = (),
                 lookup: int = 0, special: bool = False) -> "Generation":
        """Iterates over the text that follows, as it comes. The prompt, a text, token ids, or messages of a
        conversation, takes the place of what the sequence holds, of which it does not read again what both begin with; None
        goes on where it is.

        max_new: tokens at most (0: as many as the model has positions for).   stop: texts and token ids that end it,
        beside the model's own; they are not handed out.   lookup: tokens guessed ahead by what followed the same words
        before, below the decoder's logit_rows: the same text, sooner.   special: with special tokens in the text.

        The sequence gets what was handed out. Leaving the loop, or an interrupt from the keyboard, ends the work."""
        stops = [stop] if isinstance(stop, (str, bytes, int)) else list(stop)
        texts = [utf8(s) for s in stops if isinstance(s, (str, bytes))]
        if any(b"\0" in text for text in texts):
            raise ValueError("a text to stop at holds a NUL")
        ids, chosen = token_ids([s for s in stops if not isinstance(s, (str, bytes))]), sampling.options()
        pointers = (ct.c_char_p * len(texts))(*texts)
        o = GenerateOptions(flags=NO_SPECIAL if special else 0, max_new=max_new, lookup=lookup,
                            sampling=ct.addressof(chosen), stop=ids.ctypes.data, stops=len(ids),
                            stop_text_count=len(texts), stop_texts=ct.addressof(pointers))
        o.kept = texts, pointers, ids, chosen
        return Generation(self, _Work(self, None if prompt is None else self.ids(prompt), sequence, o))

    @property
    def stats(self) -> Dict[str, int]:
        """Counts since the decoder was made: sequences, tokens, ...; cache_pages and those free, 64 tokens each."""
        stats = StatsInfo()
        self._run(lib.quern_session_get_stats, ct.byref(stats))
        return {name: getattr(stats, name) for name, _ in stats._fields_ if name not in ("size", "reserved")}

    def cancel(self) -> None:
        """Makes the call in progress on another thread, or else the next one, fail with status 11, soon."""
        if not self._session:
            raise ValueError("this decoder was closed")
        lib.quern_session_cancel(self._session)


class Generation(Iterator[str]):
    """Text that a decoder generates, in pieces of whole characters. ids: the tokens so far. At the end: reason ("end" of
    the text as the model says, "text" or token of `stop`, "length", or "stopped" by the caller), and guessed, how many of
    the tokens lookup had guessed. Nothing runs between two pieces."""

    def __init__(self, decoder: Decoder, work: "_Work"):
        self._decoder, self._work = decoder, work

    def __iter__(self) -> "Generation":
        return self

    def __next__(self) -> str:
        text = self._work.piece()
        if text is None:
            raise StopIteration
        return text

    def close(self) -> None:
        """Ends the generation where it is. Closing twice is fine."""
        self._work.end()

    def __enter__(self) -> "Generation":
        return self

    def __exit__(self, *_exc) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_work"):
            self.close()

    @property
    def ids(self) -> List[int]:
        return list(self._work.ids)

    @property
    def reason(self) -> Optional[str]:
        return _REASONS.get(self._work.result.reason)

    @property
    def guessed(self) -> int:
        return self._work.result.guessed


_working: "weakref.WeakSet[_Work]" = weakref.WeakSet()


class _Work:
    """The library's call, which hands out text by a callback, on a thread of its own, which takes turns with the one that
    iterates: `asked` lets it go on, `given` tells that there is text or the end. Generation has it and is not had by it,
    so that one that is forgotten ends."""

    def __init__(self, decoder: Decoder, prompt: Optional[np.ndarray], sequence: int, options: GenerateOptions):
        self.decoder, self.prompt, self.sequence, self.options = decoder, prompt, sequence, options
        self.ids: List[int] = []
        self.result = Generated()
        self.thread: Optional[threading.Thread] = None
        self.asked, self.given = threading.Semaphore(0), threading.Semaphore(0)
        self.text = ""
        self.status, self.message = 0, ""
        self.computes = self.ending = self.done = False

    # On its thread

    def on_token(self, _user, token, text, n) -> int:
        if self.ending:
            return 1
        if token >= 0:
            self.ids.append(token)
        if n == 0:
            return 0
        self.text = ct.string_at(text, n).decode("utf-8", "replace")
        self.given.release()
        self.asked.acquire()
        return 1 if self.ending else 0

    def read_prompt(self, session: ptr) -> int:
        """The prompt in the place of what the sequence holds; what both begin with is not read again, but for a last token,
        whose scores are needed."""
        ids, n, same = self.prompt.ctypes.data, len(self.prompt), u32()
        status = lib.quern_sequence_prefix(session, self.sequence, ids, n, ct.byref(same))
        kept = max(min(same.value, n - 1), 0)
        return status or lib.quern_sequence_truncate(session, self.sequence, kept) or lib.quern_decode_feed(
            session, self.sequence, ids + kept * ct.sizeof(i32), n - kept)

    def run(self, session: ptr) -> None:
        self.asked.acquire()  # until then the session is not its own
        status = E_CANCELLED if self.ending else 0
        if not status and self.prompt is not None:
            status = self.read_prompt(session)
        if not status:
            status = lib.quern_generate(session, self.sequence, ct.byref(self.options), Token(self.on_token), None,
                                        ct.byref(self.result))
        self.status, self.message = status, session_error(session) if status else ""
        self.done = True
        self.given.release()

    # On the caller's

    def start(self) -> None:
        with self.decoder._lock:
            session = self.decoder._idle_session()
            self.thread = threading.Thread(target=self.run, args=(session,), daemon=True)
            self.thread.start()
            _working.add(self)
            self.decoder._work = self

    def piece(self) -> Optional[str]:
        """The next text; None at the end."""
        if self.ending or self.done:
            return None
        try:
            if not self.thread:
                self.start()
            self.computes = True
            self.asked.release()
            self.given.acquire()
            self.computes = False
        except BaseException:  # an interrupt from the keyboard, while it computes
            self.end()
            raise
        if not self.done:
            return self.text
        self.leave()
        if self.status:
            raise QuernError(self.status, self.message)
        return None

    def end(self) -> None:
        """Ends it wherever it is. One that waits for the caller keeps what it handed out, one that computes is cancelled."""
        self.ending = True
        if self.decoder._work is not self:
            self.asked.release()  # a thread that has just begun
            return
        cancels = self.computes and not self.done
        if cancels:
            lib.quern_session_cancel(self.decoder._session)
        self.asked.release()
        self.thread.join()
        if cancels:  # should it have come too late, this call takes it, not the caller's next one
            lib.quern_decode_rows(self.decoder._session, 0, 0, ct.byref(View()), None)
        self.leave()

    def leave(self) -> None:
        self.thread.join()
        self.decoder._work = None
        _working.discard(self)


@atexit.register
def _end_all() -> None:
    """No thread of ours may call Python when the interpreter goes."""
    for work in list(_working):
        work.end()
