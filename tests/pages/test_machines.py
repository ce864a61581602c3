"""The Machines page, and the choice of machines where there are any."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages import shared
from pages.parts import plan_choice
from pages.parts.explore_data import FILTERS
from tests import factory
from tests.factory import HOST
from trilemma.records import Machine
from trilemma.schema import Artifact, Configuration, Needs, Phase, RunSpec, RunState, StudySpec, utc_now
from trilemma.settings import get_settings
from trilemma.store import Store


@pytest.fixture
def app(home: Path) -> AppTest:
    st.cache_resource.clear()

    def script() -> None:
        from pages import machines, shared

        with shared.errors_shown():
            machines.page()

    return AppTest.from_function(script, default_timeout=60)


def shown(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.error, app.title)
    return "\n".join(element.value for kind in kinds for element in kind)


def cluster(store: Store) -> str:
    """Two machines of which one measures, and one that is gone; the run's id."""
    store.see_machines(
        [
            Machine(name="big", cpus=64, memory_bytes=2**38, gpus=2, gpu_type="A100", slots=2),
            Machine(name="edge", cpus=4, memory_bytes=2**32),
            Machine(name="lost", cpus=8, seen_at=utc_now() - timedelta(hours=2)),
        ]
    )
    store.add_artifact(
        Artifact(id="a" * 64, path="/m.gguf", model="Smol", quantization="Q8_0", size_bytes=1, source="folder")
    )
    configuration = Configuration(artifact_id="a" * 64, engine="llama.cpp")
    store.add_study(StudySpec(name="s", configurations=(configuration,)), [RunSpec(configuration=configuration)])
    run = store.claim_next("w", machine="edge")
    assert run is not None
    store.start_run(run.id, HOST.model_copy(update={"name": "edge", "cpu": "Arm *Cortex*"}))
    store.set_progress(run.id, 0.4, "request 4 of 10", Phase.SPEED)
    return run.id


def test_each_machine_says_what_it_offers_and_measures(app: AppTest, store: Store) -> None:
    run_id = cluster(store)
    app.run()
    assert not app.exception
    text = shown(app)
    assert "2 of 3 machines there, 1 of 3 slots busy" in text
    assert "64 CPUs" in text
    assert "2 × A100" in text
    assert r"Arm \*Cortex\*" in text, "what a machine says of itself is shown as it is"
    assert "last seen" in text
    assert [link.proto.query_string for link in app.get("page_link")] == [f"id={run_id}"]
    assert text.count("Free.") == 1


def test_a_machine_that_is_gone_can_be_taken_off(app: AppTest, store: Store) -> None:
    cluster(store)
    app.run()
    app.button(key="forget_lost").click().run()
    assert not app.exception
    assert [machine.name for machine in store.machines()] == ["big", "edge"]
    assert "lost" not in shown(app)


def test_without_a_cluster_it_says_how_to_begin_one(app: AppTest, store: Store) -> None:
    app.run()
    assert not app.exception
    assert "No machine has joined yet" in shown(app)
    assert any("trilemma node --address" in block.value for block in app.code)


def test_explore_shows_what_was_measured_on_a_machine(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_resource.clear()
    for threads, name in enumerate(("north", "south"), 1):
        monkeypatch.setattr(factory, "HOST", HOST.model_copy(update={"name": name}))
        factory.fill_store(store, factory.DEMO[:threads], settings=({"threads": threads},), name=name, detail=False)

    def script() -> None:
        from pages import explore

        explore.page()

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception
    (choice,) = (one for one in app.multiselect if one.label == "Machines")
    assert (choice.options, choice.value) == (["north", "south"], [])
    assert len(app.dataframe[0].value) == 3
    for name, count in (("north", 1), ("south", 2)):
        app = AppTest.from_function(script, default_timeout=60)
        app.query_params["measured_on"] = name
        app.run()
        assert len(app.dataframe[0].value) == count
    # Else what is filtered here would be a price there: the address goes along.
    assert not set(FILTERS.values()) & set(plan_choice.DEFAULTS)


def test_explore_shows_what_was_measured_with_a_version(store: Store) -> None:
    st.cache_resource.clear()
    versions = ("llama-cpp-python 1", "llama-cpp-python 2")
    item = factory.artifact("m", "Q8_0")
    store.add_artifact(item)
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp")
    for version in versions:
        spec = RunSpec(configuration=configuration, engine_version=version)
        store.add_study(StudySpec(name=version, configurations=(configuration,)), [spec])
        run = store.claim_next("test")
        assert run is not None
        store.start_run(run.id, HOST)
        store.set_measurements(run.id, factory.figures(item, random.Random(1)))
        store.finish_run(run.id, RunState.DONE)

    def script() -> None:
        from pages import explore

        explore.page()

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception
    (choice,) = (one for one in app.multiselect if one.label == "Engine versions")
    assert choice.options == list(versions)
    assert len(app.dataframe[0].value) == 2
    app = AppTest.from_function(script, default_timeout=60)
    app.query_params["engine_version"] = versions[1]
    assert len(app.run().dataframe[0].value) == 1


def test_it_is_in_the_navigation_of_a_cluster_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_resource.clear()
    assert shared.page_object("machines").visibility == "hidden"
    assert shared.page_object("queue").visibility == "visible"
    cluster(store)
    assert shared.page_object("machines").visibility == "visible"
    for machine in store.machines():
        store.forget_machine(machine.name)
    assert shared.page_object("machines").visibility == "hidden"
    monkeypatch.setenv("TRILEMMA_RAY_ADDRESS", "127.0.0.1:6379")
    get_settings.cache_clear()
    assert shared.page_object("machines").visibility == "visible"


def test_a_machine_says_why_it_gets_no_runs(app: AppTest, store: Store) -> None:
    store.see_machines(
        [
            Machine(name="big", refuses="big does not take it: its *disk* is full."),
            Machine(name="edge", memory_bytes=2**32, address="10.0.0.5", namesakes=("10.0.0.7",)),
        ]
    )
    app.run()
    assert not app.exception
    assert r"its \*disk\* is full" in shown(app), "it is shown as it is"
    text = shown(app).replace("\\", "")
    assert "It gets no runs for some minutes. big does not take it: its *disk* is full." in text
    assert "2 machines call themselves edge" in text
    assert "10.0.0.7" in text
    assert text.count("Free.") == 1
    assert "4.00 GiB for runs" in text, "what Ray gives away, and not what the machine has"


def test_what_no_machine_offers_is_named(app: AppTest, store: Store) -> None:
    configuration = Configuration(artifact_id="a" * 64, engine="llama.cpp")
    asked = (Needs(machine="bgi"), Needs(machine="big"), Needs())
    specs = [RunSpec(configuration=configuration, repeat=n, needs=needs) for n, needs in enumerate(asked)]
    store.add_study(StudySpec(name="s", configurations=(configuration,)), specs)
    store.see_machines([Machine(name="big")])
    app.run()
    (warning,) = app.warning
    assert "no machine offers: machine bgi." in warning.value
