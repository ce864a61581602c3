"""How long the rest takes."""

from __future__ import annotations

import pytest

from trilemma.progress import remaining_seconds


def test_the_guess_holds_until_enough_is_done() -> None:
    assert remaining_seconds([10, 10], [0, 0], elapsed_s=5) == 20


def test_then_the_pace_so_far_scales_it() -> None:
    assert remaining_seconds([10, 10], [1, 0], elapsed_s=30) == 30


def test_runs_weigh_what_they_take() -> None:
    assert remaining_seconds([90, 10], [1, 0], elapsed_s=90) == pytest.approx(10)


def test_nothing_is_left_of_nothing() -> None:
    assert remaining_seconds([], [], elapsed_s=3) == 0
    assert remaining_seconds([5], [1.0], elapsed_s=3) == 0
