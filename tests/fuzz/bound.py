"""What a page reads out of its address, found by visiting it with everything opened that an address can open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from streamlit.runtime.state.query_params import QueryParams

NEVER = frozenset({"hub"})
"""Asks the hub as soon as it says anything."""
_READS = ("__contains__", "__getitem__", "get_all", "bind_widget")
_OPENED = "true"
"""What a box is ticked with; to any other widget it means nothing, and is left out."""


@contextmanager
def _read() -> Iterator[set[str]]:
    """The names that are looked up in addresses, or bound to them, while the context lasts."""
    found: set[str] = set()

    def noting(original: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: QueryParams, *arguments: Any, **named: Any) -> Any:
            found.add(named["param_key"] if named else arguments[0])
            return original(self, *arguments, **named)

        return noted

    with ExitStack() as patches:
        for method in _READS:
            patches.enter_context(patch.object(QueryParams, method, noting(getattr(QueryParams, method))))
        yield found


def bound(
    visit: Callable[[Mapping[str, str]], object], choices: Iterable[Mapping[str, str]] = ()
) -> dict[str, dict[str, str]]:
    """The names, each with what the address has to say beside for it to be read.

    Args:
        visit: Opens the page with these parameters.
        choices: What else is said, by the end of a name, because other fields are there then.
    """
    found: dict[str, dict[str, str]] = {}
    for choice in ({}, *choices):
        while True:
            said = {name: text for name in found for end, text in choice.items() if name.split("_")[-1] == end}
            if choice and not said:
                break
            with _read() as seen:
                visit(dict.fromkeys(found, _OPENED) | said)
            fresh = seen - found.keys() - NEVER
            if not fresh:
                break
            found |= {name: {one: text for one, text in said.items() if _goes_with(one, name)} for name in fresh}
    return {name: _openers(name, found) | said for name, said in found.items()}


def _goes_with(choice: str, name: str) -> bool:
    """Whether a choice is of the whole page, or of the part of it that ``name`` is in."""
    part = choice.rpartition("_")[0]
    return not part or name.startswith(f"{part}_")


def _openers(name: str, found: Mapping[str, object]) -> dict[str, str]:
    """The boxes that ``name`` is behind: of ``w_chat_n`` the box ``w_chat``, of a suite's option the suite's."""
    behind = f"q_{name.removeprefix('o_')}" if name.startswith("o_") else name
    return {one: _OPENED for one in found if behind.startswith(f"{one}_")}
