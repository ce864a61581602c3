"""Power cuts: runs are recorded through the real store while its writes and syncs are noted, then the power goes."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from benchmarks.faults_disk_tools import Event, PowerCut, power_cuts, recorded
from benchmarks.faults_tools import STEPS, Fault, Verdict, add_runs, incomplete, integrity
from trilemma.bench.recorder import Recorder
from trilemma.errors import TrilemmaError
from trilemma.records import AnswerRecord, HostInfo, PhaseWindow, RequestRecord, Sample
from trilemma.schema import Measurement, Method, Phase, Provenance, RunState
from trilemma.store import Store, open_store
from trilemma.store.kept import Batch

KIND = "power cut"
_HOST = HostInfo(id="test", system="Linux", machine="x86_64", cpu="", cores=1, memory_bytes=1)
_SOURCE = Provenance(method=Method.MEASURED, source="test")


def work(home: Path, runs: int, reopen_every: int = 8) -> list[Event]:
    """Queue, measure and finish ``runs`` runs in a store below ``home``; what was said to be kept is noted.

    The store is closed and opened again now and then, since SQLite ends its log with the last connection.
    """
    url = f"sqlite:///{home.resolve() / 'trilemma.db'}"
    with recorded(home) as recording:
        for first in range(0, runs, reopen_every):
            with open_store(url) as store:
                for number in range(first, min(first + reopen_every, runs)):
                    for run_id in add_runs(store, 1, f"study {number}"):
                        recording.note(f"queued {run_id}")
                    recording.note(f"done {_measure(store, home)}")
    return recording.events


def _measure(store: Store, home: Path) -> str:
    run = store.claim_next("somebody")
    assert run is not None
    store.start_run(run.id, _HOST)
    recorder = Recorder(store, run, home / "kept", 0.0)
    for step in range(STEPS):
        batch = Batch(
            phases=(PhaseWindow(phase=Phase.SPEED, start_ns=1, end_ns=step),),
            samples=(Sample(time_ns=step, phase=Phase.SPEED, values={"rss_bytes": float(step)}),),
            requests=(RequestRecord(workload="w", index=step, submitted_ns=step, token_times_ns=(step + 1,)),),
            answers=(
                AnswerRecord(suite="s", item_id=str(step), index=step, prompt="p" * 6000, answer="a" * 3000, scores={}),
            ),
        )
        recorder.write(batch, (step / STEPS, "working", Phase.SPEED, None))
        recorder.wait()
    recorder.finish(RunState.DONE, [Measurement(figure="ttft_s", value=1.0, n=STEPS, provenance=_SOURCE)])
    return run.id


def found_after(cut: PowerCut, home: Path, folder: Path) -> Verdict:
    """What is wrong with the store that a power cut leaves; ``home`` is where it was written."""
    folder.mkdir(parents=True)
    for path, content in cut.files.items():
        (folder / Path(path).relative_to(home.resolve())).write_bytes(content)
    verdict = Verdict()
    database = folder / "trilemma.db"
    try:
        with open_store(f"sqlite:///{database}") as store:
            states = {run.id: run.state for run in store.runs()}
            for note in cut.noted:
                what, _, run_id = note.partition(" ")
                if run_id not in states or (what == "done" and states[run_id] is not RunState.DONE):
                    verdict.lost.append(f"{note}, but it is {states.get(run_id, 'not there')} ({cut.manner})")
            for run in store.runs(states=[RunState.DONE]):
                if missing := incomplete(store, run):
                    verdict.lost.append(f"{run.id}: {missing} ({cut.manner})")
        verdict.corrupted += integrity(database)
    except (TrilemmaError, sqlite3.Error) as error:
        verdict.corrupted.append(f"after {cut.at} events ({cut.manner}): {error}")
    return verdict


def cut_power(folder: Path, count: int, seed: int, runs: int = 16) -> Verdict:
    """Record ``runs`` runs, and cut the power ``count`` times at random moments."""
    generator = random.Random(seed)
    home = folder / "home"
    home.mkdir(parents=True)
    events = work(home, runs)
    verdict = Verdict()
    for number, cut in enumerate(power_cuts(events, _moments(events, count, generator), generator)):
        fault = Fault(KIND, f"after {cut.at} of {len(events)} writes and syncs, {cut.manner} survives")
        found = found_after(cut, home, folder / f"cut-{number}")
        acknowledged = sum(note.startswith("done") for note in cut.noted)
        fault.outcome = "lost or corrupted" if found.lost or found.corrupted else "done"
        fault.cause = f"{acknowledged} runs had been acknowledged"
        verdict.faults.append(fault)
        verdict += found
    return verdict


def _moments(events: Sequence[Event], count: int, generator: random.Random) -> list[int]:
    """Half of them anywhere, half right after something was acknowledged: then it matters most."""
    after_notes = [number + 1 for number, event in enumerate(events) if event.what == "note"]
    anywhere = [generator.randint(1, len(events)) for _ in range(count - count // 2)]
    return anywhere + [generator.choice(after_notes) for _ in range(count // 2)]
