"""``trilemma report``: a study as one HTML file that needs nothing else, and as PDF."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from trilemma.cli.base import Json, emit_json, err, out, plain, session
from trilemma.cli.queue import find_study
from trilemma.errors import ReportError
from trilemma.planning.demand import Demand
from trilemma.planning.plan import default_assumptions
from trilemma.planning.tables import load_tables
from trilemma.presets import find_preset
from trilemma.schema import Axis
from trilemma.whole_files import written_whole


def report(
    study: Annotated[str, typer.Argument(help="Id of the study, the id's beginning, or its name.")],
    path: Annotated[Path, typer.Argument(help="The file to write, such as report.html.")],
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Also print it as PDF, beside it; needs Chromium or Chrome.")
    ] = False,
    x: Annotated[str, typer.Option(help="The figure of the chart's horizontal axis.")] = "",
    y: Annotated[str, typer.Option(help="The figure of its vertical axis.")] = "",
    preset: Annotated[str, typer.Option(help="A use case: its question, limits, priorities and figures.")] = "",
    limits: Annotated[
        list[str] | None, typer.Option("--limit", help="What must be kept, such as 'peak_memory_bytes <= 400 MiB'.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="How much efficiency, speed and performance count, such as 20,45,35.")
    ] = "",
    question: Annotated[str, typer.Option(help="What the report answers; its headline.")] = "",
    plan: Annotated[
        bool, typer.Option(help="With what the recommended configuration takes at scale, under Plan's defaults.")
    ] = True,
    requests: Annotated[float, typer.Option(min=1e-3, help="Requests a day to plan for.")] = 10_000.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    json_: Json = False,
) -> None:
    """Write a study as one self-contained HTML file: charts, figures, method, machine, definitions."""
    # Charts take a while to import, which no other command need wait for.
    from trilemma.report import PlanView, View, html_report, pdf_report  # noqa: PLC0415

    targets = [path.expanduser()]
    if pdf:
        targets.append(targets[0].with_suffix(".pdf"))
    for target in targets:
        if target.exists() and not overwrite:
            raise ReportError(f"{target} exists already.", "Choose another name, or say --overwrite.")
    if pdf and targets[0] == targets[1]:
        raise ReportError("The report itself is HTML.", "Name a file ending in .html; the PDF is written beside it.")
    with session() as (settings, store):
        record = find_study(store, study)
        view = View.of_preset(find_preset(preset, settings.home)) if preset else View()
        given = {
            "x": x, "y": y, "question": question, "limits": tuple(limits or ()), "weights": _weights(weights),
        }  # fmt: skip
        view = view.model_copy(update={name: value for name, value in given.items() if value})
        if plan:
            assumed = default_assumptions(load_tables(settings.home), Demand(requests_per_day=requests))
            view = view.model_copy(update={"plan": PlanView(assumptions=assumed)})
        page = html_report(store, record.id, view)
    with written_whole(targets[0], ReportError) as file:
        file.write_bytes(page)
    if pdf:
        err.print("Printing ...")
        made = pdf_report(page)
        with written_whole(targets[1], ReportError) as file:
            file.write_bytes(made)
    if json_:
        emit_json({"study": record.id, "paths": [str(target) for target in targets]})
    else:
        for target in targets:
            out.print(plain(f"Wrote {target}."))


def _weights(text: str) -> dict[Axis, float]:
    """``20,45,35`` by axis; empty for an empty text."""
    if not text:
        return {}
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(Axis) or not all(math.isfinite(one) and one >= 0 for one in values) or not sum(values):
        raise ReportError(f"{text!r} is not three weights.", f"Write them as 20,45,35: {', '.join(Axis)}.")
    return dict(zip(Axis, values, strict=True))
