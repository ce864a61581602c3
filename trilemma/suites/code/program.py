"""What the suites share in which the model writes a program: several tries, the sandbox, and pass@k."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from pydantic import Field, JsonValue, model_validator

from trilemma.engines.base import Availability
from trilemma.errors import SandboxError
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, SuiteSpec
from trilemma.suites import data
from trilemma.suites.code import sandbox
from trilemma.suites.generation import GenerationOptions, GenerationSuite, Grade, Reply, Script, Task, Turn, ask_once
from trilemma.suites.shares import mean_measurement, source_of

_KS = (5, 10, 100)
_SHOWN = 2000


class CodeOptions(GenerationOptions):
    """How often each problem is tried, and how it is put."""

    samples: int = Field(
        default=1, ge=1, le=200, title="Tries", description="Of each problem; with a temperature, such as 0.8."
    )
    chat: bool = Field(
        default=False, title="As a chat", description="Asks in words, instead of having a text gone on with."
    )

    @model_validator(mode="after")
    def _tries_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError("several samples need a temperature above 0, else they are all the same")
        return self


@dataclass(frozen=True)
class Problem:
    """What the model is given, and what its program has to go through."""

    prompt: str
    tests: str
    name: str = ""


def pass_at_k(tries: int, passed: int, k: int) -> float:
    """The probability that one of ``k`` of ``tries`` passes, drawn without putting back, where ``passed`` of them do.

    1 - C(n - c, k) / C(n, k), the unbiased estimator of Chen et al. 2021 (arXiv:2107.03374, equation 1).
    """
    return 1.0 - math.comb(tries - passed, k) / math.comb(tries, k)


class CodeSuite(GenerationSuite):
    """Base of the suites: a subclass words its problems and takes the program out of an answer."""

    figures: ClassVar[tuple[str, ...]] = ("accuracy", "pass_at_k")
    options_type: ClassVar[type[GenerationOptions]] = CodeOptions
    grades_quickly: ClassVar[bool] = False
    stops: ClassVar[tuple[str, ...]]
    limit: ClassVar[int]
    """Tokens of an answer."""

    @abc.abstractmethod
    def problems(self) -> Iterable[Task]:
        """All items, each with its :class:`Problem` as data.

        Raises:
            SuiteDataError: they are missing or malformed.
        """

    @abc.abstractmethod
    def asked(self, problem: Problem) -> str:
        """The problem as a chat's message."""

    @abc.abstractmethod
    def program(self, problem: Problem, answer: str, chat: bool) -> str:
        """The program in an answer."""

    def availability(self) -> Availability:
        """Whether the questions are at hand and programs can be run, and what no protection is in force against."""
        found = super().availability()
        try:
            open_to = sandbox.missing(sandbox.describe())
        except SandboxError as error:
            return Availability(False, error.message, error.hint)
        if not open_to:
            return found
        return found._replace(
            detail=f"{found.detail} The sandbox lacks protections here: {'; '.join(open_to)}.",
            remedy=found.remedy or "Run in a container or virtual machine; see docs/sandbox.md.",
        )

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """Each of the problems as often as it is to be tried."""
        options: CodeOptions = self.options(spec)
        chosen = data.pick(((task.id, task) for task in self.problems()), spec.limit, spec.seed)
        return [replace(task, sample=sample) for task in chosen for sample in range(options.samples)]

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """One answer; every try has a seed of its own."""
        options: CodeOptions = self.options(spec)
        problem: Problem = task.data
        turn = Turn(
            options.max_tokens or self.limit, temperature=options.temperature, seed=spec.seed + 1000 * task.sample
        )
        if options.chat:
            return ask_once(replace(turn, messages=({"role": "user", "content": self.asked(problem)},)))
        return ask_once(replace(turn, text=problem.prompt, stop=self.stops))

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """Run the program and its tests.

        Raises:
            SandboxError: no program can be run here.
        """
        reply: Reply = outcome
        problem: Problem = task.data
        if reply.error:
            return Grade(reply.text, {"accuracy": 0.0}, {"reason": "no answer"})
        program = self.program(problem, reply.text, self.options(spec).chat)
        found = sandbox.run(program, problem.tests)
        detail: dict[str, JsonValue] = {
            "reason": found.reason,
            "output": found.output[:_SHOWN],
            "program_s": found.seconds,
            "cut": reply.cut,
            "sandbox": dict(found.protections),
        }
        return Grade(program, {"accuracy": float(found.passed)}, detail)

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """Accuracy, which is pass@1, and pass@k for the usual k and as many as there are tries."""
        found = super().measurements([answer for answer in answers if "accuracy" in answer.scores], spec)
        found = [measurement for measurement in found if measurement.figure == "accuracy"]
        tries: dict[str, list[bool]] = {}
        for answer in answers:
            tries.setdefault(answer.item_id.partition("#")[0], []).append(answer.scores.get("accuracy", 0.0) > 0.0)
        # An item that was stopped early has fewer tries than the others, and the fewest bound k.
        most = min(map(len, tries.values()), default=1)
        for k in sorted({*(k for k in _KS if k < most), most} - {1}):
            values = [pass_at_k(len(one), sum(one), k) for one in tries.values()]
            made = mean_measurement("pass_at_k", self.name, values, source=source_of(answers))
            found.append(made.model_copy(update={"statistic": f"k{k}"}))
        return found
