"""A try-out and the queue never use the machine at once, and the queue goes first."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hosts import ask, contender

from trilemma.bench.child import Child
from trilemma.errors import RunError
from trilemma.jobs.local import LocalExecutor
from trilemma.schema import RunSpec, StudySpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.tryout import __main__ as host_module
from trilemma.tryout.__main__ import Host
from trilemma.tryout.device import reserve
from trilemma.tryout.messages import WORD, Question, Task, Word, Written


def queue_run(store: Store) -> None:
    one = contender()
    store.add_artifact(one.artifact)
    spec = StudySpec(name="s", configurations=(one.configuration,))
    store.add_study(spec, [RunSpec(configuration=one.configuration)])


def test_while_it_is_held_no_worker_gets_the_device(settings: Settings, store: Store) -> None:
    reservation = reserve(settings, store)
    assert LocalExecutor(settings).reserve(settings.device) is None
    with pytest.raises(RunError, match="Something else has this machine"):
        reserve(settings, store, within_s=0.0)
    reservation.release()
    reserve(settings, store).release()


def test_a_run_that_waits_goes_first_unless_the_queue_is_paused(settings: Settings, store: Store) -> None:
    queue_run(store)
    with pytest.raises(RunError, match="they go first"):
        reserve(settings, store)
    store.pause_queue()
    reserve(settings, store).release()


def test_a_run_that_is_measured_is_named(settings: Settings, store: Store) -> None:
    queue_run(store)
    worker = LocalExecutor(settings).reserve(settings.device)
    assert worker is not None
    assert store.claim_next("test") is not None
    with pytest.raises(RunError, match=r"A run is being measured \(tiny Q0, 0% done\)"):
        reserve(settings, store)
    worker.release()


def test_a_try_out_that_may_not_begin_says_why_for_each_and_starts_nothing(settings: Settings, store: Store) -> None:
    queue_run(store)
    said: list[tuple[str, Word]] = []
    asked = ask()
    Host(asked, store, settings, lambda one, word: said.append((one, word)), lambda: False, meters=[]).run()
    assert [one for one, _ in said] == [one.id for one in asked.contenders]
    assert {word.kind for _, word in said} == {"failed"}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The answering process is ``obedient.py``, and what it leaves behind is ours, as in the host's own process."""
    monkeypatch.setattr(host_module, "_ANSWERING", "obedient")
    monkeypatch.setattr(host_module, "check_fits", lambda *_: None)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    host_module.adopt_orphans()
    yield
    host_module.adopt_orphans(False)


@pytest.mark.skipif(sys.platform != "linux", reason="no other system gives us what a child leaves behind")
@pytest.mark.parametrize("prompt", ["leave", "crash"])
@pytest.mark.usefixtures("stand_in")
def test_nothing_that_an_answering_process_started_is_left(settings: Settings, store: Store, prompt: str) -> None:
    said: list[Word] = []
    bystander = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        Host(ask(1, prompt), store, settings, lambda _, word: said.append(word), lambda: False, meters=[]).run()
        written = next(word for word in said if isinstance(word, Written))
        assert not psutil.pid_exists(int(written.text))
        assert bystander.poll() is None
    finally:
        bystander.communicate()
    assert [word.kind for word in said if word.kind != "reading"] == [
        "loading", "ready", "written", *(["failed"] if prompt == "crash" else []),
    ]  # fmt: skip


@pytest.mark.usefixtures("stand_in")
def test_a_child_that_is_held_ends_when_it_is_released(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        task = Task(contender=contender(), question=Question(prompt="stay", max_tokens=1))
        child = Child("obedient", task, WORD, log=log, held=True)
        try:
            words: list[Word] = []
            while len(words) < 2 and not child.finished:
                words += child.events(0.1)
            assert child.exit_status is None
            child.release()
            while not child.finished:
                child.events(0.1)
            assert child.exit_status == 0
        finally:
            child.close()
    assert (tmp_path / "log").read_text() == "released"


def test_nobody_is_asked_when_nobody_wants_answers(settings: Settings, store: Store) -> None:
    said: list[tuple[str, Word]] = []
    Host(ask(), store, settings, lambda one, word: said.append((one, word)), lambda: True, meters=[]).run()
    assert said == []
    reserve(settings, store, within_s=0.0).release()


def test_a_configuration_that_cannot_be_loaded_does_not_keep_the_next_from_its_turn(
    settings: Settings, store: Store
) -> None:
    said: list[tuple[str, Word]] = []
    Host(ask(), store, settings, lambda one, word: said.append((one, word)), lambda: False, meters=[]).run()
    assert [word.kind for _, word in said] == ["failed", "failed"]
    assert len({one for one, _ in said}) == 2
