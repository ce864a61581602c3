"""What could as well have been measured: draws of every figure of every configuration, from one set of resamples.

Whatever is said of how sure something is - a place on the front, a limit kept, a pick - counts the draws in which it is
so. Scores of suites are drawn by resampling items, the same items for all configurations, so that what the questions
have in common cancels (paired). All other figures are drawn from Student's t around their mean, with the standard error
and degrees of freedom of :mod:`trilemma.analysis.uncertainty`, each on its own. All of them allow for luck
(:mod:`trilemma.analysis.shrinkage`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trilemma.analysis.points import Points
from trilemma.analysis.shrinkage import expected, shrunk
from trilemma.analysis.uncertainty import SEED, FloatArray

DRAWS = 1000
_PRIOR = 0.5
"""Weight of an imagined item that is answered rightly, and of one that is not: Jeffreys' prior for every share."""
_OWN = 0.5
"""How much of that each configuration has to itself."""
_BY_BITS = 0.5
"""The share of the draws in which bits are taken to explain a figure."""
_BATCH = 100

ItemScores = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By measurement key (``accuracy@hellaswag``), configuration id and item: the score, 0 to 1."""


@dataclass(frozen=True)
class Draws:
    """``values`` is draws x configurations x figures, in base units; the configurations are those of ``points``.

    NaN where a configuration lacks a figure. Where nothing is known of a figure's error, every draw is its value:
    ``unknown`` (configurations x figures) says where. ``paired`` are the keys drawn by resampling common items.
    """

    points: Points
    keys: tuple[str, ...]
    values: FloatArray
    unknown: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    paired: frozenset[str]

    def of(self, keys: Sequence[str]) -> FloatArray:
        """Draws x configurations x ``keys``; not to be written to."""
        if tuple(keys) == self.keys:
            return self.values
        return self.values[:, :, [self.keys.index(key) for key in keys]]

    def each(self, keys: Sequence[str]) -> list[FloatArray]:
        """Draws x configurations of each of ``keys``; not to be written to."""
        return [self.values[:, :, self.keys.index(key)] for key in keys]

    @property
    def value(self) -> FloatArray:
        """What was measured: configurations x figures."""
        return self.points.value[list(self.keys)].to_numpy(dtype=np.float64)


def draw(points: Points, keys: Sequence[str], items: ItemScores | None = None, *, count: int = DRAWS) -> Draws:
    """Draw ``keys`` of all ``points``.

    Args:
        points: Must hold ``keys``.
        keys: Measurement keys.
        items: Scores by item of those ``keys`` that are means over items; such a key is drawn paired if every point
            that has the figure has scores, all of the same items, and from its interval otherwise.
        count: How many draws.

    Returns:
        The same draws for the same input, always.
    """
    names = tuple(dict.fromkeys(keys))
    value, error, df = (
        table[list(names)].to_numpy(dtype=np.float64) for table in (points.value, points.error, points.df)
    )
    # Figure by figure, so that what is written and read together lies together.
    planes = np.empty((len(names), count, len(value)))
    planes[:] = value.T[:, None, :]
    paired = set()
    unknown = np.isfinite(value) & ~np.isfinite(error)
    for column, key in enumerate(names):
        # A generator for each figure: adding one changes nothing about the others.
        rng = np.random.default_rng([SEED, *key.encode()])
        table = _common_items(points, value[:, column], (items or {}).get(key, {}))
        if table is not None:
            has = np.flatnonzero(np.isfinite(value[:, column]))
            drawn = _resampled_means(table, count, rng)
            planes[column][:, has] = _regressed(drawn, table.mean(axis=1), points, has, rng)
            unknown[:, column] = False
            paired.add(key)
            continue
        known = np.flatnonzero(np.isfinite(value[:, column]) & np.isfinite(error[:, column]))
        if not known.size:
            continue
        middle, doubt, freedom = value[known, column], error[known, column], df[known, column]
        # In place: of thousands of options, memory for another table costs as much as what is written into it.
        drawn = _student(rng, freedom, count)
        drawn *= doubt
        finite = value[np.isfinite(value[:, column]), column]
        if (finite > 0).all():
            drawn /= middle
            drawn += (logs := np.log(middle))
            drawn = _regressed(drawn, logs, points, known, rng)
            np.exp(drawn, out=drawn)
        else:
            drawn += middle
            drawn = _regressed(drawn, middle, points, known, rng)
        planes[column][:, known if len(known) < len(value) else slice(None)] = drawn
    return Draws(points, names, np.moveaxis(planes, 0, 2), unknown, frozenset(paired))


def together(points: Points, parts: Sequence[Draws]) -> Draws:
    """The draws of several figures of the same ``points``, drawn one by one: the same as if drawn at once."""
    return Draws(
        points,
        tuple(key for part in parts for key in part.keys),
        np.moveaxis(np.stack([part.values[:, :, 0] for part in parts]), 0, 2),
        np.column_stack([part.unknown for part in parts]),
        frozenset[str]().union(*(part.paired for part in parts)),
    )


def _regressed(
    drawn: FloatArray, value: FloatArray, points: Points, rows: NDArray[np.intp], rng: np.random.Generator
) -> FloatArray:
    """``drawn`` regressed towards what is expected of a model at its bits, or of a model alone.

    Whether bits say anything of a figure is not known beforehand: half of the draws take it that they do, half that
    they do not. Either alone is wrong by more (``make bench NAME=calibration``).
    """
    meta = points.meta.iloc[rows]
    models, bits = meta["model"].tolist(), meta["bits"].to_numpy(dtype=np.float64)
    by_bits = rng.random(len(drawn)) < _BY_BITS
    found = np.empty_like(drawn)
    for mine, known in ((by_bits, bits), (~by_bits, np.full(len(bits), np.nan))):
        if mine.any():
            found[mine] = shrunk(drawn[mine], value, expected(models, known), rng)
    return found


def scores_by_item(frame: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By configuration and item the mean score over the tries at it, of the run that answered most items.

    Args:
        frame: ``Store.score_frame``: one row an answer. Of runs that answered equally many the last one counts.
    """
    found: dict[str, dict[str, float]] = {}
    if frame.empty:  # pandas would make no columns of no text
        return found
    items = frame.assign(item=frame["item_id"].astype(str).str.partition("#")[0])
    for (configuration, _), rows in items.groupby(["configuration_id", "run_id"], sort=False):
        means = rows.groupby("item", sort=False)["score"].mean()
        if len(means) >= len(found.get(str(configuration), {})):
            found[str(configuration)] = {str(item): float(score) for item, score in means.items()}
    return found


