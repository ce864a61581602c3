"""Differences between configurations, and the composed score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trilemma.analysis.headline_score import chance_level, composed
from trilemma.analysis.paired import (
    MCNEMAR,
    PERMUTATION,
    disagreements,
    headline_figure,
    holm,
    is_score,
    item_scores,
    paired,
)
from trilemma.records import AnswerRecord

shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
pairs = st.lists(st.tuples(shares, shares), min_size=1, max_size=30)
few = settings(max_examples=20)


def answer(item: str, score: float, figure: str = "accuracy", **detail: object) -> AnswerRecord:
    return AnswerRecord.model_validate(
        {"suite": "s", "item_id": item, "index": 0, "prompt": "", "answer": "", "scores": {figure: score, "other": 9.0}}
        | {"detail": detail}
    )


def by_item(values: list[float]) -> dict[str, float]:
    return {f"s/{position}": value for position, value in enumerate(values)}


@few
@given(pairs)
def test_the_other_way_round_the_difference_changes_its_sign_and_nothing_else(drawn: list[tuple[float, float]]) -> None:
    first, second = (by_item([pair[side] for pair in drawn]) for side in (0, 1))
    there, back = paired(first, second), paired(second, first)
    assert there.difference == pytest.approx(-(back.difference or 0.0))
    assert (there.low is None) == (back.high is None)
    if there.low is not None and there.high is not None and back.high is not None and there.difference is not None:
        assert there.low == pytest.approx(-back.high)
        assert there.low <= there.difference + 1e-9
        assert there.difference <= there.high + 1e-9
    assert (there.lost, there.gained) == (back.gained, back.lost)
    assert there.p is not None
    assert 0.0 <= there.p <= 1.0
    assert there.p == pytest.approx(back.p)


@few
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_flips_add_up_to_the_difference(drawn: list[tuple[bool, bool]]) -> None:
    found = paired(*(by_item([float(pair[side]) for pair in drawn]) for side in (0, 1)))
    assert found.test == MCNEMAR
    assert found.difference == pytest.approx((found.gained - found.lost) / len(drawn))
    assert found.flips == sum(one != other for one, other in drawn)


def test_mcnemar_is_the_binomial_of_the_changed_items() -> None:
    # 2 (1 + 10 + 45) / 2^10, by hand
    first, second = [1.0] * 8 + [0.0] * 2 + [1.0] * 50, [0.0] * 8 + [1.0] * 2 + [1.0] * 50
    found = paired(by_item(first), by_item(second))
    assert found.p == pytest.approx(2 * (1 + 10 + 45) / 2**10)
    assert (found.lost, found.gained, found.n) == (8, 2, 60)


def test_the_interval_is_about_that_of_the_normal_distribution_for_many_items() -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.random(2000) < 0.6).astype(float), (rng.random(2000) < 0.5).astype(float)
    found = paired(by_item(first.tolist()), by_item(second.tolist()))
    half = 1.96 * float(stats.sem(second - first))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


def test_scores_between_right_and_wrong_are_permuted_exactly() -> None:
    # Every one of six differences goes one way: of 64 ways to swap, two are as extreme.
    found = paired(by_item([0.25] * 6), by_item([0.5, 0.75, 1.0, 0.5, 0.75, 0.5]))
    assert found.test == PERMUTATION
    assert found.p == pytest.approx(2 / 64)


def test_only_common_items_count_and_without_any_nothing_is_said() -> None:
    found = paired({"a": 1.0, "b": 0.0}, {"b": 1.0, "c": 1.0})
    assert (found.n, found.difference, found.low) == (1, 1.0, None)
    nothing = paired({"a": 1.0}, {"b": 1.0})
    assert (nothing.n, nothing.difference, nothing.p) == (0, None, None)
    same = paired(by_item([1.0, 0.0]), by_item([1.0, 0.0]))
    assert (same.difference, same.p, same.low, same.flips) == (0.0, 1.0, None, 0)


def test_tries_are_averaged_and_the_first_score_stands_for_the_suite() -> None:
    answers = [answer("s/1", 1.0), answer("s/1#1", 0.0), answer("s/2", 1.0)]
    assert headline_figure(answers) == "accuracy"
    assert item_scores(answers) == {"s/1": 0.5, "s/2": 1.0}
    assert disagreements(item_scores(answers), {"s/1": 1.0, "s/2": 1.0, "s/3": 0.0}) == ["s/1"]
    assert is_score(answers)
    assert not is_score([answer("t/1", 0.5, "perplexity")])
    assert not is_score([answer("t/1", 17.0, "of another program")])
    assert not is_score([])


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_helps(values: list[float]) -> None:
    corrected = [value for value in holm(values) if value is not None]
    assert len(corrected) == len(values)
    ordered = sorted(zip(values, corrected, strict=True))
    assert [c for _, c in ordered] == sorted(corrected)
    for value, one in ordered:
        assert min(1.0, value) <= one <= min(1.0, len(values) * value) + 1e-12


def test_holm_by_hand() -> None:
    assert holm([0.01, None, 0.04, 0.03, 0.005]) == pytest.approx([0.03, None, 0.06, 0.06, 0.02])


@few
@given(
    st.lists(st.lists(shares, min_size=5, max_size=5), min_size=1, max_size=4),
    st.lists(st.floats(0.1, 9), min_size=4, max_size=4),
)
def test_a_composed_score_lies_between_those_of_its_suites(suites: list[list[float]], weights: list[float]) -> None:
    scores = {f"suite {i}": {"x": by_item(values), "y": by_item(values[::-1])} for i, values in enumerate(suites)}
    chance = dict.fromkeys(scores, 0.25)
    found = composed(scores, chance, dict(zip(scores, weights, strict=False)))
    alone = [(float(np.mean(values)) - 0.25) / 0.75 for values in suites]
    assert min(alone) - 1e-9 <= found["x"].value <= max(alone) + 1e-9
    assert found["x"].best + found["y"].best == pytest.approx(1.0)
    assert found["x"].difference == 0.0
    assert found["x"].difference_low is None


def test_chance_is_nothing_and_all_right_is_one() -> None:
    quarter = by_item([1.0, 0.0, 0.0, 0.0])
    found = composed({"s": {"guess": quarter, "all": by_item([1.0] * 4)}}, {"s": 0.25}, {"s": 3.0})
    assert found["guess"].value == pytest.approx(0.0)
    assert found["all"].value == pytest.approx(1.0)
    assert found["all"].low is None
    assert found["all"].difference == pytest.approx(1.0)


def test_what_configurations_have_in_common_cancels_in_their_difference() -> None:
    rng = np.random.default_rng(0)
    first = (rng.random(200) < 0.5).astype(float)
    second = first.copy()
    second[:4] = 1 - second[:4]
    found = composed({"s": {"a": by_item(first.tolist()), "b": by_item(second.tolist())}}, {}, {"s": 1.0})["b"]
    assert found.low is not None
    assert found.high is not None
    assert found.difference_low is not None
    assert found.difference_high is not None
    assert found.difference_high - found.difference_low < 0.5 * (found.high - found.low)


def test_suites_without_weight_or_common_items_do_not_count() -> None:
    scores = {
        "none": {"a": {"1": 1.0}, "b": {"2": 1.0}},
        "zero": {"a": {"1": 1.0}, "b": {"1": 1.0}},
        "real": {"a": {"1": 0.0}, "b": {"1": 1.0}},
    }
    found = composed(scores, {}, {"none": 5.0, "zero": 0.0, "real": 1.0})
    assert [found[name].value for name in ("a", "b")] == [0.0, 1.0]
    assert composed(scores, {}, {}) == {}


def test_the_chance_level_is_that_of_the_choices() -> None:
    choices = [answer("1", 1.0, choices=["a", "b"]), answer("2", 1.0, choices=["a", "b", "c", "d"])]
    assert chance_level(choices) == pytest.approx(0.375)
    assert chance_level([answer("1", 1.0)]) == 0.0
