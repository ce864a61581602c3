"""What Decide shows, read from the store once for each version of it and worked out once for each question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from pages import shared
from pages.parts import explore_data
from trilemma.analysis.decision_map import DecisionMap, Ranking, best, decision_map, possible_winners
from trilemma.analysis.draws import Draws, ItemScores, draw
from trilemma.analysis.front import BoolArray
from trilemma.analysis.headline import in_order
from trilemma.analysis.item_scores import read_item_scores
from trilemma.analysis.limits import Limit, keeps, keeps_all, within
from trilemma.analysis.odds import SURE, directions, front_share
from trilemma.analysis.points import Points, axis_of
from trilemma.analysis.recommendation import Priorities, Recommendation, recommend
from trilemma.analysis.scoring import Normalisation, ScoringMethod, axis_losses
from trilemma.analysis.uncertainty import FloatArray
from trilemma.presets import Preset, load_presets
from trilemma.records import SAMPLE
from trilemma.schema import Axis
from trilemma.settings import get_settings

Version = tuple[str, int]
STEPS = 40


@dataclass(frozen=True)
class Question:
    """Everything that the answer depends on; ``study`` is empty for all studies, ``weights`` in order of the axes."""

    study: str
    axes: tuple[str, ...]
    weights: tuple[float, ...]
    limits: tuple[Limit, ...]
    unmeasured: tuple[str, ...]
    method: ScoringMethod
    normalisation: Normalisation

    @property
    def keys(self) -> tuple[str, ...]:
        """All figures that must be read."""
        return tuple(sorted({*self.axes, *(limit.key for limit in self.limits)}))

    @property
    def by_axis(self) -> dict[Axis, str]:
        """The figure that stands for each axis."""
        return dict(zip(Axis, self.axes, strict=True))

    @property
    def priorities(self) -> Priorities:
        """The same, as the recommendation asks for it."""
        weights = dict(zip(Axis, self.weights, strict=True))
        return Priorities(self.by_axis, weights, self.method, self.normalisation)


@dataclass(frozen=True)
class Field:
    """The configurations of a study that are decided between, under limits; what is left out is counted.

    ``eligible`` are those that have all three figures and keep the limits as measured; ``kept`` is the probability,
    configurations x limits, that each is kept, and ``all_kept`` that all are; ``front`` that of a place on the front
    of the three figures. ``passing`` are how many of all ``total`` keep each limit as measured; ``beaten`` are left out
    because they cannot win.
    """

    draws: Draws
    eligible: BoolArray
    kept: FloatArray
    all_kept: FloatArray
    front: FloatArray
    passing: tuple[int, ...]
    total: int
    beaten: int

    @property
    def points(self) -> Points:
        """The configurations."""
        return self.draws.points


@st.cache_resource(max_entries=8, show_spinner=False)
def keys(of: Version, study_id: str) -> list[str]:
    """The figures that a study has values of, in the order of all lists of figures; of all studies if it is empty."""
    if not study_id:
        return explore_data.catalog_of(of, study_id).keys
    everything = explore_data.catalog(of).keys
    return in_order(set(everything) & set(shared.get_store().figure_keys(study_id)))


def first_study(of: Version) -> str | None:
    """The newest study that measured something of all three axes, else the newest that measured anything."""
    best_yet: str | None = None
    for study_id in explore_data.catalog(of).studies:
        if study_id == SAMPLE and best_yet is not None:
            break  # the last of all, and only where there is nothing of the user's own
        found = keys(of, study_id)
        if {axis_of(key) for key in found} >= set(Axis):
            return study_id
        if found and best_yet is None:
            best_yet = study_id
    return best_yet


def known_presets() -> tuple[dict[str, Preset], list[str]]:
    """The presets, and what is wrong with files: read anew each time, for a team may mend one meanwhile."""
    return load_presets(get_settings().home)


@st.cache_resource(max_entries=16, show_spinner=False)
def item_scores(of: Version, study_id: str, wanted: tuple[str, ...]) -> ItemScores:
    """The scores by item of those figures that are means over items, so that they can be drawn in pairs."""
    points = explore_data.points(of, study_id, wanted)
    return read_item_scores(shared.get_store(), study_id, points, wanted).items


@st.cache_resource(max_entries=16, show_spinner=False)
def field(of: Version, study_id: str, axes: tuple[str, ...], limits: tuple[Limit, ...]) -> Field:
    """Draws of all that is decided between, and what they say of limits and of the front."""
    wanted = tuple(sorted({*axes, *(limit.key for limit in limits)}))
    points = explore_data.points(of, study_id, wanted)
    total = len(points)
    passing = tuple(int(within(points, [limit]).sum()) for limit in limits)
    points = possible_winners(points, axes, limits)
    draws = draw(points, wanted, item_scores(of, study_id, wanted))
    eligible = points.complete(axes) & within(points, limits)
    kept = keeps(draws, limits) if limits else np.ones((len(points), 0))
    complete = points.complete(axes)
    front = front_share(draws.each(axes), directions(axes)) if len(points) else np.empty(0)
    return Field(
        draws,
        eligible,
        kept,
        keeps_all(draws, limits),
        np.where(complete, front, np.nan),
        passing,
        total,
        total - len(points),
    )


@st.cache_resource(max_entries=32, show_spinner=False)
def recommendation(of: Version, asked: Question) -> Recommendation:
    """The pick and why."""
    found = field(of, asked.study, asked.axes, asked.limits)
    return recommend(found.draws, asked.priorities, limits=asked.limits, unmeasured=asked.unmeasured)


@st.cache_resource(max_entries=32, show_spinner=False)
def ranking(of: Version, asked: Question) -> Ranking | None:
    """How probable each configuration is to be the best; None where none is eligible."""
    found = field(of, asked.study, asked.axes, asked.limits)
    if not found.eligible.any():
        return None
    return best(
        found.draws, asked.by_axis, asked.weights, method=asked.method, normalisation=asked.normalisation,
        eligible=found.eligible,
    )  # fmt: skip


@st.cache_resource(max_entries=16, show_spinner=False)
def whole_map(
    of: Version, study_id: str, axes: tuple[str, ...], limits: tuple[Limit, ...], method: ScoringMethod,
    normalisation: Normalisation,
) -> DecisionMap:  # fmt: skip
    """Who wins under which priorities."""
    found = field(of, study_id, axes, limits)
    by_axis = dict(zip(Axis, axes, strict=True))
    return decision_map(
        found.draws, by_axis, steps=STEPS, method=method, normalisation=normalisation, eligible=found.eligible
    )


def losses(found: Field, asked: Question) -> FloatArray:
    """By configuration and axis, 0 best to 1 worst of those that are eligible, as measured; NaN for the others."""
    table = np.full((len(found.points), len(Axis)), np.nan)
    if found.eligible.any():
        columns = [found.draws.keys.index(key) for key in asked.axes]
        values = found.draws.value[found.eligible][:, columns]
        table[found.eligible] = axis_losses(values, list(asked.axes), list(Axis), asked.normalisation)
    return table


def ways(of: Version, asked: Question) -> dict[tuple[ScoringMethod, Normalisation], Ranking]:
    """The same question under every method and normalisation."""
    found: dict[tuple[ScoringMethod, Normalisation], Ranking] = {}
    for method in ScoringMethod:
        for normalisation in Normalisation:
            one = Question(
                asked.study, asked.axes, asked.weights, asked.limits, asked.unmeasured, method, normalisation
            )
            ranked = ranking(of, one)
            if ranked is not None:
                found[method, normalisation] = ranked
    return found


def kept_words(found: Field, position: int, limits: Sequence[Limit]) -> str:
    """How many configurations keep a limit, and how many of them surely: ``6 of 9 keep it, 5 surely``."""
    text = f"{found.passing[position]:,} of {found.total:,} keep it"
    if found.beaten or not found.passing[position]:
        return text
    surely = within(found.points, [limits[position]]) & (found.kept[:, position] >= SURE)
    return f"{text}, {int(surely.sum()):,} surely"
