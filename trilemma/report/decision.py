"""The pick of a view and what it rests on, worked out as the page Decide does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trilemma.analysis.decision_map import DecisionMap, Ranking, best, decision_map, possible_winners
from trilemma.analysis.draws import Draws, ItemScores, draw
from trilemma.analysis.front import BoolArray
from trilemma.analysis.limits import Limit, keeps_all, within
from trilemma.analysis.points import Points
from trilemma.analysis.recommendation import Priorities, Recommendation, recommend
from trilemma.analysis.uncertainty import FloatArray
from trilemma.report.view import View
from trilemma.schema import Axis

STEPS = 40


@dataclass(frozen=True)
class Decision:
    """What is recommended; ``ranking`` is None where nothing keeps all limits, ``map`` where fewer than two do.

    ``kept`` is, by configuration of ``draws``, the probability that it keeps all limits; ``beaten`` are how many are
    left out of ``draws``, because they cannot win.
    """

    priorities: Priorities
    limits: tuple[Limit, ...]
    told: Recommendation
    draws: Draws
    eligible: BoolArray
    kept: FloatArray
    ranking: Ranking | None
    map: DecisionMap | None
    beaten: int

    @property
    def points(self) -> Points:
        """The configurations that are decided between."""
        return self.draws.points


def decide(
    points: Points,
    axes: Mapping[Axis, str],
    view: View,
    limits: Sequence[Limit],
    unmeasured: Sequence[str],
    items: ItemScores,
) -> Decision:
    """Decide between ``points``.

    Args:
        points: Must hold the figures of ``axes`` and ``limits``.
        axes: The figure that stands for each axis; all three.
        view: Weights, method and normalisation.
        limits: What must be kept.
        unmeasured: Limits on figures that were not measured.
        items: Scores by item, so that they can be drawn in pairs.
    """
    keys = [axes[axis] for axis in Axis]
    wanted = tuple(sorted({*keys, *(limit.key for limit in limits)}))
    total = len(points)
    points = possible_winners(points, keys, limits)
    draws = draw(points, wanted, items)
    eligible = points.complete(keys) & within(points, limits)
    weights = {axis: view.weights.get(axis, 0.0) for axis in Axis} if sum(view.weights.values()) > 0 else {}
    asked = Priorities(dict(axes), weights or dict.fromkeys(Axis, 1.0), view.method, view.normalisation)
    method, normalisation = view.method, view.normalisation
    ranking = whole = None
    if eligible.any():
        ranking = best(
            draws, asked.axes, asked.shares, method=method, normalisation=normalisation, eligible=eligible
        )  # fmt: skip
    if eligible.sum() > 1:
        whole = decision_map(
            draws, asked.axes, steps=STEPS, method=method, normalisation=normalisation, eligible=eligible
        )  # fmt: skip
    told = recommend(draws, asked, limits=limits, unmeasured=unmeasured)
    return Decision(
        asked, tuple(limits), told, draws, eligible, keeps_all(draws, limits), ranking, whole, total - len(points)
    )
