"""Pictures of a plan: replicas through the day, cost by deployment and by volume, and what moves it (tornado)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trilemma.analysis.format import digits
from trilemma.charts.palette import FONT, escape, layout, theme
from trilemma.planning.arrays import FloatArray
from trilemma.planning.break_even import Volumes
from trilemma.planning.cost import Bill, Kind
from trilemma.planning.fleet import Fleet
from trilemma.planning.sensitivity import Effect, Swing
from trilemma.planning.words import KIND_WORDS, effect_words, money, money_between

_HEIGHT = 420
_ROW = 54
_DASHES: dict[Kind, str] = {"cloud": "solid", "on-premise": "dash", "edge": "dot"}
_SYMBOLS: dict[Kind, str] = {"cloud": "circle", "on-premise": "square", "edge": "diamond"}
_WIDE = 30.0
"""Costs that differ by more than this factor are shown on a logarithmic axis."""


def day_figure(fleet: Fleet, *, dark: bool = False) -> go.Figure:
    """Replicas that each hour takes, those in reserve hollow, and below them the requests that come."""
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    hours = np.arange(24)
    needed, running = fleet.needed, fleet.running
    told = [
        f"<b>{hour}:00</b><br>{digits(rate)} requests/s<br>{need} needed, {run} running"
        for hour, rate, need, run in zip(hours, fleet.rates, needed, running, strict=True)
    ]
    common = {"x": hours + 0.5, "width": 0.9, "hovertext": told, "hovertemplate": "%{hovertext}<extra></extra>"}
    figure.add_bar(
        y=needed, name="needed to keep the limits",
        marker={"color": look.muted, "line": {"width": 1.2, "color": look.muted}}, **common,
    )  # fmt: skip
    figure.add_bar(
        y=running - needed, name="in reserve",
        marker={"color": "rgba(0,0,0,0)", "line": {"width": 1.2, "color": look.muted}}, **common,
    )  # fmt: skip
    figure.add_scatter(
        x=np.repeat(np.arange(25), 2)[1:-1], y=np.repeat(fleet.rates, 2), yaxis="y2", mode="lines", fill="tozeroy",
        line={"color": look.muted, "width": 1.5}, fillcolor=look.shade, showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(
        title_text="Hour of the day", range=[0, 24], tickvals=list(range(0, 25, 3)), fixedrange=True, anchor="y2",
    )  # fmt: skip
    figure.update_yaxes(fixedrange=True, rangemode="tozero")
    figure.update_layout(
        barmode="stack", height=_HEIGHT, bargap=0, hovermode="closest",
        yaxis={"title": {"text": "Replicas"}, "domain": [0.36, 1], "dtick": 1 if running.max() <= 8 else None},
        legend={"y": 1.02, "yanchor": "bottom", "traceorder": "normal"}, margin_r=20,  # the 24 of midnight
    )  # fmt: skip
    below = figure.layout.yaxis.to_plotly_json() | {"domain": [0, 0.26], "dtick": None, "nticks": 3}
    figure.update_layout(yaxis2=below | {"title": {**below["title"], "text": "Requests/s"}})
    return figure


def cost_figure(bills: Mapping[Kind, Bill], currency: str, *, dark: bool = False) -> go.Figure:
    """What each deployment costs a month, with its interval; right is better. Blank where it is not known."""
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    names = [KIND_WORDS[kind] for kind in bills]
    known = [(KIND_WORDS[kind], kind, bill.cost) for kind, bill in bills.items() if bill.cost is not None]
    figure.add_scatter(
        x=[cost.value for _, _, cost in known], y=[name for name, _, _ in known], mode="markers+text",
        marker={"size": 14, "color": look.text, "symbol": [_SYMBOLS[kind] for _, kind, _ in known]},
        text=[escape(money(cost.value, currency)) for _, _, cost in known], textposition="top center",
        textfont={"family": FONT, "size": 14, "color": look.text}, cliponaxis=False, showlegend=False,
        error_x={
            "type": "data", "symmetric": False, "color": look.muted, "thickness": 2, "width": 5,
            "array": [0.0 if cost.high is None else cost.high - cost.value for _, _, cost in known],
            "arrayminus": [0.0 if cost.low is None else cost.value - cost.low for _, _, cost in known],
        },
        hovertext=[
            f"<b>{name}</b><br>{escape(money_between(cost, currency), 90)} a month<br>"
            + "<br>".join(f"{part}: {escape(money(value, currency))}" for part, value in bills[kind].parts.items())
            for name, kind, cost in known
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    values = [cost.value for _, _, cost in known]
    _money_axis(figure, values, currency)
    figure.update_yaxes(
        categoryorder="array", categoryarray=names[::-1], range=[-0.6, len(names) - 0.3], fixedrange=True,
        tickfont={"color": look.text, "size": 14}, ticksuffix="  ",
    )  # fmt: skip
    # Room for the amount above a mark at the edge of a phone.
    figure.update_layout(height=90 + 84 * len(names), hovermode="closest", dragmode=False, margin_r=36)
    return figure


def break_even_figure(found: Volumes, planned: float, currency: str, *, dark: bool = False) -> go.Figure:
    """Cost a month over requests a day, both logarithmic; up is better. Where the cheapest changes is marked."""
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    for kind, costs in found.costs.items():
        figure.add_scatter(
            x=found.volumes, y=np.where(costs > 0, costs, np.nan), mode="lines",
            name=KIND_WORDS[kind] + ("" if kind in found.compared else " (not compared)"),
            line={"color": look.text if kind == "cloud" else look.muted, "width": 2.2, "dash": _DASHES[kind]},
            hovertemplate=f"{KIND_WORDS[kind]}: %{{y:,.4~g}} {escape(currency)} a month<br>"
            "%{x:,.3~g} requests a day<extra></extra>",
        )  # fmt: skip
    last: dict[frozenset[Kind], tuple[float, Kind, Kind]] = {}
    for one in found.crossings:
        last[frozenset((one.below, one.above))] = (one.volume, one.below, one.above)
    marks = [(volume, float(np.interp(np.log(volume), np.log(found.volumes), found.costs[below])), below, above)
             for volume, below, above in last.values()]  # fmt: skip
    if marks:
        figure.add_scatter(
            x=[volume for volume, *_ in marks], y=[cost for _, cost, *_ in marks], mode="markers+text",
            marker={"size": 13, "symbol": "circle-open", "color": look.text, "line": {"width": 2}}, name="break-even",
            text=[f"{digits(volume)} a day" for volume, *_ in marks], cliponaxis=False,
            textposition=[_beside(volume, found.volumes) for volume, *_ in marks],
            textfont={"family": FONT, "size": 12, "color": look.text},
            hovertext=[f"Above {digits(v)} requests a day<br>{KIND_WORDS[above].lower()} costs less than "
                       f"{KIND_WORDS[below].lower()}" for v, _, below, above in marks],
            hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=planned, line={"color": look.line, "width": 1.5, "dash": "dashdot"})
    figure.add_annotation(
        x=np.log10(planned), y=0, yref="paper", text="planned", showarrow=False, xanchor="left", yanchor="bottom",
        xshift=4, font={"size": 12, "color": look.muted},
    )  # fmt: skip
    figure.update_xaxes(type="log", title_text="Requests a day", tickformat="~s", dtick=1)
    figure.update_yaxes(
        type="log", autorange="reversed", tickformat=",~g", dtick=1,
        title_text=f"Cost, {escape(currency)} a month<br>(less is better: axis reversed)",
    )  # fmt: skip
    figure.update_layout(height=_HEIGHT + 20, hovermode="closest", legend={"y": 1.02, "yanchor": "bottom"})
    return figure


def _beside(volume: float, volumes: FloatArray) -> str:
    """Where a label of ``volume`` goes so that it stays inside the chart."""
    low, at, high = (float(np.log(one)) for one in (volumes[0], volume, volumes[-1]))
    place = (at - low) / (high - low)
    return "top right" if place < 0.25 else "top left" if place > 0.75 else "top center"


def tornado_figure(
    swings: Sequence[Swing], base: Effect, currency: str, *, of: str = "cost", dark: bool = False
) -> go.Figure:
    """Each assumption from its low to its high value: how far the monthly cost, or the replicas, move; right is better.

    A side on which the limits cannot be kept reaches to the edge and says so.
    """
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    middle = float(getattr(base, of) or 0.0)
    ends = [float(v) for s in swings for e in (s.low, s.high) if (v := getattr(e, of)) is not None]
    most, least = max([middle, *ends]), min([middle, *ends])
    pad = 0.06 * ((most - least) or max(1.0, most))
    for row, swing in enumerate(swings):
        for effect, filled in ((swing.low, False), (swing.high, True)):
            value = getattr(effect, of)
            end = most + pad if value is None else float(value)
            told = effect_words(effect, currency, of=of)
            figure.add_shape(
                type="rect", x0=middle, x1=end, y0=row - 0.26, y1=row + 0.26,
                fillcolor=look.muted if filled else "rgba(0,0,0,0)", line={"width": 1.2, "color": look.muted},
            )  # fmt: skip
            figure.add_scatter(
                x=[end], y=[row], mode="markers", showlegend=False, marker={"size": 14, "opacity": 0},
                hovertext=f"<b>{escape(swing.name)}: {escape(effect.words)}</b><br>{escape(told)}",
                hovertemplate="%{hovertext}<extra></extra>",
            )  # fmt: skip
            if value is None:
                figure.add_annotation(
                    x=end, y=row, xanchor="left", xshift=6, showarrow=False, text=escape(told),
                    font={"size": 12, "color": look.ground if filled else look.text},
                )  # fmt: skip
        words = f"{escape(swing.low.words, 34)} … {escape(swing.high.words, 34)}"
        figure.add_annotation(
            x=0, xref="paper", y=row, xanchor="left", yanchor="bottom", yshift=15, showarrow=False, align="left",
            text=f"{escape(swing.name)} <span style='color:{look.muted}'>{words}</span>", bgcolor=look.ground,
            font={"size": 12, "color": look.text},
        )  # fmt: skip
    for filled, name in ((False, "at its first value"), (True, "at its second")):
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=name,
            marker={"size": 12, "symbol": "square", "color": look.muted if filled else "rgba(0,0,0,0)",
                    "line": {"width": 1.2, "color": look.muted}},
        )  # fmt: skip
    figure.add_vline(x=middle, line={"color": look.text, "width": 1.5})
    title = f"Cost, {escape(currency)} a month" if of == "cost" else "Replicas, reserve included"
    figure.update_xaxes(title_text=f"{title}<br>(less is better: axis reversed)", range=[most + pad, least - pad])
    figure.update_yaxes(visible=False, range=[len(swings) - 0.4, -0.95], fixedrange=True)
    figure.update_layout(
        height=120 + _ROW * max(1, len(swings)), hovermode="closest", dragmode=False,
        legend={"y": 1.0, "yanchor": "bottom"},
    )  # fmt: skip
    return figure


def _money_axis(figure: go.Figure, values: Sequence[float], currency: str) -> None:
    """Cheaper is to the right; logarithmic where costs are far apart and none is nothing."""
    title = f"Cost, {escape(currency)} a month<br>(less is better: axis reversed)"
    above = [value for value in values if value > 0]
    if above and len(above) == len(values) and max(above) > _WIDE * min(above):
        low, high = np.log10(min(above)), np.log10(max(above))
        pad = 0.14 * (high - low) + 0.05
        figure.update_xaxes(
            type="log", title_text=title, range=[high + pad, low - pad], dtick=1, tickformat=",~g", fixedrange=True
        )
    else:
        most = max([*values, 0.0]) or 1.0
        figure.update_xaxes(title_text=title, range=[1.15 * most, -0.1 * most], fixedrange=True)


def day_table(fleet: Fleet) -> pd.DataFrame:
    """The figures behind :func:`day_figure`."""
    power = fleet.power_w
    return pd.DataFrame(
        {
            "hour": np.arange(24), "requests_per_s": fleet.rates, "replicas_needed": fleet.needed,
            "replicas_running": fleet.running, "power_w": np.full(24, np.nan) if power is None else power,
        }
    )  # fmt: skip


def bills_table(bills: Mapping[Kind, Bill]) -> pd.DataFrame:
    """The figures behind :func:`cost_figure`: base units, intervals apart; blank is not known."""
    rows = []
    for kind, bill in bills.items():
        row: dict[str, object] = {"deployment": kind}
        for name in ("cost", "energy_kwh", "power_w", "co2e_kg"):
            interval = getattr(bill, name)
            for end in ("value", "low", "high"):
                row[name if end == "value" else f"{name}_{end}"] = None if interval is None else getattr(interval, end)
        rows.append(row | {f"cost_{part}": value for part, value in bill.parts.items()})
    return pd.DataFrame(rows)


def volumes_table(found: Volumes) -> pd.DataFrame:
    """The figures behind :func:`break_even_figure`."""
    return pd.DataFrame({"requests_per_day": found.volumes, **{f"cost_{k}": v for k, v in found.costs.items()}})


def tornado_table(swings: Sequence[Swing]) -> pd.DataFrame:
    """The figures behind :func:`tornado_figure`."""
    return pd.DataFrame(
        {
            "assumption": swing.name, "end": end, "value": effect.words, "cost": effect.cost,
            "replicas": effect.replicas,
        }
        for swing in swings for end, effect in (("low", swing.low), ("high", swing.high))
    )  # fmt: skip
