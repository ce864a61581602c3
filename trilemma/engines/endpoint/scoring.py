"""Log-probabilities of prompts, from servers that echo them (vLLM, SGLang).

llama-cpp-python's server (0.3.36) echoes them one token off: what stands beside a token is its probability *after*
itself. It takes no tokens as a prompt, so it is refused here, and must not be asked in text instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from trilemma.engines.base import ChoiceRequest, ChoiceScore
from trilemma.engines.endpoint.client import EndpointClient, RequestRefusedError
from trilemma.engines.streams import LoopThread
from trilemma.errors import NotOfferedError

_NOT_OFFERED = "This server does not tell the log-probabilities of a prompt's tokens."
_HINT = "Suites need them: measure the weights themselves with llama.cpp or vLLM."


async def _echoed(client: EndpointClient, model: str, tokens: Sequence[int]) -> list[tuple[float, bool]]:
    """Of each token but the first: its log-probability, and whether it was the most probable."""
    body = {
        "model": model, "prompt": list(tokens), "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1,
    }  # fmt: skip
    try:
        answer = await client.ask("POST", "/completions", body, once=True)
    except RequestRefusedError as error:
        # Some servers crash on a prompt of tokens instead of refusing it.
        if error.status in (400, 404, 405, 422, 500, 501):
            raise NotOfferedError(_NOT_OFFERED, _HINT) from error
        raise
    try:
        told: Any = answer["choices"][0]["logprobs"]
        values, best = told["token_logprobs"][: len(tokens)], told["top_logprobs"][: len(tokens)]
        # Were the text tokenised again, or the prompt not echoed, there would be another number of them.
        if len(values) != len(tokens) or values[0] is not None:
            raise NotOfferedError(_NOT_OFFERED, _HINT)
        return [(float(v), float(v) >= max(map(float, b.values()))) for v, b in zip(values[1:], best[1:], strict=True)]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NotOfferedError(_NOT_OFFERED, _HINT) from error


def score_choices(
    thread: LoopThread, client: EndpointClient, model: str, at_once: int, requests: Sequence[ChoiceRequest]
) -> Iterator[ChoiceScore]:
    """Scores in the order of ``requests``; each choice is evaluated with its whole context.

    Raises:
        NotOfferedError: the server does not echo prompts with their log-probabilities.
    """

    async def score(request: ChoiceRequest) -> ChoiceScore:
        texts = [[*request.context, *continuation] for continuation in request.continuations]
        told = await asyncio.gather(*(_echoed(client, model, text) for text in texts))
        ends = [each[len(request.context) - 1 :] for each in told]
        return ChoiceScore([sum(value for value, _ in end) for end in ends], [all(g for _, g in end) for end in ends])

    async def several(some: Sequence[ChoiceRequest]) -> list[ChoiceScore]:
        return list(await asyncio.gather(*(score(request) for request in some)))

    step = max(1, min(16, at_once // 4))
    for start in range(0, len(requests), step):
        yield from thread.run(several(requests[start : start + step]))
