"""Compare, figures: every figure side by side, and which differences are more than luck."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from pages import shared
from pages.parts import chart, compare_data, entrance, explore_data
from pages.parts.compare_data import Scene, Version
from pages.parts.explore_view import is_dark
from pages.parts.url_state import Value
from trilemma.analysis.contrasts import LEVEL, Contrast, Verdict, contrasts, shared_keys
from trilemma.analysis.format import BLANK, digits, format_figure, key_definition, key_title, scale_for
from trilemma.analysis.headline import headline_keys
from trilemma.analysis.item_scores import read_item_scores
from trilemma.analysis.points import Points, axis_of
from trilemma.analysis.text import count_of
from trilemma.charts.compare import bars_figure, bars_text, radar_figure
from trilemma.charts.palette import theme
from trilemma.charts.tables import points_table
from trilemma.schema import Axis, Method

DEFAULTS: dict[str, Value] = {"picture": "Bars", "axis": [], "find": "", "told": False}
_PICTURES = ("Bars", "Radar")
_MARKS = {
    Verdict.BETTER: "▲ better", Verdict.WORSE: "▼ worse", Verdict.UNTOLD: "≈", Verdict.SAME: "= the same",
    Verdict.UNKNOWN: "?",
}  # fmt: skip
_HOLLOW = "○"
_SPOKES = 3
_VALUE = 150


def prepare(scene: Scene) -> None:
    """Drop from the URL what is none of the choices."""
    scene.url.keep_to("axis", [axis.value for axis in Axis])
    scene.url.keep_to("picture", _PICTURES)


def show(scene: Scene) -> None:
    """The headline figures as a picture, and below it every figure that two of the configurations have."""
    points = scene.points
    keys = shared_keys(points, explore_data.catalog(scene.of).keys)
    if not keys:
        st.info("No two of these configurations have a figure in common.", icon=":material/info:")
        return
    found = _contrasts(scene.of, scene.study, scene.ids)
    _picture(scene, points, keys)
    st.markdown(f"##### Every figure, against {shared.plain(scene.short[scene.ids[0]])}")
    _verdicts(scene, found)
    listed = _filtered(scene, keys, found)
    if not listed:
        st.info("No figure passes the filter.", icon=":material/filter_alt_off:")
    else:
        _table(scene, points, listed, found)
    tested = sum(one.p is not None for one in found)
    st.caption(
        f"▲ better and ▼ worse: p below {LEVEL:.2g}, corrected by Holm for all {count_of(tested, 'comparison')} of "
        "these configurations, shown or not. ≈ cannot be told apart. Scores whose items are kept are compared item by "
        "item (McNemar's exact test, or a permutation test), everything else by Student's t over the repeats; what is "
        "modelled for one and measured for the other is not compared. Percentages are of the first one's value; the "
        f"95 % interval is of each difference by itself. {_HOLLOW} modelled, not measured."
    )
    st.download_button(
        "Download CSV", data=entrance.later(lambda: export(scene, points, keys, found)),
        file_name="trilemma-compare.csv", mime="text/csv", icon=":material/download:", on_click="ignore",
    )  # fmt: skip


@st.cache_resource(max_entries=16, show_spinner=False)
def _contrasts(of: Version, study: str, ids: tuple[str, ...]) -> list[Contrast]:
    points = compare_data.chosen_points(of, study, ids)
    keys = shared_keys(points, explore_data.catalog(of).keys)
    return contrasts(points, keys, read_item_scores(shared.get_store(), study, points, keys).items)


def _picture(scene: Scene, points: Points, keys: Sequence[str]) -> None:
    by_axis = headline_keys(keys)
    spokes = [key for axis in Axis for key in by_axis[axis]]
    url = scene.url
    if len(spokes) >= _SPOKES:
        st.segmented_control(
            "Picture", _PICTURES, key=url.key("picture"), required=True, label_visibility="collapsed"
        )  # fmt: skip
    if len(spokes) >= _SPOKES and url.text("picture") == "Radar":
        figure = radar_figure(points, spokes, scene.short, scene.looks, dark=is_dark())
        st.plotly_chart(
            figure, theme=None, key="compare_radar", config=chart.config("compared", bars=True),
            alt=bars_text(points, spokes, scene.short),
        )  # fmt: skip
        chart.saves("compare_radar", "compared", lambda: points_table(points, spokes))
        st.caption(
            "The rim is the best of those shown (in bold), the inner ring the worst: a spoke looks as long whether its "
            "ends are far apart or nearly the same. The bars keep proportions."
        )
        return
    for column, axis in zip(st.columns(3, gap="large"), Axis, strict=True):
        with column:
            st.markdown(f"#### {shared.axis_badge(axis)}")
            if not by_axis[axis]:
                st.caption("No headline figure that two of them have.")
                continue
            figure = bars_figure(points, by_axis[axis], scene.short, scene.looks, dark=is_dark())
            st.plotly_chart(
                figure, theme=None, key=f"compare_bars_{axis}", config=chart.config(f"compared {axis}", bars=True),
                alt=bars_text(points, by_axis[axis], scene.short),
            )  # fmt: skip
            chart.saves(f"compare_bars_{axis}", f"compared {axis}", partial(points_table, points, by_axis[axis]))
    st.caption(
        "A full bar is the best of those shown, half a bar half as good: half as fast, or twice as much. Thin lines "
        "are 95 % intervals. Hollow bars are modelled, not measured."
    )


def _verdicts(scene: Scene, found: Sequence[Contrast]) -> None:
    """A line for each of the others: in how many figures it is better, worse, or not to be told apart."""
    first = scene.short[scene.ids[0]]
    lines = []
    for one in scene.ids[1:]:
        mine = [contrast.verdict for contrast in found if contrast.configuration_id == one]
        counts = [
            f"{words} in {mine.count(verdict)}"
            for verdict, words in (
                (Verdict.BETTER, "better"), (Verdict.WORSE, "worse"), (Verdict.UNTOLD, "not told apart"),
                (Verdict.SAME, "the same"), (Verdict.UNKNOWN, "not comparable"),
            )
            if mine.count(verdict)
        ]  # fmt: skip
        lines.append(
            f"- **{shared.plain(scene.short[one])}** against {shared.plain(first)}: {', '.join(counts)} of "
            f"{count_of(len(mine), 'figure')}."
        )
    st.markdown("\n".join(lines))


def _filtered(scene: Scene, keys: Sequence[str], found: Sequence[Contrast]) -> list[str]:
    """The filters, and the keys that pass."""
    url = scene.url
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.pills(
            "Axis", [axis.value for axis in Axis], selection_mode="multi", key=url.key("axis"),
            format_func=lambda name: f"{shared.AXIS_ICONS[Axis(name)]} {name.capitalize()}",
            label_visibility="collapsed",
        )  # fmt: skip
        st.text_input(
            "Find a figure", key=url.key("find"), placeholder="Find a figure", label_visibility="collapsed", width=240
        )
        st.toggle("Only what differs", key=url.key("told"))
    axes, wanted = url.texts("axis"), url.text("find").strip().casefold()
    told = {one.key for one in found if one.verdict.told}
    return [
        key
        for key in keys
        if (not axes or axis_of(key) in axes)
        and (not wanted or wanted in key_title(key).casefold() or wanted in key.casefold())
        and (not url.get("told") or key in told)
    ]


def _table(scene: Scene, points: Points, keys: Sequence[str], found: Sequence[Contrast]) -> None:
    """A row a figure: the first one's value, and for each of the others its value, the difference and p."""
    by_place = {(one.key, one.configuration_id): one for one in found}
    first, *others = scene.ids
    short = scene.short
    columns: dict[str, list[str]] = {"Figure": [key_title(key) for key in keys]}
    config: dict[str, ColumnConfig] = {"Figure": st.column_config.TextColumn(pinned=True, width=250)}
    columns[short[first]] = [_value(points, key, first) for key in keys]
    config[short[first]] = st.column_config.TextColumn(width=_VALUE)
    faint: dict[str, list[bool]] = {}
    for one in others:
        mine = [by_place[key, one] for key in keys]
        against, chance = f"{short[one]} against {short[first]}", f"p (Holm), {short[one]}"
        columns[short[one]] = [_value(points, key, one) for key in keys]
        columns[against] = [difference_text(contrast, points) for contrast in mine]
        columns[chance] = [_p(contrast.corrected) for contrast in mine]
        config[short[one]] = st.column_config.TextColumn(width=_VALUE)
        config[against] = st.column_config.TextColumn(
            "Difference", width=250, help=f"{shared.plain(against)}, with its 95 % interval"
        )
        config[chance] = st.column_config.TextColumn("p (Holm)", width=80)
        faint[against] = faint[chance] = [not contrast.verdict.told for contrast in mine]
    columns["Axis"] = [str(axis_of(key) or "") for key in keys]
    muted = f"color: {theme(is_dark()).muted}"
    frame = pd.DataFrame(columns)
    styled = frame.style.apply(
        lambda column: [muted if one else "" for one in faint[str(column.name)]], subset=[*faint]
    )
    st.dataframe(
        styled, hide_index=True, column_config=config, key="compare_figures",
        height="content" if len(frame) <= 14 else 528, alt=f"Every figure against {short[first]}",
    )  # fmt: skip


