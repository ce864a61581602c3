"""Hostile answers, for every suite in which the model writes: wrong, soon judged, and nothing else happens."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from trilemma import registry
from trilemma.effort import is_written
from trilemma.schema import SuiteSpec
from trilemma.suites.generation import GenerationSuite, Reply, Task

# To call nothing is what bfcl_irrelevance asks for, and own questions have tests of their own.
SUITES = [
    name
    for name in registry.names("trilemma.suites")
    if is_written(name)
    and name not in ("own", "bfcl_irrelevance")
    and registry.load("trilemma.suites", name)().availability().available
]
NONSENSE = "qwx zjv kpf " * 900_000
FORK_BOMB = "import os\nwhile True:\n    os.fork()\n"
READER = "print(open('/etc/passwd').read())\nimport os\nprint(os.listdir(os.path.expanduser('~')))\n"
ANSWERS = {
    "nothing": "",
    "10 MB of nonsense": NONSENSE,
    "markup": "<script>alert(document.cookie)</script><img src=x onerror=alert(1)> [x](javascript:alert(1))",
    "broken JSON": '[{"name": "f", "arguments": {"a": [[[[[[' + "[" * 50_000,
    "terminal codes, zero bytes and text that runs backwards": "\x1b[2J\x1b]0;title\x07 \x00\x00 \u202egnorw\u202c",
    "a fork bomb": f"```python\n{FORK_BOMB}```",
    "a program that reads files": f"```python\n{READER}```",
    "a format string": "{0.__class__.__mro__} %s%n $(rm -rf /) `id` {{7*7}}",
}


@functools.cache
def read(name: str) -> list[Task] | str:
    """Tasks, or why there are none: without a network the hub is asked for half a minute, which once is enough."""
    try:
        tasks: list[Task] = registry.load("trilemma.suites", name)().tasks(SuiteSpec(name=name, limit=2))
        return tasks
    except Exception as error:  # questions that are only on the hub
        return str(error)


def tasks_of(name: str) -> list[Task]:
    found = read(name)
    if isinstance(found, str):
        pytest.skip(found)
    return found


def outcome(suite: GenerationSuite, task: Task, spec: SuiteSpec, text: str, error: str) -> Any:
    """What the suite's own script makes of a model that always says the same."""
    script = suite.script(task, spec)
    next(script)
    for _ in range(200):
        try:
            script.send(Reply(text, error, cut=True, tokens=5))
        except StopIteration as end:
            return end.value
    raise AssertionError("the script never ends")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ANSWERS)
@pytest.mark.parametrize("name", SUITES)
def test_a_hostile_answer_is_wrong_and_contained(name: str, what: str) -> None:
    suite, spec = registry.load("trilemma.suites", name)(), SuiteSpec(name=name, limit=2)
    task = tasks_of(name)[0]
    grade = suite.grade(task, outcome(suite, task, spec, ANSWERS[what], ""), spec)
    assert next(iter(grade.scores)) == suite.figures[0]
    # Of instructions some are kept by chance; of a question of one right answer none is.
    if name != "ifeval":
        assert next(iter(grade.scores.values())) == 0.0


@pytest.mark.parametrize("name", SUITES)
def test_an_answer_that_never_came_is_wrong(name: str) -> None:
    suite, spec = registry.load("trilemma.suites", name)(), SuiteSpec(name=name, limit=2)
    for task in tasks_of(name):
        grade = suite.grade(task, outcome(suite, task, spec, "", "the connection was lost"), spec)
        assert all(score == 0.0 for score in grade.scores.values())
