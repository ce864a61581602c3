"""Turns a GGUF file of the llama family into a folder of safetensors that transformers and vLLM load.

Weights are dequantized tensor by tensor, so that memory stays small whatever the model's size. Vectors (norms, biases)
stay in 32 bits, as in llama.cpp's own F16 and BF16 files: both engines then hold the same numbers.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray
from pydantic import JsonValue

from trilemma.catalog.base import Progress
from trilemma.catalog.files import disk_errors, ensure_space, publish, remove, sweep, temporary_name
from trilemma.catalog.gguf_format import GgufHead, TensorInfo, read_head
from trilemma.catalog.gguf_tokenizer import TOKENIZER_ARRAYS, GgufTokenizer, read_tokenizer
from trilemma.catalog.llama_family import (
    ROPE_FACTORS,
    Shape,
    check_tensors,
    configuration,
    hugging_face_name,
    read_shape,
    refused,
    row_order,
)
from trilemma.catalog.names import clean
from trilemma.catalog.safetensors_format import BITS, TensorSpec, write_tensors
from trilemma.errors import CatalogError

DTYPES = ("F16", "BF16", "F32")
"""What a folder's matrices can be stored in."""
_TORCH = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
_CHUNK_NUMBERS = 16 * 2**20


class _Source(NamedTuple):
    """One tensor of the file, and how it is called and stored in the folder."""

    tensor: TensorInfo
    offset: int
    spec: TensorSpec
    order: NDArray[np.intp] | None


def usual_dtype(quantization: str) -> str:
    """What keeps all that weights in ``quantization`` know: their own type, F16 for quantized ones."""
    return quantization if quantization in DTYPES else "F32" if quantization == "F64" else "F16"


def checked_dtype(dtype: str) -> str:
    """``dtype`` as :data:`DTYPES` writes it.

    Raises:
        CatalogError: it is none of them.
    """
    if dtype.upper() not in DTYPES:
        raise CatalogError(f"{clean(dtype, 40)} cannot be made here.", f"Choose one of {', '.join(DTYPES)}.")
    return dtype.upper()


