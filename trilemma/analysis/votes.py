"""Blind votes: who wins how often against whom, and how strong each is with all votes taken together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse, special, stats
from scipy.sparse import csgraph

from trilemma.analysis.paired import holm
from trilemma.analysis.text import count_of
from trilemma.records import Choice, Vote

Array = NDArray[np.float64]

_LEVEL = 0.05


@dataclass(frozen=True)
class Pair:
    """All votes between two configurations.

    ``share`` is of the votes that preferred either, how many preferred ``one``; ``low`` and ``high`` are its 95 %
    interval by Wilson's method (Wilson 1927), taking votes as independent and their number as fixed before; ``p`` is
    that of :func:`luck`. All are None where nobody preferred either.
    """

    one: str
    other: str
    won: int
    lost: int
    ties: int
    bad: int
    share: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def n(self) -> int:
        """All votes."""
        return self.won + self.lost + self.ties + self.bad


def pairs(votes: Iterable[Vote], order: Sequence[str]) -> list[Pair]:
    """One :class:`Pair` for each two configurations that were voted on.

    Args:
        votes: Any.
        order: Configuration ids; others are left out. Of a pair, ``one`` is the one that comes first here.
    """
    place = {one: number for number, one in enumerate(order)}
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for vote in votes:
        if vote.a_id not in place or vote.b_id not in place or vote.a_id == vote.b_id:
            continue
        turned = place[vote.a_id] > place[vote.b_id]
        key = (vote.b_id, vote.a_id) if turned else (vote.a_id, vote.b_id)
        count = counts.setdefault(key, dict.fromkeys(("won", "lost", "ties", "bad"), 0))
        match vote.choice:
            case Choice.TIE:
                count["ties"] += 1
            case Choice.BAD:
                count["bad"] += 1
            case _:
                count["won" if (vote.choice is Choice.A) is not turned else "lost"] += 1
    wanted = itertools.combinations(order, 2)
    return [_pair(one, other, **counts[one, other]) for one, other in wanted if (one, other) in counts]


def luck(won: int, lost: int) -> float:
    """The p-value of the hypothesis that either is preferred as often as the other, whenever one looks.

    Votes are looked at after each of them, and a fixed test (the sign test) would sooner or later find a preference
    where there is none. So capital is bet on each vote, with odds that are a mixture over all chances by Jeffreys'
    prior: of w and l votes it becomes 2^(w + l) B(w + 1/2, l + 1/2) / B(1/2, 1/2). While the hypothesis holds it is a
    martingale and ever reaches 1 / alpha with a probability of at most alpha (Robbins, "Statistical methods related to
    the law of the iterated logarithm", Annals of Mathematical Statistics 41, 1970). The p-value is its inverse.
    """
    log_capital = (won + lost) * np.log(2) + special.betaln(won + 0.5, lost + 0.5) - special.betaln(0.5, 0.5)
    return float(np.exp(-max(log_capital, 0.0)))


def _pair(one: str, other: str, won: int, lost: int, ties: int, bad: int) -> Pair:
    told = won + lost
    if not told:
        return Pair(one, other, won, lost, ties, bad)
    interval = stats.binomtest(won, told).proportion_ci(method="wilson")
    return Pair(
        one, other, won, lost, ties, bad, won / told, float(interval.low), float(interval.high), luck(won, lost)
    )


@dataclass(frozen=True)
class Strength:
    """How a configuration does in all votes together.

    ``value`` is the chance that its answer is preferred to that of an average one of those compared; ``low`` and
    ``high`` are the 95 % interval.
    """

    value: float
    low: float
    high: float
    votes: int


def strengths(found: Sequence[Pair]) -> dict[str, Strength] | None:
    """Each configuration's strength in the model of Bradley and Terry, by id; None where it cannot be known.

    The model (Bradley & Terry 1952; Hunter, "MM algorithms for generalized Bradley-Terry models", Annals of Statistics
    32, 2004) says that i is preferred to j with probability 1 / (1 + exp(t_j - t_i)). The t are those of the greatest
    likelihood, with mean 0. A tie, and two bad answers, prefer neither: half a win for each. To each pair that was
    voted on half a win either way is added (Anscombe 1956; Haldane 1956): otherwise one that always won would be
    infinitely strong (Hunter's assumption 1), and few votes would be believed too much. The interval is of t, from the
    inverse of the Fisher information, then put through the logistic function.

    None where there are no votes, or where they fall into groups between which nobody voted.
    """
    ids = list(dict.fromkeys(one for pair in found for one in (pair.one, pair.other)))
    if not found:
        return None
    wins = np.zeros((len(ids), len(ids)))
    votes = np.zeros(len(ids), dtype=int)
    for pair in found:
        i, j = ids.index(pair.one), ids.index(pair.other)
        half = (pair.ties + pair.bad + 1) / 2
        wins[i, j] += pair.won + half
        wins[j, i] += pair.lost + half
        votes[[i, j]] += pair.n
    if csgraph.connected_components(sparse.csr_matrix(wins), directed=False)[0] > 1:
        return None
    t, covariance = _fit(wins)
    error = np.sqrt(np.diag(covariance)) * stats.norm.ppf(0.975)
    value, low, high = (special.expit(at) for at in (t, t - error, t + error))
    return {one: Strength(float(value[k]), float(low[k]), float(high[k]), int(votes[k])) for k, one in enumerate(ids)}


def _fit(wins: Array) -> tuple[Array, Array]:
    """Log-strengths with mean 0 and their covariance. ``wins[i, j]`` counts how often i was preferred to j."""
    games = wins + wins.T

    def loss(t: Array) -> tuple[float, Array]:
        gaps = t[:, None] - t[None, :]
        surplus = wins - games * special.expit(gaps)
        # Only differences count: a faint pull to 0 makes the optimum one point, at mean 0.
        value = -(wins * special.log_expit(gaps)).sum() + t.mean() ** 2
        return float(value), 2 * t.mean() / len(t) - surplus.sum(axis=1)

    found = optimize.minimize(loss, np.zeros(len(wins)), jac=True, method="BFGS", options={"gtol": 1e-9})
    t = found.x - found.x.mean()
    chance = special.expit(t[:, None] - t[None, :])
    weights = games * chance * (1 - chance)
    information = np.diag(weights.sum(axis=1)) - weights
    # Singular along (1, ..., 1); the pseudo-inverse is the covariance under the constraint that the mean is 0.
    return t, np.linalg.pinv(information, hermitian=True)


def votes_headline(found: Sequence[Pair], names: Mapping[str, str]) -> str:
    """What the votes say so far: preferences that luck does not explain, p below 0.05 after Holm's correction."""
    total = sum(pair.n for pair in found)
    if not total:
        return "No vote yet."
    corrected = holm([pair.p for pair in found])
    told = [pair for pair, p in zip(found, corrected, strict=True) if p is not None and p < _LEVEL]
    parts = []
    for pair in told:
        better, worse = (pair.one, pair.other) if (pair.share or 0.0) > 0.5 else (pair.other, pair.one)
        parts.append(f"{names[better]} is preferred to {names[worse]}")
    counted = count_of(total, "vote")
    if not parts:
        return f"After {counted} no preference can be told from luck."
    return f"After {counted}: {'; '.join(parts)}."
