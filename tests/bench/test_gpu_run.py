"""Whole runs on replayed GPUs: a real engine and real weights, the GPUs' readings out of a recording."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from trilemma.bench.run_log import log_path_of
from trilemma.bench.supervisor import Supervisor
from trilemma.catalog.catalog import Catalog
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.errors import MeterError
from trilemma.meters.gpu.driver import GpuDevice, GpuDriver, NoGpus
from trilemma.meters.gpu.meter import GpuMeter
from trilemma.meters.gpu.replay import GpuRecording, Presence, ReplayDriver
from trilemma.meters.sampler import open_meters
from trilemma.records import RunRecord
from trilemma.schema import Artifact, Configuration, Method, RunState, StudySpec, WorkloadSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.study import submit

pytestmark = pytest.mark.llama

RECORDING = Path(__file__).parent.parent / "meters/gpu/two_gpus.json"
CHAT = WorkloadSpec(name="short_chat", prompt_tokens=64, output_tokens=60, requests=5)


@pytest.fixture
def recording() -> GpuRecording:
    return GpuRecording.model_validate_json(RECORDING.read_text())


@pytest.fixture
def stranger() -> Iterator[int]:
    process = subprocess.Popen(["sleep", "600"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def artifact(store: Store, settings: Settings, smollm2_path: Path) -> Artifact:
    return Catalog(store, settings).add_path(smollm2_path)


@pytest.fixture
def on_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that says before it is loaded that it takes both GPUs, as vLLM does."""
    monkeypatch.setattr(LlamaCpp, "gpus_used", lambda self, settings: 2, raising=False)


def measure(
    store: Store, settings: Settings, artifact: Artifact, recording: GpuRecording | GpuDriver, **more: bool
) -> RunRecord:
    configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 512, "threads": 1})
    spec = StudySpec(
        name="gpu", configurations=(configuration,), workloads=(CHAT,), idle_s=1.0, repeats=1, rerun_disturbed=False
    ).model_copy(update=more)
    submit(store, spec)
    run = store.claim_next("test")
    assert run is not None
    meters = [meter for meter in open_meters() if meter.name != "gpu"]
    meters.append(GpuMeter(ReplayDriver(recording) if isinstance(recording, GpuRecording) else recording))
    done = Supervisor(store, run.id, log_path_of(settings.logs_dir, run.id), meters=meters).measure()
    assert done is not None
    return done


def joined_by(recording: GpuRecording, pid: int, after_s: float = 0.0) -> GpuRecording:
    """``recording`` with a process of somebody else on GPU 0."""
    first, second = recording.gpus
    other = Presence(pid=pid, name="/opt/conda/bin/python\n", memory_bytes=2_147_000_000, after_s=after_s)
    first = first.model_copy(update={"processes": (*first.processes, other)})
    return recording.model_copy(update={"gpus": (first, second)})


def run_page(run_id: str) -> AppTest:
    def script() -> None:
        from pages import run

        run.page()

    st.cache_resource.clear()
    app = AppTest.from_function(script, default_timeout=60)
    app.query_params["id"] = run_id
    return app.run()


def test_two_gpus_of_which_one_gets_hot(
    store: Store, settings: Settings, artifact: Artifact, recording: GpuRecording
) -> None:
    # Nothing is declared: that the run computes on GPUs is seen from where its processes hold memory.
    done = measure(store, settings, artifact, recording)
    assert done.state is RunState.DONE, done.reason + done.log_tail
    assert done.host is not None
    assert done.host.gpus == ("GPU 0: NVIDIA A100-SXM4-80GB", "GPU 1: NVIDIA A100-SXM4-80GB")
    assert done.host.gpu_driver == "550.54.15"
    assert done.disturbed
    hot = [sentence for sentence in done.disturbances if sentence.startswith("GPU")]
    assert len(hot) == 1
    assert hot[0].startswith("GPU 1 was throttled for ")
    assert hot[0].endswith("of speed (short_chat): heat")

    found = {m.key: m for m in store.measurements(done.id)}
    assert found["peak_gpu_memory_bytes"].value == 41_943_040_000 + 41_523_609_600
    assert found["gpu_memory_bytes@GPU 1"].value == 41_523_609_600
    peak = found["peak_memory_bytes"].value
    assert peak
    assert peak < 2e9, "the host's memory stands beside, not in, the GPUs'"
    energy = found["energy_j@short_chat"]
    assert energy.provenance.method is Method.MEASURED
    assert energy.provenance.valid, energy.provenance.reasons
    gpus = [part for part in energy.provenance.scope.split(" + ") if part.startswith("GPU")]
    assert gpus == ["GPU 0", "GPU 1"]
    power = found["power_w@short_chat"].value
    assert power is not None
    if energy.provenance.scope == "GPU 0 + GPU 1":  # no other counter on this machine
        assert 480 < power < 600, "about 350 W and 310 W, less 61 W of idle power each"
    assert found["gpu_utilization@short_chat"].value == pytest.approx(0.955, abs=0.03)
    throttled = found["gpu_throttled@short_chat"]
    assert throttled.value is not None
    assert 0.1 < throttled.value < 0.6
    told = " | ".join(throttled.provenance.reasons)
    assert "GPU 1: heat for" in told
    assert "GPU 0: power cap for" in told
    assert "(limit 400 W)" in told

    app = run_page(done.id)
    assert not app.exception
    assert "GPU 1 was throttled" in app.warning[0].value
    words = " ".join(element.value for element in [*app.markdown, *app.caption])
    assert "Peak GPU memory" in words
    frames = [frame.value for frame in app.dataframe]
    machine = next(f for f in frames if "" in f.columns and "GPUs" in list(f[""]))
    assert "A100" in " ".join(machine["value"])


