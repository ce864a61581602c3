"""The vocabulary: models, artifacts, configurations, workloads, suites, studies, runs, samples and measurements.

Pydantic models without I/O, so that every part of the program and every file it writes speak of the same things.
Times inside a run are ``time.perf_counter_ns`` readings (one clock for every process of a machine); times at its edges
are UTC.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ByteSize, ConfigDict, Field, JsonValue

from trilemma.base import Frozen as Frozen
from trilemma.base import content_id as content_id
from trilemma.base import utc_now as utc_now
from trilemma.needs import MachineName
from trilemma.needs import Needs as Needs
from trilemma.workload import LatencyLimits as LatencyLimits
from trilemma.workload import WorkloadSpec as WorkloadSpec


class Axis(StrEnum):
    """The three things that are traded."""

    EFFICIENCY = "efficiency"
    SPEED = "speed"
    PERFORMANCE = "performance"


class Method(StrEnum):
    """How a figure came to be."""

    MEASURED = "measured"
    MODELLED = "modelled"
    IMPORTED = "imported"


class Phase(StrEnum):
    """The phases of a run, in order."""

    IDLE = "idle"
    LOAD = "load"
    LOADED_IDLE = "loaded_idle"
    WARMUP = "warmup"
    SPEED = "speed"
    GENERATION = "generation"
    """Answers that will be scored are written, timed and metered."""
    PERFORMANCE = "performance"
    UNLOAD = "unload"


class RunState(StrEnum):
    """Where a run is in its life."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DOES_NOT_FIT = "does_not_fit"
    """It takes more memory than the device that it was measured for has: a result, like DONE, and no failure."""

    @property
    def label(self) -> str:
        """As people read it."""
        return self.value.replace("_", " ")

    @property
    def verdict(self) -> bool:
        """Whether the run ended with a result, which is reused, and not for want of one."""
        return self in (RunState.DONE, RunState.DOES_NOT_FIT)

    @property
    def final(self) -> bool:
        """Whether the run will not change by itself any more."""
        return self not in (RunState.WAITING, RunState.RUNNING)


class Relation(StrEnum):
    """How an artifact came out of another."""

    QUANTIZED = "quantized"
    CONVERTED = "converted"
    DISTILLED = "distilled"
    PRUNED = "pruned"
    FINETUNED = "finetuned"
    MERGED = "merged"
    ADAPTER = "adapter"


class Derivation(Frozen):
    """What an artifact derives from and how.

    ``parent_id`` is set when the parent is in the catalog, ``parent_name`` always (a hub repository or a model).
    ``stated_by`` says who says so: ``quantise``, ``hub card`` or ``user``.
    """

    relation: Relation
    parent_name: str
    parent_id: str | None = None
    stated_by: str = "user"


class Artifact(Frozen):
    """One concrete file or folder of weights, keyed by the SHA-256 of its content.

    An endpoint is an artifact too, keyed by its address and the model's name there: its weights are somebody else's.
    """

    id: str = Field(pattern=r"^[0-9a-f]{64}$")
    path: str
    format: Literal["gguf", "safetensors", "endpoint"] = "gguf"
    kind: Literal["model", "adapter"] = Field(default="model", description="An adapter (LoRA) goes with a base model.")
    model: str = Field(description="The trained weights that this is a form of, such as SmolLM2-135M-Instruct.")
    quantization: str = Field(description="F16, Q8_0, Q4_K_M, AWQ ...")
    architecture: str = ""
    parameters: int = 0
    context_length: int = 0
    size_bytes: int
    bits_per_weight: float = 0.0
    chat_template: str | None = None
    licence: str | None = None
    source: str = Field(description="folder, package:<name>, hub:<repo>, quantise or convert")
    derivations: tuple[Derivation, ...] = ()
    requantized: bool = Field(default=False, description="Made from an already quantized parent.")
    adapter_rank: int = Field(default=0, ge=0, description="Rank of a LoRA adapter.")
    added_at: datetime = Field(default_factory=utc_now)

    @property
    def label(self) -> str:
        """Model and quantization, as shown to people."""
        return f"{self.model} {self.quantization}"


