"""The parts of Decide below its controls: the recommendation, the ranking, and the effect of the method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler
from streamlit.elements.lib.column_types import ColumnConfig

from pages import shared
from pages.parts import decide_data, explore_data
from pages.parts.decide_choice import METHOD_NAMES, NORMALISATION_NAMES
from pages.parts.decide_data import Field, Question, Version
from pages.parts.explore_view import is_dark
from trilemma.analysis.decision_map import Ranking
from trilemma.analysis.differences import in_draws
from trilemma.analysis.format import BLANK, format_figure, key_definition, key_title, short_titles
from trilemma.analysis.points import Points, labels
from trilemma.analysis.recommendation import Recommendation
from trilemma.charts.palette import axis_colour, model_colours, quantization_glyph
from trilemma.schema import Method

_STYLED_UP_TO = 400
_SHARES = ("Best", "On the front", "Keeps limits")
_MOST = 99


def recommendation(told: Recommendation) -> None:
    """The pick in plain sentences, how surely, what it costs, and what would change it."""
    with st.container(key="decide_told"):
        st.markdown(f"#### {shared.plain(told.headline)}")
        for text in filter(None, (told.sureness, *told.against)):
            st.markdown(shared.plain(text))
        if told.limits:
            st.markdown("**Limits**")
            st.markdown(_list(told.limits))
        if told.changes:
            st.markdown("**What would change it**")
            st.markdown(_list(told.changes))
        if told.caveats:
            st.markdown("**Before you rely on it**")
            st.caption(_list(told.caveats))


def _list(texts: Sequence[str]) -> str:
    return "\n".join(f"- {shared.plain(text)}" for text in texts)


def links(points: Points, told: Recommendation, question: Question, view: dict[str, str | list[str]]) -> None:
    """Where to go from here."""
    efficiency, speed, performance = question.axes
    found: list[tuple[str, str, dict[str, str | list[str]]]] = []
    study: dict[str, str | list[str]] = {"study": question.study} if question.study else {}
    if told.pick is not None and told.pick in points.meta.index:
        if told.runner_up is not None:
            found.append(("compare", "Compare with the runner-up", {**study, "c": [told.pick, told.runner_up]}))
        found.append(("run", "Open the pick's run", {"id": str(points.meta["run_id"].loc[told.pick])}))
        # The question goes along, for Present; Plan leaves it in the address as it is.
        found.append(("plan", "Plan with the pick", {**view, **study, "c": told.pick}))
    limits = [f"{limit.key} {limit.op} {limit.value:.12g}" for limit in question.limits]
    axes = {"x": efficiency, "y": performance, "z": speed}
    found.append(("explore", "See all in Explore", {**study, **axes, **({"limit": limits} if limits else {})}))
    found.append(("present", "Present", view))
    with st.container(horizontal=True, gap="medium"):
        for name, label, params in found:
            shared.link(name, label, params, icon=shared.PAGES[name].icon)


def table(of: Version, found: Field, question: Question, ranking: Ranking | None) -> None:
    """All configurations, the most probable first; those that are not eligible last, and why."""
    points = found.points
    complete = points.complete(question.axes)
    chance = np.where(complete, 0.0, np.nan) if ranking is None else np.where(complete, ranking.probability, np.nan)
    near = 1.0 - decide_data.losses(found, question)
    order = np.lexsort(
        (np.arange(len(points)), -np.nan_to_num(near.min(axis=1), nan=-1), -np.nan_to_num(chance, nan=-1))
    )
    shown = points.select(order.astype(np.intp))
    written = len(shown) <= _STYLED_UP_TO
    frame, config = _display(shown, found, question, order, chance, near, written=written)
    styled: pd.DataFrame | Styler = frame
    if written:
        colours = model_colours([*explore_data.catalog(of).models, *shown.meta["model"].astype(str)], is_dark())
        marks = [f"color: {colours.get(str(model), 'inherit')}; font-size: 16px" for model in shown.meta["model"]]
        styled = frame.style.apply(lambda _: marks, subset=["Mark"])
        styled = styled.format({name: _share_text for name in _SHARES if name in frame.columns}, na_rep=BLANK)
        out = np.flatnonzero(complete[order] & ~found.eligible[order])
        styled = styled.format("0 %", subset=(out.tolist(), ["Best"]))  # by the rule, not by the draws
    st.markdown("##### Ranking")
    st.dataframe(
        styled, key="decide_table", hide_index=True, column_config=config,
        height="content" if len(frame) <= 14 else 528, alt="Configurations by the probability to be the best",
        placeholder=BLANK,
    )  # fmt: skip
    st.caption(
        "*Best* and *on the front* are shares of draws: what could as well have been measured. A full bar is the best "
        "of those that keep the limits, an empty one the worst. Hollow marks rest on modelled figures."
    )
    if found.beaten:
        st.caption(f"{found.beaten:,} more break a limit or are surely beaten in all three figures, and cannot win.")


def _display(
    shown: Points, found: Field, question: Question, order: np.ndarray[tuple[int], np.dtype[np.intp]],
    chance: np.ndarray[tuple[int], np.dtype[np.float64]], near: np.ndarray[tuple[int, int], np.dtype[np.float64]], *,
    written: bool,
) -> tuple[pd.DataFrame, dict[str, ColumnConfig]]:  # fmt: skip
    hollow = [method == Method.MODELLED for method in shown.methods(question.axes)]
    quantizations = shown.meta["quantization"].astype(str)
    columns: dict[str, object] = {
        "Mark": [quantization_glyph(name, empty) for name, empty in zip(quantizations, hollow, strict=True)],
        "Configuration": labels(shown).to_numpy(),
        "Best": _whole(chance[order]),
        "On the front": _whole(found.front[order]),
    }
    config: dict[str, ColumnConfig] = {
        "Mark": st.column_config.TextColumn("", width=36),
        "Configuration": st.column_config.TextColumn(width=240),
        "Best": _share_column("it wins", written),
        "On the front": _share_column("nothing beats it in all three figures at once", written),
    }
    if question.limits:
        columns["Keeps limits"] = _whole(found.all_kept[order])
        config["Keeps limits"] = _share_column("it keeps every limit", written)
    titles = short_titles(question.axes)
    ranked = bool(found.eligible.any())
    for position, (axis, key) in enumerate(question.by_axis.items()):
        name = axis.value.capitalize()
        if ranked:
            columns[name] = near[order, position]
        config[name] = st.column_config.ProgressColumn(
            name, min_value=0.0, max_value=1.0, format=" ", width=90, color=axis_colour(axis, is_dark()),
            help=f"{shared.plain(key_title(key))}: full is the best, empty the worst.",
        )  # fmt: skip
        unit = key_definition(key).unit
        values = zip(shown.value[key], shown.low[key], shown.high[key], strict=True)
        columns[titles[key]] = [format_figure(value, unit, low, high) for value, low, high in values]
        config[titles[key]] = st.column_config.TextColumn(width=170, help=shared.plain(key_definition(key).definition))
    notes = _notes(shown, found, question, order)
    if any(notes):
        columns["Note"] = notes
    return pd.DataFrame(columns), config


def _share_column(what: str, written: bool) -> ColumnConfig:
    """A column of :func:`_whole`; ``written`` where each number is written by :func:`_share_text`."""
    return st.column_config.NumberColumn(
        format=None if written else "%.0f %%",
        help=f"In which share of draws {what}: 99 stands for 99 or more, 0 for less than 1.",
    )


def _whole(share: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Percent, rounded down and at most 99: nothing is said to be surer than a count of draws can tell."""
    return np.minimum(np.floor(100 * share + 1e-9), _MOST)


