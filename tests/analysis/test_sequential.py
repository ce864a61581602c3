"""Tests that are looked at after every item: how often they err, and that they end by themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.analysis.sequential import PairedTest, mean_interval
from trilemma.bench.stopping import Rival, Stopping, stopped_measurements
from trilemma.records import AnswerRecord
from trilemma.schema import StoppingRule
from trilemma.suites.shares import mean_measurement

SCORES = st.lists(st.tuples(st.sampled_from((0.0, 1.0)), st.sampled_from((0.0, 1.0))), min_size=1, max_size=40)


def run(mine: np.ndarray, its: np.ndarray, error: float, margin: float) -> tuple[str | None, int]:
    test = PairedTest(len(mine), margin)
    for a, b in zip(mine, its, strict=True):
        test.add(float(a), float(b))
        if verdict := test.verdict(error):
            return verdict, test.count
    return None, test.count


@pytest.mark.parametrize("difference", [0.0, 0.02, 0.03, -0.08])
def test_wrong_orders_are_as_rare_as_stated(difference: float) -> None:
    rng = np.random.default_rng(1)
    error, wrong, rounds, margin = 0.1, 0, 300, 0.02
    for _ in range(rounds):
        its = (rng.random(200) < 0.5).astype(float)
        flips = rng.random(200) < 0.15
        mine = np.where(flips, (rng.random(200) < 0.5 + difference / 0.3).astype(float), its)
        truth = float((mine - its).mean())
        order = rng.permutation(200)
        verdict, _ = run(mine[order], its[order], error, margin)
        wrong += (
            (verdict == "better" and truth <= 0)
            or (verdict == "worse" and truth >= 0)
            or (verdict == "equal" and abs(truth) >= margin)
        )
    # Three standard errors of a rate of 0.1 over 300 rounds.
    assert wrong / rounds <= error + 3 * np.sqrt(error * (1 - error) / rounds)


def test_a_clear_difference_is_seen_early_and_twins_are_found_equal() -> None:
    rng = np.random.default_rng(2)
    its = (rng.random(1000) < 0.3).astype(float)
    better = np.maximum(its, (rng.random(1000) < 0.4).astype(float))
    assert run(better, its, 0.05, 0.02)[0] == "better"
    assert run(better, its, 0.05, 0.02)[1] < 100
    verdict, count = run(its, its, 0.05, 0.02)
    assert verdict == "equal"
    assert count < 500


@given(SCORES)
def test_asked_to_the_end_the_order_is_that_of_the_sums(pairs: list[tuple[float, float]]) -> None:
    test = PairedTest(len(pairs))
    for mine, its in pairs:
        test.add(mine, its)
    total = sum(mine - its for mine, its in pairs)
    assert test.verdict(1e-6) == ("equal" if total == 0 else "better" if total > 0 else "worse")


@given(SCORES)
def test_the_other_way_round_is_the_opposite(pairs: list[tuple[float, float]]) -> None:
    one, other = PairedTest(len(pairs) + 10, 0.1), PairedTest(len(pairs) + 10, 0.1)
    for mine, its in pairs:
        one.add(mine, its)
        other.add(its, mine)
    opposite = {"better": "worse", "worse": "better", "equal": "equal", None: None}
    assert opposite[one.verdict(0.2)] == other.verdict(0.2)


def test_the_interval_covers_at_every_size_at_once() -> None:
    rng = np.random.default_rng(3)
    missed, rounds = 0, 150
    for _ in range(rounds):
        everything = (rng.random(120) < rng.random()).astype(float)
        truth = float(everything.mean())
        order = rng.permutation(everything)
        intervals = [mean_interval(order[:n].tolist(), 120, 0.1) for n in (5, 20, 60, 119)]
        missed += any(not low - 1e-9 <= truth <= high + 1e-9 for low, high in intervals)
        low, high = mean_interval(order.tolist(), 120, 0.1)
        assert low == pytest.approx(truth) == high
    assert missed / rounds <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / rounds)


def test_no_answer_yet_says_nothing() -> None:
    assert mean_interval([], 100) == (0.0, 1.0)


def answer(index: int, score: float) -> AnswerRecord:
    return AnswerRecord(suite="s", item_id=f"s/{index}", index=index, prompt="", answer="", scores={"accuracy": score})


def test_a_suite_stops_when_its_place_is_decided() -> None:
    rival = Rival(label="other", scores={f"s/{i}": 0.0 for i in range(500)})
    stopping = Stopping(StoppingRule(), 500, [rival])
    answers: list[AnswerRecord] = []
    why = ""
    while not why:
        answers.append(answer(len(answers), float(len(answers) % 2)))
        why = stopping.add(answers[-1])
    assert 20 <= len(answers) < 60
    found = [mean_measurement("accuracy", "s", [one.scores["accuracy"] for one in answers])]
    (told,) = stopped_measurements(found, answers, 500, why, 0.05)
    assert told.value == found[0].value
    note = f"stopped after {len(answers)} of 500 items: its place among 2 configurations is decided"
    assert note in told.provenance.reasons
    # What holds whenever one stops is wider than what holds for a size fixed before.
    assert told.low is not None and found[0].low is not None and told.low < found[0].low


def test_without_rivals_only_a_narrow_interval_ends_it() -> None:
    wide = Stopping(StoppingRule(), 300, [])
    assert not any(wide.add(answer(i, 1.0)) for i in range(300))
    narrow = Stopping(StoppingRule(width=0.2), 300, [])
    assert any("within 0.2" in narrow.add(answer(i, 1.0)) for i in range(300))
