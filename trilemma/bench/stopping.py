"""When a suite may end before its last item: its place is decided, or its score is known well enough.

Items come in an order that only the seed decides, so that those asked are a sample without replacement of all. The
tests may be looked at after every item (:mod:`trilemma.analysis.sequential`); the error is shared out evenly over the
others, so that the chance that a configuration's place is wrong against any of them is at most the stated one.
"""

from __future__ import annotations

from collections.abc import Sequence

from trilemma.analysis.sequential import PairedTest, Verdict, mean_interval
from trilemma.base import Frozen
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, StoppingRule

_LOOK_EVERY = 10
"""Intervals are looked at so often; each look goes over all answers."""
_ENDLESS = 1_000_000_000
"""For the interval the items stand for all questions of their kind, not for the suite's own."""


class Rival(Frozen):
    """Another configuration's headline scores, by item."""

    label: str
    scores: dict[str, float]


class Stopping:
    """Follows the answers of one configuration.

    Args:
        rule: When to stop.
        total: Items of the suite.
        rivals: The configurations that were asked before.
    """

    def __init__(self, rule: StoppingRule, total: int, rivals: Sequence[Rival]) -> None:
        self._rule = rule
        self._total = total
        self._error = rule.error / max(len(rivals), 1)
        self._tests = [(rival, PairedTest(total, rule.margin)) for rival in rivals]
        self._scores: list[float] = []

    def add(self, answer: AnswerRecord) -> str:
        """One more answer, in order; why the suite may end now, or nothing."""
        score = next(iter(answer.scores.values()), 0.0)
        self._scores.append(score)
        for rival, test in self._tests:
            if answer.item_id in rival.scores:
                test.add(score, rival.scores[answer.item_id])
        asked = len(self._scores)
        if asked < self._rule.least or asked == self._total:
            return ""
        if self._tests and all(self._settled(answer, rival, test) for rival, test in self._tests):
            return f"its place among {len(self._tests) + 1} configurations is decided"
        if self._rule.width is not None and asked % _LOOK_EVERY == 0:
            low, high = mean_interval(self._scores, _ENDLESS, self._rule.error)
            if high - low <= 2 * self._rule.width:
                return f"its score is known to within {self._rule.width:g}"
        return ""

    def _settled(self, answer: AnswerRecord, rival: Rival, test: PairedTest) -> bool:
        """Whether more items would tell nothing more of a pair: it is decided, or the other was asked no further."""
        return test.verdict(self._error) is not None or answer.item_id not in rival.scores

    def verdicts(self) -> list[tuple[str, Verdict | None]]:
        """Every rival's label, and what is decided against it."""
        return [(rival.label, test.verdict(self._error)) for rival, test in self._tests]


def stopped_measurements(
    found: Sequence[Measurement], answers: Sequence[AnswerRecord], total: int, why: str, error: float
) -> list[Measurement]:
    """Figures of a suite that ended early: intervals hold although one looked, and the reason stands beside them."""
    return [_stopped(measurement, answers, total, why, error) for measurement in found]


def _stopped(
    measurement: Measurement, answers: Sequence[AnswerRecord], total: int, why: str, error: float
) -> Measurement:
    note = f"stopped after {len(answers)} of {total} items: {why}"
    values = [a.scores[measurement.figure] for a in answers if measurement.figure in a.scores]
    provenance = measurement.provenance
    reasons: tuple[str, ...] = (*provenance.reasons, note)
    changes: dict[str, object] = {}
    if len(values) == len(answers) and all(0.0 <= value <= 1.0 for value in values):
        low, high = mean_interval(values, _ENDLESS, error)
        reasons = (f"{1 - error:.0%} interval that holds whenever one stops (betting)", note)
        changes = {"low": low, "high": high}
    return measurement.model_copy(update={**changes, "provenance": provenance.model_copy(update={"reasons": reasons})})
