"""``trilemma audit``: who did what, and what was refused."""

from __future__ import annotations

from typing import Annotated

import typer

from trilemma.cli.base import Json, emit_json, out, plain, session, table
from trilemma.records import Outcome


def listing(
    who: Annotated[str | None, typer.Option(help="Only of this person, as the log names them.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only what ended so.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many entries.")] = 100,
    json_: Json = False,
) -> None:
    """List who did what and what was refused, the newest first."""
    with session() as (_, store):
        entries = store.audit(limit, who=who, outcome=outcome)
    if json_:
        emit_json(entries)
        return
    if not entries:
        out.print("Nothing is in the log.")
        return
    shown = table("time, UTC", "who", "role", "action", "subject", "outcome", "why")
    for entry in entries:
        texts = (entry.who, entry.role, entry.action, entry.subject, entry.outcome.value, entry.detail)
        shown.add_row(f"{entry.at:%Y-%m-%d %H:%M:%S}", *(plain(" ".join(text.split())) for text in texts))
    out.print(shown)
