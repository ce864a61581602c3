"""A replica as it was measured: how long an answer takes with so many at once, and what it draws meanwhile.

A replica is a processor-sharing server with a state-dependent rate, a limit on how many requests it serves at once (its
slots) and a first-come queue before it: the model of Gupta and Harchol-Balter, "Self-adaptive admission control
policies for resource-sharing systems", SIGMETRICS 2009. Its rates are the closed loop's measured ones, a
flow-equivalent server in the sense of Chandy, Herzog and Woo, "Parametric analysis of queuing networks", IBM Journal of
Research and Development 19(1), 1975.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from trilemma.planning.arrays import FloatArray

ALIKE = np.ones((1, 2))
"""Requests of which nothing is known but their mean: all alike."""


@dataclass(frozen=True)
class ServiceCurve:
    """What was measured, by level of concurrency, ascending.

    ``levels`` is how many were served at once, ``prefill_s`` the mean time from admission to the first token,
    ``decode_s`` from there to the last; shape (levels,). ``variations`` has, for each level, the measured requests'
    prefill and decode times over their mean, shape (requests, 2). ``slots`` is how many are served at once at most: no
    more than the highest level, for beyond it nothing is known. ``prompt_tokens`` and ``output_tokens`` are what the
    requests had.
    """

    levels: FloatArray
    prefill_s: FloatArray
    decode_s: FloatArray
    slots: int
    prompt_tokens: float = 0.0
    output_tokens: float = 2.0
    variations: tuple[FloatArray, ...] = field(default=())

    def __post_init__(self) -> None:
        shape = self.levels.shape
        ascending = bool((np.diff(self.levels) > 0).all()) if len(self.levels) > 1 else len(self.levels) == 1
        if not ascending or shape != self.prefill_s.shape or shape != self.decode_s.shape:
            raise ValueError("levels must ascend, and each have a prefill and a decode time")
        if (self.prefill_s <= 0).any() or (self.decode_s <= 0).any() or not 1 <= self.slots <= max(1, self.levels[-1]):
            raise ValueError("times must be above zero, and slots within what was measured")
        if self.variations and len(self.variations) != len(self.levels):
            raise ValueError("variations go with levels, one each")

    @cached_property
    def prefill(self) -> FloatArray:
        """Mean time from admission to the first token with 1 ... slots busy, s; never less with more at once."""
        return self._by_busy(self.prefill_s)

    @cached_property
    def decode(self) -> FloatArray:
        """Mean time from the first to the last token with 1 ... slots busy, s."""
        return self._by_busy(self.decode_s)

    @cached_property
    def service(self) -> FloatArray:
        """Mean time from admission to the last token with 1 ... slots busy, s."""
        total: FloatArray = self.prefill + self.decode
        return total

    @cached_property
    def rate(self) -> FloatArray:
        """Requests a second that a replica completes with 1 ... slots busy: by Little's law, busy over time each."""
        rates: FloatArray = np.arange(1, self.slots + 1) / self.service
        return rates

    @property
    def top_rate(self) -> float:
        """Requests a second that a replica completes with all slots busy."""
        return float(self.rate[-1])

    def variation(self, busy: int) -> FloatArray:
        """Prefill and decode times over their mean of the requests at the measured level nearest to ``busy``."""
        if not self.variations:
            return ALIKE
        return self.variations[int(np.abs(self.levels - busy).argmin())]

    def with_slots(self, slots: int) -> ServiceCurve:
        """The same replica, serving at most ``slots`` at once."""
        return replace(self, slots=slots)

    def for_tokens(self, tokens_in: float | None, tokens_out: float | None) -> ServiceCurve:
        """Times for requests of other lengths: prefill in proportion to the prompt, decoding to the tokens after the
        first. Attention makes long prompts dearer than that; None, or unknown measured lengths, leaves a part as it is.
        """
        first = tokens_in / self.prompt_tokens if tokens_in and self.prompt_tokens else 1.0
        further = (tokens_out - 1) / (self.output_tokens - 1) if tokens_out and self.output_tokens > 1 else 1.0
        return replace(
            self, prefill_s=self.prefill_s * first, decode_s=self.decode_s * further,
            prompt_tokens=self.prompt_tokens * first, output_tokens=tokens_out or self.output_tokens,
        )  # fmt: skip

    def slower(self, factor: float) -> ServiceCurve:
        """All times by ``factor``."""
        return replace(self, prefill_s=self.prefill_s * factor, decode_s=self.decode_s * factor)

    def _by_busy(self, measured: FloatArray) -> FloatArray:
        # Between levels linear; below the first its own, which is too much rather than too little.
        rising = np.maximum.accumulate(measured)
        return np.interp(np.arange(1, self.slots + 1), self.levels, rising)


@dataclass(frozen=True)
class PowerCurve:
    """What a replica draws: ``idle_w`` loaded and waiting, ``watts`` with as many busy as ``levels`` says.

    ``modelled`` if any of it was not metered. ``notes`` say what a reader must know.
    """

    idle_w: float
    levels: FloatArray
    watts: FloatArray
    modelled: bool = False
    notes: tuple[str, ...] = ()

    def at(self, busy: FloatArray) -> FloatArray:
        """Power with ``busy`` served at once, W; linear between idle and the measured levels, constant above."""
        xs, ys = np.concatenate([[0.0], self.levels]), np.concatenate([[self.idle_w], self.watts])
        drawn: FloatArray = np.interp(busy, xs, np.maximum(ys, self.idle_w))
        return drawn
