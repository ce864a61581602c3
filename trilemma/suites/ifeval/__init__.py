"""IFEval: instructions whose following a program can check (Zhou et al. 2023, arXiv:2311.07911)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import JsonValue

from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, SuiteSpec
from trilemma.suites import data
from trilemma.suites.generation import GenerationSuite, Grade, Reply, Script, Task, Turn, ask_once, picked
from trilemma.suites.ifeval.instructions import CHECKS, Check
from trilemma.workloads.latency import bootstrap

_LIMIT = 1280
_PER_INSTRUCTION = {"instruction_accuracy": "strict", "instruction_accuracy_loose": "loose"}


@dataclass(frozen=True)
class Instruction:
    """One thing that a prompt asks for: its kind, its arguments, and how an answer is checked for it."""

    id: str
    arguments: dict[str, JsonValue]
    check: Check

    def followed(self, answers: Sequence[str]) -> bool:
        """Whether one of ``answers`` follows it; one that is blank follows none."""
        return any(answer.strip() and self.check(answer) for answer in answers)


def instructions_of(row: data.Row) -> tuple[Instruction, ...]:
    """The instructions of a record in the package's form or the hub's, which names all arguments of all kinds.

    Raises:
        SuiteDataError: a kind is unknown, or an argument is missing or wrong.
    """
    ids, arguments = row.texts("instruction_id_list"), row.values.get("kwargs")
    if not isinstance(arguments, list) or len(arguments) != len(ids):
        raise row.error("'kwargs' is missing or no list as long as 'instruction_id_list'")
    found = []
    for kind, given in zip(ids, arguments, strict=True):
        if kind not in CHECKS:
            raise row.error(f"{kind!r} is no known instruction")
        if not isinstance(given, dict):
            raise row.error(f"the arguments of {kind!r} are no record")
        set_ = {name: value for name, value in given.items() if value}
        found.append(Instruction(kind, set_, CHECKS[kind](data.Row(set_, row.place, row.index))))
    return tuple(found)


def loosened(answer: str) -> list[str]:
    """``answer`` and what is left without its first line, its last or both, each also without asterisks."""
    lines = answer.split("\n")
    shorter = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return list(dict.fromkeys(form for text in (answer, *shorter) for form in (text, text.replace("*", ""))))


class IfEval(GenerationSuite):
    """Every instruction of a prompt has to be followed; loosely, in one of the answer's eight forms.

    Prompts, limit and verdicts are those of lm-evaluation-harness 0.4's ``ifeval``, asked as a conversation. Grading
    waits for the end: the profiles of 55 languages take memory and time that must not be metered.
    """

    name: ClassVar[str] = "ifeval"
    title: ClassVar[str] = "IFEval"
    licence: ClassVar[str] = "Apache-2.0"
    figures: ClassVar[tuple[str, ...]] = ("accuracy", "accuracy_loose", *_PER_INSTRUCTION)
    grades_quickly: ClassVar[bool] = False
    dataset: ClassVar[data.Dataset] = data.Dataset("ifeval.jsonl", "google/IFEval", "default", "train")
    prompt_tokens: ClassVar[int] = 70
    answer_tokens: ClassVar[int] = 350

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """The prompts, with what each asks for."""
        self.options(spec)
        rows = data.load(self.dataset)
        tasks = (
            Task(f"{self.name}/{row.index}", row.text("prompt"), data=instructions_of(row), source=rows.source)
            for row in rows.rows
        )
        return picked(tasks, spec)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """The prompt as the user's message, with nothing before it."""
        options = self.options(spec)
        return ask_once(
            Turn(
                options.max_tokens or _LIMIT,
                messages=({"role": "user", "content": task.question},),
                temperature=options.temperature,
                seed=spec.seed,
            )
        )

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """All instructions followed by the answer as it is, and by one of its forms."""
        reply: Reply = outcome
        forms = loosened(reply.text)
        verdicts: list[JsonValue] = []
        all_strict = all_loose = True
        for one in task.data:
            strict = one.followed([reply.text])
            loose = strict or one.followed(forms[1:])
            all_strict, all_loose = all_strict and strict, all_loose and loose
            verdicts.append({"id": one.id, "kwargs": one.arguments, "strict": strict, "loose": loose})
        scores = {"accuracy": float(all_strict), "accuracy_loose": float(all_loose)}
        return Grade(reply.text, scores, {"instructions": verdicts, "cut": reply.cut})

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """Shares of prompts, and shares of instructions, whose interval comes from resampling prompts."""
        found = super().measurements(answers, spec)
        if not answers:
            return found
        failures = found[0].provenance.reasons[1:]
        return [_per_instruction(one, answers, failures) if one.figure in _PER_INSTRUCTION else one for one in found]


def _per_instruction(empty: Measurement, answers: Sequence[AnswerRecord], reasons: tuple[str, ...]) -> Measurement:
    """Instructions followed over instructions asked: a prompt with three counts for three."""
    key = _PER_INSTRUCTION[empty.figure]
    verdicts: list[Any] = [answer.detail["instructions"] for answer in answers]
    followed = np.array([sum(bool(one[key]) for one in each) for each in verdicts], dtype=np.float64)
    asked = np.array([len(each) for each in verdicts], dtype=np.float64)
    share = bootstrap((followed, asked), lambda f, a, axis=-1: np.asarray(f.sum(axis=axis) / a.sum(axis=axis)))
    reasons = ("95 % interval by resampling prompts", *reasons)
    return empty.model_copy(
        update={
            "value": share.value,
            "low": share.low,
            "high": share.high,
            "n": int(asked.sum()),
            "provenance": empty.provenance.model_copy(update={"valid": True, "reasons": reasons}),
        }
    )
