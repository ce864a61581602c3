"""Costs, energy and carbon: by hand, monotone, and with intervals no surer than what was measured."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.replicas import LIMITS, POWER, assumed, curve, found
from trilemma.planning import words
from trilemma.planning.arrays import Interval
from trilemma.planning.capacity import Capacity
from trilemma.planning.cost import CERTAIN, Cloud, Draws, Edge, OnPremise, device_fit, edge_bill, month
from trilemma.planning.demand import DAYS_PER_MONTH, Demand
from trilemma.planning.fleet import dynamic_power, fleet
from trilemma.planning.limits import Availability, Latency
from trilemma.planning.measured import Doubt
from trilemma.planning.plan import Plan, costs_at, default_assumptions, device_misses, make_plan, set_up
from trilemma.planning.service import PowerCurve, ServiceCurve
from trilemma.planning.tables import load_tables


@functools.cache
def kept_capacity() -> Capacity:
    return Capacity(set_up(found(), assumed()).curve, LIMITS, requests=2000)


def plan(**changes: object) -> Plan:
    """Planned with what has been simulated before."""
    return make_plan(found(), assumed(**changes), kept=kept_capacity().kept)


def test_the_bills_by_hand() -> None:
    made = plan()
    running, cloud, own = made.largest.running, made.bills["cloud"], made.bills["on-premise"]
    assert cloud.cost is not None and own.cost is not None and own.energy_kwh is not None
    assert cloud.cost.value == pytest.approx(running.sum() * DAYS_PER_MONTH * 0.5)
    assert cloud.parts == {"rent": cloud.cost.value}
    assert own.parts["purchase"] == pytest.approx(running.max() * 2000 / 48)
    assert own.parts["electricity"] == pytest.approx(own.energy_kwh.value * 0.2)
    assert sum(own.parts.values()) == pytest.approx(own.cost.value)
    assert own.co2e_kg is not None
    assert own.co2e_kg.value == pytest.approx(own.energy_kwh.value * 0.4)
    # One's own machines stay on all day: they draw more than those that are given back.
    assert cloud.energy_kwh is not None
    assert own.energy_kwh.value / 1.5 > cloud.energy_kwh.value / 1.2
    assert made.by_month["cloud"] == pytest.approx([cloud.cost.value] * 2)


def test_replicas_that_wait_draw_their_idle_power() -> None:
    idle = fleet(kept_capacity(), np.zeros(24), Availability(), POWER, follows=True)
    assert idle.power_w is not None and (idle.power_w == 0).all()
    rates = np.zeros(24)
    rates[10] = 1.0
    day = fleet(kept_capacity(), rates, Availability(spares=2), POWER, follows=False)
    assert day.power_w is not None
    assert (day.running == day.machines).all()
    assert day.power_w[0] == pytest.approx(day.machines * 20.0)
    assert day.power_w[10] > day.power_w[0]


def test_power_by_hand_with_one_slot() -> None:
    one = ServiceCurve(np.array([1.0]), np.array([0.5]), np.array([0.5]), 1)
    power = PowerCurve(10.0, np.array([1.0]), np.array([50.0]))
    # 40 W above waiting, as much of the time as there is work.
    assert dynamic_power(one, power, 4, 2.0) == pytest.approx(40 * 2.0)
    assert dynamic_power(one, power, 500, 250.0) == pytest.approx(40 * 250)
    assert dynamic_power(one, power, 4, 0.0) == 0


@given(st.floats(1e3, 5e6), st.floats(1.0, 3.0))
@settings(max_examples=25)
def test_more_requests_never_cost_less(volume: float, factor: float) -> None:
    made = plan()
    shape = made.assumptions.demand.rates() / made.assumptions.demand.volume()
    few, many = (
        costs_at(made.setup, made.assumptions, kept_capacity(), shape * one) for one in (volume, volume * factor)
    )
    for kind, cost in few.items():
        if many[kind] is None:
            assert kind == "edge", "so many cannot be borne by these devices"
            continue
        assert cost is not None, "fewer can be"
        assert (many[kind] or 0.0) >= cost * (1 - 1e-9)


@pytest.mark.parametrize(
    "dearer",
    [
        {"cloud": Cloud(per_hour=0.6, pue=1.2)},
        {"on_premise": OnPremise(price=2500.0, per_kwh=0.2, pue=1.5)},
        {"on_premise": OnPremise(price=2000.0, per_kwh=0.3, pue=1.5)},
        {"on_premise": OnPremise(price=2000.0, per_kwh=0.2, pue=1.8)},
        {"on_premise": OnPremise(price=2000.0, per_kwh=0.2, pue=1.5, years=3)},
        {"on_premise": OnPremise(price=2000.0, per_kwh=0.2, pue=1.5, other_per_month=5)},
        {"edge": Edge(devices=1000, per_kwh=0.3)},
        {"edge": Edge(devices=1000, per_kwh=0.2, price=10)},
        {"availability": Availability(spares=3)},
        {"idle_w": 60.0},
    ],
)
def test_what_is_dearer_costs_more(dearer: dict[str, object]) -> None:
    before, after = plan(), plan(**dearer)
    grown = [
        kind for kind, bill in after.bills.items() if (old := before.bills[kind].cost) and bill.cost
        and bill.cost.value > old.value
    ]  # fmt: skip
    shrunk = [
        kind for kind, bill in after.bills.items() if (old := before.bills[kind].cost) and bill.cost
        and bill.cost.value < old.value * (1 - 1e-12)
    ]  # fmt: skip
    assert grown
    assert not shrunk


def test_intervals_hold_the_value_and_widen_with_doubt() -> None:
    narrow, wide = (make_plan(found(doubt), assumed(), kept=kept_capacity().kept)
                    for doubt in (Doubt(0.01, 0.02, 0.02), Doubt(0.1, 0.2, 0.2)))  # fmt: skip
    for kind in ("cloud", "on-premise"):
        for name in ("cost", "energy_kwh", "co2e_kg"):
            first, second = (getattr(one.bills[kind], name) for one in (narrow, wide))
            assert first.low <= first.value <= first.high
            assert second.high - second.low >= first.high - first.low


@pytest.mark.parametrize("doubt", [Doubt(None, 0.1, 0.1), Doubt(0.1, None, 0.1), Doubt(0.1, 0.1, None)])
def test_no_interval_is_surer_than_what_was_measured(doubt: Doubt) -> None:
    bills = make_plan(found(doubt), assumed(), kept=kept_capacity().kept).bills
    own = bills["on-premise"]
    assert own.cost is not None and own.cost.low is None
    assert own.energy_kwh is not None and own.energy_kwh.high is None
    assert bills["cloud"].cost is not None
    assert (bills["cloud"].cost.low is None) == (doubt.speed is None)


def test_an_idle_power_that_was_set_is_no_doubt() -> None:
    made = make_plan(found(Doubt(0.1, 0.1, None)), assumed(idle_w=30.0), kept=kept_capacity().kept)
    own = made.bills["on-premise"]
    assert own.energy_kwh is not None and own.energy_kwh.low is not None


def test_without_energy_what_it_takes_is_still_told() -> None:
    made = make_plan(found(power=None), assumed(), kept=kept_capacity().kept)
    assert made.bills["cloud"].cost is not None
    assert made.bills["cloud"].energy_kwh is None
    assert made.bills["on-premise"].cost is None
    assert made.bills["edge"].cost is None
    assert made.bills["edge"].energy_kwh is None
    assert made.cheapest is made.bills["cloud"]


def test_a_device_by_hand() -> None:
    draws = Draws.of(CERTAIN, 3)
    terms = Edge(devices=100, per_kwh=0.5, battery_wh=10.0, memory_bytes=4e9, price=48.0, years=4)
    fit = device_fit(1000.0, 36.0, None, terms, draws)
    assert fit.requests_per_day == 10
    assert fit.battery_share is not None
    assert fit.battery_share.value == pytest.approx(10 * 36 / 36_000)
    assert fit.memory_left is None
    bill = edge_bill(1000.0, 36.0, terms, draws, 100.0)
    assert bill.energy_kwh is not None and bill.cost is not None
    assert bill.energy_kwh.value == pytest.approx(1000 * DAYS_PER_MONTH * 36 / 3.6e6)
    assert bill.cost.value == pytest.approx(100 + bill.energy_kwh.value * 0.5)


def test_a_device_that_cannot_do_it_is_not_the_cheapest() -> None:
    made = plan(edge=Edge(devices=1000, per_kwh=0.2, price=0.01))
    assert made.device_misses == () and made.cheapest is made.bills["edge"]
    for terms, missed, said in (
        (Edge(devices=1, per_kwh=0.2, price=0.01), ("load",), "cannot answer its share"),
        (Edge(devices=6, per_kwh=0.2, price=0.01), ("ttft",), "does not keep the limit on time to first token"),
        (Edge(devices=1000, per_kwh=0.2, price=0.01, memory_bytes=1e9), ("memory",), "does not fit into the memory"),
    ):
        changed = make_plan(found(memory=Interval(2e9, 1.9e9, 2.1e9)), assumed(edge=terms), kept=kept_capacity().kept)
        assert changed.device_misses == missed
        assert changed.cheapest is not None and changed.cheapest.kind != "edge"
        assert any(said in text for text in words.caveats(changed))
        assert words.bill_caption(changed, "edge").endswith("; but devices cannot do this")
        rates = changed.assumptions.demand.rates()
        borne = costs_at(changed.setup, changed.assumptions, kept_capacity(), rates)["edge"]
        assert (borne is None) == (missed != ("memory",))


def test_without_limits_a_device_must_still_keep_up() -> None:
    setup = set_up(found(), assumed(latency=Latency()))
    alone = float(setup.curve.service[0])
    assert device_misses(setup, 0.5 / alone) == ()
    assert device_misses(setup, 0.99 / alone) == ("load",)


def test_what_the_check_added_is_in_the_interval_too() -> None:
    capacity = kept_capacity()
    rates = Demand(requests_per_day=100_000).rates()
    draws = Draws.of(Doubt(0.05, 0.05, 0.05))
    plain, added = (
        month(fleet(capacity, rates, Availability(), POWER, follows=True, extra=extra), capacity, Availability(), draws,
              follows=True)
        for extra in (0, 2)
    )  # fmt: skip
    assert (added.machines == plain.machines + 2).all()


def test_devices_that_users_bring_are_no_cheapest_deployment() -> None:
    made = plan()
    cost, edge = made.bills["cloud"].cost, made.bills["edge"].cost
    assert cost is not None and edge is not None and edge.value < cost.value
    assert made.cheapest in (made.bills["cloud"], made.bills["on-premise"])
    assert "edge" not in words.headline(made)
    assert any("users bring the devices" in text for text in words.cost_sentences(made))
    alone = plan(cloud=None, on_premise=None)
    assert alone.cheapest is None
    assert "electricity alone" in " ".join(words.cost_sentences(alone))


def test_growth_is_planned_for_its_last_month() -> None:
    steady, growing = plan(), plan(demand=Demand(requests_per_day=100_000, months=6, growth=0.3))
    assert growing.largest.machines > growing.first.machines
    assert growing.first.machines <= steady.largest.machines
    costs = growing.by_month["cloud"]
    assert all(one is not None for one in costs)
    assert list(costs) == sorted(costs, key=lambda one: one or 0.0)


def test_longer_answers_take_more() -> None:
    latency = Latency(ttft_p95_s=2.0)
    short, long = (
        set_up(found(), assumed(latency=latency, demand=Demand(requests_per_day=4e5, tokens_out=tokens)))
        for tokens in (None, 130)
    )
    assert long.curve.decode[0] == pytest.approx(short.curve.decode[0] * 129 / 64)
    few, many = (Capacity(one.curve, latency, requests=1000).needed(10.0) for one in (short, long))
    assert many > few
    assert long.request_j is not None and short.request_j is not None
    assert long.request_j > short.request_j


def test_defaults_come_of_the_tables() -> None:
    start = default_assumptions(load_tables())
    assert start.cloud is not None and start.on_premise is not None and start.edge is not None
    assert start.cloud.per_hour > 0
    assert set_up(found(), start).latency.ttft_p95_s == 1.0


def test_slots_are_no_more_than_were_measured() -> None:
    assert set_up(found(), assumed(slots=100)).curve.slots == 8
    assert set_up(found(), assumed(slots=2)).curve.slots == 2
    assert curve().with_slots(2).top_rate < curve().top_rate