def _student(rng: np.random.Generator, df: FloatArray, count: int) -> FloatArray:
    """``count`` draws for each of ``df``; normal where it is infinite."""
    normal = rng.standard_normal((count, len(df)))
    finite = np.isfinite(df)
    if finite.all():  # as below, without copies
        chi2 = rng.chisquare(df, normal.shape)
        chi2 /= df
        normal /= np.sqrt(chi2, out=chi2)
    elif finite.any():
        chi2 = rng.chisquare(df[finite], (count, int(finite.sum())))
        normal[:, finite] /= np.sqrt(chi2 / df[finite])
    return normal


def _common_items(
    points: Points, value: FloatArray, by_configuration: Mapping[str, Mapping[str, float]]
) -> FloatArray | None:
    """Configurations that have the figure x items; None if they were not all asked the same ones."""
    if not by_configuration:
        return None
    tables = [by_configuration.get(str(name)) for name in points.meta.index[np.isfinite(value)]]
    if not tables or any(not table for table in tables):
        return None
    first = tables[0]
    assert first is not None
    if any(table is None or table.keys() != first.keys() for table in tables):
        return None
    return np.array([[table[item] for item in first] for table in tables if table is not None], dtype=np.float64)


def _resampled_means(table: FloatArray, count: int, rng: np.random.Generator) -> FloatArray:
    """Weighted means over items, draws x configurations, the same weights for all configurations.

    The Bayesian bootstrap (Rubin, *Annals of Statistics* 9(1), 1981) with half an item that is answered rightly and
    half an item that is not, which gives every share the posterior of Jeffreys' prior: without them, twelve wrong
    answers of twelve would prove that no answer is ever right. Half of either is common to all; the other half is each
    configuration's own, or twelve answers alike would prove that two configurations never differ. Between two, the
    items that only one of them answers rightly then have the weight of Jeffreys' prior, too.
    """
    configurations, items = table.shape
    whole = np.concatenate([table, np.ones((configurations, 1)), np.zeros((configurations, 1))], axis=1)
    shape = np.concatenate([np.ones(items), np.full(2, _PRIOR * (1 - _OWN))])
    means = np.empty((count, configurations))
    # In batches: all weights at once would be draws x items, which for a large suite does not fit.
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        weights = rng.standard_gamma(shape, (size, items + 2))
        right, wrong = rng.standard_gamma(_PRIOR * _OWN, (2, size, configurations))
        total = weights.sum(axis=1, keepdims=True) + right + wrong
        means[start : start + _BATCH] = (weights @ whole.T + right) / total
    return means
