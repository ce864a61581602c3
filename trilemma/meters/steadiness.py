"""Whether something disturbed a run: what others did to the machine while speed was measured, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
import numpy.typing as npt
from pydantic import Field

from trilemma.meters.windows import channel, cpu_cores
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Frozen, Phase

Array = npt.NDArray[np.float64]
_ALMOST = 0.1
"""A core that is used so little counts as idle."""


class Thresholds(Frozen):
    """From which point on a run counts as disturbed.

    An engine that uses every core loses more than the share that others take: its threads wait for the slowest one
    after each operation.
    """

    others_cores: float = Field(
        default=0.15, gt=0, description="Others' CPU, averaged over the window, cores beyond those that stood idle."
    )
    dashboard_cores: float = Field(
        default=0.01, gt=0, description="That of Trilemma's own dashboards, beyond cores that stood idle all the time."
    )
    burst_cores: float = Field(default=0.5, gt=0, description="Others' CPU that counts as a burst, averaged over 1 s.")
    burst_s: float = Field(default=2.0, gt=0, description="Bursts shorter than this in total are ignored.")
    burst_share: float = Field(default=0.02, ge=0, description="So are those that take less than this of the window.")
    steal_fraction: float = Field(default=0.03, gt=0, description="Time that the hypervisor gave to others, mean.")
    frequency_drop: float = Field(default=0.10, gt=0, description="Fall of the clock below the window's own median.")
    frequency_s: float = Field(default=2.0, gt=0, description="A fall of the clock for less than this is ignored.")
    gap_s: float = Field(default=1.5, gt=0, description="A longer time without a reading.")


def disturbances(
    samples: Sequence[Sample],
    windows: Sequence[PhaseWindow],
    cores: int | None = None,
    thresholds: Thresholds | None = None,
) -> tuple[str, ...]:
    """What disturbed ``windows``, a sentence each; empty when nothing did.

    Args:
        samples: Of the whole run; those of the idle phase tell what others did before it began.
        windows: The phases whose speed and energy count; one that has not ended is left out.
        cores: CPUs that the process may use. Others may use half of those that the run left idle before it counts;
            without it, any use by others counts.
        thresholds: Where to draw the line; the defaults if None.
    """
    limits = thresholds or Thresholds()
    found: list[str] = []
    for window in windows:
        if window.end_ns is None or window.end_ns <= window.start_ns:
            continue
        name = f"{window.phase.value} ({window.subject})" if window.subject else window.phase.value
        ends = (window.start_ns, window.end_ns)
        found += _gaps(samples, *ends, name, limits)
        found += _others(samples, *ends, name, cores, limits)
        found += _steal(samples, *ends, name, limits)
        found += _frequency(samples, *ends, name, limits)
    return tuple(found)


def mean_rate(samples: Sequence[Sample], name: str, start_ns: int, end_ns: int) -> float | None:
    """The mean over time of a channel whose every reading is a mean since the one before; None without readings."""
    times, values, spans = _spans(samples, name, start_ns, end_ns)
    return float(np.average(values, weights=spans)) if len(times) and spans.sum() > 0 else None


def _spans(samples: Sequence[Sample], name: str, start_ns: int, end_ns: int) -> tuple[Array, Array, Array]:
    """Times (s from the start), readings, and the length of each reading's time inside the window, s."""
    times, values = channel(samples, name, start_ns, end_ns)
    if len(times) < 2:
        return np.empty(0), np.empty(0), np.empty(0)
    inside = np.clip(times, start_ns, end_ns)
    return (inside[1:] - start_ns) / 1e9, values[1:], np.diff(inside) / 1e9


def _gaps(samples: Sequence[Sample], start_ns: int, end_ns: int, name: str, limits: Thresholds) -> list[str]:
    times = np.array([s.time_ns for s in samples if start_ns <= s.time_ns <= end_ns], dtype=np.float64)
    gap_s = float(np.diff(np.concatenate(([start_ns], times, [end_ns]))).max()) / 1e9
    if gap_s <= limits.gap_s:
        return []
    return [f"the machine was not read for {gap_s:.1f} s during {name}"]


