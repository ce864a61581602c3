"""Prompts of a wanted length for a tokenizer that only the server has."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

from trilemma.engines.base import Prompt
from trilemma.engines.endpoint.routes import Routes
from trilemma.engines.streams import LoopThread
from trilemma.errors import ContextError, EngineError, NotOfferedError

_PROBE_WORDS = (20, 120)


class Fitter:
    """Cuts texts so that the server counts about as many tokens as wanted.

    Where the server lends its tokenizer, words are left out until the count is the largest that is not above. Else two
    requests tell how many tokens a word takes and what the chat template adds, and lengths are estimated from that; how
    many tokens each prompt really had, the server says with its answer.
    """

    def __init__(self, thread: LoopThread, routes: Routes, probe: Callable[[str], Awaitable[int]]) -> None:
        self._thread = thread
        self._routes = routes
        self._probe = probe
        self._line: tuple[float, float] | None = None
        self._exact: bool | None = None
        self._template = 0

    @property
    def how(self) -> str:
        """How lengths are known."""
        if self._exact is None:
            return "not needed yet"
        return f"counted by {self._routes.counts_by}" if self._exact else "estimated from two requests"

    def fit(self, text: str, tokens: int) -> Prompt:
        """The end of ``text``, as a turn of about ``tokens`` tokens.

        Raises:
            ContextError: ``text`` is too short, or ``tokens`` too few for a turn.
        """
        words = text.split()
        if self._exact is None:
            self._begin(text)
        if self._exact:
            kept = self._counted(words, tokens - self._template)
        else:
            assert self._line is not None
            per_word, template = self._line
            kept = math.floor((tokens - template) / per_word)
        if kept < 1:
            raise ContextError(
                f"A prompt of {tokens} tokens has no room beside the chat template.", f"Set more than {tokens}."
            )
        if kept > len(words):
            raise ContextError(f"The text is too short for a prompt of {tokens} tokens.", "Use a shorter prompt.")
        return Prompt((), text=" ".join(words[len(words) - kept :]), length=tokens)

    def _begin(self, text: str) -> None:
        """Find out how this server's tokens can be counted."""
        few, many = (" ".join((text.split() * _PROBE_WORDS[1])[:count]) for count in _PROBE_WORDS)
        try:
            known = self._thread.run(self._routes.tokenize(few))
            self._template = max(0, self._thread.run(self._seen(few)) - len(known))
            self._exact = True
        except NotOfferedError:
            first, second = self._thread.run(self._seen(few)), self._thread.run(self._seen(many))
            per_word = (second - first) / (_PROBE_WORDS[1] - _PROBE_WORDS[0])
            if per_word <= 0:
                raise EngineError(
                    "The server does not count prompt tokens, so that prompts of a known length cannot be made.",
                    "Ask who runs it for usage figures, or give a trace of prompts.",
                ) from None
            self._line = per_word, first - per_word * _PROBE_WORDS[0]
            self._exact = False

    async def _seen(self, text: str) -> int:
        return await self._probe(text)

    def _counted(self, words: list[str], tokens: int) -> int:
        """The most words at the end of the text that are at most ``tokens`` tokens."""
        low, high = 0, min(len(words), max(1, tokens))
        while low < high:
            middle = (low + high + 1) // 2
            count = len(self._thread.run(self._routes.tokenize(" ".join(words[len(words) - middle :]))))
            low, high = (middle, high) if count <= tokens else (low, middle - 1)
        return low
