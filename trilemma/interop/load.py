"""Speed figures out of what a load generator recorded of each request, by the definitions of a run here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trilemma.interop.base import LeftOut
from trilemma.interop.figures import Source
from trilemma.interop.reading import LEAST
from trilemma.schema import Measurement

WHOLE_RUN = "all tokens over all of the time, ramp-up and drain included, are not the throughput of a steady window"
CHUNKS = "it timed groups of tokens, so the gaps between tokens are unknown"


class Timed(NamedTuple):
    """One answered request: when it was submitted (s, any clock), and what followed from then (s)."""

    sent: float
    ttft: float
    e2e: float
    prompt_tokens: int
    output_tokens: int

    @property
    def tpot(self) -> float:
        """(last token - first token) / (output tokens - 1)."""
        return (self.e2e - self.ttft) / (self.output_tokens - 1)

    @property
    def usable(self) -> bool:
        """Whether it has a time per output token, and times that can be."""
        return self.output_tokens >= 2 and LEAST < self.ttft < self.e2e - LEAST < 1e9


def load_figures(
    source: Source, subject: str, requests: Sequence[Timed], *, alone: bool, failed: int = 0,
    reasons: Sequence[str] = (),
) -> tuple[list[Measurement], list[LeftOut]]:  # fmt: skip
    """Latencies, and where each request had the server to itself also the speeds of prefill and decoding.

    Args:
        source: Of the figures.
        subject: What they are about.
        requests: Those that were answered.
        alone: Whether they came one after the other.
        failed: How many were not answered.
        reasons: What to know of all of them.
    """
    whole = [one for one in requests if one.usable]
    found: list[Measurement] = []
    left_out = []
    if len(whole) < len(requests):
        why = "fewer than two output tokens, or times that cannot be"
        left_out.append(LeftOut(what=f"{len(requests) - len(whole)} requests", why=why))
    if failed:
        asked = failed + len(requests)
        found += source.stated("failed_share", failed / asked, subject, n=asked)
    if not whole:
        return found, left_out
    for figure, values in (
        ("ttft_s", [one.ttft for one in whole]),
        ("tpot_s", [one.tpot for one in whole]),
        ("e2e_s", [one.e2e for one in whole]),
    ):
        found += source.over(figure, values, subject, reasons=reasons)
    if not alone:
        return found, [*left_out, LeftOut(what="throughput", why=WHOLE_RUN)]
    if all(one.prompt_tokens for one in whole):
        speeds = [one.prompt_tokens / one.ttft for one in whole]
        found += source.estimated("prefill_tps", speeds, subject, "median", shown="", reasons=reasons)
    speeds = [1 / one.tpot for one in whole]
    found += source.estimated("decode_tps", speeds, subject, "median", shown="", reasons=reasons)
    seconds = max(one.sent + one.e2e for one in whole) - min(one.sent for one in whole)
    if seconds > 0:
        tokens = sum(one.output_tokens for one in whole)
        found += source.stated("output_tps", tokens / seconds, subject, n=len(whole), reasons=reasons)
        found += source.stated("request_rate", len(whole) / seconds, subject, n=len(whole), reasons=reasons)
    return found, left_out
