"""Imported results on the pages: brought on New study, looked through, and marked wherever they are shown."""

from __future__ import annotations

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages import shared
from tests.factory import DEMO, fill_store
from trilemma.interop import read_data
from trilemma.interop.studies import add
from trilemma.records import StudyRecord
from trilemma.report import html_report
from trilemma.settings import Settings
from trilemma.store import Store

TABLE = (
    "model,q,energy,decode,acc,memory\n"
    f"{DEMO[0][0]},{DEMO[0][1]},0.2,50,0.41,200\n"
    f"{DEMO[0][0]},Q2_K,0.1,70,0.31,100\n"
    "Other [x](http://evil.example) <b>,F16,0.3,60,0.45,400\n"
)
MAPPING = {
    "model": "model", "q": "quantization", "energy": "energy_per_token_j@short_chat", "decode": "decode_tps@short_chat",
    "acc": "accuracy_norm@hellaswag", "memory": "peak_memory_bytes [MiB]",
}  # fmt: skip


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


@pytest.fixture
def study(store: Store) -> StudyRecord:
    return add(store, *read_data("results.csv", TABLE.encode(), mapping=MAPPING))[0]


def page(name: str, **query: str) -> AppTest:
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
    assert not app.exception, app.exception
    kinds = (app.markdown, app.caption, app.info, app.warning, app.success, app.error, app.title)
    return "\n".join(str(one.value) for kind in kinds for one in kind)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside measured runs"])
@pytest.mark.parametrize("name", [*shared.PAGES])
def test_every_page_works(store: Store, study: StudyRecord, name: str, beside: bool) -> None:
    if beside:
        fill_store(store, repeats=2)
    for query in ({}, {"study": study.id}):
        app = page(name, **query)
        assert not app.error, [one.value for one in app.error]
        assert "](http://evil.example)" not in texts(app).replace("\\", "\0")


def test_explore_says_that_figures_are_imported(store: Store, study: StudyRecord) -> None:
    assert "mported, not measured" in texts(page("explore", study=study.id))
    fill_store(store, repeats=2)
    st.cache_resource.clear()
    app = page("explore")
    assert "mported" in texts(app)


def test_a_run_says_where_it_came_from_and_what_was_left_out(store: Store, study: StudyRecord) -> None:
    run = store.runs(study.id)[0]
    app = page("run", id=run.id)
    assert "nothing of it was measured here" in texts(app)
    assert "results.csv" in app.code[-1].value
    recent = page("run").dataframe[0].value
    assert set(recent["Note"]) == {"imported"}


def test_the_queue_does_not_list_it(store: Store, study: StudyRecord) -> None:
    assert "Nothing has been asked for yet" in texts(page("queue"))
    fill_store(store, repeats=1, detail=False)
    app = page("queue")
    assert not any("results.csv" in option for option in app.selectbox(key="study_choice").options)


def test_a_report_says_so_of_every_figure(store: Store, study: StudyRecord) -> None:
    report = html_report(store, study.id).decode()
    assert "mported, not measured" in report
    assert 'http://evil.example"' not in report


@pytest.mark.parametrize("known", [False, True], ids=["no models", "models"])
def test_a_file_is_looked_through_and_then_imported(store: Store, known: bool) -> None:
    if known:
        fill_store(store, repeats=1, detail=False)
    before = len(store.studies())
    app = page("new_study")
    upload = app.file_uploader(key="import_file")
    upload.set_value(("results.csv", TABLE.replace("energy", "x").encode(), "text/csv")).run()
    assert len(store.studies()) == before, "nothing is imported unasked"
    assert "what its columns mean" in texts(app)


def test_a_known_file_is_imported_by_one_button(store: Store, study: StudyRecord, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from trilemma.interop.writing import export_runs

    data = export_runs(store, study.id, tmp_path / "out.jsonl").read_bytes()
    store.delete_study(study.id)
    app = page("new_study")
    app.file_uploader(key="import_file").set_value(("out.jsonl", data, "application/json")).run()
    assert "trilemma: 3 runs, 12 figures" in texts(app).replace("\\", "")
    assert not store.studies()
    (button,) = [one for one in app.button if one.label == "Import 3 runs"]
    button.click().run()
    assert "Imported as" in texts(app)
    (made,) = store.studies()
    assert made.imported
    app.button[-1].click()
    (button,) = [one for one in app.button if one.label == "Import 3 runs"]
    button.click().run()
    assert "nothing changed" in texts(app)


def test_a_file_that_nobody_knows_says_what_can_be_read(home: object) -> None:
    app = page("new_study")
    app.file_uploader(key="import_file").set_value(("x.json", b'{"a": 1}', "application/json")).run()
    assert not app.exception
    assert "No importer knows this file" in app.error[0].value
