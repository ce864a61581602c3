"""New study: what shall we measure?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from pages import shared
from pages.parts import entrance
from pages.parts.choose_engine import choose_adapters, choose_engine
from pages.parts.choose_suites import choose_suites
from pages.parts.devices import choose_devices, choose_machines, foreseen, verdict_on
from pages.parts.grid import model_grid
from pages.parts.import_results import import_results
from pages.parts.load_form import load_form
from pages.parts.settings_form import settings_form
from trilemma.access.roles import Action
from trilemma.analysis.format import format_duration, format_figure
from trilemma.errors import TrilemmaError
from trilemma.profiles import on_devices
from trilemma.schema import Artifact, Configuration, EnergyCoefficients, StudySpec, SuiteSpec, WorkloadSpec
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.study import Estimate, estimate, submit, with_adapters
from trilemma.workloads import PROMPT_SETS


def page() -> None:
    """The page."""
    shared.heading("new_study")
    guard = entrance.guard()
    guard.require(Action.SUBMIT)
    store = guard.store
    artifacts = store.artifacts()
    if not artifacts:
        shared.empty_state(
            ":material/deployed_code:",
            "There is no model to measure yet",
            "Add one from an installed package, a folder or the hub; then choose here what is measured, and how.",
            button="Add a model",
            to="models",
        )
        import_results()
        return
    _step(1, "Models and quantizations")
    chosen = model_grid(artifacts)
    configurations, valid = _configurations(chosen, [a for a in artifacts if a.kind == "adapter"])
    machines = choose_machines(store)
    workloads, loads_valid = _workloads()
    suites, suites_valid = _suites()
    repeats, energy, name = _study_wide()
    import_results()
    problem = _missing(chosen, workloads, suites)
    with st.bottom:
        if problem or not (valid and loads_valid and suites_valid):
            _summary(problem or "A setting needs mending: see the red line beside it.")
            return
        spec = StudySpec(
            name=name,
            configurations=tuple(configurations),
            workloads=tuple(workloads),
            suites=tuple(suites),
            repeats=repeats,
            energy=energy,
            sample_hz=get_settings().sample_hz,
            idle_s=get_settings().idle_s,
            allow_shared_gpu=get_settings().allow_shared_gpu,
            machines=machines,
        )
        try:
            _offer(store, spec, estimate(spec, artifacts, store))
        except TrilemmaError as error:
            _summary(str(error))


def _step(number: int, title: str) -> None:
    st.subheader(f":gray[{number}]  {title}", anchor=False)


def _problem(text: str) -> None:
    st.caption(f":red[:material/error: {shared.plain(text)}]")


def _configurations(chosen: Sequence[Artifact], adapters: Sequence[Artifact]) -> tuple[list[Configuration], bool]:
    _step(2, "Engine, settings and device")
    name, engine, available = choose_engine(chosen)
    st.caption("Leave a setting empty for the engine's default. Several values of one setting are all measured.")
    combinations, valid = settings_form(engine.settings_type, "s")
    devices = choose_devices()
    here = [
        Configuration(artifact_id=artifact.id, engine=str(name), settings=settings)
        for artifact in chosen
        for settings in (combinations if valid else [])
    ]
    by_id = {artifact.id: artifact for artifact in chosen}
    configurations = on_devices(with_adapters(here, choose_adapters(engine, adapters)), devices, chosen)
    verdicts = [verdict_on(engine, by_id[one.artifact_id], one) for one in configurations]
    refused = list(dict.fromkeys(one.refused for one in verdicts if one.refused))
    for text in refused:
        _problem(text)
    foreseen(verdicts)
    return list(configurations), valid and available and not refused


def _workloads() -> tuple[list[WorkloadSpec], bool]:
    _step(3, "Workload")
    st.caption("Every configuration answers the same requests, of exactly these lengths.")
    fit = st.checkbox(
        "Cut prompts to the context", key="w_fit", bind="query-params",
        help="A prompt that is longer than a configuration's context loses its beginning, so that a sweep over "
        "contexts shows what reading less saves. Otherwise such a run fails.",
    )  # fmt: skip
    chosen, valid = [], True
    for name, case in PROMPT_SETS.items():
        usual = case.defaults()
        wanted = st.checkbox(
            case.title, value=name == "short_chat", key=f"w_{name}", bind="query-params", help=case.description
        )
        if not wanted:
            continue
        prompt, output, requests, users = st.columns(4)
        fields = {
            "prompt_tokens": _number(prompt, "Prompt, tokens", f"w_{name}_in", usual.prompt_tokens, 1),
            "output_tokens": _number(output, "Answer, tokens", f"w_{name}_out", usual.output_tokens, 2),
            "requests": _number(requests, "Requests", f"w_{name}_n", usual.requests, 1),
            "fit_context": fit,
            "concurrency": _number(users, "Users at once", f"w_{name}_users", usual.concurrency, 1, 256),
        }
        loaded, problem = load_form(name)
        valid = valid and not problem
        chosen.append(usual.model_copy(update=fields | loaded))
    return chosen, valid


def _number(where: Any, label: str, key: str, value: int, least: int, most: int = 1_000_000) -> int:
    """A whole number; an emptied field counts as the value that was offered."""
    given = where.number_input(
        label,
        min_value=least,
        max_value=most,
        value=value,
        step=1,
        key=key,
        bind=shared.bound(key),
        placeholder=str(value),
    )
    return value if given is None else int(given)


def _suites() -> tuple[list[SuiteSpec], bool]:
    _step(4, "Questions")
    st.caption("The same items go to every configuration. They are asked once: the answers do not vary.")
    return choose_suites(int(st.session_state.get("seed", 0)))


def _study_wide() -> tuple[int, EnergyCoefficients, str]:
    _step(5, "Repeats, energy and name")
    settings = get_settings()
    left, right = st.columns(2)
    repeats = _number(left, "Repeats of speed and energy", "repeats", 2, 1, 100)
    name = right.text_input(
        "Name",
        key="name",
        bind="query-params",
        max_chars=120,
        placeholder=f"Study of {datetime.now().astimezone():%d %B}",
        help="How you will find the study again; left empty, it is named after today.",
    )
    with st.expander("Modelled energy, and which items are drawn"):
        st.caption(
            "Used where the machine has no energy counter: CPU-seconds x watts per busy core + memory held x watts "
            "per GB. Figures made this way are shown hollow, as modelled."
        )
        core, memory, drawn = st.columns(3)
        watts_core = core.number_input(
            "Watts per busy core", min_value=0.0, value=settings.watts_per_busy_core, key="w_core", bind="query-params"
        )
        watts_gb = memory.number_input(
            "Watts per GB of memory",
            min_value=0.0,
            value=settings.watts_per_gb,
            format="%.4f",
            step=0.01,
            key="w_gb",
            bind="query-params",
        )
        _number(drawn, "Seed of the items", "seed", 0, 0)
    energy = EnergyCoefficients(watts_per_busy_core=watts_core or 0.0, watts_per_gb=watts_gb or 0.0)
    return repeats, energy, name.strip() or f"Study of {datetime.now().astimezone():%d %B}"


def _missing(chosen: Sequence[Artifact], workloads: Sequence[WorkloadSpec], suites: Sequence[SuiteSpec]) -> str:
    if not chosen:
        return "Choose at least one quantization of a model in step 1."
    if not workloads and not suites:
        return "Choose a workload in step 3 or a set of questions in step 4."
    return ""


def _summary(text: str, button: str = "") -> bool:
    """The line at the foot of the page and its button; whether the button was pressed."""
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    row.markdown(text if button else f":gray[{shared.plain(text)}]", width="content")
    return bool(row.button(button or "Measure", type="primary", disabled=not button, key="measure"))


def _about(seconds: float) -> str:
    """A guess is not known to the second."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    return format_duration(round(seconds / 60) * 60)


def _offer(store: Store, spec: StudySpec, cost: Estimate) -> None:
    todo = cost.runs - cost.reused
    runs = f"{todo} run{'s' if todo != 1 else ''}"
    if todo:
        text = f"**{runs}**, about **{_about(cost.seconds)}**, {format_figure(cost.disk_bytes, 'B')} of disk"
        if cost.reused:
            text += f" :gray[({cost.reused} of {cost.runs} are measured already and reused)]"
        text += f"  \n:small[:gray[Time: {cost.basis}.]]"
        button = f"Measure {runs}"
    else:
        text, button = f"All {cost.runs} runs are measured already.", "Keep as a study"
    if _summary(text, button):
        with entrance.guard().doing(Action.SUBMIT, spec.name, spec=spec) as changed:
            record = submit(changed, spec)
        shared.go("queue", {"study": record.id})


if __name__ == "__main__":
    import app

    app.main()
