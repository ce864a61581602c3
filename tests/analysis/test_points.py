from __future__ import annotations

import numpy as np

from tests.factory import DEMO, GEMMA, HOST, MEASURED, SMOL, WORKLOAD, artifact, fill_store, points_of
from trilemma.analysis.points import labels, varying_settings
from trilemma.schema import Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec
from trilemma.store import Store

SPEED, QUALITY, ENERGY = "decode_tps@short_chat", "accuracy_norm@hellaswag", "energy_per_token_j@short_chat"


def measure(store: Store, runs: list[dict[str, object]], settings: dict[str, int] | None = None) -> list[str]:
    """Runs of one configuration; each dict gives figures (value or measurement), ``disturbed`` and ``valid``."""
    item = artifact(SMOL, "Q8_0")
    store.add_artifact(item)
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp", settings=dict(settings or {}))
    specs = [RunSpec(configuration=configuration, workloads=(WORKLOAD,), repeat=i) for i in range(len(runs))]
    store.add_study(StudySpec(name="s", configurations=(configuration,)), specs)
    ids = []
    for run in runs:
        claimed = store.claim_next("test")
        assert claimed is not None
        store.start_run(claimed.id, HOST)
        figures = [m for m in run["figures"] if isinstance(m, Measurement)]  # type: ignore[attr-defined]
        store.set_measurements(claimed.id, figures)
        store.finish_run(claimed.id, RunState.DONE, disturbed=bool(run.get("disturbed", False)))
        ids.append(claimed.id)
    return ids


def speed(
    value: float | None, half: float | None = None, n: int = 10, provenance: Provenance = MEASURED
) -> Measurement:
    low, high = (None, None) if half is None or value is None else (value - half, value + half)
    return Measurement(
        figure="decode_tps", subject="short_chat", value=value, low=low, high=high, n=10, provenance=provenance
    )


def test_one_point_a_configuration_in_order_of_bits(store: Store) -> None:
    fill_store(store, detail=False)
    points = points_of(store, SPEED, QUALITY, ENERGY)
    assert len(points) == 9
    assert list(zip(points.meta["model"], points.meta["quantization"], strict=True)) == DEMO
    assert (points.meta["runs"] == 2).all()
    assert (points.runs[SPEED] == 2).all()
    assert (points.runs[QUALITY] == 1).all(), "questions are asked in one repeat"
    assert (points.n[SPEED] == 48).all()
    assert points.methods([SPEED, QUALITY]) == [Method.MEASURED] * 9
    assert points.methods([SPEED, ENERGY]) == [Method.MODELLED] * 9
    assert (points.low[SPEED] < points.value[SPEED]).all()
    assert (points.high[SPEED] > points.value[SPEED]).all()


def test_the_interval_rests_on_how_all_configurations_vary(store: Store) -> None:
    for threads, values in enumerate(((90.0, 100.0), (50.0, 52.0), (30.0, 30.0)), start=1):
        measure(store, [{"figures": [speed(value)]} for value in values], {"threads": threads})
    points = points_of(store, SPEED)
    assert points.value[SPEED].tolist() == [95.0, 51.0, 30.0]
    assert (points.df[SPEED] == 3).all(), "three configurations with two repeats each"
    low, high = points.low[SPEED].tolist(), points.high[SPEED].tolist()
    assert low[2] < 30 < high[2], "two equal repeats do not prove that nothing varies"
    relative = np.log(np.array(high) / points.value[SPEED].to_numpy())
    assert relative[0] > relative[1] > relative[2]


def test_no_interval_is_narrower_than_the_runs_own(store: Store) -> None:
    measure(store, [{"figures": [speed(90.0, 9.0)]}, {"figures": [speed(90.0, 9.0)]}])
    points = points_of(store, SPEED)
    assert points.high[SPEED].item() > 90 + 9 / np.sqrt(2)


def test_a_single_run_has_its_own_interval(store: Store) -> None:
    measure(store, [{"figures": [speed(90.0, 3.0)]}])
    points = points_of(store, SPEED)
    assert (points.low[SPEED].item(), points.high[SPEED].item()) == (87.0, 93.0)
    measure(store, [{"figures": [speed(90.0)]}], {"threads": 3})
    assert np.isnan(points_of(store, SPEED).low[SPEED]).sum() == 1, "unknown stays unknown"


