"""HumanEval: functions written to their description (Chen et al. 2021, arXiv:2107.03374)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from trilemma.suites import data
from trilemma.suites.code.extract import completed, continued
from trilemma.suites.code.program import CodeSuite, Problem
from trilemma.suites.generation import Task


class HumanEval(CodeSuite):
    """A function's head and description are gone on with, and the function has to go through hidden tests.

    Prompt, stops and how the program is put together are those of the paper and of lm-evaluation-harness 0.4's
    ``humaneval``. As a chat the whole function is asked for, in words of our own.
    """

    name: ClassVar[str] = "humaneval"
    title: ClassVar[str] = "HumanEval"
    licence: ClassVar[str] = "MIT"
    dataset: ClassVar[data.Dataset] = data.Dataset(
        "humaneval.jsonl", "openai/openai_humaneval", "openai_humaneval", "test"
    )
    stops: ClassVar[tuple[str, ...]] = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
    limit: ClassVar[int] = 512
    prompt_tokens: ClassVar[int] = 180
    answer_tokens: ClassVar[int] = 200

    def problems(self) -> Iterator[Task]:
        """The functions."""
        rows = data.load(self.dataset)
        for row in rows.rows:
            name = row.text("entry_point")
            tests = f"{row.text('test')}\ncheck({name})\n"
            yield Task(
                row.text("task_id"),
                row.text("prompt"),
                row.text("canonical_solution"),
                Problem(row.text("prompt"), tests, name),
                source=rows.source,
            )

    def asked(self, problem: Problem) -> str:
        """The head and description of the function, in a fenced block."""
        return (
            f"Write this Python function. Reply with all of it, imports included, in one fenced block.\n\n"
            f"```python\n{problem.prompt.strip()}\n```"
        )

    def program(self, problem: Problem, answer: str, chat: bool) -> str:
        """The prompt and its continuation, or the function out of a chat's answer."""
        return completed(problem.prompt, answer, problem.name) if chat else continued(problem.prompt, answer)
