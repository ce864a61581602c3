"""One performance score out of several suites, composed by whoever decides: which suites, and how much each counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trilemma.analysis.uncertainty import CONFIDENCE, RESAMPLES, SEED, FloatArray
from trilemma.records import AnswerRecord

Scores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Suite to configuration to item to score."""


@dataclass(frozen=True)
class Composed:
    """A configuration's score, with its 95 % interval (None where no resample differs).

    1 is everything right, 0 what guessing gets; worse than guessing is below 0. ``difference`` is to the first
    configuration, from the same resamples, with its own interval. ``best`` is the share of resamples in which no other
    configuration scored higher, ties shared.
    """

    value: float
    low: float | None
    high: float | None
    difference: float
    difference_low: float | None
    difference_high: float | None
    best: float


def chance_level(answers: Sequence[AnswerRecord]) -> float:
    """What guessing scores on average: one over the number of choices, 0 for an answer that had to be written."""
    shares = []
    for answer in answers:
        choices = answer.detail.get("choices")
        shares.append(1 / len(choices) if isinstance(choices, list) and len(choices) > 1 else 0.0)
    return sum(shares) / len(shares) if shares else 0.0


def rescaled(scores: FloatArray, chance: float) -> FloatArray:
    """``scores`` so that guessing is 0 and 1 stays 1."""
    return (scores - chance) / (1 - chance)


def common_items(by_configuration: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The items that every configuration has a score for, in the first's order."""
    tables = list(by_configuration.values())
    return [item for item in tables[0] if all(item in table for table in tables[1:])] if tables else []


def composed(scores: Scores, chance: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, Composed]:
    """The weighted mean of the suites' rescaled scores, by configuration.

    Every suite is asked about the items that all configurations answered. The interval is the percentile bootstrap over
    items within each suite (Efron and Tibshirani 1993, chapters 8 and 13); all configurations share the resamples, so
    that what they have in common cancels in their differences. Chance levels are taken as known.

    Args:
        scores: suite to configuration to item to score; a suite without items that all have answered does not count.
        chance: the level of guessing by suite, below 1; 0 if not given.
        weights: by suite, only their ratios matter; a suite without one, or with one that is not above 0, is left out.

    Returns:
        By configuration, in the order of the first suite that counts; empty where none does. A configuration that any
        counting suite does not know is left out.
    """
    counting = {suite: weights[suite] for suite in scores if weights.get(suite, 0.0) > 0 and scores[suite]}
    names = [
        name for name in next((scores[suite] for suite in counting), {}) if all(name in scores[s] for s in counting)
    ]
    tables = {suite: {name: scores[suite][name] for name in names} for suite in counting}
    items = {suite: common_items(table) for suite, table in tables.items()}
    counting = {suite: weight for suite, weight in counting.items() if items[suite]}
    total = sum(counting.values())
    if not names or not total:
        return {}
    value = np.zeros(len(names))
    drawn = np.zeros((len(names), RESAMPLES))
    rng = np.random.default_rng(SEED)
    for suite, weight in counting.items():
        table = np.array([[tables[suite][name][item] for item in items[suite]] for name in names])
        level = chance.get(suite, 0.0)
        value += weight / total * rescaled(table.mean(axis=1), level)
        drawn += weight / total * rescaled(_resampled_means(table, rng), level)
    top = drawn >= drawn.max(axis=0) - 1e-12
    best = (top / top.sum(axis=0)).mean(axis=1)
    return {
        name: Composed(
            float(value[row]),
            *_interval(drawn[row]),
            float(value[row] - value[0]),
            *_interval(drawn[row] - drawn[0]),
            float(best[row]),
        )
        for row, name in enumerate(names)
    }


def _resampled_means(table: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Means over items drawn with replacement: configurations x resamples, the same draws for all."""
    count = table.shape[1]
    means = np.empty((table.shape[0], RESAMPLES))
    # One draw at a time: all at once would be items x resamples, which for a large suite does not fit.
    for column in range(RESAMPLES):
        means[:, column] = table @ np.bincount(rng.integers(count, size=count), minlength=count) / count
    return means


def _interval(values: FloatArray) -> tuple[float | None, float | None]:
    if np.ptp(values) < 1e-12:
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
