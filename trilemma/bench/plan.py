"""What the supervisor tells the measured process, one JSON document on its standard input."""

from __future__ import annotations

from pydantic import Field

from trilemma.bench.stopping import Rival
from trilemma.records import AnswerRecord
from trilemma.schema import Artifact, Frozen, RunSpec
from trilemma.workloads.traces import TraceLine


class Plan(Frozen):
    """All that a run needs, so that the measured process never opens the store."""

    spec: RunSpec
    artifact: Artifact
    reference: Artifact | None = None
    adapter: Artifact | None = None
    rivals: dict[str, tuple[Rival, ...]] = Field(
        default_factory=dict, description="What others of the study scored, by suite; for those that may stop early."
    )
    known: dict[str, tuple[AnswerRecord, ...]] = Field(
        default_factory=dict, description="What the same weights answered before, by suite."
    )
    suites_s: tuple[float, ...] = Field(
        default=(),
        description="A guess at how long each suite takes. Guessing loads the suites, which is no memory of serving.",
    )
    traces: dict[str, tuple[TraceLine, ...]] = Field(default_factory=dict, description="By their SHA-256.")

    @property
    def loaded_idle_s(self) -> float:
        """How long power is read with the engine loaded but idle, s: two seconds at most."""
        return min(self.spec.idle_s, 2.0)
