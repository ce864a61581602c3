"""Two texts word by word: what one says that the other does not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

LONGEST = 1000
"""Words of a text that are compared: the time that it takes grows with their square."""
_WORDS = re.compile(r"\s*\S+|\s+$")

Kind = Literal["same", "added", "missing"]


@dataclass(frozen=True)
class Piece:
    """A stretch of text: in both, only in the second (``added``), or only in the first (``missing``)."""

    text: str
    kind: Kind


@dataclass(frozen=True)
class Wording:
    """The second text as a change of the first one; ``cut`` if their ends were too far off to be compared."""

    pieces: tuple[Piece, ...]
    cut: bool = False

    @property
    def same(self) -> bool:
        """Whether the two have the same words, as far as they were compared."""
        return all(piece.kind == "same" or not piece.text.strip() for piece in self.pieces)


def words(text: str) -> list[str]:
    """Words, each with the space before it; joined they are ``text``."""
    return _WORDS.findall(text)


def wording(first: str, second: str) -> Wording:
    """How ``second`` differs from ``first``, by the longest runs of words that both have in common (``difflib``).

    Space counts for nothing. The pieces that are not ``missing`` make up the second text, and those that are not
    ``added`` have the words of the first, but for what is cut.
    """
    before, after = words(first), words(second)
    cut = max(len(before), len(after)) > LONGEST
    before, after = before[:LONGEST], after[:LONGEST]
    matcher = SequenceMatcher(None, [word.strip() for word in before], [word.strip() for word in after], autojunk=False)
    pieces: list[Piece] = []
    for what, start, end, begin, stop in matcher.get_opcodes():
        if what == "equal":
            pieces.append(Piece("".join(after[begin:stop]), "same"))
            continue
        if end > start:
            pieces.append(Piece("".join(before[start:end]), "missing"))
        if stop > begin:
            pieces.append(Piece("".join(after[begin:stop]), "added"))
    return Wording(tuple(_apart(pieces)), cut)


def _apart(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces, with space around what is missing: it was no part of the word beside it."""
    shown = " "
    for position, piece in enumerate(pieces):
        text = piece.text
        if piece.kind == "missing":
            after = pieces[position + 1].text if position + 1 < len(pieces) else " "
            text = ("" if shown[-1].isspace() or text[0].isspace() else " ") + text
            text += "" if after[0].isspace() or text[-1].isspace() else " "
        shown = text
        yield Piece(text, piece.kind)
