"""Configurations against a first one, figure by figure: how far apart they are, and whether that can be luck.

Scores whose items are stored are compared item by item (:mod:`trilemma.analysis.paired`). All other figures are
compared by their means and standard errors (:mod:`trilemma.analysis.uncertainty`), with Student's t: the distribution
that :mod:`trilemma.analysis.draws` draws from, on the same scale, but in closed form, for the smallest p that a
thousand draws can tell is 0.002, and corrected for two hundred comparisons nothing would be left of it. Nothing is
allowed for the luck of the best: the two were not picked for being that, and for the number of pairs p is corrected.

The degrees of freedom of a difference are the smaller of both configurations'. That is exact where both lean on one
common variance, and errs on the safe side where each has its own (Welch, "The generalization of 'Student's' problem
when several different population variances are involved", *Biometrika* 34, 1947: never fewer than the smaller).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from scipy import stats

from trilemma.analysis.draws import ItemScores
from trilemma.analysis.item_scores import is_mean
from trilemma.analysis.paired import holm, paired
from trilemma.analysis.points import Points, better
from trilemma.analysis.uncertainty import CONFIDENCE
from trilemma.figures import FIGURES
from trilemma.schema import split_key

LEVEL = 1 - CONFIDENCE
"""A corrected p below this tells two configurations apart."""

COUNTED = frozenset(
    {"weights_bytes", "bits_per_weight", "weights_memory_bytes", "kv_cache_bytes", "kv_cache_reserved_bytes"}
)
"""Figures that are read off a file or the engine's own account: they have no error, and any difference is one."""

STUDENT = "Student's t"
_EXACT = "counted"


class Verdict(StrEnum):
    """What can be said of a configuration against the first one in a figure."""

    BETTER = "better"
    WORSE = "worse"
    UNTOLD = "not told apart"
    SAME = "the same"
    UNKNOWN = "unknown"

    @property
    def told(self) -> bool:
        """Whether the two differ for more than luck."""
        return self in (Verdict.BETTER, Verdict.WORSE)


@dataclass(frozen=True)
class Contrast:
    """A configuration less the first one in the figure ``key``.

    ``difference`` is in the figure's base unit, None without a value of both. ``low`` and ``high`` are its 95 %
    interval: in the base unit too or, if ``relative``, as a share of the first one's value (0.1 is a tenth more). They
    are None where no spread is known. ``p`` is that of the hypothesis that the two do not differ, ``corrected`` the
    same after Holm's correction for all contrasts made together. ``n`` items were answered by both, 0 where the figure
    is not compared by items. ``reason`` says why a verdict is unknown.
    """

    key: str
    configuration_id: str
    difference: float | None = None
    relative: bool = False
    share: float | None = None
    """The difference as a share of the first one's value, where ``relative``."""
    low: float | None = None
    high: float | None = None
    p: float | None = None
    corrected: float | None = None
    test: str = ""
    n: int = 0
    verdict: Verdict = Verdict.UNKNOWN
    reason: str = ""


def shared_keys(points: Points, keys: Sequence[str]) -> list[str]:
    """Those of ``keys`` that at least two of ``points`` have, in their order."""
    counts = points.value.reindex(columns=list(keys)).notna().sum()
    return [key for key in keys if counts[key] >= 2]


def contrasts(points: Points, keys: Sequence[str], items: ItemScores | None = None) -> list[Contrast]:
    """Every configuration but the first of ``points`` against it, in each of ``keys``, corrected for being so many.

    Args:
        points: At least one; must hold ``keys`` of known figures.
        keys: What is compared, in the order of the result.
        items: Scores by item. A figure that is their mean is compared item by item, over the items of both.

    Returns:
        One for each key and other configuration, key by key.
    """
    first, *others = (str(name) for name in points.meta.index)
    found = [_contrast(points, key, first, other, (items or {}).get(key, {})) for key in keys for other in others]
    corrected = holm([one.p for one in found])
    return [_judged(replace(one, corrected=p)) for one, p in zip(found, corrected, strict=True)]


def _contrast(points: Points, key: str, first: str, other: str, scores: Mapping[str, Mapping[str, float]]) -> Contrast:
    plain = Contrast(key, other)
    value = points.value[key].astype(float)
    if math.isnan(value[first]) or math.isnan(value[other]):
        lacking = "the first one lacks it" if math.isnan(value[first]) else "it lacks this figure"
        return replace(plain, reason=lacking)
    difference = float(value[other] - value[first])
    # Only what has a unit is compared as a ratio: of a share, a percentage would be taken for percentage points.
    relative = bool(FIGURES[split_key(key)[0]].unit) and bool((value.dropna() > 0).all())
    plain = replace(plain, difference=difference, relative=relative)
    if relative:
        plain = replace(plain, share=difference / float(value[first]))
    methods = [str(points.method[key][name]) for name in (first, other)]
    if methods[0] != methods[1]:
        return replace(plain, reason=f"one is {methods[0]}, the other {methods[1]}")
    if split_key(key)[0] in COUNTED:
        return replace(plain, test=_EXACT)
    by_item = [scores.get(name, {}) for name in (first, other)]
    if all(is_mean(float(value[name]), table) for name, table in zip((first, other), by_item, strict=True)):
        result = paired(by_item[0], by_item[1])
        if result.n > 1 and result.difference is not None:
            return replace(
                plain, difference=result.difference, relative=False, share=None, low=result.low, high=result.high,
                p=result.p, test=result.test, n=result.n,
            )  # fmt: skip
    return _by_errors(plain, points, first)


def _by_errors(plain: Contrast, points: Points, first: str) -> Contrast:
    """By Student's t, on the logarithm's scale if the contrast is relative."""
    rows = [first, plain.configuration_id]
    value, error, df = (
        table[plain.key].loc[rows].to_numpy(dtype=np.float64) for table in (points.value, points.error, points.df)
    )
    if not np.isfinite(error).all():
        return replace(plain, reason="its error is not known")
    if plain.relative:
        distance, doubt = math.log(value[1] / value[0]), math.hypot(*(error / value))
    else:
        distance, doubt = float(value[1] - value[0]), math.hypot(*error)
    if doubt == 0:
        # A figure that is counted in steps may well be the same twice: that is no proof of having no error.
        return replace(plain, reason="its error is not known: no two repeats differ")
    freedom = float(df.min())
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom)) * doubt
    low, high = distance - half, distance + half
    if plain.relative:
        low, high = _as_share(low), _as_share(high)
    p = 2 * float(stats.t.sf(abs(distance) / doubt, freedom))
    return replace(plain, low=low, high=high, p=min(1.0, p), test=STUDENT)


def _as_share(log_ratio: float) -> float:
    """Infinite where a figure is known so badly that its ratio has no bound that a number could hold."""
    return math.expm1(log_ratio) if log_ratio < 700 else math.inf


def _judged(one: Contrast) -> Contrast:
    """The verdict, for a difference that is known."""
    if one.difference is None or one.reason:
        return one
    if one.test == _EXACT:
        told = one.difference != 0
        untold = Verdict.SAME
    else:
        told = one.corrected is not None and one.corrected < LEVEL and one.difference != 0
        untold = Verdict.UNTOLD
    if not told:
        return replace(one, verdict=untold)
    up = one.difference > 0
    return replace(one, verdict=Verdict.BETTER if up == (better(one.key) == "higher") else Verdict.WORSE)