def test_disturbed_runs_count_only_where_there_is_nothing_better(store: Store) -> None:
    measure(store, [{"figures": [speed(94.0)]}, {"figures": [speed(20.0)], "disturbed": True}], {"threads": 2})
    measure(store, [{"figures": [speed(30.0)], "disturbed": True}], {"threads": 3})
    points = points_of(store, SPEED)
    assert points.value[SPEED].tolist() == [94.0, 30.0]
    assert points.disturbed[SPEED].tolist() == [False, True]
    assert points.left_out[SPEED].tolist() == [1, 0]
    assert points.runs[SPEED].tolist() == [1, 1]


def test_the_run_to_open_is_the_newest_undisturbed_one(store: Store) -> None:
    ids = measure(
        store,
        [{"figures": [speed(1.0)]}, {"figures": [speed(1.0)]}, {"figures": [speed(1.0)], "disturbed": True}],
    )
    assert points_of(store, SPEED).meta["run_id"].item() == ids[1]


def test_invalid_figures_are_left_out_and_counted(store: Store) -> None:
    bad = MEASURED.model_copy(update={"valid": False, "reasons": ("a gap of 4 s",)})
    measure(store, [{"figures": [speed(50.0, provenance=bad)]}, {"figures": [speed(90.0)]}], {"threads": 2})
    measure(store, [{"figures": [speed(None)]}], {"threads": 3})
    points = points_of(store, SPEED)
    assert points.value[SPEED].tolist()[0] == 90.0
    assert np.isnan(points.value[SPEED].tolist()[1])
    assert dict(points.invalid) == {SPEED: 2}
    assert points.complete([SPEED]).tolist() == [True, False]


def test_one_modelled_run_makes_the_point_modelled(store: Store) -> None:
    guess = Provenance(method=Method.MODELLED, source="modelled")
    measure(store, [{"figures": [speed(90.0)]}, {"figures": [speed(90.0, provenance=guess)]}])
    points = points_of(store, SPEED)
    assert points.methods([SPEED]) == [Method.MODELLED]
    assert points.source[SPEED].item() == "client's clock, modelled"


def test_performance_comes_from_the_run_that_asked_most(store: Store) -> None:
    def asked(value: float, n: int) -> Measurement:
        return Measurement(figure="accuracy_norm", subject="hellaswag", value=value, n=n, provenance=MEASURED)

    measure(store, [{"figures": [asked(0.40, 200)]}, {"figures": [asked(0.5, 50)], "disturbed": True}])
    points = points_of(store, QUALITY)
    assert points.value[QUALITY].item() == 0.40
    assert points.n[QUALITY].item() == 200
    assert not points.disturbed[QUALITY].item(), "answers do not depend on how busy the machine is"


def test_a_figure_that_nobody_measured_is_blank(store: Store) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    points = points_of(store, SPEED, "ttft_s.p99@short_chat", "perplexity@nowhere")
    assert points.value["ttft_s.p99@short_chat"].isna().all()
    assert points.value["perplexity@nowhere"].isna().all()
    assert points.front([SPEED]).sum() == 1


def test_an_empty_store_has_no_points(store: Store) -> None:
    assert len(points_of(store, SPEED)) == 0


def test_select_keeps_all_tables_together(store: Store) -> None:
    fill_store(store, detail=False)
    points = points_of(store, SPEED, QUALITY)
    gemma = points.select(np.asarray(points.meta["model"] == GEMMA))
    assert len(gemma) == 3
    assert gemma.value.index.equals(gemma.meta.index)
    assert gemma.value[SPEED].equals(points.value.loc[gemma.meta.index, SPEED])


def test_labels_tell_points_apart_by_what_differs(store: Store) -> None:
    fill_store(
        store, DEMO[:1], 1, settings=[{"threads": 1, "context": 512}, {"threads": 2, "context": 512}], detail=False
    )
    points = points_of(store, SPEED)
    assert sorted(varying_settings(points.meta)) == ["threads 1", "threads 2"]
    assert sorted(labels(points)) == [f"{SMOL} F16 · threads 1", f"{SMOL} F16 · threads 2"]


def test_settings_are_in_the_order_of_their_numbers(store: Store) -> None:
    for threads in (10, 2, 1):
        measure(store, [{"figures": [speed(90.0)]}], {"threads": threads})
    points = points_of(store, SPEED)
    assert varying_settings(points.meta).tolist() == ["threads 1", "threads 2", "threads 10"]


def test_a_forgotten_artifact_still_has_its_point(store: Store) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    for item in store.artifacts():
        store.forget_artifact(item.id)
    assert len(points_of(store, SPEED)) == 2
