"""The user's own questions: a file of them, each scored as it says or as the study says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from trilemma.engines.base import Availability, Message
from trilemma.errors import StudyError
from trilemma.records import AnswerRecord
from trilemma.schema import Measurement, SuiteSpec
from trilemma.settings import get_settings
from trilemma.suites.custom import file, scoring
from trilemma.suites.custom.judge import WORDING, Judge
from trilemma.suites.custom.question import LETTERS, MAX_ANSWER, Question, Scoring
from trilemma.suites.generation import (
    GenerationOptions,
    GenerationSuite,
    Grade,
    Reply,
    Script,
    Task,
    Turn,
    ask_once,
    item_means,
    picked,
)
from trilemma.suites.shares import mean_measurement, source_of

_LIMIT = 256
_LONG_LIMIT = 512


class OwnOptions(GenerationOptions):
    """Which file, and what goes for rows that do not say so themselves."""

    file: str = Field(pattern=r"^[0-9a-f]{64}$", title="File", description="The SHA-256 of the file that was added.")
    scoring: Scoring = Field(
        default="exact", title="Scoring", description="For rows without one in the column scoring."
    )
    system: str = Field(
        default="", max_length=MAX_ANSWER, title="System prompt", description="For rows without one in the file."
    )
    ignore_case: bool = Field(
        default=False, title="Ignore case", description="Capitals and small letters are the same to exact and regex."
    )
    number: Literal["first", "last"] = Field(
        default="last", title="Number that counts", description="Which of an answer's numbers numeric looks at."
    )
    tolerance: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, title="Tolerance", description="How far off a number may be."
    )
    constrain: bool = Field(
        default=False,
        title="Answer under the schema",
        description="The model can write nothing but what keeps to a row's JSON schema.",
    )
    judge_url: str = Field(
        default="",
        max_length=2000,
        title="Judge's address",
        description="Such as http://127.0.0.1:8000/v1",
        json_schema_extra={"not_from_links": True},
    )
    judge_model: str = Field(default="", max_length=200, title="Judge's model", description="Its name at that address.")
    judge_key_env: str = Field(
        default="",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]{0,127})?$",
        title="Judge's key from the variable",
        description="NAME of the environment variable that holds the key. The key itself is never written anywhere.",
        json_schema_extra={"not_from_links": True},
    )


class Own(GenerationSuite):
    """Each question is a conversation of its own: the system prompt if there is one, and the question."""

    name: ClassVar[str] = "own"
    title: ClassVar[str] = "Your own questions"
    licence: ClassVar[str] = ""
    options_type: ClassVar[type[GenerationOptions]] = OwnOptions
    grades_quickly: ClassVar[bool] = False
    """A judge takes its time."""
    prompt_tokens: ClassVar[int] = 150
    answer_tokens: ClassVar[int] = 100

    def __init__(self) -> None:
        self._judge: Judge | None = None

    def availability(self) -> Availability:
        """Whether a file was added."""
        count = len(file.known(get_settings().questions_dir))
        if not count:
            return Availability(False, "No file was added yet.", "`trilemma questions add FILE` adds one.")
        return Availability(True, f"{count} file{'s' if count > 1 else ''} of yours.")

    def tasks(self, spec: SuiteSpec) -> list[Task]:
        """The rows of the file; that there is a judge, where one is needed, is made sure of before anything is asked.

        Raises:
            SuiteDataError: the file is gone, was changed, or a row is wrong.
            StudyError: an option is wrong, or a judge is needed and not given.
            CatalogError: the judge's address is malformed, or its key not there.
        """
        options: OwnOptions = self.options(spec)
        questions = file.checked(file.content(get_settings().questions_dir, options.file), options.scoring)
        self._judge = _judge_of(options) if any(one.scoring == "judge" for one in questions) else None
        source = f"file {options.file[:12]}"
        tasks = (
            Task(f"{self.name}/{options.file[:12]}/{one.row}", one.question, one.expected, data=one, source=source)
            for one in questions
        )
        return picked(tasks, spec)

    def script(self, task: Task, spec: SuiteSpec) -> Script:
        """One answer; choices are listed by letter below the question."""
        options: OwnOptions = self.options(spec)
        question: Question = task.data
        long = question.scoring in ("json_schema", "judge")
        schema = question.json_schema if options.constrain and question.scoring == "json_schema" else ""
        return ask_once(
            Turn(
                options.max_tokens or (_LONG_LIMIT if long else _LIMIT),
                messages=tuple(_conversation(question, options.system)),
                schema=schema,
                temperature=options.temperature,
                seed=spec.seed,
            )
        )

    def grade(self, task: Task, outcome: Any, spec: SuiteSpec) -> Grade:
        """As the row's scoring says; an answer without a verdict of its judge has no score."""
        reply: Reply = outcome
        options: OwnOptions = self.options(spec)
        question: Question = task.data
        told = {"scoring": question.scoring, "cut": reply.cut}
        if reply.error:
            return Grade(reply.text, {"accuracy": 0.0}, {**told})
        if question.scoring == "judge":
            return self._judged(question, reply.text, told)
        rules = scoring.Rules(options.ignore_case, options.number, options.tolerance)
        verdict = scoring.SCORERS[question.scoring](question, reply.text, rules)
        return Grade(reply.text, {"accuracy": float(verdict.right)}, {**told, "found": verdict.found, **verdict.detail})

    def _judged(self, question: Question, answer: str, told: dict[str, Any]) -> Grade:
        assert self._judge is not None, "tasks() makes it"
        ruling = self._judge.rule(question, answer)
        scores = {} if ruling.right is None else {"accuracy": float(ruling.right)}
        detail = {**told, "judge_wording": WORDING, "judge_said": ruling.said}
        return Grade(answer, scores, detail | ({"judge_error": ruling.error} if ruling.error else {}))

    def measurements(self, answers: Sequence[AnswerRecord], spec: SuiteSpec) -> list[Measurement]:
        """The share of right answers, under the file's name: two files are two sets of questions."""
        failed = sum(bool(answer.detail.get("error")) for answer in answers)
        unjudged = sum("judge_error" in answer.detail for answer in answers)
        reasons = [f"{failed} of {len(answers)} answers failed and count as wrong"] if failed else []
        if unjudged:
            reasons.append(f"{unjudged} of {len(answers)} answers got no verdict from the judge and are left out")
        values = item_means(answers, "accuracy")
        subject = spec.model_copy(update={"concurrency": 1}).subject
        return [mean_measurement("accuracy", subject, values, source=source_of(answers), reasons=reasons)]


def _judge_of(options: OwnOptions) -> Judge:
    if not options.judge_url or not options.judge_model:
        raise StudyError(
            "The file has questions for a judge, and the study names none.", "Set judge_url and judge_model."
        )
    return Judge(options.judge_url, options.judge_model, options.judge_key_env)


def _conversation(question: Question, usual_system: str) -> list[Message]:
    system = question.system or usual_system
    text = question.question
    if question.scoring == "choice":
        listed = "\n".join(f"{letter}. {one}" for letter, one in zip(LETTERS, question.choices, strict=False))
        text = f"{text}\n\n{listed}\n\nAnswer with the letter of the right choice only."
    if question.scoring == "json_schema":
        text = f"{text}\n\nAnswer with JSON only, which keeps to this JSON schema:\n{question.json_schema}"
    said: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*said, {"role": "user", "content": text}]
