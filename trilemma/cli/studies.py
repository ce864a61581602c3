"""``trilemma study | studies | run | export``: what is to be measured, and what came of it as files."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from trilemma.access.guard import Guard
from trilemma.access.identity import at_terminal
from trilemma.access.roles import Action
from trilemma.access.rules import Rules
from trilemma.analysis.format import format_duration, format_figure
from trilemma.cli import parse
from trilemma.cli.base import Json, acting, age_text, emit_json, err, out, plain, session, table, whole_session
from trilemma.cli.queue import find_study
from trilemma.cli.show import print_run, run_document
from trilemma.errors import RunError, StudyError
from trilemma.interop.writing import SUFFIXES, export_runs
from trilemma.jobs.crew import work
from trilemma.profiles import NO_DEVICE, find_profile
from trilemma.progress import following
from trilemma.schema import EnergyCoefficients, RunSpec, RunState, StudySpec
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.store.export import SUFFIXES as FORMATS
from trilemma.store.export import Format, export_study
from trilemma.study import Estimate, estimate, plan, submit

Models = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="An artifact: its id, the id's beginning, or its label.")
]
Engine = Annotated[str, typer.Option("--engine", help="What runs it.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="An engine setting, key=value; several values are swept.")
]
Workloads = Annotated[
    list[str] | None,
    typer.Option("--workload", "-w", help="A use case, such as short_chat or short_chat:requests=4,output_tokens=32."),
]
Suites = Annotated[
    list[str] | None, typer.Option("--suite", "-q", help="Questions, such as hellaswag:100 or perplexity:limit=20.")
]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", help="A device profile to emulate, or 'this machine'; `trilemma profiles` lists them."),
]
Adapters = Annotated[
    list[str] | None, typer.Option("--adapter", help="A LoRA adapter: measured beside the model without it.")
]
Machines = Annotated[
    list[str] | None, typer.Option("--machine", help="A machine of the cluster; several measure the same and compare.")
]
Repeats = Annotated[int, typer.Option(min=1, max=100, help="How often speed and energy are measured.")]


def study(
    file: Annotated[Path | None, typer.Argument(help="A study as TOML or JSON, instead of options.")] = None,
    name: Annotated[str, typer.Option(help="What the study is called.")] = "study",
    models: Models = None,
    engine: Engine = "llama.cpp",
    set_: Set = None,
    workloads: Workloads = None,
    suites: Suites = None,
    repeats: Repeats = 2,
    devices: Devices = None,
    adapters: Adapters = None,
    machines: Machines = None,
    gpus: Annotated[int, typer.Option(min=0, max=1024, help="GPUs that each run has to itself.")] = 0,
    gpu_type: Annotated[str, typer.Option(help="Their type as Ray names it, such as A100.")] = "",
    seed: Annotated[int, typer.Option(help="Decides the order of the runs.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs and how long they take; queue nothing.")
    ] = False,
    json_: Json = False,
) -> None:
    """Queue a study: models x settings x repeats, each under the workloads and asked the suites."""
    with acting() as (settings, guard):
        store = guard.store
        if file is not None:
            if models or set_ or workloads or suites or devices or adapters or machines or gpus or gpu_type:
                raise typer.BadParameter("A file describes the whole study: leave the other options out.")
            spec = parse.study_file(file, store.find_artifact, partial(find_profile, home=settings.home))
        else:
            spec = _spec(
                store, settings, name, models or [], engine, set_ or [], workloads or [], suites or [], devices or [],
                adapters or [], repeats,
            )  # fmt: skip
            spec = parse.placed(spec.model_copy(update={"seed": seed}), machines or [], gpus, gpu_type)
        runs = plan(spec, store.artifacts())
        expected = estimate(spec, store.artifacts(), store)
        if dry_run:
            _print_plan(store, spec, runs, expected, as_json=json_)
            return
        with guard.doing(Action.SUBMIT, spec.name, spec=spec) as changed:
            record = submit(changed, spec)
        if json_:
            emit_json({"study": record, "estimate": vars(expected), "runs": store.runs(study_id=record.id)})
            return
    out.print(plain(f"Study {record.id[:12]} ({spec.name}): {_expectation(expected)}"))
    out.print("`trilemma serve` measures and shows it; `trilemma worker` measures without a dashboard.")


def _spec(
    store: Store,
    settings: Settings,
    name: str,
    models: list[str],
    engine: str,
    set_: list[str],
    workloads: list[str],
    suites: list[str],
    devices: list[str],
    adapters: list[str],
    repeats: int,
) -> StudySpec:
    if not models:
        raise StudyError("No model is chosen.", "Name one with --model; `trilemma models` lists what there is.")
    emulated = parse.devices_of(devices, partial(find_profile, home=settings.home))
    swept = parse.typed_settings(set_)
    return StudySpec(
        name=name,
        configurations=parse.configurations(models, engine, swept, store.find_artifact, emulated, adapters),
        workloads=tuple(map(parse.workload, workloads)),
        suites=tuple(map(parse.suite, suites)),
        repeats=repeats,
        energy=EnergyCoefficients(watts_per_busy_core=settings.watts_per_busy_core, watts_per_gb=settings.watts_per_gb),
        sample_hz=settings.sample_hz,
        idle_s=settings.idle_s,
        allow_shared_gpu=settings.allow_shared_gpu,
    )


def _expectation(expected: Estimate) -> str:
    todo = expected.runs - expected.reused
    reused = f", {expected.reused} measured or queued before" if expected.reused else ""
    return (
        f"{todo} run{'' if todo == 1 else 's'} to measure{reused}; about {format_duration(expected.seconds)} "
        f"({expected.basis}) and {format_figure(expected.disk_bytes, 'B')} of disk"
    )


def _print_plan(store: Store, spec: StudySpec, runs: list[RunSpec], expected: Estimate, *, as_json: bool) -> None:
    if as_json:
        emit_json({"study": spec, "estimate": vars(expected), "runs": runs})
        return
    labels = {artifact.id: artifact.label for artifact in store.artifacts()}
    placed = any(run.needs.label for run in runs)
    columns = ("#", "configuration", "settings", "repeat", "workloads", "suites", *(("needs",) if placed else ()))
    shown = table(*columns, right=("#", "repeat"))
    for number, run in enumerate(runs, 1):
        settings = ", ".join(f"{key}={value}" for key, value in run.configuration.settings.items()) or "default"
        if run.configuration.profile:
            settings += f", emulated {run.configuration.profile.name}"
        shown.add_row(
            str(number),
            plain(labels.get(run.configuration.artifact_id, run.configuration.artifact_id[:12])),
            plain(settings),
            str(run.repeat + 1),
            ", ".join(workload.name for workload in run.workloads),
            ", ".join(suite.name for suite in run.suites),
            *([plain(run.needs.label)] if placed else []),
        )
    out.print(shown)
    out.print(f"Nothing is queued. {_expectation(expected)}.")


def listing(json_: Json = False) -> None:
    """List the studies, newest first."""
    with session() as (_, store):
        records = store.studies()
    if json_:
        emit_json(records)
        return
    if not records:
        out.print("There are no studies. `trilemma study --help` says how to make one.")
        return
    shown = table("study", "name", "configurations", "runs", "made", right=("configurations",))
    for record in records:
        states = ", ".join(f"{count} {state.label}" for state, count in record.runs_by_state.items())
        shown.add_row(
            record.id[:12],
            plain(record.spec.name),
            str(len(record.spec.configurations)),
            states,
            age_text(record.created_at),
        )
    out.print(shown)


def run(
    artifact: Annotated[str, typer.Argument(help="The id of an artifact, the id's beginning, or its label.")],
    engine: Engine = "llama.cpp",
    set_: Set = None,
    workloads: Workloads = None,
    suites: Suites = None,
    device: Annotated[str, typer.Option(help="A device profile to emulate.")] = NO_DEVICE,
    name: Annotated[str, typer.Option(help="What its study is called.")] = "run",
    json_: Json = False,
) -> None:
    """Measure one configuration now, in the foreground, and show its figures."""
    if not workloads and not suites:
        workloads = ["short_chat"]
    with whole_session() as (settings, store):
        spec = _spec(
            store, settings, name, [artifact], engine, set_ or [], workloads or [], suites or [], [device], [], 1
        )
        if len(spec.configurations) > 1:
            raise StudyError("`trilemma run` measures one configuration.", "Use `trilemma study` to sweep settings.")
        with Guard(store, at_terminal(), Rules(), settings).doing(Action.SUBMIT, spec.name, spec=spec) as changed:
            record = submit(changed, spec)
        wanted = store.runs(study_id=record.id)[-1]
        if wanted.state.verdict:
            err.print("This was measured before; its figures are shown.")
        else:
            _measure(store, settings, record.id, wanted.id)
        done = max(store.runs(study_id=record.id), key=lambda entry: entry.created_at)
        measurements = store.measurements(done.id)
        label = store.artifact(done.spec.configuration.artifact_id)
    if json_:
        emit_json(run_document(done, measurements))
    else:
        print_run(done, measurements, label)
    if not done.state.verdict:
        raise RunError(f"The run is {done.state.label}. {done.reason}".strip(), f"See `trilemma show {done.id[:12]}`.")


def _measure(store: Store, settings: Settings, study_id: str, run_id: str) -> None:
    """Work through the queue in this process until the study's runs are finished, or ctrl-C.

    Raises:
        StudyError: the queue is paused.
        RunError: it was interrupted; the run is then cancelled.
    """
    if store.queue_paused():
        raise StudyError("The queue is paused.", "`trilemma queue resume` goes on with it.")
    before = [run for run in store.runs(states=[RunState.WAITING, RunState.RUNNING]) if run.id != run_id]
    if before:
        err.print(f"Runs queued before it ({len(before)}) are measured first.")
    finished = threading.Event()
    with following(store, study_id, err, finished):
        work(store, settings, finished, drain=True)
    if not store.run(run_id).state.final:
        with Guard(store, at_terminal(), Rules(), settings).doing(Action.CANCEL_RUN, run_id) as changed:
            changed.request_cancel(run_id)
        raise RunError("Stopped; the run is cancelled.", f"`trilemma queue retry {run_id}` queues it again.")


def export(
    study: Annotated[str, typer.Argument(help="Id of the study, the id's beginning, or its name.")],
    path: Annotated[
        Path, typer.Argument(help="A new folder or .zip of everything; or .jsonl, .csv, .parquet for figures alone.")
    ],
    format_: Annotated[Format | None, typer.Option("--format", help="Of the tables in a folder or archive.")] = None,
    json_: Json = False,
) -> None:
    """Write a study's runs, figures, samples, requests and answers as files, or its figures as one file."""
    single = path.suffix.lower() in SUFFIXES
    if single and format_ is not None and path.suffix.lower() != f".{FORMATS[format_]}":
        raise typer.BadParameter(f"{path.name} is one file, and its name says another format.", param_hint="--format")
    with session() as (_, store):
        record = find_study(store, study)
        written = (
            export_runs(store, record.id, path) if single else export_study(store, record.id, path, format_ or "csv")
        )
    unfit = record.runs_by_state.get(RunState.DOES_NOT_FIT, 0) if single else 0
    if json_:
        emit_json({"study": record.id, "path": str(written), "runs_left_out": unfit})
        return
    out.print(plain(f"Wrote {written}."))
    if unfit:
        err.print(f"Runs that did not fit are not in it: {unfit}. An export to a folder has them.")
