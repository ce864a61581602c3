"""Runs on the machines of a Ray cluster: each takes a slot of one, and is measured there by an agent.

Which machine that is, is decided here; Ray keeps its slot (a placement group of one bundle) and says when it is gone.
Everything else is as on this machine: the same worker claims runs, watches and cancels them; and what a run recorded
counts only when it has been taken over into the store here, whole, and only for the attempt that the store is at.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from trilemma.jobs.base import Command, Identity
from trilemma.jobs.local import LocalExecutor
from trilemma.jobs.ray_cluster import bundle_of, connect, machines_of
from trilemma.jobs.ray_node import Agent
from trilemma.jobs.ray_run import ANSWER_S, Journey, RayHandle
from trilemma.needs import ANYWHERE, Needs
from trilemma.records import Machine, RunRecord
from trilemma.settings import Settings
from trilemma.store import Store

_PLACE_S = 1.0
"""How long Ray is waited for to keep a slot that is free; it may take longer, and is asked again."""
_LOOK_S = 0.01
_LEFT_OUT_S = 300.0
"""How long a machine gets no runs that did not take one: else it would be given the next at once."""


class RayExecutor:
    """Places runs by what they need. Connects at the first use."""

    name: ClassVar[str] = "ray"
    cluster: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._placing = threading.Lock()
        self._taken: Counter[str] = Counter()
        """Slots that are ours now, by machine."""
        self._asked: dict[tuple[str, frozenset[tuple[str, float]]], Any] = {}
        """Placement groups that Ray has not placed yet, by machine and what they ask of it."""
        self._left_out: dict[tuple[str, str], tuple[float, str]] = {}
        """Until when a machine gets no runs (as ``time.monotonic`` counts) of an engine, or of any (""), and why."""

    def lanes(self) -> int:
        """The slots of all machines.

        Raises:
            RunError: the cluster cannot be reached.
        """
        return sum(machine.slots for machine in self.machines())

    def machines(self) -> tuple[Machine, ...]:
        """Those that are there now, by name.

        Raises:
            RunError: the cluster cannot be reached.
        """
        known = machines_of(connect(self._settings))
        with self._placing:
            return self._by_name(known)

    def leave_out(self, name: str, why: str, engine: str = "") -> None:
        """Give a machine no runs for some minutes; or none of one engine."""
        with self._placing:
            self._left_out[name, engine] = time.monotonic() + _LEFT_OUT_S, why

    def reserve(self, device: str, needs: Needs = ANYWHERE) -> RayReservation | None:
        """A slot of a machine that has what is needed; None while no such slot is free.

        Raises:
            RunError: the cluster cannot be reached.
        """
        ray = connect(self._settings)
        with self._placing:
            known = machines_of(ray)
            fit = [one for one in self._by_name(known) if one.takes(needs) and self._taken[one.name] < one.slots]
            for machine in sorted(fit, key=lambda one: self._taken[one.name] / one.slots):
                if (group := self._place(ray, known, needs, machine)) is not None:
                    self._taken[machine.name] += 1
                    return RayReservation(self, self._settings, ray, group, machine.name, needs)
        return None

    def give_back(self, name: str) -> None:
        """Count a slot of a machine as free again."""
        with self._placing:
            self._taken[name] -= 1

    def clear(self, run_id: str, worker_id: str, process: Identity | None) -> bool:
        """End what a worker without a cluster left on this machine.

        On others nothing is left to end: agents end with the worker that made them, and their runs with them.
        """
        return LocalExecutor(self._settings).clear(run_id, worker_id, process)

    def _by_name(self, known: dict[str, Machine]) -> tuple[Machine, ...]:
        # One that went and came back is there twice until Ray notices.
        found = {machine.name: machine for machine in known.values()}
        self._left_out = {key: one for key, one in self._left_out.items() if one[0] > time.monotonic()}
        return tuple(found[name].model_copy(update=self._shortcomings(name)) for name in sorted(found))

    def _shortcomings(self, name: str) -> dict[str, Any]:
        mine = {engine: why for (one, engine), (_, why) in self._left_out.items() if one == name}
        return {"refuses": mine.pop("", ""), "lacks": mine}

    def _place(self, ray: Any, known: dict[str, Machine], needs: Needs, machine: Machine) -> Any | None:
        """The placement group of one slot of ``machine``, or None while Ray has not placed it.

        It is asked for again then, and not removed: Ray loses the slot of a group that is removed while it is placed.
        """
        from ray.util import placement_group, placement_group_table, remove_placement_group  # noqa: PLC0415

        bundle = bundle_of(needs, machine)
        wanted = machine.name, frozenset(bundle.items())
        for other in [one for one in self._asked if one[0] == machine.name and one != wanted]:
            if self._asked[other].wait(_LOOK_S):  # it holds a slot, and who wanted that may want it no more
                remove_placement_group(self._asked.pop(other))
        if wanted not in self._asked:
            self._asked[wanted] = placement_group([bundle])
        if not self._asked[wanted].wait(_PLACE_S):
            return None
        group = self._asked.pop(wanted)
        if placement_group_table(group)["bundles_to_node_id"][0] in known:
            return group
        remove_placement_group(group)
        return None


class RayReservation:
    """A slot of a machine."""

    def __init__(
        self, executor: RayExecutor, settings: Settings, ray: Any, group: Any, machine: str, needs: Needs
    ) -> None:
        self._executor = executor
        self._settings = settings
        self._ray = ray
        self._group = group
        self._needs = needs
        self._agent: Any = None
        self.machine = machine

    def start(self, run: RunRecord, store: Store, worker_id: str, command: Command, log: Path) -> RayHandle:
        """Send an agent to the machine; bringing the run there goes on while it is polled."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy  # noqa: PLC0415

        placed = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=0)
        options = {"num_cpus": self._needs.cpus, "num_gpus": self._needs.gpus, "scheduling_strategy": placed}
        self._agent = self._ray.remote(Agent).options(max_concurrency=8, max_restarts=0, **options).remote()
        journey = Journey(self._settings, self._ray, self._agent, run, store)
        return RayHandle(journey, self.machine, worker_id, command, log, self._executor.leave_out)

    def release(self) -> None:
        """Dismiss the agent, and give the slot back."""
        from ray.util import remove_placement_group  # noqa: PLC0415

        # What goes wrong here goes wrong on a machine that is gone, or at the end of a worker that goes.
        with suppress(Exception):
            if self._agent is not None:
                with suppress(Exception):
                    self._ray.get(self._agent.close.remote(), timeout=ANSWER_S)
                self._ray.kill(self._agent)
        with suppress(Exception):
            remove_placement_group(self._group)
        self._executor.give_back(self.machine)
