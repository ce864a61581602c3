"""Run: can I trust this point? Every figure of one run, back to the raw samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import entrance, load_view, performance_view, run_view
from trilemma.analysis.format import BLANK, format_duration
from trilemma.analysis.load import load_curves
from trilemma.errors import NotFoundError
from trilemma.records import RunRecord, is_foreign
from trilemma.schema import RunState
from trilemma.store import Store

_STATE_ICONS = {
    RunState.WAITING: ":material/schedule:",
    RunState.RUNNING: ":material/play_circle:",
    RunState.DONE: ":material/check_circle:",
    RunState.FAILED: ":material/error:",
    RunState.CANCELLED: ":material/cancel:",
    RunState.DOES_NOT_FIT: ":material/block:",
}
_RECENT = 200
_LINKED = 4
"""So many other repeats are linked to."""


def page() -> None:
    """The page of the run that the URL names, or a list of recent runs."""
    store = shared.get_store()
    run_id = shared.param("id")
    if not run_id:
        _recent(store)
        return
    try:
        run = store.run(run_id)
    except NotFoundError as error:
        shared.heading("run")
        shared.show_error(error)
        shared.link("run", "Recent runs", icon=":material/list:")
        return
    label = _label(store, run)
    shared.heading("run")
    repeats = _repeats(store, run)
    _title(run, label, repeats)
    shared.sample_note(next(iter(run.study_ids), "none"))
    if run.imported:
        tool = str(run.engine_info.get("imported from", ""))
        st.caption(
            f":material/diamond: **Imported from {shared.plain(tool)}**: nothing of it was measured here. *Log* says "
            "what was left out, *Machine and settings* which file it was."
        )
    _state_banners(run)
    measurements = store.measurements(run.id)
    if measurements:
        run_view.headline(measurements, repeats[0] if repeats and not run.spec.suites else None)
    elif run.state.final:
        st.info("Nothing was measured before the run ended.", icon=":material/info:")
    samples, phases, requests = store.samples(run.id), store.phases(run.id), store.requests(run.id)
    if samples:
        st.subheader("What happened, second by second", anchor=False)
        run_view.traces(samples, phases)
    curves, answers = load_curves(measurements), store.answers(run.id)
    views: dict[str, Callable[[], None]] = {
        "Latency": lambda: run_view.latency_view(requests),
        **({"Load": lambda: load_view.run_view(curves, requests)} if curves or _loaded(run) else {}),
        "Requests": lambda: run_view.requests_view(requests),
        "Performance": lambda: performance_view.performance_view(measurements, answers),
        "Answers": lambda: run_view.answers_view(answers),
        "All figures": lambda: run_view.figures_table(measurements),
        "Machine and settings": lambda: run_view.machine_view(run),
        "Log": lambda: _log(run),
        "Raw data": lambda: _downloads(store, run),
    }
    for tab, show in zip(st.tabs([*views]), views.values(), strict=True):
        with tab:
            show()


def _log(run: RunRecord) -> None:
    st.code(run.log_tail or "The run left no log.", language=None, wrap_lines=True, height=360)


def _loaded(run: RunRecord) -> bool:
    """Whether several requests were in flight in any of its workloads."""
    return any(w.rate is not None or w.trace is not None or w.concurrency > 1 for w in run.spec.workloads)


def _label(store: Store, run: RunRecord) -> str:
    try:
        return store.artifact(run.spec.configuration.artifact_id).label
    except NotFoundError:
        return f"artifact {run.spec.configuration.artifact_id[:12]} (no longer in the catalog)"


def _repeats(store: Store, run: RunRecord) -> list[RunRecord]:
    """The other runs of the configuration that are done, of the newest study with this one; who was asked first."""
    study = next(iter(run.study_ids), None)
    if study is None:
        return []
    every = store.runs(study, states=[RunState.DONE], artifact_id=run.spec.configuration.artifact_id)
    others = [one for one in every if one.spec.configuration == run.spec.configuration and one.id != run.id]
    points = store.points_of([run.id, *(one.id for one in others)])  # on another machine it is no repeat
    others = [one for one in others if points.get(one.id) == points.get(run.id)]
    return sorted(others, key=lambda one: (not one.spec.suites, one.spec.repeat))


def _title(run: RunRecord, label: str, repeats: Sequence[RunRecord]) -> None:
    st.subheader(shared.plain(label), anchor=False)
    settings = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in run.spec.configuration.settings.items())
    took = None
    if run.started_at and run.finished_at:
        took = (run.finished_at - run.started_at).total_seconds()
    facts = [
        run.spec.configuration.engine,
        settings,
        f"emulated {device.label}" if (device := run.spec.configuration.profile) else "",
        f"repeat {run.spec.repeat + 1}",
        f"finished {_when(run.finished_at)}" if run.finished_at else "",
        f"took {format_duration(took)}" if took is not None else "",
    ]
    text = " · ".join(shared.plain(fact) for fact in facts if fact)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"{_STATE_ICONS[run.state]} {run.state.label} · {text}", width="content")
        if run.state is RunState.DONE:
            points = shared.get_store().points_of([run.id])
            params = {"point": points.get(run.id, run.spec.configuration.id)}
            if is_foreign(run.spec.device):
                params["study"] = run.study_ids[0]
            shared.link("explore", "See it among the others", params, icon=":material/scatter_plot:")
        with st.container(horizontal=True, gap="medium", key="run_links"):
            for other in repeats[:_LINKED]:
                shared.link("run", f"Repeat {other.spec.repeat + 1}", {"id": other.id}, icon=":material/repeat:")
            if run.rerun_of:
                shared.link("run", "The run that this one repeats", {"id": run.rerun_of}, icon=":material/history:")


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else BLANK


def _state_banners(run: RunRecord) -> None:
    """What a reader must know first: it failed, it was disturbed, it is not over."""
    if run.state in (RunState.FAILED, RunState.CANCELLED):
        st.error(f"**This run {run.state.value}.** {shared.plain(run.reason)}", icon=":material/error:")
        st.caption("What was measured until then is below; it is not in Explore.")
    if run.state is RunState.DOES_NOT_FIT:
        st.info(f"**A result, not a failure.** {shared.plain(run.reason)}", icon=":material/block:")
        st.caption("What was measured until then is below; Explore lists it under the chart.")
    elif run.spec.configuration.profile and run.state.final:
        st.caption(
            ":material/devices: Every figure here is emulated: cores, memory and context were limited to the device's, "
            "and nothing was made slower."
        )
    if run.disturbed:
        why = "\n".join(f"- {shared.plain(one)}" for one in run.disturbances)
        st.warning(
            "**Something disturbed the machine during this run.** Its speed and energy look worse than they are.\n\n"
            + why,
            icon=":material/warning:",
        )
    if not run.state.final:
        st.info(f"This run is {run.state.value}; figures appear when it is done.", icon=":material/hourglass_top:")
        shared.link("queue", "Watch it in the queue", icon=":material/pending_actions:")


def _downloads(store: Store, run: RunRecord) -> None:
    """Everything that is stored of the run, made when it is asked for."""

    def whole() -> str:
        document = {
            "run": run.model_dump(mode="json", exclude={"created_by"}),
            "measurements": [m.model_dump(mode="json") for m in store.measurements(run.id)],
            "phases": [p.model_dump(mode="json") for p in store.phases(run.id)],
            "requests": [r.model_dump(mode="json") for r in store.requests(run.id)],
            "answers": [a.model_dump(mode="json") for a in store.answers(run.id)],
            "samples": [s.model_dump(mode="json") for s in store.samples(run.id)],
        }
        return json.dumps(document, ensure_ascii=False)

    def samples() -> bytes:
        rows = [{"time_ns": s.time_ns, "phase": s.phase.value, **s.values} for s in store.samples(run.id)]
        return pd.DataFrame(rows).to_csv(index=False).encode()

    st.caption("Times are readings of one monotonic clock, in nanoseconds; bytes, joules and seconds are unscaled.")
    with st.container(horizontal=True):
        for label, data, name, mime in (
            ("Everything, JSON", entrance.later(whole), f"run-{run.id}.json", "application/json"),
            ("Samples, CSV", entrance.later(samples), f"run-{run.id}-samples.csv", "text/csv"),
        ):
            st.download_button(
                label, data=data, file_name=name, mime=mime, icon=":material/download:", on_click="ignore"
            )


def _recent(store: Store) -> None:
    """The latest runs, a row a run; picking one opens it."""
    shared.heading("run", "Pick a run to see every figure of it, back to the raw samples.")
    frame = store.run_frame()
    if frame.empty:
        shared.empty_state(
            ":material/query_stats:",
            "There is no run yet",
            "Here you will see every figure of one run with its definition and interval, what memory and power did "
            "second by second, and every question with its answer.",
            button="Set up a study",
            to="new_study",
        )
        return
    shared.sample_note()
    recent = frame.iloc[::-1].sort_values("finished_at", ascending=False, na_position="first", kind="stable")
    recent = recent.head(_RECENT).reset_index(drop=True)
    shown = pd.DataFrame(
        {
            "Run": recent["run_id"],
            "Model": recent["model"].fillna("no longer in the catalog"),
            "Quantization": recent["quantization"].fillna(""),
            "Engine": recent["engine"],
            "Repeat": recent["repeat"].astype(int) + 1,
            "State": recent["state"].str.replace("_", " "),
            "Note": [
                ", ".join(
                    [
                        *(["imported"] if imported else []),
                        *(["disturbed"] if disturbed else []),
                        *([f"emulated {device}"] if device else []),
                    ]
                )
                for imported, disturbed, device in zip(
                    recent["imported"], recent["disturbed"], recent["profile"], strict=True
                )
            ],
            "Finished, UTC": recent["finished_at"],
        }
    )
    event = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="single-row", key="run_recent",
        height="content" if len(shown) <= 20 else 720, alt="Recent runs",
        column_config={"Finished, UTC": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC")},
    )  # fmt: skip
    if len(frame) > _RECENT:
        st.caption(f"The latest {_RECENT} of {len(frame):,} runs; Explore shows all configurations.")
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(recent):
        shared.go("run", {"id": str(recent["run_id"].iloc[picked[0]])})


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()
