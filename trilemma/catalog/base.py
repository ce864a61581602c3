"""What a source of weights must do. A source is found by name (entry point group ``trilemma.sources``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from trilemma.schema import Derivation

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


@dataclass(frozen=True)
class Offer:
    """Weights that a source could give: listed without reading or fetching them."""

    source: str
    reference: str
    """What :meth:`Source.fetch` takes: a path, a package name, ``repo/file.gguf``, or ``repo`` for its safetensors."""
    model: str
    quantization: str
    size_bytes: int | None
    licence: str | None = None
    derivations: tuple[Derivation, ...] = ()
    local: bool = True
    copied: bool = False
    """Whether fetching makes a copy in Trilemma's own folder of what is on this machine already."""


@dataclass(frozen=True)
class Fetched:
    """A file or folder on this machine, and what the source knows of it beyond its header."""

    path: Path
    source: str
    model: str | None = None
    licence: str | None = None
    derivations: tuple[Derivation, ...] = ()
    copied: bool = False
    """Whether it is in Trilemma's own folder, where the source has put it."""


class Source(Protocol):
    """Somewhere that weights come from."""

    name: ClassVar[str]

    def offers(self, query: str = "") -> Iterator[Offer]:
        """What can be had, filtered by ``query``.

        Raises:
            CatalogError: the source cannot be asked.
        """

    def fetch(self, reference: str, progress: Progress | None = None) -> Fetched:
        """Bring one offer onto this machine, verified; nothing half-written is left under its final name.

        Raises:
            CatalogError: it is missing, corrupt or refused.
            DiskFullError: it does not fit.
        """


@runtime_checkable
class Resuming(Protocol):
    """A source that goes on with an interrupted download, and keeps what has come of it unless told otherwise."""

    keep_parts: bool
