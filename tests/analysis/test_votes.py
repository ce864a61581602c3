"""Counts of blind votes, their intervals, and the strength that all votes together give."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from trilemma.analysis.votes import Pair, luck, pairs, strengths, votes_headline
from trilemma.records import Choice, Vote

IDS = ("p", "q", "r", "s")
NAMES = {one: one.upper() for one in IDS}


def vote(a: str, b: str, choice: Choice) -> Vote:
    return Vote(source="", prompt="?", a_id=a, b_id=b, a_answer="", b_answer="", choice=choice)


def decided(one: str, other: str, won: int, lost: int, ties: int = 0, bad: int = 0) -> list[Vote]:
    choices = [Choice.A] * won + [Choice.B] * lost + [Choice.TIE] * ties + [Choice.BAD] * bad
    return [vote(one, other, choice) for choice in choices]


votes_of = st.lists(
    st.builds(vote, st.sampled_from(IDS), st.sampled_from(IDS), st.sampled_from(list(Choice))), max_size=40
)


@given(votes_of, st.permutations(IDS))
def test_no_vote_is_lost_or_counted_twice_whichever_side_it_stood_on(votes: list[Vote], order: Sequence[str]) -> None:
    found = pairs(votes, order)
    assert sum(pair.n for pair in found) == sum(v.a_id != v.b_id for v in votes)
    turned = [v.model_copy(update={"a_id": v.b_id, "b_id": v.a_id, "choice": other(v.choice)}) for v in votes]
    assert pairs(turned, order) == found
    for pair in found:
        assert order.index(pair.one) < order.index(pair.other)
        assert (pair.share is None) == (pair.won + pair.lost == 0)
        if pair.share is not None:
            assert pair.low is not None
            assert pair.high is not None
            assert 0 <= pair.low <= pair.share + 1e-12
            assert pair.share - 1e-12 <= pair.high <= 1


def other(choice: Choice) -> Choice:
    return {Choice.A: Choice.B, Choice.B: Choice.A}.get(choice, choice)


def test_strangers_are_left_out() -> None:
    assert pairs([vote("p", "x", Choice.A)], IDS) == []


def test_the_interval_is_wilsons() -> None:
    (pair,) = pairs(decided("p", "q", 8, 2, ties=3, bad=1), IDS)
    n, share, z = 10, 0.8, 1.959963984540054
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert (pair.won, pair.lost, pair.ties, pair.bad, pair.n) == (8, 2, 3, 1, 14)
    assert (pair.low, pair.high) == pytest.approx((middle - half, middle + half))
    assert pair.p == luck(8, 2)


def test_the_capital_of_a_bet_is_the_mixture_over_all_chances() -> None:
    def bet(angle: float, won: int, lost: int) -> float:
        """On the chance sin² of ``angle``, which by Jeffreys' prior is even in the angle."""
        return float((2 * math.sin(angle) ** 2) ** won * (2 * math.cos(angle) ** 2) ** lost * 2 / math.pi)

    for won, lost in ((7, 0), (8, 2), (1, 12), (40, 61)):
        capital = integrate.quad(bet, 0, math.pi / 2, args=(won, lost))[0]
        assert luck(won, lost) == pytest.approx(min(1.0, 1 / capital), rel=1e-6)
    assert luck(7, 0) == pytest.approx(2**7 / math.comb(14, 7))
    assert luck(0, 0) == 1.0


def test_who_looks_after_every_vote_finds_no_preference_where_there_is_none() -> None:
    rng = np.random.default_rng(5)
    found = by_sign_test = 0
    for _ in range(400):
        won = np.cumsum(rng.random(150) < 0.5).tolist()
        counts = [(w, n - w) for n, w in enumerate(won, 1)]
        found += any(luck(*count) < 0.05 for count in counts)
        by_sign_test += any(special.bdtr(min(count), sum(count), 0.5) < 0.025 for count in counts)
    assert found / 400 <= 0.05
    assert by_sign_test / 400 > 0.1, "what a test for one look would claim"


