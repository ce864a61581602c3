"""What Compare shows, read from the store once for each version of it and each choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from pages import shared
from pages.parts import explore_data
from pages.parts.explore_view import is_dark
from pages.parts.url_state import UrlState
from trilemma.analysis.headline_score import Composed, chance_level, composed
from trilemma.analysis.paired import (
    Paired,
    disagreements,
    headline_figure,
    holm,
    is_score,
    item_id,
    item_scores,
    paired,
)
from trilemma.analysis.points import Points
from trilemma.analysis.text import distinct_labels
from trilemma.charts.compare import DASHES, Look
from trilemma.charts.palette import model_colours, quantization_symbol
from trilemma.charts.performance import Bar, ladder_colours
from trilemma.records import SAMPLE, AnswerRecord
from trilemma.schema import RunState
from trilemma.suites.shares import mean_measurement

Version = tuple[str, int]

_PALEST = 0.6


@dataclass(frozen=True)
class Option:
    """A configuration that has been measured; ``run_id`` is the run to open: its newest undisturbed one."""

    name: str
    model: str
    quantization: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class Scene:
    """What is compared: two to five configurations of a study, by id, the first of them the one compared with."""

    of: Version
    study: str
    names: Mapping[str, Option]
    url: UrlState

    @property
    def ids(self) -> tuple[str, ...]:
        """The configurations in their order."""
        return tuple(self.names)

    @property
    def points(self) -> Points:
        """All figures of the configurations, in their order."""
        return chosen_points(self.of, self.study, self.ids)

    @property
    def short(self) -> dict[str, str]:
        """Names for narrow places, by id: without the model where all are of one, else with what differs most first."""
        alike = len({option.model for option in self.names.values()}) == 1
        bare = {one: option.name.removeprefix(f"{option.model} ") for one, option in self.names.items()}
        return bare if alike else {one: f"{name} · {self.names[one].model}" for one, name in bare.items()}

    @property
    def looks(self) -> dict[str, Look]:
        """How each is drawn, by id."""
        models = {option.name: option.model for option in self.names.values()}
        known = model_colours([*explore_data.catalog(self.of).models, *models.values()], is_dark())
        colours = ladder_colours(models, known, palest=_PALEST)
        return {
            one: Look(colours[option.name], quantization_symbol(option.quantization), DASHES[row % len(DASHES)])
            for row, (one, option) in enumerate(self.names.items())
        }


@dataclass(frozen=True)
class SuiteScores:
    """One suite: its headline score, what guessing gets, and each configuration's score by item."""

    figure: str
    chance: float
    scores: dict[str, dict[str, float]]
    bars: dict[str, Bar]

    def disagreements(self, one: str, other: str) -> list[str]:
        """The items that two configurations are scored differently on."""
        return disagreements(self.scores.get(one, {}), self.scores.get(other, {}))


@dataclass(frozen=True)
class Difference:
    """A configuration against the first one in a suite; ``p`` is corrected for all that are compared."""

    suite: str
    configuration_id: str
    result: Paired
    p: float | None


@dataclass(frozen=True)
class Comparison:
    """Suites by name, and the differences to the first configuration."""

    suites: dict[str, SuiteScores]
    differences: list[Difference]


def _everything(of: Version, study_id: str) -> Points:
    return explore_data.points(of, study_id, tuple(sorted(explore_data.catalog(of).keys)))


@st.cache_resource(max_entries=16, show_spinner=False)
def options(of: Version, study_id: str) -> dict[str, Option]:
    """The configurations of a study that have been measured, by id, in Explore's order."""
    if not (explore_data.runs(of, study_id)["state"] == RunState.DONE).any():
        return {}
    points = _everything(of, study_id)
    meta = points.meta
    columns = (meta.index, distinct_labels(points), meta["model"], meta["quantization"], meta["run_id"])
    return {str(key): Option(*map(str, rest)) for key, *rest in zip(*columns, strict=True)}


