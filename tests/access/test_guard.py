"""What is allowed is done and noted in one transaction; what is not leaves the store as it was, and a refusal."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests import factory
from trilemma.access import limits as limits_module
from trilemma.access.guard import Guard
from trilemma.access.identity import User, at_terminal
from trilemma.access.roles import Action, Role
from trilemma.access.rules import Limits, Rules
from trilemma.bench.run_log import log_path_of
from trilemma.errors import AccessError, LimitError, NotFoundError, SignInError, StoreError
from trilemma.records import Choice, Outcome, Vote
from trilemma.schema import Artifact, Configuration, RunSpec, RunState, StudySpec, SuiteSpec
from trilemma.settings import Settings
from trilemma.store import Store, tables
from trilemma.store.audit import LONGEST
from trilemma.store.kept import path_of
from trilemma.study import delete

WEIGHTS = factory.artifact(factory.SMOL, "Q8_0")
CONFIGURATION = Configuration(artifact_id=WEIGHTS.id, engine="llama.cpp")
ANN, BOB = "ann@example.org", "bob@example.org"
As = Callable[..., Guard]


@pytest.fixture
def who(store: Store, settings: Settings) -> As:
    """A guard of somebody."""

    def make(name: str = ANN, role: Role = Role.ANALYST, **limits: Any) -> Guard:
        return Guard(store, User(name, name, role), Rules(limits=Limits(**limits)), settings)

    return make


def queue(store: Store, count: int = 1, first: int = 0) -> list[str]:
    specs = [RunSpec(configuration=CONFIGURATION, repeat=first + number) for number in range(count)]
    study = store.add_study(StudySpec(name="s", configurations=(CONFIGURATION,)), specs)
    return [run.id for run in store.runs(study.id)]


def content(store: Store) -> dict[str, list[Any]]:
    """Every row of every table but the log."""
    with store._db.read() as connection:
        return {
            table.name: list(connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all())
            for table in tables.metadata.sorted_tables
            if table.name != "audit"
        }


def last(store: Store) -> tuple[str, str, str, Outcome]:
    entry = store.audit(1)[0]
    return entry.who, entry.action, entry.subject, entry.outcome


def test_the_store_for_reading_refuses_every_write(store: Store, home: Path) -> None:
    """Found by looking for methods that begin a write, so that one which is added later is tried as well."""
    store.add_artifact(WEIGHTS)
    (run_id,) = queue(store)
    vote = Vote(source="", prompt="p", a_id="a", b_id="b", a_answer="1", b_answer="2", choice=Choice.A)
    known: dict[str, Any] = {"run_id": run_id, "artifact_id": WEIGHTS.id, "a": WEIGHTS, "vote": vote, "vote_id": "v"}
    known |= {"study_id": store.studies()[0].id, "spec": store.studies()[0].spec, "runs": (), "state": RunState.DONE}
    before = content(store)
    tried = set()
    for name, method in inspect.getmembers(Store, inspect.isfunction):
        if name.startswith("_") or "self._db.write(" not in inspect.getsource(method):
            continue
        wanted = [p for p in inspect.signature(method).parameters.values() if p.default is p.empty][1:]
        arguments = [known.get(p.name) for p in wanted if p.kind is p.POSITIONAL_OR_KEYWORD]
        with pytest.raises((AccessError, AttributeError, TypeError)) as caught:
            getattr(store.reading(), name)(*arguments)
        tried |= {name} if isinstance(caught.value, AccessError) else set()
    assert {"add_study", "delete_study", "add_artifact", "forget_artifact", "request_cancel", "retry", "claim_next",
            "add_vote", "delete_vote", "remove_sample", "write_batch", "finish_run", "add_rerun"} <= tried  # fmt: skip
    assert content(store) == before


@pytest.mark.parametrize("role", [Role.VIEWER])
@pytest.mark.parametrize("action", [action for action in Action if action is not Action.SIGN_IN])
def test_a_viewer_is_refused_everything(action: Action, role: Role, who: As, store: Store, home: Path) -> None:
    store.add_artifact(WEIGHTS)
    (run_id,) = queue(store)
    before = content(store)
    with pytest.raises(AccessError, match="Your role, viewer, may not"):
        who(role=role).doing(action, run_id, owner=ANN)
    assert content(store) == before
    assert last(store) == (ANN, action.value, run_id, Outcome.REFUSED)


@pytest.mark.parametrize("where", ["judge_url", "prometheus_url"])
def test_whom_a_study_has_the_server_ask_is_for_administrators(where: str, who: As, store: Store) -> None:
    """The key to it is named in the study as well: whoever chose both could read any variable of the server's."""
    named: dict[str, Any] = {where: "http://evil.example/v1", "judge_key_env": "HF_TOKEN"}
    spec = StudySpec(name="s", configurations=(CONFIGURATION,), suites=(SuiteSpec(name="own", options=named),))
    if where == "prometheus_url":
        asking = CONFIGURATION.model_copy(update={"settings": named})
        spec = StudySpec(name="s", configurations=(CONFIGURATION, asking))
    with pytest.raises(AccessError, match="takes an admin's"):
        who().doing(Action.SUBMIT, "s", spec=spec)
    assert last(store) == (ANN, "name an address to be asked", "s", Outcome.REFUSED)
    who(role=Role.ADMIN).doing(Action.SUBMIT, "s", spec=spec)
    who().doing(Action.SUBMIT, "s", spec=StudySpec(name="s", configurations=(CONFIGURATION,)))


