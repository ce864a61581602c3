"""Any task of lm-evaluation-harness (EleutherAI, github.com/EleutherAI/lm-evaluation-harness) as a suite.

The harness builds the prompts and judges the answers; the study's own engine gives them, in the measured process.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from trilemma.engines.base import Availability, LoadedModel
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, SuiteSpec
from trilemma.suites.base import SuiteContext
from trilemma.suites.harness import results, tasks
from trilemma.suites.options import parse_options


class HarnessOptions(BaseModel):
    """Which task, and how it is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(
        min_length=1, max_length=150, title="Task", description="A task, group or tag that `lm-eval ls` lists."
    )
    shots: int | None = Field(
        default=None, ge=0, le=64, title="Worked examples", description="The task's own number if empty."
    )
    chat: bool = Field(default=False, title="Chat template", description="Ask in the model's chat template.")


class LmEval:
    """The task's own metrics: ``acc`` and ``exact_match`` are accuracy, others are statistics of ``score``."""

    name: ClassVar[str] = "lm_eval"
    title: ClassVar[str] = "lm-evaluation-harness"
    licence: ClassVar[str] = "MIT; each task's data has its own"
    figures: ClassVar[tuple[str, ...]] = (
        "accuracy",
        "accuracy_norm",
        "accuracy_strict",
        "score",
        "score_less_is_better",
    )
    options_type: ClassVar[type[HarnessOptions]] = HarnessOptions

    def availability(self) -> Availability:
        """Whether the harness is installed; a task's data is fetched when it is asked."""
        if importlib.util.find_spec(tasks.PACKAGE) is None:
            return Availability(False, "lm-evaluation-harness is not installed.", tasks.INSTALL)
        return Availability(True, f"{tasks.DISTRIBUTION} {tasks.version()}; most tasks download their questions.")

    def items(self, spec: SuiteSpec) -> list[str]:
        """The documents that ``spec`` picks: seeded, and the same for every configuration. Imports the harness.

        Raises:
            StudyError: there is no such task, or it cannot be asked here.
            SuiteDataError: the harness or the data is missing.
        """
        return [document.id for document in self._draw(spec).documents]

    def answers(self, model: LoadedModel, context: SuiteContext) -> Iterator[AnswerRecord]:
        """Have the harness ask everything, then give the answers in the seeded order.

        Raises:
            NotOfferedError: the engine does not give what the task needs.
            StudyError: there is no such task, or it cannot be asked here.
            SuiteDataError: the harness or the data is missing.
        """
        spec = context.spec
        options = parse_options(HarnessOptions, spec, self.title)
        drawn = self._draw(spec)
        from lm_eval.evaluator import evaluate  # noqa: PLC0415 (heavy, and not installed with Trilemma)

        from trilemma.suites.harness.model import EngineLM  # noqa: PLC0415

        asked = EngineLM(model, spec.concurrency, spec.seed, context.advance)
        found = evaluate(
            asked,
            {"tasks": dict(drawn.tasks)},
            samples=drawn.samples,
            bootstrap_iters=0,
            apply_chat_template=options.chat,
            fewshot_as_multiturn=options.chat,
        )
        scores = {title: results.Scores(title, found) for title in drawn.tasks}
        for index, document in enumerate(drawn.documents):
            task = drawn.tasks[document.task]
            made = results.record(self.name, index, task, document.task, document.number, scores[document.task])
            sample = scores[document.task].documents[document.number][0]
            contexts = [arguments[0] for arguments in sample["arguments"]]
            detail: dict[str, JsonValue] = {
                "source": f"{tasks.DISTRIBUTION} {tasks.version()}, {options.task}",
                "task_version": str(found["versions"].get(document.task, "")),
                "shots": int(task.get_config("num_fewshot") or 0),
                "truncated": any(text in asked.cut for text in contexts),
            }
            if error := next((asked.errors[text] for text in contexts if text in asked.errors), ""):
                detail["error"] = error
            if asked.unused:
                detail["unused_sampling"] = [*sorted(asked.unused)]
            yield made.model_copy(update={"detail": {**made.detail, **detail}})

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """The task's metrics; of a group, over the documents of all its tasks."""
        task = parse_options(HarnessOptions, spec, self.title).task
        reasons = []
        if shots := sorted({int(str(answer.detail["shots"])) for answer in answers}):
            reasons.append(f"worked examples: {', '.join(map(str, shots))}")
        if cut := sum(bool(answer.detail["truncated"]) for answer in answers):
            reasons.append(f"{cut} of {len(answers)} questions lost their beginning: longer than the context")
        if failed := sum("error" in answer.detail for answer in answers):
            reasons.append(f"{failed} of {len(answers)} answers failed and count as empty")
        unused = answers[0].detail.get("unused_sampling") if answers else None
        if isinstance(unused, list):
            reasons.append(f"sampled without the task's {', '.join(map(str, unused))}")
        return results.measurements(answers, f"{self.name} {task}", reasons)

    def _draw(self, spec: SuiteSpec) -> tasks.Drawn:
        options = parse_options(HarnessOptions, spec, self.title)
        return tasks.draw(options.task, options.shots, spec.limit, spec.seed)
