"""What this server's dialect of OpenAI's routes is: how requests are worded, and whether it lends its tokenizer."""

from __future__ import annotations

import json
from typing import Any

from trilemma.engines.base import GenerationRequest
from trilemma.engines.endpoint.client import EndpointClient, RequestRefusedError
from trilemma.engines.endpoint.settings import EndpointSettings
from trilemma.errors import NotOfferedError

_EXTRAS: tuple[dict[str, Any], ...] = (
    # The usage of every chunk is vLLM's own; that of the whole answer is OpenAI's.
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}, "ignore_eos": True},
    {"stream_options": {"include_usage": True}, "ignore_eos": True},
    {"stream_options": {"include_usage": True}},
    {},
)
"""What is asked for beyond the common ground, from most to least: a server that refuses one is asked with the next."""
MAX_STOPS = 4
"""As many as OpenAI's own server takes; an answer that runs past another one is cut when it is scored."""


class Routes:
    """Requests in the words of one server.

    Args:
        client: The server.
        model: The model's name there.
        settings: Which route.
    """

    def __init__(self, client: EndpointClient, model: str, settings: EndpointSettings) -> None:
        self._client = client
        self._model = model
        self._settings = settings
        self.extras = 0
        self.counts_by = ""

    @property
    def route(self) -> str:
        """The route that answers."""
        return "/chat/completions" if self._settings.api == "chat" else "/completions"

    @property
    def obeys_length(self) -> bool:
        """Whether the server was asked to go on past the end of the text."""
        return "ignore_eos" in _EXTRAS[self.extras]

    def body(self, request: GenerationRequest) -> dict[str, Any]:
        """The document that asks for ``request`` as a stream."""
        asked: dict[str, Any] = {
            "model": self._model,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "seed": request.seed,
        }
        if self._settings.api == "chat":
            said = request.messages or ({"role": "user", "content": request.text},)
            asked["messages"] = [dict(message) for message in said]
        else:
            asked["prompt"] = request.text
        if request.stop:
            asked["stop"] = list(request.stop)[:MAX_STOPS]
        if request.schema:
            schema = {"name": "answer", "schema": json.loads(request.schema)}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        extras = dict(_EXTRAS[self.extras])
        if not request.ignore_eos:
            extras.pop("ignore_eos", None)
        return asked | extras

    def simplify(self, error: RequestRefusedError) -> bool:
        """Ask for less from now on, if ``error`` may mean that; whether there is less to ask for."""
        if error.status not in (400, 422) or self.extras == len(_EXTRAS) - 1:
            return False
        self.extras += 1
        return True

    async def tokenize(self, text: str) -> list[int]:
        """Token ids, from the server's own tokenizer.

        Raises:
            NotOfferedError: the server has no route for that.
        """
        for name, route, body, root in self._tokenizers(text):
            if self.counts_by not in ("", name):
                continue
            try:
                answer = await self._client.ask("POST", route, body, root=root, once=not self.counts_by)
            except RequestRefusedError as error:
                if error.status in (0, 401, 403, 429):
                    raise
                continue
            tokens = answer.get("tokens") if isinstance(answer, dict) else None
            if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens):
                self.counts_by = name
                return tokens
        raise NotOfferedError(
            "This server lends nobody its tokenizer.", "Suites need one: measure with vLLM or llama.cpp."
        )

    def _tokenizers(self, text: str) -> list[tuple[str, str, dict[str, Any], bool]]:
        return [
            ("vLLM's /tokenize", "/tokenize", {"model": self._model, "prompt": text}, True),
            ("llama-server's /tokenize", "/tokenize", {"content": text, "add_special": True}, True),
            ("llama-cpp-python's /extras/tokenize", "/extras/tokenize", {"input": text}, True),
        ]
