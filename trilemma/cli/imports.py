"""``trilemma import``: another tool's results as a study of its own, each figure marked as imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trilemma import registry
from trilemma.access.roles import Action
from trilemma.analysis.format import format_figure
from trilemma.cli.base import Json, acting, emit_json, out, plain, table
from trilemma.figures import FIGURES
from trilemma.interop import read_path
from trilemma.interop.base import Imported
from trilemma.interop.csv_table import parse_mapping
from trilemma.interop.studies import File, add
from trilemma.records import StudyRecord

_ROWS = 40
"""Of a preview."""


def import_(
    file: Annotated[Path, typer.Argument(help="What the other tool wrote: JSON, JSON lines, SQL or CSV.")],
    format_: Annotated[
        str, typer.Option("--format", help="Who reads it; found out from the file if not said. 'list' lists them.")
    ] = "",
    name: Annotated[str, typer.Option("--study", help="What its study is called; after the file if not said.")] = "",
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", help="Of a CSV: column=figure, such as 'TTFT (ms)=ttft_s.median@chat [ms]'."),
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show what would be imported; store nothing.")] = False,
    json_: Json = False,
) -> None:
    """Import results of another tool; what cannot be taken is listed, with the reason."""
    if format_ == "list":
        shown = table("format", "what it reads")
        for one in registry.names("trilemma.importers"):
            shown.add_row(one, plain(registry.load("trilemma.importers", one).title))
        out.print(shown)
        return
    imported, source = read_path(file, format_, parse_mapping(maps or []))
    record, added = None, False
    if not preview:
        with acting() as (_, guard), guard.doing(Action.IMPORT, source.name) as store:
            record, added = add(store, imported, source, name)
    if json_:
        emit_json({"study": record, "added": added, "importer": source.importer, "imported": imported})
        return
    _print(imported, source, record, added=added)


def _print(imported: Imported, source: File, record: StudyRecord | None, *, added: bool) -> None:
    if record is None or added:
        _print_figures(imported)
    if imported.left_out:
        out.print("Left out:", style="bold")
        for one in imported.left_out:
            out.print(plain(f"  {one.what}: {one.why}"), soft_wrap=True)
    count = len(imported.runs)
    runs = f"{count} run{'' if count == 1 else 's'} of {imported.tool} {imported.version}".strip()
    if record is None:
        out.print(plain(f"{source.name}: {runs}. Nothing is stored; leave --preview out to import."))
    elif added:
        out.print(plain(f"Study {record.id} ({record.spec.name}): {runs}, each figure marked as imported."))
    else:
        out.print(plain(f"This file was imported before, as study {record.id} ({record.spec.name}); nothing changed."))


def _print_figures(imported: Imported) -> None:
    shown = table("model", "quantization", "settings", "figure", "value", "n", right=("value", "n"))
    rows = [(run, one) for run in imported.runs for one in run.measurements if one.value is not None]
    for run, one in rows[:_ROWS]:
        unit = FIGURES[one.figure].unit if one.figure in FIGURES else ""
        settings = ", ".join(f"{key} {value}" for key, value in run.settings.items())
        shown.add_row(
            plain(run.model),
            plain(run.quantization),
            plain(settings),
            plain(one.key),
            plain(format_figure(one.value, unit, one.low, one.high)),
            str(one.n or ""),
        )
    out.print(shown)
    if len(rows) > _ROWS:
        out.print(f"{len(rows) - _ROWS} more figures.")
