"""Weights of the Hugging Face hub, or of a mirror that ``HF_ENDPOINT`` names, with the token of ``HF_TOKEN``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from trilemma.catalog.base import Fetched, Offer, Progress
from trilemma.catalog.card import derivations, licence
from trilemma.catalog.files import HashCache, is_inside
from trilemma.catalog.hub_errors import hub_errors
from trilemma.catalog.hub_files import DEFAULT_ENDPOINT, HubFiles
from trilemma.catalog.hub_snapshot import fetch_snapshot
from trilemma.catalog.hub_transfer import TIMEOUT_S
from trilemma.catalog.names import clean, model_name, repository_model_name, shards, split_file_name
from trilemma.catalog.safetensors_folder import is_weights_folder
from trilemma.catalog.safetensors_scheme import scheme_of
from trilemma.errors import HubError
from trilemma.schema import Relation
from trilemma.settings import Settings

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

SEARCH_LIMIT = 20
MAX_FILES = 2000

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class HubRepository:
    """A repository that a search found."""

    name: str
    downloads: int
    gated: bool
    licence: str | None
    files: tuple[str, ...]
    """Its GGUF files."""
    snapshot: bool
    """Whether it has a model or an adapter in safetensors."""


class HubSource:
    """Searches the hub and downloads from it. Nothing is asked of it before the user names something."""

    name: ClassVar[str] = "hub"

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.artifacts_dir / "hub"
        self._hashes = HashCache(settings.home)
        self._files = HubFiles(self._folder, self._hashes)
        self.keep_parts = True

    @property
    def endpoint(self) -> str:
        """Where the hub is."""
        return self._files.endpoint

    def search(self, query: str, limit: int = SEARCH_LIMIT) -> list[HubRepository]:
        """Repositories with GGUF files or safetensors whose name contains ``query``, the most downloaded first.

        Raises:
            HubError: the hub is unreachable or refuses.
        """
        if not query.strip():
            return []
        with hub_errors(self.endpoint, query):
            found = [self._find(query.strip()[:200], kind, limit) for kind in ("gguf", "safetensors")]
            models = {str(model.id): model for models in found for model in models}
            first = sorted(models.values(), key=lambda model: -int(model.downloads or 0))[:limit]
            return [_repository(model) for model in first if _REPOSITORY.fullmatch(str(model.id))]

    def offers(self, query: str = "") -> Iterator[Offer]:
        """What the repository ``owner/name`` has, with sizes, or the repositories that a search for any other text
        finds (the hub's search tells no sizes): each GGUF file, and safetensors as a whole; nothing for no query.

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
            if repository.snapshot:
                yield _snapshot_offer(repository.name, "", None, repository.licence)

    def fetch(self, reference: str, progress: Progress | None = None) -> Fetched:
        """Download ``owner/name/path/file.gguf``, or the safetensors of ``owner/name`` as a folder (optionally of
        ``owner/name@revision``), checked against the hub's sizes and SHA-256. An interrupted download is taken up where
        it ended; an exception out of ``progress`` interrupts it. Another version of a file that is here stays.

        Raises:
            CatalogError: the hub is unreachable, refuses, has no such weights, or sent something else than announced.
            DiskFullError: it does not fit.
        """
        repository, revision, file = _parse(reference)
        self._files.keep_parts = self.keep_parts
        with hub_errors(self.endpoint, f"{repository}/{file}".strip("/")):
            info = self._files.api().model_info(
                repository, revision=revision, files_metadata=not file, timeout=TIMEOUT_S
            )
        commit = info.sha or revision or "main"
        if file:
            final = self._files.place(repository, commit, file, self._target(repository, file))
            self._files.fetch(repository, commit, file, final, progress)
            quantization, unquantized = split_file_name(file)[1] or "", Relation.CONVERTED
        else:
            final = self._target(f"{repository}@{clean(commit, 12)}")
            fetch_snapshot(self._files, self._hashes, repository, commit, _sizes(info), final, progress)
            quantization, unquantized = _scheme(info), Relation.FINETUNED
        card = _card(info)
        return Fetched(
            path=final,
            source=f"hub:{repository}",
            model=repository_model_name(repository),
            licence=licence(card) or _tagged_licence(info),
            derivations=derivations(card, info.tags or [], quantization, unquantized=unquantized),
            copied=True,
        )

    def _find(self, query: str, kind: str, limit: int) -> list[ModelInfo]:
        from huggingface_hub import ModelInfo, get_session  # noqa: PLC0415
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # noqa: PLC0415

        # HfApi.list_models has no time limit, and tries for half a minute where there is no network.
        response = get_session().get(
            f"{self.endpoint}/api/models",
            params={
                "search": query,
                "filter": kind,
                "sort": "downloads",
                "limit": limit,
                "expand": ["siblings", "cardData", "tags", "gated", "downloads"],
            },
            headers=self._files.headers(),
            timeout=TIMEOUT_S,
        )
        hf_raise_for_status(response)
        return [ModelInfo(**entry) for entry in response.json()[:limit]]  # type: ignore[no-untyped-call]

    def _repository_offers(self, repository: str) -> Iterator[Offer]:
        with hub_errors(self.endpoint, repository):
            info = self._files.api().model_info(repository, files_metadata=True, timeout=TIMEOUT_S)
        card = _card(info)
        for sibling in (info.siblings or [])[:MAX_FILES]:
            file = str(sibling.rfilename)
            if _is_offered(file):
                offer = _offer(repository, file, sibling.size, licence(card) or _tagged_licence(info))
                yield replace(offer, derivations=derivations(card, info.tags or [], offer.quantization))
        sizes = _sizes(info)
        if is_weights_folder(sizes):
            size = sum(n_bytes for name, n_bytes in sizes.items() if name.endswith(".safetensors"))
            offer = _snapshot_offer(repository, _scheme(info), size or None, licence(card) or _tagged_licence(info))
            stated = derivations(card, info.tags or [], offer.quantization, unquantized=Relation.FINETUNED)
            yield replace(offer, derivations=stated)

    def _target(self, repository: str, file: str = "") -> Path:
        target = self._folder.joinpath(*repository.split("/"), *file.split("/"))
        if not is_inside(target, self._folder):
            raise _refused(file)
        return target


def _repository(model: ModelInfo) -> HubRepository:
    """What a search found, as it is shown."""
    card = _card(model)
    names = [str(s.rfilename) for s in (model.siblings or [])[:MAX_FILES]]
    return HubRepository(
        name=str(model.id),
        downloads=int(model.downloads or 0),
        gated=bool(model.gated),
        licence=licence(card) or _tagged_licence(model),
        files=tuple(n for n in names if _is_offered(n)),
        snapshot=is_weights_folder(names),
    )


def _parse(reference: str) -> tuple[str, str | None, str]:
    """Repository, revision and file (empty for its safetensors); refuses what could leave the repository's folder."""
    owner, _, rest = reference.partition("/")
    name, slash, file = rest.partition("/")
    name, _, revision = name.partition("@")
    repository = f"{owner}/{name}"
    if (
        not _REPOSITORY.fullmatch(repository)
        or ".." in repository
        or (revision and not re.fullmatch(r"[\w.-]{1,80}", revision))
    ):
        raise HubError(
            f"{clean(reference)!r} does not name weights on the hub.",
            "Write a file as owner/repository/file.gguf, safetensors as owner/repository.",
        )
    if slash and not _is_safe(file):
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


def _snapshot_offer(repository: str, quantization: str, size: int | None, licence_name: str | None) -> Offer:
    return Offer(
        source=HubSource.name,
        reference=repository,
        model=repository_model_name(repository),
        quantization=quantization or "safetensors",
        size_bytes=size,
        licence=licence_name,
        local=False,
    )


def _sizes(info: Any) -> dict[str, int]:
    """Names and sizes of the repository's files, those in its subfolders left out."""
    siblings = [(str(s.rfilename), s.size) for s in (info.siblings or [])[:MAX_FILES]]
    return {name: int(size or 0) for name, size in siblings if "/" not in name}


def _scheme(info: Any) -> str:
    """The quantization as the hub read it from the repository's configuration, or the most common data type."""
    config = info.config if isinstance(getattr(info, "config", None), dict) else {}
    if isinstance(config.get("quantization_config"), dict):
        return scheme_of(config, ())
    counts = getattr(getattr(info, "safetensors", None), "parameters", None)
    return clean(max(counts, key=lambda dtype: counts[dtype]), 20) if isinstance(counts, dict) and counts else ""


def _card(info: Any) -> dict[str, Any]:
    card = getattr(info, "card_data", None)
    with contextlib.suppress(Exception):  # Somebody else's YAML, turned into an object by the library.
        return dict(card.to_dict()) if card is not None else {}
    return {}


def _tagged_licence(info: Any) -> str | None:
    return next((clean(str(t)[8:], 80) for t in info.tags or [] if str(t).startswith("license:")), None)
