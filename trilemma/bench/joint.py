"""Suites whose answers are written: asked under the study's concurrency, each request timed, the meters on.

Runs in the measured process. The very answers that are scored are the ones that are timed and metered; they are graded
when the last one is in, so that grading costs nothing that counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from trilemma.bench.channel import Channel
from trilemma.bench.child_figures import record_of
from trilemma.bench.events import AnswerEvent, MeasurementEvent, RequestEvent
from trilemma.bench.stopping import Rival, Stopping, stopped_measurements
from trilemma.engines.base import Generation, GenerationRequest, LoadedModel, Prompt, Server, ServingModel, TextModel
from trilemma.errors import EngineError
from trilemma.records import AnswerRecord
from trilemma.schema import Phase, SuiteSpec
from trilemma.suites.generation import GenerationSuite, Grade, Reply, Script, Task, Turn
from trilemma.workloads.dialogues import Dialogue, Heard, converse
from trilemma.workloads.in_flight import OneAtATime

_WARMUP_TOKENS = 4


def request_of(model: LoadedModel, turn: Turn) -> GenerationRequest:
    """A turn as the engine takes it; of the answer's tokens no more than the context has room for beside the prompt."""
    if isinstance(model, TextModel):
        prompt: list[int] = []
        room = turn.max_tokens
    else:
        prompt = model.chat_prompt(turn.messages) if turn.messages else model.tokenize(turn.text)
        # Where there is no room at all the engine is asked nevertheless: it refuses, and says why.
        room = max(1, model.context_length - len(prompt))
    return GenerationRequest(
        prompt,
        min(turn.max_tokens, room),
        text=turn.text,
        temperature=turn.temperature,
        seed=turn.seed,
        messages=turn.messages,
        stop=turn.stop,
        schema=turn.schema,
    )


def reply_of(model: LoadedModel, turn: Turn, request: GenerationRequest, generation: Generation) -> Reply:
    """What the suite gets to see of an answer."""
    text = generation.text if not generation.tokens else model.detokenize(generation.tokens)
    found = [place for stop in turn.stop if (place := text.find(stop)) >= 0]
    tokens = len(generation.token_times_ns)
    cut = tokens >= request.max_tokens and not found
    return Reply(text[: min(found)] if found else text, generation.error, cut, tokens)


def dialogue(model: LoadedModel, script: Script) -> Dialogue[Any]:
    """A script in the engine's terms."""
    try:
        turn = next(script)
        while True:
            request = request_of(model, turn)
            generation = yield request
            turn = script.send(reply_of(model, turn, request, generation))
    except StopIteration as end:
        return end.value


def run_generation_suite(
    suite: GenerationSuite,
    model: LoadedModel,
    spec: SuiteSpec,
    channel: Channel,
    expected_s: float,
    rivals: Sequence[Rival] = (),
) -> list[AnswerRecord]:
    """Have every task done, then grade them; returns what was sent.

    With a stopping rule answers are graded as they come, in order, and no task begins once its place is decided.

    Raises:
        EngineError: the engine failed, or takes one request at a time only and more are wanted.
        SuiteDataError: the questions cannot be had.
        StudyError: an option is wrong.
    """
    tasks = suite.tasks(spec)
    asked: defaultdict[int, list[tuple[int, Generation]]] = defaultdict(list)
    outcomes: dict[int, Any] = {}
    count = 0
    early = _Early(suite, spec, tasks, rivals)

    def heard(answer: Heard) -> None:
        nonlocal count
        told = "\n\n".join(f"{m['role']}: {m['content']}" for m in answer.request.messages) or answer.request.text
        prompt = Prompt(answer.request.prompt, told)
        record = record_of(model, prompt, spec.subject, count, answer.generation, warmup=False)
        channel.send(RequestEvent(record=record))
        asked[answer.position].append((count, answer.generation))
        count += 1

    def over(position: int, outcome: Any) -> None:
        outcomes[position] = outcome
        early.look(outcomes)
        done = len(outcomes)
        channel.advance(expected_s, done / len(tasks), f"{suite.title}: {done} of {len(tasks)}")

    _warm_up(model, suite.script(tasks[0], spec))
    dialogues = [dialogue(model, suite.script(task, spec)) for task in tasks]
    server = server_for(model, spec.concurrency)
    with channel.phase(Phase.GENERATION, spec.subject):
        converse(server, dialogues, spec.concurrency, heard, over, lambda: bool(early.why))
    answers = []
    with channel.phase(Phase.PERFORMANCE, spec.name):
        for position in sorted(outcomes):
            task = tasks[position]
            grade = early.grades.get(position) or suite.grade(task, outcomes[position], spec)
            record = _answer_record(suite, task, position, grade, asked[position])
            channel.send(AnswerEvent(record=record))
            answers.append(record)
    found = suite.measurements(answers, spec)
    if early.why and spec.stopping:
        found = stopped_measurements(found, answers, len(tasks), early.why, spec.stopping.error)
    for measurement in found:
        channel.send(MeasurementEvent(measurement=measurement))
    return answers


