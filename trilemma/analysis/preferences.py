"""Figures and limits as a preset or a link names them, found among the figures that a study has measured."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from trilemma.analysis.format import find_key, key_definition, key_title, scale_for
from trilemma.analysis.headline import HEADLINES
from trilemma.analysis.limits import Limit, parse_limit
from trilemma.analysis.points import axis_of
from trilemma.analysis.subjects import level_of, subject_title
from trilemma.errors import TrilemmaError
from trilemma.figures import FIGURES
from trilemma.schema import Axis, measurement_key, split_key

_STATISTICS = ("", "median", "mean", "p95", "p90", "p99")
_OPERATOR = re.compile(r"<=|>=|<|>|≤|≥")
_SIGNS = {"<=": "≤", ">=": "≥"}
_USUAL = {axis: HEADLINES[axis] for axis in Axis} | {
    Axis.PERFORMANCE: ("accuracy_norm@hellaswag", *HEADLINES[Axis.PERFORMANCE])
}
"""What stands for an axis where nobody says otherwise."""


@dataclass(frozen=True)
class StatedLimit:
    """A limit as somebody wrote it; ``limit`` is None where the study has not measured its figure.

    ``name`` is the figure as written, without operator and number.
    """

    text: str
    name: str
    limit: Limit | None


def find_figure(wanted: str, keys: Iterable[str], subjects: Sequence[str] = ()) -> str | None:
    """The one of ``keys`` that ``wanted`` (``figure[.statistic][@subject]``) means best; None where there is none.

    What ``wanted`` leaves open is chosen: of the subjects the first of ``subjects``, then the order of ``keys``; of
    several loads exactly the one named, then the lightest; of the statistics the one number, the median, the mean.

    Args:
        wanted: A figure, with a statistic and a subject or without.
        keys: What was measured.
        subjects: Workloads and suites, the preferred first.
    """
    figure, subject, statistic = split_key(wanted)
    found: list[tuple[tuple[float, ...], str]] = []
    for position, key in enumerate(keys):
        name, about, of = split_key(key)
        if name != figure or (statistic and of != statistic):
            continue
        fits = _fit(about, [subject] if subject else subjects)
        if subject and fits is None:
            continue
        level = level_of(about)
        rank = fits or (len(subjects), 0)
        order = _STATISTICS.index(of) if of in _STATISTICS else len(_STATISTICS)
        found.append(((*rank, level.value if level else 0.0, order, position), key))
    return min(found)[1] if found else None


def _fit(about: str, wanted: Sequence[str]) -> tuple[int, int] | None:
    """How well a measurement's subject fits the subjects that are wanted: the place among them, 0 if exactly so."""
    level = level_of(about)
    bases = {about.partition(":")[0], *((level.workload, level.workload.partition(":")[0]) if level else ())}
    for place, one in enumerate(wanted):
        if about == one:
            return place, 0
        # A subject under another load stands in, but one that names its load is not met by another.
        if one in bases:
            return place, 1
    return None


def axis_keys(
    preferences: Mapping[Axis, Sequence[str]], keys: Sequence[str], subjects: Sequence[str] = ()
) -> dict[Axis, str]:
    """For each axis the first preferred figure that is among ``keys``, else the one that usually stands for the axis.

    An axis of which nothing was measured is left out.
    """
    found: dict[Axis, str] = {}
    for axis in Axis:
        hits = (find_figure(name, keys, subjects) for name in (*preferences.get(axis, ()), *_USUAL[axis]))
        key = next((hit for hit in hits if hit), next((key for key in keys if axis_of(key) is axis), None))
        if key is not None:
            found[axis] = key
    return found


def read_limit(text: str, keys: Sequence[str], subjects: Sequence[str] = ()) -> StatedLimit:
    """Read a limit on a figure that ``keys`` may lack.

    Raises:
        TrilemmaError: it is not a limit, no figure has that name, or the unit is another figure's.
    """
    name, known = _OPERATOR.split(text, maxsplit=1)[0].strip(), list(keys)
    try:
        return StatedLimit(text, name, parse_limit(text, known))
    except TrilemmaError:
        key = find_figure(name, known, subjects) or find_figure(_named(name), known, subjects)
        if key is not None:
            return StatedLimit(text, name, parse_limit(text.replace(name, key, 1), [key]))
    # Only to see whether it is a limit at all: its figure is not among those measured.
    meant = _named(name)
    parse_limit(text.replace(name, meant, 1) if name else text, [meant])
    return StatedLimit(text, name, None)


def _named(name: str) -> str:
    """The figure that a title means; the name itself where it is none."""
    try:
        return find_key(name, FIGURES)
    except TrilemmaError:
        return name


def figure_words(key: str) -> str:
    """A figure as it stands inside a sentence: ``time to first token, p95, on short chat``."""
    name, subject, statistic = split_key(key)
    if name not in FIGURES:
        return key
    title = lower_first(key_title(measurement_key(name, "", statistic)))
    comma = "," if ", " in title else ""
    return f"{title}{comma} on {subject_title(subject)}" if subject else title


def limit_words(limit: Limit) -> str:
    """``peak memory ≤ 400 MiB``."""
    scale = scale_for([limit.value], key_definition(limit.key).unit)
    # A limit is as exact as somebody set it: no digits of measured figures.
    return (
        f"{figure_words(limit.key)} {_SIGNS.get(limit.op, limit.op)} {scale.show(limit.value):.4g} {scale.unit}".strip()
    )


def limit_text(limit: Limit) -> str:
    """The limit as :func:`trilemma.analysis.limits.parse_limit` reads it: ``peak_memory_bytes <= 400 MiB``."""
    scale = scale_for([limit.value], key_definition(limit.key).unit)
    return f"{limit.key} {limit.op} {scale.show(limit.value):.6g} {scale.unit}".strip()


def lower_first(text: str) -> str:
    """``text`` as it stands inside a sentence: ``peak memory``, but ``KL divergence``."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def upper_first(text: str) -> str:
    """``text`` as it begins a sentence."""
    return text[:1].upper() + text[1:]
