from __future__ import annotations

from trilemma.bench.efficiency import memory_measurements
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Measurement, Method, Phase, Provenance


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


def accounted(**values: float) -> list[Measurement]:
    provenance = Provenance(method=Method.MEASURED, source="engine's own accounting", scope="process")
    return [Measurement(figure=figure, value=value, provenance=provenance) for figure, value in values.items()]


def test_of_a_reserved_pool_only_what_was_used_is_needed() -> None:
    windows = {(Phase.SPEED, "chat"): PhaseWindow(phase=Phase.SPEED, subject="chat", start_ns=10, end_ns=20)}
    samples = [sample(12, Phase.SPEED, 1000)]
    told = accounted(kv_cache_bytes=100 * 2**20, kv_cache_reserved_bytes=600 * 2**20, weights_memory_bytes=300 * 2**20)
    found = {m.figure: m for m in memory_measurements(samples, windows, told)}
    assert found["peak_memory_bytes"].value == 500 * 2**20
    assert any("never in use" in reason for reason in found["peak_memory_bytes"].provenance.reasons)
    assert found["reserved_memory_bytes"].value == 1000 * 2**20
    assert found["other_memory_bytes"].value == 100 * 2**20


def test_a_pool_on_a_graphics_card_is_no_part_of_the_hosts_memory() -> None:
    windows = {(Phase.SPEED, "chat"): PhaseWindow(phase=Phase.SPEED, subject="chat", start_ns=10, end_ns=20)}
    told = [
        m.model_copy(update={"provenance": m.provenance.model_copy(update={"scope": "GPU"})})
        for m in accounted(kv_cache_bytes=1e9, kv_cache_reserved_bytes=9e9)
    ]
    found = {m.figure: m for m in memory_measurements([sample(12, Phase.SPEED, 1000)], windows, told)}
    assert found["peak_memory_bytes"].value == 1000 * 2**20
    assert "reserved_memory_bytes" not in found
