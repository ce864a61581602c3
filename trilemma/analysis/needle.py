"""What was found of facts hidden in long texts, by the text's length and how deep in it they were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trilemma.records import AnswerRecord

FIGURE = "needles_found"


class Cell(NamedTuple):
    """One length (tokens, about) and depth (0 to 1): the mean share of facts found, of how many answers.

    ``failed`` of them have no answer: for want of room, most often.
    """

    length: int
    depth: float
    share: float
    n: int
    failed: int


def needle_cells(answers: Iterable[AnswerRecord]) -> list[Cell]:
    """The cells of the answers that say where their facts were, by length and depth; others are left out."""
    found: dict[tuple[int, float], list[tuple[float, bool]]] = {}
    for answer in answers:
        length, depth = answer.detail.get("length"), answer.detail.get("depth")
        if isinstance(length, int) and isinstance(depth, int | float) and FIGURE in answer.scores:
            entry = answer.scores[FIGURE], bool(answer.detail.get("error"))
            found.setdefault((length, float(depth)), []).append(entry)
    return [
        Cell(length, depth, sum(share for share, _ in each) / len(each), len(each), sum(bad for _, bad in each))
        for (length, depth), each in sorted(found.items())
    ]


def needle_text(cells: Sequence[Cell]) -> str:
    """The text alternative of the heat map: the share found at each length, where least, and what had no answer."""
    if not cells:
        return "No text was asked about."
    parts = []
    for length in sorted({cell.length for cell in cells}):
        row = [cell for cell in cells if cell.length == length]
        mean = sum(cell.share * cell.n for cell in row) / sum(cell.n for cell in row)
        worst = min(row, key=lambda cell: cell.share)
        least = f", least at depth {worst.depth:.0%} ({worst.share:.0%})" if worst.share < mean else ""
        parts.append(f"{length:,} tokens: {mean:.0%} found{least}")
    failed, total = sum(cell.failed for cell in cells), sum(cell.n for cell in cells)
    missing = f" {failed:,} of {total:,} had no answer." if failed else ""
    return "; ".join(parts) + f".{missing}"
