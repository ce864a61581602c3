"""What is asked on Decide: study, preset, limits, priorities, figures and scoring, all of it in the URL."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from pages import shared
from pages.parts import decide_data, explore_data
from pages.parts.decide_data import Question, Version
from pages.parts.url_state import UrlState
from trilemma.analysis.format import key_title
from trilemma.analysis.limits import Limit, Relaxation
from trilemma.analysis.points import axis_of
from trilemma.analysis.preferences import axis_keys, limit_text, limit_words, read_limit, upper_first
from trilemma.analysis.priorities import with_share
from trilemma.analysis.recommendation import Recommendation
from trilemma.analysis.scoring import Normalisation, ScoringMethod
from trilemma.errors import TrilemmaError
from trilemma.presets import Preset
from trilemma.schema import Axis

# Not an empty list: no limit where the preset has some is a choice too.
_UNSET = ["unset"]
_EQUAL = "1,1,1"
DEFAULTS: dict[str, str | list[str] | bool | None] = {
    "study": None, "preset": "", "limit": _UNSET, "weights": None,
    "efficiency": None, "speed": None, "performance": None,
    "method": ScoringMethod.CHEBYSHEV.value, "normalisation": Normalisation.RANGE.value,
}  # fmt: skip
_RECOMMENDED = "recommended"
"""In the session: by study, the pick, the runner-up and the reference that were recommended last."""
METHOD_NAMES = {
    ScoringMethod.CHEBYSHEV: "Augmented Chebyshev",
    ScoringMethod.WEIGHTED_SUM: "Weighted sum",
    ScoringMethod.TOPSIS: "TOPSIS",
}
NORMALISATION_NAMES = {
    Normalisation.RANGE: "Range",
    Normalisation.LOG_RANGE: "Range of logarithms",
    Normalisation.RANK: "Rank",
}
_LIMITS_HELP = (
    "A figure, then `<=` or `>=`, a number and a unit: `peak memory <= 400 MiB`, `accuracy_norm@hellaswag >= 0.4`. "
    "A configuration that lacks the figure does not keep it; a figure that the study has not measured is not checked."
)


@dataclass(frozen=True)
class Asked:
    """The question, with what is wrong with it: ``problems`` are limits that cannot be read.

    ``question`` is None where the study lacks an axis, and ``missing`` names which.
    """

    question: Question | None
    missing: tuple[Axis, ...]
    preset: Preset | None
    problems: list[TrilemmaError]
    texts: dict[Limit, str]
    """Each limit as it was written."""


def choose(of: Version, start: str, url: UrlState) -> Asked:
    """What is asked, from the URL and the session alone: known before any widget is made."""
    studies = explore_data.catalog(of).studies
    url.defaults(study=start)
    url.keep_to("study", ["", *studies])
    presets, _ = decide_data.known_presets()
    url.keep_to("preset", ["", *presets])
    url.keep_to("method", [one.value for one in ScoringMethod])
    url.keep_to("normalisation", [one.value for one in Normalisation])
    preset = presets.get(url.text("preset"))
    subjects = (*(preset.subjects if preset else ()), *explore_data.catalog(of).workloads)
    keys = decide_data.keys(of, url.text("study"))
    usual = axis_keys(preset.axes if preset else {}, keys, subjects)
    url.defaults(
        limit=list(preset.limits) if preset else [],
        weights=_spelled([preset.shares[axis] for axis in Axis]) if preset else _EQUAL,
        **{axis.value: usual.get(axis) for axis in Axis},
    )
    url.put("limit", [text for text in dict.fromkeys(url.texts("limit")) if text])
    for axis in Axis:
        url.keep_to(axis.value, [key for key in keys if axis_of(key) is axis])
    texts: dict[Limit, str] = {}
    unmeasured: list[str] = []
    problems: list[TrilemmaError] = []
    for text in url.texts("limit"):
        try:
            stated = read_limit(text, keys, subjects)
        except TrilemmaError as error:
            problems.append(error)
            continue
        if stated.limit is None:
            unmeasured.append(text)
        else:
            texts.setdefault(stated.limit, text)
    missing = tuple(axis for axis in Axis if axis not in usual)
    question = Question(
        study=url.text("study"), axes=tuple(url.text(axis.value) for axis in Axis), weights=shares(url.text("weights")),
        limits=tuple(texts), unmeasured=tuple(unmeasured), method=ScoringMethod(url.text("method")),
        normalisation=Normalisation(url.text("normalisation")),
    )  # fmt: skip
    return Asked(None if missing else question, missing, preset, problems, texts)


def remember(study: str, told: Recommendation) -> None:
    """Keep who is recommended, for the pages that start from it."""
    named = [one for one in (told.pick, told.runner_up, told.reference) if one is not None]
    st.session_state[_RECOMMENDED] = {**st.session_state.get(_RECOMMENDED, {}), study: list(dict.fromkeys(named))}


def recommended(study: str) -> list[str]:
    """Who was recommended last in this session: the pick, the runner-up and the reference, where there are such."""
    found: list[str] = st.session_state.get(_RECOMMENDED, {}).get(study, [])
    return found


def shares(text: str) -> tuple[float, ...]:
    """Weights as the URL has them (``20,45,35``), with a sum of 1; equal where they cannot be read."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    total = sum(values)
    if len(values) != len(Axis) or not all(math.isfinite(v) and v >= 0 for v in values) or not 0 < total < math.inf:
        return (1 / 3, 1 / 3, 1 / 3)
    return tuple(value / total for value in values)


