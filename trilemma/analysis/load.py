"""How throughput, waiting, goodput and energy change with the load: more users at once, or requests more often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trilemma.analysis.points import Points, labels
from trilemma.analysis.subjects import Level, level_of
from trilemma.records import RequestRecord
from trilemma.schema import Measurement, Method, split_key
from trilemma.workloads import latency

FIGURES = (
    "output_tps", "e2e_s.median", "ttft_s.median", "ttft_s.p95", "tpot_s.p95", "energy_per_token_j", "goodput",
    "goodput_share", "request_rate", "offered_rate",
)  # fmt: skip
"""What a point of a curve is made of."""


@dataclass(frozen=True)
class LoadPoint:
    """One level of load and its figures, base units, by name and statistic (:data:`FIGURES`)."""

    level: Level
    values: Mapping[str, float]
    modelled: bool = False

    @property
    def output_tps(self) -> float:
        """Throughput, tokens a second."""
        return self.values["output_tps"]

    @property
    def e2e_s(self) -> float:
        """The median wait for a whole answer, s."""
        return self.values["e2e_s.median"]


Curve = list[LoadPoint]


def load_curves(measurements: Iterable[Measurement]) -> dict[str, Curve]:
    """The points of each workload that was measured under different loads, least load first, by what they share."""
    found = [(m.key, m.value, m.provenance.method) for m in measurements if m.value is not None and m.provenance.valid]
    return _curves(found)


def curves_of_points(points: Points) -> dict[str, dict[str, Curve]]:
    """By workload, the curve of each configuration of ``points`` (by its label) that was measured under several."""
    found: dict[str, dict[str, Curve]] = {}
    names = labels(points)
    keys = load_keys(points.keys)
    values, methods = points.value[keys].to_numpy(dtype=np.float64), points.method[keys].to_numpy(dtype=object)
    finite = np.isfinite(values)
    for row in np.flatnonzero(finite.any(axis=1)):
        known = [(keys[at], float(values[row, at]), methods[row, at]) for at in np.flatnonzero(finite[row])]
        for workload, curve in _curves(known).items():
            found.setdefault(workload, {})[str(names.iloc[row])] = curve
    return found


def load_keys(keys: Iterable[str]) -> list[str]:
    """Those of ``keys`` that curves are made of: of workloads that were measured under several loads."""
    known = [key for key in keys if key.partition("@")[0] in FIGURES]
    # The figure as curves know it: with its statistic, so that what follows the first @ is the workload.
    levels = {key: level for key in known if (level := level_of(split_key(key)[1])) is not None}
    counts = Counter((level.workload, level.kind) for level in set(levels.values()))
    return [key for key, level in levels.items() if counts[level.workload, level.kind] > 1]


def _curves(figures: Iterable[tuple[str, float, object]]) -> dict[str, Curve]:
    by_level: dict[Level, dict[str, float]] = {}
    modelled: set[Level] = set()
    for key, value, method in figures:
        name, _, subject = key.partition("@")
        level = level_of(subject)
        if level is None or name not in FIGURES:
            continue
        by_level.setdefault(level, {})[name] = value
        if name == "energy_per_token_j" and method in (Method.MODELLED, Method.MODELLED.value):
            modelled.add(level)
    curves: dict[str, Curve] = {}
    for level, values in sorted(by_level.items()):
        if "output_tps" in values and values.get("e2e_s.median"):
            name = level.workload + (" by rate" if level.kind == "rate" else "")
            curves.setdefault(name, []).append(LoadPoint(level, values, level in modelled))
    return {name: curve for name, curve in curves.items() if len(curve) > 1}


def knee(points: Sequence[LoadPoint]) -> LoadPoint | None:
    """Where the curve of throughput over waiting bends: beyond it more load means longer waits for little more.

    The point farthest above the diagonal once both run from 0 to 1 (Satopaa et al., "Finding a 'Kneedle' in a
    haystack", ICDCS workshops 2011). None of fewer than three points, and where nothing lies above the diagonal.
    """
    if len(points) < 3:
        return None
    waits, speeds = (np.array(values) for values in zip(*((p.e2e_s, p.output_tps) for p in points), strict=True))
    if not np.ptp(waits) or not np.ptp(speeds):
        return None
    above = (speeds - speeds.min()) / np.ptp(speeds) - (waits - waits.min()) / np.ptp(waits)
    best = int(above.argmax())
    return points[best] if above[best] > 0 else None


class Span(NamedTuple):
    """One request on the run's clock, s: waiting for the first token, then being answered."""

    position: int
    submitted_s: float
    first_token_s: float
    last_token_s: float


def timeline(requests: Iterable[RequestRecord]) -> list[Span]:
    """The measured requests that ended well, in order of submission, from the first submission on."""
    whole = sorted(latency.complete(list(requests)), key=lambda r: r.submitted_ns)
    if not whole:
        return []
    start = whole[0].submitted_ns
    return [
        Span(
            r.index,
            (r.submitted_ns - start) / 1e9,
            (r.token_times_ns[0] - start) / 1e9,
            (r.token_times_ns[-1] - start) / 1e9,
        )
        for r in whole
    ]
