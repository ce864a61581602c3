"""BoolQ: yes or no, after a passage (Clark et al. 2019, arXiv:1905.10044), in the form of SuperGLUE."""

from __future__ import annotations

from typing import ClassVar

from trilemma.suites.data import Dataset, Row
from trilemma.suites.multiple_choice import Item, MultipleChoice, question

DATASET = Dataset("boolq.jsonl", "aps/super_glue", "boolq", "validation")
_CHOICES = ("no", "yes")


class BoolQ(MultipleChoice):
    """The passage with its title, ``Question: <question>?``, ``Answer:``, and ``no`` or ``yes``."""

    name: ClassVar[str] = "boolq"
    title: ClassVar[str] = "BoolQ"
    licence: ClassVar[str] = "CC-BY-SA-3.0"
    figures: ClassVar[tuple[str, ...]] = ("accuracy",)
    dataset: ClassVar[Dataset] = DATASET

    def item(self, row: Row, row_id: str) -> Item:
        """The package answers in words; the hub with 0 and 1."""
        expected = row.position("answer", _CHOICES) if "answer" in row else row.number("label", 2)
        context = f"{row.text('passage')}\nQuestion: {row.text('question')}?\nAnswer:"
        return question(row_id, context, _CHOICES, expected)
