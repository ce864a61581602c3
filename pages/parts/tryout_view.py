"""Compare, try out: a prompt of the user's own, answered by one configuration after the other while they watch."""

from __future__ import annotations

import math

import streamlit as st

from pages import shared
from pages.parts import entrance, explore_data, tryout_data
from pages.parts.compare_data import Scene
from pages.parts.explore_view import is_dark
from pages.parts.performance_view import show_code
from pages.parts.tryout_data import Cast, Shown
from pages.parts.tryout_html import HOLLOW, StudySpeed, answer_html
from trilemma.access.roles import Action
from trilemma.analysis.reasons import shortened
from trilemma.analysis.subjects import subject_title
from trilemma.charts.palette import theme
from trilemma.schema import Method, split_key
from trilemma.tryout.messages import LONGEST_PROMPT, MOST_TOKENS, Question, clean
from trilemma.tryout.rounds import State

EVERY_S = 0.5
"""How often a page that waits for answers is drawn again."""
_TOKENS = 128
_TITLE = 90
_ABREAST = 3


def show(scene: Scene) -> None:
    """The prompt box, the answers as they come, and what was asked before in this session."""
    if not entrance.may(Action.TRY_OUT):
        st.info("To try a prompt uses the machine, which your role may not.", icon=":material/lock:")
        return
    cast = tryout_data.cast(scene)
    st.caption(
        "A prompt loads them one after the other, with the engine and settings of the study. Each answers alone, so "
        "its speed and memory are its real ones."
    )
    show_missing(scene, cast)
    earlier = tryout_data.rounds(scene.study)
    live = bool(earlier) and not earlier[0].round.over
    if cast.contenders:
        count = len(cast.contenders)
        question = ask_box("tryout", "Ask it" if count == 1 else f"Ask all {count} of them", live=live)
        if question is not None:
            asked = cast.ask([*cast.contenders], question)
            tryout_data.remember(Shown(asked, scene.study, {one: scene.short[one] for one in cast.contenders}))
            st.rerun()
    if earlier:
        # A fragment's interval is fixed when the page runs; the fragment runs the page again when it must change.
        entrance.fragment(_now, run_every=EVERY_S if live else None)(scene, earlier[0], live)
    for shown in earlier[1:]:
        with st.expander(shared.plain(shortened(shown.round.ask.question.prompt, _TITLE)), icon=":material/history:"):
            _answers(scene, shown)


def show_missing(scene: Scene, cast: Cast) -> None:
    """Which of the chosen configurations cannot answer here, and why."""
    if not cast.missing:
        return
    lines = [f"- {shared.plain(scene.short[one])}: {shared.plain(why)}" for one, why in cast.missing.items()]
    which = "None of these configurations" if not cast.contenders else "Not all of these configurations"
    st.info(f"{which} can answer on this machine.\n\n" + "\n".join(lines), icon=":material/info:")
    if not cast.contenders:
        shared.link("models", "Add weights", icon=":material/deployed_code:")


def ask_box(key: str, label: str, *, live: bool) -> Question | None:
    """The box for a prompt, and how it is asked; what was entered just now.

    Args:
        key: What the widgets' keys begin with.
        label: What the box says while it is empty.
        live: An answer is being written: nothing can be entered.
    """
    with st.container(key=f"{key}_ask"):  # not pinned to the bottom of the page, as it is outside of containers
        prompt = st.chat_input(label, key=f"{key}:prompt", max_chars=LONGEST_PROMPT, disabled=live)
        with st.popover("Longest answer, temperature", icon=":material/tune:", disabled=live):
            tokens = st.number_input("Longest answer, tokens", 1, MOST_TOKENS, _TOKENS, step=32, key=f"{key}:tokens")
            temperature = st.number_input(
                "Temperature", 0.0, 2.0, 0.0, step=0.1, key=f"{key}:temperature", help="0 always takes the likeliest."
            )
            seed = st.number_input("Seed", 0, 2**31 - 1, 0, step=1, key=f"{key}:seed", help="For chance above 0.")
    text = clean((prompt or "").strip())
    if not text or live:
        return None
    return Question(prompt=text, max_tokens=int(tokens), temperature=float(temperature), seed=int(seed))


def _now(scene: Scene, shown: Shown, live: bool) -> None:
    """The prompt at hand and its answers; drawn again twice a second while they are written."""
    if live and shown.round.over:
        st.rerun()
    show_code("Prompt", shortened(shown.round.ask.question.prompt, 2000))
    if live and st.button("Stop", icon=":material/stop:", key="tryout:stop"):
        shown.round.stop()
    _answers(scene, shown)


def _answers(scene: Scene, shown: Shown) -> None:
    answers = shown.round.look()
    reasons = {answer.reason for answer in answers.values()}
    if all(answer.state is State.FAILED and not answer.log for answer in answers.values()) and len(reasons) == 1:
        st.warning(shared.plain(reasons.pop()), icon=":material/error:")
        return
    looks, dark = scene.looks, is_dark()
    ids = [*answers]
    for start in range(0, len(ids), _ABREAST):
        columns = st.columns(min(_ABREAST, len(ids)), gap="medium")
        for column, one in zip(columns, ids[start : start + _ABREAST], strict=False):
            answer = answers[one]
            colour = looks[one].colour if one in looks else theme(dark).line
            column.html(
                answer_html(
                    shown.names[one], answer, colour=colour, longest=shown.round.ask.question.max_tokens,
                    study=_study_speed(scene, one), dark=dark,
                )
            )  # fmt: skip
            if answer.log:
                with column.expander("The end of its log"):
                    show_code("Log", shortened(answer.log))
    _notes(shown)


def _notes(shown: Shown) -> None:
    readings = [answer.reading for answer in shown.round.answers.values() if answer.reading is not None]
    notes = []
    if any(reading.method is Method.MODELLED for reading in readings):
        notes.append(f"{HOLLOW} modelled, not measured: busy cores and memory held, times the study's coefficients.")
    notes += dict.fromkeys(shared.plain(reading.note) for reading in readings if reading.note)
    for one, answer in shown.round.answers.items():
        if answer.reading is not None and answer.reading.disturbances:
            why = "; ".join(answer.reading.disturbances)
            notes.append(f":material/warning: {shared.plain(shown.names[one])} was disturbed: {shared.plain(why)}.")
    notes.append("One answer, and watching costs a little speed: the study's figures are the ones to go by.")
    st.caption(" ".join(notes))


def _study_speed(scene: Scene, one: str) -> StudySpeed | None:
    """What the study measured, under a workload rather than a suite."""
    values, known = scene.points.value, explore_data.catalog(scene.of)
    if one not in values.index:
        return None
    for key in sorted(known.keys, key=lambda key: split_key(key)[1] not in known.workloads):
        figure, subject, statistic = split_key(key)
        if (figure, statistic) != ("decode_tps", "") or key not in values.columns:
            continue
        if math.isfinite(value := float(values[key].loc[one])):
            return StudySpeed(value, subject_title(subject))
    return None
