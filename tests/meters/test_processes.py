"""Memory and CPU of real process trees."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from trilemma.meters.base import FullMeter, Meter, Target
from trilemma.meters.cpu import CpuMeter
from trilemma.meters.memory import MemoryMeter
from trilemma.meters.modelled import CHANNEL, ModelledMeter
from trilemma.meters.procfs import descendants
from trilemma.meters.tree import LinuxTree, PsutilTree, Tree
from trilemma.schema import EnergyCoefficients, Method

MB = 1 << 20
COEFFICIENTS = EnergyCoefficients(watts_per_busy_core=7.0, watts_per_gb=2.0)
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

HOLDS = """
    import sys
    print("ready", flush=True)
    held = []
    for line in sys.stdin:
        if line.startswith("drop"):
            held.clear()
        else:
            held.append(bytearray(b"x") * (50 << 20))
        print("done", flush=True)
"""
CHANGES = """
    import time
    print("ready", flush=True)
    while True:
        held = bytearray(b"x") * (5 << 20)
        time.sleep(0.03)
        del held
        time.sleep(0.03)
"""
BURNS = """
    import sys, time
    print("ready", flush=True)
    for line in sys.stdin:
        end = time.process_time() + float(line)
        while time.process_time() < end:
            pass
        print(time.process_time(), flush=True)
"""
FAMILY = """
    import subprocess, sys
    BURN = "import time, sys\\nwhile time.process_time() < {0}: pass\\nprint(1, flush=True)\\n{1}"
    print("ready", flush=True)
    children = []
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "quick":  # starts, burns and is waited for
            subprocess.run([sys.executable, "-c", BURN.format(rest[0], "")], stdout=subprocess.DEVNULL)
        elif word == "stay":  # a grandchild that burns and stays: under a shell of its own
            code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
            inner = BURN.format(rest[0], "time.sleep(60)")
            child = subprocess.Popen([sys.executable, "-c", code, inner], stdout=subprocess.PIPE)
            child.stdout.readline()
            children.append(child)
        elif word == "child":  # a child that burns and stays
            inner = BURN.format(rest[0], "time.sleep(60)")
            child = subprocess.Popen([sys.executable, "-c", inner], stdout=subprocess.PIPE)
            child.stdout.readline()
            children.append(child)
        elif word == "end":
            for child in children:
                child.kill()
                child.wait()
                child.stdout.close()
        print(" ".join(str(child.pid) for child in children), flush=True)
