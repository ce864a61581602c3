"""What other servers answer that are no engine: Prometheus, a list of models, the hub, a judge; and what machines of a
cluster send each other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import zlib
from typing import Any
from unittest.mock import patch

import httpx2 as httpx
from hypothesis import strategies as st

from tests.fuzz.inputs import NUMBERS, among, changed, documents, floats, integers, json_bytes, json_values, texts
from tests.fuzz.streams import _model_lists, _responses, _statuses
from tests.fuzz.surface import Surface, scratch
from trilemma.catalog.endpoints import served_models
from trilemma.catalog.hub import HubSource
from trilemma.engines.remote import PowerQuery
from trilemma.errors import MeterError
from trilemma.jobs.parcel import Greeting, Parcel, Report, pack, unpack
from trilemma.meters.prometheus import CHANNEL, PrometheusMeter
from trilemma.records import WholeRun
from trilemma.settings import Settings
from trilemma.suites.custom.judge import _content, verdict

_Response = tuple[int, dict[str, str], bytes]
_ADDRESS = "http://127.0.0.1:9/v1"


def _transport(response: _Response) -> httpx.MockTransport:
    status, headers, body = response
    return httpx.MockTransport(lambda _: httpx.Response(status, headers=headers, content=body))


def _answers(document: st.SearchStrategy[Any]) -> st.SearchStrategy[_Response]:
    """Responses that mostly have such a document."""
    nearly = st.tuples(_statuses, st.just({}), document.map(json_bytes))
    return st.one_of(nearly, nearly, _responses)


# Prometheus


_value = st.one_of(st.sampled_from(NUMBERS), floats.map(repr), integers, floats, texts)
_pair = st.one_of(st.tuples(st.one_of(floats, integers), _value).map(list), json_values)
_series = st.lists(st.one_of(st.builds(lambda pair: {"metric": {}, "value": pair}, _pair), json_values), max_size=2)
_result = st.one_of(_series, _pair, json_values)
_queried = st.builds(lambda result: {"status": "success", "data": {"result": result}}, _result)
_metered = st.tuples(st.sampled_from(("W", "J")), st.lists(_answers(_queried), min_size=1, max_size=3))


def _meter(case: tuple[Any, list[_Response]]) -> None:
    """Whatever is answered, it is one number or said to be none, and the next question is asked."""
    unit, responses = case
    meter = PrometheusMeter(PowerQuery("http://127.0.0.1:9", "x", unit))
    for response in responses:
        with httpx.Client(transport=_transport(response)) as client:
            meter._ask(client)
        try:
            found = meter.read(0.0)
        except MeterError as error:
            assert str(error).isprintable()
        else:
            assert CHANNEL in found
            assert all(map(math.isfinite, found.values()))


def _vector(*values: Any) -> _Response:
    return 200, {}, json_bytes({"data": {"result": [{"value": [0, value]} for value in values]}})


# Lists of models


def _served(response: _Response) -> None:
    client = functools.partial(httpx.Client, transport=_transport(response))
    # Where a name leads is looked up before, which is no part of reading the answer.
    with patch("trilemma.catalog.endpoints.refuse_metadata"), patch("trilemma.catalog.endpoints.httpx.Client", client):
        names = served_models(_ADDRESS)
    assert all(name.isprintable() and 0 < len(name) <= 200 for name in names)


# Repositories on the hub


_sibling = documents(("rfilename", "size", "blob_id", "lfs"), st.one_of(st.just("x-Q8_0.gguf"), integers, json_values))
_card = documents(("license", "base_model", "base_model_relation", "tags"))
_entry = st.builds(
    lambda entry, more: entry | more,
    st.one_of(st.just({"id": "owner/x-GGUF"}), st.just({})),
    documents(
        ("id", "downloads", "gated", "siblings", "tags", "cardData", "createdAt", "lastModified"),
        st.one_of(integers, texts, st.lists(_sibling, max_size=2), _card, json_values),
    ),
)
_found = st.one_of(st.lists(st.one_of(_entry, _entry, json_values), max_size=3), json_values)


def _hub(response: _Response) -> None:
    def get(*_: Any, **__: Any) -> Any:
        return httpx.Client(transport=_transport(response)).get("http://127.0.0.1:9/api/models")

    source = HubSource(Settings(home=scratch() / "home"))
    with patch("huggingface_hub.get_session", lambda: type("Session", (), {"get": staticmethod(get)})):
        for repository in source.search("x"):
            assert repository.name.isprintable()


def _hub_ready() -> None:
    import huggingface_hub.utils  # noqa: F401 -- reads files while it is imported
    from huggingface_hub import ModelInfo, get_session  # noqa: F401


# Judges


_said = st.one_of(texts, st.sampled_from(("VERDICT: CORRECT", "x\nVERDICT: INCORRECT", "VERDICT: CORRECT\nx")))
_message = documents(("content", "role", "refusal"), st.one_of(_said, json_values))
_choice = documents(("message", "text", "index"), st.one_of(_message, json_values))
_ruled = documents(("choices", "error"), st.one_of(st.lists(_choice, max_size=2), json_values))


def _judged(document: Any) -> None:
    said = _content(document)
    assert isinstance(said, str)
    assert verdict(said) in (True, False, None)
    json.dumps(said)


# Machines of a cluster


_KINDS = (Greeting, Report, Parcel, WholeRun)
_document = documents(tuple(sorted({name for kind in _KINDS for name in kind.model_fields})))
_packed = st.one_of(
    _document.map(json_bytes).map(zlib.compress), changed(pack(Report(fraction=0.5, note="x"))), st.binary(max_size=40),
    among((b"", zlib.compress(b"[" * 100_000), zlib.compress(b"null"), zlib.compress(b"9" * 5000))),
)  # fmt: skip


def _unpacked(case: tuple[int, bytes]) -> None:
    kind = _KINDS[case[0]]
    with contextlib.suppress(ValueError):
        assert isinstance(unpack(kind, case[1]), kind)


SURFACES = (
    Surface(
        "Answers of Prometheus", _metered, _meter, share=1,
        examples=(("W", [_vector(10**400)]), ("J", [_vector("5"), _vector("1e308"), _vector("nan")]),
                  ("W", [_vector(1, 2)]), ("W", [(200, {}, b"[" * 100_000)])),
    ),
    Surface(
        "Lists of models", _answers(_model_lists), _served, share=1,
        examples=((200, {}, b"[" * 100_000), (200, {}, b'{"data": [{"id": ' + b"9" * 5000 + b"}]}")),
    ),
    Surface(
        "Repositories on the hub", _answers(_found), _hub, share=1, watched=False, prepare=_hub_ready,
        examples=((200, {}, b"null"), (200, {}, b"[1]"), (200, {}, b'[{"id": "a/b", "downloads": "x"}]'),
                  (400, {}, b"[]"), (200, {}, b"[" * 100_000)),
    ),
    Surface("Answers of a judge", st.one_of(_ruled, json_values), _judged, share=1),
    Surface(
        "Documents of a cluster", st.tuples(st.integers(0, len(_KINDS) - 1), _packed), _unpacked, share=1,
        examples=((0, zlib.compress(b"[" * 100_000)),),
    ),
)  # fmt: skip
