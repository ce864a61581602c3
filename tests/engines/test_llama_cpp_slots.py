"""Several requests at once, on real weights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trilemma.engines.base import Generation, GenerationRequest, ServingModel
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.engines.llama_cpp.model import LoadedLlama
from trilemma.errors import ContextError, EngineError
from trilemma.schema import Artifact
from trilemma.workloads.load import closed_loop

pytestmark = pytest.mark.llama

QUESTIONS = ("Why is the sky blue?", "Name three rivers.", "What is two plus two?", "Who wrote Hamlet?", "Say hello.")


@pytest.fixture(scope="module")
def twin(smollm2_artifact: Artifact) -> Iterator[LoadedLlama]:
    """Two slots of 256 tokens each, whose batch is so small that prompts are read in parts."""
    settings = {"context": 256, "slots": 2, "batch": 48, "micro_batch": 48}
    with LlamaCpp().load(smollm2_artifact, settings) as model:
        yield model


def asked(model: LoadedLlama, tokens: int, **more: object) -> list[GenerationRequest]:
    prompts = [model.chat_prompt([{"role": "user", "content": question}]) for question in QUESTIONS]
    return [GenerationRequest(prompt, tokens, ignore_eos=True, **more) for prompt in prompts]  # type: ignore[arg-type]


def answers(model: LoadedLlama, requests: list[GenerationRequest], users: int) -> dict[int, Generation]:
    return dict(closed_loop(model.server(), requests, users))


def test_each_gets_the_answer_it_would_have_got_alone(twin: LoadedLlama) -> None:
    assert isinstance(twin, ServingModel)
    requests = asked(twin, 12)
    together = answers(twin, requests, users=2)
    assert sorted(together) == list(range(5))
    alone = [twin.generate(request).tokens for request in requests]
    same = [ours == theirs for i in range(5) for ours, theirs in zip(together[i].tokens, alone[i], strict=True)]
    # Another batch is other arithmetic: where two tokens are nearly as likely, the answers may part.
    assert sum(same) >= 0.7 * len(same)
    assert [together[i].tokens[0] for i in range(5)] == [tokens[0] for tokens in alone]


def test_users_beyond_the_slots_wait_and_nothing_is_lost(twin: LoadedLlama) -> None:
    found = answers(twin, asked(twin, 8), users=5)
    assert sorted(found) == list(range(5))
    for answer in found.values():
        assert len(answer.tokens) == len(answer.token_times_ns) == 8
        assert answer.submitted_ns < answer.token_times_ns[0]
        assert answer.token_times_ns == sorted(answer.token_times_ns)
    # All submit at once; the third is answered only when one of the first two has ended.
    assert max(a.submitted_ns for a in found.values()) < min(a.token_times_ns[0] for a in found.values())
    ends = sorted(found[i].token_times_ns[-1] for i in (0, 1))
    assert found[2].token_times_ns[0] > ends[0]


def test_a_closed_loop_keeps_as_many_in_flight_as_there_are_users(twin: LoadedLlama) -> None:
    found = answers(twin, asked(twin, 6), users=2)
    edges = sorted([(a.submitted_ns, 1) for a in found.values()] + [(a.token_times_ns[-1], -1) for a in found.values()])
    in_flight, most = 0, 0
    for _, step in edges:
        in_flight += step
        most = max(most, in_flight)
    assert most == 2


def test_an_answer_ends_at_the_end_token_unless_told_otherwise(twin: LoadedLlama) -> None:
    prompt = twin.chat_prompt([{"role": "user", "content": "Say hello."}])
    (answer,) = answers(twin, [GenerationRequest(prompt, 200)], users=1).values()
    assert 1 < len(answer.tokens) < 200
    assert twin.detokenize(answer.tokens[-1:]) == ""  # a control token
    (whole,) = answers(twin, [GenerationRequest(prompt, 200, ignore_eos=True)], users=1).values()
    assert len(whole.tokens) == 200


def test_sampling_is_repeatable_by_its_seed(twin: LoadedLlama) -> None:
    first, again, other = (
        answers(twin, asked(twin, 10, temperature=1.0, seed=seed), users=1)[0].tokens for seed in (1, 1, 2)
    )
    assert first == again != other


def test_what_does_not_fit_a_slot_is_refused(twin: LoadedLlama) -> None:
    server = twin.server()
    assert server.slots == 2
    with pytest.raises(ContextError, match="do not fit a slot's context of 256"):
        server.submit(GenerationRequest([1] * 200, 57))
    with pytest.raises(EngineError, match="at least one"):
        server.submit(GenerationRequest([], 5))
    assert server.step() == []


def test_each_slot_has_a_cache_of_its_own(twin: LoadedLlama, smollm2_artifact: Artifact) -> None:
    with LlamaCpp().load(smollm2_artifact, {"context": 256, "batch": 48, "micro_batch": 48}) as single:
        alone = single.memory().kv_cache_bytes
    assert alone
    assert twin.memory().kv_cache_bytes == pytest.approx(2 * alone, rel=0.01)
    assert twin.describe()["slots"] == 2
