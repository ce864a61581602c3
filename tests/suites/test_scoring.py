"""Scores of the packed, branching evaluation against evaluating every choice in full, one by one, on real weights."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma import registry
from trilemma.engines.base import ChoiceRequest, LoadedModel
from trilemma.engines.llama_cpp import quantize
from trilemma.engines.llama_cpp.scoring import distinct_tokens, tree_of
from trilemma.errors import ContextError, EngineError
from trilemma.schema import Artifact, SuiteSpec
from trilemma.suites.distributions import negative_log_likelihoods
from trilemma.suites.encoding import encode_pair
from trilemma.suites.multiple_choice import Item, encode, question

TOKENS = st.lists(st.integers(0, 3), max_size=5)


@pytest.fixture(scope="module")
def precise(smollm2_artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """SmolLM2 dequantised, without flash attention.

    With 8-bit activations or half-precision sums llama.cpp's own rounding moves with the layout of a batch by up to 1 %
    of a score; without, by less than 1e-3.
    """
    path = tmp_path_factory.mktemp("weights") / "f16.gguf"
    assert quantize.main([smollm2_artifact.path, str(path), "F16"]) == 0
    engine = registry.load("trilemma.engines", "llama.cpp")()
    artifact = smollm2_artifact.model_copy(update={"path": str(path), "quantization": "F16"})
    with engine.load(artifact, {"context": 512, "flash_attention": "off"}) as model:
        yield model


def in_full(model: LoadedModel, request: ChoiceRequest) -> list[float]:
    """Each continuation evaluated with its whole context, alone."""
    return [
        -float(negative_log_likelihoods(rows, continuation).sum())
        for continuation in request.continuations
        for rows in model.logits([[*request.context, *continuation][:-1]], first=len(request.context) - 1)
    ]


@pytest.mark.llama
def test_packed_scores_equal_full_evaluation(precise: LoadedModel) -> None:
    requests = []
    for name in ("hellaswag", "arc_challenge", "winogrande", "boolq"):
        items = registry.load("trilemma.suites", name)().items(SuiteSpec(name=name, limit=3))
        requests += [one for item in items for one in encode(precise, item).requests]
    requests.append(
        ChoiceRequest(precise.tokenize("One, two,"), [precise.tokenize(text) for text in (" three", " ten")])
    )
    scores = list(precise.score_choices(requests))
    assert len(scores) == len(requests)
    for request, score in zip(requests, scores, strict=True):
        pairs = [pair for pair in zip(request.continuations, score.logprobs, strict=True) if pair[0]]
        whole = in_full(precise, ChoiceRequest(request.context, [continuation for continuation, _ in pairs]))
        assert [logprob for _, logprob in pairs] == pytest.approx(whole, rel=1e-3, abs=5e-3)


@pytest.mark.llama
def test_winogrande_s_shared_beginning_changes_no_score(precise: LoadedModel) -> None:
    contexts = (
        "The trophy did not fit the case because the trophy",
        "The trophy did not fit the case because the case",
    )
    item = Item("id", contexts, (" was too large.",) * 2, ("trophy", "case"), 0)
    encoded = encode(precise, item)
    assert encoded.branching
    assert len(encoded.requests) == 1
    found = encoded.logprobs(list(precise.score_choices(encoded.requests)))
    for context, value in zip(contexts, found, strict=True):
        own, continuation = encode_pair(precise, context, " was too large.")
        assert [value] == pytest.approx(in_full(precise, ChoiceRequest(own, [continuation])), rel=1e-3)


@pytest.mark.llama
def test_greedy_says_whether_generation_would_give_the_continuation(smollm2: LoadedModel) -> None:
    from trilemma.engines.base import GenerationRequest

    context = smollm2.tokenize("The capital of France is")
    own = smollm2.generate(GenerationRequest(context, max_tokens=3, ignore_eos=True)).tokens
    other = [*own[:2], own[2] + 1]
    score = next(iter(smollm2.score_choices([ChoiceRequest(context, [own, other, own[:1]])])))
    assert score.greedy == [True, False, True]


@pytest.mark.llama
def test_answers_are_in_order_and_nothing_is_asked_of_nothing(smollm2: LoadedModel) -> None:
    assert list(smollm2.score_choices([])) == []
    words = smollm2.tokenize("one two three four five six seven eight nine ten")
    requests = [ChoiceRequest(words[: 1 + index % 9], [words[index % 7 : index % 7 + 1]]) for index in range(70)]
    together = [score.logprobs[0] for score in smollm2.score_choices(requests)]
    alone = [next(iter(smollm2.score_choices([request]))).logprobs[0] for request in requests[:9]]
    # Quantized activations: the layout of the batch moves a score a little, an answer of another request much.
    assert together[:9] == pytest.approx(alone, abs=0.3)
    assert together[:7] == pytest.approx(together[63:70], abs=0.3)
    empty = list(smollm2.score_choices([ChoiceRequest(words, [[], words[:1]])]))
    assert empty[0].logprobs[0] == 0.0


@pytest.mark.llama
def test_what_does_not_fit_the_context_is_refused(precise: LoadedModel) -> None:
    with pytest.raises(ContextError, match="513 tokens"):
        list(precise.score_choices([ChoiceRequest([5] * 512, [[6, 7]])]))
    assert len(list(precise.score_choices([ChoiceRequest([5] * 511, [[6, 7]])]))) == 1


@pytest.mark.llama
def test_a_long_question_loses_its_beginning_as_the_field_does(precise: LoadedModel) -> None:
    item = question("id", "word " * 600 + "end", ["a", "b and more"], 0)
    encoded = encode(precise, item)
    longest = max(map(len, encoded.continuations))
    assert len(encoded.requests[0].context) + longest - 1 == 512
    assert encoded.truncated_tokens == encoded.context_tokens - len(encoded.requests[0].context) > 0
    assert len(list(precise.score_choices(encoded.requests))) == 1


@pytest.mark.llama
def test_spaces_at_the_end_of_a_context_go_to_the_continuation(smollm2: LoadedModel) -> None:
    plain = encode_pair(smollm2, "Question: why?\nAnswer:", " because")
    assert encode_pair(smollm2, "Question: why?\nAnswer: ", "because") == plain
    assert plain[0] + plain[1] == smollm2.tokenize("Question: why?\nAnswer: because")


def test_an_empty_context_is_refused() -> None:
    with pytest.raises(EngineError, match="after nothing"):
        tree_of(ChoiceRequest([], [[1]]))


@given(context=st.lists(st.integers(0, 3), min_size=1, max_size=5), continuations=st.lists(TOKENS, max_size=5))
def test_a_tree_holds_each_distinct_beginning_once(context: list[int], continuations: list[list[int]]) -> None:
    request = ChoiceRequest(context, continuations)
    tree = tree_of(request)
    evaluated = {tuple(context[: n + 1]) for n in range(len(context))}
    evaluated |= {(*context, *c[:n]) for c in continuations for n in range(1, len(c))}
    assert len(tree.tokens) == distinct_tokens([request]) == len(evaluated)
    for branch, (path, continuation) in enumerate(zip(tree.paths, continuations, strict=True)):
        assert [token for _, token in path] == continuation
        seen = [i for i, sequences in enumerate(tree.sequences) if branch in sequences]
        # What a branch attends to is its own past, in order and without gaps.
        assert [tree.positions[i] for i in seen] == list(range(len(seen)))
        assert [tree.tokens[i] for i in seen] == [*context, *continuation[:-1]]
        assert [index for index, _ in path] == seen[len(context) - 1 :][: len(continuation)]
