"""What each role sees, and that a click which a page does not show does nothing."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages import models, shared
from pages.parts import entrance, gate
from tests import factory
from tests.catalog.hub_server import HubServer
from tests.pages.test_tryout import study
from tests.waiting import free_port, wait_for
from trilemma.access.roles import Action
from trilemma.errors import SettingsError, SignInError, TrilemmaError
from trilemma.records import Machine, Outcome
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec, utc_now
from trilemma.store import Store

ROOT = Path(__file__).parents[2]
ANN = "ann@example.org"
SECRET = "/srv/very secret/weights.gguf"


@pytest.fixture
def claims(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Those of whoever is here; the test may change them."""
    st.cache_resource.clear()
    (home / "access.toml").write_text('role_claim = "role"\n[roles]\n' + "".join(f'{r} = "{r}"\n' for r in ROLES))
    found: dict[str, Any] = {"is_logged_in": True, "iat": datetime.now(UTC).timestamp(), "sub": "1", "iss": "https://o"}
    found |= {"email": ANN, "email_verified": True, "role": "viewer"}
    monkeypatch.setattr(entrance, "claims", lambda: dict(found))
    monkeypatch.setattr(entrance, "people", lambda: True)
    yield found
    st.cache_resource.clear()


ROLES = ("viewer", "analyst", "admin")


def open_page(name: str, **params: str) -> AppTest:
    def script(name: str) -> None:
        import importlib

        from pages import shared

        with shared.errors_shown():
            importlib.import_module(f"pages.{name}").page()

    app = AppTest.from_function(script, args=(name,), default_timeout=120)
    for key, value in params.items():
        app.query_params[key] = value
    return app.run()


@pytest.fixture
def filled(store: Store) -> Store:
    """A study that is done, and one of Ann's with a failed, a running and a waiting run; a paused queue is not."""
    factory.fill_store(store)
    weights = factory.artifact(factory.SMOL, "Q8_0").model_copy(update={"path": SECRET})
    store.add_artifact(weights)
    store._by = ANN
    configuration = Configuration(artifact_id=weights.id, engine="llama.cpp", settings={"threads": 3})
    specs = [RunSpec(configuration=configuration, repeat=n) for n in range(3)]
    store.add_study(StudySpec(name="Ann's", configurations=(configuration,)), specs)
    failed = store.claim_next("w")
    assert failed is not None
    store.start_run(failed.id, factory.HOST)
    store.finish_run(failed.id, RunState.FAILED, reason=f"{SECRET} is gone.", log_tail=f"no {SECRET}\nHOME=/srv/x")
    assert store.claim_next("w") is not None
    store.see_machines([Machine(name="edge", seen_at=utc_now() - timedelta(hours=2))])
    return store


def content(home: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(home / "trilemma.db")) as database:
        names = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        return {name: database.execute(f'select * from "{name}"').fetchall() for name in names if name != "audit"}


def everything(app: AppTest) -> str:
    """All that is sent to the browser, tables included."""
    return "\n".join(str(element.proto) for element in app.main) + "\n".join(f.value.to_csv() for f in app.dataframe)


WHERE = ["explore", "decide", "compare", "plan", "present", "new_study", "queue", "run", "models", "machines"]
CHANGES = {"Cancel", "Cancel this run", "Retry", "Pause the queue", "Cancel what is left", "Delete it", "Add",
           "Measure", "Remove it", "A is better", "Set up a study", "Quantise into", "Make them",
           "Take it off the list"}  # fmt: skip


@pytest.mark.parametrize("name", WHERE)
def test_a_viewers_page_has_no_button_that_changes_anything_and_no_path(
    name: str, claims: dict[str, Any], filled: Store, home: Path
) -> None:
    before = content(home)
    for params in ({}, {"show": "Failed"}, {"tab": "vote"}, {"tab": "tryout"}, {"study": filled.studies()[0].id}):
        app = open_page(name, **params)
        assert not app.exception
        assert {button.label for button in app.button} & CHANGES == set()
        assert "very secret" not in everything(app)
        assert str(home) not in everything(app)
    assert content(home) == before


def test_a_viewers_run_has_neither_log_nor_paths(claims: dict[str, Any], filled: Store) -> None:
    failed = filled.runs(states=[RunState.FAILED])[0]
    app = open_page("run", id=failed.id)
    assert not app.exception
    assert "Logs are shown to analysts." in [code.value for code in app.code]
    assert "very secret" not in everything(app)
    assert "/srv" not in everything(app)
    claims["role"] = "analyst"
    assert "very secret" in everything(open_page("run", id=failed.id))


