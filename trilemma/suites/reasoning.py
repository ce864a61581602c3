"""Reasoning problems that a generator makes from the seed, so that no model can have seen them.

Problems and marks are those of the package ``reasoning-gym`` (Stojanovski et al. 2025, arXiv:2505.24760, Apache-2.0).
It brings some 80 MB of libraries with it. So that a run's memory does not count them, a process of its own makes the
problems, and the measured one imports the package only to mark the answers, when all are in.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
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
_MAKING_S = 300.0
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
    grades_quickly: ClassVar[bool] = False
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
            SuiteDataError: the package is missing or broken.
        """
        options = self.options(spec)
        here = self.availability()
        if not here.available:
            raise SuiteDataError(here.detail, here.remedy)
        source = f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}, seed {spec.seed}"
        tasks = [
            Task(f"{self.name}/{name}/{index}", asked, answer, (name, index), source=source)
            for name, problems in _made_apart(options.tasks, spec.seed, options.per_task).items()
            for index, (asked, answer) in enumerate(problems)
        ]
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
        name, index = task.data
        made = _generator(name, spec.seed, self.options(spec).per_task)
        found = final_answer(reply.text)
        detail = {"task": name, "found": found, "cut": reply.cut}
        try:
            mark = min(1.0, max(0.0, float(made.score_answer(found, made[index])))) if found else 0.0
        except Exception as error:  # whatever somebody else's code raises at a strange answer: that is a wrong one
            detail["reason"] = f"the answer could not be marked ({type(error).__name__})"
            mark = 0.0
        return Grade(found, {"accuracy": float(mark >= 1.0), "partial_credit": mark}, detail)


@functools.lru_cache(maxsize=len(TASKS))
def _generator(name: str, seed: int, size: int) -> Any:
    """The package's generator of that name: a sequence of ``size`` problems that also marks answers to them."""
    import reasoning_gym  # noqa: PLC0415 (optional, and heavy)

    # The package counts up from its seed, problem by problem: neighbouring seeds of ours must share none.
    own = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4]) % 2**31
    return reasoning_gym.create_dataset(name, seed=own, size=size)


def _made_apart(names: Sequence[str], seed: int, size: int) -> dict[str, list[tuple[str, str]]]:
    """Questions and answers by generator, made in another process.

    Raises:
        SuiteDataError: it failed.
    """
    command = [sys.executable, "-m", __spec__.name, json.dumps([list(names), seed, size])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_MAKING_S)
    except (OSError, subprocess.SubprocessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise SuiteDataError(
            f"{DISTRIBUTION} made no problems ({said[-1]}).", f"Install it again: {INSTALL}."
        ) from error
    made: dict[str, list[tuple[str, str]]] = json.loads(done.stdout.splitlines()[-1])
    return made


def main(arguments: str) -> None:
    """Write the problems that ``arguments`` (JSON: names, seed, size) ask for as one line of JSON."""
    names, seed, size = json.loads(arguments)
    made = {}
    for name in names:
        generator = _generator(name, seed, size)
        entries = (generator[index] for index in range(size))
        made[name] = [(entry["question"].strip(), entry["answer"]) for entry in entries]
    sys.stdout.write("\n" + json.dumps(made) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
