"""Why an answer was scored as it was: the detail that a suite left, as tables and lines that people read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from trilemma.analysis.format import digits
from trilemma.figures import FIGURES
from trilemma.records import AnswerRecord

LONGEST = 20_000
"""Characters of a text that are shown; a model can write without end."""
_ROWS = 200
_TITLES = {
    "error": "The request failed",
    "found": "Found in the answer",
    "found_strict": "Found in the wanted form",
    "cut": "Cut at the longest answer allowed",
    "seconds": "Seconds",
    "output_tokens": "Output tokens",
    "steps": "Requests",
    "energy_j": "Energy, J",
    "energy_method": "That energy is",
    "truncated_tokens": "Tokens cut off the question's beginning",
}
_FIRST = ("error", "cut", "found", "found_strict")
# Shown as a table, or of use to no reader.
_HIDDEN = {
    "choices", "logprobs", "lengths", "tokens", "expected_index", "chosen_index", "chosen_norm_index", "trace",
    "requests", "source", "contexts", "context_tokens",
}  # fmt: skip


@dataclass(frozen=True)
class Reasons:
    """``lines``: name to value. ``tables``: name to rows, such as the choices or the instructions. ``texts``: long."""

    lines: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def shortened(text: str, limit: int = LONGEST) -> str:
    """``text``, or its beginning and how much is left out."""
    return text if len(text) <= limit else f"{text[:limit]}\n[{len(text) - limit:,} more characters]"


def reasons(answer: AnswerRecord) -> Reasons:
    """What is known of how ``answer`` came to its scores; nothing in it is trusted to have a certain form."""
    found = Reasons(lines={_title(name): digits(value) for name, value in answer.scores.items()})
    if choices := _choices(answer.detail):
        found.tables["Choices"] = choices
    order = [*_FIRST, *(name for name in answer.detail if name not in _FIRST)]
    for name in order:
        value = answer.detail.get(name)
        if name in _HIDDEN or value is None or value in ("", [], {}) or (name == "truncated_tokens" and not value):
            continue
        title = _title(name)
        if rows := _rows(value):
            found.tables[title] = rows
        elif isinstance(value, dict | list) or (isinstance(value, str) and (len(value) > 80 or "\n" in value)):
            found.texts[title] = shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        else:
            found.lines[title] = _short(value)
    return found


def _title(name: str) -> str:
    known = FIGURES[name].title if name in FIGURES else name.replace("_", " ").capitalize()
    return _TITLES.get(name, known)


def _rows(value: JsonValue) -> list[dict[str, str]]:
    """A list of objects as a table; nothing where it is anything else."""
    if not isinstance(value, list):
        return []
    found = [row for row in value[:_ROWS] if isinstance(row, dict)]
    # What is nested is long: last, so that verdicts stay in sight.
    ordered = [sorted(row, key=lambda key: isinstance(row[key], dict | list)) for row in found]
    rows = [{key: _short(row[key]) for key in keys} for row, keys in zip(found, ordered, strict=True)]
    return rows if len(rows) == min(len(value), _ROWS) else []


def _choices(detail: Mapping[str, JsonValue]) -> list[dict[str, str]]:
    """A row a choice, with its log-probability in nats, per character too, and what was right and taken."""
    choices, logprobs = detail.get("choices"), detail.get("logprobs")
    if not isinstance(choices, list) or not isinstance(logprobs, list) or len(choices) != len(logprobs):
        return []
    lengths = detail.get("lengths")
    rows = []
    for position, (choice, logprob) in enumerate(zip(choices[:_ROWS], logprobs, strict=False)):
        marks = (
            ("expected_index", "expected"), ("chosen_index", "taken"), ("chosen_norm_index", "taken per character"),
        )  # fmt: skip
        row = {"": ", ".join(words for name, words in marks if detail.get(name) == position)}
        row["log-probability"] = _number(logprob)
        if isinstance(lengths, list) and len(lengths) == len(choices):
            length = lengths[position]
            if isinstance(length, int | float) and isinstance(logprob, int | float) and length:
                row["per character"] = _number(logprob / length)
        rows.append({**row, "choice": _short(choice)})
    return rows


def _number(value: JsonValue) -> str:
    return digits(float(value), 5) if isinstance(value, int | float) else _short(value)


def _short(value: JsonValue) -> str:
    """One cell: words for yes and no, three digits for a number, JSON for what is nested."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return digits(value)
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 500)


@dataclass(frozen=True)
class Step:
    """One step of an agent: what it wrote, what it called and what came back, as text."""

    title: str
    answer: str
    calls: str
    results: str


def steps(answer: AnswerRecord, limit: int = 100) -> list[Step]:
    """The steps of an agent's ``trace``, at most ``limit``; none where there is no trace, or it is none."""
    trace = answer.detail.get("trace")
    if not isinstance(trace, list):
        return []
    found = []
    for position, step in enumerate(trace[:limit]):
        if isinstance(step, dict):
            title = f"Step {position + 1}"
            if isinstance(turn := step.get("turn"), int):
                title += f", turn {turn}"
            found.append(Step(title, *(_whole(step.get(name)) for name in ("answer", "calls", "results"))))
    return found


def _whole(value: JsonValue) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return shortened("\n".join(map(str, value)))
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2))
