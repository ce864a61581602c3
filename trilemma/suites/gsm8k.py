"""GSM8K: word problems of grade school, worked out in words (Cobbe et al. 2021, arXiv:2110.14168)."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import Field

from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.generation import (
    GenerationOptions,
    GenerationSuite,
    Grade,
    Reply,
    Script,
    Task,
    Turn,
    ask_once,
    picked,
)

_LIMIT = 256
_STOPS = ("Question:", "</s>", "<|im_end|>")
_NUMBER = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_MARKED = re.compile(r"#### (\-?[0-9\.\,]+)")

_EXAMPLES = (
    (
        "A baker packs rolls into bags of 6. On Monday she packs 7 bags, on Tuesday 3 bags more than on Monday. How "
        "many rolls does she pack on both days together?",
        "On Tuesday she packs 7 + 3 = 10 bags. Together that is 7 + 10 = 17 bags, so 17 * 6 = 102 rolls.",
        "102",
    ),
    (
        "A train ticket costs $18. Children pay half. How much do 2 adults and 3 children pay?",
        "A child pays 18 / 2 = 9 dollars. The adults pay 2 * 18 = 36 dollars and the children 3 * 9 = 27 dollars, "
        "together 36 + 27 = 63 dollars.",
        "63",
    ),
    (
        "A tank holds 240 litres and is three quarters full. A pump takes out 15 litres a minute. After how many "
        "minutes is the tank empty?",
        "The tank holds 240 * 3 / 4 = 180 litres. The pump needs 180 / 15 = 12 minutes.",
        "12",
    ),
    (
        "Mira reads 24 pages a day. Her book has 500 pages, and she has read it for 15 days. How many pages are left?",
        "In 15 days she reads 15 * 24 = 360 pages. 500 - 360 = 140 pages are left.",
        "140",
    ),
    (
        "A shop sells pens in boxes of 12 for $9. A school needs 60 pens. What does it pay?",
        "The school needs 60 / 12 = 5 boxes. They cost 5 * 9 = 45 dollars.",
        "45",
    ),
)
"""Worked examples of our own, in the form of the data set's answers."""


class Gsm8kOptions(GenerationOptions):
    """How many worked examples come before the question."""

    shots: int = Field(default=5, ge=0, le=len(_EXAMPLES), title="Worked examples")


def plain_number(text: str) -> str:
    """A number as it is compared: without dollar signs, thousands separators and a full stop at its end."""
    return re.sub(r"\.$", "", re.sub(r"[,$]", "", text)).strip()


def last_number(text: str) -> str:
    """The last number in ``text`` as it is compared, empty if there is none: the harness's flexible-extract."""
    found = _NUMBER.findall(text)
    return plain_number(next(part for part in found[-1] if part)) if found else ""


class Gsm8k(GenerationSuite):
    """The last number of the answer has to be the right one; ``accuracy_strict`` wants it marked with ``####``.

    Wording, stops and both ways to find the number are those of lm-evaluation-harness 0.4's ``gsm8k``; the examples
    are not, since the package's data has no worked answers.
    """

    name: ClassVar[str] = "gsm8k"
    title: ClassVar[str] = "GSM8K"
    licence: ClassVar[str] = "MIT"
    figures: ClassVar[tuple[str, ...]] = ("accuracy", "accuracy_strict")
    options_type: ClassVar[type[GenerationOptions]] = Gsm8kOptions
    dataset: ClassVar[data.Dataset] = data.Dataset("gsm8k.jsonl", "openai/gsm8k", "main", "test")
    prompt_tokens: ClassVar[int] = 500
    answer_tokens: ClassVar[int] = 120

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """The hub's answers end with ``#### 18``; the package's are the number alone."""
        self.options(spec)
        rows = data.load(self.dataset)
        tasks = (
            Task(
                f"{self.name}/{row.index}",
                row.text("question"),
                plain_number(row.text("answer").rpartition("####")[2]),
                source=rows.source,
            )
            for row in rows.rows
        )
        return picked(tasks, spec)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """One answer, after the worked examples."""
        options = self.options(spec)
        shots = [f"Question: {q}\nAnswer: {how}\n#### {a}\n\n" for q, how, a in _EXAMPLES[: options.shots]]
        return ask_once(
            Turn(
                options.max_tokens or _LIMIT,
                text=f"{''.join(shots)}Question: {task.question}\nAnswer:",
                stop=_STOPS,
                temperature=options.temperature,
                seed=spec.seed,
            )
        )

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """By the last number, and by the one after the mark."""
        reply: Reply = outcome
        found = last_number(reply.text)
        marked = _MARKED.search(reply.text)
        strict = plain_number(marked[1]) if marked else ""
        scores = {"accuracy": float(found == task.expected), "accuracy_strict": float(strict == task.expected)}
        return Grade(reply.text, scores, {"found": found, "found_strict": strict, "cut": reply.cut})
