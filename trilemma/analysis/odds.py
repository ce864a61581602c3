"""How surely an option is on the Pareto front, and what is better than one that is not.

All of it counts draws (:mod:`trilemma.analysis.draws`): the front is found in each of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum

import moocore
import numpy as np
from numpy.typing import NDArray

from trilemma.analysis.draws import DRAWS, Draws, ItemScores, draw
from trilemma.analysis.front import BoolArray, as_costs, beaten_by_one, on_front
from trilemma.analysis.points import Points, better
from trilemma.analysis.uncertainty import CONFIDENCE, FloatArray
from trilemma.figures import Better

SURE = 0.95
"""From here on an option is said to be on the front for certain; below the rest to one, not to be."""
_FAR = 5.0
"""Standard errors beyond which an option is not looked at again: out of a thousand draws none gets there."""
LEAST_DRAWS = 64
_SHARED_FROM = 1000
"""Options from which on cores share the draws: fronts are found without Python's lock."""
_WORK = 50_000
"""Draws times options that are looked at in a moment."""


class Standing(StrEnum):
    """What can be said of an option's place."""

    CERTAIN = "certain"
    CONTESTED = "contested"
    DOMINATED = "dominated"
    UNKNOWN = "unknown"
    """It lacks one of the figures."""


@dataclass(frozen=True)
class FrontOdds:
    """One entry a configuration, in the order of the points: how often it is on the front, NaN without a figure."""

    probability: FloatArray

    @property
    def standing(self) -> list[Standing]:
        """In words."""
        words = np.array([*Standing], dtype=object)
        known = (self.probability >= SURE, self.probability > 1 - SURE, self.probability <= 1 - SURE)
        return list(words[np.select(known, [0, 1, 2], 3)])


@dataclass(frozen=True)
class Dominator:
    """An option that beats another: how often it does so in everything, and by how much in each figure.

    ``gains`` are, by key, what it is better by, in base units and always positive where better; ``index`` is its
    position among the points.
    """

    index: int
    probability: float
    gains: Mapping[str, float]


@dataclass(frozen=True)
class Hypervolume:
    """The share of the box between the best and the worst figures that the front dominates, with its interval."""

    value: float
    low: float
    high: float


def probability_text(probability: float) -> str:
    """``0.62``; never 0 or 1, which a number of draws cannot prove."""
    if probability > 0.99:
        return "> 0.99"
    return "< 0.01" if probability < 0.01 else f"{probability:.2f}"


def directions(keys: Sequence[str]) -> list[Better]:
    """Which way each figure is better."""
    return [better(key) for key in keys]


def contenders(points: Points, keys: Sequence[str]) -> BoolArray:
    """Which points may be on the front of ``keys`` at all, given their errors: the others need no draws.

    A point is out when another one, taken five standard errors to the worse, still dominates it taken five to the
    better.
    """
    names = list(keys)
    costs = as_costs(points.value[names].to_numpy(dtype=np.float64), directions(keys))
    # An error that is not known moves no draw either.
    doubt = _FAR * np.nan_to_num(points.error[names].to_numpy(dtype=np.float64), posinf=0.0, neginf=0.0)
    inside = np.flatnonzero(np.isfinite(costs).all(axis=1))
    near = np.zeros(len(costs), dtype=np.bool_)
    if not inside.size:
        return near
    best, worst = (costs - doubt)[inside], (costs + doubt)[inside]
    # Who is worse in some figure than all others at their best beats none of them.
    rivals = worst[(worst <= best.max(axis=0)).all(axis=1)]
    if len(rivals):
        rivals = rivals[moocore.is_nondominated(rivals, keep_weakly=False)]
    left = np.ascontiguousarray(best.T)
    for rival in rivals[np.argsort(rivals.sum(axis=1))]:
        kept = ~beaten_by_one(left, rival)
        inside, left = inside[kept], left[:, kept]
    near[inside] = True
    return near


