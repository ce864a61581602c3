"""How large a quantized file will be, known before it is made.

The size is summed tensor by tensor: each matrix gets the type that llama.cpp's mixtures give to its role in its layer
(some roles get more bits, some only in the layers where it matters most), or the fallback where its rows do not divide
into blocks; everything else stays as it is. Special cases of single architectures are left out, so this is a
prediction: exact for common models, a few per cent off for others.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from trilemma.catalog.gguf_format import TensorInfo
from trilemma.catalog.header import FALLBACKS, GgufHeader, is_layer_matrix

LADDER = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""The quantizations that a ladder may have, most bits first."""

_BASE = {
    "F16": "F16",
    "Q8_0": "Q8_0",
    "Q6_K": "Q6_K",
    "Q5_K_M": "Q5_K",
    "Q4_K_M": "Q4_K",
    "Q3_K_M": "Q3_K",
    "Q2_K": "Q2_K",
}


class _Mixture(NamedTuple):
    """Types for one role: in the layers that matter most, and in the others."""

    important: str
    others: str


_MIXTURES = {
    "Q2_K": {"ffn_down": _Mixture("Q3_K", "Q3_K"), "attn_output": _Mixture("Q3_K", "Q3_K")},
    "Q3_K_M": {
        "attn_v": _Mixture("Q4_K", "Q4_K"),
        "attn_qkv": _Mixture("Q4_K", "Q4_K"),
        "attn_output": _Mixture("Q4_K", "Q4_K"),
        "ffn_down": _Mixture("Q4_K", "Q4_K"),
    },
    "Q4_K_M": {
        "attn_v": _Mixture("Q6_K", "Q4_K"),
        "attn_qkv": _Mixture("Q5_K", "Q5_K"),
        "ffn_down": _Mixture("Q6_K", "Q4_K"),
    },
    "Q5_K_M": {
        "attn_v": _Mixture("Q6_K", "Q5_K"),
        "attn_qkv": _Mixture("Q6_K", "Q6_K"),
        "ffn_down": _Mixture("Q6_K", "Q5_K"),
    },
}
_KEPT = re.compile(r"norm|ffn_gate_inp|ssm_conv1d|shortconv|time_mix|rel_b|altup|laurel|position_embd|token_types")
_ROLE = re.compile(r"^blk\.(?P<layer>\d+)\.(?P<role>\w+?)(?:_exps|_shexp)?\.weight$")


def predicted_bytes(header: GgufHeader, quantization: str) -> int:
    """The size in bytes of the file that quantizing this one to a step of :data:`LADDER` would give.

    Raises:
        KeyError: ``quantization`` is not in the ladder.
    """
    total = header.data_offset
    for tensor in header.tensors:
        n_bytes = _bytes(tensor, predicted_type(header, tensor, quantization))
        total += -(-n_bytes // header.alignment) * header.alignment
    return total


def fallback_share(header: GgufHeader, quantization: str) -> float:
    """The part of the layers' weights, 0 to 1, whose rows do not divide into the blocks that ``quantization`` wants and
    that get a type of more bits instead.
    """
    matrices = [t for t in header.tensors if is_layer_matrix(t) and not _KEPT.search(t.name)]
    fallen = sum(t.elements for t in matrices if _wanted(header, t, quantization) != _fit(header, t, quantization))
    return fallen / (sum(t.elements for t in matrices) or 1)


def predicted_type(header: GgufHeader, tensor: TensorInfo, quantization: str) -> str:
    """The ggml type that llama.cpp is expected to store ``tensor`` in."""
    if len(tensor.shape) < 2 or not tensor.name.endswith("weight") or _KEPT.search(tensor.name):
        return tensor.type
    return _fit(header, tensor, quantization)


def _fit(header: GgufHeader, tensor: TensorInfo, quantization: str) -> str:
    wanted = _wanted(header, tensor, quantization)
    if tensor.shape[0] % GGML_QUANT_SIZES[GGMLQuantizationType[wanted]][0] == 0:
        return wanted
    fallback = FALLBACKS.get(wanted, "F16")
    return fallback if tensor.shape[0] % GGML_QUANT_SIZES[GGMLQuantizationType[fallback]][0] == 0 else "F16"


def _wanted(header: GgufHeader, tensor: TensorInfo, quantization: str) -> str:
    base = _BASE[quantization]
    if base in ("F16", "Q8_0"):
        return base
    if _is_output(header, tensor):
        return "Q6_K"
    match = _ROLE.match(tensor.name)
    if match is None:
        return base
    return _in_layer(header, quantization, match["role"], int(match["layer"])) or base


def _in_layer(header: GgufHeader, quantization: str, role: str, layer: int) -> str | None:
    n = header.n_layers
    if role == "attn_v" and quantization == "Q2_K":
        shared = header.n_heads >= 4 * max(header.kv_heads, default=0) > 0
        return "Q4_K" if shared else "Q3_K"
    if quantization == "Q3_K_M" and ((role == "attn_v" and layer < 2) or (role == "ffn_down" and layer < n // 16)):
        return "Q5_K"
    mixture = _MIXTURES.get(quantization, {}).get(role)
    if mixture is None:
        return None
    # Both ends of the model and every third layer between matter most.
    important = layer < n // 8 or layer >= 7 * n // 8 or (layer - n // 8) % 3 == 2
    return mixture.important if important else mixture.others


def _is_output(header: GgufHeader, tensor: TensorInfo) -> bool:
    """Whether it is the output layer: a tensor of its own, else the embedding, which then serves as both."""
    if tensor.name == "output.weight":
        return True
    return tensor.name == "token_embd.weight" and all(t.name != "output.weight" for t in header.tensors)


def _bytes(tensor: TensorInfo, ggml_type: str) -> int:
    block, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[ggml_type]]
    return tensor.elements // block * n_bytes
