"""Curves of load out of measurements, and their pictures."""

from __future__ import annotations

import pytest

from trilemma.analysis.load import knee, load_curves
from trilemma.analysis.text import load_text
from trilemma.charts.load import against_load_figure, load_figure
from trilemma.schema import Measurement, Method, Provenance

MEASURED = Provenance(method=Method.MEASURED, source="client's clock")
MODELLED = Provenance(method=Method.MODELLED, source="modelled")


def figures(users: int, tps: float | None, wait_s: float, joules: float | None = None) -> list[Measurement]:
    subject = "short_chat" if users == 1 else f"short_chat x{users}"
    found = [
        Measurement(figure="output_tps", subject=subject, value=tps, provenance=MEASURED),
        Measurement(figure="e2e_s", statistic="median", subject=subject, value=wait_s, provenance=MEASURED),
        Measurement(figure="ttft_s", statistic="median", subject=subject, value=wait_s / 4, provenance=MEASURED),
    ]
    if joules is not None:
        found.append(Measurement(figure="energy_per_token_j", subject=subject, value=joules, provenance=MODELLED))
    return found


# Throughput saturates near 200 tokens/s, and from there on waiting grows with the users.
STUDY = [
    *figures(16, 205.0, 5.1, 0.1), *figures(1, 60.0, 1.0, 0.3), *figures(4, 170.0, 1.4, 0.12), *figures(8, 200.0, 2.6),
]  # fmt: skip


def test_points_are_in_the_order_of_users_and_know_their_figures() -> None:
    (points,) = load_curves(STUDY).values()
    assert [point.level.value for point in points] == [1, 4, 8, 16]
    assert [point.output_tps for point in points] == [60.0, 170.0, 200.0, 205.0]
    assert points[1].values["ttft_s.median"] == pytest.approx(0.35)
    assert [point.values.get("energy_per_token_j") for point in points] == [0.3, 0.12, None, 0.1]
    assert points[0].modelled
    assert not points[2].modelled


def test_the_knee_is_where_more_users_begin_to_wait_for_little_more() -> None:
    (points,) = load_curves(STUDY).values()
    bend = knee(points)
    assert bend is not None
    assert bend.level.value == 4
    assert knee(points[:2]) is None
    # More users who only wait longer bend nothing.
    (worse,) = load_curves([*figures(1, 60.0, 1.0), *figures(2, 50.0, 2.0), *figures(4, 40.0, 4.0)]).values()
    assert knee(worse) == worse[0]


def test_one_number_of_users_or_figures_that_are_not_valid_make_no_curve() -> None:
    assert load_curves(figures(1, 60.0, 1.0)) == {}
    assert load_curves([*figures(1, 60.0, 1.0), *figures(4, None, 1.0)]) == {}
    spoilt = MEASURED.model_copy(update={"valid": False})
    bad = [m.model_copy(update={"provenance": spoilt}) for m in figures(4, 100.0, 1.0)]
    assert load_curves([*figures(1, 60.0, 1.0), *bad]) == {}
    other = Measurement(figure="accuracy", subject="hellaswag", value=0.4, provenance=MEASURED)
    assert load_curves([other]) == {}


@pytest.mark.parametrize("dark", [False, True])
def test_the_pictures_show_every_number_of_users_and_better_is_up_or_right(dark: bool) -> None:
    (points,) = load_curves(STUDY).values()
    figure = load_figure({"short_chat": points}, dark=dark)
    curve, ring = figure.data
    assert list(curve.text) == ["1 user", "4 users, the knee", "8 users", "16 users"]
    assert list(curve.y) == [60.0, 170.0, 200.0, 205.0]
    assert list(ring.y) == [170.0]
    assert figure.layout.xaxis.autorange == "reversed"
    assert "less is better" in figure.layout.xaxis.title.text
    assert "more is better" in figure.layout.yaxis.title.text
    energy = against_load_figure("energy_per_token_j", {"short_chat": points}, dark=dark)
    assert energy is not None
    assert list(energy.data[0].x) == [1, 4, 16]
    assert set(energy.data[0].marker.symbol) == {"circle-open"}
    assert against_load_figure("energy_per_token_j", {"short_chat": points[2:3]}) is None


def test_the_gist_in_words() -> None:
    (points,) = load_curves(STUDY).values()
    assert load_text(points) == (
        "1 user: 60.0 tok/s, 1.00 s for an answer; 16 users: 205 tok/s, 5.10 s for an answer. The knee is at 4 users."
    )
