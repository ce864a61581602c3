"""PIQA: which of two ways reaches a goal (Bisk et al. 2020, arXiv:1911.11641)."""

from __future__ import annotations

from typing import ClassVar

from trilemma.suites.data import Dataset, Row
from trilemma.suites.multiple_choice import Item, MultipleChoice, question


class Piqa(MultipleChoice):
    """``Question: <goal>``, ``Answer:``, and the two solutions."""

    name: ClassVar[str] = "piqa"
    title: ClassVar[str] = "PIQA"
    licence: ClassVar[str] = "AFL-3.0"
    dataset: ClassVar[Dataset] = Dataset("piqa.jsonl", "ybisk/piqa", "plain_text", "validation")

    def item(self, row: Row, row_id: str) -> Item:
        """The package lists the choices; the hub has ``sol1`` and ``sol2``."""
        if "choices" in row:
            choices = row.texts("choices")
            expected = row.position("answer", row.texts("labels"))
        else:
            choices = (row.text("sol1"), row.text("sol2"))
            expected = row.number("label", 2)
        return question(row_id, f"Question: {row.text('goal')}\nAnswer:", choices, expected)
