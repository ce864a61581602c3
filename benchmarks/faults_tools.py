"""What the fault campaign is made of: a store under siege, the faults that hit it, and what must hold in the end."""

from __future__ import annotations

import os
import random
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.jobs.campaign import WORK, kill, run_pids, strays
from trilemma.errors import TrilemmaError
from trilemma.records import RunRecord
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.settings import get_settings
from trilemma.store import Store, open_store
from trilemma.store.kept import patiently

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
STAND_IN = WORK.with_name("stand_in.py")
STEPS = 12
"""Of the stand-in for a measurement."""
_PATIENCE_S = 120.0

_KILLED = (
    "worker killed", "worker and run killed", "second worker", "serve killed", "worker of serve killed",
    "dashboard killed",
)  # fmt: skip
_AWAY = ("connections dropped", "server crashed", "server restarted", "tables locked")
CAUSES: Mapping[str, str] = {
    **dict.fromkeys(_KILLED, r"interrupted \d+ times: its worker vanished"),
    **dict.fromkeys(_AWAY, r"database .* (does not answer|was locked)"),
    "database locked for long": r"database .* was locked",
    "run killed": r"killed \(SIGKILL\)",
    "engine killed": r"measured process was killed \(SIGKILL\)",
    "disk full": r"full|No space left",
    "out of memory, killed by the kernel": r"because memory ran out|out of memory",
    "out of memory, refused": r"[Mm]emory ran out",
    "hung engine": r"Nothing happened for",
    "stopped for too long": r"Nothing happened for",
}
"""What a run must say that failed after a fault of this kind; after the other kinds none may fail."""


@dataclass
class Fault:
    """One fault, and what became of the run that it hit."""

    kind: str
    where: str
    run: str = ""
    attempt: int = 0
    outcome: str = ""
    """``done``, ``failed``, ``requeued`` (started over, whatever came then), ``idle`` (no run was at hand)."""
    cause: str = ""


@dataclass
class Verdict:
    """What the faults did. The three lists must be empty."""

    faults: list[Fault] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    corrupted: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)
    """Runs that were measured while another was, or measured again though finished, and processes left behind."""
    runs: dict[str, int] = field(default_factory=dict)

    def __iadd__(self, other: Verdict) -> Verdict:
        self.faults += other.faults
        self.lost += other.lost
        self.corrupted += other.corrupted
        self.unnamed += other.unnamed
        self.overlaps += other.overlaps
        for state, count in other.runs.items():
            self.runs[state] = self.runs.get(state, 0) + count
        return self

    def as_json(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Verdict:
        """What :meth:`as_json` made."""
        return cls(**{**found, "faults": [Fault(**fault) for fault in found["faults"]]})


def add_runs(store: Store, count: int, name: str) -> list[str]:
    """Queue ``count`` runs of the stand-in; the name must be a new one, lest they are shared."""
    configuration = Configuration(artifact_id="a" * 64, engine="none", settings={"study": name})
    specs = [RunSpec(configuration=configuration, repeat=number) for number in range(count)]
    study = store.add_study(StudySpec(name=name, configurations=(configuration,), rerun_disturbed=False), specs)
    return [run.id for run in store.runs(study.id)]


def incomplete(store: Store, run: RunRecord) -> str:
    """What a finished run of the stand-in lacks, or has twice; empty if it is whole."""
    steps = list(range(STEPS))
    found = {
        "samples": [sample.time_ns for sample in store.samples(run.id)],
        "requests": [request.index for request in store.requests(run.id)],
        "answers": [answer.index for answer in store.answers(run.id)],
    }
    wrong = [f"{name} {values}" for name, values in found.items() if values != steps]
    if [m.n for m in store.measurements(run.id)] != [STEPS]:
        wrong.append("measurements")
    return ", ".join(wrong)


def integrity(database: Path) -> list[str]:
    """What SQLite finds wrong with a file; nothing in a good one."""
    with closing(sqlite3.connect(database)) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        broken = connection.execute("PRAGMA foreign_key_check").fetchall()
    return [*(text for text in found if text != "ok"), *(f"a dangling reference: {row}" for row in broken)]


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
            run = self.at_hand()
            place = place_of(run)
            with suppress(MissedError):
                fault = Fault(kind, f"{place}; {inject(self)}")
                if run is not None:
                    fault.run, fault.attempt = run.id, run.attempt
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
            judge(verdict, runs, self.seen_done | set(self.noted("finished")))
            for run in runs.values():
                verdict.runs[run.state.value] = verdict.runs.get(run.state.value, 0) + 1
                if run.state is RunState.DONE and (missing := self.incomplete(self.store, run)):
                    verdict.lost.append(f"{run.id} is done, and not whole: {missing}")
        except TrilemmaError as error:
            verdict.corrupted.append(f"the store cannot be read: {error}")
        if not self.settings.shares_database:
            verdict.corrupted += integrity(self.settings.home / "trilemma.db")
        finished = self.noted("finished")
        verdict.overlaps += [f"{run_id} was measured beside another" for run_id in self.noted("overlaps")]
        verdict.overlaps += [f"{i} was measured again though finished" for i in set(finished) if finished.count(i) > 1]
        verdict.overlaps += [f"left behind: {line}" for line in self._left_behind()]
        return verdict

    def _left_behind(self) -> list[str]:
        """Processes of runs that do not end by themselves within seconds."""
        deadline = time.monotonic() + 5
        while (left := strays(self.settings.home)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def place_of(run: RunRecord | None) -> str:
    """How far a run is."""
    if run is None:
        return "between runs"
    if run.started_at is None:
        return "a run that starts"
    return f"a run at {run.progress:.0%}{f' ({run.phase.value})' if run.phase else ''}"


def judge(verdict: Verdict, runs: Mapping[str, RunRecord], finished: set[str]) -> None:
    """Fill in what became of the runs that were hit, and what is wrong with any.

    Args:
        verdict: Has the faults.
        runs: All runs, by id, when all is over.
        finished: The ids of those that were seen or said to be done.
    """
    for run_id in sorted(finished):
        run = runs.get(run_id)
        if run is None or run.state is not RunState.DONE:
            verdict.lost.append(f"{run_id} had finished; now it is {'gone' if run is None else run.state.value}")
    for fault in verdict.faults:
        run = runs.get(fault.run)
        if run is None:
            fault.outcome = "idle"
        elif run.attempt > fault.attempt:
            fault.outcome = "requeued"
        else:
            fault.outcome, fault.cause = run.state.value, run.reason
    for run in runs.values():
        if run.state is not RunState.FAILED:
            continue
        # A fault between two runs may hit the next one.
        hits = {fault.kind for fault in verdict.faults if fault.run in (run.id, "")}
        patterns = [CAUSES[kind] for kind in sorted(hits) if kind in CAUSES]
        if not any(re.search(pattern, run.reason) for pattern in patterns):
            by = ", ".join(sorted(hits)) or "nothing"
            verdict.unnamed.append(f"{run.id}, hit by {by}, says: {run.reason!r}; log: {run.log_tail[-600:]!r}")


def end_all(pids: Sequence[int]) -> str:
    """``kill -9`` of all of them.

    Raises:
        MissedError: none was there.
    """
    if not kill(pids):
        raise MissedError
    return f"{len(pids)} killed"
