"""Does the llama.cpp engine lose anything when it answers several requests at once?

llama-batched-bench and our engine's slots run alternately, each in a fresh process, on the same file with the same
threads, context, batches and lengths, and on the same shared libraries. llama-batched-bench reads all prompts, then
decodes one token for every sequence at a time, and samples nothing; our users submit at once, and what they wait for is
sampling and the loop included.
"""

from __future__ import annotations

import argparse
import functools
import statistics
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import Limit, say
from benchmarks.fidelity import LEAST_ROUNDS, SPREAD, ladder, ours, paired
from benchmarks.llama_tools import Tools, build

LIMITS = {"share": Limit(at_least=0.9)}
SLOTS, PROMPT, OUTPUT = 4, 128, 64


def bench_side(tools: Tools, model: Path, threads: int) -> float:
    """Tokens a second, prompts and answers together, by llama-batched-bench."""
    return float(tools.batched_json(model, threads, PROMPT, OUTPUT, [SLOTS])[-1]["speed"])


def engine_side(tools: Tools, model: Path, threads: int) -> float:
    """The same by our slots."""
    settings = {"threads": threads, "context": PROMPT + OUTPUT, "batch": 2048, "micro_batch": 512, "slots": SLOTS}
    result: dict[str, float] = ours(tools, "load", model=model, settings=settings, prompt=PROMPT, output=OUTPUT)
    return result["tps"]


def measure(options: argparse.Namespace) -> Mapping[str, float | int | str]:
    """Both sides in turn, until the share is known well enough.

    Raises:
        TooNoisyError: others used the machine meanwhile, or the share stayed too uncertain.
    """
    from trilemma.engines.llama_cpp.settings import LlamaCppSettings

    tools, threads = build(), LlamaCppSettings().decode_threads
    model = options.model or ladder("Q8_0")["Q8_0"]
    common.wait_until_quiet()
    say(f"{model.name}: {SLOTS} at once, {PROMPT} tokens in, {OUTPUT} out, {threads} threads, total tokens/s")
    noise: list[float] = []

    def watched(name: str) -> float:
        side = bench_side if name == "bench" else engine_side
        with common.watched() as seen:
            speed = side(tools, model, threads)
        noise.append(seen.cores)
        say(f"  {name:<6} {speed:7.1f}  (others: {seen.cores:.2f} cores)")
        return speed

    results = common.alternate(
        options.rounds,
        {name: functools.partial(watched, name) for name in ("bench", "engine")},
        lambda found: (
            len(found["engine"]) >= LEAST_ROUNDS
            and paired(np.array(found["engine"]), np.array(found["bench"]))[1] <= SPREAD
        ),
    )
    common.require_quiet_throughout(noise)
    middle, spread = paired(np.array(results["engine"]), np.array(results["bench"]))
    if spread > 2 * SPREAD:
        raise common.TooNoisyError(f"The share is {1 + middle:.1%} give or take {spread:.1%}: too noisy to tell.")
    return {
        "model": model.name,
        "rounds": len(results["engine"]),
        "batched_bench_tps": round(statistics.median(results["bench"]), 2),
        "engine_tps": round(statistics.median(results["engine"]), 2),
        "share": round(1 + middle, 4),
        "spread": round(spread, 4),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slots", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="how often both sides run at most")
    parser.add_argument("--model", type=Path, help="a GGUF file; SmolLM2-135M-Instruct as Q8_0 if not given")
    common.main("slots", LIMITS, functools.partial(measure, parser.parse_args()))
