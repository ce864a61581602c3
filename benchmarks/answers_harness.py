"""lm-evaluation-harness's side of ``benchmarks.answers``, in an environment that has it.

JSON in, one line of JSON out: whether its own ``gsm8k`` task finds given answers right, by each of its filters, what
the SQuAD metric of transformers says of given answers, and the prompts that its own MMLU tasks build of given rows.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def harness() -> Any:
    """What runs one of its tasks on documents in place of the data set that it would download."""
    import datasets  # type: ignore[import-not-found]
    from lm_eval.api.model import LM
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml

    class Given(LM):  # type: ignore[misc]
        """Answers with what it was given, by prompt; takes the first choice of a choice."""

        def __init__(self, answers: dict[str, str]) -> None:
            super().__init__()
            self.answers = answers

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            return [self.answers[request.args[0]] for request in requests]

        def loglikelihood(self, requests: Any, **_: Any) -> list[tuple[float, bool]]:
            return [(0.0, False) for _ in requests]

        def loglikelihood_rolling(self, requests: Any, **_: Any) -> list[float]:
            raise RuntimeError("no task here asks for it")

    index = TaskManager().task_index

    def run(task: str, splits: dict[str, Any], shots: int, answers: dict[str, str]) -> list[dict[str, Any]]:
        given = {name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}
        shipped = load_yaml(index[task].yaml_path, resolve_func=True)
        shipped.pop("tag", None)
        changes = {"custom_dataset": lambda **_: given, "num_fewshot": shots}
        if "train" not in splits:
            changes["training_split"] = None
        made = ConfigurableTask(config={**shipped, **changes})
        samples: list[dict[str, Any]] = evaluate(Given(answers), {"tasks": {task: made}}, bootstrap_iters=0)["samples"][
            task
        ]
        return sorted(samples, key=lambda sample: int(sample["doc_id"]))

    return run


def gsm8k(run: Any, answers: list[dict[str, str]]) -> dict[str, list[float]]:
    """Its verdicts by filter, in the order of ``answers``."""
    documents = [{"question": f"Number {number}?", "answer": one["gold"]} for number, one in enumerate(answers)]
    prompts = {
        f"Question: {document['question']}\nAnswer:": one["text"]
        for document, one in zip(documents, answers, strict=True)
    }
    found: dict[str, list[float]] = {}
    for sample in run("gsm8k", {"test": documents, "train": documents[:1]}, 0, prompts):
        found.setdefault(sample["filter"], []).append(float(sample["exact_match"]))
    return found


def squad(answers: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Exact match and F1, the best of the gold answers."""
    from transformers.data.metrics.squad_metrics import get_raw_scores  # type: ignore[import-not-found]

    class Example:
        """As the metric reads it."""

        def __init__(self, number: int, golds: list[str]) -> None:
            self.qas_id = str(number)
            self.answers = [{"text": gold} for gold in golds]

    examples = [Example(number, one["golds"]) for number, one in enumerate(answers)]
    exact, f1 = get_raw_scores(examples, {str(number): one["text"] for number, one in enumerate(answers)})
    return {
        "accuracy": [float(exact[example.qas_id]) for example in examples],
        "f1": [float(f1[example.qas_id]) for example in examples],
    }


def mmlu(run: Any, subjects: dict[str, dict[str, Any]], shots: int) -> dict[str, list[list[list[str]]]]:
    """The (context, continuation) pairs of each row, by subject."""
    return {
        subject: [[list(pair) for pair in sample["arguments"]] for sample in run(f"mmlu_{subject}", rows, shots, {})]
        for subject, rows in subjects.items()
    }


def main() -> None:
    """Read what is to be judged, judge it."""
    os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    given = json.loads(sys.stdin.read())
    run = harness()
    answer = {
        "gsm8k": gsm8k(run, given["gsm8k"]),
        "squad": squad(given["squad"]),
        "mmlu": {shots: mmlu(run, given["mmlu"], int(shots)) for shots in given["shots"]},
    }
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
