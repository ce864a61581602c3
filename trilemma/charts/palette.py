"""Colours, markers and type of every chart, light and dark."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trilemma.schema import Axis

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"
"""The system's own: no chart asks a server for a font. The same family as the pages' (.streamlit/config.toml)."""

AXIS_COLOURS: dict[bool, dict[Axis, str]] = {
    False: {Axis.EFFICIENCY: "#0B8A6A", Axis.SPEED: "#D98300", Axis.PERFORMANCE: "#2166AC"},
    True: {Axis.EFFICIENCY: "#3CC9A0", Axis.SPEED: "#FFB547", Axis.PERFORMANCE: "#6FB1F0"},
}
"""By ``dark``. These colours mean the axes and nothing else."""

MODEL_COLOURS: dict[bool, tuple[str, ...]] = {
    False: ("#332288", "#CC6677", "#117733", "#AA4499", "#88CCEE", "#882255", "#999933", "#44AA99"),
    True: ("#8F83D8", "#E59AA6", "#4FB36F", "#D48AC7", "#A9DCF3", "#C9699A", "#C6C66B", "#7CCFC0"),
}
"""Paul Tol's *muted* scheme (https://sronpersonalpages.nl/~pault/), safe for colour-blind eyes; lighter on dark."""


@dataclass(frozen=True)
class Theme:
    """The colours of everything in a chart that is not a model or an axis."""

    dark: bool
    text: str
    muted: str
    line: str
    grid: str
    ground: str
    shade: str
    warning: str


LIGHT = Theme(False, "#1B2026", "#5B6470", "#8A939E", "#ECEEF1", "#FFFFFF", "rgba(27,32,38,0.035)", "#B3261E")
DARK = Theme(True, "#E8EAED", "#A6AFBB", "#7C8794", "#262B32", "#14171B", "rgba(232,234,237,0.045)", "#F2877E")


def theme(dark: bool) -> Theme:
    """The light or the dark theme."""
    return DARK if dark else LIGHT


def axis_colour(axis: Axis, dark: bool) -> str:
    """The one colour of an axis."""
    return AXIS_COLOURS[dark][axis]


def model_colours(models: Iterable[str], dark: bool = False) -> dict[str, str]:
    """A colour for each model, in the order given; beyond eight models colours come again.

    Give the models in an order that does not change (that in which they came into the catalog), so that each keeps
    its colour on every page.
    """
    palette = MODEL_COLOURS[dark]
    return {model: palette[position % len(palette)] for position, model in enumerate(dict.fromkeys(models))}


# As many corners as bits: a fat plus has eight outer ones, a star five tips, a bow tie two ends; from 16 on, round.
_BY_BITS = {8: "cross", 6: "hexagon", 5: "star", 4: "square", 3: "triangle-up", 2: "bowtie", 1: "y-down"}
_OTHER = "hexagram"
_FLOAT4 = ("AWQ", "GPTQ", "NVFP4", "MXFP4", "BNB")
_IN_3D = {"cross": "cross", "square": "square", "triangle-up": "diamond", "bowtie": "diamond", "y-down": "diamond"}


def quantization_bits(quantization: str) -> int | None:
    """The nominal bits in a quantization's name (``Q4_K_M``: 4, ``FP8``: 8, ``F16``: 16); None when it tells none."""
    name = quantization.upper()
    if match := re.match(r"^(?:I?Q|TQ|W|INT|[BMN]?[VX]?FP?)(\d{1,2})", name):
        return int(match[1])
    return 4 if name.startswith(_FLOAT4) else None


def quantization_symbol(quantization: str) -> str:
    """The plotly marker of a quantization: as many corners as bits."""
    if quantization.upper().startswith(_FLOAT4):
        return "star-square"
    bits = quantization_bits(quantization)
    if bits is None:
        return _OTHER
    return "circle" if bits >= 16 else _BY_BITS.get(bits, _OTHER)


def symbol_3d(symbol: str) -> str:
    """The nearest marker that 3-D charts have: four filled ones, for their x is a character that many fonts lack."""
    return _IN_3D.get(symbol, "circle")


def escape(text: object, limit: int = 60) -> str:
    """``text`` as plotly shows it letter for letter: plotly reads a subset of HTML in every label.

    Control characters become spaces, and what is longer than ``limit`` is cut with an ellipsis.
    """
    flat = str(text)
    if not flat.isprintable():
        flat = "".join(c if c.isprintable() else " " for c in flat)
    flat = " ".join(flat.split())
    cut = flat if len(flat) <= limit else flat[: limit - 1] + "…"
    return html.escape(cut, quote=False).replace("$", "&#36;")


def with_alpha(colour: str, alpha: float) -> str:
    """``#RRGGBB`` as ``rgba(...)``."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def mixed(colour: str, ground: str, share: float) -> str:
    """``share`` of ``colour`` and the rest ``ground``, all as ``#RRGGBB``; opaque, where :func:`with_alpha` is not."""
    pairs = ((int(one[i : i + 2], 16) for one in (colour, ground)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(share * top + (1 - share) * below):02X}" for top, below in pairs)


def luminance(colour: str) -> float:
    """Of ``#RRGGBB``, 0 to 1, as WCAG 2.2 defines relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink_on(colour: str) -> str:
    """Black or white, whichever is read better on ``colour``: a contrast of at least 4.5 to 1, WCAG's for text."""
    return "#000000" if (luminance(colour) + 0.05) ** 2 > 1.05 * 0.05 else "#FFFFFF"


def layout(dark: bool) -> dict[str, object]:
    """The layout that all charts start from: the page's ground, one family of type, quiet grid, no zero lines."""
    look = theme(dark)
    axis = {
        "gridcolor": look.grid,
        "linecolor": look.line,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "tickfont": {"color": look.muted, "size": 12},
        "title": {"font": {"color": look.muted, "size": 13}, "standoff": 12},
        "automargin": True,
    }
    return {
        "font": {"family": FONT, "size": 13, "color": look.text},
        # The page's own ground, so that a saved picture can be read wherever it is put.
        "paper_bgcolor": look.ground,
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {
            "bgcolor": look.ground,
            "bordercolor": look.line,
            "font": {"family": FONT, "size": 13, "color": look.text},
            "align": "left",
            "namelength": -1,
        },
        "legend": {
            "orientation": "h",
            "font": {"size": 12, "color": look.text},
            "bgcolor": "rgba(0,0,0,0)",
            "itemsizing": "constant",
            "xanchor": "left",
            "x": 0,
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": look.line, "activecolor": look.text},
    }


def escaped(values: Sequence[object], limit: int = 60) -> list[str]:
    """:func:`escape` of each."""
    return [escape(value, limit) for value in values]


_GLYPHS = {
    "circle": "●○", "cross": "✚✛", "hexagon": "⬢⬡", "star": "★☆", "square": "■□", "triangle-up": "▲△", "bowtie": "⧓⋈",
    "star-square": "✦✧",
}  # fmt: skip


def quantization_glyph(quantization: str, hollow: bool = False) -> str:
    """The marker of a quantization as a character, for tables; hollow where the chart's mark is."""
    return _GLYPHS.get(quantization_symbol(quantization), "✶✶")[int(hollow)]