def test_an_engine_that_stays_on_the_cpu_does_not_care_who_uses_the_gpu(
    store: Store, settings: Settings, artifact: Artifact, recording: GpuRecording, stranger: int
) -> None:
    alone = recording.model_copy(
        update={"gpus": tuple(gpu.model_copy(update={"processes": (), "busy": ()}) for gpu in recording.gpus)}
    )
    done = measure(store, settings, artifact, joined_by(alone, stranger))
    assert done.state is RunState.DONE, done.reason + done.log_tail
    found = {m.key: m for m in store.measurements(done.id)}
    assert "GPU" not in found["energy_j@short_chat"].provenance.scope
    assert not any("gpu" in key for key in found)
    assert not any("GPU" in sentence for sentence in done.disturbances)


@pytest.mark.usefixtures("on_gpus")
def test_a_stranger_on_the_gpu_stops_the_run_before_anything_is_loaded(
    store: Store, settings: Settings, artifact: Artifact, recording: GpuRecording, stranger: int
) -> None:
    failed = measure(store, settings, artifact, joined_by(recording, stranger))
    assert failed.state is RunState.FAILED
    assert failed.reason.startswith(f"Processes of others use GPU 0: python (pid {stranger}, 2.1 GB).")
    assert "TRILEMMA_ALLOW_SHARED_GPU" in failed.reason
    assert [window.phase.value for window in store.phases(failed.id)] == ["idle"]
    app = run_page(failed.id)
    assert f"pid {stranger}" in app.error[0].value


def test_a_stranger_who_comes_later_stops_the_run_too(
    store: Store, settings: Settings, artifact: Artifact, recording: GpuRecording, stranger: int
) -> None:
    failed = measure(store, settings, artifact, joined_by(recording, stranger, after_s=3.0))
    assert failed.state is RunState.FAILED, "the run ended before the stranger was noticed"
    assert f"python (pid {stranger}, 2.1 GB)" in failed.reason
    assert "load" in [window.phase.value for window in store.phases(failed.id)]
    assert "peak_gpu_memory_bytes" in {m.figure for m in store.measurements(failed.id)}


@pytest.mark.usefixtures("on_gpus")
def test_with_the_override_the_run_goes_on_and_is_flagged(
    store: Store, settings: Settings, artifact: Artifact, recording: GpuRecording, stranger: int
) -> None:
    done = measure(store, settings, artifact, joined_by(recording, stranger), allow_shared_gpu=True)
    assert done.state is RunState.DONE, done.reason + done.log_tail
    assert done.spec.allow_shared_gpu
    assert done.disturbed
    assert f"Processes of others use GPU 0: python (pid {stranger}, 2.1 GB)" in done.disturbances


@pytest.mark.usefixtures("on_gpus")
def test_a_gpu_that_is_lost_on_the_way_leaves_no_energy_but_a_reason(
    store: Store, settings: Settings, artifact: Artifact, recording: GpuRecording
) -> None:
    first, second = recording.gpus
    lost = second.model_copy(update={"busy": tuple(f.model_copy(update={"lost": True}) for f in second.busy)})
    done = measure(store, settings, artifact, recording.model_copy(update={"gpus": (first, lost)}))
    assert done.state is RunState.DONE, done.reason + done.log_tail
    energy = {m.key: m for m in store.measurements(done.id)}["energy_j@short_chat"]
    assert energy.value is None
    assert any("energy_j.nvml.1 was not read" in reason for reason in energy.provenance.reasons)


@pytest.mark.usefixtures("on_gpus")
def test_a_driver_that_cannot_be_used_leaves_no_energy_and_its_words_in_the_log(
    store: Store, settings: Settings, artifact: Artifact
) -> None:
    class Refusing(NoGpus):
        def devices(self) -> list[GpuDevice]:
            raise MeterError("Which ones are visible cannot be told.", "Set CUDA_DEVICE_ORDER=PCI_BUS_ID.")

    done = measure(store, settings, artifact, Refusing())
    assert done.state is RunState.DONE, done.reason + done.log_tail
    energy = {m.key: m for m in store.measurements(done.id)}["energy_j@short_chat"]
    assert energy.value is None, "the CPU's modelled energy would look like the run's"
    assert "the energy of GPU 0, which the engine computed on, could not be read" in energy.provenance.reasons
    assert "meter gpu: Which ones are visible cannot be told." in done.log_tail
