from __future__ import annotations

from trilemma.bench.efficiency import memory_measurements
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Phase


def sample(time_ns: int, phase: Phase, mib: int) -> Sample:
    return Sample(time_ns=time_ns, phase=phase, values={"pss_bytes": mib * 2**20})


def test_memory_of_the_suites_is_not_memory_of_serving() -> None:
    windows = {
        (Phase.SPEED, "chat"): PhaseWindow(phase=Phase.SPEED, subject="chat", start_ns=10, end_ns=20),
        (Phase.PERFORMANCE, "piqa"): PhaseWindow(phase=Phase.PERFORMANCE, subject="piqa", start_ns=21, end_ns=40),
    }
    samples = [
        sample(1, Phase.LOAD, 90),
        sample(12, Phase.SPEED, 100),
        sample(23, Phase.SPEED, 250),  # read after the suite began, before the supervisor had heard of it
        sample(30, Phase.PERFORMANCE, 400),
    ]
    (peak,) = memory_measurements(samples, windows, [])
    assert peak.value == 100 * 2**20
    assert peak.n == 2
