"""The answering process's own work, over models that do as they are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hosts import contender

from trilemma.engines.base import Generation, GenerationRequest, TokenTiming
from trilemma.errors import EngineError
from trilemma.schema import Artifact
from trilemma.tryout import answering
from trilemma.tryout.messages import Question, Task, Word, Written

QUESTION = Question(prompt="Hello?", max_tokens=4, temperature=0.5, seed=3)
BYTES = "añ👋".encode()


class Slow:
    """Writes one byte a token, and waits after each until a listener had time to be told."""

    context_length = 100

    def __init__(self, error: str = "", length: int = len(BYTES)) -> None:
        self.error, self.length = error, length
        self.asked: GenerationRequest | None = None

    def chat_prompt(self, messages: Sequence[Any]) -> list[int]:
        assert messages in (({"role": "user", "content": "Hello?"},), answering._WARM_UP.messages)
        return [1, 2]

    def detokenize(self, tokens: Sequence[int]) -> str:
        return bytes(tokens).decode("utf-8", "replace")

    def generate(
        self, request: GenerationRequest, on_token: Callable[[int, int], None] = lambda token, time_ns: None
    ) -> Generation:
        self.asked = request
        begun = time.perf_counter_ns()
        times = []
        for token in BYTES[: self.length]:
            times.append(time.perf_counter_ns())
            on_token(token, times[-1])
            time.sleep(0.03)
        return Generation(begun, list(BYTES[: self.length]), times, 2, error=self.error)


class Texts:
    """As an endpoint: no tokens, only text."""

    context_length = 100

    def __init__(self, token_timing: TokenTiming = "token") -> None:
        self.token_timing = token_timing

    def fit(self, text: str, tokens: int) -> None: ...

    def generate_text(self, request: GenerationRequest, on_text: Callable[[str, int], None]) -> Generation:
        assert request.messages == ({"role": "user", "content": "Hello?"},)
        times = []
        for text in ("One", "One two", "One two"):
            times.append(time.perf_counter_ns())
            on_text(text, times[-1])
            time.sleep(0.03)
        return Generation(times[0], [], times[:2], 0, text="One two", token_timing=self.token_timing)


def told(model: object, monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    monkeypatch.setattr(answering, "_TELL_EVERY_S", 0.005)
    said: list[Word] = []
    try:
        answering.answer(model, QUESTION, said.append)  # type: ignore[arg-type]
    except EngineError as error:
        assert str(error) == "it broke"
    written = [word for word in said if isinstance(word, Written)]
    assert len(written) == len(said)
    return written


def test_text_grows_and_half_characters_wait_for_their_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Slow()
    found = told(model, monkeypatch)
    assert len(found) > 3
    assert {one.text for one in found} <= {"", "a", "añ", "añ👋"}
    assert [one.tokens for one in found] == sorted(one.tokens for one in found)
    assert [one.ended for one in found] == [""] * (len(found) - 1) + ["length"]
    last = found[-1]
    assert (last.text, last.tokens) == ("añ👋", len(BYTES))
    assert all(one.counted for one in found)
    assert last.decode_tps is not None
    assert model.asked is not None
    assert (model.asked.max_tokens, model.asked.temperature, model.asked.seed) == (4, 0.5, 3)


def test_an_answer_that_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(Slow(length=1), monkeypatch)[-1].ended == "end"


def test_an_answer_that_breaks_keeps_what_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    last = told(Slow("it broke", length=1), monkeypatch)[-1]
    assert (last.text, last.ended) == ("a", "")


def test_of_an_engine_that_gives_text_the_text_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = told(Texts(), monkeypatch)
    assert [one.text for one in found[:2]] == ["One", "One two"]
    assert (found[-1].text, found[-1].tokens, found[-1].ended) == ("One two", 2, "end")
    # While it is written only pieces are seen: how many tokens they are is known at the end.
    assert [one.counted for one in found] == [False] * (len(found) - 1) + [True]


def test_pieces_that_nobody_counted_have_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    last = told(Texts("estimate"), monkeypatch)[-1]
    assert (last.tokens, last.counted, last.decode_tps) == (2, False, None)
    assert last.ttft_s is not None


def test_it_stays_loaded_until_it_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    class Holds(Slow):
        def __enter__(self) -> Holds:
            return self

        def __exit__(self, *_: object) -> None:
            happened.append("unloaded")

    class Loads:
        def load(self, artifact: Artifact, settings: object) -> Holds:
            return Holds()

    monkeypatch.setattr(answering.registry, "load", lambda group, name: Loads)

    def say(word: Word) -> None:
        if word.kind == "ready" or (isinstance(word, Written) and word.ended):
            happened.append(word.kind)

    answering.serve(Task(contender=contender(), question=QUESTION), say, lambda: happened.append("released"))
    assert happened == ["ready", "written", "released", "unloaded"]
