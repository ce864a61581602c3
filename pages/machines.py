"""Machines: where is it measured?"""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages import shared
from pages.parts import entrance
from pages.parts.runs import describe, labels
from pages.parts.worker import no_machine_notice
from trilemma.access.roles import Action
from trilemma.analysis.format import format_duration, format_figure
from trilemma.analysis.text import count_of
from trilemma.records import HostInfo, Machine, RunRecord
from trilemma.schema import RunState, utc_now
from trilemma.settings import get_settings
from trilemma.store import Store

_LOOK_BACK = 200
"""Runs among which the last one on each machine is looked for: it tells what Ray does not."""


def page() -> None:
    """The page."""
    store = shared.get_store()
    shared.heading("machines")
    if not store.machines():
        shared.empty_state(
            ":material/dns:",
            "No machine has joined yet",
            "Each machine that joins is listed here: what it offers, and what it measures at this moment. "
            "The worker looks for them every few seconds.",
        )
    else:
        entrance.fragment(_now, run_every=2.0)(store)
    if entrance.may(Action.SEE_SERVER):
        _joining()


def _now(store: Store) -> None:
    with shared.errors_shown():
        machines = store.machines()
        here = get_settings().device
        running = [run for run in store.runs(states=[RunState.RUNNING]) if run.spec.device == here]
        there = [machine for machine in machines if machine.alive]
        busy = sum(1 for run in running if run.machine)
        slots = sum(machine.slots for machine in there)
        text = f"{len(there)} of {count_of(len(machines), 'machine')} there, {busy} of {count_of(slots, 'slot')} busy"
        st.markdown(f"### {text}.")
        no_machine_notice(store)
        names = labels(store, running)
        hosts = _hosts(store)
        for machine in sorted(machines, key=lambda one: (not one.alive, one.name)):
            mine = [run for run in running if run.machine == machine.name]
            _one(store, machine, hosts.get(machine.name), mine, names)


def _hosts(store: Store) -> dict[str, HostInfo]:
    recent = store.runs(newest_first=True, limit=_LOOK_BACK)
    return {run.host.name: run.host for run in reversed(recent) if run.host is not None and run.host.name}


def _one(
    store: Store, machine: Machine, host: HostInfo | None, runs: Sequence[RunRecord], names: dict[str, str]
) -> None:
    about, work = st.columns([2, 3])  # on a phone the gap is one between lines
    with about, st.container(gap=None):
        icon = "radio_button_checked" if runs else "radio_button_unchecked" if machine.alive else "cloud_off"
        st.markdown(f"**:material/{icon}: {shared.plain(machine.name)}**")
        st.caption(shared.plain(_offer(machine, host)))
    with work:
        if not machine.alive:
            ago = format_duration(max(0.0, (utc_now() - machine.seen_at).total_seconds()))
            st.caption(
                f"Gone, or no worker looks for it: last seen {ago} ago. What a lost machine measured starts over."
            )
            _forget(machine)
        elif not runs and not machine.refuses:
            st.caption("Free.")
        for remark in machine.remarks if machine.alive else ():
            st.caption(f":orange[:material/warning: {shared.plain(remark)}]")
        for run in runs:
            shared.link("run", names[run.id], {"id": run.id})
            st.caption(shared.plain(describe(run)))
            note = f": {shared.plain(run.note)}" if run.note else ""
            st.progress(run.progress, text=f"{run.progress:.0%}{note}")


def _forget(machine: Machine) -> None:
    if not entrance.may(Action.FORGET_MACHINE):
        return
    if st.button("Take it off the list", key=f"forget_{machine.name}", type="tertiary"):
        with entrance.guard().doing(Action.FORGET_MACHINE, machine.name) as changed:
            changed.forget_machine(machine.name)
        st.rerun()


def _offer(machine: Machine, host: HostInfo | None) -> str:
    parts = [
        *([host.cpu] if host is not None and host.cpu else []),
        count_of(round(machine.cpus), "CPU"),
        *([format_figure(host.memory_bytes, "B")] if host is not None else []),
        f"{format_figure(machine.memory_bytes, 'B')} for runs",
    ]
    if machine.gpus:
        parts.append(f"{machine.gpus:g} × {machine.gpu_type or 'GPU'}")
    if host is not None and host.gpu_driver:
        parts.append(f"driver {host.gpu_driver}")
    parts.append(count_of(machine.slots, "slot"))
    return ", ".join(parts)


def _joining() -> None:
    address = get_settings().ray_address
    with st.expander("Add a machine", expanded=False):
        st.markdown(
            "Install the same version of Trilemma with the extra `ray` on it, copy the file `ray-token` from the data "
            "folder of the head to its data folder, and run there:"
        )
        st.code(f"trilemma node --address {_reachable(address)}", language="bash")
        if not address:
            st.markdown("`trilemma node --head` begins a cluster; then start this dashboard with its address:")
            st.code("TRILEMMA_RAY_ADDRESS=127.0.0.1:6379 trilemma serve", language="bash")


def _reachable(address: str) -> str:
    """The address as another machine needs it: this one's own name for itself helps nobody there."""
    host, _, port = address.rpartition(":")
    return address if host not in ("", "127.0.0.1", "localhost") else f"HEAD:{port or 6379}"


if __name__ == "__main__":
    import app

    app.main()
