"""Log-probabilities of continuations, and whole rows of logits, out of vLLM."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trilemma.engines.base import ChoiceRequest, ChoiceScore, FloatArray
from trilemma.engines.streams import LoopThread
from trilemma.errors import ContextError, EngineError

_counter = itertools.count()


class Prompts:
    """Prompts whose log-probabilities are wanted.

    Args:
        engine: vLLM's asynchronous engine.
        lora: Its request for the adapter that is applied; None without one.
    """

    def __init__(self, engine: Any, lora: Any = None) -> None:
        self.engine = engine
        self._lora = lora
        config = engine.vllm_config
        self.longest = int(config.model_config.max_model_len) - 1
        """Tokens of a prompt: one more is always asked for."""
        self.longest_at_once = min(self.longest, int(config.scheduler_config.max_num_batched_tokens))

    async def logprobs(self, tokens: Sequence[int]) -> list[Any]:
        """vLLM's log-probability and rank of each token of a prompt, given those before it; None for the first."""
        from vllm import SamplingParams  # noqa: PLC0415
        from vllm.inputs import tokens_input  # noqa: PLC0415

        sampling = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        result = None
        name = f"score-{next(_counter)}"
        async for output in self.engine.generate(tokens_input(list(tokens)), sampling, name, lora_request=self._lora):
            result = output.prompt_logprobs or result
        if result is None or len(result) != len(tokens):
            raise EngineError("vLLM gave no log-probabilities of the prompt.", "Measure with another version of vLLM.")
        return [None if entry is None else entry[token] for entry, token in zip(result, tokens, strict=True)]


def score_choices(
    thread: LoopThread, prompts: Prompts, at_once: int, requests: Sequence[ChoiceRequest]
) -> Iterator[ChoiceScore]:
    """See :meth:`trilemma.engines.vllm.model.LoadedVllm.score_choices`.

    Raises:
        ContextError: a context with its continuation does not fit.
        EngineError: a context or a continuation is empty.
    """
    for request in requests:
        longest = len(request.context) + max(map(len, request.continuations), default=0)
        if longest > prompts.longest:
            raise ContextError(
                f"A question of {longest} tokens does not fit: {prompts.longest} do.",
                f"Set a context of at least {longest + 1} tokens.",
            )
        if not request.context or not all(request.continuations):
            raise EngineError("A question needs a context and continuations of at least one token each.")

    async def score(some: Sequence[ChoiceRequest]) -> list[ChoiceScore]:
        texts = [[*r.context, *continuation] for r in some for continuation in r.continuations]
        told = iter(await asyncio.gather(*(prompts.logprobs(text) for text in texts)))
        scores = []
        for request in some:
            ends = [next(told)[len(request.context) :] for _ in request.continuations]
            scores.append(
                ChoiceScore(
                    logprobs=[float(sum(entry.logprob for entry in end)) for end in ends],
                    greedy=[all(entry.rank == 1 for entry in end) for end in ends],
                )
            )
        return scores

    # As many questions at a time as keep the slots busy, so that answers are told as they come.
    for start in range(0, len(requests), at_once):
        yield from thread.run(score(requests[start : start + at_once]))


def chunk_logits(
    thread: LoopThread, prompts: Prompts, chunks: Sequence[Sequence[int]], first: int
) -> Iterator[FloatArray]:
    """See :meth:`trilemma.engines.vllm.model.LoadedVllm.logits`.

    Asking for a prompt's log-probabilities makes vLLM compute the logits of every position; its workers keep them.
    """
    longest = max(map(len, chunks), default=0)
    engine, room = prompts.engine, prompts.longest_at_once
    if longest > room:
        raise ContextError(
            f"A chunk of {longest} tokens does not fit: vLLM gives the logits of at most {room} here.",
            "Use shorter chunks, or a longer context and a larger batch.",
        )
    if chunks and not 0 <= first < min(map(len, chunks)):
        raise EngineError(f"A chunk of {min(map(len, chunks))} tokens has no logits from position {first} on.")
    thread.run(engine.collective_rpc("trilemma_keep_logits"))
    try:
        with tempfile.TemporaryDirectory(prefix="trilemma-logits-") as folder:
            path = Path(folder) / "rows.npy"
            for chunk in chunks:
                thread.run(prompts.logprobs(chunk))
                counts = thread.run(engine.collective_rpc("trilemma_write_logits", args=(str(path),)))
                if max(counts) != len(chunk):
                    raise EngineError(
                        f"vLLM computed {max(counts)} rows of logits for {len(chunk)} tokens.",
                        "Measure with another version of vLLM.",
                    )
                yield np.load(path, allow_pickle=False)[first:]
    finally:
        thread.run(engine.collective_rpc("trilemma_drop_logits"))
