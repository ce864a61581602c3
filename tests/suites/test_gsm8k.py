"""The final number of an answer."""

from __future__ import annotations

import pytest

from trilemma.errors import StudyError
from trilemma.schema import SuiteSpec
from trilemma.suites.generation import Reply
from trilemma.suites.gsm8k import Gsm8k, last_number, plain_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("He has 3 + 4 = 7 apples.\n#### 7", "7"),
        ("It costs $1,250.", "1250"),
        ("The answer is -12.5 degrees", "-12.5"),
        ("5", "5"),
        ("no number at all", ""),
        ("", ""),
    ],
)
def test_the_last_number_counts(text: str, number: str) -> None:
    assert last_number(text) == number


def test_dollar_signs_and_separators_are_left_out() -> None:
    assert plain_number("$70,000.") == "70000"


def test_strict_wants_the_mark() -> None:
    spec = SuiteSpec(name="gsm8k", limit=1)
    suite = Gsm8k()
    (task,) = suite.tasks(spec)
    right = suite.grade(task, Reply(f"So it is {task.expected}."), spec)
    assert right.scores == {"accuracy": 1.0, "accuracy_strict": 0.0}
    marked = suite.grade(task, Reply(f"So it is.\n#### {task.expected}\n"), spec)
    assert marked.scores == {"accuracy": 1.0, "accuracy_strict": 1.0}
    assert suite.grade(task, Reply("", "the connection was lost"), spec).scores["accuracy"] == 0.0


def test_worked_examples_come_before_the_question_and_do_not_hold_it() -> None:
    spec = SuiteSpec(name="gsm8k", limit=1, options={"shots": 2})
    suite = Gsm8k()
    (task,) = suite.tasks(spec)
    turn = next(suite.script(task, spec))
    assert turn.text.count("Question:") == 3
    assert turn.text.endswith(f"Question: {task.question}\nAnswer:")
    with pytest.raises(StudyError, match="shots"):
        suite.tasks(spec.model_copy(update={"options": {"shots": 99}}))
