"""Runs as rows: what is waiting, what is done, what failed and why."""

from __future__ import annotations

import json
from collections.abc import Sequence

import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma.access.roles import Action
from trilemma.analysis.format import format_duration
from trilemma.errors import TrilemmaError
from trilemma.records import RunRecord, is_foreign
from trilemma.schema import RunState
from trilemma.store import Store

PAGE_SIZE = 15


def labels(store: Store, runs: Sequence[RunRecord]) -> dict[str, str]:
    """Run id to model and quantization; artifacts that are forgotten go by their hash."""
    known = {artifact.id: artifact.label for artifact in store.artifacts()}
    wanted = {run.id: run.spec.configuration.artifact_id for run in runs}
    return {run_id: known.get(artifact_id, artifact_id[:12]) for run_id, artifact_id in wanted.items()}


def describe(run: RunRecord) -> str:
    """Engine, settings and repeat in one line."""
    configuration = run.spec.configuration
    settings = [
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in configuration.settings.items()
    ]
    if configuration.profile:
        settings.append(f"emulated {configuration.profile.name}")
    parts = [configuration.engine, *settings, f"repeat {run.spec.repeat + 1}"]
    if run.machine:
        parts.append(f"on {run.machine}")
    elif run.spec.needs.label:
        parts.append(f"needs {run.spec.needs.label}")
    if run.created_by and entrance.people():
        parts.append(f"asked for by {run.created_by}")
    if run.rerun_of:
        parts.append("measured again because the first time was disturbed")
    return ", ".join(parts)


def _took(run: RunRecord) -> str:
    if run.started_at is None or run.finished_at is None:
        return ""
    return format_duration(round((run.finished_at - run.started_at).total_seconds()))


def _act(run: RunRecord) -> None:
    """The one button that a run's state asks for; what was measured elsewhere is not measured again here."""
    action = Action.CANCEL_RUN if run.state is RunState.WAITING else Action.RETRY_RUN
    if is_foreign(run.spec.device) or not entrance.may(action, run.created_by):
        return
    try:
        if run.state is RunState.WAITING:
            if st.button("Cancel", key=f"cancel_{run.id}", type="tertiary", icon=":material/close:"):
                with entrance.guard().doing(action, run.id) as changed:
                    changed.request_cancel(run.id)
                st.rerun()
        elif run.state in (RunState.FAILED, RunState.CANCELLED) and st.button(
            "Retry", key=f"retry_{run.id}", type="tertiary", icon=":material/replay:"
        ):
            with entrance.guard().doing(action, run.id) as changed:
                changed.retry(run.id)
            st.rerun()
    except TrilemmaError as error:
        shared.show_error(error)


def run_rows(store: Store, runs: Sequence[RunRecord]) -> None:
    """A line for each run: a link to it, what it is, why it ended as it did, and what can be done."""
    names = labels(store, runs)
    for run in runs:
        with st.container(
            horizontal=True, wrap=False, vertical_alignment="center", gap="small", key=f"row_{run.id}", width=900
        ):
            with st.container(gap=None):
                shared.link("run", names[run.id], {"id": run.id})
                _about(run)
            _act(run)


def _about(run: RunRecord) -> None:
    note = describe(run)
    if run.state is RunState.DONE and (took := _took(run)):
        note += f", took {took}"
    text = f":gray[{shared.plain(note)}]"
    why = None
    if run.disturbed:
        text += " :orange[:material/warning: disturbed]"
        why = shared.plain("; ".join(run.disturbances) or "Something else used the machine.")
    st.caption(text, help=why)
    if run.reason and run.state is RunState.FAILED:
        st.caption(f":red[{shared.plain(run.reason)}]")
    elif run.reason and run.state is RunState.DOES_NOT_FIT:
        st.caption(f":material/block: {shared.plain(run.reason)}")
    elif run.reason and run.state in (RunState.CANCELLED, RunState.WAITING):
        st.caption(shared.plain(run.reason))
