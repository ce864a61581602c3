"""What a click, a box, an outline or a brush selects: events as plotly and Streamlit hand them over."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pages.parts.explore_selection import brushed, taken
from tests.analysis.constructed import ENERGY, MEMORY, QUALITY, SPEED, points
from trilemma.analysis.limits import Limit
from trilemma.analysis.selection import Selection
from trilemma.charts.pairs import panel_keys

MIB = 2.0**20
KEYS = (MEMORY, SPEED)
SHOWN = points(
    {
        "F16": (400 * MIB, 30.0, 0.50, 0.4), "Q8_0": (200 * MIB, 50.0, 0.49, 0.3),
        "Q4_K_M": (120 * MIB, 70.0, 0.45, 0.2),
        "Q2_K": (80 * MIB, 90.0, 0.30, 0.1),
    },
    (MEMORY, SPEED, QUALITY, ENERGY),
)  # fmt: skip
NONE = Selection()


def plane(x: str, y: str) -> tuple[str, str] | None:
    return KEYS if (x, y) == ("x", "y") else None


def event(**parts: Any) -> dict[str, Any]:
    return {"points": [], "point_indices": [], "box": [], "lasso": []} | parts


def box(x: list[float], y: list[float], xref: str = "x", yref: str = "y") -> dict[str, Any]:
    return {"xref": xref, "yref": yref, "x": x, "y": y}


def names(selection: Selection) -> list[str]:
    rows = selection.among(SHOWN.value)
    return SHOWN.meta["quantization"][rows].tolist()


def test_a_click_selects_one_and_a_second_click_takes_it_back() -> None:
    clicked = event(points=[{"customdata": ["id-Q8_0"]}, {"x": 3}])
    assert taken(clicked, SHOWN, plane, (), NONE) == Selection(("id-Q8_0",))
    assert taken(clicked, SHOWN, plane, (), Selection(("id-F16", "id-Q8_0"))) == Selection(("id-Q8_0",))
    assert not taken(clicked, SHOWN, plane, (), Selection(("id-Q8_0",)))
    assert not taken(event(), SHOWN, plane, (), Selection(("id-Q8_0",))), "a double click on nothing"


def test_a_box_is_two_ranges_in_base_units_whichever_way_it_was_drawn() -> None:
    found = taken(event(box=[box([210, 100], [75, 45])]), SHOWN, plane, (), NONE)
    assert found.spans == (
        Limit(MEMORY, ">=", 100 * MIB), Limit(MEMORY, "<=", 210 * MIB), Limit(SPEED, ">=", 45), Limit(SPEED, "<=", 75),
    )  # fmt: skip
    assert names(found) == ["Q8_0", "Q4_K_M"]


def test_several_boxes_and_outlines_are_those_in_any_of_them() -> None:
    two = event(box=[box([390, 410], [20, 40]), box([70, 90], [80, 100])])
    assert names(taken(two, SHOWN, plane, (), NONE)) == ["F16", "Q2_K"]
    lasso = box([100, 300, 300, 100], [60, 60, 20, 20])
    assert names(taken(event(lasso=[lasso]), SHOWN, plane, (), NONE)) == ["Q8_0"]


def test_an_outline_is_straight_on_logarithmic_paper() -> None:
    """A line from (80, 30) to (400, 90) is at 52.5 for 200 MiB; where memory is logarithmic, at 64."""
    below = box([80, 400, 400, 80], [30, 90, 1, 1])
    rows = SHOWN.value.copy()
    SHOWN.value.loc["id-Q8_0", SPEED] = 55.0
    try:
        assert "Q8_0" not in names(taken(event(lasso=[below]), SHOWN, plane, (), NONE))
        assert "Q8_0" in names(taken(event(lasso=[below]), SHOWN, plane, (MEMORY,), NONE))
    finally:
        SHOWN.value.loc[:, :] = rows


@pytest.mark.parametrize(("axes", "keys"), [(("x", "y"), (MEMORY, SPEED)), (("x2", "y2"), (SPEED, QUALITY))])
def test_a_box_in_one_of_all_pairs_is_about_its_two_figures(axes: tuple[str, str], keys: tuple[str, str]) -> None:
    every = (MEMORY, SPEED, QUALITY)
    values = SHOWN.value[list(keys)].to_numpy() / ([MIB, 1] if keys[0] == MEMORY else [1, 1])
    low, high = values[1:3].min(axis=0), values[1:3].max(axis=0)
    drawn = box([low[0] - 0.01, high[0] + 0.01], [low[1] - 0.01, high[1] + 0.01], *axes)
    found = taken(event(box=[drawn]), SHOWN, lambda x, y: panel_keys(every, x, y), (), NONE)
    assert {span.key for span in found.spans} == set(keys)
    assert names(found) == ["Q8_0", "Q4_K_M"]


def test_what_is_drawn_off_all_panels_selects_nothing() -> None:
    assert not taken(event(box=[box([0, 1], [0, 1], "paper", "paper")]), SHOWN, plane, (), NONE)


def test_brushes_on_several_axes_narrow_and_a_new_one_on_an_axis_takes_the_olds_place() -> None:
    first = brushed(event(box=[box([-0.1, 0.1], [0.6, 1.1])]), SHOWN, KEYS, False, Selection(("id-F16",)))
    assert names(first) == ["Q8_0", "Q4_K_M", "Q2_K"]
    second = brushed(event(box=[box([0.9, 1.1], [-0.1, 0.8])]), SHOWN, KEYS, False, first)
    assert names(second) == ["Q8_0", "Q4_K_M"]
    third = brushed(event(box=[box([0.9, 1.1], [0.5, 1.1])]), SHOWN, KEYS, False, second)
    assert names(third) == ["Q4_K_M", "Q2_K"]
    assert not brushed(event(), SHOWN, KEYS, False, third), "a double click"


def test_a_brush_keeps_ranges_of_figures_that_are_not_shown() -> None:
    before = Selection(spans=(Limit(QUALITY, "<=", 0.4),))
    found = brushed(event(box=[box([-0.1, 0.1], [0.5, 1.1])]), SHOWN, KEYS, False, before)
    assert names(found) == ["Q2_K"]
    assert np.isfinite([span.value for span in found.spans]).all()
