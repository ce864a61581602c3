"""MMLU: exam questions of 57 subjects (Hendrycks et al. 2021, arXiv:2009.03300)."""

from __future__ import annotations

import itertools
from typing import ClassVar

from pydantic import Field

from trilemma.errors import StudyError
from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.multiple_choice import ChoiceOptions, Item, MultipleChoice, solved

_LETTERS = ("A", "B", "C", "D")
_EXAMPLES = data.Dataset("", "cais/mmlu", "all", "dev")
"""Five answered questions a subject, made to be shown."""


class MmluOptions(ChoiceOptions):
    """Which subject is asked, and how many answered questions of the same subject come first."""

    shots: int = Field(
        default=0,
        ge=0,
        le=5,
        title="Worked examples",
        description="Answered questions of the same subject that come before each one; the data has five.",
    )
    subject: str = Field(
        default="", max_length=60, title="Subject", description="One of the 57, such as astronomy; all if empty."
    )


class Mmlu(MultipleChoice):
    """A line that names the subject, the question, four lettered answers, ``Answer:``; a letter is scored.

    Wording is that of lm-evaluation-harness 0.4's ``mmlu_*`` tasks. Worked examples are the first of the ``dev`` split,
    as there; where that cannot be had they are questions of the same subject that are asked of nobody.
    """

    name: ClassVar[str] = "mmlu"
    title: ClassVar[str] = "MMLU"
    licence: ClassVar[str] = "MIT"
    figures: ClassVar[tuple[str, ...]] = ("accuracy",)
    dataset: ClassVar[data.Dataset] = data.Dataset("", "cais/mmlu", "all", "test")
    options_type: ClassVar[type[ChoiceOptions]] = MmluOptions

    def item(self, row: data.Row, row_id: str) -> Item:
        """The question alone, without its subject."""
        choices = row.texts("choices")
        if len(choices) != len(_LETTERS):
            raise row.error(f"there are {len(choices)} choices, not {len(_LETTERS)}")
        lines = [f"{letter}. {choice}" for letter, choice in zip(_LETTERS, choices, strict=True)]
        context = "\n".join([row.text("question").strip(), *lines, "Answer:"])
        letters = tuple(f" {letter}" for letter in _LETTERS)
        return Item(row_id, (context,) * len(letters), letters, choices, row.number("answer", len(letters)))

    def rows(self, spec: SuiteSpec) -> data.Rows:
        """Those of the subject that is wanted.

        Raises:
            StudyError: there is no such subject.
        """
        options = self.options(spec)
        rows = data.load(self.dataset)
        known = sorted({_subject(row) for row in rows.rows})
        if options.subject and options.subject not in known:
            raise StudyError(f"MMLU has no subject {options.subject!r}.", f"It has: {', '.join(known)}.")
        source = rows.source
        if options.shots:
            own = "questions of the same subject that are asked of nobody"
            source += f"; worked examples: {data.load(_EXAMPLES).source if _has_examples() else own}"
        return data.Rows([row for row in rows.rows if options.subject in ("", _subject(row))], source)

    def _pick(self, rows: data.Rows, spec: SuiteSpec) -> list[Item]:
        """In the seeded order, each after worked examples of its subject."""
        shots = self.options(spec).shots
        items = ((f"{self.name}/{row.index}", row) for row in rows.rows)
        order = data.pick(((row_id, (_subject(row), self.item(row, row_id))) for row_id, row in items), None, spec.seed)
        examples: dict[str, list[Item]] = {}
        if shots and _has_examples():
            for row in data.load(_EXAMPLES).rows:
                examples.setdefault(_subject(row), []).append(self.item(row, f"{self.name}/dev/{row.index}"))
            examples = {subject: found[:shots] for subject, found in examples.items()}
        elif shots:
            for subject, item in order:
                examples.setdefault(subject, []).append(item)
            examples = {subject: found[-shots:] for subject, found in examples.items()}
        shown = {item.id for found in examples.values() for item in found}
        asked = ((subject, item) for subject, item in order if item.id not in shown)
        return [
            item.after(_opening(subject) + solved(examples.get(subject, ())))
            for subject, item in itertools.islice(asked, spec.limit)
        ]


def _subject(row: data.Row) -> str:
    return row.text("subject")


def _opening(subject: str) -> str:
    return f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"


def _has_examples() -> bool:
    return data.availability(_EXAMPLES).available
