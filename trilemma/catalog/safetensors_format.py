"""The safetensors format: its header read with distrust, and written so that tensors can follow one by one.

Layout: 8 bytes (length of the header, little-endian), the header (JSON: tensor name -> dtype, shape and offsets into
the data), the data without gaps. The ``safetensors`` package writes only what is in memory all at once, and tells the
size of no tensor without mapping the file; it opens what is written here, and the tests hold that.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from trilemma.catalog.names import clean
from trilemma.errors import InvalidArtifactError

MAX_HEADER_BYTES = 100_000_000
"""The package's own limit."""
MAX_DIMS = 8
BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Bits of one number, by data type."""


class TensorSpec(NamedTuple):
    """One tensor: its name, data type (a key of :data:`BITS`) and dimensions, slowest-varying first."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """How many bytes they take."""
        return self.elements * BITS[self.dtype] // 8


def read_tensors(path: Path) -> tuple[TensorSpec, ...]:
    """The tensors of a safetensors file, in the order of their data; the data itself is not read.

    Raises:
        InvalidArtifactError: it is missing, truncated, damaged, or something else.
    """
    try:
        if not path.is_file():  # Opening a pipe would wait for a writer.
            raise InvalidArtifactError(f"There is no file {clean(path, 400)}.", "Fetch the whole folder again.")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little") if size >= 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                _damaged(path, f"its header would have {length:,} bytes of {size:,}")
            head = file.read(length)
    except OSError as error:
        raise InvalidArtifactError(
            f"{path} cannot be read ({error.strerror or error}).", "Check its permissions and the disk it is on."
        ) from error
    try:
        entries = json.loads(head, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        _damaged(path, "its header is no JSON, or names a tensor twice")
    if not isinstance(entries, dict):
        _damaged(path, "its header is no JSON object")
    entries.pop("__metadata__", None)
    placed = sorted((_entry(path, name, entry) for name, entry in entries.items()), key=lambda p: (p[1], p[2]))
    ends = [0, *(end for _, _, end in placed)]
    if any(start != before for (_, start, _), before in zip(placed, ends, strict=False)):
        _damaged(path, "its tensors are not one behind the other")
    if ends[-1] != size - 8 - length:
        _damaged(path, f"it has {size:,} bytes where its header describes {8 + length + ends[-1]:,}")
    return tuple(tensor for tensor, _, _ in placed)


def read_numbers(path: Path) -> Iterator[tuple[TensorSpec, NDArray[np.float32]]]:
    """The tensors of a file with their numbers, one after the other; those of types without fractions are refused.

    Raises:
        InvalidArtifactError: as :func:`read_tensors`, or a tensor is of another type than F32, F16 or BF16.
    """
    tensors = read_tensors(path)
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        for tensor in tensors:
            data = file.read(tensor.n_bytes)
            if tensor.dtype == "BF16":
                values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
            elif tensor.dtype in ("F32", "F16"):
                values = np.frombuffer(data, "<f4" if tensor.dtype == "F32" else "<f2").astype(np.float32)
            else:
                raise InvalidArtifactError(
                    f"{clean(path.name)} has a tensor of the type {tensor.dtype}.", "F32, F16 and BF16 can be read."
                )
            yield tensor, values.reshape(tensor.shape)


def write_tensors(path: Path, tensors: Sequence[TensorSpec], data: Iterable[NDArray[np.generic]]) -> None:
    """Write a new file of ``tensors``; ``data`` gives their bytes one after the other, in pieces of any size.

    ``tensors`` with wider numbers have to come first, so that each is aligned to its numbers.

    Raises:
        ValueError: ``data`` is not as long as ``tensors`` say.
    """
    assert all(BITS[a.dtype] >= BITS[b.dtype] for a, b in pairwise(tensors))
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}  # What transformers asks for.
    at = 0
    for tensor in tensors:
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "data_offsets": (at, at := at + tensor.n_bytes),
        }
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("xb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        start = file.tell()
        for piece in data:
            file.write(np.ascontiguousarray(piece).data)
        if file.tell() - start != at:
            raise ValueError(f"{file.tell() - start} bytes of data instead of {at}")


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _entry(path: Path, name: str, entry: object) -> tuple[TensorSpec, int, int]:
    if not isinstance(entry, dict):
        _damaged(path, f"the entry {clean(name, 80)!r} is no object")
    dtype, shape, offsets = entry.get("dtype"), _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
    if not isinstance(dtype, str) or dtype not in BITS:
        _damaged(path, f"the tensor {clean(name, 80)!r} has the unknown type {clean(dtype, 20)!r}")
    if shape is None or len(shape) > MAX_DIMS or offsets is None or len(offsets) != 2:
        _damaged(path, f"the tensor {clean(name, 80)!r} has no shape or no place")
    tensor = TensorSpec(name, dtype, shape)
    start, end = offsets
    if tensor.elements >= 2**62 or tensor.elements * BITS[dtype] % 8 or tensor.n_bytes != end - start:
        _damaged(path, f"the tensor {clean(name, 80)!r} has {end - start:,} bytes for the shape {clean(shape, 80)}")
    return tensor, start, end


def _counts(value: object) -> tuple[int, ...] | None:
    if isinstance(value, list) and all(type(v) is int and 0 <= v < 2**62 for v in value):
        return tuple(value)
    return None


def _damaged(path: Path, what: str) -> NoReturn:
    raise InvalidArtifactError(
        f"{clean(path.name)} is no whole safetensors file: {what}.",
        "Download or copy it again; if it was fetched from somewhere, check its checksum.",
    )
