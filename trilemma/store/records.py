"""What a run writes while it measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.engine import Connection

from trilemma.errors import StoreError
from trilemma.records import AnswerRecord, HostInfo, PhaseWindow, RequestRecord, Sample
from trilemma.schema import Measurement, Phase, RunState, content_id, utc_now
from trilemma.store import tables as t
from trilemma.store.base import StoreBase, owned
from trilemma.store.codec import CODEC, deltas, pack_samples


class RecordStore(StoreBase):
    """Writes of a running run; all raise StoreError when it is not running, RunCancelledError when it was cancelled."""

    def start_run(self, run_id: str, host: HostInfo, attempt: int | None = None) -> None:
        """The run's process has begun, on this machine; with ``attempt`` only where the run is still at that one."""
        document = host.model_dump(mode="json")
        host_id = content_id(document, 64)
        with self._db.write() as connection:
            now = self._require_running(connection, run_id)
            if attempt not in (None, now):
                raise StoreError(f"Run {run_id} is at attempt {now} by now, so attempt {attempt} at it does not begin.")
            if connection.execute(sa.select(t.hosts.c.id).where(t.hosts.c.id == host_id)).scalar() is None:
                connection.execute(sa.insert(t.hosts).values(id=host_id, document=document))
            self._update(connection, run_id, started_at=utc_now(), host_id=host_id)
        self._attempts[run_id] = now

    def set_engine_info(self, run_id: str, info: Mapping[str, JsonValue]) -> None:
        """What the engine says of itself; replaces what it said before."""
        planned = sa.type_coerce(t.runs.c.spec, sa.JSON)["engine_version"].as_string()
        version = sa.func.coalesce(sa.func.nullif(planned, ""), str(info.get("version", "")))
        with self._db.write() as connection:
            self._require_running(connection, run_id)
            self._update(connection, run_id, engine_info=dict(info), engine_version=version)

    def set_progress(
        self, run_id: str, fraction: float, note: str = "", phase: Phase | None = None, remaining_s: float | None = None
    ) -> None:
        """How far the run is, 0 to 1; ``phase`` None leaves the phase as it is."""
        self.write_batch(run_id, progress=(fraction, note, phase, remaining_s))

    def add_phase(self, run_id: str, window: PhaseWindow) -> None:
        """Add a phase, or its end: one window for each (phase, subject)."""
        self.write_batch(run_id, phases=(window,))

    def add_samples(self, run_id: str, samples: Sequence[Sample]) -> None:
        """Add samples, in order of time, as one compressed chunk."""
        self.write_batch(run_id, samples=samples)

    def add_requests(self, run_id: str, requests: Sequence[RequestRecord]) -> None:
        """Add requests, each (workload, warmup, index) once."""
        self.write_batch(run_id, requests=requests)

    def add_answers(self, run_id: str, answers: Sequence[AnswerRecord]) -> None:
        """Add answers, each (suite, index) once."""
        self.write_batch(run_id, answers=answers)

    def write_batch(
        self,
        run_id: str,
        *,
        phases: Sequence[PhaseWindow] = (),
        samples: Sequence[Sample] = (),
        requests: Sequence[RequestRecord] = (),
        answers: Sequence[AnswerRecord] = (),
        progress: tuple[float, str, Phase | None, float | None] | None = None,
        again: bool = False,
    ) -> None:
        """Write all of it in one transaction, or nothing.

        ``again`` if this very batch was tried before and the connection broke: where it had been committed all the
        same, it is not written twice.
        """
        chunk = chunk_row(run_id, samples) if samples else None
        # Locks the run's own row alone: many workers write at once.
        with self._db.write(alone=False) as connection:
            self._require_running(connection, run_id)
            for window in phases:
                _put_phase(connection, run_id, window)
            if not (again and _is_written(connection, run_id, chunk, requests, answers)):
                _insert(connection, run_id, chunk, requests, answers)
            if progress is not None:
                fraction, note, phase, remaining_s = progress
                values = {"progress": min(max(fraction, 0.0), 1.0), "note": note, "remaining_s": remaining_s}
                self._update(connection, run_id, **values, **({} if phase is None else {"phase": phase.value}))

    def set_measurements(self, run_id: str, measurements: Sequence[Measurement]) -> None:
        """Replace the run's measurements.

        Raises:
            StoreError: the run is not running, or two measurements have the same key.
        """
        rows = [measurement_row(run_id, order, measurement) for order, measurement in enumerate(measurements)]
        with self._db.write() as connection:
            self._require_running(connection, run_id)
            connection.execute(sa.delete(t.measurements).where(t.measurements.c.run_id == run_id))
            if rows:
                connection.execute(sa.insert(t.measurements), rows)

    def finish_run(
        self,
        run_id: str,
        state: RunState,
        *,
        reason: str = "",
        log_tail: str = "",
        disturbed: bool = False,
        disturbances: Sequence[str] = (),
        owner: str | None = None,
    ) -> bool:
        """End a run as done, failed or cancelled; False when it had ended already, which then stands.

        With ``owner`` only while it is the run of the worker of that name; False if it is not.

        Raises:
            NotFoundError: there is no such run.
            StoreError: the run has been started anew since this store started it.
            ValueError: ``state`` is not final.
        """
        if not state.final:
            raise ValueError(f"A run cannot finish as {state}")
        values: dict[str, Any] = {
            "state": state.value,
            "finished_at": utc_now(),
            "reason": reason,
            "log_tail": log_tail,
            "disturbed": disturbed,
            "disturbances": list(disturbances),
            "note": "",
            "remaining_s": None,
            "cancel_requested": False,
            "worker_pid": None,
            "process_pid": None,
        }
        if state is RunState.DONE:
            values["progress"] = 1.0
        with self._db.write(durable=True) as connection:
            if self._state(connection, run_id).final or not owned(connection, run_id, owner):
                return False
            self._require_running(connection, run_id)
            self._update(connection, run_id, **values)
            self._changed(connection)
        self._attempts.pop(run_id, None)
        return True

    @staticmethod
    def _update(connection: Connection, run_id: str, **values: Any) -> None:
        connection.execute(sa.update(t.runs).where(t.runs.c.id == run_id).values(**values))


