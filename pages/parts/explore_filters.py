"""Explore's filters, limits and axis pickers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import streamlit as st

from pages import shared
from pages.parts import explore_data
from pages.parts.explore_data import FILTERS, Catalog
from pages.parts.url_state import UrlState
from trilemma.analysis.format import key_title
from trilemma.analysis.front import BoolArray
from trilemma.analysis.headline import default_axes, headline_keys, pictures
from trilemma.analysis.limits import Limit, parse_limit
from trilemma.analysis.points import Points
from trilemma.charts import pairs
from trilemma.errors import TrilemmaError
from trilemma.schema import Axis, split_key

# On a phone the filters would push the picture off the screen: they fold behind one switch, and only there.
_FOLD = "@media (min-width: 641px) { .st-key-explore_fold { display: none; } }"
_FOLDED = "@media (max-width: 640px) { .st-key-explore_filters, .st-key-explore_axes { display: none; } }"
# Beside a narrow chart there is no room for names; the table has them. Nor is there for many small charts.
_NARROW = (
    "@media (max-width: 640px) { .st-key-explore_2d .textpoint, .st-key-explore_many { display: none; } }"
    "@media (min-width: 641px) { .st-key-explore_too_narrow { display: none; } }"
)

VIEWS = ["2D", "3D", "Pairs", "Parallel", "Load"]
SEVERAL = ("Pairs", "Parallel")
"""Views of two to five figures; all pairs are of the first four."""
FIGURES = 5
_WIDTHS = {"model": 1.6, "quantization": 1.4, "engine": 1.0}
"""Of filters, as shares of a row."""
_LIMITS_HELP = (
    "A figure, then `<=` or `>=`, a number and a unit: `peak memory <= 400 MiB`, `accuracy_norm@hellaswag >= 0.4`. "
    "A configuration that lacks the figure does not pass."
)


@dataclass(frozen=True)
class Chosen:
    """What the user chose; empty means everything. ``problems`` are what is wrong with limits that cannot be read."""

    study: str = ""
    models: list[str] = field(default_factory=list)
    quantizations: list[str] = field(default_factory=list)
    engines: list[str] = field(default_factory=list)
    engine_versions: list[str] = field(default_factory=list)
    machines: list[str] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    problems: list[TrilemmaError] = field(default_factory=list)
    axes: tuple[str, ...] = ()
    size: str | None = None
    log: tuple[str, ...] = ()
    view: str = "2D"

    @property
    def load(self) -> bool:
        """Whether curves against the load are shown in place of points."""
        return self.view == "Load"

    @property
    def logs(self) -> tuple[str, ...]:
        """The figures that are asked for on logarithmic axes."""
        return self.axes if self.view in SEVERAL and self.log else tuple(
            key for key, name in zip(self.axes, "xy", strict=False) if name in self.log
        )  # fmt: skip

    @property
    def columns(self) -> list[str]:
        """The figures of the table: the axes and the size."""
        return list(dict.fromkeys([*self.axes, *([self.size] if self.size else [])]))

    @property
    def wanted(self) -> list[str]:
        """All figures that must be read."""
        return list(dict.fromkeys([*self.columns, *(limit.key for limit in self.limits)]))

    def mask(self, points: Points) -> BoolArray:
        """Which points pass the filters."""
        kept = np.ones(len(points), dtype=np.bool_)
        for column, wanted in self.filters.items():
            if wanted:
                kept &= np.asarray(points.meta[column].isin(wanted))
        return kept

    @property
    def filters(self) -> dict[str, list[str]]:
        """By column of the points' meta what is wanted of it; empty for everything."""
        wanted = self.models, self.quantizations, self.engines, self.engine_versions, self.machines
        return dict(zip(FILTERS, wanted, strict=True))


def choose(of: tuple[str, int], catalog: Catalog, url: UrlState) -> Chosen:
    """What is chosen of the state ``of`` the store, from URL and session alone: known before any widget is drawn."""
    url.keep_to("study", [*catalog.studies])
    for name, choices in explore_data.choices(of, url.text("study")).items():
        url.keep_to(name, choices)
    x, y, size = default_axes(catalog.keys, catalog.workloads)
    speeds = sorted(headline_keys(catalog.keys)[Axis.SPEED], key=lambda key: split_key(key)[1] not in catalog.workloads)
    z = next((key for key in speeds if key not in (x, y)), y)  # of a use case rather than of an agent's suite
    several = [*dict.fromkeys(key for key in (size, x, z, y) if key)]
    url.defaults(x=x, y=y, z=z, size=size, figures=several)
    url.keep_to("figures", catalog.keys)
    for name in ("x", "y", "z"):
        url.keep_to(name, catalog.keys)
    url.keep_to("size", ["", *catalog.keys])
    url.keep_to("view", VIEWS)
    url.keep_to("log", ["x", "y"])
    limits, problems = [], []
    for text in url.texts("limit"):
        try:
            limits.append(parse_limit(text, catalog.keys))
        except TrilemmaError as error:
            problems.append(error)
    view = url.text("view")
    deep, many = view == "3D", view in SEVERAL
    figures = tuple(dict.fromkeys(url.texts("figures")))[: pairs.AT_MOST if view == "Pairs" else FIGURES]
    return Chosen(
        study=url.text("study"), models=url.texts("model"), quantizations=url.texts("quantization"),
        engines=url.texts("engine"), engine_versions=url.texts("engine_version"), machines=url.texts("measured_on"),
        limits=limits, problems=problems,
        axes=figures if many else tuple(url.text(name) for name in ("x", "y", *(["z"] if deep else []))),
        size=url.text("size") or None, view=view,
        log=() if deep else tuple(url.texts("log")) if not many else ("all",) if url.get("logs") else (),
    )  # fmt: skip


