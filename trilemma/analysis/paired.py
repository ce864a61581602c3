"""Two configurations asked the same items: how far apart they are, and which answers changed.

Equal accuracy can hide many changed answers, and a difference of a few items can be luck: so beside the difference
stand its interval, a test, and the flips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from trilemma.analysis.uncertainty import CONFIDENCE, RESAMPLES, SEED, FloatArray
from trilemma.figures import FIGURES
from trilemma.records import AnswerRecord

RIGHT = 0.5
"""A score of this or more counts as right where only right and wrong are told apart."""

MCNEMAR = "McNemar, exact"
PERMUTATION = "sign permutation"
_PERMUTATIONS = 9999
# Resamples at once: bounds the memory of a bootstrap over a hundred thousand items.
_BATCH = 100


@dataclass(frozen=True)
class Paired:
    """The second configuration against the first, over the items that both answered.

    ``difference`` is the mean score of the second less that of the first, ``low`` and ``high`` its 95 % interval (None
    where all items differ alike, for then resampling shows no spread). ``p`` is that of the hypothesis that neither is
    better. ``lost`` items turned from right to wrong, ``gained`` ones from wrong to right. All are None or 0 without
    common items.
    """

    n: int
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    test: str
    lost: int
    gained: int

    @property
    def flips(self) -> int:
        """Items whose answer changed between right and wrong, either way."""
        return self.lost + self.gained


def headline_figure(answers: Sequence[AnswerRecord]) -> str:
    """The score that a suite names first; empty where no answer has any."""
    return next((name for answer in answers for name in answer.scores), "")


def is_score(answers: Sequence[AnswerRecord]) -> bool:
    """Whether the headline score is a share of what could be had: from 0 to 1, more is better.

    Perplexity and divergence are not.
    """
    name = headline_figure(answers)
    definition = FIGURES.get(name)
    values = [answer.scores[name] for answer in answers if name in answer.scores]
    lower = definition is not None and definition.better == "lower"
    return bool(values) and not lower and all(0.0 <= value <= 1.0 for value in values)


def item_id(answer: AnswerRecord) -> str:
    """The item's id, without the number of the try."""
    return answer.item_id.partition("#")[0]


def item_scores(answers: Sequence[AnswerRecord], figure: str = "") -> dict[str, float]:
    """Per item the mean of ``figure`` (the headline score if empty) over the tries at it, in the order of the items."""
    name = figure or headline_figure(answers)
    by_item: dict[str, list[float]] = {}
    for answer in answers:
        if name in answer.scores:
            by_item.setdefault(item_id(answer), []).append(answer.scores[name])
    return {item: sum(scores) / len(scores) for item, scores in by_item.items()}


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> Paired:
    """Compare two configurations' scores by item (see :func:`item_scores`).

    The interval is the percentile bootstrap over items, which keeps each item's two scores together (Efron and
    Tibshirani 1993, chapter 13). The test is McNemar's in its exact form (1947: the changed items against a fair coin)
    where all scores are 0 or 1, else a permutation test that swaps the two scores of items at random.
    """
    common = [item for item in first if item in second]
    if not common:
        return Paired(0, None, None, None, None, "", 0, 0)
    a = np.array([first[item] for item in common])
    b = np.array([second[item] for item in common])
    low, high = _interval(b - a)
    lost = int(((a >= RIGHT) & (b < RIGHT)).sum())
    gained = int(((a < RIGHT) & (b >= RIGHT)).sum())
    if np.isin(a, (0.0, 1.0)).all() and np.isin(b, (0.0, 1.0)).all():
        test, p = MCNEMAR, float(stats.binomtest(gained, lost + gained).pvalue) if lost + gained else 1.0
    else:
        test, p = PERMUTATION, _permutation_p(b - a)
    return Paired(len(common), float((b - a).mean()), low, high, p, test, lost, gained)


def holm(values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for being several, so that the chance of any false alarm stays below the level.

    Holm (1979), *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6:65-70:
    the smallest of m is multiplied by m, the next by m - 1 and so on, and none may be smaller than one before it.
    None, where nothing was tested, stays None and does not count.
    """
    known = sorted((value, position) for position, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (value, position) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        corrected[position] = largest
    return corrected


def disagreements(first: Mapping[str, float], second: Mapping[str, float]) -> list[str]:
    """The common items whose scores differ, in the first's order."""
    return [item for item, score in first.items() if item in second and second[item] != score]


def _interval(differences: FloatArray) -> tuple[float | None, float | None]:
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None, None
    found = stats.bootstrap(
        (differences,), np.mean, n_resamples=RESAMPLES, batch=_BATCH, confidence_level=CONFIDENCE,
        method="percentile", rng=np.random.default_rng(SEED),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _permutation_p(differences: FloatArray) -> float:
    """Two-sided; exact for up to 13 items that differ, for the others swapping changes nothing."""
    changed = differences[differences != 0]
    if changed.size < 2:
        return 1.0  # either way is as extreme
    found = stats.permutation_test(
        (changed, np.zeros_like(changed)), lambda x, y, axis=-1: np.sum(x - y, axis=axis), vectorized=True,
        permutation_type="samples", n_resamples=_PERMUTATIONS, batch=_BATCH, rng=np.random.default_rng(SEED),
    )  # fmt: skip
    return min(1.0, float(found.pvalue))
