"""What a folder of safetensors says of itself: a model as transformers and vLLM load it, or a PEFT LoRA adapter.

Only headers and small JSON files are read, all of them with limits. Nothing in the folder is executed: pickles
(``.bin``, ``.pt``) and Python files are never opened.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from trilemma.catalog.header import MAX_TEMPLATE_CHARS, BaseModelName, WeightsHeader
from trilemma.catalog.names import clean
from trilemma.catalog.safetensors_format import TensorSpec, read_tensors
from trilemma.catalog.safetensors_scheme import count_weights, scheme_of
from trilemma.errors import InvalidArtifactError

INDEX = "model.safetensors.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
COMPANIONS = (
    "config.json",
    INDEX,
    ADAPTER_CONFIG,
    "generation_config.json",
    "quantize_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
)
"""What goes with the weights: together they make the artifact, and are fetched."""

MAX_FILES = 2000
MAX_JSON_BYTES = 64 * 2**20
"""Indices and tokenizer configurations of very large models have some megabytes."""
_PLAIN_NAME = re.compile(r"\w[\w.-]{0,150}\.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_FETCH_AGAIN = "Fetch the whole folder again."


class FolderHeader(WeightsHeader):
    """The checked headers of a folder's files. ``files`` are those that make the artifact, sorted by name."""

    format: Literal["safetensors"] = "safetensors"
    files: tuple[str, ...] = Field(repr=False)


def read_folder(folder: Path) -> FolderHeader:
    """Read and check the folder of a model or of an adapter; remembered in this process until a file changes.

    Raises:
        InvalidArtifactError: it holds neither, is incomplete or damaged, or has only pickled weights.
    """
    try:
        files = [path for path in sorted(folder.iterdir())[:MAX_FILES] if path.is_file()]
        state = tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    except OSError as error:
        raise InvalidArtifactError(
            f"{clean(folder, 400)} cannot be read ({error.strerror or error}).",
            "Check that it exists, and its permissions.",
        ) from error
    return _read(folder, state)


def is_weights_folder(names: Collection[str]) -> bool:
    """Whether files of these names look like one; whether it is whole, :func:`read_folder` says."""
    model = "config.json" in names and any(name.endswith(".safetensors") for name in names)
    return model or (ADAPTER_CONFIG in names and ADAPTER_WEIGHTS in names)


def folder_digest(header: FolderHeader, sha256: Callable[[str], str]) -> str:
    """The artifact's id: the SHA-256 of what ``sha256sum`` prints for its files, sorted by name.

    In a shell, for the files that count: ``sha256sum FILES | LC_ALL=C sort -k 2 | sha256sum``. ``sha256`` gives the
    hash of the file of that name.
    """
    return hashlib.sha256("".join(f"{sha256(name)}  {name}\n" for name in header.files).encode()).hexdigest()


@functools.lru_cache(maxsize=64)
def _read(folder: Path, state: tuple[tuple[str, int, int], ...]) -> FolderHeader:
    sizes = {name: size for name, size, _ in state}
    files = file_names(folder, sizes)
    weights = [name for name in files if _PLAIN_NAME.fullmatch(name)]
    tensors = [tensor for name in weights for tensor in read_tensors(folder / name)]
    names = {tensor.name for tensor in tensors}
    if not tensors or len(names) < len(tensors):
        raise _damaged(folder, "its files hold no tensor, or one of them twice")
    if INDEX in files and names != set(_index(folder)):
        raise _damaged(folder, "its files do not hold the tensors that its index lists")
    describe = _describe_adapter if ADAPTER_WEIGHTS in files else _describe_model
    return describe(folder, tensors, sum(sizes[name] for name in weights), files)


def file_names(folder: Path, there: Collection[str]) -> tuple[str, ...]:
    """Which of the files that are ``there`` make the artifact: the weights that the index (the one file that is read)
    lists, or all safetensors where there is none, and the :data:`COMPANIONS`.

    Raises:
        InvalidArtifactError: there is no model and no adapter, or a file that the index lists is missing.
    """
    if not is_weights_folder(there):
        raise unusable(folder.name, there)
    companions = {name for name in COMPANIONS if name in there}
    if "config.json" not in there:
        weights = {ADAPTER_WEIGHTS}
    elif INDEX in there:
        weights = set(_index(folder).values())
        for name in sorted(weights):
            if not _PLAIN_NAME.fullmatch(name):  # Also keeps paths from leaving the folder.
                raise _damaged(folder, f"its index names {clean(name, 80)!r}, which is no safetensors file in it")
            if name not in there:
                raise _damaged(folder, f"{clean(name, 80)}, which its index names, is missing")
    else:
        weights = {name for name in there if _PLAIN_NAME.fullmatch(name)}
        # Beside a model's own files, an adapter to it and Mistral's copy in another layout.
        weights = {name for name in weights if name.startswith("model")} or weights
    return tuple(sorted(companions | weights))


