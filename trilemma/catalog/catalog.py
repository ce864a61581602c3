"""The catalog: what weights there are, where more come from, and the ladders that are made of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trilemma import registry
from trilemma.catalog.ancestry import header_derivations, linked, stated
from trilemma.catalog.base import Fetched, Offer, Progress, Source
from trilemma.catalog.files import HashCache, is_inside
from trilemma.catalog.header import GgufHeader, cached_header
from trilemma.catalog.ladder import LadderStep, checked, existing, is_quantized, ladder_of
from trilemma.catalog.names import clean, model_name, slug
from trilemma.catalog.quantise import quantise_file
from trilemma.catalog.sizes import LADDER, predicted_bytes
from trilemma.errors import CatalogError, InvalidArtifactError, NotFoundError
from trilemma.schema import Artifact, Derivation, Relation
from trilemma.settings import Settings, get_settings

__all__ = ["LADDER", "Catalog", "LadderStep", "Listing"]


class ArtifactStore(Protocol):
    """What the catalog needs of the store."""

    def add_artifact(self, artifact: Artifact, /) -> Artifact: ...

    def artifacts(self) -> list[Artifact]: ...

    def artifact(self, artifact_id: str, /) -> Artifact: ...

    def forget_artifact(self, artifact_id: str, /) -> None: ...

    def runs_using(self, artifact_id: str, /) -> int: ...


@dataclass(frozen=True)
class Listing:
    """An artifact and whether its file is still what it was."""

    artifact: Artifact
    present: bool
    note: str = ""
    """What is wrong and what to do, or what to know; empty if nothing."""


class Catalog:
    """The façade that pages and the command line use.

    Args:
        store: Where artifacts are kept.
        settings: Where files are; the process's settings if not given.
    """

    def __init__(self, store: ArtifactStore, settings: Settings | None = None) -> None:
        self.store = store
        self.settings = settings or get_settings()
        self._hashes = HashCache(self.settings.home)

    def sources(self) -> list[str]:
        """The names of the installed sources."""
        return registry.names("trilemma.sources")

    def source(self, name: str) -> Source:
        """The source of that name.

        Raises:
            TrilemmaError: there is none.
        """
        source: Source = registry.load("trilemma.sources", name)(self.settings)
        return source

    def offers(self, query: str = "", source: str | None = None) -> Iterator[Offer]:
        """What can be had from ``source``, or from all on this machine; the hub is only asked when it is named.

        Raises:
            CatalogError: the source cannot be asked.
        """
        for name in [source] if source else [n for n in self.sources() if n != "hub"]:
            yield from self.source(name).offers(query)

    def add(
        self,
        source: str,
        reference: str,
        progress: Progress | None = None,
        *,
        model: str | None = None,
        relation: Relation | None = None,
        parent: Artifact | str | None = None,
    ) -> Artifact:
        """Fetch an offer, read its header, hash it and put it in the store.

        ``model`` overrides the name; ``relation`` and ``parent`` state what it derives from, in place of what the
        source says. Content that is known already is the artifact that it was.

        Raises:
            CatalogError: it is missing, corrupt, refused or not a language model's weights.
            DiskFullError: it does not fit.
        """
        fetched = self.source(source).fetch(reference, progress)
        header = cached_header(fetched.path)
        _refuse_unusable(header, fetched.path.name)
        artifact = self._describe(fetched, header, self._hashes.sha256(fetched.path, progress), model)
        if relation is not None and parent is not None:
            artifact = artifact.model_copy(
                update={"derivations": (stated(artifact, relation, parent, self.store.artifacts()),)}
            )
        return self.store.add_artifact(self._merged(artifact))

    def add_path(self, path: Path | str, progress: Progress | None = None, *, model: str | None = None) -> Artifact:
        """Add a file of this machine, where it is. A page asks ``settings.allow_paths`` first.

        Raises:
            CatalogError: as :meth:`add`.
        """
        return self.add("folder", str(path), progress, model=model)

    def refresh(self) -> list[Listing]:
        """All artifacts, with a note where the file is missing or has changed."""
        return [self._listing(artifact) for artifact in self.store.artifacts()]

    def header(self, artifact: Artifact) -> GgufHeader:
        """The artifact's header.

        Raises:
            InvalidArtifactError: the file is gone or damaged.
        """
        return cached_header(Path(artifact.path))

    def predict_size(self, artifact: Artifact, quantization: str) -> int:
        """Bytes that the artifact would take in ``quantization`` (see :mod:`trilemma.catalog.sizes`): exact for the
        common architectures, a few per cent off for others.

        Raises:
            QuantizeError: ``quantization`` is not in :data:`LADDER`.
            InvalidArtifactError: the file is gone or damaged.
        """
        return predicted_bytes(self.header(artifact), checked(quantization))

    def ladder(self, artifact: Artifact) -> list[LadderStep]:
        """Every step of the ladder under ``artifact``: predicted size, whether it is there, and what to know of it.

        Raises:
            InvalidArtifactError: the file is gone or damaged.
        """
        return ladder_of(artifact, self.header(artifact), self.store.artifacts())

    def quantise(
        self,
        artifact: Artifact,
        quantization: str,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Artifact:
        """The artifact in ``quantization``: itself if it is, the one made before if there is one, else a new one.

        ``progress`` is called with (tensors done, tensors in all). An artifact made out of anything but floating-point
        weights is marked ``requantized``: also F16, which then only dequantizes.

        Raises:
            QuantizeError: it failed or was cancelled, or ``quantization`` is not in :data:`LADDER`.
            DiskFullError: it does not fit.
            EngineUnavailableError: llama-cpp-python is missing.
            InvalidArtifactError: the artifact's file is gone, damaged or not what it was.
        """
        made = existing(self.store.artifacts(), artifact, checked(quantization))
        if made is not None:
            return made
        source = Path(artifact.path)
        header = cached_header(source)
        if self._hashes.sha256(source) != artifact.id:
            raise InvalidArtifactError(
                f"{source.name} is no longer the file that was added as {artifact.label}.",
                "Add the file again, then quantise the new artifact.",
            )
        folder = self.settings.artifacts_dir / "quantised"
        target = folder / f"{slug(artifact.model)}-{artifact.id[:8]}.{quantization}.gguf"
        quantise_file(
            source,
            target,
            quantization,
            expected_bytes=predicted_bytes(header, quantization),
            progress=progress,
            cancel=cancel,
        )
        made = self._describe(Fetched(target, "quantise"), cached_header(target), self._hashes.sha256(target), None)
        derivation = Derivation(
            relation=Relation.QUANTIZED, parent_name=artifact.label, parent_id=artifact.id, stated_by="quantise"
        )
        update = {
            "model": artifact.model,
            "quantization": quantization,
            "licence": artifact.licence,
            "derivations": (derivation,),
            "requantized": is_quantized(artifact),
        }
        return self.store.add_artifact(made.model_copy(update=update))

    def describe_derivation(self, artifact: Artifact, relation: Relation, parent: Artifact | str) -> Artifact:
        """State, as the user, what ``artifact`` derives from: another artifact, or a model by name.

        Raises:
            CatalogError: the parent is the artifact itself or one that derives from it.
        """
        derivation = stated(artifact, relation, parent, self.store.artifacts())
        kept = tuple(d for d in artifact.derivations if d != derivation)
        return self.store.add_artifact(artifact.model_copy(update={"derivations": (*kept, derivation)}))

    def runs_using(self, artifact_id: str) -> int:
        """How many runs measured the artifact or wait for it: what to warn of before deleting."""
        return self.store.runs_using(artifact_id)

    def delete(self, artifact_id: str, *, remove_file: bool) -> bool:
        """Forget an artifact; with ``remove_file`` also delete its file, if Trilemma made or fetched it.

        Returns:
            Whether the file was deleted; one outside the artifacts folder never is.

        Raises:
            NotFoundError: there is no such artifact.
            CatalogError: the file cannot be deleted; the artifact is then kept.
        """
        artifact = self.store.artifact(artifact_id)
        path, removed = Path(artifact.path), False
        if remove_file and is_inside(path, self.settings.artifacts_dir) and path.is_file():
            try:
                path.unlink()
            except OSError as error:
                raise CatalogError(
                    f"{path} cannot be deleted ({error.strerror}).", "Change its permissions, then try again."
                ) from error
            removed = True
            with contextlib.suppress(OSError):
                path.parent.rmdir()
        self.store.forget_artifact(artifact_id)
        return removed

    def _describe(self, fetched: Fetched, header: GgufHeader, digest: str, model: str | None) -> Artifact:
        return Artifact(
            id=digest,
            path=str(fetched.path),
            model=clean(model, 120) if model else model_name(fetched.path.name, header.name, fetched.model),
            quantization=header.quantization,
            architecture=header.architecture,
            parameters=header.parameters,
            context_length=header.context_length,
            size_bytes=header.file_bytes,
            bits_per_weight=header.bits_per_weight,
            chat_template=header.chat_template,
            licence=fetched.licence or header.licence,
            source=fetched.source,
            derivations=linked(fetched.derivations or header_derivations(header), self.store.artifacts()),
        )

    def _merged(self, artifact: Artifact) -> Artifact:
        """What is known already of the same content stays: its name, marks and, while the file is there, its path."""
        try:
            known = self.store.artifact(artifact.id)
        except NotFoundError:
            return artifact
        update: dict[str, object] = {"derivations": tuple(dict.fromkeys((*known.derivations, *artifact.derivations)))}
        if not Path(known.path).is_file():
            update |= {"path": artifact.path, "source": artifact.source}
        return known.model_copy(update=update)

    def _listing(self, artifact: Artifact) -> Listing:
        path = Path(artifact.path)
        try:
            size = path.stat().st_size
        except OSError:
            return Listing(artifact, False, f"{path} is gone: add it again, or remove it from the catalog.")
        if size != artifact.size_bytes:
            return Listing(artifact, False, f"{path} is another file now: add it again, or remove it from the catalog.")
        return Listing(artifact, True, "Made from an already quantized parent." if artifact.requantized else "")


def _refuse_unusable(header: GgufHeader, file_name: str) -> None:
    if header.split_count > 1:
        raise InvalidArtifactError(
            f"{clean(file_name)} is one of {header.split_count} parts.",
            "Join them first with llama.cpp's llama-gguf-split --merge, then add the whole file.",
        )
    if header.kind == "adapter":
        raise InvalidArtifactError(
            f"{clean(file_name)} is an adapter, which has no model of its own.",
            "Merge it into its base model with llama.cpp's llama-export-lora, then add the result.",
        )
    if header.kind in ("mmproj", "clip-vision", "imatrix", "vocab") or header.architecture == "clip":
        raise InvalidArtifactError(
            f"{clean(file_name)} holds a {header.kind}, not a language model.", "Choose the file of the model itself."
        )
