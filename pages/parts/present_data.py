"""What Present shows: the same material, words and figures as the report of the same view."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages import shared
from pages.parts import explore_data
from pages.parts.url_state import UrlState
from trilemma.analysis.limits import parse_limit
from trilemma.errors import TrilemmaError
from trilemma.report import View, html_report, pdf_report
from trilemma.report.gather import Material, gather
from trilemma.schema import RunState

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
    """What is presented, from the URL alone."""
    url.defaults(study=start)
    url.keep_to("study", [one for one in explore_data.catalog(of).studies if finished(of, one)])
    study = url.text("study")
    keys = material(of, study, View().model_dump_json()).keys
    limits, problems = [], []
    for text in url.texts("limit"):
        try:
            parse_limit(text, keys)
            limits.append(text)
        except TrilemmaError as error:
            problems.append(error)
    for name in ("x", "y", "size"):
        url.keep_to(name, keys)
    view = View(
        x=url.text("x"), y=url.text("y"), size=url.text("size"), limits=tuple(limits), models=tuple(url.texts("model")),
        quantizations=tuple(url.texts("quantization")), engines=tuple(url.texts("engine")),
    )  # fmt: skip
    return Chosen(study, view, tuple(problems))


@st.cache_resource(max_entries=8, show_spinner=False)
def material(of: Version, study: str, view: str) -> Material:
    """Everything that is told of a study in the state ``of`` the store."""
    return gather(shared.get_store(), study, View.model_validate_json(view))


@st.cache_resource(max_entries=2, show_spinner=False)
def html(of: Version, study: str, view: str) -> bytes:
    """The report of the same view, as HTML."""
    return html_report(shared.get_store(), study, View.model_validate_json(view))


@st.cache_resource(max_entries=2, show_spinner=False)
def pdf(of: Version, study: str, view: str) -> bytes:
    """The same as PDF.

    Raises:
        ReportError: no browser prints it.
    """
    return pdf_report(html(of, study, view))
