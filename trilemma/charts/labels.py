"""Where direct labels fit: beside their own mark, over no other mark and no other label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

# Where the middle of a label lies from its mark, in half-widths and half-heights; plotly's y grows upwards here.
_PLACES = {
    "top center": (0, 1), "middle right": (1, 0), "top right": (1, 1), "bottom center": (0, -1),
    "middle left": (-1, 0), "bottom right": (1, -1), "top left": (-1, 1), "bottom left": (-1, -1),
}  # fmt: skip
_CHARACTER = 6.9
_LINE = 15.0
_GAP = 3.0


def place(
    at: FloatArray, sizes: FloatArray, texts: Mapping[int, str], area: tuple[float, float] = (560.0, 400.0)
) -> dict[int, str]:
    """A text position for each label that fits, by position of its mark.

    Args:
        at: marks x 2, from 0 (left, bottom) to 1 (right, top).
        sizes: the marks' diameters, pixels.
        texts: the labels wanted, by mark; the first come first.
        area: the least size that the chart may have, pixels; on a larger one labels lie farther apart.
    """
    pixels = at * np.array(area)
    half = sizes[:, None] / 2 + 1
    # What is in the way: left, lower, right and upper end of each mark, then of each label that has found its place.
    boxes = np.vstack([np.hstack([pixels - half, pixels + half]), np.empty((len(texts), 4))])
    count = len(at)
    aside = np.array([*_PLACES.values()], dtype=np.float64)
    placed: dict[int, str] = {}
    for mark, text in texts.items():
        size = np.array([len(text) * _CHARACTER, _LINE])
        middle = pixels[mark] + aside * (size / 2 + sizes[mark] / 2 + _GAP)
        low, high = middle - size / 2, middle + size / 2
        inside = (low >= 0).all(axis=1) & (high <= area).all(axis=1)
        others = np.delete(boxes[:count], mark, axis=0)[:, None]
        hit = ((others[..., :2] < high) & (others[..., 2:] > low)).all(axis=2).any(axis=0)
        fits = np.flatnonzero(inside & ~hit)
        if fits.size:
            placed[mark] = [*_PLACES][fits[0]]
            boxes[count] = *low[fits[0]], *high[fits[0]]
            count += 1
    return placed
