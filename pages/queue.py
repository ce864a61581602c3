"""Queue: what is happening now?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import archive, entrance, removal
from pages.parts.live import LiveTrace
from pages.parts.runs import PAGE_SIZE, describe, labels, run_rows
from pages.parts.worker import for_a_cluster, no_machine_notice, worker_missing
from trilemma.access.roles import Action
from trilemma.analysis.format import BLANK, format_duration, format_figure, scale_for
from trilemma.effort import is_written
from trilemma.records import SAMPLE, RunRecord, StudyRecord
from trilemma.schema import Phase, RunState
from trilemma.store import Store
from trilemma.tryout.rounds import machine_taken

PHASE_NAMES = {
    Phase.IDLE: "Idle",
    Phase.LOAD: "Load",
    Phase.LOADED_IDLE: "Loaded, idle",
    Phase.WARMUP: "Warm-up",
    Phase.SPEED: "Speed",
    Phase.GENERATION: "Answers",
    Phase.PERFORMANCE: "Questions",
    Phase.UNLOAD: "Unload",
}
_TRACE_COLOUR = "#8A939E"
"""Neither an axis nor a model."""
_TRACES = 64
"""Of runs whose samples are held; more are measured at once by nobody."""

_LISTS = {
    "Waiting": (RunState.WAITING,),
    "Done": (RunState.DONE, RunState.DOES_NOT_FIT),
    "Failed": (RunState.FAILED, RunState.CANCELLED),
}


_EVERY_S = 3.0
_NOTHING = {"Waiting": "Nothing waits.", "Done": "Nothing is done yet.", "Failed": "Nothing failed."}


def page() -> None:
    """The page."""
    store = shared.get_store()
    shared.heading("queue")
    studies = [study for study in store.studies() if study.id != SAMPLE and not study.imported]
    if not studies:
        shared.empty_state(
            ":material/pending_actions:",
            "Nothing has been asked for yet",
            "Start a study, and its runs appear here: what is measured now, what waits, what is done, and what failed.",
            button="Start a study",
            to="new_study",
        )
        archive.upload()
        return
    study = _pick_study(studies)
    counts = _counts(store, study)
    _worker_notice(store)
    busy = counts.get(RunState.RUNNING, 0) > 0
    waiting = counts.get(RunState.WAITING, 0) > 0
    seen = _signature(store)
    # A fragment's interval is fixed when the page runs; the fragment runs the page again when it must change.
    # Each time takes some hundredths of a second of the CPU that is measured: not more often than somebody would look.
    entrance.fragment(_now, run_every=_EVERY_S if busy or waiting else None)(store, seen)
    _controls(store, study, counts)
    _lists(store, study, counts)
    with st.container(horizontal=True):
        if study is not None:
            archive.download(study)
            removal.deletion(store, study.id)
        archive.upload()


def _pick_study(studies: Sequence[StudyRecord]) -> StudyRecord | None:
    by_id = {study.id: study for study in studies}
    ids = ["", *by_id]
    wanted = shared.param("study")
    if st.session_state.get("study_choice") not in ids:  # it was deleted meanwhile
        st.session_state.pop("study_choice", None)
    # Not bound to the URL by Streamlit, which would write the label there instead of the id.
    choice = st.selectbox(
        "Study",
        ids,
        index=ids.index(wanted) if wanted in by_id else 0,
        key="study_choice",
        format_func=lambda id_: f"{by_id[id_].spec.name} ({by_id[id_].created_at:%Y-%m-%d %H:%M})" if id_ else "All",
        width=420,
    )
    shared.set_params("study", choice or None)
    return by_id.get(choice)


def _counts(store: Store, study: StudyRecord | None) -> dict[RunState, int]:
    if study is not None:
        return dict(study.runs_by_state)
    return store.run_counts()


def _signature(store: Store) -> tuple[object, ...]:
    """Changes whenever something outside the live part of the page must be drawn anew."""
    running = tuple((run.id, run.attempt) for run in store.runs(states=[RunState.RUNNING]))
    waiting = bool(store.runs(states=[RunState.WAITING], limit=1))
    return running, waiting, store.version(), store.queue_paused(), worker_missing(store)


def _worker_notice(store: Store) -> None:
    if worker_missing(store):
        text = "**Runs wait, but no worker is alive to measure them.** Start one in a terminal:"
        st.warning(text, icon=":material/bedtime:")
        st.code("trilemma worker", language="bash")
    if needed := for_a_cluster(store):
        st.warning(
            f"**Runs wait for what only a cluster has: {shared.plain('; '.join(needed))}.** Name one with "
            "`TRILEMMA_RAY_ADDRESS` (see docs/cluster.md), or cancel them.",
            icon=":material/lan:",
        )
    no_machine_notice(store)


def _now(store: Store, seen: tuple[object, ...]) -> None:
    with shared.errors_shown():
        if _signature(store) != seen:
            st.rerun()
        running = store.runs(states=[RunState.RUNNING])
        for run in running:
            _current(store, run)
        if not running:
            paused = store.queue_paused()
            text = "The queue is paused." if paused else "Nothing is being measured at this moment."
            if not paused and machine_taken() and store.runs(states=[RunState.WAITING], limit=1):
                text = "A try-out on Compare has the machine; the next run begins when its answer is written."
            st.markdown(f"### :gray[:material/{'pause' if paused else 'bedtime'}:] {text}")


def _current(store: Store, run: RunRecord) -> None:
    name = labels(store, [run])[run.id]
    head = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    head.markdown(f"## {shared.plain(name)}", width="content")
    with head:
        if store.cancel_requested(run.id):
            st.markdown(":gray[Being cancelled]", width="content")
        elif entrance.may(Action.CANCEL_RUN, run.created_by) and st.button(
            "Cancel this run", key=f"stop_{run.id}", icon=":material/close:"
        ):
            with entrance.guard().doing(Action.CANCEL_RUN, run.id) as changed:
                changed.request_cancel(run.id)
            st.rerun()
    st.caption(shared.plain(describe(run)))
    _steps(run)
    left = f"{format_duration(run.remaining_s)} left" if run.remaining_s is not None else "time left not known yet"
    st.progress(run.progress, text=f"{run.progress:.0%}, {left}" + (f": {shared.plain(run.note)}" if run.note else ""))
    trace = _trace(store, run)
    gauges = [("Memory held", trace.memory_bytes(), "B")]
    if on_gpus := trace.gpu_memory_bytes():
        gauges.append(("GPU memory held", on_gpus, "B"))
    gauges.append(("Power, modelled" if trace.modelled else "Power, measured", trace.power_w(), "W"))
    for column, gauge in zip(st.columns(len(gauges), gap="large"), gauges, strict=True):
        with column:
            _gauge(*gauge)
    shared.link("run", "Open this run", {"id": run.id}, icon=":material/query_stats:")


def _steps(run: RunRecord) -> None:
    """The phases in a row: behind us, now, ahead."""
    phases = [phase for phase in Phase if _has(run, phase)]
    now = phases.index(run.phase) if run.phase in phases else -1
    with st.container(horizontal=True, gap="small"):
        for index, phase in enumerate(phases):
            name = PHASE_NAMES[phase]
            if index == now:
                st.markdown(f"**:material/radio_button_checked: {name}**", width="content", wrap=False)
            else:
                icon = "check_circle" if index < now else "radio_button_unchecked"
                st.markdown(f":gray[:material/{icon}: {name}]", width="content", wrap=False)


def _has(run: RunRecord, phase: Phase) -> bool:
    """Whether a run of its kind goes through a phase."""
    if phase in (Phase.WARMUP, Phase.SPEED):
        return bool(run.spec.workloads)
    if phase is Phase.GENERATION:
        return any(is_written(suite.name) for suite in run.spec.suites)
    return phase is not Phase.PERFORMANCE or bool(run.spec.suites)


def _trace(store: Store, run: RunRecord) -> LiveTrace:
    # Several run at once where there are several machines.
    traces: dict[str, LiveTrace] = st.session_state.setdefault("live_traces", {})
    trace = traces.get(run.id)
    if trace is None or trace.attempt != run.attempt:
        while len(traces) >= _TRACES:
            del traces[next(iter(traces))]
        trace = traces[run.id] = LiveTrace(run.id, run.attempt)
    trace.feed(store.samples(run.id, after_ns=trace.last_ns))
    return trace


def _gauge(label: str, values: list[float], unit: str) -> None:
    """The present value, large, over the last two minutes of it; the scale begins at zero."""
    st.metric(label, format_figure(values[-1], unit) if values else BLANK)
    scale = scale_for(values, unit)
    seconds = range(1 - len(values), 1)
    frame = pd.DataFrame({"seconds": list(seconds), scale.unit: [scale.show(value) for value in values]})
    st.area_chart(frame, x="seconds", y=scale.unit, x_label="seconds from now", color=_TRACE_COLOUR, height=150)


def _controls(store: Store, study: StudyRecord | None, counts: dict[RunState, int]) -> None:
    open_runs = counts.get(RunState.WAITING, 0) + counts.get(RunState.RUNNING, 0)
    with st.container(horizontal=True):
        if store.queue_paused():
            if entrance.may(Action.RESUME) and st.button(
                "Resume the queue", icon=":material/play_arrow:", type="primary"
            ):
                with entrance.guard().doing(Action.RESUME) as changed:
                    changed.resume_queue()
                st.rerun()
        elif entrance.may(Action.PAUSE) and open_runs and st.button(
            "Pause the queue", icon=":material/pause:", help="The current run is finished; no other is begun."
        ):  # fmt: skip
            with entrance.guard().doing(Action.PAUSE) as changed:
                changed.pause_queue()
            st.rerun()
        if study is not None and open_runs and entrance.may(Action.CANCEL_RUN, study.created_by):
            with st.popover("Cancel the study", icon=":material/cancel:"):
                st.markdown(f"{open_runs} runs of it are not measured then. What is done stays.")
                if st.button("Cancel what is left", type="primary"):
                    for run in store.runs(study.id, [RunState.WAITING, RunState.RUNNING]):
                        # Of a study that shares runs with another, somebody else may have asked for some.
                        if entrance.may(Action.CANCEL_RUN, run.created_by):
                            with entrance.guard().doing(Action.CANCEL_RUN, run.id) as changed:
                                changed.request_cancel(run.id)
                    st.rerun()


def _lists(store: Store, study: StudyRecord | None, counts: dict[RunState, int]) -> None:
    totals = {name: sum(counts.get(state, 0) for state in states) for name, states in _LISTS.items()}
    first = next((name for name in ("Waiting", "Failed", "Done") if totals[name]), "Waiting")
    row = st.container(horizontal=True, vertical_alignment="center")
    # Counts stand beside the choice: in its labels they would change under the user's finger.
    choice = row.segmented_control(
        "Runs",
        list(_LISTS),
        default=first,
        required=True,
        key="show",
        bind="query-params",
        label_visibility="collapsed",
    )
    row.caption(", ".join(f"{number:,} {name.lower()}" for name, number in totals.items()))
    states = _LISTS[choice or first]
    total = totals[choice or first]
    if not total:
        st.caption(_NOTHING[choice or first])
        return
    pages = -(-total // PAGE_SIZE)
    number = 1
    if pages > 1:
        number = st.number_input(
            f"Page, of {pages}", min_value=1, max_value=pages, key="page", bind=shared.bound("page"), width=140
        )
    newest_first = RunState.WAITING not in states
    runs = store.runs(study.id if study else None, states, limit=number * PAGE_SIZE, newest_first=newest_first)
    run_rows(store, runs[(number - 1) * PAGE_SIZE :])


if __name__ == "__main__":
    import app

    app.main()
