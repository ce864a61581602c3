"""A first guess at how long a step takes, before this machine has measured anything."""

from __future__ import annotations

from trilemma import registry
from trilemma.errors import TrilemmaError
from trilemma.schema import Artifact, RunSpec, SuiteSpec, WorkloadSpec
from trilemma.suites.generation import GenerationSuite

# A first guess at a CPU's speed, replaced by the machine's own past runs as soon as there are any.
_MEMORY_BANDWIDTH = 16e9
_PREFILL_PER_DECODE = 4.0
_ITEM_TOKENS = 100
_CHUNK_TOKENS = 512
_FIXED_S = 8.0
_LEAST_BYTES = 100_000_000
"""Stands in for weights whose size is not known: an endpoint's."""


def workload_seconds(artifact: Artifact, spec: WorkloadSpec) -> float:
    """A rough guess: decoding reads all weights once a token, prefill is a few times as quick; a sweep has levels."""
    return sum(_level_seconds(artifact, level) for level in spec.levels())


def _level_seconds(artifact: Artifact, spec: WorkloadSpec) -> float:
    decode_tps = _MEMORY_BANDWIDTH / max(artifact.size_bytes, _LEAST_BYTES)
    per_request = spec.output_tokens / decode_tps + spec.prompt_tokens / (decode_tps * _PREFILL_PER_DECODE)
    # Several at once share the reading of the weights; half the gain is a cautious guess.
    at_once = (1 + spec.concurrency) / 2
    warmups = spec.warmup_requests and max(spec.warmup_requests, spec.concurrency)
    busy = (spec.requests + warmups) * per_request / at_once
    if spec.rate is not None:
        return max(busy, spec.requests / spec.rate + (1 + warmups) * per_request)
    return busy + spec.requests * spec.think_time_s / spec.concurrency


def suite_seconds(artifact: Artifact, spec: SuiteSpec) -> float:
    """A rough guess from tokens evaluated; evaluation is bound by arithmetic, so by parameters and not bits.

    Where answers are written it is that of a workload of so many requests.
    """
    written = _written(spec.name)
    if written is not None:
        requests = WorkloadSpec(
            name=spec.name,
            prompt_tokens=written.prompt_tokens,
            output_tokens=written.answer_tokens,
            requests=(spec.limit or 1000) * written.turns,
            concurrency=spec.concurrency,
        )
        return _level_seconds(artifact, requests)
    prefill_tps = _MEMORY_BANDWIDTH * _PREFILL_PER_DECODE / max(artifact.parameters, artifact.size_bytes, _LEAST_BYTES)
    if spec.name == "divergence":
        return 2 * (spec.limit or 20) * _CHUNK_TOKENS / prefill_tps
    tokens = _CHUNK_TOKENS if spec.name == "perplexity" else _ITEM_TOKENS
    return (spec.limit or 1000) * tokens / prefill_tps


def is_written(suite: str) -> bool:
    """Whether the answers of a suite are written by the model, and so timed and metered."""
    return _written(suite) is not None


def _written(name: str) -> type[GenerationSuite] | None:
    """The class of a suite whose answers are written; None of another, and where it is not installed."""
    try:
        suite = registry.load("trilemma.suites", name)
    except (TrilemmaError, ImportError):
        return None
    return suite if isinstance(suite, type) and issubclass(suite, GenerationSuite) else None


def run_seconds(artifact: Artifact, run: RunSpec) -> float:
    """A rough guess at the length of one run, s."""
    return (
        _FIXED_S
        + run.idle_s
        + sum(workload_seconds(artifact, workload) for workload in run.workloads)
        + sum(suite_seconds(artifact, suite) for suite in run.suites)
    )
