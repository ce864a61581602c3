"""Replicas for a rate: never fewer for more, never a limit that the simulation breaks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.replicas import LIMITS, curve
from trilemma.errors import PlanError
from trilemma.planning.capacity import SIZES, Capacity, Estimated, Kept, checked
from trilemma.planning.limits import Latency, alone
from trilemma.planning.queueing import FULLEST
from trilemma.planning.service import ServiceCurve
from trilemma.planning.simulation import Simulated, simulate


@functools.cache
def capacity() -> Capacity:
    return Capacity(curve(), LIMITS, requests=2000)


@given(st.lists(st.floats(0, 60), min_size=2, max_size=6))
@settings(max_examples=30)
def test_more_demand_never_needs_fewer_replicas(rates: list[float]) -> None:
    ordered = sorted(rates)
    needed = capacity().needed_each(ordered)
    assert (np.diff(needed) >= 0).all()
    assert needed.tolist() == [capacity().needed(rate) for rate in ordered]
    for rate, replicas in zip(ordered, needed.tolist(), strict=True):
        assert capacity().rate(replicas) >= rate * (1 - 1e-12)
        assert replicas == 0 or capacity().rate(replicas - 1) < rate


def test_a_larger_fleet_bears_more_than_in_proportion() -> None:
    each = [capacity().rate(size) / size for size in (1, 2, 4, 8)]
    assert (np.diff(each) > 0).all()
    # Between the sizes that are simulated a line, beyond them the last one's share.
    assert capacity().rate(5) == pytest.approx(5 * (each[2] + capacity().rate(6) / 6) / 2)
    assert capacity().rate(7) <= FULLEST * 7 * curve().top_rate
    last = Capacity(curve(), Latency())
    assert last.rate(2 * SIZES[-1]) == pytest.approx(2 * last.rate(SIZES[-1]))
    assert last.needed(last.rate(1000)) == 1000


@pytest.mark.parametrize("rate", [0.3, 2.0, 9.0])
def test_what_is_promised_holds_in_a_longer_simulation_with_other_luck(rate: float) -> None:
    found = checked(Capacity(curve(), LIMITS, requests=4000), rate)
    run = simulate(curve(), found.replicas, rate, requests=30_000, seed=7)
    assert run.keeps(LIMITS)
    if found.replicas > 1:
        fewer = simulate(curve(), max(1, found.replicas - 2), rate, requests=30_000, seed=7)
        assert found.replicas <= 2 or not fewer.keeps(LIMITS)


def test_a_fleet_beyond_those_that_are_simulated_is_checked_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def noted(of: ServiceCurve, replicas: int, rate: float, **more: Any) -> Simulated:
        sizes.append(replicas)
        return simulate(of, replicas, rate, **more)

    monkeypatch.setattr("trilemma.planning.capacity.simulate", noted)
    found = checked(Capacity(curve(), LIMITS, requests=400), 1e5)
    assert found.replicas > 10_000
    assert max(sizes) == SIZES[-1]
    assert found.run.keeps(LIMITS)


def test_limits_that_no_fleet_keeps_are_refused() -> None:
    best = alone(curve())
    with pytest.raises(PlanError, match="No number of replicas"):
        Capacity(curve(), Latency(e2e_p95_s=best["e2e"] * 0.9)).needed(1.0)
    with pytest.raises(PlanError, match="so near"):
        Capacity(curve(), Latency(e2e_p95_s=best["e2e"] * 1.0001), requests=1000).needed(1.0)


def test_nothing_is_simulated_twice() -> None:
    kept = Kept()
    told: list[int] = []
    first = Capacity(curve(), LIMITS, requests=1000, kept=kept, progress=told.append)
    wanted = checked(first, 3.0)
    assert told
    count = len(told)
    again = Capacity(curve(), LIMITS, requests=1000, kept=kept, progress=told.append)
    assert checked(again, 3.0) is wanted
    assert again.needed(2.9) <= wanted.replicas
    assert len(told) == count


def test_an_estimate_of_the_same_is_the_same_and_of_a_slower_one_no_less() -> None:
    base = capacity()
    base.needed(5.0)
    rates = [1.0, 5.0, 20.0]
    assert Estimated(base).needed(5.0) == base.needed(5.0)
    same = Estimated(base).needed_each(rates)
    assert (Estimated(base, curve().slower(1.3)).needed_each(rates) >= same).all()
    assert (Estimated(base, latency=LIMITS.looser(1.5)).needed_each(rates) <= same).all()
    assert abs(same - base.needed_each(rates)).max() <= 1
