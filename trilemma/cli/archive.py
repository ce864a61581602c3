"""``trilemma studies export | import | delete``, ``trilemma backup``: whole studies, the whole database as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trilemma.access.roles import Action
from trilemma.archive.read import import_file
from trilemma.archive.write import export_file
from trilemma.cli.base import Json, acting, confirm, emit_json, err, out, plain, session
from trilemma.cli.queue import find_study
from trilemma.cli.studies import listing
from trilemma.study import delete as delete_study

app = typer.Typer(help="List studies; write one as a file, read such a file, delete one.", invoke_without_command=True)


@app.callback()
def studies(ctx: typer.Context, json_: Json = False) -> None:
    """List the studies, newest first."""
    if not ctx.invoked_subcommand:
        listing(json_)


@app.command("export")
def export(
    study: Annotated[str, typer.Argument(help="Id of the study, the id's beginning, or its name.")],
    file: Annotated[Path, typer.Argument(help="The file to write, such as study.trilemma.zip.")],
    json_: Json = False,
) -> None:
    """Write a study with everything that its runs recorded as one file, for another store or as a backup."""
    with session() as (_, store):
        record = find_study(store, study)
        left_out = export_file(store, record.id, file.expanduser())
    if json_:
        emit_json({"study": record.id, "path": str(file), "runs_left_out": left_out})
        return
    out.print(plain(f"Wrote {file}. `trilemma studies import` reads it."))
    if left_out:
        err.print(f"{left_out} runs are not over and not in it.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file that `trilemma studies export` wrote.")],
    json_: Json = False,
) -> None:
    """Add the study of a file; its runs stay apart from what this machine measures."""
    with acting() as (_, guard), guard.doing(Action.IMPORT, file.name) as store:
        found = import_file(store, file.expanduser())
    if json_:
        emit_json({"study": found.study, "runs": found.runs, "new_runs": found.fresh_runs})
        return
    fresh = f"{found.fresh_runs} of its {found.runs} runs are new here" if found.fresh_runs else "all of it was here"
    out.print(plain(f"{found.study.spec.name} ({found.study.id}): {fresh}."))
    if found.namesakes:
        err.print(plain(f"Another study has that name, too. Call this one {found.study.id} to tell them apart."))


@app.command()
def delete(
    study: Annotated[str, typer.Argument(help="Id of the study, the id's beginning, or its name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a study with all that its runs recorded; runs that another study has as well stay."""
    with acting() as (settings, guard):
        record = find_study(guard.store, study)
        if not yes:
            count = len(guard.store.runs_only_in(record.id))
            goes = f"{count} run{'' if count == 1 else 's'} and all that was recorded of them go with it."
            confirm(f"Delete {record.spec.name} ({record.id})? {goes}")
        with guard.doing(Action.DELETE_STUDY, record.id, detail=record.spec.name) as store:
            count = delete_study(store, record.id, settings.logs_dir)
    out.print(plain(f"Deleted {record.spec.name} ({record.id}) with {count} run{'' if count == 1 else 's'}."))


def backup(file: Annotated[Path, typer.Argument(help="The file to write.")]) -> None:
    """Copy the whole SQLite database, also while it is used; a PostgreSQL server has pg_dump for that."""
    with session() as (_, store):
        store.backup(file.expanduser())
    out.print(plain(f"Wrote {file}. To go back to it, stop Trilemma and put it in the place of the database."))
