"""Whatever a server does: nothing is lost, nothing is repeated unasked, and every failure says what it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.engines.endpoint.misbehaving import MisbehavingServer
from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.engines.base import Generation, GenerationRequest, ServingModel, TextModel
from trilemma.engines.endpoint import Endpoint
from trilemma.engines.endpoint.model import LoadedEndpoint
from trilemma.engines.remote import RemoteModel, TextStreamer
from trilemma.errors import CatalogError, LoadError, NotOfferedError
from trilemma.workloads.load import closed_loop

KEY = "sk-very-secret-0123456789"
ASK = GenerationRequest((), 6, text="why is the sky blue", ignore_eos=True)
Open = Callable[..., LoadedEndpoint]


@pytest.fixture
def server() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as opened:
        yield opened


@pytest.fixture
def loaded(server: MisbehavingServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Loads the server in a mode, with a key and quick time limits."""
    monkeypatch.setenv("TINY_KEY", KEY)
    opened: list[LoadedEndpoint] = []

    def load(mode: str, **settings: object) -> LoadedEndpoint:
        server.mode = mode
        chosen = {"api_key_env": "TINY_KEY", "timeout_s": 1.0, "retries": 2} | settings
        model = Endpoint().load(endpoint_artifact(server.url, "tiny"), chosen)  # type: ignore[arg-type]
        opened.append(model)
        return model

    yield load
    for model in opened:
        model.close()


def asked(server: MisbehavingServer) -> list[dict[str, object]]:
    return [body for path, _, body in server.requests if path.endswith("completions")]


@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("mode", ["ok", "counted"])
def test_a_good_answer(loaded: Open, server: MisbehavingServer, api: str, mode: str) -> None:
    model = loaded(mode, api=api)
    assert isinstance(model, TextModel)
    assert isinstance(model, ServingModel)
    assert isinstance(model, RemoteModel)
    answer = model.generate(ASK)
    assert answer.error == ""
    assert len(answer.token_times_ns) == 6
    assert answer.token_timing == "token"
    assert answer.token_times_ns == sorted(answer.token_times_ns)
    assert answer.submitted_ns < answer.token_times_ns[0]
    assert answer.text == " word" * 6
    assert answer.prompt_tokens == answer.prefilled_tokens == (15 if api == "chat" else 5)
    assert model.context_length == 512
    (body,) = asked(server)
    assert body["max_tokens"] == 6
    assert body["ignore_eos"] is True


def test_the_text_is_told_as_it_grows(loaded: Open) -> None:
    model = loaded("ok")
    assert isinstance(model, TextStreamer)
    told: list[tuple[str, int]] = []
    answer = model.generate_text(ASK, lambda text, time_ns: told.append((text, time_ns)))
    grown = list(dict.fromkeys(text for text, _ in told if text))
    assert grown == [" word" * count for count in range(1, 7)]
    assert answer.text == grown[-1]
    assert set(answer.token_times_ns) <= {time_ns for _, time_ns in told}


def test_several_tokens_a_chunk_keep_the_first_and_last_time(loaded: Open) -> None:
    answer = loaded("grouped").generate(ASK)
    assert len(answer.token_times_ns) == 6
    assert len(set(answer.token_times_ns)) == 2
    assert answer.token_timing == "chunk"


def test_a_server_that_does_not_count_is_noted(loaded: Open) -> None:
    model = loaded("uncounted")
    answer = model.generate(ASK)
    assert answer.token_timing == "estimate"
    assert (len(answer.token_times_ns), answer.prompt_tokens) == (6, 0)
    assert any("did not count" in str(note) for note in model.describe()["notes"])  # type: ignore[union-attr]


def test_a_cached_prompt_is_seen(loaded: Open) -> None:
    model = loaded("cached")
    assert model.generate(ASK).prefilled_tokens == 1
    assert any("cache" in str(note) for note in model.describe()["notes"])  # type: ignore[union-attr]


def test_an_answer_that_ends_early_keeps_its_real_length(loaded: Open) -> None:
    model = loaded("short")
    answer = model.generate(ASK)
    assert (answer.error, len(answer.token_times_ns)) == ("", 3)
    assert any("ended before" in str(note) for note in model.describe()["notes"])  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("mode", "says", "tokens"),
    [
        ("drop", "broke off", 2),
        ("stall", "fell silent for 1 s", 2),
        ("heartbeat", "fell silent for 1 s", 2),
        ("garbage", "makes no sense", 2),
        ("endless_event", "endless event", 2),
        ("error_event", "CUDA out of memory", 2),
        ("closed_early", "ended without saying so", 6),
        ("endless_answer", "ignores the limit of 6 tokens", 15),
        ("html", "does not stream: it sent text/html", 0),
        ("limit_always", "status 429: slow down. The server limits", 0),
        ("limit_long", "status 429", 0),
        ("echo", "status 401: Invalid token.", 0),
        ("key", "The key is wrong or missing", 0),
        ("nowhere", "does not exist", 0),
        ("redirect", "redirects elsewhere, which is not followed", 0),
    ],
)
def test_every_failure_is_named_and_what_came_is_kept(
    loaded: Open, server: MisbehavingServer, mode: str, says: str, tokens: int
) -> None:
    answer = loaded(mode).generate(ASK)
    assert says in answer.error
    assert len(answer.token_times_ns) == tokens
    assert answer.text == " word" * tokens
    assert KEY[:12] not in answer.error
    assert "\x1b" not in answer.error
    # Sent again only where no token had come and it might help: after the two retries of a rate limit.
    assert len(asked(server)) == (3 if mode == "limit_always" else 1)


