from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from trilemma.engines.base import LoadedModel
from trilemma.errors import ContextError
from trilemma.schema import WorkloadSpec
from trilemma.workloads import PROMPT_SETS
from trilemma.workloads.prompts import template_parts
from trilemma.workloads.text import passage, question, sentences


def test_text_is_fixed_by_its_seed() -> None:
    assert list(islice(sentences(3), 5)) == list(islice(sentences(3), 5))
    assert list(islice(sentences(3), 5)) != list(islice(sentences(4), 5))
    assert question(1) == question(1)


@pytest.mark.parametrize("words", [1, 10, 500])
def test_passage_is_as_long_as_asked(words: int) -> None:
    assert words <= len(passage(0, words).split()) < words + 30


@pytest.fixture(scope="module")
def model(smollm2: LoadedModel) -> Iterator[LoadedModel]:
    yield smollm2


@pytest.mark.llama
@pytest.mark.parametrize("name", sorted(PROMPT_SETS))
def test_prompts_have_exactly_the_asked_length_and_differ(model: LoadedModel, name: str) -> None:
    case = PROMPT_SETS[name]
    spec = case.defaults()
    prompts = case.prompts(spec, model, 4)
    assert [len(prompt.tokens) for prompt in prompts] == [spec.prompt_tokens] * 4
    assert len({tuple(prompt.tokens) for prompt in prompts}) == 4
    assert prompts == case.prompts(spec, model, 4)


@pytest.mark.llama
def test_prompts_are_conversations(model: LoadedModel) -> None:
    before, after = template_parts(model)
    prompt = PROMPT_SETS["short_chat"].prompts(PROMPT_SETS["short_chat"].defaults(), model, 1)[0].tokens
    text = model.detokenize(prompt)
    assert prompt[: len(before)] == before
    assert prompt[-len(after) :] == after
    assert "user" in text
    assert text.rstrip().endswith("assistant")


@pytest.mark.llama
def test_what_does_not_fit_says_what_to_do(model: LoadedModel) -> None:
    too_long = WorkloadSpec(name="long_document", prompt_tokens=8000, output_tokens=64, requests=1)
    with pytest.raises(ContextError, match="Set context to at least 8064"):
        PROMPT_SETS["long_document"].prompts(too_long, model, 1)
    too_short = WorkloadSpec(name="short_chat", prompt_tokens=3, output_tokens=4, requests=1)
    with pytest.raises(ContextError, match="chat template"):
        PROMPT_SETS["short_chat"].prompts(too_short, model, 1)


@pytest.mark.llama
def test_a_prompt_is_cut_to_the_context_where_that_is_asked(model: LoadedModel) -> None:
    asked = model.context_length + 500
    spec = WorkloadSpec(name="long_document", prompt_tokens=asked, output_tokens=64, requests=1, fit_context=True)
    (cut,) = PROMPT_SETS["long_document"].prompts(spec, model, 1)
    assert len(cut.tokens) == model.context_length - 64
    text = f"{passage(0, asked)} {question(0)}"
    _, after = template_parts(model)
    end = model.detokenize(cut.tokens[-40 : -len(after) or None])
    assert text.endswith(end), "the end is what is asked"
    short = spec.model_copy(update={"prompt_tokens": 100})
    assert len(PROMPT_SETS["long_document"].prompts(short, model, 1)[0].tokens) == 100
