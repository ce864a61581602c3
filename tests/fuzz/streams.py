"""What servers of models say: streams, error documents, lists of models, counts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx
from hypothesis import strategies as st

from tests.fuzz.inputs import among, documents, integers, json_bytes, json_values, texts
from tests.fuzz.surface import Surface
from trilemma.engines.base import GenerationRequest
from trilemma.engines.endpoint.answer import Answer
from trilemma.engines.endpoint.client import EndpointClient
from trilemma.engines.endpoint.routes import Routes
from trilemma.engines.endpoint.scoring import _echoed
from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.engines.endpoint.sse import EventParser
from trilemma.errors import EngineError

KEY = "sk-very-secret-0123456789"


# Streams


_usage = documents(("prompt_tokens", "completion_tokens", "prompt_tokens_details"), st.one_of(integers, json_values))
_choice = documents(("text", "delta", "finish_reason", "message", "logprobs"),
                    st.one_of(texts, documents(("content", "reasoning", "reasoning_content"), st.one_of(texts,
                    json_values)),
                              json_values))  # fmt: skip
_event = st.one_of(
    documents(("choices", "usage", "error", "id"), json_values),
    st.builds(
        lambda choice, usage: {"choices": [choice]} | usage,
        _choice,
        st.one_of(st.just({}), st.builds(dict, usage=_usage)),
    ),
    st.builds(lambda usage: {"choices": [], "usage": usage}, _usage),
)
_framed = st.one_of(
    _event.map(lambda event: b"data: " + json_bytes(event) + b"\n\n"),
    _event.map(lambda event: b"data:" + json_bytes(event) + b"\r\n\r\n"),
    st.sampled_from((b"data: [DONE]\n\n", b": comment\n\n", b"data:\n\n", b"event: x\n", b"\n\n\n", b"data: {\n",
    b"data: {\"a\":\ndata: 1}\n\n",
                     b"\xff\xfe", b"\r", b"id: 1\rdata: {}\r\r", b"data: " + b"[" * 3000 + b"\n\n")),
    texts.map(lambda text: b"data: " + text.encode("utf-8", "replace") + b"\n\n"), st.binary(max_size=12),
)  # fmt: skip
_streams = st.tuples(st.lists(_framed, max_size=6), st.lists(st.integers(1, 40), max_size=8))


def _cut(parts: list[bytes], at: list[int]) -> list[bytes]:
    data, found = b"".join(parts), []
    for size in at:
        found.append(data[:size])
        data = data[size:]
    return [*found, data]


def _events(case: tuple[list[bytes], list[int]]) -> None:
    """However a stream is cut into chunks, it says the same; what it says makes an answer."""
    whole = EventParser().feed(b"".join(case[0]) + b"\n\n")
    parser, found = EventParser(), []
    for chunk in [*_cut(*case), b"\n\n"]:
        found += parser.feed(chunk)
    assert found == whole
    answer = Answer(0)
    for at, data in enumerate(found):
        with contextlib.suppress(ValueError, RecursionError):
            event = json.loads(data)
            if isinstance(event, dict):
                answer.add(at, event)
    done = answer.done()
    assert len(done.token_times_ns) <= 1 << 22
    assert done.prefilled_tokens >= 0
    assert done.token_times_ns == sorted(done.token_times_ns)


# Whole responses


_statuses = st.sampled_from((200, 200, 200, 200, 204, 301, 302, 400, 401, 404, 418, 422, 429, 500, 503))
_header_values = st.one_of(
    st.sampled_from(("application/json", "text/event-stream", "text/html", "", "1", "1e999", "-5", "nan",
    "Fri, 31 Dec 9999 23:59:59 GMT",
                     "Mon, 01 Jan 0001 00:00:00 +9999", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999", "x" * 500)),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)  # fmt: skip
_headers = st.dictionaries(
    st.sampled_from(("content-type", "retry-after", "location", "x")), _header_values, max_size=3
)
_error_documents = st.recursive(
    st.one_of(json_values, st.just(f"no such key {KEY}"), st.just(f"<html>{KEY}")),
    lambda inner: st.one_of(
        st.builds(lambda name, one: {name: one}, st.sampled_from(("error", "message", "detail")), inner)
    ),
    max_leaves=3,
)
_model_lists = documents(("data", "object"), st.lists(documents(("id", "max_model_len"), json_values), max_size=3))
_tokens = documents(("tokens", "count"), st.one_of(st.lists(st.one_of(integers, json_values), max_size=3), json_values))
_logprobs = st.builds(
    lambda values, best: {"choices": [{"logprobs": {"token_logprobs": values, "top_logprobs": best}}]},
    st.one_of(st.just([None, -1.0, 10**400]), st.lists(st.one_of(st.none(), integers, st.floats()), max_size=4),
    json_values),
    st.one_of(st.just([None, {"a": -1.0}, {"a": 1}]), st.lists(st.dictionaries(texts, st.one_of(st.floats(), integers),
    max_size=2),
                                                            max_size=4), json_values),
)  # fmt: skip
_bodies = st.one_of(
    st.one_of(_error_documents, _model_lists, _tokens, _logprobs, json_values).map(json_bytes), st.binary(max_size=30),
    among((b"[" * 100_000, b'{"error":' * 5000 + b"1" + b"}" * 5000, b"", b"null", b'{"error": "\\ud800"}',
    b"<html>")),
    _streams.map(lambda case: b"".join(case[0])),
)  # fmt: skip
_responses = st.tuples(_statuses, _headers, _bodies)


def _client(status: int, headers: dict[str, str], body: bytes) -> EndpointClient:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=headers, content=body)

    client = EndpointClient("http://127.0.0.1:9/v1", EndpointSettings(retries=0, timeout_s=5), KEY)
    client._http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return client


async def _asked(case: tuple[int, dict[str, str], bytes]) -> None:
    client = _client(*case)
    settings = EndpointSettings(retries=0)
    routes = Routes(client, "m", settings)

    async def streamed() -> None:
        answer = Answer(0)
        async for at, event in client.events("/chat/completions", routes.body(GenerationRequest((), 4, text="x"))):
            answer.add(at, event)
        answer.done()

    asks: list[Callable[[], Awaitable[Any]]] = [
        lambda: client.ask("GET", "/models"), streamed, lambda: routes.tokenize("x"), lambda: _echoed(client, "m", [1,
        2, 3]),
    ]  # fmt: skip
    try:
        for ask in asks:
            try:
                await ask()
            except EngineError as error:
                told = str(error)
                assert KEY not in told
                assert len(told) < 1000
                assert all(c.isprintable() for c in told)
    finally:
        await client.close()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _endpoint(case: tuple[int, dict[str, str], bytes]) -> None:
    _loop().run_until_complete(_asked(case))


SURFACES = (
    Surface(
        "Events of a stream", _streams, _events, share=2,
        examples=(([b'data: {"choices": [{"text": "x"}], "usage": {"completion_tokens": 1000000000000}}\n\n'], []),),
    ),
    Surface(
        "Responses of endpoints", _responses, _endpoint, share=2,
        examples=((429, {"retry-after": "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"}, b""), (200, {},
            b"[" * 100_000),
                  (500, {}, b'{"error":' * 400 + b"1" + b"}" * 400)),
    ),
)  # fmt: skip
