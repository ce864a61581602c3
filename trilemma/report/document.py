"""One HTML file that needs nothing else: style, script, charts and figures are inside, and the network is refused.

The same store and the same view give the same bytes: no clock, no random id, keys in order, and the date is that of
the newest run.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

import trilemma
from trilemma.analysis.preferences import limit_words
from trilemma.analysis.text import count_of
from trilemma.charts.palette import DARK, LIGHT, MODEL_COLOURS, Theme, axis_colour
from trilemma.planning.words import machine_words
from trilemma.report.gather import Material, gather
from trilemma.report.parts import Section
from trilemma.report.raw import raw_figures
from trilemma.report.sections import sections
from trilemma.report.view import View
from trilemma.sample.words import note
from trilemma.schema import Axis
from trilemma.store import Store

DEFAULT_QUESTION = "Which options are worth having?"


def html_report(store: Store, study_id: str, view: View | None = None) -> bytes:
    """A study as one self-contained HTML file.

    Args:
        store: Where the study is.
        study_id: Its id.
        view: What of it; None for what Explore begins with.

    Returns:
        UTF-8; the same for the same store and view.

    Raises:
        NotFoundError: there is no such study.
        ReportError: it has no finished run.
        TrilemmaError: the view names a figure that the study has not measured, or a limit that cannot be read.
    """
    material = gather(store, study_id, view or View())
    found = [_cleaned(material, one) for one in sections(material)]
    charts = [chart for section in found for chart in section["charts"]]
    for number, chart in enumerate(charts):
        chart["number"] = number
    scripts = (get_plotlyjs(), _file("report.js"))
    text = _template().render(
        policy=_policy(scripts),
        style=_style(),
        scripts=scripts,
        charts=html_json([{**chart, "file": file_name(material, str(chart["name"]))} for chart in charts]),
        figures=html_json(raw_figures(store, material)),
        file=file_name(material),
        version=trilemma.__version__,
        title=material.scrub.text(material.study.spec.name),
        question=material.scrub.text(material.view.question or DEFAULT_QUESTION),
        facts=[(name, material.scrub.text(text)) for name, text in facts(material)],
        sections=found,
    )
    # A lone surrogate, which a broken file name may bring, has no UTF-8.
    return text.encode("utf-8", "replace")


def _cleaned(material: Material, section: Section) -> dict[str, Any]:
    """A section as the template reads it, its texts clean; figures are made of clean texts, and their numbers are
    packed into text that must stay as it is.
    """
    charts = [
        material.scrub.deep(dataclasses.asdict(dataclasses.replace(one, light={}, dark={})))
        | {"light": one.light, "dark": one.dark}
        for one in section.charts
    ]
    rest: dict[str, Any] = material.scrub.deep(dataclasses.asdict(dataclasses.replace(section, charts=())))
    return rest | {"charts": charts}


def file_name(material: Material, part: str = "report") -> str:
    """What a file of this study is called, without its suffix: ``trilemma-ladder-front``."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{material.study.spec.name[:40]} {part}".lower()).strip("-")
    return f"trilemma-{words}"


def facts(material: Material) -> list[tuple[str, str]]:
    """What stands below the title: of what, of when, and what was asked for."""
    view, finished = material.view, [run.finished_at for run in material.runs if run.finished_at is not None]
    machines = sorted({machine_words(run.host) for run in material.runs if run.host is not None})
    unmeasured = material.unmeasured
    found = [
        ("Study", material.study.spec.name),
        ("Note", note(material.sample) if material.sample else ""),
        ("Measured", f"{max(finished):%Y-%m-%d}" if finished else ""),
        ("On", "; ".join(machines)),
        ("Options", f"{count_of(len(material.points), 'configuration')}, {count_of(len(material.runs), 'run')}"),
        ("Use case", view.preset),
        ("Limits", "; ".join([*map(limit_words, material.limits), *(f"{one} (not checked)" for one in unmeasured)])),
        ("Priorities", material.decision.priorities.words if material.decision else ""),
        ("Only", "; ".join((*view.models, *view.quantizations, *view.engines, *view.engine_versions, *view.machines))),
    ]
    return [(name, text) for name, text in found if text]


def html_json(value: Any) -> str:
    """``value`` as JSON that cannot leave the script element it stands in."""
    # ASCII alone: U+2028 and U+2029, which end a line of script, are escaped with all the rest.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(scripts: Sequence[str]) -> str:
    """What the browser may do with the file: run these scripts and no other, and ask nobody for anything."""
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts
    )
    # plotly.js sets styles, and makes pictures from blobs and data when one is saved.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@functools.cache
def _file(name: str) -> str:
    return resources.files("trilemma.report").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("report.html"))


def _style() -> str:
    """The style sheet, with the palette's colours for light and dark ground."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n{_file('report.css')}"
    )


def _variables(theme: Theme) -> str:
    colours = {
        "text": theme.text, "muted": theme.muted, "line": theme.line, "grid": theme.grid, "ground": theme.ground,
        "shade": theme.shade, "warning": theme.warning,
    }  # fmt: skip
    colours |= {axis.value: axis_colour(axis, theme.dark) for axis in Axis}
    colours |= {f"model-{number}": colour for number, colour in enumerate(MODEL_COLOURS[theme.dark])}
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
