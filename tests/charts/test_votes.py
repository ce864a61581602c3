from __future__ import annotations

import pytest

from trilemma.charts.compare import Look
from trilemma.charts.performance import Bar
from trilemma.charts.votes import preference_figure, preference_text

HOSTILE = "<b>x</b>"
BARS = [Bar("weak", 0.3, 0.1, 0.6, 9), Bar(HOSTILE, 0.7, 0.4, 0.9, 9)]
LOOKS = {"weak": Look("#332288", "square"), HOSTILE: Look("#CC6677")}


@pytest.mark.parametrize("dark", [False, True])
def test_the_best_stands_on_top_with_its_interval_and_names_are_text(dark: bool) -> None:
    figure = preference_figure(BARS, "Share", LOOKS, dark=dark)
    (marks,) = figure.data
    assert list(marks.x) == [0.3, 0.7]
    assert [m - a for m, a in zip(marks.x, marks.error_x.arrayminus, strict=True)] == pytest.approx([0.1, 0.4])
    assert [m + a for m, a in zip(marks.x, marks.error_x.array, strict=True)] == pytest.approx([0.6, 0.9])
    assert list(marks.marker.symbol) == ["square", "circle"]
    assert HOSTILE not in str(figure.to_dict())
    assert figure.layout.yaxis.ticktext[1].startswith("&lt;b&gt;")
    assert "9 votes" in marks.hovertext[0]


def test_the_words_are_those_of_the_picture() -> None:
    assert preference_text(BARS[::-1], "Share") == f"Share: {HOSTILE} 0.70 (0.40 to 0.90), weak 0.30 (0.10 to 0.60)."
