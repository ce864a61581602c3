"""``trilemma show``: every figure of a run with its interval and where it comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trilemma.analysis.format import format_figure, interval_text, scale_for
from trilemma.cli.base import Json, age_text, emit_json, find_run, out, plain, session, table
from trilemma.figures import FIGURES
from trilemma.records import RunRecord
from trilemma.schema import Artifact, Axis, Measurement, RunState

_LOG_LINES = 12


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
        emit_json(run_document(record, measurements))
        return
    print_run(record, measurements, artifacts.get(record.spec.configuration.artifact_id), explain=explain)


def run_document(record: RunRecord, measurements: list[Measurement]) -> dict[str, Any]:
    """A run and its figures for scripts; each figure with its key."""
    return {"run": record, "measurements": [{"key": m.key, **m.model_dump(mode="json")} for m in measurements]}


def print_run(
    record: RunRecord, measurements: list[Measurement], artifact: Artifact | None, *, explain: bool = False
) -> None:
    """Print a run for people to read."""
    configuration = record.spec.configuration
    label = artifact.label if artifact else configuration.artifact_id[:12]
    out.print(plain(f"{label} on {configuration.engine}", "bold"))
    settings = ", ".join(f"{key}={value}" for key, value in configuration.settings.items()) or "default settings"
    facts = [f"run {record.id[:12]}", f"repeat {record.spec.repeat + 1}", settings, record.state.label]
    if configuration.profile:
        facts.insert(2, f"emulated {configuration.profile.label}")
    if record.finished_at:
        facts.append(age_text(record.finished_at))
    if record.host:
        facts.append(f"{record.host.cpu}, {record.host.cores} cores")
    out.print(plain(" · ".join(facts), "dim"))
    if record.disturbed:
        out.print(plain(f"Disturbed: {'; '.join(record.disturbances) or 'see its traces'}", "yellow"))
    if record.state is RunState.DOES_NOT_FIT:
        out.print(plain(record.reason, "yellow"))
    if record.state is RunState.FAILED:
        out.print(plain(record.reason, "red"))
        if record.log_tail:
            out.print(plain("\n".join(record.log_tail.rstrip().splitlines()[-_LOG_LINES:]), "dim"))
    if not measurements:
        out.print("It has no figures" + ("." if record.state.final else " yet."))
        return
    notes: dict[str, int] = {}
    for axis in Axis:
        rows = [m for m in measurements if m.figure in FIGURES and FIGURES[m.figure].axis is axis]
        if rows:
            _print_axis(axis, rows, notes)
            if explain:
                _explain(rows)
    out.print()
    for text, number in notes.items():
        out.print(plain(f"[{number}] {text}", "dim"))


def _print_axis(axis: Axis, rows: list[Measurement], notes: dict[str, int]) -> None:
    shown = table(axis.value, "of", "value", "95 % interval", "n", "how", right=("value", "n"))
    for row in rows:
        if row.value is None:
            continue
        definition = FIGURES[row.figure]
        shown.add_row(
            plain(f"{definition.title}{f' ({row.statistic})' if row.statistic else ''}"),
            plain(row.subject),
            format_figure(row.value, definition.unit),
            interval_text(row.value, row.low, row.high, scale_for([row.value], definition.unit)),
            str(row.n or ""),
            plain(_how(row, notes), "" if row.provenance.valid else "yellow"),
        )
    if shown.row_count:
        out.print()
        out.print(shown)
    blank: dict[str, list[str]] = {}
    for row in rows:
        if row.value is None:
            why = row.provenance.reasons[0] if row.provenance.reasons else "not known"
            blank.setdefault(f"{FIGURES[row.figure].title} {row.subject}".strip(), []).append(
                why if why.startswith(row.statistic) else f"{row.statistic}: {why}"
            )
    for title, reasons in blank.items():
        out.print(plain(f"  Left blank: {title} ({'; '.join(reasons)})", "dim"))


def _how(row: Measurement, notes: dict[str, int]) -> str:
    """``measured [1]``: the method, and the number of the note that says by what."""
    provenance = row.provenance
    parts = [provenance.source, provenance.scope, *provenance.reasons]
    text = ", ".join(dict.fromkeys(part for part in parts if part))
    number = notes.setdefault(text, len(notes) + 1)
    return f"{provenance.method.value}{'' if provenance.valid else ', not valid'} [{number}]"


def _explain(rows: list[Measurement]) -> None:
    for name in dict.fromkeys(row.figure for row in rows):
        definition = FIGURES[name]
        out.print(plain(f"  {definition.title}: {definition.definition} ({definition.better} is better)", "dim"))
