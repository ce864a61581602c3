"""Tasks over several turns: the model acts on simulated systems until it has done what the user asked for."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import Field, JsonValue

from trilemma.engines.base import Availability, Message
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.bfcl.calls import Call, CallError, looks_like_calls, read_calls
from trilemma.suites.bfcl.checker import Function
from trilemma.suites.bfcl.functions import functions_of, packaged, paired, system_prompt, turns_of
from trilemma.suites.bfcl.systems import INSTALL, MODULES, Systems
from trilemma.suites.generation import GenerationOptions, GenerationSuite, Grade, Reply, Script, Task, Turn, picked

_LIMIT = 256
_TOLD_CHARACTERS = 4_000
"""Of one call's result, as much as the model gets to see."""
_KEPT_CHARACTERS = 400
"""Of one answer, call or result, as much as is kept for the page."""


@dataclass(frozen=True)
class Scenario:
    """A task: what the user says turn by turn, the systems and how they begin, and the calls that solve each turn."""

    turns: tuple[str, ...]
    systems: tuple[str, ...]
    states: Mapping[str, Any]
    functions: tuple[Function, ...]
    solution: tuple[tuple[Call, ...], ...]

    def begin(self) -> Systems:
        """The systems as they are before anything is called."""
        return Systems(self.systems, self.states)


@dataclass
class Course:
    """How a task went: the calls of each turn, and each step to look at; why it ``stopped`` before its end, if so."""

    calls: list[list[Call]] = field(default_factory=list)
    trace: list[JsonValue] = field(default_factory=list)
    tool_calls: int = 0
    malformed_calls: int = 0
    stopped: str = ""

    def step(self, answer: str, calls: Sequence[Call], results: Sequence[str]) -> None:
        """Note a step of the present turn."""
        self.calls[-1] += calls
        self.trace.append(
            {
                "turn": len(self.calls),
                "answer": _short(answer),
                "calls": [_short(str(call)) for call in calls],
                "results": [_short(result) for result in results],
            }
        )


def judge(scenario: Scenario, calls: Sequence[Sequence[Call]]) -> str:
    """Why the ``calls`` of each turn do not solve the task; empty if they do.

    After each turn in which something had to be called the systems have to be in the state that the solution's calls
    bring them to, and what those give has to be among what all calls so far gave, as the leaderboard's checker wants.
    """
    mine, wanted = scenario.begin(), scenario.begin()
    seen: Counter[str] = Counter()
    for number, (made, solution) in enumerate(zip(calls, scenario.solution, strict=True), 1):
        seen.update(mine.perform(call) for call in made)
        due = Counter(wanted.perform(call) for call in solution)
        if not solution:
            continue
        if not made:
            return f"turn {number}: nothing was called"
        if where := mine.differs(wanted):
            return f"turn {number}: {where} is not as it should be"
        if missing := due - seen:
            return f"turn {number}: {_short(next(iter(missing)))} was never found out"
    return ""


class MultiTurnOptions(GenerationOptions):
    """How long the model may go on."""

    max_steps: int = Field(
        default=20, ge=1, le=100, title="Most steps", description="With calls, in a turn of the user's; more fail."
    )


