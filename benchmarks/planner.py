"""Do the planner's replica counts agree with a simulation, and does it ever promise a latency that one breaks?

A hundred random scenarios: load curves of one to sixteen slots, a day's demand of up to some eighty replicas, and
limits on the 95th percentile of one to three latencies. The planner answers with slots and replicas for the peak hour.
Another simulation (``planner_tools``: its own code, other random numbers, a longer run) is asked for the smallest
number of replicas with which its own percentiles keep the limits.

``share_within_one``: of the scenarios, those in which both numbers differ by at most one. ``broken_promises``: those in
which the simulation, with the planner's replicas, has a percentile above its limit. A simulation is noisy: where the
95 % interval (batch means) has the limit inside it, the simulation is run again four times as long, and once more
sixteen times; what its estimate then says counts, in either direction, however close. A run is stopped when so many
requests are above a limit that its percentile is, too; that may be its luck and gives no interval, so it counts if the
longer run is stopped as well. ``undecided`` is in how many scenarios it was still that close at the planner's own
number. Limits that no fleet keeps must be refused.

A percentile is above its limit exactly where more than 5 of 100 requests are, so it is that share which is looked at.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np

from benchmarks import common
from benchmarks.common import Limit, say
from benchmarks.planner_tools import Scenario, reference, scenario, verdict
from trilemma.errors import PlanError
from trilemma.planning.capacity import Capacity, checked
from trilemma.planning.demand import Demand
from trilemma.planning.limits import Latency
from trilemma.planning.queueing import best_slots
from trilemma.planning.service import ServiceCurve

LIMITS = {"share_within_one": Limit(at_least=1.0), "broken_promises": Limit(at_most=0)}
REQUESTS = 40_000
_LONGER = (1, 4, 16)


class Judged(NamedTuple):
    """One scenario: both answers (None: no number of replicas), and whether the planner's breaks a limit."""

    number: int
    slots: int
    planned: int | None
    simulated: int | None
    broken: bool
    undecided: bool
    added: int
    seconds: float

    @property
    def within_one(self) -> bool:
        """Whether both answers are the same but for one replica."""
        if self.planned is None or self.simulated is None:
            return self.planned is self.simulated
        return abs(self.planned - self.simulated) <= 1


def planned(case: Scenario) -> tuple[int, int | None, int]:
    """The planner's slots, its replicas in the peak hour, and how many of them its own check added."""
    curve = ServiceCurve(
        levels=np.array(case.levels, dtype=np.float64), prefill_s=np.array(case.prefill_s),
        decode_s=np.array(case.decode_s), slots=case.levels[-1], output_tokens=float(case.output_tokens),
        variations=tuple(np.array(rows) for rows in case.variations),
    )  # fmt: skip
    demand = Demand(requests_per_day=case.requests_per_day, shares=tuple(case.shares))
    latency = Latency(**{f"{name}_p95_s": limit for name, limit in case.limits.items()})
    slots = best_slots(curve, latency)
    try:
        found = checked(Capacity(curve.with_slots(slots), latency), demand.peak_rate())
    except PlanError:
        return slots, None, 0
    return slots, found.replicas, found.added


def holds(case: Scenario, slots: int, replicas: int, requests: int) -> tuple[bool, bool]:
    """Whether the other simulation keeps the limits, and whether that is beyond its noise."""
    stops = 0
    decided = kept = False
    for longer in _LONGER:
        outcome = reference(case, slots, replicas, longer * requests, seed=longer)
        kept, decided = verdict(outcome)
        stops += outcome.stopped
        decided = decided or stops > 1
        if decided:
            break
    return kept, decided


def smallest(case: Scenario, slots: int, near: int, kept: bool, requests: int) -> int:
    """The smallest number of replicas that keeps the limits, searched from ``near``, which does or does not."""
    replicas = near
    if kept:
        while replicas > 1 and holds(case, slots, replicas - 1, requests)[0]:
            replicas -= 1
        return replicas
    while not holds(case, slots, replicas + 1, requests)[0]:
        replicas += 1
    return replicas + 1


def judge(job: tuple[int, int]) -> Judged:
    """Plan and simulate one scenario; ``job`` is its number and the length of the simulation."""
    number, requests = job
    start = time.monotonic()
    case = scenario(number)
    slots, replicas, added = planned(case)
    if replicas is None:
        # Ten times what the rate takes without any limit: if that does not keep them, nothing will.
        top = max(n / (p + d) for n, p, d in zip(case.levels, case.prefill_s, case.decode_s, strict=True))
        many = 10 * (int(case.peak_rate / top) + 1)
        kept, decided = holds(case, slots, many, requests)
        return Judged(number, slots, None, many if kept else None, False, not decided, 0, time.monotonic() - start)
    kept, decided = holds(case, slots, replicas, requests)
    found = smallest(case, slots, replicas, kept, requests)
    return Judged(number, slots, replicas, found, not kept, not decided, added, time.monotonic() - start)


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """All scenarios, on all cores."""
    jobs = [(number, options.requests) for number in range(options.scenarios)]
    found: list[Judged] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for one in pool.map(judge, jobs):
            found.append(one)
            mark = "  BROKEN" if one.broken else "" if one.within_one else "  APART"
            say(
                f"  scenario {one.number}: {one.slots} slots, planned {one.planned}, simulated {one.simulated}"
                f"{', undecided' if one.undecided else ''} ({one.seconds:.1f} s){mark}"
            )
    both = [(one.planned, one.simulated) for one in found if one.planned is not None and one.simulated is not None]
    return {
        "share_within_one": sum(one.within_one for one in found) / len(found),
        "broken_promises": sum(one.broken for one in found),
        "share_equal": sum(one.planned == one.simulated for one in found) / len(found),
        "scenarios": len(found),
        "refused": sum(one.planned is None for one in found),
        "undecided": sum(one.undecided for one in found),
        "added_by_check": sum(one.added > 0 for one in found),
        "most_replicas": max((max(pair) for pair in both), default=0),
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", type=int, default=100)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="Length of the other simulation.")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    common.main("planner", LIMITS, lambda: measure(options))


if __name__ == "__main__":
    main()
