from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trilemma.tryout.messages import LONGEST_PROMPT, MOST_TOKENS, TOLD, WORD, Question, Written, clean

HIDDEN = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(st.characters(), max_size=60))
def test_what_is_cleaned_holds_nothing_that_hides_and_is_clean(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    assert clean(shown) == shown
    shown.encode()
    for before, after in zip(text, shown, strict=True):
        assert after in "\n\t" or unicodedata.category(after) not in ("Cc", "Cs")
        assert unicodedata.bidirectional(after) not in HIDDEN
        assert after == before or unicodedata.category(before) in ("Cc", "Cs", "Cf")


def test_a_terminal_sequence_and_a_turned_text_are_seen_through() -> None:
    assert clean("a\x1b[2Jb\r\n\tc") == "a�[2Jb�\n\tc"
    assert clean("user\u202egpj.exe") == "user�gpj.exe"
    assert clean("half \ud83d") == "half \ufffd"
    assert clean("كيف 👩‍👧 é") == "كيف 👩‍👧 é"


def test_speeds_are_those_of_the_definitions() -> None:
    written = Written(text="", tokens=5, submitted_ns=1_000_000_000, first_ns=1_500_000_000, last_ns=3_500_000_000)
    assert (written.ttft_s, written.decode_tps) == (0.5, 2.0)
    for few in ({"tokens": 1}, {"tokens": 0, "first_ns": None, "last_ns": None}, {"last_ns": 1_500_000_000},
                {"counted": False}):  # fmt: skip
        assert written.model_copy(update=few).decode_tps is None


@pytest.mark.parametrize("wrong", [{"prompt": ""}, {"prompt": "x" * (LONGEST_PROMPT + 1)}, {"max_tokens": 0},
                                   {"max_tokens": MOST_TOKENS + 1}, {"temperature": -1.0}, {"seed": -1}])  # fmt: skip
def test_a_question_has_its_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Question.model_validate({"prompt": "x", "max_tokens": 1} | wrong)


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_a_line_that_is_no_message_is_none(line: bytes) -> None:
    for kind in (WORD, TOLD):
        with pytest.raises(ValueError, match="validation error"):
            kind.validate_json(line)
