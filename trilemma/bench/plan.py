"""What the supervisor tells the measured process, one JSON document on its standard input; and whether it may begin."""

from __future__ import annotations

from pydantic import Field

from trilemma import registry
from trilemma.bench.stopping import Rival
from trilemma.errors import RunError
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


def check_engine(spec: RunSpec) -> None:
    """Refuse to measure without the engine, or with another version of it than the study was planned with.

    Raises:
        RunError: either is so.
    """
    found = registry.load("trilemma.engines", spec.configuration.engine)().availability()
    if not found.available:
        raise RunError(f"This machine cannot measure it: {found.detail}", found.remedy)
    if spec.engine_version and found.version != spec.engine_version:
        raise RunError(
            f"This machine has {found.version}, and the study was planned with {spec.engine_version}.",
            "Install that version, or queue the study again: another version is another measurement.",
        )
