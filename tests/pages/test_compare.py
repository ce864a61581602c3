"""Compare on a real store: what is chosen, what differs, and single questions side by side."""

from __future__ import annotations

import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tests.factory import DEMO, HOST, artifact, fill_store
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


def test_without_answers_the_page_says_what_will_be_here(store: Store) -> None:
    app = compare()
    assert not app.exception
    assert "Set up a study" in [button.label for button in app.button]


def test_one_configuration_alone_cannot_be_compared(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    assert "Only one configuration" in compare().info[0].value


def test_the_first_three_are_compared_and_the_table_is_the_paired_statistics(store: Store) -> None:
    fill_store(store, DEMO[:4], 1)
    app = compare()
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
    app = compare(c=[ids[3], "made-up", ids[1]], weight=["hellaswag:3", "piqa:nan", "x", "other:1"], suite="nothing")
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
    app = compare()
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
    app = compare()
    assert not app.exception
    assert any("They agree on all 2 items" in caption.value for caption in app.caption)
