"""What Prometheus is told: read with its own parser, over HTTP."""

from __future__ import annotations

import os
import socket
import urllib.request
from pathlib import Path

import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from tests.factory import DEMO, fill_store
from trilemma.errors import TrilemmaError
from trilemma.metrics import ServiceCollector, serving
from trilemma.schema import RunState
from trilemma.store import Store


def scraped(port: int) -> dict[tuple[str, str], float]:
    """Every sample by its name and its one label."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(one.name, "".join(one.labels.values())): one.value for family in families for one in family.samples}


def test_queue_processes_and_disk_are_told(store: Store, home: Path) -> None:
    fill_store(store, DEMO[:2], 2, detail=False)
    store.pause_queue()
    pids = {"dashboard": os.getpid(), "worker": 2**22 + 1}  # above the largest process id
    with serving(ServiceCollector(store, home, lambda: pids), "127.0.0.1", 0) as port:
        found = scraped(port)
        store.resume_queue()
        again = scraped(port)
    counts = store.run_counts()
    assert counts == {RunState.DONE: 4}
    assert {state: found["trilemma_runs", state.value] for state in RunState} == {
        state: counts.get(state, 0) for state in RunState
    }
    assert found["trilemma_store_up", ""] == 1
    assert (found["trilemma_queue_paused", ""], again["trilemma_queue_paused", ""]) == (1, 0)
    assert found["trilemma_service_up", "dashboard"] == 1
    assert found["trilemma_service_up", "worker"] == 0
    assert found["trilemma_service_resident_bytes", "dashboard"] > 2**20
    assert found["trilemma_service_cpu_seconds", "dashboard"] > 0
    assert ("trilemma_service_cpu_seconds", "worker") not in found
    assert found["trilemma_free_bytes", ""] > 0


def test_a_store_that_cannot_be_read_is_told(store: Store, home: Path) -> None:
    with store._db.write() as connection:
        connection.execute(sa.text("alter table runs rename to elsewhere"))
    with serving(ServiceCollector(store, home, dict), "127.0.0.1", 0) as port:
        found = scraped(port)
    assert found["trilemma_store_up", ""] == 0
    assert found["trilemma_free_bytes", ""] > 0


def test_a_port_in_use_is_refused(store: Store, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(TrilemmaError, match="cannot be used for metrics"),
            serving(ServiceCollector(store, home, dict), "127.0.0.1", taken.getsockname()[1]),
        ):
            pass
