"""What every chart has around it: one mode bar, and below it the chart as a file: PNG, SVG and CSV."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from pages.parts import entrance
from trilemma.store.export import harmless

_STATIC = Path(__file__).parents[2] / "static"
_UNUSED = ["autoScale2d", "zoomIn2d", "zoomOut2d"]
_SELECTING = ["select2d", "lasso2d"]

Csv = Callable[[], pd.DataFrame | bytes]

_pictures = st.components.v2.component(
    "trilemma_pictures",
    html='<span><button type="button" data-format="png">PNG</button>'
    '<button type="button" data-format="svg">SVG</button></span>',
    css=(_STATIC / "pictures.css").read_text(encoding="utf-8"),
    js=(_STATIC / "pictures.js").read_text(encoding="utf-8"),
)


def config(name: str, *, bars: bool = False, selects: bool = False) -> dict[str, Any]:
    """The configuration that plotly.js gets for a chart whose files are called ``name``.

    Args:
        name: What the chart shows: ``energy and accuracy``.
        bars: A chart in which there is nothing to zoom into.
        selects: A chart on which boxes and outlines can be drawn.
    """
    found: dict[str, Any] = {
        "displaylogo": False,
        "showSendToCloud": False,
        "scrollZoom": False,
        "toImageButtonOptions": {"format": "png", "filename": file_name(name), "scale": 2},
    }
    if bars:
        return found | {"modeBarButtons": [["toImage"]]}
    return found | {"modeBarButtonsToRemove": _UNUSED if selects else [*_UNUSED, *_SELECTING]}


def file_name(name: str) -> str:
    """What a chart's files are called, without their suffix: ``trilemma-energy-and-accuracy``."""
    return f"trilemma-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')[:80]}"


def saves(key: str, name: str, csv: Csv) -> None:
    """Below a chart: buttons that save it as a picture, and the figures behind it as CSV.

    Args:
        key: The chart's own key.
        name: What it shows; its files are called after it.
        csv: Makes the figures behind it, when they are asked for; bytes are taken as they are.
    """
    with st.container(key=f"saves_{key}", horizontal=True, vertical_alignment="center", gap="small"):
        _pictures(key=f"{key}_pictures", data={"chart": _class_of(key), "file": file_name(name)}, width="content")
        st.download_button(
            "CSV", data=entrance.later(lambda: csv_bytes(csv())), file_name=f"{file_name(name)}.csv", mime="text/csv",
            key=f"{key}_csv", type="tertiary", on_click="ignore", help="The figures behind this chart",
        )  # fmt: skip


def _class_of(key: str) -> str:
    """The end of the class that Streamlit gives the element of a key."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", key.strip())


def csv_bytes(table: pd.DataFrame | bytes) -> bytes:
    """A table as CSV in which no spreadsheet finds a formula."""
    if isinstance(table, bytes):
        return table
    # By position: two columns may be called alike.
    safe = table.set_axis(range(table.shape[1]), axis=1)
    for place, dtype in enumerate(safe.dtypes):
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)):
            safe[place] = [harmless(value) if isinstance(value, str) else value for value in safe[place]]
    header = [harmless(str(name)) for name in table.columns]
    # With lines that end as RFC 4180 has it, a bare carriage return is quoted; else it would begin a line.
    return safe.to_csv(index=False, header=header, lineterminator="\r\n").encode()