def _value(points: Points, key: str, one: str) -> str:
    value, low, high = (float(table[key].loc[one]) for table in (points.value, points.low, points.high))
    known = low < high  # What is counted has no interval.
    text = format_figure(value, key_definition(key).unit, low if known else None, high if known else None)
    mark = _HOLLOW if points.method[key].loc[one] == Method.MODELLED.value else ""
    note = "(disturbed)" if bool(points.disturbed[key].loc[one]) else ""
    return " ".join(filter(None, (text, mark, note)))


def difference_text(one: Contrast, points: Points) -> str:
    """``▲ better, -12 % (-16 to -8)``; why not, where nothing can be said."""
    words = _MARKS[one.verdict]
    if one.difference is None or one.verdict is Verdict.SAME:
        return f"{words} {one.reason}".strip()
    if one.share is not None:
        unit, factor = "%", 100.0
        shown = one.share
    else:
        scale = scale_for(points.value[one.key], key_definition(one.key).unit)
        unit, factor, shown = scale.unit, 1 / scale.factor, one.difference
    text = f"{signed(shown * factor)} {unit}".strip()
    if one.low is not None and one.high is not None:
        text += f" ({signed(one.low * factor)} to {signed(one.high * factor)})"
    comma = "," if one.verdict.told else ""
    return f"{words}{comma} {text}{': ' + one.reason if one.reason else ''}"


