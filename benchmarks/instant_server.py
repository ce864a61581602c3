"""A server with OpenAI's completions route that answers at once: each chunk's text is when it was sent, ns.

The last word of the prompt is the pause between two tokens, s, unless one is given.

``python -m benchmarks.instant_server PORT [PAUSE]`` serves until it is ended. Times are ``perf_counter_ns``, one clock
for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import partial

_AROUND = json.dumps(
    {
        "id": "cmpl-0123456789abcdef", "object": "text_completion", "created": 1700000000, "model": "served",
        "choices": [{"index": 0, "text": "@", "logprobs": None, "finish_reason": None, "stop_reason": None}],
        "usage": {"prompt_tokens": 64, "total_tokens": 65, "completion_tokens": "#"},
    }
)  # fmt: skip


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause_s: float | None = None) -> None:
    """Every request of a connection."""
    before, between, after = _AROUND.replace('"#"', "#").replace("@", "#", 1).split("#")
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:] if ": " in line)
            asked = json.loads(await reader.readexactly(int(fields.get("content-length", 0))) or b"{}")
            if head.startswith(b"GET "):  # the models, or whether it is well
                body = b'{"data": [{"id": "served", "max_model_len": 100000}]}'
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                continue
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            for count in range(1, asked["max_tokens"] + 1):
                text = f"data: {before}{time.perf_counter_ns()} {between}{count}{after}\n\n".encode()
                writer.write(b"%x\r\n%s\r\n" % (len(text), text))
                await writer.drain()
                # Each token in a packet of its own, as a real server sends it; the prompt may ask for a pause, s.
                if count < asked["max_tokens"]:
                    await asyncio.sleep(float(asked["prompt"].split()[-1]) if pause_s is None else pause_s)
            usage = {"prompt_tokens": 64, "total_tokens": 64 + count, "completion_tokens": count}
            last = f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode()
            writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(port: int, pause_s: float | None = None) -> None:
    """Until the process ends."""
    server = await asyncio.start_server(partial(answer, pause_s=pause_s), "127.0.0.1", port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), *map(float, sys.argv[2:3])))
