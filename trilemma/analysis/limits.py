"""Limits that a user sets on figures, written as ``peak_memory_bytes <= 400 MiB``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trilemma.analysis.draws import Draws
from trilemma.analysis.format import find_key, key_definition, scale_for
from trilemma.analysis.front import BoolArray, FloatArray
from trilemma.analysis.points import Points
from trilemma.errors import TrilemmaError

_MAX_CHARS = 300
_OPERATOR = re.compile(r"<=|>=|<|>|≤|≥")
_AMOUNT = re.compile(r"(?P<number>[-+.0-9,eE]{1,30})\s*(?P<unit>\S{0,20})")
_SPELLED = {"≤": "<=", "≥": ">=", "<": "<=", ">": ">="}
_FACTORS = {"": 1.0, "n": 1e-9, "µ": 1e-6, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    prefix: 2.0**power for prefix, power in (("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40))
}


@dataclass(frozen=True)
class Limit:
    """A figure must be at most (``<=``) or at least (``>=``) ``value``, in the figure's base unit."""

    key: str
    op: str
    value: float


def _factor(unit: str, base: str, text: str) -> float:
    """What one ``unit`` is in ``base`` units."""
    if not unit:
        return 1.0
    if unit == "%" and not base:
        return 0.01
    head, _, tail = base.partition("/")
    wanted_head, _, wanted_tail = unit.partition("/")
    if wanted_head.endswith(head) and (not wanted_tail or wanted_tail == tail) and head:
        prefix = wanted_head[: len(wanted_head) - len(head)]
        if prefix in _FACTORS:
            return _FACTORS[prefix]
    raise TrilemmaError(
        f"{unit!r} in {text!r} is not a unit of this figure.",
        f"Give it in {base} (with a prefix such as m, k, Mi if you like)." if base else "It has no unit.",
    )


def parse_limit(text: str, keys: Iterable[str]) -> Limit:
    """Read one limit on one of ``keys``.

    Raises:
        TrilemmaError: it is not a limit, the figure is unknown or ambiguous, or the unit is another figure's.
    """
    # Step by step: one expression for all of it would try every way to share out the blanks of a hostile link.
    sign = _OPERATOR.search(text) if len(text) <= _MAX_CHARS else None
    name = text[: sign.start()].strip() if sign else ""
    amount = _AMOUNT.fullmatch(text[sign.end() :].strip()) if sign else None
    if sign is None or amount is None or not name:
        raise TrilemmaError(f"{text[:_MAX_CHARS]!r} is not a limit.", "Write one as: peak_memory_bytes <= 400 MiB.")
    key = find_key(name, keys)
    factor = _factor(amount["unit"], key_definition(key).unit, text)
    try:
        value = float(amount["number"].replace(",", "")) * factor
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise TrilemmaError(f"{amount['number']!r} in {text!r} is not a number.", "Write one as: 0.5 or 400.")
    return Limit(key, _SPELLED.get(sign[0], sign[0]), value)


def within(points: Points, limits: Sequence[Limit]) -> BoolArray:
    """Which points keep all ``limits``; a point that lacks a limited figure is not known to, so it does not."""
    inside = np.ones(len(points), dtype=np.bool_)
    for limit in limits:
        inside &= kept(points.value[limit.key].to_numpy(dtype=np.float64), limit)
    return inside


@dataclass(frozen=True)
class Relaxation:
    """One limit that, loosened alone to ``value`` (in base units), lets in the configuration at ``admits``."""

    limit: Limit
    value: float
    admits: int

    @property
    def loosened(self) -> Limit:
        """The limit as it would have to be."""
        return Limit(self.limit.key, self.limit.op, self.value)


def kept(values: FloatArray, limit: Limit) -> BoolArray:
    """Where ``values`` (in the figure's base unit) keep ``limit``; what is unknown does not."""
    with np.errstate(invalid="ignore"):
        found: BoolArray = (values <= limit.value) if limit.op == "<=" else (values >= limit.value)
    return found


