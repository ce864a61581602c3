"""What the demo measures; that it measures is seen by running it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from trilemma.catalog.catalog import Catalog
from trilemma.demo import LADDERS, QUICK_LADDERS, demo_study, ladders, queue_demo
from trilemma.schema import Artifact
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.study import plan


def quiet() -> Console:
    return Console(file=io.StringIO())


def nine(store: Store) -> list[Artifact]:
    names = [(package, name) for package, steps in LADDERS.items() for name in steps]
    return [
        store.add_artifact(
            Artifact(
                id=f"{number:064x}", path=f"/{number}.gguf", model=package, quantization=name, size_bytes=10**8,
                context_length=2048, parameters=10**8, bits_per_weight=16 - number, source="folder",
            )
        )
        for number, (package, name) in enumerate(names)
    ]  # fmt: skip


def test_nine_configurations_twice_and_questions_once(store: Store) -> None:
    runs = plan(demo_study(nine(store), get_settings()), store.artifacts())
    assert len(runs) == 18
    asked = [run for run in runs if run.suites]
    assert len({run.configuration.artifact_id for run in asked}) == len(asked) == 9
    limits = {suite.name: suite.limit or 0 for suite in asked[0].suites}
    assert limits["hellaswag"] >= 100
    assert limits["piqa"] >= 100
    assert {"perplexity", "divergence"} <= set(limits)


def test_queueing_it_again_queues_nothing(store: Store) -> None:
    spec = demo_study(nine(store), get_settings())
    first = queue_demo(store, spec, quiet())
    again = queue_demo(store, spec, quiet())
    assert again.id == first.id
    assert len(store.runs()) == 18


def test_cancelled_runs_are_queued_again(store: Store) -> None:
    spec = demo_study(nine(store), get_settings())
    first = queue_demo(store, spec, quiet())
    store.request_cancel(store.runs(study_id=first.id)[0].id)
    again = queue_demo(store, spec, quiet())
    assert again.id != first.id
    assert len(store.runs()) == 19


@pytest.mark.llama
def test_the_quick_ladder_is_made_once(store: Store, home: Path) -> None:
    catalog = Catalog(store, get_settings())
    made = ladders(catalog, QUICK_LADDERS, quiet())
    assert [artifact.quantization for artifact in made] == ["Q8_0", "Q2_K"]
    times = [Path(artifact.path).stat().st_mtime_ns for artifact in made]
    assert ladders(catalog, QUICK_LADDERS, quiet()) == made
    assert [Path(artifact.path).stat().st_mtime_ns for artifact in made] == times
