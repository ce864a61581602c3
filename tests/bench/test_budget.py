"""Emulated devices, for real: CPUs as seen from inside, and a memory budget that ends a run as a result."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import factory
from trilemma.bench.budget import ESTIMATED, PEAK, REACHED, MemoryWatch, check_fits
from trilemma.bench.cgroup import MemoryGroup
from trilemma.bench.supervisor import Supervisor
from trilemma.catalog.catalog import Catalog
from trilemma.errors import DoesNotFitError, OutOfMemoryError, ProfileError
from trilemma.limits import available_bytes, cpus_apart, memory_budget, started_on, usable_cpus
from trilemma.meters.base import Target
from trilemma.meters.memory import MemoryMeter
from trilemma.meters.sampler import Sampler
from trilemma.records import RunRecord
from trilemma.schema import (
    Artifact,
    Configuration,
    DeviceProfile,
    EnergyCoefficients,
    Measurement,
    RunState,
    StudySpec,
    WorkloadSpec,
)
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import submit

CHAT = WorkloadSpec(name="short_chat", prompt_tokens=48, output_tokens=8, requests=1, warmup_requests=0)
MIB = 1 << 20
HUNGRY = """
import time
held = []
for _ in range(40):
    held.append(bytearray(b"x" * (10 << 20)))
    time.sleep(0.02)
time.sleep(60)
"""
MAPS_A_FILE = """
import mmap, sys, time
with open(sys.argv[1], "rb") as file:
    held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