class DeviceProfile(Frozen):
    """A smaller machine's budget that a configuration runs under; figures made so are *emulated*."""

    name: str = Field(max_length=60, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    cores: int | None = Field(default=None, ge=1, le=4096, description="CPUs that the measured processes may use.")
    memory_bytes: int | None = Field(default=None, ge=1, lt=1 << 53, description="Memory that they may hold together.")
    context: int | None = Field(default=None, ge=8, le=1 << 31, description="The longest context, tokens.")

    @property
    def label(self) -> str:
        """Its name and limits: ``phone, 2 cores, 2.5 GiB, context 2048``."""
        parts = [self.name]
        if self.cores is not None:
            parts.append(f"{self.cores} core{'' if self.cores == 1 else 's'}")
        if self.memory_bytes is not None:
            parts.append(ByteSize(self.memory_bytes).human_readable(separator=" "))
        if self.context is not None:
            parts.append(f"context {self.context}")
        return ", ".join(parts)


class Configuration(Frozen):
    """An artifact (with an adapter, if any), an engine, the engine's settings, and the device that is emulated."""

    artifact_id: str
    engine: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    adapter_id: str | None = Field(default=None, description="An artifact of kind adapter, applied to the model.")
    profile: DeviceProfile | None = Field(default=None, description="None for the machine as it is.")

    @property
    def id(self) -> str:
        """A hash of the content; what a configuration does without is not in it."""
        content = self.model_dump(mode="json")
        return content_id({name: value for name, value in content.items() if value is not None})


class StoppingRule(Frozen):
    """When a suite may end before its last item."""

    error: float = Field(default=0.05, gt=0, lt=1, description="Chance that its place among the others is wrong.")
    margin: float = Field(default=0.02, ge=0, le=1, description="Scores that differ by less count as equal.")
    width: float | None = Field(default=None, gt=0, le=1, description="Or when the score is known to within so much.")
    least: int = Field(default=20, ge=1, description="Items that are asked at any rate.")


class SuiteSpec(Frozen):
    """A suite and how many of its items are asked; the same items for every configuration."""

    name: str
    limit: int | None = Field(default=None, ge=1, le=10_000_000, description="How many items; None for all.")
    seed: int = 0
    concurrency: int = Field(default=1, ge=1, le=4096, description="Items whose answers are written at the same time.")
    stopping: StoppingRule | None = Field(default=None, description="None asks all items.")
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def subject(self) -> str:
        """What figures of its requests are about: the suite, its file if it has one, and how many are answered at once.

        Figures on one file are never taken for figures on another.
        """
        file = self.options.get("file")
        name = f"{self.name}:{file[:12]}" if isinstance(file, str) and file else self.name
        return name if self.concurrency == 1 else f"{name} x{self.concurrency}"


class EnergyCoefficients(Frozen):
    """What the modelled energy source multiplies busy cores and held memory with."""

    watts_per_busy_core: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    watts_per_gb: float = Field(default=0.3725, ge=0, allow_inf_nan=False)


class RunSpec(Frozen):
    """Everything that decides what one run measures."""

    configuration: Configuration
    workloads: tuple[WorkloadSpec, ...] = ()
    suites: tuple[SuiteSpec, ...] = ()
    repeat: int = Field(default=0, ge=0)
    reference_id: str | None = Field(default=None, description="The artifact that divergence is taken against.")
    energy: EnergyCoefficients = EnergyCoefficients()
    sample_hz: float = Field(default=10.0, gt=0, le=100)
    idle_s: float = Field(default=3.0, ge=0)
    stall_timeout_s: float = Field(default=600.0, gt=0, description="Fails when nothing happens for this long.")
    device: str = Field(default="local", description="Runs on one device never overlap.")
    allow_shared_gpu: bool = Field(default=False, description="Measure though others use the GPU; flagged if they do.")
    engine_version: str = Field(default="", description="Another version of the engine is another measurement.")
    needs: Needs = Field(
        default=Needs(), description="Of the machine; asked of another one, it is another measurement."
    )

    @property
    def fingerprint(self) -> str:
        """Equal for two runs that would measure the same thing; a finished one is reused.

        What has its default is left out, so that a field added later changes nothing for runs that do without it.
        """
        return content_id(self.model_dump(mode="json", exclude={"stall_timeout_s"}, exclude_defaults=True), 32)


class StudySpec(Frozen):
    """Configurations x workloads x suites x repeats."""

    model_config = ConfigDict(allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=120)
    configurations: tuple[Configuration, ...] = Field(min_length=1)
    workloads: tuple[WorkloadSpec, ...] = ()
    suites: tuple[SuiteSpec, ...] = ()
    repeats: int = Field(default=2, ge=1, le=100)
    seed: int = 0
    energy: EnergyCoefficients = EnergyCoefficients()
    sample_hz: float = Field(default=10.0, gt=0, le=100)
    idle_s: float = Field(default=3.0, ge=0)
    rerun_disturbed: bool = True
    allow_shared_gpu: bool = Field(default=False, description="Measure though others use the GPU; flagged if they do.")
    machines: tuple[MachineName, ...] = Field(default=(), description="Measured on each of these; empty: on any.")
    needs: Needs = Field(default=Needs(), description="What every run asks of its machine.")


class Provenance(Frozen):
    """Where a figure comes from and whether it may be believed."""

    method: Method
    source: str
    scope: str = ""
    idle_subtracted: bool | None = None
    window_s: float | None = None
    valid: bool = True
    reasons: tuple[str, ...] = Field(default=(), description="Why it is not valid, or what to know about it.")


class Measurement(Frozen):
    """A figure with its unit, its 95 % interval and its provenance; ``value`` is None where it cannot be known."""

    figure: str = Field(description="A name defined in trilemma.figures.")
    subject: str = Field(default="", description="The workload or suite it is about; empty for the whole run.")
    statistic: str = Field(default="", description="median, p95, mean ...; empty where the figure is one number.")
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    provenance: Provenance
    definition_version: int = 1

    @property
    def key(self) -> str:
        """``figure[.statistic][@subject]``, unique within a run."""
        return measurement_key(self.figure, self.subject, self.statistic)


def measurement_key(figure: str, subject: str = "", statistic: str = "") -> str:
    """``figure[.statistic][@subject]``."""
    return figure + (f".{statistic}" if statistic else "") + (f"@{subject}" if subject else "")


def split_key(key: str) -> tuple[str, str, str]:
    """The inverse of :func:`measurement_key`: figure, subject, statistic."""
    name, _, subject = key.partition("@")
    figure, _, statistic = name.partition(".")
    return figure, subject, statistic
