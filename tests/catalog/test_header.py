from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trilemma.catalog.header import kv_cache_bytes, read_header
from trilemma.errors import InvalidArtifactError

Make = Callable[..., bytes]


def write(folder: Path, data: bytes, name: str = "tiny.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.llama
def test_a_real_header_tells_what_the_model_card_says(smollm2_path: Path) -> None:
    header = read_header(smollm2_path)
    assert header.architecture == "llama"
    assert header.known_architecture
    assert header.parameters == 134_515_008
    assert header.context_length == 8192
    assert header.quantization == "Q4_1"
    assert header.quantization_note == ""
    assert header.licence == "apache-2.0"
    assert header.n_layers == 30
    assert header.kv_heads == (3,) * 30
    assert (header.key_length, header.value_length) == (64, 64)
    assert header.vocabulary_size == 49152
    assert header.chat_template is not None
    assert "<|im_start|>assistant\n" in header.chat_template
    # All but the header is tensor data.
    assert header.size_bytes == header.data_offset + header.tensor_bytes
    assert header.bits_per_weight == pytest.approx(8 * header.tensor_bytes / 134_515_008)


def test_a_header_agrees_with_the_gguf_package(tmp_path: Path, tiny_gguf: bytes) -> None:
    path = write(tmp_path, tiny_gguf)
    header, reader = read_header(path), gguf.GGUFReader(path)
    assert [(t.name, t.type, t.elements, t.n_bytes) for t in header.tensors] == [
        (t.name, t.tensor_type.name, int(t.n_elements), int(t.n_bytes)) for t in reader.tensors
    ]
    assert header.data_offset == reader.data_offset


def test_a_vocabulary_of_262144_is_stepped_over_quickly(tmp_path: Path, make_gguf: Make) -> None:
    def large(writer: gguf.GGUFWriter) -> None:
        writer.add_array("tokenizer.ggml.merges", [f"merge {i}" for i in range(262_144)])

    path = write(tmp_path, make_gguf(change=large))
    started = time.process_time()
    read_header(path)
    assert time.process_time() - started < 1.0


def test_a_huge_file_is_not_read(tmp_path: Path, tiny_gguf: bytes) -> None:
    path = write(tmp_path, tiny_gguf)
    os.truncate(path, 50 * 2**30)  # Sparse: takes no room.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_header(path).size_bytes == 50 * 2**30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_the_cache_estimate_counts_heads_layers_and_bytes(tmp_path: Path, tiny_gguf: bytes) -> None:
    header = read_header(write(tmp_path, tiny_gguf))
    # 2 layers x 2 heads x (16 + 16) numbers x 512 tokens x 2 bytes
    assert kv_cache_bytes(header, 512) == 2 * 2 * 32 * 512 * 2
    assert kv_cache_bytes(header, 512, "q8_0") == 2 * 2 * 32 * 512 * 34 // 32
    windowed = header.model_copy(update={"sliding_window": 128})
    assert kv_cache_bytes(windowed, 512) == kv_cache_bytes(header, 128)
    with pytest.raises(ValueError, match="q9"):
        kv_cache_bytes(header, 512, "q9")


def test_heads_may_differ_by_layer(tmp_path: Path, make_gguf: Make) -> None:
    def per_layer(writer: gguf.GGUFWriter) -> None:
        writer.kv_data[0].pop("llama.attention.head_count_kv")
        writer.add_head_count_kv([4, 1])

    assert read_header(write(tmp_path, make_gguf(change=per_layer))).kv_heads == (4, 1)


@pytest.mark.parametrize(
    ("file_type", "dtype", "quantization", "noted"),
    [
        (gguf.LlamaFileType.MOSTLY_F16, np.float16, "F16", False),
        (gguf.LlamaFileType.ALL_F32, np.float32, "F32", False),
        (None, np.float16, "F16", False),
        (gguf.LlamaFileType.MOSTLY_Q4_K_M, np.float16, "F16", True),
        (gguf.LlamaFileType.MOSTLY_Q8_0, np.float32, "F32", True),
        (gguf.LlamaFileType.MOSTLY_F16, np.float32, "F32", True),
        (gguf.LlamaFileType.GUESSED, np.float32, "F32", True),
        (4711, np.float16, "F16", True),
    ],
)
def test_the_tensors_overrule_a_false_quantization(
    tmp_path: Path, make_gguf: Make, file_type: int | None, dtype: type[Any], quantization: str, noted: bool
) -> None:
    header = read_header(write(tmp_path, make_gguf(file_type=file_type and int(file_type), dtype=dtype)))
    assert header.quantization == quantization
    assert bool(header.quantization_note) == noted


def test_hostile_texts_are_tamed(tmp_path: Path, make_gguf: Make) -> None:
    template = "{{ a }}\n\t\x1b[31m\x00{{ b }}"
    data = make_gguf(name="evil\x1b[2J\n\u202eeman\x00 " + "x" * 5000, template=template)
    header = read_header(write(tmp_path, data))
    assert header.name.startswith("evil[2J eman x")
    assert len(header.name) == 200
    assert header.chat_template == "{{ a }}\n\t[31m{{ b }}"
    data = make_gguf(template="x" * 300_000)
    assert read_header(write(tmp_path, data)).chat_template is None


def test_ancestry_is_read(tmp_path: Path, make_gguf: Make) -> None:
    def base(writer: gguf.GGUFWriter) -> None:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, "SmolLM2 135M")
        writer.add_base_model_organization(0, "HuggingFaceTB")
        writer.add_base_model_repo_url(0, "https://huggingface.co/HuggingFaceTB/SmolLM2-135M")

    (found,) = read_header(write(tmp_path, make_gguf(change=base))).base_models
    assert found.name == "SmolLM2 135M"
    assert found.repository == "HuggingFaceTB/SmolLM2-135M"