sum(held[i] for i in range(0, len(held), 4096))
print("mapped", flush=True)
time.sleep(600)
"""


@pytest.fixture
def artifact(store: Store, settings: Settings, smollm2_path: Path, tmp_path: Path) -> Artifact:
    """Weights that no other process maps: PSS would count only a share of those that it does."""
    return Catalog(store, settings).add_path(Path(shutil.copy(smollm2_path, tmp_path)))


def measured(
    store: Store, tmp_path: Path, artifact: Artifact, device: DeviceProfile
) -> tuple[RunRecord, dict[str, Measurement]]:
    configuration = Configuration(
        artifact_id=artifact.id, engine="llama.cpp", settings={"context": 256}, profile=device
    )
    spec = StudySpec(name=device.name, configurations=(configuration,), workloads=(CHAT,), repeats=1, idle_s=0.3)
    submit(store, spec)
    run = store.claim_next("test")
    assert run is not None
    done = Supervisor(store, run.id, tmp_path / "log").measure()
    assert done is not None
    return done, {m.figure: m for m in store.measurements(run.id)}


def test_a_process_that_takes_too_much_is_found_out() -> None:
    with subprocess.Popen([sys.executable, "-c", HUNGRY]) as hungry, Sampler([MemoryMeter()], hz=20) as sampler:
        sampler.start(Target(pid=hungry.pid, energy=EnergyCoefficients()))
        watch = MemoryWatch(DeviceProfile(name="tiny", memory_bytes=200 * MIB), sampler, "test", hungry.pid)
        ends = time.monotonic() + 30
        try:
            with pytest.raises(DoesNotFitError, match=r"does not fit tiny: it needs at least 2.* MiB") as caught:
                while time.monotonic() < ends:
                    watch.check()
                    time.sleep(0.05)
        finally:
            watch.close()
            hungry.kill()
    assert caught.value.basis == REACHED
    assert 200 * MIB < caught.value.needed_bytes < 450 * MIB


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="CPUs are set on Linux alone")
def test_what_is_started_sees_its_cpus_alone() -> None:
    before = usable_cpus()
    code = "import os, subprocess, sys; print(sorted(os.sched_getaffinity(0)), flush=True)"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], check=True)"
    cpus = cpus_apart(1)
    with started_on(cpus):
        seen = subprocess.run([sys.executable, "-c", nested], capture_output=True, text=True, check=True).stdout
    assert seen.strip() == str(sorted(cpus))
    assert usable_cpus() == before


def test_cpus_of_different_cores_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trilemma.limits.usable_cpus", lambda: {0, 1, 2, 3})
    for cpu, siblings in enumerate(("0-1", "0-1", "2-3", "2-3")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert cpus_apart(2, tmp_path) == {1, 3}
    assert cpus_apart(3, tmp_path) == {1, 2, 3}


def test_a_budget_is_what_is_available() -> None:
    with memory_budget(5):
        assert available_bytes() == 5
    assert available_bytes() > 5


def test_a_control_group_is_made_where_memory_is_passed_on(tmp_path: Path) -> None:
    """On a copy of the file system's shape: the kernel's own behaviour is not tested."""
    mine = tmp_path / "sys/fs/cgroup/user/session"
    mine.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/user/session\n")
    assert MemoryGroup.create("run", 100, 7, tmp_path) is None
    (mine.parent / "cgroup.subtree_control").write_text("cpu memory\n")
    group = MemoryGroup.create("run", 100, 7, tmp_path)
    assert group is not None
    assert group.folder == mine.parent / "run"
    assert [(group.folder / f).read_text() for f in ("memory.max", "memory.swap.max", "cgroup.procs")] == [
        "100",
        "0",
        "7",
    ]
    assert group.kills() == 0
    (group.folder / "memory.events").write_text("oom 3\noom_kill 2\n")
    assert group.kills() == 2
    group.lift()
    assert (group.folder / "memory.max").read_text() == "max"


@pytest.mark.llama
def test_a_machine_that_is_short_of_memory_is_a_failure_and_no_verdict(artifact: Artifact) -> None:
    from trilemma.engines.llama_cpp.engine import LlamaCpp

    device = DeviceProfile(name="large", memory_bytes=1 << 40)
    settings = {"context": 8192, "slots": 256}
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings=settings, profile=device)
    if available_bytes() > 40e9:
        pytest.skip("this machine has the memory")
    with pytest.raises(OutOfMemoryError) as caught:
        check_fits(LlamaCpp(), artifact, configuration)
    assert caught.value.needed_bytes is not None
    assert caught.value.available_bytes is not None
    assert caught.value.needed_bytes > caught.value.available_bytes


@pytest.mark.llama
def test_three_devices_and_one_that_is_too_small(store: Store, tmp_path: Path, artifact: Artifact) -> None:
    one = DeviceProfile(name="one-core", cores=1, memory_bytes=4 << 30, context=512)
    two = DeviceProfile(name="two-cores", cores=min(2, len(usable_cpus())))
    seen = {}
    for device in (one, two):
        done, found = measured(store, tmp_path, artifact, device)
        assert done.state is RunState.DONE, done.reason + done.log_tail
        assert f"emulated: {device.label}" in found["decode_tps"].provenance.reasons
        assert found["weights_bytes"].provenance.reasons == ()
        assert done.engine_info["emulated"] == device.label
        seen[device.name] = done
    assert seen["one-core"].engine_info["threads"] == 1
    assert seen["two-cores"].engine_info["threads"] == two.cores
    assert "watchdog" in str(seen["one-core"].engine_info["memory_limit"])

    small = DeviceProfile(name="small", cores=1, memory_bytes=64 * MIB)
    done, found = measured(store, tmp_path, artifact, small)
    assert done.state is RunState.DOES_NOT_FIT
    assert found["memory_budget_bytes"].value == 64 * MIB
    assert (found["needed_memory_bytes"].value or 0) > artifact.size_bytes
    assert ESTIMATED in found["needed_memory_bytes"].provenance.reasons

    # Weights and cache alone fit, and what else serving takes does not: only that shows when it runs.
    near = DeviceProfile(name="near", cores=1, memory_bytes=artifact.size_bytes + 16 * MIB)
    done, found = measured(store, tmp_path, artifact, near)
    assert done.state is RunState.DOES_NOT_FIT, done.reason + done.log_tail
    assert (found["needed_memory_bytes"].value or 0) > (near.memory_bytes or 0)
    # A run as short as this may be over before the watchdog looks; its peak is found then.
    assert {REACHED, PEAK} & set(found["needed_memory_bytes"].provenance.reasons)

    assert len({run.spec.configuration.id for run in store.runs()}) == 4
    assert store.run_frame()["profile"].tolist() == ["one-core", "two-cores", "small", "near"]
    # A verdict is kept like any result.
    submit(store, store.studies()[0].spec.model_copy(update={"name": "again"}))
    assert store.claim_next("test") is None


@pytest.mark.llama
def test_others_who_map_the_same_weights_change_no_verdict(
    store: Store, settings: Settings, tmp_path: Path, smollm2_path: Path
) -> None:
    """Proportional memory is divided among all who map a file; the device would have no such neighbours."""
    weights = tmp_path / smollm2_path.name
    shutil.copy(smollm2_path, weights)
    artifact = Catalog(store, settings).add_path(weights)
    near = DeviceProfile(name="near", cores=1, memory_bytes=artifact.size_bytes + 16 * MIB)
    with contextlib.ExitStack() as neighbours:
        for _ in range(3):
            command = [sys.executable, "-c", MAPS_A_FILE, str(weights)]
            one = neighbours.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            neighbours.callback(one.kill)
            assert one.stdout is not None
            assert one.stdout.readline().strip() == b"mapped"
        done, found = measured(store, tmp_path, artifact, near)
    assert done.state is RunState.DOES_NOT_FIT, done.reason + done.log_tail
    assert (found["needed_memory_bytes"].value or 0) > (near.memory_bytes or 0)
    # Without resident memory this test would prove nothing: proportional memory alone stays below the budget.
    proportional = [sample.values["pss_bytes"] for sample in store.samples(done.id) if "pss_bytes" in sample.values]
    assert max(proportional) < (near.memory_bytes or 0)


def test_a_device_is_not_emulated_with_fewer_cores_than_it_has() -> None:
    """On another machine of a cluster than the one that planned it."""
    from trilemma.engines.llama_cpp.engine import LlamaCpp

    device = DeviceProfile(name="rack", cores=len(usable_cpus()) + 1)
    configuration = Configuration(artifact_id="a" * 64, engine="llama.cpp", profile=device)
    with pytest.raises(ProfileError, match="lets a process use"):
        check_fits(LlamaCpp(), factory.artifact("Smol", "Q8_0"), configuration)
