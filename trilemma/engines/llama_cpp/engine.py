"""The llama.cpp engine: what it can be set to, whether it is here, and how an artifact is checked and loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, JsonValue

from trilemma.catalog.header import GgufHeader, kv_cache_bytes, read_header
from trilemma.engines.base import Availability, parse_settings
from trilemma.engines.llama_cpp.settings import LlamaCppSettings
from trilemma.errors import ContextError, InvalidArtifactError, LoadError, OutOfMemoryError
from trilemma.limits import available_bytes
from trilemma.schema import Artifact

if TYPE_CHECKING:
    from trilemma.engines.llama_cpp.model import LoadedLlama

_INSTALL = "pip install 'trilemma[llama]'"


class LlamaCpp:
    """Runs GGUF files on the CPU through llama-cpp-python, which is imported by :meth:`load` alone."""

    name: ClassVar[str] = "llama.cpp"
    formats: ClassVar[tuple[str, ...]] = ("gguf",)
    adapter_formats: ClassVar[tuple[str, ...]] = ("gguf",)
    settings_type: ClassVar[type[BaseModel]] = LlamaCppSettings

    def availability(self) -> Availability:
        """Whether llama-cpp-python is installed, and its version; nothing is imported."""
        if importlib.util.find_spec("llama_cpp") is None:
            return Availability(
                False, "llama-cpp-python is not installed.", f"{_INSTALL} (it compiles for some minutes)"
            )
        try:
            version = importlib.metadata.version("llama-cpp-python")
        except importlib.metadata.PackageNotFoundError:
            version = "of unknown version"
        return Availability(True, f"llama-cpp-python {version}")

    def check(self, artifact: Artifact, settings: dict[str, JsonValue]) -> None:
        """Refuse what cannot work, from the file's header and the memory that is free now.

        Raises:
            EngineError: a setting is wrong; the message names it.
            ContextError: the context is longer than the model's.
            LoadError: the file is missing or of another format.
            OutOfMemoryError: weights and KV cache alone exceed the memory that is available.
        """
        chosen = parse_settings(LlamaCppSettings, settings)
        if artifact.format not in self.formats:
            raise LoadError(
                f"llama.cpp does not run {artifact.format} weights ({artifact.label}).", "Convert them to GGUF."
            )
        path = Path(artifact.path)
        if not path.is_file():
            raise LoadError(f"The weights of {artifact.label} are not at {path}.", "Add the file to the catalog again.")
        header = _header(path)
        longest = artifact.context_length or (header.context_length if header else 0)
        if chosen.context and longest and chosen.context > longest:
            raise ContextError(
                f"The context of {chosen.context} tokens is longer than the {longest} that {artifact.label} knows.",
                f"Set a context of at most {longest} tokens.",
            )
        weights = path.stat().st_size
        context = chosen.context or longest
        cache = kv_cache_bytes(header, context, chosen.kv_cache_type) * chosen.slots if header else 0
        available = available_bytes()
        if weights + cache > available:
            raise OutOfMemoryError(
                f"{artifact.label} needs at least {_size(weights + cache)} of memory ({_size(weights)} of weights and "
                f"{_size(cache)} for a KV cache of {context * chosen.slots} tokens), and {_size(available)} are "
                "available.",
                "Choose a smaller quantization, context or KV-cache type, or free memory.",
                needed_bytes=weights + cache,
                available_bytes=available,
            )

    def load_adapted(self, artifact: Artifact, settings: dict[str, JsonValue], adapter: Artifact) -> LoadedLlama:
        """Load ``artifact`` and apply the LoRA ``adapter``.

        Raises:
            EngineError: as :meth:`load`, or llama.cpp refused the adapter.
        """
        from trilemma.engines.llama_cpp.model import LoadedLlama  # noqa: PLC0415 (imports llama.cpp when first used)

        chosen = parse_settings(LlamaCppSettings, settings)
        return LoadedLlama(Path(artifact.path), chosen, Path(adapter.path))

    def load(self, artifact: Artifact, settings: dict[str, JsonValue]) -> LoadedLlama:
        """Load ``artifact``.

        Raises:
            EngineUnavailableError: llama-cpp-python is missing.
            EngineError: a setting is wrong, or llama.cpp refused the file or the context.
        """
        from trilemma.engines.llama_cpp.model import LoadedLlama  # noqa: PLC0415 (imports llama.cpp when first used)

        return LoadedLlama(Path(artifact.path), parse_settings(LlamaCppSettings, settings))


def _header(path: Path) -> GgufHeader | None:
    """None for a damaged file: llama.cpp gives the reason when it loads it."""
    try:
        return read_header(path)
    except InvalidArtifactError:
        return None


def _size(size_bytes: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= scale:
            return f"{size_bytes / scale:.1f} {unit}"
    return f"{size_bytes / 1e3:.1f} kB"
