"""The sampler: deadlines, phases, failures, targets."""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, Target
from trilemma.meters.memory import MemoryMeter
from trilemma.meters.replay import Recording, ReplayMeter
from trilemma.meters.sampler import Sampler, open_meters
from trilemma.meters.sources import best_energy, headline_domains, meter_availability
from trilemma.meters.windows import cpu_seconds, energy_window, peak_memory
from trilemma.schema import EnergyCoefficients, Method, Phase

IDLE = Target(None, EnergyCoefficients())
PACKAGE = EnergyDomain("energy_j.rapl.package-0", "rapl", "package", Method.MEASURED)
DRAM = EnergyDomain("energy_j.rapl.dram-0", "rapl", "DRAM", Method.MEASURED)
GPU = EnergyDomain("energy_j.nvml.0", "nvml", "GPU", Method.MEASURED)
GPU_0 = dataclasses.replace(GPU, scope="GPU 0", device="0")
GPU_1 = EnergyDomain("energy_j.nvml.1", "nvml", "GPU 1", Method.MEASURED, device="1")
MODELLED = EnergyDomain("energy_j.modelled", "modelled", "process tree", Method.MODELLED)


def replay(*readings: dict[str, float] | str, domains: tuple[EnergyDomain, ...] = ()) -> ReplayMeter:
    return ReplayMeter(Recording(readings=readings, domains=domains))


def test_readings_keep_to_their_times() -> None:
    with Sampler([replay({"load1": 1.0})], hz=20) as sampler:
        sampler.start(IDLE)
        start = time.perf_counter_ns()
        time.sleep(2.0)
        elapsed_s = (time.perf_counter_ns() - start) / 1e9
    times = [sample.time_ns for sample in sampler.drain()]
    assert times == sorted(times)
    # On a busy machine some are skipped, but none is made up for.
    assert 0.4 * 20 * elapsed_s < len(times) <= 20 * elapsed_s + 3


def test_late_readings_are_skipped_not_bunched() -> None:
    class Slow(ReplayMeter):
        def read(self, elapsed_s: float) -> dict[str, float]:
            time.sleep(0.12)
            return super().read(elapsed_s)

    with Sampler([Slow(Recording(readings=({"load1": 1.0},)))], hz=20) as sampler:
        sampler.start(IDLE)
        time.sleep(1.5)
    times = [sample.time_ns for sample in sampler.drain()]
    gaps_s = [(b - a) / 1e9 for a, b in pairwise(times)]
    assert len(times) < 14
    assert min(gaps_s) > 0.1


