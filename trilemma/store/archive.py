"""Whole studies in and out: what an archive holds, see :mod:`trilemma.archive`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.errors import StoreError
from trilemma.records import IMPORTED, SAMPLE, RunRecord, StudyRecord, Vote, WholeRun
from trilemma.schema import Artifact, RunSpec, StudySpec
from trilemma.store import tables as t
from trilemma.store.artifacts import artifact_row
from trilemma.store.reading import ReadStore
from trilemma.store.sample import SampleStore
from trilemma.store.studies import insert_runs
from trilemma.store.whole import ended_run, insert, insert_hosts, insert_records


class ArchiveStore(ReadStore, SampleStore):
    """Reads everything of a study run by run, and adds such a study as one that was measured elsewhere."""

    def archived_runs(self, study_id: str) -> list[RunRecord]:
        """The runs of a study that are over, in the order of their creation, as an archive has them."""
        runs = sorted(self.runs(study_id), key=lambda run: (run.created_at, run.id))
        found: dict[str, RunRecord] = {}
        for run in runs:
            if run.state.final:
                found[run.id] = _as_measured(run, study_id, found)
        return list(found.values())

    def whole_run(self, run: RunRecord) -> WholeRun:
        """``run`` with everything that it recorded, in an order that does not depend on the database."""
        requests = self.requests(run.id)
        return WholeRun(
            run=run,
            phases=tuple(sorted(self.phases(run.id), key=lambda w: (w.start_ns, w.phase, w.subject))),
            samples=tuple(self.samples(run.id)),
            requests=tuple(sorted(requests, key=lambda r: (r.submitted_ns, r.workload, r.warmup, r.index))),
            answers=tuple(self.answers(run.id)),
            measurements=tuple(self.measurements(run.id)),
        )

    def add_archived(
        self, study: StudyRecord, artifacts: Sequence[Artifact], runs: Iterable[WholeRun], votes: Sequence[Vote]
    ) -> int:
        """Add a study that was measured elsewhere, in one transaction; how many of its runs were not here before.

        Runs, votes and the study keep their ids, so that adding it twice changes nothing. Runs that are here stay as
        they are; new ones get a device of their own, so that they are neither reused nor shown as this machine's.

        Raises:
            StoreError: something else has one of those ids here.
        """
        with self._db.write(durable=True) as connection:
            here = _same_study(connection, study, self._by)
            known = set(connection.execute(sa.select(t.artifacts.c.id)).scalars())
            insert(connection, t.artifacts, [artifact_row(a, forgotten=True) for a in artifacts if a.id not in known])
            linked = _linked(connection, study.id)
            fresh = 0
            for whole in runs:
                run = whole.run
                if not _same_run(connection, run):
                    if here is not None and not here and run.id not in linked:
                        raise StoreError(
                            f"The study {study.spec.name!r} was measured here, and the file has a run of it, {run.id}, "
                            "that is not here.",
                            "Results of another machine are not mixed into it; give the file a data folder of its own.",
                        )
                    _insert_run(connection, whole)
                    fresh += 1
                if run.id not in linked:
                    insert(connection, t.study_runs, [{"study_id": study.id, "run_id": run.id}])
                    linked.add(run.id)
            # Votes on what was measured here are those that were given here.
            fresh_votes = 0 if here is False else _insert_votes(connection, study.id, votes)
            if fresh or fresh_votes or here is None:
                self._changed(connection)
        return fresh


def _as_measured(run: RunRecord, study_id: str, before: Collection[str]) -> RunRecord:
    """As where it was measured: of the studies that share it, the one, and the device by its own name there.

    A study that shares a re-run does not have the disturbed run that it repeats, so that the file cannot name it.
    """
    device = run.spec.device.removeprefix(IMPORTED)
    return run.model_copy(
        update={
            "study_ids": (study_id,),
            "spec": run.spec.model_copy(update={"device": device}),
            "rerun_of": run.rerun_of if run.rerun_of in before else None,
            "note": "",
            "remaining_s": None,
            "created_by": None,
        }
    )


def _same_study(connection: Connection, study: StudyRecord, by: str | None) -> bool | None:
    """Insert the study, brought by somebody; if it is here, whether it was imported before. None if it is new.

    Raises:
        StoreError: another study has its id.
    """
    row = connection.execute(sa.select(t.studies).where(t.studies.c.id == study.id)).one_or_none()
    if row is None:
        values = {
            "id": study.id,
            "spec": study.spec.model_dump(mode="json"),
            "rerun_disturbed": study.spec.rerun_disturbed,
            "created_at": study.created_at,
            "created_by": by,
        }
        connection.execute(sa.insert(t.studies).values(values))
        return None
    if (StudySpec.model_validate(row.spec), row.created_at) != (study.spec, study.created_at):
        raise StoreError(
            f"Another study has the id {study.id} of the one in the file.", "The file is not what it says."
        )
    foreign = sa.select(t.runs.c.id).join(t.study_runs, t.study_runs.c.run_id == t.runs.c.id)
    foreign = foreign.where(t.study_runs.c.study_id == study.id, t.runs.c.device.like(f"{IMPORTED}%"))
    return connection.execute(foreign.limit(1)).scalar() is not None


def _linked(connection: Connection, study_id: str) -> set[str]:
    query = sa.select(t.study_runs.c.run_id).where(t.study_runs.c.study_id == study_id)
    return set(connection.execute(query).scalars())


def _same_run(connection: Connection, run: RunRecord) -> bool:
    """Whether the run is here already.

    Raises:
        StoreError: another one has its id.
    """
    query = sa.select(t.runs.c.spec, t.runs.c.created_at).where(t.runs.c.id == run.id)
    row = connection.execute(query).one_or_none()
    if row is None:
        return False
    spec = RunSpec.model_validate(row.spec)
    spec = spec.model_copy(update={"device": spec.device.removeprefix(IMPORTED)})
    if (spec, row.created_at) != (run.spec, run.created_at):
        raise StoreError(f"Another run has the id {run.id} of one in the file.", "The file is not what it says.")
    return True


def _insert_run(connection: Connection, whole: WholeRun) -> None:
    if whole.run.spec.device == SAMPLE:
        raise StoreError("The file holds runs of the sample study.", "`trilemma sample add` adds that.")
    insert_hosts(connection, [whole])
    position = int(connection.execute(sa.select(sa.func.max(t.runs.c.position))).scalar() or 0) + 1
    insert_runs(connection, [ended_run(whole, position, f"{IMPORTED}{whole.run.spec.device}")])
    insert_records(connection, whole)


def _insert_votes(connection: Connection, study_id: str, votes: Iterable[Vote]) -> int:
    known = set(connection.execute(sa.select(t.votes.c.id)).scalars())
    fresh = [vote for vote in votes if vote.id not in known]
    insert(
        connection,
        t.votes,
        [vote.model_dump() | {"study_id": study_id, "choice": vote.choice.value} for vote in fresh],
    )
    return len(fresh)
