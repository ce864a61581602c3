"""A ground of several machines: a Ray cluster on this one, whose nodes vanish with what they measure, and return."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults_engine import NAME
from benchmarks.faults_ground_tools import Ground
from benchmarks.faults_tools import Fault, add_runs, place_of
from tests.jobs.cluster import Cluster
from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.records import RunRecord
from trilemma.schema import RunState
from trilemma.store import Store

NODES = ("east", "west")
_MODEL = endpoint_artifact("http://127.0.0.1:9/v1", "stand-in")
"""Nothing is brought to a node for it; its engine is there, and the stand-in asks neither anything."""
_AWAY_S = (1.0, 9.0)
"""Shorter and longer than it takes until a node is missed."""
CUT_OFF_S = {"node cut off for a while": (3.0, 20.0), "node cut off for long": (75.0, 80.0)}
"""By kind of fault: shorter than a machine may be silent, and longer."""
_TURNED_AWAY_S = 15.0
"""In which a node that the cluster has given up notices that."""
_WAIT_S = 180.0


@contextmanager
def cluster_of(folder: Path) -> Iterator[Cluster]:
    """A head that measures nothing and :data:`NODES` that do, one run at a time each."""
    cluster = Cluster(folder)
    try:
        cluster.start("head", head=True, slots=0)
        for name in NODES:
            cluster.start(name)
        yield cluster
    finally:
        cluster.end()


def queue_anywhere(store: Store, number: int) -> object:
    """Queue runs of the stand-in that any node can have."""
    store.add_artifact(_MODEL)
    return add_runs(store, 3, f"study {number}", _MODEL.id, NAME)


@dataclass
class ClusterGround(Ground):
    """Whose runs are measured on the nodes of a cluster; the store and the worker are here."""

    cluster: Cluster = field(kw_only=True)

    def vanish(self, kind: str, *, measuring: bool) -> Fault:
        """A node vanishes at once, as by a power cut, and is started again some seconds later under the same name.

        Args:
            kind: What the fault is called.
            measuring: While it has a run; otherwise while no node has one, and the next runs begin before it is missed.
        """
        run = self._measured_now() if measuring else None
        if run is None:
            self._pause()
        name = run.machine if run is not None else self.random.choice(NODES)
        self.cluster.nodes[name].kill()
        away_s = self.random.uniform(*_AWAY_S)
        fault = Fault(kind, f"{place_of(run)}; {name} is away for {away_s:.1f} s")
        if run is not None:
            fault.run, fault.attempt = run.id, run.attempt
        else:
            fault.next = self.next_waiting()
        self.faults.append(fault)
        if run is None:
            self.ask(lambda store: store.resume_queue())
        time.sleep(away_s)
        self.cluster.start(name)
        return fault

    def cut_off(self, kind: str) -> Fault:
        """Nothing is heard of a node for a while, and it measures on; then it is there again.

        One that was given up meanwhile is turned away by the cluster, and started again.

        Raises:
            AssertionError: it was not missed, however long it was away.
        """
        run = self._measured_now()
        node, away_s = self.cluster.nodes[run.machine], self.random.uniform(*CUT_OFF_S[kind])
        fault = Fault(
            kind, f"{place_of(run)}; nothing is heard of {run.machine} for {away_s:.1f} s", run.id, run.attempt
        )
        self.faults.append(fault)
        with node.cut_off():
            time.sleep(away_s)
        deadline = time.monotonic() + _TURNED_AWAY_S
        while node.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        if node.process.poll() is not None:
            node.kill()
            self.cluster.start(node.name)
        elif away_s > CUT_OFF_S["node cut off for a while"][1]:
            raise AssertionError(f"{node.name} was not missed\n{self.log_end()}\n{self.cluster.logs()}")
        return fault

    def _measured_now(self) -> RunRecord:
        """A run on a node, at a random moment of it.

        Raises:
            AssertionError: there is none for minutes.
        """
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            self.tend()
            begun = [run for run in self._running() if run.started_at is not None]
            if begun:
                run = self.random.choice(begun)
                time.sleep(self.random.uniform(0, self.spread_s))
                now = self._run(run.id)
                if now.state is RunState.RUNNING and (now.attempt, now.machine) == (run.attempt, run.machine):
                    return now
            time.sleep(0.05)
        raise AssertionError(f"no run to hit\n{self.log_end()}\n{self.cluster.logs()}")

    def _run(self, run_id: str) -> RunRecord:
        return self.ask(lambda store: store.run(run_id))

    def _pause(self) -> None:
        """Pause the queue, and wait until nothing is measured.

        Raises:
            AssertionError: something is for minutes.
        """
        self.tend()
        self.ask(lambda store: store.pause_queue())
        deadline = time.monotonic() + _WAIT_S
        while self._running():
            assert time.monotonic() < deadline, f"the runs do not end\n{self.log_end()}\n{self.cluster.logs()}"
            time.sleep(0.1)

    def _running(self) -> list[RunRecord]:
        return self.ask(lambda store: store.runs(states=[RunState.RUNNING]))

    def noted(self, name: str) -> list[str]:
        """On all nodes."""
        files = [node.notes / name for node in self.cluster.nodes.values()]
        return [line for file in files if file.exists() for line in file.read_text().split()]

    def finished(self) -> set[str]:
        """But for those that a node took with it: it tells the store of them later than it has them itself."""
        return super().finished() - {fault.run for fault in self.faults}

    def strays(self) -> list[str]:
        """On all nodes; there each run has a data folder of its own."""
        notes = {str(node.notes) for node in self.cluster.nodes.values()}
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                if environment.get("STAND_IN_NOTES") in notes and "TRILEMMA_RUN_ID" in environment:
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
        return found
