"""The New study page: what it plans, what it refuses, and what it puts into the queue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from trilemma import registry
from trilemma.engines.base import Availability
from trilemma.schema import Artifact, StoppingRule
from trilemma.settings import get_settings
from trilemma.store import Store


@pytest.fixture
def app(home: Path) -> AppTest:
    st.cache_resource.clear()

    def script() -> None:
        from pages import new_study, shared

        with shared.errors_shown():
            new_study.page()

    return AppTest.from_function(script, default_timeout=60)


@pytest.fixture
def ladder(store: Store, tmp_path: Path) -> list[Artifact]:
    """Two steps of one model and one of another, with files of the right size behind them."""
    found = []
    for number, (model, quantization, bits) in enumerate(
        [("Smol-135M", "F16", 16.0), ("Smol-135M", "Q4_K_M", 4.9), ("Tiny [x](http://evil.example)", "Q8_0", 8.5)]
    ):
        path = tmp_path / f"{number}.gguf"
        size = int(1e6 * bits)
        path.write_bytes(b"\0" * size)
        artifact = Artifact(
            id=hashlib.sha256(str(number).encode()).hexdigest(),
            path=str(path),
            model=model,
            quantization=quantization,
            architecture="llama",
            parameters=8_000_000,
            context_length=4096,
            size_bytes=size,
            bits_per_weight=bits,
            source="folder",
        )
        found.append(store.add_artifact(artifact))
    return found


def measure(app: AppTest) -> str:
    """The label of the page's one great button, empty when it cannot be pressed."""
    button = app.button(key="measure")
    return "" if button.disabled else button.label


def cell(artifact: Artifact) -> str:
    return f"a_{artifact.id[:12]}"


def shown(app: AppTest) -> str:
    return "\n".join(element.value for kind in (app.markdown, app.caption) for element in kind)


def without_suites(app: AppTest) -> None:
    for box in app.checkbox:
        if str(box.key).startswith("q_") and box.value:
            box.uncheck()
    app.run()


def test_without_a_model_it_leads_to_models(app: AppTest) -> None:
    app.run()
    assert not app.exception
    assert "There is no model to measure yet" in shown(app)
    assert [button.label for button in app.button] == ["Add a model"]


def test_nothing_is_offered_before_something_is_chosen(app: AppTest, ladder: list[Artifact]) -> None:
    app.run()
    assert not app.exception
    assert measure(app) == ""
    assert "Choose at least one quantization" in shown(app)
    assert "[x](http" not in shown(app), "a model's name is no Markdown"


def test_the_button_counts_the_runs(app: AppTest, ladder: list[Artifact], store: Store) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check()
    app.checkbox(key=cell(ladder[2])).check().run()
    without_suites(app)
    assert measure(app) == "Measure 4 runs"
    app.number_input(key="repeats").set_value(3).run()
    assert measure(app) == "Measure 6 runs"
    app.text_input(key="s_threads").input("1, 2").run()
    assert measure(app) == "Measure 12 runs"
    app.text_input(key="name").input("Threads").run()
    app.button(key="measure").click().run()
    (study,) = store.studies()
    assert study.spec.name == "Threads"
    assert {c.settings["threads"] for c in study.spec.configurations} == {1, 2}
    assert len(store.runs(study.id)) == 12


def test_choose_all_of_a_model(app: AppTest, ladder: list[Artifact]) -> None:
    app.run()
    next(b for b in app.button if b.label == "Choose all 2").click().run()
    assert not app.exception
    assert app.checkbox(key=cell(ladder[0])).value
    assert app.checkbox(key=cell(ladder[1])).value
    assert not app.checkbox(key=cell(ladder[2])).value


def test_the_url_brings_the_form_back(app: AppTest, ladder: list[Artifact]) -> None:
    app.query_params[cell(ladder[1])] = "true"
    app.query_params["repeats"] = "5"
    app.query_params["w_short_chat_n"] = "7"
    app.run()
    assert not app.exception
    assert app.checkbox(key=cell(ladder[1])).value
    assert app.number_input(key="w_short_chat_n").value == 7
    without_suites(app)
    assert measure(app) == "Measure 5 runs"


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("s_threads", "two", "Write numbers separated by commas"),
        ("s_threads", "0", "greater than or equal to 1"),
        ("s_context", "100000", "4096"),
    ],
)
def test_a_wrong_setting_is_said_beside_it(
    app: AppTest, ladder: list[Artifact], key: str, text: str, expected: str
) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check()
    app.text_input(key=key).input(text).run()
    assert not app.exception
    assert measure(app) == ""
    assert any(":red[" in c.value and expected in c.value for c in app.caption)


def test_a_value_that_is_the_default_makes_no_second_configuration(app: AppTest, ladder: list[Artifact]) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check()
    app.text_input(key="s_context").input("2048").run()
    without_suites(app)
    assert measure(app) == "Measure 2 runs"


def test_nothing_to_ask_is_refused(app: AppTest, ladder: list[Artifact]) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check()
    app.checkbox(key="w_short_chat").uncheck().run()
    without_suites(app)
    assert measure(app) == ""
    assert "Choose a workload" in shown(app)


def test_every_suite_is_offered_or_says_what_it_lacks(app: AppTest, ladder: list[Artifact]) -> None:
    app.run()
    offered = {str(box.key).removeprefix("q_") for box in app.checkbox if str(box.key).startswith("q_")}
    assert offered == set(registry.names("trilemma.suites"))


