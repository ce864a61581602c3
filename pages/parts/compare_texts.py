"""Compare, answers: the same prompt answered by each configuration, with what each says differently."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import compare_data
from pages.parts.compare_data import Scene, Version
from pages.parts.explore_view import is_dark
from pages.parts.performance_view import show_code
from pages.parts.url_state import Value
from trilemma.analysis.format import digits
from trilemma.analysis.paired import headline_figure, item_id
from trilemma.analysis.reasons import shortened
from trilemma.analysis.subjects import subject_title
from trilemma.analysis.text import count_of
from trilemma.analysis.wording import LONGEST, Wording, wording
from trilemma.charts.palette import theme
from trilemma.figures import FIGURES
from trilemma.tryout.messages import clean

DEFAULTS: dict[str, Value] = {"prompts": None, "differing": True}
_SUITE, _WORKLOAD = "suite:", "workload:"
_LISTED = 500
_EXCERPT = 200
_ABREAST = 3


@dataclass(frozen=True)
class Given:
    """What a configuration made of a prompt; ``score`` in words, empty where there is none."""

    text: str
    score: str = ""


@dataclass(frozen=True)
class Asked:
    """A prompt, what was expected where that is known, and the answers by configuration id."""

    name: str
    prompt: str
    expected: str
    given: dict[str, Given]

    @property
    def different(self) -> int:
        """How many different answers there are, space aside."""
        return len({" ".join(one.text.split()) for one in self.given.values()})


def prepare(scene: Scene) -> None:
    """Which prompts are shown at first: those whose answers are written."""
    known = sources(scene)
    scene.url.defaults(prompts=next(iter(known), None))
    scene.url.keep_to("prompts", known)


def sources(scene: Scene) -> dict[str, str]:
    """Where prompts come from that two of the configurations answered, to their titles: written answers first."""
    suites: dict[str, list[bool]] = {}
    workloads: dict[str, int] = {}
    for one in scene.ids:
        for suite, given in compare_data.answers(scene.of, scene.study, one).items():
            suites.setdefault(suite, []).append("choices" not in given[0].detail)
        for workload in _workload_texts(scene.of, scene.names[one].run_id):
            workloads[workload] = workloads.get(workload, 0) + 1
    shared_suites = {suite: flags[0] for suite, flags in suites.items() if len(flags) > 1}
    written, chosen = ([suite for suite, flag in shared_suites.items() if flag is wanted] for wanted in (True, False))
    found = {_SUITE + suite: suite.replace("_", " ") for suite in written}
    found |= {
        _WORKLOAD + workload: f"workload {subject_title(workload)}"
        for workload, count in workloads.items()
        if count > 1 and _SUITE + workload not in found
    }
    return found | {_SUITE + suite: f"{suite.replace('_', ' ')} (choices)" for suite in chosen}


def show(scene: Scene) -> None:
    """A list of prompts, and the answers to one of them side by side."""
    st.markdown("##### The same prompt, answered by each")
    known = sources(scene)
    if not known:
        st.caption("No prompt was answered by two of these configurations: nothing is kept that could be shown here.")
        return
    url = scene.url
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Prompts of", [*known], format_func=lambda key: known[key], key=url.key("prompts"), width=320)
        st.toggle("Only where answers differ", key=url.key("differing"))
    everything = asked(scene.of, scene.study, scene.ids, tuple(o.run_id for o in scene.names.values()),
                       url.text("prompts"))  # fmt: skip
    listed = [one for one in everything if one.different > 1] if url.get("differing") else everything
    if not everything:
        st.caption(
            "These configurations were not given the same prompts here: prompts are made to a length in tokens, which "
            "models with different tokenizers count differently."
        )
        return
    st.caption(
        f"{len([one for one in everything if one.different > 1]):,} of {count_of(len(everything), 'prompt')} got "
        f"different answers.{' Pick a row to read them in full.' if listed else ''}"
        + (f" The first {_LISTED} are listed." if len(listed) > _LISTED else "")
    )
    if not listed:
        return
    rows = [
        {
            "Prompt": one.name,
            "Text": shortened(one.prompt[-_EXCERPT:], _EXCERPT),
            "Different answers": one.different,
            "Answered by": len(one.given),
        }
        for one in listed[:_LISTED]
    ]
    event = st.dataframe(
        pd.DataFrame(rows), hide_index=True, on_select="rerun", selection_mode="single-row", key="compare_prompts",
        height="content" if len(rows) <= 6 else 260, alt="Prompts that several configurations answered",
    )  # fmt: skip
    picked = event["selection"]["rows"]
    _abreast(scene, listed[picked[0] if picked and picked[0] < len(rows) else 0])


def _abreast(scene: Scene, one: Asked) -> None:
    """A prompt and its answers; each but the first as a change of the first."""
    show_code(f"Prompt, {one.name}", shortened(one.prompt))
    if one.expected:
        show_code("Expected", shortened(one.expected))
    ids = [name for name in scene.ids if name in one.given]
    base = one.given[ids[0]].text
    cut = False
    for start in range(0, len(ids), _ABREAST):
        here = ids[start : start + _ABREAST]
        for column, name in zip(st.columns(min(_ABREAST, len(ids)), gap="large"), here, strict=False):
            with column:
                given = one.given[name]
                st.markdown(f"###### {shared.plain(scene.short[name])}")
                changes = wording(base, given.text)
                cut = cut or changes.cut
                st.html(answer_html(changes, dark=is_dark()))
                notes = [given.score] if given.score else []
                if name != ids[0] and changes.same:
                    notes.append(f"the same words as {scene.short[ids[0]]}")
                if notes:
                    st.caption(shared.plain("; ".join(notes)))
    st.caption(
        f"Underlined: not in the answer of {shared.plain(scene.short[ids[0]])}. Struck through: only there."
        + (f" Only the first {LONGEST:,} words are shown." if cut else "")
    )


def answer_html(changes: Wording, *, dark: bool) -> str:
    """An answer letter for letter, with what was added underlined and what is missing struck through."""
    look = theme(dark)
    tags = {
        "same": ("", ""),
        "added": (f'<ins style="color:{look.text};font-weight:600;text-decoration:underline 2px">', "</ins>"),
        "missing": (f'<del style="color:{look.muted};text-decoration:line-through">', "</del>"),
    }
    parts = []
    for piece in changes.pieces:
        # The space around a change stays unmarked.
        text = clean(piece.text)
        words = text.strip()
        before, _, after = text.partition(words) if words else (text, "", "")
        opened, closed = tags[piece.kind] if words else ("", "")
        parts.append(f"{before}{opened}{html.escape(words)}{closed}{after}")
    inside = "".join(parts)
    style = (
        "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;max-height:26rem;overflow-y:auto;"
        f"border-left:2px solid {look.line};padding-left:0.75rem"
    )
    return f'<div tabindex="0" style="{style}">{inside or "(nothing)"}</div>'


@st.cache_resource(max_entries=16, show_spinner="Reading answers")
def asked(of: Version, study: str, ids: tuple[str, ...], run_ids: tuple[str, ...], source: str) -> list[Asked]:
    """The prompts of ``source`` that at least two of the configurations answered, in the first's order."""
    if source.startswith(_SUITE):
        return _of_suite(of, study, ids, source.removeprefix(_SUITE))
    return _of_workload(of, ids, run_ids, source.removeprefix(_WORKLOAD))


