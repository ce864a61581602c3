"""GGUF files on this machine: a folder (``TRILEMMA_MODELS``), and files that the user adds by their path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from trilemma.catalog.base import Fetched, Offer, Progress
from trilemma.catalog.header import cached_header
from trilemma.catalog.names import clean, model_name, shards, split_file_name
from trilemma.errors import CatalogError, InvalidArtifactError
from trilemma.settings import Settings

MAX_DEPTH = 6


class FolderSource:
    """Lists the GGUF files of ``settings.models`` and its subfolders; fetches any path."""

    name: ClassVar[str] = "folder"

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.models

    def offers(self, query: str = "") -> Iterator[Offer]:
        """The folder's files by name; nothing without a folder.

        Raises:
            CatalogError: the folder is missing or cannot be read.
        """
        if self._folder is None:
            return
        for path in self._files(self._folder.expanduser()):
            if query.lower() not in path.name.lower():
                continue
            try:
                size = path.stat().st_size
            except OSError:  # A dangling link, or gone since it was listed.
                continue
            yield _offer(path, size)

    def fetch(self, reference: str, progress: Progress | None = None) -> Fetched:
        """The file at the path ``reference``, where it is.

        Raises:
            CatalogError: there is no such file.
        """
        path = Path(reference).expanduser()
        if not path.is_file():
            raise InvalidArtifactError(
                f"{clean(path, 400)} is a folder." if path.is_dir() else f"There is no file {clean(path, 400)}.",
                "Give the path of one .gguf file, or set TRILEMMA_MODELS to a folder of them.",
            )
        return Fetched(path=path.resolve(), source=self.name)

    def _files(self, folder: Path) -> Iterator[Path]:
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