@pytest.mark.lm_eval
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-evaluation-harness is not installed")
def test_a_suite_that_needs_a_task_is_left_out_until_it_has_one(
    app: AppTest, ladder: list[Artifact], store: Store
) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check()
    app.checkbox(key="w_short_chat").uncheck().run()
    without_suites(app)
    app.checkbox(key="q_lm_eval").check().run()
    assert not app.exception
    assert measure(app) == ""
    assert "needs mending" in shown(app)
    app.text_input(key="o_lm_eval_task").input("arc_easy").run()
    app.button(key="measure").click().run()
    (study,) = store.studies()
    assert [suite.options for suite in study.spec.suites] == [{"task": "arc_easy"}]


def test_options_of_a_suite_go_into_the_study(app: AppTest, ladder: list[Artifact], store: Store) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check().run()
    without_suites(app)
    app.checkbox(key="q_gsm8k").check().run()
    app.number_input(key="o_gsm8k_shots").set_value(2)
    app.number_input(key="q_gsm8k_users").set_value(3).run()
    assert not app.exception
    app.button(key="measure").click().run()
    (suite,) = store.studies()[0].spec.suites
    assert (suite.name, suite.options, suite.concurrency) == ("gsm8k", {"shots": 2}, 3)


def test_only_written_answers_are_asked_for_at_the_same_time(app: AppTest, ladder: list[Artifact]) -> None:
    app.run()
    keys = {str(field.key) for field in app.number_input}
    assert "o_hellaswag_shots" in keys
    assert "q_hellaswag_users" not in keys


def test_a_link_cannot_say_where_a_key_goes(app: AppTest, ladder: list[Artifact]) -> None:
    app.query_params["q_own"] = "true"
    app.query_params["o_own_judge_model"] = "wise"
    app.query_params["o_own_judge_url"] = "http://evil.example/v1"
    app.query_params["o_own_judge_key_env"] = "SECRET"
    app.run()
    assert not app.exception
    assert app.text_input(key="o_own_judge_model").value == "wise", "other options do come from a link"
    assert app.text_input(key="o_own_judge_url").value == ""
    assert app.text_input(key="o_own_judge_key_env").value == ""


def test_a_file_of_questions_is_shown_and_chosen(app: AppTest, ladder: list[Artifact], store: Store) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check().run()
    without_suites(app)
    app.checkbox(key="q_own").check().run()
    assert measure(app) == "", "there is no file yet"
    app.file_uploader(key="own_file").set_value([("bad.csv", b"question,answer\nok,1\nbad,\n", "text/csv")]).run()
    assert not app.exception
    assert "1 problem" in shown(app)
    assert list(app.dataframe[0].value["row"]) == [3]
    assert measure(app) == ""
    good = b"question,answer\n=1+1 [x](http://evil.example),2\n"
    app.file_uploader(key="own_file").set_value([("good.csv", good, "text/csv")]).run()
    assert list(app.dataframe[0].value["question"]) == ["=1+1 [x](http://evil.example)"]
    app.button(key="measure").click().run()
    assert not app.exception
    (suite,) = store.studies()[0].spec.suites
    assert suite.options == {"file": hashlib.sha256(good).hexdigest()}
    assert suite.limit is None


def test_suites_may_be_stopped_early(app: AppTest, ladder: list[Artifact], store: Store) -> None:
    app.run()
    app.checkbox(key=cell(ladder[0])).check()
    app.checkbox(key="stop").check().run()
    app.number_input(key="stop_error").set_value(0.1).run()
    assert not app.exception
    app.button(key="measure").click().run()
    rules = {suite.name: suite.stopping for suite in store.studies()[0].spec.suites}
    assert rules == {"hellaswag": StoppingRule(error=0.1), "perplexity": None}


@pytest.fixture
def cluster(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AppTest]:
    """The page again, with a cluster."""

    def join() -> AppTest:
        monkeypatch.setenv("TRILEMMA_RAY_ADDRESS", "127.0.0.1:1")
        get_settings.cache_clear()
        return app.run()

    return join


def test_a_cluster_measures_what_does_not_fit_this_machine(
    app: AppTest, ladder: list[Artifact], cluster: Callable[[], AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trilemma.engines.llama_cpp.engine.available_bytes", lambda: 10)
    app.query_params[cell(ladder[0])] = "true"
    app.run()
    assert measure(app) == ""
    assert "needs at least" in shown(app)
    cluster()
    assert measure(app).startswith("Measure")
    assert "needs at least" in shown(app), "it is said all the same"
    assert "asked again before each run" in shown(app)


def test_a_cluster_measures_with_an_engine_that_is_not_here(
    app: AppTest, ladder: list[Artifact], cluster: Callable[[], AppTest], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = registry.load("trilemma.engines", "llama.cpp")
    monkeypatch.setattr(engine, "availability", classmethod(lambda cls: Availability(False, "It is not installed.")))
    app.query_params |= {cell(ladder[0]): "true", "engine": "llama.cpp"}
    app.run()
    assert measure(app) == ""
    cluster()
    app.button(key="measure").click().run()
    assert not app.exception
    assert {run.spec.engine_version for run in store.runs()} == {""}, "whichever the machine has"


def test_a_cluster_emulates_larger_devices_than_this_machine(
    app: AppTest, ladder: list[Artifact], cluster: Callable[[], AppTest], store: Store, home: Path
) -> None:
    (home / "profiles").mkdir()
    (home / "profiles" / "huge.toml").write_text(
        'title = "Huge"\nstands_for = "A rack."\nsource = "ours"\ncores = 4096\n'
    )
    app.query_params[cell(ladder[0])] = "true"
    app.run()
    assert "huge" not in app.multiselect(key="device").options
    cluster()
    app.multiselect(key="device").set_value(["huge"]).run()
    app.button(key="measure").click().run()
    assert not app.exception
    assert {run.spec.needs.cpus for run in store.runs()} == {4096}, "a machine with fewer cores would be another device"
