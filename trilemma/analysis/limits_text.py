"""What can be said of limits: how surely a pick keeps them, what was not checked, and what to loosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trilemma.analysis.differences import in_draws
from trilemma.analysis.draws import Draws
from trilemma.analysis.front import BoolArray
from trilemma.analysis.limits import Limit, Relaxation, exclusion, keeps, keeps_all, within
from trilemma.analysis.points import Points
from trilemma.analysis.preferences import limit_words, upper_first
from trilemma.analysis.text import count_of

SURE = 0.95


def kept_sentences(draws: Draws, limits: Sequence[Limit], row: int) -> tuple[str, ...]:
    """How surely the configuration at ``row`` keeps ``limits``, each that is less than sure by itself."""
    if not limits:
        return ()
    count = len(draws.values)
    chances = keeps(draws, limits)[row]
    blind = [bool(draws.unknown[row, draws.keys.index(limit.key)]) for limit in limits]
    texts = []
    for limit, chance, unknown in zip(limits, chances, blind, strict=True):
        if unknown:
            texts.append(f"It keeps {limit_words(limit)} as measured; how surely is not known.")
        elif chance < SURE:
            texts.append(f"It keeps {limit_words(limit)} in only {in_draws(float(chance), count)}.")
    sure = [
        limit for limit, chance, unknown in zip(limits, chances, blind, strict=True) if chance >= SURE and not unknown
    ]
    if sure:
        what = "the limit" if len(limits) == 1 else "every limit" if len(sure) == len(limits) else "the other limits"
        joint = float(keeps_all(draws, sure)[row])
        texts.append(f"It keeps {what} in {in_draws(joint, count)}.")
    return tuple(texts)


def excluded_sentences(
    points: Points, limits: Sequence[Limit], complete: BoolArray, names: Sequence[str]
) -> tuple[str, ...]:
    """Which limit alone shuts out most, and what loosening it a little would let in; nothing if none shuts out any."""
    found = exclusion(points, limits, complete)
    if found is None:
        return ()
    loosened, who = limit_words(found.next.loosened), names[found.next.admits]
    keep = "keeps" if found.count == 1 else "keep"
    others = f" that {keep} all other limits" if len(limits) > 1 else ""
    what = f"{count_of(found.count, 'configuration')}{others}"
    return (f"{upper_first(limit_words(found.next.limit))} shuts out {what}; {loosened} would let {who} in.",)


def unchecked_sentences(
    draws: Draws, limits: Sequence[Limit], unmeasured: Sequence[str], complete: BoolArray
) -> tuple[str, ...]:
    """Which limits say nothing because their figure is missing, for all configurations or for some."""
    texts = []
    if unmeasured:
        verb = "was" if len(unmeasured) == 1 else "were"
        texts.append(
            f"Not checked, for {'it' if len(unmeasured) == 1 else 'they'} {verb} not measured: {'; '.join(unmeasured)}."
        )
    for limit in limits:
        lacking = int((draws.points.value[limit.key].isna().to_numpy() & complete).sum())
        if lacking:
            counts = "counts" if lacking == 1 else "count"
            texts.append(
                f"{count_of(lacking, 'configuration')} without a figure for {limit_words(limit)} {counts} as not "
                "keeping it."
            )
    return tuple(texts)


def nothing_sentences(
    draws: Draws, limits: Sequence[Limit], complete: BoolArray, names: Sequence[str], loosen: Relaxation | None
) -> tuple[str, ...]:
    """Which limit excludes most where nothing keeps all of them, and what loosening one would let in."""
    points, total = draws.points, int(complete.sum())
    kept = [int((within(points, [limit]) & complete).sum()) for limit in limits]
    most = int(np.argmin(kept))
    texts = [f"Most are excluded by {limit_words(limits[most])}: {total - kept[most]} of {total} do not keep it."]
    if loosen is None:
        texts.append("Loosening one limit alone lets none in.")
    else:
        texts.append(f"{upper_first(limit_words(loosen.loosened))} instead would let {names[loosen.admits]} in.")
    return tuple(texts)
