"""Explore on a real store: what is shown, what the URL says, and what goes wrong."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.parts import explore_data
from pages.parts.explore_view import export
from tests.factory import DEMO, SMOL, fill_store, points_of
from trilemma.analysis.odds import front_odds
from trilemma.errors import StoreError
from trilemma.schema import RunSpec
from trilemma.settings import Settings
from trilemma.store import Store, open_store

ENERGY, QUALITY = "energy_per_token_j@short_chat", "accuracy_norm@hellaswag"


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> Iterator[None]:
    st.cache_resource.clear()
    yield
    read_ahead()


def read_ahead() -> None:
    """Wait until nothing is read ahead any more."""
    for one in threading.enumerate():
        if one.name == "read-ahead":
            one.join(30)
            assert not one.is_alive()


def explore(**query: str | list[str]) -> AppTest:
    def script() -> None:
        from pages import explore, shared

        with shared.errors_shown():
            explore.page()

    app = AppTest.from_function(script, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app


def shown(app: AppTest) -> pd.DataFrame:
    assert not app.exception
    frame: pd.DataFrame = app.dataframe[0].value
    return frame


def ticked(app: AppTest) -> list[int]:
    rows: list[int] = app.session_state["explore_table"]["selection"]["rows"]
    return rows


def test_an_empty_store_says_what_will_be_here_and_how_to_get_there(store: Store) -> None:
    app = explore().run()
    assert not app.exception
    assert app.title[0].value == "Which options are worth having?"
    assert "Set up a study" in [button.label for button in app.button]


def test_a_study_that_is_only_queued_points_to_the_queue(store: Store) -> None:
    done = fill_store(store, DEMO[:1], 1, detail=False)
    waiting = RunSpec(configuration=done.spec.configurations[0], workloads=done.spec.workloads, repeat=9)
    queued = store.add_study(done.spec, [waiting])
    app = explore(study=queued.id).run()
    assert not app.exception
    assert "No run here is done yet" in app.info[0].value


def test_when_nothing_passes_the_filters_they_can_be_cleared(store: Store) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    app = explore(limit="peak_memory_bytes <= 1 KiB").run()
    assert not app.exception
    assert "None of 2 configurations passes" in app.info[0].value
    app.button[0].click().run()
    assert len(shown(app)) == 2


def test_all_configurations_are_shown_with_the_front_and_what_to_know(store: Store) -> None:
    fill_store(store)
    app = explore().run()
    frame = shown(app)
    assert list(zip(frame["Model"], frame["Quantization"], strict=True)) == DEMO
    points = points_of(store, ENERGY, QUALITY)
    front = points.front([ENERGY, QUALITY])
    assert frame["P(front)"].between(0, 1).all()
    assert frame["P(front)"][front].min() > 0.05
    assert frame["P(front)"][front].mean() > frame["P(front)"][~front].mean()
    assert frame["Energy per token, mJ/tok"].tolist() == pytest.approx((points.value[ENERGY] * 1000).tolist())
    on = int(points.front([ENERGY, QUALITY]).sum())
    assert f"{on} of 9 configurations are on the front" in app.markdown[0].value
    assert "On it for certain" in app.markdown[0].value
    assert "The front covers" in app.markdown[0].value
    assert "modelled, not measured" in app.markdown[0].value


def test_a_link_reproduces_the_view(store: Store) -> None:
    fill_store(store)
    app = explore(
        model=SMOL, quantization=["Q8_0", "Q2_K"], x="peak_memory_bytes", y="decode_tps@short_chat", size="load_s"
    ).run()
    frame = shown(app)
    assert frame["Quantization"].tolist() == ["Q8_0", "Q2_K"]
    assert "Decode speed, tok/s" in frame.columns
    assert app.query_params == {
        "model": SMOL, "quantization": ["Q8_0", "Q2_K"], "x": "peak_memory_bytes", "y": "decode_tps@short_chat",
        "size": "load_s",
    }  # fmt: skip
    again = explore(**app.query_params).run()
    pd.testing.assert_frame_equal(shown(again), frame)


def test_the_view_writes_its_link_and_leaves_out_defaults(store: Store) -> None:
    fill_store(store, detail=False)
    app = explore().run()
    assert app.query_params == {}
    app.multiselect(key="explore:quantization").set_value(["Q4_K_M"]).run()
    app.selectbox(key="explore:x").set_value("peak_memory_bytes").run()
    assert app.query_params == {"quantization": "Q4_K_M", "x": "peak_memory_bytes"}
    assert len(shown(app)) == 2
    app.multiselect(key="explore:quantization").set_value([]).run()
    assert app.query_params == {"x": "peak_memory_bytes"}
    app.selectbox(key="explore:size").set_value("").run()
    assert app.query_params == {"x": "peak_memory_bytes", "size": ""}, "no size is a choice too"


@pytest.mark.parametrize(
    "query",
    [
        {"x": "nothing"}, {"y": "'; drop table runs"}, {"view": "4D"}, {"study": "gone"}, {"point": "<script>"},
        {"model": ["nobody"]}, {"log": ["z"]}, {"engine": "x"}, {"size": "?"}, {"brush": ["beauty >= 3", "<script>"]},
        {"view": "Pairs", "figures": ["nothing"]}, {"view": "Parallel", "figures": "<b>"}, {"only": "1"},
    ],
)  # fmt: skip
def test_a_made_up_link_falls_back_to_what_there_is(store: Store, query: dict[str, str | list[str]]) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    assert len(shown(explore(**query).run())) == 2


def test_a_limit_that_cannot_be_read_says_so_and_the_rest_holds(store: Store) -> None:
    fill_store(store, detail=False)
    app = explore(limit=["beauty >= 3", "accuracy_norm@hellaswag >= 43%"]).run()
    assert "beauty" in app.error[0].value
    assert 0 < len(shown(app)) < 9


def test_a_study_narrows_what_is_shown(store: Store) -> None:
    fill_store(store, DEMO[:2], 1, name="first", detail=False)
    second = fill_store(store, DEMO[6:], 1, name="second", detail=False)
    assert len(shown(explore().run())) == 5
    assert len(shown(explore(study=second.id).run())) == 3


def test_a_picked_point_shows_its_figures_and_who_beats_it(store: Store) -> None:
    fill_store(store)
    points = points_of(store, ENERGY, QUALITY)
    probability = front_odds(points, [ENERGY, QUALITY]).probability
    beaten = points.meta.index[probability.argmin()]
    app = explore(point=beaten).run()
    text = " ".join(element.value for element in [*app.markdown, *app.caption])
    assert "beats it with a probability of" in text
    assert "better" in text
    assert "A full bar is the best in view" in text
    best = points.meta.index[probability.argmax()]
    text = " ".join(element.value for element in explore(point=best).run().caption)
    assert "Certain: on the front with a probability of" in text
    assert "beats it" not in text


def test_three_dimensions_have_a_third_picker(store: Store) -> None:
    fill_store(store, detail=False)
    app = explore(view="3D").run()
    frame = shown(app)
    assert "Decode speed, tok/s" in frame.columns
    app.selectbox(key="explore:z").set_value("load_s").run()
    assert app.query_params == {"view": "3D", "z": "load_s"}


@pytest.mark.parametrize("view", ["Pairs", "Parallel"])
def test_several_figures_have_one_front_and_are_columns(store: Store, view: str) -> None:
    fill_store(store)
    app = explore(view=view).run()
    frame = shown(app)
    assert {"Peak memory, MiB", "Energy per token, mJ/tok", "Decode speed, tok/s"} <= set(frame.columns)
    keys = ["peak_memory_bytes", ENERGY, "decode_tps@short_chat", QUALITY]
    on = int(points_of(store, *keys).front(keys).sum())
    assert f"{on} of 9 configurations are on the front" in app.markdown[0].value
    assert app.query_params == {"view": view}
    app.multiselect(key="explore:figures").set_value(keys[1:3]).run()
    assert app.query_params == {"view": view, "figures": keys[1:3]}
    assert "Peak memory, MiB" in shown(app).columns, "the size of marks is a column, too"
    app.multiselect(key="explore:figures").set_value(keys[1:2]).run()
    assert any("at least two figures" in one.value for one in app.info)
    assert len(shown(app)) == 9


def test_a_view_of_several_figures_reads_the_others_while_nobody_waits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_store(store)
    asked: list[str] = []
    apart: list[int] = []
    read = Store.figure_frame

    def spied(self: Store, keys: list[str], *rest: Any, **named: Any) -> pd.DataFrame:
        asked.extend(keys)
        if threading.current_thread().name == "read-ahead":
            apart.append(explore_data._waiting().count)
        return read(self, keys, *rest, **named)

    monkeypatch.setattr(Store, "figure_frame", spied)
    explore().run()
    read_ahead()
    first = set(asked)
    app = explore(view="Parallel").run()
    read_ahead()
    assert len(set(asked)) == len(asked), "no figure is read twice"
    assert {"load_s", "weights_bytes"} <= set(asked) - first
    assert apart and not any(apart), "somebody waited meanwhile"
    before = len(asked)
    app.multiselect(key="explore:figures").set_value(["load_s", "weights_bytes"]).run()
    assert "Time to load, ms" in shown(app).columns
    assert len(asked) == before, "the figures were at hand"


def test_figures_that_cannot_be_read_ahead_are_read_when_they_are_asked_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill_store(store)
    read = Store.figure_frame

    def fails(self: Store, *rest: Any, **named: Any) -> pd.DataFrame:
        if threading.current_thread().name == "read-ahead":
            raise StoreError("The database is gone.", "Come back later.")
        return read(self, *rest, **named)

    monkeypatch.setattr(Store, "figure_frame", fails)
    app = explore(view="Parallel").run()
    read_ahead()
    assert "could not be read ahead" in caplog.text
    app.multiselect(key="explore:figures").set_value(["load_s", "weights_bytes"]).run()
    assert "Time to load, ms" in shown(app).columns


@pytest.mark.parametrize("view", ["2D", "3D", "Pairs", "Parallel"])
def test_a_selection_is_the_same_in_every_view_and_can_be_cleared(store: Store, view: str) -> None:
    fill_store(store)
    ids = points_of(store, ENERGY).meta.index
    app = explore(view=view, point=[ids[4], ids[1]]).run()
    shown(app)
    assert ticked(app) == [1, 4]
    assert any("2 of 9 selected" in one.value for one in app.markdown)
    app.toggle(key="explore:only").set_value(True).run()
    assert len(shown(app)) == 2
    next(one for one in app.button if one.label == "Clear selection").click().run()
    assert len(shown(app)) == 9
    assert "point" not in app.query_params
    assert not any("selected" in one.value for one in app.markdown)


@pytest.mark.parametrize("view", ["2D", "3D", "Pairs", "Parallel"])
def test_a_range_selects_by_a_figure_that_the_view_does_not_show(store: Store, view: str) -> None:
    fill_store(store)
    points = points_of(store, "load_s")
    middle = float(points.value["load_s"].median())
    wanted = points.value["load_s"] >= middle
    link = {"view": view, "brush": f"load_s >= {middle!r}"}
    app = explore(**link).run()
    shown(app)
    assert ticked(app) == [i for i, one in enumerate(wanted) if one]
    assert app.query_params == {name: value for name, value in link.items() if value != "2D"}
    assert any("Time to load from" in one.value for one in app.markdown)


def test_a_link_from_before_there_were_selections_still_picks_its_point(store: Store) -> None:
    fill_store(store)
    one = points_of(store, ENERGY).meta.index[3]
    app = explore(point=one).run()
    shown(app)
    assert ticked(app) == [3]
    assert any("Full bar" in element.value or "full bar" in element.value for element in app.caption)


def test_selected_but_filtered_out_is_said(store: Store) -> None:
    fill_store(store)
    ids = points_of(store, ENERGY).meta.index
    app = explore(point=[ids[0], ids[8]], model=SMOL).run()
    assert any("1 of 6 selected" in one.value for one in app.markdown)
    assert any("1 more selected" in one.value for one in app.caption)


def test_a_filter_asks_the_store_for_nothing_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_store(store)
    app = explore().run()
    assert len(shown(app)) == 9

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    for name in ("figure_frame", "answer_frame", "score_frame", "run_frame", "artifacts"):
        monkeypatch.setattr(Store, name, refuse)
    app.multiselect(key="explore:quantization").set_value(["Q8_0", "Q2_K"]).run()
    assert shown(app)["Quantization"].tolist() == ["Q8_0", "Q2_K", "Q2_K"]


def test_another_figure_is_read_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_store(store)
    app = explore().run()
    shown(app)
    asked: list[list[str]] = []
    read = Store.figure_frame

    def note(self: Store, keys: list[str], *rest: object, **named: object) -> pd.DataFrame:
        asked.append(list(keys))
        return read(self, keys, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "figure_frame", note)
    app.selectbox(key="explore:x").set_value("prefill_tps@short_chat").run()
    assert "Prefill speed, tok/s" in shown(app).columns
    app.selectbox(key="explore:x").set_value(ENERGY).run()
    assert "Energy per token, mJ/tok" in shown(app).columns
    assert asked == [["prefill_tps@short_chat"]]


def test_new_results_are_seen_at_the_next_look(store: Store) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    app = explore().run()
    assert len(shown(app)) == 2
    fill_store(store, DEMO[2:4], 1, detail=False)
    assert len(shown(app.run())) == 4


def test_hostile_names_stay_text(store: Store) -> None:
    fill_store(
        store, [('<img src=x onerror="x()">[a](javascript:x) $x$ *y*', "Q8_0"), ("plain", "F16")], 1, detail=False
    )
    app = explore().run()
    shown(app)
    picks = [button.label for button in app.button if "img" in button.label]
    assert all(r"\<img" in label and r"\[a\]" in label and r"\$" in label for label in picks)
    for element in app.markdown:
        assert "<img" not in element.value.replace(r"\<img", "")


def test_the_table_exports_base_units_and_no_formula(store: Store) -> None:
    fill_store(store, [('=HYPERLINK("http://x")', "Q8_0"), ("plain", "F16")], 1, detail=False)
    points = points_of(store, ENERGY, QUALITY)
    frame = pd.read_csv(io.BytesIO(export(points)))
    assert frame[ENERGY].tolist() == pytest.approx(points.value[ENERGY].tolist())
    assert set(frame[f"{ENERGY}:method"]) == {"modelled"}
    assert not frame["model"].str.startswith("=").any()


def test_a_database_that_cannot_be_opened_is_an_error_in_words(database_file: Path) -> None:
    database_file.write_bytes(b"this is no database" * 100)
    app = explore().run()
    assert not app.exception
    assert app.error


def test_everything_is_the_same_in_another_process_of_the_same_store(store: Store, settings: Settings) -> None:
    fill_store(store, DEMO[:2], 1, detail=False)
    with open_store(settings.database_url) as other:
        assert len(points_of(other, ENERGY)) == len(shown(explore().run()))
