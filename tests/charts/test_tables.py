"""The figures behind a chart are those that it draws."""

from __future__ import annotations

import random

import numpy as np

from tests.factory import DEMO, SMOL, artifact, fill_store, points_of, records
from trilemma.analysis.alignment import Start, aligned
from trilemma.analysis.decision_map import decision_map
from trilemma.analysis.draws import draw
from trilemma.analysis.load import LoadPoint, timeline
from trilemma.analysis.needle import Cell
from trilemma.analysis.subjects import Level
from trilemma.charts.compare_lines import Waits
from trilemma.charts.performance import Bar, Group
from trilemma.charts.tables import (
    aligned_table,
    latency_table,
    load_table,
    map_table,
    needle_table,
    points_table,
    scores_table,
    timeline_table,
    traces_table,
    waits_table,
)
from trilemma.schema import Axis
from trilemma.store import Store


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


def test_configurations_have_a_row_each_with_intervals_and_provenance(store: Store) -> None:
    fill_store(store, DEMO[:3], detail=False)
    points = points_of(store, "peak_memory_bytes", "energy_per_token_j@short_chat")
    table = points_table(points, points.keys)
    assert table["configuration_id"].tolist() == points.meta.index.tolist()
    assert table["peak_memory_bytes"].tolist() == points.value["peak_memory_bytes"].tolist()
    assert set(table["energy_per_token_j@short_chat:method"]) == {"modelled"}


def test_a_decision_map_has_a_row_a_mix(store: Store) -> None:
    fill_store(store, DEMO[:4])
    axes = dict(zip(Axis, ("peak_memory_bytes", "decode_tps@short_chat", "accuracy@piqa"), strict=True))
    points = points_of(store, *axes.values())
    found = decision_map(draw(points, [*axes.values()]), axes, steps=4)
    table = map_table(found, points)
    assert len(table) == 15
    assert np.allclose(table[[*Axis]].sum(axis=1), 1.0)
    alone = table[table["efficiency"] == 1.0].iloc[0]
    assert alone["configuration_id"] == points.value["peak_memory_bytes"].idxmin()


def test_waits_and_traces_side_by_side() -> None:
    waits = waits_table({"Q8_0": Waits(np.array([2.0, 1.0]), np.array([9.0])), "Q2_K": Waits(np.array([3.0]))})
    assert waits["value_s"].tolist() == [1.0, 2.0, 9.0, 3.0]
    assert waits["disturbed"].tolist() == [False, False, True, False]
    kept = records(artifact(SMOL, "Q8_0"), random.Random(1), quality=False)
    run = aligned(kept["samples"], kept["phases"], Start.SERVING)
    assert run is not None
    table = aligned_table({"Q8_0": run})
    assert set(table["name"]) == {"Q8_0"}
    assert len(table) == sum(len(trace.values) for trace in run.traces)


def test_needles_have_a_row_a_cell() -> None:
    assert needle_table([Cell(512, 0.5, 1.0, 3, 0)]).to_dict("records") == [
        {"length": 512, "depth": 0.5, "share": 1.0, "n": 3, "failed": 0}
    ]
