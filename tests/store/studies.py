"""Small studies and records for the tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trilemma.records import AnswerRecord, HostInfo, PhaseWindow, RequestRecord, RunRecord, Sample
from trilemma.schema import (
    Artifact,
    Configuration,
    Measurement,
    Method,
    Phase,
    Provenance,
    RunSpec,
    RunState,
    StudySpec,
)
from trilemma.store import Store

HOST = HostInfo(id="h", system="Linux", machine="x86_64", cpu="c", cores=2, memory_bytes=2**30, packages={"a": "1"})
PROVENANCE = Provenance(
    method=Method.MEASURED, source="llama.cpp", scope="process tree", window_s=1.5, reasons=("why",)
)


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'trilemma.db'}"


def artifact(number: int = 0, **more: Any) -> Artifact:
    values = {"path": f"/models/{number}.gguf", "model": "M", "quantization": f"Q{number}", "size_bytes": 10 + number}
    return Artifact.model_validate({"id": f"{number:064x}", "source": "folder"} | values | more)


def run_specs(count: int, **settings: Any) -> list[RunSpec]:
    configuration = Configuration(artifact_id=artifact().id, engine="llama.cpp", settings=settings)
    return [RunSpec(configuration=configuration, repeat=repeat) for repeat in range(count)]


def add(store: Store, specs: Sequence[RunSpec], name: str = "study", **more: Any) -> tuple[str, list[str]]:
    """A study of these runs: its id, and the runs' ids in order."""
    spec = StudySpec(name=name, configurations=(specs[0].configuration,), **more)
    study = store.add_study(spec, specs)
    return study.id, [run.id for run in store.runs(study.id)]


def claim(store: Store) -> RunRecord:
    run = store.claim_next("worker")
    assert run is not None
    return run


def measurement(figure: str = "ttft_s", value: float | None = 1.0, **more: Any) -> Measurement:
    return Measurement.model_validate({"figure": figure, "value": value, "n": 3, "provenance": PROVENANCE} | more)


def records(count: int = 3, text: str = "text") -> dict[str, Any]:
    return {
        "phases": [PhaseWindow(phase=Phase.SPEED, subject="w", start_ns=1, end_ns=100)],
        "samples": [Sample(time_ns=10 + i, phase=Phase.SPEED, values={"rss_bytes": i + 0.5}) for i in range(count)],
        "requests": [
            RequestRecord(workload="w", index=i, submitted_ns=i, token_times_ns=(i + 5, i + 9), prompt=text, text=text)
            for i in range(count)
        ],
        "answers": [
            AnswerRecord(
                suite="s", item_id=f"item {i}", index=i, prompt=text, answer=text, scores={"accuracy": 1.0},
                detail={"logprobs": [-1.5, None], "deep": {"a": [1]}},
            )
            for i in range(count)
        ],
    }  # fmt: skip


def finish(store: Store, run: RunRecord, value: float = 1.0, state: RunState = RunState.DONE, **more: Any) -> None:
    store.start_run(run.id, HOST)
    store.write_batch(run.id, **records())
    store.set_measurements(run.id, [measurement("ttft_s", value), measurement("decode_tps", 2 * value, subject="w")])
    assert store.finish_run(run.id, state, **more)
