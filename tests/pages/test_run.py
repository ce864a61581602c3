"""Run on a real store: figures with their provenance, what went wrong, and every answer."""

from __future__ import annotations

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.parts import run_view
from tests.factory import DEMO, HOST, fill_store
from trilemma.records import AnswerRecord, RunRecord
from trilemma.schema import Measurement, Method, Provenance, RunSpec, RunState, StudySpec
from trilemma.settings import Settings
from trilemma.store import Store


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


def open_run(run_id: str = "") -> AppTest:
    def script() -> None:
        from pages import run, shared

        with shared.errors_shown():
            run.page()

    app = AppTest.from_function(script, default_timeout=60)
    if run_id:
        app.query_params["id"] = run_id
    return app.run()


def words(app: AppTest) -> str:
    assert not app.exception
    return "\n".join(element.value for element in [*app.markdown, *app.caption, *app.subheader])


def first(store: Store, quality: bool = True) -> RunRecord:
    return next(run for run in store.runs() if bool(run.spec.suites) is quality)


def another(store: Store) -> RunRecord:
    """A run that has been started and has recorded nothing yet."""
    done = store.runs()[0].spec
    spec = RunSpec(configuration=done.configuration, workloads=done.workloads, repeat=77)
    store.add_study(StudySpec(name="another", configurations=(done.configuration,)), [spec])
    claimed = store.claim_next("test")
    assert claimed is not None
    store.start_run(claimed.id, HOST)
    return claimed


def test_without_a_run_the_recent_ones_are_listed(store: Store) -> None:
    assert "Set up a study" in [button.label for button in open_run().button]
    fill_store(store, DEMO[:2], 2, detail=False)
    frame = open_run().dataframe[0].value
    assert len(frame) == 4
    assert set(frame["State"]) == {"done"}


def test_an_unknown_run_is_an_error_in_words(store: Store) -> None:
    app = open_run("nothing")
    assert not app.exception
    assert len(app.error) == 1


def test_figures_have_unit_interval_definition_and_provenance(store: Store) -> None:
    fill_store(store, DEMO[:1])
    run = first(store)
    app = open_run(run.id)
    text = words(app)
    assert "Peak memory" in text
    assert "mJ/tok" in text
    assert "±" in text
    helps = " ".join(element.help for element in app.markdown if element.help)
    assert "Submission to first output token" in helps
    assert "modelled" in text
    every = next(d.value for d in app.dataframe if "Definition" in d.value.columns)
    assert len(every) == len(store.measurements(run.id))
    p99 = every[every["Figure"] == "Time to first token, p99, short chat"]
    assert p99["Value"].item() == "–"
    assert "needs 100 requests" in p99["From"].item()


def test_every_request_and_answer_is_there_and_can_be_filtered(store: Store) -> None:
    fill_store(store, DEMO[:1])
    run = first(store)
    app = open_run(run.id)
    requests = next(d.value for d in app.dataframe if "ttft, s" in d.value.columns)
    assert len(requests) == 24

    def answers() -> int:
        return len(next(d.value for d in app.dataframe if "expected" in d.value.columns))

    assert answers() == 200
    app.segmented_control(key="run_suite").set_value("piqa").run()
    assert answers() == 100
    wrong = sum(a.scores["accuracy"] < 0.5 for a in store.answers(run.id, "piqa"))
    app.segmented_control(key="run_right").set_value("wrong").run()
    assert answers() == wrong
    assert not app.exception


def test_a_run_with_several_numbers_of_users_shows_its_load(store: Store) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    done = first(store)
    assert "Load" not in [tab.label for tab in open_run(done.id).tabs]
    run, alone = another(store), store.measurements(done.id)
    crowd = [
        m.model_copy(update={"subject": "short_chat x4", "value": m.value and 2 * m.value})
        for m in alone
        if m.subject == "short_chat"
    ]
    store.set_measurements(run.id, [*alone, *crowd])
    app = open_run(run.id)
    assert not app.exception
    assert "Load" in [tab.label for tab in app.tabs]
    assert "Hollow marks are modelled, not measured." in words(app)


def test_a_repeat_without_questions_says_why(store: Store) -> None:
    fill_store(store, DEMO[:1])
    assert "first repeat only" in words(open_run(first(store, quality=False).id))


def test_a_failed_run_shows_why_and_what_was_measured_until_then(store: Store) -> None:
    fill_store(store, DEMO[:1], 1)
    run = another(store)
    kept = store.measurements(store.runs()[0].id)[:3]
    store.set_measurements(run.id, kept)
    store.finish_run(
        run.id, RunState.FAILED, reason="The engine ran *out of memory*. Try a smaller context.", log_tail="OOM"
    )
    app = open_run(run.id)
    assert r"out of memory\*" in app.error[0].value
    assert "Peak memory" in words(app)
    assert "OOM" in [code.value for code in app.code]