def test_who_asked_for_it_is_kept_with_it(who: As, store: Store) -> None:
    guard = who()
    with guard.doing(Action.ADD_WEIGHTS, "package:x") as changed:
        changed.add_artifact(WEIGHTS)
    with guard.doing(Action.SUBMIT, "s") as changed:
        (run_id,) = queue(changed)
    assert store.created_by("artifact", WEIGHTS.id) == ANN
    assert (store.run(run_id).created_by, store.studies()[0].created_by) == (ANN, ANN)
    assert [entry.action for entry in store.audit()] == ["submit a study", "add weights"]
    with who(BOB).doing(Action.ADD_WEIGHTS, "package:x") as changed:
        changed.add_artifact(WEIGHTS)  # the same bytes again
    assert store.created_by("artifact", WEIGHTS.id) == ANN
    store.claim_next("w")
    store.start_run(run_id, factory.HOST)
    store.finish_run(run_id, RunState.DONE, disturbed=True, disturbances=["x"])
    assert store.run(store.add_rerun(run_id)).created_by == ANN


def test_of_others_only_administrators_cancel_and_delete(who: As, store: Store) -> None:
    with who().doing(Action.SUBMIT) as changed:
        changed.add_artifact(WEIGHTS)
        (run_id,) = queue(changed)
    for action, subject in ((Action.CANCEL_RUN, run_id), (Action.DELETE_WEIGHTS, WEIGHTS.id)):
        with pytest.raises(AccessError, match="somebody else's"):
            who(BOB).doing(action, subject)
        assert last(store) == (BOB, action.value, subject, Outcome.REFUSED)
        who("root@example.org", Role.ADMIN).doing(action, subject)
    with who().doing(Action.CANCEL_RUN, run_id) as changed:
        changed.request_cancel(run_id)
    assert store.run(run_id).state is RunState.CANCELLED
    for action in (Action.CANCEL_RUN, Action.DELETE_STUDY):
        with pytest.raises(NotFoundError):
            who().doing(action, "0" * 12)
    with pytest.raises(AccessError, match="may not"):  # whether there is such a run is not told
        who(role=Role.VIEWER).doing(Action.CANCEL_RUN, "0" * 12)


def test_the_log_and_the_deed_stand_or_fall_together(who: As, store: Store, home: Path, monkeypatch: Any) -> None:
    before = content(store)
    deed = who().doing(Action.SUBMIT, "s")
    with monkeypatch.context() as patched:
        patched.setattr(limits_module, "run_seconds", lambda *_: 1.0)
        patched.setattr("trilemma.store.audit._insert", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError), deed as changed:
            queue(changed)
    assert content(store) == before
    with pytest.raises(StoreError), who().doing(Action.SUBMIT, "again") as changed:
        changed.delete_study("no such study")
    assert last(store) == (ANN, "submit a study", "again", Outcome.FAILED)
    assert "no such study" in store.audit(1)[0].detail


