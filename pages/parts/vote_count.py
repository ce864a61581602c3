"""Compare, vote: what all votes between the chosen configurations say."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import chart
from pages.parts.compare_data import Scene
from pages.parts.explore_view import is_dark
from trilemma.analysis.format import BLANK, digits
from trilemma.analysis.votes import Pair, pairs, strengths, votes_headline
from trilemma.charts.performance import Bar
from trilemma.charts.votes import preference_figure, preference_text
from trilemma.records import Vote


def show(scene: Scene, votes: Sequence[Vote]) -> None:
    """The headline, the picture and the table."""
    st.markdown("##### Votes so far")
    found = pairs(votes, scene.ids)
    st.markdown(shared.plain(votes_headline(found, scene.short)))
    if not found:
        return
    _picture(scene, found)
    rows = [
        {
            "One": scene.short[pair.one],
            "The other": scene.short[pair.other],
            "One is better": pair.won,
            "The other is better": pair.lost,
            "Ties": pair.ties,
            "Both bad": pair.bad,
            "Share for one": digits(pair.share, 2),
            "95 %": BLANK if pair.low is None else f"{digits(pair.low, 2)} to {digits(pair.high, 2)}",
        }
        for pair in found
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", alt="Votes by pair")
    st.caption(
        "The share is of votes that prefer either; its interval is Wilson's. A preference is stated where a test that "
        "may be looked at after every vote, corrected by Holm for all pairs, has p below 0.05: that asks for more than "
        "an interval that leaves 0.5 out. Votes are taken as independent, which several of one person are not quite."
    )


def _picture(scene: Scene, found: Sequence[Pair]) -> None:
    """Of two configurations the share, of several the strength that all votes together give."""
    looks = {scene.short[one]: look for one, look in scene.looks.items()}
    note = ""
    if len({one for pair in found for one in (pair.one, pair.other)}) == 2:
        pair = found[0]
        if pair.share is None or pair.low is None or pair.high is None:
            return
        title, told = "Share of votes that prefer it", pair.won + pair.lost
        bars = [
            Bar(scene.short[pair.one], pair.share, pair.low, pair.high, told),
            Bar(scene.short[pair.other], 1 - pair.share, 1 - pair.high, 1 - pair.low, told),
        ]
    else:
        strong = strengths(found)
        if strong is None:
            st.caption("They fall into groups between which nobody voted yet: there is no common scale for them.")
            return
        title = "Chance to be preferred to an average one"
        bars = [Bar(scene.short[one], s.value, s.low, s.high, s.votes) for one, s in strong.items()]
        note = (
            "All votes together in the model of Bradley and Terry; a tie, or two bad answers, count as half a win for "
            "each, and half a win either way is added to each pair, so that few votes are not believed too much."
        )
    st.plotly_chart(
        preference_figure(bars, title, looks, dark=is_dark()), theme=None, key="vote_strength",
        config=chart.config("votes", bars=True), alt=preference_text(bars, title),
    )  # fmt: skip
    chart.saves(
        "vote_strength", "votes",
        lambda: pd.DataFrame([[b.name, b.value, b.low, b.high, b.n] for b in bars],
                             columns=["configuration", "value", "low", "high", "votes"]),
    )  # fmt: skip
    st.caption(f"Thin lines are 95 % intervals. {note}")
