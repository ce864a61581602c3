"""What was asked on one page is asked on the next one, however one gets there; a link goes before it."""

from __future__ import annotations

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.factory import DEMO, fill_store
from trilemma.settings import Settings
from trilemma.store import Store


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


@pytest.fixture
def app() -> AppTest:
    def script() -> None:
        import streamlit as st

        from pages import compare, decide, plan, present, shared

        pages = {"compare": compare, "decide": decide, "plan": plan, "present": present}
        with shared.errors_shown():
            pages[st.session_state["opened"]].page()

    return AppTest.from_function(script, default_timeout=120)


def opened(app: AppTest, name: str, **query: str) -> AppTest:
    """The page called ``name``, as from the navigation: with no query but that of a link."""
    app.session_state["opened"] = name
    app.query_params.clear()
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def test_a_use_case_chosen_on_decide_is_presented(store: Store, app: AppTest) -> None:
    fill_store(store, DEMO)
    opened(app, "decide").selectbox(key="decide:preset").set_value("real-time-assistant").run()
    opened(app, "present")
    assert app.query_params["preset"] == "real-time-assistant"
    # Taken back there, it is gone here too; and a link says what it says.
    opened(app, "decide").selectbox(key="decide:preset").set_value("").run()
    assert "preset" not in opened(app, "present").query_params
    opened(app, "present", preset="phone-edge")
    opened(app, "decide")
    assert app.selectbox(key="decide:preset").value == "phone-edge"


def test_plan_and_compare_begin_with_what_is_recommended(store: Store, app: AppTest) -> None:
    fill_store(store, DEMO)
    opened(app, "decide")
    (told,) = app.session_state["recommended"].values()
    assert len(told) > 1
    opened(app, "compare")
    assert app.multiselect(key="compare:c").value == told
    opened(app, "plan")
    assert app.selectbox(key="plan:c").value == told[0]
    # Another use case, another recommendation: pages that nobody touched follow it.
    opened(app, "decide", weights="0,0,1")
    (other,) = app.session_state["recommended"].values()
    assert other != told
    opened(app, "compare")
    assert app.multiselect(key="compare:c").value == other
    opened(app, "plan")
    assert app.selectbox(key="plan:c").value == other[0]


def test_what_was_chosen_on_compare_stays(store: Store, app: AppTest) -> None:
    fill_store(store, DEMO)
    opened(app, "compare")
    first = app.multiselect(key="compare:c").value
    app.multiselect(key="compare:c").set_value(first[:2]).run()
    opened(app, "decide")
    opened(app, "compare")
    assert app.multiselect(key="compare:c").value == first[:2]


def test_compare_begins_with_the_front(store: Store, app: AppTest) -> None:
    fill_store(store, DEMO)
    opened(app, "compare")
    from pages.parts import explore_data

    of = explore_data.version()
    (study,) = explore_data.catalog(of).studies
    front = explore_data.front(of, study)
    assert app.multiselect(key="compare:c").value[: len(front)] == front[:3]
