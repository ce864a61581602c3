"""Whole runs, for real: the supervisor, its measured process, real weights and a real store."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trilemma.catalog.catalog import Catalog
from trilemma.records import RequestRecord, RunRecord
from trilemma.schema import (
    Artifact,
    Configuration,
    Method,
    Phase,
    RunState,
    StudySpec,
    SuiteSpec,
    WorkloadSpec,
)
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import plan, submit

pytestmark = pytest.mark.llama

CHAT = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=16, requests=3)


def queue_run(store: Store, artifact: Artifact, **more: object) -> RunRecord:
    spec = {"workloads": (CHAT,), "idle_s": 0.5, "repeats": 1} | more
    settings = spec.pop("settings", {"context": 512})
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings=settings)  # type: ignore[arg-type]
    submit(store, StudySpec(name="test", configurations=(configuration,), **spec))  # type: ignore[arg-type]
    run = store.claim_next("test")
    assert run is not None
    return run


def bench(run_id: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "trilemma.bench", run_id, *arguments])


@pytest.fixture
def artifact(store: Store, settings: Settings, smollm2_path: Path) -> Artifact:
    return Catalog(store, settings).add_path(smollm2_path)


def test_one_run_gives_all_three_axes(store: Store, artifact: Artifact) -> None:
    run = queue_run(
        store,
        artifact,
        suites=(SuiteSpec(name="piqa", limit=8), SuiteSpec(name="perplexity", limit=1)),
    )
    assert bench(run.id).wait(180) == 0
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason + done.log_tail
    assert done.engine_info["engine"] == "llama.cpp"
    assert done.host is not None
    phases = {(w.phase, w.subject): w for w in store.phases(run.id)}
    order = [
        (Phase.IDLE, ""),
        (Phase.LOAD, ""),
        (Phase.LOADED_IDLE, ""),
        (Phase.WARMUP, "short_chat"),
        (Phase.SPEED, "short_chat"),
        (Phase.PERFORMANCE, "piqa"),
        (Phase.PERFORMANCE, "perplexity"),
        (Phase.UNLOAD, ""),
    ]
    assert sorted(phases, key=lambda key: phases[key].start_ns) == order
    ends = [phases[key].end_ns for key in order]
    assert all(end is not None for end in ends)
    assert all(end <= phases[after].start_ns for end, after in zip(ends, order[1:], strict=False) if end is not None)

    found = {m.key: m for m in store.measurements(run.id)}
    for key in (
        "peak_memory_bytes",
        "weights_memory_bytes",
        "kv_cache_bytes",
        "energy_per_token_j@short_chat",
        "ttft_s.median@short_chat",
        "decode_tps@short_chat",
        "engine_decode_tps@short_chat",
        "accuracy@piqa",
        "accuracy_norm@piqa",
        "perplexity@perplexity",
    ):
        assert found[key].value, key
    assert found["energy_per_token_j@short_chat"].provenance.method in (Method.MEASURED, Method.MODELLED)
    # The file is mapped, so serving holds about as much as the file is large, and no more than a few times that.
    peak = found["peak_memory_bytes"].value
    assert peak is not None
    assert 0.5 * artifact.size_bytes < peak < 10 * artifact.size_bytes

    requests = store.requests(run.id)
    assert [(r.warmup, r.output_tokens, r.prompt_tokens, r.prefilled_tokens) for r in requests] == [
        (True, 16, 64, 64),
        *[(False, 16, 64, 64)] * 3,
    ]
    assert len(store.answers(run.id, "piqa")) == 8
    samples = store.samples(run.id)
    assert {s.phase for s in samples} >= {Phase.IDLE, Phase.SPEED, Phase.PERFORMANCE}
    assert all(a.time_ns < b.time_ns for a, b in itertools.pairwise(samples))


def test_a_context_that_is_too_small_fails_with_what_to_do(store: Store, artifact: Artifact) -> None:
    run = queue_run(store, artifact, settings={"context": 64})
    assert bench(run.id).wait(60) == 0
    failed = store.run(run.id)
    assert failed.state is RunState.FAILED
    assert "Set context to at least" in failed.reason
    assert "weights_bytes" in {m.figure for m in store.measurements(run.id)}  # what it got to know is kept


def test_a_file_that_changed_since_it_was_added_fails_the_run_alone(
    store: Store, settings: Settings, smollm2_path: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(smollm2_path.read_bytes())
    artifact = Catalog(store, settings).add_path(copy)
    with copy.open("r+b") as file:
        file.truncate(copy.stat().st_size // 2)
    run = queue_run(store, artifact)
    assert bench(run.id).wait(60) == 0
    failed = store.run(run.id)
    assert failed.state is RunState.FAILED
    assert failed.reason


def test_another_version_of_the_engine_than_planned_is_refused(store: Store, artifact: Artifact) -> None:
    (spec,) = plan(
        StudySpec(name="test", configurations=(Configuration(artifact_id=artifact.id, engine="llama.cpp"),),
                  workloads=(CHAT,), repeats=1, idle_s=0.5), [artifact],
    )  # fmt: skip
    assert spec.engine_version.startswith("llama-cpp-python ")
    old = spec.model_copy(update={"engine_version": "llama-cpp-python 0.0.1"})
    store.add_study(StudySpec(name="test", configurations=(spec.configuration,)), [old])
    run = store.claim_next("test")
    assert run is not None
    assert bench(run.id).wait(60) == 0
    failed = store.run(run.id)
    assert failed.state is RunState.FAILED
    assert f"has {spec.engine_version}, and the study was planned with llama-cpp-python 0.0.1" in failed.reason
    assert not {"load_s", "ttft_s"} & {m.figure for m in store.measurements(run.id)}, "nothing was loaded"


def _measured_process(supervisor: subprocess.Popen[bytes]) -> psutil.Process:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        children = psutil.Process(supervisor.pid).children()
        if children:
            return children[0]
        time.sleep(0.02)
    raise AssertionError("the measured process did not start")


LONG = WorkloadSpec(name="long_answer", prompt_tokens=64, output_tokens=400, requests=50)


def test_a_crash_is_told_apart_and_keeps_what_was_measured(store: Store, artifact: Artifact) -> None:
    run = queue_run(store, artifact, workloads=(CHAT, LONG))
    supervisor = bench(run.id)
    child = _measured_process(supervisor)
    while not any(w.subject == "long_answer" for w in store.phases(run.id)):
        assert supervisor.poll() is None
        time.sleep(0.1)
    child.send_signal(signal.SIGSEGV)
    assert supervisor.wait(30) == 0
    failed = store.run(run.id)
    assert failed.state is RunState.FAILED
    assert "SIGSEGV" in failed.reason
    assert "decode_tps@short_chat" in {m.key for m in store.measurements(run.id)}


def test_cancel_ends_both_processes(store: Store, artifact: Artifact) -> None:
    run = queue_run(store, artifact, workloads=(LONG,))
    supervisor = bench(run.id)
    child = _measured_process(supervisor)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(30) == 0
    assert store.run(run.id).state is RunState.CANCELLED
    assert not psutil.pid_exists(child.pid)


def test_killing_the_supervisor_ends_the_measured_process(store: Store, artifact: Artifact) -> None:
    run = queue_run(store, artifact, workloads=(LONG,))
    supervisor = bench(run.id)
    child = _measured_process(supervisor)
    supervisor.kill()
    supervisor.wait()
    gone, alive = psutil.wait_procs([child], timeout=10)
    assert gone
    assert not alive
    assert store.run(run.id).state is RunState.RUNNING  # for the next worker to release


def test_a_run_whose_worker_is_gone_ends_without_a_verdict(store: Store, artifact: Artifact) -> None:
    run = queue_run(store, artifact, workloads=(LONG,))
    supervisor = bench(run.id, "--parent-pid", str(os.getpid() + 1_000_000))
    assert supervisor.wait(30) == 0
    assert store.run(run.id).state is RunState.RUNNING


def test_users_at_once_are_measured_beside_one_at_a_time(store: Store, artifact: Artifact) -> None:
    crowd = CHAT.model_copy(update={"concurrency": 2, "requests": 8})
    run = queue_run(store, artifact, workloads=(CHAT, crowd), settings={"context": 128, "slots": 2})
    assert bench(run.id).wait(180) == 0
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason + done.log_tail
    values = {m.key: m.value for m in store.measurements(run.id)}
    assert values["output_tps@short_chat x2"]
    assert values["output_tps@short_chat"]
    assert values["energy_per_token_j@short_chat x2"]
    assert "decode_tps@short_chat x2" not in values
    records = [r for r in store.requests(run.id) if r.workload == "short_chat x2"]
    assert [len([r for r in records if r.warmup is warm]) for warm in (True, False)] == [2, 8]
    assert all(len(r.token_times_ns) == r.output_tokens == 16 for r in records)
    assert any(written_at_once(one, other) for one, other in itertools.pairwise(sorted(records, key=first_token)))


def first_token(request: RequestRecord) -> int:
    return request.token_times_ns[0]


def written_at_once(one: RequestRecord, other: RequestRecord) -> bool:
    """Whether the answer that began later did so before the other ended."""
    return first_token(other) < one.token_times_ns[-1]


def test_more_users_than_an_engine_can_hold_wait_for_a_slot(store: Store, artifact: Artifact) -> None:
    crowd = CHAT.model_copy(update={"concurrency": 3, "requests": 6})
    run = queue_run(store, artifact, workloads=(crowd,), settings={"context": 128, "slots": 1})
    assert bench(run.id).wait(180) == 0
    assert store.run(run.id).state is RunState.DONE
    records = sorted((r for r in store.requests(run.id) if not r.warmup), key=first_token)
    assert not any(written_at_once(one, other) for one, other in itertools.pairwise(records))
    # They did ask at once: most were waiting while the one before them was answered.
    assert any(other.submitted_ns < first_token(one) for one, other in itertools.pairwise(records))
