"""Which machine of a cluster gets a run, and when none is left that would; without a cluster."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support import add_runs

from trilemma.jobs import crew, ray_cluster, ray_executor
from trilemma.jobs.base import Executor
from trilemma.jobs.ray_cluster import bundle_of
from trilemma.jobs.ray_executor import RayExecutor
from trilemma.needs import ANYWHERE, EngineNeeds, Needs
from trilemma.records import Machine
from trilemma.schema import RunState
from trilemma.settings import Settings
from trilemma.store import Store


def node(name: str, address: str, **more: float) -> dict[str, Any]:
    resources = {ray_cluster.SLOT: 1.0, f"trilemma_machine_{name}": 1.0, f"node:{address}": 1.0, "CPU": 4.0} | more
    return {"NodeID": f"{name} {address} {more}", "Alive": True, "NodeManagerAddress": address, "Resources": resources}


class Nodes:
    """A cluster of nodes; what is asked of it is given."""

    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.found = nodes
        self.exceptions = SimpleNamespace(RayError=ConnectionError)

    def nodes(self) -> Any:
        return self.found


class Placing(RayExecutor):
    """As if Ray gave what it is asked for."""

    def __init__(self, settings: Settings, *nodes: dict[str, Any]) -> None:
        super().__init__(settings)
        self.cluster_of = Nodes(*nodes)

    def _place(self, ray: Any, known: Any, needs: Needs, machine: Machine) -> Any:
        return bundle_of(needs, machine)

    def took(self, needs: Needs = ANYWHERE) -> str:
        reservation = self.reserve("local", needs)
        return "" if reservation is None else reservation.machine


@pytest.fixture
def placing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Placing]:
    made: list[Placing] = []
    monkeypatch.setattr(ray_executor, "connect", lambda _: made[0].cluster_of)

    def make(*nodes: dict[str, Any]) -> Placing:
        made.append(Placing(settings, *nodes))
        return made[0]

    return make


def test_a_machine_that_is_left_out_gets_no_runs_for_a_while(
    placing: Callable[..., Placing], monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = placing(node("north", "10.0.0.1"), node("south", "10.0.0.2"))
    executor.leave_out("north", "Its disk is full.")
    assert [machine.refuses for machine in executor.machines()] == ["Its disk is full.", ""]
    assert executor.machines()[0].remarks == ("It gets no runs for some minutes. Its disk is full.",)
    assert executor.took(Needs(machine="north")) == "", "who needs that one waits"
    assert executor.took() == "south"
    assert executor.took() == "", "its slot is taken"
    monkeypatch.setattr(ray_executor, "_LEFT_OUT_S", -1.0)
    executor.leave_out("north", "Its disk is full.")
    assert executor.took() == "north"
    executor.give_back("south")
    assert executor.took() == "south"


class Group:
    """A placement group that Ray places some time."""

    def __init__(self, bundles: list[dict[str, float]]) -> None:
        self.bundles, self.placed, self.removed = bundles, False, False

    def wait(self, timeout_s: float) -> bool:
        return self.placed


def test_a_slot_that_is_not_there_at_once_is_waited_for_and_not_asked_for_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray loses the slot of a placement group that is removed while it is being placed."""
    groups: list[Group] = []
    first = node("north", "10.0.0.1")
    util = SimpleNamespace(
        placement_group=lambda bundles: groups.append(Group(bundles)) or groups[-1],
        placement_group_table=lambda group: {"bundles_to_node_id": {0: first["NodeID"]}},
        remove_placement_group=lambda group: setattr(group, "removed", True),
    )
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(util=util))
    monkeypatch.setitem(sys.modules, "ray.util", util)
    monkeypatch.setattr(ray_executor, "connect", lambda _: Nodes(first))
    executor = RayExecutor(settings)
    assert [executor.reserve("local"), executor.reserve("local")] == [None, None]
    assert [(len(group.bundles), group.removed) for group in groups] == [(1, False)]
    assert executor.reserve("local", Needs(cpus=2)) is None, "other needs, another group"
    groups[0].placed = True
    assert executor.reserve("local", Needs(cpus=2)) is None
    assert [group.removed for group in groups] == [True, False], "the slot that nobody took goes back"
    groups[1].placed = True
    reservation = executor.reserve("local", Needs(cpus=2))
    assert reservation is not None
    assert (reservation.machine, len(groups)) == ("north", 2)


def test_a_machine_without_an_engine_gets_runs_of_others(placing: Callable[..., Placing]) -> None:
    executor = placing(node("north", "10.0.0.1"))
    executor.leave_out("north", "It has no vLLM.", "vllm")
    assert executor.machines()[0].remarks == ("It gets no runs of vllm for some minutes. It has no vLLM.",)
    assert executor.took(EngineNeeds(engine="vllm")) == ""
    assert executor.took() == "north"


def test_of_two_machines_that_are_called_alike_only_one_gets_runs(placing: Callable[..., Placing]) -> None:
    """Their repeats would be averaged; a cloned card gives two boards one host name, and one machine-id."""
    executor = placing(node("edge", "10.0.0.5"), node("edge", "10.0.0.7"), node("big", "10.0.0.6"))
    big, edge = executor.machines()
    assert (edge.address, edge.namesakes, big.namesakes) == ("10.0.0.5", ("10.0.0.7",), ())
    assert "2 machines call themselves edge" in edge.remarks[0]
    assert bundle_of(ANYWHERE, edge)["node:10.0.0.5"] > 0, "Ray is told which of them"
    assert [executor.took(Needs(machine="edge")) for _ in range(2)] == ["edge", ""]


def test_one_that_went_and_came_back_is_no_other(placing: Callable[..., Placing]) -> None:
    executor = placing(node("edge", "10.0.0.5"), node("edge", "10.0.0.5", GPU=1.0))
    (edge,) = executor.machines()
    assert edge.remarks == ()


def test_slots_are_spread_over_the_machines(placing: Callable[..., Placing]) -> None:
    executor = placing(
        node("north", "10.0.0.1", **{ray_cluster.SLOT: 2.0}), node("south", "10.0.0.2", **{ray_cluster.SLOT: 2.0})
    )
    assert [executor.took() for _ in range(5)] == ["north", "south", "north", "south", ""]


@pytest.mark.parametrize(
    ("machine", "needs", "says"),
    [
        (Machine(name="north"), Needs(machine="nrth"), "machine nrth"),
        (Machine(name="north", gpus=1, gpu_type="A100"), Needs(gpus=1, gpu_type="A100X"), "1 A100X GPU"),
        (Machine(name="north", refuses="Its disk is full."), ANYWHERE, "any machine"),
    ],
)
def test_drained_is_a_queue_of_what_no_machine_takes(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    machine: Machine, needs: Needs, says: str,
) -> None:  # fmt: skip
    (left,) = add_runs(store, 1, needs=needs)
    cluster = SimpleNamespace(cluster=True, lanes=lambda: 0, machines=lambda: (machine,))
    monkeypatch.setattr(crew.registry, "load", lambda group, name: lambda settings: cast(Executor, cluster))
    thread = threading.Thread(
        target=crew.work, args=(store, settings, stop := threading.Event()), kwargs={"drain": True}
    )
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), stop.set()
    assert store.run(left).state is RunState.WAITING
    assert f"Runs are left that need what no machine has that takes runs now: {says}" in caplog.text
    assert machine.refuses in caplog.text
