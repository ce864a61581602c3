"""The figures behind a chart are those that it draws."""

from __future__ import annotations

import random

import numpy as np

from tests.factory import SMOL, artifact, records
from trilemma.analysis.load import LoadPoint, timeline
from trilemma.analysis.needle import Cell
from trilemma.analysis.subjects import Level
from trilemma.charts.performance import Bar, Group
from trilemma.charts.tables import (
    latency_table,
    load_table,
    needle_table,
    scores_table,
    timeline_table,
    traces_table,
)


def test_scores_have_a_row_a_bar() -> None:
    table = scores_table([Group("piqa", [Bar("Q8_0", 0.6, 0.5, 0.7, 100), Bar("Q2_K", 0.4)], 0.5)])
    assert table.to_dict("list")["value"] == [0.6, 0.4]
    assert table["suite"].tolist() == ["piqa", "piqa"]
    assert table["n"].tolist()[0] == 100


def test_a_load_curve_has_a_row_a_level() -> None:
    points = [LoadPoint(Level("chat", "users", n), {"output_tps": 10.0 * n, "e2e_s.median": 1.0}) for n in (1.0, 2.0)]
    table = load_table({"Q8_0": points})
    assert table["load"].tolist() == [1.0, 2.0]
    assert table["output_tps"].tolist() == [10.0, 20.0]


def test_requests_and_traces_of_a_run() -> None:
    kept = records(artifact(SMOL, "Q8_0"), random.Random(1), quality=False)
    spans = timeline(kept["requests"])
    assert len(timeline_table(spans)) == len(kept["requests"])
    traces = traces_table(kept["samples"], kept["phases"])
    assert set(traces["row"]) >= {"memory", "power", "cpu"}
    assert traces["second"].min() >= 0
    assert len(traces_table([], [])) == 0


def test_latencies_ascend_by_workload() -> None:
    table = latency_table({"a": np.array([3.0, 1.0]), "b": np.array([2.0])})
    assert table["value_s"].tolist() == [1.0, 3.0, 2.0]
    assert len(latency_table({})) == 0


def test_needles_have_a_row_a_cell() -> None:
    assert needle_table([Cell(512, 0.5, 1.0, 3, 0)]).to_dict("records") == [
        {"length": 512, "depth": 0.5, "share": 1.0, "n": 3, "failed": 0}
    ]
