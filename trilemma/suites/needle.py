"""Needle in a haystack: facts hidden in a long text at a known depth, and a question about them.

The idea is Kamradt's (2023, https://github.com/gkamradt/LLMTest_NeedleInAHaystack); the text, the facts and the
question are of our own, made from the seed.
"""

from __future__ import annotations

import itertools
import random
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator

from trilemma.engines.base import Availability
from trilemma.schema import SuiteSpec
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
from trilemma.suites.options import listed
from trilemma.workloads.text import sentences

WORDS_PER_TOKEN = 0.75
"""About what English takes; the tokens that a prompt really has are counted with its request."""
SHORTEST, LONGEST = 128, 1_000_000
_LIMIT = 64
_NUMBER = re.compile(r"[0-9]+")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_OWNERS = (
    "lighthouse keeper", "violin maker", "beekeeper", "glass blower", "ferry captain", "pastry cook", "stonemason",
    "clock mender", "weaver", "tram driver", "potter", "falconer",
)  # fmt: skip


class NeedleOptions(GenerationOptions):
    """How long the texts are, where in them the facts are, and how many."""

    lengths: Annotated[tuple[int, ...], BeforeValidator(listed)] = Field(
        default=(512, 1024, 2048), min_length=1, max_length=16, title="Lengths", description="Tokens, about."
    )
    depths: int = Field(
        default=5, ge=1, le=21, title="Depths", description="Places, evenly from the beginning (0) to the end (1)."
    )
    needles: Literal[1, 3] = Field(
        default=1,
        title="Facts",
        description="Of three the first is at the depth, and the others lie evenly over what follows.",
    )
    per_cell: int = Field(default=2, ge=1, le=50, title="Texts", description="For each length and depth.")

    @field_validator("lengths")
    @classmethod
    def _possible(cls, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Each once, room for the question in the shortest, and memory for the longest."""
        wrong = [length for length in lengths if not SHORTEST <= length <= LONGEST]
        if wrong:
            raise ValueError(f"{wrong[0]} is not between {SHORTEST} and {LONGEST} tokens")
        return tuple(dict.fromkeys(lengths))


@dataclass(frozen=True)
class Place:
    """What decides a text: its length in tokens, the depth of its first fact (0 to 1), the facts, and a seed."""

    length: int
    depth: float
    facts: tuple[tuple[str, str], ...]
    seed: int


def hidden(place: Place) -> str:
    """The text with its facts, as long as ``place`` wants it by :data:`WORDS_PER_TOKEN`, and the question after it."""
    facts = [f"The locker number of the {owner} is {number}." for owner, number in place.facts]
    before, after = "Read this text. A question about it follows.\n\n", f"\n\n{asked(place)}"
    room = round(place.length * WORDS_PER_TOKEN) - sum(len(part.split()) for part in (before, *facts, after))
    text = []
    for sentence in sentences(place.seed):
        room -= len(sentence.split())
        if room < 0:
            break
        text.append(sentence)
    count, rest = len(text), 1.0 - place.depth
    spots = [round((place.depth + rest * number / len(facts)) * count) for number in range(len(facts))]
    # From the back, so that an insertion moves none of the spots before it.
    for spot, fact in reversed(list(zip(spots, facts, strict=True))):
        text.insert(spot, fact)
    return before + " ".join(text) + after


def asked(place: Place) -> str:
    """The question alone."""
    owners = [f"the {owner}" for owner, _ in place.facts]
    if len(owners) == 1:
        return f"What is the locker number of {owners[0]}? Answer with the number alone."
    names = f"{', '.join(owners[:-1])} and {owners[-1]}"
    return f"What are the locker numbers of {names}? Answer with the numbers alone, separated by commas."


def numbers_in(text: str) -> set[str]:
    """The whole numbers in ``text``, with or without thousands separators."""
    return set(_NUMBER.findall(_THOUSANDS.sub("", text)))


class Needle(GenerationSuite):
    """``accuracy`` counts answers with every hidden number, ``needles_found`` the share of them that was given.

    A text that is longer than the context is answered by nobody and counts as wrong, with the engine's reason.
    """

    name: ClassVar[str] = "needle"
    title: ClassVar[str] = "Needle in a haystack"
    licence: ClassVar[str] = "Apache-2.0"
    figures: ClassVar[tuple[str, ...]] = ("accuracy", "needles_found")
    options_type: ClassVar[type[GenerationOptions]] = NeedleOptions
    prompt_tokens: ClassVar[int] = 1200
    answer_tokens: ClassVar[int] = 16

    def availability(self) -> Availability:
        """Always: nothing is read."""
        return Availability(True, "Made from the seed.")

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """``per_cell`` texts for every length and depth; the texts themselves are only made when asked."""
        options = self.options(spec)
        last = options.depths - 1
        depths = [index / last for index in range(options.depths)] if last else [0.5]
        tasks = []
        for length, depth, number in itertools.product(options.lengths, depths, range(options.per_cell)):
            task_id = f"{self.name}/{length}/{depth:.3f}/{options.needles}/{number}"
            rng = random.Random(f"{spec.seed}:{task_id}")  # noqa: S311 -- repeatable text, not a secret
            owners = rng.sample(_OWNERS, options.needles)
            values = map(str, rng.sample(range(10_000, 100_000), options.needles))
            place = Place(length, depth, tuple(zip(owners, values, strict=True)), rng.getrandbits(32))
            expected = ", ".join(value for _, value in place.facts)
            tasks.append(Task(task_id, asked(place), expected, place, source=f"made from seed {spec.seed}"))
        return picked(tasks, spec)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """The text with the question after it."""
        options = self.options(spec)
        return ask_once(
            Turn(
                options.max_tokens or _LIMIT,
                messages=({"role": "user", "content": hidden(task.data)},),
                temperature=options.temperature,
                seed=spec.seed,
            )
        )

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """By the numbers that the answer holds; ``detail`` says where the text hid them."""
        reply: Reply = outcome
        place: Place = task.data
        given = numbers_in(reply.text)
        found = [number for _, number in place.facts if number in given]
        share = len(found) / len(place.facts)
        detail: dict[str, JsonValue] = {
            "length": place.length,
            "length_is": f"tokens, by {WORDS_PER_TOKEN} words each; the request has the prompt's real tokens",
            "depth": place.depth,
            "needles": len(place.facts),
            "found": list(found),
            "cut": reply.cut,
        }
        if reply.error:
            detail["reason"] = reply.error
        return Grade(reply.text, {"accuracy": float(share == 1.0), "needles_found": share}, detail)
