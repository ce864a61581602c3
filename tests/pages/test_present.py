"""Present on a real store: one screen after the other, and the URL carries the view."""

from __future__ import annotations

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.factory import DEMO, SMOL, fill_store
from trilemma.schema import RunSpec
from trilemma.settings import Settings
from trilemma.store import Store


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


def present(**query: str | list[str]) -> AppTest:
    def script() -> None:
        from pages import present, shared

        with shared.errors_shown():
            present.page()

    app = AppTest.from_function(script, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def press(app: AppTest, key: str) -> AppTest:
    """Press the button of a key."""
    return app.button(key=key).click().run()


def test_an_empty_store_says_what_will_be_here(store: Store) -> None:
    app = present()
    assert not app.exception
    assert app.title[0].value == "What do we tell them?"
    assert "Set up a study" in [button.label for button in app.button]


def test_the_first_screen_is_the_question(store: Store) -> None:
    fill_store(store)
    app = present()
    assert not app.exception
    assert app.title[0].value == "Which options are worth having?"
    words = " ".join(element.value for element in app.markdown)
    assert "9 configurations of 2 models" in words
    assert "Demo" in words
    assert app.query_params == {}


def test_forward_and_back_by_buttons_that_keys_press_too(store: Store) -> None:
    fill_store(store)
    app = present()
    assert app.button(key="present_back").disabled
    press(app, "present_next")
    assert app.query_params == {"screen": "2"}
    assert "worth having for certain" in app.title[0].value
    press(app, "present_back")
    assert app.query_params == {}
    press(app, "present_key_End")
    last = int(app.query_params["screen"])
    assert app.button(key="present_next").disabled
    press(app, "present_key_Space")
    assert int(app.query_params["screen"]) == last, "there is no screen beyond the last"
    press(app, "present_key_Home")
    press(app, "present_key_PageDown")
    assert app.query_params == {"screen": "2"}
    press(app, "present_key_PageUp")
    assert app.query_params == {}


def test_the_last_screen_is_what_decide_recommends(store: Store) -> None:
    study = fill_store(store)
    query = {"study": study.id, "preset": "phone-edge", "weights": "60,20,20", "limit": "peak_memory_bytes <= 300 MiB"}
    app = present(**query, screen="3")
    assert not app.exception

    def script() -> None:
        from pages import decide

        decide.page()

    other = AppTest.from_function(script, default_timeout=60)
    for name, value in query.items():
        other.query_params[name] = value
    headline = app.title[0].value
    assert "efficiency 60 %" in headline
    assert any(headline in element.value for element in other.run().markdown)
    press(app, "present_key_Home")
    assert app.title[0].value == "Which one fits the device, spares its battery, and is still of use?"
    words = " ".join(element.value for element in app.markdown)
    assert "Phone or edge device" in words
    assert "peak memory ≤ 300 MiB" in words


@pytest.mark.parametrize("screen", ["0", "99", "-1", "two", "²", "1e9", "9" * 5000])
def test_a_made_up_screen_is_one_that_there_is(store: Store, screen: str) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    app = present(screen=screen)
    assert not app.exception
    assert len(app.title) == 1


def test_a_link_carries_the_view(store: Store) -> None:
    study = fill_store(store)
    query = {
        "study": study.id, "limit": ["peak_memory_bytes <= 300 MiB", "beauty >= 3"], "model": [SMOL],
        "x": "peak_memory_bytes", "y": "decode_tps@short_chat", "screen": "2",
    }  # fmt: skip
    app = present(**query)
    assert not app.exception
    assert "of 9 options" not in app.title[0].value
    # The limit that cannot be read is told on the first screen, not in the middle of the talk.
    assert not app.error
    press(app, "present_back")
    assert "beauty" in app.error[0].value
    assert app.query_params["limit"] == query["limit"]
    assert app.query_params["x"] == "peak_memory_bytes"


def test_only_a_study_with_figures_is_presented(store: Store) -> None:
    done = fill_store(store, DEMO[:2], 1, detail=False)
    waiting = RunSpec(configuration=done.spec.configurations[0], workloads=done.spec.workloads, repeat=9)
    queued = store.add_study(done.spec, [waiting])
    app = present(study=queued.id)
    assert not app.exception
    assert "2 configurations" in " ".join(element.value for element in app.markdown)


def test_nothing_that_passes_is_said(store: Store) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    app = present(limit="peak_memory_bytes <= 1 KiB", screen="2")
    assert not app.exception
    assert "No option passes" in app.title[0].value
