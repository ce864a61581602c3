"""A server on loopback that speaks OpenAI's routes, and misbehaves as it is told to. Real sockets, real HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

Writer = asyncio.StreamWriter
Mode = str


class MisbehavingServer:
    """Answers every request in ``mode``; ``requests`` keeps what was asked, headers included.

    Modes: ok, counted (usage with each chunk), grouped (three tokens a chunk, usage at the end), uncounted, drop,
    stall, garbage, html, error_event, limit_once, limit_always, broken_once, key, nowhere, endless_answer, short,
    endless_event, heartbeat (comments only), redirect, strict (refuses unknown fields), cached, closed_early,
    limit_until (a date), limit_long (an hour), echo (repeats the key). ``broken_off`` counts the clients that left.
    """

    def __init__(self, mode: Mode = "ok") -> None:
        self.mode = mode
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0
        self.broken_off = 0

    def __enter__(self) -> MisbehavingServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split("\r\n", 1)[0].split(" ", 2)
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = json.loads(body) if body else {}
            self.requests.append((path, headers, asked))
            await self._answer(method, path, asked, writer)
        except ConnectionError:
            self.broken_off += 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, method: str, path: str, asked: dict[str, Any], writer: Writer) -> None:
        if path.endswith("/models"):
            await _whole(writer, 200, {"object": "list", "data": [{"id": "tiny", "max_model_len": 512}]})
        elif not path.endswith("completions"):
            await _whole(writer, 404, {"error": {"message": "no such route"}})
        elif self.mode == "echo":
            told = "Invalid token. " * 12 + f"Received {self.requests[-1][1].get('authorization')}"
            await _whole(writer, 401, {"error": {"message": told}})
        else:
            count = sum(where.endswith("completions") for where, _, _ in self.requests)
            special = _WHOLE.get(self.mode)
            if special is not None and await special(writer, asked, count):
                return
            await self._stream(writer, asked)

    async def _stream(self, writer: Writer, asked: dict[str, Any]) -> None:
        chat = "messages" in asked
        text = asked["messages"][-1]["content"] if chat else asked["prompt"]
        prompt_tokens = len(text.split()) + (10 if chat else 0)
        total = int(asked["max_tokens"])
        mode = self.mode
        wanted = {"short": max(1, total // 2), "endless_answer": 100_000}.get(mode, total)
        await _head(writer, "text/event-stream")
        options = asked.get("stream_options") or {}
        each = 3 if mode == "grouped" else 1
        sent = 0
        if chat:
            await _event(writer, _chunk(chat, "", None))
        while sent < wanted:
            if sent >= 2 and mode in _IN_THE_MIDDLE:
                await _IN_THE_MIDDLE[mode](writer)
                return
            step = min(each, wanted - sent)
            sent += step
            chunk = _chunk(chat, " word" * step, None if sent < wanted else "length")
            if options.get("continuous_usage_stats") and mode == "counted":
                chunk["usage"] = {"prompt_tokens": prompt_tokens, "completion_tokens": sent}
            await _event(writer, chunk)
        if options.get("include_usage") and mode != "uncounted":
            usage: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": sent}
            if mode == "cached":
                usage["prompt_tokens_details"] = {"cached_tokens": prompt_tokens - 1}
            await _event(writer, {"choices": [], "usage": usage})
        await _raw(writer, b": keep-alive\r\n\r\n")
        if mode != "closed_early":
            await _raw(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _chunk(chat: bool, text: str, finish: str | None) -> dict[str, Any]:
    part: dict[str, Any] = {"delta": {"content": text}} if chat else {"text": text}
    return {"choices": [{"index": 0, "finish_reason": finish, **part}]}


async def _head(writer: Writer, kind: str, status: str = "200 OK", more: str = "") -> None:
    fields = f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n{more}"
    writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode())
    await writer.drain()


async def _raw(writer: Writer, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await writer.drain()
    await asyncio.sleep(0.001)


async def _event(writer: Writer, document: dict[str, Any]) -> None:
    await _raw(writer, b"data: " + json.dumps(document).encode() + b"\n\n")


async def _whole(writer: Writer, status: int, document: object, more: str = "", kind: str = "application/json") -> bool:
    data = document.encode() if isinstance(document, str) else json.dumps(document).encode()
    fields = f"Content-Type: {kind}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n{more}"
    writer.write(f"HTTP/1.1 {status} X\r\n{fields}\r\n".encode() + data)
    await writer.drain()
    return True


def _status(status: int, message: str, *, first: int = 1_000_000, more: str = "") -> Callable[..., Awaitable[bool]]:
    """Answer the first ``first`` requests with an error."""

    async def answer(writer: Writer, asked: dict[str, Any], count: int) -> bool:
        return count <= first and await _whole(writer, status, {"error": {"message": message}}, more)

    return answer


async def _html(writer: Writer, asked: dict[str, Any], count: int) -> bool:
    return await _whole(writer, 200, "<html><script>alert(1)</script></html>", kind="text/html")


async def _strict(writer: Writer, asked: dict[str, Any], count: int) -> bool:
    options = asked.get("stream_options") or {}
    if "ignore_eos" in asked or "continuous_usage_stats" in options:
        return await _whole(writer, 400, {"error": {"message": "Unrecognized request argument"}})
    return False


async def _limit_until(writer: Writer, asked: dict[str, Any], count: int) -> bool:
    when = formatdate(time.time() + 2, usegmt=True)
    return count <= 1 and await _whole(writer, 429, {"error": {"message": "slow"}}, f"Retry-After: {when}\r\n")


_WHOLE: dict[str, Callable[..., Awaitable[bool]]] = {
    "html": _html,
    "strict": _strict,
    "limit_once": _status(429, "slow down", first=1, more="Retry-After: 0.2\r\n"),
    "limit_always": _status(429, "slow down", more="Retry-After: 0.01\r\n"),
    "limit_until": _limit_until,
    "limit_long": _status(429, "slow down", more="Retry-After: 3600\r\n"),
    "broken_once": _status(500, "oops", first=1),
    "key": _status(401, "Incorrect API key provided"),
    "nowhere": _status(404, "The model `x` does not exist"),
    "redirect": _status(307, "elsewhere", more="Location: http://192.0.2.1/v1/completions\r\n"),
}


async def _drop(writer: Writer) -> None:
    writer.transport.abort()


async def _stall(writer: Writer) -> None:
    await asyncio.sleep(3600)


async def _heartbeat(writer: Writer) -> None:
    for _ in range(400):
        await _raw(writer, b": still here\n\n")
        await asyncio.sleep(0.05)


async def _garbage(writer: Writer) -> None:
    await _raw(writer, b"data: {not json \xff\xfe\x1b[31m\n\n")


async def _endless_event(writer: Writer) -> None:
    for _ in range(40):
        await _raw(writer, b"data: " + b"x" * 65536)


async def _error_event(writer: Writer) -> None:
    await _event(writer, {"error": {"message": "CUDA out of memory"}})


_IN_THE_MIDDLE: dict[str, Callable[[Writer], Awaitable[None]]] = {
    "drop": _drop,
    "stall": _stall,
    "garbage": _garbage,
    "heartbeat": _heartbeat,
    "endless_event": _endless_event,
    "error_event": _error_event,
}
