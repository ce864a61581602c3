"""The recommendation of a report: the pick in sentences, the decision map, and the ranking."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from trilemma.analysis.differences import in_draws
from trilemma.analysis.format import key_title
from trilemma.analysis.points import labels
from trilemma.charts.tables import map_table
from trilemma.charts.ternary import decision_map_figure, decision_map_text
from trilemma.report.decision import Decision
from trilemma.report.gather import Material
from trilemma.report.parts import Chart, Column, Listing, Section, Table, Value, drawn, rows_of
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
    columns, rows = rows_of(map_table(whole, found.points))
    return Chart(
        name="decision-map",
        title="Who wins under which priorities",
        alt=decision_map_text(whole, found.points),
        light=light,
        dark=dark,
        columns=columns,
        rows=rows,
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
    """The configurations that keep the limits, those that win most draws first."""
    assert found.ranking is not None
    chance, names = found.ranking.probability, labels(found.points).tolist()
    order = [row for row in np.lexsort((np.arange(len(chance)), -chance)) if found.eligible[row]]
    count, limited = len(found.draws.values), bool(found.limits)
    rows = []
    for row in order[:_RANKED]:
        cells = [str(names[row]), in_draws(float(found.ranking.probability[row]), count)]
        cells += [in_draws(float(found.kept[row]), count)] if limited else []
        rows.append(tuple(map(Value, cells)))
    judged = "; ".join(f"{axis}: {key_title(found.priorities.axes[axis])}" for axis in Axis)
    left = found.beaten + len(found.points) - len(rows)
    note = f"By draws of what could as well have been measured ({judged})."
    if left:
        note += f" {left:,} more break a limit, lack a figure, or come after these."
    columns = [Column("Configuration"), Column("Wins in", f"under {found.priorities.words}", numbers=True)]
    columns += [Column("Keeps all limits in", numbers=True)] if limited else []
    return Table("Configurations by how often they win", tuple(columns), tuple(rows), note)
