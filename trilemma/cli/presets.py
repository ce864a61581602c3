"""``trilemma presets``: what kinds of deployment ask for, as starting points for a decision."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from trilemma.cli.base import Json, emit_json, err, out, plain, session, table
from trilemma.presets import Preset, find_preset, load_presets
from trilemma.schema import Axis

app = typer.Typer(help="List and show presets: limits and priorities by use case.", no_args_is_help=True)


@app.command("list")
def listing(json_: Json = False) -> None:
    """List the presets: their question, and how they weigh the three axes."""
    with session() as (settings, _):
        found, problems = load_presets(settings.home)
    if json_:
        emit_json({"presets": [preset.model_dump(mode="json") for preset in found.values()], "broken": problems})
        return
    shown = table("preset", *Axis, "limits", "question", right=(*Axis, "limits"))
    for name, preset in found.items():
        weights = [f"{share:.0%}" for share in preset.shares.values()]
        shown.add_row(name, *weights, str(len(preset.limits)), plain(preset.question))
    out.print(shown)
    out.print(plain(f"Your own go into {settings.home / 'presets'}, one TOML file a preset."), soft_wrap=True)
    for problem in problems:
        err.print(plain(problem, "yellow"))


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="As `trilemma presets list` names it.")], json_: Json = False
) -> None:
    """Show a preset: its limits, what stands for each axis, and how to measure a study for it."""
    with session() as (settings, _):
        preset = find_preset(name, settings.home)
    if json_:
        emit_json(preset.model_dump(mode="json") | {"study_options": preset.study_options})
        return
    out.print(plain(preset.title, "bold"))
    out.print(plain(preset.question))
    if preset.about:
        out.print(plain(f"\n{preset.about}"))
    out.print()
    shown = table("axis", "weight", "judged by the first of", right=("weight",))
    for axis, share in preset.shares.items():
        shown.add_row(axis.value, f"{share:.0%}", plain(", ".join(preset.axes.get(axis, ())) or "the usual figure"))
    out.print(shown)
    out.print()
    for text in preset.limits or ("no limit",):
        out.print(plain(f"limit  {text}"))
    if preset.study_options:
        out.print(plain(f"\nMeasure a study for it:\n{_command(preset)}"), soft_wrap=True)


def _command(preset: Preset) -> str:
    words = ["trilemma", "study", "--name", preset.name, "--model", "MODEL", *preset.study_options]
    return shlex.join(words)
