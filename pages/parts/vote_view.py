"""Compare, vote: two answers without names, which of them is better, and what all votes say.

Nothing that is sent to the browser before the vote says which is which: places, keys and labels are those of A and B,
live answers come together, and the address knows the choice of configurations alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages import shared
from pages.parts import entrance, tryout_data, vote_count, vote_data
from pages.parts.compare_data import Scene
from pages.parts.explore_view import is_dark
from pages.parts.performance_view import show_code
from pages.parts.tryout_html import text_html
from pages.parts.tryout_view import EVERY_S, ask_box, show_missing
from pages.parts.url_state import Value
from pages.parts.vote_data import Ballot, NoBallot, What
from trilemma.access.roles import Action
from trilemma.analysis.reasons import shortened
from trilemma.records import Choice, Vote
from trilemma.tryout.rounds import Round

DEFAULTS: dict[str, Value] = {"ballots": None}
_LIVE = "live"
_LONGEST = 8000
_BUTTONS = (
    (Choice.A, "A is better", ":material/arrow_back:"), (Choice.TIE, "Tie", ":material/drag_handle:"),
    (Choice.BAD, "Both are bad", ":material/thumbs_up_down:"), (Choice.B, "B is better", ":material/arrow_forward:"),
)  # fmt: skip


@dataclass
class _Booth:
    """What this session votes on: a ballot, and the vote once it is cast; or two answers that are being written, and
    why nothing came of the last ones.
    """

    ballot: Ballot | None = None
    cast: Vote | None = None
    answering: Round | None = None
    nothing: NoBallot | None = None

    def clear(self) -> None:
        self.ballot = self.cast = None

    def leave(self) -> None:
        """Nobody comes back to it: what is being written for it is stopped."""
        if self.answering is not None:
            self.answering.stop()


def prepare(scene: Scene) -> None:
    """What is voted on at first: answers that are written already."""
    known = [*vote_data.items(scene.of, scene.study, scene.ids), _LIVE]
    scene.url.defaults(ballots=known[0])
    scene.url.keep_to("ballots", known)


def show(scene: Scene) -> None:
    """The booth, and below it the count."""
    everything = shared.get_store().votes(scene.study)
    votes = [vote for vote in everything if {vote.a_id, vote.b_id} <= set(scene.ids)]
    if not entrance.may(Action.VOTE):
        st.info("Your role may read the votes, and not vote.", icon=":material/lock:")
        vote_count.show(scene, votes)
        return
    st.caption(
        "Two answers to the same prompt, in an order by chance and without names: which is better? The names are told "
        "after the vote. Answers in the same words are left out."
    )
    suites = vote_data.items(scene.of, scene.study, scene.ids)
    titles = {suite: f"{suite.replace('_', ' ')}, answers of the study" for suite in suites}
    titles[_LIVE] = "A prompt of your own, answered now"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            "Vote on", [*titles], format_func=lambda key: titles[key], key=scene.url.key("ballots"), width=360
        )  # fmt: skip
        _ask_name()
    source = scene.url.text("ballots")
    booth = _booth(scene, source)
    if source == _LIVE:
        if booth.ballot is None:
            _live(scene, votes, booth)
    elif booth.cast is None:
        told = _told(scene, source) | vote_data.voted(everything, source, _voter())
        if booth.ballot is None or not booth.ballot.blind(told):
            booth.ballot = vote_data.draw(source, suites[source], scene.ids, told)
        if booth.ballot is None:
            st.success(
                "Nothing of this suite is left that you could judge without knowing whose it is. Choose another one, "
                "or other configurations.",
                icon=":material/how_to_vote:",
            )
    if booth.ballot is not None:
        _ballot(scene, booth, booth.ballot)
    vote_count.show(scene, votes)


def _booth(scene: Scene, source: str) -> _Booth:
    """The booth of this choice of study, configurations and source; another choice is another one."""
    key = (scene.study, scene.ids, source)
    held = st.session_state.get("vote:booth")
    if held is not None and held[0] != key:
        held[1].leave()
    if held is None or held[0] != key:
        held = st.session_state["vote:booth"] = (key, _Booth())
    booth: _Booth = held[1]
    return booth


def _told(scene: Scene, source: str) -> set[What]:
    """What this session has seen the names of, or skipped."""
    told: set[What] = st.session_state.setdefault(f"vote:told:{scene.study}:{source}", set())
    return told


def _ask_name() -> None:
    # A widget's own state is gone as soon as another tab is shown.
    st.session_state.setdefault("vote:name", _voter())
    st.text_input("Your name, kept with the vote (optional)", key="vote:name", max_chars=80, width=280)
    st.session_state["vote:voter"] = st.session_state["vote:name"].strip()


def _voter() -> str:
    return str(st.session_state.get("vote:voter", ""))


def _live(scene: Scene, votes: list[Vote], booth: _Booth) -> None:
    """Ask two configurations, and show their answers when both are written: their speed would give them away."""
    cast = tryout_data.cast(scene)
    show_missing(scene, cast)
    live = booth.answering is not None and not booth.answering.over
    if len(cast.contenders) > 1:
        question = ask_box("vote", "Ask two of them", live=live)
        if question is not None:
            booth.answering = cast.ask(vote_data.drawn_pair([*cast.contenders], votes), question)
            booth.nothing = None
            st.rerun()
    elif cast.contenders:
        st.info("Two configurations that can answer on this machine are needed.", icon=":material/info:")
    if booth.answering is not None:
        if live:
            entrance.fragment(_writing, run_every=EVERY_S)(booth.answering)
            return
        found, booth.answering = vote_data.ballot_of(booth.answering), None
        if isinstance(found, Ballot):
            booth.ballot = found
            st.rerun()
        booth.nothing = found
    if booth.nothing is not None:
        _nothing(booth.nothing)


def _nothing(why: NoBallot) -> None:
    st.info(f"There is nothing to vote on. {shared.plain(why.reason)}", icon=":material/info:")
    show_code("Prompt", shortened(why.prompt, _LONGEST))
    if why.log:
        with st.expander("The end of its log"):
            show_code("Log", shortened(why.log))


def _writing(answering: Round) -> None:
    answers = answering.look().values()
    if answering.over:
        st.rerun()
    written = sum(answer.state.final for answer in answers)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(written / 2, text=f"{written} of 2 answers written; they are shown together", width="stretch")
        if st.button("Stop", icon=":material/stop:", key="vote:stop"):
            answering.stop()


def _ballot(scene: Scene, booth: _Booth, ballot: Ballot) -> None:
    show_code("Prompt", shortened(ballot.item.prompt, _LONGEST))
    if ballot.item.expected:
        with st.expander("What was expected", icon=":material/key:"):
            show_code("Expected", shortened(ballot.item.expected))
    for column, side, one in zip(st.columns(2, gap="large"), "AB", (ballot.a, ballot.b), strict=True):
        with column:
            name = f"{side}: {scene.names[one].name}" if booth.cast else side
            st.markdown(f"##### {shared.plain(name)}")
            text = shortened(ballot.item.answers[one], _LONGEST)
            st.html(text_html(text, f"Answer {side}", dark=is_dark(), empty="(it wrote nothing)"))
    with st.container(horizontal=True, vertical_alignment="center", key="vote_buttons"):
        if booth.cast is None:
            _choose(scene, booth, ballot)
        else:
            _next(booth, booth.cast)


def _choose(scene: Scene, booth: _Booth, ballot: Ballot) -> None:
    for choice, label, icon in _BUTTONS:
        if st.button(label, icon=icon, key=f"vote:{choice}"):
            with entrance.guard().doing(Action.VOTE, scene.study) as changed:
                booth.cast = changed.add_vote(scene.study, ballot.vote(choice, _voter()))
            _told(scene, ballot.source).add(ballot.what)
            st.rerun()
    if st.button("Skip", type="tertiary", key="vote:skip", help="Nothing is kept, and it is not shown again."):
        _told(scene, ballot.source).add(ballot.what)
        booth.clear()
        st.rerun()


def _next(booth: _Booth, cast: Vote) -> None:
    said = next(label for choice, label, _ in _BUTTONS if choice is cast.choice)
    st.markdown(f":material/how_to_vote: Kept: **{said}**.", width="content")
    if st.button("Next", type="primary", icon=":material/arrow_forward:", key="vote:next"):
        booth.clear()
        st.rerun()
    if st.button("Take it back", type="tertiary", key="vote:back"):
        with entrance.guard().doing(Action.UNDO_VOTE, cast.id) as changed:
            changed.delete_vote(cast.id)
        booth.clear()  # its names are told: another vote on it would not be blind
        st.rerun()
