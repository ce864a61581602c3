"""A real vLLM server as an endpoint: conformance, and log-likelihoods through its routes."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.engines.endpoint.conformance import conform, running
from tests.waiting import free_port
from trilemma.catalog.endpoints import endpoint_artifact
from trilemma.engines.base import ChoiceRequest
from trilemma.engines.endpoint import Endpoint
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.schema import Artifact


@pytest.fixture(scope="module")
def address(twins: tuple[Artifact, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", twins[1].path,
        "--served-model-name", "smollm2", "--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", "8",
        "--kv-cache-memory-bytes", "400000000", "--enforce-eager", "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    with running(command, port, tmp_path_factory.mktemp("server") / "log") as url:
        yield url


def test_it_conforms(address: str) -> None:
    found = conform(address, "smollm2")
    assert found.exact_lengths
    assert found.timed_by_token
    assert found.metered


def test_likelihoods_through_the_routes_are_those_of_the_weights(
    address: str, twins: tuple[Artifact, Artifact]
) -> None:
    questions = (("The capital of France is", " Paris", " Rome"), ("Two plus two is", " four", " a purple cow"))
    with (
        Endpoint().load(endpoint_artifact(address, "smollm2"), {}) as remote,
        LlamaCpp().load(twins[0], {"context": 256}) as local,
    ):
        requests = []
        for context, *ends in questions:
            start = remote.tokenize(context)
            assert start == local.tokenize(context)
            requests.append(ChoiceRequest(start, [remote.tokenize(context + end)[len(start) :] for end in ends]))
        for theirs, ours in zip(remote.score_choices(requests), local.score_choices(requests), strict=True):
            assert theirs.logprobs == pytest.approx(ours.logprobs, abs=0.05)
            assert theirs.greedy == ours.greedy