def _others(
    samples: Sequence[Sample], start_ns: int, end_ns: int, name: str, cores: int | None, limits: Thresholds
) -> list[str]:
    times, values, spans = _spans(samples, "others_cpu_cores", start_ns, end_ns)
    if not len(times) or spans.sum() <= 0:
        return []
    length_s = (end_ns - start_ns) / 1e9
    used = cpu_cores(samples, start_ns, end_ns)
    spare = max(0.0, cores - used) / 2 if cores is not None and used is not None else 0.0
    own = _dashboards(samples, start_ns, times, spans)
    mean, ours = (float(np.average(one, weights=spans)) for one in (values, own))
    if mean > limits.others_cores + spare:
        before = _idle_mean(samples)
        also = f"; {before:.2f} before the run" if before is not None and before > limits.others_cores else ""
        return [
            f"other processes used {mean:.2f} cores on average{_of_them(ours)} during {name} ({length_s:.1f} s{also})"
        ]
    smooth = _smooth(values, spans)
    burst = smooth > limits.burst_cores + spare
    burst_s = float(spans[burst].sum())
    if burst_s >= max(limits.burst_s, limits.burst_share * length_s):
        mean, ours = (float(np.average(one[burst], weights=spans[burst])) for one in (values, own))
        return [f"other processes used {mean:.1f} cores on average{_of_them(ours)} for {burst_s:.1f} s during {name}"]
    # Of a core that is idle at times nothing is spare: an engine's threads wait there for the one that was held up.
    whole = max(0, math.floor(cores - used + _ALMOST)) / 2 if cores is not None and used is not None else 0.0
    if ours > limits.dashboard_cores + whole:
        return [f"Trilemma's own dashboard used {ours:.2f} cores on average during {name} ({length_s:.1f} s)"]
    return []


def _of_them(cores: float) -> str:
    """How much of it was the dashboard's, where that is worth a word."""
    return f", of which Trilemma's own dashboard {cores:.2f}," if cores >= 0.005 else ""


def _dashboards(samples: Sequence[Sample], start_ns: int, times: Array, spans: Array) -> Array:
    """Cores that dashboards kept busy in each of some stretches, which end at ``times`` (s from ``start_ns``).

    Zero where nobody counted them.
    """
    read, seconds = channel(samples, "dashboard_cpu_s", start_ns, start_ns + round(float(times[-1]) * 1e9))
    if len(read) < 2:
        return np.zeros(len(times))
    at = (read - start_ns) / 1e9
    used = np.interp(times, at, seconds) - np.interp(times - spans, at, seconds)
    return np.asarray(np.divide(used, spans, out=np.zeros(len(times)), where=spans > 0), dtype=np.float64)


def _smooth(values: Array, spans: Array) -> Array:
    """Mean over about a second around each reading: a single one is a tick of the kernel's clock off either way."""
    work, time = np.cumsum(np.append(0.0, values * spans)), np.cumsum(np.append(0.0, spans))
    middle = (time[:-1] + time[1:]) / 2
    low = np.clip(middle - 0.5, 0, time[-1])
    high = np.clip(middle + 0.5, 0, time[-1])
    width = np.maximum(high - low, 1e-9)
    return np.asarray((np.interp(high, time, work) - np.interp(low, time, work)) / width, dtype=np.float64)


def _idle_mean(samples: Sequence[Sample]) -> float | None:
    idle = [sample.time_ns for sample in samples if sample.phase is Phase.IDLE]
    return mean_rate(samples, "others_cpu_cores", idle[0], idle[-1]) if len(idle) > 1 else None


def _steal(samples: Sequence[Sample], start_ns: int, end_ns: int, name: str, limits: Thresholds) -> list[str]:
    mean = mean_rate(samples, "steal_fraction", start_ns, end_ns)
    if mean is None or mean <= limits.steal_fraction:
        return []
    return [f"the hypervisor gave {mean:.0%} of the CPU time to other machines during {name}"]


def _frequency(samples: Sequence[Sample], start_ns: int, end_ns: int, name: str, limits: Thresholds) -> list[str]:
    """A clock below the window's own median: before the run it says nothing, for an idle CPU is clocked as it likes."""
    _, values, spans = _spans(samples, "frequency_hz", start_ns, end_ns)
    if len(values) < 3:
        return []
    usual = median(values.tolist())
    low = values < usual * (1 - limits.frequency_drop)
    low_s = float(spans[low].sum())
    if low_s < limits.frequency_s:
        return []
    fell = 1 - float(np.average(values[low], weights=spans[low])) / usual
    return [f"the CPU's clock fell by {fell:.0%} for {low_s:.1f} s during {name}, by heat or a power limit"]
