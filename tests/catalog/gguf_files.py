"""Small GGUF files, written with the gguf package as any converter would."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np


def tiny(
    architecture: str = "llama",
    *,
    name: str = "Tiny 1m",
    file_type: int | None = int(gguf.LlamaFileType.MOSTLY_F16),
    dtype: type[np.generic] = np.float16,
    template: str = "{{ messages }}",
    tensors: bool = True,
    change: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
) -> bytes:
    """The bytes of a file with two layers of 64 x 64, 4 heads, 2 of them for keys and values."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_name(name)
        writer.add_license("mit")
        writer.add_context_length(512)
        writer.add_embedding_length(64)
        writer.add_block_count(2)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        writer.add_chat_template(template)
        writer.add_token_list([f"t{i}" for i in range(5000)])
        writer.add_token_scores([0.0] * 5000)
        if file_type is not None:
            writer.add_file_type(file_type)
        change(writer)
        if tensors:
            writer.add_tensor("token_embd.weight", np.ones((128, 64), dtype))
            for layer in range(2):
                writer.add_tensor(f"blk.{layer}.attn_norm.weight", np.ones(64, np.float32))
                writer.add_tensor(f"blk.{layer}.attn_q.weight", np.ones((64, 64), dtype))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


MERGES = ("t h", "th e", "Ġ the", "i n", "1 2", "Ġ Ġ")


def vocabulary() -> tuple[list[str], list[int]]:
    """Tokens and their types: the 256 bytes, what the merges make of them, and three special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    letters = [chr(byte if byte in printable else next(others)) for byte in range(256)]
    tokens = letters + [merge.replace(" ", "") for merge in MERGES] + ["<|begin|>", "<|end|>", "<tool>"]
    types = [gguf.TokenType.NORMAL] * (len(tokens) - 3)
    types += [gguf.TokenType.CONTROL, gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED]
    return tokens, [int(kind) for kind in types]


def complete(
    path: Path,
    architecture: str = "llama",
    *,
    pre: str = "smollm",
    dtype: type[np.generic] = np.float16,
    tied: bool = True,
    rope_factors: np.ndarray | None = None,
    without: tuple[str, ...] = (),
    plus: dict[str, np.ndarray] | None = None,
    change: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    seed: int = 0,
) -> Path:
    """A whole model with random weights that llama.cpp loads: two layers of 64, 4 heads of 16, 2 of keys and values."""
    rng = np.random.default_rng(seed)
    tokens, types = vocabulary()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Random")
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_block_count(2)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(int(gguf.LlamaFileType.MOSTLY_F16 if dtype is np.float16 else gguf.LlamaFileType.ALL_F32))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(len(tokens) - 3)
    writer.add_eos_token_id(len(tokens) - 2)
    change(writer)

    def tensor(name: str, *shape: int) -> None:
        if name in without:
            return
        if len(shape) == 1:
            writer.add_tensor(name, rng.uniform(0.5, 1.5, shape).astype(np.float32))
        else:
            values = rng.standard_normal(shape) * shape[-1] ** -0.5
            writer.add_tensor(name, (values + (plus or {}).get(name, 0.0)).astype(dtype))

    tensor("token_embd.weight", len(tokens), 64)
    tensor("output_norm.weight", 64)
    if not tied:
        tensor("output.weight", len(tokens), 64)
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors.astype(np.float32))
    for layer in range(2):
        prefix = f"blk.{layer}."
        for name, *shape in (
            ("attn_norm", 64), ("attn_q", 64, 64), ("attn_k", 32, 64), ("attn_v", 32, 64), ("attn_output", 64, 64),
            ("ffn_norm", 64), ("ffn_gate", 96, 64), ("ffn_up", 96, 64), ("ffn_down", 64, 96),
        ):  # fmt: skip
            tensor(f"{prefix}{name}.weight", *shape)
        if architecture == "qwen2":
            for name, size in (("attn_q", 64), ("attn_k", 32), ("attn_v", 32)):
                tensor(f"{prefix}{name}.bias", size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
