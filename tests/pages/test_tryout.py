"""Compare's live tabs over a real store: trying out, and voting without names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from pages.parts import tryout_data, vote_data
from pages.parts.vote_data import Ballot
from tests.factory import HOST, artifact
from trilemma.records import AnswerRecord, Choice, Vote
from trilemma.schema import (
    Configuration,
    Measurement,
    Method,
    Provenance,
    RunSpec,
    RunState,
    StudySpec,
    SuiteSpec,
)
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.suites.shares import mean_measurement
from trilemma.tryout.messages import Ask
from trilemma.tryout.rounds import Round, State

HOSTILE = "<img src=x onerror=alert(1)> ![](http://evil.example/x.png) \u202egpj.exe\x1b[2J"
WAITS = "import sys\nsys.stdin.readline()\nsys.stdin.read()\n"
ANSWERS = """
import json, sys
ask = json.loads(sys.stdin.readline())
for number, one in enumerate(ask["contenders"]):
    c = one["configuration"]
    name = sys.argv[1 + number]
    def say(**word):
        print(json.dumps({"configuration_id": name, "word": word}), flush=True)
    say(kind="ready", pid=1, load_s=0.25)
    text = one["artifact"]["quantization"] + " says " + ask["question"]["prompt"]
    say(kind="written", text=text, tokens=5, submitted_ns=10**9, first_ns=2 * 10**9, last_ns=4 * 10**9, ended="end")
    say(kind="reading", memory_bytes=2.0**30, power_w=12.5, method="modelled", mean=True,
        disturbances=["other processes used 1.5 cores"])
