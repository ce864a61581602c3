"""How the weights of a safetensors checkpoint are stored: the scheme's name, and how many weights there are.

Quantized checkpoints pack several weights into one integer and keep scales beside them, each scheme in its own way;
``quantization_config`` in ``config.json`` names the scheme.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from trilemma.catalog.names import clean
from trilemma.catalog.safetensors_format import BITS, TensorSpec

_BESIDE = re.compile(
    r"[._](scales?|scale_inv|scale_2|zero_point|qzeros|g_idx|weight_shape|(nested_)?absmax|(nested_)?quant_map|SCB"
    r"|bitsandbytes__\w+)$"
)
"""Names of tensors that hold no weights, but what is needed to read those that do."""
_PACKED = re.compile(r"\.(qweight|weight_packed|weight)$|_blocks$")


def scheme_of(config: Mapping[str, JsonValue], tensors: Sequence[TensorSpec]) -> str:
    """The quantization's name: ``AWQ``, ``GPTQ-Int4``, ``FP8``, ``W8A8`` ...; else the data type of most weights."""
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict):
        return _most_common_dtype(tensors)
    method, bits = _method(quantization), _bits(quantization)
    if method == "compressed-tensors":
        weights, activations = (_group(quantization, key) for key in ("weights", "input_activations"))
        if weights.get("type") == "float":
            return f"FP{bits}"
        return f"W{bits}A{_small(activations.get('num_bits')) or 16}"
    if method.startswith("gptq"):
        return f"GPTQ-Int{bits}"
    if method.startswith("awq") or method == "bitsandbytes":
        return ("BNB" if method == "bitsandbytes" else "AWQ") + (f"-Int{bits}" if bits != 4 else "")
    algorithm = quantization.get("quant_algo")  # What NVIDIA's ModelOpt calls it.
    return clean(algorithm if isinstance(algorithm, str) else method, 30).upper() or "quantized"


def count_weights(config: Mapping[str, JsonValue], tensors: Iterable[TensorSpec]) -> int:
    """How many weights ``tensors`` hold: packed ones unpacked, scales and the like left out."""
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict):
        return sum(tensor.elements for tensor in tensors)
    bits = _bits(quantization)
    count = 0
    for tensor in tensors:
        if _BESIDE.search(tensor.name):
            continue
        width = BITS[tensor.dtype]
        packed = tensor.dtype[0] in "IU" and bits < width and _PACKED.search(tensor.name)
        count += tensor.elements * width // bits if packed else tensor.elements
    return count


def _most_common_dtype(tensors: Iterable[TensorSpec]) -> str:
    weights: Counter[str] = Counter()
    for tensor in tensors:
        weights[tensor.dtype] += tensor.elements
    return weights.most_common(1)[0][0]


def _method(quantization: Mapping[str, JsonValue]) -> str:
    method = quantization.get("quant_method")
    return clean(method, 30).lower() if isinstance(method, str) else ""


def _bits(quantization: Mapping[str, JsonValue]) -> int:
    """Bits of one weight: as the scheme states them, or as its name implies."""
    stated = quantization.get("bits") or quantization.get("w_bit") or _group(quantization, "weights").get("num_bits")
    if bits := _small(stated):
        return bits
    name = f"{_method(quantization)} {quantization.get('quant_algo')}".lower()
    return 4 if quantization.get("load_in_4bit") or "fp4" in name or "w4" in name else 8


def _group(quantization: Mapping[str, JsonValue], key: str) -> Mapping[str, JsonValue]:
    """What the first group of layers of a compressed-tensors configuration says of weights or activations."""
    groups = quantization.get("config_groups")
    first = next(iter(groups.values()), None) if isinstance(groups, dict) else None
    found = first.get(key) if isinstance(first, dict) else None
    return found if isinstance(found, dict) else {}


def _small(value: object) -> int:
    return value if type(value) is int and 1 <= value <= 64 else 0