def _share_text(percent: Any) -> str:
    """``62 %``, and at the ends ``≥ 99 %`` and ``< 1 %``."""
    return f"≥ {_MOST} %" if percent >= _MOST else "< 1 %" if percent < 1 else f"{percent:.0f} %"


def _notes(
    shown: Points, found: Field, question: Question, order: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> list[str]:
    """Why a configuration is not eligible, and whether something disturbed it."""
    notes = []
    complete = shown.complete(question.axes)
    disturbed = shown.disturbed[list(question.axes)].any(axis=1).tolist()
    for row in range(len(shown)):
        words = ["lacks a figure"] if not complete[row] else []
        if complete[row] and not found.eligible[order[row]]:
            words.append("breaks a limit")
        notes.append(", ".join([*words, *(["disturbed"] if disturbed[row] else [])]))
    return notes


def effect(of: Version, found: Field, question: Question) -> None:
    """Who would win by each method and each way of scaling losses."""
    names = labels(found.points)
    count = len(found.draws.values)
    rows = [
        {
            "Method": METHOD_NAMES[method],
            "Losses are scaled by": NORMALISATION_NAMES[normalisation],
            "Pick": str(names.iloc[ranked.pick]),
            "Wins in": in_draws(float(ranked.probability[ranked.pick]), count),
            "Runner-up": BLANK if ranked.runner_up is None else str(names.iloc[ranked.runner_up]),
            "": "as shown" if (method, normalisation) == (question.method, question.normalisation) else "",
        }
        for (method, normalisation), ranked in decide_data.ways(of, question).items()
    ]
    if not rows:
        return
    picks = {str(row["Pick"]) for row in rows}
    st.markdown(
        f"All {len(rows)} ways pick the same configuration."
        if len(picks) == 1
        else f"The {len(rows)} ways pick {len(picks)} different configurations: the choice of method matters here."
    )
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, height="content", alt="The pick by method and way of scaling losses"
    )


def axes_words(question: Question) -> str:
    """Which figure stands for each axis, a line each, as Markdown."""
    return "  \n".join(
        f"{shared.axis_badge(axis)} {shared.plain(key_title(key))}" for axis, key in question.by_axis.items()
    )
