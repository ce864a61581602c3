"""Writes what a run measures into the store, and holds it while the database is away, or its disk full: measuring goes
on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from trilemma.errors import DatabaseUnavailableError, DiskFullError, StoreError
from trilemma.figures import FIGURES
from trilemma.records import AnswerRecord, PhaseWindow, RequestRecord, RunRecord, Sample
from trilemma.schema import Measurement, Phase, RunState
from trilemma.store import Store
from trilemma.store.kept import Batch, KeptRun, Progress, keep, patiently

T = TypeVar("T")

_LONGEST_PAUSE_S = 15.0


class Pending:
    """What came in since the last write."""

    def __init__(self) -> None:
        self.phases: dict[tuple[Phase, str], PhaseWindow] = {}
        self.requests: list[RequestRecord] = []
        self.answers: list[AnswerRecord] = []

    def batch(self, samples: Sequence[Sample], answers: Sequence[AnswerRecord]) -> Batch:
        """All of it, with the samples of the same time, and ``answers`` in place of those that came in."""
        return Batch.model_construct(
            phases=tuple(self.phases.values()),
            samples=tuple(samples),
            requests=tuple(self.requests),
            answers=tuple(answers),
        )


class Recorder:
    """Of one attempt at a run.

    Args:
        store: Where the run is.
        run: As it was claimed.
        kept: The file for what could not be recorded in the end.
        patience_s: How long a database that is away is waited for where nothing is being measured, s.
    """

    def __init__(self, store: Store, run: RunRecord, kept: Path, patience_s: float) -> None:
        self._store = store
        self._run = run
        self._kept = kept
        self._patience_s = patience_s
        # The first was tried and may even have been committed, as far as a connection that broke can tell. The writer's
        # alone while it is alive; what comes in meanwhile waits beside it.
        self._backlog: list[tuple[Batch, bool]] = []
        self._coming: Batch | None = None
        self._writer: threading.Thread | None = None
        self._problem: Exception | None = None
        self._engine_info: dict[str, JsonValue] | None = None
        self._away_since: float | None = None
        self._failures = 0
        self._next = 0.0
        self.away_s = 0.0
        """How long the database was away, s."""

    def patiently(self, action: Callable[[], T]) -> T:
        """``action()``, while nothing is measured; waits for a database that is away.

        Raises:
            StoreError: it was away for too long, or something else is wrong.
        """
        return patiently(action, self._patience_s)

    def set_engine_info(self, info: Mapping[str, JsonValue]) -> None:
        """What the engine says of itself, written with the next batch."""
        self._engine_info = dict(info)

    def write(self, batch: Batch, progress: Progress) -> None:
        """Have a batch written, and what is left of earlier ones; if the database is away or full, some other time.

        Returns at once: who waits for a database does not read what the measured process says, and that waits then too.

        Raises:
            RunCancelledError: the user stopped the run, as an earlier batch found.
            StoreError: something else was wrong with an earlier one than that the database is away.
        """
        self._coming = batch if self._coming is None else self._coming + batch
        if self._writer is not None and self._writer.is_alive():
            return
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem
        if time.monotonic() < self._next:
            return
        self._take()
        self._writer = threading.Thread(target=self._flush, args=(progress,), name="recorder", daemon=True)
        self._writer.start()

    def wait(self) -> None:
        """Wait until what was given to be written is written, or was tried in vain."""
        if self._writer is not None:
            self._writer.join()

    def _take(self) -> None:
        """Put what has come in behind the backlog, together with what was not tried yet."""
        if self._coming is not None:
            if self._backlog and not self._backlog[-1][1]:
                self._coming = self._backlog.pop()[0] + self._coming
            self._backlog.append((self._coming, False))
            self._coming = None

    def _flush(self, progress: Progress) -> None:
        try:
            while self._backlog:
                batch, again = self._backlog[0]
                self._backlog[0] = (batch, True)
                now = progress if len(self._backlog) == 1 else None
                batch.write(self._store, self._run.id, again=again, progress=now)
                del self._backlog[0]
            if (info := self._engine_info) is not None:
                self._store.set_engine_info(self._run.id, info)
                if self._engine_info is info:  # and no newer one has come
                    self._engine_info = None
        except (DatabaseUnavailableError, DiskFullError):
            failed_at = time.monotonic()
            self._away_since = failed_at if self._away_since is None else self._away_since
            self._failures += 1
            self._next = failed_at + min(2.0 ** (self._failures - 1), _LONGEST_PAUSE_S)
            return
        except Exception as error:  # told to whoever writes next
            self._problem = error
            return
        if self._away_since is not None:
            self.away_s += time.monotonic() - self._away_since
            self._away_since, self._failures, self._next = None, 0, 0.0

    def finish(
        self,
        state: RunState,
        measurements: Sequence[Measurement],
        *,
        reason: str = "",
        log_tail: str = "",
        disturbances: Sequence[str] = (),
    ) -> None:
        """Write what is left, and the run's end.

        Raises:
            StoreError: the database stayed away or has no space left; the results are then in a file, which the
                worker records later. Or something else is wrong.
        """
        self.wait()
        self._take()
        kept = KeptRun(
            run_id=self._run.id,
            attempt=self._run.attempt,
            batches=tuple(batch for batch, _ in self._backlog),
            engine_info=self._engine_info,
            measurements=tuple(map(_as_defined_now, measurements)),
            state=state,
            reason=reason,
            log_tail=log_tail,
            disturbances=tuple(disturbances),
        )
        try:
            self.patiently(lambda: kept.record(self._store))
        except (DatabaseUnavailableError, DiskFullError) as error:
            try:
                keep(self._kept, kept)
            except OSError as problem:
                raise StoreError(
                    f"{error.message} Nor could the results be kept in {self._kept} ({problem.strerror}).", error.hint
                ) from error
            raise type(error)(
                f"{error.message} What the run measured is kept in {self._kept}.",
                "The worker records it as soon as the database can be written again.",
            ) from error


def _as_defined_now(measurement: Measurement) -> Measurement:
    """With the version of the definition by which it was computed just now."""
    definition = FIGURES.get(measurement.figure)
    if definition is None:
        return measurement
    return measurement.model_copy(update={"definition_version": definition.version})