def test_a_run_that_failed_before_anything_still_has_a_page(store: Store) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    run = another(store)
    store.finish_run(run.id, RunState.FAILED, reason="Bad file.")
    app = open_run(run.id)
    assert not app.exception
    assert "Nothing was measured" in app.info[0].value


def test_a_disturbed_run_says_so_first_and_why(store: Store) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    run = another(store)
    store.finish_run(run.id, RunState.DONE, disturbed=True, disturbances=["Others kept 0.8 cores busy for 12 s."])
    app = open_run(run.id)
    assert "disturbed the machine" in app.warning[0].value
    assert "0\\.8 cores" in app.warning[0].value


def test_a_running_run_says_that_it_is_not_over(store: Store) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    app = open_run(another(store).id)
    assert not app.exception
    assert "running" in app.info[0].value


def test_answers_of_a_model_stay_text(store: Store) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    run = another(store)
    hostile = "<script>alert(1)</script> ![x](http://evil.example/x.png) $$x$$ \x00\ud800"
    store.add_answers(
        run.id,
        [
            AnswerRecord(
                suite="<b>suite</b>", item_id="1", index=0, prompt=hostile, answer=hostile, expected=hostile,
                scores={"accuracy": 0.0}, detail={"raw": hostile.replace("\ud800", "")},
            )
        ],
    )  # fmt: skip
    store.finish_run(run.id, RunState.DONE, log_tail=hostile)
    app = open_run(run.id)
    assert not app.exception
    frame = next(d.value for d in app.dataframe if "expected" in d.value.columns)
    assert "<script>" in frame["answer"].item()
    assert "<script>" not in words(app)
    assert "evil.example" not in words(app)


def test_a_forgotten_artifact_leaves_the_run_readable(store: Store) -> None:
    fill_store(store, DEMO[:1])
    store.forget_artifact(store.artifacts()[0].id)
    assert not open_run(first(store).id).exception


def test_scores_that_items_do_not_share_leave_blanks() -> None:
    def answer(index: int, scores: dict[str, float]) -> AnswerRecord:
        return AnswerRecord(suite="s", item_id=str(index), index=index, prompt="p", answer="a", scores=scores)

    frame = run_view.answers_frame([answer(0, {"accuracy": 1.0}), answer(1, {"f1": 0.5})])
    assert frame["accuracy"].isna().tolist() == [False, True]


def test_how_well_it_answered_what_it_cost_and_what_an_agent_did(store: Store) -> None:
    fill_store(store, DEMO[:1], 1, detail=False)
    run = another(store)
    trace = [{"turn": 0, "answer": "**I** look.", "calls": ["ls()"], "results": ["![](http://evil.example/x.png)"]}]
    store.add_answers(
        run.id,
        [
            AnswerRecord(
                suite="agent", item_id="agent/1", index=0, prompt="Find it.", answer="", scores={"success_rate": 1.0},
                detail={"trace": trace},
            )
        ],
    )  # fmt: skip
    provenance = Provenance(method=Method.MEASURED, source="client's clock")
    unknown = provenance.model_copy(update={"valid": False, "reasons": ("none of 1 answers was right",)})
    store.set_measurements(
        run.id,
        [
            Measurement(figure="success_rate", subject="agent", value=1.0, n=1, provenance=provenance),
            Measurement(figure="time_per_solved_task_s", subject="agent", value=2.5, n=1, provenance=provenance),
            Measurement(figure="energy_per_solved_task_j", subject="agent", value=None, n=1, provenance=unknown),
        ],
    )
    store.finish_run(run.id, RunState.DONE)
    app = open_run(run.id)
    text = words(app)
    assert "What the agent did" in text
    assert "evil" not in text
    costs = next(d.value for d in app.dataframe if "How" in d.value.columns and "Definition" not in d.value.columns)
    assert costs["Value"].tolist() == ["–", "2.50 s"]
    assert costs["How"].tolist() == ["none of 1 answers was right", "measured"]
    assert [step.label for step in app.expander] == ["Step 1, turn 0"]
    assert any("evil.example" in code.value for code in app.expander[0].code)


def test_repeats_lead_to_each_other_and_to_the_one_that_was_asked(store: Store) -> None:
    fill_store(store, DEMO[:2], 2)
    spoken, asked = first(store, quality=False), first(store)
    app = open_run(spoken.id)
    assert "Questions are asked once, in repeat 1." in words(app)
    links = [element.proto.label for element in app.get("page_link")]
    assert {"Repeat 1", "See how it answered"} <= set(links)
    app = open_run(asked.id)
    assert "Questions are asked once" not in words(app)
    assert "Repeat 2" in [element.proto.label for element in app.get("page_link")]
