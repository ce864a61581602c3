"""Decide on a real store: presets, limits and priorities, what the URL says, and what goes wrong."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.dataframe_util import convert_arrow_bytes_to_pandas_df
from streamlit.testing.v1 import AppTest

from pages.parts import decide_choice, decide_data, decide_view, explore_data
from tests.factory import DEMO, SMOL, fill_store, points_of
from trilemma.analysis.draws import draw
from trilemma.analysis.limits import parse_limit, within
from trilemma.analysis.points import labels
from trilemma.analysis.recommendation import Priorities, recommend
from trilemma.presets import find_preset
from trilemma.schema import Axis, RunSpec
from trilemma.settings import Settings
from trilemma.store import Store

MEMORY, SPEED, QUALITY = "peak_memory_bytes", "decode_tps@short_chat", "accuracy_norm@hellaswag"


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


def decide(**query: str | list[str]) -> AppTest:
    def script() -> None:
        from pages import decide, shared

        with shared.errors_shown():
            decide.page()

    app = AppTest.from_function(script, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def ranking(app: AppTest) -> pd.DataFrame:
    assert not app.exception
    frame: pd.DataFrame = next(d.value for d in app.dataframe if "Best" in d.value.columns)
    return frame


def headline(app: AppTest) -> str:
    assert not app.exception
    return unescaped(next(m.value for m in app.markdown if m.value.startswith("#### ")))


def unescaped(text: str) -> str:
    return text.replace("\\", "")


def everything(app: AppTest) -> str:
    return unescaped(" ".join(element.value for element in [*app.markdown, *app.caption, *app.info]))


def test_an_empty_store_says_what_will_be_here_and_how_to_get_there(store: Store) -> None:
    app = decide()
    assert not app.exception
    assert app.title[0].value == "Which one, given what we care about?"
    assert "Set up a study" in [button.label for button in app.button]


def test_a_study_without_questions_cannot_weigh_performance(store: Store) -> None:
    done = fill_store(store, DEMO[:3], 1, detail=False)
    bare = [RunSpec(configuration=c, workloads=done.spec.workloads, repeat=7) for c in done.spec.configurations]
    second = store.add_study(done.spec.model_copy(update={"name": "No questions"}), bare)
    app = decide(study=second.id)
    assert not app.exception
    assert "no figure of efficiency, speed and performance yet" in app.info[0].value
    assert decide_data.first_study(explore_data.version()) == done.id


def test_the_answer_is_the_recommendation_of_the_same_figures(store: Store) -> None:
    fill_store(store, detail=False)
    app = decide(efficiency=MEMORY, speed=SPEED, performance=QUALITY, weights="20,50,30")
    axes = dict(zip(Axis, (MEMORY, SPEED, QUALITY), strict=True))
    asked = Priorities(axes, dict(zip(Axis, (0.2, 0.5, 0.3), strict=True)))
    points = points_of(store, *sorted(axes.values()))
    told = recommend(draw(points, points.keys), asked)
    assert told.headline in headline(app)
    for sentence in told.sentences:
        if sentence == told.judged:
            continue  # the page has it above the map
        assert " ".join(sentence.split()) in everything(app)
    frame = ranking(app)
    assert len(frame) == 9
    assert 90 <= frame["Best"].sum() <= 100, "each is rounded down"
    assert frame["Best"].is_monotonic_decreasing
    best = frame.loc[frame["Best"].idxmax()]
    assert best["Configuration"] == labels(points)[str(told.pick)] or told.probability < 0.5


def test_a_preset_fills_in_limits_priorities_and_figures_and_is_a_starting_point(store: Store) -> None:
    fill_store(store, detail=False)
    app = decide()
    assert app.query_params == {}
    app.selectbox(key="decide:preset").set_value("phone-edge").run()
    assert not app.exception
    preset = find_preset("phone-edge")
    assert app.query_params == {"preset": "phone-edge"}
    assert app.multiselect(key="decide:limit").value == list(preset.limits)
    assert [app.slider(key=f"decide:slider:{axis}").value for axis in Axis] == [50, 25, 25]
    assert app.selectbox(key="decide:efficiency").value == "energy_per_token_j@short_chat"
    assert "efficiency 50 %, speed 25 %, performance 25 %" in headline(app)
    app.multiselect(key="decide:limit").set_value(list(preset.limits[:1])).run()
    assert app.query_params == {"preset": "phone-edge", "limit": preset.limits[0]}
    app.multiselect(key="decide:limit").set_value([]).run()
    assert app.query_params == {"preset": "phone-edge", "limit": ""}, "no limit is a choice too"
    assert decide(**app.query_params).multiselect(key="decide:limit").value == []
    app.selectbox(key="decide:preset").set_value("tool-agent").run()
    assert app.multiselect(key="decide:limit").value == list(find_preset("tool-agent").limits)
    assert app.query_params == {"preset": "tool-agent"}


def test_a_limit_that_was_not_measured_neither_passes_nor_excludes_in_silence(store: Store) -> None:
    fill_store(store, detail=False)
    app = decide(limit=["goodput >= 5 req/s", "peak_memory_bytes <= 10 GiB"])
    assert "goodput >= 5 req/s: not measured in this study, so not checked" in everything(app)
    assert "Not checked, for it was not measured: goodput >= 5 req/s." in everything(app)
    assert "Peak memory ≤ 10 GiB: 9 of 9 keep it, 9 surely" in everything(app)
    assert len(ranking(app)) == 9


def test_limits_say_how_many_keep_them_and_what_breaks_one_is_last(store: Store) -> None:
    fill_store(store, detail=False)
    text = "peak_memory_bytes <= 230 MiB"
    app = decide(limit=text)
    points = points_of(store, MEMORY)
    inside = within(points, [parse_limit(text, [MEMORY])])
    assert 0 < inside.sum() < 9
    assert f"{inside.sum()} of 9 keep it" in everything(app)
    frame = ranking(app)
    assert (frame["Note"] == "breaks a limit").sum() == 9 - inside.sum()
    assert frame["Note"].tolist()[: inside.sum()] == [""] * int(inside.sum())
    assert frame["Best"].tolist()[inside.sum() :] == [0.0] * int(9 - inside.sum())


def written(app: AppTest) -> pd.DataFrame:
    """The ranking as it is read, not as it is sorted."""
    proto = next(d.proto for d in app.dataframe if "Best" in d.value.columns)
    return convert_arrow_bytes_to_pandas_df(proto.arrow_data.styler.display_values)


def test_the_table_is_no_surer_than_the_sentences(store: Store) -> None:
    fill_store(store, detail=False)
    app = decide(limit="peak_memory_bytes <= 230 MiB")
    frame, read = ranking(app), written(app)
    shares = ["Best", "On the front", "Keeps limits"]
    assert frame[shares].to_numpy().max() == 99, "some of this study is as sure as draws can tell"
    assert all(dtype.kind == "f" for dtype in frame[shares].dtypes), "so that columns sort by number"
    texts = read[shares].to_numpy().ravel().tolist()
    assert "100 %" not in texts and "≥ 99 %" in texts and "< 1 %" in texts
    out = frame["Note"] == "breaks a limit"
    assert out.any() and (read.loc[out.to_numpy(), "Best"] == "0 %").all(), "these cannot win by the rule"


def test_a_share_is_written_by_what_is_sorted() -> None:
    found = decide_view._whole(np.array([1.0, 0.9999, 0.99, 0.9899, 0.62, 0.009, 0.0, np.nan]))
    assert found[:-1].tolist() == [99, 99, 99, 98, 62, 0, 0] and np.isnan(found[-1])
    assert [decide_view._share_text(one) for one in found[:-1]] == [
        "≥ 99 %", "≥ 99 %", "≥ 99 %", "98 %", "62 %", "< 1 %", "< 1 %",
    ]  # fmt: skip


def test_when_none_is_eligible_it_says_what_to_loosen(store: Store) -> None:
    fill_store(store, detail=False)
    app = decide(limit="peak_memory_bytes <= 1 MiB")
    assert "No configuration keeps all limits." in headline(app)
    assert "instead would let" in everything(app)
    assert (ranking(app)["Best"] == 0).all()
    app.button(key="decide_loosen").click().run()
    assert "keeps all limits as measured, so it is the pick whatever the priorities" in headline(app)
    assert ranking(app)["Best"].max() == 99


def test_one_configuration_has_nothing_to_be_compared_with(store: Store) -> None:
    fill_store(store, DEMO[:1], 2, detail=False)
    assert "there is nothing to compare it with" in headline(decide())


def test_what_is_no_limit_is_said_and_the_rest_counts(store: Store) -> None:
    fill_store(store, DEMO[:3], 2, detail=False)
    app = decide(limit=["beauty >= 3", "<script>alert(1)</script> <= 3", "peak_memory_bytes <= 10 GiB"])
    assert len(app.error) == 2
    assert "<script>" not in app.error[1].value
    assert "3 of 3 keep it" in everything(app)


def test_a_slider_moves_one_priority_and_the_others_give_way(store: Store) -> None:
    fill_store(store, detail=False)
    app = decide(weights="20,40,40")
    app.slider(key="decide:slider:efficiency").set_value(60).run()
    assert not app.exception
    assert app.query_params == {"weights": "60,20,20"}
    assert [app.slider(key=f"decide:slider:{axis}").value for axis in Axis] == [60, 20, 20]
    app.slider(key="decide:slider:speed").set_value(100).run()
    assert app.query_params == {"weights": "0,100,0"}
    app.slider(key="decide:slider:speed").set_value(50).run()
    assert app.query_params == {"weights": "25,50,25"}


@pytest.mark.parametrize("text", ["", "1", "1,2", "a,b,c", "nan,1,1", "-1,1,1", "0,0,0", "inf,1,1", "1,1,1,1"])
def test_priorities_that_cannot_be_read_are_equal(text: str) -> None:
    assert decide_choice.shares(text) == (1 / 3, 1 / 3, 1 / 3)


@pytest.mark.parametrize(
    "query",
    [
        {"study": "gone"}, {"preset": "../../etc/passwd"}, {"weights": "x"}, {"method": "magic"},
        {"normalisation": "?"}, {"efficiency": QUALITY}, {"speed": "'; drop table runs"}, {"limit": "x" * 5000},
    ],
)  # fmt: skip
def test_a_made_up_link_falls_back_to_what_there_is(store: Store, query: dict[str, str]) -> None:
    fill_store(store, DEMO[:3], 2, detail=False)
    assert len(ranking(decide(**query))) == 3


def test_a_link_reproduces_the_view(store: Store) -> None:
    study = fill_store(store, detail=False)
    app = decide(
        study=study.id, preset="phone-edge", limit=["peak_memory_bytes <= 300 MiB"], weights="10,20,70",
        method="topsis", normalisation="rank", efficiency=MEMORY,
    )  # fmt: skip
    first = (headline(app), app.query_params)
    again = decide(**app.query_params)
    assert (headline(again), again.query_params) == first
    pd.testing.assert_frame_equal(ranking(again), ranking(app))


def test_the_effect_of_method_and_normalisation_is_shown(store: Store) -> None:
    fill_store(store, detail=False)
    app = decide()
    assert not app.exception
    ways = next(d.value for d in app.dataframe if "Wins in" in d.value.columns)
    assert len(ways) == 9
    assert (ways[""] == "as shown").sum() == 1
    assert "ways pick" in everything(app)


def test_answers_to_common_items_are_drawn_in_pairs(store: Store) -> None:
    fill_store(store, DEMO[:3], 1)
    found = decide_data.field(explore_data.version(), "", (MEMORY, SPEED, QUALITY), ())
    # The factory's answers are drawn apart from its figures, so they do not average to them and must not stand in.
    assert found.draws.paired == frozenset()


def test_a_broken_preset_of_ones_own_is_said_and_hides_nothing(store: Store, settings: Settings) -> None:
    fill_store(store, DEMO[:2], 2, detail=False)
    folder = settings.home / "presets"
    folder.mkdir()
    (folder / "ours.toml").write_text("title = 3")
    app = decide()
    assert not app.exception
    assert "ours.toml" in unescaped(app.warning[0].value)
    assert "Tool-using agent" in app.selectbox(key="decide:preset").options


def test_names_from_outside_are_shown_letter_for_letter(store: Store) -> None:
    fill_store(store, [("<img src=x> [a](b)", "Q8_0"), (SMOL, "Q8_0")], 2, detail=False)
    app = decide()
    assert not app.exception
    shown = " ".join(element.value for element in [*app.markdown, *app.caption])
    assert "img src" in shown
    assert not re.search(r"(?<!\\)<img|(?<!\\)\]\(b", shown)


def test_figures_without_scores_by_item_are_drawn_from_their_interval(store: Store) -> None:
    fill_store(store, DEMO[:3], 1)
    asked = ("kl_divergence.mean", "success_rate@hellaswag", "accuracy_loose@hellaswag")
    assert decide_data.item_scores(explore_data.version(), "", asked) == {}
