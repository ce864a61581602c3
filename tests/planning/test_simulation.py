"""The simulation against textbook queues and laws that hold in every one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.replicas import LIMITS, curve, one_slot, shared
from trilemma.planning.limits import Latency, alone
from trilemma.planning.simulation import length_for, simulate


@given(st.integers(1, 6), st.floats(0.1, 0.85), st.integers(0, 1000))
@settings(max_examples=12)
def test_littles_law_holds(replicas: int, load: float, seed: int) -> None:
    made = curve()
    rate = load * replicas * made.top_rate
    run = simulate(made, replicas, rate, requests=4000, seed=seed)
    came = len(run.e2e) / run.span_s
    assert run.in_system == pytest.approx(came * run.e2e.mean(), rel=0.05)
    assert came == pytest.approx(rate, rel=0.1)


def test_equal_times_wait_as_in_an_m_d_1_queue() -> None:
    run = simulate(one_slot(1.0), 1, 0.6, requests=40_000, seed=1)
    assert run.wait.mean() == pytest.approx(0.6 / (2 * (1 - 0.6)), rel=0.05)
    assert run.busy == pytest.approx(0.6, rel=0.03)
    assert np.allclose(run.e2e - run.wait, 1.0)
    assert np.allclose(run.tpot, 0.075)


def test_exponential_times_wait_as_in_an_m_m_c_queue() -> None:
    quantiles = -np.log(1 - (np.arange(4000) + 0.5) / 4000)
    run = simulate(one_slot(1.0, quantiles / quantiles.mean()), 3, 2.4, requests=60_000, seed=2)
    waits = 0.8**3 * 27 / 6 / (1 - 0.8)
    wanted = waits / (1 + 2.4 + 2.4**2 / 2 + waits)
    assert (run.wait > 1e-9).mean() == pytest.approx(wanted, rel=0.05)
    assert run.wait.mean() == pytest.approx(wanted / (3 - 2.4), rel=0.1)


@pytest.mark.parametrize("times", [(1.0,), (0.2, 0.4, 2.4)])
def test_a_shared_machine_answers_as_processor_sharing_does_whatever_the_times(times: tuple[float, ...]) -> None:
    run = simulate(shared(1.0, 60, times), 1, 0.5, requests=30_000, seed=3)
    assert run.e2e.mean() == pytest.approx(1 / (1 - 0.5), rel=0.07)


def test_alone_a_request_takes_what_was_measured() -> None:
    made = curve()
    run = simulate(made, 50, 0.01, requests=2000)
    assert run.wait.max() == 0
    for name, value in alone(made).items():
        assert run.percentile(name).value == pytest.approx(value, rel=0.06)  # of forty requests


def test_it_is_seeded() -> None:
    first, same, other = (simulate(curve(), 2, 3.0, requests=1000, seed=seed) for seed in (1, 1, 2))
    assert (first.e2e == same.e2e).all()
    assert not (first.e2e == other.e2e).all()


def test_the_interval_of_a_percentile_covers_what_longer_runs_find() -> None:
    made, rate = curve(), 2.5
    truth = simulate(made, 1, rate, requests=200_000, seed=99).percentile("e2e").value
    covered = 0
    for seed in range(20):
        found = simulate(made, 1, rate, requests=6000, seed=seed).percentile("e2e")
        assert found.low is not None and found.high is not None
        covered += found.low <= truth <= found.high
    assert covered >= 16


def test_it_stops_as_soon_as_a_limit_is_broken_for_certain() -> None:
    made = curve()
    rate = 0.99 * made.top_rate
    tight = Latency(ttft_p95_s=0.15)
    run = simulate(made, 1, rate, requests=20_000, until_broken=tight)
    assert run.stopped
    assert len(run.e2e) < 20_000
    assert not run.keeps(tight)
    assert not simulate(made, 1, rate, requests=4000).keeps(tight)
    light = simulate(made, 1, 0.1 * made.top_rate, requests=4000, until_broken=LIMITS)
    assert not light.stopped
    assert light.keeps(LIMITS, surely=True)


def test_what_cannot_be_simulated_is_refused() -> None:
    for replicas, rate, requests in ((0, 1.0, 1000), (1, 0.0, 1000), (1, 1.0, 10)):
        with pytest.raises(ValueError, match="simulation"):
            simulate(curve(), replicas, rate, requests=requests)


def test_near_saturation_and_of_many_replicas_more_is_simulated() -> None:
    assert length_for(0.5, 1, 1000) == 1000
    assert length_for(0.96, 1, 1000) > 3000
    assert length_for(0.5, 32, 1000) == 4000
    assert math.isfinite(length_for(1.0, 1, 1000))
