"""Weights that machines share by hash: a folder, or whatever fsspec reaches (``s3://``, ``gs://``, ``hf://`` ...).

Each artifact is a folder under its id::

    <url>/<id>/SHA256SUMS       what sha256sum prints for the files, sorted by name; written last
    <url>/<id>/model.gguf       or the files of a folder of safetensors

So nothing there needs to be trusted: the hash of the one GGUF file, or that of ``SHA256SUMS`` for a folder, is the id,
and every file is hashed while it is read.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trilemma.catalog.base import Progress
from trilemma.catalog.files import BLOCK_BYTES, HashCache, disk_errors, ensure_space, publish, sweep, temporary_name
from trilemma.catalog.safetensors_folder import FolderHeader
from trilemma.catalog.weights import digest, read_weights
from trilemma.errors import CatalogError, InvalidArtifactError, TrilemmaError
from trilemma.schema import Artifact

SUMS = "SHA256SUMS"
GGUF = "model.gguf"
_SUM = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_][A-Za-z0-9._-]{0,199})")
_MOST_BYTES = 1 << 20
_BESIDE_BYTES = 64 << 20
"""What may come beside what an artifact's size counts: a place that anybody may write to has no end otherwise."""


class Share:
    """The place that ``url`` names.

    Raises:
        CatalogError: the URL is of no kind that is known here.
    """

    def __init__(self, url: str) -> None:
        self._shown = _without_secrets(url)
        with self._errors():
            import fsspec  # noqa: PLC0415 - machines that share nothing do without it

            found = fsspec.core.url_to_fs(url)
        self._fs: Any = found[0]
        self._root = str(found[1]).rstrip("/")

    def holds(self, artifact_id: str) -> bool:
        """Whether all of the artifact is there.

        Raises:
            CatalogError: the place cannot be reached.
        """
        with self._errors():
            return bool(self._fs.exists(f"{self._root}/{artifact_id}/{SUMS}"))

    def put(self, artifact: Artifact, hashes: HashCache) -> None:
        """Copy an artifact of this machine there, unless it is there.

        Raises:
            CatalogError: it is not what it was when it was added, or the place cannot be written.
        """
        if self.holds(artifact.id):
            return
        path = Path(artifact.path)
        sums = sums_of(path, hashes)
        _check(artifact.id, sums)
        folder = f"{self._root}/{artifact.id}"
        with self._errors():
            self._fs.makedirs(folder, exist_ok=True)
            for name in sums:
                self._fs.put_file(str(path / name if path.is_dir() else path), f"{folder}/{name}")
            self._fs.pipe_file(f"{folder}/{SUMS}", _text(sums).encode())

    def get(self, artifact: Artifact, folder: Path, progress: Progress | None = None) -> Path:
        """Bring an artifact to ``folder`` under its id, every file verified; nothing half-written has that name.

        Returns:
            Its file or folder.

        Raises:
            InvalidArtifactError: something else is there.
            CatalogError: it is not there.
            DiskFullError: it does not fit.
        """
        if not self.holds(artifact.id):
            raise CatalogError(
                f"{artifact.label} ({artifact.id[:12]}) is not at {self._shown}.",
                "See that the worker's machine has the same TRILEMMA_ARTIFACTS_URL, and may write there.",
            )
        ensure_space(folder, artifact.size_bytes)
        final = folder / artifact.id
        temporary = temporary_name(final)
        with disk_errors(folder, artifact.size_bytes):
            sweep(folder)
            temporary.mkdir(parents=True)
        try:
            sums = self._sums(artifact.id)
            done = 0
            for name, expected in sums.items():
                done = self._file(artifact, name, expected, temporary / name, done, progress)
            with disk_errors(folder, 0):
                publish(temporary, final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return place(final)

    def _sums(self, artifact_id: str) -> dict[str, str]:
        with self._errors(), self._fs.open(f"{self._root}/{artifact_id}/{SUMS}", "rb") as file:
            text = bytes(file.read(_MOST_BYTES)).decode(errors="replace")
        found = [_SUM.fullmatch(line) for line in text.splitlines()]
        if not found or not all(found):
            raise InvalidArtifactError(
                f"{SUMS} of {artifact_id[:12]} at {self._shown} is no list of hashes.",
                "Remove that folder; the worker's machine puts it there again.",
            )
        sums = {match[2]: match[1] for match in found if match}
        _check(artifact_id, sums)
        return sums

    def _file(
        self, artifact: Artifact, name: str, expected: str, target: Path, done: int, progress: Progress | None
    ) -> int:
        made = hashlib.sha256()
        with (
            self._errors(),
            self._fs.open(f"{self._root}/{artifact.id}/{name}", "rb") as source,
            disk_errors(target.parent, artifact.size_bytes),
            target.open("wb") as file,
        ):
            while block := source.read(BLOCK_BYTES):
                file.write(block)
                made.update(block)
                done += len(block)
                if done > artifact.size_bytes + _BESIDE_BYTES:
                    raise InvalidArtifactError(
                        f"{name} at {self._shown} is larger than {artifact.label} is.",
                        "Remove that folder; the worker's machine puts it there again.",
                    )
                if progress is not None:
                    progress(done, max(artifact.size_bytes, done))
        if made.hexdigest() != expected:
            raise InvalidArtifactError(
                f"{name} of {artifact.label} at {self._shown} is not what its hash says.",
                "Remove that folder; the worker's machine puts it there again.",
            )
        return done

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Each kind of place has errors of its own."""
        try:
            yield
        except TrilemmaError:
            raise
        except Exception as error:
            said = f"{type(error).__name__}: {error}".replace(self._shown, "it")[:300]
            raise CatalogError(
                f"Weights cannot be shared through {self._shown} ({said}).",
                "Check TRILEMMA_ARTIFACTS_URL, and that what it needs is installed (s3fs for s3://, gcsfs for gs://).",
            ) from error


def sums_of(path: Path, hashes: HashCache) -> dict[str, str]:
    """The SHA-256 of every file of an artifact on this disk, by the name that it is shared under.

    Raises:
        CatalogError: it cannot be read, or is no artifact.
    """
    header = read_weights(path)
    if isinstance(header, FolderHeader):
        return {name: hashes.sha256(path / name) for name in header.files}
    return {GGUF: hashes.sha256(path)}


def place(folder: Path) -> Path:
    """Where in an artifact's own folder its weights are: the GGUF file, or the folder itself."""
    return folder / GGUF if (folder / GGUF).is_file() else folder


def verified(path: Path, artifact: Artifact, hashes: HashCache) -> bool:
    """Whether what is at ``path`` is the artifact: read in full the first time and whenever it has changed."""
    try:
        return path.exists() and digest(path, read_weights(path), hashes) == artifact.id
    except (CatalogError, OSError):
        return False


def _check(artifact_id: str, sums: dict[str, str]) -> None:
    if sums != {GGUF: artifact_id} and hashlib.sha256(_text(sums).encode()).hexdigest() != artifact_id:
        raise InvalidArtifactError(
            f"The files are not those of the artifact {artifact_id[:12]}: their hashes differ.",
            "Add the weights to the catalog again, and measure those.",
        )


def _text(sums: dict[str, str]) -> str:
    return "".join(f"{value}  {name}\n" for name, value in sums.items())


def _without_secrets(url: str) -> str:
    """The URL without user, password and query."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else url
