"""Emulated devices on the New study page: which are chosen, and what of the study will not fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st

from pages import shared
from trilemma.analysis.format import format_figure
from trilemma.errors import OutOfMemoryError, TrilemmaError
from trilemma.limits import memory_budget
from trilemma.profiles import NO_DEVICE, Profile, load_profiles
from trilemma.schema import Artifact, Configuration, DeviceProfile
from trilemma.settings import get_settings
from trilemma.store import Store

_HELP = (
    "Measures each configuration again under a smaller machine's limits: its number of cores, its memory and its "
    "longest context. No core and no memory gets slower, so speeds are at most what the device reaches; figures are "
    "labelled as emulated."
)


def choose_devices() -> list[DeviceProfile | None]:
    """Show the choice; None stands for this machine."""
    profiles, problems = load_profiles(get_settings().home)
    here = {name: profile for name, profile in profiles.items() if not profile.obstacle or in_cluster()}
    chosen = st.multiselect(
        "Emulated device", [NO_DEVICE, *here], default=[NO_DEVICE], key="device",
        bind="query-params", help=_HELP, placeholder=NO_DEVICE,
    )  # fmt: skip
    emulated = [here[name] for name in chosen if name in here]
    for profile in emulated:
        st.caption(f"**{shared.plain(profile.device.name)}**: {shared.plain(_about(profile))}")
    if others := [name for name in profiles if name not in here]:
        st.caption(f"More than this machine has: {shared.plain(', '.join(others))}.")
    for problem in problems:
        st.caption(f":orange[:material/warning: {shared.plain(problem)}]")
    return [here[name].device if name in here else None for name in chosen]


def in_cluster() -> bool:
    """Whether it is other machines that measure: what this one has and lacks then refuses nothing."""
    return get_settings().executor_name != "local"


def choose_machines(store: Store) -> tuple[str, ...]:
    """Show the choice among the machines of a cluster; nothing is shown where there is none."""
    there = [machine.name for machine in store.machines() if machine.alive]
    if not there or not get_settings().ray_address:
        return ()
    chosen = st.multiselect(
        "Machines", there, key="machines", bind="query-params", placeholder="Any",
        help="Everything is measured on each of them, and compared. Left empty, a configuration goes to whichever is "
        "free, and all its repeats with it.",
    )  # fmt: skip
    return tuple(chosen)


def _about(profile: Profile) -> str:
    limits = profile.device.label.partition(", ")[2]
    return f"{limits or 'no limits'}. {profile.stands_for or profile.title}"


class Verdict(NamedTuple):
    """What is to be said of a configuration, each empty where there is nothing."""

    refused: str = ""
    """What the engine refuses."""
    misfit: str = ""
    """What is foreseen not to fit the device, which is measured as that."""
    doubt: str = ""
    """What would not run here, and may where it is measured."""


def verdict_on(engine: Any, artifact: Artifact, configuration: Configuration) -> Verdict:
    """What the engine says of a configuration before it is measured."""
    device = configuration.profile
    budget = device.memory_bytes if device else None
    try:
        with memory_budget(budget):
            engine.check(artifact, configuration.settings)
    except OutOfMemoryError as error:
        if device is None or budget is None or error.needed_bytes is None or error.needed_bytes <= budget:
            return Verdict(doubt=error.message) if in_cluster() else Verdict(refused=str(error))
        needed = format_figure(error.needed_bytes, "B")
        return Verdict(misfit=f"{artifact.label} will not fit {device.name}: it needs at least {needed}")
    except TrilemmaError as error:
        return Verdict(refused=str(error))
    return Verdict()


def foreseen(verdicts: Sequence[Verdict]) -> None:
    """What will not fit, or may not, in a quiet line each."""
    _note([one.misfit for one in verdicts], "That is recorded as a result, with the figure.")
    doubts = [one.doubt.rstrip(".") for one in verdicts]
    _note(doubts, "That is this machine; the one that measures it is asked again before each run.")


def _note(found: Sequence[str], what_then: str) -> None:
    if lines := list(dict.fromkeys(filter(None, found))):
        more = f"; and {len(lines) - 3} more" if len(lines) > 3 else ""
        text = shared.plain("; ".join(lines[:3]) + more)
        st.caption(f":material/info: {text}. {what_then}")
