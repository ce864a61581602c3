"""Single files of a hub repository, brought onto this disk: checked, resumable, never half-written under their name."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from trilemma.catalog.base import Progress
from trilemma.catalog.files import HashCache, disk_errors, ensure_space, publish, remove, sweep_old
from trilemma.catalog.hub_errors import hub_errors
from trilemma.catalog.hub_transfer import TIMEOUT_S, transfer
from trilemma.catalog.names import clean
from trilemma.errors import HubError, is_disk_full

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Read by huggingface_hub when it is imported, which happens in functions here, so these come first.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

DEFAULT_ENDPOINT = "https://huggingface.co"
PART_SUFFIX = ".part"
USER_AGENT = {"user-agent": "trilemma"}
"""The library's own tells versions of Python and of other packages."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubFiles:
    """Asks the hub, or the mirror that ``HF_ENDPOINT`` names, with the token of ``HF_TOKEN``.

    Args:
        folder: Where downloads go; interrupted ones are swept out of it after some days.
        hashes: Remembers what was downloaded.
    """

    def __init__(self, folder: Path, hashes: HashCache) -> None:
        self._folder, self._hashes = folder, hashes
        self.keep_parts = True
        """Whether what has come of an interrupted download stays, to go on with."""

    @property
    def endpoint(self) -> str:
        """Where the hub is."""
        return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")

    def api(self) -> HfApi:
        """The hub's own client."""
        from huggingface_hub import HfApi  # noqa: PLC0415 - slow to import, and often not wanted.

        # False keeps the library from using a token that another program stored on this machine.
        token = os.environ.get("HF_TOKEN") or False
        return HfApi(endpoint=self.endpoint, token=token, headers=dict(USER_AGENT))

    def headers(self) -> dict[str, str]:
        """What every request carries."""
        headers = dict(USER_AGENT)
        if token := os.environ.get("HF_TOKEN"):
            headers["authorization"] = f"Bearer {token}"  # Dropped by the client when it is sent to another host.
        return headers

    def fetch(self, repository: str, revision: str, file: str, final: Path, progress: Progress | None = None) -> str:
        """Bring one file to ``final`` unless it is there, and return its SHA-256. An interrupted download is taken up
        where it ended; an exception out of ``progress`` interrupts it.

        Raises:
            HubError: the hub is unreachable, refuses, has no such file, or sent something else than it announced.
            DiskFullError: it does not fit.
        """
        with hub_errors(self.endpoint, f"{repository}/{file}"):
            commit, etag, size = self._metadata(repository, revision, file)
        expected = etag if _SHA256.fullmatch(etag) else None
        if final.is_file() and expected is not None and self._hashes.sha256(final) == expected:
            return expected
        # The hash in the name keeps parts of two versions of a file from being joined.
        part = final.with_name(f".{final.name[:150]}.{re.sub(r'[^0-9A-Za-z]', '', etag)[:40]}{PART_SUFFIX}")
        sweep_old(self._folder, PART_SUFFIX)
        have = part.stat().st_size if part.is_file() else 0
        ensure_space(final.parent, max(0, size - have))
        with disk_errors(final.parent, size), self.alone(part, file):
            with hub_errors(self.endpoint, f"{repository}/{file}"):
                transfer(self._url(repository, file, commit), self.headers(), part, size, progress)
            # Of a large file this takes a while, in which it can be cancelled as before.
            digest = self._hashes.sha256(part, None if progress is None else lambda *_: progress(size, size))
            if expected is not None and digest != expected:
                part.unlink(missing_ok=True)
                raise HubError(
                    f"What arrived of {clean(file)} is not what the hub describes (its SHA-256 differs).",
                    "Download it again; if it happens again, the file or a proxy on the way is broken.",
                )
            publish(part, final)
        self._hashes.remember(final, digest)
        return digest

    def place(self, repository: str, revision: str, file: str, final: Path) -> Path:
        """Where one file goes: ``final``, or a folder of its own beside it, where that is another version of the file.

        Raises:
            HubError: as :meth:`fetch`.
        """
        if not final.is_file():
            return final
        with hub_errors(self.endpoint, f"{repository}/{file}"):
            _, etag, _ = self._metadata(repository, revision, file)
        # What the hub does not know the SHA-256 of is small, and no weights that anybody measures.
        if not _SHA256.fullmatch(etag) or self._hashes.sha256(final) == etag:
            return final
        return final.parent / etag[:12] / final.name

    @contextlib.contextmanager
    def alone(self, part: Path, what: str) -> Iterator[None]:
        """Keeps two processes from writing to one part, a file or a folder, and removes what nobody shall go on with.

        Raises:
            HubError: another one writes to it.
        """
        part.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(part.with_name(part.name + ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise HubError(f"{clean(what)} is being downloaded already.", "Wait until that is done.") from error
        try:
            yield
        except BaseException as error:
            # A part that fills the disk helps nobody.
            if not self.keep_parts or is_disk_full(error):
                remove(part)
            raise
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def _url(self, repository: str, file: str, revision: str) -> str:
        from huggingface_hub import hf_hub_url  # noqa: PLC0415

        return hf_hub_url(repository, file, revision=revision, endpoint=self.endpoint)

    def _metadata(self, repository: str, revision: str, file: str) -> tuple[str, str, int]:
        from huggingface_hub import get_hf_file_metadata  # noqa: PLC0415

        url = self._url(repository, file, revision)
        token = os.environ.get("HF_TOKEN") or False
        metadata = get_hf_file_metadata(
            url, token=token, timeout=TIMEOUT_S, endpoint=self.endpoint, headers=dict(USER_AGENT)
        )
        if metadata.etag is None or metadata.size is None:
            raise HubError(
                f"{self.endpoint} does not tell the size and the hash of {clean(file)}.",
                "If HF_ENDPOINT is set, check that it names a mirror of the hub.",
            )
        return metadata.commit_hash or revision, metadata.etag, metadata.size
