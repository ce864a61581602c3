"""Weights on this disk, whatever their format: a GGUF file or a folder of safetensors."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trilemma.catalog.ancestry import header_derivations, linked
from trilemma.catalog.base import Fetched, Progress
from trilemma.catalog.files import HashCache
from trilemma.catalog.header import GgufHeader, WeightsHeader, cached_header
from trilemma.catalog.names import clean, folder_name, model_name, repository_model_name
from trilemma.catalog.safetensors_folder import FolderHeader, folder_digest, read_folder
from trilemma.errors import CatalogError, InvalidArtifactError, StoreError
from trilemma.schema import Artifact


@dataclass(frozen=True)
class Listing:
    """An artifact and whether its weights are still what they were."""

    artifact: Artifact
    present: bool
    note: str = ""
    """What is wrong and what to do, or what to know; empty if nothing."""


def read_weights(path: Path) -> GgufHeader | FolderHeader:
    """The header of a GGUF file or of a folder of safetensors.

    Raises:
        InvalidArtifactError: it is missing, damaged or something else.
    """
    return read_folder(path) if path.is_dir() else cached_header(path)


def digest(path: Path, header: WeightsHeader, hashes: HashCache, progress: Progress | None = None) -> str:
    """What the artifact is known by: the file's SHA-256, or that of a folder (see :func:`folder_digest`).

    Raises:
        CatalogError: a file cannot be read.
    """
    if not isinstance(header, FolderHeader):
        return hashes.sha256(path, progress)
    sizes = {name: (path / name).stat().st_size for name in header.files}
    total, before = sum(sizes.values()), 0

    def hashed(name: str) -> str:
        nonlocal before
        found = hashes.sha256(path / name, (lambda done, _: progress(before + done, total)) if progress else None)
        before += sizes[name]
        return found

    return folder_digest(header, hashed)


def describe(
    fetched: Fetched, header: WeightsHeader, content: str, model: str | None, artifacts: Sequence[Artifact]
) -> Artifact:
    """The artifact with the id ``content``; ``model`` overrides its name, ``artifacts`` may be its parents."""
    path = fetched.path
    if isinstance(header, GgufHeader):
        name = model_name(path.name, header.name, fetched.model)
    else:
        name = fetched.model or repository_model_name(folder_name(path))
    stated = () if header.kind == "adapter" else fetched.derivations  # Cards say of adapters what holds for models.
    return Artifact(
        id=content,
        path=str(path),
        format=header.format,
        kind="adapter" if header.kind == "adapter" else "model",
        model=clean(model, 120) if model else name,
        quantization=header.quantization,
        architecture=header.architecture,
        parameters=header.parameters,
        context_length=header.context_length,
        size_bytes=header.size_bytes,
        bits_per_weight=header.bits_per_weight,
        chat_template=header.chat_template,
        licence=fetched.licence or header.licence,
        source=fetched.source,
        derivations=linked(stated or header_derivations(header), artifacts),
        adapter_rank=header.adapter_rank,
    )


def refuse_unusable(header: WeightsHeader, file_name: str) -> None:
    """Refuse what is neither a language model's weights nor a LoRA adapter's, or not all of them.

    Raises:
        InvalidArtifactError: so it is.
    """
    if isinstance(header, GgufHeader) and header.split_count > 1:
        raise InvalidArtifactError(
            f"{clean(file_name)} is one of {header.split_count} parts.",
            "Join them first with llama.cpp's llama-gguf-split --merge, then add the whole file.",
        )
    if header.kind == "adapter" and not header.adapter_rank:
        raise InvalidArtifactError(
            f"{clean(file_name)} is an adapter, but no LoRA.", "Merge it into its base model, then add the result."
        )
    if header.kind in ("mmproj", "clip-vision", "imatrix", "vocab") or header.architecture == "clip":
        raise InvalidArtifactError(
            f"{clean(file_name)} holds a {header.kind}, not a language model.", "Choose the file of the model itself."
        )


@contextlib.contextmanager
def added(fetched: Fetched, artifacts: Callable[[], Sequence[Artifact]], *, keep: bool) -> Iterator[None]:
    """Removes what was brought into Trilemma's own folder and is then refused; without ``keep``, whatever goes wrong.

    What one of the ``artifacts`` is in stays.
    """
    try:
        yield
    except BaseException as error:
        refused = isinstance(error, InvalidArtifactError)
        with contextlib.suppress(CatalogError, StoreError):
            unnamed = fetched.copied and not any(one.path == str(fetched.path) for one in artifacts())
            if unnamed and (refused or not keep):
                remove_weights(fetched.path)
        raise


def listing(artifact: Artifact) -> Listing:
    """Whether the weights of ``artifact`` are where they were, by their size."""
    if artifact.format == "endpoint":
        return Listing(artifact, True, "Somebody else's server; whether it answers shows when it is measured.")
    path, again = Path(artifact.path), "add it again, or remove it from the catalog."
    if not path.exists():
        return Listing(artifact, False, f"{path} is gone: {again}")
    try:
        size = read_folder(path).size_bytes if path.is_dir() else path.stat().st_size
    except (OSError, InvalidArtifactError) as error:
        return Listing(artifact, False, f"{error} {again.capitalize()}")
    if size != artifact.size_bytes:
        what = "folder" if path.is_dir() else "file"
        return Listing(artifact, False, f"{path} is another {what} now: {again}")
    return Listing(artifact, True, "Made from an already quantized parent." if artifact.requantized else "")


def remove_weights(path: Path) -> None:
    """Delete a file, or the files of a folder and then the folder, and the one around it if nothing else is there;
    whatever folders are in it stay.

    Raises:
        CatalogError: it cannot be deleted.
    """
    try:
        for file in path.iterdir() if path.is_dir() else [path]:
            if not file.is_dir():
                file.unlink()
    except OSError as error:
        raise CatalogError(
            f"{path} cannot be deleted ({error.strerror}).", "Change its permissions, then try again."
        ) from error
    with contextlib.suppress(OSError):
        if path.is_dir():
            path.rmdir()
        path.parent.rmdir()
