"""Function calls are judged by the leaderboard's rules, and agents act on its systems within bounds."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from trilemma import registry
from trilemma.errors import StudyError
from trilemma.schema import SuiteSpec
from trilemma.suites.bfcl.calls import Call, read_calls
from trilemma.suites.bfcl.checker import check_calls
from trilemma.suites.bfcl.multi_turn import BfclMultiTurn, Course, judge
from trilemma.suites.bfcl.single_turn import SingleTurn
from trilemma.suites.bfcl.systems import Systems
from trilemma.suites.generation import Reply, Task

SINGLE = ("bfcl_simple", "bfcl_multiple", "bfcl_parallel", "bfcl_irrelevance")
FUNCTION = {
    "name": "book",
    "description": "Books a room.",
    "parameters": {
        "type": "dict",
        "required": ["city", "nights"],
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer"},
            "price": {"type": "float"},
            "dates": {"type": "array", "items": {"type": "string"}},
            "guest": {"type": "dict"},
            "extras": {"type": "array", "items": {"type": "dict"}},
            "span": {"type": "tuple", "items": {"type": "float"}},
        },
    },
}
ALLOWED: dict[str, list[Any]] = {
    "city": ["New York", "NYC"],
    "nights": [3],
    "price": [80.0, ""],
    "dates": [["1 May, 2024"], ""],
    "guest": [{"name": ["Ann"], "age": [30, ""]}, ""],
    "extras": [[{"kind": ["bed"]}], ""],
    "span": [[1.5, 2.5], ""],
}


def suite(name: str) -> SingleTurn:
    made: SingleTurn = registry.load("trilemma.suites", name)()
    return made


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ("city='new-york', nights=3", True),
        ("city='NYC', nights=3, price=80", True),
        ("city='NYC', nights=3, dates=['1 may 2024']", True),
        ("city='NYC', nights=3, guest={'name': 'ann'}", True),
        ("city='NYC', nights=3, extras=[{'kind': 'BED'}]", True),
        ("city='NYC', nights=3, span=(1.5, 2.5)", True),
        ("city='NYC'", False),
        ("city='NYC', nights='3'", False),
        ("city='NYC', nights=3.0", False),
        ("city='NYC', nights=True", False),
        ("city='Boston', nights=3", False),
        ("city='NYC', nights=3, price='80'", False),
        ("city='NYC', nights=3, dates=['2 May 2024']", False),
        ("city='NYC', nights=3, guest={'age': 30}", False),
        ("city='NYC', nights=3, guest={'name': 'Ann', 'pet': 1}", False),
        ("city='NYC', nights=3, extras=[{'kind': 'bed'}, {'kind': 'bed'}]", False),
        ("city='NYC', nights=3, unknown=1", False),
        ("'NYC', 3", False),
    ],
)
def test_the_rules(arguments: str, right: bool) -> None:
    why = check_calls([FUNCTION], read_calls(f"[book({arguments})]"), [{"book": ALLOWED}])
    assert (why == "") is right, why


def test_parallel_calls_come_in_any_order_and_number_exactly() -> None:
    two = [{"book": {"city": ["Rome"], "nights": [1]}}, {"book": {"city": ["Oslo"], "nights": [2]}}]
    swapped = read_calls("[book(city='oslo', nights=2), book(city='rome', nights=1)]")
    assert check_calls([FUNCTION], swapped, two) == ""
    assert "1 calls instead of 2" in check_calls([FUNCTION], swapped[:1], two)
    assert check_calls([FUNCTION], [swapped[0], swapped[0]], two)


@pytest.mark.parametrize("name", SINGLE)
def test_the_expected_answer_of_every_item_is_right_and_none_other(name: str) -> None:
    spec = SuiteSpec(name=name)
    one = suite(name)
    tasks = one.tasks(spec)
    assert len(tasks) >= 200
    right = [one.grade(task, Reply(task.expected), spec).scores["success_rate"] for task in tasks]
    assert set(right) == {1.0}
    other = "[nothing_like_it(a=1)]"
    assert {one.grade(task, Reply(other), spec).scores["success_rate"] for task in tasks} == {0.0}
    failed = one.grade(tasks[0], Reply("", "it does not fit the context"), spec)
    assert failed.scores == {"success_rate": 0.0}
    assert "does not fit" in str(failed.detail["why"])


def test_a_constrained_answer_is_a_list_of_the_functions_calls() -> None:
    spec = SuiteSpec(name="bfcl_multiple", limit=5, options={"constrained": True})
    one = suite("bfcl_multiple")
    for task in one.tasks(spec):
        schema = json.loads(next(one.script(task, spec)).schema)
        (call,) = read_calls(task.expected)
        jsonschema.validate([{"name": call.name, "arguments": call.arguments}], schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate([{"name": "other", "arguments": {}}], schema)
    with pytest.raises(StudyError, match="constrained"):
        one.tasks(spec.model_copy(update={"options": {"constrained": "perhaps"}}))


def run(task: Task, answers: list[str], **options: Any) -> Course:
    """The course of a task whose answers are given; words once there are none left."""
    suite = BfclMultiTurn()
    script = suite.script(task, SuiteSpec(name=suite.name, options=options))
    waiting = iter(answers)
    next(script)
    try:
        while True:
            script.send(Reply(next(waiting, "That is done.")))
    except StopIteration as end:
        course: Course = end.value
        return course


SPEC = SuiteSpec(name="bfcl_multi_turn")
TASKS = {task.id: task for task in BfclMultiTurn().tasks(SPEC)}
FILES = TASKS["bfcl_multi_turn/0"]


def test_every_solution_solves_its_task_and_doing_nothing_does_not() -> None:
    assert len(TASKS) == 200
    for task in TASKS.values():
        assert judge(task.data, task.data.solution) == ""
        assert "nothing was called" in judge(task.data, [[] for _ in task.data.turns])


def test_an_agent_that_acts_rightly_solves_its_task() -> None:
    answers = []
    for calls in FILES.data.solution:
        answers += [f"[{call}]" for call in calls] + ["Done."]
    assert "sort('final_report.pdf')" in answers[7]
    # As in the leaderboard's runner an argument counts only with its name.
    course = run(FILES, [answer.replace("sort('", "sort(file_name='") for answer in answers])
    grade = BfclMultiTurn().grade(FILES, course, SPEC)
    assert grade.scores == {"success_rate": 1.0}
    assert (grade.detail["tool_calls"], grade.detail["malformed_calls"]) == (10, 0)
    trace: Any = grade.detail["trace"]
    assert [step["turn"] for step in trace] == [1] * 4 + [2] * 3 + [3] * 2 + [4] * 5
    assert trace[0]["calls"] == ["cd(folder='document')"]
    assert "document" in trace[0]["results"][0]
    left_out = run(FILES, ["[mkdir(dir_name='temp')]"])
    assert "turn 1" in str(BfclMultiTurn().grade(FILES, left_out, SPEC).detail["why"])


def test_malformed_calls_are_counted_and_endless_ones_ended() -> None:
    course = run(FILES, ["[cd(folder=", "[no_such(a=1), cd(place='x'), pwd()]"])
    assert (course.tool_calls, course.malformed_calls) == (1, 3)
    endless = run(FILES, ["[pwd()]"] * 100, max_steps=3)
    assert "still calling after 3 steps" in endless.stopped
    assert BfclMultiTurn().grade(FILES, endless, SPEC).scores == {"success_rate": 0.0}


def test_a_prompt_that_does_not_fit_ends_the_task_and_is_told() -> None:
    script = BfclMultiTurn().script(FILES, SPEC)
    next(script)
    with pytest.raises(StopIteration) as end:
        script.send(Reply("", "A prompt of 2100 tokens does not fit the context of 2048."))
    grade = BfclMultiTurn().grade(FILES, end.value.value, SPEC)
    assert grade.scores == {"success_rate": 0.0}
    assert "does not fit" in str(grade.detail["why"])


def test_calls_cannot_reach_what_is_private_or_take_long() -> None:
    systems = Systems(
        ["MathAPI", "GorillaFileSystem"], {"GorillaFileSystem": {"root": {"w": {"type": "directory", "contents": {}}}}}
    )
    assert "not defined" in systems.perform(Call("_load_scenario", {"scenario": {}}))
    assert "not defined" in systems.perform(Call("__init__"))
    assert systems.perform(Call("add", {"a": 1, "b": 2})) == '{"result": 3}'
    for call in (
        Call("power", {"base": 10**30, "exponent": 10**30}),
        Call("multiply", {"a": "x", "b": 10**12}),
        Call("multiply", {"a": [1], "b": 10**12}),
        Call("square_root", {"number": 2, "precision": 10**9}),
        Call("round_number", {"number": 5, "decimal_places": -(10**9)}),
    ):
        assert "cannot be reckoned" in systems.perform(call), call
    # A folder copied into itself holds itself; looking through it ends all the same.
    for text in ("[mkdir(dir_name='d')]", "[cp(source='d', destination='d')]"):
        (call,) = read_calls(text)
        systems.perform(call)
    assert systems.perform(Call("find", {"path": ".", "name": "x"}))