def test_more_runs_than_allowed_are_not_queued_at_all(who: As, store: Store, home: Path) -> None:
    guard = who(queued_runs=3)
    with guard.doing(Action.SUBMIT) as changed:
        first, *_ = queue(changed, 2)
    before = content(store)
    with (
        pytest.raises(LimitError, match="4 runs of yours in the queue; 3 are allowed"),
        guard.doing(Action.SUBMIT, "too many") as changed,
    ):
        queue(changed, 2, first=2)
    assert content(store) == before
    assert last(store) == (ANN, "submit a study", "too many", Outcome.REFUSED)
    with who(BOB, queued_runs=3).doing(Action.SUBMIT) as changed:
        queue(changed, 3, first=5)
    store.request_cancel(first)
    with guard.doing(Action.SUBMIT) as changed:
        queue(changed, 2, first=2)
    with pytest.raises(LimitError), guard.doing(Action.RETRY_RUN, first) as changed:
        changed.retry(first)
    assert store.run(first).state is RunState.CANCELLED


def test_time_on_the_device_is_limited_by_what_was_used_and_what_is_asked_for(
    who: As, store: Store, home: Path
) -> None:
    store.add_artifact(WEIGHTS)
    with who().doing(Action.SUBMIT) as changed:
        (run_id,) = queue(changed)
    store.claim_next("w")
    store.start_run(run_id, factory.HOST)
    store.finish_run(run_id, RunState.FAILED)
    now = datetime.now(UTC).replace(tzinfo=None)
    set_times(store, run_id, now - timedelta(hours=30), now - timedelta(hours=23))  # of which one hour counts
    used = store.usage(ANN, datetime.now(UTC) - timedelta(days=1)).device_s
    assert used == pytest.approx(3600, abs=5)
    with who(device_hours_a_day=2).doing(Action.SUBMIT) as changed:
        queue(changed, 1, first=1)
    with (
        pytest.raises(LimitError, match="had the device for"),
        who(device_hours_a_day=1).doing(Action.SUBMIT) as changed,
    ):
        queue(changed, 1, first=2)
    assert len(store.runs(states=[RunState.WAITING])) == 1
    with who(device_hours_a_day=2).doing(Action.TRY_OUT, "a prompt"):
        pass
    with pytest.raises(LimitError), who(device_hours_a_day=0.5).doing(Action.TRY_OUT, "a prompt"):
        pytest.fail("it was let through")


@pytest.mark.parametrize("how", ["retry", "release", "delete"])
def test_neither_a_retry_nor_a_deletion_gives_time_on_the_device_back(how: str, who: As, store: Store) -> None:
    with who().doing(Action.SUBMIT) as changed:
        (run_id,) = queue(changed)
    store.claim_next("w")
    store.start_run(run_id, factory.HOST)
    if how != "release":
        store.finish_run(run_id, RunState.CANCELLED)
    now = datetime.now(UTC).replace(tzinfo=None)
    set_times(store, run_id, now - timedelta(hours=30), None if how == "release" else now - timedelta(hours=21))
    since = datetime.now(UTC) - timedelta(days=1)
    before = store.usage(ANN, since).device_s
    if how == "retry":
        store.retry(run_id)
    elif how == "release":
        store.release(run_id)
    else:
        assert store.delete_study(store.runs()[0].study_ids[0]) == [run_id]
    assert store.usage(ANN, since).device_s == pytest.approx(before, abs=5)
    assert before == pytest.approx(24 * 3600 if how == "release" else 3 * 3600, abs=5)
    assert store.usage(BOB, since).device_s == 0


def test_what_is_deleted_is_named_in_the_log(who: As, store: Store, settings: Settings) -> None:
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    with who().doing(Action.SUBMIT, "s") as changed:
        (run_id,) = queue(changed)
    study_id = store.studies()[0].id
    logs = [log_path_of(settings.logs_dir, run_id), path_of(settings.logs_dir, run_id)]
    others = settings.logs_dir / "worker.log"
    for path in (*logs, others):
        path.write_text("x")
    with pytest.raises(AccessError, match="somebody else's"):
        who(BOB).doing(Action.DELETE_STUDY, study_id)
    with who().doing(Action.DELETE_STUDY, study_id, detail="s") as changed:
        assert delete(changed, study_id, settings.logs_dir) == 1
    assert store.studies() == []
    assert last(store) == (ANN, "delete a study", study_id, Outcome.DONE)
    assert store.audit(1)[0].detail == "s"
    assert [path.exists() for path in (*logs, others)] == [False, False, True]


def set_times(store: Store, run_id: str, start: datetime, end: datetime | None) -> None:
    runs = tables.runs
    with store._db.write() as connection:
        connection.execute(sa.update(runs).where(runs.c.id == run_id).values(started_at=start, finished_at=end))


