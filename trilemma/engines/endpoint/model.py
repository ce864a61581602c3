"""A model that somebody else's server runs, asked over HTTP."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

from pydantic import JsonValue

from trilemma.catalog.addresses import refuse_metadata
from trilemma.engines.base import (
    ChoiceRequest,
    ChoiceScore,
    Emission,
    FloatArray,
    Generation,
    GenerationRequest,
    MemorySplit,
    Message,
    Prompt,
    TokenCallback,
)
from trilemma.engines.endpoint.answer import MAX_CHARACTERS, TOO_MANY, Answer
from trilemma.engines.endpoint.client import EndpointClient, RequestRefusedError
from trilemma.engines.endpoint.fitting import Fitter
from trilemma.engines.endpoint.process import find_server
from trilemma.engines.endpoint.routes import Routes
from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.engines.remote import ServerProcess, TextCallback
from trilemma.engines.streams import LoopThread, StreamServer
from trilemma.errors import EngineError, LoadError, NotOfferedError
from trilemma.schema import Artifact

UNLIMITED = 1 << 40


class LoadedEndpoint:
    """A connection to a server, which was found to have the model.

    Args:
        artifact: Its path is the address, its model the name there.
        settings: Already checked.
        key: Sent with every request; never shown.

    Raises:
        LoadError: the server cannot be reached, or does not have the model.
        CatalogError: the address leads to a cloud's metadata service.
    """

    def __init__(self, artifact: Artifact, settings: EndpointSettings, key: str = "") -> None:
        refuse_metadata(artifact.path)
        self.artifact = artifact
        self.settings = settings
        self.process: ServerProcess = find_server(artifact.path, settings.port, settings.pid)
        self._notes: dict[str, int] = {}
        self._thread = LoopThread("endpoint")
        try:
            self._client = self._thread.run(self._connect(key))
            self._routes = Routes(self._client, artifact.model, settings)
            self._fitter = Fitter(self._thread, self._routes, self._count)
            self._context = settings.context or self._thread.run(self._stated_context()) or UNLIMITED
        except EngineError as error:
            self.close()
            raise LoadError(f"{artifact.path}: {error.message}", error.hint) from error

    async def _connect(self, key: str) -> EndpointClient:
        # Made where it is used: its locks belong to the event loop.
        return EndpointClient(self.artifact.path, self.settings, key)

    async def _stated_context(self) -> int | None:
        """The longest context as the server lists it; None where it does not say, or has no list."""
        try:
            listed = await self._client.ask("GET", "/models")
        except RequestRefusedError as error:
            if error.status in (404, 405, 501):
                return None
            raise
        models = listed.get("data") if isinstance(listed, dict) else None
        known = [m for m in models if isinstance(m, dict)] if isinstance(models, list) else []
        mine = next((m for m in known if m.get("id") == self.artifact.model), None)
        if known and mine is None:
            names = ", ".join(str(m.get("id"))[:60] for m in known[:5])
            raise LoadError(f"It has no model {self.artifact.model!r}; it has {names}.", "Add the endpoint again.")
        length = (mine or {}).get("max_model_len")
        return length if isinstance(length, int) and length > 0 else None

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may take together, as set or as the server says; else no limit is known."""
        return self._context

    @property
    def vocabulary_size(self) -> int:
        """0: an endpoint does not tell its logits."""
        return 0

    def describe(self) -> dict[str, JsonValue]:
        """Address, model, route, how tokens are counted, whose process is metered, and what was out of the ordinary."""
        return {
            "engine": "endpoint",
            "address": self.artifact.path,
            "model": self.artifact.model,
            "route": self._routes.route,
            "context": None if self._context == UNLIMITED else self._context,
            "prompt_lengths": self._fitter.how,
            "metered_process": self.process.pid,
            "metering": self.process.reason,
            "retried": self._client.retried,
            "notes": dict(self._notes),
        }

    def cost_usd(self, prompt_tokens: int, output_tokens: int) -> float | None:
        """By the prices of the settings; None if they name neither."""
        chosen = self.settings
        if chosen.input_price is None and chosen.output_price is None:
            return None
        return (prompt_tokens * (chosen.input_price or 0.0) + output_tokens * (chosen.output_price or 0.0)) / 1e6

    def memory(self) -> MemorySplit:
        """Not told."""
        return MemorySplit(weights_bytes=None, kv_cache_bytes=None)

    def fit(self, text: str, tokens: int) -> Prompt:
        """``text``, cut at its beginning, as a user's turn of ``tokens`` tokens, as near as this server lets one know.

        Raises:
            ContextError: ``text`` is too short, or ``tokens`` too few for a turn.
        """
        return self._fitter.fit(text, tokens)

    async def _count(self, text: str) -> int:
        """Prompt tokens of ``text`` as a turn, by asking for one token."""
        done = await self._answer(GenerationRequest((), 1, text=text))
        if done.error:
            raise EngineError(done.error)
        return done.prompt_tokens

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Tokens of ``text``, from the server's own tokenizer.

        Raises:
            NotOfferedError: it lends nobody its tokenizer, or cannot leave the start token out.
        """
        if not add_special or parse_special:
            raise NotOfferedError("A server's tokenizer reads whole texts only.", "Measure the weights themselves.")
        return self._thread.run(self._routes.tokenize(text))

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Nothing but the empty text of no tokens.

        Raises:
            NotOfferedError: there are tokens.
        """
        if tokens:
            raise NotOfferedError("An endpoint gives text, not tokens.")
        return ""

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Not known: the template is the server's.

        Raises:
            NotOfferedError: always.
        """
        raise NotOfferedError("The server keeps its chat template to itself.", "Use the chat route.")

    def generate(self, request: GenerationRequest, on_token: TokenCallback | None = None) -> Generation:
        """Ask once; a failed request comes back with its error and as far as it came."""
        return self._thread.run(self._answer(request))

    def generate_text(self, request: GenerationRequest, on_text: TextCallback) -> Generation:
        """As :meth:`generate`, telling the text as it grows."""
        return self._thread.run(self._answer(request, on_text))

    def server(self) -> StreamServer:
        """As many requests at once as there are connections."""
        return StreamServer(self._thread, self.settings.slots, self._stream, self._refuse)

    def _refuse(self, request: GenerationRequest) -> None:
        if not (request.text or request.messages) or request.max_tokens < 1:
            raise EngineError("A request needs a text and at least one output token.")
        if request.messages and self.settings.api != "chat":
            raise NotOfferedError("The completions route takes no conversation.", "Set api to chat.")

    async def _stream(self, ticket: int, request: GenerationRequest) -> AsyncIterator[Emission]:
        outcome = await self._answer(request)
        yield Emission(ticket, None, time.perf_counter_ns(), True, outcome=outcome)

    async def _answer(self, request: GenerationRequest, on_text: TextCallback | None = None) -> Generation:
        answer = Answer(time.perf_counter_ns())
        while True:
            try:
                # Closed at once when enough has come, so that the server stops too.
                async with aclosing(self._client.events(self._routes.route, self._routes.body(request))) as events:
                    async for at_ns, event in events:
                        answer.add(at_ns, event)
                        if on_text:
                            on_text("".join(answer.texts), at_ns)
                        if answer.characters > MAX_CHARACTERS:
                            return answer.done("The server sends an endless answer.")
                        if answer.length > request.max_tokens + TOO_MANY:
                            return answer.done(f"The server ignores the limit of {request.max_tokens} tokens.")
            except RequestRefusedError as error:
                if not answer.times_ns and self._routes.simplify(error):
                    continue
                return answer.done(str(error))
            except EngineError as error:
                return answer.done(str(error))
            return self._judged(answer, request)

    def _judged(self, answer: Answer, request: GenerationRequest) -> Generation:
        """The whole answer; what is out of the ordinary about it is noted for the run."""
        if not answer.times_ns:
            return answer.done("The server ended the answer without a token.")
        if answer.output_tokens is None:
            self._note("answers whose tokens the server did not count, so that chunks were")
        if answer.cached_tokens:
            self._note("prompts of which the server took a part from its cache")
        if request.ignore_eos and answer.length < request.max_tokens:
            self._note("answers that ended before the length that was asked for")
        return answer.done()

    def _note(self, text: str) -> None:
        self._notes[text] = self._notes.get(text, 0) + 1

    def score_choices(self, requests: Sequence[ChoiceRequest]) -> Iterator[ChoiceScore]:
        """Log-probabilities of prompts given as tokens, where the server echoes them.

        Raises:
            NotOfferedError: it does not.
        """
        from trilemma.engines.endpoint.scoring import score_choices  # noqa: PLC0415 (needed by few processes)

        return score_choices(self._thread, self._client, self.artifact.model, self.settings.slots, requests)

    def logits(self, chunks: Sequence[Sequence[int]], *, first: int = 0) -> Iterator[FloatArray]:
        """Not told.

        Raises:
            NotOfferedError: always.
        """
        raise NotOfferedError("An endpoint does not tell its logits.", "Measure the weights themselves.")

    def close(self) -> None:
        """Close the connections; a second call does nothing."""
        client: Any = getattr(self, "_client", None)
        if client is not None and not self._thread.loop.is_closed():
            self._thread.run(client.close())
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