class BfclMultiTurn(GenerationSuite):
    """Solved is a task whose systems end each turn as they should, with everything found out that was asked for."""

    name: ClassVar[str] = "bfcl_multi_turn"
    title: ClassVar[str] = "BFCL multi-turn"
    licence: ClassVar[str] = "Apache-2.0"
    figures: ClassVar[tuple[str, ...]] = ("success_rate",)
    options_type: ClassVar[type[GenerationOptions]] = MultiTurnOptions
    dataset: ClassVar[data.Dataset] = packaged("BFCL_v4_multi_turn_base.json")
    solutions: ClassVar[data.Dataset] = packaged("possible_answer/BFCL_v4_multi_turn_base.json")
    prompt_tokens: ClassVar[int] = 2500
    answer_tokens: ClassVar[int] = 60
    turns: ClassVar[int] = 10

    def availability(self) -> Availability:
        """Whether the package is installed, and what its systems import."""
        if importlib.util.find_spec("mpmath") is None:
            return Availability(False, "mpmath is not installed, which the simulated systems import.", INSTALL)
        return data.availability(self.dataset)

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """A task's data is its :class:`Scenario`."""
        self.options(spec)
        source, pairs = paired(self.dataset, self.solutions)
        functions: dict[str, list[Function]] = {}
        for name, file in MODULES.items():
            rows = data.load(packaged(f"multi_turn_func_doc/{file}.json")).rows
            functions[name] = [one for row in rows for one in functions_of([row.values], row)]
        return picked((self._task(row, solution, source, functions) for row, solution in pairs), spec)

    def _task(self, row: data.Row, solution: data.Row, source: str, functions: Mapping[str, list[Function]]) -> Task:
        names = row.texts("involved_classes")
        if unknown := [name for name in names if name not in functions]:
            raise row.error(f"{unknown[0]!r} is an unknown system")
        states = row.inner("initial_config").values
        turns, solved = turns_of(row), _solution(solution)
        if len(turns) != len(solved):
            raise solution.error(f"{len(solved)} turns are solved, and {len(turns)} asked")
        offered = tuple(function for name in names for function in functions[name])
        scenario = Scenario(tuple(turns), names, states, offered, solved)
        expected = "\n".join(f"{number}. {_listed(calls)}" for number, calls in enumerate(solved, 1))
        return Task(f"{self.name}/{row.index}", "\n\n".join(turns), expected, scenario, source=source)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """Each turn goes on until an answer has no calls, or none that can be read; returns the :class:`Course`."""
        options, scenario, course = self.options(spec), task.data, Course()
        systems = scenario.begin()
        names = {str(function["name"]) for function in scenario.functions}
        messages: list[Message] = [{"role": "system", "content": system_prompt(scenario.functions, turns=True)}]
        for said in scenario.turns:
            messages.append({"role": "user", "content": said})
            course.calls.append([])
            for _ in range(options.max_steps + 1):
                reply: Reply = yield Turn(
                    options.max_tokens or _LIMIT,
                    tuple(messages),
                    temperature=options.temperature,
                    seed=spec.seed,
                )
                if reply.error:
                    course.stopped = f"turn {len(course.calls)}: no answer: {reply.error}"
                    return course
                calls = _read(reply.text, names, course)
                understood = sum(systems.understands(call) for call in calls)
                course.tool_calls += understood
                course.malformed_calls += len(calls) - understood
                results = [systems.perform(call) for call in calls]
                course.step(reply.text, calls, results)
                messages.append({"role": "assistant", "content": reply.text})
                if not calls:
                    break
                messages.append({"role": "user", "content": _told(calls, results)})
            else:
                course.stopped = f"turn {len(course.calls)}: still calling after {options.max_steps} steps"
                return course
        return course

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """All calls are performed once more, beside the solution's."""
        course: Course = outcome
        why = course.stopped or judge(task.data, course.calls)
        detail: dict[str, JsonValue] = {
            "tool_calls": course.tool_calls,
            "malformed_calls": course.malformed_calls,
            "why": why,
            "trace": course.trace,
        }
        answer = "\n".join(f"{number}. {_listed(calls)}" for number, calls in enumerate(course.calls, 1))
        return Grade(answer, {"success_rate": float(not why)}, detail)


def _read(text: str, names: set[str], course: Course) -> list[Call]:
    """The calls of an answer: as in the leaderboard's runner an argument counts only with its name."""
    try:
        return [Call(call.name, call.arguments) for call in read_calls(text)]
    except CallError:
        course.malformed_calls += looks_like_calls(text, names)
        return []


def _solution(row: data.Row) -> tuple[tuple[Call, ...], ...]:
    turns = row.values.get("ground_truth")
    if not isinstance(turns, list) or not all(isinstance(turn, list) for turn in turns):
        raise row.error("'ground_truth' is missing or no list of turns")
    try:
        return tuple(tuple(call for text in turn for call in read_calls(str(text))) for turn in turns)
    except CallError as error:
        raise row.error(f"'ground_truth' cannot be read ({error})") from None


def _told(calls: Sequence[Call], results: Sequence[str]) -> str:
    """What the model gets to see of its calls."""
    lines = [f"{call.name}: {result[:_TOLD_CHARACTERS]}" for call, result in zip(calls, results, strict=True)]
    return "\n".join(["Results:", *lines])


def _listed(calls: Sequence[Call]) -> str:
    return f"[{', '.join(map(str, calls))}]"


def _short(text: str) -> str:
    return text if len(text) <= _KEPT_CHARACTERS else f"{text[:_KEPT_CHARACTERS]} ..."
