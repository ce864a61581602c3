"""What the tests of this folder share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import stand_in

from trilemma.needs import ANYWHERE, Needs
from trilemma.records import RunRecord
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.store import Store

PROGRAM = Path(stand_in.__file__)


def command(*options: str) -> list[str]:
    """The stand-in's command line, for ``work.py``."""
    return [sys.executable, str(PROGRAM), *options, "--parent-pid", "{pid}", "--", "{run}"]


def add_runs(
    store: Store,
    count: int,
    *,
    first: int = 0,
    name: str = "test",
    rerun_disturbed: bool = True,
    needs: Needs = ANYWHERE,
) -> list[str]:
    """Queue ``count`` runs that nobody has measured before; their ids in order."""
    configuration = Configuration(artifact_id="a" * 64, engine="none", settings={"study": name})
    specs = [RunSpec(configuration=configuration, repeat=first + number, needs=needs) for number in range(count)]
    spec = StudySpec(name=name, configurations=(configuration,), rerun_disturbed=rerun_disturbed)
    study = store.add_study(spec, specs)
    return [run.id for run in store.runs(study.id)]


def lines(path: Path) -> list[str]:
    """What the stand-ins noted."""
    return path.read_text().split() if path.exists() else []


def check_records(store: Store, runs: Sequence[RunRecord]) -> None:
    """Everything that a finished run wrote is there, once."""
    for run in runs:
        if run.state is RunState.DONE:
            steps = list(range(stand_in.STEPS))
            assert [sample.time_ns for sample in store.samples(run.id)] == steps
            assert [request.index for request in store.requests(run.id)] == steps
            assert [answer.index for answer in store.answers(run.id)] == steps
            assert [measurement.n for measurement in store.measurements(run.id)] == [stand_in.STEPS]
