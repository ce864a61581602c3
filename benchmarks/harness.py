"""Do tasks of lm-evaluation-harness, asked through the suite ``lm_eval``, score as they should, item by item?

Choices: the harness's own ``hellaswag`` over local rows, against the suite ``hellaswag`` on the same rows. Written
answers: its own ``gsm8k``, without worked examples, over small sums made here, against each question asked alone and
judged by the suite ``gsm8k``; one at a time, and over slots. All over F16, in one process, in an environment that has
lm-evaluation-harness.

Scores are compared, and what was said. Over slots llama.cpp may round a greedy choice the other way, so that there what
was said is shown and not limited.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import statistics
import tempfile
from collections.abc import Mapping
from typing import Any

from benchmarks import common
from benchmarks.common import Limit, say
from benchmarks.fidelity import ladder
from benchmarks.suites import LIMITED, document, harness, suite
from trilemma.schema import SuiteSpec
from trilemma.suites import data

LIMITS = {
    "prompts_equal": Limit(at_least=1.0),
    "agreement_choices": Limit(at_least=0.99),
    "agreement_written": Limit(at_least=0.99),
    "agreement_written_together": Limit(at_least=0.95),
    "written_equal": Limit(at_least=0.99),
}
TOKENS = 12
SETTINGS = {"context": 512, "slots": 4, "threads": 1}
"""One thread: nothing is timed, and on a busy machine several wait for each other at every token."""


def sums(count: int) -> list[dict[str, str]]:
    """Questions in GSM8K's form that a very small model answers rightly now and then."""
    made = random.Random(0)
    found = []
    for _ in range(count):
        first, second = made.randint(1, 9), made.randint(1, 9)
        question = f"Mira has {first} apples. She gets {second} more apples. How many apples has she now?"
        found.append({"question": question, "answer": f"{first} + {second} = {first + second}\n#### {first + second}"})
    return found


def measure(options: argparse.Namespace) -> Mapping[str, float]:
    """Everything; the machine may be busy, since nothing is timed against anything."""
    model = ladder(LIMITED)[LIMITED]
    rows = data.load(suite("hellaswag").dataset).rows
    items = suite("hellaswag").items(SuiteSpec(name="hellaswag", limit=options.items))
    given: dict[str, Any] = {
        "model": str(model),
        "settings": SETTINGS,
        "tokens": TOKENS,
        "choices": [document("hellaswag", rows[int(item.id.partition("/")[2])]) for item in items],
        "written": sums(options.items),
    }
    python = harness()
    say(f"{options.items} documents of either kind, on both sides ...")
    with tempfile.TemporaryDirectory() as folder:
        answer: dict[str, Any] = common.other_side(
            python, "harness_engine", given, TRILEMMA_HOME=f"{folder}/home", HF_DATASETS_CACHE=f"{folder}/cache",
            HF_DATASETS_OFFLINE="1", HF_HUB_OFFLINE="1", TQDM_DISABLE="1",
        )  # fmt: skip
    figures: dict[str, float] = {}
    for kind, found in answer.items():
        for name in ("accuracy", "accuracy_norm", "accuracy_strict", "said"):
            if name in found:
                figures[f"{kind}_{name}_agree"] = statistics.fmean(found[name])
        figures[f"{kind}_accuracy"] = statistics.fmean(found["right"])
        figures[f"{kind}_seconds"] = found["seconds"]
        scored = [figures[key] for key in figures if key.startswith(f"{kind}_accuracy") and key.endswith("_agree")]
        figures[f"agreement_{kind}"] = min(scored)
    figures["prompts_equal"] = statistics.fmean(answer["choices"]["prompts"])
    figures["written_equal"] = figures["written_said_agree"]
    for name, value in figures.items():
        say(f"  {name} = {value:.4f}")
    return figures


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness", description=__doc__)
    parser.add_argument("--items", type=int, default=100, help="documents of each kind that are compared")
    common.main("harness", LIMITS, functools.partial(measure, parser.parse_args()))
