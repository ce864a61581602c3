"""A loaded model as lm-evaluation-harness asks one. Importing this module imports the harness."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lm_eval.api.model import LM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from trilemma.engines.base import (
    ChoiceRequest,
    GenerationRequest,
    LoadedModel,
    Message,
    Server,
    ServingModel,
    TextModel,
)
from trilemma.errors import EngineError, NotOfferedError
from trilemma.suites.encoding import encode_pair
from trilemma.workloads.in_flight import OneAtATime
from trilemma.workloads.load import closed_loop

_ANSWER_TOKENS = 256
"""The harness's own limit where a task sets none."""
_LONGEST_ANSWER = 32768
_START_TOKENS = ("<|endoftext|>", "<|im_start|>", "<s>", "</s>")
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_KNOWN = {*_LENGTHS, "until", "do_sample", "temperature"}


class Sampling(NamedTuple):
    """How an answer is written: the part of a task's ``generation_kwargs`` that engines have, and what is left."""

    max_tokens: int
    stop: tuple[str, ...]
    temperature: float
    unused: tuple[str, ...]


def sampling(options: Mapping[str, Any]) -> Sampling:
    """What a task asks for; greedy unless it asks for sampling or a temperature, as the harness's own models do."""
    until = options.get("until") or ()
    stop = tuple(text for text in ([until] if isinstance(until, str) else until) if text)
    asked = next((options[name] for name in _LENGTHS if options.get(name) is not None), _ANSWER_TOKENS)
    sampled = options.get("do_sample")
    given = options.get("temperature")
    temperature = 0.0 if sampled is False else float(given if given is not None else bool(sampled))
    unused = tuple(sorted(set(options) - _KNOWN)) if temperature else ()
    return Sampling(min(max(1, int(asked)), _LONGEST_ANSWER), stop, temperature, unused)


def cut_at(text: str, stops: Sequence[str]) -> str:
    """``text`` before the first of ``stops``."""
    found = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


class EngineLM(LM):  # type: ignore[misc]
    """Answers the harness's three kinds of requests.

    Args:
        model: What is asked.
        users: How many answers are written at once.
        seed: Of answers that a task wants sampled.
        advance: Takes the finished share of the requests, 0 to 1.

    Attributes:
        cut: Contexts that lost their beginning because they were longer than the model's.
        errors: Why an answer could not be written, by its context.
        unused: Sampling options of the task that engines do not have.
    """

    def __init__(self, model: LoadedModel, users: int, seed: int, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._model = model
        self._users = users
        self._seed = seed
        self._advance = advance
        self._chats: dict[str, tuple[Message, ...]] = {}
        self.cut: set[str] = set()
        self.errors: dict[str, str] = {}
        self.unused: set[str] = set()

    @property
    def tokenizer_name(self) -> str:
        """Part of the name that the harness caches prompts under, which it is not asked to do."""
        return ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as people read it: the harness hands it back as the context, and only then it gets tokens."""
        messages = tuple({"role": turn["role"], "content": turn["content"]} for turn in chat_history)
        text = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)
        self._chats[text] = messages
        return text

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """The log-probability of each continuation after its context, nats, and whether it is the greedy one.

        Requests with the same context become one, so that it is evaluated once.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        continuations = []
        for number, request in enumerate(requests):
            text, continuation = request.args
            context, tokens = self._pair(text, continuation)
            # A token is left to begin with even where the continuation alone fills the context: the engine refuses it.
            room = max(1, self._model.context_length + 1 - len(tokens))
            if len(context) > room:
                self.cut.add(text)
            groups.setdefault(tuple(context[-room:]), []).append(number)
            continuations.append(tokens)
        asked = [ChoiceRequest(context, [continuations[n] for n in numbers]) for context, numbers in groups.items()]
        answers = [(0.0, False)] * len(continuations)
        done = 0
        for numbers, score in zip(groups.values(), self._model.score_choices(asked), strict=True):
            for number, logprob, greedy in zip(numbers, score.logprobs, score.greedy, strict=True):
                answers[number] = (logprob, greedy)
            done += len(numbers)
            self._advance(done / len(answers))
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of each text, nats, in stretches as long as the context where it is longer."""
        answers = []
        for number, request in enumerate(requests):
            (text,) = request.args
            tokens = self._model.tokenize(text, add_special=False)
            windows = get_rolling_token_windows(tokens, self._start(), self._model.context_length, 1)
            asked = [ChoiceRequest(context, [rest]) for context, rest in map(make_disjoint_window, windows)]
            answers.append(sum(score.logprobs[0] for score in self._model.score_choices(asked)))
            self._advance((number + 1) / len(requests))
        return answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context, before the first of the task's stops; nothing where it failed."""
        texts = [request.args[0] for request in requests]
        wanted = [sampling(request.args[1]) for request in requests]
        self.unused.update(name for one in wanted for name in one.unused)
        asked = [self._written(number, *pair) for number, pair in enumerate(zip(texts, wanted, strict=True))]
        answers = [""] * len(asked)
        for done, (number, answer) in enumerate(closed_loop(self._server(), asked, self._users), 1):
            if answer.error:
                self.errors[texts[number]] = answer.error
            else:
                text = self._model.detokenize(answer.tokens) if answer.tokens else answer.text
                answers[number] = cut_at(text, wanted[number].stop)
            self._advance(done / len(asked))
        return answers

    def _written(self, number: int, text: str, how: Sampling) -> GenerationRequest:
        """The request for an answer. A prompt loses its beginning where it leaves no room for one, as in the harness,
        but never more than half of the context.
        """
        prompt: list[int] = []
        room = how.max_tokens
        if not isinstance(self._model, TextModel):
            length = self._model.context_length
            prompt = self._context(text)
            kept = max(length - how.max_tokens, length // 2)
            if len(prompt) > kept:
                self.cut.add(text)
                prompt = prompt[-kept:]
            room = length - len(prompt)
        return GenerationRequest(
            prompt,
            min(how.max_tokens, room),
            text=text,
            temperature=how.temperature,
            seed=self._seed * 1_000_003 + number,
            messages=self._chats.get(text, ()),
            stop=how.stop,
        )

    def _server(self) -> Server:
        if self._users == 1:
            return OneAtATime(self._model)
        if not isinstance(self._model, ServingModel):
            raise EngineError("This engine answers one request at a time.", "Set the suite's concurrency to 1.")
        return self._model.server()

    def _pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Tokens of both; what comes after nothing comes after the model's start token."""
        if context and context not in self._chats:
            return encode_pair(self._model, context, continuation)
        tokens = self._model.tokenize(continuation, add_special=False)
        if context:
            return self._context(context), tokens
        start = self._start()
        return ([start], tokens) if tokens[:1] != [start] else (tokens[:1], tokens[1:])

    def _context(self, text: str) -> list[int]:
        messages = self._chats.get(text)
        if messages is None:
            return self._model.tokenize(text)
        if messages[-1]["role"] != "assistant":
            return self._model.chat_prompt(messages)
        begun = self._model.tokenize(messages[-1]["content"], add_special=False)
        return [*self._model.chat_prompt(messages[:-1]), *begun]

    def _start(self) -> int:
        """The model's start token; where it has none, the token that ends a text, else a line break."""
        texts: Iterable[tuple[str, bool]] = [("", True), *((text, False) for text in _START_TOKENS), ("\n", False)]
        for text, special in texts:
            tokens = self._model.tokenize(text, add_special=special, parse_special=True)
            if len(tokens) == 1:
                return tokens[0]
        raise NotOfferedError("This model has no token to begin a text with.")
