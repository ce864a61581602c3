"""From a study to its runs: what is measured, in which order, and how long that should take."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from trilemma import registry
from trilemma.bench.run_log import log_path_of
from trilemma.effort import run_seconds
from trilemma.engines.base import AdaptingEngine, Engine, parse_settings
from trilemma.errors import StudyError, TrilemmaError
from trilemma.jobs.queue import interleave
from trilemma.needs import ANYWHERE, Needs
from trilemma.profiles import check_device
from trilemma.records import StudyRecord
from trilemma.schema import Artifact, Configuration, DeviceProfile, RunSpec, RunState, StudySpec, SuiteSpec
from trilemma.settings import get_settings
from trilemma.store import Store
from trilemma.store.kept import path_of
from trilemma.suites.options import parse_options


@dataclass(frozen=True)
class Estimate:
    """What a study will take. ``basis`` says what the time rests on."""

    runs: int
    reused: int
    seconds: float
    disk_bytes: int
    basis: str


def reference_of(artifact: Artifact, artifacts: Sequence[Artifact]) -> Artifact:
    """The same model at its highest precision: what divergence is taken against."""
    ladder = [a for a in artifacts if (a.model, a.format, a.kind) == (artifact.model, artifact.format, "model")]
    # Among equals in bits, the one that was not made from a quantized parent is nearer to the trained weights.
    return max([*ladder, artifact], key=lambda a: (a.bits_per_weight, not a.requantized, a.id))


def plan(spec: StudySpec, artifacts: Sequence[Artifact]) -> list[RunSpec]:
    """The runs of a study, repeats interleaved and shuffled; suites are asked in the first repeat only.

    Answers at temperature 0 do not vary between repeats, so asking again would cost minutes and tell nothing.

    Raises:
        StudyError: nothing to measure, an unknown artifact, a setting that the engine refuses, or a device that this
            machine cannot emulate.
    """
    if not spec.workloads and not spec.suites:
        raise StudyError("The study measures nothing.", "Choose at least one workload or suite.")
    by_id = {artifact.id: artifact for artifact in artifacts}
    versions = {each.id: _check(each, by_id) for each in spec.configurations}
    if len({configuration.id for configuration in spec.configurations}) < len(spec.configurations):
        raise StudyError("The same configuration is listed twice.", "Remove one; repeats are set for the whole study.")
    subjects = [level.subject for workload in spec.workloads for level in workload.levels()]
    if twice := next((subject for subject in subjects if subjects.count(subject) > 1), None):
        raise StudyError(
            f"Two workloads are both called {twice!r}, so that their figures could not be told apart.",
            "Leave one out, or measure them in two studies.",
        )
    _check_suites(spec.suites)
    places = _places(spec)
    repeats = spec.repeats if spec.workloads else 1
    runs = []
    for index, repeat in interleave(len(spec.configurations) * len(places), repeats, spec.seed):
        configuration, needs = spec.configurations[index // len(places)], places[index % len(places)]
        artifact = by_id[configuration.artifact_id]
        suites = spec.suites if repeat == 0 else ()
        wants_reference = any(suite.name == "divergence" for suite in suites)
        runs.append(
            RunSpec(
                configuration=configuration,
                workloads=spec.workloads,
                suites=suites,
                repeat=repeat,
                reference_id=reference_of(artifact, artifacts).id if wants_reference else None,
                energy=spec.energy,
                sample_hz=spec.sample_hz,
                idle_s=spec.idle_s,
                allow_shared_gpu=spec.allow_shared_gpu,
                engine_version=versions[configuration.id],
                device=get_settings().device,
                needs=_with_cores(needs, configuration.profile),
            )
        )
    return runs


def _places(spec: StudySpec) -> list[Needs]:
    """What the runs of each configuration ask of their machine: once, or once for each of the study's machines."""
    named = [spec.needs.model_copy(update={"machine": name}) for name in spec.machines] or [spec.needs]
    if len(set(named)) < len(named):
        raise StudyError("The same machine is listed twice.", "Remove one; repeats are set for the whole study.")
    settings = get_settings()
    elsewhere = [needs for needs in named if needs not in (ANYWHERE, Needs(machine=settings.machine))]
    if elsewhere and settings.executor_name == "local":
        raise StudyError(
            f"The study asks for {elsewhere[0].label}, but there is no cluster to find that in.",
            "Set TRILEMMA_RAY_ADDRESS to the HOST:PORT of one; docs/cluster.md says how to begin it.",
        )
    return named


def _with_cores(needs: Needs, device: DeviceProfile | None) -> Needs:
    """What is asked of a cluster's machine that emulates ``device``: fewer cores would be another device."""
    if device is None or device.cores is None or get_settings().executor_name == "local":
        return needs
    return needs.model_copy(update={"cpus": max(needs.cpus, device.cores)})


def _check_suites(suites: Sequence[SuiteSpec]) -> None:
    """Options are checked before anything is measured, as far as that can be done without the questions."""
    names = [suite.name for suite in suites]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise StudyError(
            f"The suite {twice!r} is asked twice, so that its answers could not be told apart.",
            "Leave one out, or ask them in two studies.",
        )
    for spec in suites:
        suite = registry.load("trilemma.suites", spec.name)
        options_type = getattr(suite, "options_type", None)
        if options_type is not None:
            parse_options(options_type, spec, suite.title)


