"""Machines that share a database: each measures what was queued for it, and sees what it measured."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from pydantic import ValidationError
from support import command

from trilemma.jobs import Worker
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.settings import Settings, get_settings
from trilemma.store import Store


def run_of(run_id: str) -> list[str]:
    return [part.format(run=run_id, pid=os.getpid()) for part in command()]


def queue(store: Store, device: str) -> str:
    configuration = Configuration(artifact_id="a" * 64, engine="none")
    runs = [RunSpec(configuration=configuration, repeat=repeat, device=device) for repeat in range(2)]
    return store.add_study(StudySpec(name=device, configurations=(configuration,)), runs).id


@pytest.fixture
def rack(home: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a machine that has a name."""
    monkeypatch.setenv("TRILEMMA_DEVICE", "rack-7")
    get_settings.cache_clear()
    return get_settings()


def test_each_takes_its_own_runs_and_none_waits_for_the_other(store: Store, rack: Settings) -> None:
    here, there = queue(store, "rack-7"), queue(store, "rack-8")
    claimed = store.claim_next("other", "rack-8")
    assert claimed is not None
    Worker(store, rack, command=run_of, poll_s=0.02).run(drain=True)
    assert store.study(here).runs_by_state == {RunState.DONE: 2}
    assert store.study(there).runs_by_state == {RunState.RUNNING: 1, RunState.WAITING: 1}
    assert len(store.runs()) == 4, "the queue is everybody's"
    assert set(store.run_frame()["run_id"]) == {run.id for run in store.runs(here)}
    assert len(store.run_frame(there)) == 2


def test_where_nothing_was_measured_here_others_results_are_shown(store: Store, rack: Settings) -> None:
    there = queue(store, "rack-8")
    assert set(store.run_frame()["run_id"]) == {run.id for run in store.runs(there)}


def test_what_one_has_measured_is_measured_again_on_the_other(store: Store, rack: Settings) -> None:
    queue(store, "rack-7")
    Worker(store, rack, command=run_of, poll_s=0.02).run(drain=True)
    again = queue(store, "rack-8")
    assert store.study(again).runs_by_state == {RunState.WAITING: 2}
    elsewhere = Settings(home=rack.home / "elsewhere", database=rack.database_url, device="rack-8")
    assert Worker(store, elsewhere, command=run_of, poll_s=0.02).run(threading.Event(), once=True) == 1


@pytest.mark.parametrize("name", ["sample", "imported:x", "", "../x", "a b", "x" * 41])
def test_a_name_that_means_something_else_is_refused(home: Path, name: str) -> None:
    with pytest.raises(ValidationError, match="device"):
        Settings(home=home, device=name)
