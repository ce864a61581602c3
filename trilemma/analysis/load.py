"""How throughput, waiting and energy change as more users ask at the same time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trilemma.schema import Measurement

_SUBJECT = re.compile(r"^(?P<name>.+?)(?: x(?P<users>\d+))?$")
_FIGURES = {
    "output_tps": "output_tps",
    "e2e_s.median": "e2e_s",
    "ttft_s.median": "ttft_s",
    "energy_per_token_j": "energy_per_token_j",
}


@dataclass(frozen=True)
class LoadPoint:
    """One number of users: throughput, and the median wait for an answer and its first token. None where unknown."""

    users: int
    output_tps: float
    e2e_s: float
    ttft_s: float | None
    energy_per_token_j: float | None
    modelled: bool


def load_curves(measurements: Sequence[Measurement]) -> dict[str, list[LoadPoint]]:
    """The points of each use case that was measured with different numbers of users, fewest users first."""
    found: dict[str, dict[int, dict[str, Measurement]]] = {}
    for measurement in measurements:
        match = _SUBJECT.match(measurement.subject)
        figure = measurement.key.partition("@")[0]
        if match and figure in _FIGURES and measurement.value is not None and measurement.provenance.valid:
            users = int(match["users"] or 1)
            found.setdefault(match["name"], {}).setdefault(users, {})[_FIGURES[figure]] = measurement
    curves = {}
    for name, by_users in found.items():
        points = [_point(users, figures) for users, figures in sorted(by_users.items())]
        known = [point for point in points if point is not None]
        if len(known) > 1:
            curves[name] = known
    return curves


def _point(users: int, figures: dict[str, Measurement]) -> LoadPoint | None:
    def value(name: str) -> float | None:
        return figures[name].value if name in figures else None

    throughput, wait = value("output_tps"), value("e2e_s")
    if throughput is None or not wait:
        return None
    energy = figures.get("energy_per_token_j")
    return LoadPoint(
        users=users, output_tps=throughput, e2e_s=wait, ttft_s=value("ttft_s"),
        energy_per_token_j=value("energy_per_token_j"),
        modelled=energy is not None and energy.provenance.method.value == "modelled",
    )  # fmt: skip


def knee(points: Sequence[LoadPoint]) -> LoadPoint | None:
    """Where the curve of throughput over waiting bends: beyond it more users wait longer for little more throughput.

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
