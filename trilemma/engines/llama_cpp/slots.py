"""Several requests at once: continuous batching over the sequences of one context.

Every step is one ``llama_decode`` of what is due: the last token of each answer in the making, and as much of the
prompts that wait as the batch still holds. A request whose turn has not come waits; a slot that falls free takes the
next one.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from trilemma.engines.base import Emission, GenerationRequest
from trilemma.engines.llama_cpp.decoding import Decoder, Decoding
from trilemma.engines.llama_cpp.native import Batch, Context, native
from trilemma.errors import ContextError, EngineError


@dataclass
class _Slot:
    """A sequence of the context, and the request that it answers."""

    sequence: int
    ticket: int = -1
    request: GenerationRequest | None = None
    evaluated: int = 0
    tokens: list[int] = field(default_factory=list)
    decoder: Decoder | None = None


class SlotServer:
    """Answers up to ``slots`` requests at once.

    Args:
        context: With ``slots`` sequences, each with cells for ``context_length`` tokens, and as many rows of logits.
        slots: Sequences.
        context_length: Tokens that prompt and answer of one request may take together.
        decoding: Picks tokens and says when an answer is over.
    """

    def __init__(self, context: Context, slots: int, context_length: int, decoding: Decoding) -> None:
        self._api = native()
        self._context = context
        self._context_length = context_length
        self._decoding = decoding
        self._slots = [_Slot(sequence) for sequence in range(slots)]
        self._queue: deque[tuple[int, GenerationRequest, Decoder]] = deque()
        self._batch = Batch(context.n_batch)
        self._tickets = 0
        context.clear()

    @property
    def slots(self) -> int:
        """How many requests are answered at once."""
        return len(self._slots)

    def submit(self, request: GenerationRequest) -> int:
        """Queue a request; its tokens come out of :meth:`step` under the ticket that this returns.

        Raises:
            ContextError: prompt and output do not fit a slot.
            EngineError: the prompt or the output is empty.
            NotOfferedError: the schema cannot be made a grammar.
        """
        if not request.prompt or request.max_tokens < 1:
            raise EngineError("A request needs at least one prompt token and one output token.")
        needed = len(request.prompt) + request.max_tokens
        if needed > self._context_length:
            raise ContextError(
                f"A prompt of {len(request.prompt)} tokens and {request.max_tokens} of output do not fit a slot's "
                f"context of {self._context_length} tokens.",
                f"Set a context of at least {needed} tokens, or shorten the workload.",
            )
        self._tickets += 1
        self._queue.append((self._tickets, request, self._decoding.decoder(request)))
        return self._tickets

    def step(self, timeout_s: float | None = None) -> list[Emission]:
        """Evaluate one batch; the tokens that came of it, at most one a request. Empty when nothing was due.

        Raises:
            EngineError: llama.cpp failed, or gave logits that are no numbers.
        """
        self._admit()
        speaking: list[_Slot] = []
        count = self._fill(speaking)
        if not count:
            return []
        self._context.decode(self._batch.first(count))
        if not speaking:
            return []
        rows = self._context.logits(len(speaking))
        decoders = [slot.decoder for slot in speaking if slot.decoder]
        picked = [decoder.pick(row) for decoder, row in zip(decoders, rows, strict=True)]
        now = time.perf_counter_ns()
        return [self._emit(slot, token, now) for slot, token in zip(speaking, picked, strict=True)]

    def _admit(self) -> None:
        for slot in self._slots:
            if slot.request is None and self._queue:
                slot.ticket, slot.request, slot.decoder = self._queue.popleft()
                slot.evaluated, slot.tokens = 0, []
                # Nothing of an earlier request may be reused: the time to first token would be another thing's.
                self._api.llama_memory_seq_rm(self._context.memory, slot.sequence, -1, -1)

    def _fill(self, speaking: list[_Slot]) -> int:
        """Lay out the batch; those whose next token comes of it are added to ``speaking`` in the order of its rows."""
        count = 0
        for slot in self._slots:
            if slot.request is not None and slot.tokens:
                self._put(count, slot, slot.tokens[-1:], len(slot.request.prompt) + len(slot.tokens) - 1)
                self._batch.outputs[count] = 1
                speaking.append(slot)
                count += 1
        for slot in self._slots:
            if slot.request is None or slot.tokens:
                continue
            part = slot.request.prompt[slot.evaluated : slot.evaluated + self._batch.capacity - count]
            if not part:
                continue
            self._put(count, slot, part, slot.evaluated)
            slot.evaluated += len(part)
            count += len(part)
            if slot.evaluated == len(slot.request.prompt):
                self._batch.outputs[count - 1] = 1
                speaking.append(slot)
        return count

    def _put(self, start: int, slot: _Slot, tokens: Any, position: int) -> None:
        here = slice(start, start + len(tokens))
        self._batch.tokens[here] = tokens
        self._batch.positions[here] = range(position, position + len(tokens))
        self._batch.seq_ids[here, 0] = slot.sequence
        self._batch.outputs[here] = 0

    def _emit(self, slot: _Slot, token: int, now: int) -> Emission:
        assert slot.decoder is not None
        slot.tokens.append(token)
        last = slot.decoder.over(slot.tokens)
        if last:
            slot.request = slot.decoder = None
        return Emission(slot.ticket, token, now, last)