"""


def target(pid: int | None) -> Target:
    return Target(pid, COEFFICIENTS)


def test_memory_follows_what_a_process_holds(spawn: Callable, ask: Callable) -> None:
    process = spawn(HOLDS)
    meter = MemoryMeter()
    meter.start(target(process.pid))
    before = meter.read_full()
    ask(process)
    after = meter.read_full()
    channels = {"rss_bytes"} | ({"pss_bytes", "uss_bytes"} if meter.memory_kind == "pss" else set())
    for channel in channels:
        assert 48 * MB < after[channel] - before[channel] < 56 * MB, channel
    assert after["rss_bytes"] == pytest.approx(psutil.Process(process.pid).memory_info().rss, abs=2 * MB)
    ask(process, "drop")
    assert meter.read_full()["rss_bytes"] < after["rss_bytes"] - 45 * MB
    meter.close()


@linux
def test_pss_lies_between_unshared_and_resident_and_contains_files(spawn: Callable) -> None:
    process = spawn(HOLDS)
    meter = MemoryMeter()
    meter.start(target(process.pid))
    read = meter.read_full()
    assert read["uss_bytes"] <= read["pss_bytes"] <= read["rss_bytes"]
    assert 0 < read["file_bytes"] < read["pss_bytes"]
    full = psutil.Process(process.pid).memory_full_info()
    assert read["pss_bytes"] == pytest.approx(full.pss, rel=0.1)
    assert read["uss_bytes"] == pytest.approx(full.uss, rel=0.1)
    assert isinstance(meter, FullMeter)
    meter.close()


@linux
@pytest.mark.parametrize(("code", "least", "most"), [("CHANGES", 2, 6), ("HOLDS", 1, 1)])
def test_the_costly_reading_is_taken_once_a_second_while_memory_changes(
    spawn: Callable, code: str, least: int, most: int
) -> None:
    meter = MemoryMeter()
    meter.start(target(spawn(globals()[code]).pid))
    full, every = 0, 0
    end = time.monotonic() + 2.2
    while time.monotonic() < end:
        values = meter.read(0.02)
        full += "pss_bytes" in values
        every += "rss_bytes" in values
        time.sleep(0.02)
    assert least <= full <= most
    assert every > 4 * full
    meter.close()


@linux
def test_a_rise_of_memory_is_read_sooner(spawn: Callable, ask: Callable) -> None:
    process = spawn(HOLDS)
    meter = MemoryMeter()
    meter.start(target(process.pid))
    meter.read_full()
    start = time.monotonic()
    ask(process)
    while "pss_bytes" not in meter.read(0.02) and time.monotonic() - start < 5:
        time.sleep(0.02)
    assert time.monotonic() - start < 0.95
    meter.close()


def test_memory_of_a_tree_is_that_of_all_its_processes(spawn: Callable, ask: Callable) -> None:
    process = spawn(FAMILY)
    meter = MemoryMeter()
    meter.start(target(process.pid))
    alone = meter.read_full()["rss_bytes"]
    ask(process, "stay 0")
    together = meter.read_full()["rss_bytes"]
    everybody = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(everybody) == 3
    assert together == pytest.approx(sum(p.memory_info().rss for p in everybody), rel=0.1)
    assert together > 2 * alone
    ask(process, "end")
    assert meter.read_full()["rss_bytes"] < together
    meter.close()


@pytest.mark.parametrize("make", [MemoryMeter, CpuMeter, ModelledMeter])
def test_a_target_that_has_ended_gives_no_memory_and_keeps_its_counters(
    make: type[Meter], spawn: Callable, ask: Callable
) -> None:
    process = spawn(BURNS)
    meter = make()
    meter.start(target(process.pid))
    ask(process, "0.1")
    before = meter.read(0.1)
    process.kill()
    process.wait()
    after = meter.read(0.1)
    assert not [name for name in after if name.endswith("ss_bytes")]
    for name in {"cpu_s", CHANNEL} & set(before):
        assert after[name] >= before[name] > 0
    meter.close()


@pytest.mark.parametrize("kind", [pytest.param(LinuxTree, marks=linux), PsutilTree])
def test_cpu_time_is_what_the_process_says_it_used(kind: type[Tree], spawn: Callable, ask: Callable) -> None:
    process = spawn(BURNS)
    first = float(ask(process, "0"))
    tree = kind(process.pid)
    used = float(ask(process, "0.4")) - first
    assert tree.cpu_s() == pytest.approx(used, abs=0.03)
    tree.close()


@linux
@pytest.mark.parametrize("watch", [True, False], ids=["seen while they ran", "never seen alive"])
def test_cpu_time_of_ended_children_stays_counted_once(watch: bool, spawn: Callable, ask: Callable) -> None:
    process = spawn(FAMILY)
    tree = LinuxTree(process.pid)
    readings = [tree.cpu_s()]
    ask(process, "child 0.3")
    ask(process, "stay 0.3")
    if watch:
        tree.full_memory(force=True)  # looks for new processes
        readings.append(tree.cpu_s())
        assert readings[-1] > 0.6
    ask(process, "end")
    readings += [tree.cpu_s(), tree.cpu_s()]
    # The killed child had been waited for; the grandchild lost its parent and runs on, or was never seen.
    assert readings == sorted(readings)
    assert 0.3 < readings[-1] < 1.2 if not watch else 0.6 < readings[-1] < 1.2
    tree.close()


@linux
def test_many_short_children_are_counted_through_their_parent(spawn: Callable, ask: Callable) -> None:
    process = spawn(FAMILY)
    tree = LinuxTree(process.pid)
    for _ in range(4):
        ask(process, "quick 0.15")
        tree.cpu_s()
    assert 0.55 < tree.cpu_s() < 1.2
    tree.close()


@linux
def test_descendants_are_those_of_psutil(spawn: Callable, ask: Callable) -> None:
    process = spawn(FAMILY)
    ask(process, "stay 0")
    ask(process, "child 0")
    expected = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
    assert descendants({process.pid}) == expected
    assert len(expected) == 3
    ask(process, "end")


def test_counters_go_on_over_a_change_of_target(spawn: Callable, ask: Callable) -> None:
    first, second = spawn(BURNS), spawn(BURNS)
    cpu, energy = CpuMeter(), ModelledMeter()
    for meter in (cpu, energy):
        meter.start(target(None))
    assert cpu.read(0.1)["cpu_s"] == 0
    assert energy.read(0.1) == {CHANNEL: 0}
    readings, joules = [], []
    for process in (first, second):
        for meter in (cpu, energy):
            meter.start(target(process.pid))
        ask(process, "0.2")
        readings.append(cpu.read(0.1)["cpu_s"])
        joules.append(energy.read(0.1)[CHANNEL])
    assert readings[0] == pytest.approx(0.2, abs=0.05)
    assert readings[1] == pytest.approx(0.4, abs=0.1)
    assert joules[0] == pytest.approx(0.2 * 7, abs=0.5)
    assert joules[1] > joules[0] * 1.5
    cpu.close()
    energy.close()


def test_others_are_those_outside_the_tree(spawn: Callable, ask: Callable) -> None:
    """The same burning process counts as an other until it is the target."""
    process = spawn(BURNS)
    meter = CpuMeter()

    def others_s(pid: int | None) -> float:
        meter.start(target(pid))
        meter.read(0.1)
        start = time.monotonic()
        ask(process, "1.0")
        elapsed = time.monotonic() - start
        return meter.read(elapsed)["others_cpu_cores"] * elapsed

    # Whatever else the machine does at the moment is in both; the least of several is the quietest.
    outside = min(others_s(None) for _ in range(3))
    inside = min(others_s(process.pid) for _ in range(3))
    assert outside > 0.88
    assert inside < outside
    meter.close()


def test_the_sampler_pays_for_itself() -> None:
    meter = CpuMeter()
    meter.start(target(None))
    before = meter.read(0.1)["sampler_cpu_s"]
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert meter.read(0.1)["sampler_cpu_s"] - before == pytest.approx(0.1, abs=0.03)
    meter.close()


def test_modelled_energy_is_the_stated_formula(spawn: Callable, ask: Callable) -> None:
    process = spawn(BURNS)
    meter = ModelledMeter()
    meter.start(target(process.pid))
    cpu = LinuxTree(process.pid) if sys.platform == "linux" else PsutilTree(process.pid)
    ask(process, "0.3")
    used = cpu.cpu_s()
    joules = meter.read(10.0)[CHANNEL]
    held = cpu.full_memory(force=True)
    assert held is not None
    memory_j = (held.pss or held.uss or held.rss) / 1e9 * COEFFICIENTS.watts_per_gb * 10.0
    assert joules == pytest.approx(used * COEFFICIENTS.watts_per_busy_core + memory_j, rel=0.1)
    assert memory_j > 0.05
    (domain,) = meter.domains()
    assert (domain.method, domain.scope) == (Method.MODELLED, "process tree")
    meter.close()
    cpu.close()


@linux
def test_nothing_stays_open(spawn: Callable) -> None:
    process = spawn(HOLDS)
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    for make in (MemoryMeter, CpuMeter, ModelledMeter):
        meter = make()
        meter.start(target(process.pid))
        meter.read(0.1)
        meter.close()
        meter.close()
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