def _index(folder: Path) -> dict[str, str]:
    """The file of each tensor."""
    places = read_json(folder, INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise _damaged(folder, f"{INDEX} has no weight_map")
    return {tensor: str(name) for tensor, name in places.items()}


def _describe_model(folder: Path, tensors: list[TensorSpec], size: int, files: tuple[str, ...]) -> FolderHeader:
    config = read_json(folder, "config.json")
    text = config.get("text_config")  # Models that also see keep what concerns language in there.
    inner = text if isinstance(text, dict) else config
    classes = config.get("architectures")
    architecture = classes[0] if isinstance(classes, list) and classes else config.get("model_type")
    if not isinstance(architecture, str):
        raise _damaged(folder, "config.json does not say which architecture its model has")
    context = inner.get("max_position_embeddings")
    n_bytes = sum(tensor.n_bytes for tensor in tensors)
    parameters = count_weights(config, tensors)
    return FolderHeader(
        architecture=clean(architecture, 80),
        size_bytes=size,
        parameters=parameters,
        tensor_bytes=n_bytes,
        bits_per_weight=n_bytes * 8 / max(1, parameters),
        quantization=scheme_of(config, tensors),
        context_length=context if type(context) is int and 0 < context < 2**40 else 0,
        chat_template=_chat_template(folder, files),
        files=files,
    )


def _describe_adapter(folder: Path, tensors: list[TensorSpec], size: int, files: tuple[str, ...]) -> FolderHeader:
    config = read_json(folder, ADAPTER_CONFIG)
    kind, rank, base = config.get("peft_type"), config.get("r"), config.get("base_model_name_or_path")
    if kind != "LORA" or type(rank) is not int or not 0 < rank <= 2**16:
        raise InvalidArtifactError(
            f"{clean(folder.name)} is an adapter of the kind {clean(kind, 40)}, rank {clean(rank, 20)}.",
            "Only LoRA adapters can be used.",
        )
    n_bytes, parameters = (sum(count) for count in zip(*((t.n_bytes, t.elements) for t in tensors), strict=True))
    name = clean(base, 200) if isinstance(base, str) else ""
    repository = name if re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", name) else ""
    bases = (BaseModelName(name=re.split(r"[\\/]", name)[-1], repository=repository),) if name else ()
    return FolderHeader(
        kind="adapter",
        architecture="",
        size_bytes=size,
        parameters=parameters,
        tensor_bytes=n_bytes,
        bits_per_weight=n_bytes * 8 / max(1, parameters),
        quantization=scheme_of({}, tensors),
        base_models=bases,
        adapter_rank=rank,
        files=files,
    )


def _chat_template(folder: Path, files: Collection[str]) -> str | None:
    """Its own file comes before the tokenizer's configuration, as in transformers."""
    template: JsonValue = None
    if "chat_template.jinja" in files:
        template = _text(folder, "chat_template.jinja")
    else:
        for name in ("chat_template.json", "tokenizer_config.json"):
            if name in files and template is None:
                template = read_json(folder, name).get("chat_template")
    if isinstance(template, list):  # Several by name: [{"name": "default", "template": ...}, ...]
        named = [entry for entry in template if isinstance(entry, dict)]
        template = next((entry.get("template") for entry in named if entry.get("name") == "default"), None)
    if not isinstance(template, str) or not template or len(template) > MAX_TEMPLATE_CHARS:
        return None
    return clean(template, MAX_TEMPLATE_CHARS, multiline=True)


def _text(folder: Path, name: str) -> str:
    path = folder / name
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise _damaged(folder, f"{name} is larger than {MAX_JSON_BYTES // 2**20} MiB")
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise _damaged(folder, f"{name} cannot be read ({error.strerror or error})") from error


def read_json(folder: Path, name: str) -> dict[str, JsonValue]:
    """The JSON object in the file ``name`` of ``folder``.

    Raises:
        InvalidArtifactError: it is missing, too large, or something else.
    """
    try:
        found = json.loads(_text(folder, name))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _damaged(folder, f"{name} is no JSON object")
    return found


def _damaged(folder: Path, what: str) -> InvalidArtifactError:
    return InvalidArtifactError(f"The folder {clean(folder.name)} is damaged or incomplete: {what}.", _FETCH_AGAIN)


def unusable(name: str, files: Collection[str]) -> InvalidArtifactError:
    """The error for a folder or repository that :func:`is_weights_folder` is false of, by the names of its files."""
    if any(file.lower().endswith(_PICKLES) for file in files):
        return InvalidArtifactError(
            f"{clean(name)} has its weights as pickles (.bin or .pt), which can run any program when they are opened.",
            "Choose a revision of the model with safetensors, or convert it where you trust it.",
        )
    return InvalidArtifactError(
        f"{clean(name)} holds no model: neither config.json with *.safetensors nor "
        f"{ADAPTER_CONFIG} with {ADAPTER_WEIGHTS}.",
        "Give the folder of one model, a GGUF file, or set TRILEMMA_MODELS to a folder of them.",
    )