@pytest.mark.parametrize(("mode", "pause_s"), [("limit_once", 0.2), ("limit_until", 0.9), ("broken_once", 0.0)])
def test_what_passes_is_tried_again_and_the_pause_counts_as_waiting(
    loaded: Open, server: MisbehavingServer, mode: str, pause_s: float
) -> None:
    model = loaded(mode)
    answer = model.generate(ASK)
    assert answer.error == ""
    assert len(asked(server)) == 2
    assert (answer.token_times_ns[0] - answer.submitted_ns) / 1e9 >= pause_s
    assert model.describe()["retried"] == 1


def test_a_strict_server_is_asked_for_less(loaded: Open, server: MisbehavingServer) -> None:
    model = loaded("strict")
    assert model.generate(ASK).error == ""
    assert model.generate(ASK).error == ""
    assert [("ignore_eos" in body) for body in asked(server)] == [True, True, False, False]


def test_with_many_at_once_the_good_ones_are_answered(loaded: Open, server: MisbehavingServer) -> None:
    model = loaded("ok")
    answers: dict[int, Generation] = {}
    for position, answer in closed_loop(model.server(), [ASK] * 12, users=4):
        answers[position] = answer
        server.mode = "drop" if 3 <= len(answers) < 8 else "ok"
    assert sorted(answers) == list(range(12))
    failed = [a for a in answers.values() if a.error]
    assert failed
    assert all("broke off" in a.error and len(a.token_times_ns) == 2 for a in failed)
    assert all(len(a.token_times_ns) == 6 for a in answers.values() if not a.error)


def test_the_key_goes_to_the_server_and_nowhere_else(loaded: Open, server: MisbehavingServer) -> None:
    model = loaded("key")
    answer = model.generate(ASK)
    assert {headers["authorization"] for _, headers, _ in server.requests} == {f"Bearer {KEY}"}
    assert KEY not in str(model.describe()) + answer.error + repr(model.settings) + repr(model.artifact)


def test_what_an_endpoint_cannot_give_says_so(loaded: Open) -> None:
    model = loaded("ok")
    with pytest.raises(NotOfferedError, match="tokenizer"):
        model.tokenize("a text")
    with pytest.raises(NotOfferedError, match="logits"):
        next(model.logits([[1, 2]]))
    assert model.vocabulary_size == 0


def test_prompts_are_fitted_by_the_servers_own_count(loaded: Open) -> None:
    model = loaded("ok")
    text = " ".join(f"word{i}" for i in range(300))
    for wanted in (40, 128):
        prompt = model.fit(text, wanted)
        assert model.generate(GenerationRequest((), 1, text=prompt.text)).prompt_tokens == wanted
        assert text.endswith(prompt.text)
    assert model.describe()["prompt_lengths"] == "estimated from two requests"


def test_a_server_that_is_not_there_or_has_another_model(server: MisbehavingServer) -> None:
    with pytest.raises(LoadError, match="has no model 'other'; it has tiny"):
        Endpoint().load(endpoint_artifact(server.url, "other"), {})
    with pytest.raises(LoadError, match="cannot be reached"):
        Endpoint().load(endpoint_artifact("http://127.0.0.1:9/v1", "tiny"), {"retries": 0})
    with pytest.raises(CatalogError, match="NO_SUCH_KEY is not set"):
        Endpoint().check(endpoint_artifact(server.url, "tiny"), {"api_key_env": "NO_SUCH_KEY"})


def test_a_server_that_goes_on_for_ever_is_left(loaded: Open, server: MisbehavingServer) -> None:
    assert "ignores the limit" in loaded("endless_answer").generate(ASK).error
    deadline = time.monotonic() + 20
    while not server.broken_off:
        assert time.monotonic() < deadline, "the connection stayed open"
        time.sleep(0.02)


def test_what_one_request_is_told_to_wait_the_next_ones_wait_too(loaded: Open, server: MisbehavingServer) -> None:
    model = loaded("limit_until")
    answers = dict(closed_loop(model.server(), [ASK] * 3, users=2))
    assert not any(a.error for a in answers.values())
    began = min(a.submitted_ns for a in answers.values())
    waited = sorted((a.token_times_ns[0] - began) / 1e9 for a in answers.values())
    # One is refused and one answered at once; the third, asked meanwhile, waits with the first.
    assert waited[1] > 0.9
    assert len(asked(server)) == 4


def test_a_stream_is_asked_for_as_it_is(loaded: Open, server: MisbehavingServer) -> None:
    loaded("ok").generate(ASK)
    assert {headers["accept-encoding"] for _, headers, _ in server.requests} == {"identity"}
