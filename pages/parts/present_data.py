"""What Present shows: the same material, words and figures as the report of the same view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages import shared
from pages.parts import decide_choice, decide_data, explore_data
from pages.parts.url_state import UrlState
from trilemma.analysis.limits import Limit
from trilemma.errors import TrilemmaError
from trilemma.report import PlanView, View, html_report, pdf_report
from trilemma.report.gather import Material, gather
from trilemma.schema import Axis, RunState

Version = tuple[str, int]


@dataclass(frozen=True)
class Chosen:
    """What the URL asks for: a study, a view of it, and the limits that cannot be read."""

    study: str
    view: View
    problems: tuple[TrilemmaError, ...]

    @property
    def key(self) -> str:
        """The view as text, to cache by."""
        return self.view.model_dump_json()

    def report_key(self, plan: PlanView | None) -> str:
        """The same for the report, which holds the plan as well."""
        return self.view.model_copy(update={"plan": plan}).model_dump_json()


def first_study(of: Version) -> str | None:
    """The newest study with a finished run."""
    for study_id in explore_data.catalog(of).studies:
        if finished(of, study_id):
            return study_id
    return None


def finished(of: Version, study_id: str) -> bool:
    """Whether a study has a finished run."""
    return bool((explore_data.runs(of, study_id)["state"] == RunState.DONE).any())


def choose(of: Version, start: str, url: UrlState) -> Chosen:
    """What is presented, from the URL alone: the same question as on Decide, and the picture as on Explore."""
    url.defaults(study=start)
    url.keep_to("study", [one for one in explore_data.catalog(of).studies if finished(of, one)])
    asked = decide_choice.choose(of, start, url)
    for name in ("x", "y", "size"):
        url.keep_to(name, decide_data.keys(of, url.text("study")))
    view = View() if asked.preset is None else View.of_preset(asked.preset)
    written: dict[str, Any] = {
        "x": url.text("x"), "y": url.text("y"), "size": url.text("size"), "models": tuple(url.texts("model")),
        "quantizations": tuple(url.texts("quantization")), "engines": tuple(url.texts("engine")),
        "engine_versions": tuple(url.texts("engine_version")), "machines": tuple(url.texts("measured_on")),
        "limits": tuple(_spelled(limit) for limit in asked.texts),
    }  # fmt: skip
    if asked.question is not None:
        question = asked.question
        written |= {
            "limits": (*written["limits"], *question.unmeasured), "method": question.method,
            "weights": dict(zip(Axis, question.weights, strict=True)), "normalisation": question.normalisation,
            "axes": {axis: (key,) for axis, key in question.by_axis.items()},
        }  # fmt: skip
    return Chosen(url.text("study"), view.model_copy(update=written), tuple(asked.problems))


def _spelled(limit: Limit) -> str:
    return f"{limit.key} {limit.op} {limit.value:.12g}"


@st.cache_resource(max_entries=8, show_spinner=False)
def material(of: Version, study: str, view: str) -> Material:
    """Everything that is told of a study in the state ``of`` the store."""
    return gather(shared.get_store(), study, View.model_validate_json(view))


def html(of: Version, study: str, view: str) -> bytes:
    """The report of the same view, as HTML."""
    return _html(of, study, view, _voted(study))


def pdf(of: Version, study: str, view: str) -> bytes:
    """The same as PDF.

    Raises:
        ReportError: no browser prints it.
    """
    return _pdf(of, study, view, _voted(study))


def _voted(study: str) -> tuple[str, ...]:
    """Votes are in the report, but no part of the store's version."""
    return tuple(vote.id for vote in shared.get_store().votes(study))


@st.cache_resource(max_entries=2, show_spinner=False)
def _html(of: Version, study: str, view: str, votes: tuple[str, ...]) -> bytes:
    return html_report(shared.get_store(), study, View.model_validate_json(view))


@st.cache_resource(max_entries=2, show_spinner=False)
def _pdf(of: Version, study: str, view: str, votes: tuple[str, ...]) -> bytes:
    return pdf_report(_html(of, study, view, votes))
