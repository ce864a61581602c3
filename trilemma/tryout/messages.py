"""What dashboard, host and answering process tell each other, one JSON object a line; every line is checked."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from trilemma.schema import Artifact, Configuration, EnergyCoefficients, Frozen, Method

LONGEST_PROMPT = 20_000
"""Characters."""
MOST_TOKENS = 2048
AT_MOST = 5
"""Configurations that answer one prompt."""
Ended = Literal["", "end", "length"]
"""Of an answer: not yet, by the model, or at the greatest length."""
_BIDI = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


class Contender(Frozen):
    """A configuration with all that its process needs to load it."""

    configuration: Configuration
    artifact: Artifact
    adapter: Artifact | None = None

    @property
    def id(self) -> str:
        """The configuration's."""
        return self.configuration.id


class Question(Frozen):
    """What is asked, and how."""

    prompt: str = Field(min_length=1, max_length=LONGEST_PROMPT)
    max_tokens: int = Field(ge=1, le=MOST_TOKENS)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    seed: int = Field(default=0, ge=0, lt=1 << 31)


class Ask(Frozen):
    """A question to several configurations, which answer it in this order, each alone."""

    contenders: tuple[Contender, ...] = Field(min_length=1, max_length=AT_MOST)
    question: Question
    energy: EnergyCoefficients = EnergyCoefficients()


class Task(Frozen):
    """What one answering process is to do."""

    contender: Contender
    question: Question


class Loading(Frozen):
    """Its process has been started."""

    kind: Literal["loading"] = "loading"


class Ready(Frozen):
    """It is loaded and warm. ``pid`` is whom to meter; where that is nobody, ``reason`` says why."""

    kind: Literal["ready"] = "ready"
    pid: int | None
    elsewhere: bool = Field(default=False, description="Another process than the answering one.")
    reason: str = ""
    load_s: float = Field(ge=0.0)


class Written(Frozen):
    """The answer so far, or with ``ended`` all of it. Times are ``perf_counter_ns``, one clock for the machine."""

    kind: Literal["written"] = "written"
    text: str
    tokens: int = Field(ge=0)
    counted: bool = Field(default=True, description="False where pieces of text were taken for tokens.")
    submitted_ns: int
    first_ns: int | None = None
    last_ns: int | None = None
    ended: Ended = ""

    @property
    def ttft_s(self) -> float | None:
        """Submission to first token, s."""
        return None if self.first_ns is None else (self.first_ns - self.submitted_ns) / 1e9

    @property
    def decode_tps(self) -> float | None:
        """Tokens a second after the first one, 1 / ``tpot_s``; None before there are two, or where nobody counts."""
        if not self.counted or self.tokens < 2 or self.first_ns is None or self.last_ns is None:
            return None
        if self.last_ns <= self.first_ns:
            return None
        return (self.tokens - 1) / ((self.last_ns - self.first_ns) / 1e9)


class Reading(Frozen):
    """What its processes take; None where that is not known, and then perhaps ``note`` why."""

    kind: Literal["reading"] = "reading"
    memory_bytes: float | None = None
    memory_kind: str = ""
    gpu_memory_bytes: float | None = None
    power_w: float | None = None
    method: Method | None = Field(default=None, description="How power is known.")
    mean: bool = Field(default=False, description="Power is the mean over the whole answer, memory that at its end.")
    note: str = ""
    disturbances: tuple[str, ...] = Field(default=(), description="What others did meanwhile; of the whole answer.")


class Failed(Frozen):
    """It does not answer, and why."""

    kind: Literal["failed"] = "failed"
    reason: str
    log: str = ""


Word = Annotated[Loading | Ready | Written | Reading | Failed, Field(discriminator="kind")]
WORD: TypeAdapter[Word] = TypeAdapter(Word)
"""What is said of one configuration, by its process or by the host."""


class Told(Frozen):
    """What the host tells the dashboard."""

    configuration_id: str
    word: Word


TOLD: TypeAdapter[Told] = TypeAdapter(Told)


def clean(text: str) -> str:
    """``text`` with U+FFFD for what no file, terminal or page should be given.

    That is halves of characters, control characters other than line feed and tab (ANSI sequences begin with one), and
    what turns the direction of writing, so that a text could read otherwise than it is.
    """
    # Most texts are all letters and spaces, which is known at once.
    return text if text.isprintable() else "".join("\ufffd" if _hidden(c) else c for c in text)


def _hidden(character: str) -> bool:
    if character in "\n\t":
        return False
    return unicodedata.category(character) in ("Cc", "Cs") or unicodedata.bidirectional(character) in _BIDI
