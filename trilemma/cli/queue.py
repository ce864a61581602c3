"""``trilemma queue``: what is measured now, what waits, and what became of the rest."""

from __future__ import annotations

from typing import Annotated

import typer

from trilemma.access.roles import Action
from trilemma.analysis.format import format_duration
from trilemma.cli.base import (
    Json,
    acting,
    age_text,
    emit_json,
    find_run,
    out,
    plain,
    session,
    table,
)
from trilemma.errors import NotFoundError
from trilemma.records import RunRecord, StudyRecord
from trilemma.schema import RunState
from trilemma.store import Store

app = typer.Typer(help="List, pause, resume, cancel and retry runs.", invoke_without_command=True)

STYLES = {
    RunState.RUNNING: "cyan",
    RunState.DONE: "green",
    RunState.FAILED: "red",
    RunState.CANCELLED: "dim",
    RunState.DOES_NOT_FIT: "yellow",
    RunState.WAITING: "",
}


@app.callback()
def listing(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Finished runs too.")] = False,
    study: Annotated[str | None, typer.Option(help="Only runs of the study whose id begins with this.")] = None,
    json_: Json = False,
) -> None:
    """List the runs that wait or are measured now."""
    if ctx.invoked_subcommand:
        return
    with session() as (_, store):
        study_id = find_study(store, study).id if study else None
        states = None if everything or study else [RunState.WAITING, RunState.RUNNING]
        runs = store.runs(study_id=study_id, states=states)
        paused = store.queue_paused()
        if json_:
            emit_json({"paused": paused, "runs": runs})
            return
        if paused:
            out.print("The queue is paused. `trilemma queue resume` goes on.", style="yellow")
        if not runs:
            out.print("The queue is empty. `trilemma study` fills it; `trilemma queue --all` lists finished runs.")
            return
        labels = {artifact.id: artifact.label for artifact in store.artifacts()}
        shown = table("run", "configuration", "repeat", "state", "progress", "time left", right=("repeat", "progress"))
        for run in runs:
            configuration = run.spec.configuration
            emulated = f" · emulated {configuration.profile.name}" if configuration.profile else ""
            label = labels.get(configuration.artifact_id, configuration.artifact_id[:12])
            shown.add_row(
                run.id[:12],
                plain(f"{label} · {configuration.engine}{emulated}"),
                str(run.spec.repeat + 1),
                plain(run.state.label, STYLES[run.state]),
                _progress(run),
                format_duration(run.remaining_s) if run.state is RunState.RUNNING else "",
            )
        out.print(shown)


def _progress(run: RunRecord) -> str:
    if run.state is RunState.RUNNING:
        return f"{run.progress:.0%} {run.phase.value if run.phase else ''}".rstrip()
    if run.state.verdict:
        return age_text(run.finished_at) + (" (disturbed)" if run.disturbed else "")
    return ""


def find_study(store: Store, text: str) -> StudyRecord:
    """The study whose id begins with ``text``, or the newest of that name.

    Raises:
        NotFoundError: there is none.
    """
    studies = store.studies()
    found = [study for study in studies if study.id.startswith(text)]
    if len(found) == 1:
        return found[0]
    named = [study for study in studies if study.spec.name == text]
    if named:
        return max(named, key=lambda study: study.created_at)
    raise NotFoundError(f"There is no study {text!r}.", "`trilemma studies` lists them.")


@app.command()
def pause() -> None:
    """Start no further run; the one that is measured now goes on to its end."""
    with acting() as (_, guard), guard.doing(Action.PAUSE) as store:
        store.pause_queue()
    out.print("Paused. The run that is measured now goes on to its end.")


@app.command()
def resume() -> None:
    """Go on with the queue."""
    with acting() as (_, guard), guard.doing(Action.RESUME) as store:
        store.resume_queue()
    out.print("The queue goes on.")


@app.command()
def cancel(runs: Annotated[list[str], typer.Argument(help="Ids of runs, or their beginnings.")]) -> None:
    """Cancel runs: waiting ones at once, a running one with its whole process group."""
    with acting() as (_, guard):
        for record in [find_run(guard.store, prefix) for prefix in runs]:
            if record.state.final:
                out.print(f"{record.id[:12]} is {record.state.label} already.")
                continue
            with guard.doing(Action.CANCEL_RUN, record.id) as store:
                store.request_cancel(record.id)
            out.print(f"{record.id[:12]} is being cancelled.")


@app.command()
def retry(runs: Annotated[list[str], typer.Argument(help="Ids of failed or cancelled runs.")]) -> None:
    """Put failed or cancelled runs back into the queue."""
    with acting() as (_, guard):
        for record in [find_run(guard.store, prefix) for prefix in runs]:
            if record.state not in (RunState.FAILED, RunState.CANCELLED):
                out.print(f"{record.id[:12]} is {record.state.label}: nothing to retry.")
                continue
            with guard.doing(Action.RETRY_RUN, record.id) as store:
                store.retry(record.id)
            out.print(f"{record.id[:12]} waits again.")
