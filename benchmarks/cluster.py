"""Do two machines of a cluster take half the time of one?

Two nodes of a Ray cluster on this machine, with one core each, measure the same real runs: on one of them alone, and on
both. What counts is the time from the first run's begin to the last one's end. Two nodes on one machine share its
memory bandwidth, which two machines do not, so this is the harder case; each run is flagged as disturbed by the
other's, which says nothing here.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks import common
from benchmarks.common import BENCH, Limit, say
from benchmarks.fidelity import ladder
from trilemma.catalog.base import Fetched
from trilemma.catalog.files import HashCache
from trilemma.catalog.weights import describe, digest, read_weights
from trilemma.limits import usable_cpus
from trilemma.schema import Configuration, Needs, RunSpec, RunState, StudySpec, WorkloadSpec
from trilemma.store import Store, open_store

LIMITS = {"share": Limit(at_most=0.6), "lost": Limit(at_most=0)}
"""Half, and something for the last run, which may be one machine's alone."""
NAMES = ("one", "two")
RUNS, ROUNDS = 6, 2
WORKLOAD = WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=12)
JOIN_S, STUDY_S = 180.0, 1800.0
IDLE_CORES = 0.4
"""What Ray itself keeps busy while nothing is measured."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a process of the cluster runs with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRILEMMA_", "RAY_"))}
    return kept | {"TRILEMMA_HOME": str(home), "TRILEMMA_RAY_TOKEN_FILE": str(BENCH / "cluster" / "ray-token")} | more


@contextmanager
def node(folder: Path, name: str, core: int, *options: str) -> Iterator[None]:
    """A node that has one core, for as long as the context lasts."""
    home = folder / name
    home.mkdir(parents=True)
    command = [
        *(sys.executable, "-m", "trilemma", "node", *options, "--name", name),
        "--object-store-memory=100000000",
    ]
    with (home / "node.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment(home), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    psutil.Process(process.pid).cpu_affinity([core])  # and so of all that it will start
    try:
        yield
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(15)
        for left in [*family, process]:
            with suppress(psutil.Error, ProcessLookupError):
                left.kill()
        process.wait()


def queue(store: Store, model: Path, count: int, number: int, machine: str) -> str:
    """Queue the runs of one round, on one machine or (empty) on any; the study's id."""
    header = read_weights(model)
    weights = describe(Fetched(model, "folder"), header, digest(model, header, HashCache(BENCH)), None, [])
    weights = store.add_artifact(weights)
    # Each a configuration of its own: repeats of one would stay on one machine.
    configurations = [
        Configuration(artifact_id=weights.id, engine="llama.cpp", settings={"threads": 1, "context": 512 + 64 * one})
        for one in range(count)
    ]
    runs = [
        RunSpec(configuration=one, workloads=(WORKLOAD,), repeat=number, idle_s=1.0, needs=Needs(machine=machine))
        for one in configurations
    ]
    spec = StudySpec(name=f"{machine or 'both'} {number}", configurations=tuple(configurations), rerun_disturbed=False)
    return store.add_study(spec, runs).id


def seconds(store: Store, study_id: str, home: Path, port: int) -> float:
    """Work through a study; from the begin of its first run to the end of its last.

    Raises:
        RuntimeError: not every run is done.
    """
    command = [sys.executable, "-m", "trilemma", "worker", "--drain"]
    surroundings = environment(home, TRILEMMA_RAY_ADDRESS=f"127.0.0.1:{port}")
    with (home / "worker.log").open("ab") as log:
        subprocess.run(command, env=surroundings, stdout=log, stderr=log, check=True, timeout=STUDY_S)
    runs = store.runs(study_id)
    if any(run.state is not RunState.DONE for run in runs):
        raise RuntimeError(f"Not every run is done: {[(run.state, run.reason) for run in runs]}; see {home.parent}")
    begins = [run.started_at for run in runs if run.started_at is not None]
    ends = [run.finished_at for run in runs if run.finished_at is not None]
    return (max(ends) - min(begins)).total_seconds()


def until_joined(port: int) -> None:
    """Wait until the cluster's head answers.

    Raises:
        RuntimeError: it does not.
    """
    deadline = time.monotonic() + JOIN_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise RuntimeError("The head of the cluster does not answer.")


def measure(options: argparse.Namespace) -> common.Figures:
    """Both sides in turn.

    Raises:
        TooNoisyError: others used the machine, or it has not two cores.
    """
    cores = sorted(usable_cpus())
    if len(cores) < 2:
        raise common.TooNoisyError("Two nodes need two cores, and this machine has one.")
    model = options.model or ladder("Q8_0")["Q8_0"]
    common.wait_until_quiet()
    folder = BENCH / "cluster"
    shutil.rmtree(folder, ignore_errors=True)
    home = folder / "head"
    home.mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    took: dict[str, list[float]] = {"one": [], "both": []}
    with node(folder, NAMES[0], cores[0], "--head", "--port", str(port)):
        until_joined(port)
        with (
            node(folder, NAMES[1], cores[1], "--address", f"127.0.0.1:{port}"),
            open_store(f"sqlite:///{home / 'trilemma.db'}") as store,
        ):
            for number in range(options.rounds):
                for side in ("one", "both") if number % 2 == 0 else ("both", "one"):
                    common.wait_until_quiet(IDLE_CORES, patience_s=JOIN_S)
                    study_id = queue(store, model, options.runs, number, NAMES[0] if side == "one" else "")
                    took[side].append(seconds(store, study_id, home, port))
                    places = sorted(run.machine for run in store.runs(study_id))
                    say(f"  {side:<5} {took[side][-1]:7.1f} s  ({', '.join(places)})")
            lost = sum(store.interruptions(run.id) for run in store.runs())
    one, both = statistics.median(took["one"]), statistics.median(took["both"])
    return {"one_s": one, "both_s": both, "share": both / one, "runs": options.runs, "lost": lost}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--model", type=Path, help="a GGUF file; SmolLM2-135M-Instruct as Q8_0 if not given")
    parser.add_argument("--runs", type=int, default=RUNS, help="of a round; with fewer the last one weighs more")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    common.main("cluster", LIMITS, functools.partial(measure, parser.parse_args()))
