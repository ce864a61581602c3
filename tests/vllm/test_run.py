"""Whole runs on real vLLM, through the same bench as llama.cpp."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trilemma.analysis.points import configuration_points, labels
from trilemma.records import RunRecord
from trilemma.schema import Artifact, Configuration, Method, Phase, RunState, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.store import Store
from trilemma.study import submit

CHAT = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=16, requests=3)
KEYS = ("peak_memory_bytes", "decode_tps@short_chat", "accuracy_norm@hellaswag")


@pytest.fixture
def here(store: Store, twins: tuple[Artifact, Artifact]) -> tuple[Artifact, Artifact]:
    """The twins in this test's own catalog."""
    return store.add_artifact(twins[0]), store.add_artifact(twins[1])


def bench(store: Store) -> RunRecord:
    run = store.claim_next("test")
    assert run is not None
    assert subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], check=False).returncode in (0, 1)
    return store.run(run.id)


def test_both_engines_measure_the_same_weights_on_one_chart(store: Store, here: tuple[Artifact, Artifact]) -> None:
    study = StudySpec(
        name="twins",
        configurations=(
            Configuration(artifact_id=here[0].id, engine="llama.cpp", settings={"context": 1024, "slots": 8}),
            Configuration(
                artifact_id=here[1].id, engine="vllm", settings={"context": 1024, "dtype": "float32", "eager": True}
            ),
        ),
        workloads=(CHAT, CHAT.model_copy(update={"concurrency": 8, "requests": 16})),
        suites=(
            SuiteSpec(name="hellaswag", limit=8),
            SuiteSpec(name="perplexity", limit=1),
            SuiteSpec(name="gsm8k", limit=2, concurrency=2, options={"shots": 1, "max_tokens": 12}),
        ),
        repeats=1,
        idle_s=0.5,
    )
    record = submit(store, study)
    runs = {run.spec.configuration.engine: run for run in (bench(store), bench(store))}
    for run in runs.values():
        assert run.state is RunState.DONE, run.reason + run.log_tail
    found = {m.key: m for m in store.measurements(runs["vllm"].id)}
    for key in (*KEYS, "load_s", "output_tps@short_chat x8", "ttft_s.median@short_chat x8", "perplexity@perplexity",
                "energy_per_token_j@short_chat x8", "kv_cache_bytes", "ttft_s.median@gsm8k x2",
                "output_tokens_per_answer@gsm8k x2"):  # fmt: skip
        assert found[key].value is not None, key
        assert found[key].value > 0, key
    assert found["energy_per_token_j@short_chat"].provenance.method in (Method.MEASURED, Method.MODELLED)
    assert {w.phase for w in store.phases(runs["vllm"].id)} == set(Phase)
    perplexities = [
        next(m.value for m in store.measurements(run.id) if m.figure == "perplexity") for run in runs.values()
    ]
    assert perplexities[0] == pytest.approx(perplexities[1], rel=0.002)
    answers = [{a.item_id: a.answer for a in store.answers(run.id) if a.suite == "hellaswag"} for run in runs.values()]
    assert answers[0] == answers[1]
    points = configuration_points(
        store.figure_frame(study_id=record.id), store.run_frame(record.id), {a.id: a for a in store.artifacts()}, KEYS
    )
    assert len(points) == 2
    assert points.complete(KEYS).all()
    assert sorted(points.meta["engine"]) == ["llama.cpp", "vllm"]
    assert len(set(labels(points))) == 2


def test_a_configuration_that_vllm_refuses_fails_with_its_reason(store: Store, here: tuple[Artifact, Artifact]) -> None:
    settings = {"context": 512, "quantization": "fp8_per_tensor", "eager": True}
    configuration = Configuration(artifact_id=here[1].id, engine="vllm", settings=settings)
    submit(store, StudySpec(name="refused", configurations=(configuration,), workloads=(CHAT,), repeats=1, idle_s=0.1))
    run = bench(store)
    assert run.state is RunState.FAILED
    assert "no kernels" in run.reason
    assert "fp8" in run.log_tail
