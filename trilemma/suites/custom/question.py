"""One question of a user's file, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from trilemma.schema import Frozen
from trilemma.suites.custom import patterns, schemas

Scoring = Literal["exact", "regex", "numeric", "choice", "json_schema", "judge"]
SCORINGS: tuple[str, ...] = get_args(Scoring)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_QUESTION = 100_000
MAX_ANSWER = 20_000
_SEPARATOR = "|"


class Question(Frozen):
    """A row of the file.

    ``answer`` is what is expected: a text or several of them, a regular expression, a number, a choice or its letter,
    or what a judge compares with. ``row`` is the line of the file that it begins in.
    """

    row: int
    question: str = Field(min_length=1, max_length=MAX_QUESTION)
    answer: tuple[str, ...] = Field(default=(), max_length=100)
    scoring: Scoring = "exact"
    choices: tuple[str, ...] = Field(default=(), max_length=len(LETTERS))
    json_schema: str = Field(default="", alias="schema")
    tolerance: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    system: str = Field(default="", max_length=MAX_ANSWER)

    @field_validator("answer", "choices", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        """A number or truth value of JSON as it is written; one answer as a list of one."""
        values = value if isinstance(value, list | tuple) else [] if value is None or value == "" else [value]
        return [one if isinstance(one, str) else json.dumps(one) for one in values]

    @field_validator("json_schema", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value)

    @model_validator(mode="after")
    def _can_be_scored(self) -> Self:
        if not self.question.strip():
            raise ValueError("the question is empty")
        if any(len(text) > MAX_ANSWER for text in (*self.answer, *self.choices)):
            raise ValueError(f"an answer or a choice is longer than {MAX_ANSWER:,} characters")
        _NEEDS[self.scoring](self)
        return self

    @property
    def expected(self) -> str:
        """The answer as people are shown it."""
        return " | ".join(self.answer)

    @property
    def right_choice(self) -> int:
        """Where the answer stands among the choices; -1 if it does not."""
        answer = self.answer[0].strip() if self.answer else ""
        plain = [choice.strip() for choice in self.choices]
        if answer in plain:
            return plain.index(answer)
        return _LETTER_PLACES.get(answer.upper(), -1) if len(answer) == 1 else -1


_LETTER_PLACES = {letter: place for place, letter in enumerate(LETTERS)}


def _needs_answer(question: Question) -> None:
    if not any(answer.strip() for answer in question.answer):
        raise ValueError("the answer is missing")


def _needs_one_answer(question: Question) -> None:
    _needs_answer(question)
    if len(question.answer) > 1:
        raise ValueError(f"scoring {question.scoring} takes one answer only")


def _needs_pattern(question: Question) -> None:
    _needs_one_answer(question)
    patterns.compiled(question.answer[0])


def _needs_number(question: Question) -> None:
    _needs_one_answer(question)
    try:
        number = float(question.answer[0].replace(",", ""))
    except ValueError as error:
        raise ValueError("the answer is no number") from error
    if not math.isfinite(number) or len(question.answer[0]) > 100:
        raise ValueError("the answer is no number")


def _needs_choices(question: Question) -> None:
    _needs_one_answer(question)
    plain = [choice.strip() for choice in question.choices]
    if len(plain) < 2:
        raise ValueError("scoring choice needs two choices at least")
    if "" in plain or len(set(plain)) < len(plain):
        raise ValueError("a choice is empty or there twice")
    if not 0 <= question.right_choice < len(plain):
        raise ValueError("the answer is none of the choices, nor the letter of one")


def _needs_schema(question: Question) -> None:
    if not question.json_schema.strip():
        raise ValueError("the schema is missing")
    schemas.check_schema(question.json_schema)


def _needs_nothing(_: Question) -> None:
    """A judge can do without an answer to compare with."""


_NEEDS = {
    "exact": _needs_answer,
    "regex": _needs_pattern,
    "numeric": _needs_number,
    "choice": _needs_choices,
    "json_schema": _needs_schema,
    "judge": _needs_nothing,
}


def from_csv(fields: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a row of CSV, where all is text: choices are a JSON list, or separated by ``|``."""
    made: dict[str, Any] = {name: value for name, value in fields.items() if value.strip()}
    choices = made.get("choices")
    if isinstance(choices, str):
        made["choices"] = _listed(choices)
    return made


def _listed(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            value = schemas.parsed(text)
        except ValueError:
            value = None
        if isinstance(value, list):
            return value
    return [part.strip() for part in text.split(_SEPARATOR)]
