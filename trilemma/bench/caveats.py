"""What is to be known of a workload's figures, out of its requests: said where the figures are, not in a log."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from trilemma.records import RequestRecord
from trilemma.schema import Measurement
from trilemma.workloads.latency import complete

_PER_TOKEN = frozenset(
    {"tpot_s", "decode_tps", "prefill_tps", "output_tps", "goodput", "energy_per_token_j", "cost_per_million_tokens"}
)
_OF_PROMPTS = frozenset({"ttft_s", "e2e_s", "prefill_tps", "energy_j", "energy_per_token_j", "energy_per_request_j"})
_OF_LENGTH = frozenset({"e2e_s", "request_rate", "goodput", "energy_j", "energy_per_token_j", "energy_per_request_j"})


def with_caveats(
    measurements: Sequence[Measurement], workload: str, requests: Sequence[RequestRecord], asked_tokens: int | None
) -> list[Measurement]:
    """``measurements`` with the reasons added to those that they concern.

    Args:
        measurements: Of the run.
        workload: The subject of those that ``requests`` gave.
        requests: Of the workload, warm-up included.
        asked_tokens: How long every answer was to be; None where lengths differ.
    """
    found = list(_caveats(complete(requests), asked_tokens))
    return [_noted(m, [text for figures, text in found if m.figure in figures]) if m.subject == workload else m
            for m in measurements]  # fmt: skip


def _caveats(whole: Sequence[RequestRecord], asked_tokens: int | None) -> Iterator[tuple[Collection[str], str]]:
    def of(count: int) -> str:
        return f"{count} of {len(whole)}"

    if guessed := sum(r.token_timing == "estimate" for r in whole):
        yield _PER_TOKEN, f"estimated: of {of(guessed)} answers the server did not count tokens, so that chunks were"
    # Where the server does not count, nothing is known to have been read, which is not the same as cached.
    if cached := sum(0 < r.prefilled_tokens < r.prompt_tokens for r in whole):
        yield _OF_PROMPTS, f"the server took a part of {of(cached)} prompts from its cache"
    if asked_tokens and (early := sum(r.output_tokens < asked_tokens for r in whole)):
        yield _OF_LENGTH, f"{of(early)} answers ended before the {asked_tokens} tokens that were asked for"


def _noted(measurement: Measurement, reasons: Sequence[str]) -> Measurement:
    if not reasons:
        return measurement
    provenance = measurement.provenance
    together = (*provenance.reasons, *reasons)
    return measurement.model_copy(update={"provenance": provenance.model_copy(update={"reasons": together})})
