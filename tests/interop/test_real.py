"""Every importer on what its tool really wrote (data/README.md): figures as the tool states them, and the way back."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trilemma.interop import read_data, read_path
from trilemma.interop.base import ImportedRun
from trilemma.interop.studies import add
from trilemma.interop.writing import export_runs
from trilemma.schema import Measurement, Method
from trilemma.store import Store, open_store

DATA = Path(__file__).parent / "data"
FILES = sorted(path for path in DATA.iterdir() if path.suffix != ".md")
TOOLS = {
    "llama-bench": "llama-bench",
    "vllm": "vllm-bench-serve",
    "guidellm": "guidellm",
    "lm-eval": "lm-eval",
    "aiperf": "aiperf",
}


def tool_of(path: Path) -> str:
    return next(tool for beginning, tool in TOOLS.items() if path.name.startswith(beginning))


def document(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def only_run(name: str) -> ImportedRun:
    (run,) = read_path(DATA / name)[0].runs
    return run


def figures(run: ImportedRun) -> dict[str, Measurement]:
    """By figure and statistic, for runs of one subject."""
    return {one.key.partition("@")[0]: one for one in run.measurements}


def test_every_tool_has_a_file_and_every_file_a_line_in_the_readme() -> None:
    assert {tool_of(path) for path in FILES} == set(TOOLS.values())
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in FILES if f"`{path.name}`" not in readme] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_known_and_everything_in_it_is_marked(path: Path) -> None:
    imported, file = read_path(path)
    assert file.importer == imported.tool == tool_of(path)
    assert imported.runs
    assert imported.version or imported.tool == "vllm-bench-serve"
    for run in imported.runs:
        assert [one for one in run.measurements if one.value is not None]
        assert len({one.key for one in run.measurements}) == len(run.measurements)
        assert run.host is None
        for one in run.measurements:
            assert one.provenance.method is Method.IMPORTED
            assert not one.figure.startswith(("energy", "power", "peak_memory"))


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_goes_out_and_comes_back_the_same(store: Store, tmp_path: Path, path: Path, suffix: str) -> None:
    first, added = add(store, *read_path(path))
    assert added
    out = export_runs(store, first.id, tmp_path / f"out.{suffix}")
    with open_store(f"sqlite:///{tmp_path / 'other.db'}") as other:
        second, _ = add(other, *read_path(out))
        mine, theirs = store.runs(first.id), other.runs(second.id)
        assert [run.spec.configuration for run in mine] == [run.spec.configuration for run in theirs]
        assert [run.finished_at for run in mine] == [run.finished_at for run in theirs]
        for one, two in zip(mine, theirs, strict=True):
            assert store.measurements(one.id) == other.measurements(two.id)
            assert (
                store.artifact(one.spec.configuration.artifact_id).label
                == other.artifact(two.spec.configuration.artifact_id).label
            )


def test_llama_bench_in_all_its_formats() -> None:
    by_format = {suffix: read_path(DATA / f"llama-bench.{suffix}")[0] for suffix in ("json", "jsonl", "sql", "csv")}
    tests = document("llama-bench.json")
    for imported in by_format.values():
        assert len(imported.runs) == len({test["n_threads"] for test in tests}) == 2
        assert {(run.quantization, run.engine) for run in imported.runs} == {("Q4_1", "llama.cpp")}
        assert any(one.what.startswith("pp32+tg8") for one in imported.left_out)
        assert all(run.machine == tests[0]["cpu_info"].strip() for run in imported.runs)
        for run in imported.runs:
            keys = {one.key for one in run.measurements}
            assert keys == {"bits_per_weight", "engine_prefill_tps@pp64", "engine_decode_tps@tg16"}
    for run in by_format["json"].runs:
        for test in tests:
            if test["n_threads"] != run.settings["threads"] or (test["n_prompt"] and test["n_gen"]):
                continue
            key = "engine_prefill_tps@pp64" if test["n_prompt"] else "engine_decode_tps@tg16"
            one = next(m for m in run.measurements if m.key == key)
            assert one.value == pytest.approx(np.mean(test["samples_ts"]))
            # Its own mean is over times, ours over speeds; both are the same to well within their noise.
            assert one.value == pytest.approx(test["avg_ts"], rel=0.02)
            assert one.n == len(test["samples_ts"]) == 3
            assert one.low <= one.value <= one.high  # type: ignore[operator]
    for suffix in ("sql", "csv"):
        assert all(one.low is one.high is None for run in by_format[suffix].runs for one in run.measurements)
    text = (DATA / "llama-bench.sql").read_text(encoding="utf-8")
    assert len(re.findall(r"^INSERT INTO", text, re.MULTILINE)) == len(tests)
    with (DATA / "llama-bench.csv").open(newline="", encoding="utf-8") as file:
        stated = {
            float(row["avg_ts"]) for row in csv.DictReader(file) if not (int(row["n_prompt"]) and int(row["n_gen"]))
        }
    found = {m.value for run in by_format["csv"].runs for m in run.measurements if m.figure != "bits_per_weight"}
    assert found == stated


SWEPT: dict[str, tuple[object, object]] = {
    "load_mode": ("mmap", "none"), "lazy_mode": ("auto", "off"), "repack": (True, False),
    "tensor_buft_overrides": ("none", "ffn=CPU"), "no_op_offload": (0, 1), "no_host": (False, True),
    "embeddings": (False, True), "poll": (50, 0), "cpu_strict": (False, True), "fit_target": (0, 1024),
    "fit_min_ctx": (0, 4096), "backends": ("CPU", "CUDA"), "split_mode": ("layer", "row"), "of_next_year": (1, 2),
}  # fmt: skip


@pytest.mark.parametrize("field", SWEPT)
def test_llama_bench_a_sweep_over_any_setting_is_two_configurations(field: str) -> None:
    test = next(one for one in document("llama-bench.json") if one["n_prompt"] and not one["n_gen"])
    swept = [test | {field: value} for value in SWEPT[field]]
    imported, _ = read_data("swept.json", json.dumps(swept).encode())
    assert [run.settings[field] for run in imported.runs] == list(SWEPT[field])
    assert not any("twice" in one.why for one in imported.left_out)
    later = test | {"test_time": "2027-01-01T00:00:00Z", "avg_ts": 1.0, "stddev_ns": 3, "n_prompt": 96}
    imported, _ = read_data("two.json", json.dumps([test, later]).encode())
    assert len(imported.runs) == 1, "another test of the same configuration"


@pytest.mark.parametrize("name", ["vllm-serve-tokens.json", "vllm-serve-chunks.json"])
def test_vllm_bench_serve_request_by_request(name: str) -> None:
    told, found = document(name), figures(only_run(name))
    assert told["completed"] == 12
    for figure, theirs in (("ttft_s", "ttft"), ("tpot_s", "tpot")):
        for kind in ("mean", "median"):
            one = found[f"{figure}.{kind}"]
            assert one.value == pytest.approx(told[f"{kind}_{theirs}_ms"] / 1e3, rel=1e-6)
            assert one.low <= one.value <= one.high  # type: ignore[operator]
            assert one.n == 12
    assert found["e2e_s.mean"].value == pytest.approx(
        np.mean([ttft + sum(itl) for ttft, itl in zip(told["ttfts"], told["itls"], strict=True)])
    )
    assert found["ttft_s.p99"].value is None, "12 requests are too few"
    by_token = all(len(itl) + 1 == n for itl, n in zip(told["itls"], told["output_lens"], strict=True))
    assert by_token == (name == "vllm-serve-tokens.json")
    assert ("itl_s.median" in found) == by_token
    if by_token:
        assert found["itl_s.median"].value == pytest.approx(told["median_itl_ms"] / 1e3, rel=1e-6)


def test_vllm_bench_serve_from_its_statistics_alone() -> None:
    told, run = document("vllm-serve-summary.json"), only_run("vllm-serve-summary.json")
    found = figures(run)
    assert run.measurements[0].subject.endswith(f" {told['request_rate']:g}/s")
    assert found["ttft_s.mean"].value == pytest.approx(told["mean_ttft_ms"] / 1e3)
    assert found["e2e_s.p90"].value == pytest.approx(told["p90_e2el_ms"] / 1e3)
    assert "ttft_s.p99" not in found, "ten requests are too few"
    assert not {"output_tps", "request_rate"} & set(found), "its throughput counts ramp-up and drain"
    assert all(one.low is one.high is None for one in run.measurements)


def test_guidellm_one_request_at_a_time() -> None:
    told, found = document("guidellm-synchronous.json"), figures(only_run("guidellm-synchronous.json"))
    stated = told["benchmarks"][0]["metrics"]
    for figure, theirs in (("ttft_s", "time_to_first_token_ms"), ("tpot_s", "inter_token_latency_ms")):
        one = found[f"{figure}.mean"]
        requests = [r[theirs] for r in told["benchmarks"][0]["requests"]["successful"]]
        assert one.value == pytest.approx(np.mean(requests) / 1e3)
        assert found[f"{figure}.median"].value == pytest.approx(np.percentile(requests, 50) / 1e3)
    assert found["ttft_s.mean"].value == pytest.approx(stated["time_to_first_token_ms"]["successful"]["mean"] / 1e3)
    decoding = [1e3 / r["inter_token_latency_ms"] for r in told["benchmarks"][0]["requests"]["successful"]]
    assert found["decode_tps"].value == pytest.approx(np.median(decoding))
    assert {"output_tps", "request_rate"} <= set(found)


def test_guidellm_at_a_rate_counts_from_when_a_request_was_due() -> None:
    told, run = document("guidellm-constant.json"), only_run("guidellm-constant.json")
    requests = told["benchmarks"][0]["requests"]["successful"]
    timings = [request["info"]["timings"] for request in requests]
    waits = [one["first_token_iteration"] - one["targeted_start"] for one in timings]
    found = figures(run)
    assert found["ttft_s.mean"].value == pytest.approx(np.mean(waits))
    assert found["ttft_s.mean"].value >= np.mean([r["time_to_first_token_ms"] for r in requests]) / 1e3  # type: ignore[operator]
    assert run.measurements[0].subject.endswith(" 2/s")
    assert not {"output_tps", "decode_tps"} & set(found)


def test_lm_evaluation_harness() -> None:
    told, run = document("lm-eval.json"), only_run("lm-eval.json")
    found = {one.key: one for one in run.measurements}
    assert set(found) == {
        "accuracy@lm_eval made_sums, first 12", "accuracy@lm_eval made_capitals", "accuracy_norm@lm_eval made_capitals",
    }  # fmt: skip
    scores = told["results"]["made_capitals"]
    one = found["accuracy@lm_eval made_capitals"]
    assert (one.value, one.n) == (scores["acc,none"], 12)
    half = 1.959964 * scores["acc_stderr,none"]
    assert one.high == pytest.approx(min(1.0, one.value + half))  # type: ignore[operator]
    assert one.low == pytest.approx(max(0.0, one.value - half))  # type: ignore[operator]


def test_aiperf() -> None:
    told, found = document("aiperf.json"), figures(only_run("aiperf.json"))
    for figure, theirs in (
        ("ttft_s", "time_to_first_token"),
        ("tpot_s", "inter_token_latency"),
        ("e2e_s", "request_latency"),
    ):
        for kind, name in (("mean", "avg"), ("median", "p50"), ("p95", "p95")):
            assert told[theirs]["unit"] == "ms"
            assert found[f"{figure}.{kind}"].value == pytest.approx(told[theirs][name] / 1e3)
        assert f"{figure}.p99" not in found, "24 requests are too few"
    assert found["output_tps"].value == pytest.approx(told["output_token_throughput"]["avg"])
    assert found["decode_tps"].value == pytest.approx(told["output_token_throughput_per_user"]["p50"])


def test_aiperf_that_counted_other_tokens_than_the_server() -> None:
    told, run = document("aiperf-own-tokenizer.json"), only_run("aiperf-own-tokenizer.json")
    assert told["output_sequence_length"]["avg"] > 2 * told["usage_completion_tokens"]["avg"]
    found = figures(run)
    assert found["ttft_s.mean"].value == pytest.approx(told["time_to_first_token"]["avg"] / 1e3)
    assert not {"tpot_s.mean", "decode_tps", "output_tps"} & set(found)
    left_out = {one.what: one.why for one in read_path(DATA / "aiperf-own-tokenizer.json")[0].left_out}
    assert "--use-server-token-count" in left_out["tpot_s"]
    assert run.measurements[0].subject == "in64_out24"
