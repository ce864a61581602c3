"""Answers that are scored, timed and metered at once, for real; and the arithmetic of what a right one costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trilemma.bench.joint_figures import joint_measurements
from trilemma.catalog.catalog import Catalog
from trilemma.records import AnswerRecord, RequestRecord
from trilemma.schema import Configuration, Measurement, Phase, RunState, StudySpec, SuiteSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import submit

S = 1_000_000_000


def answer(index: int, right: float, figure: str = "accuracy", seconds: float = 1.0, **detail: object) -> AnswerRecord:
    costs = {"requests": [index], "seconds": seconds, "output_tokens": 10, "steps": 1} | detail
    return AnswerRecord(
        suite="sums", item_id=f"sums/{index}", index=index, prompt="?", answer="!", scores={figure: right},
        detail=costs,  # type: ignore[arg-type]
    )  # fmt: skip


def asked(index: int) -> RequestRecord:
    return RequestRecord(workload="sums", index=index, submitted_ns=index * S, token_times_ns=((index + 1) * S,))


def figures(answers: list[AnswerRecord]) -> dict[str, Measurement]:
    requests = [asked(index) for index in range(len(answers))]
    return {m.figure: m for m in joint_measurements(SuiteSpec(name="sums"), answers, requests, None)}


def test_what_wrong_answers_took_is_paid_by_the_right_ones() -> None:
    found = figures([answer(i, float(i < 4), seconds=2.0) for i in range(10)])
    time = found["time_per_correct_answer_s"]
    assert time.value == pytest.approx(20 / 4)
    assert time.low is not None and time.low < 5 < (time.high or 99)
    assert "energy_per_correct_answer_j" not in found


def test_nothing_right_has_no_price() -> None:
    found = figures([answer(i, 0.0) for i in range(5)])["time_per_correct_answer_s"]
    assert found.value is None
    assert not found.provenance.valid
    assert "none of 5" in found.provenance.reasons[-1]


def test_agents_count_steps_and_calls_by_task() -> None:
    detail = {"steps": 3, "tool_calls": 2, "malformed_calls": 1}
    found = figures([answer(i, float(i % 2), figure="success_rate", **detail) for i in range(4)])
    assert found["time_per_solved_task_s"].value == pytest.approx(2)
    assert found["steps_per_task"].value == 3
    assert found["tool_calls_per_task"].value == 2
    assert found["malformed_calls_share"].value == pytest.approx(1 / 3)


@pytest.mark.llama
@pytest.mark.parametrize("concurrency", [1, 2])
def test_one_run_scores_times_and_meters_the_same_answers(
    concurrency: int, store: Store, settings: Settings, smollm2_path: Path
) -> None:
    artifact = Catalog(store, settings).add_path(smollm2_path)
    suite = SuiteSpec(name="gsm8k", limit=4, concurrency=concurrency, options={"shots": 1, "max_tokens": 24})
    configuration = Configuration(
        artifact_id=artifact.id, engine="llama.cpp", settings={"context": 1024, "slots": concurrency}
    )
    submit(
        store,
        StudySpec(
            name="joint", configurations=(configuration,), suites=(suite, SuiteSpec(name="piqa", limit=2)),
            repeats=1, idle_s=0.5,
        ),
    )  # fmt: skip
    run = store.claim_next("test")
    assert run is not None
    subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], check=True, env=os.environ)
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason

    answers = [a for a in store.answers(run.id) if a.suite == "gsm8k"]
    requests = store.requests(run.id)
    assert len(answers) == len(requests) == 4
    assert {r.workload for r in requests} == {suite.subject}
    by_index = {r.index: r for r in requests}
    for one in answers:
        (number,) = one.detail["requests"]  # type: ignore[misc]
        assert by_index[int(str(number))].output_tokens == one.detail["output_tokens"]
        assert by_index[int(str(number))].text.startswith(one.answer)
        assert set(one.scores) == {"accuracy", "accuracy_strict"}
        assert ("energy_j" in one.detail) == (concurrency == 1)
        assert one.detail.get("energy_method") in (("measured", "modelled") if concurrency == 1 else (None,))
    windows = {(w.phase, w.subject): w for w in store.phases(run.id)}
    generation = windows[Phase.GENERATION, suite.subject]
    assert generation.end_ns is not None
    assert all(generation.start_ns <= r.submitted_ns <= r.token_times_ns[-1] <= generation.end_ns for r in requests)
    # What is metered comes first; what only scores comes after it.
    assert generation.end_ns <= windows[Phase.PERFORMANCE, "piqa"].start_ns

    found = {m.key: m for m in store.measurements(run.id)}
    assert found["accuracy@gsm8k"].n == 4
    assert found[f"ttft_s.median@{suite.subject}"].value
    assert (found[f"energy_per_token_j@{suite.subject}"].value or 0) > 0 or concurrency > 1
    price = found[f"energy_per_correct_answer_j@{suite.subject}"]
    right = sum(one.scores["accuracy"] for one in answers)
    assert (price.value is None) == (right == 0)
    assert price.provenance.source
    assert (found["peak_memory_bytes"].value or 0) > 100e6
