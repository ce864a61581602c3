"""A model is measured for real while the database server is stopped and started."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.postgres import server
from trilemma.catalog.catalog import Catalog
from trilemma.schema import Configuration, RunState, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.settings import get_settings
from trilemma.store import open_store
from trilemma.study import submit

pytestmark = pytest.mark.llama


def test_a_real_run_outlasts_a_restart_of_the_database(
    home: Path, smollm2_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if request.config.getoption("--database") == "sqlite":
        pytest.skip("--database sqlite")
    workload = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=48, requests=6)
    with server().database() as url:
        monkeypatch.setenv("TRILEMMA_DATABASE", url)
        get_settings.cache_clear()
        with open_store(url) as store:
            artifact = Catalog(store, get_settings()).add_path(smollm2_path)
            configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 512})
            spec = StudySpec(
                name="restart", configurations=(configuration,), workloads=(workload,), repeats=1, idle_s=0.5,
                suites=(SuiteSpec(name="piqa", limit=8),),
            )  # fmt: skip
            submit(store, spec)
            run = store.claim_next("test")
            assert run is not None
            bench = subprocess.Popen([sys.executable, "-m", "trilemma.bench", run.id])
            deadline = time.monotonic() + 60
            while not store.requests(run.id):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            server().stop()
            time.sleep(2.5)
            server().start()
            assert bench.wait(120) == 0
            done = store.run(run.id)
            assert (done.state, done.attempt) == (RunState.DONE, 1), done.reason + done.log_tail
            assert "the database was away" in done.log_tail
            assert [request.warmup for request in store.requests(run.id)] == [True, *[False] * 6]
            assert len(store.answers(run.id, "piqa")) == 8
            assert {m.figure for m in store.measurements(run.id)} >= {"ttft_s", "peak_memory_bytes", "accuracy"}
            times = [sample.time_ns for sample in store.samples(run.id)]
            assert times == sorted(set(times))
