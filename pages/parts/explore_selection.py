"""What is selected on Explore: the same configurations in every view, kept in the address."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from pages import shared
from pages.parts import explore_data
from pages.parts.explore_filters import Chosen
from pages.parts.url_state import UrlState
from trilemma.analysis.front import BoolArray
from trilemma.analysis.points import Points
from trilemma.analysis.selection import (
    MOST_NAMED,
    Selection,
    between,
    described,
    inside_outline,
    read_spans,
    span_text,
)
from trilemma.charts.marks import scales_of
from trilemma.charts.rulers import brush, rulers

Event = Mapping[str, Any]
Panel = Callable[[str, str], tuple[str, str] | None]
_COMPARED = 5
_CUT = "explore:cut"


@dataclass(frozen=True)
class Selected:
    """What is selected, and which of the points that are shown belong to it."""

    selection: Selection
    rows: BoolArray
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def read(url: UrlState, keys: Collection[str]) -> Selection:
    """What the address says; ranges that are no ranges of ``keys`` are left out."""
    spans = read_spans(url.texts("brush"), keys)
    return Selection(() if spans else tuple(dict.fromkeys(url.texts("point"))), spans)


def among(selection: Selection, of: tuple[str, int], chosen: Chosen, shown: Points) -> Selected:
    """Which of ``shown`` are selected, whatever figures they are shown by."""
    values = shown.value
    if not set(selection.keys) <= set(values.columns):
        everything = explore_data.points(of, chosen.study, selection.keys)
        values = everything.value.reindex(shown.meta.index)
    rows = selection.among(values)
    return Selected(selection, rows, tuple(str(one) for one in shown.meta.index[rows]))


def put(url: UrlState, selection: Selection) -> None:
    """Select that; of too many ids only the first are kept, and :func:`bar` says so."""
    st.session_state[_CUT] = len(selection.ids) if len(selection.ids) > MOST_NAMED else 0
    url.put("point", list(selection.ids[:MOST_NAMED]))
    url.put("brush", [span_text(one) for one in selection.spans])


def clear(url: UrlState) -> None:
    """Select nothing."""
    put(url, Selection())


def taken(event: Event, points: Points, panel: Panel, logs: Collection[str], before: Selection) -> Selection:
    """What a click, a box or an outline on a chart of marks selects.

    Args:
        event: Plotly's selection, as Streamlit hands it over; what is not in it is not selected.
        points: Those in the chart: they have all its figures.
        panel: The figures on the axes that plotly calls ``x``, ``y2`` ...
        logs: The figures whose axes are logarithmic: an outline is straight on the paper.
        before: What is selected so far: a click on the only one selected takes it back.
    """
    boxes = [one for one in event.get("box", []) if panel(one["xref"], one["yref"])]
    lassos = [one for one in event.get("lasso", []) if panel(one["xref"], one["yref"])]
    if len(boxes) == 1 and not lassos:
        keys = panel(boxes[0]["xref"], boxes[0]["yref"])
        assert keys is not None
        sides = zip(keys, scales_of(points, keys), (boxes[0]["x"], boxes[0]["y"]), strict=True)
        return Selection(spans=tuple(end for key, scale, side in sides for end in _ends(key, scale.factor, side)))
    if boxes or lassos:
        inside = np.zeros(len(points), dtype=np.bool_)
        for one in [*boxes, *lassos]:
            keys = panel(one["xref"], one["yref"])
            assert keys is not None
            inside |= _within(points, keys, one, logs, is_box=one in boxes)
        return Selection(tuple(str(one) for one in points.meta.index[inside]))
    found = [str(point["customdata"][0]) for point in event.get("points", []) if point.get("customdata")]
    ids = tuple(dict.fromkeys(found))
    return Selection() if ids == before.ids else Selection(ids)


def _ends(key: str, factor: float, side: Sequence[float]) -> Sequence[Any]:
    return between(key, side[0] * factor, side[-1] * factor)


def _within(points: Points, keys: tuple[str, str], area: Event, logs: Collection[str], *, is_box: bool) -> BoolArray:
    scales = scales_of(points, keys)
    at = np.column_stack(
        [points.value[key].to_numpy(dtype=np.float64) / scale.factor for key, scale in zip(keys, scales, strict=True)]
    )
    x, y = (np.asarray(area[name], dtype=np.float64) for name in ("x", "y"))
    if is_box:
        x, y = np.array([x.min(), x.max(), x.max(), x.min()]), np.array([y.min(), y.min(), y.max(), y.max()])
    outline = np.column_stack([x, y])
    for column, key in enumerate(keys):
        if key in logs:
            with np.errstate(divide="ignore", invalid="ignore"):
                at[:, column], outline[:, column] = np.log10(at[:, column]), np.log10(outline[:, column])
    return inside_outline(at, outline)


def brushed(event: Event, points: Points, keys: Sequence[str], log: bool, before: Selection) -> Selection:
    """What a box on parallel axes selects: a range of each axis that it covers, and what was so on the others."""
    boxes = event.get("box", [])
    if not boxes:
        return Selection()
    axes = rulers(points.value, keys, log)
    spans = list(before.spans)
    for box in boxes:
        new = brush(axes, box["x"], box["y"])
        spans = [one for one in spans if one.key not in new] + [one for ends in new.values() for one in ends]
    return Selection(spans=tuple(spans))


def bar(found: Selected, of: tuple[str, int], chosen: Chosen, shown: Points, url: UrlState) -> None:
    """How many are selected and by what, and what can be done with them; nothing while none is."""
    if not found.selection:
        return
    count = len(found)
    named = len(found.selection.ids)
    with st.container(horizontal=True, vertical_alignment="center", key="explore_selection", gap="small"):
        st.markdown(f":material/check_box: **{count:,} of {len(shown):,} selected**", width="content")
        for text in described(found.selection.spans):
            st.markdown(f":gray-badge[{shared.plain(text)}]", width="content")
        if 2 <= count <= _COMPARED and (study := _study_of(of, chosen, found.ids)):
            shared.link(
                "compare", f"Compare {count}", {"study": study, "c": list(found.ids)}, icon=":material/compare_arrows:"
            )
        st.button("Clear selection", icon=":material/close:", type="tertiary", on_click=clear, args=(url,))
    if cut := int(st.session_state.get(_CUT, 0)):
        st.caption(f"{cut:,} were meant, and {MOST_NAMED} can be named. A box selects any number: by its ranges.")
    elif named > count:
        st.caption(f"{named - count:,} more selected, but not shown here: filtered out, or not in this store.")


def _study_of(of: tuple[str, int], chosen: Chosen, ids: Collection[str]) -> str:
    """A study in which all ``ids`` were measured, the chosen one if there is one; empty if they share none."""
    for study in [chosen.study] if chosen.study else explore_data.catalog(of).studies:
        if set(ids) <= set(explore_data.runs(of, study)["configuration_id"]):
            return study
    return ""
