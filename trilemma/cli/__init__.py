"""``trilemma ...``: everything that the pages can do, without a browser."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import trilemma
from trilemma.cli import (
    archive,
    audit,
    cluster,
    imports,
    models,
    plan,
    presets,
    profiles,
    questions,
    queue,
    reports,
    sample,
    services,
    show,
    studies,
    traces,
)
from trilemma.cli.base import report
from trilemma.errors import TrilemmaError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Measure what a language model costs, how fast it is and how well it answers, on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models.app, name="models")
app.command()(models.quantise)
app.command()(studies.study)
app.command("profiles")(profiles.listing)
app.add_typer(presets.app, name="presets")
app.add_typer(archive.app, name="studies")
app.command()(studies.run)
app.add_typer(queue.app, name="queue")
app.add_typer(traces.app, name="traces")
app.add_typer(questions.app, name="questions")
app.add_typer(sample.app, name="sample")
app.command()(show.show)
app.command()(plan.plan)
app.command()(studies.export)
app.command("import")(imports.import_)
app.command()(archive.backup)
app.command()(reports.report)
app.command()(services.serve)
app.command()(services.worker)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(cluster.node)
app.command()(cluster.machines)
app.command()(services.doctor)
app.command("audit")(audit.listing)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trilemma {trilemma.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the ``trilemma`` command.

    Exits with 0, with 1 after an error (its message and hint on stderr; ``TRILEMMA_DEBUG=1`` shows the traceback), with
    2 where the command was not understood.
    """
    try:
        app(prog_name="trilemma")
    except TrilemmaError as error:
        if os.environ.get("TRILEMMA_DEBUG"):
            raise
        report(error)
        sys.exit(1)
