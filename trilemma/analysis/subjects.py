"""What the subject of a measurement says: a suite, or a workload and under which load it was measured."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

_SUBJECT = re.compile(
    r"^(?P<name>[^ ]+)(?P<trace> trace [0-9a-f]+)?(?: x(?P<users>\d+)| (?P<rate>[\d.e+-]+)/s)?(?P<think> think .+)?$"
)

Kind = Literal["users", "rate"]


class Level(NamedTuple):
    """What a measurement's subject says of the load: the workload, what is raised, and how far."""

    workload: str
    kind: Kind
    value: float

    @property
    def words(self) -> str:
        """``4 users``, ``2 requests/s``."""
        if self.kind == "rate":
            return f"{self.value:g} requests/s"
        return "1 user" if self.value == 1 else f"{self.value:g} users"


def level_of(subject: str) -> Level | None:
    """The load in ``subject`` (see :attr:`trilemma.schema.WorkloadSpec.subject`); None where it is no workload's."""
    match = _SUBJECT.match(subject)
    if match is None:
        return None
    workload = match["name"] + (match["trace"] or "") + (match["think"] or "")
    try:
        kind: Kind = "users" if match["rate"] is None else "rate"
        return Level(workload, kind, float(match["rate"] or match["users"] or 1))
    except ValueError:  # such as "e+/s", which only a link made up by somebody has
        return None


def subject_title(subject: str) -> str:
    """``short chat, 4 users``; one user alone is not mentioned."""
    level = level_of(subject)
    if level is None or level == (subject, "users", 1.0):
        return subject.replace("_", " ")
    return f"{level.workload.replace('_', ' ')}, {level.words}"
