"""HellaSwag: which ending follows (Zellers et al. 2019, arXiv:1905.07830)."""

from __future__ import annotations

import re
from typing import ClassVar

from trilemma.suites.data import Dataset, Row
from trilemma.suites.multiple_choice import Item, MultipleChoice, question

LAST_SENTENCE = re.compile(r"""(.*[.!?]["')]*)\s+(\S[^.!?]*)""", re.DOTALL)


def clean(text: str) -> str:
    """Without the marks that WikiHow pages left behind; the same steps as lm-evaluation-harness's task takes."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


class HellaSwag(MultipleChoice):
    """The context is what happened, headed by the activity's name where the data has it (the package's has not)."""

    name: ClassVar[str] = "hellaswag"
    title: ClassVar[str] = "HellaSwag"
    licence: ClassVar[str] = "MIT"
    dataset: ClassVar[Dataset] = Dataset("hellaswag.jsonl", "Rowan/hellaswag", "default", "validation")

    def item(self, row: Row, row_id: str) -> Item:
        """The hub has the context in two parts; the package has them joined, the second one in lower case."""
        if "question" in row:
            whole = row.text("question")
            match = LAST_SENTENCE.fullmatch(whole)
            first, second = match.groups() if match else (whole, "")
            heading, endings = "", row.texts("choices")
            expected = row.position("answer", row.texts("labels"))
        else:
            first, second = row.text("ctx_a"), row.text("ctx_b")
            heading, endings = f"{row.text('activity_label')}: ", row.texts("endings")
            expected = row.number("label", len(endings))
        context = clean(f"{heading}{first} {second.capitalize()}")
        return question(row_id, context, [clean(ending) for ending in endings], expected)
