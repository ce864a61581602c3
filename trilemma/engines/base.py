"""What an engine must do. An engine is found by name (entry point group ``trilemma.engines``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, JsonValue, ValidationError

from trilemma.errors import EngineError
from trilemma.schema import Artifact

S = TypeVar("S", bound=BaseModel)
FloatArray = npt.NDArray[np.float32]
TokenTiming = Literal["token", "chunk", "estimate"]
"""Whether each token was timed, or only chunks of several (the gaps between tokens are then unknown), or chunks were
taken for tokens because nobody counted those."""
TokenCallback = Callable[[int, int], None]
"""Called with (token, ``perf_counter_ns``) as each token is known."""


class Availability(NamedTuple):
    """Whether an engine (or meter) can be used here; if not, why and the command that mends it."""

    available: bool
    detail: str
    remedy: str = ""

    @property
    def version(self) -> str:
        """What it would measure with; empty where it cannot be used. Another version is another measurement."""
        return self.detail if self.available else ""


class Prompt(NamedTuple):
    """What is asked: tokens, or for an engine that takes text (:class:`TextModel`) what the user says."""

    tokens: Sequence[int]
    text: str = ""
    length: int = 0
    """Tokens as near as the engine can tell, where ``tokens`` is empty."""


Message = Mapping[str, str]
"""One turn of a conversation: its ``role`` and its ``content``."""


@dataclass(frozen=True)
class GenerationRequest:
    """Greedy (``temperature`` 0) or sampled generation from a tokenised prompt.

    Engines that take text (:class:`TextModel`) are asked with ``messages``, or with ``text`` as the only one.

    The answer ends with the token that completes one of ``stop`` in its text. ``schema`` is a JSON schema, as JSON,
    that the answer is made to match (constrained decoding).
    """

    prompt: Sequence[int]
    max_tokens: int
    text: str = ""
    ignore_eos: bool = False
    temperature: float = 0.0
    seed: int = 0
    messages: tuple[Message, ...] = ()
    stop: tuple[str, ...] = ()
    schema: str = ""


@dataclass(frozen=True)
class Generation:
    """What came of a request. Times are ``perf_counter_ns``; engine times are the engine's own counters.

    ``token_times_ns`` has one time an output token. ``tokens`` is empty where the engine gives text only, which then is
    in ``text``.
    """

    submitted_ns: int
    tokens: list[int]
    token_times_ns: list[int]
    prefilled_tokens: int
    engine_prefill_s: float | None = None
    engine_decode_s: float | None = None
    engine_decoded_tokens: int = 0
    text: str = ""
    token_timing: TokenTiming = "token"
    error: str = ""
    prompt_tokens: int = 0
    """As a server counts them, where it does."""


class Emission(NamedTuple):
    """What one of several requests that are answered at once has just given; ``time_ns`` as ``perf_counter_ns``."""

    ticket: int
    token: int | None
    """None where the engine gives text only, and in a last emission that only ends the request."""
    time_ns: int
    last: bool
    text: str = ""
    outcome: Generation | None = None
    """With the last emission of an engine that keeps its own record of the request: that record, error included. Its
    ``submitted_ns`` is when the engine sent it."""


@dataclass(frozen=True)
class ChoiceRequest:
    """A context and the continuations whose log-probability is wanted, all as tokens."""

    context: Sequence[int]
    continuations: Sequence[Sequence[int]]


@dataclass(frozen=True)
class ChoiceScore:
    """The summed natural log-probability of each continuation, and whether greedy decoding would give it."""

    logprobs: list[float]
    greedy: list[bool]


@dataclass(frozen=True)
class MemorySplit:
    """What the engine says it allocated, bytes; None where it does not say.

    An engine that sets a pool for keys and values aside ahead says in ``reserved_bytes`` how large it is, in
    ``kv_cache_bytes`` how much of it was ever in use, and in ``pool`` where it is.
    """

    weights_bytes: int | None
    kv_cache_bytes: int | None
    compute_bytes: int | None = None
    reserved_bytes: int | None = None
    pool: Literal["host", "gpu"] = "host"
    detail: dict[str, JsonValue] = field(default_factory=dict)


class LoadedModel(Protocol):
    """An artifact loaded with one engine and one set of settings; a context manager that frees it."""

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may take together."""

    @property
    def vocabulary_size(self) -> int:
        """Width of the logits; 0 where an engine does not give any."""

    def describe(self) -> dict[str, JsonValue]:
        """Engine name, version, build, threads and whatever else is needed to repeat the run."""

    def memory(self) -> MemorySplit:
        """What serving takes, as the engine accounts for it."""

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Tokens of ``text``; ``add_special`` adds the model's start token where the model wants one."""

    def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of ``tokens``; undecodable bytes are replaced."""

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation in the model's chat template, ready for the assistant's answer."""

    def generate(self, request: GenerationRequest, on_token: TokenCallback | None = None) -> Generation:
        """Generate from an empty cache.

        Raises:
            ContextError: prompt and output do not fit the context.
            EngineError: the engine failed, or did not prefill the whole prompt.
            NotOfferedError: it decodes under no schema, or not under this one.
        """

    def score_choices(self, requests: Sequence[ChoiceRequest]) -> Iterator[ChoiceScore]:
        """Scores in the order of ``requests``; a shared context is evaluated once."""

    def logits(self, chunks: Sequence[Sequence[int]], *, first: int = 0) -> Iterator[FloatArray]:
        """For each chunk of tokens (at most ``context_length``), from an empty cache, the logits after tokens
        ``first`` ... ``len(chunk) - 1``: shape (len(chunk) - first, vocabulary_size). The array may be reused by the
        next step: copy what must be kept.
        """

    def close(self) -> None:
        """Free the weights and the cache."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Server(Protocol):
    """Answers several requests at once."""

    @property
    def slots(self) -> int:
        """How many are answered at once; more have to wait."""

    def submit(self, request: GenerationRequest) -> int:
        """Queue a request; returns the ticket that its tokens carry.

        Raises:
            EngineError: it cannot be answered.
        """

    def step(self, timeout_s: float | None = None) -> list[Emission]:
        """The next tokens of any request; may be empty while prompts are read, or with nothing in flight.

        Args:
            timeout_s: How long a server that works in the background is waited for; None for as long as it takes. One
                that works in this very call does one step whatever it says.

        Raises:
            EngineError: the engine failed.
        """


@runtime_checkable
class TextModel(Protocol):
    """A loaded model that is asked in text: its tokens are known to somebody else's tokenizer only."""

    def fit(self, text: str, tokens: int) -> Prompt:
        """``text``, cut at its beginning, as a user's turn of ``tokens`` tokens, as near as the engine can tell.

        Raises:
            ContextError: ``text`` is too short, or ``tokens`` too few for a turn.
        """


