"""Finds engines, meters, suites, sources, executors and importers by name; built-in ones have no privilege."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from trilemma.errors import TrilemmaError

GROUPS = (
    "trilemma.engines", "trilemma.meters", "trilemma.sources", "trilemma.suites", "trilemma.executors",
    "trilemma.importers",
)  # fmt: skip


@functools.cache
def _points(group: str) -> dict[str, EntryPoint]:
    if group not in GROUPS:
        raise ValueError(f"{group!r} is not one of {GROUPS}")
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """The names registered in ``group``, sorted; nothing is imported."""
    return sorted(_points(group))


def load(group: str, name: str) -> Any:
    """Import and return what is registered as ``name`` in ``group``.

    Raises:
        TrilemmaError: nothing of that name is installed.
    """
    try:
        point = _points(group)[name]
    except KeyError:
        kind = group.rpartition(".")[2].removesuffix("s")
        raise TrilemmaError(
            f"There is no {kind} named {name!r}.", f"Installed: {', '.join(names(group)) or 'none'}."
        ) from None
    return point.load()
