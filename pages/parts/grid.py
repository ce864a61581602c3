"""The grid of models x quantizations, a checkbox a cell."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages import shared
from trilemma.analysis.format import format_figure
from trilemma.catalog.catalog import LADDER
from trilemma.schema import Artifact

_ORDER = (
    "F32", "BF16", "F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0",
    "Q4_K_M", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K",
)  # fmt: skip
_CELL_PIXELS = 142


def by_precision(quantization: str) -> tuple[int, str]:
    """A sort key: most bits first, unknown schemes last."""
    return (_ORDER.index(quantization) if quantization in _ORDER else len(_ORDER), quantization)


def cell_key(artifact: Artifact) -> str:
    """The checkbox's key, and so its name in the URL."""
    return f"a_{artifact.id[:12]}"


def _ticked(artifact: Artifact) -> bool:
    """Whether a cell is ticked, also before it is drawn for the first time."""
    key = cell_key(artifact)
    return bool(st.session_state[key]) if key in st.session_state else shared.param(key) == "true"


def _set_all(artifacts: Sequence[Artifact], value: bool) -> None:
    for artifact in artifacts:
        st.session_state[cell_key(artifact)] = value


def _cell(artifact: Artifact, twins: int) -> bool:
    label = shared.plain(artifact.quantization)
    if artifact.requantized:
        label += " :material/warning:"
    chosen = st.checkbox(label, key=cell_key(artifact), bind="query-params")
    note = f"{format_figure(artifact.size_bytes, 'B')}, {artifact.bits_per_weight:.1f} bit"
    if artifact.format == "endpoint":
        note = f"endpoint {shared.plain(artifact.path.partition('://')[2])[:40]}"
    elif artifact.format == "safetensors":
        note += ", safetensors"
    if twins > 1:
        note += f", {shared.plain(artifact.source.rpartition(':')[2])} {artifact.id[:6]}"
    st.caption(note)
    return chosen


def _missing_cell(quantization: str, parent: Artifact) -> None:
    st.markdown(f":small[:gray[{quantization}]]")
    shared.link("models", "Quantise it", {"from": parent.id[:12], "make": quantization})


def model_grid(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Show the grid and return what is ticked, models in order of name and quantizations from most bits to fewest.

    Adapters have no cell: they go with a model.
    """
    artifacts = [artifact for artifact in artifacts if artifact.kind == "model"]
    models: dict[str, list[Artifact]] = {}
    for artifact in sorted(artifacts, key=lambda a: (a.model.lower(), by_precision(a.quantization), a.id)):
        models.setdefault(artifact.model, []).append(artifact)
    columns = sorted({a.quantization for a in artifacts} | set(LADDER), key=by_precision)
    chosen: list[Artifact] = []
    for number, (model, own) in enumerate(models.items()):
        head = st.container(horizontal=True, vertical_alignment="center", gap="small")
        head.markdown(f"**{shared.plain(model)}**", width="content")
        everything = all(_ticked(a) for a in own)
        head.button(
            "Choose none" if everything else f"Choose all {len(own)}" if len(own) > 1 else "Choose it",
            key=f"all_{number}",
            type="tertiary",
            on_click=_set_all,
            args=(own, not everything),
        )
        parent = max((a for a in own if a.format == "gguf"), key=lambda a: (a.bits_per_weight, a.id), default=None)
        with st.container(horizontal=True, gap="small", key=f"cells_{number}"):
            for quantization in columns:
                cells = [a for a in own if a.quantization == quantization]
                # A step that no model here has would only be a column of gaps, unless it belongs to the ladder.
                for artifact in cells:
                    with st.container(width=_CELL_PIXELS, gap=None):
                        if _cell(artifact, len(cells)):
                            chosen.append(artifact)
                if not cells and quantization in LADDER and parent is not None:
                    with st.container(width=_CELL_PIXELS, gap=None):
                        _missing_cell(quantization, parent)
    if any(artifact.requantized for artifact in artifacts):
        st.caption(":material/warning: Made from an already quantized parent: what that one lost is lost here too.")
    return chosen
