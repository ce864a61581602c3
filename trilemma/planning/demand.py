"""What is asked of the fleet: how many requests, when in the day, how long, and how that grows."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from trilemma.base import Frozen
from trilemma.planning.arrays import FloatArray

HOURS = 24
DAYS_PER_MONTH = 365.25 / 12
SECONDS_PER_HOUR = 3600.0

DAY_CURVES: dict[str, tuple[float, ...]] = {
    "flat": (1.0,) * HOURS,
    "office hours": (1, 1, 1, 1, 1, 1, 2, 5, 9, 11, 11, 10, 7, 9, 11, 11, 10, 7, 4, 2, 1, 1, 1, 1),
    "consumer evening": (3, 2, 1, 1, 1, 1, 2, 3, 4, 4, 4, 5, 5, 5, 5, 5, 6, 7, 8, 9, 10, 10, 8, 5),
}
"""Requests by hour of the day, 0:00 first, in parts of any size. Shapes chosen by this project, to be edited."""


class Demand(Frozen):
    """What is asked, on an average day of the first month.

    Within an hour requests come as a Poisson process: users do not wait for one another. The day is the same every day.
    """

    requests_per_day: float = Field(default=10_000.0, gt=0, le=1e12, description="In the first month.")
    shares: tuple[float, ...] = Field(
        default=DAY_CURVES["office hours"], min_length=HOURS, max_length=HOURS,
        description="Parts of the day's requests by hour, 0:00 first; only their proportions count.",
    )  # fmt: skip
    tokens_in: float | None = Field(default=None, gt=0, le=1e8, description="Prompt tokens; None: as measured.")
    tokens_out: float | None = Field(default=None, ge=2, le=1e8, description="Output tokens; None: as measured.")
    growth: float = Field(default=0.0, ge=-0.5, le=1.0, description="A month: 0.05 is 5 % more each month.")
    months: int = Field(default=12, ge=1, le=120, description="How far ahead is planned.")

    @model_validator(mode="after")
    def _some_share(self) -> Self:
        if any(not math.isfinite(share) or share < 0 for share in self.shares) or not sum(self.shares):
            raise ValueError("the shares of the hours must not be negative, and one must be above zero")
        return self

    def volume(self, month: int = 0) -> float:
        """Requests a day in a month; 0 is the first."""
        return float(self.requests_per_day * (1 + self.growth) ** month)

    def rates(self, month: int = 0) -> FloatArray:
        """Arrivals in each hour of the day, requests a second; shape (24,)."""
        parts = np.asarray(self.shares, dtype=np.float64)
        rates: FloatArray = self.volume(month) * parts / parts.sum() / SECONDS_PER_HOUR
        return rates

    @property
    def peak_hour(self) -> int:
        """The hour with most requests, the first of several."""
        return int(np.argmax(self.shares))

    def peak_rate(self, month: int = 0) -> float:
        """Arrivals in the peak hour, requests a second."""
        return float(self.rates(month).max())

    @property
    def largest_month(self) -> int:
        """The month with most requests: the last where demand grows, else the first."""
        return self.months - 1 if self.growth > 0 else 0
