"""Calls of functions read out of a model's answer: as Python, or as JSON. Nothing of the answer is ever evaluated."""

from __future__ import annotations

import ast
import io
import json
import keyword
import operator
import re
import tokenize
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_CHARACTERS = 20_000
"""Longer answers are not read: Python's parser needs stack in proportion to what it nests."""
MAX_CALLS = 64
_MAX_DEPTH = 12
_MAX_NUMBER = 1e30
_TAGS = ("<tool_call>", "</tool_call>")
_LANGUAGES = ("python", "json", "tool_code", "tool_call", "py")
_CONSTANTS = ("True", "False", "None")
_SIGNS = ("+", "-", "*", "/")
_MOST_SIGNS = 200
_FORMATTED = re.compile(r"(?i)[rb]?f")
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class CallError(Exception):
    """An answer, or a part of it, is no list of calls."""


@dataclass(frozen=True)
class Call:
    """One call: the function's name, and what it is given by name; ``positional`` is what came without."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()

    def __str__(self) -> str:
        """As Python writes it."""
        parts = [repr(value) for value in self.positional]
        parts += [f"{name}={value!r}" for name, value in self.arguments.items()]
        return f"{self.name}({', '.join(parts)})"


def read_calls(text: str) -> list[Call]:
    """The calls that ``text`` consists of; empty for ``[]``.

    Python's ``[f(a=1), g(b='x')]`` is read as the leaderboard's own decoder does: brackets may be missing, a bare name
    stands for its own text. So are JSON calls, ``tool_calls`` as OpenAI returns them, fenced code and ``<tool_call>``
    tags, which that decoder does not accept from every model.

    Raises:
        CallError: it is anything else, or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise CallError("The answer is too long to be read as calls.")
    body = _unwrapped(text)
    if not body:
        raise CallError("The answer is empty.")
    calls = _from_json(body)
    if calls is None:
        calls = _from_python(body)
    if len(calls) > MAX_CALLS:
        raise CallError(f"The answer has more than {MAX_CALLS} calls.")
    return calls


def looks_like_calls(text: str, names: Collection[str]) -> bool:
    """Whether ``text`` was meant as calls, though it cannot be read as such: it begins like a list, or names one."""
    body = _unwrapped(text[:MAX_CHARACTERS])
    return body.startswith(("[", "{")) or _TAGS[0] in text or any(f"{name}(" in body for name in names)


def _unwrapped(text: str) -> str:
    """``text`` without the fence or the tags around its calls."""
    body = text.strip()
    if _TAGS[0] in body:
        # Each call has tags of its own.
        parts = [part.partition(_TAGS[1])[0].strip() for part in body.split(_TAGS[0])[1:]]
        return parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"
    if "```" in body:
        body = body.split("```", 2)[1].strip()
        language, _, rest = body.partition("\n")
        if language.strip().lower() in _LANGUAGES:
            body = rest
    return body.strip("`\n ")


def _from_json(body: str) -> list[Call] | None:
    """The calls of a JSON text; None where it is no JSON."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    return [_call_of(one) for one in (value if isinstance(value, list) else [value])]


def _call_of(value: Any) -> Call:
    """One call out of ``{"name": ..., "arguments": {...}}``, possibly within ``{"function": ...}``."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        raise CallError("A call is no JSON object.")
    name = value.get("name", value.get("function"))
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            raise CallError("The arguments of a call are no JSON.") from None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise CallError("A call has no name, or arguments without names.")
    return Call(name, {key: _bounded(one) for key, one in arguments.items()})