"""


@pytest.fixture(autouse=True)
def fresh_caches(settings: Settings) -> None:
    st.cache_resource.clear()


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Round]]:
    """Replaces the host by a script, and collects the rounds that the page begins."""

    def use(script: str) -> list[Round]:
        begun: list[Round] = []

        def begin(settings: Settings, ask: Ask) -> Round:
            names = [one.id for one in ask.contenders]
            begun.append(Round(settings, ask, command=[sys.executable, "-c", script, *names]))
            return begun[-1]

        monkeypatch.setattr(tryout_data, "Round", begin)
        return begun

    return use


def study(store: Store, folder: Path | None, answers: dict[str, list[str]]) -> dict[str, str]:
    """A study whose configurations gave these answers; by quantization the configuration's id.

    Weights are in ``folder``, or not on this machine.
    """
    weights = {name: artifact("tiny", name) for name in answers}
    for name, one in weights.items():
        if folder is not None:
            (folder / f"{name}.gguf").touch()
            weights[name] = one.model_copy(update={"path": str(folder / f"{name}.gguf")})
        store.add_artifact(weights[name])
    configurations = tuple(Configuration(artifact_id=one.id, engine="llama.cpp") for one in weights.values())
    suites = (SuiteSpec(name="gsm8k"),)
    runs = [RunSpec(configuration=one, suites=suites) for one in configurations]
    store.add_study(StudySpec(name="Asked", configurations=configurations, suites=suites), runs)
    by_id = {one.id: name for name, one in weights.items()}
    while run := store.claim_next("test"):
        store.start_run(run.id, HOST)
        given = answers[by_id[run.spec.configuration.artifact_id]]
        store.add_answers(run.id, [record(index, text) for index, text in enumerate(given)])
        about = Provenance(method=Method.MEASURED, source="clock")
        speed = [
            Measurement(figure="decode_tps", subject="short_chat", statistic=statistic, value=value, provenance=about)
            for statistic, value in (("", 94.0), ("p50", 1.0))
        ]
        store.set_measurements(run.id, [mean_measurement("accuracy", "gsm8k", [1.0] * len(given)), *speed])
        store.finish_run(run.id, RunState.DONE)
    return {by_id[one.artifact_id]: one.id for one in configurations}


def record(index: int, text: str) -> AnswerRecord:
    return AnswerRecord(
        suite="gsm8k", item_id=f"gsm8k/{index}", index=index, prompt=f"Question {index}?", answer=text, expected="7",
        scores={"accuracy": 1.0},
    )  # fmt: skip


def compare(tab: str) -> AppTest:
    def script() -> None:
        from pages import compare, shared

        with shared.errors_shown():
            compare.page()

    app = AppTest.from_function(script, default_timeout=60)
    app.query_params["tab"] = tab
    app.run()
    assert not app.exception
    return app


def follow(app: AppTest, **query: str) -> AppTest:
    """Another link of the same session."""
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    return app


def queue() -> AppTest:
    def script() -> None:
        from pages import queue

        queue.page()

    app = AppTest.from_function(script, default_timeout=60).run()
    assert not app.exception
    return app


def shown(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.warning, app.error, app.info, app.success, app.code)
    return "\n".join([element.value for kind in kinds for element in kind] + html(app))


def html(app: AppTest) -> list[str]:
    return [element.proto.body for element in app.get("html")]


def ask(app: AppTest, prompt: str, begun: list[Round]) -> AppTest:
    """Ask, wait for the end, and draw the page again, as its timer does."""
    count = len(begun)
    app.chat_input[0].set_value(prompt).run()
    assert not app.exception
    assert len(begun) == count + 1
    begun[-1].join(20)
    app.run()
    assert not app.exception
    return app


def test_without_the_weights_it_says_so_and_where_to_get_them(store: Store) -> None:
    study(store, None, {"Q8_0": ["1"], "Q2_K": ["2"]})
    app = compare("tryout")
    assert "None of these configurations can answer on this machine" in app.info[0].value
    assert len(app.chat_input) == 0
    assert len(app.get("page_link")) == 1


def test_each_answers_with_its_speed_memory_and_power_and_nothing_in_it_is_markup(
    store: Store, tmp_path: Path, rounds: Callable[[str], list[Round]]
) -> None:
    ids = study(store, tmp_path, {"Q8_0": ["1"], "Q2_K": ["2"]})
    begun = rounds(ANSWERS)
    app = compare("tryout")
    assert app.chat_input[0].placeholder == "Ask all 2 of them"
    app = ask(app, HOSTILE, begun)
    assert {one.id for one in begun[0].ask.contenders} == set(ids.values())
    first, second = html(app)
    assert ("Q8_0 says" in first + second) and ("Q2_K says" in first + second)
    for body in (first, second):
        for figure in (
            "2.00 tok/s", "94.0 tok/s in the study, short chat", "1.00 s", "loaded in 250 ms", "1.00 GiB", "12.5 W ○",
            "done: 5 tokens",
        ):  # fmt: skip
            assert figure in body, body
        assert "&lt;img src=x" in body
        assert "<img" not in body
        assert not {"\u202e", "\x1b"} & set(body)
    assert "modelled, not measured" in shown(app)
    assert "was disturbed: other processes used 1\\.5 cores." in shown(app)
    assert not any("evil" in element.value for element in [*app.markdown, *app.caption])
    assert not any("Stop" in button.label for button in app.button)
    # What was asked before stays below, and is what the next prompt's answers do not change.
    app = ask(app, "And then?", begun)
    assert len(html(app)) == 4
    assert "And then?" in html(app)[0]


def test_blank_prompts_begin_nothing(store: Store, tmp_path: Path, rounds: Callable[[str], list[Round]]) -> None:
    study(store, tmp_path, {"Q8_0": ["1"], "Q2_K": ["2"]})
    begun = rounds(ANSWERS)
    app = compare("tryout")
    app.chat_input[0].set_value(" \n ").run()
    assert begun == []
    assert not app.exception


def test_while_it_is_written_it_can_be_stopped_and_the_queue_knows(
    store: Store, tmp_path: Path, rounds: Callable[[str], list[Round]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pages.parts.worker.GRACE_S", 0.0)
    study(store, tmp_path, {"Q8_0": ["1"], "Q2_K": ["2"]})
    begun = rounds(WAITS)
    app = compare("tryout")
    app.chat_input[0].set_value("Hello?").run()
    assert app.chat_input[0].disabled
    assert "waits for its turn" in html(app)[0]
    one = store.runs()[0].spec.configuration
    store.add_study(StudySpec(name="Next", configurations=(one,)), [RunSpec(configuration=one, repeat=7)])
    waiting = queue()
    assert "A try-out on Compare has the machine" in shown(waiting)
    assert "no worker" not in shown(waiting)
    next(button for button in app.button if button.label == "Stop").click().run()
    begun[0].join(20)
    app.run()
    assert all("stopped" in body for body in html(app))
    assert not app.chat_input[0].disabled
    assert "no worker" in shown(queue())


def test_what_fails_for_all_is_said_once_and_a_log_is_there_letter_for_letter(
    store: Store, tmp_path: Path, rounds: Callable[[str], list[Round]]
) -> None:
    study(store, tmp_path, {"Q8_0": ["1"], "Q2_K": ["2"]})
    refused = "for name in sys.argv[1:]: say(name, kind='failed', reason='A run is being measured. [x](y)')"
    head = """