@runtime_checkable
class ServingModel(LoadedModel, Protocol):
    """A loaded model that can answer several requests at once."""

    def server(self) -> Server:
        """A server over the loaded weights; only one at a time, and no :meth:`generate` meanwhile."""


class Engine(Protocol):
    """One small class an engine; its package is imported in :meth:`load`, never before."""

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    settings_type: ClassVar[type[BaseModel]]

    def availability(self) -> Availability:
        """Whether the engine can run here, found without importing it."""

    def check(self, artifact: Artifact, settings: dict[str, JsonValue]) -> None:
        """Refuse what cannot work before anything is loaded. Quick: the dashboard calls it for every configuration.

        Raises:
            EngineError: settings are wrong, the context is larger than the model's, or memory will not do.
        """

    def load(self, artifact: Artifact, settings: dict[str, JsonValue]) -> LoadedModel:
        """Load ``artifact``.

        Raises:
            EngineError: it is missing, refused or does not fit.
        """


@runtime_checkable
class GpuEngine(Engine, Protocol):
    """An engine that can compute on GPUs; one without this method is taken to compute on the CPU."""

    def gpus_used(self, settings: dict[str, JsonValue]) -> int:
        """How many of the visible GPUs it will take, the first ones; 0 if it stays on the CPU."""


@runtime_checkable
class AdaptingEngine(Protocol):
    """An engine that applies LoRA adapters."""

    adapter_formats: ClassVar[tuple[str, ...]]

    def load_adapted(self, artifact: Artifact, settings: dict[str, JsonValue], adapter: Artifact) -> LoadedModel:
        """Load ``artifact`` with ``adapter`` applied to all that it does.

        Raises:
            EngineError: as :meth:`Engine.load`, or the adapter does not go with the model.
        """


def settings_of_answers(settings_type: type[BaseModel], settings: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """``settings`` with defaults filled in, without those that change no answer (``speed_only`` in their schema).

    Raises:
        EngineError: a field is unknown or out of range.
    """
    chosen = parse_settings(settings_type, settings).model_dump(mode="json")
    extras = {name: field.json_schema_extra for name, field in settings_type.model_fields.items()}
    speed_only = {name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("speed_only")}
    return {name: value for name, value in chosen.items() if name not in speed_only}


def parse_settings(settings_type: type[S], settings: dict[str, JsonValue]) -> S:
    """``settings`` as the engine's own type.

    Raises:
        EngineError: a field is unknown or out of range; the message names it.
    """
    try:
        return settings_type.model_validate(settings)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in item['loc']) or 'the combination'}: {item['msg']}"
            for item in error.errors(include_url=False, include_input=False)
        ]
        known = ", ".join(settings_type.model_fields)
        raise EngineError(
            f"An engine setting is wrong ({'; '.join(problems)}).", f"Correct it; the settings are {known}."
        ) from error
