"""From the events of a stream to one answer: its text, its tokens' times, and what the server counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trilemma.engines.base import Generation, TokenTiming

TOO_MANY = 8
"""Tokens beyond the limit after which a server is taken to ignore it: some end one or two late."""
MAX_CHARACTERS = 8 << 20
"""Of one answer, however few tokens a server counts in it."""
_MOST_OUTPUT = 1 << 22
"""No answer has more tokens: each gets a time, and a server that claims more must not fill the memory."""


@dataclass
class Answer:
    """What has come of one request so far."""

    submitted_ns: int
    times_ns: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    counted: list[int | None] = field(default_factory=list)
    """Output tokens so far, as the server says with each chunk."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int | None = None
    finish: str = ""
    characters: int = 0

    def add(self, at_ns: int, event: dict[str, Any]) -> None:
        """Take in one event of either route."""
        usage = event.get("usage")
        total = None
        if isinstance(usage, dict):
            self.prompt_tokens = _count(usage.get("prompt_tokens")) or self.prompt_tokens
            total = _count(usage.get("completion_tokens"), _MOST_OUTPUT)
            if total is not None:
                self.output_tokens = total
            details = usage.get("prompt_tokens_details")
            if isinstance(details, dict):
                self.cached_tokens = _count(details.get("cached_tokens")) or self.cached_tokens
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
        if choice is None:
            return
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]
        text = _text(choice)
        before = next((n for n in reversed(self.counted) if n is not None), 0)
        if text or (total is not None and total > before):
            self.times_ns.append(at_ns)
            self.texts.append(text)
            self.characters += len(text)
            self.counted.append(total)

    @property
    def length(self) -> int:
        """Tokens so far, as the server counts them, else chunks."""
        return max(self.output_tokens or 0, len(self.times_ns))

    def done(self, error: str = "") -> Generation:
        """The answer, complete or as far as it came."""
        times, timing = self._token_times()
        return Generation(
            submitted_ns=self.submitted_ns,
            tokens=[],
            token_times_ns=times,
            prefilled_tokens=max(0, self.prompt_tokens - self.cached_tokens),
            prompt_tokens=self.prompt_tokens,
            text="".join(self.texts),
            token_timing=timing,
            error=error,
        )

    def _token_times(self) -> tuple[list[int], TokenTiming]:
        """One time a token. Where chunks held several and the server says how many, they share its chunk's; where it
        only says how many there were in all, the first and the last keep their times and the others are spread. Where
        it does not count at all, a chunk is taken for a token, which is an estimate.
        """
        chunks, total = len(self.times_ns), self.output_tokens
        if not chunks or total == chunks:
            return list(self.times_ns), "token"
        if total is None:
            return list(self.times_ns), "estimate"
        if all(count is not None for count in self.counted) and self.counted[-1] == total:
            each = np.diff([0, *(count or 0 for count in self.counted)])
            if (each >= 0).all():
                return np.repeat(self.times_ns, each).tolist(), "token" if each.max() <= 1 else "chunk"
        if total < 1:
            return list(self.times_ns), "chunk"
        picked = np.linspace(0, chunks - 1, total).round().astype(int)
        return np.asarray(self.times_ns)[picked].tolist(), "chunk"


def _text(choice: dict[str, Any]) -> str:
    if isinstance(choice.get("text"), str):
        return str(choice["text"])
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return ""
    # Models that think aloud first do so in a field of its own, whose name is not agreed on.
    parts = (delta.get(name) for name in ("reasoning_content", "reasoning", "content"))
    return "".join(part for part in parts if isinstance(part, str))


def _count(value: object, most: int = 1 << 40) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < most else None
