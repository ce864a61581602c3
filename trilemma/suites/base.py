"""What a suite must do: a set of questions with a way to score the answers.

A suite is found by name (entry point group ``trilemma.suites``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from trilemma.engines.base import Availability, LoadedModel
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, SuiteSpec


@dataclass(frozen=True)
class SuiteContext:
    """What a run offers a suite besides the loaded model.

    ``open_reference`` loads the reference artifact beside the measured one (None when there is none);
    ``reference_label`` names it. ``advance`` takes the suite's finished share, 0 to 1. ``known`` has answers of earlier
    runs to the same suite, by item: the same weights with settings that change no answer.
    """

    spec: SuiteSpec
    open_reference: Callable[[], AbstractContextManager[LoadedModel]] | None
    reference_label: str
    advance: Callable[[float], None]
    known: Mapping[str, AnswerRecord] = field(default_factory=dict)


class Suite(Protocol):
    """One small class a suite."""

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    figures: ClassVar[tuple[str, ...]]
    """The figures it yields, names of :mod:`trilemma.figures`."""

    def availability(self) -> Availability:
        """Whether the questions are at hand; if not, how to get them."""

    def items(self, spec: SuiteSpec) -> Sequence[Any]:
        """The items that ``spec`` picks: seeded, and the same for every configuration.

        Raises:
            SuiteDataError: they are missing or malformed.
        """

    def answers(self, model: LoadedModel, context: SuiteContext) -> Iterator[AnswerRecord]:
        """Ask every item, in order."""

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """Figures with their intervals out of all answers; a pure function."""
