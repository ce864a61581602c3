from __future__ import annotations

from pathlib import Path

import pytest

from trilemma.catalog.header import read_header
from trilemma.catalog.sizes import LADDER, fallback_share, predicted_bytes

SMOLLM2 = {
    "F16": 270_885_952,
    "Q8_0": 144_811_072,
    "Q6_K": 138_382_912,
    "Q5_K_M": 112_103_488,
    "Q4_K_M": 105_454_144,
    "Q3_K_M": 93_510_208,
    "Q2_K": 88_201_792,
}
GEMMA = {
    "F16": 542_833_344,
    "Q8_0": 291_543_744,
    "Q6_K": 282_972_864,
    "Q5_K_M": 260_025_024,
    "Q4_K_M": 253_113_024,
    "Q3_K_M": 241_961_664,
    "Q2_K": 237_077_184,
}
"""Bytes of the files that llama.cpp made (llama-cpp-python 0.3.36)."""


@pytest.mark.llama
def test_sizes_of_smollm2_are_predicted(smollm2_path: Path) -> None:
    header = read_header(smollm2_path)
    for quantization in LADDER:
        assert predicted_bytes(header, quantization) == pytest.approx(SMOLLM2[quantization], rel=0.01)
    # Rows of 576 do not divide by 256; only the down projections (1536) do.
    assert fallback_share(header, "Q4_K_M") == pytest.approx(0.75)
    assert fallback_share(header, "Q8_0") == 0


@pytest.mark.llama
def test_sizes_of_gemma_are_predicted(gemma_path: Path) -> None:
    header = read_header(gemma_path)
    for quantization in LADDER:
        assert predicted_bytes(header, quantization) == pytest.approx(GEMMA[quantization], rel=0.01)


def test_only_the_ladder_is_predicted(tmp_path: Path, tiny_gguf: bytes) -> None:
    (tmp_path / "a.gguf").write_bytes(tiny_gguf)
    with pytest.raises(KeyError):
        predicted_bytes(read_header(tmp_path / "a.gguf"), "Q9_Z")
