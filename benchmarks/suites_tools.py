"""Written answers for ``benchmarks.suites``: one after the other, and over slots."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.common import say
from benchmarks.fidelity_engine import load
from benchmarks.llama_tools import build
from trilemma import registry
from trilemma.engines.base import GenerationRequest, ServingModel
from trilemma.engines.llama_cpp.settings import LlamaCppSettings
from trilemma.schema import SuiteSpec
from trilemma.suites.generation import GenerationSuite
from trilemma.workloads.load import closed_loop

SLOTS, ANSWER = 8, 96


def generation(model: Path, settings: Mapping[str, Any], rounds: int, shots: int) -> dict[str, float]:
    """GSM8K's prompts one after the other and over slots, answers of ``ANSWER`` tokens."""
    name = "generation" if not shots else "generation_five_shot"
    gsm8k: GenerationSuite = registry.load("trilemma.suites", "gsm8k")()
    spec = SuiteSpec(name="gsm8k", limit=rounds * SLOTS, options={"shots": shots})
    turns = [next(gsm8k.script(task, spec)) for task in gsm8k.tasks(spec)]
    noise: list[float] = []
    speedups, shares = [], []
    with load(str(model), {**settings, "slots": SLOTS}) as loaded:
        assert isinstance(loaded, ServingModel)
        requests = [GenerationRequest(loaded.tokenize(turn.text), ANSWER, ignore_eos=True) for turn in turns]
        threads, prompt = LlamaCppSettings().decode_threads, len(requests[0].prompt)
        for number in range(rounds):
            mine = requests[number * SLOTS : (number + 1) * SLOTS]
            took: dict[str, float] = {}
            for side in ("slots", "alone") if number % 2 == 0 else ("alone", "slots"):
                with common.watched() as disturbance:
                    begin = time.perf_counter()
                    if side == "slots":
                        answers = [answer for _, answer in closed_loop(loaded.server(), mine, SLOTS)]
                    else:
                        answers = [loaded.generate(request) for request in mine]
                        prefill = sum(answer.engine_prefill_s or 0.0 for answer in answers)
                    took[side] = time.perf_counter() - begin
                noise.append(disturbance.cores)
                assert all(len(answer.tokens) == ANSWER for answer in answers)
            say(f"  {name}, round {number + 1}: alone {took['alone']:.1f} s, over slots {took['slots']:.1f} s")
            speedups.append(took["alone"] / took["slots"])
            shares.append(prefill / took["alone"])
    common.require_quiet_throughout(noise)
    one, many = (line["speed_tg"] for line in build().batched_json(model, threads, prompt, ANSWER, [1, SLOTS]))
    share = statistics.median(shares)
    return {
        f"{name}_speedup": statistics.median(speedups),
        f"{name}_prompt_share": share,
        f"{name}_bound": 1 / (share + (1 - share) * one / many),
    }