@given(st.integers(0, 400), st.integers(0, 400))
def test_luck_is_a_probability_and_the_same_for_both(won: int, lost: int) -> None:
    assert 0 < luck(won, lost) <= 1
    assert luck(won, lost) == pytest.approx(luck(lost, won))
    assert luck(won + lost + 1, 0) <= luck(won + 1, lost) + 1e-12


def test_of_two_the_strength_is_the_share_with_half_a_win_more_for_each() -> None:
    found = strengths(pairs(decided("p", "q", 9, 3), IDS))
    assert found is not None
    gap = math.log(9.5 / 3.5)
    error = math.sqrt(1 / 9.5 + 1 / 3.5) / 2 * 1.959963984540054
    assert found["p"].value == pytest.approx(special.expit(gap / 2), abs=1e-6)
    assert found["p"].low == pytest.approx(special.expit(gap / 2 - error), abs=1e-6)
    assert found["q"].value == pytest.approx(1 - found["p"].value)
    assert (found["p"].votes, found["q"].votes) == (12, 12)


@settings(max_examples=25)
@given(votes_of, st.permutations(IDS))
def test_strengths_do_not_hang_on_the_order_and_hold_their_intervals(votes: list[Vote], order: Sequence[str]) -> None:
    found, again = strengths(pairs(votes, IDS)), strengths(pairs(votes, order))
    assert (found is None) == (again is None)
    for one, strength in (found or {}).items():
        assert again is not None
        assert strength.value == pytest.approx(again[one].value, abs=1e-5)
        assert 0 < strength.low < strength.value < strength.high < 1


def test_one_that_always_won_is_strong_but_not_surely() -> None:
    found = strengths(pairs(decided("p", "q", 3, 0) + decided("q", "r", 3, 0), IDS))
    assert found is not None
    assert found["p"].value > found["q"].value > found["r"].value
    assert found["p"].low < 0.75


def test_groups_that_never_met_have_no_common_scale() -> None:
    assert strengths([]) is None
    assert strengths(pairs(decided("p", "q", 3, 1) + decided("r", "s", 1, 3), IDS)) is None


def test_intervals_cover_a_known_truth() -> None:
    rng = random.Random(4)
    truth = np.array([0.8, 0.2, -0.3, -0.7])
    inside = total = 0
    for _ in range(60):
        votes = []
        for i, j in itertools.combinations(range(4), 2):
            chance = special.expit(truth[i] - truth[j])
            votes += [vote(IDS[i], IDS[j], Choice.A if rng.random() < chance else Choice.B) for _ in range(15)]
        found = strengths(pairs(votes, IDS))
        assert found is not None
        for t, one in zip(truth, IDS, strict=True):
            inside += found[one].low <= special.expit(t) <= found[one].high
            total += 1
    assert 0.9 < inside / total <= 1.0


def test_the_headline_claims_only_what_is_no_luck() -> None:
    assert votes_headline([], NAMES) == "No vote yet."
    few = pairs(decided("p", "q", 1, 0), IDS)
    assert votes_headline(few, NAMES) == "After 1 vote no preference can be told from luck."
    clear = pairs(decided("p", "q", 2, 30) + decided("p", "r", 5, 5), IDS)
    assert votes_headline(clear, NAMES) == "After 42 votes: Q is preferred to P."
    # 7 to 0 has p = 0.037 alone, which is no longer enough among three pairs.
    one, *rest = pairs(decided("p", "q", 7, 0) + decided("p", "r", 1, 1) + decided("q", "r", 1, 1), IDS)
    assert votes_headline([one], NAMES) == "After 7 votes: P is preferred to Q."
    assert "can be told from luck" in votes_headline([one, *rest], NAMES)
    assert votes_headline([Pair("p", "q", 0, 0, 4, 1)], NAMES) == "After 5 votes no preference can be told from luck."
