"""Recorded traces: what was asked, how long it was and when it came, one JSON object a line.

``arrival_s``      seconds from the beginning; all lines have one, or none has
``prompt``         what the user says, or ``messages``: a conversation, of which the last message is the user's
``prompt_tokens``  length of the prompt where its words are not known
``output_tokens``  length of the answer
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from trilemma import kept_files
from trilemma.errors import StudyError
from trilemma.schema import Frozen

MAX_BYTES = 64 * 2**20
MAX_LINES = 100_000
_MAX_CHARS = 1_000_000
_SUFFIX = ".jsonl"


class Message(Frozen):
    """One turn of a conversation."""

    role: str = Field(max_length=20)
    content: str = Field(max_length=_MAX_CHARS)


class TraceLine(Frozen):
    """One request of a trace."""

    arrival_s: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    prompt: str | None = Field(default=None, max_length=_MAX_CHARS)
    messages: tuple[Message, ...] = Field(default=(), max_length=1000)
    prompt_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    output_tokens: int | None = Field(default=None, ge=2, le=10_000_000)

    @model_validator(mode="after")
    def _says_what_is_asked(self) -> Self:
        if self.prompt is None and not self.messages and self.prompt_tokens is None:
            raise ValueError("a line needs prompt, messages or prompt_tokens")
        return self

    @property
    def conversation(self) -> list[dict[str, str]]:
        """What is said, as a chat template takes it; empty where only its length is known."""
        if self.messages:
            return [{"role": message.role, "content": message.content} for message in self.messages]
        return [] if self.prompt is None else [{"role": "user", "content": self.prompt}]


def parse(data: bytes) -> tuple[TraceLine, ...]:
    """The lines of a trace, in the order in which they arrive.

    Raises:
        StudyError: it is too large, empty, or a line is wrong; the message names the line.
    """
    if len(data) > MAX_BYTES:
        raise StudyError(f"The trace is larger than {MAX_BYTES >> 20} MiB.", "Use a part of it.")
    lines: list[TraceLine] = []
    for number, text in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not text.strip():
            continue
        if len(lines) == MAX_LINES:
            raise StudyError(f"The trace has more than {MAX_LINES:,} requests.", "Use a part of it.")
        try:
            lines.append(TraceLine.model_validate(json.loads(text)))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise StudyError(f"Line {number} of the trace: {where}: {first['msg']}.", "Mend the line.") from error
        except (ValueError, RecursionError) as error:
            raise StudyError(f"Line {number} of the trace is no JSON object.", "Mend the line.") from error
    if not lines:
        raise StudyError("The trace has no request.", "Give a file with one JSON object a line.")
    timed = sum(line.arrival_s is not None for line in lines)
    if timed not in (0, len(lines)):
        raise StudyError(
            f"{timed} of {len(lines)} lines of the trace say when they arrive.", "Give all lines arrival_s, or none."
        )
    return tuple(sorted(lines, key=lambda line: line.arrival_s or 0.0))


def add(folder: Path, data: bytes) -> str:
    """Check a trace and keep it in ``folder`` under its SHA-256, which is returned.

    Raises:
        StudyError: as :func:`parse`, or it cannot be written.
    """
    parse(data)
    try:
        return kept_files.keep(folder, _SUFFIX, data)
    except OSError as error:
        raise StudyError(
            f"The trace cannot be kept in {folder} ({error.strerror}).", "Check its permissions."
        ) from error


def load(folder: Path, digest: str) -> tuple[TraceLine, ...]:
    """The trace that :func:`add` kept.

    Raises:
        StudyError: it is gone or was changed.
    """
    try:
        data = kept_files.read(folder, _SUFFIX, digest)
    except OSError as error:
        raise StudyError(
            f"The trace {digest[:12]} is not in {folder}.", "Add it with `trilemma traces add`."
        ) from error
    except kept_files.ChangedError:
        raise StudyError(f"The trace {digest[:12]} was changed.", "Add it again with `trilemma traces add`.") from None
    return parse(data)


def find(folder: Path, beginning: str) -> str:
    """The digest that begins so.

    Raises:
        StudyError: none or several do.
    """
    hits = kept_files.beginning_with(folder, _SUFFIX, beginning)
    if len(hits) != 1:
        found = "Several traces begin" if hits else "No trace begins"
        raise StudyError(f"{found} with {beginning[:64]!r}.", "`trilemma traces` lists them; add one with its `add`.")
    return hits[0]


def known(folder: Path) -> Sequence[str]:
    """The digests of the traces in ``folder``."""
    return kept_files.known(folder, _SUFFIX)
