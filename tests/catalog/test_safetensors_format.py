from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save

from trilemma.catalog.safetensors_format import BITS, TensorSpec, read_tensors, write_tensors
from trilemma.errors import InvalidArtifactError

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(4, dtype=np.float16),
    "c": np.zeros((0, 5), np.int8),
    "d": np.array(7, np.int64),
}
TINY = save(ARRAYS, {"note": "x"})
fuzz = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Path, data: bytes) -> Path:
    path = folder / "a.safetensors"
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InvalidArtifactError) as caught:
        read_tensors(path)
    assert caught.value.hint
    return caught.value.message


def with_header(header: object, n_bytes: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(n_bytes)


def entry(dtype: str = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_what_the_package_writes_is_read(tmp_path: Path) -> None:
    found = {tensor.name: tensor for tensor in read_tensors(written(tmp_path, TINY))}
    assert {name: (tensor.shape, tensor.n_bytes) for name, tensor in found.items()} == {
        name: (array.shape, array.nbytes) for name, array in ARRAYS.items()
    }
    assert [found[name].dtype for name in "abcd"] == ["F32", "F16", "I8", "I64"]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(["float32", "float16"]), st.lists(st.integers(0, 5), max_size=3)), max_size=6)
)
def test_what_is_written_the_package_reads(tmp_path: Path, layout: list[tuple[str, list[int]]]) -> None:
    layout.sort(key=lambda one: one[0] != "float32")
    arrays = {f"t{i}": np.random.default_rng(i).random(shape).astype(dtype) for i, (dtype, shape) in enumerate(layout)}
    specs = [TensorSpec(name, {4: "F32", 2: "F16"}[a.itemsize], a.shape) for name, a in arrays.items()]
    path = tmp_path / "b.safetensors"
    path.unlink(missing_ok=True)
    write_tensors(path, specs, (half for a in arrays.values() for half in np.array_split(a.reshape(-1), 2)))
    found = load_file(path)
    assert found.keys() == arrays.keys()
    assert all((found[name] == arrays[name]).all() and found[name].shape == arrays[name].shape for name in arrays)
    assert set(read_tensors(path)) == set(specs)
    with safe_open(path, framework="np") as file:
        assert file.metadata() == {"format": "pt"}


def test_data_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="4 bytes of data instead of 8"):
        write_tensors(tmp_path / "x", [TensorSpec("a", "F32", (2,))], [np.zeros(1, np.float32)])


def test_damage_is_named(tmp_path: Path) -> None:
    for data, reason in (
        (b"", "would have 0 bytes"),
        (b"PK\x03\x04 a renamed archive", "its header would have"),
        (TINY[:40], "its header would have"),
        (TINY[:-1], "where its header describes"),
        (TINY + b"x", "where its header describes"),
        (with_header(b"[1, 2]"), "no JSON object"),
        (with_header(b"{nonsense}"), "no JSON"),
        (with_header(b"[" * 100_000), "no JSON"),
        (with_header(b'{"a": 1, "a": 2}'), "twice"),
        (with_header({"a": 3}), "is no object"),
        (with_header({"a": entry("F33")}, 8), "unknown type"),
        (with_header({"a": entry(shape=[-2])}, 8), "no shape"),
        (with_header({"a": entry(shape=[True])}, 8), "no shape"),
        (with_header({"a": entry(shape=[1] * 99)}, 8), "no shape"),
        (with_header({"a": entry(shape=[3])}, 8), "8 bytes for the shape"),
        (with_header({"a": entry(shape=[2**61, 2**61], offsets=(0, 0))}), "for the shape"),
        (with_header({"a": entry("F4", [3], (0, 1))}, 1), "for the shape"),
        (with_header({"a": entry(offsets=(8, 16))}, 16), "one behind the other"),
        (with_header({"a": entry(), "b": entry()}, 8), "one behind the other"),
        (with_header({"a": entry(), "b": entry(offsets=(12, 20))}, 20), "one behind the other"),
    ):
        assert reason in refusal(written(tmp_path, data)), data[:60]
    assert "There is no file" in refusal(tmp_path / "gone.safetensors")
    assert "There is no file" in refusal(tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    refusal(tmp_path / "pipe.safetensors")


def readable_or_refused(path: Path) -> None:
    try:
        tensors = read_tensors(path)
    except InvalidArtifactError as error:
        assert error.message
        assert error.hint
    else:
        assert sum(tensor.n_bytes for tensor in tensors) < path.stat().st_size
        assert all(tensor.dtype in BITS for tensor in tensors)


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(TINY) - 1), st.binary(min_size=1, max_size=9)), min_size=1, max_size=4))
def test_any_corruption_is_read_or_refused(tmp_path: Path, changes: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(TINY)
    for at, new in changes:
        damaged[at : at + len(new)] = new
    readable_or_refused(written(tmp_path, bytes(damaged)))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {"dtype": st.sampled_from([*BITS, "Q4"]) | JSON, "shape": st.lists(st.integers(-1, 4), max_size=3) | JSON,
     "data_offsets": st.lists(st.integers(0, 64), min_size=2, max_size=2) | JSON}
)  # fmt: skip


@fuzz
@given(st.dictionaries(st.text(max_size=4), ENTRY | JSON, max_size=3), st.integers(0, 64))
def test_any_header_is_read_or_refused(tmp_path: Path, header: dict[str, object], n_bytes: int) -> None:
    readable_or_refused(written(tmp_path, with_header(header, n_bytes)))