class _Early:
    """Grades answers as they come, if the suite may stop early, and says when and why it does."""

    def __init__(self, suite: GenerationSuite, spec: SuiteSpec, tasks: Sequence[Task], rivals: Sequence[Rival]) -> None:
        self.grades: dict[int, Grade] = {}
        self.why = ""
        self._suite, self._spec, self._tasks = suite, spec, tasks
        looks = spec.stopping if suite.grades_quickly else None
        self._stopping = Stopping(looks, len(tasks), rivals) if looks else None

    def look(self, outcomes: Mapping[int, Any]) -> None:
        """Grade what can be graded in order."""
        while self._stopping and not self.why and (place := len(self.grades)) in outcomes:
            task = self._tasks[place]
            grade = self.grades[place] = self._suite.grade(task, outcomes[place], self._spec)
            self.why = self._stopping.add(_answer_record(self._suite, task, place, grade, []))


def server_for(model: LoadedModel, users: int) -> Server:
    """What answers ``users`` at once.

    Raises:
        EngineError: the engine takes one request at a time only, and more are wanted.
    """
    if users == 1:
        return OneAtATime(model)
    if not isinstance(model, ServingModel):
        raise EngineError("This engine answers one request at a time.", "Set the suite's concurrency to 1.")
    return model.server()


def _warm_up(model: LoadedModel, script: Script) -> None:
    """Have the beginning of an answer made that nobody counts."""
    turn = next(script)
    script.close()
    request = request_of(model, turn)
    server = OneAtATime(model)
    few = min(_WARMUP_TOKENS, request.max_tokens)
    server.submit(GenerationRequest(request.prompt, few, text=request.text, messages=request.messages))
    server.step()


def _answer_record(
    suite: GenerationSuite, task: Task, index: int, grade: Grade, asked: list[tuple[int, Generation]]
) -> AnswerRecord:
    generations = [generation for _, generation in asked]
    errors = [generation.error for generation in generations if generation.error]
    begins = [generation.submitted_ns for generation in generations]
    ends = [g.token_times_ns[-1] if g.token_times_ns else g.submitted_ns for g in generations]
    costs: dict[str, JsonValue] = {
        "requests": [number for number, _ in asked],
        "steps": len(asked),
        "output_tokens": sum(len(generation.token_times_ns) for generation in generations),
        "seconds": (max(ends) - min(begins)) / 1e9 if asked else 0.0,
    }
    if errors:
        costs["error"] = errors[0]
    if task.source:
        costs["source"] = task.source
    return AnswerRecord(
        suite=suite.name,
        item_id=f"{task.id}#{task.sample}" if task.sample else task.id,
        index=index,
        prompt=task.question,
        answer=grade.answer,
        expected=task.expected,
        scores=grade.scores,
        detail={**grade.detail, **costs},
    )
