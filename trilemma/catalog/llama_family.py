"""What a GGUF file of the llama family is called in Hugging Face's terms: tensors, the order of rows, configuration.

The inverse of what llama.cpp's ``convert_hf_to_gguf.py`` does. What cannot be carried over is refused, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from trilemma.catalog.gguf_format import GgufHead, Value
from trilemma.errors import InvalidArtifactError

ROPE_FACTORS = "rope_freqs.weight"
"""The one tensor that becomes configuration."""
_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_LAYER = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
} | {f"attn_{part}.weight": f"self_attn.{part}_proj.weight" for part in "qkv"}
_BIASES = {f"attn_{part}.bias": f"self_attn.{part}_proj.bias" for part in "qkv"}


class _Family(NamedTuple):
    model_type: str
    model_class: str
    in_layer: dict[str, str]
    """GGUF's names within a layer, and Hugging Face's."""
    permuted: bool
    """Whether llama.cpp keeps the rows of queries and keys in the order that its rotary embedding wants."""


_FAMILIES = {
    "llama": _Family("llama", "LlamaForCausalLM", _IN_LAYER, permuted=True),
    "qwen2": _Family("qwen2", "Qwen2ForCausalLM", _IN_LAYER | _BIASES, permuted=False),
}


class Shape(NamedTuple):
    """The numbers of a model that its tensors' names and rows depend on."""

    architecture: str
    layers: int
    heads: int
    kv_heads: int
    head_size: int


def read_shape(head: GgufHead, file_name: str) -> Shape:
    """The shape of a model that can be converted.

    Raises:
        InvalidArtifactError: its architecture, or something that it has, cannot be converted.
    """
    architecture = str(head.metadata.get("general.architecture"))
    if architecture not in _FAMILIES:
        raise refused(file_name, f"its architecture is {architecture!r:.40}, not one of {', '.join(_FAMILIES)}")
    numbers = _Numbers(head.metadata, architecture, file_name)
    heads = numbers.count("attention.head_count")
    head_size = numbers.optional("attention.key_length") or numbers.count("embedding_length") // heads
    shape = Shape(
        architecture=architecture,
        layers=numbers.count("block_count"),
        heads=heads,
        kv_heads=numbers.optional("attention.head_count_kv") or heads,
        head_size=head_size,
    )
    if numbers.optional("expert_count"):
        raise refused(file_name, "it is a mixture of experts")
    if (numbers.optional("attention.value_length") or head_size) != head_size:
        raise refused(file_name, "its keys and values differ in length")
    if (numbers.optional("rope.dimension_count") or head_size) != head_size or head_size % 2:
        raise refused(file_name, "only a part of each head is rotated")
    return shape


def shape_of(config: Mapping[str, JsonValue], folder_name: str) -> Shape:
    """The same out of a Hugging Face configuration.

    Raises:
        InvalidArtifactError: it is of another architecture, or lacks a number.
    """
    names = {family.model_type: name for name, family in _FAMILIES.items()}
    architecture = names.get(str(config.get("model_type")))
    if architecture is None:
        raise refused(folder_name, f"its model type is {config.get('model_type')!r:.40}, not one of {', '.join(names)}")

    def count(key: str, default: int = 0) -> int:
        value = config.get(key) or default
        if type(value) is not int or not 0 < value < 2**31:
            raise refused(folder_name, f"its config.json lacks {key}")
        return value

    heads = count("num_attention_heads")
    return Shape(
        architecture=architecture,
        layers=count("num_hidden_layers"),
        heads=heads,
        kv_heads=count("num_key_value_heads", heads),
        head_size=count("head_dim", count("hidden_size") // heads),
    )


def hugging_face_name(shape: Shape, name: str) -> str | None:
    """The name of the GGUF tensor ``name`` in a Hugging Face checkpoint; None if there is none."""
    if name in _TOP:
        return _TOP[name]
    match = re.fullmatch(r"blk\.(\d{1,4})\.(.+)", name)
    inner = _FAMILIES[shape.architecture].in_layer.get(match[2]) if match else None
    return f"model.layers.{match[1]}.{inner}" if match and inner and int(match[1]) < shape.layers else None


def gguf_name(shape: Shape, name: str) -> str | None:
    """The inverse of :func:`hugging_face_name` within layers."""
    match = re.fullmatch(r"model\.layers\.(\d{1,4})\.(.+)", name)
    names = {theirs: ours for ours, theirs in _FAMILIES[shape.architecture].in_layer.items()}
    inner = names.get(match[2]) if match else None
    return f"blk.{match[1]}.{inner}" if match and inner and int(match[1]) < shape.layers else None


def row_order(shape: Shape, name: str, rows: int) -> NDArray[np.intp] | None:
    """Which row of the GGUF tensor ``name`` comes at each place in Hugging Face's order; None if the order is the same.

    llama.cpp rotates neighbours (2i, 2i + 1) of a head, Hugging Face i and i + half: the rows of queries and keys are
    kept in the one order or the other.
    """
    role = name.split(".")[-2]
    if not _FAMILIES[shape.architecture].permuted or role not in ("attn_q", "attn_k"):
        return None
    heads = shape.heads if role == "attn_q" else shape.kv_heads
    return np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)


