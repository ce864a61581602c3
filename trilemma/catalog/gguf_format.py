"""Reads the head of a GGUF file, lean and distrustful: metadata and the list of tensors, never their data.

The ``gguf`` package's own reader builds an array object for every token of the vocabulary (15 s for 262,144 tokens), so
only its constants are used; long arrays are stepped over. The layout is that of the GGUF specification, versions 2 and
3, little-endian: magic, version, tensor count, metadata count, metadata, tensor descriptions, padding, tensor data.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

from gguf.constants import GGML_QUANT_SIZES, GGUF_DEFAULT_ALIGNMENT, GGMLQuantizationType

from trilemma.errors import InvalidArtifactError

Value = int | float | bool | str | list[int] | list[float] | list[bool] | list[str]

MAX_HEAD_BYTES = 512 * 2**20
"""No real header comes near: a vocabulary of 262,144 tokens with scores takes 7 MB."""
MAX_ENTRIES = 1 << 18
MAX_KEPT_ITEMS = 4096
"""Arrays longer than this (vocabularies) are stepped over."""
MAX_ALL_KEPT_ITEMS = 1 << 20
"""Of all arrays together, those of ``keep`` aside: as objects of Python they take many times their bytes."""
MAX_STRING_BYTES = 64 * 2**20
MAX_DIMS = 4

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_DOWNLOAD_AGAIN = "Download or copy the file again; if it was fetched from somewhere, check its checksum."


class TensorInfo(NamedTuple):
    """One tensor: its dimensions (fastest-varying first), ggml type, and size in bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    n_bytes: int

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count


class GgufHead(NamedTuple):
    """Everything before the tensor data."""

    version: int
    metadata: dict[str, Value]
    array_lengths: dict[str, int]
    """Lengths of the arrays that were stepped over."""
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    alignment: int
    file_bytes: int


class _Cursor:
    """Reads a file forward in growing steps; a plain read, not a memory map, so a file cut short meanwhile cannot
    kill the process.
    """

    def __init__(self, file: BinaryIO, size: int, name: str, keep: Collection[str] = ()) -> None:
        self.file, self.size, self.name, self.keep = file, size, name, keep
        self.data = b""
        self.at = 0
        self.kept = 0

    def corrupt(self, what: str) -> NoReturn:
        raise InvalidArtifactError(f"{self.name} is a damaged GGUF file: {what}.", _DOWNLOAD_AGAIN)

    def truncated(self) -> NoReturn:
        raise InvalidArtifactError(
            f"{self.name} is truncated: after {self.size:,} bytes its header is not complete.", _DOWNLOAD_AGAIN
        )

    def need(self, count: int) -> int:
        """Make ``count`` more bytes readable; returns where they start and moves past them."""
        start, end = self.at, self.at + count
        if end > len(self.data):
            if end > self.size:
                self.truncated()
            if end > MAX_HEAD_BYTES:
                self.corrupt(f"its header would be larger than {MAX_HEAD_BYTES // 2**20} MiB")
            wanted = min(max(end, 2 * len(self.data), 2**20), self.size)
            self.data += self.file.read(wanted - len(self.data))
            if end > len(self.data):
                raise InvalidArtifactError(f"{self.name} became shorter while it was read.", _DOWNLOAD_AGAIN)
        self.at = end
        return start

    def scalar(self, layout: str) -> int | float | bool:
        start = self.need(struct.calcsize(layout))
        value: int | float | bool = struct.unpack_from(layout, self.data, start)[0]
        return value

    def integer(self, layout: str = "<Q") -> int:
        return int(self.scalar(layout))

    def text(self, limit: int = MAX_STRING_BYTES) -> str:
        length = self.integer()
        if length > limit:
            self.corrupt(f"it holds a text of {length:,} bytes")
        start = self.need(length)
        return self.data[start : start + length].decode("utf-8", errors="replace")

    def skip_texts(self, count: int) -> None:
        if count * 8 > self.size - self.at:
            self.truncated()
        unpack = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if self.at + 8 > len(self.data):
                self.at = self.need(8)
            length: int = unpack(self.data, self.at)[0]
            self.at += 8
            if self.at + length > len(self.data):
                self.need(length)
            else:
                self.at += length

    def array(self, key: str) -> tuple[Value | None, int]:
        """An array, or None if it is too long to be worth keeping; and its length."""
        kind, count = self.integer("<I"), self.integer()
        long = count > MAX_KEPT_ITEMS and key not in self.keep
        if not long and key not in self.keep:
            self.kept += count
            if self.kept > MAX_ALL_KEPT_ITEMS:
                self.corrupt(f"its arrays hold more than {MAX_ALL_KEPT_ITEMS:,} items")
        if kind == _STRING:
            if long:
                self.skip_texts(count)
                return None, count
            if count * 8 > self.size - self.at:
                self.truncated()
            return [self.text() for _ in range(count)], count
        if kind not in _SCALARS:
            self.corrupt(f"it holds an array of an unknown kind ({kind})")
        layout = _SCALARS[kind]
        width = struct.calcsize(layout)
        start = self.need(count * width)
        if long:
            return None, count
        return list(struct.unpack_from(f"<{count}{layout[1]}", self.data, start)), count


