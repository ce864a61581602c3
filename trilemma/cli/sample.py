"""``trilemma sample``: the study that comes with the package, measured on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trilemma.access.roles import Action
from trilemma.cli.base import Json, acting, emit_json, out, plain, session
from trilemma.cli.queue import find_study
from trilemma.sample.file import dumps
from trilemma.sample.loading import add_sample
from trilemma.sample.pack import whole_study
from trilemma.whole_files import written_whole

app = typer.Typer(
    help="Add or remove the sample study: results of another machine, to look around before you measure.",
    no_args_is_help=True,
)


@app.command()
def add(json_: Json = False) -> None:
    """Add the sample study, which stays apart from what you measure."""
    with acting() as (_, guard), guard.doing(Action.CHANGE_SAMPLE, "add") as store:
        record = add_sample(store)
    if json_:
        emit_json(record)
        return
    out.print(
        plain(f"{record.spec.name}: {sum(record.runs_by_state.values())} runs, in Explore as a study of its own.")
    )


@app.command()
def remove(json_: Json = False) -> None:
    """Remove the sample study; it does not come back by itself."""
    with acting() as (_, guard), guard.doing(Action.CHANGE_SAMPLE, "remove") as store:
        removed = store.remove_sample()
    if json_:
        emit_json({"removed": removed})
        return
    out.print("The sample study is removed." if removed else "There is no sample study.")


@app.command(hidden=True)
def pack(
    study: Annotated[str, typer.Argument(help="Id of the study, the id's beginning, or its name.")],
    file: Annotated[Path, typer.Argument(help="The file to write.")],
) -> None:
    """Write a study as the file that comes with the package: results, without weights, questions and names."""
    with session() as (_, store):
        data = dumps(whole_study(store, find_study(store, study).id))
    with written_whole(file) as path:
        path.write_bytes(data)
    out.print(plain(f"Wrote {file}: {len(data):,} bytes."))