def keeps(draws: Draws, limits: Sequence[Limit]) -> FloatArray:
    """In which share of draws each configuration keeps each limit: configurations x limits; 0 without the figure."""
    found: FloatArray = np.zeros((len(draws.points), len(limits)))
    for column, limit in enumerate(limits):
        found[:, column] = kept(draws.each([limit.key])[0], limit).mean(axis=0)
    return found


def keeps_in_draws(draws: Draws, limits: Sequence[Limit]) -> BoolArray:
    """Where each configuration keeps all of ``limits`` at once: draws x configurations; nowhere without a figure."""
    together = np.ones(draws.values.shape[:2], dtype=np.bool_)
    for limit in limits:
        together &= kept(draws.each([limit.key])[0], limit)
    return together


def keeps_all(draws: Draws, limits: Sequence[Limit]) -> FloatArray:
    """In which share of draws each configuration keeps all of ``limits`` at once; 0 without a figure."""
    share: FloatArray = keeps_in_draws(draws, limits).mean(axis=0)
    return share


def relaxation(draws: Draws, limits: Sequence[Limit], among: BoolArray | None = None) -> Relaxation | None:
    """The limit that has to be loosened least, in proportion, for a configuration to keep all; None if none alone does.

    Args:
        draws: Of the limited figures.
        limits: Which no configuration keeps all of, as measured.
        among: Which configurations are wanted in; all if None.
    """
    best: tuple[float, Relaxation] | None = None
    for limit in limits:
        others = within(draws.points, [one for one in limits if one is not limit])
        values = draws.points.value[limit.key].to_numpy(dtype=np.float64)
        wanted = others & np.isfinite(values) & (True if among is None else among)
        for row in np.flatnonzero(wanted):
            size = abs(float(values[row]) - limit.value) / max(abs(limit.value), 1e-300)
            if best is None or size < best[0]:
                best = size, Relaxation(limit, _outward(float(values[row]), limit), int(row))
    return best[1] if best else None


@dataclass(frozen=True)
class Exclusion:
    """The one of several limits that alone shuts out most configurations: ``count`` of them keep all others.

    ``next`` is the least loosening that lets one more in.
    """

    count: int
    next: Relaxation


def exclusion(points: Points, limits: Sequence[Limit], among: BoolArray | None = None) -> Exclusion | None:
    """Which limit shuts out most of those that keep all others, as measured; None if none shuts out any alone.

    Of limits that shut out equally many, the one that has to be loosened least in proportion.

    Args:
        points: What is chosen among.
        limits: On figures of ``points``; a configuration without the figure is not let in by any loosening.
        among: Which configurations count; all if None.
    """
    best: tuple[int, float, Exclusion] | None = None
    for limit in limits:
        others = within(points, [one for one in limits if one is not limit])
        values = points.value[limit.key].to_numpy(dtype=np.float64)
        out = np.flatnonzero(
            others & np.isfinite(values) & ~kept(values, limit) & (True if among is None else among)
        )  # fmt: skip
        if not out.size:
            continue
        row = int(out[np.argmin(np.abs(values[out] - limit.value))])
        size = abs(float(values[row]) - limit.value) / max(abs(limit.value), 1e-300)
        if best is None or (-out.size, size) < best[:2]:
            best = (
                -out.size,
                size,
                Exclusion(int(out.size), Relaxation(limit, _outward(float(values[row]), limit), row)),
            )
    return best[2] if best else None


def _outward(value: float, limit: Limit) -> float:
    """``value`` to three digits as it is written, rounded so that it is kept."""
    scale = scale_for([value], key_definition(limit.key).unit)
    shown = scale.show(value)
    if shown == 0:
        return value
    exponent = math.floor(math.log10(abs(shown))) - 2
    outward = 1 if limit.op == "<=" else -1
    rounded = math.ceil(shown / 10.0**exponent) if outward > 0 else math.floor(shown / 10.0**exponent)
    # Read as it is written: a product with 0.01 may end a hair on the wrong side. Nor need the quotient be exact.
    while not kept(np.array([value]), Limit(limit.key, limit.op, end := float(f"{rounded}e{exponent}") * scale.factor)):
        rounded += outward
    return end
