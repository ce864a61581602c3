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
