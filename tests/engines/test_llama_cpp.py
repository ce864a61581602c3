"""The llama.cpp engine on real weights."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from trilemma.engines.base import ChoiceRequest, GenerationRequest, LoadedModel
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.engines.llama_cpp.model import LoadedLlama
from trilemma.errors import ContextError, EngineError, LoadError, OutOfMemoryError
from trilemma.schema import Artifact

pytestmark = pytest.mark.llama

TEXT = "The trade winds blow steadily towards the equator, naïvely — 東京 🙂\n\tfrom both sides."
QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def small(smollm2_artifact: Artifact) -> Iterator[LoadedLlama]:
    """A context of 256 tokens whose prompts are prefilled in chunks of 32."""
    with LlamaCpp().load(smollm2_artifact, {"context": 256, "batch": 32, "micro_batch": 32}) as model:
        yield model


def at(artifact: Artifact, path: Path) -> Artifact:
    return artifact.model_copy(update={"path": str(path)})


def test_text_survives_tokens_and_back(smollm2: LoadedModel) -> None:
    tokens = smollm2.tokenize(TEXT, add_special=False)
    assert 10 < len(tokens) < len(TEXT.encode())
    assert all(0 <= token < smollm2.vocabulary_size for token in tokens)
    assert smollm2.detokenize(tokens) == TEXT
    assert smollm2.tokenize("") == []
    assert smollm2.detokenize([]) == ""


def test_control_tokens_are_text_unless_asked_for(smollm2: LoadedModel) -> None:
    assert len(smollm2.tokenize("<|im_start|>")) > 1
    assert len(smollm2.tokenize("<|im_start|>", parse_special=True)) == 1


def test_chat_prompt_follows_the_models_template(smollm2: LoadedModel) -> None:
    expected = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhy is the sky blue?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert smollm2.chat_prompt(QUESTION) == smollm2.tokenize(expected, add_special=False, parse_special=True)


def test_generation_is_timed_token_by_token(smollm2: LoadedModel) -> None:
    prompt = smollm2.chat_prompt(QUESTION)
    heard: list[tuple[int, int]] = []
    before = time.perf_counter_ns()
    generation = smollm2.generate(
        GenerationRequest(prompt, 24, ignore_eos=True), lambda token, when: heard.append((token, when))
    )
    after = time.perf_counter_ns()
    assert "blue" in smollm2.detokenize(generation.tokens)
    assert len(generation.tokens) == len(generation.token_times_ns) == 24
    assert heard == list(zip(generation.tokens, generation.token_times_ns, strict=True))
    moments = [before, generation.submitted_ns, *generation.token_times_ns, after]
    assert all(early < late for early, late in itertools.pairwise(moments))
    assert generation.prefilled_tokens == len(prompt)
    assert generation.engine_decoded_tokens == 23
    assert generation.engine_prefill_s is not None
    assert generation.engine_decode_s is not None
    first_s = (generation.token_times_ns[0] - generation.submitted_ns) / 1e9
    rest_s = (generation.token_times_ns[-1] - generation.token_times_ns[0]) / 1e9
    assert 0 < generation.engine_prefill_s <= first_s
    assert 0 < generation.engine_decode_s <= rest_s
    assert generation.engine_decode_s > 0.5 * rest_s


def test_greedy_generation_repeats_itself_and_reuses_nothing(smollm2: LoadedModel) -> None:
    request = GenerationRequest(smollm2.chat_prompt(QUESTION), 12)
    first, second = smollm2.generate(request), smollm2.generate(request)
    assert first.tokens == second.tokens
    assert first.prefilled_tokens == second.prefilled_tokens == len(request.prompt)


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 64, 65, 100])
def test_every_prompt_token_is_prefilled_whatever_the_chunks(small: LoadedLlama, length: int) -> None:
    prompt = (small.tokenize("One two three four five six seven eight nine ten. ") * 10)[:length]
    generation = small.generate(GenerationRequest(prompt, 3, ignore_eos=True))
    assert generation.prefilled_tokens == length
    assert generation.engine_decoded_tokens == 2


def test_a_cache_in_use_is_noticed(small: LoadedLlama, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a prompt cache would do: part of the prompt is not evaluated again.
    generator = small._generator
    monkeypatch.setattr(
        generator,
        "_prefill",
        lambda request: type(generator)._prefill(generator, GenerationRequest(request.prompt[4:], 1)),
    )
    with pytest.raises(EngineError, match="prefilled 8 tokens of a prompt of 12"):
        generator.run(GenerationRequest(list(range(100, 112)), 2))


def test_chunked_prefill_gives_the_same_answer(small: LoadedLlama, smollm2: LoadedModel) -> None:
    request = GenerationRequest(smollm2.chat_prompt(QUESTION) * 3, 8, ignore_eos=True)
    assert small.generate(request).tokens == smollm2.generate(request).tokens


def test_an_end_token_ends_an_answer_unless_ignored(smollm2: LoadedModel) -> None:
    prompt = smollm2.chat_prompt([{"role": "user", "content": "Say only: yes."}])
    (end,) = smollm2.tokenize("<|im_end|>", parse_special=True)
    free = smollm2.generate(GenerationRequest(prompt, 60))
    assert free.tokens[-1] == end
    assert len(free.tokens) == len(free.token_times_ns) == free.engine_decoded_tokens + 1 < 60
    ignored = smollm2.generate(GenerationRequest(prompt, len(free.tokens) + 5, ignore_eos=True))
    assert len(ignored.tokens) == len(free.tokens) + 5
    assert end not in ignored.tokens


def test_sampling_follows_its_seed(smollm2: LoadedModel) -> None:
    prompt = smollm2.chat_prompt(QUESTION)
    one, same, other = (
        smollm2.generate(GenerationRequest(prompt, 12, ignore_eos=True, temperature=1.5, seed=seed)).tokens
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_one_token_needs_no_decoding(smollm2: LoadedModel) -> None:
    generation = smollm2.generate(GenerationRequest(smollm2.chat_prompt(QUESTION), 1))
    assert len(generation.tokens) == 1
    assert generation.engine_decoded_tokens == 0
    assert generation.engine_decode_s == 0


def test_what_does_not_fit_the_context_is_refused(small: LoadedLlama) -> None:
    prompt = [100] * 250
    assert len(small.generate(GenerationRequest(prompt, 6, ignore_eos=True)).tokens) == 6
    with pytest.raises(ContextError, match="at least 257 tokens"):
        small.generate(GenerationRequest(prompt, 7))
    with pytest.raises(ContextError, match="257"):
        next(small.logits([[100] * 257]))
    with pytest.raises(EngineError, match="at least one"):
        small.generate(GenerationRequest([], 7))
    with pytest.raises(EngineError, match="invalid batch"):
        small.generate(GenerationRequest([10_000_000], 2))


def test_logits_predict_what_generation_picks(smollm2: LoadedModel) -> None:
    prompt = smollm2.chat_prompt(QUESTION)
    answer = smollm2.generate(GenerationRequest(prompt, 8)).tokens
    chunks = [prompt + answer, prompt]
    rows = [chunk.copy() for chunk in smollm2.logits(chunks, first=len(prompt) - 1)]
    assert [r.shape for r in rows] == [(9, smollm2.vocabulary_size), (1, smollm2.vocabulary_size)]
    assert rows[0].dtype == np.float32
    assert rows[0].argmax(axis=1)[:8].tolist() == answer
    # A chunk starts from an empty cache: the same prompt alone gives the same logits, whatever came before.
    np.testing.assert_allclose(rows[0][0], rows[1][0], atol=0.35)


def test_choices_are_scored_as_logits_say(smollm2: LoadedModel) -> None:
    context = smollm2.tokenize("The capital of France is")
    choices = [smollm2.tokenize(text) for text in (" Paris.", " London.", " a a a")]
    (score,) = smollm2.score_choices([ChoiceRequest(context, choices)])
    for choice, logprob in zip(choices, score.logprobs, strict=True):
        (rows,) = [view.copy() for view in smollm2.logits([context + choice], first=len(context) - 1)]
        shifted = rows.astype(np.float64) - rows.max(axis=1, keepdims=True)
        logprobs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        assert logprob == pytest.approx(sum(logprobs[i, token] for i, token in enumerate(choice)), abs=0.2)
    assert score.logprobs[0] == max(score.logprobs)
    # Scoring has a context of its own: serving goes on as before.
    assert smollm2.generate(GenerationRequest(context, 2)).prefilled_tokens == len(context)


def test_memory_is_accounted_for(smollm2: LoadedModel, smollm2_artifact: Artifact) -> None:
    split = smollm2.memory()
    assert split.weights_bytes == pytest.approx(smollm2_artifact.size_bytes, rel=0.05)
    # 30 layers x 2048 tokens x 3 heads x 64 x 2 (keys and values) x 2 bytes
    assert split.kv_cache_bytes == 30 * 2048 * 3 * 64 * 2 * 2
    assert split.compute_bytes is not None
    assert 1e6 < split.compute_bytes < 40e6


def test_scoring_does_not_count_as_serving(smollm2: LoadedModel) -> None:
    before = smollm2.memory()
    for _ in smollm2.logits([[100] * 300]):
        pass
    assert smollm2.memory() == before


def test_settings_take_effect(smollm2_artifact: Artifact) -> None:
    settings = {
        "context": 300,
        "batch": 64,
        "micro_batch": 16,
        "threads": 1,
        "prefill_threads": 2,
        "kv_cache_type": "q8_0",
        "flash_attention": "on",
        "mmap": False,
    }
    with LlamaCpp().load(smollm2_artifact, settings) as model:
        told = model.describe()
        assert {key: told[key] for key in settings if key != "kv_cache_type"} == {
            key: value for key, value in settings.items() if key not in ("kv_cache_type", "flash_attention")
        } | {"flash_attention": True}
        assert told["kv_cache_type_k"] == told["kv_cache_type_v"] == "q8_0"
        assert "AVX" in str(told["system_info"]) or "NEON" in str(told["system_info"])
        assert model.context_length == 300
        split = model.memory()
        # The cache is rounded up to 512 tokens at 34/32 bytes a value.
        assert split.kv_cache_bytes == pytest.approx(30 * told["context_allocated"] * 3 * 64 * 2 * 34 / 32, rel=0.01)  # type: ignore[operator]
        assert not any("Mapped" in name for name in split.detail)
        assert len(model.generate(GenerationRequest([1, 2, 3], 4, ignore_eos=True)).tokens) == 4


def test_closing_gives_memory_back_and_may_be_repeated(smollm2_artifact: Artifact) -> None:
    process = psutil.Process()
    model = LlamaCpp().load(smollm2_artifact, {"mmap": False})
    loaded = process.memory_info().rss
    scores = model.logits([[1, 2, 3], [1, 2, 3]])
    next(scores)
    model.close()
    model.close()
    assert process.memory_info().rss < loaded - 60e6
    scores.close()


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def header_only(data: bytes) -> bytes:
    return data[:50_000]


def empty(data: bytes) -> bytes:
    return b""


def renamed(data: bytes) -> bytes:
    return b"PK\x03\x04" + b"a picture, by another name " * 1000


def strange_architecture(data: bytes) -> bytes:
    key = b"general.architecture" + (8).to_bytes(4, "little") + (5).to_bytes(8, "little")
    assert key + b"llama" in data[:1000]
    return data.replace(key + b"llama", key + b"llamx", 1)


@pytest.mark.parametrize(
    ("damage", "reason", "remedy"),
    [
        (truncated, "corrupted or incomplete", "get it again"),
        (header_only, "failed to read", "get it again"),
        (empty, "failed to read", "get it again"),
        (renamed, "invalid magic", "get it again"),
        (strange_architecture, "unknown model architecture: 'llamx'", "Update llama-cpp-python"),
    ],
)
def test_a_bad_file_is_refused_with_llama_cpps_reason(
    tmp_path: Path, smollm2_artifact: Artifact, damage: object, reason: str, remedy: str
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(damage(Path(smollm2_artifact.path).read_bytes()))  # type: ignore[operator]
    with pytest.raises(LoadError) as caught:
        LlamaCpp().load(at(smollm2_artifact, path), {"context": 64})
    assert reason in caught.value.message
    assert remedy in caught.value.hint


def test_a_missing_file_and_a_foreign_format_are_refused(tmp_path: Path, smollm2_artifact: Artifact) -> None:
    with pytest.raises(LoadError, match="not at"):
        LlamaCpp().check(at(smollm2_artifact, tmp_path / "gone.gguf"), {})
    with pytest.raises(LoadError, match="safetensors"):
        LlamaCpp().check(smollm2_artifact.model_copy(update={"format": "safetensors"}), {})


def test_a_context_longer_than_the_models_is_refused(smollm2_artifact: Artifact) -> None:
    with pytest.raises(ContextError, match="8192"):
        LlamaCpp().check(smollm2_artifact, {"context": 8193})
    LlamaCpp().check(smollm2_artifact, {"context": 8192})


def test_more_memory_than_there_is_is_refused(smollm2_artifact: Artifact) -> None:
    boundless = smollm2_artifact.model_copy(update={"context_length": 1 << 40})
    with pytest.raises(OutOfMemoryError, match=r"GB for a KV cache of 1073741824 tokens\), and .* are available"):
        LlamaCpp().check(boundless, {"context": 1 << 30})


def test_the_package_is_not_imported_before_a_model_is_loaded(smollm2_artifact: Artifact) -> None:
    code = """
import sys
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.schema import Artifact
engine = LlamaCpp()
engine.check(Artifact.model_validate_json(sys.argv[1]), {})
engine.settings_type.model_json_schema()
assert engine.availability().available
print(sorted(name for name in sys.modules if name.partition(".")[0] == "llama_cpp"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, smollm2_artifact.model_dump_json()], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_openmp_limits_do_not_take_threads_away(smollm2_artifact: Artifact) -> None:
    code = """
import os, sys
from trilemma.engines.base import GenerationRequest
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.schema import Artifact
model = LlamaCpp().load(Artifact.model_validate_json(sys.argv[1]), {"threads": 2, "context": 64})
before = len(os.listdir("/proc/self/task"))
model.generate(GenerationRequest([1, 2, 3], 2))
print(len(os.listdir("/proc/self/task")) - before)
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "true"}
    done = subprocess.run(
        [sys.executable, "-c", code, smollm2_artifact.model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.strip() == "1", "one thread beside the main one"
