"""A LoRA adapter of random numbers for SmolLM2, as a PEFT folder: it changes the queries of every layer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LAYERS, HIDDEN, RANK = 30, 576, 4


def random_adapter(folder: Path, base: str = "SmolLM2-135M-Instruct", strength: float = 0.12) -> Path:
    """Written to ``folder``."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    tensors = {}
    for layer in range(LAYERS):
        prefix = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{prefix}.lora_A.weight"] = (rng.standard_normal((RANK, HIDDEN)) * strength).astype(np.float32)
        tensors[f"{prefix}.lora_B.weight"] = (rng.standard_normal((HIDDEN, RANK)) * strength).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": RANK,
        "lora_alpha": 2 * RANK, "target_modules": ["q_proj"], "bias": "none",
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
