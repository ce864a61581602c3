"""The catalog: what weights there are, where more come from, and the ladders that are made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from trilemma import registry
from trilemma.catalog.ancestry import stated
from trilemma.catalog.base import Fetched, Offer, Progress, Resuming, Source
from trilemma.catalog.convert import DTYPES, checked_dtype, convert_file, usual_dtype
from trilemma.catalog.convert_adapter import base_shape, convert_adapter
from trilemma.catalog.endpoints import endpoint_artifact, only_model
from trilemma.catalog.files import HashCache, is_inside
from trilemma.catalog.header import GgufHeader
from trilemma.catalog.ladder import LadderStep, checked, existing, is_quantized, ladder_of, made_of
from trilemma.catalog.names import slug
from trilemma.catalog.quantise import quantise_file
from trilemma.catalog.safetensors_folder import FolderHeader
from trilemma.catalog.sizes import LADDER, predicted_bytes
from trilemma.catalog.weights import (
    Listing,
    added,
    describe,
    digest,
    listing,
    read_weights,
    refuse_unusable,
    remove_weights,
)
from trilemma.errors import CatalogError, InvalidArtifactError, NotFoundError, QuantizeError
from trilemma.schema import Artifact, Derivation, Relation
from trilemma.settings import Settings, get_settings

__all__ = ["DTYPES", "LADDER", "Catalog", "LadderStep", "Listing"]


class ArtifactStore(Protocol):
    """What the catalog needs of the store."""

    def add_artifact(self, artifact: Artifact, /) -> Artifact: ...

    def artifacts(self) -> list[Artifact]: ...

    def artifact(self, artifact_id: str, /) -> Artifact: ...

    def forget_artifact(self, artifact_id: str, /) -> None: ...


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
        keep: bool = True,
    ) -> Artifact:
        """Fetch an offer, read its headers, hash it and put it in the store.

        ``model`` overrides the name; ``relation`` and ``parent`` state what it derives from, in place of what the
        source says. Without ``keep`` nothing stays of what is interrupted. Known content is the artifact that it was.

        Raises:
            CatalogError: it is missing, corrupt, refused, or neither a language model's weights nor a LoRA adapter's.
            DiskFullError: it does not fit.
        """
        asked = self.source(source)
        if isinstance(asked, Resuming):
            asked.keep_parts = keep
        fetched = asked.fetch(reference, progress)
        with added(fetched, self.store.artifacts, keep=keep):
            artifact = self._described(fetched, model, progress)
            if relation is not None and parent is not None:
                derivations = (stated(artifact, relation, parent, self.store.artifacts()),)
                artifact = artifact.model_copy(update={"derivations": derivations})
            return self.store.add_artifact(self._merged(artifact))

    def add_path(self, path: Path | str, progress: Progress | None = None, *, model: str | None = None) -> Artifact:
        """Add a GGUF file or a folder of safetensors, where it is. A page asks ``settings.allow_paths`` first.

        Raises:
            CatalogError: as :meth:`add`.
        """
        return self.add("folder", str(path), progress, model=model)

    def add_endpoint(
        self, address: str, model: str = "", *, quantization: str = "", api_key_env: str | None = None
    ) -> Artifact:
        """Add a model that a server runs. Without ``model`` the server is asked, and must have exactly one.

        Raises:
            CatalogError: the address or the name is unusable, the server cannot be reached, or has several models.
        """
        if not model.strip():
            model = only_model(address, api_key_env)
        artifact = endpoint_artifact(address, model, quantization)
        # Said again, the quantization is a correction; left out, it stays what it was.
        return self.store.add_artifact(artifact if quantization.strip() else self._merged(artifact))

    def refresh(self) -> list[Listing]:
        """All artifacts, with a note where the weights are missing or has changed."""
        return [listing(artifact) for artifact in self.store.artifacts()]

    def header(self, artifact: Artifact) -> GgufHeader | FolderHeader:
        """The artifact's header.

        Raises:
            InvalidArtifactError: the file or folder is gone or damaged.
        """
        return read_weights(Path(artifact.path))

    def predict_size(self, artifact: Artifact, quantization: str) -> int:
        """Bytes that the artifact would take in ``quantization`` (see :mod:`trilemma.catalog.sizes`): exact for the
        common architectures, a few per cent off for others.

        Raises:
            QuantizeError: ``quantization`` is not in :data:`LADDER`.
            InvalidArtifactError: the file is gone or damaged.
        """
        return predicted_bytes(self._gguf_header(artifact), checked(quantization))

    def ladder(self, artifact: Artifact) -> list[LadderStep]:
        """Every step of the ladder under ``artifact``: predicted size, whether it is there, and what to know of it.

        Raises:
            QuantizeError: it is no model in GGUF, of which alone ladders are made.
            InvalidArtifactError: the file is gone or damaged.
        """
        return ladder_of(artifact, self._gguf_header(artifact), self.store.artifacts())

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
        expected = self.predict_size(artifact, quantization)
        target = self._target(artifact, "quantised", f"{quantization}.gguf")
        quantise_file(
            self._unchanged(artifact),
            target,
            quantization,
            expected_bytes=expected,
            progress=progress,
            cancel=cancel,
        )
        return self._made(target, artifact, Relation.QUANTIZED, "quantise")

    def convert(
        self,
        artifact: Artifact,
        dtype: str | None = None,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Artifact:
        """A GGUF model as a folder of safetensors, or a PEFT adapter as a GGUF file in F32: the one made before, else a
        new one.

        ``dtype`` is one of :data:`DTYPES`, whatever its case; without one, what the weights are in, F16 for quantized
        ones. ``progress`` is called with (bytes written, bytes in all). Marked ``requantized`` as in :meth:`quantise`.

        Raises:
            InvalidArtifactError: the file is gone, damaged, not what it was, or of a kind that cannot be converted.
            DiskFullError: it does not fit.
            CatalogError: it was cancelled, the adapter's base is not in the catalog, or the artifact is neither.
        """
        adapter = (artifact.format, artifact.kind) == ("safetensors", "adapter")
        if not adapter and (artifact.format, artifact.kind) != ("gguf", "model"):
            raise CatalogError(f"{artifact.label} is no model in GGUF and no PEFT adapter.", "Choose one that is.")
        dtype = "F32" if adapter else checked_dtype(dtype or usual_dtype(artifact.quantization))
        made = made_of(self.store.artifacts(), artifact, dtype, "convert")
        if made is not None:
            return made
        target = self._target(artifact, "converted", "gguf" if adapter else dtype)
        source = self._unchanged(artifact)
        if adapter:
            convert_adapter(source, target, base_shape(artifact, self.store.artifacts()))
        else:
            convert_file(source, target, dtype, progress=progress, cancel=cancel)
        return self._made(target, artifact, Relation.CONVERTED, "convert")

    def describe_derivation(self, artifact: Artifact, relation: Relation, parent: Artifact | str) -> Artifact:
        """State, as the user, what ``artifact`` derives from: another artifact, or a model by name.

        Raises:
            CatalogError: the parent is the artifact itself or one that derives from it.
        """
        derivation = stated(artifact, relation, parent, self.store.artifacts())
        kept = tuple(d for d in artifact.derivations if d != derivation)
        return self.store.add_artifact(artifact.model_copy(update={"derivations": (*kept, derivation)}))

    def delete(self, artifact_id: str, *, remove_file: bool) -> bool:
        """Forget an artifact; with ``remove_file`` also delete its file or folder, if Trilemma made or fetched it.

        Returns:
            Whether the file was deleted; one outside the artifacts folder, or that another artifact is in, never is.

        Raises:
            NotFoundError: there is no such artifact.
            CatalogError: the file cannot be deleted; the artifact is then kept.
        """
        artifact = self.store.artifact(artifact_id)
        path, removed = Path(artifact.path), False
        # A newer version of it may lie there by now.
        shared = any(other.path == artifact.path for other in self.store.artifacts() if other.id != artifact.id)
        if remove_file and not shared and is_inside(path, self.settings.artifacts_dir) and path.exists():
            remove_weights(path)
            removed = True
        self.store.forget_artifact(artifact_id)
        return removed

    def _described(self, fetched: Fetched, model: str | None, progress: Progress | None) -> Artifact:
        header = read_weights(fetched.path)
        refuse_unusable(header, fetched.path.name)
        content = digest(fetched.path, header, self._hashes, progress)
        return describe(fetched, header, content, model, self.store.artifacts())

    def _gguf_header(self, artifact: Artifact) -> GgufHeader:
        header = self.header(artifact)
        if not isinstance(header, GgufHeader) or artifact.kind != "model":
            raise QuantizeError(
                f"{artifact.label} is no model in GGUF, of which alone quantizations are made.", "Choose one that is."
            )
        return header

    def _unchanged(self, artifact: Artifact) -> Path:
        """Where its weights are, which are still those that were added.

        Raises:
            InvalidArtifactError: it is not.
        """
        path = Path(artifact.path)
        if digest(path, self.header(artifact), self._hashes) != artifact.id:
            raise InvalidArtifactError(
                f"{path.name} is no longer what was added as {artifact.label}.",
                "Add it again, then try again with the new artifact.",
            )
        return path

    def _target(self, parent: Artifact, folder: str, suffix: str) -> Path:
        return self.settings.artifacts_dir / folder / f"{slug(parent.model)}-{parent.id[:8]}.{suffix}"

    def _made(self, path: Path, parent: Artifact, relation: Relation, by: str) -> Artifact:
        """Put into the store what was made of ``parent``."""
        made = self._described(Fetched(path, by), parent.model, None)
        derivation = Derivation(relation=relation, parent_name=parent.label, parent_id=parent.id, stated_by=by)
        update = {
            "model": parent.model,
            "licence": parent.licence,
            "derivations": (derivation, *(d for d in parent.derivations if d.relation is Relation.ADAPTER)),
            "requantized": is_quantized(parent),
        }
        return self.store.add_artifact(made.model_copy(update=update))

    def _merged(self, artifact: Artifact) -> Artifact:
        """What is known already of the same content stays: its name, marks and, while the file is there, its path."""
        try:
            known = self.store.artifact(artifact.id)
        except NotFoundError:
            return artifact
        if not known.path:  # known by name alone, from a file of somebody's: that says nothing of what is added here
            return artifact
        update: dict[str, object] = {"derivations": tuple(dict.fromkeys((*known.derivations, *artifact.derivations)))}
        if not Path(known.path).exists():
            update |= {"path": artifact.path, "source": artifact.source}
        return known.model_copy(update=update)
