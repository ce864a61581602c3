"""Demand: the day's shares, growth, and what is no demand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trilemma.planning.demand import DAY_CURVES, HOURS, Demand

shares = st.lists(st.floats(0, 100), min_size=HOURS, max_size=HOURS).filter(lambda parts: sum(parts) > 1e-6)


@given(shares, st.floats(1, 1e9), st.floats(-0.5, 1), st.integers(1, 36))
def test_the_hours_add_up_to_the_day_and_the_day_grows(
    parts: list[float], requests: float, growth: float, months: int
) -> None:
    demand = Demand(requests_per_day=requests, shares=tuple(parts), growth=growth, months=months)
    for month in (0, months - 1):
        assert demand.rates(month).sum() * 3600 == pytest.approx(requests * (1 + growth) ** month)
    assert demand.peak_rate() == demand.rates()[demand.peak_hour]
    assert demand.volume(demand.largest_month) >= demand.volume(0) * (1 - 1e-12)
    assert demand.volume(demand.largest_month) >= demand.volume(months - 1) * (1 - 1e-12)


@pytest.mark.parametrize("name", DAY_CURVES)
def test_every_preset_is_a_day(name: str) -> None:
    assert Demand(shares=DAY_CURVES[name]).rates().shape == (HOURS,)


@pytest.mark.parametrize(
    "wrong",
    [{"shares": (0.0,) * HOURS}, {"shares": (1.0,) * 23}, {"shares": (-1.0, *(1.0,) * 23)}, {"requests_per_day": 0},
     {"shares": (float("nan"), *(1.0,) * 23)}, {"months": 0}, {"growth": 5}],
)  # fmt: skip
def test_what_is_no_demand_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Demand.model_validate(wrong)
