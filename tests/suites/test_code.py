"""Programs out of answers, how problems are put, and pass@k."""

from __future__ import annotations

import itertools
import sys

import pytest

from trilemma.errors import StudyError
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.suites.code.extract import completed, fenced
from trilemma.suites.code.humaneval import HumanEval
from trilemma.suites.code.mbpp import Mbpp
from trilemma.suites.code.program import pass_at_k
from trilemma.suites.generation import Reply

linux = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")
PROMPT = 'import math\n\ndef f(x):\n    """Twice x."""\n'


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("Here:\n```python\nx = 1\n```\nand\n```\ny\n```", "x = 1\n"),
        ("```\nx = 1", "x = 1"),
        ("~~~py\nx = '```'\n~~~", "x = '```'\n"),
        ("1. So:\n   ```python\n   x = 1\n   ```", "x = 1\n"),
        ("no code", None),
        ("", None),
    ],
)
def test_the_first_fenced_block(answer: str, code: str | None) -> None:
    assert fenced(answer) == code


def test_long_answers_are_bounded() -> None:
    assert len(fenced("```\n" + "`" * 10_000_000) or "") <= 200_000
    assert fenced("``\n" * 3_000_000) is None


@pytest.mark.parametrize(
    "answer",
    [
        "```python\ndef f(x):\n    return math.floor(2 * x)\n```",
        "def f(x):\n    return 2 * x",
        "```python\n    return 2 * x\n```",
        "return 2 * x",
    ],
)
def test_a_chat_may_answer_with_the_function_or_its_body(answer: str) -> None:
    module: dict[str, object] = {}
    exec(completed(PROMPT, answer, "f"), module)
    assert module["f"](3) == 6  # type: ignore[operator]


@linux
def test_humaneval_goes_on_with_the_prompt_and_runs_the_tests() -> None:
    spec = SuiteSpec(name="humaneval", limit=2)
    suite = HumanEval()
    for task in suite.tasks(spec):
        turn = next(suite.script(task, spec))
        assert (turn.text, turn.messages) == (task.question, ())
        assert "\ndef" in turn.stop
        right = suite.grade(task, Reply(task.expected), spec)
        assert right.scores == {"accuracy": 1.0}, right.detail
        assert isinstance(right.detail["sandbox"], dict) and "network" in right.detail["sandbox"]
        assert suite.grade(task, Reply("    return 'wrong'\n"), spec).scores == {"accuracy": 0.0}
        assert suite.grade(task, Reply("", "the connection was lost"), spec).scores == {"accuracy": 0.0}


@linux
def test_mbpp_shows_its_assertions_and_runs_them() -> None:
    spec = SuiteSpec(name="mbpp")
    suite = Mbpp()
    tasks = {task.id: task for task in suite.tasks(spec)}
    assert len(tasks) == 500
    task = tasks["MBPP/17"]
    turn = next(suite.script(task, spec))
    assert turn.text.startswith('"""\n') and "assert square_perimeter(10)==40" in turn.text
    program = "def square_perimeter(a):\n    return 4 * a\n"
    assert suite.grade(task, Reply(program), spec).scores == {"accuracy": 1.0}
    assert suite.grade(task, Reply(program.replace("4", "5")), spec).scores == {"accuracy": 0.0}
    chat = spec.model_copy(update={"options": {"chat": True}})
    assert "square_perimeter" in next(suite.script(task, chat)).messages[0]["content"]
    assert suite.grade(task, Reply(f"So:\n```python\n{program}```\n"), chat).scores == {"accuracy": 1.0}


def test_pass_at_k_is_the_share_of_draws_with_one_that_passed() -> None:
    tries = [True, True, False, False, False, False]
    for k in range(1, 7):
        draws = list(itertools.combinations(tries, k))
        assert pass_at_k(6, 2, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_several_tries_differ_in_their_seed_and_give_pass_at_k() -> None:
    options = {"samples": 6, "temperature": 0.8}
    spec = SuiteSpec(name="humaneval", limit=2, options=options)
    suite = HumanEval()
    tasks = suite.tasks(spec)
    assert [task.sample for task in tasks] == [*range(6)] * 2
    assert len({next(suite.script(task, spec)).seed for task in tasks}) == 6
    answers = [
        AnswerRecord(
            suite="humaneval",
            item_id=f"{task.id}#{task.sample}" if task.sample else task.id,
            index=index,
            prompt="",
            answer="",
            expected="",
            scores={"accuracy": float(index in (0, 1))},
            detail={},
        )
        for index, task in enumerate(tasks)
    ]
    found = {measurement.key: measurement.value for measurement in suite.measurements(answers, spec)}
    assert found == {
        "accuracy@humaneval": pytest.approx(1 / 6),
        "pass_at_k.k5@humaneval": pytest.approx(0.5),
        "pass_at_k.k6@humaneval": 0.5,
    }
    one = [answer for answer in answers if "#" not in answer.item_id]
    assert [measurement.figure for measurement in suite.measurements(one, spec)] == ["accuracy"]
    with pytest.raises(StudyError, match="temperature"):
        suite.tasks(spec.model_copy(update={"options": {"samples": 2}}))
