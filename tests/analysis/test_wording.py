"""Two texts word by word."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trilemma.analysis.wording import LONGEST, wording, words

texts = st.lists(st.sampled_from(["the", "sea", "is", "wide", "<b>", "\n", "  ", "deep."]), max_size=14).map(" ".join)


@settings(max_examples=100)
@given(texts, texts)
def test_both_texts_can_be_read_off_the_pieces(first: str, second: str) -> None:
    found = wording(first, second)
    assert not found.cut
    assert "".join(piece.text for piece in found.pieces if piece.kind != "missing") == second
    assert "".join(piece.text for piece in found.pieces if piece.kind != "added").split() == first.split()
    assert found.same == (first.split() == second.split())


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_words_lose_nothing(text: str) -> None:
    assert "".join(words(text)) == text


def test_a_changed_word_is_one_missing_and_one_added() -> None:
    found = wording("The sea is wide.", "The  sea was wide.")
    assert [(piece.text, piece.kind) for piece in found.pieces] == [
        ("The  sea", "same"), (" is", "missing"), (" was", "added"), (" wide.", "same"),
    ]  # fmt: skip
    assert not found.same
    assert wording("a  b", "a\nb").same


def test_of_very_long_texts_the_beginning_is_compared() -> None:
    found = wording("word " * 3000, "word " * 2000 + "end")
    assert found.cut
    assert sum(len(words(piece.text)) for piece in found.pieces) == LONGEST
