"""The planner's benchmark on a small case: its scenarios, its own simulation, and its verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planner import Judged, judge, planned
from benchmarks.planner_tools import Outcome, Scenario, reference, scenario, verdict

CASE = Scenario(
    levels=[1], prefill_s=[0.25], decode_s=[0.75], variations=[[(1.0, 1.0)]], output_tokens=11,
    requests_per_day=0.6 * 86_400, shares=[1.0] * 24, limits={"ttft": 2.0},
)  # fmt: skip


def test_scenarios_are_seeded_and_differ() -> None:
    assert scenario(3) == scenario(3)
    assert scenario(3) != scenario(4)
    for number in range(30):
        case = scenario(number)
        assert case.limits and case.peak_rate > 0
        assert len(case.shares) == 24
        for rows in case.variations:
            assert np.mean(rows, axis=0) == pytest.approx([1, 1])


def test_the_other_simulation_waits_as_an_m_d_1_queue_does() -> None:
    # Waiting longer than 1.75 s of a service of 1 s at a load of 0.6: exact for M/D/1 (Erlang's series).
    def idle_within(time: float, load: float) -> float:
        terms = [
            (load * (n - time)) ** n / float(np.prod(np.arange(1, n + 1))) * np.exp(-load * (n - time))
            for n in range(int(time) + 1)
        ]
        return (1 - load) * sum(terms)

    wanted = 1 - idle_within(1.75, 0.6)
    found = reference(replace(CASE, limits={"ttft": 2.0, "e2e": 99.0}), 1, 1, 60_000, 1)
    # It stops early where more than 5 of 100 are above: this limit is kept.
    if found.stopped:
        assert wanted > 0.05
    else:
        assert found.over["ttft"] == pytest.approx(wanted, abs=4 * found.error["ttft"] + 0.003)
    assert reference(replace(CASE, limits={"ttft": 0.3}), 1, 1, 5_000, 1).stopped
    light = reference(replace(CASE, limits={"ttft": 4.0}), 1, 1, 60_000, 1)
    assert light.over["ttft"] == pytest.approx(1 - idle_within(3.75, 0.6), abs=4 * light.error["ttft"] + 0.003)


def test_a_verdict_is_decided_only_clear_of_the_limit() -> None:
    assert verdict(Outcome({}, {}, True)) == (False, False)
    assert verdict(Outcome({"ttft": 0.03}, {"ttft": 0.002})) == (True, True)
    assert verdict(Outcome({"ttft": 0.049}, {"ttft": 0.002})) == (True, False)
    assert verdict(Outcome({"ttft": 0.052}, {"ttft": 0.002})) == (False, False)
    assert verdict(Outcome({"ttft": 0.01, "e2e": 0.06}, {"ttft": 0.0, "e2e": 0.001})) == (False, True)


def test_what_counts_as_within_one() -> None:
    def judged(mine: int | None, other: int | None) -> bool:
        return Judged(0, 1, mine, other, False, False, 0, 0.0).within_one

    assert judged(3, 4) and judged(3, 2) and judged(None, None)
    assert not judged(3, 5) and not judged(None, 4)


def test_a_scenario_is_judged_from_end_to_end() -> None:
    found = judge((66, 3000))
    assert found.planned == 1
    assert found.within_one
    assert not found.broken


def test_a_limit_that_no_fleet_keeps_is_planned_as_none() -> None:
    assert planned(replace(CASE, limits={"e2e": 0.9}))[1] is None