def _bounded(value: Any, depth: int = 0) -> Any:
    """A JSON value, refused where it is nested too deeply or a number is beyond reason."""
    if depth > _MAX_DEPTH:
        raise CallError("A value is nested too deeply.")
    if isinstance(value, list):
        return [_bounded(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return {key: _bounded(one, depth + 1) for key, one in value.items()}
    return _number(value) if isinstance(value, int | float) else value


def _from_python(body: str) -> list[Call]:
    text = ("" if body.startswith("[") else "[") + body + ("" if body.endswith("]") else "]")
    try:
        _look_over(text)
        with warnings.catch_warnings():
            # Python warns of "\d" in a text, and goes on.
            warnings.simplefilter("ignore")
            parsed = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        raise CallError("The answer is no Python expression.") from None
    if not isinstance(parsed, ast.List | ast.Tuple):
        raise CallError("The answer is no list.")
    return [_python_call(one) for one in parsed.elts]


def _look_over(text: str) -> None:
    """Refuse what nests Python's parser, which needs stack for each level and may be in a thread that has little.

    Raises:
        CallError: brackets are too deep, there are too many signs, or something that no literal has.
        SyntaxError, tokenize.TokenError: it is no Python.
    """
    depth = signs = 0
    for token in tokenize.generate_tokens(io.StringIO(text.strip()).readline):
        if token.type == tokenize.OP:
            depth += (token.string in ("(", "[", "{")) - (token.string in (")", "]", "}"))
            signs += token.string in _SIGNS
            if depth > 2 * _MAX_DEPTH or signs > _MOST_SIGNS:
                raise CallError("The answer is nested too deeply.")
            if token.string in ("**", ":=", "~"):
                raise CallError(f"The answer is no list of calls: it has {token.string!r}.")
        elif token.type == tokenize.NAME:
            if keyword.iskeyword(token.string) and token.string not in _CONSTANTS:
                raise CallError(f"The answer is no list of calls: it has {token.string!r}.")
        elif tokenize.tok_name[token.type].startswith("FSTRING") or (
            token.type == tokenize.STRING and _FORMATTED.match(token.string)
        ):
            raise CallError("An argument is a text to be formatted.")


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise CallError("The list holds something that is no call.")
    parts: list[str] = []
    place = node.func
    while isinstance(place, ast.Attribute):
        parts.append(place.attr)
        place = place.value
    if not isinstance(place, ast.Name):
        raise CallError("What is called has no plain name.")
    arguments = {}
    for given in node.keywords:
        if given.arg is None:
            raise CallError("Arguments are unpacked.")
        arguments[given.arg] = _value(given.value)
    name = ".".join([place.id, *reversed(parts)])
    return Call(name, arguments, tuple(_value(one) for one in node.args))


def _value(node: ast.expr, depth: int = 0) -> Any:  # noqa: PLR0911 (one a kind of node)
    """The literal that ``node`` is."""
    if depth > _MAX_DEPTH:
        raise CallError("A value is nested too deeply.")
    if isinstance(node, ast.Constant):
        return _constant(node.value)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.List):
        return [_value(one, depth + 1) for one in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(one, depth + 1) for one in node.elts)
    if isinstance(node, ast.Dict):
        return _dict(node, depth)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _operand(node.operand, depth)
        return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        try:
            return _number(_ARITHMETIC[type(node.op)](_operand(node.left, depth), _operand(node.right, depth)))
        except ArithmeticError:
            raise CallError("A sum cannot be worked out.") from None
    raise CallError(f"An argument is no literal ({type(node).__name__}).")


def _dict(node: ast.Dict, depth: int) -> dict[Any, Any]:
    found = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if not isinstance(key, ast.Constant | ast.Name):
            raise CallError("A key is no literal.")
        found[_value(key)] = _value(value, depth + 1)
    return found


def _operand(node: ast.expr, depth: int) -> int | float:
    value = _value(node, depth + 1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CallError("Something that is no number has a sign, or is in a sum.")
    return value


def _constant(value: Any) -> Any:
    if value is Ellipsis:
        return "..."
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    raise CallError(f"An argument is no literal of a kind that functions take ({type(value).__name__}).")


def _number(value: int | float) -> int | float:
    """``value``; refused where it is not finite or so large that reckoning with it would take long."""
    if not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise CallError("A number is too large.")
    return value
