"""Open loops, limits and goodput by hand, and two short runs for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.bench.test_speed import MS, by_key, crowd
from trilemma.analysis.goodput import goodput_curve
from trilemma.bench.speed import speed_measurements
from trilemma.bench.under_load import Load, load_of
from trilemma.catalog.catalog import Catalog
from trilemma.errors import StudyError
from trilemma.records import RequestRecord
from trilemma.schema import Configuration, LatencyLimits, RunState, StudySpec, WorkloadSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import plan, submit
from trilemma.workloads import traces
from trilemma.workloads.saturation import saturated, served_per_s

LIMITS = LatencyLimits(ttft_s=0.06, tpot_s=0.02)


def arrivals(count: int, every_ms: int, service_ms: int) -> list[RequestRecord]:
    """One server, requests at a steady rate, each served after the one before."""
    records, free = [], 0
    for i in range(count):
        came = i * every_ms
        begins = max(came, free)
        free = begins + service_ms
        times = tuple((begins + service_ms * k // 4) * MS for k in range(1, 5))
        records.append(
            RequestRecord(workload="chat 10/s", index=i, submitted_ns=came * MS, token_times_ns=times, output_tokens=4)
        )
    return records


def test_a_server_that_keeps_up_answers_what_comes() -> None:
    found = by_key(speed_measurements("chat 10/s", arrivals(50, 100, 40), Load(open_loop=True)))
    assert found["offered_rate@chat 10/s"].value == pytest.approx(10, rel=0.02)
    assert found["request_rate@chat 10/s"].value == pytest.approx(10, rel=0.05)
    assert found["output_tps@chat 10/s"].value == pytest.approx(40, rel=0.05)
    assert found["request_rate@chat 10/s"].provenance.reasons == ()
    assert found["request_rate@chat 10/s"].provenance.window_s == pytest.approx(4.86, rel=0.01)
    assert "decode_tps@chat 10/s" not in found


def test_a_server_that_falls_behind_is_named_and_its_waits_grow() -> None:
    records = arrivals(50, 100, 200)
    found = by_key(speed_measurements("chat 10/s", records, Load(open_loop=True)))
    assert found["offered_rate@chat 10/s"].value == pytest.approx(10, rel=0.05)
    assert found["request_rate@chat 10/s"].value == pytest.approx(5, rel=0.05)
    assert "did not keep up" in found["request_rate@chat 10/s"].provenance.reasons[0]
    assert (found["ttft_s.p95@chat 10/s"].value or 0) > 4
    assert (
        served_per_s(records, WorkloadSpec(name="chat", prompt_tokens=1, output_tokens=4, requests=50, rate=10)) < 0.9
    )


def test_goodput_counts_what_kept_both_limits() -> None:
    found = by_key(speed_measurements("chat x4", crowd(4, 10), Load(4, limits=LIMITS)))
    assert found["goodput_share@chat x4"].value == 1.0
    assert found["goodput@chat x4"].value == found["request_rate@chat x4"].value
    strict = LIMITS.model_copy(update={"ttft_s": 0.04})
    assert by_key(speed_measurements("chat x4", crowd(4, 10), Load(4, limits=strict)))["goodput@chat x4"].value == 0.0
    failed = [r.model_copy(update={"error": "lost"}) if r.index % 2 else r for r in crowd(4, 10)]
    half = by_key(speed_measurements("chat x4", failed, Load(4, limits=LIMITS)))
    assert 0.4 < (half["goodput_share@chat x4"].value or 0) < 0.6
    assert half["failed_share@chat x4"].value == 0.5
    assert half["failed_share@chat x4"].provenance.reasons == ("lost",)
    assert not any(key.startswith("goodput") for key in by_key(speed_measurements("chat x4", crowd(4, 10), Load(4))))


def test_goodput_afterwards_is_the_figure_that_was_stored() -> None:
    records = [r.model_copy(update={"workload": "chat x4"}) for r in crowd(4, 10)]
    stored = by_key(speed_measurements("chat x4", records, Load(4, limits=LIMITS)))
    ((point,),) = goodput_curve(records, LIMITS).values()
    assert point.values["goodput"] == stored["goodput@chat x4"].value
    assert point.values["goodput_share"] == stored["goodput_share@chat x4"].value


def test_a_sweep_ends_where_throughput_stops_growing() -> None:
    users = WorkloadSpec(name="short_chat", prompt_tokens=8, output_tokens=4, requests=4, sweep=(1, 2, 4, 8))
    assert [(level.concurrency, level.requests, level.subject) for level in users.levels()] == [
        (1, 4, "short_chat"), (2, 6, "short_chat x2"), (4, 12, "short_chat x4"), (8, 24, "short_chat x8"),
    ]  # fmt: skip
    assert not saturated([100.0], users)
    assert not saturated([100.0, 180.0], users)
    assert saturated([100.0, 180.0, 185.0], users)
    rates = users.model_copy(update={"rate": 1.0, "sweep": (1.0, 2.0)})
    assert [level.subject for level in rates.levels()] == ["short_chat 1/s", "short_chat 2/s"]
    assert saturated([0.99, 0.7], rates)
    assert not saturated([0.99, 0.95], rates)


def test_two_workloads_of_one_name_are_refused(store: Store, settings: Settings, smollm2_path: object) -> None:
    artifact = Catalog(store, settings).add_path(str(smollm2_path))
    chat = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=8, requests=2)
    swept = chat.model_copy(update={"sweep": (1.0, 2.0)})
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp")
    spec = StudySpec(name="twice", configurations=(configuration,), workloads=(chat, swept))
    with pytest.raises(StudyError, match="both called 'short_chat'"):
        plan(spec, store.artifacts())


@pytest.mark.llama
def test_an_open_loop_and_a_sweep_for_real(store: Store, settings: Settings, smollm2_path: object) -> None:
    artifact = Catalog(store, settings).add_path(str(smollm2_path))
    base = {"prompt_tokens": 64, "output_tokens": 8, "requests": 6, "limits": LatencyLimits(ttft_s=30.0)}
    workloads = (
        WorkloadSpec(name="short_chat", rate=4.0, **base),  # type: ignore[arg-type]
        WorkloadSpec(name="short_chat", sweep=(1.0, 2.0), **base),  # type: ignore[arg-type]
    )
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 256, "slots": 2})
    spec = StudySpec(name="load", configurations=(configuration,), workloads=workloads, repeats=1, idle_s=0.2)
    submit(store, spec)
    run = store.claim_next("test")
    assert run is not None
    assert subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], env=os.environ, check=False).returncode == 0
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason
    found = {m.key: m for m in store.measurements(run.id)}
    subjects = {r.workload for r in store.requests(run.id)}
    assert subjects == {"short_chat 4/s", "short_chat", "short_chat x2"}
    assert len([r for r in store.requests(run.id) if r.workload == "short_chat 4/s" and not r.warmup]) == 6
    assert found["generator_lag_s@short_chat 4/s"].value is not None
    assert found["goodput_share@short_chat"].value == 1.0
    assert "saturation_users@short_chat" in found
    assert load_of(workloads[0]).open_loop


@pytest.mark.llama
def test_a_trace_is_repeated_line_by_line_at_its_own_times(
    store: Store, settings: Settings, smollm2_path: object
) -> None:
    artifact = Catalog(store, settings).add_path(str(smollm2_path))
    lines = [(60, 0.0, 4), (80, 0.3, 6), (70, 0.9, 5)]
    data = "\n".join(
        json.dumps({"prompt_tokens": prompt, "arrival_s": at_s, "output_tokens": output})
        for prompt, at_s, output in lines
    )
    digest = traces.add(settings.traces_dir, data.encode())
    workload = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=8, requests=9, trace=digest)
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 256, "slots": 2})
    submit(store, StudySpec(name="t", configurations=(configuration,), workloads=(workload,), repeats=1, idle_s=0.2))
    run = store.claim_next("test")
    assert run is not None
    subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], env=os.environ, check=False)
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason
    found = sorted((r for r in store.requests(run.id) if not r.warmup), key=lambda r: r.index)
    # Three lines are three requests, however many were asked for, and each keeps its length and its time.
    assert [(r.prompt_tokens, r.output_tokens) for r in found] == [(prompt, output) for prompt, _, output in lines]
    came = [(r.submitted_ns - found[0].submitted_ns) / 1e9 for r in found]
    assert came == pytest.approx([at_s for _, at_s, _ in lines], abs=1e-6)
