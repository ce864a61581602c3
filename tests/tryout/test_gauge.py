"""What a process takes, over a meter that knows whom it reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest
from hosts import contender

from trilemma.meters.base import Availability, EnergyDomain, Target
from trilemma.meters.sampler import Sampler
from trilemma.schema import EnergyCoefficients, Method
from trilemma.tryout.gauge import Gauge
from trilemma.tryout.messages import Ready

ENERGY = EnergyCoefficients()
ANSWERING, SERVER = 111, 222
JOULES = {ANSWERING: 50.0, SERVER: 2.0}
STEP_S = 0.2


class Knows:
    """Counts for each reading what the process takes that it reads."""

    name: ClassVar[str] = "knows"
    memory_kind: ClassVar[str] = "pss"

    def __init__(self) -> None:
        self.pid: int | None = None
        self.joules = self.others = 0.0

    @classmethod
    def availability(cls) -> Availability:
        return Availability(True, "")

    def start(self, target: Target) -> None:
        self.pid = target.pid

    def read(self, elapsed_s: float) -> dict[str, float]:
        return self.read_full()

    def read_full(self) -> dict[str, float]:
        if self.pid is None:
            return {}
        self.joules += JOULES[self.pid]
        return {"pss_bytes": float(self.pid), "energy_j.knows": self.joules,
                "others_cpu_cores": self.others}  # fmt: skip

    def domains(self) -> list[EnergyDomain]:
        return [EnergyDomain("energy_j.knows", "knows", "process tree", Method.MODELLED)]

    def close(self) -> None: ...


class Clock:
    now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sampler(clock: Clock) -> Iterator[Sampler]:
    """Reads when it is told to only."""
    with Sampler([Knows()], hz=0.001, clock=clock) as found:
        found.start(Target(None, ENERGY))
        yield found


def read(sampler: Sampler, clock: Clock, times: int) -> None:
    for _ in range(times):
        clock.now_ns += round(STEP_S * 1e9)
        sampler.read_now()


def test_of_a_server_nothing_counts_that_the_process_took_which_asks_it(sampler: Sampler, clock: Clock) -> None:
    gauge = Gauge(sampler, contender().configuration, ENERGY, ANSWERING)
    read(sampler, clock, 3)
    assert gauge.now().memory_bytes == ANSWERING
    read(sampler, clock, 3)
    gauge.ready(Ready(pid=SERVER, elsewhere=True, load_s=1.0))
    begun = clock.now_ns
    read(sampler, clock, 6)
    now = gauge.now()
    assert (now.memory_bytes, now.memory_kind, now.mean) == (SERVER, "pss", False)
    assert now.power_w == pytest.approx(JOULES[SERVER] / STEP_S)
    ended = clock.now_ns
    clock.now_ns += round(STEP_S * 1e9)
    whole = gauge.over(begun, ended)
    assert (whole.memory_bytes, whole.mean, whole.method) == (SERVER, True, Method.MODELLED)
    assert whole.disturbances == ()
    assert whole.power_w == pytest.approx(JOULES[SERVER] / STEP_S)


def test_what_others_did_meanwhile_is_said(sampler: Sampler, clock: Clock) -> None:
    gauge = Gauge(sampler, contender().configuration, ENERGY, ANSWERING)
    gauge.ready(Ready(pid=ANSWERING, load_s=1.0))
    begun = clock.now_ns
    sampler.meters[0].others = 1.5  # type: ignore[attr-defined]
    read(sampler, clock, 8)
    assert gauge.now().disturbances == ()
    (why,) = gauge.over(begun, clock.now_ns).disturbances
    assert why == "other processes used 1.50 cores on average during generation (1.6 s)"


def test_an_answer_that_is_too_short_has_no_power(sampler: Sampler, clock: Clock) -> None:
    gauge = Gauge(sampler, contender().configuration, ENERGY, ANSWERING)
    gauge.ready(Ready(pid=ANSWERING, load_s=1.0))
    begun = clock.now_ns
    read(sampler, clock, 2)
    ended = clock.now_ns
    clock.now_ns += round(STEP_S * 1e9)
    reading = gauge.over(begun, ended)
    assert (reading.memory_bytes, reading.power_w, reading.method) == (ANSWERING, None, None)


def test_where_nobody_can_be_metered_it_says_why(sampler: Sampler, clock: Clock) -> None:
    gauge = Gauge(sampler, contender().configuration, ENERGY, ANSWERING)
    gauge.ready(Ready(pid=None, elsewhere=True, reason="It is another machine's.", load_s=0.1))
    read(sampler, clock, 6)
    for reading in (gauge.now(), gauge.over(clock.now_ns - 10**9, clock.now_ns)):
        assert (reading.memory_bytes, reading.power_w) == (None, None)
        assert reading.note == "It is another machine's."
