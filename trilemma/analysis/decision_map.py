"""Who wins under which priorities: for one mix of weights, and for a grid of all of them.

Each draw (:mod:`trilemma.analysis.draws`) is decided as if it had been measured; the probability to be the best is the
share of draws that an option wins. Where several are equally good in a draw, they share it. Where eligibility is given
by draw, one in which nothing is eligible is won by nobody, so that probabilities may add up to less than 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trilemma.analysis.draws import Draws
from trilemma.analysis.front import BoolArray, on_front
from trilemma.analysis.limits import Limit, within
from trilemma.analysis.odds import contenders
from trilemma.analysis.points import Points
from trilemma.analysis.scoring import Normalisation, ScoringMethod, axis_losses, ends, rough_scores, scores
from trilemma.analysis.uncertainty import FloatArray
from trilemma.schema import Axis

_MANY = 300
"""Configurations above which those that cannot be on the front are left out."""
MAP_DRAWS = 200
"""Draws behind a point of the map: its colours are told apart no finer."""
_EQUAL = 1e-12
_NEAR = np.float32(1e-4)
"""How far behind the least rough score the least exact one may be: a hundred times the error of a rough one."""
_CELLS = 2**15
"""Mixes x options that are scored at a time: what a processor's cache holds."""


@dataclass(frozen=True)
class Ranking:
    """One mix of priorities; positions are those of the draws' configurations.

    ``pick`` is the most probable to be the best, of equals the better one as measured; ``runner_up`` the next, None
    where there is no other. ``probability`` is one a configuration, 0 where it is not eligible.
    """

    pick: int
    runner_up: int | None
    probability: FloatArray


