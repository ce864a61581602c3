"""From samples to the figures of a window of time: energy, memory, CPU. Pure functions.

A window's figure is a number only where the samples support one; otherwise it is None, with the reasons.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trilemma.meters.base import EnergyDomain
from trilemma.meters.memory import MemoryKind
from trilemma.records import Sample
from trilemma.schema import Method, Phase, Provenance

MAX_GAP_S = 3.0
"""A window with a longer time between two readings is invalid: what happened in it is not known."""
MIN_UPDATES = 5
"""A window that holds fewer updates of its counter is too short for it: the ends alone would be 20 % off."""
CROSS_CHECK_NOTE, CROSS_CHECK_LIMIT = 0.05, 0.25
"""Counter and integrated power may differ by so much before it is said, and before neither is believed."""
BUSY_S = 0.05
"""More CPU time than this is work: a counter of joules that stood still meanwhile is broken."""
UNSEEN_IDLE = ("process tree",)
"""Scopes in which there is no idle power to subtract."""

Array = npt.NDArray[np.float64]


class EnergyWindow(NamedTuple):
    """The energy of one window in one domain, or in several together.

    ``net_j`` is ``gross_j`` less idle power x length; where there is no idle power in the scope it equals ``gross_j``.
    ``mean_power_w`` is ``net_j`` over the length. Each is None where it cannot be known.
    """

    net_j: float | None
    gross_j: float | None
    mean_power_w: float | None
    provenance: Provenance


class PeakMemory(NamedTuple):
    """The highest reading in bytes, what kind of memory it is (``pss``, ``uss`` or ``rss``), and of how many."""

    value: int
    kind: MemoryKind
    n: int


def energy_window(
    samples: Sequence[Sample], start_ns: int, end_ns: int, domain: EnergyDomain, idle_power_w: float | None
) -> EnergyWindow:
    """Energy between two times: the difference of the counter, interpolated linearly at both ends.

    Args:
        samples: In the order of time; those just outside the window are needed to interpolate.
        start_ns: Start, as ``Sample.time_ns``.
        end_ns: End.
        domain: Which counter.
        idle_power_w: The domain's power when the machine was idle (:func:`idle_power`), W; None if not known.
    """
    length_s = (end_ns - start_ns) / 1e9
    times, joules = channel(samples, domain.channel, start_ns, end_ns)
    reasons = _faults(times, joules, start_ns, end_ns, domain)
    if reasons:
        return _unknown(domain, length_s, reasons)
    gross = float(np.diff(np.interp([start_ns, end_ns], times, joules))[0])
    worked = cpu_seconds(samples, start_ns, end_ns)
    if gross == 0 and (domain.scope not in UNSEEN_IDLE or (worked or 0.0) > BUSY_S):
        return _unknown(domain, length_s, [f"{domain.channel} stood still while work was done"])
    notes, wrong = _cross_check(samples, start_ns, end_ns, domain, gross)
    if wrong:
        return _unknown(domain, length_s, notes)
    if domain.scope in UNSEEN_IDLE:
        net, subtracted = gross, False
        notes.append("process tree: no idle power in it")
    elif idle_power_w is None:
        net, subtracted = None, False
        notes.append("idle power is not known: net energy neither")
    else:
        net, subtracted = gross - idle_power_w * length_s, True
        if net < 0:
            notes.append("less than idle power was drawn: net energy is below zero by the noise of both")
    return EnergyWindow(
        net, gross, None if net is None else net / length_s, _provenance(domain, length_s, subtracted, notes)
    )


def total_energy(windows: Sequence[EnergyWindow]) -> EnergyWindow:
    """The energy of several domains together over the same window.

    One that is missing makes the whole unknown: a sum without it would look like a saving. So does a net energy that is
    not above zero: whatever did the work is then not among the domains, or idle power was read while it was not idle.
    """
    if not windows:
        return EnergyWindow(
            None,
            None,
            None,
            Provenance(method=Method.MEASURED, source="none", valid=False, reasons=("no energy source",)),
        )
    parts = [window.provenance for window in windows]
    reasons = tuple(dict.fromkeys(reason for part in parts for reason in part.reasons))
    valid = all(part.valid for part in parts)
    gross = _sum([window.gross_j for window in windows]) if valid else None
    net = _sum([window.net_j for window in windows]) if valid else None
    if net is not None and net <= 0 and any(part.idle_subtracted for part in parts):
        net, reasons = None, (*reasons, "net energy is not above zero")
    length_s = parts[0].window_s
    methods = {part.method for part in parts}
    return EnergyWindow(
        net,
        gross,
        net / length_s if net is not None and length_s else None,
        Provenance(
            method=Method.MODELLED if Method.MODELLED in methods else parts[0].method,
            source=" + ".join(dict.fromkeys(part.source for part in parts)),
            scope=" + ".join(dict.fromkeys(part.scope for part in parts)),
            idle_subtracted=all(part.idle_subtracted for part in parts),
            window_s=length_s,
            valid=valid,
            reasons=reasons,
        ),
    )


def idle_power(samples: Sequence[Sample], start_ns: int, end_ns: int, domain: EnergyDomain) -> float | None:
    """Mean power of ``domain`` in a window in which nothing was asked of the machine, W; None if it is not known
    (:func:`energy_window` over the same window says why)."""
    gross_j = energy_window(samples, start_ns, end_ns, domain, None).gross_j
    return None if gross_j is None else gross_j / ((end_ns - start_ns) / 1e9)


def cpu_seconds(samples: Sequence[Sample], start_ns: int, end_ns: int) -> float | None:
    """CPU-seconds that the tree used between two times; None where the readings do not reach or have a gap."""
    times, seconds = channel(samples, "cpu_s", start_ns, end_ns)
    if _uncovered(times, start_ns, end_ns, "cpu_s"):
        return None
    return float(np.diff(np.interp([start_ns, end_ns], times, seconds))[0])


def cpu_cores(samples: Sequence[Sample], start_ns: int, end_ns: int) -> float | None:
    """Cores that the tree kept busy on average between two times; None where that is not known."""
    seconds = cpu_seconds(samples, start_ns, end_ns)
    return None if seconds is None else seconds / ((end_ns - start_ns) / 1e9)


def peak_memory(samples: Sequence[Sample], phases: Collection[Phase]) -> PeakMemory | None:
    """The highest PSS read in ``phases``; USS or RSS where no reading has PSS; None without any reading.

    PSS is read once a second and at the edges of phases, sooner while RSS climbs: a rise and fall within a second may
    be missed. :func:`peak_rss`, read ten times a second, stands beside it and bounds what was.
    """
    kinds: tuple[MemoryKind, ...] = ("pss", "uss", "rss")
    for kind in kinds:
        readings = _readings(samples, phases, f"{kind}_bytes")
        if readings:
            return PeakMemory(int(max(readings)), kind, len(readings))
    return None


def peak_rss(samples: Sequence[Sample], phases: Collection[Phase]) -> PeakMemory | None:
    """The highest RSS read in ``phases``, shared pages counted for each process."""
    readings = _readings(samples, phases, "rss_bytes")
    return PeakMemory(int(max(readings)), "rss", len(readings)) if readings else None


def channel(samples: Sequence[Sample], name: str, start_ns: int, end_ns: int) -> tuple[Array, Array]:
    """Times, ns, and values of one channel inside a window and one reading beyond either end, where there is one."""
    known = [sample for sample in samples if name in sample.values]
    times = [sample.time_ns for sample in known]
    first = max(0, bisect_right(times, start_ns) - 1)
    last = min(len(times), bisect_left(times, end_ns) + 1)
    return (
        np.array(times[first:last], dtype=np.float64),
        np.array([sample.values[name] for sample in known[first:last]], dtype=np.float64),
    )


def _readings(samples: Sequence[Sample], phases: Collection[Phase], name: str) -> list[float]:
    return [sample.values[name] for sample in samples if sample.phase in phases and name in sample.values]


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None


def _uncovered(times: Array, start_ns: int, end_ns: int, name: str) -> list[str]:
    """Why readings at ``times`` do not cover the window; empty when they do."""
    if end_ns <= start_ns:
        return ["the window is empty"]
    if len(times) == 0:
        return [f"{name} was not read"]
    if times[0] > start_ns or times[-1] < end_ns:
        edge = "before the start" if times[0] > start_ns else "after the end"
        return [f"{name} was not read {edge} of the window"]
    gap_s = float(np.diff(times).max(initial=0.0)) / 1e9
    if gap_s > MAX_GAP_S:
        return [f"{name} was not read for {gap_s:.1f} s (at most {MAX_GAP_S:.0f} s)"]
    return []


def _faults(
    times: Array,
    joules: Array,
    start_ns: int,
    end_ns: int,
    domain: EnergyDomain,
) -> list[str]:
    """Why the counter's readings give no energy; empty when they do."""
    reasons = [domain.fault] if domain.fault else _uncovered(times, start_ns, end_ns, domain.channel)
    if reasons:
        return reasons
    if not np.isfinite(joules).all():
        return [f"{domain.channel} has a reading that is not a number"]
    steps = np.diff(joules)
    if (steps < 0).any():
        return [f"{domain.channel} went back by {-float(steps.min()):.3g} J"]
    # A counter that stood still has no updates to count; whether that is a fault is told apart by the work done.
    updates = int((steps > 0).sum())
    if 0 < updates < MIN_UPDATES:
        every_s = float(times[-1] - times[0]) / 1e9 / updates
        length_s = (end_ns - start_ns) / 1e9
        return [
            f"the window of {length_s:.2f} s holds {updates} updates of {domain.channel} "
            f"(one every {every_s:.2f} s; {MIN_UPDATES} are needed)"
        ]
    return []


