"""``/metrics`` for Prometheus: the queue, what the services take of the machine, and the disk that is left.

Everything is read when it is asked for; nothing is kept, and nothing names a model, a study, a user or a path.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from trilemma.errors import StoreError, TrilemmaError
from trilemma.schema import RunState
from trilemma.store import Store


class ServiceCollector(Collector):
    """What ``trilemma serve`` says of itself.

    Args:
        store: Where the queue is.
        folder: The data folder.
        pids: The processes that serve, by name; they may be others each time.
    """

    def __init__(self, store: Store, folder: Path, pids: Callable[[], Mapping[str, int]]) -> None:
        self._store, self._folder, self._pids = store, folder, pids

    def collect(self) -> Iterator[Metric]:
        """All families, read now; without those of the store while it cannot be read."""
        up = GaugeMetricFamily("trilemma_store_up", "Whether the store could be read.")
        try:
            yield from self._queue()
            up.add_metric([], 1)
        except StoreError:
            up.add_metric([], 0)
        yield up
        yield from self._processes()
        free = shutil.disk_usage(self._folder).free
        yield GaugeMetricFamily("trilemma_free_bytes", "Free space where the data folder is.", free)

    def _queue(self) -> Iterator[Metric]:
        counts = self._store.run_counts()
        runs = GaugeMetricFamily("trilemma_runs", "Runs of the user's own studies.", labels=["state"])
        for state in RunState:
            runs.add_metric([state.value], counts.get(state, 0))
        yield runs
        paused = int(self._store.queue_paused())
        yield GaugeMetricFamily("trilemma_queue_paused", "Whether the queue waits for somebody to go on.", paused)
        age = GaugeMetricFamily("trilemma_running_seconds", "Since the run at hand began.")
        now = datetime.now(UTC)
        for run in self._store.runs(states=[RunState.RUNNING], limit=1):
            if run.started_at is not None:
                age.add_metric([], max(0.0, (now - run.started_at).total_seconds()))
        yield age

    def _processes(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("trilemma_service_up", "Whether a service's process lives.", labels=["service"])
        cpu = GaugeMetricFamily("trilemma_service_cpu_seconds", "CPU time of a service's process.", labels=["service"])
        memory = GaugeMetricFamily(
            "trilemma_service_resident_bytes", "Resident memory of a service's process.", labels=["service"]
        )
        for name, pid in self._pids().items():
            try:
                process = psutil.Process(pid)
                times, resident = process.cpu_times(), process.memory_info().rss
            except psutil.Error:
                up.add_metric([name], 0)
                continue
            up.add_metric([name], 1)
            cpu.add_metric([name], times.user + times.system)
            memory.add_metric([name], resident)
        yield from (up, cpu, memory)


@contextmanager
def serving(collector: Collector, host: str, port: int) -> Iterator[int]:
    """Answer ``GET /metrics`` until the block ends, with the port.

    Raises:
        TrilemmaError: the port cannot be had.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise TrilemmaError(
            f"Port {port} on {host} cannot be used for metrics ({error.strerror}).", "Choose another with --metrics."
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