def test_deadlines_do_not_drift() -> None:
    with Sampler([replay({"load1": 1.0})], hz=20) as sampler:
        sampler.start(IDLE)
        time.sleep(2.0)
    times = [sample.time_ns / 1e9 for sample in sampler.drain()][1:]
    # Each lies shortly after a multiple of the period from the first on, however many there were before it.
    late = sorted(((t - times[0] + 0.025) % 0.05) - 0.025 for t in times)
    assert abs(late[len(late) // 2]) < 0.01


def test_samples_carry_the_phase_that_they_fell_into() -> None:
    sampler = Sampler([replay({"load1": 1.0})], hz=50)
    sampler.start(IDLE)
    for phase in (Phase.LOAD, Phase.SPEED):
        sampler.read_now()
        sampler.set_phase(phase)
        sampler.read_now()
        time.sleep(0.1)
    sampler.stop()
    phases = [sample.phase for sample in sampler.drain()]
    assert list(dict.fromkeys(phases)) == [Phase.IDLE, Phase.LOAD, Phase.SPEED]
    assert sampler.drain() == []


def test_a_reading_on_request_is_handed_out_too() -> None:
    sampler = Sampler([replay({"load1": 1.0})], hz=0.5)
    sampler.start(IDLE)
    before = time.perf_counter_ns()
    sample = sampler.read_now()
    assert before <= sample.time_ns <= time.perf_counter_ns()
    sampler.stop()
    assert sample in sampler.drain()


def test_a_meter_that_fails_is_recorded_and_the_others_go_on() -> None:
    failing = replay({"energy_j.x": 1.0}, "the card fell off the bus", {"energy_j.x": 3.0})
    with Sampler([failing, replay({"load1": 1.0})], hz=1) as sampler:
        sampler.start(IDLE)
        second, third = sampler.read_now(), sampler.read_now()
    assert "energy_j.x" not in second.values
    assert second.values["load1"] == 1.0
    assert third.values["energy_j.x"] == 3.0
    assert sampler.problems == {"replay": "the card fell off the bus"}


def test_a_meter_that_cannot_start_or_raises_what_it_should_not_is_left_out() -> None:
    class Broken(ReplayMeter):
        name = "broken"

        def start(self, target: Target) -> None:
            raise MeterError("no permission", "Ask for it.")

    class Rude(ReplayMeter):
        name = "rude"

        def read(self, elapsed_s: float) -> dict[str, float]:
            raise ZeroDivisionError("oh")

    recording = Recording(readings=({"load1": 1.0},))
    with Sampler([Broken(recording), Rude(recording), replay({"load1": 2.0})], hz=10) as sampler:
        sampler.start(IDLE)
        assert sampler.read_now().values == {"load1": 2.0}
    assert sampler.problems == {"broken": "no permission Ask for it.", "rude": "ZeroDivisionError: oh"}


def test_stopping_twice_or_before_the_start_is_harmless() -> None:
    sampler = Sampler([replay({"load1": 1.0})])
    sampler.stop()
    threads = threading.active_count()
    other = Sampler([replay({"load1": 1.0})])
    other.start(IDLE)
    other.stop()
    other.stop()
    assert threading.active_count() == threads
    assert len(other.drain()) >= 1


def test_a_run_from_idle_to_its_process(spawn: Callable, ask: Callable) -> None:
    """What the supervisor does: all real meters, first without a target, then with a process that works."""
    with Sampler(open_meters(), hz=10) as sampler:
        sampler.start(IDLE)
        time.sleep(0.3)
        process = spawn(
            """
            import sys, time
            print("ready", flush=True)
            sys.stdin.readline()
            held = bytearray(b"x") * (50 << 20)
            end = time.process_time() + 0.6
            while time.process_time() < end:
                pass
            print("done", flush=True)
            sys.stdin.readline()
            """
        )
        sampler.retarget(process.pid)
        first = sampler.read_now()
        sampler.set_phase(Phase.SPEED)
        ask(process)
        last = sampler.read_now()
        (domain,) = sampler.domains()
        assert sampler.memory_kind == ("pss" if sys.platform == "linux" else "uss")
    samples = sampler.drain()
    assert sampler.problems == {}
    used = cpu_seconds(samples, first.time_ns, last.time_ns)
    assert used is not None
    assert 0.58 < used < 0.9
    window = energy_window(samples, first.time_ns, last.time_ns, domain, None)
    assert window.net_j == pytest.approx(10.0 * used, rel=0.1)
    peak = peak_memory(samples, [Phase.SPEED])
    assert peak is not None
    assert 50 << 20 < peak.value < 90 << 20
    counters = [sample.values[domain.channel] for sample in samples]
    assert counters == sorted(counters)
    assert {"others_cpu_cores", "available_bytes", "load1", "sampler_cpu_s"} <= {k for s in samples for k in s.values}


def test_a_change_of_process_loses_no_counter(spawn: Callable) -> None:
    code = 'import time\nprint("ready", flush=True)\nwhile True: pass'
    first, second = spawn(code), spawn(code)
    with Sampler(open_meters(), hz=10) as sampler:
        sampler.start(Target(first.pid, EnergyCoefficients()))
        time.sleep(0.3)
        sampler.retarget(second.pid)
        time.sleep(0.3)
    samples = sampler.drain()
    for channel in ("cpu_s", "energy_j.modelled"):
        series = [sample.values[channel] for sample in samples]
        assert series == sorted(series)
        assert series[-1] > series[len(series) // 2] > 0


def test_energy_sources_stand_best_first() -> None:
    def order(*domains: EnergyDomain, gpus: tuple[str, ...] = ()) -> list[EnergyDomain]:
        return list(best_energy([replay({"load1": 1.0}, domains=domains), MemoryMeter()], gpus))

    assert order(MODELLED, GPU, DRAM, PACKAGE) == [PACKAGE, GPU, DRAM, MODELLED]
    assert order(MODELLED, PACKAGE, GPU_0, GPU_1, gpus=("0",)) == [GPU_0, PACKAGE, MODELLED]
    # A meter on the GPU alone says nothing of what the CPU took.
    assert order(GPU, MODELLED) == [MODELLED, GPU]
    assert order(GPU_0, MODELLED, gpus=("0",)) == [GPU_0, MODELLED]
    # A GPU that the engine does not compute on is no part of the run.
    assert order(GPU_0, PACKAGE, MODELLED) == [PACKAGE, MODELLED]
    # One that it computes on and that nothing counts makes the sum unknown, not small.
    found = order(GPU_0, MODELLED, gpus=("0", "1"))
    assert {domain.device: bool(domain.fault) for domain in headline_domains(found)} == {"0": False, "1": True}
    assert headline_domains(order(MODELLED, GPU, DRAM, PACKAGE)) == (PACKAGE, GPU, DRAM)
    assert headline_domains(order(GPU, MODELLED)) == (MODELLED,)
    assert headline_domains([]) == ()


def test_every_registered_meter_says_whether_it_works_here() -> None:
    found = meter_availability()
    assert set(found) >= {"memory", "cpu", "host", "modelled", "zeus"}
    assert all(availability.available or availability.remedy for availability in found.values())
    assert [meter.name for meter in open_meters()] == sorted(
        (name for name, availability in found.items() if availability.available),
        key=lambda name: (name == "modelled", name),
    )


def test_a_recording_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(
        '{"domains": [{"channel": "energy_j.nvml.0", "source": "nvml", "scope": "GPU", "method": "measured"}],'
        ' "readings": [{"energy_j.nvml.0": 0.0}, "lost", {"energy_j.nvml.0": 5.0}]}'
    )
    meter = ReplayMeter.from_file(path)
    assert meter.domains() == [GPU]
    assert meter.read(0.1) == {"energy_j.nvml.0": 0.0}
    with pytest.raises(MeterError, match="lost"):
        meter.read(0.1)
    assert meter.read(0.1) == meter.read(0.1) == {"energy_j.nvml.0": 5.0}
    path.write_text("{")
    with pytest.raises(MeterError, match=r"card\.json is not a recording"):
        ReplayMeter.from_file(path)
