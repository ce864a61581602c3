"""SQuAD: questions whose answer is a stretch of a passage (Rajpurkar et al. 2016, arXiv:1606.05250)."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Any, ClassVar

from trilemma.schema import SuiteSpec
from trilemma.suites import data
from trilemma.suites.generation import GenerationSuite, Grade, Reply, Script, Task, Turn, ask_once, picked

_LIMIT = 64
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """As answers are compared: lower case, without ASCII punctuation and English articles, single spaces."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def token_f1(answer: str, expected: str) -> float:
    """The harmonic mean of precision and recall over words, as SQuAD 2.0's evaluation has it; 0 to 1.

    Words count as often as they come. Where either has no word left, they must both have none.
    """
    mine, theirs = Counter(normalised(answer).split()), Counter(normalised(expected).split())
    if not mine or not theirs:
        return float(mine == theirs)
    # 2PR/(P+R), with P = common/mine and R = common/theirs
    return 2 * (mine & theirs).total() / (mine.total() + theirs.total())


class Squad(GenerationSuite):
    """The passage with its title, the question, ``Answer:``; a line is written and compared with every gold answer.

    Wording is that of lm-evaluation-harness 0.4's ``squadv2``, and the better of the gold answers counts, as there. The
    questions are those of SQuAD 1.1: all of them can be answered.
    """

    name: ClassVar[str] = "squad"
    title: ClassVar[str] = "SQuAD"
    licence: ClassVar[str] = "CC-BY-SA-4.0"
    figures: ClassVar[tuple[str, ...]] = ("accuracy", "f1")
    dataset: ClassVar[data.Dataset] = data.Dataset("", "rajpurkar/squad", "plain_text", "validation")
    prompt_tokens: ClassVar[int] = 220
    answer_tokens: ClassVar[int] = 12

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """Each question has one to five gold answers; people are shown the first."""
        self.options(spec)
        rows = data.load(self.dataset)
        tasks = []
        for row in rows.rows:
            golds = row.inner("answers").texts("text")
            passage = f"Title: {row.text('title')}\n\nBackground: {row.text('context')}"
            asked = f"{passage}\n\nQuestion: {row.text('question')}"
            tasks.append(Task(f"{self.name}/{row.index}", asked, golds[0], golds, source=rows.source))
        return picked(tasks, spec)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """One answer, of one line."""
        options = self.options(spec)
        return ask_once(
            Turn(
                options.max_tokens or _LIMIT,
                text=f"{task.question}\n\nAnswer:",
                stop=("\n",),
                temperature=options.temperature,
                seed=spec.seed,
            )
        )

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """By the gold answer that it is nearest to."""
        reply: Reply = outcome
        golds = [gold for gold in task.data if normalised(gold)] or [""]
        # An answer that failed is no answer, not an empty one.
        exact = not reply.error and normalised(reply.text) in {normalised(gold) for gold in golds}
        f1 = 0.0 if reply.error else max(token_f1(reply.text, gold) for gold in golds)
        return Grade(reply.text.strip(), {"accuracy": float(exact), "f1": f1}, {"golds": list(golds), "cut": reply.cut})
