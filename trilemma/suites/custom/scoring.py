"""How an answer is scored: one small function a kind. What it says of the answer is kept with it."""

from __future__ import annotations

import decimal
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from pydantic import JsonValue

from trilemma.suites.custom import patterns, schemas
from trilemma.suites.custom.question import LETTERS, Question

MAX_DIGITS = 100
_WINDOW = 100_000
"""Characters of an answer in which numbers and letters are looked for, from the end that counts."""
_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,4})?|[-+]?\.\d+(?:[eE][-+]?\d{1,4})?"
_NAMED_LETTER = r"\b(?i:answer|choice|option)\b(?i: is)?[ :*(]*([A-Z])\b"
_LEADING_LETTER = r"^[\s*(]*([A-Z])(?:[\s*]*$|\*{0,2}[.):,])"


class Verdict(NamedTuple):
    """Whether an answer is right, the part that was looked at, and what else there is to know."""

    right: bool
    found: str
    detail: Mapping[str, JsonValue] = {}


class Rules(NamedTuple):
    """What a study sets about scoring: differences of case, which number counts, and how far off it may be."""

    ignore_case: bool = False
    number: Literal["first", "last"] = "last"
    tolerance: float = 0.0


def exact(question: Question, answer: str, rules: Rules) -> Verdict:
    """One of the expected texts and nothing else; white space is folded, and Unicode put in one form (NFC)."""
    found = _folded(answer, rules)
    return Verdict(found in {_folded(one, rules) for one in question.answer}, found)


def _folded(text: str, rules: Rules) -> str:
    folded = " ".join(unicodedata.normalize("NFC", text).split())
    return folded.casefold() if rules.ignore_case else folded


def regex(question: Question, answer: str, rules: Rules) -> Verdict:
    """The expression matches somewhere in the answer; ``^`` and ``$`` tie it to the answer's ends."""
    found = patterns.found(f"(?i){question.answer[0]}" if rules.ignore_case else question.answer[0], answer)
    return Verdict(found is not None, found or "")


def numeric(question: Question, answer: str, rules: Rules) -> Verdict:
    """The last number of the answer, or the first, is at most the tolerance away from the expected one."""
    found = number_in(answer, rules.number)
    if not found or len(found) > MAX_DIGITS:
        return Verdict(False, found[:MAX_DIGITS])
    tolerance = rules.tolerance if question.tolerance is None else question.tolerance
    try:
        # Decimals, for 0.3 is 0.1 + 0.2 to whoever wrote the file.
        off = abs(decimal.Decimal(found) - decimal.Decimal(question.answer[0].replace(",", "").strip()))
        return Verdict(off <= decimal.Decimal(repr(tolerance)), found)
    except decimal.DecimalException:
        return Verdict(False, found)


def number_in(text: str, which: Literal["first", "last"]) -> str:
    """A number of ``text`` without separators of thousands; empty without one. A hyphen after a word is no sign."""
    near = text[:_WINDOW] if which == "first" else text[-_WINDOW:]
    plain = patterns.whole(near).replace("\N{MINUS SIGN}", "-")
    found = ""
    for match in patterns.compiled(_NUMBER).finditer(plain):
        start, end = match.span()
        found = plain[start:end]
        if found[0] in "+-" and start and plain[start - 1].isalnum():
            found = found[1:]
        if which == "first":
            break
    return found.replace(",", "")


def choice(question: Question, answer: str, rules: Rules) -> Verdict:
    """The letter that the answer names, or the text of a choice where it is nothing else."""
    place = choice_in(question, answer)
    letter = LETTERS[place] if place >= 0 else ""
    return Verdict(place == question.right_choice, letter)


def choice_in(question: Question, answer: str) -> int:
    """Which choice an answer means: its text alone, the last ``answer is B``, or the letter that it begins with.

    -1 where it means none.
    """
    folded = " ".join(answer.casefold().split()).rstrip(".")
    texts = [" ".join(one.casefold().split()).rstrip(".") for one in question.choices]
    if texts.count(folded) == 1:
        return texts.index(folded)
    text = patterns.whole(answer[-_WINDOW:])
    named = [match.group(1) for match in patterns.compiled(_NAMED_LETTER).finditer(text)]
    first = patterns.compiled(_LEADING_LETTER).search(patterns.whole(answer[:_WINDOW]).strip().partition("\n")[0])
    letter = folded.upper() if len(folded) == 1 else named[-1] if named else first.group(1) if first else ""
    place = LETTERS.find(letter) if letter else -1
    return place if place < len(question.choices) else -1


def json_schema(question: Question, answer: str, rules: Rules) -> Verdict:
    """The answer is JSON that keeps to the schema; the fence of a Markdown block around all of it does not count."""
    text = answer.strip()
    fenced = text.startswith("```") and text.endswith("```") and "\n" in text
    if fenced:
        text = text.partition("\n")[2].removesuffix("```").strip()
    why = schemas.mismatch(question.json_schema, text)
    return Verdict(not why, text, {"fenced": fenced, **({"mismatch": why} if why else {})})


SCORERS: dict[str, Callable[[Question, str, Rules], Verdict]] = {
    "exact": exact,
    "regex": regex,
    "numeric": numeric,
    "choice": choice,
    "json_schema": json_schema,
}
"""All but ``judge``, which is asked: :mod:`trilemma.suites.custom.judge`."""
