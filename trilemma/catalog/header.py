"""What a GGUF file says of itself: architecture, parameters, context, quantization, template, licence, ancestry."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Literal

from gguf.constants import GGML_QUANT_SIZES, MODEL_ARCH_NAMES, GGMLQuantizationType, LlamaFileType
from pydantic import Field

from trilemma.catalog.gguf_format import GgufHead, TensorInfo, Value, read_head
from trilemma.catalog.names import UNQUANTIZED, clean
from trilemma.errors import InvalidArtifactError
from trilemma.schema import Frozen

MAX_TEMPLATE_CHARS = 256 * 1024

FALLBACKS = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""What llama.cpp stores instead when a row's length is no multiple of a k-quant's block of 256 weights."""

CACHE_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_0": 18 / 32}
"""Bytes that one number of the KV cache takes, by cache type."""


class BaseModelName(Frozen):
    """A model that the file says its weights come from."""

    name: str
    organization: str = ""
    repository: str = ""


class WeightsHeader(Frozen):
    """What weights of any format say of themselves; texts are cleaned of control characters and limited in length."""

    format: Literal["gguf", "safetensors"]
    kind: str = Field(default="model", description="model, adapter; in GGUF also mmproj, imatrix ...")
    architecture: str
    name: str = ""
    licence: str | None = None
    size_bytes: int = Field(description="Of the files that hold weights.")
    parameters: int = Field(description="How many weights there are.")
    tensor_bytes: int
    bits_per_weight: float = Field(description="Tensor bytes x 8 / parameters.")
    quantization: str
    context_length: int = 0
    chat_template: str | None = None
    base_models: tuple[BaseModelName, ...] = ()
    adapter_rank: int = Field(default=0, description="Rank of a LoRA adapter.")


class GgufHeader(WeightsHeader):
    """The checked header of a GGUF file; its parameters are the sum of the elements of all tensors."""

    format: Literal["gguf"] = "gguf"
    version: int
    known_architecture: bool = Field(description="Whether the gguf package knows it; an engine may still differ.")
    quantization_note: str = Field(default="", description="Why the name differs from what the header claims.")
    vocabulary_size: int = 0
    embedding_length: int = 0
    n_layers: int = 0
    n_heads: int = 0
    kv_heads: tuple[int, ...] = Field(default=(), description="Key-value heads of each layer.")
    key_length: int = 0
    value_length: int = 0
    sliding_window: int = 0
    finetuned: bool = Field(default=False, description="The header names a fine-tune (general.finetune).")
    split_count: int = 1
    data_offset: int
    alignment: int
    tensors: tuple[TensorInfo, ...] = Field(repr=False, exclude=True)


def read_header(path: Path | str) -> GgufHeader:
    """Read and check the header of a GGUF file; tens of milliseconds, whatever the file's size.

    Raises:
        InvalidArtifactError: missing, empty, not GGUF, truncated, damaged or of an unsupported version.
    """
    path = Path(path)
    return _interpret(read_head(path), clean(path.name))


