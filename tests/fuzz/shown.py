"""What is shown and handed out: Markdown, HTML, terminals, charts, CSV, reports, and names of files."""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import unicodedata
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.console import Console

from pages import shared
from pages.parts import chart
from pages.parts.compare_texts import answer_html
from pages.parts.explore_view import export
from pages.parts.tryout_html import text_html
from tests.factory import DEMO, fill_store, points_of
from tests.fuzz.inputs import floats, nasty, pieces, texts, whole_texts
from tests.fuzz.surface import Surface, removed, scratch
from trilemma.analysis.points import Points
from trilemma.analysis.wording import wording
from trilemma.catalog.names import clean as clean_name
from trilemma.charts.palette import escape
from trilemma.charts.pareto import pareto_figure
from trilemma.cli.base import plain as terminal_text
from trilemma.report import html_report
from trilemma.report.document import html_json
from trilemma.schema import Configuration, Measurement, Method, Provenance, RunSpec, RunState, StudySpec, WorkloadSpec
from trilemma.scrub import Scrubber
from trilemma.store import Store, open_store
from trilemma.store.column_types import whole
from trilemma.store.export import DANGEROUS, export_study
from trilemma.tryout.messages import clean

_BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_long = st.one_of(texts, st.lists(pieces, min_size=2, max_size=9).map("".join))


def assert_seen(text: str, also: str = "") -> None:
    """Nothing in it steers a terminal, ends a line, hides, or turns the direction of reading."""
    for letter in text:
        assert letter in also or unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp"), repr(letter)
        assert letter not in _BIDI, repr(letter)


def _markdown(text: str) -> None:
    """A real Markdown parser makes one paragraph of it, and nothing else but commands."""
    wanted = clean(" ".join(text.split()))
    for shown in (shared.plain(text), shared.advice(text)):
        assert_seen(shown)
        made = re.sub(r"<code>([\w ./=-]+)</code>", r"`\1`", _MARKDOWN.render(shown))
        assert made == (f"<p>{_escaped(wanted)}</p>\n" if wanted.strip() else ""), made
        # What Streamlit adds to Markdown: colours, icons and formulas begin with one of these.
        assert not re.search(r"(?<!\\)(?:\\\\)*[:$]", shown)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _terminal(text: str) -> None:
    written = io.StringIO()
    Console(file=written, force_terminal=True, color_system="truecolor", width=10_000, highlight=False).print(
        terminal_text(text), soft_wrap=True
    )
    assert_seen(written.getvalue(), also="\n\t")
    written.getvalue().encode()


