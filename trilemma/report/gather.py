"""Everything that a report tells of one study, read from the store once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trilemma.analysis.draws import ItemScores
from trilemma.analysis.format import find_key
from trilemma.analysis.front import BoolArray
from trilemma.analysis.headline import default_axes, headline_keys, in_order
from trilemma.analysis.item_scores import read_item_scores
from trilemma.analysis.limits import Limit, within
from trilemma.analysis.odds import FrontOdds, front_odds
from trilemma.analysis.points import Points, configuration_points
from trilemma.analysis.preferences import axis_keys, read_limit
from trilemma.charts.palette import model_colours
from trilemma.errors import ReportError
from trilemma.records import RunRecord, SampleFacts, StudyRecord, Vote
from trilemma.report.decision import Decision, decide
from trilemma.report.to_plan import ToPlan, to_plan
from trilemma.report.view import View
from trilemma.schema import Axis
from trilemma.scrub import Scrubber
from trilemma.store import Store

_A_COLUMN_AXIS = 3
"""How many figures of each axis the table of configurations has."""


@dataclass(frozen=True)
class Material:
    """What a report is made of.

    ``sample`` is set where the study was not measured here: the sample study, or an imported one. ``points`` are
    all configurations with a finished run and all their figures; ``shown`` those that pass the view's choices and
    limits, which are the ones drawn. ``odds`` has one entry for each of ``shown``: how often it is on the front of
    ``axes``. ``unmeasured`` are limits on figures that the study has not measured, as somebody wrote them.
    ``decision`` is None where the study lacks one of the three axes, ``to_plan`` where the view plans nothing.
    ``votes`` are those between ``points``. ``versions`` has by key the versions of the definitions that figures
    were stored under.
    """

    study: StudyRecord
    sample: SampleFacts | None
    view: View
    runs: list[RunRecord]
    keys: list[str]
    columns: dict[Axis, list[str]]
    by_axis: dict[Axis, str]
    points: Points
    shown: Points
    axes: tuple[str, str]
    size: str | None
    limits: tuple[Limit, ...]
    unmeasured: tuple[str, ...]
    odds: FrontOdds
    items: ItemScores
    decision: Decision | None
    to_plan: ToPlan | None
    votes: tuple[Vote, ...]
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
        ReportError: it has no finished run with a figure.
        TrilemmaError: the view names a figure that the study has not measured, or a limit that cannot be read.
    """
    study = store.study(study_id)
    frame = store.figure_frame(study_id=study.id)
    known = frame.loc[frame["valid"].astype(bool) & frame["value"].notna(), "key"]
    keys = in_order(sorted(set(known)))
    if not keys:
        raise ReportError(
            f"The study {study.spec.name!r} has no finished run yet, so there is nothing to report.",
            "Wait until its first run is done; the Queue page says when.",
        )
    artifacts = {artifact.id: artifact for artifact in store.artifacts(forgotten=True)}
    scrub = Scrubber(artifact.path for artifact in artifacts.values() if artifact.path)
    run_frame = store.run_frame(study.id)
    run_frame = run_frame.assign(settings=[scrub.deep(text) for text in run_frame["settings"]])
    points = _cleaned(configuration_points(frame, run_frame, artifacts, keys), scrub)
    workloads = [level.subject for spec in study.spec.workloads for level in spec.levels()]
    subjects = (*view.subjects, *workloads)
    by_axis = axis_keys(view.axes, keys, subjects)
    x, y, size = _picture(view, keys, by_axis, workloads)
    stated = [read_limit(text, keys, subjects) for text in view.limits]
    limits = tuple(dict.fromkeys(one.limit for one in stated if one.limit is not None))
    unmeasured = tuple(one.text for one in stated if one.limit is None)
    chosen = points.select(_chosen(points, view))
    shown = chosen.select(within(chosen, limits))
    wanted = list(dict.fromkeys([x, y, *by_axis.values(), *(limit.key for limit in limits)]))
    items = read_item_scores(store, study.id, points, wanted).items
    decision = decide(chosen, by_axis, view, limits, unmeasured, items) if set(by_axis) == set(Axis) else None
    measured = set(points.meta.index)
    pick = decision.told.pick if decision is not None else None
    return Material(
        study=study,
        sample=store.origin(study.id),
        view=view,
        runs=store.runs(study.id),
        keys=keys,
        columns=_columns(keys, by_axis),
        by_axis=by_axis,
        points=points,
        shown=shown,
        axes=(x, y),
        size=size,
        limits=limits,
        unmeasured=unmeasured,
        odds=front_odds(shown, (x, y), items) if len(shown) else FrontOdds(np.empty(0)),
        items=items,
        decision=decision,
        to_plan=None if view.plan is None else to_plan(store, points, run_frame, pick, view.plan),
        votes=tuple(vote for vote in store.votes(study.id) if {vote.a_id, vote.b_id} <= measured),
        versions=store.definition_versions(study.id),
        models=store.models(),
        artifact_labels={key: scrub.text(artifact.label) for key, artifact in artifacts.items()},
        scrub=scrub,
    )


def _cleaned(points: Points, scrub: Scrubber) -> Points:
    clean = {
        name: pd.Series([scrub.deep(text) for text in points.meta[name]], points.meta.index, dtype=object)
        for name in ("model", "quantization", "engine", "engine_version", "adapter", "machine")
    }
    return dataclasses.replace(points, meta=points.meta.assign(**clean))


def _picture(
    view: View, keys: Sequence[str], by_axis: Mapping[Axis, str], workloads: Sequence[str]
) -> tuple[str, str, str | None]:
    """The figures of the picture: the view's, else those that stand for efficiency and performance."""
    x, y, size = default_axes(keys, workloads)
    x, y = by_axis.get(Axis.EFFICIENCY, x), by_axis.get(Axis.PERFORMANCE, y)
    chosen = [find_key(name, keys) if name else default for name, default in ((view.x, x), (view.y, y))]
    return chosen[0], chosen[1], find_key(view.size, keys) if view.size else size


def _columns(keys: Sequence[str], by_axis: Mapping[Axis, str]) -> dict[Axis, list[str]]:
    """A few figures of each axis, first the one that stands for it."""
    usual = headline_keys(keys, _A_COLUMN_AXIS)
    return {
        axis: list(dict.fromkeys([*([by_axis[axis]] if axis in by_axis else []), *usual[axis]]))[:_A_COLUMN_AXIS]
        for axis in Axis
    }


def _chosen(points: Points, view: View) -> BoolArray:
    kept = np.ones(len(points), dtype=np.bool_)
    for column, wanted in (
        ("model", view.models), ("quantization", view.quantizations), ("engine", view.engines),
        ("engine_version", view.engine_versions), ("machine", view.machines),
    ):  # fmt: skip
        if wanted:
            kept &= np.asarray(points.meta[column].isin(wanted))
    return kept