def _of_suite(of: Version, study: str, ids: Sequence[str], suite: str) -> list[Asked]:
    found: dict[str, Asked] = {}
    for one in ids:
        answers = compare_data.answers(of, study, one).get(suite, [])
        figure = headline_figure(answers)
        title = FIGURES[figure].title if figure in FIGURES else figure
        for answer in answers:
            entry = found.setdefault(item_id(answer), Asked(item_id(answer), answer.prompt, answer.expected, {}))
            score = f"{title} {digits(answer.scores[figure])}" if figure in answer.scores else ""
            # Of several tries the first.
            entry.given.setdefault(one, Given(answer.answer, score))
    return [entry for entry in found.values() if len(entry.given) > 1]


def _of_workload(of: Version, ids: Sequence[str], run_ids: Sequence[str], workload: str) -> list[Asked]:
    found: dict[str, Asked] = {}
    for one, run_id in zip(ids, run_ids, strict=True):
        for prompt, text in _workload_texts(of, run_id).get(workload, {}).items():
            entry = found.setdefault(prompt, Asked(f"request {len(found) + 1}", prompt, "", {}))
            entry.given[one] = Given(text)
    return [entry for entry in found.values() if len(entry.given) > 1]


@st.cache_resource(max_entries=32, show_spinner="Reading answers")
def _workload_texts(of: Version, run_id: str) -> Mapping[str, Mapping[str, str]]:
    """By workload and prompt what a run answered; of a prompt that came twice the first answer."""
    found: dict[str, dict[str, str]] = {}
    for request in shared.get_store().requests(run_id):
        if not request.warmup and not request.error and request.prompt and request.text:
            found.setdefault(request.workload, {}).setdefault(request.prompt, request.text)
    return found
