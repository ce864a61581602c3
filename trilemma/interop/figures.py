"""Measurements out of what a file tells: from its values of each request, or as the file states them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from trilemma.schema import Measurement, Method, Provenance
from trilemma.workloads.latency import NEEDED, bootstrap, statistic

CACHE_UNKNOWN = "the file does not say whether the server's prompt cache was off"
_NORMAL = 1.959964


class Source:
    """Makes the measurements of one tool.

    Args:
        tool: Its name.
        version: Its version; may be empty.
        scope: What a figure is about, such as ``request``.
    """

    def __init__(self, tool: str, version: str, scope: str = "request") -> None:
        self.provenance = Provenance(method=Method.IMPORTED, source=f"{tool} {version}".strip()[:120], scope=scope)

    def stated(
        self, figure: str, value: float | None, subject: str = "", kind: str = "", n: int = 0,
        *, low: float | None = None, high: float | None = None, reasons: Sequence[str] = (),
    ) -> list[Measurement]:  # fmt: skip
        """A figure as the file states it, in a list; none where it states nothing finite."""
        if value is None or not math.isfinite(value):
            return []
        provenance = self.provenance.model_copy(update={"reasons": tuple(reasons)})
        return [
            Measurement(
                figure=figure, subject=subject, statistic=kind, value=value, low=low, high=high, n=n,
                provenance=provenance,
            )
        ]  # fmt: skip

    def with_error(
        self, figure: str, value: float | None, error: float | None, subject: str, kind: str, n: int,
        reasons: Sequence[str] = (), *, share: bool = False,
    ) -> list[Measurement]:  # fmt: skip
        """A figure with the standard error that the file states; without one, without an interval.

        That of a ``share`` is cut to between 0 and 1.
        """
        if value is None or error is None or not (math.isfinite(error) and error >= 0):
            return self.stated(figure, value, subject, kind, n, reasons=reasons)
        low, high = value - _NORMAL * error, value + _NORMAL * error
        if share:
            low, high = max(low, 0.0), min(high, 1.0)
        told = ("95 % interval from the file's standard error", *reasons)
        return self.stated(figure, value, subject, kind, n, low=low, high=high, reasons=told)

    def over(
        self, figure: str, values: Sequence[float], subject: str, *, reasons: Sequence[str] = ()
    ) -> list[Measurement]:
        """Mean, median and percentiles over the file's values, one a request, as a run here has them.

        A percentile that there are too few values for is left blank.
        """
        data = np.asarray(values, dtype=np.float64)
        found: list[Measurement] = []
        for kind, needed in NEEDED.items():
            if len(data) >= needed:
                found += self.estimated(figure, data, subject, kind, reasons=reasons)
            elif len(data):
                why = f"{kind} needs {needed} requests, there are {len(data)}"
                provenance = self.provenance.model_copy(update={"valid": False, "reasons": (why, *reasons)})
                found.append(
                    Measurement(
                        figure=figure, subject=subject, statistic=kind, value=None, n=len(data), provenance=provenance
                    )
                )
        return found

    def estimated(
        self, figure: str, values: Sequence[float] | np.ndarray, subject: str, kind: str, *, shown: str | None = None,
        reasons: Sequence[str] = (),
    ) -> list[Measurement]:  # fmt: skip
        """One statistic over the file's values with its bootstrap interval; ``shown`` is what the key calls it."""
        estimate = bootstrap((np.asarray(values, dtype=np.float64),), statistic(kind))
        how = f"computed from the file's {estimate.n} values"
        return self.stated(
            figure, estimate.value, subject, kind if shown is None else shown, estimate.n,
            low=estimate.low, high=estimate.high, reasons=(how, *reasons),
        )  # fmt: skip


def load_subject(
    prompt_tokens: float, output_tokens: float, users: int | None = None, rate: float | None = None
) -> str:
    """What figures of another tool's load are about: mean lengths, and users or a rate; never one of our use cases."""
    name = f"in{round(prompt_tokens)}_out{round(output_tokens)}"
    if rate is not None:
        return f"{name} {rate:g}/s"
    return name if users is None or users == 1 else f"{name} x{users}"


def word(text: str) -> str:
    """``text`` as one word that a subject or a statistic may hold."""
    return re.sub(r"[^A-Za-z0-9_.:+-]+", "_", text).strip("_")[:80] or "unnamed"
