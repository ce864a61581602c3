"""The parts of Explore below its filters: chart, card of the picked point, table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler
from streamlit.elements.lib.column_types import ColumnConfig

from pages import shared
from pages.parts import chart, entrance, explore_data, explore_selection
from pages.parts.explore_filters import SEVERAL, Chosen
from pages.parts.explore_odds import Sureness, beaten_by
from pages.parts.explore_selection import Selected
from pages.parts.url_state import UrlState
from trilemma.analysis.format import (
    BLANK,
    Scale,
    format_figure,
    interval_text,
    key_definition,
    key_title,
    scale_for,
    short_titles,
)
from trilemma.analysis.headline import headline_keys
from trilemma.analysis.odds import SURE, FrontOdds, Standing, probability_text
from trilemma.analysis.points import Points, labels, members
from trilemma.analysis.selection import Selection
from trilemma.charts.palette import model_colours, quantization_glyph
from trilemma.charts.profile import profile_figure
from trilemma.schema import Axis, Method

_STYLED_UP_TO = 400
_WRITTEN_UP_TO = 1000
_OPTIONS = 8


def is_dark() -> bool:
    """Whether the browser shows the dark theme."""
    return bool(st.context.theme.type == "dark")


def card(
    of: tuple[str, int], points: Points, study_id: str, keys: Sequence[str], found: Sureness, selected: Selected,
    url: UrlState,
) -> None:  # fmt: skip
    """The one selected point's figures by axis, the names of several, or the front's options when none is selected."""
    if len(selected) == 1:
        _picked_card(of, points, study_id, keys, selected.ids[0], found, url)
    elif len(selected):
        st.markdown("#### Selected")
        st.caption("Click one to see its figures. Two to five can be compared.")
        rows = np.flatnonzero(selected.rows)
        likely = np.nan_to_num(found.odds.probability[rows])
        _options(points, rows[np.argsort(-likely, kind="stable")].tolist(), found, url)
    else:
        _front_card(points, found, url)


def _front_card(points: Points, found: Sureness, url: UrlState) -> None:
    likely = np.nan_to_num(found.odds.probability)
    rows = [int(row) for row in np.argsort(-likely, kind="stable") if likely[row] > 1 - SURE]
    st.markdown("#### On the front, or maybe")
    st.caption(
        "With the probability that nothing else is at least as good in everything. Click a point, or one of these, to "
        "see its figures."
    )
    _options(points, rows, found, url)


def _options(points: Points, rows: Sequence[int], found: Sureness, url: UrlState) -> None:
    """A button for each of the first few of ``rows``, which selects it, with how surely it is on the front."""
    first = np.array(rows[:_OPTIONS], dtype=np.intp)
    with st.container(gap=None):
        for row, name in zip(first.tolist(), labels(points, first), strict=True):
            probability = float(found.odds.probability[row])
            chance = "" if np.isnan(probability) else f" :small[{shared.plain(probability_text(probability))}]"
            one = str(points.meta.index[row])
            st.button(
                f"{shared.plain(str(name))}{chance}", key=f"explore_pick_{one}", type="tertiary", width="content",
                on_click=explore_selection.put, args=(url, Selection((one,))),
            )  # fmt: skip
    if len(rows) > _OPTIONS:
        st.caption(f"and {len(rows) - _OPTIONS:,} more in the table below.")


def _picked_card(
    of: tuple[str, int], points: Points, study_id: str, keys: Sequence[str], picked: str, found: Sureness, url: UrlState
) -> None:
    row = points.meta.index.get_loc(picked)
    run_id = str(points.meta["run_id"].iloc[row])
    st.markdown(f"#### {shared.plain(str(labels(points, np.array([row])).iloc[0]))}")
    for sentence in _standing(points, keys, picked, found):
        st.caption(sentence)
    shared.link("run", "Open run", {"id": run_id}, icon=":material/query_stats:")
    by_axis = _headlines(of)
    wanted = [key for axis in Axis for key in by_axis[axis]]
    around = explore_data.points(of, study_id, tuple(sorted({*wanted})))
    among = members(around.meta.index, points.meta.index)
    found_at = np.flatnonzero(around.meta.index == picked)
    if not found_at.size:
        return
    place = int(found_at[0])
    for axis in Axis:
        mine = [key for key in by_axis[axis] if pd.notna(around.value[key].iloc[place])]
        if mine:
            st.markdown(shared.axis_badge(axis))
            alt = "; ".join(f"{key_title(key)}: {_written(around, key, place)}" for key in mine)
            figure = profile_figure(around, picked, mine, among=among, dark=is_dark())
            st.plotly_chart(
                figure, theme=None, key=f"explore_bars_{axis}", config={"staticPlot": True}, alt=alt, width="stretch"
            )
    st.caption("A full bar is the best in view. " + _provenance(around, wanted, place))


def _headlines(of: tuple[str, int]) -> dict[Axis, list[str]]:
    return headline_keys(explore_data.catalog(of).keys, per_axis=2)


def prepare(of: tuple[str, int], chosen: Chosen, keys: Sequence[str], more: Sequence[str]) -> None:
    """Read what the card of a point and other views will show: once all of the page is sent, nobody waits for it.

    Args:
        of: The state of the store.
        chosen: What is shown; in a view of several figures any of ``keys`` may be the next one.
        keys: All figures that can be chosen.
        more: What other views show.
    """
    wanted = [key for axis in _headlines(of).values() for key in axis]
    explore_data.read(of, chosen.study, [*more, *wanted])
    if chosen.view in SEVERAL:
        explore_data.read_ahead(of, chosen.study, tuple(keys))


def _written(points: Points, key: str, row: int) -> str:
    value, low, high = (table[key].iloc[row] for table in (points.value, points.low, points.high))
    return format_figure(value, key_definition(key).unit, low, high)


def _standing(points: Points, keys: Sequence[str], picked: str, found: Sureness) -> list[str]:
    """How surely the picked point is on the front, and who beats it, by how much and how surely."""
    row = points.meta.index.tolist().index(picked)
    probability = float(found.odds.probability[row])
    if np.isnan(probability):
        return ["Lacks one of the chosen figures, so it is not in the chart."]
    standing = found.odds.standing[row]
    words = {Standing.CERTAIN: "Certain", Standing.CONTESTED: "Contested", Standing.DOMINATED: "Beaten"}
    chance = shared.plain(probability_text(probability))
    sentences = [f"{words[standing]}: on the front with a probability of {chance}."]
    if standing is Standing.CERTAIN:
        return sentences
    beaten = beaten_by(points, keys, found, row)[:2]
    names = labels(points, np.array([position for _, position in beaten], dtype=np.intp))
    for (one, _), name in zip(beaten, names, strict=True):
        gains = [f"{key_title(key)} {_gain(key, gain)}" for key, gain in one.gains.items()]
        sentences.append(
            f"{shared.plain(str(name))} beats it with a probability of "
            f"{shared.plain(probability_text(one.probability))}: {shared.plain('; '.join(gains))}."
        )
    return sentences


def _gain(key: str, gain: float) -> str:
    """``12 MiB better``; ``the same``, ``0.01 worse``, where it is beaten by luck alone."""
    if gain == 0:
        return "the same"
    return f"{format_figure(abs(gain), key_definition(key).unit)} {'better' if gain > 0 else 'worse'}"


def _provenance(points: Points, keys: Sequence[str], row: int) -> str:
    """Repeats, and in words what hollow and warning marks mean."""
    one = points.select(np.array([row], dtype=np.intp))
    runs = int(one.meta["runs"].iloc[0])
    text = f"From {runs:,} {'run' if runs == 1 else 'runs'}."
    known = [key for key in keys if one.value[key].notna().all()]
    if any(one.methods([key]) == [Method.MODELLED] for key in known):
        text += " Hollow bars are modelled, not measured."
    if bool(one.disturbed[known].to_numpy().any()):
        text += " Something disturbed the machine while it was measured."
    left_out = int(one.left_out[known].to_numpy().max(initial=0))
    if left_out:
        text += f" {left_out} disturbed {'run' if left_out == 1 else 'runs'} left out."
    return text


def table(
    of: tuple[str, int],
    points: Points,
    chosen: Chosen,
    models: Sequence[str],
    odds: FrontOdds | None,
    selected: Selected,
    url: UrlState,
) -> None:
    """The same points in the same order with the same marks; its ticks are what is selected."""
    kept = np.arange(len(points))
    if len(selected) and st.toggle("Only what is selected", key=url.key("only")):
        kept = np.flatnonzero(selected.rows)
        points = points.select(kept)
        frame, config = _display(points, chosen, None if odds is None else FrontOdds(odds.probability[kept]))
    else:
        frame, config = _whole_display(of, replace(chosen, log=(), view=""), odds is not None, points, odds)
    styled: pd.DataFrame | Styler = frame
    if len(frame) <= _STYLED_UP_TO:
        colours = model_colours(models, is_dark())
        marks = [f"color: {colours.get(str(model), 'inherit')}; font-size: 16px" for model in points.meta["model"]]
        styled = frame.style.apply(lambda _: marks, subset=["Mark"])
    ticked = np.flatnonzero(selected.rows[kept]).tolist()

    def pick() -> None:
        # A tick may come after the table has become shorter, or from no table at all.
        rows = sorted(row for row in st.session_state["explore_table"]["selection"]["rows"] if 0 <= row < len(points))
        if rows != ticked:
            explore_selection.put(url, Selection(tuple(str(points.meta.index[row]) for row in rows)))

    st.session_state["explore_table"] = {"selection": {"rows": ticked, "columns": [], "cells": []}}
    st.dataframe(
        styled, key="explore_table", hide_index=True, column_config=config, on_select=pick,
        selection_mode="multi-row", height="content" if len(frame) <= 14 else 528, placeholder=BLANK,
        alt="The configurations of the chart with their figures; ticked are those that are selected",
    )  # fmt: skip
    with st.container(horizontal=True, horizontal_alignment="right"):
        st.download_button(
            "Download CSV", data=entrance.later(lambda: export(points)), file_name="trilemma-points.csv",
            mime="text/csv", icon=":material/download:", on_click="ignore",
        )  # fmt: skip


@st.cache_resource(max_entries=16, show_spinner=False)
def _whole_display(
    of: tuple[str, int], chosen: Chosen, sure: bool, _points: Points, _odds: FrontOdds | None
) -> tuple[pd.DataFrame, dict[str, ColumnConfig]]:
    """:func:`_display` of all that is shown: whatever is selected of it, and however it is drawn, it is the same.

    ``sure`` says whether there are ``_odds``, which the rest determines.
    """
    return _display(_points, chosen, _odds)


def _display(points: Points, chosen: Chosen, odds: FrontOdds | None) -> tuple[pd.DataFrame, dict[str, ColumnConfig]]:
    """The table in the units of the chart, numbers as numbers so that they sort."""
    keys = chosen.columns
    # The chart's own marks: the size of a mark is no axis.
    hollow = [method == Method.MODELLED for method in points.methods(chosen.axes)]
    names = points.meta["quantization"].astype(str).to_numpy(dtype=object)
    known = {pair: quantization_glyph(*pair) for pair in set(zip(names, hollow, strict=True))}
    glyphs = [known[pair] for pair in zip(names, hollow, strict=True)]
    columns: dict[str, object] = {
        "Mark": glyphs,
        "Model": points.meta["model"].astype(str).to_numpy(),
        "Quantization": names,
    }
    config: dict[str, ColumnConfig] = {"Mark": st.column_config.TextColumn("", width=36)}
    if odds is not None:
        columns["P(front)"] = odds.probability
        config["P(front)"] = st.column_config.NumberColumn(
            "P(front)", format="%.2f", width=84, help="How probable it is that nothing else is at least as good in "
            "every axis and better in one, given what is known of each figure. Counted in draws: 1.00 is all of them.",
        )  # fmt: skip
    extra = points.settings
    if (extra != "").any():
        columns["Settings"] = extra.to_numpy()
    if points.meta["profile"].notna().any():
        config["Settings"] = st.column_config.TextColumn(width=170)
    titles = short_titles(list(dict.fromkeys(keys)))
    for key in titles:
        values, low, high = (table[key] for table in (points.value, points.low, points.high))
        scale = scale_for(values, key_definition(key).unit)
        title = f"{titles[key]}{', ' + scale.unit if scale.unit else ''}"
        columns[title] = (values / scale.factor).to_numpy()
        columns[f"{key} interval"] = _intervals(values, low, high, scale)
        meaning = f"{shared.plain(key_title(key))}. {shared.plain(key_definition(key).definition)}"
        config[title] = st.column_config.NumberColumn(title, format="%.3g", help=meaning)
        config[f"{key} interval"] = (
            st.column_config.TextColumn("95 %", width=84, help="95 % interval")
            if len(points) <= _WRITTEN_UP_TO
            else st.column_config.NumberColumn("± 95 %", width=84, format="%.2g", help="Half of the 95 % interval")
        )
    notes = ["disturbed" if one else "" for one in points.disturbed[list(keys)].any(axis=1).tolist()]
    if any(notes):
        columns["Note"] = notes
    return pd.DataFrame(columns), config


def _intervals(values: pd.Series, low: pd.Series, high: pd.Series, scale: Scale) -> list[str] | np.ndarray:
    """The intervals in words; of very many configurations half their width, since words take longer than all else."""
    if len(values) > _WRITTEN_UP_TO:
        half: np.ndarray = ((high - low) / (2 * scale.factor)).to_numpy()
        return half
    return [interval_text(value, a, b, scale) for value, a, b in zip(values, low, high, strict=True)]


def export(points: Points) -> bytes:
    """All points in base units, full precision, with intervals and provenance, as CSV.

    A text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    frame = points.meta.reset_index(names="configuration_id")
    for key in points.keys:
        for name in ("value", "low", "high", "n", "runs", "method", "source", "disturbed"):
            frame[key if name == "value" else f"{key}:{name}"] = getattr(points, name)[key].to_numpy()
    return chart.csv_bytes(frame)