@pytest.fixture
def gigabyte(settings: Settings) -> Iterator[Artifact]:
    path = settings.artifacts_dir / "made.gguf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    yield WEIGHTS.model_copy(update={"path": str(path), "size_bytes": 10**9})
    path.unlink(missing_ok=True)


def test_the_disk_is_limited_also_for_what_is_fetched_at_the_same_time(
    who: As, store: Store, gigabyte: Artifact
) -> None:
    guard = who(disk_gb=2.5)
    with guard.doing(Action.QUANTISE, "first", size_bytes=10**9) as changed:
        changed.add_artifact(gigabyte)
    with guard.doing(Action.ADD_WEIGHTS, "second", size_bytes=10**9):
        with pytest.raises(LimitError, match="of the disk"), guard.doing(Action.ADD_WEIGHTS, "third", size_bytes=10**9):
            pytest.fail("it was let through")
        with who(BOB, disk_gb=2.5).doing(Action.ADD_WEIGHTS, "somebody else's", size_bytes=2 * 10**9):
            pass
    with guard.doing(Action.ADD_FILE, "questions", size_bytes=10**9):
        pass
    for size in (10**9, None):  # what has no known size as well, where nothing is left
        with pytest.raises(LimitError), who(disk_gb=2.0).doing(Action.ADD_WEIGHTS, "fourth", size_bytes=size):
            pytest.fail("it was let through")
    with who(disk_gb=2.0).doing(Action.ADD_WEIGHTS, "of a package, where it is", size_bytes=0):
        pass
    Path(gigabyte.path).unlink()
    with guard.doing(Action.ADD_WEIGHTS, "after one was deleted", size_bytes=10**9):
        pass


def test_what_turns_out_larger_than_was_known_has_to_fit_too(who: As, store: Store) -> None:
    """A search of the hub tells no sizes; the first bytes of a download do."""
    guard = who(disk_gb=2.5)
    with pytest.raises(LimitError, match="of the disk"), guard.doing(Action.ADD_WEIGHTS, "first") as _:
        deed = guard.doing(Action.ADD_WEIGHTS, "second")
        with deed:
            for _ in range(3):
                deed.room_for(2 * 10**9)
            with pytest.raises(LimitError), guard.doing(Action.ADD_WEIGHTS, "third", size_bytes=10**9):
                pytest.fail("it was let through")
            deed.room_for(3 * 10**9)
    with guard.doing(Action.ADD_WEIGHTS, "all is given back", size_bytes=2 * 10**9):
        pass
    for deed in (guard.doing(Action.ADD_WEIGHTS, "where it is", size_bytes=0), who().doing(Action.ADD_WEIGHTS, "all")):
        with deed:
            deed.room_for(10**15)


def test_a_log_in_that_is_over_does_nothing_any_more(store: Store, settings: Settings, home: Path) -> None:
    user = User(ANN, "Ann", Role.ADMIN, until=datetime.now(UTC) - timedelta(seconds=1))
    before = content(store)
    with pytest.raises(SignInError):
        Guard(store, user, Rules(), settings).doing(Action.PAUSE)
    assert content(store) == before
    assert last(store)[3] is Outcome.REFUSED


def test_the_log_is_short_without_keys_and_for_administrators(who: As, store: Store) -> None:
    viewer = who(role=Role.VIEWER)
    for _ in range(5):
        with pytest.raises(AccessError):
            viewer.require(Action.SUBMIT, "again and again")
    assert len(store.audit()) == 1
    with pytest.raises(StoreError), who().doing(Action.ADD_WEIGHTS, "hub:x" + "y" * 1000):
        raise StoreError("It said: authorization: Bearer hf_abcdefghijklmnop and " + "z" * 1000)
    entry = store.audit(1)[0]
    assert (len(entry.subject), len(entry.detail)) == (LONGEST, LONGEST)
    assert "hf_abcdefgh" not in entry.detail
    with pytest.raises(AccessError):
        who().audit(10)
    assert who(role=Role.ADMIN).audit(10)[0].action == Action.READ_AUDIT.value


def test_whoever_has_the_terminal_is_administrator_by_their_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    assert at_terminal() == User("terminal:ann", "ann", Role.ADMIN)


def test_the_log_has_room_for_every_word_of_ours() -> None:
    columns = tables.audit.c
    for words, column in ((Action, columns.action), (Role, columns.role), (Outcome, columns.outcome)):
        assert max(len(word.value) for word in words) <= column.type.length
