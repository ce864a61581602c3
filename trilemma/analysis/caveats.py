"""What a reader must know before trusting a choice between configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trilemma.analysis.differences import joined
from trilemma.analysis.draws import Draws
from trilemma.analysis.front import BoolArray
from trilemma.analysis.points import Points, axis_of
from trilemma.analysis.preferences import figure_words, upper_first
from trilemma.analysis.text import count_of
from trilemma.schema import Axis, Method

FULL_PRECISION = ("F32", "F16", "BF16", "FP32", "FP16")
_ALIKE = ("settings", "engine", "engine_version", "profile", "adapter", "machine")


def choice_caveats(draws: Draws, keys: Sequence[str], rows: Mapping[int, str], among: BoolArray) -> list[str]:
    """What to know of a choice by ``keys``.

    Args:
        draws: All configurations.
        keys: The figures that the choice was made by.
        rows: The positions of the configurations that are named, and their names.
        among: Which configurations were ranked.
    """
    points = draws.points
    found = [text for key in keys for text in _method_texts(points.select(among), key)]
    said: dict[tuple[str, str], list[str]] = {}
    for row, name in rows.items():
        for text in _row_texts(draws, keys, row):
            said.setdefault(text, []).append(name)
    for (one, several), names in said.items():
        found.append(f"{joined(names)} {one if len(names) == 1 else several}")
    left = int((~points.complete(keys)).sum())
    if left:
        verb = "lacks" if left == 1 else "lack"
        found.append(f"{count_of(left, 'configuration')} {verb} one of the figures, and cannot be ranked.")
    return found


def _method_texts(ranked: Points, key: str) -> list[str]:
    """That a figure is modelled or imported, for all that are ranked or for some."""
    methods = {str(method) for method in ranked.method[key].dropna()}
    title, texts = upper_first(figure_words(key)), []
    for method in (Method.MODELLED, Method.IMPORTED):
        if method.value not in methods:
            continue
        if len(methods) == 1:
            texts.append(f"{title} is {method.value}, not measured.")
        else:
            texts.append(f"{title} is {method.value} for some configurations only: their ranking mixes methods.")
    return texts


def _row_texts(draws: Draws, keys: Sequence[str], row: int) -> list[tuple[str, str]]:
    """What to know of one configuration: what follows its name, and what follows the names of several."""
    points = draws.points
    texts: list[tuple[str, str]] = []
    timed = [key for key in keys if axis_of(key) is not Axis.PERFORMANCE]
    known = [key for key in timed if points.value[key].notna().iloc[row]]
    if known and min(int(points.runs[key].iloc[row]) for key in known) == 1:
        borrowed = any(np.isfinite(points.df[key].iloc[row]) for key in known)
        how = "is taken from the other configurations" if borrowed else "is not known"
        rest = f"measured in a single run: how it varies from run to run {how}."
        texts.append((f"was {rest}", f"were each {rest}"))
    if bool(points.disturbed[list(keys)].iloc[row].any()):
        rest = "measured while something disturbed the machine."
        texts.append((f"was {rest}", f"were {rest}"))
    blind = [figure_words(key) for key in keys if draws.unknown[row, draws.keys.index(key)]]
    if blind:
        rest = (
            f"no interval of {joined(blind)}: what was measured counts as exact, and the answer may be less sure than "
            "it looks."
        )
        texts.append((f"has {rest}", f"have {rest}"))
    if bool(points.meta["requantized"].iloc[row]):
        rest = "made from weights that were already quantized."
        texts.append((f"was {rest}", f"were {rest}"))
    if device := points.meta["profile"].iloc[row]:
        rest = f"under the limits of an emulated device ({device}), which makes no core slower."
        texts.append((f"ran {rest}", f"ran {rest}"))
    return texts


def reference_row(points: Points, row: int) -> int | None:
    """The configuration of the same model with most bits, and of several the one most like ``row``; may be itself.

    None where the bits of the model's weights are unknown.
    """
    meta = points.meta.reset_index(drop=True)
    same = meta[(meta["model"] == meta["model"].iloc[row]) & meta["bits"].gt(0)]
    if same.empty or row not in same.index:
        return None
    most = same[same["bits"] == same["bits"].max()]
    if row in most.index:
        return row
    own = meta.iloc[row]
    alike = [sum(str(other[name]) == str(own[name]) for name in _ALIKE) for _, other in most.iterrows()]
    return int(most.index[int(np.argmax(alike))])
