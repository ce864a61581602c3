"""From the evidence of a run to its measurements: one pure function, so that a figure can be computed again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from trilemma.bench.efficiency import EnergyReading, file_measurements, memory_measurements, workload_measurements
from trilemma.bench.gpu_figures import gpu_memory_measurements, gpu_workload_measurements
from trilemma.bench.speed import load_measurement, speed_measurements
from trilemma.meters.base import EnergyDomain
from trilemma.meters.gpu.steadiness import gpu_disturbances
from trilemma.meters.steadiness import disturbances
from trilemma.records import PhaseWindow, RequestRecord, Sample
from trilemma.schema import Artifact, Measurement, Phase, RunSpec


@dataclass
class Evidence:
    """What a run left behind."""

    spec: RunSpec
    artifact: Artifact
    windows: dict[tuple[Phase, str], PhaseWindow] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    requests: list[RequestRecord] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    domains: tuple[EnergyDomain, ...] = ()
    cores: int | None = None
    gpus: tuple[str, ...] = ()
    """Ids of the GPUs that the run used."""


def summarise(evidence: Evidence) -> list[Measurement]:
    """Every figure that the evidence supports; what a failed run got to know is kept."""
    found = list(evidence.measurements)
    found += file_measurements(evidence.artifact)
    found += load_measurement(evidence.windows.get((Phase.LOAD, "")))
    found += memory_measurements(evidence.samples, evidence.windows, found)
    found += gpu_memory_measurements(evidence.samples, evidence.windows, evidence.gpus, found)
    energy = EnergyReading(evidence.samples, evidence.windows, evidence.domains, evidence.spec.energy)
    found += energy.idle_measurements()
    by_workload: defaultdict[str, list[RequestRecord]] = defaultdict(list)
    for request in evidence.requests:
        by_workload[request.workload].append(request)
    users = {workload.subject: workload.concurrency for workload in evidence.spec.workloads}
    for workload, requests in by_workload.items():
        concurrency = users.get(workload, 1)
        found += speed_measurements(workload, requests, concurrency)
        found += workload_measurements(workload, requests, evidence.samples, energy, concurrency)
        found += gpu_workload_measurements(workload, requests, evidence.samples, evidence.gpus, concurrency)
    return found


def disturbances_of(evidence: Evidence) -> tuple[str, ...]:
    """What others did to the machine, and heat to its GPUs, while speed was measured, in sentences."""
    windows = [w for (phase, _), w in evidence.windows.items() if phase is Phase.SPEED]
    idle = evidence.windows.get((Phase.IDLE, ""))
    of_gpus = gpu_disturbances(evidence.samples, windows, evidence.gpus, idle)
    return (*disturbances(evidence.samples, windows, evidence.cores), *of_gpus)
