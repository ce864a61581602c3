"""A Ray cluster on this machine, joined with the documented command, whose nodes can be killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from trilemma.jobs.processes import RUN_VARIABLE

WORK = Path(__file__).with_name("work.py")
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "8",
}
"""A lost node is found in seconds instead of half a minute."""
_STARTS = 3


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Node:
    """A machine of the cluster: `trilemma node` and all that it started."""

    name: str
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def notes(self) -> Path:
        """Where the stand-ins on it leave their notes."""
        return self.folder / "notes"

    def settled(self) -> bool:
        """Whether it is part of the cluster, or has given up."""
        return "Ray runtime started" in (self.folder / "node.log").read_text() or self.process.poll() is not None

    def kill(self) -> None:
        """As a power cut would: everything at once, and nothing asked."""
        for process in self._family():
            with suppress(psutil.Error):
                process.kill()
        self.process.wait(10)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """As a network that fails would: nothing of it is heard any more, and what it measures goes on."""
        silent = []
        for process in self._family():
            with suppress(psutil.Error):
                if RUN_VARIABLE not in process.environ():
                    process.suspend()
                    silent.append(process)
        try:
            yield
        finally:
            for process in silent:
                with suppress(psutil.Error):
                    process.resume()

    def _family(self) -> list[psutil.Process]:
        """Its processes; those that measure lead sessions of their own, but are still descendants."""
        with suppress(psutil.Error):
            process = psutil.Process(self.process.pid)
            return [*process.children(recursive=True), process]
        return []

    def end(self) -> None:
        """In order, as by ctrl-C; what does not end is killed."""
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        self.kill()


@dataclass
class Cluster:
    """Nodes by name; each has a folder of its own in ``folder``."""

    folder: Path
    port: int = field(default_factory=free_port)
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def store_url(self) -> str:
        """The store of a worker on the head."""
        return f"sqlite:///{self.folder / 'head' / 'trilemma.db'}"

    def start(self, name: str, *, head: bool = False, slots: int = 1) -> None:
        """Start a node and wait until it is part of the cluster.

        One after the other: Ray looks for free ports and takes them later, so two that start at once on one machine
        can choose the same. A node that gives up is started again, as a service manager would.
        """
        for _ in range(_STARTS):
            self._start(name, head, slots)
            until(self.nodes[name].settled, 180, self.logs)
            if self.nodes[name].process.poll() is None:
                return
        raise AssertionError(f"{name} does not start\n{self.logs()}")

    def end(self) -> None:
        """End all nodes, the head last."""
        for node in reversed(self.nodes.values()):
            node.end()

    def _start(self, name: str, head: bool, slots: int) -> None:
        folder = self.folder / name
        (folder / "notes").mkdir(parents=True, exist_ok=True)
        where = ["--head", "--port", str(self.port)] if head else ["--address", f"127.0.0.1:{self.port}"]
        environment = self.environment(folder) | {"STAND_IN_NOTES": str(folder / "notes")} | QUICK
        with (folder / "node.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "trilemma", "node", *where, "--name", name, "--slots", str(slots),
                 "--num-cpus=2", "--object-store-memory=100000000"],
                cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.nodes[name] = Node(name, folder, process)

    def environment(self, home: Path) -> dict[str, str]:
        """What a process of the cluster runs with."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRILEMMA_", "RAY_"))}
        return kept | {
            "TRILEMMA_HOME": str(home),
            "TRILEMMA_ARTIFACTS_URL": str(self.folder / "share"),
            "TRILEMMA_RAY_TOKEN_FILE": str(self.folder / "ray-token"),
        }

    def worker_environment(self, home: Path) -> dict[str, str]:
        """What a worker runs with that has its store in ``home``."""
        return self.environment(home) | {"TRILEMMA_RAY_ADDRESS": f"127.0.0.1:{self.port}"}

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        """Where the artifact's relative path leads to the weights; on the nodes it leads nowhere."""
        home = self.folder / "head"
        environment = self.worker_environment(home)
        with (home / "worker.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(WORK), *options], cwd=home, env=environment, stdout=log, stderr=log
            )

    def logs(self) -> str:
        """What the worker and the nodes said last."""
        files = [self.folder / "head" / "worker.log", *(node.folder / "node.log" for node in self.nodes.values())]
        return "\n".join(f"== {file}\n{file.read_text()[-3000:]}" for file in files if file.exists())


def until(condition: Callable[[], object], timeout_s: float, explain: Callable[[], str] = str) -> None:
    """Wait until ``condition`` holds.

    Raises:
        AssertionError: it does not come true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it never came true\n{explain()}"
        time.sleep(0.05)
