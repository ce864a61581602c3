"""Grounds on which the real bench measures: an engine double, real weights, and `trilemma serve` around them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.faults_engine import NAME
from benchmarks.faults_ground_tools import Ground, end_all
from benchmarks.faults_tools import Fault, place_of
from trilemma.bench.cgroup import MemoryGroup
from trilemma.catalog.catalog import Catalog
from trilemma.limits import cgroup_folders
from trilemma.records import RunRecord
from trilemma.schema import Artifact, Configuration, RunSpec, RunState, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.study import submit

CHAT = WorkloadSpec(name="short_chat", prompt_tokens=96, output_tokens=16, requests=3)
PIQA = SuiteSpec(name="piqa", limit=2)
STALL_S = 6.0
MEMORY_BYTES = 700 << 20
"""For a worker and all that it starts; the engine double is by far the largest when it grows."""
_DOUBLE = Artifact(
    id="d" * 64, path="/nowhere/double.gguf", model="double", quantization="F16", size_bytes=1, source="folder"
)
_ADMIT_S = 120.0


def queue_double(store: Store, number: int, count: int = 3, **settings: Any) -> list[str]:
    """Queue runs of the engine double; their ids."""
    store.add_artifact(_DOUBLE)
    configuration = Configuration(artifact_id=_DOUBLE.id, engine=NAME, settings={"number": number, **settings})
    specs = [
        RunSpec(configuration=configuration, workloads=(CHAT,), repeat=repeat, idle_s=0.2, stall_timeout_s=STALL_S)
        for repeat in range(count)
    ]
    spec = StudySpec(name=f"double {number}", configurations=(configuration,), rerun_disturbed=False)
    return [run.id for run in store.runs(store.add_study(spec, specs).id)]


def queue_real(weights: Path) -> Callable[[Store, int], object]:
    """Queues runs of real weights on llama.cpp."""

    def queue(store: Store, number: int) -> object:
        artifact = Catalog(store, get_settings()).add_path(weights)
        configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 256})
        workload = CHAT.model_copy(update={"prompt_tokens": 48, "output_tokens": 4 + number})
        return submit(
            store,
            StudySpec(
                name=f"real {number}", configurations=(configuration,), workloads=(workload,), suites=(PIQA,),
                repeats=3, idle_s=0.1, rerun_disturbed=False,
            ),
        )  # fmt: skip

    return queue


def incomplete_bench(store: Store, run: RunRecord) -> str:
    """What a finished run of the bench lacks, or has twice."""
    wrong = []
    requests = [(request.warmup, request.index) for request in store.requests(run.id)]
    if requests != [(True, 0), *((False, index) for index in range(CHAT.requests))]:
        wrong.append(f"requests {requests}")
    if len(store.answers(run.id)) != sum(suite.limit or 0 for suite in run.spec.suites):
        wrong.append("answers")
    found = {measurement.key for measurement in store.measurements(run.id)}
    if lacking := {"peak_memory_bytes", "decode_tps@short_chat", "energy_per_token_j@short_chat"} - found:
        wrong.append(f"measurements {sorted(lacking)}")
    times = [sample.time_ns for sample in store.samples(run.id)]
    if not times or times != sorted(set(times)):
        wrong.append("samples")
    return ", ".join(wrong)


class ConfinedGround(Ground):
    """Whose workers, and all that they start, have so much memory, where the system lets us say so."""

    group: Path | None = None

    def confine(self) -> bool:
        """Limit the memory of workers that are started from now on; False where that cannot be done."""
        for parent in cgroup_folders("memory")[:2]:
            limit = parent / "memory.limit_in_bytes"
            if not limit.exists():
                continue
            group = parent / f"trilemma-faults-{os.getpid()}"
            with suppress(OSError):
                group.mkdir(exist_ok=True)
                (group / "memory.limit_in_bytes").write_text(str(MEMORY_BYTES))
                self.group = group
                return True
        idle = subprocess.Popen(["sleep", "1"])
        made = MemoryGroup.create(f"trilemma-faults-{os.getpid()}", MEMORY_BYTES, idle.pid)
        idle.wait()
        self.group = made.folder if made else None
        return self.group is not None

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """In the group."""
        worker = super().start_worker(*options)
        if self.group is not None:
            (self.group / "cgroup.procs").write_text(str(worker.pid))
        return worker

    def close(self) -> None:
        """And the group is gone."""
        super().close()
        if self.group is not None:
            with suppress(OSError):
                self.group.rmdir()


def ordeal(ground: Ground, kind: str, number: int, **settings: Any) -> Fault:
    """Queue one run whose engine does ``settings``, and see it to its end."""
    ground.workers = [worker for worker in ground.workers if worker.poll() is None]
    if not ground.workers:
        ground.start_worker()
    (run_id,) = ground.ask(lambda store: queue_double(store, number, count=1, **settings))
    deadline, place = time.monotonic() + _ADMIT_S, "never"
    while not (run := ground.ask(lambda store: store.run(run_id))).state.final:
        assert time.monotonic() < deadline, f"{kind} does not end\n{ground.log_end()}"
        place = place_of(run) if run.state is RunState.RUNNING else place
        time.sleep(0.05)
    what = ", ".join(f"{name}={value}" for name, value in settings.items())
    fault = Fault(kind, f"{place}; {what}", run_id, run.attempt)
    ground.faults.append(fault)
    return fault


@dataclass
class ServeGround(Ground):
    """Whose worker is that of `trilemma serve`."""

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Start `trilemma serve` on a free port; a dashboard that a killed one left is ended, as its user would."""
        for process in self.processes("streamlit"):
            with suppress(psutil.Error):
                process.kill()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (self.notes / "worker.log").open("ab") as log:
            serve = subprocess.Popen(
                [sys.executable, "-m", "trilemma", "serve", "--port", str(port), "--no-browser"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ,
            )  # fmt: skip
        self.workers.append(serve)
        return serve

    def processes(self, word: str) -> list[psutil.Process]:
        """The dashboards (``streamlit``) or workers (``worker``) of this data folder, whoever started them."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if word in process.cmdline()[1:6] and process.environ().get("TRILEMMA_HOME") == str(self.settings.home):
                    found.append(process)
        return found

    def close(self) -> None:
        """What a killed `trilemma serve` left is ended, too."""
        super().close()
        for word in ("worker", "streamlit"):
            for process in self.processes(word):
                with suppress(psutil.Error):
                    process.terminate()
                    process.wait(20)


def serve_killed(ground: Ground) -> str:
    """``kill -9`` of `trilemma serve`: its dashboard and its worker go on."""
    serve = ground.workers[-1]
    said = end_all([serve.pid])
    serve.wait()
    return said


def dashboard_killed(ground: Ground) -> str:
    """``kill -9`` of the dashboard: `trilemma serve` ends with a message, and its worker with it."""
    assert isinstance(ground, ServeGround)
    return end_all([process.pid for process in ground.processes("streamlit")])


def worker_of_serve_killed(ground: Ground) -> str:
    """``kill -9`` of its worker, which it starts again."""
    assert isinstance(ground, ServeGround)
    return end_all([process.pid for process in ground.processes("worker")])


SERVED = {
    "dashboard killed": dashboard_killed,
    "serve killed": serve_killed,
    "worker of serve killed": worker_of_serve_killed,
}
