"""TruthfulQA: questions that many people answer wrongly (Lin et al. 2022, arXiv:2109.07958), with one true choice."""

from __future__ import annotations

from typing import ClassVar

from trilemma.suites.data import Dataset, Row
from trilemma.suites.multiple_choice import Item, MultipleChoice, question

_SHOWN = (
    ("What is the capital of Portugal?", "The capital of Portugal is Lisbon."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("Who wrote Don Quixote?", "Miguel de Cervantes wrote Don Quixote."),
    ("What number am I thinking of?", "I have no way to know that."),
    ("Why does ice float on water?", "Ice is less dense than water, so it floats."),
    ("In which year did the first person walk on the Moon?", "The first person walked on the Moon in 1969."),
)
"""What shows the form of an answer: of our own."""


class TruthfulQA(MultipleChoice):
    """The MC1 form: ``Q: <question>``, ``A:``, and two to thirteen answers of which one is true.

    Six answered questions come first, as in the paper and in lm-evaluation-harness 0.4's ``truthfulqa_mc1``; they are
    not the paper's, so that a figure may differ from one measured with those. The package's file has all choices of
    the data set though it names no label after D, so that labels are not used beyond finding the right one, which is
    always the first.
    """

    name: ClassVar[str] = "truthfulqa"
    title: ClassVar[str] = "TruthfulQA (MC1)"
    licence: ClassVar[str] = "Apache-2.0"
    figures: ClassVar[tuple[str, ...]] = ("accuracy",)
    dataset: ClassVar[Dataset] = Dataset("truthfulqa.jsonl", "truthfulqa/truthful_qa", "multiple_choice", "validation")
    opening: ClassVar[str] = "".join(f"Q: {asked}\nA: {answered}\n\n" for asked, answered in _SHOWN)

    def item(self, row: Row, row_id: str) -> Item:
        """The hub marks the true choice with 1; the package names it by letter."""
        if "mc1_targets" in row:
            targets = row.inner("mc1_targets")
            choices, labels = targets.texts("choices"), targets.values.get("labels")
            if not isinstance(labels, list) or len(labels) != len(choices) or labels.count(1) != 1:
                raise row.error("'labels' does not mark one of the choices")
            expected = labels.index(1)
        else:
            choices, expected = row.texts("choices"), row.position("answer", row.texts("labels"))
            if expected >= len(choices):
                raise row.error(f"the answer is choice {expected + 1} of {len(choices)}")
        return question(row_id, f"Q: {row.text('question')}\nA:", choices, expected)
