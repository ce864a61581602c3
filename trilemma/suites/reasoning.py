"""Reasoning problems that a generator makes from the seed, so that no model can have seen them.

Problems and marks are those of the package ``reasoning-gym`` (Stojanovski et al. 2025, arXiv:2505.24760, Apache-2.0).
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
from collections import deque
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, field_validator

from trilemma.engines.base import Availability
from trilemma.errors import SuiteDataError
from trilemma.schema import SuiteSpec
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
from trilemma.suites.options import listed

PACKAGE = "reasoning_gym"
DISTRIBUTION = "reasoning-gym"
INSTALL = "pip install 'trilemma[reasoning]'"
TASKS = (
    "calendar_arithmetic",
    "chain_sum",
    "family_relationships",
    "leg_counting",
    "letter_counting",
    "number_sequence",
    "spell_backward",
    "word_sorting",
)
"""Generators whose problems fit small models, and whose marking compares text and numbers: some of the package's
others evaluate the answer as code."""

_LIMIT = 256
_LONGEST = 1000
"""Characters of an answer that are marked."""
_FORM = "\n\nThink briefly, then write the result alone on a last line that begins with 'Answer:'."
_MARK = re.compile(r"\banswer[*_ ]{0,3}:", re.IGNORECASE)
_AROUND = " *_`\"'\t\r\n"


class ReasoningOptions(GenerationOptions):
    """Which generators, and how many problems of each."""

    tasks: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(default=TASKS, min_length=1, title="Generators")
    per_task: int = Field(default=20, ge=1, le=1000, title="Problems", description="Of each generator.")

    @field_validator("tasks")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Each once, and only those that are safe to mark."""
        unknown = [name for name in names if name not in TASKS]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(TASKS)}")
        return tuple(dict.fromkeys(names))


def final_answer(text: str) -> str:
    """What stands after the last ``Answer:``, up to the line's end; without any, the last line that is not empty.

    Marks of emphasis, quotation marks around it and a full stop at its end are left out.
    """
    marks = deque(_MARK.finditer(text), maxlen=1)
    lines = text[marks[0].end() if marks else 0 :].strip(_AROUND).splitlines() or [""]
    return lines[0 if marks else -1][:_LONGEST].strip(_AROUND).removesuffix(".").strip(_AROUND)


class Reasoning(GenerationSuite):
    """``accuracy`` counts the answers that get full marks from the package; ``partial_credit`` is the mean mark."""

    name: ClassVar[str] = "reasoning"
    title: ClassVar[str] = "Reasoning problems"
    licence: ClassVar[str] = "Apache-2.0"
    figures: ClassVar[tuple[str, ...]] = ("accuracy", "partial_credit")
    options_type: ClassVar[type[GenerationOptions]] = ReasoningOptions
    prompt_tokens: ClassVar[int] = 120
    answer_tokens: ClassVar[int] = 120

    def availability(self) -> Availability:
        """Whether the package is installed; it is not imported."""
        if importlib.util.find_spec(PACKAGE) is None:
            return Availability(False, f"The package {DISTRIBUTION} is not installed.", f"{INSTALL}.")
        return Availability(True, f"Made by the installed package {DISTRIBUTION}.")

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """``per_task`` problems of each generator; another seed has others.

        Raises:
            SuiteDataError: the package is missing.
        """
        options = self.options(spec)
        package = _package()
        source = f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}, seed {spec.seed}"
        tasks = []
        for name in options.tasks:
            made = package.create_dataset(name, seed=_seed(name, spec.seed), size=options.per_task)
            for index in range(options.per_task):
                entry = made[index]
                task_id = f"{self.name}/{name}/{index}"
                tasks.append(Task(task_id, entry["question"].strip(), entry["answer"], (name, made, entry), 0, source))
        return picked(tasks, spec)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """The problem, and how the answer is to be marked off."""
        options = self.options(spec)
        return ask_once(
            Turn(
                options.max_tokens or _LIMIT,
                messages=({"role": "user", "content": task.question + _FORM},),
                temperature=options.temperature,
                seed=spec.seed,
            )
        )

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """By the package's own ``score_answer``, which gives 0 to 1."""
        reply: Reply = outcome
        name, made, entry = task.data
        found = final_answer(reply.text)
        detail = {"task": name, "found": found, "cut": reply.cut}
        try:
            mark = min(1.0, max(0.0, float(made.score_answer(found, entry)))) if found else 0.0
        except Exception as error:  # whatever somebody else's code raises at a strange answer: that is a wrong one
            detail["reason"] = f"the answer could not be marked ({type(error).__name__})"
            mark = 0.0
        return Grade(found, {"accuracy": float(mark >= 1.0), "partial_credit": mark}, detail)


def _seed(name: str, seed: int) -> int:
    """The package counts up from its seed, item by item: neighbours must not share problems."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4]) % 2**31


def _package() -> Any:
    try:
        import reasoning_gym  # noqa: PLC0415 (optional, and heavy)
    except ImportError as error:
        raise SuiteDataError(f"The package {DISTRIBUTION} cannot be imported ({error}).", f"{INSTALL}.") from error
    return reasoning_gym
