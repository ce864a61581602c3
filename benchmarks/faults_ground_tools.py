"""A store under siege: its workers, something to do, and a watcher that sees what is lost."""

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
from typing import TypeVar

from benchmarks.faults_tools import Fault, Verdict, add_runs, beside, incomplete, integrity, judge, place_of
from tests.jobs.campaign import WORK, kill, run_pids, strays
from trilemma.errors import TrilemmaError
from trilemma.records import RunRecord
from trilemma.schema import RunState
from trilemma.settings import get_settings
from trilemma.store import Store, open_store
from trilemma.store.kept import patiently

T = TypeVar("T")
STAND_IN = WORK.with_name("stand_in.py")
_PATIENCE_S = 120.0


class MissedError(Exception):
    """There was nothing to hit any more; another moment is chosen."""


@dataclass
class Ground:
    """A store with its worker, as this process's settings name them, and a watcher of both.

    Args:
        notes: A folder outside of what is attacked, for what the stand-ins note.
        seed: Of moments and choices.
        command: What measures a run; empty for the real bench.
        queue: Queues more runs.
        incomplete: What a finished run lacks.
    """

    notes: Path
    seed: int
    command: Sequence[str] = ()
    queue: Callable[[Store, int], object] = lambda store, number: add_runs(store, 4, f"study {number}")
    incomplete: Callable[[Store, RunRecord], str] = incomplete
    spread_s: float = 0.9
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    seen_done: set[str] = field(default_factory=set)
    _queued: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.settings = get_settings()
        self.settings.ensure_home()
        self.notes.mkdir(parents=True, exist_ok=True)
        self.store = open_store(self.settings.database_url)

    def ask(self, question: Callable[[Store], T]) -> T:
        """Ask the store, however long it is away."""
        return patiently(lambda: question(self.store), _PATIENCE_S)

    def start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        """One more worker."""
        with (self.notes / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, str(WORK), *options, "--", *self.command], stdout=log, stderr=log, env=os.environ
            )
        self.workers.append(worker)
        return worker

    def tend(self) -> None:
        """See to it that there is a worker and something to do."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        if not self.workers:
            self.start_worker()
        self.seen_done |= {run.id for run in self.ask(lambda store: store.runs(states=[RunState.DONE]))}
        if len(self.ask(lambda store: store.runs(states=[RunState.WAITING]))) < 2:
            self._queued += 1
            self.ask(lambda store: self.queue(store, self._queued))

    def at_hand(self) -> RunRecord | None:
        """The run that is measured."""
        running = self.ask(lambda store: store.runs(states=[RunState.RUNNING]))
        return running[0] if running else None

    def next_waiting(self) -> str:
        """The run that begins next if nothing comes in between; empty where none waits."""
        waiting = self.ask(lambda store: store.runs(states=[RunState.WAITING], limit=1))
        return waiting[0].id if waiting else ""

    def run_pids(self) -> list[int]:
        """The processes that measure."""
        return self.ask(run_pids)

    def strike(self, kind: str, inject: Callable[[Ground], str]) -> Fault:
        """Inject one fault at a random moment while, mostly, a run is at hand.

        Raises:
            AssertionError: no run began for two minutes.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            self.tend()
            if self.at_hand() is None and self.random.random() < 0.95:
                assert time.monotonic() < deadline, f"no run to hit\n{self.log_end()}"
                time.sleep(0.02)
                continue
            time.sleep(self.random.uniform(0, self.spread_s))
            ahead = self.next_waiting()  # before it is looked whether one runs: it may begin in between
            run = self.at_hand()
            if run is None and self.random.random() < 0.9 and time.monotonic() < deadline:
                continue  # it ended meanwhile
            place = place_of(run)
            with suppress(MissedError):
                fault = Fault(kind, f"{place}; {inject(self)}")
                if run is not None:
                    fault.run, fault.attempt = run.id, run.attempt
                else:
                    fault.next = ahead
                self.faults.append(fault)
                return fault

    def besiege(self, kinds: Mapping[str, Callable[[Ground], str]], counts: Mapping[str, int]) -> None:
        """Strike so many times by each kind, in random order."""
        order = [kind for kind, count in counts.items() for _ in range(count)]
        self.random.shuffle(order)
        for kind in order:
            self.strike(kind, kinds[kind])

    def drain(self, timeout_s: float = 300.0) -> None:
        """Let the last workers end what is queued."""
        deadline = time.monotonic() + timeout_s
        while self.ask(lambda store: store.runs(states=[RunState.WAITING, RunState.RUNNING])):
            assert time.monotonic() < deadline, f"the queue does not end\n{self.log_end()}"
            if all(worker.poll() is not None for worker in self.workers):
                self.start_worker()
            time.sleep(0.1)

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(20)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def log_end(self) -> str:
        """What workers said last."""
        path = self.notes / "worker.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def noted(self, name: str) -> list[str]:
        """What the stand-ins noted, a line each."""
        path = self.notes / name
        return path.read_text().split() if path.exists() else []

    def verdict(self) -> Verdict:
        """What became of everything; to be asked when the queue has been drained and the workers have ended."""
        verdict = Verdict(faults=self.faults)
        try:
            runs = {run.id: run for run in self.store.runs()}
            judge(verdict, runs, self.seen_done | self.finished())
            for run in runs.values():
                verdict.runs[run.state.value] = verdict.runs.get(run.state.value, 0) + 1
                if run.state is RunState.DONE and (missing := self.incomplete(self.store, run)):
                    verdict.lost.append(f"{run.id} is done, and not whole: {missing}")
            if not self.command:  # the stand-in proves by a lock that it is alone; of the bench the store must say it
                verdict.overlaps += beside(runs.values())
        except TrilemmaError as error:
            verdict.corrupted.append(f"the store cannot be read: {error}")
        if not self.settings.shares_database:
            verdict.corrupted += integrity(self.settings.home / "trilemma.db")
        verdict.overlaps += [f"{run_id} was measured beside another" for run_id in self.noted("overlaps")]
        times = Counter(self.noted("finished"))
        verdict.overlaps += [f"{i} was measured again though finished" for i in self.finished() if times[i] > 1]
        verdict.overlaps += [f"left behind: {line}" for line in self._left_behind()]
        return verdict

    def finished(self) -> set[str]:
        """Runs of which stand-ins have said that the store has them whole."""
        return set(self.noted("finished"))

    def strays(self) -> list[str]:
        """Processes of runs that are still there."""
        return strays(self.settings.home)

    def _left_behind(self) -> list[str]:
        """Processes of runs that do not end by themselves within seconds."""
        deadline = time.monotonic() + 5
        while (left := self.strays()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def end_all(pids: Sequence[int]) -> str:
    """``kill -9`` of all of them.

    Raises:
        MissedError: none was there.
    """
    if not kill(pids):
        raise MissedError
    return f"{len(pids)} killed"
