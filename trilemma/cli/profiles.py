"""``trilemma profiles``: the smaller machines that a configuration can be measured under."""

from __future__ import annotations

from trilemma.analysis.format import BLANK, format_figure
from trilemma.cli.base import Json, emit_json, err, out, plain, session, table
from trilemma.profiles import load_profiles


def listing(json_: Json = False) -> None:
    """List the device profiles: what each allows, and whether this machine can emulate it."""
    with session() as (settings, _):
        found, problems = load_profiles(settings.home)
    if json_:
        emit_json(
            {"profiles": [{**p.model_dump(), "obstacle": p.obstacle} for p in found.values()], "broken": problems}
        )
        return
    shown = table("device", "title", "cores", "memory", "context", "", right=("cores", "memory", "context"))
    for name, profile in found.items():
        device = profile.device
        shown.add_row(
            name,
            plain(profile.title),
            str(device.cores or BLANK),
            format_figure(device.memory_bytes, "B"),
            str(device.context or BLANK),
            plain(profile.obstacle and "more cores than this machine has", "yellow"),
        )
    out.print(shown)
    out.print("Emulation limits cores, memory and context; it makes no core and no memory slower.")
    out.print(plain(f"Your own go into {settings.home / 'profiles'}, one TOML file a device."), soft_wrap=True)
    for problem in problems:
        err.print(plain(problem, "yellow"))
