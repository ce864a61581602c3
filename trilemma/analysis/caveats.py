"""What a reader must know before trusting a choice between configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trilemma.analysis.draws import Draws
from trilemma.analysis.format import key_title
from trilemma.analysis.front import BoolArray
from trilemma.analysis.points import Points, axis_of
from trilemma.analysis.preferences import lower_first
from trilemma.analysis.text import count_of
from trilemma.schema import Axis, Method

FULL_PRECISION = ("F32", "F16", "BF16", "FP32", "FP16")


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
    for row, name in rows.items():
        found += _row_texts(draws, keys, row, name)
    left = int((~points.complete(keys)).sum())
    if left:
        verb = "lacks" if left == 1 else "lack"
        found.append(f"{count_of(left, 'configuration')} {verb} one of the figures, and cannot be ranked.")
    return found


def _method_texts(ranked: Points, key: str) -> list[str]:
    """That a figure is modelled or imported, for all that are ranked or for some."""
    methods = {str(method) for method in ranked.method[key].dropna()}
    title, texts = key_title(key), []
    for method in (Method.MODELLED, Method.IMPORTED):
        if method.value not in methods:
            continue
        if len(methods) == 1:
            texts.append(f"{title} is {method.value}, not measured.")
        else:
            texts.append(f"{title} is {method.value} for some configurations only: their ranking mixes methods.")
    return texts


def _row_texts(draws: Draws, keys: Sequence[str], row: int, name: str) -> list[str]:
    points, texts = draws.points, []
    timed = [key for key in keys if axis_of(key) is not Axis.PERFORMANCE]
    known = [key for key in timed if points.value[key].notna().iloc[row]]
    runs = [int(points.runs[key].iloc[row]) for key in known]
    if runs and min(runs) == 1:
        borrowed = any(np.isfinite(points.df[key].iloc[row]) for key in known)
        how = "is taken from the other configurations" if borrowed else "is not known"
        texts.append(f"{name} was measured in a single run: how it varies from run to run {how}.")
    if bool(points.disturbed[list(keys)].iloc[row].any()):
        texts.append(f"Something disturbed the machine while {name} was measured.")
    blind = [lower_first(key_title(key)) for key in keys if draws.unknown[row, draws.keys.index(key)]]
    if blind:
        texts.append(
            f"No interval is known of the {' and the '.join(blind)} of {name}: it counts as exact here, and the answer "
            "may be less sure than it looks."
        )
    if bool(points.meta["requantized"].iloc[row]):
        texts.append(f"{name} was made from weights that were already quantized.")
    if device := points.meta["profile"].iloc[row]:
        texts.append(f"{name} ran under the limits of an emulated device ({device}), which makes no core slower.")
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
    alike = [
        sum(str(other[name]) == str(own[name]) for name in ("settings", "engine", "profile", "adapter"))
        for _, other in most.iterrows()
    ]
    return int(most.index[int(np.argmax(alike))])