def _cross_check(
    samples: Sequence[Sample], start_ns: int, end_ns: int, domain: EnergyDomain, gross: float
) -> tuple[list[str], bool]:
    """Compare with the trapezoid integral of sampled power where it was read; what to say, and whether it is wrong."""
    name = "power_w." + domain.channel.removeprefix("energy_j.")
    times, watts = channel(samples, name, start_ns, end_ns)
    if len(times) == 0 or _uncovered(times, start_ns, end_ns, name):
        return [], False
    inside = (times > start_ns) & (times < end_ns)
    at = np.concatenate(([start_ns], times[inside], [end_ns]))
    integral = float(np.trapezoid(np.interp(at, times, watts), at)) / 1e9
    differs = abs(integral - gross) / max(abs(gross), 1e-12)
    if differs <= CROSS_CHECK_NOTE:
        return [], False
    said = f"the counter gives {gross:.3g} J, integrated power {integral:.3g} J ({differs:.0%} apart)"
    return [said], differs > CROSS_CHECK_LIMIT


def _provenance(domain: EnergyDomain, length_s: float, subtracted: bool, reasons: Sequence[str]) -> Provenance:
    return Provenance(
        method=domain.method,
        source=domain.source,
        scope=domain.scope,
        idle_subtracted=subtracted,
        window_s=length_s,
        reasons=tuple(reasons),
    )


def _unknown(domain: EnergyDomain, length_s: float, reasons: Sequence[str]) -> EnergyWindow:
    provenance = _provenance(domain, length_s, False, reasons)
    return EnergyWindow(None, None, None, provenance.model_copy(update={"valid": False}))
