"""Break-even, sensitivity, tables and words of a plan."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from tests.planning.replicas import LIMITS, assumed, found
from trilemma.analysis.format import digits
from trilemma.charts.plan import (
    bills_table,
    break_even_figure,
    cost_figure,
    day_figure,
    day_table,
    tornado_figure,
    tornado_table,
    volumes_table,
)
from trilemma.errors import PlanError
from trilemma.planning import words
from trilemma.planning.arrays import Interval
from trilemma.planning.break_even import Volumes, volumes
from trilemma.planning.capacity import Capacity, Estimated, Kept
from trilemma.planning.cost import KINDS, Cloud, Edge, OnPremise
from trilemma.planning.demand import Demand
from trilemma.planning.document import document
from trilemma.planning.limits import Availability, Latency
from trilemma.planning.plan import Plan, costs_at, make_plan, set_up
from trilemma.planning.sensitivity import Effect, Swing, base_effect, tornado
from trilemma.planning.tables import first, load_tables, pick


@functools.cache
def kept() -> Kept:
    capacity = Capacity(set_up(found(), assumed()).curve, LIMITS, requests=2000)
    capacity.needed(1.0)
    return capacity.kept


@functools.cache
def made() -> Plan:
    return make_plan(
        found(), assumed(edge=Edge(devices=2000, price=40.0, per_kwh=0.2)), kept=kept(),
    )  # fmt: skip


@functools.cache
def by_volume() -> Volumes:
    return volumes(made())


def test_break_even_is_where_the_two_costs_meet() -> None:
    demand = made().assumptions.demand
    shape = demand.rates() / demand.volume()
    capacity = Estimated(made().capacity)

    def cost(volume: float, kind: str) -> float:
        found_costs = costs_at(made().setup, made().assumptions, capacity, shape * volume)
        value = found_costs[kind]  # type: ignore[index]
        assert value is not None
        return value

    assert by_volume().crossings, "the scenario has no break-even to look at"
    for one in by_volume().crossings:
        below, above = one.volume * (1 - 1e-6), one.volume * (1 + 1e-6)
        assert cost(below, one.below) <= cost(below, one.above) * (1 + 1e-5)
        assert cost(above, one.above) <= cost(above, one.below) * (1 + 1e-5)


def test_the_curve_has_the_plans_own_costs() -> None:
    at = np.argmin(np.abs(np.log(by_volume().volumes / made().assumptions.demand.requests_per_day)))
    for kind, bill in made().bills.items():
        assert bill.cost is not None
        assert by_volume().costs[kind][at] == pytest.approx(bill.cost.value, rel=0.05)
        known = by_volume().costs[kind][np.isfinite(by_volume().costs[kind])]
        assert (np.diff(known) >= -1e-9 * known[:-1]).all()


def test_the_tornado_is_sorted_and_swings_around_the_plan() -> None:
    for kind in KINDS:
        swings, base = tornado(made(), kind), base_effect(made(), kind)
        bill = made().bills[kind]
        assert bill.cost is not None and base.cost == pytest.approx(bill.cost.value, rel=0.02)
        widths = [one.width("cost") for one in swings]
        assert widths == sorted(widths, reverse=True)
        names = {one.name for one in swings}
        assert "Requests per day" in names
        dearer = {"cloud": "Price per hour", "on-premise": "Purchase", "edge": "Device price"}[kind]
        (price,) = [one for one in swings if one.name == dearer]
        assert price.low.cost is not None and price.high.cost is not None
        assert price.low.cost < base.cost < price.high.cost
        assert (price.low.replicas, price.high.replicas) == (base.replicas, base.replicas)


def test_devices_that_users_bring_are_held_against_nothing() -> None:
    plan = make_plan(found(), assumed(edge=Edge(devices=2000, per_kwh=0.2)), kept=kept())
    brought = volumes(plan)
    assert brought.compared == ("cloud", "on-premise")
    assert "edge" in brought.costs
    assert not any("edge" in (one.below, one.above) for one in brought.crossings)
    alone = Volumes(brought.volumes, {"edge": brought.costs["edge"]}, (), ())
    assert "no break-even" in words.order_sentence(alone)
    same = Volumes(brought.volumes, brought.costs, brought.compared, ())
    assert "edge" not in words.order_sentence(same)
    names = [trace.name for trace in break_even_figure(brought, 1e5, "USD").data]
    assert "Edge (not compared)" in names and "Cloud" in names


def test_a_line_ends_where_devices_cannot_bear_their_share() -> None:
    costs = by_volume().costs["edge"]
    assert np.isfinite(costs[0]) and np.isnan(costs[-1])
    assert np.isfinite(by_volume().costs["cloud"]).all()
    ends = by_volume().volumes[np.isfinite(costs)]
    order = words.order_sentence(Volumes(by_volume().volumes, by_volume().costs, KINDS, ()))
    assert order.startswith(f"From {digits(ends[0])} to {digits(ends[-1])} requests a day")


def test_volumes_without_the_reserve_that_is_wanted_are_left_out() -> None:
    # Of so many machines some always fail: their spares are more than a plan ever takes.
    often = Availability(target=0.999999, replica=0.1)
    wide = volumes(make_plan(found(), assumed(availability=often), kept=kept()))
    assert np.isfinite(wide.costs["cloud"][30]) and np.isnan(wide.costs["cloud"][-1])


def test_a_tornado_of_replicas_tells_replicas() -> None:
    swings = [Swing("Requests", Effect("few", 10.0, 1), Effect("many", 20.0, 4))]
    assert words.tornado_text(swings, "USD") == (
        "What moves the monthly cost most: Requests (few or many): 10.00 USD or 20.00 USD."
    )
    assert words.tornado_text(swings, "USD", of="replicas") == (
        "What moves the replicas most: Requests (few or many): 1 replica or 4 replicas."
    )


def test_what_costs_nobody_knows_how_much_has_no_tornado() -> None:
    plan = make_plan(found(power=None), assumed(), kept=kept())
    assert tornado(plan, "cloud")
    assert tornado(plan, "on-premise") == tornado(plan, "edge") == []
    # Devices are as many as they are: what moves replicas alone moves nothing at the edge.
    assert all(one.width("cost") for one in tornado(made(), "edge"))


def test_a_side_that_cannot_be_kept_is_infinitely_wide() -> None:
    # Three quarters of this limit are less than a request alone takes.
    tight = Latency(e2e_p95_s=1.35)
    plan = make_plan(found(), assumed(latency=tight, slots=1, demand=Demand(requests_per_day=5000, months=1)))
    (limits,) = [one for one in tornado(plan, "cloud") if one.name == "Latency limits"]
    assert limits.high.cost is None
    assert limits.width("cost") == float("inf")
    figure = tornado_figure([limits], base_effect(plan, "cloud"), "USD")
    assert any("cannot be kept" in str(trace.hovertext) for trace in figure.data)
    assert sum("cannot be kept" in note.text for note in figure.layout.annotations) == 1, "seen without a mouse, too"
    assert words.tornado_text([limits], "USD").endswith("or cannot be kept.")


def test_with_growth_and_a_target_those_are_tried_too() -> None:
    plan = make_plan(
        found(), assumed(demand=Demand(requests_per_day=200_000, growth=0.3, months=6),
                         availability=Availability(target=0.999, replica=0.99)), kept=kept(),
    )  # fmt: skip
    names = {one.name for one in tornado(plan, "cloud")}
    assert "Growth per month" in names
    assert "Availability of a replica" in names


def test_the_document_is_json_and_says_what_the_sentences_say() -> None:
    found_document = document(made(), by_volume(), {kind: tornado(made(), kind) for kind in KINDS})
    again = json.loads(json.dumps(found_document, allow_nan=False))
    assert again["replicas"]["busiest_hour"] == made().checked.replicas
    assert again["per_month"]["cloud"]["cost"]["value"] == made().bills["cloud"].cost.value  # type: ignore[union-attr]
    assert len(again["replicas"]["by_hour"]) == 24
    assert again["summary"][0].startswith(f"{made().checked.replicas} replica")
    assert again["simulation"]["ttft_p95_s"]["value"] <= LIMITS.ttft_p95_s
    assert "allowed" in again["summary"][1]


def test_money_and_intervals_as_people_read_them() -> None:
    assert words.money(12.5, "EUR") == "12.50 EUR"
    assert words.money(12345.6, "USD") == "12,346 USD"
    assert words.money(None, "USD") == "–"
    assert (words.money(0.0, "USD"), words.money(0.004, "USD")) == ("0.00 USD", "< 0.01 USD")
    assert words.money_between(Interval(200.0, 180.0, 220.4), "USD") == "200 USD (180 to 220)"
    assert words.money_between(Interval(200.0), "USD") == "200 USD"
    assert words.money_between(None, "USD") == "not known"
    assert words.quantity(Interval(211.0, 209.0, 233.0), "kWh") == "211 kWh (209 to 233)"


@pytest.mark.parametrize("dark", [False, True])
def test_the_pictures_show_what_was_planned(dark: bool) -> None:
    day = day_figure(made().largest, dark=dark)
    needed, reserve = day.data[0], day.data[1]
    assert (np.array(needed.y) + np.array(reserve.y) == made().largest.running).all()
    costs = cost_figure(made().bills, "USD", dark=dark)
    assert len(costs.data[0].x) == 3
    assert "less is better" in costs.layout.xaxis.title.text
    assert costs.layout.xaxis.range[0] > costs.layout.xaxis.range[1]
    lines = break_even_figure(by_volume(), 1e5, "USD", dark=dark)
    assert {trace.name for trace in lines.data} >= {"Cloud", "On-premise", "Edge"}
    assert lines.layout.yaxis.autorange == "reversed"
    swings = tornado(made(), "on-premise")
    storm = tornado_figure(swings, base_effect(made(), "on-premise"), "USD", dark=dark)
    assert len(storm.layout.annotations) == len(swings)
    assert storm.layout.xaxis.range[0] > storm.layout.xaxis.range[1]
    counts = tornado_figure(swings, base_effect(made(), "on-premise"), "USD", of="replicas", dark=dark)
    assert "Replicas" in counts.layout.xaxis.title.text


def test_the_tables_behind_the_pictures() -> None:
    assert day_table(made().largest)["replicas_running"].tolist() == made().largest.running.tolist()
    assert bills_table(made().bills)["deployment"].tolist() == list(KINDS)
    assert len(volumes_table(by_volume())) == len(by_volume().volumes)
    assert set(tornado_table(tornado(made(), "cloud"))["end"]) == {"low", "high"}


def test_a_bill_that_is_not_known_is_left_out_of_the_picture() -> None:
    plan = make_plan(found(power=None), assumed(), kept=kept())
    assert len(cost_figure(plan.bills, "USD").data[0].x) == 1
    assert "cloud" in volumes(plan).costs
    assert "on-premise" not in volumes(plan).costs


def test_every_entry_of_the_tables_has_source_and_date() -> None:
    tables = load_tables()
    kinds = (tables.cloud, tables.machine, tables.electricity, tables.pue, tables.grid)
    assert all(kinds)
    for entries in kinds:
        for entry in entries.values():
            assert entry.source and entry.date and not entry.own
    assert pick(tables.grid, next(iter(tables.grid)), "grid").g_per_kwh > 0
    with pytest.raises(PlanError, match="no grid named"):
        pick(tables.grid, "nowhere", "grid")


def written(home: Path, name: str, text: str) -> None:
    (home / "planning").mkdir(parents=True, exist_ok=True)
    (home / "planning" / name).write_text(text)


ENTRY = 'title = "Ours"\nsource = "contract"\ndate = "2026-01-31"\n'


def test_ones_own_tables_win(tmp_path: Path) -> None:
    written(tmp_path, "grid.toml", f"[grid.world-2023]\n{ENTRY}g_per_kwh = 12\n[grid.here]\n{ENTRY}g_per_kwh = 3\n")
    tables = load_tables(tmp_path)
    assert tables.grid["world-2023"].g_per_kwh == 12
    assert tables.grid["world-2023"].own
    one = first(tables.grid)
    assert one is not None and one.own
    assert tables.cloud == load_tables().cloud


def test_entries_of_both_files_count(tmp_path: Path) -> None:
    written(tmp_path, "prices.toml", f"[grid.there]\n{ENTRY}g_per_kwh = 7\n")
    written(tmp_path, "grid.toml", f"[grid.here]\n{ENTRY}g_per_kwh = 3\n")
    assert {"there", "here", "world-2023"} <= set(load_tables(tmp_path).grid)


def test_another_currency_drops_prices_in_the_old_one(tmp_path: Path) -> None:
    written(tmp_path, "prices.toml", f'currency = "EUR"\n[cloud.ours]\n{ENTRY}per_hour = 2\n')
    tables = load_tables(tmp_path)
    assert tables.currency == "EUR"
    assert [*tables.cloud] == ["ours"]
    assert not tables.machine and not tables.electricity
    assert tables.pue and tables.grid


@pytest.mark.parametrize(
    "text",
    ["[cloud.x]\n", f"[cloud.x]\n{ENTRY}per_hour = -1\n", "[nonsense.x]\na = 1\n", "cloud = 3\n", "not toml [",
     f"[cloud.x]\n{ENTRY}per_hour = 1\nextra = 2\n", "[cloud]\nx = 1\n", "\x00"],
)  # fmt: skip
def test_a_table_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    written(tmp_path, "prices.toml", text)
    with pytest.raises(PlanError, match=r"prices\.toml"):
        load_tables(tmp_path)


def test_a_table_cannot_say_that_it_is_an_example(tmp_path: Path) -> None:
    written(tmp_path, "grid.toml", f"[grid.x]\n{ENTRY}g_per_kwh = 1\nown = false\n")
    assert load_tables(tmp_path).grid["x"].own


def test_terms_out_of_range_are_refused() -> None:
    for terms, fields in ((Cloud, {"per_hour": -1}), (OnPremise, {"price": 1, "per_kwh": 1, "pue": 0.5})):
        with pytest.raises(ValueError, match="greater than or equal"):
            terms.model_validate(fields)
