"""The arithmetic against textbook queues, and what it must never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.replicas import LIMITS, curve, one_slot, shared
from trilemma.planning.limits import Availability, Latency, alone, default_latency, unreachable
from trilemma.planning.queueing import (
    FULLEST,
    arithmetic_rate,
    best_slots,
    exceeding,
    missed,
    occupancy,
    variability,
)


def erlang_c(servers: int, load: float) -> float:
    """The probability of waiting in an M/M/c queue, from its textbook formula."""
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (2, 1.5), (5, 4.0), (12, 10.5)])
def test_with_one_slot_the_probability_to_wait_is_erlangs(servers: int, load: float) -> None:
    state = occupancy(one_slot(2.0), servers, load / 2.0)
    assert state.waits == pytest.approx(erlang_c(servers, load))
    assert state.admitted.sum() + state.waits == pytest.approx(1)
    # Utilisation: as many are busy on average as work comes.
    assert state.busy @ [0, 1] == pytest.approx(load)


def test_shared_equally_the_mean_number_in_service_is_that_of_processor_sharing() -> None:
    state = occupancy(shared(1.0, 60), 1, 0.5)
    assert state.busy @ np.arange(61) == pytest.approx(0.5 / (1 - 0.5), rel=1e-6)


@given(st.integers(1, 20), st.floats(0.01, 0.96))
def test_the_states_are_a_distribution_and_keep_up(replicas: int, load: float) -> None:
    made = curve()
    rate = load * replicas * made.top_rate
    state = occupancy(made, replicas, rate)
    assert state.admitted.sum() + state.waits == pytest.approx(1)
    assert state.busy.sum() == pytest.approx(replicas)
    assert (state.busy >= -1e-12).all()
    # What is completed is what comes.
    assert state.busy[1:] @ made.rate == pytest.approx(rate, rel=1e-6)


def test_more_than_the_replicas_complete_has_no_steady_state() -> None:
    with pytest.raises(ValueError, match="complete"):
        occupancy(curve(), 2, 2 * curve().top_rate)
    idle = occupancy(curve(), 3, 0.0)
    assert idle.busy[0] == 3


@given(st.integers(1, 12), st.floats(0.05, 0.9), st.floats(0.2, 5))
@settings(max_examples=40)
def test_longer_limits_are_broken_less_and_more_arrivals_break_more(replicas: int, load: float, limit: float) -> None:
    made = curve()
    rate = load * replicas * made.top_rate
    for name in ("ttft", "e2e", "tpot"):
        light, heavy = (occupancy(made, replicas, one) for one in (rate, rate * 1.05))
        assert exceeding(made, light, name, limit) >= exceeding(made, light, name, limit * 1.1) - 1e-12
        assert exceeding(made, heavy, name, limit) >= exceeding(made, light, name, limit) - 1e-9


def test_the_highest_rate_is_the_edge_of_what_holds() -> None:
    made = curve()
    rate = arithmetic_rate(made, 3, LIMITS)
    assert missed(made, 3, rate * 0.999, LIMITS) == ()
    assert missed(made, 3, rate * 1.001, LIMITS)
    assert arithmetic_rate(made, 3, Latency()) == pytest.approx(FULLEST * 3 * made.top_rate)
    assert arithmetic_rate(made, 3, Latency(e2e_p95_s=0.5)) == 0


def test_what_nobody_could_keep_is_named() -> None:
    made = curve()
    best = alone(made)
    assert [aim.name for aim in unreachable(made, Latency(e2e_p95_s=best["e2e"] * 0.99, ttft_p95_s=10))] == ["e2e"]
    assert unreachable(made, Latency(e2e_p95_s=best["e2e"] * 1.01)) == []
    assert unreachable(made, default_latency(made)) == []
    slow = made.slower(20)
    assert (default_latency(slow).ttft_p95_s or 0) >= 2 * alone(slow)["ttft"]


def test_a_limit_on_the_time_per_token_takes_fewer_slots() -> None:
    made = curve()
    assert best_slots(made, Latency(ttft_p95_s=60)) == 8
    per_token = 1.5 * alone(made)["tpot"]
    assert best_slots(made, Latency(ttft_p95_s=60, tpot_p95_s=per_token)) < 8


def test_throughput_that_falls_again_takes_fewer_slots() -> None:
    thrashing = curve(decode=(0.9, 1.4, 9.0))
    assert best_slots(thrashing, Latency(ttft_p95_s=60)) == 4


def test_variability_is_that_of_the_measured_times() -> None:
    assert variability(one_slot(1.0)) == 0
    assert variability(one_slot(1.0, (0.5, 1.5))) == pytest.approx(0.25)


@given(st.integers(1, 50), st.floats(0.9, 0.9999), st.floats(0.5, 0.999))
@settings(max_examples=30)
def test_spares_reach_the_target_and_not_one_too_many(needed: int, target: float, replica: float) -> None:
    from scipy import stats

    spares = Availability(target=target, replica=replica).spares_for(needed)
    assert stats.binom.sf(needed - 1, needed + spares, replica) >= target
    if spares:
        assert stats.binom.sf(needed - 1, needed + spares - 1, replica) < target


def test_fixed_spares_and_none_for_nothing() -> None:
    assert Availability(spares=3).spares_for(5) == 3
    assert Availability(spares=3).spares_for(0) == 0