def refused(path: Path) -> str:
    with pytest.raises(InvalidArtifactError) as caught:
        read_header(path)
    assert caught.value.hint
    return caught.value.message


def test_what_is_no_weights_file_is_refused_with_a_reason(tmp_path: Path, make_gguf: Make, tiny_gguf: bytes) -> None:
    assert "is empty" in refused(write(tmp_path, b""))
    assert "not a GGUF file" in refused(write(tmp_path, b"GG"))
    assert "not a GGUF file" in refused(write(tmp_path, b"PK\x03\x04 renamed zip" * 100))
    assert "truncated" in refused(write(tmp_path, b"GGUF"))
    assert "truncated" in refused(write(tmp_path, tiny_gguf[:5000]))
    assert "truncated" in refused(write(tmp_path, tiny_gguf[:-4]))
    assert "version 1" in refused(write(tmp_path, b"GGUF\x01\x00\x00\x00" + tiny_gguf[8:]))
    assert "big-endian" in refused(write(tmp_path, b"GGUF\x00\x00\x00\x03" + tiny_gguf[8:]))
    assert "no weights" in refused(write(tmp_path, make_gguf(tensors=False)))
    assert "does not exist" in refused(tmp_path / "gone.gguf")
    assert "is not a file" in refused(tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "is not a file" in refused(tmp_path / "pipe.gguf")


def test_absurd_counts_are_refused_at_once(tmp_path: Path, tiny_gguf: bytes) -> None:
    started = time.process_time()
    for at in (8, 16):
        data = tiny_gguf[:at] + b"\xff" * 7 + b"\x7f" + tiny_gguf[at + 8 :]
        refused(write(tmp_path, data))
    assert time.process_time() - started < 1.0


def test_many_arrays_are_as_bad_as_a_long_one(tmp_path: Path, make_gguf: Make) -> None:
    """As objects of Python their items take many times the bytes that they have in the file."""

    def add(writer: Any) -> None:
        for number in range(400):
            writer.add_array(f"a.{number}", [1] * 4000)

    assert "more than 1,048,576 items" in refused(write(tmp_path, make_gguf(change=add)))


def test_tensors_that_leave_a_gap_are_refused(tmp_path: Path, tiny_gguf: bytes) -> None:
    name = b"blk.1.attn_q.weight"
    at = tiny_gguf.index(name) + len(name) + 4 + 2 * 8 + 4  # Behind the dimensions and the type: the offset.
    offset = int.from_bytes(tiny_gguf[at : at + 8], "little")
    moved = tiny_gguf[:at] + (offset + 32).to_bytes(8, "little") + tiny_gguf[at + 8 :] + bytes(64)
    assert "not one behind the other" in refused(write(tmp_path, moved))


def readable_or_refused(folder: Path, data: bytes) -> None:
    path = folder / "fuzzed.gguf"
    path.write_bytes(data)
    try:
        header = read_header(path)
    except InvalidArtifactError as error:
        assert error.message
        assert error.hint
    else:
        assert header.parameters > 0
        assert header.size_bytes == len(data)


fuzz = settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(st.data())
def test_any_truncation_is_refused(tmp_path: Path, tiny_gguf: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, len(tiny_gguf) - 1))
    (tmp_path / "cut.gguf").write_bytes(tiny_gguf[:length])
    with pytest.raises(InvalidArtifactError):
        read_header(tmp_path / "cut.gguf")


@fuzz
@given(st.data())
def test_any_corruption_is_read_or_refused(tmp_path: Path, tiny_gguf: bytes, data: st.DataObject) -> None:
    # The interesting bytes are the first ones and the tensors' descriptions, not the vocabulary between.
    end = tiny_gguf.index(b"blk.1.attn_q.weight") + 60
    where = st.one_of(st.integers(0, 600), st.integers(end - 600, end), st.integers(0, end))
    damaged = bytearray(tiny_gguf)
    for at, new in data.draw(st.lists(st.tuples(where, st.binary(min_size=1, max_size=9)), min_size=1, max_size=4)):
        damaged[at : at + len(new)] = new
    readable_or_refused(tmp_path, bytes(damaged))


@fuzz
@given(st.binary(max_size=400))
def test_noise_behind_the_magic_is_read_or_refused(tmp_path: Path, noise: bytes) -> None:
    readable_or_refused(tmp_path, b"GGUF\x03\x00\x00\x00" + noise)
