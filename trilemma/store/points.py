"""Which runs are repeats of one another: those of one configuration on one machine.

A configuration that several machines have measured is several points, each under an id of its own. The machine that
measured it first leaves the configuration's id as it is, so that addresses and votes go on to mean what they meant; on
another it is ``<configuration>.<machine>``. What came in a file is counted by itself, as it is shown.
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

if TYPE_CHECKING:
    import pandas as pd

_ID_DIGITS = 8

PLACE: Sequence[sa.ColumnElement[str]] = (t.runs.c.host_id, t.runs.c.device)
"""The columns by which :meth:`MachinePoints.name` knows where a run was measured."""


@dataclass(frozen=True)
class MachinePoints:
    """The machines behind a store's hosts, and the ids of points that are not their configuration's."""

    labels: Mapping[str, str]
    """By host: what its machine is called; of a machine on which no run has ended there is none."""
    ids: Mapping[tuple[str, str, str], str]
    """By configuration, host and origin, see :func:`_origin`."""

    def of(self, configuration_id: str, host_id: str | None, device: str) -> str:
        """The id of a run's point."""
        return self.ids.get((configuration_id, host_id or "", _origin(device)), configuration_id)

    def name(self, frame: pd.DataFrame) -> pd.DataFrame:
        """``frame`` with the ids of points for those of configurations, and machine in place of :data:`PLACE`."""
        hosts = frame["host_id"]
        if self.ids:
            places = zip(frame["configuration_id"], hosts, frame["device"], strict=True)
            frame["configuration_id"] = [self.of(*place) for place in places]
        frame["machine"] = hosts.map(self.labels).astype(object).where(lambda column: column.notna(), None)
        return frame.drop(columns=["host_id", "device"])


def machine_points(connection: Connection) -> MachinePoints:
    """Those of all runs in the store."""
    hosts = {key: HostInfo.model_validate(document) for key, document in connection.execute(sa.select(t.hosts))}
    machines = {key: machine_of(host) for key, host in hosts.items()}
    if len(set(machines.values())) < 2:
        labels = _labels({machines[key]: host for key, host in hosts.items()})
        return MachinePoints({key: labels[machine] for key, machine in machines.items()}, {})
    r = t.runs.c
    earliest = (sa.func.min(r.finished_at).label("earliest"), sa.func.min(r.number).label("number"))
    ended = sa.select(r.configuration_id, r.host_id, r.device, *earliest)
    # What begins is first known by less than at its end, when its GPUs are.
    ended = ended.where(r.host_id.is_not(None), r.state.in_([state.value for state in RunState if state.final]))
    rows = connection.execute(
        ended.group_by(r.configuration_id, r.host_id, r.device).order_by("earliest", "number")
    ).all()
    labels = _labels({machines[row.host_id]: hosts[row.host_id] for row in rows})
    first: dict[tuple[str, str], str] = {}
    ids: dict[tuple[str, str, str], str] = {}
    for row in rows:
        machine, origin = machines[row.host_id], _origin(row.device)
        if machine != first.setdefault((row.configuration_id, origin), machine):
            ids[row.configuration_id, row.host_id, origin] = f"{row.configuration_id}.{machine}"
    return MachinePoints({key: labels[machine] for key, machine in machines.items() if machine in labels}, ids)


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
