"""What the measured process tells its supervisor, one JSON object a line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from trilemma.records import AnswerRecord, RequestRecord
from trilemma.schema import Frozen, Measurement, Phase


class PhaseEvent(Frozen):
    """A phase, or one workload of it, began or ended."""

    kind: Literal["phase"] = "phase"
    phase: Phase
    subject: str = ""
    edge: Literal["start", "end"]
    time_ns: int


class RequestEvent(Frozen):
    """A request finished."""

    kind: Literal["request"] = "request"
    record: RequestRecord


class AnswerEvent(Frozen):
    """An item was answered and scored."""

    kind: Literal["answer"] = "answer"
    record: AnswerRecord


class MeasurementEvent(Frozen):
    """The measured process knows a figure that the supervisor cannot compute (perplexity, a memory split)."""

    kind: Literal["measurement"] = "measurement"
    measurement: Measurement


class ProgressEvent(Frozen):
    """How far the run is."""

    kind: Literal["progress"] = "progress"
    fraction: float = Field(ge=0.0, le=1.0)
    note: str = ""


class EngineEvent(Frozen):
    """What the engine says of itself: version, build, threads, buffers."""

    kind: Literal["engine"] = "engine"
    info: dict[str, JsonValue]


class TargetEvent(Frozen):
    """The model runs in a process that is not a child of the measured one: whom to meter, or why nobody is."""

    kind: Literal["target"] = "target"
    pid: int | None
    reason: str


class FailureEvent(Frozen):
    """The measured process gives up, and why."""

    kind: Literal["failure"] = "failure"
    reason: str


Event = Annotated[
    PhaseEvent
    | RequestEvent
    | AnswerEvent
    | MeasurementEvent
    | ProgressEvent
    | EngineEvent
    | TargetEvent
    | FailureEvent,
    Field(discriminator="kind"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
