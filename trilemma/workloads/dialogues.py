"""Users who each hold a dialogue of one or more requests, one after the other, until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeVar

from trilemma.engines.base import Generation, GenerationRequest, Server
from trilemma.errors import ContextError
from trilemma.workloads.in_flight import InFlight

T = TypeVar("T")
Dialogue = Generator[GenerationRequest, Generation, T]
"""Yields a request, is sent its answer, yields the next one ..., and returns what came of it."""


class Heard(NamedTuple):
    """A request of the dialogue at ``position``, and its answer."""

    position: int
    request: GenerationRequest
    generation: Generation


def converse(
    server: Server,
    dialogues: Sequence[Dialogue[T]],
    users: int,
    heard: Callable[[Heard], None],
    over: Callable[[int, T], None],
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Hold ``dialogues`` in order, ``users`` of them at a time.

    A request that the context has no room for comes back with an error as its answer; the dialogue decides what
    becomes of it.

    Args:
        server: What answers.
        dialogues: Not begun yet.
        users: How many are held at once.
        heard: Called with every answer as it comes.
        over: Called with the position and the result of every dialogue that ends.
        enough: Asked before a dialogue begins; once it says so none does, but those that have begun go on to their end.

    Raises:
        EngineError: the engine failed.
    """
    in_flight: InFlight[tuple[int, GenerationRequest]] = InFlight(server)
    waiting = iter(range(len(dialogues)))

    def go_on(position: int, answer: Generation | None) -> bool:
        """Have the next request of a dialogue answered; whether there is one."""
        dialogue = dialogues[position]
        while True:
            try:
                request = next(dialogue) if answer is None else dialogue.send(answer)
            except StopIteration as end:
                over(position, end.value)
                return False
            try:
                in_flight.submit((position, request), request)
            except ContextError as error:
                answer = Generation(time.perf_counter_ns(), [], [], 0, error=str(error))
                heard(Heard(position, request, answer))
            else:
                return True

    def begin() -> None:
        """Begin the next dialogue that asks anything."""
        for position in waiting:
            if enough() or go_on(position, None):
                return

    for _ in range(min(users, len(dialogues))):
        begin()
    while len(in_flight):
        for (position, request), generation in in_flight.step():
            heard(Heard(position, request, generation))
            if not go_on(position, generation):
                begin()
