"""Events out of bytes, however they are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.engines.endpoint.sse import MAX_EVENT_BYTES, EventParser
from trilemma.errors import EngineError

STREAM = b": hello\n\ndata: one\n\ndata: two\r\ndata: lines\r\n\r\nevent: x\nid: 3\ndata:tight\n\ndata: [DONE]\n\n"
EVENTS = [b"one", b"two\nlines", b"tight", b"[DONE]"]


def parsed(chunks: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def test_comments_names_and_line_ends_are_understood() -> None:
    assert parsed([STREAM]) == EVENTS
    assert parsed([STREAM.replace(b"\r\n", b"\r")]) == EVENTS
    assert parsed([b"data: never ended\n"]) == []


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_any_cuts_give_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert parsed([STREAM[a:b] for a, b in itertools.pairwise(edges)]) == EVENTS


@given(st.binary(max_size=400))
def test_any_bytes_are_taken(data: bytes) -> None:
    whole = parsed([data])
    assert whole == parsed([data[i : i + 1] for i in range(len(data))])


def test_an_endless_event_is_refused() -> None:
    parser = EventParser()
    with pytest.raises(EngineError, match="endless"):
        for _ in range(MAX_EVENT_BYTES // 1000 + 2):
            parser.feed(b"data: " + b"x" * 1000)
    with pytest.raises(EngineError, match="endless"):
        for _ in range(MAX_EVENT_BYTES // 1000 + 2):
            parser.feed(b"data:\n" * 1000)
