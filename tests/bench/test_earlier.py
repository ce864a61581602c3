"""Answers that need no asking, and what others of a study have scored: real runs on real weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trilemma.bench.earlier import rivals_of
from trilemma.catalog.catalog import Catalog
from trilemma.engines.base import settings_of_answers
from trilemma.engines.llama_cpp.settings import LlamaCppSettings
from trilemma.records import RunRecord
from trilemma.schema import Artifact, Configuration, RunState, StoppingRule, StudySpec, SuiteSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import submit


def test_settings_that_change_no_answer_are_left_out() -> None:
    plain = settings_of_answers(LlamaCppSettings, {})
    assert plain == settings_of_answers(LlamaCppSettings, {"threads": 7, "slots": 3, "mmap": False, "context": 2048})
    assert plain != settings_of_answers(LlamaCppSettings, {"kv_cache_type": "q8_0"})


@pytest.fixture
def artifact(store: Store, settings: Settings, smollm2_path: Path) -> Artifact:
    return Catalog(store, settings).add_path(smollm2_path)


def measured(store: Store, artifact: Artifact, suite: SuiteSpec, *choices: dict[str, object]) -> list[RunRecord]:
    configurations = tuple(
        Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 512, **chosen})  # type: ignore[dict-item]
        for chosen in choices
    )
    spec = StudySpec(name="s", configurations=configurations, suites=(suite,), repeats=1, idle_s=0.1)
    submit(store, spec)
    done = []
    while (run := store.claim_next("test")) is not None:
        subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], check=True, env=os.environ)
        done.append(store.run(run.id))
    assert all(run.state is RunState.DONE for run in done), [run.reason for run in done]
    return done


@pytest.mark.llama
def test_the_same_weights_are_not_asked_twice(store: Store, artifact: Artifact) -> None:
    (first,) = measured(store, artifact, SuiteSpec(name="piqa", limit=4), {"threads": 1})
    (second,) = measured(store, artifact, SuiteSpec(name="piqa", limit=6), {"threads": 2})
    (other,) = measured(store, artifact, SuiteSpec(name="piqa", limit=4), {"threads": 1, "kv_cache_type": "q8_0"})
    before, after = store.answers(first.id), store.answers(second.id)
    assert [answer.item_id for answer in after[:4]] == [answer.item_id for answer in before]
    assert [answer.detail.get("reused", False) for answer in after] == [True] * 4 + [False] * 2
    assert [answer.detail["logprobs"] for answer in after[:4]] == [answer.detail["logprobs"] for answer in before]
    told = {m.key: m for m in store.measurements(second.id)}["accuracy@piqa"]
    assert told.n == 6
    assert "4 of 6 answers are those of an earlier run of the same weights" in told.provenance.reasons
    assert not any(answer.detail.get("reused") for answer in store.answers(other.id))


@pytest.mark.llama
def test_a_study_that_may_stop_knows_what_the_others_scored(store: Store, artifact: Artifact) -> None:
    rule = StoppingRule(margin=0.9, least=5)
    done = measured(store, artifact, SuiteSpec(name="piqa", limit=60, stopping=rule), {}, {"kv_cache_type": "q8_0"})
    asked = sorted(len(store.answers(run.id)) for run in done)
    # The first has nobody to be compared with; that two caches differ by less than 0.9 is soon clear.
    assert asked[1] == 60
    assert 5 <= asked[0] < 60
    early = next(run for run in done if len(store.answers(run.id)) < 60)
    told = {m.key: m for m in store.measurements(early.id)}["accuracy@piqa"]
    assert any("its place among 2 configurations is decided" in reason for reason in told.provenance.reasons)
    (rival,) = rivals_of(store, early)["piqa"]
    assert len(rival.scores) == 60
