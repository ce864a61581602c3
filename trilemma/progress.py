"""Follows the runs of a study on a terminal: what is measured, how far it is, how long it still takes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from trilemma.analysis.format import format_duration
from trilemma.effort import run_seconds
from trilemma.records import RunRecord
from trilemma.schema import RunState
from trilemma.store import Store

SAY_EVERY_S = 15.0
"""How often a line is written where there is no terminal to redraw."""
_TRUST_AFTER = 0.05
"""The share of the work after which the pace so far says more than the first guess."""


def remaining_seconds(weights: Sequence[float], shares: Sequence[float], elapsed_s: float) -> float:
    """How long the rest takes, s.

    Args:
        weights: A guess at the length of each run, s.
        shares: The finished share of each, 0 to 1.
        elapsed_s: How long the finished part took.

    The guess is scaled by the pace so far once there is enough of it.
    """
    done = sum(weight * share for weight, share in zip(weights, shares, strict=True))
    total = sum(weights)
    pace = elapsed_s / done if total and done / total >= _TRUST_AFTER else 1.0
    return (total - done) * pace


class StudyFollower:
    """Shows the progress of a study's runs that are not finished yet; a context manager.

    Args:
        store: Where the runs are read from.
        study_id: The study.
        console: Where to show it.
    """

    def __init__(self, store: Store, study_id: str, console: Console) -> None:
        self._store, self._study_id, self._console = store, study_id, console
        self._started = time.monotonic()
        self._labels = {artifact.id: artifact for artifact in store.artifacts()}
        self._finished_before = {run.id for run in self._runs() if run.state.final}
        self._seen = set(self._finished_before)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("Waiting for the worker", total=1.0, left="")
        self._said = 0.0

    def _runs(self) -> list[RunRecord]:
        return self._store.runs(study_id=self._study_id)

    def update(self) -> bool:
        """Read the runs and show where they are; whether all are finished."""
        runs = self._runs()
        mine = [run for run in runs if run.id not in self._finished_before]
        for run in runs:
            if run.state.final and run.id not in self._seen:
                self._seen.add(run.id)
                self._console.print(Text(self._verdict(run)), soft_wrap=True)
        shares = [1.0 if run.state.final else run.progress if run.state is RunState.RUNNING else 0.0 for run in mine]
        weights = [self._weight(run) for run in mine]
        left = remaining_seconds(weights, shares, time.monotonic() - self._started)
        share = sum(w * s for w, s in zip(weights, shares, strict=True)) / (sum(weights) or 1.0)
        current = next((run for run in mine if run.state is RunState.RUNNING), None)
        what = self._name(current) if current else "Waiting for the worker"
        finished = all(run.state.final for run in mine)
        left_text = "" if finished else f"about {format_duration(left)} left"
        self._progress.update(self._task, completed=1.0 if finished else share, description=what, left=left_text)
        self._say_line(mine, what, left_text, finished)
        return finished

    def _say_line(self, mine: Sequence[RunRecord], what: str, left_text: str, finished: bool) -> None:
        now = time.monotonic()
        if self._console.is_terminal or finished or now - self._said < SAY_EVERY_S:
            return
        self._said = now
        final = sum(run.state.final for run in mine)
        self._console.print(Text(f"{final} of {len(mine)} runs; {what}; {left_text}"), soft_wrap=True)

    def _weight(self, run: RunRecord) -> float:
        artifact = self._labels.get(run.spec.configuration.artifact_id)
        return run_seconds(artifact, run.spec) if artifact else 1.0

    def _name(self, run: RunRecord) -> str:
        artifact = self._labels.get(run.spec.configuration.artifact_id)
        label = artifact.label if artifact else run.spec.configuration.artifact_id[:12]
        if run.spec.configuration.profile:
            label += f" emulating {run.spec.configuration.profile.name}"
        phase = f": {run.phase.value.replace('_', ' ')}" if run.phase else ""
        return f"{label}, repeat {run.spec.repeat + 1}{phase if run.state is RunState.RUNNING else ''}"

    def _verdict(self, run: RunRecord) -> str:
        took = (
            f" in {format_duration((run.finished_at - run.started_at).total_seconds())}"
            if run.finished_at and run.started_at
            else ""
        )
        notes = {
            RunState.FAILED: f": {run.reason}",
            RunState.DOES_NOT_FIT: f": {run.reason}",
            RunState.CANCELLED: f": {run.reason}" if run.reason else "",
        }
        disturbed = " (disturbed; shown as such)" if run.disturbed else ""
        return f"{run.state.label}: {self._name(run)}{took}{notes.get(run.state, disturbed)}"

    def summary(self) -> str:
        """``18 done, 1 failed``."""
        states = Counter(run.state.label for run in self._runs())
        return ", ".join(f"{count} {state}" for state, count in states.items()) or "no runs"

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


@contextmanager
def following(store: Store, study_id: str, console: Console, finished: threading.Event) -> Iterator[None]:
    """Show a study's progress from a thread while the body measures it; sets ``finished`` when all its runs are."""
    stop = threading.Event()
    with StudyFollower(store, study_id, console) as follower:

        def loop() -> None:
            while not stop.wait(0.5):
                if follower.update():
                    finished.set()

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=5)
            follower.update()
