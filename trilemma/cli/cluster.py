"""``trilemma node | machines``: machines that measure together."""

from __future__ import annotations

import os
import re
import socket
from typing import Annotated

import typer
from rich.text import Text

from trilemma.access.roles import Action
from trilemma.analysis.format import format_figure
from trilemma.cli.base import Json, acting, age_text, emit_json, err, out, plain, session, table
from trilemma.errors import SettingsError
from trilemma.jobs import ray_token
from trilemma.jobs.ray_cluster import PORT, node_command, node_environment
from trilemma.meters.machine import host_info
from trilemma.needs import MACHINE_NAME
from trilemma.records import Machine
from trilemma.schema import RunState
from trilemma.settings import get_settings


def node(
    context: typer.Context,
    address: Annotated[str | None, typer.Option(help="HOST:PORT of the cluster's head, to join it.")] = None,
    head: Annotated[bool, typer.Option("--head", help="Be the head of a new cluster, and measure, too.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="With --head: where the cluster answers.")] = PORT,
    name: Annotated[str, typer.Option(help="What the machine is called in charts; its host name if empty.")] = "",
    slots: Annotated[
        int | None,
        typer.Option(
            min=0, max=64, help="Runs measured at the same time; 0 for none. As the settings say, if not given."
        ),
    ] = None,
) -> None:
    """Offer this machine to a cluster until ctrl-C. What else is given goes to `ray start`."""
    if head == (address is not None):
        raise typer.BadParameter("Give either --head, or --address with the HOST:PORT of a head.")
    settings = get_settings()
    settings.ensure_home()
    slots = settings.slots if slots is None else slots
    called = name or settings.machine or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:40].lstrip("._-")
    if not re.fullmatch(MACHINE_NAME, called):
        raise SettingsError(f"{called!r} cannot be the name of a machine.", "Use letters, digits and . _ - (up to 40).")
    command = node_command(slots, called, address, port, context.args)
    if head:
        ray_token.make(settings)
    surroundings = node_environment(settings)
    host = host_info()
    memory = format_figure(host.memory_bytes, "B")
    runs = f"{slots} run{'' if slots == 1 else 's'} at a time"
    err.print(plain(f"{called} offers {runs}: {host.cpu}, {host.cores} CPUs, {memory}. Ctrl-C takes it back."))
    if head:
        err.print(plain(f"Others join with `trilemma node --address {socket.gethostname()}:{port}`"))
        err.print(plain(f"once {settings.ray_token_path} is in their data folder, too."))
        err.print(plain(f"`TRILEMMA_RAY_ADDRESS=127.0.0.1:{port} trilemma serve` measures on all of them."))
    named = {"TRILEMMA_MACHINE": called, "TRILEMMA_SLOTS": str(max(slots, 1)), "TRILEMMA_HOME": str(settings.home)}
    os.execve(command[0], command, os.environ | surroundings | named)  # noqa: S606


def machines(
    forget: Annotated[str | None, typer.Option(help="Take a machine that is gone off the list.")] = None,
    json_: Json = False,
) -> None:
    """List the machines of the cluster, what each offers, and what it measures."""
    if forget is not None:
        with acting() as (_, guard), guard.doing(Action.FORGET_MACHINE, forget) as changed:
            changed.forget_machine(forget)
        out.print(plain(f"{forget} is off the list; it comes back if it joins again."))
        return
    with session() as (settings, store):
        found = store.machines(settings.device)
        running = [run for run in store.runs(states=[RunState.RUNNING]) if run.spec.device == settings.device]
    busy = {one.name: [run.id for run in running if run.machine == one.name] for one in found}
    if json_:
        emit_json([one.model_dump(mode="json") | {"runs": busy[one.name]} for one in found])
        return
    if not found:
        out.print("No machine has joined yet. `trilemma node --head` begins a cluster; docs/cluster.md says how.")
        return
    shown = table("machine", "state", "offers", "slots", "measures", "last seen", right=("slots",))
    for one in found:
        shown.add_row(
            plain(one.name),
            _state(one),
            plain(offer_text(one)),
            str(one.slots),
            plain(", ".join(busy[one.name]) if one.alive else ""),
            age_text(one.seen_at),
        )
    out.print(shown)
    for one in found:
        for remark in one.remarks if one.alive else ():
            out.print(plain(f"{one.name}: {remark}", "yellow"))


def _state(machine: Machine) -> Text:
    if not machine.alive:
        return plain("gone", "red")
    return plain("left out", "yellow") if machine.refuses else plain("there", "green")


def offer_text(machine: Machine) -> str:
    """What a machine offers, in words."""
    parts = [f"{machine.cpus:g} CPUs", format_figure(machine.memory_bytes, "B")]
    if machine.gpus:
        parts.append(f"{machine.gpus:g} {machine.gpu_type or 'GPU'}{'' if machine.gpus == 1 else 's'}")
    return ", ".join(parts)
