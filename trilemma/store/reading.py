"""What a run recorded, and the frames that Explore works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trilemma.records import AnswerRecord, PhaseWindow, RequestRecord, Sample
from trilemma.schema import Measurement, Phase, Provenance, RunState, split_key
from trilemma.store import tables as t
from trilemma.store.base import StoreBase
from trilemma.store.codec import times_of, unpack_samples
from trilemma.store.points import PLACE, machine_points
from trilemma.store.studies import in_study, is_mine, is_of_tool

if TYPE_CHECKING:  # half a second to import, which the measuring processes need not spend
    import pandas as pd


_OF_PLACE = ["machine", "engine_version"]


class ReadStore(StoreBase):
    """Reads of one run's records and of all runs' figures."""

    def phases(self, run_id: str) -> list[PhaseWindow]:
        """The windows of a run, in order of their start."""
        rows = self._rows(sa.select(t.phases).where(t.phases.c.run_id == run_id).order_by(t.phases.c.start_ns))
        return [
            PhaseWindow(phase=Phase(row.phase), subject=row.subject, start_ns=row.start_ns, end_ns=row.end_ns)
            for row in rows
        ]

    def samples(self, run_id: str, after_ns: int | None = None) -> list[Sample]:
        """The samples of a run, in order of time; only those later than ``after_ns`` (``perf_counter_ns``)."""
        chunks = t.sample_chunks.c
        query = sa.select(chunks.data, chunks.codec).where(chunks.run_id == run_id).order_by(chunks.first_ns, chunks.id)
        if after_ns is not None:
            query = query.where(chunks.last_ns > after_ns)
        found = [sample for row in self._rows(query) for sample in unpack_samples(row.data, row.codec)]
        return found if after_ns is None else [sample for sample in found if sample.time_ns > after_ns]

    def requests(self, run_id: str) -> list[RequestRecord]:
        """The requests of a run, warm-up included, in order of submission."""
        query = sa.select(t.requests).where(t.requests.c.run_id == run_id)
        found = []
        for row in self._rows(query.order_by(t.requests.c.submitted_ns, t.requests.c.index)):
            values = dict(row._mapping)
            del values["run_id"]
            times = times_of(values.pop("token_deltas"), row.submitted_ns)
            found.append(RequestRecord(**values, token_times_ns=times))
        return found

    def answers(self, run_id: str, suite: str | None = None) -> list[AnswerRecord]:
        """The answers of a run, by suite and in the order of the items."""
        columns = [column for column in t.answers.c if column.name != "run_id"]
        query = sa.select(*columns).where(t.answers.c.run_id == run_id)
        if suite is not None:
            query = query.where(t.answers.c.suite == suite)
        query = query.order_by(t.answers.c.suite, t.answers.c.index)
        return [AnswerRecord.model_validate(dict(row._mapping)) for row in self._rows(query)]

    def answer_frame(self, study_id: str | None = None) -> pd.DataFrame:
        """One row for each suite that a finished run which no re-run has replaced has answers to.

        Columns: run_id, configuration_id, suite, n (answers); the earliest in the queue first.
        """
        r, a = t.runs.c, t.answers.c
        columns: list[sa.ColumnElement[Any]] = [r.id.label("run_id"), r.configuration_id, *PLACE, a.suite]
        query = sa.select(*columns, (n := sa.func.count().label("n"))).join_from(t.runs, t.answers, a.run_id == r.id)
        query = query.where(r.state == RunState.DONE.value, r.id.not_in(_superseded()))
        query = query.where(in_study(study_id))
        query = query.group_by(r.id, r.configuration_id, *PLACE, r.position, r.number, a.suite)
        frame = self._point_frame(query.order_by(r.position, r.number, a.suite), [*columns, n])
        return frame.drop(columns=_OF_PLACE)

    def score_frame(self, suite: str, figure: str, run_ids: Sequence[str]) -> pd.DataFrame:
        """One row for each answer of ``run_ids`` to ``suite`` that has a score called ``figure``.

        Columns: run_id, configuration_id, item_id, score; in the order of the queue and of the items.
        """
        r, a = t.runs.c, t.answers.c
        score = self._db.dialect.number(a.scores, figure).label("score")
        columns: list[sa.ColumnElement[Any]] = [r.id.label("run_id"), r.configuration_id, *PLACE, a.item_id, score]
        query = sa.select(*columns).join_from(t.runs, t.answers, a.run_id == r.id)
        query = query.where(a.suite == suite, r.id.in_(list(run_ids)), score.is_not(None))
        frame = self._point_frame(query.order_by(r.position, r.number, a.index), columns)
        return frame.drop(columns=_OF_PLACE)

    def measurements(self, run_id: str) -> list[Measurement]:
        """The measurements of a run, in the order in which they were set."""
        query = sa.select(t.measurements).where(t.measurements.c.run_id == run_id).order_by(t.measurements.c.order)
        return [_measurement(row) for row in self._rows(query)]

    def figure_frame(
        self, keys: Sequence[str] | None = None, study_id: str | None = None, state: RunState = RunState.DONE,
        among: pd.DataFrame | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """One row for each measurement of each run in ``state`` that no re-run has replaced.

        Columns: run_id, configuration_id, artifact_id, engine, repeat, disturbed, key, value, low, high, n, method,
        source, valid. ``keys`` None means all; values are in the units of :mod:`trilemma.figures`, NaN where unknown.
        ``among`` is the study's :meth:`run_frame`, if it is known already.
        """
        r, m = t.runs.c, t.measurements.c
        about_run = [r.id.label("run_id"), r.configuration_id, r.artifact_id, r.engine, r.repeat, r.disturbed]
        named = [*about_run, *PLACE]
        runs = sa.select(*named).where(r.state == state.value, r.id.not_in(_superseded()))
        figures = sa.select(m.run_id, m.key, m.value, m.low, m.high, m.n, m.method, m.source, m.valid)
        if keys is not None:
            figures = figures.where(m.key.in_(list(keys)))
        runs = runs.where(in_study(study_id))
        if study_id is not None:
            figures = figures.where(m.run_id.in_(sa.select(r.id).where(in_study(study_id))))
        with self._db.read() as connection:
            # Two narrow results joined here are several times as fast as one wide one.
            if among is None:
                rows = connection.execute(runs.order_by(r.position, r.number)).all()
                left = machine_points(connection).name(_frame(rows, named)).drop(columns=_OF_PLACE)
            else:
                kept = (among["state"] == state.value) & ~among["superseded"].astype(bool)
                left = among.loc[kept, [column.name for column in about_run]]
            right = _frame(connection.execute(figures.order_by(m.key, m.run_id)).all(), figures.selected_columns)
        for name in ("value", "low", "high"):
            right[name] = right[name].astype(float)
        return left.merge(right, on="run_id", how="inner", sort=False)

    def figure_keys(self, study_id: str | None = None) -> list[str]:
        """The keys that any run has a measurement of, sorted; of one study, those that have a value there.

        Without ``study_id``, of what the readings of all studies show, see :func:`in_study`.
        """
        if study_id is not None:
            m = t.measurements.c
            runs = sa.select(t.runs.c.id).where(in_study(study_id), t.runs.c.state == RunState.DONE.value)
            known = sa.select(m.key).where(m.run_id.in_(runs), m.value.is_not(None), m.valid).distinct()
            return [str(row.key) for row in self._rows(known.order_by(m.key))]
        found: list[str] = []
        with self._db.read() as connection:
            # From one key to the next in the primary key: a DISTINCT would read every row.
            while (key := connection.execute(_next_key(found[-1] if found else None)).scalar()) is not None:
                found.append(str(key))
            if connection.execute(sa.select(sa.exists().where(~is_mine(t.runs)))).scalar_one():
                return [key for key in found if connection.execute(_is_shown(key)).scalar_one()] or found
        return found

    def definition_versions(self, study_id: str) -> dict[str, tuple[int, ...]]:
        """By key, the versions of their definitions under which a study's finished runs have stored figures."""
        m = t.measurements.c
        runs = sa.select(t.runs.c.id).where(in_study(study_id), t.runs.c.state == RunState.DONE.value)
        query = sa.select(m.key, m.definition_version).where(m.run_id.in_(runs)).distinct()
        found: dict[str, tuple[int, ...]] = {}
        for row in self._rows(query.order_by(m.key, m.definition_version)):
            found[str(row.key)] = (*found.get(str(row.key), ()), int(row.definition_version))
        return found

    def run_frame(self, study_id: str | None = None) -> pd.DataFrame:
        """One row for each run, in the order of the queue.

        Columns: run_id, state, configuration_id, artifact_id, model, quantization, engine, settings (JSON), adapter_id
        (None without one), profile (the emulated device's name; None for the machine itself), repeat, disturbed,
        finished_at (UTC), rerun_of, superseded (a re-run has replaced it), imported (out of another tool's file),
        engine_version, machine (what it is called; None before one has ended). As in all frames, a configuration on
        another machine or with another version of its engine has an id of its own (:mod:`trilemma.store.points`).
        """
        r = t.runs.c
        columns: list[sa.ColumnElement[Any]] = [
            r.id.label("run_id"),
            r.state,
            r.configuration_id,
            r.artifact_id,
            t.artifacts.c.model,
            t.artifacts.c.quantization,
            r.engine,
            r.settings,
            r.adapter_id,
            r.profile,
            r.repeat,
            r.disturbed,
            r.finished_at,
            r.rerun_of,
            r.id.in_(_superseded()).label("superseded"),
            is_of_tool(t.runs).label("imported"),
            *PLACE,
        ]
        query = sa.select(*columns).outerjoin_from(t.runs, t.artifacts, r.artifact_id == t.artifacts.c.id)
        query = query.where(in_study(study_id))
        import pandas as pd  # noqa: PLC0415

        frame = self._point_frame(query.order_by(r.position, r.number), columns)
        frame["finished_at"] = pd.to_datetime(frame["finished_at"], utc=True)
        for name in ("superseded", "imported"):
            frame[name] = frame[name].astype(bool)
        return frame

    def points_of(self, run_ids: Sequence[str]) -> dict[str, str]:
        """By run the id under which the frames have its configuration; runs that are not there lack."""
        r = t.runs.c
        query = sa.select(r.id, r.configuration_id, *PLACE).where(r.id.in_(list(run_ids)))
        with self._db.read() as connection:
            points = machine_points(connection)
            return {str(run_id): points.of(*place) for run_id, *place in connection.execute(query)}

    def _point_frame(self, query: sa.Select[Any], columns: Sequence[sa.ColumnElement[Any]]) -> pd.DataFrame:
        with self._db.read() as connection:
            return machine_points(connection).name(_frame(connection.execute(query).all(), columns))

    def _rows(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._db.read() as connection:
            return connection.execute(query).all()


def _next_key(after: str | None) -> sa.Select[tuple[str | None]]:
    query = sa.select(sa.func.min(t.measurements.c.key))
    return query if after is None else query.where(t.measurements.c.key > after)


def _is_shown(key: str) -> sa.Select[tuple[bool]]:
    m = t.measurements.c
    return sa.select(sa.exists().where(m.key == key, m.run_id == t.runs.c.id, in_study(None)))


def _superseded() -> sa.Select[tuple[str | None]]:
    """Runs that a finished re-run has replaced."""
    again = t.runs.alias()
    return sa.select(again.c.rerun_of).where(again.c.rerun_of.is_not(None), again.c.state == RunState.DONE.value)


def _frame(rows: Sequence[sa.Row[*tuple[Any, ...]]], columns: Iterable[sa.ColumnElement[Any]]) -> pd.DataFrame:
    import pandas as pd  # noqa: PLC0415

    names = [column.name for column in columns]
    if not rows:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in names})
    return pd.DataFrame(dict(zip(names, zip(*rows, strict=True), strict=True)))


def _measurement(row: sa.Row[Any]) -> Measurement:
    figure, subject, statistic = split_key(row.key)
    return Measurement(
        figure=figure,
        subject=subject,
        statistic=statistic,
        value=row.value,
        low=row.low,
        high=row.high,
        n=row.n,
        provenance=Provenance.model_validate(row.provenance),
        definition_version=row.definition_version,
    )
