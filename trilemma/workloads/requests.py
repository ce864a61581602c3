"""What a workload asks and when: its prompts and lengths, made or recorded, and the schedule that they come on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trilemma.engines.base import GenerationRequest, LoadedModel, Prompt, TextModel
from trilemma.errors import ContextError, TrilemmaError
from trilemma.schema import WorkloadSpec
from trilemma.workloads.load import ClosedLoop, OpenLoop, Schedule, poisson
from trilemma.workloads.prompts import PROMPT_SETS, exact_prompt, template_parts
from trilemma.workloads.text import passage, question
from trilemma.workloads.traces import TraceLine

Trace = Sequence[TraceLine]
_LEAST_WORDS = 8


class Ask(NamedTuple):
    """A prompt and the length of the answer that is asked for."""

    prompt: Prompt
    output_tokens: int

    def request(self, spec: WorkloadSpec) -> GenerationRequest:
        """As the engine takes it."""
        return GenerationRequest(
            prompt=self.prompt.tokens,
            text=self.prompt.text,
            max_tokens=self.output_tokens,
            ignore_eos=True,
            seed=spec.seed,
        )


def schedule(spec: WorkloadSpec, count: int, trace: Trace = ()) -> Schedule:
    """When ``count`` requests come: as a Poisson process where a rate is set, as recorded where a trace says when, else
    as users ask.
    """
    if spec.rate is not None:
        return poisson(spec.rate, count, spec.seed)
    times = [line.arrival_s for line in trace[:count] if line.arrival_s is not None]
    if times:
        return OpenLoop([at - times[0] for at in times])
    return ClosedLoop(spec.concurrency, spec.think_time_s, spec.seed)


def is_open_loop(spec: WorkloadSpec, trace: Trace = ()) -> bool:
    """Whether requests come without waiting for answers."""
    return spec.rate is not None or any(line.arrival_s is not None for line in trace[:1])


def measured_requests(spec: WorkloadSpec, trace: Trace = ()) -> int:
    """How many requests a workload measures: a trace that says when they come has no more than it has."""
    recorded = spec.rate is None and is_open_loop(spec, trace)
    return min(spec.requests, len(trace)) if recorded else spec.requests


def asks(spec: WorkloadSpec, model: LoadedModel, count: int, trace: Trace = ()) -> list[Ask]:
    """``count`` requests, fixed by ``spec.seed``; those of a trace come in its order, and again from its beginning.

    Raises:
        ContextError: a prompt and its answer do not fit the configured context.
        TrilemmaError: there is no such workload.
    """
    case = PROMPT_SETS.get(spec.name)
    if case is None:
        raise TrilemmaError(f"There is no workload named {spec.name!r}.", f"Known: {', '.join(PROMPT_SETS)}.")
    if trace:
        return [_recorded(spec, model, trace[i % len(trace)], i) for i in range(count)]
    if not spec.length_spread:
        return [Ask(prompt, spec.output_tokens) for prompt in case.prompts(spec, model, count)]
    return [
        Ask(_made(model, prompt_tokens, spec.seed * 1_000_003 + i), output_tokens)
        for i, (prompt_tokens, output_tokens) in enumerate(lengths(spec, model, count))
    ]


def lengths(spec: WorkloadSpec, model: LoadedModel, count: int) -> list[tuple[int, int]]:
    """Prompt and output lengths, log-normal with the workload's means and ``length_spread`` as their coefficient of
    variation; cut to what the chat template needs at least and the context holds at most.

    For a mean m and a coefficient of variation c, the logarithm has the variance s2 = ln(1 + c^2) and the mean
    ln(m) - s2 / 2 (Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions, 1994, chapter 14).
    """
    rng = np.random.default_rng(spec.seed)
    variance = math.log1p(spec.length_spread**2)

    def drawn(mean: int) -> list[int]:
        values = rng.lognormal(math.log(mean) - variance / 2, math.sqrt(variance), count)
        return [round(value) for value in values.tolist()]

    least = _LEAST_WORDS if isinstance(model, TextModel) else sum(map(len, template_parts(model))) + _LEAST_WORDS
    room = model.context_length
    found = []
    for prompt, output in zip(drawn(spec.prompt_tokens), drawn(spec.output_tokens), strict=True):
        kept = min(max(2, output), max(2, room - least))
        found.append((min(max(least, prompt), max(1, room - kept)), kept))
    return found


def _made(model: LoadedModel, tokens: int, seed: int) -> Prompt:
    return exact_prompt(model, f"{passage(seed, tokens)} {question(seed)}", tokens)


def _recorded(spec: WorkloadSpec, model: LoadedModel, line: TraceLine, position: int) -> Ask:
    output = line.output_tokens or spec.output_tokens
    if line.conversation:
        prompt = _said(model, line)
    else:
        prompt = _made(model, line.prompt_tokens or spec.prompt_tokens, spec.seed * 1_000_003 + position)
    needed = (prompt.length or len(prompt.tokens)) + output
    if needed > model.context_length:
        raise ContextError(
            f"Request {position + 1} of the trace needs {needed} tokens of context, the configuration has "
            f"{model.context_length}.",
            f"Set context to at least {needed}, or shorten the trace.",
        )
    return Ask(prompt, output)


def _said(model: LoadedModel, line: TraceLine) -> Prompt:
    if isinstance(model, TextModel):
        return Prompt((), text=line.conversation[-1]["content"], length=line.prompt_tokens or 0)
    tokens = model.chat_prompt(line.conversation)
    return Prompt(tokens, length=len(tokens))