def first(of: Version, study_id: str, count: int) -> list[str]:
    """The configurations to begin with: those on the front of what Explore shows at first, then the others."""
    known = options(of, study_id)
    front = explore_data.front(of, study_id) if known else []
    return list(dict.fromkeys([*(one for one in front if one in known), *known]))[:count]


def first_study(of: Version) -> str | None:
    """The newest study in which two configurations have been measured, else in which one has."""
    best: str | None = None
    for study_id in explore_data.catalog(of).studies:
        if study_id == SAMPLE and best is not None:
            break  # the last of all, and only where there is nothing of the user's own
        found = len(options(of, study_id))
        if found > 1:
            return study_id
        if found and best is None:
            best = study_id
    return best


@st.cache_resource(max_entries=32, show_spinner=False)
def chosen_points(of: Version, study_id: str, configuration_ids: tuple[str, ...]) -> Points:
    """All figures of some configurations, in their order; the variance they share is that of the whole study."""
    points = _everything(of, study_id)
    rows = {str(one): row for row, one in enumerate(points.meta.index)}
    return points.select(np.array([rows[one] for one in configuration_ids], dtype=np.intp))


@st.cache_resource(max_entries=64, show_spinner=False)
def answers(of: Version, study_id: str, configuration_id: str) -> dict[str, list[AnswerRecord]]:
    """A configuration's answers by suite, from the run that answered most items, the newest of several."""
    store = shared.get_store()
    frame = store.answer_frame(study_id)
    mine = frame[frame["configuration_id"] == configuration_id]
    best = mine.sort_values("n", kind="stable").groupby("suite").tail(1)
    chosen = dict(zip(best["suite"].astype(str), best["run_id"].astype(str), strict=True))
    return {suite: store.answers(chosen[suite], suite) for suite in sorted(chosen)}


@st.cache_resource(max_entries=16, show_spinner=False)
def comparison(of: Version, study_id: str, configuration_ids: tuple[str, ...]) -> Comparison:
    """The suites whose headline score is a share, and how the configurations differ in them."""
    names = options(of, study_id)
    kept = {one: answers(of, study_id, one) for one in configuration_ids}
    suites = {}
    for suite in dict.fromkeys(suite for by_suite in kept.values() for suite in by_suite):
        found = {one: by_suite[suite] for one, by_suite in kept.items() if suite in by_suite}
        everything = [answer for given in found.values() for answer in given]
        if not is_score(everything):
            continue
        figure = headline_figure(everything)
        scores = {one: table for one, given in found.items() if (table := item_scores(given, figure))}
        bars = {one: _bar(names[one].name, figure, suite, list(values.values())) for one, values in scores.items()}
        suites[suite] = SuiteScores(figure, chance_level(everything), scores, bars)
    first, *others = configuration_ids
    results = [
        (suite, other, paired(table.scores[first], table.scores[other]))
        for suite, table in suites.items()
        for other in others
        if first in table.scores and other in table.scores
    ]
    corrected = holm([result.p for _, _, result in results])
    return Comparison(suites, [Difference(*row, p) for row, p in zip(results, corrected, strict=True)])


def _bar(name: str, figure: str, suite: str, values: Sequence[float]) -> Bar:
    """The mean with the interval that the suite's own figure has."""
    measured = mean_measurement(figure, suite, values)
    return Bar(name, measured.value or 0.0, measured.low, measured.high, measured.n)


@st.cache_resource(max_entries=32, show_spinner=False)
def composed_score(
    of: Version, study_id: str, configuration_ids: tuple[str, ...], weights: tuple[tuple[str, float], ...]
) -> dict[str, Composed]:
    """The score that is composed of suites, by configuration."""
    suites = comparison(of, study_id, configuration_ids).suites
    scores = {suite: table.scores for suite, table in suites.items()}
    return composed(scores, {suite: table.chance for suite, table in suites.items()}, dict(weights))


def tries(of: Version, study_id: str, configuration_id: str, suite: str, item: str) -> list[AnswerRecord]:
    """A configuration's answers to one item."""
    given = answers(of, study_id, configuration_id).get(suite, [])
    return [answer for answer in given if item_id(answer) == item]