def cached_header(path: Path | str) -> GgufHeader:
    """:func:`read_header`, remembered in this process until the file's size or time changes."""
    path = Path(path)
    try:
        stat = path.stat()
    except OSError:
        return read_header(path)
    return _cached(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _cached(path: Path, _size: int, _mtime_ns: int) -> GgufHeader:
    return read_header(path)


def kv_cache_bytes(header: GgufHeader, context: int, cache_type: str = "f16") -> int:
    """The least that the keys and values of ``context`` tokens take: the sum over layers of kv heads x (key + value
    length) x context x bytes per number, with every layer of a model that has a sliding window counted at the window's
    length. An estimate where an architecture compresses its cache.

    Raises:
        ValueError: an unknown ``cache_type``.
    """
    try:
        width = CACHE_BYTES[cache_type.lower()]
    except KeyError:
        raise ValueError(f"{cache_type!r} is not one of {', '.join(CACHE_BYTES)}") from None
    cells = min(context, header.sliding_window or context)
    return int(sum(header.kv_heads) * (header.key_length + header.value_length) * cells * width)


def _interpret(head: GgufHead, file_name: str) -> GgufHeader:
    meta = head.metadata
    architecture = meta.get("general.architecture")
    if not isinstance(architecture, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", architecture):
        raise InvalidArtifactError(
            f"{file_name} does not say which architecture its model has.",
            "Fetch a current file of this model, or convert it again with a current llama.cpp.",
        )

    def number(key: str) -> int:
        return _number(meta.get(f"{architecture}.{key}"))

    n_layers, n_heads = number("block_count"), number("attention.head_count")
    embedding = number("embedding_length")
    head_size = embedding // n_heads if n_heads else 0
    parameters = sum(t.elements for t in head.tensors)
    tensor_bytes = sum(t.n_bytes for t in head.tensors)
    quantization, note = _quantization(meta.get("general.file_type"), head.tensors)
    tokens = head.array_lengths.get("tokenizer.ggml.tokens", 0)
    return GgufHeader(
        version=head.version,
        size_bytes=head.file_bytes,
        architecture=architecture,
        known_architecture=architecture in MODEL_ARCH_NAMES.values(),
        kind=_text(meta, "general.type", 40) or "model",
        name=_text(meta, "general.name"),
        licence=_text(meta, "general.license", 80) or None,
        parameters=parameters,
        tensor_bytes=tensor_bytes,
        bits_per_weight=tensor_bytes * 8 / parameters,
        quantization=quantization,
        quantization_note=note,
        context_length=number("context_length"),
        vocabulary_size=number("vocab_size") or tokens,
        embedding_length=embedding,
        n_layers=n_layers,
        n_heads=n_heads,
        kv_heads=_kv_heads(meta.get(f"{architecture}.attention.head_count_kv"), n_heads, n_layers),
        key_length=number("attention.key_length") or head_size,
        value_length=number("attention.value_length") or head_size,
        sliding_window=number("attention.sliding_window"),
        chat_template=_template(meta.get("tokenizer.chat_template")),
        base_models=_base_models(meta),
        finetuned=bool(_text(meta, "general.finetune")),
        adapter_rank=_lora_rank(meta, head.tensors),
        split_count=max(1, _number(meta.get("split.count"))),
        data_offset=head.data_offset,
        alignment=head.alignment,
        tensors=head.tensors,
    )


def _number(value: Value | None) -> int:
    """A plausible count, else 0; where each layer has its own (an array), the largest."""
    if isinstance(value, list):
        return max((_number(v) for v in value), default=0)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0


def _text(meta: dict[str, Value], key: str, limit: int = 200) -> str:
    value = meta.get(key)
    return clean(value, limit) if isinstance(value, str) else ""


def _template(value: Value | None) -> str | None:
    # A template cut short would be a wrong one, so an oversized one is left out.
    if not isinstance(value, str) or not value or len(value) > MAX_TEMPLATE_CHARS:
        return None
    return clean(value, MAX_TEMPLATE_CHARS, multiline=True)


def _kv_heads(value: Value | None, n_heads: int, n_layers: int) -> tuple[int, ...]:
    n_layers = min(n_layers, 4096)
    if isinstance(value, list):
        return tuple(_number(v) for v in value[:n_layers])
    return (_number(value) if value is not None else n_heads,) * n_layers


def _base_models(meta: dict[str, Value]) -> tuple[BaseModelName, ...]:
    found = []
    for index in range(min(_number(meta.get("general.base_model.count")), 16)):
        prefix = f"general.base_model.{index}."
        if name := _text(meta, prefix + "name"):
            url = _text(meta, prefix + "repo_url", 300)
            match = re.fullmatch(r"https://huggingface\.co/([\w.-]{1,96}/[\w.-]{1,96})/?", url)
            found.append(
                BaseModelName(
                    name=name,
                    organization=_text(meta, prefix + "organization"),
                    repository=match[1] if match else "",
                )
            )
    return tuple(found)


def _lora_rank(meta: dict[str, Value], tensors: tuple[TensorInfo, ...]) -> int:
    """The largest rank of a LoRA adapter's pairs; 0 for anything else."""
    if meta.get("adapter.type") != "lora":
        return 0
    return max((t.shape[1] for t in tensors if t.name.endswith(".lora_a") and len(t.shape) == 2), default=0)


def is_layer_matrix(tensor: TensorInfo) -> bool:
    """Whether it is a matrix inside a layer, what a quantization is about; not an embedding, output layer or norm."""
    return len(tensor.shape) >= 2 and tensor.name.startswith("blk.") and tensor.name.endswith(".weight")


def _bits(ggml_type: str) -> float:
    block, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[ggml_type]]
    return n_bytes * 8 / block


def _quantization(file_type: Value | None, tensors: tuple[TensorInfo, ...]) -> tuple[str, str]:
    """The scheme's name and, where the tensors contradict the header's claim, a note; then the tensors win.

    The claim is believed when the type that holds most weights of the layers lies between the claimed type's bits and
    those of its fallback.
    """
    weights: Counter[str] = Counter()
    matrices = [t for t in tensors if is_layer_matrix(t)] or [t for t in tensors if len(t.shape) >= 2] or list(tensors)
    for tensor in matrices:
        weights[tensor.type] += tensor.elements
    dominant = weights.most_common(1)[0][0]
    try:
        claimed = LlamaFileType(file_type).name.removeprefix("MOSTLY_").removeprefix("ALL_")  # type: ignore[arg-type]
    except ValueError:
        claimed = "GUESSED"
    if claimed == "GUESSED":
        return dominant, "" if file_type is None else "The header does not name its quantization; the tensors do."
    base = re.sub(r"(?<=_K)_[SML]$|_MOE$", "", claimed)
    if base not in GGMLQuantizationType.__members__ or dominant == base:
        return claimed, ""
    fallback = FALLBACKS.get(base, "Q8_0" if base.startswith(("IQ", "TQ")) else base)
    if base not in UNQUANTIZED and _bits(base) * 0.7 <= _bits(dominant) <= _bits(fallback) + 0.01:
        return claimed, ""
    return dominant, f"The header says {claimed}, but most weights are stored as {dominant}."
