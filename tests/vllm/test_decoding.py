"""Stop strings and JSON schemas with vLLM, as suites ask for them."""

from __future__ import annotations

import json

import jsonschema

from trilemma.engines.base import GenerationRequest
from trilemma.engines.vllm.model import LoadedVllm
from trilemma.workloads.load import closed_loop

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"enum": ["few", "many"]}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


def request(model: LoadedVllm, text: str, tokens: int, **more: object) -> GenerationRequest:
    prompt = model.chat_prompt([{"role": "user", "content": text}])
    return GenerationRequest(prompt, tokens, **more)  # type: ignore[arg-type]


def test_an_answer_ends_with_its_stop_string(loaded: LoadedVllm) -> None:
    whole = loaded.generate(request(loaded, "Count from one to ten in words.", 40))
    stop = loaded.detokenize(whole.tokens)[8:14]
    ended = loaded.generate(request(loaded, "Count from one to ten in words.", 40, stop=("never there", stop)))
    assert stop in loaded.detokenize(ended.tokens)
    assert stop not in loaded.detokenize(ended.tokens[:-1])
    assert len(ended.tokens) < len(whole.tokens)


def test_answers_match_their_schema_beside_one_that_is_free(loaded: LoadedVllm) -> None:
    bound = request(loaded, "Describe Paris.", 120, schema=json.dumps(SCHEMA))
    free = request(loaded, "Describe Paris.", 12)
    found = dict(closed_loop(loaded.server(), [bound, free], 2))
    jsonschema.validate(json.loads(loaded.detokenize(found[0].tokens)), SCHEMA)
    assert not loaded.detokenize(found[1].tokens).startswith("{")
