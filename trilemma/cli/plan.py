"""``trilemma plan``: what it takes to serve a demand with a measured configuration, and what that costs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from trilemma.analysis.points import Points, configuration_points, labels
from trilemma.cli.base import Json, emit_json, err, out, plain, session, table
from trilemma.cli.queue import find_study
from trilemma.errors import PlanError
from trilemma.planning import words
from trilemma.planning.break_even import volumes
from trilemma.planning.demand import DAY_CURVES, Demand
from trilemma.planning.document import document
from trilemma.planning.limits import Availability, Latency
from trilemma.planning.measured import Measured, measured, plan_keys, workloads
from trilemma.planning.plan import Assumptions, Plan, default_assumptions, make_plan, with_sources
from trilemma.planning.sensitivity import tornado
from trilemma.planning.stated import PRICE_WORDS, PriceKind
from trilemma.planning.subject import runs_to_replay
from trilemma.planning.tables import Tables, first_name, load_tables, pick
from trilemma.store import Store

_SWINGS = 5


def plan(
    configuration: Annotated[
        str, typer.Argument(help="A configuration: its id, the id's beginning, or its name as tables show it.")
    ] = "",
    study: Annotated[str, typer.Option(help="Only what this study measured.")] = "",
    workload: Annotated[str, typer.Option("--workload", "-w", help="What was measured: short_chat.")] = "",
    requests: Annotated[float, typer.Option(min=1e-3, help="Requests a day, in the first month.")] = 10_000.0,
    day: Annotated[
        str, typer.Option(help=f"When they come: {', '.join(DAY_CURVES)}, or 24 numbers with commas between them.")
    ] = "office hours",
    growth: Annotated[float, typer.Option(help="Growth of the requests, % a month.")] = 0.0,
    months: Annotated[int, typer.Option(min=1, max=120, help="How many months ahead.")] = 12,
    tokens_in: Annotated[float | None, typer.Option(min=1, help="Prompt tokens; else as measured.")] = None,
    tokens_out: Annotated[float | None, typer.Option(min=2, help="Output tokens; else as measured.")] = None,
    ttft: Annotated[float | None, typer.Option(help="Limit on the time to first token, p95, s.")] = None,
    e2e: Annotated[float | None, typer.Option(help="Limit on the time to last token, p95, s.")] = None,
    tpot: Annotated[float | None, typer.Option(help="Limit on the time per output token, p95, ms.")] = None,
    spares: Annotated[int, typer.Option(min=0, max=1000, help="Replicas in reserve.")] = 1,
    availability: Annotated[float | None, typer.Option(help="Availability wanted, %, instead of a reserve.")] = None,
    slots: Annotated[int | None, typer.Option(min=1, help="Requests that a replica answers at a time.")] = None,
    idle: Annotated[float | None, typer.Option(min=0, help="Power of a machine that waits, W.")] = None,
    cloud: Annotated[str, typer.Option(help="A price of the tables, by its name.")] = "",
    machine: Annotated[str, typer.Option(help="A machine of the tables, by its name.")] = "",
    electricity: Annotated[str, typer.Option(help="A price of electricity of the tables, by its name.")] = "",
    grid: Annotated[str, typer.Option(help="A grid of the tables, by its name.")] = "",
    devices: Annotated[int, typer.Option(min=1, help="Devices at the edge.")] = 1000,
    json_: Json = False,
) -> None:
    """Plan a fleet: replicas through the day, power, cost and CO2e, for what was measured on one machine."""
    with session() as (settings, store):
        found = _measured(store, study, configuration, workload)
        tables = load_tables(settings.home)
    names = {"cloud": cloud, "machine": machine, "electricity": electricity, "grid": grid}
    assumed = _with_prices(default_assumptions(tables), tables, names)
    shape = _shares(day)
    try:
        latency = Latency(ttft_p95_s=ttft, e2e_p95_s=e2e, tpot_p95_s=None if tpot is None else tpot / 1000)
        assumed = assumed.model_copy(
            update={
                "demand": Demand(
                    requests_per_day=requests, shares=shape, growth=growth / 100, months=months, tokens_in=tokens_in,
                    tokens_out=tokens_out,
                ),
                "latency": latency if any(True for _ in latency.aims()) else None,
                "availability": Availability(
                    spares=spares, target=None if availability is None else availability / 100
                ),
                "slots": slots, "idle_w": idle,
                "edge": assumed.edge and assumed.edge.model_copy(update={"devices": devices}),
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PlanError(f"{where}: {first['msg']}.", "`trilemma plan --help` says what each option takes.") from error
    made = make_plan(found, assumed, progress=lambda text: err.print(plain(f"{text} ...", "dim")))
    by_volume = volumes(made)
    swings = {kind: tornado(made, kind) for kind in made.bills}
    if json_:
        emit_json(document(made, by_volume, swings))
        return
    _print(made, words.break_even_sentences(by_volume) or [words.order_sentence(by_volume)])
    for kind, rows in ((kind, rows) for kind, rows in swings.items() if rows):
        shown = table(f"what moves {words.KIND_WORDS[kind].lower()} most", "from", "to", "cost a month", "")
        for one in rows[:_SWINGS]:
            ends = [words.effect_words(effect, made.assumptions.currency) for effect in (one.low, one.high)]
            shown.add_row(one.name, one.low.words, one.high.words, *ends)
        out.print()
        out.print(shown)
    _print_notes(made)


def _measured(store: Store, study: str, configuration: str, workload: str) -> Measured:
    """What was measured of the configuration that is meant, with the requests of a few of its runs.

    Raises:
        PlanError: nothing fits, or several do.
    """
    study_id = find_study(store, study).id if study else None
    keys = plan_keys(store.figure_keys())
    frame = store.run_frame(study_id)
    artifacts = {artifact.id: artifact for artifact in store.artifacts(forgotten=True)}
    points = configuration_points(store.figure_frame(keys, study_id), frame, artifacts, keys)
    known = workloads(points)
    if not known:
        raise PlanError("No speed has been measured yet.", "Measure a study with a workload: `trilemma study --help`.")
    if workload and workload not in known:
        raise PlanError(f"There is no speed under {workload!r}.", f"Known: {', '.join(known)}.")
    chosen = workload or next(iter(known))
    wanted = _find(points, known[chosen], configuration)
    requests = [store.requests(run_id) for run_id in runs_to_replay(frame, wanted)]
    return measured(points, wanted, chosen, requests)


def _find(points: Points, ids: list[str], configuration: str) -> str:
    names = labels(points)
    hits = [one for one in ids if one.startswith(configuration) or str(names[one]) == configuration]
    if not configuration and len(ids) == 1:
        return ids[0]
    if configuration and len(hits) == 1:
        return hits[0]
    listed = ", ".join(f"{names[one]} ({one[:8]})" for one in ids[:20])
    what = "Which configuration?" if not configuration else f"{len(hits)} configurations fit {configuration!r}."
    raise PlanError(what, f"There are: {listed}.")


def _shares(day: str) -> tuple[float, ...]:
    if day in DAY_CURVES:
        return DAY_CURVES[day]
    try:
        return tuple(float(part) for part in day.split(","))
    except ValueError:
        raise PlanError(
            f"There is no day named {day!r}.", f"Known: {', '.join(DAY_CURVES)}; or give 24 numbers."
        ) from None


def _with_prices(assumed: Assumptions, tables: Tables, names: dict[str, str]) -> Assumptions:
    changes: dict[str, Any] = {}
    if names["cloud"] and assumed.cloud:
        price = pick(tables.cloud, names["cloud"], "cloud machine").per_hour
        changes["cloud"] = assumed.cloud.model_copy(update={"per_hour": price})
    own, edge = assumed.on_premise, assumed.edge
    if names["machine"] and own:
        own = own.model_copy(update={"price": pick(tables.machine, names["machine"], "machine").price})
    if names["electricity"]:
        per_kwh = pick(tables.electricity, names["electricity"], "price of electricity").per_kwh
        own = own and own.model_copy(update={"per_kwh": per_kwh})
        edge = edge and edge.model_copy(update={"per_kwh": per_kwh})
    if names["grid"]:
        changes["g_per_kwh"] = pick(tables.grid, names["grid"], "grid").g_per_kwh
    picks: dict[PriceKind, str] = {
        kind: names.get(kind) or first_name(tables.entries(kind)) for kind in PRICE_WORDS
    }  # fmt: skip
    return with_sources(assumed.model_copy(update={**changes, "on_premise": own, "edge": edge}), tables, picks)


def _print(made: Plan, break_even: list[str]) -> None:
    out.print(plain(f"{made.measured.label}, {made.measured.workload.replace('_', ' ')}", "bold"))
    for sentence in [*words.summary(made), *break_even]:
        out.print(plain(sentence), soft_wrap=True)
    shown = table("a month", "cost", "energy", "mean power", "CO2e", right=("cost", "energy", "mean power", "CO2e"))
    for kind, bill in made.bills.items():
        shown.add_row(
            words.KIND_WORDS[kind], words.money_between(bill.cost, made.assumptions.currency),
            words.quantity(bill.energy_kwh, "kWh"), words.quantity(bill.power_w, "W"),
            words.mass(bill.co2e_kg),
        )  # fmt: skip
    out.print()
    out.print(shown)
    hours = table("hour", *(str(hour) for hour in range(24)), right=tuple(str(hour) for hour in range(24)))
    hours.add_row("replicas", *(str(int(count)) for count in made.largest.running))
    out.print()
    out.print(hours)


def _print_notes(made: Plan) -> None:
    out.print()
    last = "Modelled from what was measured; see docs/planning.md."
    for note in [*words.notes(made), last]:
        out.print(plain(f"- {note}", "dim"), soft_wrap=True)
