"""How surely what Explore shows is on the front, worked out once for each state of the store and each choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import explore_data
from pages.parts.explore_filters import Chosen
from trilemma.analysis.draws import DRAWS, Draws, ItemScores, draw, together
from trilemma.analysis.front import BoolArray, dominated_by
from trilemma.analysis.item_scores import Scores, read_item_scores
from trilemma.analysis.odds import (
    Dominator,
    FrontOdds,
    Hypervolume,
    contenders,
    directions,
    dominators,
    enough_draws,
    hypervolume,
    odds_of,
)
from trilemma.analysis.points import Points
from trilemma.analysis.uncertainty import NORMAL

_MOST_ANSWERS = 50_000
"""Answers above which scores are drawn from their intervals: reading them item by item would take seconds."""
_RIVALS = 100
"""Configurations among which the one is looked for that most surely beats another."""
_MOST_MEASURED = 500
"""Configurations whose front is measured."""


@dataclass(frozen=True)
class Sureness:
    """``odds`` has one entry a point; ``caveats`` are what a reader must know about them."""

    odds: FrontOdds
    volume: Hypervolume | None
    items: ItemScores
    caveats: list[str]
    near: BoolArray
    inside: Points
    """Those that ``near`` marks among the points."""
    drawn: tuple[Draws, ...]
    """Of those, one a figure."""

    @cached_property
    def draws(self) -> Draws:
        """All figures of those inside: for very many a copy that takes longer than all fronts, made when asked for."""
        return together(self.inside, self.drawn)


def sureness(of: tuple[str, int], chosen: Chosen, points: Points) -> Sureness:
    """How surely each of ``points``, which ``of`` and ``chosen`` determine, is on the front of the chosen axes."""
    # However it is drawn, it is as sure.
    return _sureness(of, replace(chosen, size=None, log=(), view=""), points)


@st.cache_resource(max_entries=32, show_spinner=False)
def _sureness(of: tuple[str, int], chosen: Chosen, _points: Points) -> Sureness:
    keys = list(dict.fromkeys(chosen.axes))
    near = contenders(_points, keys)
    inside = _points.select(near)
    items: ItemScores = {}
    caveats = []
    if len(inside) > 1:
        items, too_many = _item_scores(of, chosen.study, inside, keys)
        if too_many:
            caveats.append("There are too many answers to compare item by item, so that scores count as independent.")
    rows = sha256(near.tobytes()).hexdigest()
    bare, count = replace(chosen, axes=()), enough_draws(len(inside))
    drawn = tuple(_drawn(of, bare, rows, key, count, inside, items) for key in keys)
    if any(one.unknown.any() for one in drawn):
        caveats.append("Where nothing was repeated and a figure has no interval of its own, it counts as exact.")
    if count < DRAWS:
        caveats.append(
            f"{len(inside):,} may be on the front: how surely is counted in {count:,} draws instead of {DRAWS:,}, "
            f"within {_within(count):.2f}."
        )
    odds = odds_of(_points, keys, near, [figure for one in drawn for figure in one.each(one.keys)])
    return Sureness(odds, _volume(_points, keys, items), items, caveats, near, inside, drawn)


@st.cache_resource(max_entries=64, show_spinner=False)
def _drawn(
    of: tuple[str, int], chosen: Chosen, rows: str, key: str, count: int, _points: Points, _items: ItemScores
) -> Draws:
    """The draws of one figure: another choice of figures of the same configurations costs no more than the new ones."""
    return draw(_points, [key], _items, count=count)


def _item_scores(of: tuple[str, int], study_id: str, points: Points, keys: Sequence[str]) -> Scores:
    """Of all configurations, if these are few enough: then another choice among them reads nothing more."""
    found = [_whole_scores(of, study_id, key) for key in keys]
    for place, key in enumerate(keys):
        if found[place].too_many:
            found[place] = read_item_scores(_Answers(of), study_id, points, [key], most=_MOST_ANSWERS)
    items = {key: tables for one in found for key, tables in one.items.items()}
    return Scores(items, tuple(key for one in found for key in one.too_many))


@st.cache_resource(max_entries=32, show_spinner=False)
def _whole_scores(of: tuple[str, int], study_id: str, key: str) -> Scores:
    everything = explore_data.points(of, study_id, (key,))
    return read_item_scores(_Answers(of), study_id, everything, [key], most=_MOST_ANSWERS)


@dataclass(frozen=True)
class _Answers:
    """The answers in the state ``of`` the store, which are counted once: of very many that takes a second."""

    of: tuple[str, int]

    def answer_frame(self, study_id: str | None = None) -> pd.DataFrame:
        return _answer_frame(self.of, study_id)

    def score_frame(self, suite: str, figure: str, run_ids: Sequence[str]) -> pd.DataFrame:
        return shared.get_store().score_frame(suite, figure, run_ids)


@st.cache_resource(max_entries=4, show_spinner=False)
def _answer_frame(of: tuple[str, int], study_id: str | None) -> pd.DataFrame:
    return shared.get_store().answer_frame(study_id)


def _within(draws: int) -> float:
    """How far a share of so many draws is from the probability, at most, 95 times of 100."""
    return NORMAL * 0.5 / float(np.sqrt(draws))


def _volume(points: Points, keys: Sequence[str], items: ItemScores) -> Hypervolume | None:
    """Of a few figures and a few hundred configurations at most: with more, the front's edge is made of very many."""
    few = 1 < len(points) <= _MOST_MEASURED and 1 < len(keys) <= 3
    return hypervolume(draw(points, keys, items), keys) if few else None


def beaten_by(points: Points, keys: Sequence[str], found: Sureness, position: int) -> list[tuple[Dominator, int]]:
    """Who dominates the point at ``position``, most surely first, with its position among ``points``."""
    rows, drawn = np.flatnonzero(found.near), found.draws
    if not found.near[position]:
        # On the front in no draw, so it is not in them: drawn again with those that are better as measured.
        better = dominated_by(points.value[list(keys)].to_numpy(dtype=np.float64), directions(keys), position)
        rows = np.union1d(better[found.near[better]][:_RIVALS], [position])
        drawn = draw(points.select(rows), list(keys), found.items)
    own = int(np.flatnonzero(rows == position)[0])
    return [(one, int(rows[one.index])) for one in dominators(drawn, list(keys), own)]