def signed(value: float) -> str:
    """With a plus sign where it is above zero."""
    if math.isinf(value):
        return "any"
    return f"+{digits(value)}" if value > 0 else digits(value)


def _p(value: float | None) -> str:
    return BLANK if value is None else "< 0.0001" if value < 1e-4 else digits(value, 2)


def export(scene: Scene, points: Points, keys: Sequence[str], found: Sequence[Contrast]) -> bytes:
    """Every figure of every configuration, unrounded and in base units, with its difference to the first, as CSV."""
    by_place: Mapping[tuple[str, str], Contrast] = {(one.key, one.configuration_id): one for one in found}
    rows = []
    for key in keys:
        for one, option in scene.names.items():
            difference = by_place.get((key, one), Contrast(key, one))
            row: dict[str, object] = {"key": key, "figure": key_title(key), "axis": str(axis_of(key) or "")}
            row |= {"unit": key_definition(key).unit, "configuration_id": one, "configuration": option.name}
            row |= {
                name: getattr(points, name)[key].loc[one]
                for name in ("value", "low", "high", "n", "runs", "method", "source", "disturbed")
            }
            if one != scene.ids[0]:
                row |= {
                    "difference": difference.difference, "difference_share": difference.share,
                    "difference_low": None if difference.relative else difference.low,
                    "difference_high": None if difference.relative else difference.high,
                    "share_low": difference.low if difference.relative else None,
                    "share_high": difference.high if difference.relative else None,
                    "p": difference.p, "p_holm": difference.corrected, "test": difference.test,
                    "items_of_both": difference.n, "verdict": difference.verdict.value, "reason": difference.reason,
                }  # fmt: skip
            rows.append(row)
    return chart.csv_bytes(pd.DataFrame(rows))
