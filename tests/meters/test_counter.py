"""Millijoules into joules, with the faults that counters have."""

from __future__ import annotations

import pytest

from trilemma.meters.base import EnergyDomain
from trilemma.meters.counter import Counter
from trilemma.schema import Method

PACKAGE = EnergyDomain("energy_j.rapl.package-0", "rapl", "package", Method.MEASURED)


def test_a_counter_counts_from_its_first_reading_in_joules() -> None:
    it = Counter(PACKAGE)
    assert [it.count(mj, None)[PACKAGE.channel] for mj in (5_000_000.0, 5_002_500.0, 5_002_500.0)] == [0.0, 2.5, 2.5]


def test_a_wrap_that_is_not_noticed_yet_is_left_out() -> None:
    it = Counter(PACKAGE, wraps=True)
    readings = [it.count(mj, None).get(PACKAGE.channel) for mj in (1_000.0, 9_000.0, 500.0, 11_000.0)]
    assert readings == [0.0, 8.0, None, 10.0]
    # Elsewhere going back is a fault that must show.
    plain = Counter(PACKAGE)
    assert [plain.count(mj, None)[PACKAGE.channel] for mj in (1_000.0, 9_000.0, 500.0)] == [0.0, 8.0, -0.5]


def test_power_is_handed_on_and_integrated_only_where_there_is_no_counter() -> None:
    both = Counter(PACKAGE)
    assert both.count(0.0, 42_000.0) == {PACKAGE.channel: 0.0, "power_w.rapl.package-0": 42.0}
    # A counter that is silent once is not made up for.
    assert both.count(None, 42_000.0) == {"power_w.rapl.package-0": 42.0}
    alone = Counter(PACKAGE, counts=False)
    assert [alone.count(None, mw, 2.0)[PACKAGE.channel] for mw in (10e3, 20e3, 20e3)] == pytest.approx(
        [0.0, 30.0, 70.0]
    )
