"""Files that users give, kept in a folder under their SHA-256: the same content is there once, and cannot change."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


class ChangedError(Exception):
    """A file's content is no longer what its name says."""


def keep(folder: Path, suffix: str, data: bytes) -> str:
    """Write ``data`` unless it is there already, whole; returns its digest.

    Raises:
        OSError: it cannot be written.
    """
    digest = hashlib.sha256(data).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{digest}{suffix}"
    if not target.exists() or target.read_bytes() != data:  # one that was damaged is mended
        temporary = target.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave its name without its content
        temporary.replace(target)
    return digest


def read(folder: Path, suffix: str, digest: str) -> bytes:
    """What :func:`keep` wrote.

    Raises:
        OSError: it is gone.
        ChangedError: it was changed.
    """
    data = (folder / f"{digest}{suffix}").read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise ChangedError
    return data


def known(folder: Path, suffix: str) -> list[str]:
    """The digests of the files in ``folder``, sorted."""
    return sorted(path.stem for path in folder.glob(f"*{suffix}")) if folder.is_dir() else []


def beginning_with(folder: Path, suffix: str, beginning: str) -> list[str]:
    """The digests that begin so, in any case; none for an empty beginning."""
    return [one for one in known(folder, suffix) if one.startswith(beginning.lower())] if beginning else []
