"""What all suites share in which the model writes its answers.

The suite says what is asked and scores what came; asking is the bench's: under the study's concurrency, every request
timed, and the meters on. A task is a script: a generator that yields turns, is sent the replies, and returns what is
to be graded. Most have one turn; an agent's has as many as it takes.
"""

from __future__ import annotations

import abc
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from trilemma.engines.base import Availability, Message
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, SuiteSpec
from trilemma.suites import data
from trilemma.suites.options import parse_options
from trilemma.suites.shares import mean_measurement, source_of


@dataclass(frozen=True)
class Turn:
    """One request: a conversation, or where that is empty a text to go on with.

    The answer is cut before the first of ``stop``. ``schema`` is a JSON schema, as JSON, that it is made to match.
    """

    max_tokens: int
    messages: tuple[Message, ...] = ()
    text: str = ""
    stop: tuple[str, ...] = ()
    schema: str = ""
    temperature: float = 0.0
    seed: int = 0


class Reply(NamedTuple):
    """What came: empty with an ``error`` where the request failed, ``cut`` where the answer had reached its limit."""

    text: str
    error: str = ""
    cut: bool = False
    tokens: int = 0


Script = Generator[Turn, Reply, Any]


@dataclass(frozen=True)
class Task:
    """One item, or one of several tries at it.

    ``question`` and ``expected`` are what people are shown; ``data`` is whatever the suite needs to ask and to grade.
    """

    id: str
    question: str
    expected: str = ""
    data: Any = None
    sample: int = 0
    source: str = ""


@dataclass(frozen=True)
class Grade:
    """The verdict on an answer: the part of it that was judged, scores by figure, and why they are so."""

    answer: str
    scores: dict[str, float]
    detail: dict[str, JsonValue] = field(default_factory=dict)


class GenerationOptions(BaseModel):
    """What can be set about every suite whose answers are written; a suite's own options add to these."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_tokens: int | None = Field(
        default=None, ge=1, le=32768, title="Longest answer", description="Tokens; the suite's own limit if empty."
    )
    temperature: float = Field(default=0.0, ge=0.0, le=2.0, title="Temperature", description="0 takes the likeliest.")


class GenerationSuite(abc.ABC):
    """Base of the suites: a subclass picks its tasks, words them, and grades the answers."""

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    figures: ClassVar[tuple[str, ...]] = ("accuracy",)
    options_type: ClassVar[type[GenerationOptions]] = GenerationOptions
    dataset: ClassVar[data.Dataset]
    grades_quickly: ClassVar[bool] = True
    """Whether grading is so cheap that it may be done while answers are still metered, as stopping early needs it."""
    prompt_tokens: ClassVar[int] = 200
    answer_tokens: ClassVar[int] = 150
    turns: ClassVar[int] = 1
    """About how long prompts and answers are, and how many a task takes: for a guess at the time."""

    def availability(self) -> Availability:
        """Whether the questions are at hand; if not, how to get them."""
        return data.availability(self.dataset)

    def items(self, spec: SuiteSpec) -> Sequence[Any]:
        """The tasks that ``spec`` picks: seeded, and the same for every configuration.

        Raises:
            SuiteDataError: they are missing or malformed.
            StudyError: an option is wrong.
        """
        return self.tasks(spec)

    @abc.abstractmethod
    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """As :meth:`items`."""

    @abc.abstractmethod
    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """How a task is done: the requests of it, one after the other. What it returns is graded."""

    @abc.abstractmethod
    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """Judge what a script returned. Called when all are done, where what it costs is not metered."""

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """The mean of each score over items, each the mean over its tries; failed requests count as wrong answers."""
        failed = sum(bool(answer.detail.get("error")) for answer in answers)
        reasons = [f"{failed} of {len(answers)} answers failed and count as wrong"] if failed else []
        return [
            mean_measurement(figure, self.name, item_means(answers, figure), source=source_of(answers), reasons=reasons)
            for figure in self.figures
        ]

    def options(self, spec: SuiteSpec) -> Any:
        """The options of ``spec``, as :attr:`options_type`.

        Raises:
            StudyError: one is unknown or out of range.
        """
        return parse_options(self.options_type, spec, self.title)


def ask_once(turn: Turn) -> Script:
    """The script of a task that is one request; returns its :class:`Reply`."""
    reply = yield turn
    return reply


def picked(tasks: Iterable[Task], spec: SuiteSpec) -> list[Task]:
    """As many of ``tasks`` as ``spec`` wants, in an order that its seed and their ids decide."""
    return data.pick(((task.id, task) for task in tasks), spec.limit, spec.seed)


def item_means(answers: Sequence[AnswerRecord], figure: str) -> list[float]:
    """One value an item: the mean of ``figure`` over the tries at it."""
    by_item: dict[str, list[float]] = {}
    for answer in answers:
        if figure in answer.scores:
            by_item.setdefault(answer.item_id.partition("#")[0], []).append(answer.scores[figure])
    return [sum(scores) / len(scores) for scores in by_item.values()]
