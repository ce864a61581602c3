"""``trilemma traces``: recorded requests that a workload can repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trilemma.access.roles import Action
from trilemma.cli.base import Json, acting, emit_json, out, session, table
from trilemma.errors import StudyError
from trilemma.workloads import traces

app = typer.Typer(help="Add and list recorded traces of requests.", invoke_without_command=True)


@app.callback()
def listing(ctx: typer.Context, json_: Json = False) -> None:
    """List the traces that were added."""
    if ctx.invoked_subcommand:
        return
    with session() as (settings, _):
        rows = []
        for digest in traces.known(settings.traces_dir):
            lines = traces.load(settings.traces_dir, digest)
            last_s = lines[-1].arrival_s
            rows.append({"trace": digest, "requests": len(lines), "seconds": last_s})
        if json_:
            emit_json(rows)
            return
        if not rows:
            out.print("There is no trace yet. `trilemma traces add FILE` adds one: JSON lines, see docs/user-guide.md.")
            return
        shown = table("trace", "requests", "seconds", right=("requests", "seconds"))
        for row in rows:
            seconds = row["seconds"]
            shown.add_row(str(row["trace"])[:12], str(row["requests"]), "" if seconds is None else f"{seconds:.1f}")
        out.print(shown)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="JSON lines: arrival_s, prompt or prompt_tokens, output_tokens.")],
    json_: Json = False,
) -> None:
    """Check a trace and keep it, so that a workload can name it: short_chat:trace=BEGINNING."""
    with acting() as (settings, guard):
        try:
            if file.stat().st_size > traces.MAX_BYTES:
                raise StudyError(f"{file} is larger than {traces.MAX_BYTES >> 20} MiB.", "Use a part of it.")
            data = file.read_bytes()
        except OSError as error:
            raise StudyError(f"{file} cannot be read ({error.strerror}).", "Give the path of a file.") from error
        with guard.doing(Action.ADD_FILE, f"trace {file.name}", size_bytes=len(data)):
            digest = traces.add(settings.traces_dir, data)
        lines = traces.load(settings.traces_dir, digest)
        if json_:
            emit_json({"trace": digest, "requests": len(lines)})
            return
        out.print(f"Added {digest[:12]}: {len(lines)} requests. Use it as --workload short_chat:trace={digest[:12]}")
