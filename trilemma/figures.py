"""The definition of every figure, read from ``figures.toml``: name, axis, unit, direction, and how it is computed.

The version of a definition is stored with every measurement, so that a report can name those of an earlier meaning.
``docs/figures.md`` is generated from this table (``python -m trilemma.figures``); a test holds the two together.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from typing import Literal

from trilemma.errors import TrilemmaError
from trilemma.schema import Axis, Frozen

Better = Literal["lower", "higher"]


class FigureDefinition(Frozen):
    """What one figure means."""

    name: str
    title: str
    axis: Axis
    unit: str
    better: Better
    definition: str
    version: int = 1


def _figures() -> dict[str, FigureDefinition]:
    text = files("trilemma").joinpath("figures.toml").read_text(encoding="utf-8")
    return {name: FigureDefinition(name=name, **fields) for name, fields in tomllib.loads(text).items()}


FIGURES: dict[str, FigureDefinition] = _figures()


def figure(name: str) -> FigureDefinition:
    """The definition of ``name``.

    Raises:
        TrilemmaError: there is no such figure.
    """
    try:
        return FIGURES[name]
    except KeyError:
        raise TrilemmaError(f"There is no figure named {name!r}.", f"Known: {', '.join(FIGURES)}.") from None


def as_markdown() -> str:
    """The table of definitions as a Markdown page."""
    lines = [
        "# What every figure means",
        "",
        "Generated from `trilemma/figures.toml` by `python -m trilemma.figures > docs/figures.md`.",
        "",
    ]
    for axis in Axis:
        lines += [
            f"## {axis.value.capitalize()}",
            "",
            "| figure | unit | better | definition | version |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| **{f.title}** `{f.name}` | {f.unit or '-'} | {f.better} | {f.definition} | {f.version} |"
            for f in FIGURES.values()
            if f.axis is axis
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(as_markdown())
