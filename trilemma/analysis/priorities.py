"""How far priorities must move before another configuration is the better pick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trilemma.analysis.decision_map import wins
from trilemma.analysis.scoring import ScoringMethod
from trilemma.analysis.uncertainty import FloatArray
from trilemma.schema import Axis

_STEP = 0.01


@dataclass(frozen=True)
class Shift:
    """The first change of one axis's weight, the others in proportion, after which another option wins more often.

    ``share`` is the weight at which it does (0 to 1), ``winner`` the position of the option.
    """

    axis: Axis
    before: float
    share: float
    winner: int

    @property
    def size(self) -> float:
        """By how much the weight must move."""
        return abs(self.share - self.before)


def with_share(weights: Sequence[float], axis: int, share: float) -> FloatArray:
    """``weights`` (with a sum of 1) with that of ``axis`` at ``share`` and the others in their proportion.

    Others that are all zero share what is left equally.
    """
    found = np.array(weights, dtype=np.float64)
    rest = np.delete(np.arange(found.size), axis)
    others = found[rest].sum()
    found[rest] = (found[rest] / others if others > 0 else 1.0 / rest.size) * (1.0 - share)
    found[axis] = share
    return found


def shifts(losses: FloatArray, weights: Sequence[float], first: int, method: ScoringMethod) -> list[Shift]:
    """For every axis, up and down, when another option than ``first`` wins more draws; the smallest change first.

    Looked for in steps of one percentage point; a change that no weight of the axis brings about is left out.

    Args:
        losses: draws x options x 3, 0 best to 1 worst.
        weights: of the three axes, with a sum of 1.
        first: the option that wins most draws now.
        method: how losses become scores.
    """
    ways: list[tuple[Axis, FloatArray]] = []
    for index, axis in enumerate(Axis):
        now = float(weights[index])
        if now < 1:
            ways.append((axis, np.append(np.arange(now + _STEP, 1.0, _STEP), 1.0)))
        if now > 0:
            ways.append((axis, np.append(np.arange(now - _STEP, 0.0, -_STEP), 0.0)))
    order = list(Axis)
    mixes = [with_share(weights, order.index(axis), float(share)) for axis, way in ways for share in way]
    share = wins(losses, np.array(mixes), method)
    winner = share.argmax(axis=1)
    changed = share[np.arange(len(mixes)), winner] > share[:, first]
    found, start = [], 0
    for axis, way in ways:
        hits = np.flatnonzero(changed[start : start + len(way)])
        if hits.size:
            now = float(weights[order.index(axis)])
            found.append(Shift(axis, now, float(way[hits[0]]), int(winner[start + hits[0]])))
        start += len(way)
    return sorted(found, key=lambda shift: shift.size)
