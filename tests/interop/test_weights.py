"""Different weights stay apart, whichever tool's file they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trilemma.interop import read_data
from trilemma.interop.base import ImportedRun
from trilemma.interop.studies import whole_study
from trilemma.interop.weights import argument, scheme, weights_of

DATA = Path(__file__).parent / "data"
NAMES = {
    "Org/M-7B-Instruct": "as served",
    "Other/M-7B-Instruct": "as served",
    "Org/M-7B-Instruct-AWQ": "AWQ",
    "Org/M-7B-Instruct-GPTQ-Int4": "GPTQ-Int4",
    "Org/M-7B-Instruct-GPTQ-Int8": "GPTQ-Int8",
    "Org/M-7B-Instruct-FP8": "FP8",
    "Org/M-7B-Instruct-quantized.w8a8": "W8A8",
    "Org/M-7B-Instruct-Q4_K_M-GGUF": "Q4_K_M",
    "M-7B-Instruct": "as served",
}
"""How weights of one model are served, and which quantization each name tells."""


def guidellm(document: dict[str, Any], name: str) -> None:
    document["benchmarks"][0]["config"]["backend"]["model"] = name


def aiperf(document: dict[str, Any], name: str) -> None:
    document["input_config"]["models"]["items"] = [{"name": name}]


FILES: dict[str, Callable[[dict[str, Any], str], None]] = {
    "vllm-serve-summary.json": lambda document, name: document.update(model_id=name),
    "guidellm-synchronous.json": guidellm,
    "aiperf.json": aiperf,
}


def configuration(run: ImportedRun, name: str, document: dict[str, Any]) -> str:
    imported, file = read_data(name, json.dumps(document).encode())
    assert imported.runs == (run,)
    (whole,) = whole_study(imported, file).runs
    return whole.run.spec.configuration.id


@pytest.mark.parametrize("name", FILES)
def test_of_a_served_model_the_weights_are_told_apart_by_its_name(name: str) -> None:
    document = json.loads((DATA / name).read_text(encoding="utf-8"))
    found = {}
    for served, quantization in NAMES.items():
        FILES[name](document, served)
        (run,) = read_data(name, json.dumps(document).encode())[0].runs
        assert (run.model, run.quantization) == ("M-7B-Instruct", quantization)
        assert run.settings.get("model_id", "M-7B-Instruct") == served
        found[configuration(run, name, document)] = served
    assert len(found) == len(NAMES)


LOADED: dict[str, tuple[str, str]] = {
    "pretrained=Org/M-7B": ("M-7B", "not stated"),
    "pretrained=Org/M-7B,dtype=float16": ("M-7B", "float16"),
    "pretrained=Org/M-7B,dtype=float16,load_in_4bit=True": ("M-7B", "BNB"),
    "pretrained=Org/M-7B,dtype=float16,load_in_4bit=True,bnb_4bit_quant_type=nf4": ("M-7B", "BNB"),
    "pretrained=Org/M-7B,load_in_8bit=True": ("M-7B", "BNB-Int8"),
    "pretrained=Org/M-7B,load_in_4bit=False": ("M-7B", "not stated"),
    "pretrained=Org/M-7B,revision=abc": ("M-7B", "not stated"),
    "pretrained=Org/M-7B,peft=Some/Adapter": ("M-7B", "not stated"),
    "pretrained=Org/M-7B-GGUF,gguf_file=m-7b.Q4_K_M.gguf": ("M-7B", "Q4_K_M"),
    "pretrained=Org/M-7B-GGUF,gguf_file=m-7b.Q8_0.gguf": ("M-7B", "Q8_0"),
    "pretrained=Org/M-7B,quantization=fp8": ("M-7B", "FP8"),
    "pretrained=Org/M-7B,autogptq=True": ("M-7B", "GPTQ"),
    "pretrained=Org/M-7B-AWQ,dtype=float16": ("M-7B", "AWQ"),
}


def test_of_the_harness_the_weights_are_told_apart_by_its_arguments() -> None:
    document = json.loads((DATA / "lm-eval.json").read_text(encoding="utf-8"))
    found = set()
    for arguments, expected in LOADED.items():
        document["config"]["model_args"] = arguments
        (run,) = read_data("results.json", json.dumps(document).encode())[0].runs
        assert (run.model, run.quantization) == expected, arguments
        found.add(configuration(run, "results.json", document))
    assert len(found) == len(LOADED)


def test_where_an_answer_came_from_and_how_fast_makes_no_other_weights() -> None:
    document = json.loads((DATA / "lm-eval.json").read_text(encoding="utf-8"))
    settings = []
    for more in ("", ",batch_size=8,device=cuda:1", ",base_url=http://10.0.0.1/v1,api_key=sesame,num_concurrent=4"):
        document["config"]["model_args"] = f"pretrained=Org/M-7B{more}"
        (run,) = read_data("results.json", json.dumps(document).encode())[0].runs
        settings.append(run.settings)
        assert "sesame" not in run.model_dump_json()
    assert settings == [{"model_id": "Org/M-7B"}] * 3


def test_names_and_arguments() -> None:
    assert weights_of("/models/tiny/") == ("Tiny", "", {"model_id": "/models/tiny"})
    assert weights_of("served") == ("Served", "", {})
    assert weights_of("") == ("", "", {})
    assert [scheme("awq", 4), scheme("awq", 8), scheme("bitsandbytes", 4), scheme("hqq", 2)] == [
        "AWQ", "AWQ-Int8", "BNB", "HQQ-Int2",
    ]  # fmt: skip
    assert scheme("torchao", None, "int4_weight_only") == "TORCHAO int4_weight_only"
    assert [argument(one) for one in ("4.0", 4.0, "True", True, "none", "nf4", "0.5", None)] == [
        4, 4, True, True, None, "nf4", 0.5, None,
    ]  # fmt: skip
