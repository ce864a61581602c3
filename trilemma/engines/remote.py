"""What an engine must do whose model runs in a process of somebody else's: say whom to meter, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import JsonValue

from trilemma.engines.base import Generation, GenerationRequest

TextCallback = Callable[[str, int], None]
"""Called with (text so far, ``perf_counter_ns``) as an answer grows."""


class PowerQuery(NamedTuple):
    """A Prometheus server, and the query for a power, W, or for a counter of energy, J."""

    url: str
    query: str
    unit: Literal["W", "J"] = "W"


class ServerProcess(NamedTuple):
    """Whom to meter instead of the measured process: a process of this machine, or nobody, and why."""

    pid: int | None
    reason: str


@runtime_checkable
class RemoteModel(Protocol):
    """A loaded model that another process runs, here or elsewhere."""

    process: ServerProcess

    def cost_usd(self, prompt_tokens: int, output_tokens: int) -> float | None:
        """What so many tokens cost, USD; None where no price is known."""


@runtime_checkable
class MeteredElsewhere(Protocol):
    """An engine whose power another program reads."""

    def power_query(self, settings: dict[str, JsonValue]) -> PowerQuery | None:
        """Where the power of what ``settings`` name can be asked for; None if nowhere.

        Raises:
            EngineError: a setting is wrong.
        """


@runtime_checkable
class TextStreamer(Protocol):
    """A loaded model that tells an answer as text while it is written: its tokens are somebody else's."""

    def generate_text(self, request: GenerationRequest, on_text: TextCallback) -> Generation:
        """As :meth:`~trilemma.engines.base.LoadedModel.generate`, with text in place of tokens."""