def test_an_error_tells_a_viewer_no_path(claims: dict[str, Any], home: Path, database_file: Path) -> None:
    shared.get_store().close()
    st.cache_resource.clear()
    for part in home.glob("trilemma.db-*"):
        part.unlink()
    database_file.write_bytes(b"no database" * 100)
    (text,) = (error.value for error in open_page("queue").error)
    assert str(home) not in text
    assert text.replace("\\", "").startswith("**The database cannot be used just now.**")
    claims["role"] = "analyst"
    (text,) = (error.value for error in open_page("queue").error)
    assert str(home) in text.replace("\\", "")


def test_a_database_that_is_away_tells_a_viewer_neither_its_server_nor_its_account(
    claims: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trilemma.settings import get_settings

    monkeypatch.setenv("TRILEMMA_DATABASE", f"postgresql://reader:hush@localhost:{free_port()}/figures")
    get_settings.cache_clear()
    for role, known in (("viewer", False), ("analyst", True)):
        claims["role"] = role
        (error,) = open_page("queue").error
        text = error.value.replace("\\", "")
        assert [word in text for word in ("localhost", "reader", "figures", "127.0.0.1")] == [known] * 4, text
        assert "hush" not in text
        assert known or text.startswith("**The database cannot be used just now.**")
    get_settings.cache_clear()


CLICKS = [
    ("queue", {}, "Cancel this run", Action.CANCEL_RUN),
    ("queue", {}, "Cancel", Action.CANCEL_RUN),
    ("queue", {"show": "Failed"}, "Retry", Action.RETRY_RUN),
    ("queue", {"study": ""}, "Delete it", Action.DELETE_STUDY),
    ("queue", {}, "Pause the queue", Action.PAUSE),
    ("models", {}, "Add", Action.ADD_WEIGHTS),
    ("models", {"from": ""}, "Delete it", Action.DELETE_WEIGHTS),
    ("compare", {"tab": "vote", "study": ""}, "A is better", Action.VOTE),
    ("explore", {}, "Remove it", Action.CHANGE_SAMPLE),
    ("machines", {}, "Take it off the list", Action.FORGET_MACHINE),
]


@pytest.mark.parametrize(("name", "params", "label", "action"), CLICKS, ids=str)
def test_a_click_on_a_button_that_a_viewer_was_never_shown_is_refused(
    name: str, params: dict[str, str], label: str, action: Action, claims: dict[str, Any], filled: Store, home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As if no button were hidden: what is checked is the action itself."""
    monkeypatch.setattr(entrance, "may", lambda *_: True)
    if action is Action.CHANGE_SAMPLE:
        from trilemma.sample.loading import add_sample

        add_sample(filled)
        params = {"study": "sample"}
    if action is Action.VOTE:
        for run in filled.runs(states=[RunState.WAITING, RunState.RUNNING]):  # the device is free
            filled.request_cancel(run.id)
            filled.finish_run(run.id, RunState.CANCELLED)
        study(filled, None, {"F16": ["1", "3"], "Q2_K": ["2", "4"]})
        params = params | {"study": filled.studies()[0].id}
    if action is Action.DELETE_STUDY:  # nothing of it is being measured
        params = {"study": filled.studies()[-1].id}
    if "from" in params:
        params = {"from": filled.artifacts()[0].id[:12]}
    app = open_page(name, **params)
    before = content(home)
    button = next(button for button in app.button if button.label == label)
    button.click().run()
    assert not app.exception
    assert any("Your role, viewer, may not" in error.value.replace("\\", "") for error in app.error)
    assert content(home) == before
    entry = filled.audit(1)[0]
    assert (entry.who, entry.action, entry.outcome) == (ANN, action.value, Outcome.REFUSED)


def test_the_form_of_a_study_is_not_for_viewers(claims: dict[str, Any], filled: Store) -> None:
    app = open_page("new_study", w_short_chat="true")
    assert "may not submit a study" in app.error[0].value
    assert not app.button
    assert not app.checkbox
    assert filled.audit(1)[0].action == Action.SUBMIT.value


def test_analysts_cancel_their_own_runs_and_administrators_all(claims: dict[str, Any], filled: Store) -> None:
    waiting = filled.runs(states=[RunState.WAITING])[0].id
    claims |= {"role": "analyst", "email": "bob@example.org"}
    app = open_page("queue")
    assert not {"Cancel", "Pause the queue"} & {button.label for button in app.button}
    claims["email"] = ANN
    open_page("queue").button(key=f"cancel_{waiting}").click().run()
    assert filled.run(waiting).state is RunState.CANCELLED
    assert (filled.audit(1)[0].who, filled.audit(1)[0].subject) == (ANN, waiting)
    claims |= {"role": "admin", "email": "root@example.org"}
    app = open_page("queue", show="Failed")
    app.button(key=f"retry_{waiting}").click().run()
    assert filled.run(waiting).state is RunState.WAITING
    next(button for button in app.button if button.label == "Pause the queue").click().run()
    assert filled.queue_paused()


def test_the_log_is_for_administrators_and_shows_texts_as_they_are(claims: dict[str, Any], filled: Store) -> None:
    app = open_page("audit")
    assert "may not read the audit log" in app.error[0].value
    claims["role"] = "admin"
    app = open_page("audit")
    assert not app.error
    assert list(app.dataframe[0].value["Outcome"]) == ["refused"]
    assert list(app.dataframe[0].value["Who"]) == [ANN]


def test_before_log_in_nothing_is_shown(claims: dict[str, Any], filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_providers", lambda: ["default"])
    claims["is_logged_in"] = False
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert [title.value for title in app.title] == ["Trilemma"]
    claims |= {"is_logged_in": True, "role": "nobody"}
    app.run()
    assert "has no role here" in app.error[0].value.replace("\\", "")
    assert not app.title
    entry = filled.audit(1)[0]
    assert (entry.who, entry.role, entry.action, entry.outcome) == (ANN, "none", "sign in", Outcome.REFUSED)
    claims |= {"role": "viewer", "iat": 0}
    app.run()
    assert [title.value for title in app.title] == ["Trilemma"]
    claims |= {"iat": datetime.now(UTC).timestamp()}
    app.run()
    assert [title.value for title in app.title] == [shared.PAGES["explore"].question]
    assert filled.audit(1)[0].outcome is Outcome.DONE


def test_without_a_log_in_the_network_is_shut_out_unless_told_otherwise(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trilemma.settings import get_settings

    st.cache_resource.clear()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not app.warning
    monkeypatch.setattr(entrance, "exposed", lambda: True)
    app.run()
    assert "has no log-in" in app.error[0].value.replace("\\", "")
    assert not app.title
    monkeypatch.setenv("TRILEMMA_ALLOW_ANYONE", "true")
    get_settings.cache_clear()
    app.run()
    assert "Whoever reaches this address" in app.warning[0].value
    assert app.title


def test_a_log_in_that_the_server_does_not_know_of_lets_nobody_in(home: Path) -> None:
    st.cache_resource.clear()
    (home / "secrets.toml").write_text('[auth]\nclient_id = "x"\n')
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert "started without it" in app.error[0].value
    assert not app.title


def test_everything_of_a_run_as_a_file_names_nobody(
    claims: dict[str, Any], filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[Callable[[], str]] = []
    monkeypatch.setattr(entrance, "later", lambda make: files.append(make) or make)
    claims["role"] = "analyst"
    failed = filled.runs(states=[RunState.FAILED])[0]
    assert failed.created_by == ANN
    assert not open_page("run", id=failed.id).exception
    whole, _ = files
    assert failed.id in whole()
    assert ANN not in whole()


def test_a_download_of_a_size_that_no_search_tells_keeps_to_the_limit(
    claims: dict[str, Any], store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models._board.cache_clear()
    with (home / "access.toml").open("a") as rules:
        rules.write("[limits]\ndisk_gb = 0.005\n")
    claims["role"] = "analyst"
    with HubServer() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.add("someone/Tiny-GGUF", {"Tiny-Q8_0.gguf": bytes(6 * 2**20)})
        app = open_page("models", source="Hugging Face hub", hub="Tiny")
        app.button(key="add_hub_0").click().run()
        wait_for(lambda: not models._board().running())
    (error,) = app.run().error
    assert "Your files would take 6.00 MiB of the disk; 4.77 MiB are allowed." in error.value.replace("\\", "")
    assert [path for path in (home / "artifacts").rglob("*") if path.is_file()] == []
    assert [(entry.action, entry.outcome) for entry in store.audit(1)] == [("add weights", Outcome.REFUSED)]


def test_whoever_dismisses_a_task_is_asked_whose_it_is(
    claims: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    models._board.cache_clear()
    board = models._board()
    task = board.start("Fetch", lambda task: "Done.", by=ANN)
    wait_for(lambda: not board.running())
    claims |= {"role": "analyst", "email": "bob@example.org"}
    with monkeypatch.context() as unhidden:
        unhidden.setattr(entrance, "may", lambda *_: True)
        app = open_page("models")
        app.button(key=f"dismiss_{task.id}").click().run()
        assert "somebody else's" in app.error[0].value.replace("\\", "")
    assert board.tasks() == [task]
    assert (store.audit(1)[0].who, store.audit(1)[0].outcome) == ("bob@example.org", Outcome.REFUSED)
    claims["email"] = ANN
    open_page("models").button(key=f"dismiss_{task.id}").click().run()
    assert board.tasks() == []


def test_a_live_part_of_a_page_ends_with_the_role_that_it_was_made_for(
    claims: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class PageAnewError(Exception):
        pass

    def rerun() -> None:
        raise PageAnewError

    shown: list[str] = []
    monkeypatch.setattr(st, "fragment", lambda function, run_every: function)
    monkeypatch.setattr(st, "rerun", rerun)
    claims["role"] = "analyst"
    part = entrance.fragment(shown.append)
    part("a path of the server's")
    for changed in ({"role": "viewer"}, {"role": "nobody"}, {"is_logged_in": False}):
        claims |= changed
        with pytest.raises(PageAnewError):
            part("a path of the server's")
    assert len(shown) == 1


def test_a_log_in_that_is_taken_out_while_the_server_runs_lets_nobody_in(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Secrets(dict[str, Any]):
        def load_if_toml_exists(self) -> bool:
            return bool(self)

    secrets = Secrets(auth={"client_id": "x"})
    monkeypatch.setattr(st, "secrets", secrets)
    monkeypatch.setattr(entrance, "_log_in_seen", threading.Event())
    with pytest.raises(SignInError):
        entrance.visitor()
    secrets.clear()
    with pytest.raises(SettingsError, match="taken out"):
        entrance.visitor()


def test_a_mistake_in_the_rules_names_nobody_on_a_page(
    claims: dict[str, Any], home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "access.toml").write_text(f'[users]\n"{ANN}" = "boss"\n')
    claims["is_logged_in"] = False
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    app.run()
    assert not app.title
    text = app.error[0].value.replace("\\", "")
    assert text.startswith("**Access is not configured correctly, and nobody is let in until it is mended.**")
    assert "ann@" not in everything(app).replace("\\", "")
    assert [record.message for record in caplog.records if ANN in record.message][1:] == []
    assert f"users.{ANN}" in caplog.text


def test_a_file_made_later_is_made_for_whoever_asked_for_it(
    claims: dict[str, Any], filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamlit makes it in a thread that knows of no session, and so of nobody's claims."""
    made = entrance.later(
        lambda: (shared.get_store().artifact(filled.artifacts()[0].id).path, entrance.visitor()[0].id)
    )
    mine = dict(claims)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(entrance, "claims", dict)
        with pytest.raises(SignInError):
            entrance.visitor()
        assert made() == ("", ANN)
    claims |= {"role": "admin"}
    assert made() == ("", ANN)
    monkeypatch.setattr(entrance, "claims", lambda: mine | {"role": "analyst"})
    failing = entrance.later(lambda: Path(SECRET).read_text())
    with pytest.raises(FileNotFoundError):
        failing()
    monkeypatch.setattr(entrance, "claims", lambda: mine)
    failing = entrance.later(lambda: Path(SECRET).read_text())
    with pytest.raises(TrilemmaError, match="cannot be made") as caught:
        failing()
    assert SECRET not in str(caught.value)


def test_a_thread_without_a_session_is_nobody_where_people_log_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrance, "people", lambda: True)
    with pytest.raises(SignInError):
        entrance.guard()


def test_importing_takes_a_role_and_is_in_the_log(claims: dict[str, Any], store: Store, tmp_path: Path) -> None:
    from trilemma.interop.writing import export_runs

    known = factory.fill_store(store, repeats=1, detail=False)
    data = export_runs(store, known.id, tmp_path / "runs.jsonl").read_bytes()

    def script() -> None:
        from pages import shared
        from pages.parts.import_results import import_results

        with shared.errors_shown():
            import_results()

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception
    assert not app.file_uploader
    claims["role"] = "analyst"
    app.run()
    app.file_uploader(key="import_file").set_value(("runs.jsonl", data, "application/json")).run()
    (button,) = app.button
    button.click().run()
    assert not app.exception
    (study,) = [one for one in store.studies() if one.imported]
    assert study.created_by == ANN
    (entry,) = store.audit(10)
    assert (entry.who, entry.action, entry.subject, entry.outcome) == (ANN, Action.IMPORT, "runs.jsonl", Outcome.DONE)
