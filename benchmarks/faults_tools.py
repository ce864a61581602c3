"""What the fault campaign counts: the faults, what became of the runs that they hit, and what must hold in the end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from trilemma.records import RunRecord
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.store import Store

STEPS = 12
"""Of the stand-in for a measurement."""

_KILLED = (
    "worker killed", "worker and run killed", "second worker", "serve killed", "worker of serve killed",
    "dashboard killed",
)  # fmt: skip
_VANISHED = (
    "node vanished and returned", "idle node vanished and returned", "node cut off for a while", "node cut off for long"
)  # fmt: skip
_AWAY = ("connections dropped", "server crashed", "server restarted", "tables locked")
CAUSES: Mapping[str, str] = {
    **dict.fromkeys(_KILLED, r"interrupted \d+ times, at last so: Its worker vanished"),
    **dict.fromkeys(_VANISHED, r"interrupted \d+ times, at last so: \w+ (was lost|lost the process|does not answer)"),
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
    next: str = ""
    """Where no run was at hand, the one that began next."""
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


def add_runs(store: Store, count: int, name: str, artifact_id: str = "a" * 64, engine: str = "none") -> list[str]:
    """Queue ``count`` runs of the stand-in; the name must be a new one, lest they are shared."""
    configuration = Configuration(artifact_id=artifact_id, engine=engine, settings={"study": name})
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


def beside(runs: Iterable[RunRecord]) -> list[str]:
    """Runs that began while another of the same device had not ended, by the times in the store."""
    found = []
    ended: dict[tuple[str, str], tuple[datetime, str]] = {}
    times = [(run.started_at, run.finished_at, run) for run in runs]
    whole = [(start, end, run) for start, end, run in times if start is not None and end is not None]
    for start, end, run in sorted(whole, key=lambda one: one[:2]):
        before = ended.get(device := (run.spec.device, run.machine))
        if before is not None and start < before[0]:
            found.append(f"{run.id} began {(before[0] - start).total_seconds():.3f} s before {before[1]} had ended")
        ended[device] = max((end, run.id), before or (end, run.id))
    return found


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
        # A fault between two runs may hit the next one, and no other.
        hits = {fault.kind for fault in verdict.faults if run.id in (fault.run, fault.next)}
        patterns = [CAUSES[kind] for kind in sorted(hits) if kind in CAUSES]
        if not any(re.search(pattern, run.reason) for pattern in patterns):
            by = ", ".join(sorted(hits)) or "nothing"
            verdict.unnamed.append(f"{run.id}, hit by {by}, says: {run.reason!r}; log: {run.log_tail[-600:]!r}")
