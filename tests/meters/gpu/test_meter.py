"""The GPU meter over recorded GPUs: channels, counters, whose memory it is, and what a driver does not know."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.errors import MeterError
from trilemma.meters.base import EnergyMeter, FullMeter, Target
from trilemma.meters.gpu.driver import GpuProcess, NoGpus
from trilemma.meters.gpu.meter import GpuMeter
from trilemma.meters.gpu.ownership import named
from trilemma.meters.gpu.replay import Frame, GpuRecording, Presence, ReplayDriver
from trilemma.schema import EnergyCoefficients

NOBODY = Target(None, EnergyCoefficients())
US = Target(os.getpid(), EnergyCoefficients())
Open = Callable[[GpuRecording], object]


def changed(recording: GpuRecording, number: int, **gpu: object) -> GpuRecording:
    """``recording`` with another GPU ``number``."""
    gpus = list(recording.gpus)
    gpus[number] = gpus[number].model_copy(update=gpu)
    return recording.model_copy(update={"gpus": tuple(gpus)})


def test_two_gpus_are_read_in_si_units_and_count_from_the_start(recording: GpuRecording, stage: Callable) -> None:
    it = stage(recording)
    assert isinstance(it.meter, EnergyMeter)
    assert isinstance(it.meter, FullMeter)
    it.meter.start(NOBODY)
    assert [(d.channel, d.scope, d.device) for d in it.meter.domains()] == [
        ("energy_j.nvml.0", "GPU 0", "0"),
        ("energy_j.nvml.1", "GPU 1", "1"),
    ]
    first = it.meter.read(0.1)
    assert first["energy_j.nvml.0"] == first["energy_j.nvml.1"] == 0.0
    assert first["power_w.nvml.0"] == pytest.approx(61.25)
    assert first["gpu_clock_hz.1"] == 210e6
    assert first["gpu_memory_total_used_bytes.0"] == 455_081_984
    assert first["gpu_foreign_processes.0"] == 0
    it.now = 10.05
    later = it.meter.read(0.1)
    assert later["energy_j.nvml.0"] == pytest.approx(612, rel=0.01)  # 61 W for 10 s
    assert "gpu_memory_bytes.0" not in later, "who is there is asked once a second of real time"
    assert it.meter.read_full()["gpu_memory_bytes.0"] == 0


def test_the_trees_memory_is_told_from_that_of_others(recording: GpuRecording, stage: Callable) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        # A child of this process is the run's when this process is what is measured, and a stranger's when it is not.
        present = (Presence(pid=stranger.pid, name="sleep", memory_bytes=2_000_000_000),)
        it = stage(changed(recording, 0, processes=(*recording.gpus[0].processes, *present)))
        it.meter.start(NOBODY)
        assert it.meter.read_full()["gpu_foreign_processes.0"] == 1
        assert [(i.device, i.pid, i.name, i.memory_bytes) for i in it.meter.intruders()] == [
            ("0", stranger.pid, "sleep", 2_000_000_000)
        ]
        fresh = stage(changed(recording, 0, processes=(*recording.gpus[0].processes, *present)))
        fresh.meter.start(US)
        fresh.run = os.getpid()
        fresh.meter.read_full()
        fresh.now = 1.0
        values = fresh.meter.read_full()
        assert fresh.meter.intruders() == ()
        assert values["gpu_memory_bytes.0"] == 41_943_040_000 + 2_000_000_000
        assert values["gpu_memory_bytes.1"] == 41_523_609_600
    finally:
        stranger.kill()
        stranger.wait()


def test_who_was_there_before_the_run_stays_a_stranger(recording: GpuRecording, stage: Callable) -> None:
    it = stage(changed(recording, 0, processes=(Presence(pid=os.getpid(), name="python"),)))
    it.meter.start(NOBODY)
    it.meter.read_full()
    it.meter.start(US)
    assert it.meter.read_full()["gpu_foreign_processes.0"] == 1


def test_a_desktop_that_only_draws_stops_nobody(recording: GpuRecording, stage: Callable) -> None:
    it = stage(changed(recording, 0, processes=(Presence(pid=1, name="/usr/lib/xorg/Xorg", graphics=True),)))
    it.meter.start(US)
    assert it.meter.read_full()["gpu_foreign_processes.0"] == 0
    assert it.meter.intruders() == ()


def test_in_a_container_ownership_is_left_open_not_guessed(recording: GpuRecording, stage: Callable) -> None:
    recording = changed(recording, 0, processes=(Presence(pid=os.getpid(), name="python", memory_bytes=1, after_s=1),))
    it = stage(recording.model_copy(update={"shares_pids": False}))
    it.meter.start(NOBODY)
    it.meter.read_full()
    it.meter.start(US)
    it.now = 2.0
    values = it.meter.read_full()
    assert values["gpu_foreign_processes.0"] == 0
    assert "gpu_memory_bytes.0" not in values
    assert values["gpu_memory_total_used_bytes.0"] > 0


def test_memory_that_the_driver_does_not_tell_is_left_out(recording: GpuRecording, stage: Callable) -> None:
    it = stage(changed(recording, 0, processes=(Presence(pid=os.getpid(), name="python", memory_bytes=None),)))
    it.meter.start(US)
    values = it.meter.read_full()
    assert "gpu_memory_bytes.0" not in values
    assert values["gpu_memory_bytes.1"] == 0


def test_one_lost_gpu_of_two_is_left_out_and_all_lost_is_an_error(recording: GpuRecording, stage: Callable) -> None:
    gone = (Frame(lost=True),)
    it = stage(changed(recording, 1, idle=gone))
    it.meter.start(NOBODY)
    values = it.meter.read(0.1)
    assert "energy_j.nvml.0" in values
    assert not any(name.endswith(".1") for name in values)
    none = stage(changed(changed(recording, 1, idle=gone), 0, idle=gone))
    none.meter.start(NOBODY)
    with pytest.raises(MeterError, match="fallen off the bus"):
        none.meter.read(0.1)


def test_a_card_shared_by_mig_instances_has_no_energy_of_its_own(recording: GpuRecording, stage: Callable) -> None:
    card = recording.gpus[0].device
    two = [
        recording.gpus[0].model_copy(update={"device": card._replace(id=f"0-{i}", hidden_instances=hidden)})
        for i, hidden in ((0, 1), (2, 1))
    ]
    it = stage(recording.model_copy(update={"gpus": tuple(two)}))
    it.meter.start(NOBODY)
    (domain,) = it.meter.domains()  # the card's, once
    assert domain.scope == "GPU 0 (shared by MIG instances)"
    assert "1 other MIG instance" in domain.fault
    assert {"gpu_memory_bytes.0-0", "gpu_memory_bytes.0-2", "energy_j.nvml.0"} <= set(it.meter.read_full())
    alone = recording.gpus[0].model_copy(update={"device": card._replace(id="0-0")})
    it = stage(recording.model_copy(update={"gpus": (alone,)}))
    it.meter.start(NOBODY)
    assert [(d.scope, d.fault) for d in it.meter.domains()] == [("GPU 0", "")]


def test_a_card_without_a_counter_says_that_power_was_integrated(recording: GpuRecording, stage: Callable) -> None:
    it = stage(changed(recording, 0, device=recording.gpus[0].device._replace(counts_energy=False, source="rocm")))
    it.meter.start(NOBODY)
    assert it.meter.domains()[0].source == "rocm, power integrated"
    assert it.meter.read(0.1)["energy_j.rocm.0"] == 0.0


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/opt/conda/bin/python3", "python3"),
        ("C:\\tools\\game.exe", "game.exe"),
        ("evil\x1b[31m\nname\u202e", "evil[31mname"),
        ("x" * 500, "x" * 39 + "…"),
        ("/", "a process without a name"),
    ],
)
def test_names_of_processes_are_cleaned(name: str, shown: str) -> None:
    assert named(GpuProcess(1, name)) == shown


def test_no_gpus_and_bad_recordings(tmp_path: Path) -> None:
    meter = GpuMeter(NoGpus())
    meter.start(NOBODY)
    assert (meter.read(0.1), meter.domains(), meter.devices()) == ({}, [], [])
    path = tmp_path / "x.json"
    path.write_text('{"gpus": [{}]}')
    with pytest.raises(MeterError, match=r"x\.json is not a recording"):
        ReplayDriver.from_file(path)


def test_only_a_test_can_reach_the_replay_double() -> None:
    root = Path(__file__).parents[3] / "trilemma"
    users = [
        path.name
        for path in root.rglob("*.py")
        if path.name != "replay.py" and "gpu.replay" in path.read_text(encoding="utf-8")
    ]
    assert users == []
