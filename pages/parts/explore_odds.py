"""How surely what Explore shows is on the front, worked out once for each state of the store and each choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from pages import shared
from pages.parts.explore_filters import Chosen
from trilemma.analysis.draws import ItemScores, draw
from trilemma.analysis.item_scores import read_item_scores
from trilemma.analysis.odds import Dominator, FrontOdds, Hypervolume, contenders, dominators, front_odds, hypervolume
from trilemma.analysis.points import Points

_MOST_ANSWERS = 50_000
"""Answers above which scores are drawn from their intervals: reading them item by item would take seconds."""


@dataclass(frozen=True)
class Sureness:
    """``odds`` has one entry a point; ``caveats`` are what a reader must know about them."""

    odds: FrontOdds
    volume: Hypervolume | None
    items: ItemScores
    caveats: list[str]


@st.cache_resource(max_entries=32, show_spinner=False)
def sureness(of: tuple[str, int], chosen: Chosen, _points: Points) -> Sureness:
    """How surely each of ``_points``, which ``of`` and ``chosen`` determine, is on the front of the chosen axes."""
    keys = list(dict.fromkeys(chosen.axes))
    near = _points.select(contenders(_points, keys))
    items: ItemScores = {}
    caveats = []
    if len(near) > 1:
        items, too_many = read_item_scores(shared.get_store(), chosen.study, near, keys, most=_MOST_ANSWERS)
        if too_many:
            caveats.append("There are too many answers to compare item by item, so that scores count as independent.")
    drawn = draw(near, keys, items)
    if drawn.unknown.any():
        caveats.append("Where nothing was repeated and a figure has no interval of its own, it counts as exact.")
    return Sureness(front_odds(_points, keys, items), _volume(_points, keys, items), items, caveats)


def _volume(points: Points, keys: Sequence[str], items: ItemScores) -> Hypervolume | None:
    """Of a few hundred configurations at most: with more, the front's edge is made of very many."""
    return hypervolume(draw(points, keys, items), keys) if 1 < len(points) <= 500 and len(keys) > 1 else None


def beaten_by(points: Points, keys: Sequence[str], found: Sureness, position: int) -> list[tuple[Dominator, int]]:
    """Who dominates the point at ``position``, most surely first, with its position among ``points``."""
    near = contenders(points, list(keys))
    near[position] = True
    rows = np.flatnonzero(near)
    drawn = draw(points.select(near), list(keys), found.items)
    own = int(np.flatnonzero(rows == position)[0])
    return [(one, int(rows[one.index])) for one in dominators(drawn, list(keys), own)]
