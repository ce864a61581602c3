"""One question, and the calls that answer it: the leaderboard's single-turn tasks in Python."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, JsonValue

from trilemma.engines.base import Availability
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.bfcl.calls import Call, CallError, read_calls
from trilemma.suites.bfcl.checker import Answer, Function, check_calls
from trilemma.suites.bfcl.functions import call_schema, functions_of, packaged, paired, system_prompt, turns_of
from trilemma.suites.generation import (
    GenerationOptions,
    GenerationSuite,
    Grade,
    Reply,
    Script,
    Task,
    Turn,
    ask_once,
    picked,
)

_LIMIT = 256


class SingleTurnOptions(GenerationOptions):
    """Whether the model can write anything but well-formed calls."""

    constrained: bool = Field(
        default=False,
        title="Constrained decoding",
        description="The answer is made to be a JSON list of calls of the functions, with arguments of their types.",
    )


class SingleTurn(GenerationSuite):
    """Functions are described in the prompt; the calls of the answer have to be the wanted ones, in any order."""

    licence: ClassVar[str] = "Apache-2.0"
    figures: ClassVar[tuple[str, ...]] = ("success_rate",)
    options_type: ClassVar[type[GenerationOptions]] = SingleTurnOptions
    solutions: ClassVar[data.Dataset]
    prompt_tokens: ClassVar[int] = 400
    answer_tokens: ClassVar[int] = 50

    def availability(self) -> Availability:
        """Whether the package is installed."""
        return data.availability(self.dataset)

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """A task's data are its functions and the answers."""
        self.options(spec)
        source, pairs = paired(self.dataset, self.solutions)
        return picked((self._task(row, answer, source) for row, answer in pairs), spec)

    def _task(self, row: data.Row, answer: data.Row, source: str) -> Task:
        functions, answers = functions_of(row.values.get("function"), row), _answers(answer)
        wanted = f"[{', '.join(str(_right_call(functions, one)) for one in answers)}]"
        return Task(f"{self.name}/{row.index}", turns_of(row)[0], wanted, (functions, answers), source=source)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """One answer."""
        options = self.options(spec)
        functions: list[Function] = task.data[0]
        told = system_prompt(functions, as_json=options.constrained)
        return ask_once(
            Turn(
                options.max_tokens or _LIMIT,
                ({"role": "system", "content": told}, {"role": "user", "content": task.question}),
                schema=call_schema(functions) if options.constrained else "",
                temperature=options.temperature,
                seed=spec.seed,
            )
        )

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """By the checker; an answer that cannot be read as calls is wrong."""
        reply: Reply = outcome
        calls: list[Call] = []
        malformed = 0
        try:
            calls = read_calls(reply.text)
            why = self.judged(task, calls)
        except CallError as error:
            why = self.unreadable(str(error))
            malformed = int(bool(why))
        if reply.error:
            why = f"no answer: {reply.error}"
        detail: dict[str, JsonValue] = {
            "calls": [str(call) for call in calls],
            "tool_calls": len(calls),
            "malformed_calls": malformed,
            "why": why,
            "cut": reply.cut,
        }
        return Grade(reply.text, {"success_rate": float(not why)}, detail)

    def judged(self, task: Task, calls: list[Call]) -> str:
        """Why ``calls`` are wrong; empty if they are right."""
        functions, answers = task.data
        return check_calls(functions, calls, answers)

    def unreadable(self, problem: str) -> str:
        """Why an answer is wrong that cannot be read as calls; empty if that is right."""
        return problem


def _answers(row: data.Row) -> list[Answer]:
    answers = row.values.get("ground_truth")
    if not isinstance(answers, list):
        raise row.error("'ground_truth' is missing or no list")
    for one in answers:
        allowed = list(one.values()) if isinstance(one, dict) else []
        if len(allowed) != 1 or not isinstance(allowed[0], dict):
            raise row.error("'ground_truth' has something that is no call")
        if not all(isinstance(values, list) for values in allowed[0].values()):
            raise row.error("'ground_truth' has a parameter without a list of values")
    return answers


def _right_call(functions: list[Function], answer: Answer) -> Call:
    """A call that is right: the first value of each parameter that has to be given."""
    ((name, allowed),) = answer.items()
    required = {one for function in functions for one in function["parameters"].get("required", ())}
    given = {key: [one for one in values if one != ""] for key, values in allowed.items()}
    needed = {key for key, values in allowed.items() if key in required or "" not in values}
    return Call(name, {key: _shown(values[0]) for key, values in given.items() if values and key in needed})


def _shown(value: Any) -> Any:
    """``value`` as a call holds it: records in answers list the allowed values of each key."""
    if isinstance(value, list):
        return [_shown(one) if isinstance(one, dict) else one for one in value]
    if isinstance(value, dict):
        return {k: v[0] if isinstance(v, list) and v else v for k, v in value.items() if "" not in (v or ())}
    return value


class BfclSimple(SingleTurn):
    """One function, one call."""

    name: ClassVar[str] = "bfcl_simple"
    title: ClassVar[str] = "BFCL simple"
    dataset: ClassVar[data.Dataset] = packaged("BFCL_v4_simple_python.json")
    solutions: ClassVar[data.Dataset] = packaged("possible_answer/BFCL_v4_simple_python.json")


class BfclMultiple(SingleTurn):
    """Several functions, one call."""

    name: ClassVar[str] = "bfcl_multiple"
    title: ClassVar[str] = "BFCL multiple"
    dataset: ClassVar[data.Dataset] = packaged("BFCL_v4_multiple.json")
    solutions: ClassVar[data.Dataset] = packaged("possible_answer/BFCL_v4_multiple.json")
    prompt_tokens: ClassVar[int] = 600


class BfclParallel(SingleTurn):
    """One function, several calls."""

    name: ClassVar[str] = "bfcl_parallel"
    title: ClassVar[str] = "BFCL parallel"
    dataset: ClassVar[data.Dataset] = packaged("BFCL_v4_parallel.json")
    solutions: ClassVar[data.Dataset] = packaged("possible_answer/BFCL_v4_parallel.json")
    answer_tokens: ClassVar[int] = 120


class BfclIrrelevance(SingleTurn):
    """A function that does not fit the question: right is whatever calls none."""

    name: ClassVar[str] = "bfcl_irrelevance"
    title: ClassVar[str] = "BFCL irrelevance"
    dataset: ClassVar[data.Dataset] = packaged("BFCL_v4_irrelevance.json")

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """There are no answers."""
        self.options(spec)
        rows = data.load(self.dataset)
        return picked(
            (
                Task(
                    f"{self.name}/{row.index}",
                    turns_of(row)[0],
                    "no call",
                    (functions_of(row.values.get("function"), row), []),
                    source=rows.source,
                )
                for row in rows.rows
            ),
            spec,
        )

    def judged(self, task: Task, calls: list[Call]) -> str:
        """Any call is wrong."""
        return "a function was called" if calls else ""

    def unreadable(self, problem: str) -> str:
        """Words are right."""
        return ""
