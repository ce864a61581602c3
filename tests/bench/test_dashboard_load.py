"""A dashboard that is busy while something is measured: the run says so, and by how much."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.bench.test_run import bench, queue_run
from trilemma.catalog.catalog import Catalog
from trilemma.schema import Phase, RunState, WorkloadSpec
from trilemma.settings import Settings
from trilemma.store import Store

pytestmark = pytest.mark.llama

BUSY = """
import sys
from pathlib import Path
from trilemma.meters.dashboards import announce
announce(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    pass
"""


@pytest.fixture
def busy_dashboard(settings: Settings) -> Iterator[int]:
    """Its process id; it takes all that it can of one core."""
    command = [sys.executable, "-c", BUSY, str(settings.dashboards_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def test_a_busy_dashboard_is_named_where_the_run_is_flagged(
    store: Store, settings: Settings, smollm2_path: Path, busy_dashboard: int
) -> None:
    artifact = Catalog(store, settings).add_path(smollm2_path)
    chat = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=32, requests=4)
    run = queue_run(store, artifact, workloads=(chat,))
    assert bench(run.id).wait(180) == 0
    done = store.run(run.id)
    assert done.state is RunState.DONE, done.reason + done.log_tail
    assert done.disturbed
    assert any("Trilemma's own dashboard" in why for why in done.disturbances), done.disturbances
    (speed,) = (window for window in store.phases(run.id) if window.phase is Phase.SPEED)
    assert speed.end_ns is not None
    inside = [s for s in store.samples(run.id) if speed.start_ns <= s.time_ns <= speed.end_ns]
    used = np.array([sample.values["dashboard_cpu_s"] for sample in inside])
    assert (np.diff(used) >= 0).all()
    assert used[-1] - used[0] > 0.2 * (inside[-1].time_ns - inside[0].time_ns) / 1e9
