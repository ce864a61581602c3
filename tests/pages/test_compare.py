"""Compare on a real store: what is chosen, what differs, how long users wait, and single questions side by side."""

from __future__ import annotations

import io
import random

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.factory import DEMO, HOST, WORKLOAD, artifact, figures, fill_store, points_of
from trilemma.analysis.contrasts import contrasts
from trilemma.analysis.paired import item_scores, paired
from trilemma.records import AnswerRecord
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec, SuiteSpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.suites.shares import mean_measurement

HOSTILE = "<img src=x onerror=alert(1)> ![](http://evil.example/x.png)"


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


def compare(**query: str | list[str]) -> AppTest:
    def script() -> None:
        from pages import compare, shared

        with shared.errors_shown():
            compare.page()

    app = AppTest.from_function(script, default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    return app.run()


def table(app: AppTest, column: str) -> pd.DataFrame:
    """The first table that has ``column``."""
    assert not app.exception
    found: pd.DataFrame = next(d.value for d in app.dataframe if column in d.value.columns)
    return found


def asked_study(store: Store, answers: dict[str, list[AnswerRecord]]) -> dict[str, str]:
    """A finished study with the given answers; quantization to configuration id."""
    weights = {quantization: artifact("tiny", quantization) for quantization in answers}
    for one in weights.values():
        store.add_artifact(one)
    by_id = {one.id: quantization for quantization, one in weights.items()}
    configurations = tuple(Configuration(artifact_id=one.id, engine="llama.cpp") for one in weights.values())
    suites = tuple(SuiteSpec(name=name) for name in {a.suite for given in answers.values() for a in given})
    runs = [RunSpec(configuration=c, suites=suites) for c in configurations]
    store.add_study(StudySpec(name="Asked", configurations=configurations, suites=suites), runs)
    while run := store.claim_next("test"):
        given = answers[by_id[run.spec.configuration.artifact_id]]
        store.start_run(run.id, HOST)
        store.add_answers(run.id, given)
        scores = [answer.scores["accuracy"] for answer in given]
        store.set_measurements(run.id, [mean_measurement("accuracy", "gsm8k", scores)])
        store.finish_run(run.id, RunState.DONE)
    return {by_id[c.artifact_id]: c.id for c in configurations}


def written(index: int, right: float, answer: str, **detail: object) -> AnswerRecord:
    return AnswerRecord.model_validate(
        {
            "suite": "gsm8k", "item_id": f"gsm8k/{index}", "index": index, "prompt": f"How many are {index} and 1?",
            "answer": answer, "expected": str(index + 1), "scores": {"accuracy": right}, "detail": detail,
        }
    )  # fmt: skip


def test_without_runs_the_page_says_what_will_be_here(store: Store) -> None:
    app = compare()
    assert not app.exception
    assert "Set up a study" in [button.label for button in app.button]


def test_one_configuration_alone_cannot_be_compared(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    assert "Only one configuration" in compare().info[0].value


def test_the_first_three_are_compared_and_the_table_is_the_paired_statistics(store: Store) -> None:
    fill_store(store, DEMO[:4], 1)
    app = compare(tab="answers")
    rows = table(app, "p (Holm)")
    assert len(rows) == 2 * 2
    chosen = app.multiselect[0].value
    assert len(chosen) == 3
    runs = {run.spec.configuration.id: run.id for run in store.runs()}
    first, second = (item_scores(store.answers(runs[one], "hellaswag")) for one in chosen[:2])
    wanted = paired(first, second)
    row = rows[rows["Suite"] == "hellaswag"].iloc[0]
    assert (row["Right to wrong"], row["Wrong to right"]) == (wanted.lost, wanted.gained)
    assert row["Items of both"] == 100
    assert "to" in row["95 %"]


def test_the_url_says_what_is_compared_and_what_is_made_up_is_dropped(store: Store) -> None:
    study = fill_store(store, DEMO[:4], 1)
    ids = [configuration.id for configuration in study.spec.configurations]
    app = compare(
        tab="answers",
        c=[ids[3], "made-up", ids[1]],
        weight=["hellaswag:3", "piqa:nan", "x", "other:1"],
        suite="nothing",
    )
    assert app.multiselect[0].value == [ids[3], ids[1]]
    assert [box.value for box in app.number_input] == [3.0, 1.0]
    assert app.query_params["c"] == [ids[3], ids[1]]
    app.number_input[1].set_value(0.0).run()
    assert app.query_params["weight"] == ["hellaswag:3", "piqa:0"]
    score = table(app, "Is the best in")
    assert len(score) == 2
    app.multiselect[0].set_value([]).run()
    assert not app.exception
    assert "Pick two to five" in app.info[0].value


def test_more_than_five_in_a_link_are_cut_to_five(store: Store) -> None:
    study = fill_store(store, DEMO[:7], 1)
    app = compare(c=[configuration.id for configuration in study.spec.configurations])
    assert not app.exception
    assert len(app.multiselect[0].value) == 5


def test_disagreements_are_shown_side_by_side_with_why_letter_for_letter(store: Store) -> None:
    instructions = [{"id": "no_comma", "strict": True, "loose": True}, {"id": "two_lines", "strict": False}]
    first = [written(0, 1.0, "It is 1", found="1"), written(1, 1.0, "2", found="2")]
    second = [
        written(0, 1.0, "1", found="1"),
        written(1, 0.0, HOSTILE, found="7", error="it broke", instructions=instructions),
    ]
    asked_study(store, {"Q8_0": first, "Q2_K": second})
    app = compare(tab="answers")
    listed = table(app, "Question")
    assert listed["Item"].tolist() == ["gsm8k/1"]
    texts = [code.value for code in app.code]
    assert "How many are 1 and 1?" in texts
    assert HOSTILE in texts
    assert not any("evil" in element.value for element in [*app.markdown, *app.caption])
    why = [dict(zip(d.value[""], d.value["value"], strict=True)) for d in app.dataframe if "value" in d.value.columns]
    assert why[0]["Found in the answer"] == "2"
    assert (why[1]["Found in the answer"], why[1]["The request failed"]) == ("7", "it broke")
    followed = table(app, "strict")
    assert followed["strict"].tolist() == ["yes", "no"]
    row = table(app, "p (Holm)").iloc[0]
    assert (row["Right to wrong"], row["Wrong to right"], row["Difference"]) == (1, 0, "-0.500")


def test_where_they_agree_on_everything_that_is_said(store: Store) -> None:
    same = [written(0, 1.0, "1"), written(1, 0.0, "9")]
    asked_study(store, {"Q8_0": same, "Q2_K": same})
    app = compare(tab="answers")
    assert not app.exception
    assert any("They agree on all 2 items" in caption.value for caption in app.caption)


def silent_study(store: Store) -> list[str]:
    """A finished study that asked nothing; its configurations' ids."""
    weights = [artifact("quiet", quantization) for quantization in ("Q8_0", "Q2_K")]
    for one in weights:
        store.add_artifact(one)
    configurations = tuple(Configuration(artifact_id=one.id, engine="llama.cpp") for one in weights)
    runs = [RunSpec(configuration=c, workloads=(WORKLOAD,), repeat=repeat) for repeat in (0, 1) for c in configurations]
    store.add_study(StudySpec(name="Silent", configurations=configurations, workloads=(WORKLOAD,)), runs)
    rng = random.Random(3)
    by_id = {one.id: one for one in weights}
    while run := store.claim_next("test"):
        store.start_run(run.id, HOST)
        store.set_measurements(run.id, figures(by_id[run.spec.configuration.artifact_id], rng, quality=False))
        store.finish_run(run.id, RunState.DONE)
    return [one.id for one in configurations]


@pytest.mark.parametrize("tab", ["figures", "answers", "waiting", "traces"])
def test_configurations_that_answered_nothing_can_be_compared_too(store: Store, tab: str) -> None:
    silent_study(store)
    app = compare(tab=tab)
    assert not app.exception
    assert len(app.multiselect[0].value) == 2
    if tab == "figures":
        assert "Decode speed, short chat" in table(app, "Figure")["Figure"].tolist()
    else:
        # Nothing was kept of this study but its figures, and each view says so.
        assert len(app.info) == 1


def test_every_figure_is_set_against_the_first_one(store: Store) -> None:
    study = fill_store(store, DEMO[:4], 2)
    ids = [configuration.id for configuration in study.spec.configurations]
    app = compare(c=[ids[0], ids[3]])
    shown = table(app, "Figure").set_index("Figure")
    columns = ("F16", "Q4_K_M", "Q4_K_M against F16", "p (Holm), Q4_K_M")
    first, other, difference, p = (shown[name] for name in columns)
    speed = "Decode speed, short chat"
    assert "tok/s" in first[speed]
    assert "tok/s" in other[speed]
    assert difference[speed].startswith("▲ better, +")
    assert difference["Peak memory"].startswith("▲ better, -")
    assert "% (" in difference["Peak memory"]
    assert difference["Size on disk"].startswith("▲ better, -")
    assert first["Energy per token, short chat"].endswith(" ○")
    assert "±" not in first["Size on disk"]
    assert p["Accuracy, length-normalised, hellaswag"] not in ("", "–")
    # What p is corrected for is every comparison, not only those in sight.
    app.text_input[0].set_value("decode").run()
    filtered = table(app, "Figure").set_index("Figure")
    assert list(filtered.index) == [speed]
    assert filtered[columns[3]][speed] == p[speed]
    assert app.query_params["find"] == "decode"


def test_figures_are_filtered_by_axis_and_by_whether_they_differ(store: Store) -> None:
    fill_store(store, DEMO[:3], 2)
    app = compare(axis="performance", told="1")
    rows = table(app, "Figure")
    assert set(rows["Axis"]) == {"performance"}
    differences = rows[[name for name in rows.columns if " against " in name]]
    assert all(any(text.startswith(("▲", "▼")) for text in row) for row in differences.to_numpy())
    app = compare(axis="performance", find="no such figure")
    assert any("No figure passes" in info.value for info in app.info)


def test_the_exported_table_is_unrounded_and_says_how_it_was_tested(store: Store) -> None:
    from pages.parts import compare_data, compare_figures
    from pages.parts.compare_data import Scene

    study = fill_store(store, [DEMO[0], DEMO[3]], 2, name="=cmd()")
    of = (store.url, store.version())
    options = compare_data.options(of, study.id)
    scene = Scene(of, study.id, options, None)  # type: ignore[arg-type]
    keys = ["decode_tps@short_chat", "accuracy_norm@hellaswag"]
    points = points_of(store, *keys)
    rows = pd.read_csv(io.BytesIO(compare_figures.export(scene, points, keys, contrasts(points, keys))))
    assert len(rows) == 4
    speed = rows[rows["key"] == keys[0]]
    assert speed["value"].tolist() == points.value[keys[0]].tolist()
    other = speed.iloc[1]
    assert other["difference"] == pytest.approx(speed["value"].iloc[1] - speed["value"].iloc[0])
    assert other["share_low"] < other["difference_share"] < other["share_high"]
    assert (other["verdict"], other["test"]) == ("better", "Student's t")
    assert pd.isna(speed["p"].iloc[0])


def test_the_headline_is_bars_or_a_radar(store: Store) -> None:
    fill_store(store, DEMO[:3], 2)
    app = compare()
    assert len(app.get("plotly_chart")) == 3
    app = compare(picture="Radar")
    assert len(app.get("plotly_chart")) == 1
    assert not app.exception
    assert len(compare(picture="made up").get("plotly_chart")) == 3


def test_waits_are_over_the_requests_of_all_repeats(store: Store) -> None:
    chosen = [one.id for one in fill_store(store, DEMO[:3], 2).spec.configurations]
    app = compare(tab="waiting", c=chosen)
    rows = table(app, "Requests")
    assert rows["Configuration"].tolist() == ["F16", "Q8_0", "Q6_K"]
    assert rows["Requests"].tolist() == ["48"] * 3
    medians = [float(text) for text in rows.filter(like="median").iloc[:, 0]]
    assert medians == sorted(medians, reverse=True), "fewer bits, shorter waits"
    assert rows.filter(like="p99").iloc[:, 0].tolist() == ["–"] * 3
    app = compare(tab="waiting", latency="e2e_s", workload="made up")
    assert not app.exception
    assert app.selectbox[1].value == WORKLOAD.subject


def test_disturbed_runs_wait_in_a_line_of_their_own(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1)
    first = study.spec.configurations[0].id
    run = next(run for run in store.runs() if run.spec.configuration.id == first)
    again = store.add_rerun(run.id)
    claimed = store.claim_next("test")
    assert claimed is not None
    assert claimed.id == again
    store.start_run(again, HOST)
    store.write_batch(again, requests=store.requests(run.id))
    store.set_measurements(again, store.measurements(run.id))
    store.finish_run(again, RunState.DONE, disturbed=True, disturbances=["somebody else used the machine"])
    app = compare(tab="waiting", c=[one.id for one in study.spec.configurations])
    assert not app.exception
    rows = table(app, "Requests")
    assert rows["Note"].tolist() == ["disturbed runs", ""]
    assert any("disturbed" in caption.value for caption in app.caption)


def test_traces_begin_at_loading_or_at_serving(store: Store) -> None:
    fill_store(store, DEMO[:2], 1)
    app = compare(tab="traces")
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1
    assert len(app.get("page_link")) == 2
    app = compare(tab="traces", start="serving")
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1


def test_the_same_prompt_answered_by_each_is_marked_and_escaped(store: Store) -> None:
    asked_study(
        store,
        {
            "Q8_0": [written(0, 1.0, "It is one."), written(1, 1.0, "two")],
            "Q4_K_M": [written(0, 1.0, "It is 1."), written(1, 1.0, "two")],
            "Q2_K": [written(0, 0.0, f"It {HOSTILE}"), written(1, 1.0, "two")],
        },
    )
    app = compare(tab="answers")
    rows = table(app, "Different answers")
    assert rows["Prompt"].tolist() == ["gsm8k/0"]
    assert rows["Different answers"].tolist() == [3]
    shown = [element.proto.body for element in app.get("html")]
    assert len(shown) == 3
    assert "<ins" not in shown[0]
    assert "<del" not in shown[0]
    assert ">one.</del>" in shown[1]
    assert ">1.</ins>" in shown[1]
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown[2]
    assert "<img" not in shown[2]
    app.toggle[0].set_value(False).run()
    assert table(app, "Different answers")["Prompt"].tolist() == ["gsm8k/0", "gsm8k/1"]
    assert app.query_params["differing"] == "0"


def test_prompts_of_workloads_are_kept_with_their_answers(store: Store) -> None:
    chosen = [one.id for one in fill_store(store, DEMO[:2], 1).spec.configurations]
    app = compare(tab="answers", prompts="workload:short_chat", differing="0", c=chosen)
    rows = table(app, "Different answers")
    assert rows["Text"].tolist() == ["Tell me of the sea."]
    assert rows["Different answers"].tolist() == [1]
    assert any("the same words as F16" in caption.value for caption in app.caption)


def test_the_address_keeps_the_view(store: Store) -> None:
    fill_store(store, DEMO[:2], 1)
    app = compare(tab="made up")
    assert not app.exception
    assert "tab" not in app.query_params
    app = compare(tab="waiting", latency="e2e_s", picture="Radar")
    assert app.query_params["tab"] == "waiting"
    assert app.query_params["latency"] == "e2e_s"
    # What another view keeps is none of this one's address, but not forgotten.
    assert "picture" not in app.query_params
    app.segmented_control(key="compare:tab").set_value("figures").run()
    assert not app.exception
    assert app.query_params["picture"] == "Radar"
    assert "latency" not in app.query_params
