"""The file: a ZIP archive of JSON.

``manifest.json``    format and version, the figures' definition versions, and of each other member its SHA-256 and size
``study.json``       the study
``artifacts.jsonl``  what was measured, by name and hash; weights are not in it
``votes.jsonl``      blind votes between answers
``runs.jsonl``       one run that is over a line, with everything that it recorded

The same study gives the same members, byte for byte, from whatever database. Nothing in it names a file: no member is
ever unpacked under its name.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from trilemma.schema import Frozen

VERSION = 1
MANIFEST, STUDY, ARTIFACTS, VOTES, RUNS = "manifest.json", "study.json", "artifacts.jsonl", "votes.jsonl", "runs.jsonl"
MEMBERS = (STUDY, ARTIFACTS, VOTES, RUNS)
SUFFIX = ".trilemma.zip"

MAX_BYTES = 4 * 2**30
"""Of all members together, unpacked."""
MAX_SMALL_BYTES = 64 * 2**20
"""Of the manifest and of the study, and of one artifact or vote."""
MAX_RUN_BYTES = 2**30
"""Of one run with all of its samples, which are the more the longer it is and the more GPUs it has."""
MAX_LISTS_BYTES = 256 * 2**20
"""Of the lists of artifacts and votes, each of which is held in memory as a whole."""
MAX_RATIO = 300
"""Unpacked to packed, of a member larger than RATIO_FROM_BYTES: JSON of measurements has 5 to 20."""
RATIO_FROM_BYTES = 2**20
MAX_LINE_BYTES = {**dict.fromkeys((MANIFEST, STUDY, ARTIFACTS, VOTES), MAX_SMALL_BYTES), RUNS: MAX_RUN_BYTES}
MAX_LINES = {ARTIFACTS: 100_000, VOTES: 1_000_000, RUNS: 100_000}

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,32}$")]
"""Ids of studies, runs and votes are random hex digits; they become parts of queries, links and names of logs."""


class Member(Frozen):
    """What a member must be."""

    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size: int = Field(ge=0, le=MAX_BYTES)


class Manifest(Frozen):
    """The manifest."""

    format: Literal["trilemma-study"] = "trilemma-study"
    version: int = Field(ge=1)
    figures: dict[str, tuple[int, ...]] = Field(
        description="Under which versions of their definitions the figures in it were computed."
    )
    members: dict[Literal["study.json", "artifacts.jsonl", "votes.jsonl", "runs.jsonl"], Member]


def line(value: BaseModel) -> bytes:
    """A value as one line of JSON, the same for the same value."""
    text = json.dumps(value.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return text.encode() + b"\n"
