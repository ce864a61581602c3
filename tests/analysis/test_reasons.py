"""Why an answer was scored as it was, out of details that nobody vouches for."""

from __future__ import annotations

from trilemma.analysis.reasons import LONGEST, reasons, steps
from trilemma.records import AnswerRecord


def answer(**detail: object) -> AnswerRecord:
    return AnswerRecord.model_validate(
        {"suite": "s", "item_id": "s/1", "index": 0, "prompt": "", "answer": "", "scores": {"accuracy": 1.0}}
        | {"detail": detail}
    )


def test_choices_have_their_log_probability_and_say_which_was_right_and_taken() -> None:
    found = reasons(
        answer(choices=["yes", "no"], logprobs=[-2.0, -6.0], lengths=[2, 3], expected_index=1, chosen_index=0)
    )
    assert found.tables["Choices"] == [
        {"": "taken", "log-probability": "-2.0000", "per character": "-1.0000", "choice": "yes"},
        {"": "expected", "log-probability": "-6.0000", "per character": "-2.0000", "choice": "no"},
    ]
    assert found.lines == {"Accuracy": "1.00"}


def test_what_was_found_and_whether_it_was_cut_comes_first() -> None:
    found = reasons(answer(seconds=1.5, found="18", cut=True, expected=[{"a": 1}, 2], long="x" * 200))
    assert list(found.lines) == ["Accuracy", "Cut at the longest answer allowed", "Found in the answer", "Seconds"]
    assert found.lines["Cut at the longest answer allowed"] == "yes"
    assert found.texts == {"Expected": '[{"a": 1}, 2]', "Long": "x" * 200}


def test_details_of_another_form_are_shown_and_break_nothing() -> None:
    found = reasons(
        answer(
            choices="none", logprobs=[1], instructions=[{"kwargs": {"n": 1}, "id": "a", "strict": False}], found=None
        )
    )
    assert found.tables == {"Instructions": [{"id": "a", "strict": "no", "kwargs": '{"n": 1}'}]}
    assert list(found.tables["Instructions"][0]) == ["id", "strict", "kwargs"]
    uneven = reasons(answer(choices=["a"], logprobs=[None], lengths=["x"]))
    assert uneven.tables["Choices"][0]["log-probability"] == "null"


def test_what_is_very_long_is_cut_and_says_so() -> None:
    text = reasons(answer(output="y" * (LONGEST + 5))).texts["Output"]
    assert len(text) < LONGEST + 100
    assert "5 more characters" in text


def test_an_agents_steps_are_read_one_by_one() -> None:
    found = steps(
        answer(
            trace=[
                {"turn": 0, "answer": "I look.", "calls": ["ls()"], "results": ["a.txt", "b"]},
                {"turn": 0, "answer": "Done.", "calls": [], "results": None},
                "not a step",
            ]
        )
    )
    assert [step.title for step in found] == ["Step 1, turn 0", "Step 2, turn 0"]
    assert (found[0].calls, found[0].results) == ("ls()", "a.txt\nb")
    assert (found[1].answer, found[1].calls, found[1].results) == ("Done.", "", "")
    assert steps(answer(trace="x")) == []
    assert len(steps(answer(trace=[{"answer": "again"}] * 500))) == 100
