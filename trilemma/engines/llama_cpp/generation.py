"""The token loop.

What is timed here is what a user waits for, so the loop does as little as it can: one ``llama_decode`` a token, and an
arg-max over llama.cpp's own logits. Text is made afterwards.
"""

from __future__ import annotations

import ctypes
import time

import numpy as np

from trilemma.engines.base import FloatArray, Generation, GenerationRequest, TokenCallback
from trilemma.engines.llama_cpp.decoding import Decoder, Decoding
from trilemma.engines.llama_cpp.native import Context, decode_error, native
from trilemma.errors import ContextError, EngineError


class Generator:
    """Runs requests one after the other in one context, whose cache is emptied before each."""

    def __init__(self, context: Context, decoding: Decoding, context_length: int) -> None:
        self._api = native()
        self._context = context
        self._decoding = decoding
        self._context_length = context_length
        self._rows: dict[int, FloatArray] = {}

    def run(self, request: GenerationRequest, on_token: TokenCallback | None = None) -> Generation:
        """Answer one request.

        The first token comes out of the prefill's logits, so ``engine_decoded_tokens`` is one less than the tokens.
        Without ``ignore_eos`` an end token is the last one returned.

        Raises:
            ContextError: prompt and output do not fit the context.
            EngineError: llama.cpp failed, did not prefill the whole prompt, or gave logits that are no numbers.
            NotOfferedError: the schema cannot be made a grammar.
        """
        self._refuse(request)
        return self._run(request, self._decoding.decoder(request), on_token)

    def _run(self, request: GenerationRequest, decoder: Decoder, on_token: TokenCallback | None) -> Generation:
        api, pointer, clock = self._api, self._context.pointer, time.perf_counter_ns
        decode = api.llama_decode
        submitted_ns = clock()
        self._context.clear()
        api.llama_perf_context_reset(pointer)
        self._prefill(request)
        token = decoder.pick(self._row())
        now = clock()
        tokens, times = [token], [now]
        if on_token:
            on_token(token, now)

        prefilled, prefill_s = self._counters()
        if prefilled != len(request.prompt):
            raise EngineError(
                f"llama.cpp prefilled {prefilled} tokens of a prompt of {len(request.prompt)}: a cache was in use.",
                "Report this with the run's log; the time to first token would be wrong.",
            )
        api.llama_perf_context_reset(pointer)

        cell = (ctypes.c_int32 * 1)(token)
        one = api.llama_batch_get_one(cell, 1)
        while not decoder.over(tokens):
            cell[0] = token
            code = decode(pointer, one)
            if code:
                raise decode_error(code)
            token = decoder.pick(self._row())
            now = clock()
            tokens.append(token)
            times.append(now)
            if on_token:
                on_token(token, now)

        decoded, decode_s = self._counters()
        return Generation(
            submitted_ns=submitted_ns,
            tokens=tokens,
            token_times_ns=times,
            prefilled_tokens=prefilled,
            engine_prefill_s=prefill_s,
            engine_decode_s=decode_s,
            engine_decoded_tokens=decoded,
        )

    def _refuse(self, request: GenerationRequest) -> None:
        if not request.prompt or request.max_tokens < 1:
            raise EngineError("A request needs at least one prompt token and one output token.")
        needed = len(request.prompt) + request.max_tokens
        if needed > self._context_length:
            raise ContextError(
                f"A prompt of {len(request.prompt)} tokens and {request.max_tokens} of output do not fit the context "
                f"of {self._context_length} tokens.",
                f"Set a context of at least {needed} tokens, or shorten the workload.",
            )

    def _prefill(self, request: GenerationRequest) -> None:
        """Evaluate the prompt in chunks of the batch size; logits are made after each chunk's last token alone."""
        api, n, width = self._api, len(request.prompt), self._context.n_batch
        prompt = (ctypes.c_int32 * n)(*request.prompt)
        for start in range(0, n, width):
            chunk = ctypes.cast(ctypes.byref(prompt, start * 4), ctypes.POINTER(ctypes.c_int32))
            self._context.decode(api.llama_batch_get_one(chunk, min(width, n - start)))

    def _counters(self) -> tuple[int, float]:
        """Tokens evaluated since the last reset and the seconds they took, by llama.cpp's own counters.

        They run from the start of ``llama_decode`` until the logits are asked for. Tokens evaluated one at a time are
        counted apart from longer batches (a prompt of one token among them); a count of zero is reported as one, which
        the time gives away.
        """
        counted = self._api.llama_perf_context(self._context.pointer)
        tokens = (counted.n_p_eval if counted.t_p_eval_ms > 0 else 0) + (counted.n_eval if counted.t_eval_ms > 0 else 0)
        return int(tokens), (counted.t_p_eval_ms + counted.t_eval_ms) / 1000

    def _row(self) -> FloatArray:
        """The logits of the last token, in llama.cpp's own memory."""
        pointer = self._api.llama_get_logits_ith(self._context.pointer, -1)
        if not pointer:
            raise EngineError("llama.cpp gave no logits.", "Look at the run's log.")
        address = ctypes.addressof(pointer.contents)
        row = self._rows.get(address)
        if row is None:
            row = np.ctypeslib.as_array(pointer, shape=(self._context.vocabulary_size,))
            self._rows = {address: row}
        return row
