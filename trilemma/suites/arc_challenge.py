"""ARC-Challenge: science questions of grade schools (Clark et al. 2018, arXiv:1803.05457)."""

from __future__ import annotations

from typing import ClassVar

from trilemma.suites.data import Dataset, Row
from trilemma.suites.multiple_choice import Item, MultipleChoice, question


class ArcChallenge(MultipleChoice):
    """``Question: <question>``, ``Answer:``, and three to five answers."""

    name: ClassVar[str] = "arc_challenge"
    title: ClassVar[str] = "ARC-Challenge"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    dataset: ClassVar[Dataset] = Dataset("arc_challenge.jsonl", "allenai/ai2_arc", "ARC-Challenge", "test")

    def item(self, row: Row, row_id: str) -> Item:
        """The package lists texts and labels beside each other; the hub has both in one record."""
        if "labels" in row:
            choices, labels, key = row.texts("choices"), row.texts("labels"), "answer"
        else:
            both = row.inner("choices")
            choices, labels, key = both.texts("text"), both.texts("label"), "answerKey"
        return question(row_id, f"Question: {row.text('question')}\nAnswer:", choices, row.position(key, labels))
