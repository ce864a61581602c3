"""Time series of a run out of its samples: counters become rates, nanoseconds become seconds since the start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trilemma.meters.gpu import throttle
from trilemma.meters.gpu.driver import label
from trilemma.records import PhaseWindow, Sample

FloatArray = NDArray[np.float64]
Channels = dict[str, tuple[FloatArray, FloatArray]]
"""Seconds and values, by channel."""
_GPU_SOURCES = ("nvml.", "rocm.")
_GPU_BUSY = 0.05

RATE_OVER_S = 0.5
"""Rates are taken over at least this long: single steps of a counter at 10 Hz are mostly its own granularity."""


@dataclass(frozen=True)
class Trace:
    """One line: ``row`` is ``memory`` or ``gpu_memory`` (bytes), ``power`` (watts), ``cpu`` (cores), ``gpu_busy``
    (percent) or ``gpu_clock`` (hertz).

    ``group`` is the GPU that it is of. With ``shade`` it is no line but 1 where something was so, 0 elsewhere.
    """

    row: str
    name: str
    seconds: FloatArray
    values: FloatArray
    main: bool = True
    foreign: bool = False
    modelled: bool = False
    group: str = ""
    shade: bool = False


_MEMORY = (
    ("pss_bytes", "memory (PSS)", True),
    ("uss_bytes", "unshared (USS)", False),
    ("rss_bytes", "resident (RSS)", False),
)


def run_traces(samples: Sequence[Sample], phases: Sequence[PhaseWindow]) -> tuple[list[Trace], int, float]:
    """The lines of a run, the time that counts as zero (ns), and the last second of it.

    Energy counters are shown as power: the difference over at least :data:`RATE_OVER_S`; power read directly is shown
    as read. A counter that falls leaves a gap.
    """
    starts = [window.start_ns for window in phases] + [sample.time_ns for sample in samples[:1]]
    ends = [window.end_ns for window in phases if window.end_ns is not None] + [s.time_ns for s in samples[-1:]]
    start_ns = min(starts, default=0)
    channels = _channels(samples, start_ns)
    found = []
    has_pss = "pss_bytes" in channels
    for channel, name, main in _MEMORY:
        if channel in channels and (channel != "uss_bytes" or not has_pss):
            seconds, values = channels[channel]
            found.append(Trace("memory", name, seconds, values, main=main or not has_pss))
    gpus = _gpus(channels)
    direct = {channel for channel in channels if channel.startswith("power_w.")}
    for channel, (seconds, values) in sorted(channels.items()):
        kind, _, source = channel.partition(".")
        if source.startswith(_GPU_SOURCES):
            card = source.partition(".")[2]
            unused = card not in {gpu.partition("-")[0] for gpu in gpus}
            if unused or (kind == "energy_j" and f"power_w.{source}" in direct):
                continue
            line = (seconds, values) if kind == "power_w" else rate(seconds, values)
            found.append(Trace("power", label(card), *line, group=label(card)))
            continue
        modelled = source == "modelled"
        name = f"power, {source.replace('-', ' ')}" if not modelled else "power, modelled"
        if channel in direct:
            found.append(Trace("power", name, seconds, values, modelled=modelled))
        elif kind == "energy_j" and f"power_w.{source}" not in direct:
            found.append(Trace("power", name, *rate(seconds, values), modelled=modelled))
    if "cpu_s" in channels:
        found.append(Trace("cpu", "CPU of the run", *rate(*channels["cpu_s"])))
    if "others_cpu_cores" in channels:
        found.append(Trace("cpu", "CPU of everybody else", *channels["others_cpu_cores"], main=False, foreign=True))
    if "dashboard_cpu_s" in channels and channels["dashboard_cpu_s"][1][-1] > 0:
        line = rate(*channels["dashboard_cpu_s"])
        found.append(Trace("cpu", "of it, Trilemma's dashboard", *line, main=False, foreign=True))
    for gpu in gpus:
        found += _gpu_traces(channels, gpu)
    return found, start_ns, (max(ends, default=start_ns) - start_ns) / 1e9


def _gpus(channels: Channels) -> list[str]:
    """Ids of the GPUs that the run computed on: where it held memory, else (untold) those that were busy."""

    def reaching(name: str, least: float) -> list[str]:
        names = sorted(channel for channel in channels if channel.startswith(f"{name}."))
        return [channel[len(name) + 1 :] for channel in names if float(channels[channel][1].max()) >= least]

    return reaching("gpu_memory_bytes", 1.0) or reaching("gpu_utilization", _GPU_BUSY)


def _gpu_traces(channels: Channels, gpu: str) -> list[Trace]:
    name = label(gpu)
    found = []
    held = f"gpu_memory_bytes.{gpu}"
    memory = held if held in channels else f"gpu_memory_total_used_bytes.{gpu}"
    for row, channel, factor in (
        ("gpu_memory", memory, 1.0),
        ("gpu_busy", f"gpu_utilization.{gpu}", 100.0),
        ("gpu_clock", f"gpu_clock_hz.{gpu}", 1.0),
    ):
        if channel in channels:
            seconds, values = channels[channel]
            found.append(Trace(row, name, seconds, values * factor, group=name))
    if (bits := channels.get(f"gpu_throttle_bits.{gpu}")) is not None:
        reasons = [throttle.reasons(int(value)) for value in bits[1]]
        for reason in dict.fromkeys(reason for of_one in reasons for reason in of_one):
            active = np.array([float(reason in of_one) for of_one in reasons])
            capped = reason in throttle.CONFIGURED_NAMES
            text = f"{name} at its limit: {reason}" if capped else f"{name} throttled: {reason}"
            found.append(Trace("gpu_clock", text, bits[0], active, foreign=not capped, group=name, shade=True))
    return found


def _channels(samples: Sequence[Sample], start_ns: int) -> Channels:
    times: dict[str, list[float]] = {}
    values: dict[str, list[float]] = {}
    for sample in samples:
        second = (sample.time_ns - start_ns) / 1e9
        for channel, value in sample.values.items():
            times.setdefault(channel, []).append(second)
            values.setdefault(channel, []).append(value)
    return {channel: (np.array(times[channel]), np.array(values[channel])) for channel in times}


def rate(seconds: FloatArray, counter: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The counter's slope, in its unit per second, at the middle of each span; NaN (a gap) where the counter fell.

    Args:
        seconds: reading times, rising.
        counter: what was read; same shape.

    Returns:
        Times and slopes, one less than the spans' number of readings; empty for fewer than two readings.
    """
    if seconds.size < 2:
        return seconds[:0], counter[:0]
    step = float(np.median(np.diff(seconds)))
    wide = max(1, min(seconds.size - 1, round(RATE_OVER_S / step) if step > 0 else 1))
    span = seconds[wide:] - seconds[:-wide]
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (counter[wide:] - counter[:-wide]) / span
    fell = np.diff(counter) < 0
    touched = np.convolve(fell, np.ones(wide), mode="valid") > 0
    slope = np.where(touched | (span <= 0), np.nan, slope)
    return (seconds[wide:] + seconds[:-wide]) / 2, slope
