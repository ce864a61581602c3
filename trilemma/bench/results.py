"""From the evidence of a run to its measurements: one pure function, so that a figure can be computed again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from trilemma.bench.caveats import with_caveats
from trilemma.bench.efficiency import EnergyReading, file_measurements, memory_measurements, workload_measurements
from trilemma.bench.gpu_figures import gpu_memory_measurements, gpu_workload_measurements
from trilemma.bench.joint_figures import joint_measurements, task_energy
from trilemma.bench.speed import load_measurement, speed_measurements
from trilemma.bench.under_load import Load, load_of
from trilemma.meters.base import EnergyDomain
from trilemma.meters.gpu.steadiness import gpu_disturbances
from trilemma.meters.steadiness import disturbances
from trilemma.records import AnswerRecord, PhaseWindow, RequestRecord, Sample
from trilemma.schema import Artifact, Measurement, Method, Phase, Provenance, RunSpec, WorkloadSpec


@dataclass
class Evidence:
    """What a run left behind."""

    spec: RunSpec
    artifact: Artifact
    windows: dict[tuple[Phase, str], PhaseWindow] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    requests: list[RequestRecord] = field(default_factory=list)
    answers: list[AnswerRecord] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    domains: tuple[EnergyDomain, ...] = ()
    cores: int | None = None
    timed_traces: frozenset[str] = frozenset()
    """Traces, by their SHA-256, that say when requests come."""
    unmetered: str = ""
    """Why memory and CPU of what answered are not known; empty if they are."""
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that the run used."""


def summarise(evidence: Evidence) -> list[Measurement]:
    """Every figure that the evidence supports; what a failed run got to know is kept."""
    found = list(evidence.measurements)
    found += file_measurements(evidence.artifact)
    found += load_measurement(evidence.windows.get((Phase.LOAD, "")))
    if evidence.unmetered:
        found += [_blank("peak_memory_bytes", "", evidence.unmetered)]
    else:
        found += memory_measurements(evidence.samples, evidence.windows, found)
        found += gpu_memory_measurements(evidence.samples, evidence.windows, evidence.gpus, found)
    energy = EnergyReading(evidence.samples, evidence.windows, evidence.domains, evidence.spec.energy)
    found += energy.idle_measurements()
    by_workload: defaultdict[str, list[RequestRecord]] = defaultdict(list)
    for request in evidence.requests:
        by_workload[request.workload].append(request)
    levels = {level.subject: level for workload in evidence.spec.workloads for level in workload.levels()}
    suites = {suite.subject: suite for suite in evidence.spec.suites}
    for workload, requests in by_workload.items():
        spec, suite = levels.get(workload), suites.get(workload)
        load = load_of(spec, recorded=spec is not None and spec.trace in evidence.timed_traces)
        if suite is not None:
            load = Load(suite.concurrency)
            answers = [answer for answer in evidence.answers if answer.suite == suite.name]
            metered = None if evidence.unmetered and not evidence.domains else energy
            found += joint_measurements(suite, answers, requests, metered)
        found += speed_measurements(workload, requests, load)
        samples = [] if evidence.unmetered and not evidence.domains else evidence.samples
        used = workload_measurements(workload, requests, samples, energy, load)
        # Elsewhere somebody may read the energy, but nobody the CPU: none seen is not none used.
        found += [m for m in used if not (evidence.unmetered and m.figure == "cpu_cores")]
        found += gpu_workload_measurements(workload, requests, samples, evidence.gpus, load)
        if evidence.unmetered and not evidence.domains:
            found += [_blank("energy_per_token_j", workload, evidence.unmetered)]
        found = with_caveats(found, workload, requests, _asked_tokens(spec))
    return found


def with_task_energy(evidence: Evidence, answers: list[AnswerRecord]) -> list[AnswerRecord]:
    """``answers`` with the joules that each task took, where that can be told."""
    suites = {suite.name: suite for suite in evidence.spec.suites}
    if evidence.unmetered and not evidence.domains:
        return answers
    energy = EnergyReading(evidence.samples, evidence.windows, evidence.domains, evidence.spec.energy)
    requests = {(request.workload, request.index): request for request in evidence.requests}
    return [task_energy(answer, requests, suites[answer.suite], energy) for answer in answers]


def _asked_tokens(spec: WorkloadSpec | None) -> int | None:
    """How long every answer of the workload was to be; None where lengths differ."""
    return None if spec is None or spec.trace or spec.length_spread else spec.output_tokens


def _blank(figure: str, subject: str, reason: str) -> Measurement:
    provenance = Provenance(method=Method.MEASURED, source="nobody", valid=False, reasons=(reason,))
    return Measurement(figure=figure, subject=subject, value=None, provenance=provenance)


def disturbances_of(evidence: Evidence) -> tuple[str, ...]:
    """What others did to the machine, and heat to its GPUs, while anything was timed, in sentences."""
    windows = [w for (phase, _), w in evidence.windows.items() if phase in (Phase.SPEED, Phase.GENERATION)]
    idle = evidence.windows.get((Phase.IDLE, ""))
    of_gpus = gpu_disturbances(evidence.samples, windows, evidence.gpus, idle)
    return (*disturbances(evidence.samples, windows, evidence.cores), *of_gpus)
