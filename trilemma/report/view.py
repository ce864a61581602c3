"""What a report is about: the same view of a study that a link to a page carries."""

from __future__ import annotations

from pydantic import Field

from trilemma.analysis.scoring import Normalisation, ScoringMethod
from trilemma.planning.plan import Assumptions
from trilemma.presets import Preset
from trilemma.schema import Axis, Frozen


class PlanView(Frozen):
    """What is planned. What is empty is chosen as Plan would choose it."""

    configuration: str = Field(default="", description="Its id; the one that is recommended if empty.")
    workload: str = Field(default="", description="The first that it was measured under if empty.")
    assumptions: Assumptions | None = Field(default=None, description="None: the examples that come with Trilemma.")


class View(Frozen):
    """A view of one study. What is empty is chosen as Decide would choose it."""

    question: str = Field(default="", description="What the report answers, as a stakeholder would ask it.")
    preset: str = Field(default="", description="The title of the use case that limits and weights come from.")
    x: str = Field(default="", description="Measurement key of the chart's horizontal axis.")
    y: str = Field(default="", description="Of its vertical axis.")
    size: str = Field(default="", description="Of what the area of a mark shows.")
    models: tuple[str, ...] = Field(default=(), description="Only these are drawn; empty for all.")
    quantizations: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    engine_versions: tuple[str, ...] = ()
    machines: tuple[str, ...] = ()
    limits: tuple[str, ...] = Field(default=(), description="As people write them: peak_memory_bytes <= 400 MiB.")
    weights: dict[Axis, float] = Field(
        default_factory=dict, description="Priorities, of which only the proportion counts; all alike if empty."
    )
    axes: dict[Axis, tuple[str, ...]] = Field(
        default_factory=dict, description="By axis, figures in order: the first that was measured stands for it."
    )
    subjects: tuple[str, ...] = Field(
        default=(), description="Workloads and suites that are meant where none is named."
    )
    method: ScoringMethod = ScoringMethod.CHEBYSHEV
    normalisation: Normalisation = Normalisation.RANGE
    plan: PlanView | None = Field(default=None, description="None: nothing is planned.")

    @classmethod
    def of_preset(cls, preset: Preset) -> View:
        """What a use case asks for."""
        return cls(
            question=preset.question, preset=preset.title, limits=preset.limits, weights=preset.shares,
            axes=preset.axes, subjects=preset.subjects,
        )  # fmt: skip
