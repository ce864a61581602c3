"""Another tool's results: a file is brought, looked through, and imported as a study of its own."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import entrance
from trilemma import registry
from trilemma.access.roles import Action
from trilemma.analysis.format import format_figure
from trilemma.errors import TrilemmaError
from trilemma.figures import FIGURES
from trilemma.interop import CSV, read_data, understood
from trilemma.interop.base import Imported
from trilemma.interop.csv_table import NAMES, checked_mapping, sufficient
from trilemma.interop.reading import csv_rows, unpacked
from trilemma.interop.studies import File, add

_GROUP = "trilemma.importers"
_FOUND_OUT = ""
_SHOWN = 200
_WITHOUT_SCROLLING = 8
_HELP = "JSON, JSON lines, SQL or CSV as the tool wrote it, gzip or not; 64 MB at most."
_MEANING = (
    f"One of {', '.join(NAMES)}, setting:NAME, or a figure with its unit, such as ttft_s.median@chat [ms]. Columns "
    "without a meaning are left out."
)


def import_results() -> None:
    """The whole of it, folded away until it is wanted; nothing for those who may not."""
    if not entrance.may(Action.IMPORT):
        return
    with st.expander("Import another tool's results", icon=":material/upload_file:"):
        st.markdown("They become a study of their own, and every figure of it stays marked as imported.")
        left, right = st.columns([2, 1])
        uploaded = left.file_uploader("A file of results", key="import_file", help=_HELP)
        titles = {name: str(registry.load(_GROUP, name).title) for name in registry.names(_GROUP)}
        chosen = right.selectbox(
            "Written by", [_FOUND_OUT, *titles], format_func=lambda name: titles.get(name, "found out from the file"),
            key="import_format",
        )  # fmt: skip
        if uploaded is None:
            return
        try:
            _offer(uploaded.name, uploaded.getvalue(), chosen or "")
        except TrilemmaError as error:
            shared.show_error(error)


def _offer(name: str, data: bytes, importer: str) -> None:
    """What the file says, and the button that imports it."""
    mapping: dict[str, str] = {}
    if importer == CSV or (not importer and name.lower().endswith((".csv", ".tsv")) and not understood(data)):
        mapping = checked_mapping(_mapping(data))
        if not sufficient(mapping):
            st.caption(":material/info: Say what its columns mean; at least one is the model, and one a figure.")
            return
    imported, file = _read(name, data, importer, tuple(mapping.items()))
    _preview(imported)
    study_name = st.text_input(
        "Name of the study", value=f"Imported: {file.name}"[:120], max_chars=120, key="import_name"
    )
    count = len(imported.runs)
    if st.button(f"Import {count} run{'' if count == 1 else 's'}", type="primary", icon=":material/upload_file:"):
        with entrance.guard().doing(Action.IMPORT, file.name) as store:
            record, added = add(store, imported, file, study_name)
        text = "Imported as" if added else "This file was imported before, and nothing changed. It is"
        st.success(f"{text} **{shared.plain(record.spec.name)}**.", icon=":material/check_circle:")
        shared.link("explore", "See it in Explore", {"study": record.id}, icon=":material/scatter_plot:")


@st.cache_resource(show_spinner=False, max_entries=2)
def _read(name: str, data: bytes, importer: str, mapping: tuple[tuple[str, str], ...]) -> tuple[Imported, File]:
    """The file, read once and not at every click."""
    return read_data(name, data, importer, dict(mapping))


def _mapping(data: bytes) -> dict[str, str]:
    """What the user says the columns of a table mean."""
    rows = csv_rows(unpacked(data))
    table = pd.DataFrame(
        {
            "column": list(rows[0]),
            "first value": [value[:80] for value in rows[0].values()],
            "meaning": [name if name in NAMES else "" for name in rows[0]],
        }
    )
    edited: Any = st.data_editor(
        table, hide_index=True, disabled=["column", "first value"], key="import_mapping",
        column_config={"meaning": st.column_config.TextColumn(help=_MEANING, max_chars=200)},
    )  # fmt: skip
    st.caption(_MEANING.replace("[", r"\[").replace("]", r"\]"))
    pairs = zip(edited["column"], edited["meaning"].fillna("").astype(str), strict=True)
    return {str(column): meaning.strip() for column, meaning in pairs if meaning.strip()}


def _unit(figure: str) -> str:
    return FIGURES[figure].unit if figure in FIGURES else ""


def _preview(imported: Imported) -> None:
    """Its figures and what was left out. Tables show texts letter for letter: nothing in them does anything."""
    rows = [
        {
            "model": run.model,
            "quantization": run.quantization,
            "settings": ", ".join(f"{key} {value}" for key, value in run.settings.items()),
            "figure": one.key,
            "value": format_figure(one.value, _unit(one.figure), one.low, one.high),
            "n": one.n or None,
        }
        for run in imported.runs for one in run.measurements if one.value is not None
    ]  # fmt: skip
    tool = f"{imported.tool} {imported.version}".strip()
    runs, figures = len(imported.runs), len(rows)
    words = f"{tool}: {runs:,} run{'' if runs == 1 else 's'}, {figures:,} figure{'' if figures == 1 else 's'}."
    st.caption(f":material/diamond: {shared.plain(words)}")
    st.dataframe(
        rows[:_SHOWN], hide_index=True, alt="What would be imported",
        height="content" if len(rows) <= _WITHOUT_SCROLLING else 320,
    )  # fmt: skip
    if len(rows) > _SHOWN:
        st.caption(f"The first {_SHOWN} are shown.")
    if imported.left_out:
        st.caption("Left out, and why:")
        st.dataframe(
            [{"what": one.what, "why": one.why} for one in imported.left_out[:_SHOWN]], hide_index=True,
            alt="What is left out", height="content" if len(imported.left_out) <= _WITHOUT_SCROLLING else 320,
        )  # fmt: skip
