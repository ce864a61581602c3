"""lm-evaluation-harness's side of ``benchmarks.suites``, in an environment that has it.

``TASK JSON`` in, one line of JSON out: the prompts that its own task builds for the given documents, and whether it
finds each answered rightly, scored in process by a plain evaluation of every choice in full.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from trilemma.engines.base import LoadedModel
from trilemma.engines.llama_cpp.native import Batch

Pair = tuple[Sequence[int], Sequence[int]]


def score_in_full(model: Any, pairs: Sequence[Pair]) -> list[tuple[float, bool]]:
    """Each (context, continuation) evaluated from an empty cache, whole and alone; log-probability and greediness.

    Logits are asked for only where they are scored, which is as little as evaluating every choice in full can do.
    """
    longest = max(len(context) + len(continuation) for context, continuation in pairs)
    found = []
    with model.new_context(max(512, longest)) as context:
        batch = Batch(longest)
        batch.positions[:] = range(longest)
        for start, continuation in pairs:
            tokens = [*start, *continuation][:-1]
            batch.tokens[: len(tokens)] = tokens
            batch.outputs[: len(start) - 1] = 0
            batch.outputs[len(start) - 1 : len(tokens)] = 1
            context.clear()
            context.decode(batch.first(len(tokens)))
            logits = context.logits(len(continuation))
            tops = logits.max(axis=1)
            own = logits[np.arange(len(continuation)), np.asarray(continuation)]
            sums = np.exp(logits - tops[:, None]).sum(axis=1, dtype=np.float64)
            found.append((float((own - tops - np.log(sums)).sum()), bool((own == tops).all())))
    return found


def evaluate(model: LoadedModel, task: str, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each document its (context, continuation) pairs as lm-evaluation-harness asks them, and its scores.

    Its own task is used as it ships, with ``documents`` in place of the data set that it would download.
    """
    import datasets  # type: ignore[import-not-found]
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate as run
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    class Plain(TemplateLM):  # type: ignore[misc]
        """The loaded model, tokenised by llama.cpp, scored in full."""

        @property
        def eot_token_id(self) -> int:
            return model.tokenize("")[0]

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            return model.tokenize(string, add_special=add_special_tokens is not False)

        def _loglikelihood_tokens(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            return score_in_full(model, [(context, continuation) for _, context, continuation in requests])

        def loglikelihood_rolling(self, requests: Any) -> list[float]:
            raise RuntimeError("no task here asks for it")

        def generate_until(self, requests: Any) -> list[str]:
            raise RuntimeError("no task here asks for it")

    given = datasets.Dataset.from_list(documents)
    changes: dict[str, Any] = {
        "custom_dataset": lambda **_: {"validation": given},
        "training_split": None,
        "test_split": None,
    }
    if task == "hellaswag" and not any(document["activity_label"] for document in documents):
        from lm_eval.tasks.hellaswag.utils import process_docs

        # The data at hand lacks the activity's name; without it the task would begin each prompt with ": ".
        changes["process_docs"] = lambda docs: process_docs(docs).map(
            lambda document: {"query": document["query"].removeprefix(": ")}
        )
    shipped = load_yaml(TaskManager().task_index[task].yaml_path, resolve_func=True)
    shipped.pop("tag", None)
    made = ConfigurableTask(config={**shipped, **changes})
    results = run(Plain(), {"tasks": {task: made}}, bootstrap_iters=0)
    samples = sorted(results["samples"][task], key=lambda sample: int(sample["doc_id"]))
    return [
        {
            "pairs": [list(arguments) for arguments in sample["arguments"]],
            "logprobs": [float(answer[0]) for answer in sample["filtered_resps"]],
            "accuracy": float(sample["acc"]),
            "accuracy_norm": float(sample["acc_norm"]),
        }
        for sample in samples
    ]


def main() -> None:
    """Read the task, answer it."""
    os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    from benchmarks.fidelity_engine import load

    given = json.loads(sys.stdin.read())
    with load(given["model"], given["settings"]) as model:
        answer = {task: evaluate(model, task, documents) for task, documents in given["documents"].items()}
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
