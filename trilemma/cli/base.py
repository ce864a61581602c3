"""What every command shares: consoles, errors as message and hint, JSON, and how quantities are written."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trilemma.access.guard import Guard
from trilemma.access.identity import at_terminal
from trilemma.access.rules import Rules
from trilemma.analysis.format import BLANK, format_duration
from trilemma.errors import NotFoundError, TrilemmaError
from trilemma.records import RunRecord
from trilemma.settings import Settings, get_settings
from trilemma.store import Store, open_store

_PIPE_WIDTH = 160
"""Columns where there is no terminal to ask: wide enough that tables need not fold."""


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


out = _console()
err = _console(stderr=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def report(error: TrilemmaError) -> None:
    """What happened, and what to do next, on stderr."""
    err.print(Text("Error: ", style="bold red").append_text(plain(error.message)), soft_wrap=True)
    if error.hint:
        err.print(plain(error.hint), soft_wrap=True)


@contextmanager
def whole_session() -> Iterator[tuple[Settings, Store]]:
    """The settings and an open store, with the data folder made: for processes that measure."""
    settings = get_settings()
    settings.ensure_home()
    with open_store() as store:
        yield settings, store


@contextmanager
def session() -> Iterator[tuple[Settings, Store]]:
    """The settings and the store, for reading."""
    with whole_session() as (settings, store):
        yield settings, store.reading()


@contextmanager
def acting() -> Iterator[tuple[Settings, Guard]]:
    """The settings, and what changes the store on behalf of the account at this terminal."""
    with whole_session() as (settings, store):
        yield settings, Guard(store, at_terminal(), Rules(), settings)


def emit_json(value: Any) -> None:
    """Write ``value`` (models and dataclass fields included) as JSON with a line end; never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, default=_jsonable, indent=2) + "\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)


def plain(value: object, style: str = "") -> Text:
    """Text from outside (file names, model output): no markup, and no control sequences for the terminal."""
    text = "".join(
        c for c in str(value) if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
    )
    return Text(text, style=style)


def confirm(question: str) -> None:
    """Go on only after a yes; names in the question may come from outside.

    Raises:
        typer.Abort: the answer was no, or none.
    """
    typer.confirm(plain(question).plain, abort=True)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; the first column, what a row is called by, never folds; those named in ``right`` hold numbers."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=index == 0 or column in right,
        )
    return made


def age_text(moment: datetime | None) -> str:
    """How long ago ``moment`` was."""
    if moment is None:
        return BLANK
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return f"{format_duration(max(0.0, (datetime.now(UTC) - moment).total_seconds()))} ago"


def find_run(store: Store, prefix: str) -> RunRecord:
    """The run whose id begins with ``prefix``.

    Raises:
        NotFoundError: there is none, or several.
    """
    try:
        return store.run(prefix)
    except NotFoundError:
        elsewhere = [run for study_id in store.foreign_studies() for run in store.runs(study_id)]
        known = {run.id: run for run in [*store.runs(), *elsewhere]}
        matches = [run for run in known.values() if prefix and run.id.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    what = f"{len(matches)} runs have ids" if matches else "No run has an id"
    raise NotFoundError(f"{what} beginning with {prefix!r}.", "`trilemma queue --all` lists them.")
