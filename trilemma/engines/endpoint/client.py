"""HTTP to an OpenAI-compatible server: streams, retries with pauses, and errors that say what is wrong.

The key goes into the header of a request and nowhere else: no message quotes a request.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2 as httpx

from trilemma.catalog.addresses import refuse_peer_async
from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.engines.endpoint.sse import EventParser
from trilemma.errors import EngineError

MAX_BODY_BYTES = 8 << 20
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0
_LONGEST_ASKED_S = 300.0
"""A server that asks to wait longer is taken at its word: the request fails instead of asking too early."""
_QUOTED_CHARS = 200
_DEEPEST = 8
"""Levels of an error document that are looked through."""
_HINTS = {
    401: "The key is wrong or missing: set the environment variable that api_key_env names.",
    403: "The key may not use this model: ask who runs the server.",
    404: "The address or the model's name is wrong: the address ends with /v1 as a rule.",
    429: "The server limits how often it may be asked: use fewer users, or raise retries.",
}


class RequestRefusedError(EngineError):
    """The server answered with an error status, or not as these routes do.

    Attributes:
        status: HTTP status; 0 without an answer.
        retry_after_s: How long the server asks to wait, s; None if it does not.
    """

    def __init__(self, message: str, hint: str = "", *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def passing(self) -> bool:
        """Whether the same request may go through later."""
        return self.status in (0, 408, 409, 425, 429) or self.status >= 500


class EndpointClient:
    """One server, asked with a limited number of connections.

    Args:
        base_url: With the path that routes are under, ``/v1`` as a rule.
        settings: Time limits and retries.
        key: Sent as a bearer token; empty for none.
    """

    def __init__(self, base_url: str, settings: EndpointSettings, key: str = "") -> None:
        self._settings = settings
        self._key = key
        self._base = base_url.rstrip("/")
        self._http = httpx.AsyncClient(
            # Compressed, a stream would come in larger pieces than the server gave it.
            headers={"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=httpx.Timeout(settings.timeout_s, connect=min(10.0, settings.timeout_s), pool=None),
            limits=httpx.Limits(max_connections=settings.slots, max_keepalive_connections=settings.slots),
            # A redirect could carry the key to somebody else.
            follow_redirects=False,
            trust_env=False,
            event_hooks={"response": [refuse_peer_async]},
        )
        self._random = random.Random(0)  # noqa: S311 -- spreads retries, keeps no secret
        self._not_before = 0.0
        self.retried = 0

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(
        self, method: str, route: str, body: dict[str, Any] | None = None, *, root: bool = False, once: bool = False
    ) -> Any:
        """The JSON answer of a route; ``root`` for one beside the base path. Asked again as the settings say, unless
        only ``once``.

        Raises:
            RequestRefusedError: there is no answer, or one that says no.
        """
        for attempt in range(self._settings.retries + 1):
            await self._turn()
            try:
                return await self._ask(method, route, body, root)
            except RequestRefusedError as error:
                if once or not error.passing or attempt == self._settings.retries:
                    raise
                await self._pause(attempt, error)
        raise AssertionError("unreachable")

    async def _ask(self, method: str, route: str, body: dict[str, Any] | None, root: bool) -> Any:
        base = self._base.removesuffix("/v1") if root else self._base
        try:
            async with self._http.stream(method, base + route, json=body) as response:
                content = await self._body(response)
        except httpx.HTTPError as error:
            raise _no_answer(error) from error
        if response.status_code != 200:
            raise self._refused(response, content)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise RequestRefusedError(
                f"The server's answer is no JSON ({self._kind(response)}).", _HINTS[404], status=response.status_code
            ) from error

    async def events(self, route: str, body: dict[str, Any]) -> AsyncGenerator[tuple[int, dict[str, Any]], None]:
        """The events of a streamed answer, each with when its bytes came (``perf_counter_ns``).

        Sent again after a passing error, as long as no event has come.

        Raises:
            RequestRefusedError: there is no answer, or one that says no.
            EngineError: the stream broke off, fell silent or made no sense.
        """
        for attempt in range(self._settings.retries + 1):
            begun = False
            await self._turn()
            try:
                async with aclosing(self._events(route, body)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except RequestRefusedError as error:
                if begun or not error.passing or attempt == self._settings.retries:
                    raise
                await self._pause(attempt, error)

    async def _events(self, route: str, body: dict[str, Any]) -> AsyncGenerator[tuple[int, dict[str, Any]], None]:
        parser, ended, answered = EventParser(), False, False
        silence_ns = int(self._settings.timeout_s * 1e9)
        heard_ns = time.perf_counter_ns()
        try:
            async with self._http.stream("POST", self._base + route, json=body) as response:
                answered = True
                if response.status_code != 200:
                    raise self._refused(response, await self._body(response))
                if "text/event-stream" not in response.headers.get("content-type", ""):
                    raise RequestRefusedError(
                        f"The server does not stream: it sent {self._kind(response)}.", _HINTS[404], status=200
                    )
                async for chunk in response.aiter_bytes():
                    now = time.perf_counter_ns()
                    found = parser.feed(chunk)
                    if not found and now - heard_ns > silence_ns:
                        raise self._silent()  # comments keep the connection alive, and say nothing
                    heard_ns = now if found else heard_ns
                    for data in found:
                        if data.strip() == b"[DONE]":
                            ended = True
                            continue
                        yield now, self._event(data)
        except httpx.ReadTimeout as error:
            raise self._silent() from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _no_answer(error) from error
        except httpx.HTTPError as error:
            if not answered:  # such as a connection kept alive that the server closed just then
                raise _no_answer(error) from error
            raise EngineError(
                f"The connection broke off in the middle of an answer ({type(error).__name__}).",
                "See the server's log; it may have crashed.",
            ) from error
        if not ended:
            raise EngineError("The stream ended without saying so.", "See the server's log; it may have crashed.")

    async def _body(self, response: httpx.Response) -> bytes:
        parts, size = [], 0
        async for part in response.aiter_bytes():
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise RequestRefusedError("The server's answer is endless.", _HINTS[404], status=200)
            parts.append(part)
        return b"".join(parts)

    async def _turn(self) -> None:
        """Wait as long as the server asked anybody here to wait."""
        while (left := self._not_before - time.monotonic()) > 0:
            await asyncio.sleep(left)

    async def _pause(self, attempt: int, error: RequestRefusedError) -> None:
        """Full jitter over doubling pauses (Brooker, "Exponential backoff and jitter", 2015), or what is asked for."""
        asked = error.retry_after_s
        if asked is not None and asked > _LONGEST_ASKED_S:
            raise error
        self.retried += 1
        if asked is not None:
            self._not_before = max(self._not_before, time.monotonic() + asked)
            return
        await asyncio.sleep(self._random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)))

    def _silent(self) -> EngineError:
        return EngineError(
            f"The server fell silent for {self._settings.timeout_s:g} s.",
            "It may be overloaded; use fewer users, or raise timeout_s.",
        )

    def _event(self, data: bytes) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict):
            raise EngineError(
                f"The stream makes no sense: {self._quoted(data)}.", "The server does not speak OpenAI's routes."
            )
        if event.get("error"):
            raise EngineError(f"The server gave up: {self._quoted(_told(event))}.", "See the server's log.")
        return event

    def _refused(self, response: httpx.Response, content: bytes) -> RequestRefusedError:
        status = response.status_code
        if 300 <= status < 400:
            return RequestRefusedError(
                "The endpoint redirects elsewhere, which is not followed.", "Give its final address.", status=status
            )
        try:
            told = _told(json.loads(content))
        except (ValueError, RecursionError):
            told = "" if b"<" in content[:100] else content.decode("utf-8", "replace")
        message = f"The server answered with status {status}" + (f": {self._quoted(told)}." if told.strip() else ".")
        return RequestRefusedError(
            message, _HINTS.get(status, "See the server's log."), status=status, retry_after_s=_retry_after(response)
        )

    def _kind(self, response: httpx.Response) -> str:
        return self._quoted(str(response.headers.get("content-type", "nothing known")))[:60]

    def _quoted(self, text: str | bytes) -> str:
        """Words of the server, short and harmless; the key, which some servers repeat, taken out before all else."""
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        plain = plain.replace(self._key, "[the key]") if self._key else plain
        printable = "".join(c if c.isprintable() else " " for c in plain[: 4 * _QUOTED_CHARS])
        return " ".join(printable.split())[:_QUOTED_CHARS].rstrip(". ")


def _no_answer(error: Exception) -> RequestRefusedError:
    what = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "cannot be reached"
    return RequestRefusedError(
        f"The endpoint {what} ({type(error).__name__}).", "Check its address and that the server runs."
    )


def _told(document: Any, depth: int = 0) -> str:
    """The reason in an error document, wherever this server puts it."""
    if isinstance(document, dict):
        for name in ("error", "message", "detail"):
            if name in document and depth < _DEEPEST:
                return _told(document[name], depth + 1)
    try:
        return document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    except RecursionError:
        return "an error nested too deeply"


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, or until a date (RFC 9110, section 10.2.3); None where the server does not say."""
    said = response.headers.get("retry-after", "")
    try:
        seconds = float(said)
    except ValueError:
        try:
            until = parsedate_to_datetime(said)
            seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError, IndexError, OverflowError):  # whatever it trips over
            return None
    return None if math.isnan(seconds) else max(seconds, 0.0)
