"""Files on this disk: hashes that are remembered, room that is checked, and names that appear only when complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

from trilemma.catalog.base import Progress
from trilemma.errors import CatalogError, DiskFullError, is_disk_full

MARGIN_BYTES = 64 * 2**20
"""Left free on the disk, for the store and the rest of the system."""
BLOCK_BYTES = 4 * 2**20


def megabytes(count: int) -> str:
    """``count`` bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.0f} MB"


def ensure_space(folder: Path, needed_bytes: int) -> None:
    """Refuse before writing what would not fit.

    Raises:
        DiskFullError: fewer than ``needed_bytes`` and a margin are free where ``folder`` is.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + MARGIN_BYTES:
        raise disk_full(folder, needed_bytes, free)


def disk_full(folder: Path, needed_bytes: int, free: int | None = None) -> DiskFullError:
    """The error for a disk that has no room for ``needed_bytes``."""
    free = shutil.disk_usage(folder).free if free is None else free
    return DiskFullError(
        f"{megabytes(needed_bytes)} do not fit on the disk of {folder}: {megabytes(free)} are free.",
        "Free some space (delete artifacts on the Models page), or set TRILEMMA_HOME to a larger disk.",
    )


@contextlib.contextmanager
def disk_errors(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turns whatever the file system refuses into an error that says what to do; a full disk into its own."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(folder, needed_bytes) from error
        raise CatalogError(
            f"{error.filename or folder} cannot be read or written ({error.strerror or error}).",
            "Check its permissions and the disk, or set TRILEMMA_HOME to a folder that you may write to.",
        ) from error


def temporary_name(final: Path) -> Path:
    """A hidden name beside ``final`` that tells whose it is, so that what a killed process left can be swept."""
    return final.with_name(f".{final.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp")


def publish(temporary: Path, final: Path) -> None:
    """Give a complete file or folder its final name, durably and at once; what had that name before goes."""
    for path in temporary.rglob("*") if temporary.is_dir() else [temporary]:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    if temporary.is_dir() and final.is_dir():
        shutil.rmtree(final)
    temporary.replace(final)
    if os.name == "posix":
        descriptor = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove temporary files and folders of processes that are gone."""
    for path in folder.glob(".*.tmp"):
        pid = path.name.split(".")[-3]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            remove(path)


def remove(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, if it is there; a link, not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep_old(folder: Path, suffix: str, days: float = 7.0) -> None:
    """Remove interrupted downloads that nobody came back for."""
    for path in folder.rglob(f".*{suffix}"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > days * 86400:
                remove(path)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether ``path``, symbolic links followed, lies in ``folder``."""
    return path.resolve().is_relative_to(folder.resolve())


class HashCache:
    """SHA-256 of files, remembered by path, size and time of change in ``folder/hashes.json``."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "hashes.json"

    def sha256(self, path: Path, progress: Progress | None = None) -> str:
        """The file's SHA-256 in hex; read only if it is new or was changed.

        Raises:
            CatalogError: it cannot be read.
        """
        try:
            key, stamp = _identity(path)
            known = self._load().get(key)
            if known is not None and known[:2] == stamp:
                if progress is not None:
                    progress(int(stamp[0]), int(stamp[0]))
                return str(known[2])
            digest = _digest(path, int(stamp[0]), progress)
            unchanged = _identity(path) == (key, stamp)
        except OSError as error:
            raise CatalogError(
                f"{path} cannot be read ({error.strerror or error}).", "Check that it exists and its permissions."
            ) from error
        if not unchanged:
            raise CatalogError(f"{path} changed while it was read.", "Wait until it is written, then try again.")
        self.remember(path, digest)
        return digest

    def remember(self, path: Path, digest: str) -> None:
        """Note the hash of a file that was computed while it was written."""
        with contextlib.suppress(OSError):  # Only a cache: losing it costs time, nothing else.
            key, stamp = _identity(path)
            known = self._load()
            known[key] = [*stamp, digest]
            known = {k: v for k, v in known.items() if Path(k).exists()}
            self._file.parent.mkdir(parents=True, exist_ok=True)
            temporary = temporary_name(self._file)
            try:
                temporary.write_text(json.dumps(known))
                temporary.replace(self._file)
            except OSError:
                temporary.unlink(missing_ok=True)

    def _load(self) -> dict[str, list[int | str]]:
        try:
            data = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {k: v for k, v in data.items() if isinstance(v, list) and len(v) == 3}


def _identity(path: Path) -> tuple[str, list[int | str]]:
    stat = path.stat()
    return str(path.resolve()), [stat.st_size, stat.st_mtime_ns]


def _digest(path: Path, size: int, progress: Progress | None) -> str:
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done, max(size, done))
    return digest.hexdigest()
