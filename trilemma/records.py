"""What the store keeps of studies and runs: their state, samples, requests and answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field, JsonValue

from trilemma.needs import EngineNeeds, Needs
from trilemma.schema import Artifact, Frozen, Measurement, Phase, RunSpec, RunState, StudySpec, utc_now

SAMPLE = "sample"
"""The id of the study that comes with the package, and the device that its runs name: no run of the user's own does."""

IMPORTED = "imported:"
"""What the devices of runs out of a file begin with, so that they are never taken for this machine's own."""

TOOL = "tool:"
"""What follows that where the file was another tool's, before the tool's name; no machine's device begins like this."""

OF_TOOL = f"{IMPORTED}{TOOL}"

IMPORTED_FROM = "imported_from"
"""The setting of every configuration out of another tool's file: the tool. So none is taken for one measured here."""


def is_foreign(device: str) -> bool:
    """Whether runs of this device were measured elsewhere: they came with the package, or in a file."""
    return device == SAMPLE or device.startswith(IMPORTED)


class StudyRecord(Frozen):
    """A study in the store, with how many of its runs are in each state."""

    id: str
    spec: StudySpec
    created_at: datetime
    created_by: str | None = Field(default=None, description="Who asked for it; None where that is not known.")
    runs_by_state: dict[RunState, int] = Field(default_factory=dict)

    @property
    def imported(self) -> bool:
        """Whether it came out of another tool's file, and was not measured here."""
        return any(IMPORTED_FROM in one.settings for one in self.spec.configurations)


class HostInfo(Frozen):
    """The machine that a run ran on, as far as it can be known without leaving it."""

    id: str = Field(description="A stable hash that names the machine without telling who owns it.")
    name: str = Field(default="", description="What its owner calls it in a cluster; empty outside of one.")
    system: str
    machine: str
    cpu: str
    cores: int = Field(description="Logical CPUs that the process may use.")
    memory_bytes: int
    virtualized: bool | None = None
    gpus: tuple[str, ...] = Field(default=(), description="Visible to the run, by name, instances one by one.")
    gpu_driver: str = Field(default="", description="Its version.")
    python: str = ""
    trilemma: str = ""
    packages: dict[str, str] = Field(default_factory=dict)


class Machine(Frozen):
    """A machine of a cluster, and what it offers."""

    name: str
    alive: bool = True
    slots: int = Field(default=1, description="Runs that it measures at the same time.")
    cpus: float = 0.0
    memory_bytes: int = 0
    gpus: float = 0.0
    gpu_type: str = ""
    seen_at: datetime = Field(default_factory=utc_now)
    address: str = Field(default="", description="Where it answers its cluster.")
    refuses: str = Field(default="", description="Why no run is given to it for some minutes; empty where runs are.")
    lacks: dict[str, str] = Field(default_factory=dict, description="By engine that it gets no runs of, why.")
    namesakes: tuple[str, ...] = Field(default=(), description="Where others of this name answer, which get no runs.")

    @property
    def remarks(self) -> tuple[str, ...]:
        """What keeps runs from it, in sentences."""
        found = [f"It gets no runs of {engine} for some minutes. {why}" for engine, why in self.lacks.items()]
        if self.refuses:
            found.append(f"It gets no runs for some minutes. {self.refuses}")
        if self.namesakes:
            found.append(
                f"{len(self.namesakes) + 1} machines call themselves {self.name}. Only the one at {self.address} gets "
                f"runs; give the one at {', '.join(self.namesakes)} another name with trilemma node --name."
            )
        return tuple(found)

    def offers(self, needs: Needs) -> bool:
        """Whether it has what is needed at all, free or not."""
        return (
            needs.machine in ("", self.name)
            and needs.gpu_type in ("", self.gpu_type)
            and self.gpus >= needs.gpus
            and self.cpus >= needs.cpus
            and self.memory_bytes >= needs.memory_bytes
            and not (isinstance(needs, EngineNeeds) and needs.engine in self.lacks)
        )

    def takes(self, needs: Needs) -> bool:
        """Whether a run that needs this is given to it now, or when a slot is free."""
        return self.alive and not self.refuses and self.offers(needs)


class RunRecord(Frozen):
    """A run in the store."""

    id: str
    study_ids: tuple[str, ...] = ()
    spec: RunSpec
    state: RunState
    phase: Phase | None = None
    progress: float = Field(default=0.0, ge=0.0, le=1.0)
    note: str = Field(default="", description="What the run is doing, for the queue page.")
    remaining_s: float | None = None
    attempt: int = 0
    created_at: datetime
    created_by: str | None = Field(default=None, description="Who asked for it; None where that is not known.")
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str = Field(default="", description="Why it failed or was cancelled, and what to do next.")
    log_tail: str = ""
    disturbed: bool = False
    disturbances: tuple[str, ...] = ()
    rerun_of: str | None = None
    machine: str = Field(default="", description="The cluster's machine that it was given to; empty outside of one.")
    host: HostInfo | None = None
    engine_info: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def engine_version(self) -> str:
        """What it was planned with; where that was not known, what the engine said when it ran."""
        return self.spec.engine_version or str(self.engine_info.get("version", ""))

    @property
    def imported(self) -> bool:
        """Whether it came out of another tool's file, and was not measured here."""
        return self.spec.device.startswith(OF_TOOL)


