"""``trilemma show``: every figure of a run with its interval and where it comes from."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from trilemma.analysis.format import format_figure, interval_text, scale_for
from trilemma.cli.base import Json, age_text, emit_json, find_run, out, plain, session, table
from trilemma.figures import FIGURES
from trilemma.records import RunRecord
from trilemma.schema import Artifact, Axis, Measurement, RunState


def show(
    run: Annotated[str, typer.Argument(help="Id of the run, or its beginning.")],
    explain: Annotated[bool, typer.Option("--explain", help="Say how each figure is defined.")] = False,
    json_: Json = False,
) -> None:
    """Show a run: its figures with interval and provenance, what disturbed it, or why it failed."""
    with session() as (_, store):
        record = find_run(store, run)
        measurements = store.measurements(record.id)
        artifacts = {artifact.id: artifact for artifact in store.artifacts()}
    if json_:
        emit_json({"run": record, "measurements": measurements})
        return
    print_run(record, measurements, artifacts.get(record.spec.configuration.artifact_id), explain=explain)


def print_run(
    record: RunRecord, measurements: list[Measurement], artifact: Artifact | None, *, explain: bool = False
) -> None:
    """Print a run for people to read."""
    configuration = record.spec.configuration
    label = artifact.label if artifact else configuration.artifact_id[:12]
    out.print(plain(f"{label} on {configuration.engine}", "bold"))
    settings = ", ".join(f"{key}={value}" for key, value in configuration.settings.items()) or "default settings"
    facts = [f"run {record.id[:12]}", f"repeat {record.spec.repeat + 1}", settings, record.state.value]
    if record.finished_at:
        facts.append(age_text(record.finished_at))
    if record.host:
        facts.append(f"{record.host.cpu}, {record.host.cores} cores")
    out.print(plain(" · ".join(facts), "dim"))
    if record.disturbed:
        out.print(plain(f"Disturbed: {'; '.join(record.disturbances) or 'see its traces'}", "yellow"))
    if record.state is RunState.FAILED:
        out.print(plain(record.reason, "red"))
        if record.log_tail:
            out.print(plain(record.log_tail.rstrip(), "dim"))
    if not measurements:
        out.print("It has no figures" + ("." if record.state.final else " yet."))
        return
    for axis in Axis:
        rows = [m for m in measurements if m.figure in FIGURES and FIGURES[m.figure].axis is axis]
        if rows:
            out.print()
            out.print(_axis_table(axis, rows))
            if explain:
                _explain(rows)


def _axis_table(axis: Axis, rows: list[Measurement]) -> Table:
    shown = table(axis.value, "of", "value", "95 % interval", "n", "provenance", right=("value", "n"))
    for row in rows:
        definition = FIGURES[row.figure]
        scale = scale_for([row.value], definition.unit)
        shown.add_row(
            plain(f"{definition.title}{f' ({row.statistic})' if row.statistic else ''}"),
            plain(row.subject),
            format_figure(row.value, definition.unit),
            interval_text(row.value, row.low, row.high, scale),
            str(row.n or ""),
            plain(_provenance(row), "" if row.provenance.valid else "yellow"),
        )
    return shown


def _provenance(row: Measurement) -> str:
    provenance = row.provenance
    parts = [f"{provenance.method.value}: {provenance.source}"]
    if provenance.scope:
        parts.append(provenance.scope)
    if not provenance.valid:
        parts.append("not valid")
    return ", ".join([*parts, *provenance.reasons])


def _explain(rows: list[Measurement]) -> None:
    for name in dict.fromkeys(row.figure for row in rows):
        definition = FIGURES[name]
        out.print(plain(f"  {definition.title}: {definition.definition} ({definition.better} is better)", "dim"))
