"""Weights on this machine: a folder of them (``TRILEMMA_MODELS``), and what the user adds by its path."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from trilemma.catalog.base import Fetched, Offer, Progress
from trilemma.catalog.card import MAX_CARD_CHARS, derivations, licence, read_card
from trilemma.catalog.header import cached_header
from trilemma.catalog.names import (
    clean,
    folder_name,
    model_name,
    repository_model_name,
    shards,
    split_file_name,
)
from trilemma.catalog.safetensors_folder import is_weights_folder, read_folder
from trilemma.errors import CatalogError, InvalidArtifactError
from trilemma.schema import Relation
from trilemma.settings import Settings

MAX_DEPTH = 6


class FolderSource:
    """Lists the GGUF files, and the folders of safetensors, in ``settings.models`` and below; fetches any path."""

    name: ClassVar[str] = "folder"

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.models

    def offers(self, query: str = "") -> Iterator[Offer]:
        """The folder's weights by name; nothing without a folder.

        Raises:
            CatalogError: the folder is missing or cannot be read.
        """
        if self._folder is None:
            return
        for path in self._found(self._folder.expanduser()):
            if query.lower() not in folder_name(path).lower():
                continue
            with contextlib.suppress(OSError):  # A dangling link, or gone since it was listed.
                yield _folder_offer(path) if path.is_dir() else _offer(path, path.stat().st_size)

    def fetch(self, reference: str, progress: Progress | None = None) -> Fetched:
        """The file or folder at the path ``reference``, where it is; a folder's licence and ancestry as its model card
        says.

        Raises:
            CatalogError: there is no such file or folder.
        """
        path = Path(reference).expanduser()
        if path.is_dir():
            path = path.resolve()
            card = read_card(_card_text(path))
            quantization = read_folder(path).quantization
            return Fetched(
                path=path,
                source=self.name,
                licence=licence(card),
                derivations=derivations(card, (), quantization, "model card", unquantized=Relation.FINETUNED),
            )
        if not path.is_file() or path.suffix.lower() == ".safetensors":
            raise InvalidArtifactError(
                f"{clean(path, 400)} is one file of a model." if path.is_file() else f"There is no {clean(path, 400)}.",
                "Give the path of one .gguf file or of a folder with config.json and *.safetensors, or set "
                "TRILEMMA_MODELS to a folder of them.",
            )
        return Fetched(path=path.resolve(), source=self.name)

    def _found(self, folder: Path) -> Iterator[Path]:
        if not folder.is_dir():
            raise CatalogError(
                f"The models folder {folder} does not exist.", "Create it, or set TRILEMMA_MODELS to one that does."
            )
        try:
            next(folder.iterdir(), None)
        except OSError as error:
            raise CatalogError(
                f"The models folder {folder} cannot be read ({error.strerror}).", "Change its permissions."
            ) from error
        for root, folders, files in os.walk(folder):
            depth = len(Path(root).relative_to(folder).parts)
            folders[:] = sorted(f for f in folders if not f.startswith(".") and depth < MAX_DEPTH)
            if is_weights_folder(files):
                yield Path(root)
            for file in sorted(files):
                if file.lower().endswith(".gguf") and not file.startswith(".") and shards(file) == 1:
                    yield Path(root) / file


def _offer(path: Path, size: int) -> Offer:
    _, quantization = split_file_name(path.name)
    header_name = None
    if quantization is None:
        # The name does not tell, so the header is asked; what is no GGUF is still listed, and refused when added.
        try:
            header = cached_header(path)
            quantization, header_name = header.quantization, header.name
        except InvalidArtifactError:
            quantization = "unreadable"
    return Offer(
        source=FolderSource.name,
        reference=str(path),
        model=model_name(path.name, header_name),
        quantization=quantization,
        size_bytes=size,
    )


def _folder_offer(path: Path) -> Offer:
    try:
        header = read_folder(path)
        quantization, size = header.quantization, header.size_bytes
    except InvalidArtifactError:
        quantization, size = "unreadable", None
    return Offer(
        source=FolderSource.name,
        reference=str(path),
        model=repository_model_name(folder_name(path)),
        quantization=quantization,
        size_bytes=size,
    )


def _card_text(folder: Path) -> str:
    with contextlib.suppress(OSError), (folder / "README.md").open(encoding="utf-8", errors="replace") as file:
        return file.read(MAX_CARD_CHARS)
    return ""
