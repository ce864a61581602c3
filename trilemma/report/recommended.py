"""The recommendation of a report: the pick in sentences, the decision map, and the ranking."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from trilemma.analysis.format import key_title
from trilemma.analysis.points import labels
from trilemma.charts.ternary import decision_map_figure, decision_map_text
from trilemma.report.decision import Decision
from trilemma.report.gather import Material
from trilemma.report.parts import Chart, Column, Listing, Section, Table, Value, cells, drawn
from trilemma.report.words import probability
from trilemma.schema import Axis

_RANKED = 20


def recommendation(material: Material) -> Section | None:
    """What to take, how surely, and what would change it; None where an axis is missing."""
    found = material.decision
    if found is None:
        return None
    told = found.told
    lists = [
        Listing("Limits", told.limits),
        Listing("What would change it", told.changes),
        Listing("Before you rely on it", told.caveats),
    ]
    chart = decision_chart(material, found)
    return Section(
        "recommendation",
        "The recommendation",
        lead=(told.headline,),
        paragraphs=tuple(text for text in (told.sureness, told.judged, *told.against) if text),
        charts=(chart,) if chart is not None else (),
        tables=(ranking_table(found),) if found.ranking is not None else (),
        lists=tuple(one for one in lists if one.points),
    )


def decision_chart(material: Material, found: Decision) -> Chart | None:
    """The decision map; None where there is nothing to choose between."""
    whole = found.map
    if whole is None:
        return None
    light, dark = drawn(lambda dark: decision_map_of(material, dark) or go.Figure())
    ids, names = found.points.meta.index, labels(found.points).tolist()
    rows = [
        [*weights, names[winner], ids[winner], share]
        for weights, winner, share in zip(whole.weights, whole.winner, whole.probability, strict=True)
    ]
    return Chart(
        name="decision-map",
        title="Who wins under which priorities",
        alt=decision_map_text(whole, found.points),
        light=light,
        dark=dark,
        columns=(*Axis, "winner", "configuration_id", "probability"),
        rows=cells(rows),
        caption="Every point is a mix of priorities, in the colour of the configuration that wins there. Each "
        "corner is one priority alone, the ring is the mix that was asked for. Colours run into one another where it "
        "is open who wins.",
    )


def decision_map_of(material: Material, dark: bool) -> go.Figure | None:
    """The figure of the decision map."""
    found = material.decision
    if found is None or found.map is None:
        return None
    return decision_map_figure(
        found.map, found.points, weights=found.priorities.shares, models=material.colours(dark), dark=dark
    )


def ranking_table(found: Decision) -> Table:
    """The configurations by the probability to be the best, those that may win first."""
    assert found.ranking is not None
    chance, names = found.ranking.probability, labels(found.points).tolist()
    order = [row for row in np.lexsort((np.arange(len(chance)), -chance)) if found.eligible[row]]
    rows = [
        (Value(str(names[row])), Value(probability(float(chance[row]))), Value(probability(float(found.kept[row]))))
        for row in order[:_RANKED]
    ]
    judged = "; ".join(f"{axis}: {key_title(found.priorities.axes[axis])}" for axis in Axis)
    left = found.beaten + len(found.points) - len(rows)
    note = f"By draws of what could as well have been measured ({judged})."
    if left:
        note += f" {left:,} more keep not all limits, lack a figure, or come after these."
    columns = (
        Column("Configuration"),
        Column("Is the best", f"under {found.priorities.words}", numbers=True),
        Column("Keeps all limits", numbers=True),
    )
    return Table("Configurations by the probability to be the best", columns, tuple(rows), note)
