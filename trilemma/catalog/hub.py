"""GGUF files of the Hugging Face hub, or of a mirror that ``HF_ENDPOINT`` names, with the token of ``HF_TOKEN``."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from filelock import FileLock, Timeout

from trilemma.catalog.base import Fetched, Offer, Progress
from trilemma.catalog.card import derivations, licence
from trilemma.catalog.files import HashCache, disk_errors, ensure_space, is_inside, publish, sweep_old
from trilemma.catalog.hub_errors import hub_errors
from trilemma.catalog.hub_transfer import TIMEOUT_S, transfer
from trilemma.catalog.names import clean, model_name, repository_model_name, shards, split_file_name
from trilemma.errors import DiskFullError, HubError
from trilemma.settings import Settings

if TYPE_CHECKING:
    from huggingface_hub import HfApi, ModelInfo

# Read by huggingface_hub when it is imported, which happens in functions here, so these come first.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

DEFAULT_ENDPOINT = "https://huggingface.co"
SEARCH_LIMIT = 20
USER_AGENT = {"user-agent": "trilemma"}
"""The library's own tells versions of Python and of other packages."""
MAX_FILES = 500
PART_SUFFIX = ".part"

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubRepository:
    """A repository that a search found."""

    name: str
    downloads: int
    gated: bool
    licence: str | None
    files: tuple[str, ...]
    """Its GGUF files."""


