"""The fault campaign: a study is worked through while its worker, its run or both are killed at random moments.

Nothing here depends on what the runs measure: give it a folder whose store holds a study, and the command of a run.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from trilemma.records import RunRecord
from trilemma.schema import RunState
from trilemma.settings import Settings
from trilemma.store import Store, open_store

WORK = Path(__file__).with_name("work.py")
VICTIMS = ("worker", "run", "both")


@dataclass
class Campaign:
    """What happened: kills that hit something, by victim, and what was left at the end."""

    kills: Counter[str] = field(default_factory=Counter)
    finished_early: set[str] = field(default_factory=set)
    """Runs that were seen done while the killing went on."""
    strays: list[str] = field(default_factory=list)
    duration_s: float = 0.0


def settings_of(home: Path) -> Settings:
    database = os.environ.get("TRILEMMA_DATABASE") or f"sqlite:///{home / 'trilemma.db'}"
    return Settings(home=home, database=database)


def start_worker(home: Path, command: Sequence[str], *options: str) -> subprocess.Popen[bytes]:
    """A worker process; its output goes to ``worker.log`` in ``home``."""
    environment = os.environ | {"TRILEMMA_HOME": str(home), "TRILEMMA_DATABASE": settings_of(home).database_url}
    with (home / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(WORK), *options, "--", *command], env=environment, stdout=log, stderr=log
        )


def run_pids(store: Store) -> list[int]:
    """The processes that measure the running runs."""
    found = [store.process(run.id) for run in store.runs(states=[RunState.RUNNING])]
    return [process[1] for process in found if process is not None]


def strays(home: Path) -> list[str]:
    """Processes of runs of ``home`` that are still there."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            environment = process.environ()
            if environment.get("TRILEMMA_HOME") == str(home) and "TRILEMMA_RUN_ID" in environment:
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
    return found


def campaign(
    home: Path,
    command: Sequence[str],
    *,
    kills: int = 50,
    seed: int = 0,
    interval_s: tuple[float, float] = (0.1, 0.6),
    victims: Mapping[str, Callable[[], int | None]] | None = None,
    drain_timeout_s: float = 120.0,
    max_interruptions: int = 3,
    refill: Callable[[Store], None] | None = None,
) -> Campaign:
    """Kill ``kills`` times, then let a last worker drain the queue.

    Args:
        home: The data folder; its store holds the study already.
        command: A run's command, ``{run}`` and ``{pid}`` standing for the run's id and its worker's pid; empty for
            real benchmarks.
        kills: How many kills must hit a living process.
        seed: Of victims and moments.
        interval_s: Shortest and longest time that a victim lives on after it is seen, s.
        victims: Further processes to kill, by name: a function that gives the pid, or None while there is none.
        drain_timeout_s: How long the last worker may take.
        max_interruptions: After how many the worker gives a run up.
        refill: Called when the queue has run empty before the last kill, to queue more.
    """
    generator = random.Random(seed)
    result = Campaign()
    begin = time.monotonic()
    options = ("--max-interruptions", str(max_interruptions))
    names = [*VICTIMS, *(victims or {})]
    order = [names[number % len(names)] for number in range(kills)]
    generator.shuffle(order)
    with open_store(settings_of(home).database_url) as store:
        worker = start_worker(home, command, *options)

        def targets(name: str) -> list[int]:
            if name not in VICTIMS:
                pid = (victims or {})[name]()
                return [] if pid is None else [pid]
            runs = run_pids(store) if name != "worker" else []
            workers = [worker.pid] if name != "run" else []
            return runs + workers if runs or name == "worker" else []

        try:
            for name in order:
                deadline = time.monotonic() + drain_timeout_s
                while True:
                    assert time.monotonic() < deadline, (
                        f"no {name} to kill\n" + (home / "worker.log").read_text()[-4000:]
                    )
                    result.finished_early |= {run.id for run in store.runs(states=[RunState.DONE])}
                    if refill is not None and not store.runs(states=[RunState.WAITING, RunState.RUNNING]):
                        refill(store)
                    if not targets(name):
                        time.sleep(0.02)
                        continue
                    time.sleep(generator.uniform(*interval_s))
                    pids = targets(name)
                    generator.shuffle(pids)
                    if kill(pids):
                        break
                result.kills[name] += 1
                if name in ("worker", "both"):
                    worker.wait()
                    worker = start_worker(home, command, *options)
        finally:
            worker.kill()
            worker.wait()
        last = start_worker(home, command, "--drain", *options)
        try:
            code = last.wait(drain_timeout_s)
        finally:
            last.kill()
            last.wait()
    assert code == 0, (home / "worker.log").read_text()[-4000:]
    result.strays = strays(home)
    result.duration_s = time.monotonic() - begin
    return result


def kill(pids: Sequence[int]) -> int:
    """``kill -9``; how many were there to be killed."""
    hit = 0
    for pid in pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                hit += 1
    return hit


def check(result: Campaign, runs: Sequence[RunRecord]) -> None:
    """What must hold after any campaign: nothing lost, everything ended, every failure explained."""
    by_id = {run.id: run for run in runs}
    lost = [run_id for run_id in result.finished_early if by_id[run_id].state is not RunState.DONE]
    assert not lost, f"finished, then lost: {lost}"
    assert all(run.state in (RunState.DONE, RunState.FAILED) for run in runs), [(r.id, r.state) for r in runs]
    silent = [run.id for run in runs if run.state is RunState.FAILED and not run.reason]
    assert not silent, f"failed without a reason: {silent}"
    assert not result.strays, result.strays
