"""Where names and marks go on a decision map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.spatial import cKDTree

from trilemma.analysis.decision_map import DecisionMap
from trilemma.analysis.uncertainty import FloatArray

_SIDE = 240.0
"""Pixels of the triangle's side on a phone, where a name has least room."""
_LETTER = (0.66, 1.15)
"""Width and height of a letter, in sizes of the type."""
_TOGETHER = 0.02
"""Marks nearer than this share of the side are one."""
_DISC = 15.0
"""Pixels of a mark's disc."""
_ROUNDS = 20


def on_paper(weights: FloatArray) -> FloatArray:
    """Where mixes of weights (points x 3) lie in a triangle with sides of 1, the first corner up: points x 2."""
    return np.stack([weights[:, 2] + weights[:, 0] / 2, weights[:, 0] * math.sqrt(0.75)], axis=1)


def place_of_name(
    found: DecisionMap, row: int, letters: int, size: float, avoided: Sequence[Sequence[float]] = ()
) -> FloatArray | None:
    """The weights at which a name of ``letters`` in type of ``size`` pixels fits best into the region of ``row``.

    That is the pole of inaccessibility, the point farthest from everything that is not the region's, found among the
    points of the map; widths count less than heights by the ratio in which the name is wider than it is high.

    Args:
        found: The map.
        row: The configuration that wins there.
        letters: How long its name is.
        size: Of the type, in pixels.
        avoided: Mixes of weights that the name shall stay away from.

    Returns:
        Three weights; None where the name does not fit.
    """
    steps = round(1 / float(found.weights[found.weights > 0].min()))
    mine = found.winner == row
    # A row of points beyond each edge, so that a name stays inside; they have a weight below zero.
    along = np.arange(-1, steps + 2) / steps
    edge = np.stack([along, 1 + 1 / steps - along], axis=1)
    outside = [np.insert(edge, axis, -1 / steps, axis=1) for axis in range(3)]
    around = [found.weights[~mine], *outside]
    if len(avoided):
        around.append(np.asarray(avoided, dtype=np.float64))
    width, height = _LETTER[0] * letters * size / _SIDE, _LETTER[1] * size / _SIDE
    squeezed = np.array([height / width, 1.0])
    inside = on_paper(found.weights[mine])
    far, _ = cKDTree(on_paper(np.concatenate(around)) * squeezed).query(inside * squeezed)
    best = int(np.argmax(far))
    # The border runs half a step before the next region's points.
    if far[best] < height / 2 + 0.5 / steps * squeezed[0]:
        return None
    place: FloatArray = found.weights[mine][best]
    return place


def numbered(marks: Mapping[str, Sequence[float]]) -> list[tuple[FloatArray, list[tuple[int, str]]]]:
    """Named mixes of weights with their numbers, from 1 in their order; those at one place together."""
    groups: list[tuple[FloatArray, list[tuple[int, str]]]] = []
    for number, (name, weights) in enumerate(marks.items(), 1):
        at = np.asarray(weights, dtype=np.float64)
        where = on_paper(at[None])
        near = (names for other, names in groups if np.linalg.norm(on_paper(other[None]) - where) < _TOGETHER)
        if (names := next(near, None)) is not None:
            names.append((number, name))
        else:
            groups.append((at, [(number, name)]))
    return groups


def apart(weights: FloatArray) -> FloatArray:
    """Where marks of these mixes (marks x 3) are drawn so that none covers another on a phone: a few pixels away."""
    at = on_paper(weights)
    for _ in range(_ROUNDS):
        for one in range(len(at)):
            for other in range(one):
                way = at[one] - at[other]
                far = float(np.linalg.norm(way))
                lack = _DISC / _SIDE - far
                if lack > 0:
                    step = (way / far if far else np.array([1.0, 0.0])) * lack / 2
                    at[one], at[other] = at[one] + step, at[other] - step
    up = at[:, 1] / math.sqrt(0.75)
    right = at[:, 0] - up / 2
    moved = np.maximum(np.stack([up, 1 - up - right, right], axis=1), 0.0)
    inside: FloatArray = moved / moved.sum(axis=1, keepdims=True)
    return inside
