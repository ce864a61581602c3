"""Sentences, words and bullets in a text, counted in time that grows with its length and not with its square.

IFEval's reference counts sentences with NLTK's Punkt model for English (Kiss & Strunk 2006), which is a download. Here
a rule of our own stands for it. A sentence ends at ``.``, ``?`` or ``!`` before white space and more text, or
before a quote, bracket, colon, semicolon, asterisk or at sign; a line's end alone ends none. A full stop does not end
one after

- an abbreviation or an ellipsis, unless one of the words that often begin sentences follows with a capital;
- a single letter (an initial), unless such a word follows;
- a number, if what follows begins with a small letter.

Closing quotes and brackets belong to the sentence before them. Abbreviations and beginnings are common ones that Punkt
takes for such; "e.g." and "etc." are not among them. ``benchmarks/instructions.py`` says how often this and Punkt
differ.
"""

from __future__ import annotations

import re

_ENDS = ".?!"
_PUNCTUATION = ")\";}]*:@'({[!?"
"""Characters that end a word without white space."""

_WORD = re.compile(r"\S+")
_INNER_END = re.compile(rf"[{re.escape(_ENDS)}](?=[{re.escape(_PUNCTUATION)}])")
_SPLIT = re.compile(rf"[{re.escape(_PUNCTUATION)}]")
_CLOSERS = frozenset("\"')]}")
_NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*")
_FIRST_WORD = re.compile(r"\w+")
_LONGEST = 64
"""Characters of a word before its full stop that are looked at: no abbreviation or number of interest is longer."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATIONS = _words("""
    a.m adm aug ave bros co col corp ct d.c dec dr feb fri ft gen inc jan jr lt ltd maj messrs mr mrs ms n.y nov oct
    p.m ph.d prof rep reps sen sep sept sr st tues u.k u.n u.s u.s.a va vs wed yr
""")
_BEGINNERS = _words("""
    although among being both but does either even he here hers however if in indeed instead into it many meanwhile
    moreover most neither nevertheless nor nothing please since so some sometimes soon still such the them there
    therefore these they this though through thus together tomorrow under upon were when whether which while whom
    without yes yet
""")
"""Words that are written small unless they begin a sentence, and seldom with a capital in titles."""


def count_words(text: str) -> int:
    """Runs of letters, digits and underscores."""
    return sum(1 for _ in re.finditer(r"\w+", text))


def count_sentences(text: str) -> int:
    """Sentences by the rule of this module."""
    count, open_ = 0, False
    words = _WORD.finditer(text)
    here = next(words, None)
    while here is not None:
        following = next(words, None)
        word, after = here[0], following[0] if following else ""
        end = _last_end(word, bool(after))
        open_ = True
        if end >= 0 and _breaks(word[: end + 1], word[end + 1 :] or after):
            count += 1
            # What is left of the word is the beginning of the next sentence, unless it only closes this one.
            open_ = not _CLOSERS.issuperset(word[end + 1 :])
        here = following
    return count + open_


def _last_end(word: str, more: bool) -> int:
    """Where in ``word`` the last mark stands that may end a sentence, -1 if there is none; ``more`` text follows."""
    if more and word[-1] in _ENDS:
        return len(word) - 1
    return max((found.start() for found in _INNER_END.finditer(word)), default=-1)


def _breaks(head: str, after: str) -> bool:
    """Whether a sentence ends with ``head``, whose last character may end one, where ``after`` follows."""
    if "?" in head or "!" in head:
        return True
    if head.endswith(".."):
        return _begins(after)
    last = _SPLIT.split(head[-_LONGEST:-1])[-1]
    if _NUMBER.fullmatch(last):
        return not (after[0].islower() or after[0] in ";:,.!?")
    if len(last) == 1 and last.isalpha():
        return _begins(after)
    return last.lower() not in _ABBREVIATIONS or _begins(after)


def _begins(after: str) -> bool:
    """Whether ``after`` is a capitalised word that is written small within a sentence."""
    first = _FIRST_WORD.match(after, 0, _LONGEST)
    return first is not None and first[0][0].isupper() and first[0].lower() in _BEGINNERS


_SEPARATORS = re.compile(r"\.{2,}|--|''|[:,](?!\d)|[;@#$%&?!*\[\](){}<>\"«»“”‘’„`]")
_CLITIC = re.compile(
    r"(?<=[^'\s])(?='(?:[sS]|[mM]|[dD]|ll|LL|re|RE|ve|VE)?(?:\s|$))"  # 's 'm 'd 'll 're 've, and a last apostrophe
    r"|(?<=[^'\s])(?=(?:n't|N'T)(?:\s|$))"
)
_FUSED = re.compile(
    r"\b(can)(not)\b|\b(gim|lem)(me)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b|(?<!\S)('t)(is|was)\b", re.IGNORECASE
)


def count_capital_words(text: str) -> int:
    """Words without small letters and with at least one capital, cut as the Penn Treebank cuts them.

    A word is cut at punctuation and before a clitic: "DON'T" is "DO" and "N'T", "CANNOT" is "CAN" and "NOT". Hyphens,
    slashes and single full stops do not cut.
    """
    apart = _CLITIC.sub(" ", _SEPARATORS.sub(" ", text))
    fused = _FUSED.sub(lambda found: " ".join(part for part in found.groups() if part), apart)
    return sum(1 for found in _WORD.finditer(fused) if found[0].isupper())


_SPACE = re.compile(r"\s*")


def count_bullets(text: str) -> int:
    """Lines that begin with ``-``, and those that begin with one ``*``, white space before it not counted.

    A ``*`` that stands alone in its line takes the next line for its text.
    """
    return _marked(text, "*") + _marked(text, "-")


def _marked(text: str, mark: str) -> int:
    count = position = 0
    while position <= len(text):
        # White space may span lines: those that are empty are passed over at once, not tried one by one.
        start = _end_of_space(text, position)
        rest = start + 1
        if text.startswith(mark, start) and (mark == "-" or (rest < len(text) and text[rest] != "*")):
            count += 1
            rest += mark == "*"
        else:
            rest = start
        end = text.find("\n", rest)
        if end < 0:
            break
        position = end + 1
    return count


def _end_of_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def count_placeholders(text: str) -> int:
    """Pairs of square brackets within a line, each from an opening one to the next closing one."""
    count = 0
    for line in text.split("\n"):
        position = line.find("[")
        while position >= 0:
            end = line.find("]", position)
            if end < 0:
                break
            count += 1
            position = line.find("[", end)
    return count


_HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
_BOLD = re.compile(r"\*\*[^\n*]*\*\*")


def count_highlights(text: str) -> int:
    """Texts between single asterisks and between double ones, within a line, that are not blank."""
    single = sum(1 for found in _HIGHLIGHT.finditer(text) if found[0].strip("*").strip())
    return single + sum(1 for found in _BOLD.finditer(text) if found[0][2:-2].strip())
