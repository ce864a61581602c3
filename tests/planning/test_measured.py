"""From points and requests in a real store to a replica: levels, times, power, doubts, and what is not known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.factory import DEMO, fill_store, points_of
from trilemma.analysis.points import Points
from trilemma.errors import PlanError
from trilemma.planning.measured import ONE_USER, measured, plan_keys, workloads
from trilemma.planning.service import PowerCurve, ServiceCurve
from trilemma.records import RequestRecord
from trilemma.schema import Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec, WorkloadSpec
from trilemma.store import Store

MEASURED = Provenance(method=Method.MEASURED, source="client's clock")
COUNTER = Provenance(method=Method.MEASURED, source="rapl", idle_subtracted=True)


def figure(name: str, value: float, subject: str = "", statistic: str = "", share: float = 0.1) -> Measurement:
    ends = {"low": value * (1 - share), "high": value * (1 + share)} if share else {}
    return Measurement(figure=name, subject=subject, statistic=statistic, value=value, provenance=COUNTER, n=9, **ends)


def stored(store: Store, figures: list[Measurement], requests: list[RequestRecord] | None = None) -> tuple[Points, str]:
    """One configuration with the given figures."""
    from tests.factory import HOST, artifact

    weights = artifact("tiny", "Q8_0")
    store.add_artifact(weights)
    configuration = Configuration(artifact_id=weights.id, engine="llama.cpp")
    workload = WorkloadSpec(name="short_chat", prompt_tokens=8, output_tokens=3, requests=3)
    spec = StudySpec(name="s", configurations=(configuration,), workloads=(workload,))
    store.add_study(spec, [RunSpec(configuration=configuration, workloads=(workload,))])
    run = store.claim_next("t")
    assert run is not None
    store.start_run(run.id, HOST)
    store.set_measurements(run.id, figures)
    store.write_batch(run.id, requests=requests or [])
    store.finish_run(run.id, RunState.DONE)
    return points_of(store, *plan_keys(store.figure_keys())), configuration.id


def level(users: int, rate: float, first: float, watts: float, share: float = 0.1) -> list[Measurement]:
    subject = "short_chat" if users == 1 else f"short_chat x{users}"
    return [
        figure("request_rate", rate, subject, share=share),
        figure("e2e_s", 0.9 * users / rate, subject, "mean", share),
        figure("ttft_s", first, subject, "mean", share),
        figure("output_tps", rate * 3, subject, share=share),
        figure("power_w", watts, subject, share=share),
        figure("energy_j", watts * 10, subject, share=0),
        figure("energy_gross_j", (watts + 5) * 10, subject, share=0),
    ]


def test_a_sweep_becomes_a_curve(store: Store) -> None:
    points, one = stored(
        store, [*level(1, 1.0, 0.1, 30), *level(4, 2.0, 0.3, 60), figure("idle_power_w", 8, "loaded_idle")]
    )
    assert workloads(points) == {"short_chat": [one]}
    found = measured(points, one, "short_chat")
    assert found.curve.levels.tolist() == [1, 4]
    # Little's law on the steady window's throughput, not the mean over ramp-up and drain.
    assert (found.curve.prefill_s + found.curve.decode_s).tolist() == pytest.approx([1.0, 2.0])
    assert found.curve.prefill_s.tolist() == pytest.approx([0.1, 0.3])
    assert found.curve.slots == 4
    assert found.curve.top_rate == pytest.approx(2.0)
    assert found.curve.output_tokens == pytest.approx(3)
    assert found.under_load
    assert found.power is not None
    # The machine's idle power was subtracted and comes back.
    assert found.power.watts.tolist() == pytest.approx([35, 65])
    assert found.power.idle_w == 8
    assert not found.power.modelled
    assert found.doubt.speed is not None and found.doubt.energy is not None and found.doubt.idle is not None
    assert found.doubt.speed == pytest.approx(np.log(1.1 / 0.9) / 2 / 1.96, rel=1e-3)
    assert any("all are taken to be alike" in note for note in found.notes)


def test_without_intervals_there_are_no_doubts(store: Store) -> None:
    points, one = stored(store, level(1, 1.0, 0.1, 30, share=0))
    found = measured(points, one, "short_chat")
    assert (found.doubt.speed, found.doubt.energy, found.doubt.idle) == (None, None, None)
    assert not found.under_load
    assert ONE_USER in found.notes
    assert found.power is not None
    assert any("waits is not known" in note for note in found.notes)


def test_the_requests_of_the_steady_window_are_replayed(store: Store) -> None:
    requests = []
    for index in range(6):
        start = index * 10_000_000_000
        first = start + (1 + index) * 100_000_000
        requests.append(
            RequestRecord(
                workload="short_chat", index=index, submitted_ns=start, prompt_tokens=8, output_tokens=3,
                token_times_ns=(first, first + 10**9, first + 2 * 10**9),
            )
        )  # fmt: skip
    points, one = stored(store, level(1, 0.4, 0.35, 30), requests)
    found = measured(points, one, "short_chat", [requests])
    (parts,) = found.curve.variations
    assert parts.mean(axis=0).tolist() == pytest.approx([1, 1])
    assert parts[:, 0].tolist() == pytest.approx([(1 + i) / 3.5 for i in range(6)])
    assert (found.curve.prompt_tokens, found.curve.output_tokens) == (8, 3)


def test_rates_count_where_the_server_kept_up(store: Store) -> None:
    figures = []
    for rate, done, each in ((1.0, 1.0, 1.0), (2.0, 2.0, 1.5), (4.0, 2.4, 9.0)):
        subject = f"short_chat {rate:g}/s"
        figures += [
            figure("request_rate", done, subject), figure("offered_rate", rate, subject),
            figure("e2e_s", each, subject, "mean"), figure("ttft_s", each / 10, subject, "mean"),
            figure("output_tps", 3 * done, subject),
        ]  # fmt: skip
    points, one = stored(store, figures)
    found = measured(points, one, "short_chat")
    assert found.curve.levels.tolist() == pytest.approx([1, 3])
    assert found.curve.slots == 3
    assert found.power is None
    assert any("not known" in note for note in found.notes)


def test_a_level_just_below_a_whole_number_is_not_rounded_up(store: Store) -> None:
    # 100 a second, each taking 0.57 s, are 56.99999999999999 at once.
    figures = [
        figure("request_rate", 100.0, "short_chat 100/s"), figure("offered_rate", 100.0, "short_chat 100/s"),
        figure("e2e_s", 0.57, "short_chat 100/s", "mean"), figure("output_tps", 300.0, "short_chat 100/s"),
    ]  # fmt: skip
    points, one = stored(store, figures)
    assert measured(points, one, "short_chat").curve.slots == 56


def test_users_who_think_and_what_was_not_measured_make_no_plan(store: Store) -> None:
    points, one = stored(store, [figure("e2e_s", 1.0, "short_chat x4 think 2 s", "mean")])
    assert workloads(points) == {}
    with pytest.raises(PlanError, match="no finished run"):  # of any figure that a plan is made of
        measured(points, one, "short_chat")
    with pytest.raises(PlanError, match="no finished run"):
        measured(points, "other", "short_chat")
    fill_store(store, DEMO[:1], 1)
    points = points_of(store, *plan_keys(store.figure_keys()))
    with pytest.raises(PlanError, match="is not known"):
        measured(points, str(points.meta.index[0]), "long_document")


def test_the_factorys_study_can_be_planned_with(store: Store) -> None:
    fill_store(store, DEMO[:2], 2)
    points = points_of(store, *plan_keys(store.figure_keys()))
    ((name, ids),) = workloads(points).items()
    run = next(run for run in store.runs() if run.spec.configuration.id == ids[0])
    found = measured(points, ids[0], name, [store.requests(run.id)])
    assert found.memory is not None
    assert found.power is not None and found.power.modelled
    assert found.doubt.speed is not None
    assert len(found.curve.variations[0]) == 24


def test_a_curve_that_is_none_is_refused() -> None:
    ones = np.ones(2)
    for levels, prefill, slots in (([2, 1], ones, 1), ([1, 2], -ones, 1), ([1, 2], ones, 3), ([1, 2], ones[:1], 1)):
        with pytest.raises(ValueError, match=r"levels|times|variations"):
            ServiceCurve(np.array(levels, dtype=float), np.array(prefill), ones, slots)


def test_more_at_once_never_answers_one_sooner() -> None:
    noisy = ServiceCurve(np.array([1.0, 2.0, 4.0]), np.array([0.2, 0.1, 0.3]), np.array([1.0, 0.9, 2.0]), 4)
    assert (np.diff(noisy.service) >= 0).all()
    assert noisy.service[2] == pytest.approx((1.2 + 2.3) / 2)


def test_power_between_and_beyond_the_levels() -> None:
    power = PowerCurve(10.0, np.array([2.0, 4.0]), np.array([30.0, 50.0]))
    assert power.at(np.array([0.0, 1.0, 3.0, 9.0])).tolist() == [10, 20, 40, 50]
