"""The fault campaign on the real thing: real weights, the real bench, and a real dashboard beside it."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign import campaign, check

from trilemma.catalog.catalog import Catalog
from trilemma.schema import Configuration, Phase, RunState, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.serve import app_file
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import submit

KILLS = 50
CHAT = WorkloadSpec(name="short_chat", prompt_tokens=48, output_tokens=4, requests=3)
PIQA = SuiteSpec(name="piqa", limit=2)


class Dashboard:
    """A Streamlit server on the store under test, started again whenever it was killed."""

    def __init__(self, home: Path) -> None:
        self._environment = os.environ | {"TRILEMMA_HOME": str(home)}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def pid(self) -> int:
        """The living server's process id."""
        if self._process is None or self._process.poll() is not None:
            command = [sys.executable, "-m", "streamlit", "run", str(app_file())]
            options = ["--server.port", str(self._port), "--server.headless", "true"]
            self._process = subprocess.Popen(
                [*command, *options], env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        return self._process.pid

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def dashboard(home: Path) -> Iterator[Dashboard]:
    server = Dashboard(home)
    yield server
    server.close()


@pytest.mark.llama
@pytest.mark.slow
def test_a_study_survives_fifty_kills(
    home: Path, store: Store, settings: Settings, smollm2_path: Path, dashboard: Dashboard
) -> None:
    artifact = Catalog(store, settings).add_path(smollm2_path)
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 256})
    batch = itertools.count()

    def refill(into: Store) -> None:
        spec = StudySpec(
            name=f"campaign {(number := next(batch))}",
            configurations=(configuration,),
            # Another length is another measurement, which is not reused.
            workloads=(CHAT.model_copy(update={"output_tokens": 4 + number}),),
            suites=(PIQA,),
            repeats=4,
            idle_s=0.1,
            rerun_disturbed=False,
        )
        submit(into, spec)

    refill(store)
    result = campaign(
        home, [], kills=KILLS, seed=1, interval_s=(0.05, 3.0), victims={"dashboard": dashboard.pid}, refill=refill
    )
    runs = store.runs()
    check(result, runs)
    assert result.kills.total() == KILLS
    assert set(result.kills) == {"worker", "run", "both", "dashboard"}
    done = [run for run in runs if run.state is RunState.DONE]
    assert done, "the campaign never let a run finish"
    for run in done:
        requests = [(r.warmup, r.index) for r in store.requests(run.id)]
        assert requests == [(True, 0), *((False, index) for index in range(CHAT.requests))], run.id
        assert len(store.answers(run.id)) == (PIQA.limit if run.spec.suites else 0)
        keys = {measurement.key for measurement in store.measurements(run.id)}
        assert {"peak_memory_bytes", "decode_tps@short_chat", "energy_per_token_j@short_chat"} <= keys
        assert Phase.UNLOAD in {window.phase for window in store.phases(run.id)}
