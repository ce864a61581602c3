"""What a workload is: prompts of a stated length for one use case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from trilemma.engines.base import LoadedModel
from trilemma.schema import WorkloadSpec


class PromptSet(Protocol):
    """One use case."""

    name: ClassVar[str]
    title: ClassVar[str]

    def defaults(self) -> WorkloadSpec:
        """The workload as offered to the user."""

    def prompts(self, spec: WorkloadSpec, model: LoadedModel, count: int) -> Sequence[list[int]]:
        """``count`` distinct tokenised prompts of exactly ``spec.prompt_tokens`` tokens, fixed by ``spec.seed``."""