def _put_phase(connection: Connection, run_id: str, window: PhaseWindow) -> None:
    key = {"run_id": run_id, "phase": window.phase.value, "subject": window.subject}
    times = {"start_ns": window.start_ns, "end_ns": window.end_ns}
    same = sa.and_(*(t.phases.c[name] == value for name, value in key.items()))
    if connection.execute(sa.update(t.phases).where(same).values(**times)).rowcount == 0:
        connection.execute(sa.insert(t.phases).values(**key, **times))


def _insert(
    connection: Connection,
    run_id: str,
    chunk: Mapping[str, Any] | None,
    requests: Sequence[RequestRecord],
    answers: Sequence[AnswerRecord],
) -> None:
    if chunk is not None:
        connection.execute(sa.insert(t.sample_chunks), [chunk])
    if requests:
        connection.execute(sa.insert(t.requests), [request_row(run_id, request) for request in requests])
    if answers:
        connection.execute(sa.insert(t.answers), [answer.model_dump() | {"run_id": run_id} for answer in answers])


def _is_written(
    connection: Connection,
    run_id: str,
    chunk: Mapping[str, Any] | None,
    requests: Sequence[RequestRecord],
    answers: Sequence[AnswerRecord],
) -> bool:
    """Whether the first of a batch's records is there, and so, as it was one transaction, all of them."""
    if requests:
        r, first = t.requests.c, requests[0]
        same = sa.and_(r.workload == first.workload, r.warmup == first.warmup, r.index == first.index)
        found = sa.exists().where(r.run_id == run_id, same)
    elif answers:
        a = t.answers.c
        found = sa.exists().where(a.run_id == run_id, a.suite == answers[0].suite, a.index == answers[0].index)
    elif chunk is not None:
        c = t.sample_chunks.c
        found = sa.exists().where(c.run_id == run_id, c.first_ns == chunk["first_ns"], c.last_ns == chunk["last_ns"])
    else:
        return False  # phases and progress replace themselves
    return bool(connection.execute(sa.select(found)).scalar_one())


def chunk_row(run_id: str, samples: Sequence[Sample]) -> dict[str, Any]:
    """The row of a chunk of samples, which are in order of time."""
    times = [sample.time_ns for sample in samples]
    return {
        "run_id": run_id,
        "first_ns": min(times),
        "last_ns": max(times),
        "count": len(samples),
        "codec": CODEC,
        "data": pack_samples(samples),
    }


def request_row(run_id: str, request: RequestRecord) -> dict[str, Any]:
    """The row of a request."""
    values = request.model_dump(exclude={"token_times_ns"})
    return values | {"run_id": run_id, "token_deltas": deltas(request.token_times_ns, request.submitted_ns)}


def measurement_row(run_id: str, order: int, measurement: Measurement) -> dict[str, Any]:
    """The row of a measurement, the ``order``-th of its run."""
    return {
        "run_id": run_id,
        "key": measurement.key,
        "order": order,
        "value": measurement.value,
        "low": measurement.low,
        "high": measurement.high,
        "n": measurement.n,
        "method": measurement.provenance.method.value,
        "source": measurement.provenance.source,
        "valid": measurement.provenance.valid,
        "provenance": measurement.provenance.model_dump(mode="json"),
        "definition_version": measurement.definition_version,
    }