def _check(configuration: Configuration, by_id: dict[str, Artifact]) -> str:
    """The engine's version, once the configuration is found to be one that it can run; empty if it is not here."""
    artifact = by_id.get(configuration.artifact_id)
    if artifact is None:
        raise StudyError(
            f"The catalog has no artifact {configuration.artifact_id[:12]}.", "Add it with `trilemma models add`."
        )
    if artifact.kind == "adapter":
        raise StudyError(
            f"{artifact.label} is an adapter, which cannot run by itself.",
            "Choose the model that it belongs to, and give the adapter to the configuration.",
        )
    try:
        engine: Engine = registry.load("trilemma.engines", configuration.engine)()
        parse_settings(engine.settings_type, configuration.settings)
        check_device(configuration, artifact, here=get_settings().executor_name == "local")
    except TrilemmaError as error:
        raise StudyError(f"{artifact.label} on {configuration.engine}: {error.message}", error.hint) from error
    if artifact.format not in engine.formats:
        raise StudyError(
            f"{configuration.engine} cannot run {artifact.format} weights ({artifact.label}).",
            f"It runs {', '.join(engine.formats)}.",
        )
    _check_adapter(configuration, engine, by_id)
    return engine.availability().version


def _check_adapter(configuration: Configuration, engine: Engine, by_id: dict[str, Artifact]) -> None:
    if configuration.adapter_id is None:
        return
    adapter = by_id.get(configuration.adapter_id)
    if adapter is None or adapter.kind != "adapter":
        raise StudyError(
            f"The catalog has no adapter {configuration.adapter_id[:12]}.", "Add it with `trilemma models add`."
        )
    formats = engine.adapter_formats if isinstance(engine, AdaptingEngine) else ()
    if adapter.format not in formats:
        raise StudyError(
            f"{configuration.engine} does not apply adapters in {adapter.format} ({adapter.label}).",
            "`trilemma models convert` makes a GGUF of a PEFT adapter, for llama.cpp.",
        )


def with_adapters(configurations: Sequence[Configuration], adapters: Sequence[Artifact]) -> tuple[Configuration, ...]:
    """Every configuration as it is, and once more with each adapter."""
    return (
        *configurations,
        *(one.model_copy(update={"adapter_id": adapter.id}) for adapter in adapters for one in configurations),
    )


def pace(store: Store, artifacts: Sequence[Artifact]) -> float | None:
    """How much longer this machine's last finished runs took than :func:`run_seconds` guesses; None without any."""
    by_id = {artifact.id: artifact for artifact in artifacts}
    done = store.runs(states=[RunState.DONE], limit=50, newest_first=True)
    done = [run for run in done if run.spec.device == get_settings().device]
    ratios = [
        (run.finished_at - run.started_at).total_seconds() / run_seconds(artifact, run.spec)
        for run in done
        if run.finished_at
        and run.started_at
        and run.finished_at > run.started_at  # else the clock was set
        and (artifact := by_id.get(run.spec.configuration.artifact_id))
    ]
    return median(ratios) if ratios else None


def estimate(spec: StudySpec, artifacts: Sequence[Artifact], store: Store | None = None) -> Estimate:
    """How many runs a study has, how many were measured before, and what the rest takes in time and disk.

    Raises:
        StudyError: as :func:`plan`.
    """
    runs = plan(spec, artifacts)
    by_id = {artifact.id: artifact for artifact in artifacts}
    known = store.reusable() if store else set()
    todo = [run for run in runs if run.fingerprint not in known]
    guess = sum(run_seconds(by_id[run.configuration.artifact_id], run) for run in todo)
    factor = pace(store, artifacts) if store else None
    answers = sum(suite.limit or 1000 for run in todo for suite in run.suites)
    requests = sum(workload.requests for run in todo for workload in run.workloads)
    return Estimate(
        runs=len(runs),
        reused=len(runs) - len(todo),
        seconds=guess * (factor or 1.0),
        disk_bytes=200_000 * len(todo) + 3_000 * answers + 6_000 * requests,
        basis="from this machine's earlier runs" if factor else "a first guess from the size of the weights",
    )


def submit(store: Store, spec: StudySpec) -> StudyRecord:
    """Put a study's runs into the queue; what was measured before is reused.

    Raises:
        StudyError: as :func:`plan`.
        StoreError: it cannot be written.
    """
    return store.add_study(spec, plan(spec, store.artifacts()))


def delete(store: Store, study_id: str, logs_dir: Path) -> int:
    """Delete a study and those of its runs that no other study has, with their logs; how many runs that were.

    Raises:
        NotFoundError: there is no such study.
        StoreError: one of those runs is running, or it is the sample study.
    """
    deleted = store.delete_study(study_id)
    for run_id in deleted:
        for path in (log_path_of(logs_dir, run_id), path_of(logs_dir, run_id)):
            # One that is left over tells nobody anything: no run has its name.
            with suppress(OSError):
                path.unlink(missing_ok=True)
    return len(deleted)