def enough_draws(options: int) -> int:
    """How many draws to count for so many options: all up to fifty, and of very many fewer, down to 64.

    A share of 64 draws is within 0.13 of the probability 95 times of 100, a share of 1,000 within 0.03.
    """
    return max(LEAST_DRAWS, min(DRAWS, _WORK // max(1, options)))


def front_odds(
    points: Points, keys: Sequence[str], items: ItemScores | None = None, *, count: int = DRAWS
) -> FrontOdds:
    """The probability of every point that it is on the front of ``keys``."""
    near = contenders(points, keys)
    drawn = draw(points.select(near), keys, items, count=count)
    return odds_of(points, keys, near, drawn.each(keys))


def odds_of(points: Points, keys: Sequence[str], near: BoolArray, figures: Sequence[FloatArray]) -> FrontOdds:
    """:func:`front_odds` by the draws of each of ``keys`` (``figures``: draws x options, the points that ``near``
    marks); the other points are not on the front in any."""
    probability = np.where(points.complete(keys), 0.0, np.nan)
    if near.any():
        probability[near] = front_share(figures, directions(keys))
    return FrontOdds(probability)


def front_share(figures: Sequence[FloatArray], better: Sequence[Better]) -> FloatArray:
    """In which share of draws each option is on the front.

    Args:
        figures: draws x options, one a figure.
        better: which way each figure is better.
    """
    count, options = figures[0].shape
    cores = (os.cpu_count() or 1) if options >= _SHARED_FROM else 1

    def fronts(of: NDArray[np.intp]) -> NDArray[np.intp]:
        # Draw by draw, what is compared lies together; all draws at once would be copied before the first is looked at.
        found = [on_front(np.stack([one[row] for one in figures]).T, better) for row in of]
        return np.asarray(np.sum(found, axis=0))

    with ThreadPoolExecutor(cores) as pool:
        counts = pool.map(fronts, np.array_split(np.arange(count), min(cores, count)))
        return np.asarray(sum(counts) / count)


def dominators(draws: Draws, keys: Sequence[str], index: int) -> list[Dominator]:
    """The options that dominate option ``index`` in at least one draw of twenty, most surely first.

    Whoever lacks a figure neither dominates nor is dominated.
    """
    costs = as_costs(draws.of(keys).reshape(-1, len(keys)), directions(keys)).reshape(draws.of(keys).shape)
    own = costs[:, index : index + 1]
    with np.errstate(invalid="ignore"):
        beaten = (costs <= own).all(axis=2) & (costs < own).any(axis=2)
    beaten &= np.isfinite(costs).all(axis=2) & np.isfinite(own).all(axis=2)
    share = beaten.mean(axis=0)
    measured = as_costs(draws.points.value[list(keys)].to_numpy(dtype=np.float64), directions(keys))
    found = [
        Dominator(int(row), float(share[row]), dict(zip(keys, (measured[index] - measured[row]).tolist(), strict=True)))
        for row in np.flatnonzero(share > 1 - SURE)
    ]
    return sorted(found, key=lambda one: -one.probability)


def hypervolume(draws: Draws, keys: Sequence[str]) -> Hypervolume | None:
    """How much of what is possible the front covers: 1 would be an option that is best in everything.

    None without two options that have all ``keys``.
    """
    costs = as_costs(draws.points.value[list(keys)].to_numpy(dtype=np.float64), directions(keys))
    whole = np.isfinite(costs).all(axis=1)
    if whole.sum() < 2:
        return None
    best, worst = box(draws, keys)
    width = np.where(worst > best, worst - best, 1.0)
    signs = np.array([1.0 if way == "lower" else -1.0 for way in directions(keys)])
    drawn = [dominated_share((one * signs - best) / width) for one in draws.of(keys)[:, whole]]
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Hypervolume(dominated_share((costs[whole] - best) / width), float(low), float(high))


def box(draws: Draws, keys: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """The best and the worst that each figure may well be, as costs: the ends of the widest 95 % intervals of draws."""
    drawn = draws.of(keys)
    whole = drawn[:, np.isfinite(drawn).all(axis=(0, 2))]
    costs = as_costs(whole.reshape(-1, len(keys)), directions(keys)).reshape(whole.shape)
    ends = np.quantile(costs, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return ends[0].min(axis=0), ends[1].max(axis=0)


def dominated_share(unit: FloatArray) -> float:
    """The share of the unit box that costs dominate; what lies beyond the box counts as at its edge."""
    return float(moocore.hypervolume(np.clip(unit, 0.0, 1.0), ref=np.ones(unit.shape[1])))
