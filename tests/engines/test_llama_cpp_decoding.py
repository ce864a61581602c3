"""Stop strings and JSON schemas, alone and in slots, on real weights."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest

from trilemma.engines.base import GenerationRequest
from trilemma.engines.llama_cpp import LlamaCpp
from trilemma.engines.llama_cpp.model import LoadedLlama
from trilemma.errors import NotOfferedError
from trilemma.schema import Artifact
from trilemma.workloads.load import closed_loop

pytestmark = pytest.mark.llama

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def model(smollm2_artifact: Artifact) -> Iterator[LoadedLlama]:
    with LlamaCpp().load(smollm2_artifact, {"context": 512, "slots": 3}) as loaded:
        yield loaded


def request(model: LoadedLlama, text: str, tokens: int, **more: object) -> GenerationRequest:
    prompt = model.chat_prompt([{"role": "user", "content": text}])
    return GenerationRequest(prompt, tokens, **more)  # type: ignore[arg-type]


def test_an_answer_ends_with_its_stop_string(model: LoadedLlama) -> None:
    whole = model.generate(request(model, "Count from one to ten in words.", 60))
    text = model.detokenize(whole.tokens)
    stop = text[8:14]  # lies across tokens
    ended = model.generate(request(model, "Count from one to ten in words.", 60, stop=("never there", stop)))
    assert stop in model.detokenize(ended.tokens)
    assert stop not in model.detokenize(ended.tokens[:-1])
    assert len(ended.tokens) < len(whole.tokens)


def test_stop_strings_in_slots_end_each_answer_for_itself(model: LoadedLlama) -> None:
    question = "Count from one to ten in words."
    (free,) = dict(closed_loop(model.server(), [request(model, question, 24, ignore_eos=True)], 1)).values()
    stop = model.detokenize(free.tokens[:6])[-3:]
    asked = [request(model, question, 24, ignore_eos=True, stop=(text,)) for text in (stop, "never there")]
    found = dict(closed_loop(model.server(), asked, 2))
    assert stop in model.detokenize(found[0].tokens)
    assert len(found[0].tokens) < 24
    assert len(found[1].tokens) == 24


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_matches_its_schema(model: LoadedLlama, temperature: float) -> None:
    asked = request(model, "Describe Paris.", 120, schema=json.dumps(SCHEMA), temperature=temperature, seed=3)
    alone = model.generate(asked)
    jsonschema.validate(json.loads(model.detokenize(alone.tokens)), SCHEMA)
    free = request(model, "Describe Paris.", 20)
    found = dict(closed_loop(model.server(), [asked, free, asked], 3))
    for position in (0, 2):
        jsonschema.validate(json.loads(model.detokenize(found[position].tokens)), SCHEMA)
    assert not model.detokenize(found[1].tokens).startswith("{")


def test_a_schema_that_makes_no_grammar_is_not_offered(model: LoadedLlama) -> None:
    for schema in ("no JSON", '{"$ref": "#/nowhere"}'):
        with pytest.raises(NotOfferedError):
            model.generate(request(model, "Hello", 5, schema=schema))


def test_sampling_is_fixed_by_its_seed(model: LoadedLlama) -> None:
    first, again, other = (
        model.generate(request(model, "Tell a story.", 20, temperature=1.0, seed=seed)).tokens for seed in (1, 1, 2)
    )
    assert first == again != other
