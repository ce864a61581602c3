"""The table of a report: every configuration with the figures that stand for each axis."""

from __future__ import annotations

import numpy as np

from trilemma.analysis.format import BLANK, Scale, digits, interval_text, key_definition, scale_for, short_titles
from trilemma.analysis.odds import Standing
from trilemma.analysis.points import Points, labels
from trilemma.charts.palette import MODEL_COLOURS, quantization_glyph
from trilemma.report.gather import Material
from trilemma.report.parts import Column, Section, Table, Value
from trilemma.report.words import STANDING_WORDS, probability
from trilemma.schema import Axis, Method


def configurations(material: Material) -> Section:
    """Every configuration, drawn or not, in the order of all tables: by model, most bits first."""
    points = material.points
    keys = [key for axis in Axis for key in material.columns[axis]]
    scales = {key: scale_for(points.value[key], key_definition(key).unit) for key in keys}
    standing = dict(zip(material.shown.meta.index, material.odds.standing, strict=True))
    share = dict(zip(material.shown.meta.index, material.odds.probability.tolist(), strict=True))
    marks, rows = _marks(material), []
    whole = {key: _method_of_all(points, key) for key in keys}
    for row, (configuration, name) in enumerate(labels(points).items()):
        mark, kind = marks[row]
        front = _front_cell(standing.get(configuration), share.get(configuration, float("nan")))
        figures = [_figure(points, key, row, scales[key], whole[key]) for key in keys]
        rows.append((Value(str(name), mark=mark, kind=kind), front, *figures))
    note = "In small type the 95 % interval. A dash is a figure that is not known."
    columns = (Column("Configuration"), Column("Front", "of the first picture"), *_columns(keys, scales, whole))
    table = Table("Configurations and their figures", columns, tuple(rows), note)
    return Section("configurations", "All configurations", tables=(table,))


def _columns(keys: list[str], scales: dict[str, Scale], whole: dict[str, Method | None]) -> list[Column]:
    titles, found = short_titles(keys), []
    for key in keys:
        definition, method = key_definition(key), whole[key]
        better = "less is better" if definition.better == "lower" else "more is better"
        parts = [scales[key].unit, better, method.value if method not in (None, Method.MEASURED) and method else ""]
        small = ", ".join(part for part in parts if part)
        found.append(Column(titles[key], small, numbers=True, axis=definition.axis.value))
    return found


def _method_of_all(points: Points, key: str) -> Method | None:
    """How a figure came to be, where that is the same for all; None where it is not."""
    methods = set(points.method[key].dropna())
    return Method(methods.pop()) if len(methods) == 1 else None


def _marks(material: Material) -> list[tuple[str, str]]:
    """The mark that each configuration has in the first picture, and the class of its colour."""
    points, models = material.points, list(material.colours(False))
    hollow = [method == Method.MODELLED for method in points.methods(material.axes)]
    return [
        (quantization_glyph(str(quantization), empty), f"model-{models.index(str(model)) % len(MODEL_COLOURS[False])}")
        for quantization, model, empty in zip(points.meta["quantization"], points.meta["model"], hollow, strict=True)
    ]


def _front_cell(standing: Standing | None, share: float) -> Value:
    if standing is None:
        return Value("not drawn", note="does not pass the view's choices and limits")
    return Value(STANDING_WORDS[standing], probability(share), kind=standing.value)


def _figure(points: Points, key: str, row: int, scale: Scale, whole: Method | None) -> Value:
    value, low, high = (float(part[key].iloc[row]) for part in (points.value, points.low, points.high))
    if not np.isfinite(value):
        return Value(BLANK)
    method = Method(points.method[key].iloc[row])
    disturbed = bool(points.disturbed[key].iloc[row])
    # What a column says for all of its figures is not said of each again.
    notes = [method.value] if whole is None and method is not Method.MEASURED else []
    notes += ["disturbed"] if disturbed else []
    # A figure that is counted, such as a file's size, has no interval.
    interval = interval_text(value, low, high, scale) if high > low else ""
    return Value(digits(scale.show(value)), interval, ", ".join(notes), warning=disturbed)
