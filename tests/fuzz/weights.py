"""Weights of anybody: GGUF, safetensors, model cards, names of files and repositories, chat templates."""

from __future__ import annotations

import json
import struct
import unicodedata
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.inputs import INTEGERS, PATHS, changed, documents, integers, json_bytes, json_values, texts
from tests.fuzz.surface import Surface, put, removed, scratch
from trilemma.catalog.base import Fetched
from trilemma.catalog.gguf_tokenizer import read_tokenizer
from trilemma.catalog.header import WeightsHeader, kv_cache_bytes, read_header
from trilemma.catalog.safetensors_folder import COMPANIONS, is_weights_folder, read_folder
from trilemma.catalog.safetensors_format import BITS, read_numbers, read_tensors
from trilemma.catalog.sizes import LADDER, fallback_share, predicted_bytes
from trilemma.catalog.weights import describe, refuse_unusable

LONGEST = 300
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"}
_KEYS = (
    "general.architecture", "general.name", "general.type", "general.license", "general.file_type", "general.alignment",
    "general.finetune", "general.base_model.count", "general.base_model.0.name", "general.base_model.0.repo_url",
    "general.base_model.0.organization", "llama.block_count", "llama.context_length", "llama.embedding_length",
    "llama.attention.head_count", "llama.attention.head_count_kv", "llama.attention.key_length",
    "llama.attention.value_length", "llama.attention.sliding_window", "llama.vocab_size", "split.count", "adapter.type",
    "tokenizer.chat_template", "tokenizer.ggml.tokens", "tokenizer.ggml.scores",
)  # fmt: skip
_TENSORS = (
    "token_embd.weight",
    "blk.0.attn_q.weight",
    "blk.1.ffn_down.weight",
    "output.weight",
    "a.lora_a",
    "a.lora_b",
)


def assert_clean(*values: str | None, longest: int = LONGEST) -> None:
    """Texts that may be shown in one line: short, without what is not seen."""
    for value in values:
        assert value is None or len(value) <= longest
        assert value is None or all(unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in value)


# GGUF


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(data)) + data


def _packed(kind: int, value: Any) -> bytes:
    layout = _SCALARS[kind]
    if kind in (6, 12):
        return struct.pack(layout, float(value % 1000))
    width = struct.calcsize(layout)
    return (int(value) & (256**width - 1)).to_bytes(width, "little")


@st.composite
def _entry(draw: st.DrawFn) -> bytes:
    key = draw(st.one_of(st.sampled_from(_KEYS), st.sampled_from(_KEYS), texts))
    if key == "general.architecture":
        return _text(key) + struct.pack("<I", 8) + _text(draw(st.one_of(st.just("llama"), texts)))
    shape = draw(st.integers(0, 9))
    if shape < 4:
        kind = draw(st.sampled_from((*_SCALARS, 4, 10)))
        return _text(key) + struct.pack("<I", kind) + _packed(kind, draw(integers))
    if shape < 7:
        return _text(key) + struct.pack("<I", 8) + _text(draw(texts))
    kind = draw(st.sampled_from((*_SCALARS, 8, 9, 99)))
    count = draw(st.integers(0, 5))
    body = b"".join(
        _text(draw(texts)) if kind == 8 else _packed(kind, draw(integers)) if kind in _SCALARS else b""
        for _ in range(count)
    )
    said = draw(st.one_of(st.just(count), st.sampled_from(INTEGERS[:-2]).map(lambda n: n & (2**64 - 1))))
    return _text(key) + struct.pack("<IIQ", 9, kind, said if draw(st.integers(0, 4)) == 0 else count) + body


