"""Turns a PEFT LoRA adapter of a model of the llama family into the GGUF that llama.cpp applies.

As llama.cpp's ``convert_lora_to_gguf.py`` does: a change of weights is B x A x alpha / rank; the rows of B are the rows
of the changed matrix, so those of queries and keys are put into llama.cpp's order.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gguf import GGUFWriter, LlamaFileType
from gguf.constants import Keys
from numpy.typing import NDArray
from pydantic import JsonValue

from trilemma.catalog.files import disk_errors, ensure_space, publish, remove, sweep, temporary_name
from trilemma.catalog.gguf_format import read_head
from trilemma.catalog.llama_family import Shape, gguf_name, read_shape, refused, row_order, shape_of
from trilemma.catalog.names import clean
from trilemma.catalog.safetensors_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_folder, read_json
from trilemma.catalog.safetensors_format import read_numbers
from trilemma.errors import CatalogError
from trilemma.schema import Artifact, Relation

_PAIR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


class _Pair(NamedTuple):
    a: NDArray[np.float32]
    """(rank, inputs)"""
    b: NDArray[np.float32]
    """(outputs, rank)"""


def base_shape(adapter: Artifact, artifacts: Sequence[Artifact]) -> Shape:
    """The shape of the model that ``adapter`` belongs to, out of any form of it that the catalog has.

    Raises:
        CatalogError: it has none, or one of another family.
    """
    bases = [d for d in adapter.derivations if d.relation is Relation.ADAPTER]
    ids = {d.parent_id for d in bases}
    names = {d.parent_name.rpartition("/")[2].lower() for d in bases}
    for artifact in artifacts:
        path = Path(artifact.path)
        if artifact.kind == "model" and (artifact.id in ids or artifact.model.lower() in names) and path.exists():
            if path.is_dir():
                return shape_of(read_json(path, "config.json"), clean(path.name))
            return read_shape(read_head(path), clean(path.name))
    raise CatalogError(
        f"The base model of {adapter.label} ({', '.join(d.parent_name for d in bases) or 'not stated'}) is not in the "
        "catalog.",
        "Add it, in any quantization: how many heads it has decides the order of the adapter's rows.",
    )


def convert_adapter(source: Path, target: Path, shape: Shape) -> None:
    """Write the adapter in the PEFT folder ``source``, to a model of ``shape``, as the GGUF file ``target``, in F32.

    Raises:
        InvalidArtifactError: it is damaged, changes what cannot be changed in llama.cpp, or belongs to another model.
        DiskFullError: it does not fit.
    """
    name = clean(source.name)
    header = read_folder(source)
    config = read_json(source, ADAPTER_CONFIG)
    alpha = _alpha(config, header.adapter_rank, name)
    pairs = {tensor: _placed(shape, tensor, pair, name) for tensor, pair in _pairs(source, shape, name).items()}
    ensure_space(target.parent, 4 * header.parameters)
    temporary = temporary_name(target)
    try:
        with disk_errors(target.parent, 4 * header.parameters):
            target.parent.mkdir(parents=True, exist_ok=True)
            sweep(target.parent)
            writer = GGUFWriter(temporary, shape.architecture)
            writer.add_type("adapter")
            writer.add_string(Keys.Adapter.TYPE, "lora")
            writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
            writer.add_name(name)
            writer.add_file_type(int(LlamaFileType.ALL_F32))
            if header.base_models:
                base = header.base_models[0]
                writer.add_base_model_count(1)
                writer.add_base_model_name(0, base.name)
                if base.repository:
                    writer.add_base_model_repo_url(0, f"https://huggingface.co/{base.repository}")
            for tensor, pair in pairs.items():
                writer.add_tensor(f"{tensor}.lora_a", np.ascontiguousarray(pair.a))
                writer.add_tensor(f"{tensor}.lora_b", np.ascontiguousarray(pair.b))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            publish(temporary, target)
    finally:
        with contextlib.suppress(OSError):
            remove(temporary)


def _alpha(config: dict[str, JsonValue], rank: int, name: str) -> float:
    """The number that, divided by a pair's rank, scales it."""
    for key, why in (("use_dora", "it is a DoRA"), ("alpha_pattern", "its layers are scaled one by one")):
        if config.get(key):
            raise refused(name, why)
    if config.get("bias", "none") != "none" or config.get("modules_to_save"):
        raise refused(name, "it changes more than matrices")
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not 0 < alpha < 1e6:
        raise refused(name, f"its lora_alpha is {alpha!r:.40}")
    if config.get("use_rslora"):  # Scaled by alpha / sqrt(rank).
        if config.get("rank_pattern"):
            raise refused(name, "its layers differ in rank, and are scaled by the root of it")
        return float(alpha) * math.sqrt(rank)
    return float(alpha)


def _pairs(source: Path, shape: Shape, name: str) -> dict[str, _Pair]:
    """The pairs by the GGUF name of the matrix that they change."""
    sides: dict[str, dict[str, NDArray[np.float32]]] = {}
    for tensor, numbers in read_numbers(source / ADAPTER_WEIGHTS):
        match = _PAIR.fullmatch(tensor.name)
        changed = gguf_name(shape, f"{match['module']}.weight") if match else None
        if match is None or changed is None or numbers.ndim != 2:
            raise refused(name, f"it has the tensor {clean(tensor.name, 100)!r}, which changes no layer's matrix")
        sides.setdefault(changed, {})[match["side"]] = numbers
    if any(len(pair) != 2 for pair in sides.values()):
        raise refused(name, "a matrix has one half of its pair only")
    return {changed: _Pair(pair["A"], pair["B"]) for changed, pair in sides.items()}


def _placed(shape: Shape, tensor: str, pair: _Pair, name: str) -> _Pair:
    """The pair with the rows of B in llama.cpp's order."""
    rows, rank = pair.b.shape
    heads = {"attn_q": shape.heads, "attn_k": shape.kv_heads, "attn_v": shape.kv_heads}.get(tensor.split(".")[-2])
    if rank != pair.a.shape[0] or (heads is not None and rows != heads * shape.head_size):
        raise refused(name, f"its pair for {tensor} does not fit: it belongs to another model, or is damaged")
    order = row_order(shape, tensor, rows)
    if order is None:
        return pair
    placed = np.empty_like(pair.b)
    placed[order] = pair.b
    return _Pair(pair.a, placed)
