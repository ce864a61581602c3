"""Memory of GPUs, with and without a reserve, and where processes cannot be told apart; what an engine declares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.bench.gpu_figures import gpu_memory_measurements
from trilemma.bench.gpu_watch import GpuWatch
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.meters.base import Target
from trilemma.meters.gpu.meter import GpuMeter
from trilemma.meters.gpu.replay import ReplayDriver
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Configuration, EnergyCoefficients, Measurement, Method, Phase, Provenance, RunSpec

GB = 10**9
WINDOWS = {
    (Phase.IDLE, ""): PhaseWindow(phase=Phase.IDLE, start_ns=0, end_ns=10),
    (Phase.SPEED, "chat"): PhaseWindow(phase=Phase.SPEED, subject="chat", start_ns=20, end_ns=40),
}


def sample(time_ns: int, phase: Phase, **values: float) -> Sample:
    return Sample(time_ns=time_ns, phase=phase, values={name.replace("__", "."): v for name, v in values.items()})


def told(time_ns: int, zero: float, one: float, phase: Phase = Phase.SPEED) -> Sample:
    others = {"gpu_foreign_processes__0": 0.0, "gpu_foreign_processes__1": 0.0}
    return sample(time_ns, phase, gpu_memory_bytes__0=zero, gpu_memory_bytes__1=one, **others)


def accounted(figure: str, value: float) -> Measurement:
    return Measurement(
        figure=figure, value=value, provenance=Provenance(method=Method.MEASURED, source="engine", scope="GPU")
    )


def by_key(found: list[Measurement]) -> dict[str, Measurement]:
    return {m.key: m for m in found}


def test_the_peak_is_that_of_all_gpus_at_one_time_and_ends_with_serving() -> None:
    samples = [told(21, 8 * GB, 2 * GB), told(30, 3 * GB, 6 * GB), told(50, 30 * GB, 30 * GB, Phase.PERFORMANCE)]
    found = by_key(gpu_memory_measurements(samples, WINDOWS, ("0", "1"), []))
    assert {key: m.value for key, m in found.items()} == {
        "peak_gpu_memory_bytes": 10 * GB,
        "gpu_memory_bytes@GPU 0": 8 * GB,
        "gpu_memory_bytes@GPU 1": 6 * GB,
    }
    assert found["peak_gpu_memory_bytes"].provenance.scope == "GPU 0 + GPU 1"
    assert gpu_memory_measurements(samples, WINDOWS, (), []) == []


def test_of_a_reserved_pool_only_what_was_used_is_the_headline() -> None:
    pool = [accounted("kv_cache_reserved_bytes", 7 * GB), accounted("kv_cache_bytes", 1 * GB)]
    found = by_key(gpu_memory_measurements([told(21, 5 * GB, 5 * GB)], WINDOWS, ("0", "1"), pool))
    assert found["peak_gpu_memory_bytes"].value == 4 * GB
    assert "6000 MB of the reserved KV cache" in found["peak_gpu_memory_bytes"].provenance.reasons[0]
    assert found["reserved_gpu_memory_bytes"].value == 10 * GB


def test_where_processes_cannot_be_told_apart_the_rise_is_taken_and_said() -> None:
    def untold(time_ns: int, phase: Phase, used: float) -> Sample:
        return sample(time_ns, phase, gpu_memory_total_used_bytes__0=used, gpu_foreign_processes__0=0.0)

    samples = [untold(5, Phase.IDLE, GB), untold(12, Phase.IDLE, 9 * GB), untold(25, Phase.SPEED, 6 * GB)]
    found = by_key(gpu_memory_measurements(samples, WINDOWS, ("0",), []))
    assert found["peak_gpu_memory_bytes"].value == 5 * GB
    assert "less that before the run" in found["peak_gpu_memory_bytes"].provenance.reasons[0]
    (unknown,) = gpu_memory_measurements([sample(25, Phase.SPEED)], WINDOWS, ("0",), [])
    assert unknown.value is None
    assert not unknown.provenance.valid


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], GpuWatch]:
    def make(declared: int) -> GpuWatch:
        monkeypatch.setattr(LlamaCpp, "gpus_used", lambda self, settings: declared, raising=False)
        meter = GpuMeter(ReplayDriver.from_file(Path(__file__).parent.parent / "meters/gpu/two_gpus.json"))
        meter.start(Target(None, EnergyCoefficients()))
        made = GpuWatch([meter], RunSpec(configuration=Configuration(artifact_id="a" * 64, engine="llama.cpp")))
        made.expect()
        return made

    return make


def test_the_gpus_of_a_run_are_those_declared_until_it_is_seen_where_it_holds_memory(
    watch: Callable[[int], GpuWatch],
) -> None:
    assert watch(0).used == ()
    assert watch(1).used == ("0",)
    elsewhere = watch(1)
    elsewhere.take([told(21, 0, 5 * GB)])
    assert elsewhere.used == ("1",)
    # One that cannot be read any more stays among them.
    lost = watch(2)
    lost.take([sample(21, Phase.SPEED, gpu_memory_bytes__0=5.0 * GB)])
    assert lost.used == lost.cards == ("0", "1")
    undeclared = watch(0)
    undeclared.take([told(21, 0, 5 * GB)])
    assert undeclared.used == ("1",)


def test_an_engine_that_declares_gpus_on_a_machine_without_a_meter_for_them_still_names_them(
    watch: Callable[[int], GpuWatch],
) -> None:
    watch(2)
    bare = GpuWatch([], RunSpec(configuration=Configuration(artifact_id="a" * 64, engine="llama.cpp")))
    bare.expect()
    assert bare.cards == ("0", "1")
    bare.check()
    assert bare.disturbances() == ()
