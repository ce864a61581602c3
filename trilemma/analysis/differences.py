"""How two configurations differ in a figure, as words that say no more than the draws do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from trilemma.analysis.draws import Draws
from trilemma.analysis.format import digits, format_figure, key_definition
from trilemma.analysis.points import better
from trilemma.analysis.preferences import figure_words
from trilemma.analysis.uncertainty import CONFIDENCE

_TIMES = 1.0
"""From a ratio of two on, people read "2.4 times" more easily than "140 % more"."""


class Outcome(StrEnum):
    """What can be said of one configuration against another in one figure."""

    BETTER = "better"
    WORSE = "worse"
    UNCLEAR = "unclear"
    """The 95 % interval of their difference holds zero."""
    SAME = "same"
    UNKNOWN = "unknown"
    """One of both lacks the figure."""


@dataclass(frozen=True)
class FigureDifference:
    """One configuration against another in the figure ``key``.

    ``words`` say how much: ``12 % lower energy per token (95 %: 8 to 16 %)``.
    """

    key: str
    outcome: Outcome
    words: str


def figure_difference(draws: Draws, key: str, one: int, other: int) -> FigureDifference:
    """How configuration ``one`` differs from ``other`` (their positions) in ``key``.

    Figures with a unit that are above zero are compared by their ratio, others by their difference. The 95 % interval
    is that of the draws, paired where the draws are, widened to what was measured. Where the error of one is unknown
    its draws do not vary; then no interval is stated.
    """
    column = draws.keys.index(key)
    title = figure_words(key)
    first, second = draws.value[[one, other], column]
    if not (math.isfinite(first) and math.isfinite(second)):
        return FigureDifference(key, Outcome.UNKNOWN, title)
    drawn = draws.values[:, [one, other], column]
    uncertain = bool(draws.unknown[[one, other], column].any())
    # A share may come near zero, where a ratio says nothing; what has a unit may not.
    relative = bool(key_definition(key).unit) and first > 0 and second > 0 and bool((drawn > 0).all())
    difference = first / second - 1 if relative else first - second
    spread = drawn[:, 0] / drawn[:, 1] - 1 if relative else drawn[:, 0] - drawn[:, 1]
    low, high = (float(end) for end in np.quantile(spread, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    # Draws allow for luck and may lie to one side of what was measured, which no interval shall leave out.
    low, high = min(low, float(difference)), max(high, float(difference))
    if difference == 0 and low == high == 0:
        return FigureDifference(key, Outcome.SAME, f"the same {title}")
    if low <= 0 <= high:
        ends = "no interval is known" if uncertain else _ends(low, high, key, relative)
        return FigureDifference(key, Outcome.UNCLEAR, f"{title} ({ends})")
    up = difference > 0
    outcome = Outcome.BETTER if up == (better(key) == "higher") else Outcome.WORSE
    interval = "no interval is known" if uncertain else f"95 %: {_sizes(low, high, key, relative)}"
    return FigureDifference(key, outcome, f"{_size(difference, key, relative, title)} ({interval})")


def _size(difference: float, key: str, relative: bool, title: str) -> str:
    """``12 % lower energy per token``, ``2.4 times the decode speed``, ``0.031 higher accuracy``."""
    way = "higher" if difference > 0 else "lower"
    if not relative:
        return f"{format_figure(abs(difference), key_definition(key).unit)} {way} {title}"
    if difference >= _TIMES:
        return f"{digits(1 + difference)} times the {title}"
    return f"{_percent(abs(difference))} {way} {title}"


def _sizes(low: float, high: float, key: str, relative: bool) -> str:
    """The ends of an interval that does not hold zero, as :func:`_size` would write each."""
    if relative and high >= _TIMES:
        return f"{digits(1 + low)} to {digits(1 + high)} times"
    small, large = sorted((abs(low), abs(high)))
    if relative:
        # A narrow interval takes as many digits as tell its ends apart.
        ends = [(digits(100 * small, count), digits(100 * large, count)) for count in (2, 3, 4)]
        first, last = next((pair for pair in ends if pair[0] != pair[1]), ends[0])
        return f"{first} %" if first == last else f"{first} to {last} %"
    unit = key_definition(key).unit
    return f"{format_figure(small, unit)} to {format_figure(large, unit)}"


def _ends(low: float, high: float, key: str, relative: bool) -> str:
    """The ends of an interval that holds zero, with their signs."""
    if relative:
        return f"{_signed(100 * low)} to {_signed(100 * high)} %"
    unit = key_definition(key).unit
    return f"{_signed(low)} to {_signed(high)}{' ' + unit if unit else ''}"


def _percent(share: float) -> str:
    return f"{digits(100 * share, 2)} %"


def _signed(value: float) -> str:
    text = digits(value, 2)
    return f"+{text}" if value > 0 else text


def differences_sentence(name: str, differences: Sequence[FigureDifference]) -> str:
    """What a configuration gains and gives up against the one that is called ``name``, in one sentence."""
    by = {outcome: [one.words for one in differences if one.outcome is outcome] for outcome in Outcome}
    parts = []
    if by[Outcome.BETTER] and by[Outcome.WORSE]:
        parts.append(f"it has {joined(by[Outcome.BETTER])}, but {joined(by[Outcome.WORSE])}")
    elif by[Outcome.BETTER]:
        parts.append(f"it has {joined(by[Outcome.BETTER])}")
    elif by[Outcome.WORSE]:
        parts.append(f"it has {joined(by[Outcome.WORSE])}")
    if by[Outcome.SAME]:
        parts.append(f"it has {joined(by[Outcome.SAME])}")
    if by[Outcome.UNCLEAR]:
        parts.append(f"the two cannot be told apart in {joined(by[Outcome.UNCLEAR])}")
    if by[Outcome.UNKNOWN]:
        parts.append(f"nothing can be said of {joined(by[Outcome.UNKNOWN])}, which one of both lacks")
    return f"Against {name}, {'; '.join(parts)}." if parts else ""


def joined(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def in_draws(probability: float, count: int) -> str:
    """``83 of 100 draws``: never more than was counted, and all of them only if it was all."""
    hits = round(probability * count)
    if hits >= count:
        return f"all {count:,} draws"
    if hits <= 0:
        return f"none of {count:,} draws"
    share = 100 * hits // count
    return f"{share} of 100 draws" if share else "fewer than 1 of 100 draws"