class HubSource:
    """Searches the hub and downloads from it. Nothing is asked of it before the user names something."""

    name: ClassVar[str] = "hub"

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.artifacts_dir / "hub"
        self._hashes = HashCache(settings.home)

    @property
    def endpoint(self) -> str:
        """Where the hub is."""
        return (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")

    def search(self, query: str, limit: int = SEARCH_LIMIT) -> list[HubRepository]:
        """Repositories with GGUF files whose name contains ``query``, the most downloaded first.

        Raises:
            HubError: the hub is unreachable or refuses.
        """
        if not query.strip():
            return []
        with hub_errors(self.endpoint, query):
            models = self._find(query.strip()[:200], limit)
        repositories = []
        for model in models:
            if _REPOSITORY.fullmatch(str(model.id)):
                card = _card(model)
                names = [str(s.rfilename) for s in (model.siblings or [])[:MAX_FILES]]
                repositories.append(
                    HubRepository(
                        name=str(model.id),
                        downloads=int(model.downloads or 0),
                        gated=bool(model.gated),
                        licence=licence(card) or _tagged_licence(model),
                        files=tuple(n for n in names if _is_offered(n)),
                    )
                )
        return repositories

    def offers(self, query: str = "") -> Iterator[Offer]:
        """The files of the repository ``owner/name`` with their sizes, or those of the repositories that a search for
        any other text finds (the hub's search tells no sizes); nothing for an empty query.

        Raises:
            HubError: the hub is unreachable, refuses, or has no such repository.
        """
        query = query.strip().removeprefix(self.endpoint + "/").removeprefix(DEFAULT_ENDPOINT + "/").strip("/")
        if _REPOSITORY.fullmatch(query):
            yield from self._repository_offers(query)
            return
        for repository in self.search(query):
            for file in repository.files:
                yield _offer(repository.name, file, None, repository.licence)

    def fetch(self, reference: str, progress: Progress | None = None) -> Fetched:
        """Download ``owner/name/path/file.gguf`` (optionally ``owner/name@revision/...``), checked against the hub's
        size and SHA-256. An interrupted download is taken up where it ended; an exception out of ``progress``
        interrupts it.

        Raises:
            HubError: the hub is unreachable, refuses, has no such file, or sent something else than it announced.
            DiskFullError: it does not fit.
        """
        repository, revision, file = _parse(reference)
        final = self._target(repository, file)
        with hub_errors(self.endpoint, f"{repository}/{file}"):
            info = self._api().model_info(repository, revision=revision, timeout=TIMEOUT_S)
            commit, etag, size = self._metadata(repository, info.sha or revision or "main", file)
        expected = etag if _SHA256.fullmatch(etag) else None
        if not (final.is_file() and expected is not None and self._hashes.sha256(final) == expected):
            self._download(repository, commit, file, final, etag, size, expected, progress)
        card, (_, quantization) = _card(info), split_file_name(file)
        return Fetched(
            path=final,
            source=f"hub:{repository}",
            model=repository_model_name(repository),
            licence=licence(card) or _tagged_licence(info),
            derivations=derivations(card, info.tags or [], quantization or ""),
        )

    def _api(self) -> HfApi:
        from huggingface_hub import HfApi  # noqa: PLC0415 - slow to import, and often not wanted.

        # False keeps the library from using a token that another program stored on this machine.
        token = os.environ.get("HF_TOKEN") or False
        return HfApi(endpoint=self.endpoint, token=token, headers=dict(USER_AGENT))

    def _find(self, query: str, limit: int) -> list[ModelInfo]:
        from huggingface_hub import ModelInfo, get_session  # noqa: PLC0415
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # noqa: PLC0415

        # HfApi.list_models has no time limit, and tries for half a minute where there is no network.
        response = get_session().get(
            f"{self.endpoint}/api/models",
            params={
                "search": query,
                "filter": "gguf",
                "sort": "downloads",
                "limit": limit,
                "expand": ["siblings", "cardData", "tags", "gated", "downloads"],
            },
            headers=self._headers(),
            timeout=TIMEOUT_S,
        )
        hf_raise_for_status(response)
        return [ModelInfo(**entry) for entry in response.json()[:limit]]  # type: ignore[no-untyped-call]

    def _headers(self) -> dict[str, str]:
        headers = dict(USER_AGENT)
        if token := os.environ.get("HF_TOKEN"):
            headers["authorization"] = f"Bearer {token}"  # Dropped by the client when it is sent to another host.
        return headers

    def _repository_offers(self, repository: str) -> Iterator[Offer]:
        with hub_errors(self.endpoint, repository):
            info = self._api().model_info(repository, files_metadata=True, timeout=TIMEOUT_S)
        card = _card(info)
        for sibling in (info.siblings or [])[:MAX_FILES]:
            file = str(sibling.rfilename)
            if _is_offered(file):
                offer = _offer(repository, file, sibling.size, licence(card) or _tagged_licence(info))
                yield replace(offer, derivations=derivations(card, info.tags or [], offer.quantization))

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

    def _target(self, repository: str, file: str) -> Path:
        target = self._folder.joinpath(*repository.split("/"), *file.split("/"))
        if not is_inside(target, self._folder):
            raise _refused(file)
        return target

    def _download(
        self,
        repository: str,
        commit: str,
        file: str,
        final: Path,
        etag: str,
        size: int,
        expected: str | None,
        progress: Progress | None,
    ) -> None:
        # The hash in the name keeps parts of two versions of a file from being joined.
        part = final.with_name(f".{final.name[:150]}.{re.sub(r'[^0-9A-Za-z]', '', etag)[:40]}{PART_SUFFIX}")
        sweep_old(self._folder, PART_SUFFIX)
        have = part.stat().st_size if part.is_file() else 0
        ensure_space(final.parent, max(0, size - have))
        try:
            with disk_errors(final.parent, size), hub_errors(self.endpoint, f"{repository}/{file}"):
                final.parent.mkdir(parents=True, exist_ok=True)
                with _alone(part, file):
                    transfer(self._url(repository, file, commit), self._headers(), part, size, progress)
        except DiskFullError:
            part.unlink(missing_ok=True)  # A part that fills the disk helps nobody.
            raise
        digest = self._hashes.sha256(part)
        if expected is not None and digest != expected:
            part.unlink(missing_ok=True)
            raise HubError(
                f"What arrived of {clean(file)} is not what the hub describes (its SHA-256 differs).",
                "Download it again; if it happens again, the file or a proxy on the way is broken.",
            )
        with disk_errors(final.parent, 0):
            publish(part, final)
        self._hashes.remember(final, digest)


@contextlib.contextmanager
def _alone(part: Path, file: str) -> Iterator[None]:
    """Keeps two processes from writing to one part."""
    lock = FileLock(part.with_name(part.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HubError(f"{clean(file)} is being downloaded already.", "Wait until that is done.") from error
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _parse(reference: str) -> tuple[str, str | None, str]:
    """Repository, revision and file; refuses whatever could leave the repository's folder."""
    owner, _, rest = reference.partition("/")
    name, _, file = rest.partition("/")
    name, _, revision = name.partition("@")
    repository = f"{owner}/{name}"
    if (
        not _REPOSITORY.fullmatch(repository)
        or ".." in repository
        or (revision and not re.fullmatch(r"[\w.-]{1,80}", revision))
    ):
        raise HubError(
            f"{clean(reference)!r} does not name a file on the hub.", "Write it as owner/repository/file.gguf."
        )
    if not _is_safe(file):
        raise _refused(file)
    if shards(file) > 1:
        raise HubError(
            f"{clean(file)} is one of {shards(file)} parts, which are not supported.",
            "Choose a file that is whole, or join the parts with llama.cpp's llama-gguf-split and add the result.",
        )
    return repository, revision or None, file


def _is_safe(file: str) -> bool:
    parts = file.split("/")
    return (
        file.lower().endswith(".gguf")
        and len(parts) <= 8
        and all(re.fullmatch(r"[\w(\[][\w .,+=@()\[\]-]{0,180}", p) and not p.endswith((" ", ".")) for p in parts)
    )


def _refused(file: str) -> HubError:
    return HubError(
        f"The file name {clean(file)!r} is refused: it is no plain path of a .gguf file inside its repository.",
        "Choose another file.",
    )


def _is_offered(file: str) -> bool:
    name = file.rpartition("/")[2].lower()
    return _is_safe(file) and shards(file) == 1 and not name.startswith(("mmproj", "imatrix"))


def _offer(repository: str, file: str, size: int | None, licence_name: str | None) -> Offer:
    return Offer(
        source=HubSource.name,
        reference=f"{repository}/{file}",
        model=model_name(file, None, repository_model_name(repository)),
        quantization=split_file_name(file)[1] or split_file_name(repository.removesuffix("-GGUF"))[1] or "?",
        size_bytes=size,
        licence=licence_name,
        local=False,
    )


def _card(info: Any) -> dict[str, Any]:
    card = getattr(info, "card_data", None)
    with contextlib.suppress(Exception):  # Somebody else's YAML, turned into an object by the library.
        return dict(card.to_dict()) if card is not None else {}
    return {}


def _tagged_licence(info: Any) -> str | None:
    return next((clean(str(t)[8:], 80) for t in info.tags or [] if str(t).startswith("license:")), None)
