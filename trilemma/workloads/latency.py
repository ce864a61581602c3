"""The arithmetic of latency: per-request figures, and their percentiles with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trilemma.records import RequestRecord
from trilemma.schema import LatencyLimits

Array = npt.NDArray[np.float64]

NEEDED = {"mean": 1, "median": 1, "p90": 10, "p95": 20, "p99": 100}
"""The smallest sample for which each statistic is reported; with fewer it would be an invention."""

_QUANTILE = {"median": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0}
_RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval (None where one observation gives none)."""

    value: float
    low: float | None
    high: float | None
    n: int


def statistic(name: str) -> Callable[..., Array]:
    """The function behind a statistic's name, over the last axis; percentiles interpolate linearly."""
    if name == "mean":
        return lambda values, axis=-1: np.asarray(np.mean(values, axis=axis))
    quantile = _QUANTILE[name]
    return lambda values, axis=-1: np.asarray(np.percentile(values, quantile, axis=axis))


def bootstrap(data: tuple[Array, ...], function: Callable[..., Array], seed: int = 0) -> Estimate:
    """``function(*data)`` with its 95 % percentile bootstrap interval; the arrays are resampled together.

    Args:
        data: Arrays of shape (n,), one value a request.
        function: Vectorised over the last axis.
        seed: Of the resampling, so that a figure is repeatable.
    """
    value = float(function(*data, axis=-1))
    n = len(data[0])
    if n < 2 or all(np.ptp(values) == 0 for values in data):
        return Estimate(value, None, None, n) if n < 2 else Estimate(value, value, value, n)
    from scipy import stats  # noqa: PLC0415 (50 MB, which are no part of what the measured process needs)

    result = stats.bootstrap(
        data, function, paired=True, vectorized=True, n_resamples=_RESAMPLES, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return Estimate(value, float(result.confidence_interval.low), float(result.confidence_interval.high), n)


def ttft_s(record: RequestRecord) -> float:
    """Submission to first token, s."""
    return (record.token_times_ns[0] - record.submitted_ns) / 1e9


def tpot_s(record: RequestRecord) -> float:
    """(last token - first token) / (tokens - 1), s."""
    times = record.token_times_ns
    return (times[-1] - times[0]) / 1e9 / (len(times) - 1)


def e2e_s(record: RequestRecord) -> float:
    """Submission to last token, s."""
    return (record.token_times_ns[-1] - record.submitted_ns) / 1e9


def itl_s(records: Sequence[RequestRecord]) -> Array:
    """The gaps between successive tokens of all requests, s; shape (gaps,)."""
    gaps = [np.diff(np.array(record.token_times_ns, dtype=np.int64)) for record in records]
    return np.concatenate(gaps).astype(np.float64) / 1e9 if gaps else np.empty(0)


def complete(records: Sequence[RequestRecord]) -> list[RequestRecord]:
    """The measured requests that ended well and have a time per output token: no warm-up, at least two tokens."""
    return [r for r in records if not r.warmup and not r.error and len(r.token_times_ns) >= 2]


def steady_window(
    records: Sequence[RequestRecord], concurrency: int = 1, *, open_loop: bool = False
) -> tuple[int, int] | None:
    """When the set load held, ns; None where it never did.

    In an open loop: from when the first answer has ended, for until then the server fills up, to the last arrival.

    With several users: from when as many requests as there are users have each given a first token, until the first
    answer ends after which nobody has anything left to ask. One request at a time, concurrency 1 holds from the first
    submission to the last token, and the window is made of whole requests: starting it at the first token would leave
    one prefill out of a handful.
    """
    whole = complete(records)
    if not whole or len(whole) < concurrency:
        return None
    if open_loop:
        start, end = min(r.token_times_ns[-1] for r in whole), max(r.submitted_ns for r in whole)
        return (start, end) if end > start else None
    if concurrency == 1:
        return min(r.submitted_ns for r in whole), max(r.token_times_ns[-1] for r in whole)
    by_submission = sorted(whole, key=lambda r: r.submitted_ns)
    start = max(r.token_times_ns[0] for r in by_submission[:concurrency])
    last_submitted = by_submission[-1].submitted_ns
    end = min(r.token_times_ns[-1] for r in whole if r.token_times_ns[-1] > last_submitted)
    return (start, end) if end > start else None


def keeps(record: RequestRecord, limits: LatencyLimits) -> bool:
    """Whether a request was answered, and within the limits."""
    if record.error or len(record.token_times_ns) < 2:
        return False
    if limits.ttft_s is not None and ttft_s(record) > limits.ttft_s:
        return False
    return limits.tpot_s is None or tpot_s(record) <= limits.tpot_s


def within(records: Sequence[RequestRecord], window: tuple[int, int], limits: LatencyLimits) -> tuple[int, int]:
    """How many of the requests that ended inside ``window``, failed ones too, kept the limits, and how many did end."""
    ends = [(r.token_times_ns[-1] if r.token_times_ns else r.submitted_ns, r) for r in records if not r.warmup]
    ended = [r for end, r in ends if window[0] < end <= window[1]]
    return sum(keeps(r, limits) for r in ended), len(ended)


def tokens_between(records: Sequence[RequestRecord], edges: Sequence[float] | Array) -> Array:
    """How many output tokens came between each two of ``edges`` (ns, ascending); shape (len(edges) - 1,)."""
    times = [np.asarray(r.token_times_ns, dtype=np.float64) for r in records]
    return np.histogram(np.concatenate(times) if times else np.empty(0), bins=np.asarray(edges))[0].astype(np.float64)
