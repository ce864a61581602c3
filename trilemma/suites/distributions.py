"""Next-token distributions out of logits: likelihoods and divergences, a row at a time.

A row of logits fits the CPU's cache, the whole matrix does not: 255 positions of a 262k vocabulary are 267 MB. Rows are
shifted by their largest logit before ``exp``, so nothing overflows; sums are pairwise in float32, logarithms float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from trilemma.engines.base import FloatArray

Doubles = npt.NDArray[np.float64]


def negative_log_likelihoods(logits: FloatArray, targets: Sequence[int]) -> Doubles:
    """Of each target token under its row, in nats.

    Args:
        logits: Shape (n, vocabulary size).
        targets: n token ids.
    """
    found = np.empty(len(targets), dtype=np.float64)
    buffer = np.empty(logits.shape[1], dtype=np.float32)
    for index, (row, target) in enumerate(zip(logits, targets, strict=True)):
        top = row.max()
        np.subtract(row, top, out=buffer)
        own = float(buffer[target])
        np.exp(buffer, out=buffer)
        found[index] = math.log(float(buffer.sum())) - own
    return found


def divergences(reference: FloatArray, other: FloatArray) -> tuple[Doubles, npt.NDArray[np.bool_]]:
    """Of each row KL(reference || other) = sum p_ref (ln p_ref - ln p_other), in nats, and whether both have one top.

    With a and b the rows less their largest logits, and Z the sums of their exponentials, it is
    sum(exp(a) (a - b)) / Z_a - ln Z_a + ln Z_b: exactly 0 for equal rows. Rounding can bring a tiny divergence below
    zero, which none can be; then it is 0.

    Args:
        reference: Shape (n, vocabulary size).
        other: The same shape.
    """
    if reference.shape != other.shape:
        raise ValueError(f"shapes {reference.shape} and {other.shape} differ")
    found = np.empty(len(reference), dtype=np.float64)
    agreed = np.empty(len(reference), dtype=np.bool_)
    a, b, weights = (np.empty(reference.shape[1], dtype=np.float32) for _ in range(3))
    for index, (row, against) in enumerate(zip(reference, other, strict=True)):
        top, top_against = int(row.argmax()), int(against.argmax())
        np.subtract(row, row[top], out=a)
        np.subtract(against, against[top_against], out=b)
        np.exp(b, out=weights)
        log_sum = math.log(float(weights.sum()))
        np.exp(a, out=weights)
        total = float(weights.sum())
        with np.errstate(invalid="ignore"):
            np.subtract(a, b, out=b)
        if np.isneginf(row.min()):
            # A token that the reference rules out adds nothing, whatever the other says.
            b[weights == 0] = 0
        found[index] = max(0.0, float(np.dot(weights, b)) / total - math.log(total) + log_sum)
        agreed[index] = top == top_against
    return found, agreed


class Interval(NamedTuple):
    """The ends of a 95 % interval; None where there is too little to tell."""

    low: float | None
    high: float | None


def chunk_interval(sums: Sequence[float], counts: Sequence[int]) -> Interval:
    """95 % interval of the overall mean, from how the chunks' means differ (Student's t).

    Positions within a chunk resemble each other, so that they are no independent readings; chunks nearly are. With
    chunks of unequal length it is the ratio estimator's (Cochran, Sampling Techniques, 1977, section 2.11).
    """
    n = len(sums)
    if n < 2:
        return Interval(None, None)
    weights = np.asarray(counts, dtype=np.float64)
    mean = float(np.sum(sums) / weights.sum())
    residuals = np.asarray(sums, dtype=np.float64) - mean * weights
    error = math.sqrt(float(residuals @ residuals) / (n * (n - 1))) / float(weights.mean())
    half = float(stats.t.ppf(0.975, n - 1)) * error
    return Interval(mean - half, mean + half)


def quantile_interval(chunks: Sequence[Doubles], q: float, *, resamples: int = 1000, seed: int = 0) -> Interval:
    """95 % interval of the ``q`` quantile of all values, by bootstrap over whole chunks (percentiles, seeded)."""
    if len(chunks) < 2:
        return Interval(None, None)
    rng = np.random.default_rng(seed)
    picks = rng.integers(len(chunks), size=(resamples, len(chunks)))
    found = [float(np.quantile(np.concatenate([chunks[i] for i in pick]), q)) for pick in picks]
    low, high = np.quantile(found, (0.025, 0.975))
    return Interval(float(low), float(high))
