"""The scores by item behind figures that are means over a suite's items, so that configurations compare in pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd

from trilemma.analysis.draws import ItemScores, scores_by_item
from trilemma.analysis.points import Points, axis_of, members
from trilemma.analysis.subjects import level_of
from trilemma.schema import Axis, split_key

_SAME_MEAN = 1e-6


class Answers(Protocol):
    """Where answers are kept: a :class:`trilemma.store.Store`."""

    def answer_frame(self, study_id: str | None = None) -> pd.DataFrame:
        """A row for each suite that a run answered: run_id, configuration_id, suite, n."""
        ...

    def score_frame(self, suite: str, figure: str, run_ids: Sequence[str]) -> pd.DataFrame:
        """A row for each answer: run_id, configuration_id, item_id, score."""
        ...


class Scores(NamedTuple):
    """``items`` by figure, configuration and item; ``too_many`` are figures with more answers than were to be read."""

    items: ItemScores
    too_many: tuple[str, ...]


def read_item_scores(
    answers: Answers, study_id: str, points: Points, keys: Sequence[str], *, most: int | None = None
) -> Scores:
    """Read the scores behind those of ``keys`` that suites gave, for the configurations of ``points``.

    Scores that do not average to a configuration's figure (another file of questions, another scoring, pass@k) are
    left out.

    Args:
        answers: The store.
        study_id: Of which study; empty for all.
        points: Must hold ``keys``.
        keys: Measurement keys.
        most: Answers of a suite above which they are not read.
    """
    scored = [key for key in keys if axis_of(key) is Axis.PERFORMANCE and not split_key(key)[2]]
    if not scored:
        return Scores({}, ())
    frame = answers.answer_frame(study_id or None)
    frame = frame[members(frame["configuration_id"], points.meta.index)]
    by_suite = {str(suite): rows for suite, rows in frame.groupby("suite", sort=False)}
    found: dict[str, Mapping[str, Mapping[str, float]]] = {}
    too_many = []
    for key in scored:
        figure, subject, _ = split_key(key)
        level = level_of(subject)
        suite = level.workload.partition(":")[0] if level else subject
        if (rows := by_suite.get(suite)) is None:
            continue
        if most is not None and int(rows["n"].sum()) > most:
            too_many.append(key)
            continue
        tables = scores_by_item(answers.score_frame(suite, figure, rows["run_id"].astype(str).tolist()))
        value = points.value[key].astype(float)
        tables = {one: table for one, table in tables.items() if is_mean(float(value.loc[one]), table)}
        if tables:
            found[key] = tables
    return Scores(found, tuple(too_many))


def is_mean(value: float, table: Mapping[str, float]) -> bool:
    """Whether a figure is the mean of these scores: pass@k, for one, is not. What is not known contradicts nothing."""
    if not table:
        return False
    return math.isnan(value) or abs(float(np.mean([*table.values()])) - value) <= _SAME_MEAN * max(1.0, abs(value))