def convert_file(
    source: Path,
    target: Path,
    dtype: str,
    *,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Write the model of the GGUF file ``source`` into the new folder ``target``, which appears only when complete.

    ``progress`` is called with (bytes written, bytes in all).

    Raises:
        InvalidArtifactError: the file is damaged, or of a kind that cannot be converted.
        DiskFullError: the folder does not fit.
        CatalogError: it was cancelled, or the disk refuses.
    """
    name = clean(source.name)
    head = read_head(source, keep=TOKENIZER_ARRAYS)
    shape = read_shape(head, name)
    tokenizer = read_tokenizer(head.metadata, name)
    config = configuration(head, shape, _rope_factors(head, source), name)
    check_tensors(head, shape, config, name)
    sources = list(_sources(head, shape, dtype))
    total = sum(each.spec.n_bytes for each in sources)
    ensure_space(target.parent, total)
    temporary = temporary_name(target)

    def watched(data: Iterator[NDArray[np.generic]]) -> Iterator[NDArray[np.generic]]:
        done = 0
        for piece in data:
            if cancel is not None and cancel():
                raise CatalogError("The conversion was cancelled.", "Nothing was kept of it.")
            yield piece
            done += piece.nbytes
            if progress is not None:
                progress(done, total)

    try:
        with disk_errors(target.parent, total):
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent)
            temporary.mkdir()
            with source.open("rb") as file:
                data = (piece for each in sources for piece in _values(file, each, name))
                write_tensors(temporary / "model.safetensors", [each.spec for each in sources], watched(data))
            for file_name, content in _documents(config, tokenizer, head, dtype).items():
                (temporary / file_name).write_text(content, encoding="utf-8")
            publish(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            remove(temporary)


def _sources(head: GgufHead, shape: Shape, dtype: str) -> Iterator[_Source]:
    """The tensors to write, wide numbers first."""
    offset, found = head.data_offset, []
    for tensor in head.tensors:
        name = hugging_face_name(shape, tensor.name)
        if name is not None:
            stored = dtype if len(tensor.shape) > 1 else "F32"
            spec = TensorSpec(name, stored, tensor.shape[::-1])
            found.append(_Source(tensor, offset, spec, row_order(shape, tensor.name, spec.shape[0])))
        offset += -(-tensor.n_bytes // head.alignment) * head.alignment
    yield from sorted(found, key=lambda each: -BITS[each.spec.dtype])


def _values(file: BinaryIO, source: _Source, file_name: str) -> Iterator[NDArray[np.generic]]:
    """The tensor's numbers as they are stored in the folder, some rows at a time.

    Quantization goes along rows, so rows are put in order while they are still small.
    """
    kind = GGMLQuantizationType[source.tensor.type]
    width = source.tensor.shape[0]
    rows = source.tensor.elements // width
    file.seek(source.offset)
    raw = np.frombuffer(file.read(source.tensor.n_bytes), np.uint8)
    raw = raw.reshape((len(source.order), -1) if source.order is not None else (rows, -1))
    if source.order is not None:
        raw = raw[source.order]
    raw = raw.reshape(rows, -1)
    step = max(1, _CHUNK_NUMBERS // width)
    for start in range(0, rows, step):
        yield _stored(_dequantized(raw[start : start + step], kind, file_name), source.spec, file_name)


def _dequantized(raw: NDArray[np.uint8], kind: GGMLQuantizationType, file_name: str) -> NDArray[np.float32]:
    if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
        return raw.view(np.dtype(kind.name.replace("F", "float").lower())).astype(np.float32)
    try:
        values: NDArray[np.float32] = dequantize(raw, kind)
    except NotImplementedError:
        raise refused(file_name, f"the gguf package cannot dequantize {kind.name}") from None
    return values


def _stored(values: NDArray[np.float32], spec: TensorSpec, file_name: str) -> NDArray[np.generic]:
    if spec.dtype == "F32":
        return values
    if spec.dtype == "BF16":
        return np.asarray(quantize(values, GGMLQuantizationType.BF16))
    if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise refused(file_name, f"{spec.name} holds numbers too large for F16: choose BF16 or F32")
    return values.astype(np.float16)


def _rope_factors(head: GgufHead, source: Path) -> NDArray[np.float32] | None:
    offset = head.data_offset
    for tensor in head.tensors:
        if tensor.name == ROPE_FACTORS and tensor.type == "F32":
            return np.fromfile(source, np.float32, tensor.elements, offset=offset)
        offset += -(-tensor.n_bytes // head.alignment) * head.alignment
    return None


def _documents(config: dict[str, JsonValue], tokenizer: GgufTokenizer, head: GgufHead, dtype: str) -> dict[str, str]:
    """The folder's other files: name and content."""
    ids = {name: index for name, (index, _) in tokenizer.special.items()}
    model_ids: dict[str, JsonValue] = {f"{name}_token_id": ids[name] for name in ("bos", "eos", "pad") if name in ids}
    # An answer ends at the end of a turn as well as at the end of the text.
    ends: list[JsonValue] = list(dict.fromkeys(ids[name] for name in ("eos", "eot") if name in ids))
    settings: dict[str, JsonValue] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "add_bos_token": tokenizer.add_bos,
    }
    settings |= {f"{name}_token": text for name, (_, text) in tokenizer.special.items() if name != "eot"}
    template = head.metadata.get("tokenizer.chat_template")
    if isinstance(template, str):
        settings["chat_template"] = template
    documents: dict[str, dict[str, JsonValue]] = {
        "config.json": config | model_ids | {"torch_dtype": _TORCH[dtype]},
        "generation_config.json": model_ids | ({"eos_token_id": ends} if len(ends) > 1 else {}),
        "tokenizer_config.json": settings,
    }
    texts = {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in documents.items()}
    return {**texts, "tokenizer.json": tokenizer.tokenizer.to_str()}
