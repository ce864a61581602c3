"""How a question and a possible answer become tokens."""

from __future__ import annotations

from trilemma.engines.base import LoadedModel


def encode_pair(model: LoadedModel, context: str, continuation: str) -> tuple[list[int], list[int]]:
    """Tokens of ``context`` and of what ``continuation`` adds to them, as lm-evaluation-harness splits them.

    Both are tokenised together, so that the continuation's first token is the one the model would really see; spaces at
    the context's end go to the continuation, because tokens begin with their space. The model's own start token is
    there where the model wants one. Defined in ``TemplateLM._encode_pair`` of lm-evaluation-harness 0.4.
    """
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    start = model.tokenize(kept)
    return start, model.tokenize(kept + continuation)[len(start) :]
