"""Other tools' results in, ours out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trilemma import registry
from trilemma.errors import InteropError
from trilemma.interop.base import Given, Imported, Importer
from trilemma.interop.reading import HEAD_BYTES, read_file, unpacked
from trilemma.interop.studies import File

__all__ = ["CSV", "importer_of", "read_data", "read_path", "understood"]

_GROUP = "trilemma.importers"
CSV = "csv"


def importer_of(data: bytes, mapping: Mapping[str, str]) -> str:
    """Who reads an unpacked file: the importer that knows it by its beginning, or CSV where there is a mapping.

    Raises:
        InteropError: none knows it.
    """
    if mapping:
        return CSV
    head = data[:HEAD_BYTES]
    for name in registry.names(_GROUP):
        importer: Importer = registry.load(_GROUP, name)()
        if importer.sniff(head):
            return name
    titles = ", ".join(str(registry.load(_GROUP, name).title) for name in registry.names(_GROUP))
    raise InteropError("No importer knows this file.", f"Say --format, or --map for a CSV. What can be read: {titles}.")


def understood(data: bytes) -> bool:
    """Whether an importer knows a file, gzip or not, by its beginning."""
    try:
        return bool(importer_of(unpacked(data), {}))
    except InteropError:
        return False


def read_data(
    name: str, data: bytes, importer: str = "", mapping: Mapping[str, str] | None = None
) -> tuple[Imported, File]:
    """What a file says, and which file it was.

    Args:
        name: The file's name.
        data: Its content, gzip or not.
        importer: Who reads it; found out if empty.
        mapping: What the columns of a CSV are.

    Raises:
        InteropError: it cannot be read, or nothing in it can be taken.
        TrilemmaError: there is no such importer.
    """
    content, told = unpacked(data), dict(mapping or {})
    importer = importer or importer_of(content, told)
    reader: Importer = registry.load(_GROUP, importer)()
    file = File.of(name, data, importer, told)
    return reader.read(Given(file.name, content, told)), file


def read_path(path: Path, importer: str = "", mapping: Mapping[str, str] | None = None) -> tuple[Imported, File]:
    """:func:`read_data` of a file on this machine.

    Raises:
        InteropError: as :func:`read_data`, or the file cannot be opened.
    """
    return read_data(path.name, read_file(path), importer, mapping)
