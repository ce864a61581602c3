"""What all multiple-choice suites share: each choice is scored by its log-probability after the question.

Prompts, tokenisation and scores are those of lm-evaluation-harness 0.4's ``multiple_choice`` tasks, without chat
template. Worked examples, if wanted, come out of the same data, from items that are asked of nobody.
"""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from trilemma.engines.base import Availability, ChoiceRequest, ChoiceScore, LoadedModel
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, SuiteSpec
from trilemma.suites import data
from trilemma.suites.base import SuiteContext
from trilemma.suites.encoding import encode_pair
from trilemma.suites.options import parse_options
from trilemma.suites.shares import mean_measurement, source_of


@dataclass(frozen=True)
class Item:
    """One question: choice ``i`` is scored by the log-probability of ``continuations[i]`` after ``contexts[i]``.

    ``choices`` are the texts that length-normalisation counts the characters of; ``expected`` is the right one's index.
    """

    id: str
    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    choices: tuple[str, ...]
    expected: int

    @property
    def solved(self) -> str:
        """The question with its right answer."""
        return self.contexts[self.expected] + self.continuations[self.expected]

    def after(self, examples: str) -> Item:
        """The same question with worked examples before it."""
        return replace(self, contexts=tuple(examples + context for context in self.contexts))


def solved(items: Iterable[Item]) -> str:
    """``items`` as worked examples, an empty line after each."""
    return "".join(f"{item.solved}\n\n" for item in items)


def question(row_id: str, context: str, choices: Sequence[str], expected: int) -> Item:
    """The usual item: one context, and each choice after a space."""
    continuations = tuple(f" {choice}" for choice in choices)
    return Item(row_id, (context,) * len(choices), continuations, tuple(choices), expected)


@dataclass(frozen=True)
class Encoded:
    """An item as tokens: the requests that score it, and how much of the context did not fit."""

    requests: list[ChoiceRequest]
    continuations: list[list[int]]
    context_tokens: int
    truncated_tokens: int
    branching: bool

    def logprobs(self, scores: Sequence[ChoiceScore]) -> list[float]:
        """The log-probability of each choice out of the scores of ``requests``, in nats."""
        found = [one for score in scores for one in score.logprobs]
        count = len(self.continuations)
        if self.branching:
            return [whole - head for whole, head in zip(found[:count], found[count:], strict=True)]
        return found


def encode(model: LoadedModel, item: Item) -> Encoded:
    """Tokens of ``item``, its beginning cut off where it is longer than the context, as the field does.

    Where the contexts differ from choice to choice (WinoGrande), what they share is still evaluated once: the rest of
    each is asked for as a continuation too, with the choice's own and alone, and log P(own | context) is the
    difference.
    """
    pairs = [encode_pair(model, *pair) for pair in zip(item.contexts, item.continuations, strict=True)]
    conts = [cont for _, cont in pairs]
    room = model.context_length + 1 - max(map(len, conts))
    lengths = [len(context) for context, _ in pairs]
    cut = max(0, max(lengths) - room)
    contexts = [context[cut:] for context, _ in pairs]
    if all(context == contexts[0] for context in contexts):
        return Encoded([ChoiceRequest(contexts[0], conts)], conts, max(lengths), cut, branching=False)
    shared = common_beginning(contexts)
    if not shared:
        requests = [ChoiceRequest(context, [cont]) for context, cont in zip(contexts, conts, strict=True)]
        return Encoded(requests, conts, max(lengths), cut, branching=False)
    heads = [context[len(shared) :] for context in contexts]
    wholes = [head + cont for head, cont in zip(heads, conts, strict=True)]
    return Encoded([ChoiceRequest(shared, [*wholes, *heads])], conts, max(lengths), cut, branching=True)


def common_beginning(sequences: Sequence[list[int]]) -> list[int]:
    """The tokens that all ``sequences`` begin with."""
    columns = zip(*sequences, strict=False)
    return [column[0] for column in itertools.takewhile(lambda column: len(set(column)) == 1, columns)]


def best(values: Sequence[float]) -> int:
    """The index of the largest value, the first of equals."""
    return max(range(len(values)), key=values.__getitem__)


