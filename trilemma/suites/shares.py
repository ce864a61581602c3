"""Means over items with their 95 % intervals, as measurements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, Method, Provenance


def mean_measurement(
    figure: str, subject: str, values: Sequence[float], *, source: str = "", reasons: Sequence[str] = ()
) -> Measurement:
    """The mean of ``values``, one an item.

    The interval is Wilson's (Wilson 1927) where every value is 0 or 1, else Student's t over items, cut to [0, 1] where
    all values are in it.
    """
    provenance = Provenance(method=Method.MEASURED, source=f"{subject}: {source}" if source else subject)
    if not values:
        unknown = provenance.model_copy(update={"valid": False, "reasons": ("no item answered", *reasons)})
        return Measurement(figure=figure, subject=subject, value=None, provenance=unknown)
    low, high, how = _interval(np.asarray(values, dtype=np.float64))
    return Measurement(
        figure=figure,
        subject=subject,
        value=float(np.mean(values)),
        low=low,
        high=high,
        n=len(values),
        provenance=provenance.model_copy(update={"reasons": (how, *reasons)}),
    )


def _interval(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float | None, float | None, str]:
    from scipy import stats  # noqa: PLC0415 (50 MB, which are no part of what the measured process needs)

    if np.isin(values, (0.0, 1.0)).all():
        wilson = stats.binomtest(int(values.sum()), len(values)).proportion_ci(method="wilson")
        return float(wilson.low), float(wilson.high), "95 % interval by Wilson's method"
    how = "95 % interval by Student's t over items"
    if len(values) < 2:
        return None, None, how
    half = float(stats.sem(values)) * float(stats.t.ppf(0.975, len(values) - 1))
    low, high = float(values.mean()) - half, float(values.mean()) + half
    if values.min() >= 0.0 and values.max() <= 1.0:
        low, high = max(low, 0.0), min(high, 1.0)
    return low, high, how


def source_of(answers: Sequence[AnswerRecord]) -> str:
    """What the questions of ``answers`` were read from."""
    return "; ".join(sorted({str(answer.detail["source"]) for answer in answers if "source" in answer.detail}))