@dataclass(frozen=True)
class DecisionMap:
    """All mixes of priorities; ``weights`` is grid points x 3, each with a sum of 1.

    ``rows`` are the positions of the configurations that win anywhere, those that win most first; ``share`` is grid
    points x rows: in which share of draws each wins. ``winner`` is, for each grid point, the position of the one that
    wins most draws there, and ``probability`` its share.
    """

    weights: FloatArray
    rows: NDArray[np.intp]
    share: FloatArray
    winner: NDArray[np.intp]
    probability: FloatArray

    def won(self) -> dict[int, float]:
        """In which share of all mixes each configuration wins most draws, the largest first."""
        found, counts = np.unique(self.winner, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {int(found[one]): float(counts[one] / len(self.winner)) for one in order}


def possible_winners(points: Points, keys: Sequence[str], limits: Sequence[Limit]) -> Points:
    """Those of ``points`` that may win under some priorities; all of them where they are few.

    Whoever is surely beaten in all of ``keys`` cannot win, except by keeping ``limits`` that others do not.
    """
    if len(points) <= _MANY:
        return points
    inside = within(points, limits)
    near = np.zeros(len(points), dtype=np.bool_)
    near[np.flatnonzero(inside)[contenders(points.select(inside), keys)]] = True
    return points.select(near)


def best(
    draws: Draws,
    axes: Mapping[Axis, str],
    weights: Sequence[float],
    *,
    method: ScoringMethod = ScoringMethod.CHEBYSHEV,
    normalisation: Normalisation = Normalisation.RANGE,
    eligible: BoolArray | None = None,
) -> Ranking:
    """Rank the configurations under one mix of priorities.

    Args:
        draws: Of at least the figures of ``axes``.
        axes: The figure that stands for each axis.
        weights: Of the axes, in their order.
        method: How losses become one score.
        normalisation: What a loss is measured in.
        eligible: Which may win, configurations or draws x configurations; all that have the figures if None. Losses
            are scaled over those that may win in some draw.

    Raises:
        ValueError: none may win.
    """
    keys = [axes[axis] for axis in Axis]
    rows = _rows(draws, keys, eligible)
    if not rows.size:
        raise ValueError("no configuration may win: none is eligible and has all figures")
    share = wins(
        _losses(draws, keys, rows, len(draws.values), normalisation, eligible),
        np.asarray([weights], dtype=np.float64),
        method,
    )[0]
    measured = scores(axis_losses(_measured(draws, keys, rows), keys, list(Axis), normalisation), weights, method)
    order = np.lexsort((measured, -share))
    probability = np.zeros(len(draws.points))
    probability[rows] = share
    return Ranking(int(rows[order[0]]), int(rows[order[1]]) if rows.size > 1 else None, probability)


def decision_map(
    draws: Draws,
    axes: Mapping[Axis, str],
    *,
    steps: int = 40,
    method: ScoringMethod = ScoringMethod.CHEBYSHEV,
    normalisation: Normalisation = Normalisation.RANGE,
    eligible: BoolArray | None = None,
) -> DecisionMap:
    """Rank the configurations under all mixes of priorities, ``steps`` to an edge; arguments as :func:`best`'s.

    Raises:
        ValueError: none may win.
    """
    keys = [axes[axis] for axis in Axis]
    rows = _rows(draws, keys, eligible)
    if not rows.size:
        raise ValueError("no configuration may win: none is eligible and has all figures")
    losses = _losses(draws, keys, rows, MAP_DRAWS, normalisation, eligible)
    grid = weight_grid(steps)
    share = wins(losses, grid, method)
    total = share.sum(axis=0)
    order = np.argsort(-total, kind="stable")[: max(1, int((total > 0).sum()))]
    rows, share = rows[order], share[:, order]
    first = share.argmax(axis=1)
    return DecisionMap(grid, rows, share, rows[first], share[np.arange(len(grid)), first])


def weight_grid(steps: int) -> FloatArray:
    """All mixes of three weights in ``steps`` equal parts, each with a sum of 1."""
    parts = [(a, b, steps - a - b) for a in range(steps + 1) for b in range(steps + 1 - a)]
    grid: FloatArray = np.array(parts, dtype=np.float64) / steps
    return grid


def _rows(draws: Draws, keys: Sequence[str], eligible: BoolArray | None) -> NDArray[np.intp]:
    """Who may win: has every figure, and is eligible (in some draw)."""
    complete = draws.points.complete(keys)
    if eligible is None:
        return np.flatnonzero(complete)
    return np.flatnonzero(complete & (eligible.any(axis=0) if eligible.ndim == 2 else eligible))


def _losses(
    draws: Draws, keys: Sequence[str], rows: NDArray[np.intp], count: int, scale: Normalisation,
    eligible: BoolArray | None,
) -> FloatArray:  # fmt: skip
    """The losses of ``rows`` in the first ``count`` draws; unknown in a draw in which one is not eligible."""
    found = axis_losses(draws.of(keys)[:count, rows], keys, list(Axis), scale)
    if eligible is not None and eligible.ndim == 2:
        found[~eligible[:count, rows]] = np.nan
    return found


def _measured(draws: Draws, keys: Sequence[str], rows: NDArray[np.intp]) -> FloatArray:
    return draws.value[rows][:, [draws.keys.index(key) for key in keys]]


def wins(losses: FloatArray, weights: FloatArray, method: ScoringMethod) -> FloatArray:
    """In which share of draws each option has the least score, for each mix of weights: mixes x options.

    Of options that score equally only those that no other beats on the axes count, and share the win.

    Args:
        losses: draws x options x 3; NaN where an option cannot win a draw.
        weights: mixes x 3.
        method: how losses become scores.
    """
    found = np.zeros((len(weights), losses.shape[1]))
    for one, best_loss, worst_loss in zip(losses, *ends(losses), strict=True):
        # Few options of a draw are on its front, and no other can win.
        rows = np.flatnonzero(on_front(one, ["lower"] * len(Axis)))
        if rows.size:
            mixes, options = _winners(one[rows], weights, method, (best_loss, worst_loss))
            found[mixes, rows[options]] += 1.0 / np.bincount(mixes)[mixes]
    return found / len(losses)


def _winners(
    losses: FloatArray, weights: FloatArray, method: ScoringMethod, between: tuple[FloatArray, FloatArray]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The positions of mixes, in order, and of the options with the least score under each; several where equal."""
    size = max(1, _CELLS // len(losses))
    parts = []
    for start in range(0, len(weights), size):
        rough = rough_scores(losses, weights[start : start + size], method, between)
        mixes, options = np.nonzero(rough <= rough.min(axis=1, keepdims=True) + _NEAR)
        parts.append((mixes + start, options))
    mixes, options = (np.concatenate(one) for one in zip(*parts, strict=True))
    exact = scores(losses[options], weights[mixes], method, between)
    first = np.flatnonzero(np.diff(mixes, prepend=-1))
    least = exact <= np.minimum.reduceat(exact, first)[mixes] + _EQUAL
    return mixes[least], options[least]
