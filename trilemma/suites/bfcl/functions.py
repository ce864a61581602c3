"""Where the leaderboard's tasks come from, and how its functions are described: to a model, and as a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from trilemma.errors import SuiteDataError
from trilemma.suites import data
from trilemma.suites.bfcl.checker import TYPES, Function

PACKAGE = data.Package("bfcl_eval", "bfcl-eval", "data")
MAX_CONSTRAINED_CALLS = 8
"""As many as any of the single-turn tasks wants."""
_DEEPEST = 4
_JSON_TYPES = {
    "string": "string",
    "any": "string",
    "integer": "integer",
    "float": "number",
    "boolean": "boolean",
    "array": "array",
    "tuple": "array",
    "dict": "object",
}

_TASK = (
    "You solve what the user asks by calling functions. Choose from the functions below and call as many as it takes. "
    "If none of them fits, or the user leaves out something that a function needs, say so instead."
)
_AS_PYTHON = (
    "Write calls like this, with nothing before or after: "
    "[name1(parameter1=value1, parameter2=value2), name2(parameter=value)]"
)
_AS_JSON = (
    "Write calls as a JSON list, with nothing before or after, empty if you call nothing: "
    '[{"name": "name1", "arguments": {"parameter1": value1, "parameter2": value2}}]'
)
_TURNS = (
    "After each answer you are told what your calls gave, and may call again. Go on until all is done that the user "
    "has asked for so far; then answer without calls, and the user goes on."
)


def packaged(file: str) -> data.Dataset:
    """A file of the package; the hub has no table of it."""
    return data.Dataset(file, "", "", "", PACKAGE)


def functions_of(records: Any, row: data.Row) -> list[Function]:
    """The functions that ``records`` describe.

    Raises:
        SuiteDataError: one is no description; the message names the place of ``row``.
    """
    if not isinstance(records, list) or not records:
        raise row.error("the functions are missing")
    for one in records:
        parameters = one.get("parameters") if isinstance(one, dict) else None
        if (
            not isinstance(parameters, dict)
            or not isinstance(one.get("name"), str)
            or not isinstance(parameters.get("properties"), dict)
            or not all(isinstance(p, dict) and p.get("type") in TYPES for p in parameters["properties"].values())
        ):
            raise row.error("a function has no name or no parameters")
    return records


def turns_of(row: data.Row) -> list[str]:
    """What the user says, turn by turn.

    Raises:
        SuiteDataError: a turn is not one message of the user's.
    """
    try:
        turns = [str(message["content"]) for (message,) in row.values["question"]]
    except (KeyError, TypeError, ValueError):
        raise row.error("a turn of the user's is missing") from None
    if not turns:
        raise row.error("the question is empty")
    return turns


def paired(questions: data.Dataset, answers: data.Dataset) -> tuple[str, list[tuple[data.Row, data.Row]]]:
    """The rows of both by their ids, in the questions' order, and where they come from.

    Raises:
        SuiteDataError: they cannot be had, or a question has no answer.
    """
    asked, known = data.load(questions), {row.text("id"): row for row in data.load(answers).rows}
    try:
        return asked.source, [(row, known[row.text("id")]) for row in asked.rows]
    except KeyError as error:
        raise SuiteDataError(f"{asked.source}: {error} has no answer.", PACKAGE.install) from None


def system_prompt(functions: Sequence[Function], *, turns: bool = False, as_json: bool = False) -> str:
    """What a model is told before the user speaks: its task, the form of its calls, and the functions.

    It asks for what the leaderboard's own prompt asks for, in fewer words, and describes functions as signatures rather
    than as JSON, so that it fits the contexts of small devices.
    """
    parts = [_TASK, _AS_JSON if as_json else _AS_PYTHON, *([_TURNS] if turns else []), "Functions:"]
    return "\n\n".join([*parts, "\n".join(_described(function) for function in functions)])


def _described(function: Function) -> str:
    needed = function["parameters"].get("required", ())
    properties: Mapping[str, Any] = function["parameters"]["properties"]
    signature = ", ".join(
        f"{name}{'' if name in needed else '?'}: {_type(declared)}" for name, declared in properties.items()
    )
    # Each tool of a system repeats what the system is.
    about = str(function.get("description", "")).rpartition("Tool description: ")[2].strip()
    lines = [f"{function['name']}({signature})", f"  {about}"]
    for name, declared in properties.items():
        told = str(declared.get("description", "")).strip()
        if "default" in declared and "default" not in told.lower():
            told = f"{told} Default: {declared['default']!r}.".strip()
        if told:
            lines.append(f"  {name}: {told}")
    return "\n".join(lines)


def _type(declared: Mapping[str, Any], depth: int = 0) -> str:
    kind = str(declared.get("type"))
    if declared.get("enum"):
        return " | ".join(repr(one) for one in declared["enum"])
    if depth < _DEEPEST and isinstance(declared.get("items"), dict):
        return f"{kind} of {_type(declared['items'], depth + 1)}"
    if depth < _DEEPEST and declared.get("properties"):
        inner = ", ".join(f"{name}: {_type(one, depth + 1)}" for name, one in declared["properties"].items())
        return f"{kind} {{{inner}}}"
    return kind


def call_schema(functions: Sequence[Function]) -> str:
    """A JSON schema, as JSON: a list of calls of ``functions``, each with arguments of the declared types."""
    calls = [
        _object({"name": {"const": function["name"]}, "arguments": _json_schema(function["parameters"])})
        for function in functions
    ]
    items = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return json.dumps({"type": "array", "items": items, "minItems": 0, "maxItems": MAX_CONSTRAINED_CALLS})


def _object(properties: Mapping[str, Any], required: Sequence[str] | None = None) -> dict[str, Any]:
    needed = list(properties) if required is None else [name for name in required if name in properties]
    return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}


def _json_schema(declared: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    kind = _JSON_TYPES.get(str(declared.get("type")), "string")
    if declared.get("enum"):
        return {"enum": list(declared["enum"])}
    if kind == "array":
        items = declared.get("items") if depth < _DEEPEST else None
        return {"type": "array", "items": _json_schema(items or {"type": "string"}, depth + 1)}
    if kind != "object" or depth >= _DEEPEST:
        return {"type": kind}
    inner = {name: _json_schema(one, depth + 1) for name, one in (declared.get("properties") or {}).items()}
    # Without declared keys any object will do; the functions themselves take no other parameters than declared ones.
    return _object(inner, declared.get("required", ())) if inner or depth == 0 else {"type": "object"}
