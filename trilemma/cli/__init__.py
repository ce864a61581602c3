"""``trilemma ...``: everything that the pages can do, without a browser."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import trilemma
from trilemma.cli.base import report
from trilemma.cli.lazily import Commands
from trilemma.errors import TrilemmaError

__all__ = ["app", "main"]

app = typer.Typer(
    cls=Commands,
    help="Measure what a language model costs, how fast it is and how well it answers, on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