class ChoiceOptions(BaseModel):
    """The options of every multiple-choice suite."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shots: int = Field(
        default=0, ge=0, le=64, title="Worked examples", description="Answered questions that come before each one."
    )


class MultipleChoice(abc.ABC):
    """Base of the suites: a subclass names its data and turns a row into an :class:`Item`."""

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    figures: ClassVar[tuple[str, ...]] = ("accuracy", "accuracy_norm")
    dataset: ClassVar[data.Dataset]
    options_type: ClassVar[type[ChoiceOptions]] = ChoiceOptions
    opening: ClassVar[str] = ""
    """What every prompt begins with, before any worked example."""

    @abc.abstractmethod
    def item(self, row: data.Row, row_id: str) -> Item:
        """The question that ``row`` holds, in the package's form or the hub's.

        Raises:
            SuiteDataError: the row is malformed.
        """

    def availability(self) -> Availability:
        """Whether the questions are at hand; if not, how to get them."""
        return data.availability(self.dataset)

    def items(self, spec: SuiteSpec) -> list[Item]:
        """The items that ``spec`` picks: seeded, and the same for every configuration.

        Raises:
            SuiteDataError: they are missing or malformed.
            StudyError: an option is wrong.
        """
        return self._pick(self.rows(spec), spec)

    def rows(self, spec: SuiteSpec) -> data.Rows:
        """The rows that ``spec`` may pick from, and where they come from."""
        return data.load(self.dataset)

    def options(self, spec: SuiteSpec) -> Any:
        """The options of ``spec``, as :attr:`options_type`.

        Raises:
            StudyError: one is unknown or out of range.
        """
        return parse_options(self.options_type, spec, self.title)

    def answers(self, model: LoadedModel, context: SuiteContext) -> Iterator[AnswerRecord]:
        """Score every choice of every item, in order; what is known already is not asked again."""
        rows = self.rows(context.spec)
        items = self._pick(rows, context.spec)
        encoded = {item.id: encode(model, item) for item in items if item.id not in context.known}
        scores = iter(model.score_choices([request for one in encoded.values() for request in one.requests]))
        for index, item in enumerate(items):
            if item.id in context.known:
                known = context.known[item.id]
                yield known.model_copy(update={"index": index, "detail": {**known.detail, "reused": True}})
            else:
                one = encoded[item.id]
                logprobs = one.logprobs([next(scores) for _ in one.requests])
                yield self._record(item, index, one, logprobs, rows.source)
            context.advance((index + 1) / len(items))

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """Share of right answers with its 95 % Wilson interval."""
        cut = sum(bool(answer.detail.get("truncated_tokens")) for answer in answers)
        reasons = [f"{cut} of {len(answers)} questions lost their beginning: longer than the context"] if cut else []
        reused = sum(bool(answer.detail.get("reused")) for answer in answers)
        reasons += (
            [f"{reused} of {len(answers)} answers are those of an earlier run of the same weights"] if reused else []
        )
        return [
            mean_measurement(
                figure,
                self.name,
                [answer.scores[figure] for answer in answers],
                source=source_of(answers),
                reasons=reasons,
            )
            for figure in self.figures
        ]

    def _pick(self, rows: data.Rows, spec: SuiteSpec) -> list[Item]:
        """The first of the seeded order are asked, after the last of it as worked examples."""
        shots = self.options(spec).shots
        items = [self.item(row, f"{self.name}/{row.index}") for row in rows.rows]
        order = data.pick(((item.id, item) for item in items), None, spec.seed)
        asked = order[: max(0, len(order) - shots)][: spec.limit]
        before = self.opening + solved(order[len(order) - shots :])
        return [item.after(before) for item in asked] if before else asked

    def _record(self, item: Item, index: int, one: Encoded, logprobs: list[float], source: str) -> AnswerRecord:
        lengths = [len(choice) for choice in item.choices]
        chosen = best(logprobs)
        scores = {"accuracy": float(chosen == item.expected)}
        detail: dict[str, JsonValue] = {
            "choices": list(item.choices),
            "logprobs": list(logprobs),
            "lengths": list(lengths),
            "tokens": [len(tokens) for tokens in one.continuations],
            "context_tokens": one.context_tokens,
            "truncated_tokens": one.truncated_tokens,
            "expected_index": item.expected,
            "chosen_index": chosen,
            "source": source,
        }
        if "accuracy_norm" in self.figures:
            rates = [value / length if length else -math.inf for value, length in zip(logprobs, lengths, strict=True)]
            chosen_norm = best(rates)
            scores["accuracy_norm"] = float(chosen_norm == item.expected)
            detail["chosen_norm_index"] = chosen_norm
        if len(set(item.contexts)) > 1:
            detail["contexts"] = list(item.contexts)
        return AnswerRecord(
            suite=self.name,
            item_id=item.id,
            index=index,
            prompt=item.contexts[0] if len(set(item.contexts)) == 1 else "\n".join(item.contexts),
            answer=item.choices[chosen],
            expected=item.choices[item.expected],
            scores=scores,
            detail=detail,
        )