class PhaseWindow(Frozen):
    """When a phase (or one workload of the speed phase) ran; ``end_ns`` is None while it runs."""

    phase: Phase
    subject: str = ""
    start_ns: int
    end_ns: int | None = None


class Sample(Frozen):
    """One reading of all meters at one time; the keys are the meters' documented channels."""

    time_ns: int
    phase: Phase
    values: dict[str, float]


class RequestRecord(Frozen):
    """One request of a workload, timed on the client's side of the engine."""

    workload: str
    index: int
    warmup: bool = False
    submitted_ns: int
    token_times_ns: tuple[int, ...] = ()
    prompt_tokens: int = 0
    prefilled_tokens: int = Field(default=0, description="Tokens the engine really evaluated for the prompt.")
    output_tokens: int = 0
    engine_prefill_s: float | None = None
    engine_decode_s: float | None = None
    prompt: str = ""
    text: str = ""
    error: str = ""
    token_timing: Literal["token", "chunk", "estimate"] = Field(
        default="token",
        description="chunk where only groups of tokens were timed: gaps between tokens are unknown; estimate where "
        "chunks were taken for tokens, because the server counted none.",
    )


class AnswerRecord(Frozen):
    """One item of a suite, as asked, answered and scored."""

    suite: str
    item_id: str
    index: int
    prompt: str
    answer: str
    expected: str = ""
    scores: dict[str, float] = Field(description="Metric name to score, such as accuracy to 0 or 1.")
    detail: dict[str, JsonValue] = Field(default_factory=dict)


class Choice(StrEnum):
    """What somebody made of two answers."""

    A = "a"
    B = "b"
    TIE = "tie"
    BAD = "bad"
    """Both are."""


class Vote(Frozen):
    """A blind vote between two answers to one prompt: the voter saw A and B, and no names."""

    id: str = ""
    created_at: datetime = Field(default_factory=utc_now)
    source: str = Field(max_length=128, description="The suite that asked; empty for a prompt of the voter's own.")
    item_id: str = ""
    prompt: str
    a_id: str = Field(description="The configuration whose answer stood as A, by a throw of a coin.")
    b_id: str
    a_answer: str
    b_answer: str
    choice: Choice
    voter: str = Field(default="", max_length=80, description="As they call themselves; empty if they do not.")
    asked: dict[str, JsonValue] = Field(default_factory=dict, description="How a prompt of their own was asked.")


class Outcome(StrEnum):
    """What became of something that somebody wanted to do."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


class AuditRecord(Frozen):
    """Something that somebody did, or tried to; texts are cut to their lengths."""

    at: datetime = Field(default_factory=utc_now)
    who: str
    role: str
    action: str
    subject: str = Field(default="", description="The id or name of what it was done to.")
    outcome: Outcome
    detail: str = Field(default="", description="Why it was refused, or what went wrong.")
    size_bytes: int = Field(default=0, description="What it added to the disk, where that is no artifact's size.")


class Usage(Frozen):
    """What one person takes of the queue, the device and the disk."""

    open_runs: tuple[tuple[RunSpec, Artifact | None], ...] = Field(description="Those that wait or run.")
    device_s: float = Field(description="How long their runs had the device since the moment asked for.")
    artifacts: tuple[Artifact, ...] = Field(description="Those that they brought or made, forgotten ones included.")
    files_bytes: int = Field(description="Other files that they brought.")


class WholeRun(Frozen):
    """A run with everything that it recorded."""

    run: RunRecord
    phases: tuple[PhaseWindow, ...] = ()
    samples: tuple[Sample, ...] = ()
    requests: tuple[RequestRecord, ...] = ()
    answers: tuple[AnswerRecord, ...] = ()
    measurements: tuple[Measurement, ...] = ()


class WholeStudy(Frozen):
    """A study with its artifacts and runs, an original before its re-run."""

    study: StudyRecord
    artifacts: tuple[Artifact, ...]
    runs: tuple[WholeRun, ...]


class SampleFacts(Frozen):
    """Where and when the sample study, or an imported one, was measured, and whether the store has no other run."""

    host: HostInfo
    measured_at: datetime
    alone: bool
    imported: bool = False
