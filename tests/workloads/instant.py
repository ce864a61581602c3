"""A server that needs a set time a token and keeps a set number of requests in flight: what the driver is tried on."""

from __future__ import annotations

import time
from collections import deque

from trilemma.engines.base import Emission, Generation, GenerationRequest


class PacedServer:
    """Answers with counted tokens, ``step_s`` a step, like an engine that works inside the call.

    Args:
        slots: Requests answered at once; others wait.
        step_s: How long a step takes.
        fails: Positions, in order of submission, that fail with their second token.
    """

    def __init__(self, slots: int, step_s: float = 0.0, fails: frozenset[int] = frozenset()) -> None:
        self.slots = slots
        self.submitted: list[int] = []
        self.most_in_flight = 0
        self._step_s = step_s
        self._fails = fails
        self._active: dict[int, list[int]] = {}
        self._requests: dict[int, GenerationRequest] = {}
        self._queue: deque[int] = deque()

    def submit(self, request: GenerationRequest) -> int:
        ticket = len(self.submitted)
        self.submitted.append(time.perf_counter_ns())
        self._requests[ticket] = request
        self._queue.append(ticket)
        self.most_in_flight = max(self.most_in_flight, len(self._active) + len(self._queue))
        return ticket

    def step(self, timeout_s: float | None = None) -> list[Emission]:
        while self._queue and len(self._active) < self.slots:
            self._active[self._queue.popleft()] = []
        if self._step_s:
            time.sleep(self._step_s)
        now = time.perf_counter_ns()
        found = []
        for ticket, tokens in list(self._active.items()):
            if ticket in self._fails and len(tokens) == 1:
                failed = Generation(0, tokens, [now], 1, error="the connection was lost")
                found.append(Emission(ticket, None, now, True, outcome=failed))
                del self._active[ticket]
                continue
            tokens.append(len(tokens))
            last = len(tokens) == self._requests[ticket].max_tokens
            found.append(Emission(ticket, tokens[-1], now, last))
            if last:
                del self._active[ticket]
        return found
