"""WinoGrande: which of two names a sentence means (Sakaguchi et al. 2019, arXiv:1907.10641)."""

from __future__ import annotations

from typing import ClassVar

from trilemma.suites.data import Dataset, Row
from trilemma.suites.multiple_choice import Item, MultipleChoice


class WinoGrande(MultipleChoice):
    """Partial evaluation (Trinh and Le 2018, arXiv:1806.02847).

    The sentence up to the blank with each name put in is the context, and what follows the blank, the same for both, is
    what is scored.
    """

    name: ClassVar[str] = "winogrande"
    title: ClassVar[str] = "WinoGrande"
    licence: ClassVar[str] = "CC-BY-2.0"
    figures: ClassVar[tuple[str, ...]] = ("accuracy",)
    dataset: ClassVar[Dataset] = Dataset("winogrande.jsonl", "allenai/winogrande", "winogrande_xl", "validation")

    def item(self, row: Row, row_id: str) -> Item:
        """The package lists the choices; the hub has ``option1`` and ``option2``."""
        before, blank, after = row.text("sentence").partition("_")
        if not blank:
            raise row.error("the sentence has no blank ('_')")
        if "choices" in row:
            names, expected = row.texts("choices"), row.position("answer", row.texts("labels"))
        else:
            names, expected = (row.text("option1"), row.text("option2")), row.position("answer", ("1", "2"))
        contexts = tuple(before + name for name in names)
        return Item(row_id, contexts, (f" {after.strip()}",) * len(names), names, expected)
