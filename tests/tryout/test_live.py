"""Try-outs for real: a host, llama.cpp and real weights."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from trilemma.bench.joint import request_of
from trilemma.engines.base import LoadedModel
from trilemma.jobs.local import LocalExecutor
from trilemma.schema import Artifact, Configuration, Method
from trilemma.settings import Settings
from trilemma.suites.generation import Turn
from trilemma.tryout.messages import Ask, Contender, Question
from trilemma.tryout.rounds import Answer, Round, State

pytestmark = pytest.mark.llama

PROMPT = "Name three colours."


def contender(weights: Artifact, **settings: int) -> Contender:
    configuration = Configuration(artifact_id=weights.id, engine="llama.cpp", settings=dict(settings))
    return Contender(configuration=configuration, artifact=weights)


def begin(settings: Settings, *contenders: Contender, max_tokens: int = 24) -> Round:
    return Round(settings, Ask(contenders=contenders, question=Question(prompt=PROMPT, max_tokens=max_tokens)))


def finish(found: Round) -> list[Answer]:
    found.join(60)
    assert found.over
    return [*found.answers.values()]


def until(told: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def descendants(module: str = "trilemma.tryout") -> list[int]:
    """Our children, and theirs, that run a module of the try-out."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any(part.startswith(module) for part in process.cmdline()):
                found.append(process.pid)
    return found


def test_configurations_answer_one_at_a_time_as_the_engine_does(
    settings: Settings, smollm2: LoadedModel, smollm2_artifact: Artifact
) -> None:
    found = begin(settings, contender(smollm2_artifact, context=512), contender(smollm2_artifact, context=256))
    highest = 0
    while not found.over:
        highest = max(highest, len(descendants("trilemma.tryout.answering")))
        time.sleep(0.02)
    assert highest == 1
    answers = finish(found)
    assert LocalExecutor(settings).reserve(settings.device) is not None
    assert descendants() == []
    request = request_of(smollm2, Turn(24, messages=({"role": "user", "content": PROMPT},)))
    expected = smollm2.detokenize(smollm2.generate(request).tokens)
    ends = []
    for answer in answers:
        assert answer.state is State.DONE, answer.reason + answer.log
        assert answer.text == expected
        written, reading = answer.written, answer.reading
        assert written is not None
        assert reading is not None
        assert written.tokens <= 24
        assert written.ttft_s is not None
        assert written.decode_tps is not None
        assert written.last_ns is not None
        # Its real speed: what its own clock says, not how often it was told.
        assert written.decode_tps == pytest.approx(
            (written.tokens - 1) * 1e9 / (written.last_ns - (written.first_ns or 0))
        )
        assert reading.memory_bytes is not None
        assert 0.5 * smollm2_artifact.size_bytes < reading.memory_bytes < 10 * smollm2_artifact.size_bytes
        assert reading.mean
        assert reading.method in (Method.MEASURED, Method.MODELLED, None)
        ends.append((written.submitted_ns, written.last_ns))
    assert ends[0][1] < ends[1][0]


def test_stopping_ends_the_processes_and_keeps_what_is_written(settings: Settings, smollm2_artifact: Artifact) -> None:
    found = begin(settings, *[contender(smollm2_artifact, context=size) for size in (2048, 512)], max_tokens=1500)
    until(lambda: next(iter(found.look().values())).written)
    found.stop()
    first, second = finish(found)
    assert (first.state, second.state) == (State.STOPPED, State.STOPPED)
    assert first.text
    assert second.written is None
    assert descendants() == []


def test_a_crash_is_shown_and_the_next_one_answers(settings: Settings, smollm2_artifact: Artifact) -> None:
    found = begin(settings, *[contender(smollm2_artifact, context=size) for size in (2048, 512)], max_tokens=1500)
    until(lambda: next(iter(found.look().values())).written)
    (answering,) = descendants("trilemma.tryout.answering")
    os.kill(answering, signal.SIGSEGV)
    until(lambda: [*found.look().values()][1].written)
    found.stop()
    first, second = finish(found)
    assert first.state is State.FAILED
    assert "The engine crashed (SIGSEGV)" in first.reason
    assert second.state is State.STOPPED


def test_what_an_engine_refuses_is_said(settings: Settings, smollm2_artifact: Artifact) -> None:
    (answer,) = finish(begin(settings, contender(smollm2_artifact, context=16)))
    assert answer.state is State.FAILED
    assert "context" in answer.reason
