"""How well a run answered: its suites' scores, what a right answer cost, and what its agents did step by step."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import chart
from pages.parts.explore_view import is_dark
from trilemma.analysis.format import BLANK, format_figure, interval_text, key_title, scale_for
from trilemma.analysis.headline_score import chance_level
from trilemma.analysis.needle import needle_cells, needle_text
from trilemma.analysis.paired import RIGHT, headline_figure, is_score
from trilemma.analysis.reasons import Step, steps
from trilemma.charts.needle import needle_figure
from trilemma.charts.performance import Bar, Group, scores_figure, scores_text
from trilemma.charts.tables import needle_table, scores_table
from trilemma.figures import FIGURES
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, measurement_key

COSTS = (
    "energy_per_correct_answer_j", "energy_per_solved_task_j", "time_per_correct_answer_s", "time_per_solved_task_s",
    "output_tokens_per_answer", "steps_per_task", "tool_calls_per_task", "malformed_calls_share",
)  # fmt: skip
"""What answers that are written cost, the most telling first."""


def performance_view(measurements: Sequence[Measurement], answers: Sequence[AnswerRecord]) -> None:
    """The Performance tab of a run."""
    if not answers:
        st.caption("This run was asked no question: questions are asked in a configuration's first repeat only.")
        return
    groups = suite_groups(measurements, answers)
    if groups:
        st.plotly_chart(
            scores_figure(groups, title="Score: what each suite names first", dark=is_dark()), theme=None,
            key="run_scores", config=chart.config("run scores", bars=True), alt=scores_text(groups),
        )  # fmt: skip
        chart.saves("run_scores", "run scores", lambda: scores_table(groups))
        st.caption("Thin lines are 95 % intervals over the items. Every other score is under *All figures*.")
    else:
        st.caption("No suite of this run has a score from 0 to 1; its figures are under *All figures*.")
    _needles(answers)
    _costs(measurements)
    _agents(answers)


def _needles(answers: Sequence[AnswerRecord]) -> None:
    """Facts hidden in long texts: what was found, by length and depth."""
    if cells := needle_cells(answers):
        st.markdown("##### Facts hidden in long texts")
        st.plotly_chart(
            needle_figure(cells, dark=is_dark()), theme=None, key="run_needles",
            config=chart.config("run needles", bars=True), alt=needle_text(cells),
        )  # fmt: skip
        chart.saves("run_needles", "run needles", lambda: needle_table(cells))


def suite_groups(measurements: Sequence[Measurement], answers: Sequence[AnswerRecord]) -> list[Group]:
    """A bar for each suite whose headline score is a share, as it was measured."""
    by_key = {m.key: m for m in measurements if m.provenance.valid}
    groups = []
    for suite in dict.fromkeys(answer.suite for answer in answers):
        of_suite = [answer for answer in answers if answer.suite == suite]
        measured = by_key.get(measurement_key(headline_figure(of_suite), suite))
        if measured is not None and measured.value is not None and is_score(of_suite):
            title = suite.replace("_", " ")
            bar = Bar(title, measured.value, measured.low, measured.high, measured.n)
            groups.append(Group(title, [bar], chance_level(of_suite)))
    return groups


def _costs(measurements: Sequence[Measurement]) -> None:
    """What a right answer or a solved task cost; one that cannot be told says why."""
    found = sorted((m for m in measurements if m.figure in COSTS), key=lambda m: (m.subject, COSTS.index(m.figure)))
    if not found:
        return
    st.markdown("##### What answers cost")
    rows = []
    for m in found:
        unit = FIGURES[m.figure].unit
        usable = m.provenance.valid and m.value is not None
        rows.append(
            {
                "Figure": key_title(m.key),
                "Value": format_figure(m.value, unit) if usable else BLANK,
                "95 %": interval_text(m.value, m.low, m.high, scale_for([m.value], unit)) if usable else "",
                "Answers": m.n,
                "How": m.provenance.method.value if usable else "; ".join(reversed(m.provenance.reasons)) or "unknown",
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", alt="What answers cost")
    st.caption("Wrong answers' cost is included: it is all energy and time over what was right.")


def _agents(answers: Sequence[AnswerRecord]) -> None:
    """One task of an agent, a step after the other."""
    traced = {f"{a.suite}/{a.index}": a for a in answers if steps(a, 1)}
    if not traced:
        return
    st.markdown("##### What the agent did")
    names = {key: f"{a.item_id}: {'solved' if _solved(a) else 'not solved'}" for key, a in traced.items()}
    picked = st.selectbox("Task", [*traced], format_func=names.__getitem__, key="run_trace")
    one = traced[picked]
    show_code("Task", one.prompt)
    for step in steps(one):
        show_step(step)


def _solved(answer: AnswerRecord) -> bool:
    return next(iter(answer.scores.values()), 0.0) >= RIGHT


def show_step(step: Step) -> None:
    """What was written, called and returned, as code: none of it is to be trusted."""
    with st.expander(shared.plain(step.title)):
        for title, text in (("Answer", step.answer), ("Calls", step.calls), ("Results", step.results)):
            if text:
                show_code(title, text)


def show_code(title: str, text: str) -> None:
    """A text letter for letter, under its name."""
    st.caption(shared.plain(title))
    st.code(text or " ", language=None, wrap_lines=True)
