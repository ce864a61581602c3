"""The commands, by where they are: a module is imported when its command is used.

Most commands, and a worker that measures for weeks, need nothing of what plans and reports are counted with, which
takes as long to import as all the rest.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

WHERE: Mapping[str, str] = {
    "models": "models:app",
    "quantise": "models:quantise",
    "study": "studies:study",
    "profiles": "profiles:listing",
    "presets": "presets:app",
    "studies": "archive:app",
    "run": "studies:run",
    "queue": "queue:app",
    "traces": "traces:app",
    "questions": "questions:app",
    "sample": "sample:app",
    "show": "show:show",
    "plan": "plan:plan",
    "export": "studies:export",
    "import": "imports:import_",
    "backup": "archive:backup",
    "report": "reports:report",
    "serve": "services:serve",
    "worker": "services:worker",
    "node": "cluster:node",
    "machines": "cluster:machines",
    "doctor": "services:doctor",
    "audit": "audit:listing",
}
"""By its name on the command line: the module of this package, and the function or group of commands in it."""
SETTINGS: Mapping[str, dict[str, Any]] = {
    "node": {"allow_extra_args": True, "ignore_unknown_options": True},  # they go to `ray start`
}


class _Imported(MutableMapping[str, Any]):
    """The commands by their names; each is imported when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            module, _, attribute = WHERE[name].partition(":")
            found = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
            alone = typer.Typer()
            if isinstance(found, typer.Typer):
                alone.add_typer(found, name=name)
            else:
                alone.command(name, context_settings=SETTINGS.get(name))(found)
            self._made[name] = get_group(alone).commands[name]
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(WHERE)

    def __len__(self) -> int:
        return len(WHERE)


class Commands(TyperGroup):
    """A group that has the commands of :data:`WHERE`, in their order."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Imported()
