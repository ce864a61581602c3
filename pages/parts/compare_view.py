"""The parts of Compare: bars, paired differences, the composed score, and the items that two disagree on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import chart, compare_data, explore_data
from pages.parts.compare_data import Comparison, Option, Version
from pages.parts.explore_view import is_dark
from pages.parts.performance_view import show_code
from pages.parts.url_state import UrlState
from trilemma.analysis.format import BLANK, digits
from trilemma.analysis.headline_score import common_items
from trilemma.analysis.paired import item_id
from trilemma.analysis.reasons import reasons, shortened
from trilemma.charts.palette import model_colours
from trilemma.charts.performance import Bar, Group, ladder_colours, scores_figure, scores_text
from trilemma.charts.tables import scores_table
from trilemma.figures import FIGURES
from trilemma.records import AnswerRecord

_LISTED = 500
_EXCERPT = 300


def _title(suite: str) -> str:
    return suite.replace("_", " ")


def _looks(of: Version, names: Mapping[str, Option]) -> dict[str, str]:
    models = {option.name: option.model for option in names.values()}
    known = model_colours([*explore_data.catalog(of).models, *models.values()], is_dark())
    return ladder_colours(models, known)


def scores(of: Version, found: Comparison, names: Mapping[str, Option]) -> None:
    """A group of bars a suite."""
    groups = [
        Group(_title(suite), [table.bars[one] for one in names if one in table.bars], table.chance)
        for suite, table in found.suites.items()
    ]
    figures = {FIGURES[t.figure].title.lower() if t.figure in FIGURES else t.figure for t in found.suites.values()}
    st.plotly_chart(
        scores_figure(groups, title=f"Score ({', '.join(sorted(figures))})", looks=_looks(of, names), dark=is_dark()),
        theme=None, key="compare_scores", config=chart.config("scores", bars=True), alt=scores_text(groups),
    )  # fmt: skip
    chart.saves("compare_scores", "scores", lambda: scores_table(groups))
    st.caption("Thin lines are 95 % intervals of each score by itself; whether two differ is in the table below.")


def _signed(value: float | None) -> str:
    return BLANK if value is None else digits(value) if value <= 0 else f"+{digits(value)}"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_signed(low)} to {_signed(high)}"


def differences(found: Comparison, names: Mapping[str, Option]) -> None:
    """Each configuration against the first, suite by suite."""
    first = next(iter(names.values())).name
    st.markdown(f"##### Difference to {shared.plain(first)}")
    rows = [
        {
            "Suite": _title(one.suite),
            "Configuration": names[one.configuration_id].name,
            "Difference": _signed(one.result.difference),
            "95 %": _between(one.result.low, one.result.high),
            "p (Holm)": BLANK if one.p is None else "< 0.0001" if one.p < 1e-4 else digits(one.p),
            "Right to wrong": one.result.lost,
            "Wrong to right": one.result.gained,
            "Items of both": one.result.n,
            "Test": one.result.test,
        }
        for one in found.differences
    ]
    if not rows:
        st.info("The first configuration shares no suite with the others: put another one first.")
        return
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", alt=f"Paired differences to {first}")
    told = [one for one in found.differences if one.p is not None and one.p < 0.05]
    if len(rows) == 1:
        count = f"The difference is {'' if told else 'not '}"
    else:
        count = f"{len(told) or 'None'} of {len(rows)} differences {'is' if len(told) < 2 else 'are'} "
    st.caption(
        f"{count}larger than luck explains (p below 0.05, corrected by Holm for {len(rows)} "
        f"{'comparison' if len(rows) == 1 else 'comparisons'}). Both answered the same items, so the interval is by "
        "resampling items in pairs; it is blank where no item differs. Many flips beside a small difference say that "
        "the answers changed, though the score did not."
    )


def composed_score(
    of: Version, study: str, found: Comparison, names: Mapping[str, Option], weights: Mapping[str, float], url: UrlState
) -> None:
    """The weights, and the score that comes of them."""
    _weight_inputs(found, weights, url)
    result = compare_data.composed_score(of, study, tuple(names), tuple(weights.items()))
    if not result:
        st.info(
            "No suite counts: give one that all configurations have answered a weight above 0.",
            icon=":material/info:",
        )
        return
    bars = [Bar(names[one].name, score.value, score.low, score.high) for one, score in result.items()]
    groups, first = [Group("", bars)], next(iter(result))
    st.plotly_chart(
        scores_figure(groups, title="Composed score, 0 is guessing and 1 all right", looks=_looks(of, names),
                      dark=is_dark()),
        theme=None, key="compare_composed", config=chart.config("composed score", bars=True), alt=scores_text(groups),
    )  # fmt: skip
    chart.saves("compare_composed", "composed score", lambda: scores_table(groups))
    rows = [
        {
            "Configuration": names[one].name,
            "Score": digits(score.value),
            "95 %": _between(score.low, score.high).replace("+", ""),
            f"Difference to {names[first].name}": _signed(score.difference) if one != first else BLANK,
            "95 % of it": _between(score.difference_low, score.difference_high),
            "Is the best in": f"{score.best:.0%} of resamples",
        }
        for one, score in result.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", alt="Composed scores")
    counting = {suite: found.suites[suite] for suite, weight in weights.items() if weight > 0}
    levels = "; ".join(
        f"{_title(suite)} {digits(table.chance)} ({len(common_items(table.scores)):,} items)"
        for suite, table in counting.items()
    )
    st.caption(
        "Weighted mean of the suites, each rescaled so that its chance level is 0: "
        f"{shared.plain(levels)}. The chance level is one over the number of choices, 0 for written answers. Intervals "
        "by bootstrap over the items of each suite, the same resamples for all configurations."
    )
    missing = [option.name for one, option in names.items() if one not in result]
    if missing:
        st.caption(f"Not all suites answered: {shared.plain(', '.join(missing))}.")


def _weight_inputs(found: Comparison, weights: Mapping[str, float], url: UrlState) -> None:
    keys = {suite: f"compare:weight:{suite}" for suite in found.suites}

    def keep() -> None:
        chosen = {suite: st.session_state[key] for suite, key in keys.items()}
        url.put("weight", [f"{suite}:{value:g}" for suite, value in chosen.items() if value != 1.0])

    with st.container(horizontal=True):
        for suite, key in keys.items():
            st.session_state[key] = weights[suite]
            st.number_input(
                shared.plain(f"Weight of {_title(suite)}"), min_value=0.0, max_value=10.0, step=0.5, key=key,
                on_change=keep, width=200,
            )  # fmt: skip


def disagreements(of: Version, study: str, found: Comparison, names: Mapping[str, Option], url: UrlState) -> None:
    """The items that two of the configurations are scored differently on, and one of them side by side."""
    st.markdown("##### Where two of them disagree")
    suite_column, *columns = st.columns([1, 1.4, 1.4])
    suite_column.selectbox("Suite", [*found.suites], format_func=_title, key=url.key("suite"))
    for column, (name, label) in zip(columns, (("a", "One"), ("b", "The other")), strict=True):
        column.selectbox(label, [*names], format_func=lambda key: names[key].name, key=url.key(name))
    suite, pair = url.text("suite"), (url.text("a"), url.text("b"))
    table = found.suites[suite].scores
    if pair[0] == pair[1] or not all(one in table for one in pair):
        st.info("Pick two different configurations that both answered this suite.", icon=":material/info:")
        return
    items = found.suites[suite].disagreements(*pair)
    both = len(common_items({one: table[one] for one in pair}))
    if not items:
        st.caption(f"They agree on all {both:,} items that both answered.")
        return
    by_item = {one: _first_tries(of, study, one, suite) for one in pair}
    listed = [item for item in items[:_LISTED] if all(item in by_item[one] for one in pair)]
    left, right = (names[one].name for one in pair)
    rows = [
        {
            "Item": item,
            "Question": shortened(by_item[pair[0]][item].prompt[-_EXCERPT:], _EXCERPT),
            f"{left} answers": shortened(by_item[pair[0]][item].answer, _EXCERPT),
            f"{right} answers": shortened(by_item[pair[1]][item].answer, _EXCERPT),
        }
        for item in listed
    ]  # fmt: skip
    st.caption(f"They disagree on {len(items):,} of {both:,} items. Pick a row to read it in full.")
    event = st.dataframe(
        pd.DataFrame(rows), hide_index=True, on_select="rerun", selection_mode="single-row", key="compare_items",
        height="content" if len(rows) <= 8 else 320, alt="Items on which the two disagree",
    )  # fmt: skip
    picked = event["selection"]["rows"]
    item = listed[picked[0] if picked and picked[0] < len(listed) else 0]
    _side_by_side(of, study, suite, item, {one: names[one].name for one in pair})


def _first_tries(of: Version, study: str, configuration_id: str, suite: str) -> dict[str, AnswerRecord]:
    found: dict[str, AnswerRecord] = {}
    for answer in compare_data.answers(of, study, configuration_id).get(suite, []):
        found.setdefault(item_id(answer), answer)
    return found


def _side_by_side(of: Version, study: str, suite: str, item: str, names: Mapping[str, str]) -> None:
    """One question, and what each made of it."""
    given = {one: compare_data.tries(of, study, one, suite, item) for one in names}
    asked = next(iter(given.values()))[0]
    show_code(f"Question, {item}", shortened(asked.prompt))
    show_code("Expected", shortened(asked.expected))
    for column, (one, name) in zip(st.columns(2, gap="large"), names.items(), strict=True):
        with column:
            st.markdown(f"###### {shared.plain(name)}")
            if len(given[one]) > 1:
                st.caption(f"The first of {len(given[one])} tries.")
            show_code("Answer", shortened(given[one][0].answer))
            show_reasons(given[one][0])


def show_reasons(answer: AnswerRecord) -> None:
    """Why an answer was scored so."""
    why = reasons(answer)
    for title, rows in why.tables.items():
        st.caption(shared.plain(title))
        st.dataframe(pd.DataFrame(rows), hide_index=True, height="content" if len(rows) <= 8 else 320, alt=title)
    if why.lines:
        st.caption("Why it was scored so")
        st.dataframe(
            pd.DataFrame({"": [*why.lines], "value": [*why.lines.values()]}), hide_index=True, height="content",
            alt="Why it was scored so",
        )  # fmt: skip
    for title, text in why.texts.items():
        show_code(title, text)