def configuration(
    head: GgufHead, shape: Shape, factors: NDArray[np.float32] | None, file_name: str
) -> dict[str, JsonValue]:
    """``config.json`` but for tokens and data type; ``factors`` are what :data:`ROPE_FACTORS` holds.

    Raises:
        InvalidArtifactError: its rotary embedding is scaled in a way that cannot be carried over.
    """
    family = _FAMILIES[shape.architecture]
    numbers = _Numbers(head.metadata, shape.architecture, file_name)
    tensors = {tensor.name: tensor for tensor in head.tensors}
    embedding = tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise refused(file_name, "it has no token embedding")
    return {
        "architectures": [family.model_class],
        "model_type": family.model_type,
        "hidden_size": numbers.count("embedding_length"),
        "intermediate_size": numbers.count("feed_forward_length"),
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size,
        "vocab_size": embedding.shape[1],
        "max_position_embeddings": numbers.count("context_length"),
        "rms_norm_eps": numbers.decimal("attention.layer_norm_rms_epsilon"),
        "rope_theta": numbers.decimal("rope.freq_base", 10000.0),
        "rope_scaling": _rope_scaling(numbers, shape, factors, file_name),
        "hidden_act": "silu",
        "tie_word_embeddings": "output.weight" not in tensors,
    }


def check_tensors(head: GgufHead, shape: Shape, config: Mapping[str, JsonValue], file_name: str) -> None:
    """Every tensor that the model needs is there in the shape that the configuration says, and none besides.

    Raises:
        InvalidArtifactError: one is missing, unknown or of another shape.
    """
    hidden, inner, vocabulary = (int(str(config[k])) for k in ("hidden_size", "intermediate_size", "vocab_size"))
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    matrices = {
        "attn_norm.weight": (hidden,),
        "ffn_norm.weight": (hidden,),
        "attn_q.weight": (hidden, queries),
        "attn_k.weight": (hidden, keys),
        "attn_v.weight": (hidden, keys),
        "attn_output.weight": (queries, hidden),
        "ffn_gate.weight": (hidden, inner),
        "ffn_up.weight": (hidden, inner),
        "ffn_down.weight": (inner, hidden),
        "attn_q.bias": (queries,),
        "attn_k.bias": (keys,),
        "attn_v.bias": (keys,),
    }
    wanted: dict[str, tuple[int, ...]] = {"token_embd.weight": (hidden, vocabulary), "output_norm.weight": (hidden,)}
    if not config["tie_word_embeddings"]:
        wanted["output.weight"] = (hidden, vocabulary)
    for layer in range(shape.layers):
        wanted |= {f"blk.{layer}.{name}": matrices[name] for name in _FAMILIES[shape.architecture].in_layer}
    found = {tensor.name: tensor.shape for tensor in head.tensors if tensor.name != ROPE_FACTORS}
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise refused(
                file_name,
                f"its tensor {name!r:.80} has the shape {found.get(name)}, where {wanted.get(name)} belongs",
            )


def _rope_scaling(
    numbers: _Numbers, shape: Shape, factors: NDArray[np.float32] | None, file_name: str
) -> dict[str, JsonValue] | None:
    kind = numbers.metadata.get(f"{shape.architecture}.rope.scaling.type", "none")
    if kind == "linear":
        return {"rope_type": "linear", "factor": numbers.decimal("rope.scaling.factor")}
    if kind != "none":
        raise refused(file_name, f"its rotary embedding is scaled by {kind!r:.40}")
    if factors is None:
        return None
    # Llama 3's scaling is stored as what came out of it; all released models share three of its four parameters.
    scaling: dict[str, JsonValue] = {
        "rope_type": "llama3",
        "factor": float(factors.max()),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    expected = llama3_factors(numbers.decimal("rope.freq_base", 10000.0), shape.head_size, float(factors.max()))
    if factors.shape != expected.shape or not np.allclose(factors, expected, rtol=1e-4):
        raise refused(file_name, "its rotary embedding is scaled by factors that are not those of Llama 3")
    return scaling


def llama3_factors(base: float, head_size: int, factor: float) -> NDArray[np.float64]:
    """What each frequency of the rotary embedding is divided by in Llama 3.1 and later, for an original context of 8192
    tokens and frequency factors 1 and 4.
    """
    wavelengths = 2 * np.pi * base ** (np.arange(0, head_size, 2) / head_size)
    smooth = np.clip((8192 / wavelengths - 1.0) / (4.0 - 1.0), 0.0, 1.0)
    return 1 / ((1 - smooth) / factor + smooth)


class _Numbers:
    """An architecture's numbers in the metadata; one that each layer has is accepted if they are all equal."""

    def __init__(self, metadata: Mapping[str, Value], architecture: str, file_name: str) -> None:
        self.metadata, self._architecture, self._file_name = metadata, architecture, file_name

    def _value(self, key: str) -> Value | None:
        value = self.metadata.get(f"{self._architecture}.{key}")
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise refused(self._file_name, f"its layers differ in {key}")
            value = value[0]
        return value

    def optional(self, key: str) -> int:
        value = self._value(key)
        return value if isinstance(value, int) and 0 < value < 2**31 else 0

    def count(self, key: str) -> int:
        value = self.optional(key)
        if not value:
            raise refused(self._file_name, f"its header lacks {key}")
        return value

    def decimal(self, key: str, default: float | None = None) -> float:
        value = self._value(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, int | float) or not 0 < value < 1e12:
            raise refused(self._file_name, f"its header lacks {key}")
        return float(str(np.float32(value)))  # The header has 32 bits: 1e-05, not 9.999999747378752e-06.


def refused(file_name: str, why: str) -> InvalidArtifactError:
    """The error for a file that cannot be converted."""
    return InvalidArtifactError(
        f"{file_name} cannot be converted: {why}.", "Fetch it in the other format from the hub instead."
    )
