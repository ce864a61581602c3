"""From a row of logits to the next token, and when an answer is over: what a request asks of both ways of decoding.

Arg-max is NumPy's vectorised one over llama.cpp's own logits: llama.cpp's greedy sampler first copies the vocabulary
into an array of structures, which takes ten times as long for 262,144 entries.
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trilemma.engines.base import FloatArray, GenerationRequest
from trilemma.engines.llama_cpp.native import native
from trilemma.errors import EngineError, NotOfferedError


class Decoding:
    """What all requests of a model share.

    Args:
        vocab: ``llama_vocab *``.
        vocabulary_size: Width of the logits.
        detokenize: Makes text of tokens.
    """

    def __init__(self, vocab: Any, vocabulary_size: int, detokenize: Callable[[Sequence[int]], str]) -> None:
        self.vocab = vocab
        self.vocabulary_size = vocabulary_size
        self.detokenize = detokenize

    @functools.cached_property
    def end_tokens(self) -> npt.NDArray[np.intp]:
        """Every token that ends a generation."""
        is_end, vocab = native().llama_vocab_is_eog, self.vocab
        return np.array([t for t in range(self.vocabulary_size) if is_end(vocab, t)], dtype=np.intp)

    @functools.cached_property
    def ends(self) -> frozenset[int]:
        """The same as a set."""
        return frozenset(self.end_tokens.tolist())

    def decoder(self, request: GenerationRequest) -> Decoder:
        """For one request.

        Raises:
            NotOfferedError: its schema cannot be made a grammar.
        """
        return Decoder(self, request)


class Decoder:
    """Picks the tokens of one request."""

    def __init__(self, shared: Decoding, request: GenerationRequest) -> None:
        self._shared = shared
        self._request = request
        self._rng = np.random.default_rng(request.seed) if request.temperature > 0 else None
        self._grammar = Grammar(shared, request.schema) if request.schema else None
        # A token is a byte of text at least, but for control tokens, which end an answer.
        self._tail = max((len(text.encode()) for text in request.stop), default=0) + 1

    def pick(self, row: FloatArray) -> int:
        """The next token out of its logits, which may be changed.

        With ``ignore_eos`` the end tokens get a logit of minus infinity, as llama.cpp's server does it.

        Raises:
            EngineError: the logits are not numbers.
        """
        if self._request.ignore_eos:
            row[self._shared.end_tokens] = -np.inf
        noise: FloatArray | None = None
        if self._rng is not None:
            # The largest of logits with Gumbel noise is a sample of their soft-max (Gumbel, 1954).
            noise = self._rng.gumbel(size=row.shape).astype(np.float32)
            row = row / np.float32(self._request.temperature) + noise
        token = int(row.argmax())
        if row[token] != row[token]:  # arg-max returns the first not-a-number
            raise EngineError("The model's logits are not numbers.", "The weights are damaged; make or get them anew.")
        return self._grammar.choose(row, token) if self._grammar else token

    def over(self, tokens: Sequence[int]) -> bool:
        """Whether the answer ends with the last of ``tokens``."""
        request = self._request
        if len(tokens) >= request.max_tokens:
            return True
        if not request.ignore_eos and tokens[-1] in self._shared.ends:
            return True
        if not request.stop:
            return False
        tail = self._shared.detokenize(tokens[-self._tail :])
        return any(text in tail for text in request.stop)


class Grammar:
    """A JSON schema as llama.cpp's grammar, and how far an answer is in it."""

    def __init__(self, shared: Decoding, schema: str) -> None:
        self._api = native()
        self._sampler: Any = self._api.llama_sampler_init_grammar(shared.vocab, _rules(schema).encode(), b"root")
        if not self._sampler:
            raise NotOfferedError("llama.cpp makes no grammar of this JSON schema.", "Use a simpler schema.")
        self._entries = np.zeros(shared.vocabulary_size, _ENTRY)

    def choose(self, row: FloatArray, best: int) -> int:
        """The token with the highest logit of those that the grammar allows; ``best`` is the highest of all.

        Raises:
            EngineError: it allows none.
        """
        if not self._allowed(np.array([best], np.int32), row[[best]])[0]:
            allowed = self._allowed(np.arange(len(row), dtype=np.int32), row)
            best = int(np.where(allowed, row, -np.inf).argmax())
            if not allowed[best]:
                raise EngineError("The grammar allows no token.", "Use a simpler JSON schema.")
        self._api.llama_sampler_accept(self._sampler, best)
        return best

    def _allowed(self, tokens: npt.NDArray[np.int32], logits: FloatArray) -> npt.NDArray[np.bool_]:
        api = self._api
        entries = self._entries[: len(tokens)]
        entries["id"], entries["logit"], entries["p"] = tokens, logits, 0.0
        array = api.llama_token_data_array(
            data=entries.ctypes.data_as(ctypes.POINTER(api.llama_token_data)),
            size=len(tokens),
            selected=-1,
            sorted=False,
        )
        api.llama_sampler_apply(self._sampler, ctypes.byref(array))
        allowed: npt.NDArray[np.bool_] = np.isfinite(entries["logit"])
        return allowed

    def __del__(self) -> None:
        sampler, self._sampler = getattr(self, "_sampler", None), None
        if sampler:
            self._api.llama_sampler_free(sampler)


_ENTRY = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""``llama_token_data``."""


@functools.lru_cache(maxsize=256)
def _rules(schema: str) -> str:
    from llama_cpp.llama_grammar import json_schema_to_gbnf  # noqa: PLC0415 (needed by few processes)

    try:
        return str(json_schema_to_gbnf(json.dumps(json.loads(schema))))
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError) as error:
        raise NotOfferedError(
            f"llama.cpp makes no grammar of this JSON schema ({error}).", "Use a simpler schema."
        ) from error
