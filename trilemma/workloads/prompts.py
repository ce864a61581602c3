"""Prompt sets by use case; every prompt has exactly the asked number of tokens, so that all do equal work."""

from __future__ import annotations

from dataclasses import dataclass

from trilemma.engines.base import LoadedModel, Prompt, TextModel
from trilemma.errors import ContextError
from trilemma.schema import WorkloadSpec
from trilemma.workloads.text import passage, question


def template_parts(model: LoadedModel) -> tuple[list[int], list[int]]:
    """The tokens that the model's chat template puts before and after what the user says."""
    one = model.chat_prompt([{"role": "user", "content": "Apples grow."}])
    two = model.chat_prompt([{"role": "user", "content": "Why not seventeen?"}])
    shortest = min(len(one), len(two))
    before = next((i for i in range(shortest) if one[i] != two[i]), shortest)
    after = next((i for i in range(shortest - before) if one[-1 - i] != two[-1 - i]), shortest - before)
    return one[:before], one[len(one) - after :] if after else []


def exact_prompt(model: LoadedModel, text: str, tokens: int) -> Prompt:
    """``text``, cut to fit, as the user's turn of a conversation of exactly ``tokens`` tokens; a model that is asked in
    text fits it as nearly as it can.

    Raises:
        ContextError: the template alone is longer than ``tokens``, or ``text`` is too short to fill them.
    """
    if isinstance(model, TextModel):
        return model.fit(text, tokens)
    before, after = template_parts(model)
    room = tokens - len(before) - len(after)
    if room < 1:
        raise ContextError(
            f"A prompt of {tokens} tokens has no room beside the {len(before) + len(after)} of the chat template.",
            f"Set prompt_tokens to at least {len(before) + len(after) + 8}.",
        )
    content = model.tokenize(text, add_special=False)
    if len(content) < room:
        raise ContextError(f"The text has {len(content)} tokens, {room} are wanted.", "Use a shorter prompt.")
    # The end of the text is what is asked, so it is the beginning that gives way.
    prompt = [*before, *content[len(content) - room :], *after]
    return Prompt(prompt, length=len(prompt))


@dataclass(frozen=True)
class UseCase:
    """A prompt set: background text, then a question, sized as the use case is."""

    name: str
    title: str
    description: str
    spec: WorkloadSpec

    def defaults(self) -> WorkloadSpec:
        """The workload as offered to the user."""
        return self.spec

    def prompts(self, spec: WorkloadSpec, model: LoadedModel, count: int) -> list[Prompt]:
        """``count`` distinct prompts of exactly ``spec.prompt_tokens`` tokens, fixed by ``spec.seed``.

        With ``spec.fit_context`` they are as long as the context allows beside the answer, where that is less: their
        beginning is cut, so that a sweep over contexts shows what reading less costs.

        Raises:
            ContextError: prompt and output do not fit the configured context.
        """
        room = model.context_length - spec.output_tokens
        tokens = min(spec.prompt_tokens, room) if spec.fit_context and room > 0 else spec.prompt_tokens
        needed = tokens + spec.output_tokens
        if needed > model.context_length:
            raise ContextError(
                f"{self.title} needs {needed} tokens of context, the configuration has {model.context_length}.",
                f"Set context to at least {needed}, or shorten the workload.",
            )
        # One word is at least one token in any vocabulary, so this many words always fill the prompt.
        return [
            exact_prompt(model, f"{passage(seed, spec.prompt_tokens)} {question(seed)}", tokens)
            for seed in (spec.seed * 1_000_003 + i for i in range(count))
        ]


_USE_CASES = (
    UseCase(
        "short_chat",
        "Short chat",
        "A question with a little background and a short answer, as in customer service.",
        WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=10),
    ),
    UseCase(
        "long_document",
        "Long document",
        "A question about a text that nearly fills the context, answered briefly.",
        WorkloadSpec(name="long_document", prompt_tokens=1920, output_tokens=64, requests=3),
    ),
    UseCase(
        "long_answer",
        "Long answer",
        "A short request for a long text.",
        WorkloadSpec(name="long_answer", prompt_tokens=64, output_tokens=512, requests=3),
    ),
)

PROMPT_SETS: dict[str, UseCase] = {case.name: case for case in _USE_CASES}