def read_head(path: Path, keep: Collection[str] = ()) -> GgufHead:
    """Read and check everything before the tensor data, and that the data is all there.

    ``keep`` names arrays that are read whatever their length.

    Raises:
        InvalidArtifactError: missing, empty, not GGUF, truncated, damaged, or of an unsupported version.
    """
    try:
        # Opening a pipe would wait for a writer, so only regular files are opened.
        if not path.is_file():
            raise InvalidArtifactError(
                f"{path} is not a file." if path.exists() else f"{path} does not exist.",
                "Give the path of a .gguf file.",
            )
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            return _read(_Cursor(file, size, path.name, keep))
    except OSError as error:
        raise InvalidArtifactError(
            f"{path} cannot be read ({error.strerror or error}).", "Check its permissions and the disk it is on."
        ) from error


def _read(cursor: _Cursor) -> GgufHead:
    version = _read_version(cursor)
    n_tensors, n_entries = cursor.integer(), cursor.integer()
    if n_tensors > MAX_ENTRIES or n_entries > MAX_ENTRIES:
        cursor.corrupt(f"it announces {n_tensors:,} tensors and {n_entries:,} metadata entries")
    metadata, lengths = _read_metadata(cursor, n_entries)
    alignment = metadata.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 8 <= alignment <= 2**20 or alignment & (alignment - 1):
        cursor.corrupt(f"its alignment is {alignment!r:.40}")
    if n_tensors == 0:
        raise InvalidArtifactError(f"{cursor.name} holds no weights.", "Choose a file with the model's tensors in it.")
    tensors, data_bytes = _read_tensors(cursor, n_tensors, alignment)
    data_offset = _pad(cursor.at, alignment)
    if data_offset + data_bytes > cursor.size:
        raise InvalidArtifactError(
            f"{cursor.name} is truncated: it has {cursor.size:,} of {data_offset + data_bytes:,} bytes.",
            _DOWNLOAD_AGAIN,
        )
    return GgufHead(version, metadata, lengths, tensors, data_offset, alignment, cursor.size)


def _read_version(cursor: _Cursor) -> int:
    if cursor.size == 0:
        raise InvalidArtifactError(f"{cursor.name} is empty.", _DOWNLOAD_AGAIN)
    magic = b""
    if cursor.size >= 4:
        cursor.need(4)
        magic = cursor.data[:4]
    if magic != b"GGUF":
        raise InvalidArtifactError(
            f"{cursor.name} is not a GGUF file, whatever its name says.",
            "Choose a .gguf file; other formats must be converted first (llama.cpp's convert_hf_to_gguf.py).",
        )
    version = cursor.integer("<I")
    if version & 0xFFFF == 0:
        raise InvalidArtifactError(
            f"{cursor.name} is in big-endian byte order.", "Fetch the little-endian file of this model."
        )
    if version not in (2, 3):
        raise InvalidArtifactError(
            f"{cursor.name} is in GGUF version {version}, which is not supported (2 and 3 are).",
            "Fetch a current file of this model, or convert it again with a current llama.cpp.",
        )
    return version


def _read_metadata(cursor: _Cursor, count: int) -> tuple[dict[str, Value], dict[str, int]]:
    metadata: dict[str, Value] = {}
    lengths: dict[str, int] = {}
    for _ in range(count):
        key = cursor.text(limit=65535)
        if key in metadata or key in lengths:
            cursor.corrupt(f"the key {key!r:.80} occurs twice")
        kind = cursor.integer("<I")
        if kind == _STRING:
            metadata[key] = cursor.text()
        elif kind == _ARRAY:
            value, length = cursor.array(key)
            if value is None:
                lengths[key] = length
            else:
                metadata[key] = value
        elif kind in _SCALARS:
            metadata[key] = cursor.scalar(_SCALARS[kind])
        else:
            cursor.corrupt(f"a metadata entry is of an unknown kind ({kind})")
    return metadata, lengths


def _read_tensors(cursor: _Cursor, count: int, alignment: int) -> tuple[tuple[TensorInfo, ...], int]:
    tensors: list[TensorInfo] = []
    names: set[str] = set()
    expected = 0
    for _ in range(count):
        name = cursor.text(limit=1024)
        if name in names:
            cursor.corrupt(f"the tensor {name!r:.80} occurs twice")
        names.add(name)
        n_dims = cursor.integer("<I")
        if not 1 <= n_dims <= MAX_DIMS:
            cursor.corrupt(f"a tensor has {n_dims:,} dimensions")
        shape = tuple(cursor.integer() for _ in range(n_dims))
        kind, offset = cursor.integer("<I"), cursor.integer()
        try:
            ggml_type = GGMLQuantizationType(kind)
            block, block_bytes = GGML_QUANT_SIZES[ggml_type]
        except (ValueError, KeyError):
            raise InvalidArtifactError(
                f"{cursor.name} holds a tensor of ggml type {kind}, which is not known here.",
                "Update Trilemma and the gguf package, or fetch another quantization of this model.",
            ) from None
        tensor = TensorInfo(name, shape, ggml_type.name, 0)
        elements = tensor.elements
        if elements == 0 or elements >= 2**63 or shape[0] % block:
            cursor.corrupt(f"a tensor's shape {list(shape)} does not fit its type {ggml_type.name}")
        if offset != expected:
            cursor.corrupt("its tensors are not one behind the other")
        tensor = tensor._replace(n_bytes=elements // block * block_bytes)
        expected = _pad(offset + tensor.n_bytes, alignment)
        tensors.append(tensor)
    last = tensors[-1]
    # The padding behind the last tensor may be left out.
    return tuple(tensors), expected - (_pad(last.n_bytes, alignment) - last.n_bytes)


def _pad(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