import json, sys
sys.stdin.readline()
def say(name, **word): print(json.dumps({"configuration_id": name, "word": word}), flush=True)
"""
    app = ask(compare("tryout"), "Hello?", rounds(head + refused))
    assert [w.value for w in app.warning] == ["A run is being measured\\. \\[x\\]\\(y\\)"]
    assert html(app) == []
    crashed = "sys.stderr.write('segfault at <b>0</b>')\nsys.exit(4)\n"
    app = ask(compare("tryout"), "Hello?", rounds(head + crashed))
    assert "ended with exit status 4" in html(app)[0]
    assert "segfault at <b>0</b>" in [code.value for code in app.code]


def test_a_vote_is_blind_until_it_is_cast_and_is_kept_with_the_study(store: Store, tmp_path: Path) -> None:
    ids = study(store, None, {"Q8_0": [f"eight {HOSTILE}", "same"], "Q2_K": ["two", " same "]})
    app = compare("vote")
    before = html(app)
    assert [heading for heading in headings(app) if heading in ("A", "B")] == ["A", "B"]
    assert not any(name in text for text in [*before, *headings(app)] for name in ids)
    assert "Question 0?" in [code.value for code in app.code]
    assert "<img" not in "".join(before)
    press(app, "B is better")
    (kept,) = store.votes(store.studies()[0].id)
    assert (kept.source, kept.item_id, kept.prompt, kept.choice) == ("gsm8k", "gsm8k/0", "Question 0?", Choice.B)
    assert {kept.a_id: kept.a_answer, kept.b_id: kept.b_answer} == {
        ids["Q8_0"]: f"eight {HOSTILE}", ids["Q2_K"]: "two",
    }  # fmt: skip
    # What stood as A stays there, and has a name now.
    assert html(app) == before
    name_of = {one: name for name, one in ids.items()}
    a, b = (heading for heading in headings(app) if heading.startswith(("A: ", "B: ")))
    assert (name_of[kept.a_id] in a) and (name_of[kept.b_id] in b)
    assert any("After 1 vote" in text.value for text in app.markdown)
    press(app, "Next")
    assert "Nothing of this suite is left" in app.success[0].value


def test_whichever_stands_as_a_the_page_differs_in_the_place_of_the_answers_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [*study(store, None, {"Q8_0": ["wrote this"], "Q2_K": ["wrote that"]}).values()]
    pages = []
    for a, b in (ids, ids[::-1]):
        monkeypatch.setattr(vote_data, "draw", lambda source, found, *_, a=a, b=b: Ballot(source, found[0], a, b))
        app = compare("vote")
        pages.append("\n".join([*protos(app.main), str(app.query_params)]))
    swapped = {"this": "that", "that": "this"}
    assert pages[0] != pages[1]
    assert re.sub(r"(?<=wrote )th(?:is|at)", lambda found: swapped[found[0]], pages[0]) == pages[1]


def protos(block: Block) -> Iterator[str]:
    """All that is sent to the browser, element by element."""
    for child in block.children.values():
        yield str(child.proto)
        if isinstance(child, Block):
            yield from protos(child)


def headings(app: AppTest) -> list[str]:
    found = [text.value for text in app.markdown if text.value.startswith("##### ")]
    return [text.removeprefix("##### ").replace("\\", "") for text in found]


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    assert not app.exception


def test_a_vote_that_is_taken_back_is_not_offered_again_with_its_names_known(store: Store) -> None:
    study(store, None, {"Q8_0": ["1", "3"], "Q2_K": ["2", "4"]})
    app = compare("vote")
    press(app, "Tie")
    seen = store.votes(store.studies()[0].id)[0].item_id
    press(app, "Take it back")
    assert store.votes(store.studies()[0].id) == []
    press(app, "Both are bad")
    (kept,) = store.votes(store.studies()[0].id)
    assert kept.item_id != seen
    assert kept.choice is Choice.BAD


def test_an_answer_whose_name_was_told_is_not_shown_with_that_question_again(store: Store) -> None:
    study(store, None, {"Q8_0": ["1", "4"], "Q4_K_M": ["2", "5"], "Q2_K": ["3", "6"]})
    key = store.studies()[0].id
    app = compare("vote")
    app.text_input[0].set_value("Ada").run()
    for _ in range(2):
        press(app, "Tie")
        press(app, "Next")
    # Of three answers to each question two are known: beside them the third would be no secret either.
    assert {vote.item_id for vote in store.votes(key)} == {"gsm8k/0", "gsm8k/1"}
    assert "Nothing of this suite is left" in app.success[0].value
    again = compare("vote")
    again.text_input[0].set_value("Ada").run()
    assert "Nothing of this suite is left" in again.success[0].value


def test_what_cannot_be_judged_is_skipped_and_nothing_is_kept(store: Store) -> None:
    study(store, None, {"Q8_0": ["1", "3"], "Q2_K": ["2", "4"]})
    app = compare("vote")
    first = html(app)
    press(app, "Skip")
    assert set(html(app)).isdisjoint(first)
    press(app, "Skip")
    assert "Nothing of this suite is left" in app.success[0].value
    assert store.votes(store.studies()[0].id) == []


def test_a_name_is_kept_while_other_tabs_are_shown(store: Store) -> None:
    study(store, None, {"Q8_0": ["1"], "Q2_K": ["2"]})
    app = compare("vote")
    app.text_input[0].set_value("Ada").run()
    for tab in ("answers", "vote"):
        follow(app, tab=tab)
    assert app.text_input[0].value == "Ada"
    press(app, "Tie")
    assert store.votes(store.studies()[0].id)[0].voter == "Ada"


def test_who_gives_a_name_is_not_asked_again_what_they_voted_on_before(store: Store) -> None:
    study(store, None, {"Q8_0": ["1"], "Q2_K": ["2"]})
    app = compare("vote")
    app.text_input[0].set_value(" Ada ").run()
    press(app, "A is better")
    assert store.votes(store.studies()[0].id)[0].voter == "Ada"
    again = compare("vote")
    assert len(again.success) == 0
    again.text_input[0].set_value("Ada").run()
    assert "Nothing of this suite is left" in again.success[0].value
    again.text_input[0].set_value("Grace").run()
    assert "A is better" in [button.label for button in again.button]


def test_two_live_answers_are_shown_together_and_voted_on(
    store: Store, tmp_path: Path, rounds: Callable[[str], list[Round]]
) -> None:
    ids = study(store, tmp_path, {"Q8_0": ["same"], "Q4_K_M": ["same"], "Q2_K": ["same"]})
    begun = rounds(ANSWERS)
    app = ask(compare("vote"), "Hello?", begun)
    assert len(begun[0].ask.contenders) == 2
    texts = html(app)
    assert len(texts) == 2
    press(app, "A is better")
    (kept,) = store.votes(store.studies()[0].id)
    assert (kept.source, kept.item_id, kept.prompt) == ("", "", "Hello?")
    assert kept.asked == {"max_tokens": 128, "temperature": 0.0, "seed": 0}
    assert f"{next(name for name, one in ids.items() if one == kept.a_id)} says" in kept.a_answer
    assert "says Hello?" in texts[0]
    # The next pair is one that was not voted on yet.
    press(app, "Next")
    ask(app, "Again?", begun)
    assert {one.id for one in begun[1].ask.contenders} != {one.id for one in begun[0].ask.contenders}


def test_one_session_keeps_one_prompt_going(store: Store, tmp_path: Path, rounds: Callable[[str], list[Round]]) -> None:
    study(store, tmp_path, {"Q8_0": ["1"], "Q2_K": ["2"]})
    begun = rounds(WAITS)
    app = compare("tryout")
    app.chat_input[0].set_value("Hello?").run()
    follow(app, tab="vote", ballots="live").chat_input[0].set_value("Which?").run()
    begun[0].join(20)
    assert {(a.state, a.reason) for a in begun[0].answers.values()} == {(State.STOPPED, "another prompt was asked")}
    assert not begun[1].over
    # Another choice is another ballot, and nobody comes back to the one before.
    follow(app, ballots="gsm8k")
    begun[1].join(20)
    assert {answer.state for answer in begun[1].answers.values()} == {State.STOPPED}
    assert "another prompt was asked" in html(follow(app, tab="tryout"))[0]


def test_where_an_engine_failed_the_voter_reads_why_and_the_end_of_its_log(
    store: Store, tmp_path: Path, rounds: Callable[[str], list[Round]]
) -> None:
    study(store, tmp_path, {"Q8_0": ["same"], "Q2_K": ["same"]})
    begun = rounds("import sys\nsys.stdin.readline()\nsys.stderr.write('segfault at <b>0</b>')\nsys.exit(4)\n")
    app = ask(compare("vote"), "Hello?", begun)
    assert "exit status 4" in app.info[0].value
    assert "segfault at <b>0</b>" in [code.value for code in app.code]
    assert not app.chat_input[0].disabled


def test_of_three_the_count_is_one_scale_and_of_groups_it_says_that_there_is_none(store: Store) -> None:
    ids = study(store, None, {"Q8_0": ["1"], "Q4_K_M": ["2"], "Q2_K": ["3"]})
    key = store.studies()[0].id
    for other, choice in (("Q4_K_M", Choice.A), ("Q2_K", Choice.TIE), ("Q2_K", Choice.BAD)):
        vote = Vote(source="", prompt="?", a_id=ids["Q8_0"], b_id=ids[other], a_answer="x", b_answer="y", choice=choice)
        store.add_vote(key, vote)
    app = compare("vote")
    table = next(d.value for d in app.dataframe if "Share for one" in d.value.columns)
    assert table[["Ties", "Both bad"]].sum().tolist() == [1, 1]
    assert len(app.get("plotly_chart")) == 1
    assert any("Bradley and Terry" in caption.value for caption in app.caption)
    assert any(
        "After 3 votes no preference can be told from luck" in plain.value.replace("\\", "") for plain in app.markdown
    )
