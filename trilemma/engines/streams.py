"""Engines that answer in the background: an event loop in a thread of its own, behind the synchronous protocol."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from trilemma.engines.base import Emission, GenerationRequest

T = TypeVar("T")
Stream = Callable[[int, GenerationRequest], AsyncIterator[Emission]]
"""Answers the request of a ticket; its last emission says so."""


class LoopThread:
    """An event loop that runs in a thread until it is closed."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for ``work`` and return what it returns, or raise what it raises."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self) -> None:
        """Cancel what still runs and end the thread; a second call does nothing."""
        if self.loop.is_closed() or not self._thread.is_alive():
            return
        with suppress(Exception):
            self.run(_cancel_others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class StreamServer:
    """A :class:`trilemma.engines.base.Server` over streams that run in a :class:`LoopThread`.

    Args:
        thread: Where they run.
        slots: How many are answered at once.
        stream: Answers one request.
        refuse: Raises an EngineError for a request that cannot be answered.
    """

    def __init__(
        self, thread: LoopThread, slots: int, stream: Stream, refuse: Callable[[GenerationRequest], None]
    ) -> None:
        self._thread = thread
        self._slots = slots
        self._stream = stream
        self._refuse = refuse
        self._news: queue.SimpleQueue[Emission | Exception] = queue.SimpleQueue()
        self._tickets = 0
        self._in_flight = 0
        self._failure: Exception | None = None

    @property
    def slots(self) -> int:
        """How many requests are answered at once."""
        return self._slots

    def submit(self, request: GenerationRequest) -> int:
        """Start answering ``request``; its tokens come out of :meth:`step` under the ticket that this returns.

        Raises:
            EngineError: it cannot be answered.
        """
        self._refuse(request)
        self._tickets += 1
        self._in_flight += 1
        asyncio.run_coroutine_threadsafe(self._follow(self._tickets, request), self._thread.loop)
        return self._tickets

    def step(self, timeout_s: float | None = None) -> list[Emission]:
        """All that has come since the last step, after waiting for the first of it.

        Raises:
            EngineError: as the stream of a request raised it.
        """
        if not self._in_flight:
            return []
        found: list[Emission] = []
        try:
            news = self._failure or self._news.get(timeout=timeout_s)
            while True:
                if isinstance(news, Exception):
                    self._failure = news
                    if found:
                        return found  # what came before it is not lost; the next step raises
                    raise news
                self._in_flight -= news.last
                found.append(news)
                news = self._news.get_nowait()
        except queue.Empty:
            return found

    async def _follow(self, ticket: int, request: GenerationRequest) -> None:
        try:
            async for emission in self._stream(ticket, request):
                self._news.put(emission)
        except Exception as error:  # whatever it is, the thread that asked must hear of it
            self._news.put(error)
