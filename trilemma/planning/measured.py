"""A configuration as the planner needs it, out of its measured points and requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trilemma.analysis.points import Points, labels
from trilemma.analysis.subjects import Level, level_of
from trilemma.analysis.uncertainty import NORMAL
from trilemma.errors import PlanError
from trilemma.planning.arrays import FloatArray, Interval
from trilemma.planning.service import ALIKE, PowerCurve, ServiceCurve
from trilemma.records import RequestRecord
from trilemma.schema import Method, split_key
from trilemma.workloads import PROMPT_SETS, latency
from trilemma.workloads.saturation import KEEPS_UP

_FIGURES = (
    "request_rate", "offered_rate", "output_tps", "ttft_s.mean", "ttft_s.median", "e2e_s.mean", "e2e_s.median",
    "power_w", "energy_j", "energy_gross_j", "energy_per_request_j",
)  # fmt: skip
_WHOLE = ("peak_memory_bytes", "idle_power_w@idle", "idle_power_w@loaded_idle")
ONE_USER = (
    "Capacity under load was not measured: this workload was only run with one user at a time, so a replica is planned "
    "to answer one request at a time. A sweep over users in New study shows what it can do."
)


@dataclass(frozen=True)
class Doubt:
    """Relative standard errors (of the logarithm); None where a figure's interval is not known."""

    speed: float | None = None
    energy: float | None = None
    idle: float | None = None


@dataclass(frozen=True)
class Measured:
    """A configuration under one workload.

    ``power`` is None without any energy figure. ``under_load`` says whether more than one request at a time was
    measured. ``notes`` say what a reader must know of the figures.
    """

    configuration_id: str
    label: str
    workload: str
    curve: ServiceCurve
    power: PowerCurve | None
    doubt: Doubt
    memory: Interval | None
    under_load: bool
    notes: tuple[str, ...] = ()


def plan_keys(keys: Iterable[str]) -> list[str]:
    """Those of ``keys`` that a plan is made of."""
    return [key for key in keys if key in _WHOLE or (key.partition("@")[0] in _FIGURES and _level(key) is not None)]


def _level(key: str) -> Level | None:
    level = level_of(split_key(key)[1])
    # Users who think keep fewer slots busy than there are users.
    return None if level is None or " think " in f"{level.workload} " or level.workload.endswith("idle") else level


def workloads(points: Points) -> dict[str, list[str]]:
    """By workload, the configurations that can be planned with: those with a speed under some load.

    Workloads come before suites whose answers are written.
    """
    found: dict[str, list[str]] = {}
    for key in points.keys:
        if key.partition("@")[0] not in ("e2e_s.mean", "e2e_s.median") or (level := _level(key)) is None:
            continue
        known = points.meta.index[points.value[key].notna()]
        ids = found.setdefault(level.workload, [])
        ids += [str(one) for one in known if str(one) not in ids]
    order = {str(one): i for i, one in enumerate(points.meta.index)}
    names = sorted(found, key=lambda name: (name.partition(" ")[0] not in PROMPT_SETS, name))
    return {name: sorted(found[name], key=lambda one: order[one]) for name in names if found[name]}


