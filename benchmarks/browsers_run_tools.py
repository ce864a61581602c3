"""A run that is measured while people use the dashboard, and how far its figures are from those of quiet runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import say
from benchmarks.overhead import artifact_of, demo_model
from trilemma.meters.windows import channel
from trilemma.records import RunRecord
from trilemma.schema import Configuration, Measurement, Phase, RunSpec, RunState, StudySpec, WorkloadSpec
from trilemma.store import Store, open_store

MOVED = 0.02
"""A share; what differs by more has moved, if the intervals say so too."""
CHAT = WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=30)
COMPARED = ("decode_tps", "prefill_tps", "ttft_s", "tpot_s", "e2e_s", "output_tps", "energy_per_token_j", "cpu_cores")


@dataclass(frozen=True)
class Measured:
    """One run, and what the store has of it."""

    run: RunRecord
    figures: dict[str, Measurement]
    dashboard_cores: float


def measured(home: Path, requests: int, name: str, repeat: int) -> Measured:
    """Measure the demo's model, as a worker does.

    Raises:
        RuntimeError: the run failed.
    """
    with open_store(f"sqlite:///{home / 'trilemma.db'}") as store:
        artifact = artifact_of(demo_model())
        store.add_artifact(artifact)
        configuration = Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={"context": 512})
        chat = CHAT.model_copy(update={"requests": requests})
        spec = StudySpec(name=name, configurations=(configuration,), workloads=(chat,), repeats=1)
        store.add_study(spec, [RunSpec(configuration=configuration, workloads=(chat,), repeat=repeat)])
        run = store.claim_next("benchmark")
        assert run is not None
        environment = os.environ | {"TRILEMMA_HOME": str(home)}
        environment.pop("TRILEMMA_DATABASE", None)
        subprocess.run([sys.executable, "-m", "trilemma.bench", run.id], env=environment, check=True)
        done = store.run(run.id)
        if done.state is not RunState.DONE:
            raise RuntimeError(f"The run failed: {done.reason}\n{done.log_tail}")
        figures = {one.key: one for one in store.measurements(run.id) if one.figure in COMPARED}
        found = Measured(done, figures, _dashboard_cores(store, run.id))
    decode = next(one for one in found.figures.values() if one.figure == "decode_tps")
    say(
        f"{name}: {decode.value:.1f} tok/s; the dashboard used {found.dashboard_cores:.3f} cores meanwhile; "
        + (f"DISTURBED: {'; '.join(done.disturbances)}" if done.disturbed else "not disturbed")
    )
    return found


def _dashboard_cores(store: Store, run_id: str) -> float:
    """What the run's own samples say of the dashboard while speed was measured."""
    (window,) = (one for one in store.phases(run_id) if one.phase is Phase.SPEED)
    assert window.end_ns is not None
    times, seconds = channel(store.samples(run_id), "dashboard_cpu_s", window.start_ns, window.end_ns)
    return float((seconds[-1] - seconds[0]) / ((times[-1] - times[0]) / 1e9))


@dataclass(frozen=True)
class Shift:
    """How far a figure is from what quiet runs found, as a share, and whether that is more than chance and 2 %."""

    key: str
    share: float
    moved: bool


def shifts(quiet: Sequence[Measured], loaded: Measured) -> list[Shift]:
    """Of each figure that all runs have."""
    found = []
    for key, now in loaded.figures.items():
        before = [one.figures[key] for one in quiet if key in one.figures]
        values = [one.value for one in before if one.value is not None]
        if len(values) < len(quiet) or now.value is None or not all(values):
            continue
        share = now.value / (sum(values) / len(values)) - 1
        low, high = min(_ends(one)[0] for one in before), max(_ends(one)[1] for one in before)
        apart = _ends(now)[1] < low or _ends(now)[0] > high
        found.append(Shift(key, share, abs(share) > MOVED and apart))
    return found


def largest(found: Sequence[Shift]) -> float:
    """The largest shift of those that have moved, as a share; 0 if none has."""
    return max((one.share for one in found if one.moved), key=abs, default=0.0)


def named(one: Measured) -> bool:
    """Whether the dashboard is among the reasons for which the run is flagged."""
    return any("dashboard" in why for why in one.run.disturbances)


def _ends(one: Measurement) -> tuple[float, float]:
    assert one.value is not None
    return (one.value if one.low is None else one.low, one.value if one.high is None else one.high)
