"""Tests that may be looked at after every item: which of two configurations answers a suite better, and by how much.

Items are drawn without replacement from the suite, in an order that nobody's answers decide. A bet is placed on every
next difference; while the null hypothesis holds, the capital is a non-negative supermartingale, so that it ever reaches
1/alpha with a probability of at most alpha, whenever one stops (Ville's inequality). Bets, and what sampling without
replacement adds, are those of Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS
B 86(1), 2024 (arXiv:2010.09686), sections 5 and 6. Asked to the end, nothing is left to chance: the interval closes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Verdict = Literal["better", "worse", "equal"]
_MOST = 0.9
"""The share of the capital that one bet may lose."""
_PRIOR_VARIANCE = 0.25
_TYPICAL = 0.03
"""What differences between configurations are like, as the standard deviation of a normal prior around none."""
_GRID = 2001


class Bet:
    """Capital against the hypothesis that the mean of all ``total`` values, each in [-1, 1], is at most ``null``."""

    def __init__(self, total: int, null: float) -> None:
        self._total = total
        self._null = null
        self._count = 0
        self._sum = 0.0
        self._squares = 0.0
        self.log_capital = 0.0

    def add(self, value: float) -> None:
        """One more value, drawn without replacement."""
        left = self._total - self._count
        # The mean of those that are left, were the hypothesis just true.
        centre = (self._total * self._null - self._sum) / left
        if centre < -1.0:
            self.log_capital = math.inf  # those that are left cannot be so low: it is false for certain
        elif centre < 1.0:
            # A guess may be wrong and costs growth alone: the mean so far says little while it varies more than that.
            variance = (_PRIOR_VARIANCE + self._squares) / (self._count + 1)
            edge = self._sum / (self._count + variance / _TYPICAL**2) - centre
            stake = min(max(edge / (variance + edge * edge), 0.0), _MOST / (1.0 + centre) if centre > -1 else math.inf)
            if math.isfinite(stake) and math.isfinite(self.log_capital):
                self.log_capital += math.log1p(stake * (value - centre))
        self._count += 1
        self._sum += value
        self._squares += (value - self._sum / (self._count + 1)) ** 2
        if self._count == self._total and self._sum > self._total * self._null + 1e-9:
            self.log_capital = math.inf


class PairedTest:
    """Which of two configurations answers more of a suite's ``total`` items rightly.

    ``equal`` when the difference over all items is proved to be less than ``margin`` either way.
    """

    def __init__(self, total: int, margin: float = 0.0) -> None:
        self._total = total
        self.count = 0
        self._sum = 0.0
        self._better, self._worse = Bet(total, 0.0), Bet(total, 0.0)
        self._below, self._above = Bet(total, -margin), Bet(total, -margin)
        self._margin = margin

    def add(self, mine: float, its: float) -> None:
        """The scores, 0 to 1, of one item."""
        difference = mine - its
        self.count += 1
        self._sum += difference
        for bet, value in (
            (self._better, difference),
            (self._worse, -difference),
            (self._above, difference),
            (self._below, -difference),
        ):
            bet.add(value)

    def verdict(self, error: float) -> Verdict | None:
        """What is decided so far at a level of ``error``, all outcomes together; None while nothing is."""
        if self.count == self._total and abs(self._sum) <= 1e-9:
            return "equal"
        # An outcome is wrong with a probability of at most ``error``, wherever the difference lies. At 0, better and
        # worse share it. Between 0 and the margin only one of them can be wrong. From the margin on, worse and equal
        # can (better and equal on the other side), and both need the capital against so large a difference.
        half, whole = math.log(2.0 / error), math.log(1.0 / error)
        above, below = self._above.log_capital >= whole, self._below.log_capital >= whole
        if self._better.log_capital >= half and above:
            return "better"
        if self._worse.log_capital >= half and below:
            return "worse"
        if self._margin > 0 and above and below:
            return "equal"
        return None


def mean_interval(values: Sequence[float], total: int, error: float = 0.05) -> tuple[float, float]:
    """A confidence interval for the mean of all ``total`` values in [0, 1], of which ``values`` were drawn so far.

    It covers the mean at every sample size at once, whenever one stops: the hedged betting interval, by a grid of 2001
    candidate means.
    """
    drawn = np.asarray(values, dtype=np.float64)
    n = len(drawn)
    if n == 0:
        return 0.0, 1.0
    if n >= total:
        return float(drawn.mean()), float(drawn.mean())
    candidates = np.linspace(0.0, 1.0, _GRID)
    before = np.concatenate([[0.0], np.cumsum(drawn)[:-1]])
    counts = np.arange(n)
    means = (0.5 + before) / (counts + 1)
    spreads = (means - drawn) ** 2
    variances = (_PRIOR_VARIANCE + np.concatenate([[0.0], np.cumsum(spreads)[:-1]])) / (counts + 1)
    # Their bets do not look at the candidate, so that one serves all: predictable plug-in, section 3.
    stakes = np.sqrt(2 * math.log(2 / error) / (variances * (counts + 1) * np.log(counts + 2)))
    up = np.zeros(_GRID)
    down = np.zeros(_GRID)
    for value, stake, seen, count in zip(drawn, stakes, before, counts, strict=True):
        centre = (total * candidates - seen) / (total - count)
        up, down = _grow(up, value, stake, centre), _grow(down, 1 - value, stake, 1 - centre)
    # Half of the capital is bet either way; the larger half decides.
    inside = np.maximum(up, down) + math.log(0.5) < math.log(1 / error)
    low, high = float(drawn.sum()) / total, 1 - float((1 - drawn).sum()) / total
    kept = candidates[inside]
    if not kept.size:
        return low, high
    step = 1.0 / (_GRID - 1)
    return max(low, float(kept[0]) - step), min(high, float(kept[-1]) + step)


def _grow(
    log_capital: npt.NDArray[np.float64], value: float, stake: float, centre: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Capital after a bet that ``value`` is above ``centre``; infinite where what is left cannot have that mean."""
    possible = np.clip(centre, 1e-9, 1.0)
    grown = log_capital + np.log1p(np.minimum(stake, _MOST / possible) * (value - possible))
    return np.where(centre < -1e-9, np.inf, grown)
