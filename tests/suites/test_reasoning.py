"""Problems out of the seed, and what of an answer is marked."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from trilemma import registry
from trilemma.errors import StudyError, SuiteDataError
from trilemma.schema import SuiteSpec
from trilemma.suites.generation import Reply
from trilemma.suites.reasoning import TASKS, Reasoning, final_answer

SUITE = Reasoning()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("First 3 + 4.\nAnswer: 7.", "7"),
        ("Answer: 5? No.\n**Answer:** `12`\nThat is all.", "12"),
        ("**ANSWER**:\n\n  Wednesday", "Wednesday"),
        ("Let me see.\n\nIt is 12\n\n", "It is 12"),
        ("İ" * 50 + " answer: x", "x"),
        ("Answer:", ""),
        ("", ""),
        ("Answer: " + "9" * 10_000_000, "9" * 1000),
        ("answer: " * 500_000, ""),
    ],
)
def test_the_answer_is_what_stands_last(text: str, answer: str) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"tasks": ["countdown"]}, "countdown"), ({"tasks": []}, "tasks"), ({"per_task": 0}, "per_task")],
)
def test_a_generator_that_evaluates_answers_is_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(StudyError, match=problem):
        SUITE.tasks(SuiteSpec.model_validate({"name": "reasoning", "options": options}))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(SuiteDataError) as caught:
        SUITE.tasks(SuiteSpec(name="reasoning"))
    assert "trilemma[reasoning]" in (caught.value.hint or "")


class TestWithThePackage:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        if find_spec("reasoning_gym") is None:
            pytest.skip("pip install 'trilemma[reasoning]'")

    def test_a_seed_makes_its_problems_and_another_makes_others(self) -> None:
        assert registry.load("trilemma.suites", "reasoning")().availability().available

        def asked(seed: int) -> dict[str, str]:
            spec = SuiteSpec(name="reasoning", seed=seed, options={"per_task": 5})
            return {task.id: task.question for task in SUITE.tasks(spec)}

        before = set(sys.modules)
        first, again, other = asked(0), asked(0), asked(1)
        assert "sympy" in before or "sympy" not in sys.modules, "the package is kept out of the measured process"
        assert first == again
        assert {name.split("/")[1] for name in first} == set(TASKS)
        assert len(first) == 5 * len(TASKS)
        shared = set(first.values()) & set(other.values())
        assert len(shared) <= 2, "a short word or two may come again by chance"

    def test_every_kind_marks_its_own_answer_right_and_nonsense_wrong(self) -> None:
        spec = SuiteSpec(name="reasoning", options={"per_task": 3})
        for task in SUITE.tasks(spec):
            right = SUITE.grade(task, Reply(f"So it is.\nAnswer: {task.expected}"), spec)
            assert right.scores == {"accuracy": 1.0, "partial_credit": 1.0}, task.id
            for text in ("Answer: __import__('os').getcwd()", "", "Answer: sNaN", "Answer: " + "9" * 5000):
                wrong = SUITE.grade(task, Reply(text), spec)
                assert wrong.scores["accuracy"] == 0.0
                assert 0.0 <= wrong.scores["partial_credit"] < 1.0

    def test_kinds_are_listed_as_on_the_command_line(self) -> None:
        options = {"tasks": "chain_sum;word_sorting", "per_task": 2}
        tasks = SUITE.tasks(SuiteSpec.model_validate({"name": "reasoning", "limit": 3, "options": options}))
        assert len(tasks) == 3
        assert {task.id.split("/")[1] for task in tasks} <= {"chain_sum", "word_sorting"}
        turn = next(SUITE.script(tasks[0], SuiteSpec(name="reasoning")))
        assert turn.messages[0]["content"].startswith(tasks[0].question)
        assert "'Answer:'" in turn.messages[0]["content"]