def _spelled(weights: Sequence[float]) -> str:
    """``20,45,35``: percent, to a tenth."""
    total = sum(weights)
    return ",".join(f"{100 * weight / total:.1f}".removesuffix(".0") for weight in weights)


def put_weights(url: UrlState, weights: Sequence[float]) -> None:
    """Set the priorities; in a callback."""
    url.put("weights", _spelled(weights))


def controls(of: Version, url: UrlState, asked: Asked) -> None:
    """Study, preset and limits: what is asked, and what each limit leaves."""
    presets, broken = decide_data.known_presets()
    studies = explore_data.catalog(of).studies

    def fresh(*names: str) -> None:
        for name in names:
            url.put(name, DEFAULTS[name])

    axes = tuple(axis.value for axis in Axis)
    columns = st.columns([1.1, 1.3, 2.6], vertical_alignment="top")
    columns[0].selectbox(
        "Study", ["", *studies], format_func=lambda key: studies.get(key, key) or "All studies", key=url.key("study"),
        on_change=fresh, args=axes,
    )  # fmt: skip
    columns[1].selectbox(
        "Use case", ["", *presets], format_func=lambda name: presets[name].title if name in presets else "None",
        key=url.key("preset"), on_change=fresh, args=("limit", "weights", *axes),
        help="A starting point: it fills in limits and priorities, which you may change. Yours are files in the folder "
        "presets of the data folder.",
    )  # fmt: skip
    columns[2].multiselect(
        "Limits", url.texts("limit"), key=url.key("limit"), accept_new_options=True,
        placeholder="peak_memory_bytes <= 400 MiB", help=_LIMITS_HELP, wrap=True,
    )  # fmt: skip
    for problem in asked.problems:
        shared.show_error(problem)
    for text in broken:
        st.warning(shared.plain(text), icon=":material/warning:")


def limit_lines(of: Version, question: Question) -> None:
    """For each limit how many configurations keep it and how surely, and which limits are not checked."""
    if not question.limits and not question.unmeasured:
        return
    found = decide_data.field(of, question.study, question.axes, question.limits)
    lines = []
    for position, limit in enumerate(question.limits):
        words = limit_words(limit)
        lines.append(
            f":material/filter_alt: {shared.plain(upper_first(words))}: "
            f"{decide_data.kept_words(found, position, question.limits)}"
        )
    lines += [
        f":material/help: {shared.plain(text)}: not measured in this study, so not checked"
        for text in question.unmeasured
    ]
    st.caption("  \n".join(lines))


def loosen(url: UrlState, asked: Asked, found: Relaxation) -> None:
    """A button that loosens the one limit that lets a configuration in."""

    def replace() -> None:
        before, after = asked.texts[found.limit], limit_text(found.loosened)
        url.put("limit", [after if text == before else text for text in url.texts("limit")])

    st.button(
        f"Set it to {shared.plain(limit_words(found.loosened))}", icon=":material/filter_alt_off:", on_click=replace,
        type="primary", key="decide_loosen",
    )  # fmt: skip


def priorities(url: UrlState, weights: Sequence[float]) -> None:
    """Three sliders, the way by keyboard: one moves, the others give way in proportion."""
    for position, (column, axis) in enumerate(zip(st.columns(len(Axis), gap="medium"), Axis, strict=True)):
        key = f"decide:slider:{axis}"
        st.session_state[key] = round(100 * weights[position])

        def move(position: int = position, key: str = key) -> None:
            put_weights(url, with_share(weights, position, st.session_state[key] / 100).tolist())

        column.slider(shared.axis_badge(axis), 0, 100, key=key, format="%d %%", on_change=move)


def scoring(of: Version, url: UrlState, question: Question) -> None:
    """Which figure stands for each axis, and how losses become one score."""
    known = decide_data.keys(of, question.study)
    for column, axis in zip(st.columns(len(Axis)), Axis, strict=True):
        column.selectbox(
            f"{axis.value.capitalize()} is judged by", [key for key in known if axis_of(key) is axis],
            format_func=key_title, key=url.key(axis.value),
        )  # fmt: skip
    left, right = st.columns(2)
    left.segmented_control(
        "Method", [one.value for one in ScoringMethod], format_func=lambda one: METHOD_NAMES[ScoringMethod(one)],
        key=url.key("method"), required=True,
        help="Chebyshev looks at the worst of the three weighted losses, so that no strength hides a weakness; the "
        "weighted sum lets one make up for another; TOPSIS looks at the distance to the best and to the worst.",
    )  # fmt: skip
    right.segmented_control(
        "Losses are scaled by", [one.value for one in Normalisation],
        format_func=lambda one: NORMALISATION_NAMES[Normalisation(one)], key=url.key("normalisation"), required=True,
        help="0 is the best and 1 the worst of those that keep the limits: by the figure itself, by its logarithm, or "
        "by its rank alone.",
    )  # fmt: skip


def study_command(preset: Preset) -> str:
    """What to type to measure a study for a preset."""
    return shlex.join(["trilemma", "study", "--name", preset.name, "--model", "MODEL", *preset.study_options])
