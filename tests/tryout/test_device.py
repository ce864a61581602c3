"""A try-out and the queue never use the machine at once, and the queue goes first."""

from __future__ import annotations

import pytest
from hosts import ask, contender

from trilemma.errors import RunError
from trilemma.jobs.local import LocalExecutor
from trilemma.schema import RunSpec, StudySpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.tryout.__main__ import Host
from trilemma.tryout.device import DEVICE, reserve
from trilemma.tryout.messages import Word


def queue_run(store: Store) -> None:
    one = contender()
    store.add_artifact(one.artifact)
    spec = StudySpec(name="s", configurations=(one.configuration,))
    store.add_study(spec, [RunSpec(configuration=one.configuration)])


def test_while_it_is_held_no_worker_gets_the_device(settings: Settings, store: Store) -> None:
    reservation = reserve(settings, store)
    assert LocalExecutor(settings).reserve(DEVICE) is None
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
    worker = LocalExecutor(settings).reserve(DEVICE)
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
