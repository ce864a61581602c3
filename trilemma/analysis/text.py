"""What a picture says, in words: for those who cannot see it, and for those who want the gist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from trilemma.analysis.distributions import percentile
from trilemma.analysis.format import format_figure, key_definition, key_title
from trilemma.analysis.load import LoadPoint, knee
from trilemma.analysis.odds import SURE, FrontOdds, Hypervolume, Standing
from trilemma.analysis.points import Points, better, labels
from trilemma.records import PhaseWindow
from trilemma.schema import Method


def count_of(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def distinct_labels(points: Points) -> pd.Series[str]:
    """:func:`labels`; where two are alike, as of two files of one model and quantization, with how their ids begin."""
    names = labels(points)
    return names.where(~names.duplicated(keep=False), names + " · " + names.index.astype(str).str[:6])


def front_headline(points: Points, keys: Sequence[str]) -> str:
    """``5 of 9 configurations are on the front``; says what is left out because a figure is missing."""
    complete = points.complete(keys)
    total, on = int(complete.sum()), int(points.front(keys).sum()) if len(points) else 0
    if total == 0:
        return "No configuration has all of the chosen figures."
    headline = f"{on:,} of {count_of(total, 'configuration')} {'is' if on == 1 else 'are'} on the front"
    missing = len(points) - total
    if missing:
        headline += f"; {missing:,} more {'lacks' if missing == 1 else 'lack'} one of the figures"
    return headline + "."


def odds_sentences(odds: FrontOdds, volume: Hypervolume | None) -> list[str]:
    """How surely: ``Certain: 3; contested: 4.`` and how much of what is possible the front covers."""
    standing = odds.standing
    counts = {one: standing.count(one) for one in Standing}
    sentences = []
    if counts[Standing.CERTAIN] or counts[Standing.CONTESTED]:
        sentences.append(
            f"On it for certain (probability from {SURE:g}): {counts[Standing.CERTAIN]:,}; contested: "
            f"{counts[Standing.CONTESTED]:,}."
        )
    if volume is not None:
        sentences.append(
            f"The front covers {100 * volume.value:.0f} % of the range between the best and the worst figures (95 %: "
            f"{100 * volume.low:.0f} to {100 * volume.high:.0f} %)."
        )
    return sentences


def best_sentences(points: Points, keys: Sequence[str]) -> list[str]:
    """For each figure, which configuration is best, how many more are as good, and with what: ``Lowest peak memory: ...
    (181 MiB ±1)``."""
    known = [key for key in dict.fromkeys(keys) if points.value[key].notna().any()]
    lower = [better(key) == "lower" for key in known]
    best = [
        int(points.value[key].argmin() if low else points.value[key].argmax())
        for key, low in zip(known, lower, strict=True)
    ]
    sentences = []
    names = labels(points, np.array(best, dtype=np.intp))
    for key, least, row, name in zip(known, lower, best, names, strict=True):
        value, low, high = (table[key].iloc[row] for table in (points.value, points.low, points.high))
        text, title = format_figure(value, key_definition(key).unit, low, high), key_title(key)
        others = int((points.value[key] == value).sum()) - 1
        who = f"{name} and {others:,} more" if others else name
        sentences.append(f"{'Lowest' if least else 'Highest'} {title[0].lower()}{title[1:]}: {who} ({text}).")
    return sentences


def caveats(points: Points, keys: Sequence[str]) -> list[str]:
    """What a reader must know before trusting the picture: modelled, imported, disturbed, left out."""
    found = []
    columns = list(dict.fromkeys(keys))
    for method in (Method.MODELLED, Method.IMPORTED):
        of_method = [key for key in columns if (points.method[key] == method.value).any()]
        if of_method:
            titles = "; ".join(key_title(key) for key in of_method)
            found.append(
                f"{titles}: {method.value}, not measured."
                if len(of_method) == 1
                else f"{method.value.capitalize()}, not measured: {titles}."
            )
    disturbed = int(points.disturbed[columns].to_numpy().any(axis=1).sum())
    if disturbed:
        found.append(
            f"{count_of(disturbed, 'configuration')} could only be measured while something disturbed the machine."
        )
    left_out = int(points.left_out[columns].to_numpy().max(axis=1, initial=0).sum())
    if left_out:
        found.append(f"{count_of(left_out, 'disturbed run')} left out in favour of undisturbed repeats.")
    invalid = sum(points.invalid.get(key, 0) for key in columns)
    if invalid:
        found.append(f"{count_of(invalid, 'figure')} left out as invalid or unknown.")
    return found


def emulated_text(points: Points) -> str:
    """Which points are of emulated devices, and what that means; empty without any."""
    names = points.meta["profile"].dropna()
    if names.empty:
        return ""
    devices = ", ".join(sorted(set(names.astype(str))))
    return (
        f"{count_of(len(names), 'configuration')} of {len(points):,} ran under the limits of an emulated device "
        f"({devices}): fewer cores, less memory, a shorter context, and nothing slower than on this machine."
    )


def pareto_text(points: Points, keys: Sequence[str]) -> str:
    """The text alternative of a Pareto chart of ``keys``."""
    if not len(points):
        return "There is no configuration to show."
    sentences = [front_headline(points, keys), *best_sentences(points, keys), *caveats(points, keys)]
    return " ".join(filter(None, [*sentences, emulated_text(points)]))


def latency_text(name: str, by_workload: Mapping[str, np.ndarray]) -> str:
    """The text alternative of a latency distribution: median and p95 a workload; p95 only where 20 values allow it."""
    parts = []
    for workload, values in by_workload.items():
        middle, high = percentile(values, 50), percentile(values, 95)
        if middle is None:
            continue
        unit = key_definition(name).unit
        tail = f", p95 {format_figure(high, unit)}" if high is not None else ", too few for p95"
        parts.append(f"{workload.replace('_', ' ')}: median {format_figure(middle, unit)}{tail} (n = {len(values):,})")
    return f"{key_title(name)}. " + ("; ".join(parts) + "." if parts else "No request was answered.")


def load_text(points: Sequence[LoadPoint]) -> str:
    """The text alternative of throughput against waiting: both ends, and the knee."""

    def one(point: LoadPoint) -> str:
        wait, speed = format_figure(point.e2e_s, "s"), format_figure(point.output_tps, "tok/s")
        return f"{point.level.words}: {speed}, {wait} for an answer"

    text = "; ".join(one(point) for point in (points[0], points[-1])) + "."
    bend = knee(points)
    return text if bend is None else f"{text} The knee is at {bend.level.words}."


def traces_text(
    phases: Sequence[PhaseWindow],
    peak_memory: float | None,
    peak_power: float | None,
    peak_gpu_memory: float | None = None,
    throttled: Sequence[str] = (),
) -> str:
    """The text alternative of a run's traces: the phases in order with their lengths, the peaks, and what was throttled
    (in words, such as ``GPU 1 throttled: heat``)."""
    spans = []
    for window in phases:
        name = window.phase.value.replace("_", " ") + (f" {window.subject.replace('_', ' ')}" if window.subject else "")
        length = "" if window.end_ns is None else f" {format_figure((window.end_ns - window.start_ns) / 1e9, 's')}"
        spans.append(name + length)
    text = "Phases: " + (", ".join(spans) if spans else "none recorded") + "."
    if peak_memory is not None:
        text += f" Memory peaks at {format_figure(peak_memory, 'B')}."
    if peak_power is not None:
        text += f" Power peaks at {format_figure(peak_power, 'W')}."
    if peak_gpu_memory is not None:
        text += f" Memory held on one GPU peaks at {format_figure(peak_gpu_memory, 'B')}."
    if throttled:
        text += f" {'; '.join(throttled)}."
    return text
