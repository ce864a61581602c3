"""The sample study on the pages: marked wherever its figures are, and out of the way of the user's own."""

from __future__ import annotations

import html
import io
import random
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages import shared
from tests.factory import HOST, SMOL, artifact, figures, fill_store
from trilemma.archive.read import import_file
from trilemma.archive.write import export_bytes
from trilemma.records import SAMPLE
from trilemma.report import html_report
from trilemma.sample import words
from trilemma.sample.loading import add_sample
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.settings import Settings
from trilemma.store import Store, open_store

MARK = "Sample study, measured on "
NO_FIGURES = {"new_study", "queue", "models", "machines"}
SHOWING = [name for name in shared.PAGES if name not in NO_FIGURES]


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


def page(name: str, **query: str | list[str]) -> AppTest:
    def script(name: str) -> None:
        import importlib

        from pages import shared

        with shared.errors_shown():
            importlib.import_module(f"pages.{name}").page()

    app = AppTest.from_function(script, args=(name,), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    return app.run()


def texts(app: AppTest) -> str:
    assert not app.exception
    assert not app.error
    shown = "\n".join(str(one.value) for one in (*app.markdown, *app.caption, *app.info))
    return shown.replace("\\", "").replace("**", "")


def test_the_mark_names_machine_and_date(store: Store) -> None:
    add_sample(store)
    facts = store.sample()
    assert facts is not None
    assert words.note(facts) in texts(page("explore"))
    host, day = facts.host, facts.measured_at
    for part in (host.cpu, f"{host.cores} cores", "Linux", f"{day.day} {day:%B %Y}", "not on yours"):
        assert part in words.note(facts)


@pytest.mark.parametrize("name", SHOWING)
def test_alone_it_is_shown_and_marked(store: Store, name: str) -> None:
    add_sample(store)
    assert MARK in texts(page(name))


def imported(store: Store, tmp_path: Path) -> str:
    """A study that was measured in another store: its id."""
    with open_store(f"sqlite:///{tmp_path / 'elsewhere.db'}") as other:
        study = fill_store(other, [(SMOL, "F16"), (SMOL, "Q4_K_M")], seed=7)
        return import_file(store, io.BytesIO(export_bytes(other, study.id))).study.id


@pytest.mark.parametrize("name", SHOWING)
def test_an_imported_study_is_marked_and_kept_apart_in_the_same_way(store: Store, name: str, tmp_path: Path) -> None:
    study_id = imported(store, tmp_path)
    mark = MARK.replace("Sample", "Imported")
    assert mark in texts(page(name, study=study_id))
    assert mark in texts(page(name)), "there is nothing else"
    fill_store(store, [(SMOL, "Q8_0"), (SMOL, "Q2_K")], name="Mine")
    assert mark not in texts(page(name, **({} if name in ("explore", "run") else {"study": store.studies()[0].id})))


def test_the_queue_gives_and_takes_studies_as_files(store: Store) -> None:
    for query in ({}, {"study": "none"}):
        assert len(page("queue", **query).get("file_uploader")) == 1
    study = fill_store(store, [(SMOL, "F16")])
    (button,) = page("queue", study=study.id).get("download_button")
    assert button.proto.label == "Download the study"
    assert page("queue").get("download_button") == []


@pytest.mark.parametrize("name", SHOWING)
def test_beside_the_users_own_it_is_shown_only_where_it_is_asked_for(store: Store, name: str) -> None:
    add_sample(store)
    fill_store(store)
    assert MARK not in texts(page(name))
    if name != "run":
        assert MARK in texts(page(name, study=SAMPLE))


@pytest.mark.parametrize("name", sorted(NO_FIGURES))
def test_where_this_machine_is_the_matter_there_is_nothing_of_it(store: Store, name: str) -> None:
    empty = page(name)
    without = (texts(empty), [button.label for button in empty.button])
    add_sample(store)
    st.cache_resource.clear()
    app = page(name)
    assert (texts(app), [button.label for button in app.button]) == without


def test_a_run_of_it_is_marked_and_leads_back_to_it(store: Store) -> None:
    add_sample(store)
    fill_store(store, [(SMOL, "F16")], repeats=1)
    app = page("run", id="sample-02")
    assert MARK in texts(app)
    links = [one.proto.query_string for one in app.get("page_link")]
    assert any("study=sample" in link for link in links), links
    (mine,) = store.runs()
    assert MARK not in texts(page("run", id=mine.id))


def test_questions_that_are_left_out_say_so(store: Store) -> None:
    add_sample(store)
    for app in (page("run", id="sample-01"), page("compare", tab="answers")):
        shown = [str(one.value) for one in app.code]
        shown += [str(value) for table in app.dataframe for value in table.value.astype(str).to_numpy().ravel()]
        assert any(words.WITHHELD in text for text in shown)


def test_removing_it_on_explore(store: Store) -> None:
    add_sample(store)
    app = page("explore")
    next(button for button in app.button if button.label == "Remove it").click().run()
    assert store.studies() == []
    assert MARK not in texts(app)
    assert "Nothing has been measured yet" in texts(app)


def test_while_the_first_own_run_waits_explore_says_so_and_the_sample_can_be_chosen(store: Store) -> None:
    add_sample(store)
    study = fill_store(store, [(SMOL, "F16")], repeats=1, detail=False)
    store.delete_study(study.id)
    whole = store.study(SAMPLE).spec.model_copy(update={"name": "mine"})
    store.add_study(whole, [run.spec.model_copy(update={"device": "local"}) for run in store.runs(SAMPLE)])
    app = page("explore")
    assert "No run here is done yet" in texts(app)
    (picker,) = [box for box in app.selectbox if box.label == "Study"]
    assert [option.startswith("Sample: ") for option in picker.options] == [False, True]
    assert MARK in texts(page("explore", study=SAMPLE))


def test_axes_are_those_of_what_is_shown(store: Store) -> None:
    """The sample solved tasks; the user's own runs did not, and are not shown on an axis that they lack."""
    add_sample(store)
    fill_store(store, [(SMOL, "F16"), (SMOL, "Q8_0")], repeats=1, detail=False)

    def offered(app: AppTest) -> list[str]:
        return next(box.options for box in app.selectbox if box.label == "Vertical axis")

    mine, its = page("explore"), page("explore", study=SAMPLE)
    assert not any("solved" in option.lower() for option in offered(mine))
    assert any("solved" in option.lower() for option in offered(its))
    assert texts(mine).count("on the front") == 1


def test_a_study_of_the_users_own_comes_first_even_if_it_measured_less(store: Store) -> None:
    add_sample(store)
    item = store.add_artifact(artifact(SMOL, "F16"))
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp")
    study = store.add_study(
        StudySpec(name="speed alone", configurations=(configuration,)), [RunSpec(configuration=configuration)]
    )
    run = store.claim_next("test")
    assert run is not None
    store.start_run(run.id, HOST)
    store.set_measurements(run.id, figures(item, random.Random(1), quality=False))
    store.finish_run(run.id, RunState.DONE)
    for name in ("compare", "decide"):
        (picker,) = [box for box in page(name).selectbox if box.label == "Study"]
        assert picker.value == study.id, name


def test_a_report_of_it_says_so_above_its_figures(store: Store) -> None:
    add_sample(store)
    mine = fill_store(store, [(SMOL, "F16")], repeats=1)
    facts = store.sample()
    assert facts is not None
    text = html_report(store, SAMPLE).decode()
    assert 0 < text.index(html.escape(words.note(facts))) < text.index("<main>")
    assert "not on yours" not in html_report(store, mine.id).decode()
