"""One pick, its runner-up, and why: sentences made of figures alone, never more certain than the draws.

The same figures give the same sentences; nothing here is written by a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trilemma.analysis.caveats import FULL_PRECISION, choice_caveats, reference_row
from trilemma.analysis.decision_map import Ranking, best
from trilemma.analysis.differences import differences_sentence, figure_difference, in_draws, joined
from trilemma.analysis.draws import Draws
from trilemma.analysis.front import BoolArray
from trilemma.analysis.limits import Limit, Relaxation, relaxation, within
from trilemma.analysis.limits_text import (
    excluded_sentences,
    kept_sentences,
    nothing_sentences,
    unchecked_sentences,
)
from trilemma.analysis.points import labels
from trilemma.analysis.preferences import figure_words, limit_words
from trilemma.analysis.priorities import Shift, shifts
from trilemma.analysis.scoring import Normalisation, ScoringMethod, axis_losses
from trilemma.analysis.text import count_of
from trilemma.analysis.uncertainty import FloatArray
from trilemma.schema import Axis

SURE, LIKELY = 0.95, 2 / 3
"""From which probability to be best on a pick is said to fit best, and probably to."""


@dataclass(frozen=True)
class Priorities:
    """What is asked for: the figure that stands for each axis, the weights, and how they become one score."""

    axes: Mapping[Axis, str]
    weights: Mapping[Axis, float]
    method: ScoringMethod = ScoringMethod.CHEBYSHEV
    normalisation: Normalisation = Normalisation.RANGE

    @property
    def keys(self) -> list[str]:
        """The figures, in the order of the axes."""
        return [self.axes[axis] for axis in Axis]

    @property
    def shares(self) -> list[float]:
        """The weights, with a sum of 1, in the order of the axes."""
        total = sum(self.weights[axis] for axis in Axis)
        return [self.weights[axis] / total for axis in Axis]

    @property
    def words(self) -> str:
        """``efficiency 20 %, speed 45 %, performance 35 %``."""
        return ", ".join(f"{axis} {_percent(share)}" for axis, share in zip(Axis, self.shares, strict=True))


@dataclass(frozen=True)
class Recommendation:
    """What is recommended and why; configurations by their ids, None where there is none to name.

    ``probability`` is that of the pick to be the best under these priorities. ``sentences`` are all of it, in order.
    """

    pick: str | None = None
    runner_up: str | None = None
    reference: str | None = None
    probability: float = float("nan")
    headline: str = ""
    sureness: str = ""
    judged: str = ""
    """By which figures, and among how many."""
    against: tuple[str, ...] = ()
    """What it gains and gives up: against the runner-up, against the reference."""
    limits: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    """What would change the answer."""
    caveats: tuple[str, ...] = ()
    loosen: Relaxation | None = None
    """Where nothing keeps all limits: the one to loosen."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything, in order."""
        parts = (self.headline, self.sureness, self.judged)
        return (*filter(None, parts), *self.against, *self.limits, *self.changes, *self.caveats)


@dataclass(frozen=True)
class _Case:
    """What all sentences are made from; positions are those of the draws' points."""

    draws: Draws
    asked: Priorities
    limits: Sequence[Limit]
    names: list[str]
    complete: BoolArray
    eligible: BoolArray
    ranking: Ranking | None = field(default=None)

    def ranked(self, among: BoolArray) -> Ranking:
        """Who wins among some configurations."""
        return best(
            self.draws, self.asked.axes, self.asked.shares, method=self.asked.method,
            normalisation=self.asked.normalisation, eligible=among,
        )  # fmt: skip

    def losses(self) -> FloatArray:
        """Draws x eligible configurations x axes."""
        drawn = self.draws.of(self.asked.keys)[:, self.eligible]
        return axis_losses(drawn, self.asked.keys, list(Axis), self.asked.normalisation)


def recommend(
    draws: Draws, asked: Priorities, *, limits: Sequence[Limit] = (), unmeasured: Sequence[str] = ()
) -> Recommendation:
    """Recommend one of the configurations of ``draws``.

    Eligible is what has all three figures and keeps every limit as measured; how surely it does is said.

    Args:
        draws: Of at least the figures of ``asked`` and of ``limits``.
        asked: The priorities.
        limits: What must be kept.
        unmeasured: Limits, as somebody wrote them, on figures that the study has not measured; they are not checked,
            and that is said.
    """
    points = draws.points
    complete = points.complete(asked.keys)
    eligible = complete & within(points, limits)
    case = _Case(draws, asked, limits, [str(name) for name in labels(points)], complete, eligible)
    unchecked = unchecked_sentences(draws, limits, unmeasured, complete)
    if not complete.any():
        figures = joined([figure_words(key) for key in asked.keys])
        return Recommendation(headline=f"No configuration has all three figures: {figures}.", limits=unchecked)
    if not eligible.any():
        loosen = relaxation(draws, limits, complete)
        return Recommendation(
            headline="No configuration keeps all limits.",
            limits=(*nothing_sentences(draws, limits, complete, case.names, loosen), *unchecked),
            loosen=loosen,
        )
    measured = points.value[asked.keys].to_numpy(dtype=np.float64)[eligible]
    if len(measured) > 1 and not np.ptp(measured, axis=0).any():
        return Recommendation(headline=_equal_text(case), limits=unchecked, caveats=_caveats(case, {}))
    return _recommended(case, case.ranked(eligible), unchecked)


