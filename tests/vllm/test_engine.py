"""The vLLM engine on real weights, against llama.cpp on the same."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.engines.adapters import random_adapter
from trilemma.catalog.catalog import Catalog
from trilemma.engines.base import ChoiceRequest, FloatArray, GenerationRequest, LoadedModel, ServingModel
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.engines.vllm import Vllm
from trilemma.engines.vllm.model import LoadedVllm
from trilemma.errors import ContextError, EngineError, LoadError, OutOfMemoryError
from trilemma.schema import Artifact
from trilemma.settings import Settings
from trilemma.store import open_store
from trilemma.workloads.load import closed_loop

TEXT = "The capital of France is Paris. The river that runs through it is called the Seine, and 17 bridges cross it."
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def llama(twins: tuple[Artifact, Artifact]) -> Iterator[LoadedModel]:
    with LlamaCpp().load(twins[0], {"context": 1024}) as model:
        yield model


def log_softmax(rows: FloatArray) -> np.ndarray:
    wide = rows.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=1, keepdims=True)))


def test_it_says_what_is_needed_to_repeat_a_run(loaded: LoadedVllm) -> None:
    about = loaded.describe()
    assert (about["engine"], about["dtype"], about["prefix_caching"], about["context"]) == (
        "vllm",
        "float32",
        False,
        1024,
    )
    assert about["version"]
    assert loaded.context_length == 1024


def test_it_reads_text_as_llama_cpp_does(loaded: LoadedVllm, llama: LoadedModel) -> None:
    for text in (TEXT, "  two  spaces\n\n\ttab", "naïve café 東京 🙂", "x = {'a': 1}", "<|im_start|>"):
        assert loaded.tokenize(text) == llama.tokenize(text)
        assert loaded.tokenize(text, parse_special=True) == llama.tokenize(text, parse_special=True)
        assert loaded.detokenize(loaded.tokenize(text)) == text
    assert loaded.chat_prompt(QUESTION) == llama.chat_prompt(QUESTION)


def test_the_same_weights_give_the_same_probabilities(loaded: LoadedVllm, llama: LoadedModel) -> None:
    tokens = loaded.tokenize(TEXT)
    ours = [log_softmax(rows.copy()) for rows in loaded.logits([tokens, tokens[:9]], first=2)]
    theirs = [log_softmax(rows.copy()) for rows in llama.logits([tokens, tokens[:9]], first=2)]
    assert [rows.shape for rows in ours] == [(len(tokens) - 2, loaded.vocabulary_size), (7, loaded.vocabulary_size)]
    for a, b in zip(ours, theirs, strict=True):
        assert (a.argmax(axis=1) == b.argmax(axis=1)).all()
        assert np.abs((np.exp(b) * (b - a)).sum(axis=1)).max() < 1e-3  # Kullback-Leibler divergence, nats


def test_choices_are_scored_as_llama_cpp_scores_them(loaded: LoadedVllm, llama: LoadedModel) -> None:
    def requests(model: LoadedModel) -> list[ChoiceRequest]:
        return [
            ChoiceRequest(model.tokenize(context), [model.tokenize(end, add_special=False) for end in ends])
            for context, *ends in (
                ("The capital of France is", " Paris", " Rome", " a small town in the south of Spain"),
                ("Two plus two is", " four", " five"),
            )
        ]

    ours, theirs = list(loaded.score_choices(requests(loaded))), list(llama.score_choices(requests(llama)))
    for a, b in zip(ours, theirs, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=0.05)
        assert a.greedy == b.greedy
    assert ours[0].logprobs[0] > ours[0].logprobs[1]


def test_tokens_come_one_by_one_with_their_times(loaded: LoadedVllm, llama: LoadedModel) -> None:
    heard: list[tuple[int, int]] = []
    request = GenerationRequest(loaded.chat_prompt(QUESTION), 12, ignore_eos=True)
    answer = loaded.generate(request, lambda token, at_ns: heard.append((token, at_ns)))
    assert heard == list(zip(answer.tokens, answer.token_times_ns, strict=True))
    assert answer.submitted_ns < answer.token_times_ns[0] < answer.token_times_ns[-1]
    assert answer.prefilled_tokens == len(request.prompt)
    assert answer.tokens == llama.generate(request).tokens
    # The same prompt again is read again: the cache is off.
    assert loaded.generate(request).prefilled_tokens == len(request.prompt)


def test_several_at_once_and_memory_in_use(loaded: LoadedVllm) -> None:
    assert isinstance(loaded, ServingModel)
    requests = [GenerationRequest(loaded.chat_prompt(QUESTION) * 3, 16, ignore_eos=True)] * 6
    answers = dict(closed_loop(loaded.server(), requests, users=4))
    assert sorted(answers) == list(range(6))
    assert all(len(answer.token_times_ns) == 16 for answer in answers.values())
    memory = loaded.memory()
    assert memory.kv_cache_bytes is not None
    assert memory.reserved_bytes is not None
    # Four slots of 1,024 tokens are reserved, and no more than one block of 128 tokens of each was used.
    assert 0 < memory.kv_cache_bytes <= memory.reserved_bytes / 8


def test_what_does_not_fit_is_refused_before_it_starts(loaded: LoadedVllm, twins: tuple[Artifact, Artifact]) -> None:
    with pytest.raises(ContextError, match="at least 1224"):
        loaded.generate(GenerationRequest(list(range(1000)), 224, ignore_eos=True))
    with pytest.raises(ContextError):
        list(loaded.logits([[1] * 1024]))
    engine, weights = Vllm(), twins[1]
    with pytest.raises(ContextError, match="at most 8192"):
        engine.check(weights, {"context": 10_000})
    with pytest.raises(OutOfMemoryError, match="KV cache"):
        engine.check(weights, {"kv_cache_bytes": 1 << 45})
    with pytest.raises(LoadError, match="experts"):
        engine.check(weights, {"quantization": "int8_per_channel_weight_only"})
    with pytest.raises(LoadError, match="safetensors"):
        engine.check(twins[0], {})


def test_a_killed_engine_is_an_error_with_a_reason(twins: tuple[Artifact, Artifact]) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with Vllm().load(twins[1], {"context": 512, "slots": 1, "eager": True, "dtype": "float32"}) as model:
        mine = [c for c in psutil.Process().children(recursive=True) if c.pid not in before and "VLLM" in c.name()]
        assert mine
        killer = threading.Timer(1.0, os.kill, (mine[-1].pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(EngineError, match="processes ended"):
            model.generate(GenerationRequest([100] * 32, 400, ignore_eos=True))
    _, alive = psutil.wait_procs(mine, timeout=30)
    assert not alive


def test_no_kernels_for_a_quantization_is_said(twins: tuple[Artifact, Artifact]) -> None:
    with pytest.raises(LoadError, match="no kernels"):
        Vllm().load(twins[1], {"context": 512, "quantization": "fp8_per_tensor", "eager": True})


def test_a_damaged_file_is_said(twins: tuple[Artifact, Artifact], tmp_path: Path) -> None:
    for file in Path(twins[1].path).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() if file.suffix != ".safetensors" else b"\x10" + b"\0" * 40)
    with pytest.raises(LoadError, match="cannot load"):
        Vllm().load(twins[1].model_copy(update={"path": str(tmp_path)}), {"context": 512, "eager": True})


def test_the_same_adapter_does_the_same_in_both_engines(
    twins: tuple[Artifact, Artifact], catalog_home: Settings, tmp_path: Path
) -> None:
    with open_store(catalog_home.database_url) as store:
        catalog = Catalog(store, catalog_home)
        peft = catalog.add_path(random_adapter(tmp_path / "law", twins[0].model))
        gguf = catalog.convert(peft)
    settings = {"context": 256, "slots": 1, "dtype": "float32", "eager": True}
    with (
        LlamaCpp().load_adapted(twins[0], {"context": 256}, gguf) as ours,
        LlamaCpp().load(twins[0], {"context": 256}) as plain,
        Vllm().load_adapted(twins[1], settings, peft) as theirs,
    ):
        tokens = ours.tokenize(TEXT)
        request = [ChoiceRequest(tokens[:4], [tokens[4:]])]
        adapted = [next(iter(model.score_choices(request))).logprobs[0] for model in (ours, theirs)]
        assert adapted[0] == pytest.approx(adapted[1], abs=0.2)
        assert abs(next(iter(plain.score_choices(request))).logprobs[0] - adapted[0]) > 2
        assert theirs.describe()["adapter"] == peft.label
        rows = next(iter(theirs.logits([tokens], first=len(tokens) - 1)))
        answer = theirs.generate(GenerationRequest(tokens, 1, ignore_eos=True))
        assert int(rows[-1].argmax()) == answer.tokens[0]
