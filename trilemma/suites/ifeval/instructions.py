"""The 25 kinds of instructions, each made out of its arguments into a check of an answer.

What follows an instruction is what IFEval's reference takes for it (Zhou et al. 2023, arXiv:2311.07911; as it stands in
lm-evaluation-harness 0.4.13), its oddities included: scores could not be compared otherwise. Two things differ. Where
an instruction counts a character that is no letter, the reference counts a letter drawn at random; here the character
is counted. And keywords are taken as they are written, not as regular expressions; those of the data set read the same
either way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from trilemma.suites.data import Row
from trilemma.suites.ifeval import counting
from trilemma.suites.ifeval.language import is_in

Check = Callable[[str], bool]
"""Whether an answer that is not blank follows an instruction."""

_MOST = 1_000_000
_RELATIONS = ("less than", "at least")
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCES = ("```json", "```Json", "```JSON", "```")
_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_POSTSCRIPTS = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}


def _compared(given: Row, number: str, relation: str, count: Callable[[str], int]) -> Check:
    """What ``count`` gives is less than a number, or at least that."""
    bound = given.number(number, _MOST)
    if given.position(relation, _RELATIONS):
        return lambda answer: count(answer) >= bound
    return lambda answer: count(answer) < bound


def _many(given: Row, number: str, count: Callable[[str], int]) -> Check:
    bound = given.number(number, _MOST)
    return lambda answer: count(answer) >= bound


def _literal(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text), re.IGNORECASE)


def _existence(given: Row) -> Check:
    words = [_literal(word) for word in given.texts("keywords")]
    return lambda answer: all(word.search(answer) for word in words)


def _forbidden(given: Row) -> Check:
    words = [re.compile(rf"\b{re.escape(word)}\b", re.IGNORECASE) for word in given.texts("forbidden_words")]
    return lambda answer: not any(word.search(answer) for word in words)


def _frequency(given: Row) -> Check:
    word = _literal(given.text("keyword").strip())
    return _compared(given, "frequency", "relation", lambda answer: sum(1 for _ in word.finditer(answer)))


def _letter_frequency(given: Row) -> Check:
    letter = given.text("letter").strip().lower()
    if not letter:
        raise given.error("'letter' is empty")
    return _compared(given, "let_frequency", "let_relation", lambda answer: answer.lower().count(letter))


def _language(given: Row) -> Check:
    language = given.text("language")
    return lambda answer: is_in(answer, language)


def _paragraphs(given: Row) -> Check:
    """Paragraphs are divided by ``***``; none but the first and the last may be blank, and those do not count then."""
    wanted = given.number("num_paragraphs", _MOST)

    def check(answer: str) -> bool:
        blank = [not part.strip() for part in _DIVIDER.split(answer)]
        return not any(blank[1:-1]) and blank.count(False) == wanted

    return check


def _first_word(given: Row) -> Check:
    """Paragraphs are divided by an empty line; blank ones do not count, but are numbered."""
    wanted, nth = given.number("num_paragraphs", _MOST), given.number("nth_paragraph", _MOST)
    word = given.text("first_word").lower()

    def check(answer: str) -> bool:
        parts = answer.split("\n\n")
        if not 1 <= nth <= wanted or sum(bool(part.strip()) for part in parts) != wanted:
            return False
        first, *_ = [*parts[nth - 1].split(maxsplit=1), ""]
        return re.split(r"[.,?!'\"]", first.lstrip("'").lstrip('"').lower(), maxsplit=1)[0] == word

    return check


def _postscript(given: Row) -> Check:
    marker = given.text("postscript_marker").strip()
    pattern = _POSTSCRIPTS.get(marker) or re.compile(re.escape(marker.lower()))
    return lambda answer: bool(pattern.search(answer.lower()))


def _bullets(given: Row) -> Check:
    wanted = given.number("num_bullets", _MOST)
    return lambda answer: counting.count_bullets(answer) == wanted


def _constrained(_given: Row) -> Check:
    return lambda answer: any(option in answer for option in _OPTIONS)


def _sections(given: Row) -> Check:
    heading = re.compile(rf"{re.escape(given.text('section_spliter').strip())}\s?\d+")
    return _many(given, "num_sections", lambda answer: sum(1 for _ in heading.finditer(answer)))


def _is_json(answer: str) -> bool:
    inner = answer.strip()
    for fence in _FENCES:
        inner = inner.removeprefix(fence)
    try:
        json.loads(inner.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(answer: str) -> bool:
    """Something in double angular brackets within a line, from the first opening ones to the last closing ones."""
    for line in answer.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and end > start + 2 and line[start:end].lstrip("<").rstrip(">").strip():
            return True
    return False


def _are_two(answer: str) -> bool:
    """Two different texts divided by six asterisks, more of which may stand before the first and after the last."""
    parts = [part.strip() for part in answer.split("******")]
    said = [part for part in parts if part]
    return all(parts[1:-1]) and len(said) == 2 and said[0] != said[1]


def _repeats(given: Row) -> Check:
    prompt = given.text("prompt_to_repeat").strip().lower()
    return lambda answer: answer.strip().lower().startswith(prompt)


def _ends(given: Row) -> Check:
    phrase = given.text("end_phrase").strip().lower()
    return lambda answer: answer.strip().strip('"').lower().endswith(phrase)


def _capital_words(given: Row) -> Check:
    return _compared(given, "capital_frequency", "capital_relation", counting.count_capital_words)


def _quoted(answer: str) -> bool:
    inner = answer.strip()
    return len(inner) > 1 and inner[0] == inner[-1] == '"'


CHECKS: dict[str, Callable[[Row], Check]] = {
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": lambda _: lambda answer: answer.isupper() and is_in(answer, "en"),
    "change_case:english_lowercase": lambda _: lambda answer: answer.islower() and is_in(answer, "en"),
    "combination:repeat_prompt": _repeats,
    "combination:two_responses": lambda _: _are_two,
    "detectable_content:number_placeholders": lambda g: _many(g, "num_placeholders", counting.count_placeholders),
    "detectable_content:postscript": _postscript,
    "detectable_format:constrained_response": _constrained,
    "detectable_format:json_format": lambda _: _is_json,
    "detectable_format:multiple_sections": _sections,
    "detectable_format:number_bullet_lists": _bullets,
    "detectable_format:number_highlighted_sections": lambda g: _many(g, "num_highlights", counting.count_highlights),
    "detectable_format:title": lambda _: _has_title,
    "keywords:existence": _existence,
    "keywords:forbidden_words": _forbidden,
    "keywords:frequency": _frequency,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _language,
    "length_constraints:nth_paragraph_first_word": _first_word,
    "length_constraints:number_paragraphs": _paragraphs,
    "length_constraints:number_sentences": lambda g: _compared(
        g, "num_sentences", "relation", counting.count_sentences
    ),
    "length_constraints:number_words": lambda g: _compared(g, "num_words", "relation", counting.count_words),
    "punctuation:no_comma": lambda _: lambda answer: "," not in answer,
    "startend:end_checker": _ends,
    "startend:quotation": lambda _: _quoted,
}
"""By id: what makes the check out of its arguments; raises SuiteDataError where one is missing or wrong."""
