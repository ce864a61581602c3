"""Users who ask at the same time: each submits a request, waits for all of its answer, and submits the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from trilemma.engines.base import Generation, GenerationRequest, Server


def closed_loop(
    server: Server, requests: Sequence[GenerationRequest], users: int, on_submit: Callable[[int], None] = lambda _: None
) -> Iterator[tuple[int, Generation]]:
    """Have ``users`` users ask ``requests`` in order; each with its position as soon as it is answered.

    Args:
        server: What answers; one with fewer slots than users lets the others wait: their time to first token says so.
        requests: Taken one after the other by whoever is free.
        users: Requests in flight, as long as there are that many left.
        on_submit: Told the position of each request as it is submitted.
    """
    waiting = iter(enumerate(requests))
    in_flight: dict[int, tuple[int, Generation]] = {}

    def ask_next() -> None:
        position, request = next(waiting, (None, None))
        if position is None or request is None:
            return
        on_submit(position)
        submitted_ns = time.perf_counter_ns()
        in_flight[server.submit(request)] = position, Generation(submitted_ns, [], [], len(request.prompt))

    for _ in range(users):
        ask_next()
    while in_flight:
        for emission in server.step():
            position, answer = in_flight[emission.ticket]
            if emission.token is not None:
                answer.tokens.append(emission.token)
                answer.token_times_ns.append(emission.time_ns)
            if emission.last:
                del in_flight[emission.ticket]
                ask_next()
                yield position, emission.outcome or answer
