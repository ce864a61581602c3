"""An engine double for the fault campaign, found by an entry point like any engine: it answers at once, hangs for ever,
or fills the memory, as the configuration says.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, JsonValue

from trilemma.engines.base import (
    Availability,
    ChoiceRequest,
    ChoiceScore,
    FloatArray,
    Generation,
    GenerationRequest,
    MemorySplit,
    TokenCallback,
)
from trilemma.errors import EngineError
from trilemma.schema import Artifact

NAME = "faulty"
Moment = Literal["never", "load", "answer", "close"]
_STEP_BYTES = 8 << 20


class Settings(BaseModel):
    """When it fails, and how."""

    context: int = 512
    token_s: float = 0.004
    hang_at: Moment = "never"
    grow_at: Moment = "never"
    address_space_bytes: int = 0
    """How much more address space it gives itself before it grows; 0 for no limit."""
    number: int = 0
    """Makes another measurement of it."""


class FaultyModel:
    """Answers with its prompt's length, token by token."""

    vocabulary_size = 0

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.context_length = settings.context
        self._kept: list[bytearray] = []

    def fail(self, moment: Moment) -> None:
        """Do what is to be done now, if anything."""
        while self._settings.hang_at == moment:
            time.sleep(3600)
        if self._settings.grow_at == moment:
            if more := self._settings.address_space_bytes:
                now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
                resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))
            while True:
                self._kept.append(bytearray(b"x" * _STEP_BYTES))

    def describe(self) -> dict[str, JsonValue]:
        """What the store shows of it."""
        return {"engine": NAME, "version": "1"}

    def memory(self) -> MemorySplit:
        """Next to nothing."""
        return MemorySplit(weights_bytes=1, kv_cache_bytes=1)

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """A token a byte."""
        return list(text.encode())

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The bytes, as far as they are text."""
        return bytes(token % 256 for token in tokens).decode(errors="replace")

    def chat_prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """Roles in angle brackets."""
        return self.tokenize("".join(f"<{message['role']}>{message['content']}" for message in messages))

    def generate(self, request: GenerationRequest, on_token: TokenCallback | None = None) -> Generation:
        """Letters of the alphabet."""
        submitted = time.perf_counter_ns()
        tokens, times = [], []
        for number in range(request.max_tokens):
            time.sleep(self._settings.token_s)
            tokens.append(65 + number % 26)
            times.append(time.perf_counter_ns())
            if number == request.max_tokens // 2:
                self.fail("answer")
            if on_token is not None:
                on_token(tokens[-1], times[-1])
        return Generation(submitted, tokens, times, prefilled_tokens=len(request.prompt))

    def score_choices(self, requests: Sequence[ChoiceRequest]) -> Iterator[ChoiceScore]:
        """Not offered."""
        raise EngineError("The double scores nothing.", "Measure without suites.")

    def logits(self, chunks: Sequence[Sequence[int]], *, first: int = 0) -> Iterator[FloatArray]:
        """Not offered."""
        raise EngineError("The double scores nothing.", "Measure without suites.")

    def close(self) -> None:
        """Fail, if then."""
        self.fail("close")

    def __enter__(self) -> FaultyModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FaultyEngine:
    """The double."""

    name: ClassVar[str] = NAME
    formats: ClassVar[tuple[str, ...]] = ("gguf",)
    settings_type: ClassVar[type[BaseModel]] = Settings

    def availability(self) -> Availability:
        """Always."""
        return Availability(True, "1")

    def check(self, artifact: Artifact, settings: dict[str, JsonValue]) -> None:
        """Only whether the settings are known."""
        Settings.model_validate(settings)

    def load(self, artifact: Artifact, settings: dict[str, JsonValue]) -> FaultyModel:
        """Fail, if then."""
        model = FaultyModel(Settings.model_validate(settings))
        model.fail("load")
        return model
