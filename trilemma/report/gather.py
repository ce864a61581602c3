"""Everything that a report tells of one study, read from the store once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trilemma.analysis.draws import ItemScores, scores_by_item
from trilemma.analysis.format import find_key
from trilemma.analysis.headline import default_axes, headline_keys, in_order
from trilemma.analysis.limits import Limit, parse_limit, within
from trilemma.analysis.odds import FrontOdds, front_odds
from trilemma.analysis.points import Points, axis_of, configuration_points
from trilemma.analysis.subjects import level_of
from trilemma.charts.palette import model_colours
from trilemma.errors import ReportError
from trilemma.records import RunRecord, StudyRecord
from trilemma.report.scrub import Scrubber
from trilemma.report.view import View
from trilemma.schema import Axis, split_key
from trilemma.store import Store

_ROUNDING = 1e-6
_A_COLUMN_AXIS = 3
"""How many figures of each axis the table of configurations has."""


@dataclass(frozen=True)
class Material:
    """What a report is made of.

    ``points`` are all configurations with a finished run and all their figures; ``shown`` those that pass the view's
    choices and limits, which are the ones drawn. ``odds`` has one entry for each of ``shown``: how often it is on the
    front of ``axes``. ``versions`` has by key the versions of the definitions that figures were stored under.
    """

    study: StudyRecord
    view: View
    runs: list[RunRecord]
    keys: list[str]
    columns: dict[Axis, list[str]]
    points: Points
    shown: Points
    axes: tuple[str, str]
    size: str | None
    limits: list[Limit]
    odds: FrontOdds
    items: ItemScores
    versions: dict[str, tuple[int, ...]]
    models: list[str]
    artifact_labels: dict[str, str]
    scrub: Scrubber

    def colours(self, dark: bool) -> dict[str, str]:
        """Of every model, as on the pages."""
        return model_colours([*self.models, *sorted(self.points.meta["model"].astype(str).unique())], dark)


def gather(store: Store, study_id: str, view: View) -> Material:
    """Read what a report of a study tells.

    Raises:
        NotFoundError: there is no such study.
        ReportError: it has no finished run.
        TrilemmaError: the view names a figure that the study has not measured, or a limit that cannot be read.
    """
    study = store.study(study_id)
    frame = store.figure_frame(study_id=study.id)
    if frame.empty:
        raise ReportError(
            f"The study {study.spec.name!r} has no finished run yet, so there is nothing to report.",
            "Wait until its first run is done; the Queue page says when.",
        )
    artifacts = {artifact.id: artifact for artifact in store.artifacts()}
    scrub = Scrubber(artifact.path for artifact in artifacts.values())
    run_frame = store.run_frame(study.id)
    run_frame = run_frame.assign(settings=[scrub.deep(text) for text in run_frame["settings"]])
    keys = in_order(sorted(set(frame["key"])))
    points = configuration_points(frame, run_frame, artifacts, keys)
    clean = {
        name: pd.Series([scrub.deep(text) for text in points.meta[name]], points.meta.index, dtype=object)
        for name in ("model", "quantization", "engine", "adapter")
    }
    points = dataclasses.replace(points, meta=points.meta.assign(**clean))
    x, y, size = _axes(study, view, keys)
    limits = [parse_limit(text, keys) for text in view.limits]
    shown = points.select(_chosen(points, view) & within(points, limits))
    items = item_scores(store, study.id, points, [x, y])
    return Material(
        study=study,
        view=view,
        runs=store.runs(study.id),
        keys=keys,
        columns=headline_keys(keys, _A_COLUMN_AXIS),
        points=points,
        shown=shown,
        axes=(x, y),
        size=size,
        limits=limits,
        odds=front_odds(shown, (x, y), items) if len(shown) else FrontOdds(np.empty(0)),
        items=items,
        versions=store.definition_versions(study.id),
        models=list(dict.fromkeys(a.model for a in sorted(artifacts.values(), key=lambda a: (a.added_at, a.id)))),
        artifact_labels={key: scrub.text(artifact.label) for key, artifact in artifacts.items()},
        scrub=scrub,
    )


def item_scores(store: Store, study_id: str, points: Points, keys: Sequence[str]) -> ItemScores:
    """The scores by item behind those of ``keys`` that are means over a suite's items.

    Scores that do not average to what was measured (another file of questions, another scoring) are left out.
    """
    answered = store.answer_frame(study_id)
    found: dict[str, Mapping[str, Mapping[str, float]]] = {}
    for key in keys:
        figure, subject, statistic = split_key(key)
        level = level_of(subject)
        if axis_of(key) is not Axis.PERFORMANCE or statistic or level is None:
            continue
        suite = level.workload.partition(":")[0]
        run_ids = answered.loc[answered["suite"] == suite, "run_id"].tolist()
        scores = scores_by_item(store.score_frame(suite, figure, run_ids)) if run_ids else {}
        if scores and all(_agrees(points, key, one, table) for one, table in scores.items()):
            found[key] = scores
    return found


def _agrees(points: Points, key: str, configuration_id: str, table: Mapping[str, float]) -> bool:
    if configuration_id not in points.value.index:
        return True
    value = float(points.value[key].loc[[configuration_id]].iloc[0])
    return bool(np.isnan(value)) or abs(value - float(np.mean([*table.values()]))) < _ROUNDING


def _axes(study: StudyRecord, view: View, keys: Sequence[str]) -> tuple[str, str, str | None]:
    """The figures of the picture: those of the view, else what Explore begins with."""
    subjects = [level.subject for spec in study.spec.workloads for level in spec.levels()]
    x, y, size = default_axes(keys, subjects)
    chosen = [find_key(name, keys) if name else default for name, default in ((view.x, x), (view.y, y))]
    return chosen[0], chosen[1], find_key(view.size, keys) if view.size else size


def _chosen(points: Points, view: View) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    kept = np.ones(len(points), dtype=np.bool_)
    for column, wanted in (
        ("model", view.models), ("quantization", view.quantizations), ("engine", view.engines),
    ):  # fmt: skip
        if wanted:
            kept &= np.asarray(points.meta[column].isin(wanted))
    return kept
