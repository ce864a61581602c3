"""OpenBookQA: elementary science, the fact that it needs not given (Mihaylov et al. 2018, arXiv:1809.02789)."""

from __future__ import annotations

from typing import ClassVar

from trilemma.suites.data import Dataset, Row
from trilemma.suites.multiple_choice import Item, MultipleChoice, question


class OpenBookQA(MultipleChoice):
    """The bare stem, and four ways to end it."""

    name: ClassVar[str] = "openbookqa"
    title: ClassVar[str] = "OpenBookQA"
    licence: ClassVar[str] = "Apache-2.0"
    dataset: ClassVar[Dataset] = Dataset("openbookqa.jsonl", "allenai/openbookqa", "main", "test")

    def item(self, row: Row, row_id: str) -> Item:
        """The package lists texts and labels beside each other; the hub has both in one record."""
        if "labels" in row:
            stem, choices, labels, key = "question", row.texts("choices"), row.texts("labels"), "answer"
        else:
            both = row.inner("choices")
            stem, choices, labels, key = "question_stem", both.texts("text"), both.texts("label"), "answerKey"
        return question(row_id, row.text(stem), choices, row.position(key, labels))