def controls(of: tuple[str, int], catalog: Catalog, url: UrlState, chosen: Chosen) -> None:
    """The widgets: what is shown, and what the axes are."""
    # On a phone, one switch that shows the filters; elsewhere they are always there.
    with st.container(key="explore_fold"):
        opened = st.toggle("Filters and axes", key="explore_unfold")
    st.html(f"<style>{_FOLD}{'' if opened else _FOLDED}{_NARROW}</style>")
    _filters(of, catalog, url)
    for problem in chosen.problems:
        shared.show_error(problem)
    _axis_pickers(catalog, url)
    if url.text("view") == "2D":
        _pictures(catalog, url)


def _pictures(catalog: Catalog, url: UrlState) -> None:
    """Pairs of axes worth a look, one click each; nothing where there is but one."""
    offered = pictures(catalog.keys, catalog.workloads)
    if not offered:
        return
    now = next((name for name, axes in offered.items() if axes == (url.text("x"), url.text("y"))), None)

    def show() -> None:
        name = st.session_state["explore_picture"]
        if name in offered:
            x, y = offered[name]
            url.put("x", x)
            url.put("y", y)

    st.session_state["explore_picture"] = now
    st.pills("What costs how much", [*offered], key="explore_picture", on_change=show)


def _filters(of: tuple[str, int], catalog: Catalog, url: UrlState) -> None:
    options = explore_data.choices(of, url.text("study"))
    with st.container(key="explore_filters"):
        # One machine is no choice, nor is one version of each engine.
        plurals = {"model": "Models", "quantization": "Quantizations", "engine": "Engines"}
        if len(options["engine_version"]) > len(options["engine"]):
            plurals["engine_version"] = "Engine versions"
        if len(options["measured_on"]) > 1:
            plurals["measured_on"] = "Machines"
        columns = st.columns([1.2, *(_WIDTHS.get(name, 1.2) for name in plurals), 1.8], vertical_alignment="bottom")
        columns[0].selectbox(
            "Study", [*catalog.studies], format_func=lambda key: catalog.studies.get(key, key), key=url.key("study"),
            index=None, placeholder="All studies",
        )  # fmt: skip
        for column, (name, plural) in zip(columns[1:-1], plurals.items(), strict=True):
            column.multiselect(plural, options[name], key=url.key(name), placeholder="All")
        columns[-1].multiselect(
            "Limits", url.texts("limit"), key=url.key("limit"), accept_new_options=True,
            placeholder="peak_memory_bytes <= 400 MiB", help=_LIMITS_HELP,
        )  # fmt: skip


def _axis_pickers(catalog: Catalog, url: UrlState) -> None:
    """The figures for the axes and the size, and the switch between the views."""
    view = url.text("view")
    deep, many = view == "3D", view in SEVERAL
    with st.container(key="explore_axes"):
        columns = st.columns([6, 1.2, 2.8] if many else [2, 2, 2, 2, 2.8] if deep else [2, 2, 2, 1, 2.8])
        if many:
            columns[0].multiselect(
                f"Figures, two to {FIGURES}", catalog.keys, format_func=key_title, key=url.key("figures"),
                max_selections=FIGURES,
            )  # fmt: skip
            columns[1].toggle("Logarithmic", key=url.key("logs"), help="Where all values of a figure are above 0.")
            columns[2].segmented_control("View", VIEWS, key=url.key("view"), required=True)
            return
        names = {"x": "Horizontal axis", "y": "Vertical axis"}
        if deep:
            names = {"x": "Axis to the right", "y": "Axis to the back", "z": "Vertical axis"}
        for column, (name, label) in zip(columns, names.items(), strict=False):
            column.selectbox(label, catalog.keys, format_func=key_title, key=url.key(name))
        columns[len(names)].selectbox(
            "Size of marks", ["", *catalog.keys], format_func=lambda key: key_title(key) if key else "All the same",
            key=url.key("size"),
        )  # fmt: skip
        if not deep:
            columns[3].pills("Logarithmic", ["x", "y"], selection_mode="multi", key=url.key("log"))
        columns[4].segmented_control("View", VIEWS, key=url.key("view"), required=True)
