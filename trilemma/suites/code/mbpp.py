"""MBPP: small programs to a sentence and three assertions (Austin et al. 2021, arXiv:2108.07732)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from trilemma.suites import data
from trilemma.suites.code.extract import fenced
from trilemma.suites.code.program import CodeSuite, Problem
from trilemma.suites.generation import Task


class Mbpp(CodeSuite):
    """The task and its assertions are shown as the description of a module, which is gone on with.

    No worked example. Form and stops are those of bigcode-evaluation-harness's ``mbpp``, which shows the first
    assertion only; here all are shown, as in the paper. The data are the 500 items of the test split. As a chat the
    program is asked for in words of our own.
    """

    name: ClassVar[str] = "mbpp"
    title: ClassVar[str] = "MBPP"
    licence: ClassVar[str] = "CC-BY-4.0"
    dataset: ClassVar[data.Dataset] = data.Dataset("mbpp.jsonl", "google-research-datasets/mbpp", "full", "test")
    stops: ClassVar[tuple[str, ...]] = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n<|/", "\n```")
    limit: ClassVar[int] = 512
    prompt_tokens: ClassVar[int] = 150
    answer_tokens: ClassVar[int] = 100

    def problems(self) -> Iterator[Task]:
        """The tasks; the hub has assertions one by one, and code that some of them need before."""
        rows = data.load(self.dataset)
        for row in rows.rows:
            hub = "test_list" in row
            text = row.text("text" if hub else "prompt").strip()
            # What assertions need comes before them, and after the program, whose classes it may use.
            parts = (row.text("test_setup_code"), *row.texts("test_list")) if hub else (row.text("test"),)
            tests = "\n".join(part for part in parts if part)
            number = row.number("task_id", 1 << 31) if hub else row.text("task_id").removeprefix("MBPP/")
            prompt = f'"""\n{text}\n{tests.strip()}\n"""\n'
            yield Task(f"MBPP/{number}", f"{text}\n{tests}", tests, Problem(prompt, tests), source=rows.source)

    def asked(self, problem: Problem) -> str:
        """The task and its assertions."""
        return f"Write a Python program for this task. Reply with it alone, in one fenced block.\n\n{problem.prompt}"

    def program(self, problem: Problem, answer: str, chat: bool) -> str:
        """The continuation, or the fenced block of a chat's answer if it has one."""
        block = fenced(answer) if chat else None
        return answer if block is None else block
