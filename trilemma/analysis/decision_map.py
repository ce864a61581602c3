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
_EQUAL = 1e-12
_NEAR = np.float32(1e-4)
"""How far behind the least rough score the least exact one may be: a hundred times the error of a rough one."""
_CELLS = 2**16
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
        _losses(draws, keys, rows, normalisation, eligible),
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
    losses = _losses(draws, keys, rows, normalisation, eligible)
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
    draws: Draws, keys: Sequence[str], rows: NDArray[np.intp], scale: Normalisation, eligible: BoolArray | None
) -> FloatArray:
    """The losses of ``rows`` in each draw; unknown in one in which an option is not eligible."""
    found = axis_losses(draws.of(keys)[:, rows], keys, list(Axis), scale)
    if eligible is not None and eligible.ndim == 2:
        found[~eligible[:, rows]] = np.nan
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
    # Few options of a draw are on its front, and no other can win.
    fronts = [np.flatnonzero(on_front(one, ["lower"] * len(Axis))) for one in losses]
    sizes = np.array([rows.size for rows in fronts])
    won = np.flatnonzero(sizes)
    won = won[np.argsort(sizes[won], kind="stable")]  # fronts of about a size together
    size = max(1, _CELLS // len(weights))
    for start in range(0, len(won), size):
        some = won[start : start + size]
        rows = np.full((len(some), sizes[some].max()), -1)
        for place, draw in enumerate(some):
            rows[place, : sizes[draw]] = fronts[draw]
        _count(found, losses[some], rows, weights, method)
    return found / len(losses)


def _count(
    found: FloatArray, losses: FloatArray, rows: NDArray[np.intp], weights: FloatArray, method: ScoringMethod
) -> None:
    """Add what each option wins in some draws to ``found``, mixes x options.

    Args:
        found: What is added to.
        losses: draws x options x 3.
        rows: draws x as many options as are on the largest front: those on a draw's front, then -1.
        weights: mixes x 3.
        method: how losses become scores.
    """
    between = ends(losses)
    front, flat = losses[np.arange(len(rows))[:, None], rows], (between[0][:, 0], between[1][:, 0])
    least = np.full((len(rows), len(weights)), np.inf, dtype=np.float32)
    second, place = least.copy(), np.zeros(least.shape, dtype=np.intp)
    for option in range(rows.shape[1]):
        rough = rough_scores(front[:, option], weights, method, flat)
        rough[rows[:, option] < 0] = np.inf
        np.copyto(place, option, where=rough < least)
        np.minimum(second, np.maximum(rough, least), out=second)
        np.minimum(least, rough, out=least)
    near = second <= least + _NEAR
    draws, mixes = np.nonzero(~near)
    cells = mixes * found.shape[1] + np.take_along_axis(rows, place, axis=1)[draws, mixes]
    found += np.bincount(cells, minlength=found.size).reshape(found.shape)
    near_draws, near_mixes = np.nonzero(near)
    size = max(1, _CELLS // rows.shape[1])
    for start in range(0, len(near_draws), size):
        draws, mixes = near_draws[start : start + size], near_mixes[start : start + size]
        exact = scores(front[draws], weights[mixes, None], method, (between[0][draws], between[1][draws]))
        exact[rows[draws] < 0] = np.inf
        best = exact <= exact.min(axis=1, keepdims=True) + _EQUAL
        cells, options = np.nonzero(best)
        np.add.at(found, (mixes[cells], rows[draws[cells], options]), (1.0 / best.sum(axis=1))[cells])
