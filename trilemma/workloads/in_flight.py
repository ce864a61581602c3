"""Requests that a server works on: their tokens are collected until each is answered."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from typing import Generic, TypeVar

from trilemma.engines.base import Emission, Generation, GenerationRequest, LoadedModel, Server
from trilemma.errors import ContextError

K = TypeVar("K")


class InFlight(Generic[K]):
    """Requests by whatever the caller calls them.

    Args:
        server: What answers; one with fewer slots than requests lets the others wait.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asked: dict[int, tuple[K, Generation]] = {}

    def __len__(self) -> int:
        return len(self._asked)

    def submit(self, key: K, request: GenerationRequest, submitted_ns: int | None = None) -> None:
        """Have ``request`` answered; it counts as submitted at ``submitted_ns``, by default now.

        Raises:
            EngineError: it cannot be answered.
        """
        at_ns = time.perf_counter_ns() if submitted_ns is None else submitted_ns
        ticket = self._server.submit(request)
        self._asked[ticket] = key, Generation(at_ns, [], [], len(request.prompt))

    def step(self, timeout_s: float | None = None) -> list[tuple[K, Generation]]:
        """Those that are answered now, failed ones too; empty while none is.

        Raises:
            EngineError: the engine failed.
        """
        answered = []
        for emission in self._server.step(timeout_s):
            key, generation = self._asked[emission.ticket]
            if emission.token is not None:
                generation.tokens.append(emission.token)
                generation.token_times_ns.append(emission.time_ns)
            if not emission.last:
                continue
            del self._asked[emission.ticket]
            if emission.outcome is not None:
                generation = dataclasses.replace(emission.outcome, submitted_ns=generation.submitted_ns)
            answered.append((key, generation))
        return answered


class OneAtATime:
    """A :class:`trilemma.engines.base.Server` with one slot, over a model that answers one request at a time."""

    slots = 1

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._queue: deque[tuple[int, GenerationRequest]] = deque()
        self._tickets = 0

    def submit(self, request: GenerationRequest) -> int:
        """Queue a request; returns its ticket."""
        self._tickets += 1
        self._queue.append((self._tickets, request))
        return self._tickets

    def step(self, timeout_s: float | None = None) -> list[Emission]:
        """Answer the next request; one that the context has no room for ends with that error.

        Raises:
            EngineError: the engine failed, or refuses it.
        """
        if not self._queue:
            return []
        ticket, request = self._queue.popleft()
        try:
            outcome = self._model.generate(request)
        except ContextError as error:
            outcome = Generation(time.perf_counter_ns(), [], [], 0, error=str(error))
        return [Emission(ticket, None, time.perf_counter_ns(), True, outcome=outcome)]
