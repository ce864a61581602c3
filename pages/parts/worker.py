"""Whether anybody works through the queue."""

from __future__ import annotations

import socket
import time

import streamlit as st

from pages import shared
from trilemma.jobs.base import Identity
from trilemma.jobs.processes import alive
from trilemma.needs import Needs, has
from trilemma.schema import RunState
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.tryout.rounds import machine_taken

GRACE_S = 4.0
"""A worker that is alive takes the next run within a second."""

SINCE = "no_worker_since"


def _works(store: Store, run_id: str) -> bool:
    owner = store.owner(run_id)
    if owner is None:
        return False
    worker_id, pid, created = owner
    if worker_id.partition(":")[0] != socket.gethostname():
        return True  # on another machine, which cannot be looked at from here
    return alive(Identity(pid, created))


def _needed(store: Store) -> tuple[list[Needs], list[Needs]]:
    """What waiting runs of this device need: what its worker measures, and what a cluster would that is not here."""
    settings = get_settings()
    needed = store.waiting_needs(settings.device)
    elsewhere = [one for one in needed if settings.executor_name == "local" and not has(settings.machine, one)]
    return [one for one in needed if one not in elsewhere], elsewhere


def for_a_cluster(store: Store) -> list[str]:
    """What waiting runs of this device need that no cluster gives them, because none is configured."""
    return [needs.label for needs in _needed(store)[1]]


def on_no_machine(store: Store) -> list[str]:
    """What waiting runs need that none of the cluster's machines offers, free or not; nothing where there is none."""
    machines = [machine for machine in store.machines() if machine.alive]
    needed = store.waiting_needs(get_settings().device) if machines else []
    return [needs.label for needs in needed if not any(machine.offers(needs) for machine in machines)]


def no_machine_notice(store: Store) -> None:
    """Say which waiting runs no machine will take."""
    if needed := on_no_machine(store):
        st.warning(
            f"**Runs wait for what no machine offers: {shared.plain('; '.join(needed))}.** Begin `trilemma node` on "
            "one that does, or cancel them and ask for something else.",
            icon=":material/dns:",
        )


def worker_missing(store: Store) -> bool:
    """Whether there is work for this machine, and for a few seconds nobody has been seen to do it."""
    here = get_settings().device
    running = [run for run in store.runs(states=[RunState.RUNNING]) if run.spec.device == here]
    if machine_taken():  # it gives it back after an answer at most
        st.session_state.pop(SINCE, None)
        return False
    idle = store.queue_paused() or not (running or _needed(store)[0])
    # The worker of a cluster says every few seconds which machines it sees, also while none of them is free.
    if idle or any(machine.alive for machine in store.machines()) or any(_works(store, run.id) for run in running):
        st.session_state.pop(SINCE, None)
        return False
    since: float = st.session_state.setdefault(SINCE, time.monotonic())
    return time.monotonic() - since >= GRACE_S
