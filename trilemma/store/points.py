"""Which runs are repeats of one another: those of one configuration on one machine, with one version of the engine.

A configuration that several machines or versions have measured is several points, each under an id of its own. What
measured it first leaves the configuration's id as it is, so that addresses and votes go on to mean what they meant; on
another machine it is ``<configuration>.<machine>``, and with a further version a hash of both stands in its place.
What came in a file is counted by itself, as it is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.records import HostInfo, is_foreign
from trilemma.schema import RunState, content_id
from trilemma.store import tables as t
from trilemma.store.studies import is_of_tool

if TYPE_CHECKING:
    import pandas as pd

_ID_DIGITS = 8

PLACE: Sequence[sa.ColumnElement[str]] = (t.runs.c.host_id, t.runs.c.engine_version, t.runs.c.device)
"""The columns by which :meth:`MachinePoints.name` knows where and with what a run was measured."""


@dataclass(frozen=True)
class MachinePoints:
    """The machines behind a store's hosts, and the ids of points that are not their configuration's."""

    labels: Mapping[str, str]
    """By host: what its machine is called; of a machine on which no run has ended there is none."""
    ids: Mapping[tuple[str, str, str, str], str]
    """By configuration, host, version of the engine, and origin, see :func:`_origin`."""

    def of(self, configuration_id: str, host_id: str | None, version: str, device: str) -> str:
        """The id of a run's point."""
        return self.ids.get((configuration_id, host_id or "", version, _origin(device)), configuration_id)

    def name(self, frame: pd.DataFrame) -> pd.DataFrame:
        """``frame`` with the ids of points for those of configurations, and machine and engine_version for
        :data:`PLACE`."""
        hosts = frame["host_id"]
        if self.ids:
            places = zip(frame["configuration_id"], *(frame[column.name] for column in PLACE), strict=True)
            frame["configuration_id"] = [self.of(*place) for place in places]
        frame["machine"] = hosts.map(self.labels).astype(object).where(lambda column: column.notna(), None)
        return frame.drop(columns=["host_id", "device"])


def machine_points(connection: Connection) -> MachinePoints:
    """Those of all runs in the store."""
    hosts = {key: HostInfo.model_validate(document) for key, document in connection.execute(sa.select(t.hosts))}
    machines = {key: machine_of(host) for key, host in hosts.items()}
    if len(set(machines.values())) < 2 and not _several_versions(connection):
        labels = _labels({machines[key]: host for key, host in hosts.items()})
        return MachinePoints({key: labels[machine] for key, machine in machines.items()}, {})
    r = t.runs.c
    earliest = (sa.func.min(r.finished_at).label("earliest"), sa.func.min(r.number).label("number"))
    ended = sa.select(r.configuration_id, *PLACE, *earliest)
    # What begins is first known by less than at its end, when its GPUs are: so is what fails before it has measured.
    # Another tool's file tells of no host.
    known = sa.or_(r.host_id.is_not(None), is_of_tool(t.runs))
    ended = ended.where(known, r.state.in_([RunState.DONE.value, RunState.DOES_NOT_FIT.value]))
    rows = connection.execute(ended.group_by(r.configuration_id, *PLACE).order_by("earliest", "number")).all()
    labels = _labels({machines[row.host_id]: hosts[row.host_id] for row in rows if row.host_id is not None})
    first: dict[tuple[str, ...], tuple[str, str]] = {}
    ids: dict[tuple[str, str, str, str], str] = {}
    for row in rows:
        machine, origin = machines.get(row.host_id, ""), _origin(row.device)
        place = machine, row.engine_version
        alone = first.setdefault((row.configuration_id, origin), place)
        on_machine = first.setdefault((row.configuration_id, origin, machine), place)
        if place != alone:
            suffix = machine if machine != alone[0] and place == on_machine else content_id(place, _ID_DIGITS)
            run = row.configuration_id, row.host_id or "", row.engine_version, origin
            ids[run] = f"{row.configuration_id}.{suffix}"
    return MachinePoints({key: labels[machine] for key, machine in machines.items() if machine in labels}, ids)


def _several_versions(connection: Connection) -> bool:
    """Whether any engine has measured with more than one version of it."""
    r = t.runs.c
    engines = sa.select(r.engine).group_by(r.engine).having(sa.func.count(r.engine_version.distinct()) > 1)
    return connection.execute(engines.limit(1)).first() is not None


def _origin(device: str) -> str:
    """What is never shown together with anything else: a file's runs under their device, else the user's own."""
    return device if is_foreign(device) else ""


def machine_of(host: HostInfo) -> str:
    """A hash of what makes it another machine: itself, its CPU, and its GPUs with their driver."""
    return content_id([host.id, host.name, host.cpu, host.cores, list(host.gpus), host.gpu_driver], _ID_DIGITS)


def _labels(machines: Mapping[str, HostInfo]) -> dict[str, str]:
    """What each is called: its name, or what it has; and more of it where two would be called alike."""
    spellings: list[Callable[[HostInfo, str], str]] = [
        lambda host, _: host.name or ", ".join([host.cpu or host.machine, *host.gpus]),
        lambda host, _: f"{host.cores} CPUs",
        lambda host, _: f"driver {host.gpu_driver}" if host.gpu_driver else "",
        lambda _, key: key,
    ]
    labels = dict.fromkeys(machines, "")
    for spelling in spellings:
        counts = Counter(labels.values())
        more = {key: spelling(machines[key], key) for key, label in labels.items() if not label or counts[label] > 1}
        labels |= {key: ", ".join(filter(None, [labels[key], text])) for key, text in more.items()}
    return labels
