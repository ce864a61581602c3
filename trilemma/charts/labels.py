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
    boxes = [np.hstack([pixels - half, pixels + half])]
    placed: dict[int, str] = {}
    for mark, text in texts.items():
        width, height = len(text) * _CHARACTER, _LINE
        for name, (right, up) in _PLACES.items():
            reach = sizes[mark] / 2 + _GAP
            middle = pixels[mark] + np.array([right * (width / 2 + reach), up * (height / 2 + reach)])
            box = np.array(
                [middle[0] - width / 2, middle[1] - height / 2, middle[0] + width / 2, middle[1] + height / 2]
            )
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= area[0] and box[3] <= area[1]
            others = np.vstack(boxes)
            others = np.delete(others, mark, axis=0)
            hit = (
                (others[:, 0] < box[2]) & (others[:, 2] > box[0]) & (others[:, 1] < box[3]) & (others[:, 3] > box[1])
            ).any()
            if inside and not hit:
                placed[mark] = name
                boxes.append(box[None, :])
                break
    return placed