@st.composite
def _gguf(draw: st.DrawFn) -> bytes:
    """A small file that is whole, or nearly."""
    entries = [_text("general.architecture") + struct.pack("<I", 8) + _text("llama")]
    entries += draw(st.lists(_entry(), max_size=8))
    tensors, offset, body = [], 0, b""
    for number in range(draw(st.integers(0, 4))):
        name = draw(st.one_of(st.sampled_from(_TENSORS), texts)) + ("" if draw(st.booleans()) else str(number))
        kind, block, size = draw(st.sampled_from(((0, 1, 4), (1, 1, 2), (8, 32, 34), (12, 256, 144), (2, 32, 18))))
        shape = [block * draw(st.integers(1, 2)), *draw(st.lists(st.integers(1, 3), max_size=2))]
        n_bytes = shape[0] // block * size
        for one in shape[1:]:
            n_bytes *= one
        if draw(st.integers(0, 14)) == 0:
            shape = [draw(integers) & (2**64 - 1) for _ in shape]
        dims = b"".join(struct.pack("<Q", one) for one in shape)
        tensors.append(_text(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", kind, offset))
        offset += n_bytes + -n_bytes % 32
        body += b"\0" * (n_bytes + -n_bytes % 32)
    head = b"GGUF" + struct.pack("<IQQ", draw(st.sampled_from((3, 3, 3, 2, 1))), len(tensors), len(entries))
    head += b"".join(entries) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + body


_gguf_files = st.one_of(_gguf(), _gguf().flatmap(changed), st.binary(max_size=80).map(lambda rest: b"GGUF" + rest))


def _gguf_header(data: bytes) -> None:
    path = put("tried.gguf", data)
    header = read_header(path)
    _described(header, path)
    assert header.tensor_bytes <= len(data)
    kv_cache_bytes(header, 4096, "q8_0")
    for name in LADDER:
        assert predicted_bytes(header, name) > 0
        assert 0 <= fallback_share(header, name) <= 1


def _described(header: WeightsHeader, path: Path) -> None:
    """What the catalog makes of a header can be kept and shown."""
    assert_clean(header.name, header.licence, header.architecture, header.kind, header.quantization)
    assert header.parameters >= 0
    assert header.adapter_rank >= 0
    for base in header.base_models:
        assert_clean(base.name, base.organization, base.repository)
    if header.chat_template is not None:
        assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\r\n\t" for c in header.chat_template)
    refuse_unusable(header, path.name)
    made = describe(Fetched(path, "folder"), header, "0" * 64, None, ())
    assert_clean(made.model, made.quantization, longest=LONGEST)
    json.dumps(made.model_dump(mode="json"), allow_nan=False).encode()


# Tokenizers


_SPECIALS = ("bos", "eos", "eot", "unknown", "padding")
_tokens = st.lists(st.one_of(texts, st.sampled_from(["<s>", "</s>", "a", "b", "ab", "\u2581", "<0x0A>", "$A", "x:1",
""])),
                   max_size=12)  # fmt: skip


@st.composite
def _vocabulary(draw: st.DrawFn) -> dict[str, Any]:
    tokens = draw(st.one_of(_tokens.map(lambda found: list(dict.fromkeys(found))), _tokens))
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": draw(st.sampled_from(("gpt2", "llama", "bert"))),
        "tokenizer.ggml.pre": draw(st.sampled_from(("gpt-2", "smollm", "llama-bpe", "qwen2", "?"))),
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [draw(st.sampled_from((1, 1, 2, 3, 4, 6, 99))) for _ in tokens],
        "tokenizer.ggml.scores": [draw(st.floats()) for _ in tokens],
        "tokenizer.ggml.merges": draw(
            st.lists(st.one_of(texts, st.sampled_from(["a b", "a", " ", "b a", ""])), max_size=5)
        ),
    }
    for name in _SPECIALS:
        if draw(st.booleans()):
            metadata[f"tokenizer.ggml.{name}_token_id"] = draw(st.one_of(st.integers(0, 12), integers))
    for name in ("add_bos_token", "add_eos_token", "add_space_prefix"):
        if draw(st.booleans()):
            metadata[f"tokenizer.ggml.{name}"] = draw(st.booleans())
    if draw(st.integers(0, 5)) == 0:
        metadata[draw(st.sampled_from([*metadata]))] = draw(json_values)
    return metadata


def _tokenizer(metadata: dict[str, Any]) -> None:
    # A header's own texts have no halves of characters: they are decoded from UTF-8.
    plain = {
        name: [_whole(one) for one in value] if isinstance(value, list) else value for name, value in metadata.items()
    }
    found = read_tokenizer(plain, "tried.gguf")
    ids = found.tokenizer.encode("a b <s> \u2581 \x00 naïve").ids
    found.tokenizer.decode(ids, skip_special_tokens=False)
    found.tokenizer.to_str()


def _whole(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


# Safetensors


@st.composite
def _safetensors(draw: st.DrawFn) -> bytes:
    entries: dict[str, Any] = {"__metadata__": draw(json_values)} if draw(st.booleans()) else {}
    at = 0
    for _ in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from([*BITS, "F32", "F16"]))
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        count = 1
        for one in shape:
            count *= one
        size = count * BITS[dtype] // 8
        entry: Any = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        if draw(st.integers(0, 6)) == 0:
            entry[draw(st.sampled_from([*entry]))] = draw(json_values)
        entries[draw(texts)] = entry
        at += size
    head = json_bytes(entries)
    length = draw(st.one_of(st.just(len(head)), st.just(len(head)), st.sampled_from(INTEGERS[:-2])))
    return (length & (2**64 - 1)).to_bytes(8, "little") + head + b"\0" * at


_safetensors_files = st.one_of(_safetensors(), _safetensors().flatmap(changed), st.binary(max_size=60))


def _safetensors_header(data: bytes) -> None:
    path = put("tried.safetensors", data)
    for tensor in read_tensors(path):
        assert 0 <= tensor.n_bytes <= len(data)
    for tensor, values in read_numbers(path):
        assert values.shape == tensor.shape


_CONFIG = ("architectures", "model_type", "text_config", "max_position_embeddings", "quantization_config")
_SCHEMES = (
    {"quant_method": "awq", "bits": 4}, {"quant_method": "gptq", "bits": 2**70}, {"quant_method": "fp8"}, {"bits": 0},
    {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float"}}}},
    {"load_in_4bit": True, "quant_method": "bitsandbytes"}, {"quant_algo": "W4A16"}, {"config_groups": {"a": []}},
)  # fmt: skip
_tensor_names = st.one_of(
    st.sampled_from(("model.layers.0.mlp.weight", "a.qweight", "a.qzeros", "a.scales", "x_blocks", "lm_head.weight")),
    texts,
)
_inside = {"dtype": "I32", "shape": [2, 2], "data_offsets": [0, 16]}


def _one_tensor(name: str) -> bytes:
    head = json_bytes({name: _inside})
    return len(head).to_bytes(8, "little") + head + b"\0" * 16


@st.composite
def _folder(draw: st.DrawFn) -> dict[str, bytes]:
    """Files by name, which hold a model or an adapter, or nearly."""
    name = draw(_tensor_names)
    if draw(st.integers(0, 3)) == 0:
        adapter = {"peft_type": "LORA", "r": 4} | draw(documents(("peft_type", "r", "base_model_name_or_path")))
        return {"adapter_config.json": json_bytes(adapter), "adapter_model.safetensors": _one_tensor(name)}
    config = {"architectures": ["LlamaForCausalLM"]} | draw(documents(_CONFIG))
    if draw(st.booleans()):
        config["quantization_config"] = dict(draw(st.sampled_from(_SCHEMES)))
    files = {"config.json": json_bytes(config), "model.safetensors": _one_tensor(name)}
    if draw(st.booleans()):
        place = draw(st.one_of(st.just("model.safetensors"), st.sampled_from(PATHS), texts))
        files["model.safetensors.index.json"] = json_bytes({"weight_map": {name: place}})
    for other in draw(st.lists(st.sampled_from(COMPANIONS), max_size=2)):
        content = draw(st.one_of(json_values, documents(("chat_template", "name", "template", "weight_map"))))
        files.setdefault(other, json_bytes(content))
    if draw(st.integers(0, 3)) == 0:
        broken = draw(st.sampled_from([*files]))
        files[broken] = draw(changed(files[broken]))
    return files


def _weights_folder(files: dict[str, bytes]) -> None:
    folder = removed(scratch() / "a model")
    folder.mkdir()
    for name, content in files.items():
        put(f"a model/{name}", content)
    assert is_weights_folder(files) or "config.json" not in files
    header = read_folder(folder)
    assert all((folder / name).parent == folder for name in header.files)
    _described(header, folder)


SURFACES = (
    Surface("GGUF headers", _gguf_files, _gguf_header, share=2),
    Surface(
        "GGUF tokenizers", _vocabulary(), _tokenizer, share=1,
        examples=({"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["a" * 100_000],
            "tokenizer.ggml.token_type": [1],
                   "tokenizer.ggml.scores": [0.0]},
                  {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": ["$A",
                  "x:1"],
                   "tokenizer.ggml.token_type": [3, 3], "tokenizer.ggml.merges": [], "tokenizer.ggml.bos_token_id": 1,
                   "tokenizer.ggml.add_bos_token": True}),
    ),
    Surface("Safetensors headers", _safetensors_files, _safetensors_header, share=2),
    Surface("Folders of safetensors", _folder(), _weights_folder, share=1),
)  # fmt: skip
