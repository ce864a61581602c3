"""Users who hold dialogues, on a server that counts."""

from __future__ import annotations

from typing import Any

from tests.workloads.instant import PacedServer
from trilemma.engines.base import Emission, GenerationRequest
from trilemma.errors import ContextError
from trilemma.workloads.dialogues import Dialogue, Heard, converse


def ask(tokens: int) -> GenerationRequest:
    return GenerationRequest([1], tokens)


def twice(first: int, second: int) -> Dialogue[Any]:
    one = yield ask(first)
    other = yield ask(second)
    return len(one.tokens), len(other.tokens), other.submitted_ns > one.token_times_ns[-1]


def silent() -> Dialogue[Any]:
    return "nothing to ask"
    yield


def held(server: PacedServer, dialogues: list[Dialogue[Any]], users: int) -> tuple[list[Heard], dict[int, Any]]:
    heard: list[Heard] = []
    results: dict[int, Any] = {}
    converse(server, dialogues, users, heard.append, lambda position, result: results.update({position: result}))
    return heard, results


def test_each_step_waits_for_the_one_before_and_others_go_on() -> None:
    server = PacedServer(slots=2)
    heard, results = held(server, [twice(2, 3), twice(4, 1), twice(1, 1)], users=2)
    assert results == {0: (2, 3, True), 1: (4, 1, True), 2: (1, 1, True)}
    assert [answer.position for answer in heard].count(0) == 2
    assert server.most_in_flight == 2


def test_a_dialogue_that_asks_nothing_makes_room_for_the_next() -> None:
    heard, results = held(PacedServer(slots=1), [silent(), silent(), twice(1, 1)], users=1)
    assert results == {0: "nothing to ask", 1: "nothing to ask", 2: (1, 1, True)}
    assert {answer.position for answer in heard} == {2}


def test_a_failed_request_comes_back_with_its_error_and_stops_nothing() -> None:
    def once() -> Dialogue[str]:
        answer = yield ask(3)
        return answer.error

    _, results = held(PacedServer(slots=2, fails=frozenset({0})), [once(), once()], users=2)
    assert results == {0: "the connection was lost", 1: ""}


class Narrow(PacedServer):
    """Refuses prompts of more than one token."""

    def submit(self, request: GenerationRequest) -> int:
        if len(request.prompt) > 1:
            raise ContextError("The prompt does not fit.")
        return super().submit(request)

    def step(self, timeout_s: float | None = None) -> list[Emission]:
        return super().step(timeout_s)


def test_a_prompt_that_does_not_fit_is_an_answer_with_an_error() -> None:
    def grows() -> Dialogue[str]:
        yield ask(1)
        answer = yield GenerationRequest([1, 2], 1)
        return answer.error

    heard, results = held(Narrow(slots=1), [grows(), grows()], users=1)
    assert results == {0: "The prompt does not fit.", 1: "The prompt does not fit."}
    assert [bool(answer.generation.error) for answer in heard] == [False, True, False, True]


def test_when_it_is_enough_nobody_begins_and_those_who_have_begun_finish() -> None:
    results: dict[int, Any] = {}
    dialogues = [twice(1, 2) for _ in range(6)]
    converse(
        PacedServer(slots=2), dialogues, 2, lambda _: None,
        lambda position, result: results.update({position: result}), lambda: len(results) >= 2,
    )  # fmt: skip
    assert sorted(results) in ([0, 1], [0, 1, 2])
