"""The machines of a cluster, and which of them each waiting run may go to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.errors import NotFoundError
from trilemma.needs import ANYWHERE, EngineNeeds, Needs, engine_of
from trilemma.records import Machine
from trilemma.schema import RunState, utc_now
from trilemma.settings import get_settings
from trilemma.store import tables as t
from trilemma.store.base import StoreBase

FRESH = timedelta(minutes=1)
"""What was last seen longer ago is taken for gone."""


class MachineStore(StoreBase):
    """What the worker of a cluster last saw of its machines.

    A cluster works through the queue of one device, which :attr:`~trilemma.settings.Settings.device` names where nobody
    says another: other machines that share the database may have clusters of their own.
    """

    def see_machines(self, machines: Sequence[Machine], device: str | None = None) -> None:
        """State which machines there are now; one that is missing is kept as not alive."""
        device, m = device or get_settings().device, t.machines.c
        rows = [
            {"device": device, "name": one.name, "seen_at": one.seen_at, "alive": one.alive,
             "document": one.model_dump(mode="json")}
            for one in machines
        ]  # fmt: skip
        with self._db.write() as connection:
            named = m.name.in_([row["name"] for row in rows])
            connection.execute(sa.delete(t.machines).where(m.device == device, named))
            connection.execute(sa.update(t.machines).where(m.device == device).values(alive=False))
            if rows:
                connection.execute(sa.insert(t.machines), rows)

    def machines(self, device: str | None = None) -> list[Machine]:
        """All machines that were ever seen, by name; those not seen for a minute are not alive."""
        query = sa.select(t.machines).where(t.machines.c.device == (device or get_settings().device))
        with self._db.read() as connection:
            rows = connection.execute(query.order_by(t.machines.c.name)).all()
        since = utc_now() - FRESH
        return [
            Machine.model_validate(row.document | {"alive": bool(row.alive) and row.seen_at >= since}) for row in rows
        ]

    def forget_machine(self, name: str, device: str | None = None) -> None:
        """Take a machine off the list; one that is there is listed again.

        Raises:
            NotFoundError: it is not on the list.
        """
        mine = sa.and_(t.machines.c.device == (device or get_settings().device), t.machines.c.name == name)
        with self._db.write() as connection:
            if connection.execute(sa.delete(t.machines).where(mine)).rowcount == 0:
                raise NotFoundError(f"No machine is called {name!r}.", "`trilemma machines` lists them.")


def waiting(connection: Connection, device: str, limit: int | None = None) -> list[tuple[str, Needs]]:
    """The waiting runs of ``device`` in the order of the queue, the first ``limit``, and what each needs.

    A run that asks for no machine, but whose configuration another run of its study is or was measured with on one that
    is there, needs that machine. One of an engine that a machine was found to lack needs that engine.
    """
    query = (
        sa.select(t.runs.c.id, t.runs.c.needs, t.runs.c.engine, t.runs.c.engine_version)
        .where(t.runs.c.state == RunState.WAITING.value, t.runs.c.device == device)
        .order_by(t.runs.c.position, t.runs.c.number)
    )
    rows = connection.execute(query.limit(limit)).all()
    known = {text: Needs.model_validate_json(text) if text else ANYWHERE for text in {row.needs for row in rows}}
    there = _there(connection, device) if rows else []
    homes = _homes(connection, device, [one.name for one in there]) if there else {}
    lacked = {engine for one in there for engine in one.lacks}
    found = []
    for run_id, text, *engine in rows:
        needs = known[text]
        if not needs.machine and (home := homes.get(run_id)):
            needs = needs.model_copy(update={"machine": home})
        if lacked and (asked := engine_of(*engine)) in lacked:
            needs = EngineNeeds(**needs.model_dump(), engine=asked)
        found.append((run_id, needs))
    return found


def _there(connection: Connection, device: str) -> list[Machine]:
    m = t.machines.c
    seen = sa.and_(m.device == device, m.alive.is_(True), m.seen_at >= utc_now() - FRESH)
    documents = connection.execute(sa.select(m.document).where(seen)).scalars()
    return [Machine.model_validate(document) for document in documents]


def _homes(connection: Connection, device: str, there: Sequence[str]) -> dict[str, str]:
    """By waiting run the machine that had the first of the other runs of its configuration in one of its studies."""
    r, mine, its, other = t.runs, t.study_runs.alias(), t.study_runs.alias(), t.runs.alias()
    query = (
        sa.select(r.c.id, other.c.machine)
        .join_from(r, mine, mine.c.run_id == r.c.id)
        .join(its, its.c.study_id == mine.c.study_id)
        .join(other, sa.and_(other.c.id == its.c.run_id, other.c.configuration_id == r.c.configuration_id))
        .where(r.c.state == RunState.WAITING.value, r.c.device == device, other.c.machine.in_(there))
        .where(other.c.state.in_([RunState.RUNNING.value, RunState.DONE.value]))
        # Of several the last row counts: that which began first. One that has not begun yet has no time of it.
        .order_by(other.c.started_at.is_(None).desc(), other.c.started_at.desc(), other.c.number.desc())
    )
    return {str(run_id): str(machine) for run_id, machine in connection.execute(query)}