def measured(
    points: Points, configuration_id: str, workload: str, runs: Sequence[Sequence[RequestRecord]] = ()
) -> Measured:
    """What is known of a configuration under a workload.

    Args:
        points: Holding :func:`plan_keys`.
        configuration_id: One of ``points``.
        workload: A name out of :func:`workloads`.
        runs: The requests of each of its runs: how they differed is replayed. Without them, all are taken to be alike.

    Raises:
        PlanError: its speed under this workload is not known.
    """
    row = points.meta.index.get_loc(configuration_id) if configuration_id in points.meta.index else None
    if not isinstance(row, int):
        raise PlanError("This configuration has no finished run.", "Measure it, or choose another.")
    label = str(labels(points).iloc[row])
    figures = _Figures(points, row)
    levels = _usable(figures, workload)
    if not levels:
        raise PlanError(
            f"The speed of {label} under {workload.replace('_', ' ')} is not known.",
            "Measure it with this workload, or choose another.",
        )
    own = {level: _steady(runs, level) for level, _ in levels}
    everything = [record for found in own.values() for record in found]
    output = _mean([float(len(r.token_times_ns)) for r in everything]) or _output_tokens(figures, levels[0][0])
    prompt = _mean([float(r.prompt_tokens) for r in everything]) or 0.0
    rows = [_times(figures, level, busy) for level, busy in levels]
    busy = np.array([one for _, one in levels])
    variations = tuple(_variation(own[level]) for level, _ in levels)
    curve = ServiceCurve(
        levels=busy, prefill_s=np.array([a for a, _ in rows]), decode_s=np.array([b for _, b in rows]),
        slots=max(1, int(busy[-1])), prompt_tokens=prompt, output_tokens=max(2.0, output), variations=variations,
    )  # fmt: skip
    under_load = bool(busy[-1] >= 2)
    notes = [] if under_load else [ONE_USER]
    if not everything:
        notes.append("How requests differ from one another is not known: all are taken to be alike.")
    if busy[0] > 1:
        notes.append(f"The least load measured is {busy[0]:.3g} requests at once; fewer are taken to be no faster.")
    power, energy_doubt, idle_doubt = _power(figures, levels)
    notes += power.notes if power else ["No energy was measured or modelled: power, energy and CO2e are not known."]
    if figures.disturbed([f"{name}@{figures.subjects[level]}" for level, _ in levels for name in _FIGURES]):
        notes.append("Something disturbed the machine while this was measured.")
    speed = figures.doubt([_speed_key(figures, level) for level, _ in levels])
    return Measured(
        configuration_id, label, workload, curve, power, Doubt(speed, energy_doubt, idle_doubt),
        figures.interval("peak_memory_bytes"), under_load, tuple(dict.fromkeys(notes)),
    )  # fmt: skip


class _Figures:
    """One configuration's figures, by key."""

    def __init__(self, points: Points, row: int) -> None:
        self._points, self._row = points, row
        self.subjects: dict[Level, str] = {}
        for key in points.keys:
            level = _level(key)
            if level is not None and self.value(key) is not None:
                self.subjects[level] = split_key(key)[1]

    def value(self, key: str) -> float | None:
        found = self._cell("value", key)
        return found if found is not None and math.isfinite(found) else None

    def interval(self, key: str) -> Interval | None:
        value = self.value(key)
        if value is None:
            return None
        ends = [self._cell(name, key) for name in ("low", "high")]
        known = all(end is not None and math.isfinite(end) for end in ends)
        return Interval(value, *ends) if known else Interval(value)

    def doubt(self, keys: Iterable[str]) -> float | None:
        """The largest relative standard error of ``keys``; None if one of them has no interval."""
        errors = []
        for one in map(self.interval, keys):
            if one is None or one.low is None or one.high is None or one.low <= 0:
                return None
            errors.append(math.log(one.high / one.low) / 2 / NORMAL)
        return max(errors, default=None)

    def modelled(self, keys: Iterable[str]) -> bool:
        known = [key for key in keys if self.value(key) is not None]
        methods = {self._points.method[key].iloc[self._row] for key in known}
        return bool(methods & {Method.MODELLED, Method.MODELLED.value})

    def disturbed(self, keys: Iterable[str]) -> bool:
        known = (key for key in keys if self.value(key) is not None)
        return any(bool(self._points.disturbed[key].iloc[self._row]) for key in known)

    def _cell(self, table: str, key: str) -> float | None:
        frame = getattr(self._points, table)
        return float(frame[key].iloc[self._row]) if key in frame.columns else None


def _of(figures: _Figures, name: str, level: Level) -> float | None:
    return figures.value(f"{name}@{figures.subjects[level]}")


def _usable(figures: _Figures, workload: str) -> list[tuple[Level, float]]:
    """The levels of a workload and how many requests each served at once, ascending.

    Numbers of users are taken where there are any but one alone; a rate by Little's law, if the server kept up with it.
    """
    known = [level for level in figures.subjects if level.workload == workload and _e2e(figures, level)]
    users = {level: level.value for level in known if level.kind == "users"}
    rates: dict[Level, float] = {}
    for level in (one for one in known if one.kind == "rate"):
        done, offered = _of(figures, "request_rate", level), _of(figures, "offered_rate", level)
        each = _e2e(figures, level)
        if done and each and done >= KEEPS_UP * (offered or level.value):
            rates[level] = done * each
    chosen = users if len(users) > 1 or not rates else {**users, **rates}
    ordered = sorted(chosen.items(), key=lambda pair: pair[1])
    # Two levels as good as the same would make a curve with a jump.
    return [pair for i, pair in enumerate(ordered) if i == 0 or pair[1] > ordered[i - 1][1] * 1.001]


