"""Who asks when: users, arrivals, and that every request is answered once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.workloads.instant import PacedServer
from trilemma.engines.base import GenerationRequest
from trilemma.workloads.load import ClosedLoop, OpenLoop, drive, poisson


def requests(count: int, tokens: int = 3) -> list[GenerationRequest]:
    return [GenerationRequest([1] * 4, tokens, ignore_eos=True)] * count


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 6), st.integers(2, 5))
def test_in_a_closed_loop_every_request_is_answered_once_and_no_user_asks_twice_at_once(
    count: int, users: int, slots: int, tokens: int
) -> None:
    server = PacedServer(slots)
    answers = list(drive(server, requests(count, tokens), ClosedLoop(users)))
    assert sorted(answer.position for answer in answers) == list(range(count))
    assert all(answer.generation.tokens == list(range(tokens)) for answer in answers)
    assert server.most_in_flight <= min(users, count)
    assert all(answer.generation.submitted_ns <= answer.generation.token_times_ns[0] for answer in answers)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 0.02), min_size=1, max_size=12), st.integers(1, 3))
def test_in_an_open_loop_requests_come_when_they_are_due_whatever_is_in_flight(times: list[float], slots: int) -> None:
    answers = list(drive(PacedServer(slots, 0.002), requests(len(times)), OpenLoop(times)))
    assert sorted(answer.position for answer in answers) == list(range(len(times)))
    by_position = sorted(answers, key=lambda answer: answer.position)
    submitted = np.array([answer.generation.submitted_ns for answer in by_position])
    wanted = np.array(sorted(times))
    # Due times are kept exactly: a server that was busy makes the wait longer, never the arrival later.
    assert (submitted - submitted[0]) / 1e9 == pytest.approx(wanted - wanted[0], abs=1e-6)
    assert all(answer.lag_s >= 0 for answer in answers)


def test_what_a_busy_server_delays_counts_as_waiting() -> None:
    slow = PacedServer(1, 0.05)
    first, second = sorted(drive(slow, requests(2, 2), OpenLoop([0.0, 0.01])), key=lambda answer: answer.position)
    # The second was due while the server was in a step, and had to wait for the first to end.
    assert second.lag_s > 0.02
    waited = (second.generation.token_times_ns[0] - second.generation.submitted_ns) / 1e9
    assert waited > 0.1
    assert first.lag_s < 0.02


def test_users_think_before_they_ask_again_and_the_pauses_are_those_of_the_seed() -> None:
    def gaps(seed: int) -> list[float]:
        server = PacedServer(1)
        answers = list(drive(server, requests(6), ClosedLoop(1, think_time_s=0.02, seed=seed)))
        ends = [answer.generation.token_times_ns[-1] for answer in answers]
        begins = [answer.generation.submitted_ns for answer in answers]
        return [(begin - end) / 1e9 for end, begin in zip(ends, begins[1:], strict=False)]

    assert gaps(1) == pytest.approx(gaps(1), abs=0.01)
    assert gaps(1) != pytest.approx(gaps(2), abs=0.01)
    rng = np.random.default_rng(1)
    assert gaps(1) == pytest.approx([rng.exponential(0.02) for _ in range(5)], abs=0.01)


def test_a_failed_request_is_kept_and_its_user_goes_on() -> None:
    answers = list(drive(PacedServer(2, fails=frozenset({1})), requests(6), ClosedLoop(2)))
    assert sorted(answer.position for answer in answers) == list(range(6))
    (failed,) = [answer for answer in answers if answer.generation.error]
    assert failed.position == 1
    assert failed.generation.submitted_ns > 0
    assert failed.generation.tokens == [0]


def test_poisson_arrivals_are_exponential_and_repeatable() -> None:
    times = list(poisson(5.0, 4000, seed=3).times_s)
    assert times == list(poisson(5.0, 4000, seed=3).times_s)
    assert times != list(poisson(5.0, 4000, seed=4).times_s)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert np.mean(gaps) == pytest.approx(1 / 5, rel=0.05)
    assert stats.kstest(gaps, stats.expon(scale=1 / 5).cdf).pvalue > 0.01
