"""Figures as people read them: three significant digits, a prefix that fits, the unit beside the number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trilemma.analysis.subjects import subject_title
from trilemma.errors import TrilemmaError
from trilemma.figures import FIGURES, FigureDefinition, figure
from trilemma.schema import measurement_key, split_key

BLANK = "–"
"""Stands where there is no figure."""

_FAR_NARROWER = 10
_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_SECONDS = tuple(step for step in _SI if step[0] <= 1.0)
_BINARY = ((2.0**40, "Ti"), (2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"), (1.0, ""))
_PREFIXES = {"J": _SI, "W": _SI, "Hz": _SI, "B": _BINARY, "s": _SECONDS}


@dataclass(frozen=True)
class Scale:
    """A unit with a prefix: ``value / factor`` is what is shown, in ``unit``."""

    factor: float
    unit: str

    def show(self, value: float) -> float:
        """``value`` (in the base unit) as a number of ``unit``."""
        return value / self.factor


def scale_for(values: Iterable[float | None], unit: str) -> Scale:
    """The one prefix that suits ``values`` (in ``unit``) best: the middle one of them gets 1 to 999 (1 to 1023 for B).

    Only the part of ``unit`` before a slash takes a prefix (``J/tok`` becomes ``mJ/tok``); rates such as ``tok/s`` and
    figures without a unit are left as they are.
    """
    head, slash, tail = unit.partition("/")
    steps = _PREFIXES.get(head)
    if steps is None:
        return Scale(1.0, unit)
    table = np.asarray(values if isinstance(values, np.ndarray) else list(values), dtype=np.float64)
    sizes = np.abs(table[np.isfinite(table) & (table != 0)])
    if not len(sizes):
        return Scale(1.0, unit)
    middle = float(np.partition(sizes, len(sizes) // 2)[len(sizes) // 2])
    factor, prefix = next((step for step in steps if middle >= step[0]), steps[-1])
    return Scale(factor, f"{prefix}{head}{slash}{tail}")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def digits(value: float | None, significant: int = 3) -> str:
    """``value`` with ``significant`` digits and thousands apart, never in E notation above 1e-6; blank when unknown."""
    if value is None or not math.isfinite(value):
        return BLANK
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    try:
        rounded = round(value, significant - 1 - exponent)
    except OverflowError:  # up from the largest that there are
        rounded = value
    if rounded != 0:
        exponent = math.floor(math.log10(abs(rounded)))
    if exponent < -6:
        return f"{rounded:.{significant - 1}e}"
    return f"{rounded:,.{max(0, significant - 1 - exponent)}f}"


def number_and_unit(value: float | None, unit: str) -> tuple[str, str]:
    """The number and its scaled unit, apart, for layouts that set them in different type."""
    scale = scale_for([value], unit)
    return (digits(scale.show(value)), scale.unit) if value is not None and _known(value) else (BLANK, "")


def interval_text(value: float | None, low: float | None, high: float | None, scale: Scale) -> str:
    """``±1.2``, or ``93.0 to 97.1`` where the interval is clearly lopsided; empty where it is unknown.

    ``±<0.01`` where it is far narrower than the last digit that is shown of ``value``.
    """
    if value is None or low is None or high is None or not all(map(_known, (value, low, high))):
        return ""
    below, above = value - low, high - value
    if below < 0 or above < 0 or max(below, above) > 1.5 * min(below, above) + 1e-12 * abs(value):
        return f"{digits(scale.show(low))} to {digits(scale.show(high))}"
    half, last = scale.show((high - low) / 2), _last_digit(scale.show(value))
    return f"±<{digits(last, 1)}" if 0 < half < last / _FAR_NARROWER else f"±{digits(half, 2)}"


def _last_digit(value: float) -> float:
    """What one step of the last digit is worth that :func:`digits` shows."""
    return 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 0.0


def format_figure(value: float | None, unit: str, low: float | None = None, high: float | None = None) -> str:
    """``94.1 tok/s ±1.2``; blank where ``value`` is unknown. ``value``, ``low`` and ``high`` are in ``unit``."""
    return format_scaled(value, scale_for([value], unit), low, high)


def format_scaled(value: float | None, scale: Scale, low: float | None = None, high: float | None = None) -> str:
    """``94.1 tok/s ±1.2`` or ``94.1 tok/s (93.0 to 97.1)``, in the unit of ``scale``; blank where it is unknown."""
    if value is None or not _known(value):
        return BLANK
    between = interval_text(value, low, high, scale)
    if between and not between.startswith("±"):
        between = f"({between})"
    return " ".join(part for part in (digits(scale.show(value)), scale.unit, between) if part)


def format_duration(seconds: float | None) -> str:
    """``42 s``, ``3 min 20 s``, ``1 h 5 min``; blank when unknown."""
    if seconds is None or not math.isfinite(seconds):
        return BLANK
    if seconds < 60:
        return f"{digits(seconds)} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def key_definition(key: str) -> FigureDefinition:
    """The definition behind a measurement key.

    Raises:
        TrilemmaError: it names no known figure.
    """
    return figure(split_key(key)[0])


def key_title(key: str) -> str:
    """``Time to first token, p95, short chat``; the key itself where the figure is unknown (an import's own)."""
    name, subject, statistic = split_key(key)
    definition = FIGURES.get(name)
    if definition is None:
        return key
    return ", ".join(part for part in (definition.title, statistic, subject_title(subject)) if part)


def short_titles(keys: Sequence[str]) -> dict[str, str]:
    """Titles for narrow columns: without workload or suite, except where two would then be the same."""
    bare = {key: key_title(measurement_key(split_key(key)[0], "", split_key(key)[2])) for key in keys}
    return {key: title if list(bare.values()).count(title) == 1 else key_title(key) for key, title in bare.items()}


def axis_title(key: str, scale: Scale) -> str:
    """Title of a chart axis: what, in which unit, and which way is better; less-is-better axes are drawn reversed."""
    definition = key_definition(key)
    unit = f", {scale.unit}" if scale.unit else ""
    better = "less is better: axis reversed" if definition.better == "lower" else "more is better"
    return f"{key_title(key)}{unit} ({better})"


def find_key(name: str, keys: Iterable[str]) -> str:
    """The one of ``keys`` that ``name`` means: the key itself, its title, or a figure that occurs once.

    Raises:
        TrilemmaError: none or several fit.
    """
    wanted = " ".join(name.split()).casefold()
    known = list(keys)
    for spelled in (lambda key: key, key_title, lambda key: split_key(key)[0], _figure_title):
        hits = [key for key in known if spelled(key).casefold() == wanted]
        if len(hits) == 1:
            return hits[0]
        if hits:
            raise TrilemmaError(f"{name!r} could be any of {', '.join(hits)}.", "Name one of them in full.")
    raise TrilemmaError(f"No figure here is named {name!r}.", f"There are: {', '.join(known) or 'none'}.")


def _figure_title(key: str) -> str:
    name = split_key(key)[0]
    return FIGURES[name].title if name in FIGURES else name


def base_key(key: str) -> str:
    """``key`` without its statistic: what several statistics of one thing share."""
    name, subject, _ = split_key(key)
    return measurement_key(name, subject)