def _e2e(figures: _Figures, level: Level) -> float | None:
    return _of(figures, "e2e_s.mean", level) or _of(figures, "e2e_s.median", level)


def _speed_key(figures: _Figures, level: Level) -> str:
    subject = figures.subjects[level]
    rate = f"request_rate@{subject}"
    interval = figures.interval(rate)
    if interval is not None and interval.low is not None:
        return rate
    return next((k for k in (f"output_tps@{subject}", f"e2e_s.mean@{subject}") if figures.value(k)), rate)


def _times(figures: _Figures, level: Level, busy: float) -> tuple[float, float]:
    """Mean prefill and decode time at a level, s.

    In a closed loop an answer takes users over throughput in the steady window (Little's law): the mean over all
    requests would count those, too, that came before all users were there.
    """
    each = _e2e(figures, level)
    assert each is not None
    rate = _of(figures, "request_rate", level)
    if level.kind == "users" and rate:
        each = busy / rate
    first = _of(figures, "ttft_s.mean", level) or _of(figures, "ttft_s.median", level) or each / 2
    first = min(first, 0.99 * each)
    return first, each - first


def _output_tokens(figures: _Figures, level: Level) -> float:
    tokens, rate = _of(figures, "output_tps", level), _of(figures, "request_rate", level)
    return tokens / rate if tokens and rate else 2.0


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _steady(runs: Sequence[Sequence[RequestRecord]], level: Level) -> list[RequestRecord]:
    """The requests at ``level`` that were asked and answered while the load held."""
    found = []
    for records in runs:
        mine = [r for r in records if level_of(r.workload) == level]
        users = int(level.value) if level.kind == "users" else 1
        window = latency.steady_window(mine, users, open_loop=level.kind == "rate")
        if window is not None:
            found += [r for r in latency.complete(mine) if window[0] <= r.submitted_ns <= window[1]]
    return found


def _variation(records: Sequence[RequestRecord]) -> FloatArray:
    if len(records) < 2:
        return ALIKE
    times = np.array([[latency.ttft_s(r), latency.e2e_s(r) - latency.ttft_s(r)] for r in records])
    means = times.mean(axis=0)
    return np.asarray(times / means) if (means > 0).all() else ALIKE


def _power(
    figures: _Figures, levels: Sequence[tuple[Level, float]]
) -> tuple[PowerCurve | None, float | None, float | None]:
    """Power against how many are served, and the doubts of its dynamic and idle part.

    A counter that counts the machine has its idle power subtracted; it is added again, for a replica draws it.
    """
    found: list[tuple[float, float]] = []
    keys = []
    for level, busy in levels:
        net, energy, gross = (_of(figures, name, level) for name in ("power_w", "energy_j", "energy_gross_j"))
        if net is None:
            continue
        idle = figures.value("idle_power_w@idle") or 0.0
        whole = net * gross / energy if energy and gross and energy > 0 else net + idle
        found.append((busy, whole))
        each = _of(figures, "energy_per_request_j", level)
        keys.append(f"{'power_w' if each is None else 'energy_per_request_j'}@{figures.subjects[level]}")
    if not found:
        return None, None, None
    idle_key = next((k for k in ("idle_power_w@loaded_idle", "idle_power_w@idle") if figures.value(k) is not None), "")
    notes = []
    modelled = figures.modelled([*keys, idle_key])
    if modelled:
        notes.append(
            "Energy is modelled, not measured, and counts the engine's processes alone: set the idle power of the "
            "machine, or a fleet seems to wait for nothing."
        )
    if not idle_key:
        notes.append("The power of a replica that waits is not known and is taken as nothing: set it.")
    watts = PowerCurve(
        idle_w=figures.value(idle_key) or 0.0, levels=np.array([b for b, _ in found]),
        watts=np.array([w for _, w in found]), modelled=modelled, notes=tuple(notes),
    )  # fmt: skip
    return watts, figures.doubt(keys), figures.doubt([idle_key]) if idle_key else None
