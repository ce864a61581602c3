"""The two sides of ``benchmarks.harness`` over one loaded model, in an environment that has lm-evaluation-harness.

``JSON`` in, one line of JSON out: for each document how either side scored it, and what was said.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.fidelity_engine import load
from trilemma import registry
from trilemma.engines.base import GenerationRequest, LoadedModel
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.suites.base import SuiteContext
from trilemma.suites.generation import Reply, Task
from trilemma.suites.gsm8k import Gsm8k

CHOICES = """
include: {shipped}/hellaswag/hellaswag.yaml
task: local_choices
tag: null
dataset_path: json
dataset_kwargs: {{data_files: {{validation: {rows}}}}}
training_split: null
process_docs: !function local_documents.process_docs
"""
PROGRAM = """
from lm_eval.tasks.hellaswag.utils import process_docs as shipped


def process_docs(documents):
    # The data at hand lacks the activity's name; without it the task would begin each prompt with ": ".
    return shipped(documents).map(lambda document: {"query": document["query"].removeprefix(": ")})
"""
WRITTEN = """
include: {shipped}/gsm8k/gsm8k.yaml
task: local_written
tag: null
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{test: {rows}}}}}
training_split: null
fewshot_split: null
num_fewshot: 0
generation_kwargs:
  until: ["Question:", "</s>", "<|im_end|>"]
  do_sample: false
  max_gen_toks: {tokens}
"""


def write_tasks(folder: Path, given: dict[str, Any]) -> None:
    """The harness's own tasks over local rows, as a user would write them down."""
    from lm_eval import tasks

    folder.mkdir(parents=True)
    shipped = Path(str(tasks.__file__)).parent
    for name, text in (("choices", CHOICES), ("written", WRITTEN)):
        rows = folder / f"{name}.jsonl"
        rows.write_text("".join(f"{json.dumps(row)}\n" for row in given[name]))
        made = text.format(shipped=shipped, rows=rows, tokens=given["tokens"])
        (folder / f"local_{name}.yaml").write_text(made)
    (folder / "local_documents.py").write_text(PROGRAM)


def adapter(model: LoadedModel, task: str, users: int = 1) -> tuple[list[AnswerRecord], float]:
    """All documents of ``task`` through the suite, in their own order; and the seconds that it took."""
    spec = SuiteSpec(name="lm_eval", concurrency=users, options={"task": task})
    begin = time.perf_counter()
    suite = registry.load("trilemma.suites", "lm_eval")()
    answers = list(suite.answers(model, SuiteContext(spec, None, "", lambda _: None)))
    took = time.perf_counter() - begin
    for found in suite.measurements(answers, spec):
        print(f"{found.key} = {found.value} [{found.low}, {found.high}], n = {found.n}", file=sys.stderr)
    return sorted(answers, key=lambda answer: int(answer.item_id.rpartition("/")[2])), took


def suite_s_own(model: LoadedModel, limit: int) -> list[AnswerRecord]:
    """The suite ``hellaswag`` on the items that the documents were made of, in their order."""
    context = SuiteContext(SuiteSpec(name="hellaswag", limit=limit), None, "", lambda _: None)
    return list(registry.load("trilemma.suites", "hellaswag")().answers(model, context))


def plainly(model: LoadedModel, rows: Sequence[dict[str, str]], tokens: int) -> list[dict[str, Any]]:
    """Each question asked alone, judged as the suite ``gsm8k`` judges."""
    suite, spec = Gsm8k(), SuiteSpec(name="gsm8k", options={"shots": 0, "max_tokens": tokens})
    found = []
    for number, row in enumerate(rows):
        task = Task(str(number), row["question"], row["answer"].rpartition("####")[2].strip())
        turn = next(suite.script(task, spec))
        request = GenerationRequest(model.tokenize(turn.text), turn.max_tokens, stop=turn.stop)
        text = model.detokenize(model.generate(request).tokens)
        for stop in turn.stop:
            text = text.partition(stop)[0]
        found.append({"text": text, **suite.grade(task, Reply(text), spec).scores})
    return found


def main() -> None:
    """Read the documents, answer them on both sides."""
    given = json.loads(sys.stdin.read())
    write_tasks(Path(os.environ["TRILEMMA_HOME"]) / "lm_eval_tasks", given)
    answer: dict[str, Any] = {}
    with load(given["model"], given["settings"]) as model:
        theirs, took = adapter(model, "local_choices")
        mine = suite_s_own(model, len(given["choices"]))
        answer["choices"] = {
            "prompts": [a.prompt == b.prompt for a, b in zip(theirs, mine, strict=True)],
            "said": [a.answer == b.answer for a, b in zip(theirs, mine, strict=True)],
            **{
                figure: [a.scores[figure] == b.scores[figure] for a, b in zip(theirs, mine, strict=True)]
                for figure in ("accuracy", "accuracy_norm")
            },
            "right": [a.scores["accuracy"] for a in theirs],
            "seconds": took,
        }
        print("choices are compared", file=sys.stderr)
        alone = plainly(model, given["written"], given["tokens"])
        for name, users in (("written", 1), ("written_together", given["settings"]["slots"])):
            theirs, took = adapter(model, "local_written", users)
            answer[name] = {
                "said": [a.answer == b["text"] for a, b in zip(theirs, alone, strict=True)],
                **{
                    figure: [a.scores[figure] == b[figure] for a, b in zip(theirs, alone, strict=True)]
                    for figure in ("accuracy", "accuracy_strict")
                },
                "right": [a.scores["accuracy"] for a in theirs],
                "seconds": took,
            }
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