def _recommended(case: _Case, ranking: Ranking, unchecked: tuple[str, ...]) -> Recommendation:
    draws, names = case.draws, case.names
    ids = [str(one) for one in draws.points.meta.index]
    pick, runner = ranking.pick, ranking.runner_up
    reference = reference_row(draws.points, pick)
    named = {pick: names[pick], **({runner: names[runner]} if runner is not None else {})}
    return Recommendation(
        pick=ids[pick],
        runner_up=None if runner is None else ids[runner],
        reference=None if reference is None else ids[reference],
        probability=float(ranking.probability[pick]),
        headline=_headline(case, ranking),
        sureness=_sureness(case, ranking),
        judged=_judged(case) if runner is not None else "",
        against=_against(case, pick, runner, reference),
        limits=(
            *kept_sentences(draws, case.limits, pick),
            *_binding(case, pick),
            *excluded_sentences(draws.points, case.limits, case.complete, names),
            *unchecked,
        ),
        changes=_changes(case, ranking),
        caveats=_caveats(case, named),
    )


def _equal_text(case: _Case) -> str:
    figures = joined([figure_words(key) for key in case.asked.keys])
    who = count_of(int(case.eligible.sum()), "configuration") + (" that keep all limits" if case.limits else "")
    return f"All {who} measured the same in {figures}: these figures give no reason to prefer one."


def _headline(case: _Case, ranking: Ranking) -> str:
    name = case.names[ranking.pick]
    if ranking.runner_up is None:
        if case.complete.sum() == 1:
            return f"{name} is the only configuration with all three figures: there is nothing to compare it with."
        return f"Only {name} keeps all limits as measured, so it is the pick whatever the priorities."
    probability = float(ranking.probability[ranking.pick])
    if probability >= SURE:
        return f"{name} fits these priorities best ({case.asked.words})."
    if probability >= LIKELY:
        return f"{name} probably fits these priorities best ({case.asked.words})."
    return (
        f"It is open: {name} wins most often, but {case.names[ranking.runner_up]} may fit these priorities as well "
        f"({case.asked.words})."
    )


def _sureness(case: _Case, ranking: Ranking) -> str:
    if ranking.runner_up is None:
        return ""
    count, chances = len(case.draws.values), ranking.probability
    return (
        f"It wins in {in_draws(float(chances[ranking.pick]), count)}; the runner-up, {case.names[ranking.runner_up]}, "
        f"in {in_draws(float(chances[ranking.runner_up]), count)}."
    )


def _judged(case: _Case) -> str:
    figures = joined([figure_words(key) for key in case.asked.keys])
    among = count_of(int(case.eligible.sum()), "configuration")
    return f"Judged by {figures}, out of {among}{' that keep the limits' if case.limits else ''}."


def _against(case: _Case, pick: int, runner: int | None, reference: int | None) -> tuple[str, ...]:
    """What the pick gains and gives up against the runner-up and against the reference."""
    texts = []
    quantization = case.draws.points.meta["quantization"].astype(str)
    full = reference is not None and quantization.iloc[reference].upper() in FULL_PRECISION
    what = "the unquantized form" if full else "the form of most bits that was measured"
    if runner is not None:
        role = f"the runner-up and {what} of its model" if runner == reference else "the runner-up"
        texts.append(_difference(case, pick, runner, f"{case.names[runner]} ({role})"))
    if reference == pick:
        texts.append(f"{case.names[pick]} is itself {what} of its model.")
    elif reference is not None and reference != runner:
        texts.append(_difference(case, pick, reference, f"{case.names[reference]} ({what} of its model)"))
    return tuple(text for text in texts if text)


def _difference(case: _Case, pick: int, other: int, name: str) -> str:
    return differences_sentence(name, [figure_difference(case.draws, key, pick, other) for key in case.asked.keys])


def _binding(case: _Case, pick: int) -> tuple[str, ...]:
    """The limits without which another configuration would come first."""
    texts = []
    for limit in case.limits:
        others = [one for one in case.limits if one is not limit]
        winner = case.ranked(case.complete & within(case.draws.points, others)).pick
        if winner != pick:
            texts.append(f"The limit {limit_words(limit)} decides: without it {case.names[winner]} would be the pick.")
    if case.limits and not texts:
        one = len(case.limits) == 1
        without = "Without the limit" if one else "Without any one of the limits"
        texts.append(f"{without} the pick would be the same.")
    return tuple(texts)


def _changes(case: _Case, ranking: Ranking) -> tuple[str, ...]:
    if ranking.runner_up is None:
        return ()
    rows = np.flatnonzero(case.eligible)
    losses = case.losses()
    position = int(np.flatnonzero(rows == ranking.pick)[0])
    found = shifts(losses, case.asked.shares, position, case.asked.method)
    texts = [_shift_text(shift, case.names[rows[shift.winner]]) for shift in found[:2]]
    if not texts:
        texts.append("No change of one priority, the others in proportion, changes the answer.")
    if ranking.probability[ranking.pick] < LIKELY:
        texts.append("More repeats, or more questions, would make the answer surer.")
    return tuple(texts)


def _shift_text(shift: Shift, winner: str) -> str:
    # Beyond this point yet another may come first: no more is said than that the answer changes here.
    return (
        f"Once {shift.axis} counts {_percent(shift.share)} instead of {_percent(shift.before)}, the others in "
        f"proportion, {winner} wins more often."
    )


def _caveats(case: _Case, named: Mapping[int, str]) -> tuple[str, ...]:
    keys = list(dict.fromkeys([*case.asked.keys, *(limit.key for limit in case.limits)]))
    return tuple(choice_caveats(case.draws, keys, named, case.eligible))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
