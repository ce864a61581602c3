"""Where prices come from, what is planned, and what a plan assumes in words."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from tests.planning.test_answers import made
from trilemma.planning.arrays import Interval
from trilemma.planning.demand import Demand
from trilemma.planning.details import assumption_rows, device_sentence
from trilemma.planning.limits import Latency
from trilemma.planning.plan import default_assumptions, with_sources
from trilemma.planning.stated import PRICE_WORDS, Standing
from trilemma.planning.subject import NO_PICK, NO_SPEED, NO_SPEED_OF_PICK, Subject, runs_to_replay, subject
from trilemma.planning.tables import CloudPrice, Tables, load_tables
from trilemma.planning.words import bill_caption, limits_sentence, mass, notes, parts_words, replicas_sentence

OURS = CloudPrice(title="Ours", source="contract", date="2026-02", own=True, per_hour=0.3)


def test_every_price_says_whose_it_is() -> None:
    start = default_assumptions(load_tables())
    assert [one.kind for one in start.stated] == list(PRICE_WORDS)
    assert all(one.standing is Standing.EXAMPLE and "not checked since" in one.origin for one in start.stated)
    tables = Tables(cloud={"ours": OURS})
    own = default_assumptions(tables)
    assert own.stated[0].origin == "Your own: contract, 2026-02."
    assert own.cloud is not None
    dearer = own.model_copy(update={"cloud": own.cloud.model_copy(update={"per_hour": 0.31})})
    edited = with_sources(dearer, tables, {"cloud": "ours"}).stated[0]
    assert (edited.standing, edited.source, edited.date, edited.words) == (
        Standing.ENTERED, "", "", "rented machine 0.31 USD an hour",
    )  # fmt: skip
    assert with_sources(own, tables, {"cloud": "another"}).stated[0].standing is Standing.ENTERED


def test_examples_are_named_where_money_is() -> None:
    plan = made()
    assert "example" not in bill_caption(plan, "cloud")
    assert not any("Examples" in text for text in notes(plan))
    assert plan.assumptions.cloud is not None
    same = OURS.model_copy(update={"own": False, "per_hour": plan.assumptions.cloud.per_hour})
    assumed = with_sources(plan.assumptions, Tables(cloud={"x": same}), {"cloud": "x"})
    shown = dataclasses.replace(plan, assumptions=assumed)
    assert bill_caption(shown, "cloud").endswith("(example prices)")
    assert "example" not in bill_caption(shown, "on-premise")
    assert any("not checked since" in text and "rented machine" in text for text in notes(shown, "EPYC"))
    assert any("(EPYC)" in text for text in notes(shown, "EPYC"))


@pytest.mark.parametrize(
    ("known", "pick", "asked", "found"),
    [
        ({}, "a", {}, Subject(missing=NO_SPEED)),
        ({"w": []}, "a", {"configuration": "b"}, Subject(missing=NO_SPEED)),
        ({"w": ["a"]}, None, {}, Subject(missing=NO_PICK)),
        ({"w": ["a"]}, "b", {}, Subject(missing=NO_SPEED_OF_PICK)),
        ({"w": ["a"]}, "b", {"configuration": "a"}, Subject("a", "w")),
        ({"w": ["a"], "v": ["a", "b"]}, "b", {"configuration": "z"}, Subject("b", "v")),
        ({"w": ["a"], "v": ["a", "b"]}, "a", {"workload": "v"}, Subject("a", "v")),
        ({"w": ["a"], "v": ["a", "b"]}, "b", {"workload": "w"}, Subject("b", "v")),
    ],
)
def test_what_is_planned(known: dict[str, list[str]], pick: str | None, asked: dict[str, str], found: Subject) -> None:
    assert subject(known, pick, **asked) == found


def test_undisturbed_runs_are_replayed_the_newest_first() -> None:
    rows = [
        ("old", "a", "done", False, False, 1), ("new", "a", "done", False, False, 3),
        ("hit", "a", "done", False, True, 4), ("gone", "a", "done", True, False, 5),
        ("failed", "a", "failed", False, False, 6),
        ("other", "b", "done", False, True, 7), ("other2", "b", "done", False, True, 8),
    ]  # fmt: skip
    columns = ["run_id", "configuration_id", "state", "superseded", "disturbed", "finished_at"]
    runs = pd.DataFrame(rows, columns=columns)
    assert runs_to_replay(runs, "a") == ["new", "old"]
    assert runs_to_replay(runs, "b") == ["other2", "other"]
    assert runs_to_replay(runs, "c") == []


def test_what_a_plan_assumes_is_told_in_full() -> None:
    rows = dict(assumption_rows(made()))
    assert rows["Requests a day"] == f"{made().assumptions.demand.requests_per_day:,.10g}"
    assert {"Cloud", "On-premise", "Edge"} <= set(rows)
    assert all(rows.values())
    assert device_sentence(made()).startswith("Each device gets")
    assert rows["Limits, for 95 of 100 requests"] == "time to first token 1.00 s; time to last token 4.00 s"


@pytest.mark.parametrize(
    ("kg", "text"),
    [(None, "–"), (Interval(0.5), "500 g"), (Interval(3.0, 2.9, 3.1), "3.00 kg ±0.10"),
     (Interval(1500.0, 1400.0, 1900.0), "1.50 t (1.40 to 1.90)")],
)  # fmt: skip
def test_a_mass_has_its_interval(kg: Interval | None, text: str) -> None:
    assert mass(kg) == text


def test_what_a_device_gives_is_told_with_its_doubt() -> None:
    plan = made()
    assert plan.device is not None and plan.assumptions.edge is not None
    fit = dataclasses.replace(plan.device, requests_per_day=50.0, battery_share=Interval(0.031, 0.028, 0.035),
                              memory_left=Interval(2.0**31, 1.9 * 2**30, 2.1 * 2**30))  # fmt: skip
    edge = plan.assumptions.edge.model_copy(update={"energy_factor": 2.0})
    assumptions = plan.assumptions.model_copy(update={"edge": edge})
    assert device_sentence(dataclasses.replace(plan, device=fit, assumptions=assumptions)) == (
        "Each device gets 50.0 requests a day; they take 3.10 % of its battery a day (2.80 % to 3.50 %); 2.00 GiB "
        "±0.10 of its memory stay free. Its speed is taken to be that of the measured machine, its energy a request 2 "
        "times that of the measured machine."
    )
    full = dataclasses.replace(plan, device=fit, device_misses=("memory",))
    assert "the model does not fit into its memory" in device_sentence(full)


def test_a_bill_says_what_is_in_it() -> None:
    plan = made()
    assert plan.assumptions.edge is not None and plan.assumptions.on_premise is not None
    assert "purchase of 2,000 devices over 4 years, and electricity" in bill_caption(plan, "edge")
    assert "other costs" not in bill_caption(plan, "on-premise")
    edge = plan.assumptions.edge.model_copy(update={"price": 0.0, "devices": 1})
    own = plan.assumptions.on_premise.model_copy(update={"other_per_month": 5.0})
    other = plan.assumptions.model_copy(update={"edge": edge, "on_premise": own})
    changed = dataclasses.replace(plan, assumptions=other)
    assert "electricity of 1 device that users bring" in bill_caption(changed, "edge")
    assert "purchase over 4 years, other costs, and electricity" in bill_caption(changed, "on-premise")


def test_what_is_promised_is_said_as_it_was_found() -> None:
    plan = made()
    assert limits_sentence(plan).startswith("Simulated for that hour, 95 of 100 requests take at most: time to first ")
    free = dataclasses.replace(plan, setup=dataclasses.replace(plan.setup, latency=Latency()))
    assert limits_sentence(free) == (
        "No latency is limited; no replica is planned for more than 97 % of what it completes."
    )
    growing = plan.assumptions.model_copy(update={"demand": Demand(growth=0.1, months=7)})
    assert " in month 7)" in replicas_sentence(dataclasses.replace(plan, assumptions=growing))


def test_lengths_that_change_nothing_are_told() -> None:
    plan = made()
    asked = plan.assumptions.model_copy(update={"demand": Demand(tokens_in=4000.0)})
    unknown = dataclasses.replace(plan.measured, curve=dataclasses.replace(plan.measured.curve, prompt_tokens=0.0))
    told = "the prompt tokens entered change nothing"
    assert told in " ".join(notes(dataclasses.replace(plan, assumptions=asked, measured=unknown)))
    assert told not in " ".join(notes(dataclasses.replace(plan, assumptions=asked)))
    assert told not in " ".join(notes(dataclasses.replace(plan, measured=unknown)))


def test_a_bills_parts_leave_out_what_is_nothing() -> None:
    bill = made().bills["on-premise"]
    assert bill.parts["other"] == 0
    assert parts_words(bill, "USD").startswith("purchase ") and "other" not in parts_words(bill, "USD")
    assert parts_words(dataclasses.replace(bill, parts={"rent": 0.0}), "USD") == "–"
