"""Recorded traces: what is taken, what is refused and where, and what becomes of it in a workload."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.engines.base import LoadedModel
from trilemma.errors import ContextError, StudyError
from trilemma.schema import WorkloadSpec
from trilemma.workloads import traces
from trilemma.workloads.load import ClosedLoop, OpenLoop
from trilemma.workloads.requests import asks, is_open_loop, lengths, schedule

CHAT = WorkloadSpec(name="short_chat", prompt_tokens=96, output_tokens=16, requests=4)


def data(*lines: object) -> bytes:
    return "\n".join(json.dumps(line) for line in lines).encode()


def test_lines_are_ordered_by_arrival_and_kept_under_their_hash(tmp_path: Path) -> None:
    raw = data({"arrival_s": 2.0, "prompt": "b"}, {"arrival_s": 0.5, "prompt": "a", "output_tokens": 7})
    digest = traces.add(tmp_path, raw)
    assert traces.known(tmp_path) == [digest]
    assert traces.find(tmp_path, digest[:8]) == digest
    assert [line.prompt for line in traces.load(tmp_path, digest)] == ["a", "b"]
    assert traces.add(tmp_path, raw) == digest
    (tmp_path / f"{digest}.jsonl").write_bytes(b'{"prompt": "other"}')
    with pytest.raises(StudyError, match="was changed"):
        traces.load(tmp_path, digest)
    with pytest.raises(StudyError, match="No trace begins"):
        traces.find(tmp_path, "0000")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "no request"),
        (b'{"prompt": "a"}\nnonsense', "Line 2 of the trace is no JSON object"),
        (b'{"output_tokens": 4}', "needs prompt, messages or prompt_tokens"),
        (b'{"prompt": "a", "surprise": 1}', "surprise"),
        (b'{"prompt_tokens": 0}', "prompt_tokens"),
        (b'{"prompt": "a", "arrival_s": -1}', "arrival_s"),
        (b'{"prompt": "a", "arrival_s": 1}\n{"prompt": "b"}', "1 of 2 lines"),
        (b"[" * 100_000, "no JSON object"),
        (b"[1, 2]", "Line 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(raw: bytes, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        traces.parse(raw)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_trace_or_refused(raw: bytes) -> None:
    with contextlib.suppress(StudyError):
        assert traces.parse(raw)


def test_a_schedule_is_what_the_workload_and_the_trace_say() -> None:
    timed = traces.parse(data({"arrival_s": 5, "prompt": "a"}, {"arrival_s": 7, "prompt": "b"}))
    assert schedule(CHAT, 2, timed) == OpenLoop([0.0, 2.0])
    assert is_open_loop(CHAT, timed)
    assert isinstance(schedule(CHAT, 2), ClosedLoop)
    faster = CHAT.model_copy(update={"rate": 4.0})
    poisson = schedule(faster, 50, timed)
    assert isinstance(poisson, OpenLoop)
    assert len(poisson.times_s) == 50


@pytest.mark.llama
def test_a_trace_gives_prompts_of_its_own_words_or_lengths(smollm2: LoadedModel) -> None:
    trace = traces.parse(
        data(
            {"prompt": "Name a river.", "output_tokens": 5},
            {"prompt_tokens": 70},
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"},
                          {"role": "user", "content": "Bye"}]},
        )
    )  # fmt: skip
    said, made, talk, again = asks(CHAT, smollm2, 4, trace)
    assert said.prompt.tokens == smollm2.chat_prompt([{"role": "user", "content": "Name a river."}])
    assert said.output_tokens == 5
    assert (len(made.prompt.tokens), made.output_tokens) == (70, 16)
    assert "Hello" in smollm2.detokenize(talk.prompt.tokens)
    assert again.prompt == said.prompt
    with pytest.raises(ContextError, match="Request 1 of the trace"):
        asks(CHAT, smollm2, 1, traces.parse(data({"prompt": "word " * 3000})))


@pytest.mark.llama
def test_lengths_spread_as_they_should_and_fit(smollm2: LoadedModel) -> None:
    spec = CHAT.model_copy(update={"prompt_tokens": 200, "output_tokens": 100, "length_spread": 0.5})
    drawn = lengths(spec, smollm2, 3000)
    prompts, outputs = [p for p, _ in drawn], [o for _, o in drawn]
    assert sum(outputs) / len(outputs) == pytest.approx(100, rel=0.05)
    mean = sum(prompts) / len(prompts)
    deviation = (sum((p - mean) ** 2 for p in prompts) / len(prompts)) ** 0.5
    assert deviation / mean == pytest.approx(0.5, rel=0.1)
    assert all(p + o <= smollm2.context_length for p, o in drawn)
    assert drawn == lengths(spec, smollm2, 3000)
    few = asks(spec, smollm2, 5)
    assert [(len(ask.prompt.tokens), ask.output_tokens) for ask in few] == lengths(spec, smollm2, 5)
