"""Present on a real store: one screen after the other, and the URL carries the view."""

from __future__ import annotations

import re

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.parts import explore_data, present_data
from tests.factory import DEMO, HOST, SMOL, artifact, fill_store
from trilemma.records import Choice, Vote
from trilemma.report import View
from trilemma.schema import Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec
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


def test_the_third_screen_is_what_decide_recommends(store: Store) -> None:
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
    headline = app.title[0].value.replace("\xa0", " ")
    assert "efficiency 60 %" in headline
    assert any(headline in element.value for element in other.run().markdown)
    press(app, "present_key_Home")
    assert app.title[0].value == "Which one fits the device, spares its battery, and is still of use?"
    words = " ".join(element.value for element in app.markdown)
    assert "Phone or edge device" in words
    assert "peak memory ≤ 300 MiB" in words


def words(app: AppTest) -> str:
    assert not app.exception
    return (
        "\n".join(one.value for one in [*app.title, *app.markdown, *app.caption]).replace("\\", "").replace("\xa0", " ")
    )


def test_the_plan_is_what_plan_shows_for_the_same_link(store: Store) -> None:
    study = fill_store(store)
    one = study.spec.configurations[4].id
    query = {"study": study.id, "c": one, "day": "120000", "hourly": "0.75", "curve": "flat"}
    app = present(**query, screen="4")
    text = words(app)

    def script() -> None:
        from pages import plan

        plan.page()

    other = AppTest.from_function(script, default_timeout=120)
    for name, value in query.items():
        other.query_params[name] = value
    bills = next(frame.value for frame in other.run().dataframe if "Cost a month" in frame.value.columns)
    for column in ("Deployment", "Cost a month", "Energy a month", "CO2e a month"):
        for shown in bills[column]:
            assert shown in text, shown
    count = next(m.value for m in other.markdown if m.value.startswith("### "))[4:]
    assert app.title[0].value.replace("\\", "").startswith(f"{count} in the busiest hour")
    assert "120,000 requests a day" in text
    # The address keeps what it said, and says nothing more.
    kept = {name: value for name, value in query.items() if name != "study"}  # the only one there is goes unsaid
    assert set(app.query_params) == {*kept, "screen"}
    assert all(app.query_params[name] in (value, [value]) for name, value in kept.items())


def test_the_plan_is_for_what_is_recommended(store: Store) -> None:
    study = fill_store(store)
    for weights in ("100,0,0", "0,0,100"):
        picked = present(study=study.id, weights=weights, screen="3").title[0].value
        name = re.search(r"(SmolLM2-135M-Instruct|gemma-3-270m-it) \w+", picked.replace("\\", ""))
        assert name is not None
        told = words(present(study=study.id, weights=weights, screen="4", c="made-up", day="nan", ttft="x"))
        assert f"{name[0]}: " in told
        assert "10,000 requests a day" in told


def test_without_a_speed_the_plan_says_what_to_measure(store: Store) -> None:
    weights = artifact("tiny", "Q8_0")
    store.add_artifact(weights)
    configuration = Configuration(artifact_id=weights.id, engine="llama.cpp")
    runs = [RunSpec(configuration=configuration)]
    study = store.add_study(StudySpec(name="mute", configurations=(configuration,)), runs)
    run = store.claim_next("test")
    assert run is not None
    store.start_run(run.id, HOST)
    about = Provenance(method=Method.MEASURED, source="clock")
    store.set_measurements(run.id, [Measurement(figure="load_s", value=1.0, n=1, provenance=about)])
    store.finish_run(run.id, RunState.DONE)
    app = present(study=study.id, screen="9")
    assert "measure this study's configurations with a workload" in words(app)


def test_a_limit_that_no_fleet_keeps_is_told(store: Store) -> None:
    fill_store(store, DEMO[:2], 1)
    assert "No number of replicas keeps" in present(e2e="0.001", screen="4").error[0].value
    assert "cannot be read" in present(curve="hours of your own", hours="1,2", screen="4").error[0].value


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


def test_a_vote_is_in_the_next_report_and_not_when_it_is_taken_back(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1, detail=False)
    first, second = (one.id for one in study.spec.configurations)
    of, view = explore_data.version(), View().model_dump_json()
    before = present_data.html(of, study.id, view)
    kept = store.add_vote(
        study.id, Vote(source="", prompt="?", a_id=first, b_id=second, a_answer="", b_answer="x", choice=Choice.A)
    )  # fmt: skip
    assert explore_data.version() == of
    assert b"What people preferred" in present_data.html(of, study.id, view)
    store.delete_vote(kept.id)
    assert present_data.html(of, study.id, view) == before


def test_nothing_that_passes_is_said(store: Store) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    app = present(limit="peak_memory_bytes <= 1 KiB", screen="2")
    assert not app.exception
    assert "No option passes" in app.title[0].value


def test_the_second_of_two_quick_presses_comes_with_the_address_of_before_both(store: Store) -> None:
    fill_store(store)
    app = press(present(screen="3"), "present_key_End")
    assert app.query_params["screen"] in ("4", ["4"])
    app.query_params["screen"] = "3"
    press(app, "present_key_Home")
    assert app.title[0].value == "Which options are worth having?"
    assert "screen" not in app.query_params


def test_an_address_that_is_gone_back_to_is_followed(store: Store) -> None:
    fill_store(store)
    app = press(press(present(), "present_next"), "present_next")
    assert app.query_params["screen"] in ("3", ["3"])
    app.query_params["screen"] = "2"
    app.run()
    assert app.query_params["screen"] in ("2", ["2"])
    assert "2 / " in " ".join(element.value for element in app.markdown)
