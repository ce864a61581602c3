"""What can be made of a GGUF model: the steps of a quantization ladder, and a folder of safetensors."""

from __future__ import annotations

import threading
from collections.abc import Callable

import streamlit as st

from pages import shared
from pages.parts import entrance
from pages.parts.tasks import Task, TaskBoard
from trilemma.access.roles import Action
from trilemma.analysis.format import format_figure
from trilemma.catalog.catalog import DTYPES, Catalog
from trilemma.catalog.convert import usual_dtype
from trilemma.schema import Artifact
from trilemma.settings import get_settings

# One at a time: each uses all cores, and a benchmark may be waiting for them too.
_TURN = threading.Lock()


def quantise_form(catalog: Catalog, board: TaskBoard, artifact: Artifact) -> None:
    """The steps below ``artifact`` with their predicted sizes, and the button that makes them.

    Raises:
        InvalidArtifactError: the file is gone or damaged.
    """
    ladder = {step.quantization: step for step in catalog.ladder(artifact) if step.existing is None}
    if not ladder:
        st.caption("Every step of the ladder is made already.")
        return
    wanted = [name for name in shared.params("make") if name in ladder]
    chosen = st.pills(
        "Quantise into",
        list(ladder),
        selection_mode="multi",
        default=wanted,
        key=f"make_{artifact.id[:12]}",
        format_func=lambda name: f"{name}, {format_figure(ladder[name].predicted_bytes, 'B')}",
        help="With the size that the file will have.",
    )
    for note in dict.fromkeys(note for name in chosen for note in ladder[name].notes):
        of = [name for name in chosen if note in ladder[name].notes]
        st.caption(f":material/info: {', '.join(of)}: {shared.plain(note)}")
    total = format_figure(sum(ladder[name].predicted_bytes for name in chosen), "B")
    label = f"Make {len(chosen)} file{'s' if len(chosen) > 1 else ''}, {total}" if chosen else "Make them"
    if st.button(label, type="primary", disabled=not chosen, key=f"quantise_{artifact.id[:12]}"):
        for name in sorted(chosen, key=list(ladder).index):
            _quantise(board, artifact, name, ladder[name].predicted_bytes)
        st.rerun()


def _quantise(board: TaskBoard, artifact: Artifact, name: str, size_bytes: int) -> None:
    def make(catalog: Catalog, task: Task) -> Artifact:
        return catalog.quantise(artifact, name, progress=task.progress, cancel=task.stop.is_set)

    subject = f"{artifact.label} into {name}"
    _start(board, f"{artifact.model} {name}", Action.QUANTISE, subject, size_bytes, make, unit="tensors")


def convert_form(board: TaskBoard, artifact: Artifact) -> None:
    """The button that makes safetensors of ``artifact``, in a data type that can be chosen."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        dtype = st.selectbox(
            "Convert to safetensors in",
            DTYPES,
            index=DTYPES.index(usual_dtype(artifact.quantization)),
            key=f"dtype_{artifact.id[:12]}",
            width=220,
            help="vLLM runs safetensors. Quantized weights are dequantized; they do not become more accurate.",
        )
        if st.button("Convert", key=f"convert_{artifact.id[:12]}"):
            _convert(board, artifact, dtype)


def adapter_form(board: TaskBoard, artifact: Artifact) -> None:
    """The button that makes a GGUF of the PEFT adapter ``artifact``."""
    if st.button("Convert to GGUF", key=f"convert_{artifact.id[:12]}", help="What llama.cpp applies."):
        _convert(board, artifact, None)


def _convert(board: TaskBoard, artifact: Artifact, dtype: str | None) -> None:
    def make(catalog: Catalog, task: Task) -> Artifact:
        return catalog.convert(artifact, dtype, progress=task.progress, cancel=task.stop.is_set)

    into = f"safetensors {dtype}" if dtype else "GGUF"
    size_bytes = artifact.parameters * (4 if dtype == "F32" else 2) if dtype else artifact.size_bytes
    _start(board, f"{artifact.model} {into}", Action.CONVERT, f"{artifact.label} into {into}", size_bytes, make)
    st.rerun()


def _start(
    board: TaskBoard,
    title: str,
    action: Action,
    subject: str,
    size_bytes: int,
    make: Callable[[Catalog, Task], Artifact],
    unit: str = "B",
) -> None:
    guard, settings = entrance.guard(), get_settings()
    deed = guard.doing(action, subject, size_bytes=size_bytes)

    def work(task: Task) -> str:
        while not _TURN.acquire(timeout=0.2):
            task.progress(0, 0)
        try:
            with deed as changed:
                made = make(Catalog(changed, settings), task)
        finally:
            _TURN.release()
        return f"It is made: {format_figure(made.size_bytes, 'B')}."

    board.start(title, work, unit=unit, by=guard.user.id)
