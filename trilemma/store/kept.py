"""What a run measured and has not yet recorded: held while the database is away, kept in a file if it stays away.

The file lies beside the run's log; the worker records it as soon as the database answers again.
"""

from __future__ import annotations

import gzip
import logging
import os
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue, ValidationError

from trilemma.errors import (
    DatabaseUnavailableError,
    DiskFullError,
    NotFoundError,
    RunCancelledError,
    StoreError,
    TrilemmaError,
)
from trilemma.records import AnswerRecord, PhaseWindow, RequestRecord, Sample
from trilemma.schema import Frozen, Measurement, Phase, RunState
from trilemma.store import Store

T = TypeVar("T")
log = logging.getLogger(__name__)
Progress = tuple[float, str, Phase | None, float | None]
"""How far a run is (0 to 1), a note, the phase, and the seconds that are left."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 10.0


class Batch(Frozen):
    """Records that are written in one transaction."""

    phases: tuple[PhaseWindow, ...] = ()
    samples: tuple[Sample, ...] = ()
    requests: tuple[RequestRecord, ...] = ()
    answers: tuple[AnswerRecord, ...] = ()

    def __add__(self, later: Batch) -> Batch:
        return Batch.model_construct(
            phases=self.phases + later.phases,
            samples=self.samples + later.samples,
            requests=self.requests + later.requests,
            answers=self.answers + later.answers,
        )

    def write(self, store: Store, run_id: str, *, again: bool, progress: Progress | None = None) -> None:
        """Write it; ``again`` if an earlier attempt at it may have been committed."""
        store.write_batch(
            run_id,
            phases=self.phases,
            samples=self.samples,
            requests=self.requests,
            answers=self.answers,
            progress=progress,
            again=again,
        )


class KeptRun(Frozen):
    """How a run ended, and all of it that is not in the store."""

    run_id: str
    attempt: int
    batches: tuple[Batch, ...]
    engine_info: dict[str, JsonValue] | None = None
    measurements: tuple[Measurement, ...]
    state: RunState
    reason: str = ""
    log_tail: str = ""
    disturbances: tuple[str, ...] = ()

    def record(self, store: Store) -> None:
        """Write it; all or part of it may have been written before.

        Raises:
            StoreError: it cannot be, or the run is not at this attempt any more.
        """
        for batch in self.batches:
            batch.write(store, self.run_id, again=True)
        if self.engine_info is not None:
            store.set_engine_info(self.run_id, self.engine_info)
        store.set_measurements(self.run_id, self.measurements)
        store.finish_run(
            self.run_id,
            self.state,
            reason=self.reason,
            log_tail=self.log_tail,
            disturbed=bool(self.disturbances),
            disturbances=self.disturbances,
        )


def patiently(action: Callable[[], T], patience_s: float, give_up: Callable[[], bool] = lambda: False) -> T:
    """``action()``, asked again after growing pauses while the database is away, or its disk full, for at most
    ``patience_s`` seconds.

    Raises:
        DatabaseUnavailableError: it was away for as long, or ``give_up`` says so.
        DiskFullError: there was no space for as long, or ``give_up`` says so.
    """
    deadline = time.monotonic() + patience_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return action()
        except (DatabaseUnavailableError, DiskFullError):
            if time.monotonic() + pause > deadline or give_up():
                raise
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def path_of(logs_dir: Path, run_id: str) -> Path:
    """Where an attempt's results are kept."""
    return logs_dir / f"{run_id}.kept.gz"


def keep(path: Path, kept: KeptRun) -> None:
    """Write ``kept`` to a file, whole and on the disk or not at all.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(gzip.compress(kept.model_dump_json().encode(), compresslevel=6))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)  # its new name is on the disk only with its folder
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def restore(store: Store, path: Path, run_id: str) -> bool:
    """Record what an attempt at a run kept, if it is the present one; whether the run is finished by it.

    The file is deleted unless the database is away, or has no space.

    Raises:
        DatabaseUnavailableError: it still is.
        DiskFullError: it still has none.
        StoreError: the file is there and cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as error:  # it may be whole, and is all that there is of the run
        raise StoreError(
            f"{path}, which holds what a run measured, cannot be read ({error.strerror or error}).",
            "Mend the disk or the file's permissions; or delete the file, and the run is measured again.",
        ) from error
    try:
        kept = KeptRun.model_validate_json(gzip.decompress(content))
    except (gzip.BadGzipFile, EOFError, zlib.error, ValidationError, ValueError):
        kept = None  # half a file is none
    run = store.run(run_id)
    recorded = False
    if kept is not None and (kept.run_id, kept.attempt, run.state) == (run_id, run.attempt, RunState.RUNNING):
        try:
            kept.record(store)
            recorded = True
        except (DatabaseUnavailableError, DiskFullError):
            raise
        except (NotFoundError, RunCancelledError):
            recorded = False
        except TrilemmaError as error:  # the file stays: it is all that there is of the run
            log.warning("%s is not recorded: %s", path, error)
            return False
    with suppress(OSError):
        path.unlink()
    return recorded