class _Page(HTMLParser):
    """Elements and text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("an instruction")


def _html(case: tuple[str, str, bool]) -> None:
    text, other, dark = case
    box = text_html(text, other, dark=dark, empty="(nothing)")
    page = _Page(box)
    assert set(page.tags) <= {"div", "span"}
    assert page.attributes <= {"tabindex", "role", "aria-label", "style"}
    assert page.text == (clean(text) or "(nothing)")
    assert_seen(page.text, also="\n\t\u2028\u2029")
    changes = answer_html(wording(text, other), dark=dark)
    page = _Page(changes)
    assert set(page.tags) <= {"div", "ins", "del"}
    assert page.attributes <= {"tabindex", "style"}
    assert_seen(page.text, also="\n\t\u2028\u2029")


def _cleaned(text: str) -> None:
    assert_seen(clean(text), also="\n\t\u2028\u2029")
    assert clean(clean(text)) == clean(text)
    assert_seen(clean_name(text))
    assert_seen(escape(text))
    assert "<" not in escape(text)
    scrubbed = Scrubber(["/home/ada lovelace/models/x.gguf"]).text(text + " /home/ada lovelace/models/x.gguf")
    assert "ada lovelace" not in scrubbed
    assert_seen(scrubbed, also="\n\t")
    document = html_json({text: [text]})
    assert not set(document) & set("<>&")
    assert document.isascii()
    # Two halves of a surrogate pair are one character in any JSON.
    assert json.loads(document) == json.loads(json.dumps({text: [text]}))


# CSV


_cells = st.one_of(whole_texts, whole_texts, floats, st.none(), st.integers(-9, 9), st.booleans())


@st.composite
def _frame(draw: st.DrawFn) -> tuple[list[str], list[list[Any]]]:
    columns = draw(st.lists(whole_texts, min_size=1, max_size=4))
    return columns, draw(
        st.lists(st.lists(_cells, min_size=len(columns), max_size=len(columns)), min_size=1, max_size=4)
    )


def _csv(case: tuple[list[str], list[list[Any]]]) -> None:
    columns, rows = case
    data = chart.csv_bytes(pd.DataFrame(rows, columns=columns))
    read = list(csv.reader(io.StringIO(data.decode(), newline="")))
    # A line of one empty cell is written as "" and read as such; numbers may be negative.
    for line in read:
        for cell in line:
            assert not cell.startswith(DANGEROUS) or _is_number(cell), cell
    for name in (*columns, *(cell for row in rows for cell in row if isinstance(cell, str))):
        for file in (chart.file_name(name), f"{chart.file_name(name)}.csv"):
            assert re.fullmatch(r"trilemma-[a-z0-9-]{0,80}(\.csv)?", file)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


# A store whose names are hostile


@functools.cache
def _store() -> Store:
    return open_store(f"sqlite:///{scratch() / 'shown.db'}")


_names = st.tuples(_long, _long, _long, st.one_of(nasty, texts))


def _study(case: tuple[str, str, str, str]) -> None:
    """A study whose names come from somebody who means ill: as a report, and as files."""
    name, model, reason, setting = case
    store = _store()
    item = _artifact(model)
    store.add_artifact(item)
    workload = WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=24)
    configurations = [
        Configuration(artifact_id=item.id, engine="llama.cpp", settings={"threads": n, "x": setting}) for n in (1, 2)
    ]
    spec = StudySpec(name=(name[:120] or "x"), configurations=tuple(configurations), workloads=(workload,))
    study = store.add_study(spec, [RunSpec(configuration=one, workloads=(workload,)) for one in configurations])
    while run := store.claim_next("fuzz"):
        store.start_run(run.id, _host(setting))
        about = Provenance(method=Method.MEASURED, source=reason, reasons=(reason,))
        figures = {"decode_tps": 90.0, "energy_per_token_j": 0.2, "peak_memory_bytes": 2e8}
        store.set_measurements(
            run.id, [Measurement(figure=key, value=value, n=24, provenance=about) for key, value in figures.items()]
        )
        store.finish_run(run.id, RunState.DONE, disturbed=True, disturbances=[reason], log_tail=reason)
    page = html_report(store, study.id).decode()
    body = page[page.rindex("</script>") :] if "</script>" in page else page
    seen = _Page(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert not {"img", "svg", "iframe", "object", "embed", "form", "link", "base"} & set(seen.tags), seen.tags
    assert not {one for one in seen.attributes if one.startswith("on")}
    assert body
    target = removed(scratch() / "exported")
    export_study(store, study.id, target)
    for path in target.rglob("*.csv"):
        assert path.resolve().is_relative_to(target)
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.reader(file):
                assert not [cell for cell in line if cell.startswith(DANGEROUS) and not _is_number(cell)]
    store.delete_study(study.id)


def _artifact(model: str) -> Any:
    from tests.factory import artifact

    return artifact(model or "x", "Q8_0").model_copy(update={"model": model or "x"})


def _host(text: str) -> Any:
    from tests.factory import HOST

    return HOST.model_copy(update={"cpu": text})


# Charts


@functools.cache
def _points() -> Points:
    store = open_store(f"sqlite:///{scratch() / 'points.db'}")
    fill_store(store, DEMO[:3], 1, detail=False)
    return points_of(store, *_AXES)


_AXES = ("energy_per_token_j@short_chat", "accuracy_norm@hellaswag", "peak_memory_bytes")
_TAGS = re.compile(r"</?(?:b|br|span|extra|i|sup|sub)(?: style='color:#?[\w,().]+')?/?>")


def _chart(case: list[str]) -> None:
    from dataclasses import replace

    points = _points()
    meta = points.meta.copy()
    for position, column in enumerate(("model", "quantization", "engine", "engine_version", "settings", "machine")):
        meta[column] = [case[(position + row) % len(case)] for row in range(len(meta))]
    hostile = replace(points, meta=meta)
    figure = pareto_figure(hostile, _AXES[0], _AXES[1], size=_AXES[2])
    for text in _strings(figure.to_dict(), ""):
        left = _TAGS.sub("", text)
        assert "<" not in left, text
        assert_seen(left)
    rows = list(csv.reader(io.StringIO(export(hostile).decode(), newline="")))
    assert not [cell for row in rows for cell in row if cell.startswith(DANGEROUS) and not _is_number(cell)]


def _strings(value: object, name: str) -> list[str]:
    """The texts in a figure that plotly draws; ids and data are not drawn."""
    if name in ("customdata", "template", "legendgroup", "uid", "meta"):
        return []
    if isinstance(value, dict):
        return [text for key, one in value.items() for text in _strings(one, key)]
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        return [text for one in value for text in _strings(one, name)]
    return [value] if isinstance(value, str) else []


SURFACES = (
    Surface("Texts as Markdown", _long, _markdown, share=3, examples=("", " ", "\\", "a\\", "1. x", "    x",
        "\u2028# x", "&#60;b>", "~~x~~")),
    Surface("Texts on the terminal", _long, _terminal, share=2),
    Surface("Texts as HTML", st.tuples(_long, _long, st.booleans()), _html, share=2),
    Surface("Texts that are cleaned", _long, _cleaned, share=3, examples=("\ud800\udfff",)),
    Surface("Tables as CSV", _frame(), _csv, share=2, examples=((["a", "a"], [["=1", "x"]]), (["=a"], [["\r=1"]]))),
    Surface("Names in charts and their CSV", st.lists(_long.map(whole), min_size=2, max_size=5), _chart, few=8,
        share=0.15, examples=(["a", "[" * 3000],)),
    Surface("Reports and exports of a study", _names, _study, few=2, share=0.012, watched=False),
)  # fmt: skip
