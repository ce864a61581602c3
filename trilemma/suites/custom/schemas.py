"""JSON schemas of a user's file, and whether a model's answer keeps to one.

Both are somebody else's: a schema is checked before it is kept and refers to nothing but itself, and checking an answer
ends after a fixed number of steps, since references can make that number exponential in the schema's length.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    SchemaError,
    ValidationError,
    validators,
)
from referencing import Registry
from referencing.exceptions import Unresolvable

from trilemma.suites.custom import patterns

MAX_CHARS = 20_000
_MAX_STEPS = 100_000
_TOO_COSTLY = ("unevaluatedProperties", "unevaluatedItems", "$dynamicRef")

Check = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class _TooManyStepsError(Exception):
    """Checking an answer takes more steps than are allowed."""


def parsed(text: str) -> Any:
    """The JSON in ``text``; NaN and Infinity are none.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@functools.lru_cache(maxsize=256)
def check_schema(text: str) -> None:
    """Make sure that answers can be checked against the schema in ``text``.

    Raises:
        ValueError: they cannot; the message says why.
    """
    if len(text) > MAX_CHARS:
        raise ValueError(f"the schema is longer than {MAX_CHARS:,} characters")
    try:
        schema = parsed(text)
    except ValueError as error:
        raise ValueError(f"the schema is no JSON ({error})") from error
    if not isinstance(schema, dict):
        raise ValueError("the schema is no JSON object")
    try:
        Draft202012Validator.check_schema(schema)
        _check_parts(schema)
    except SchemaError as error:
        raise ValueError(f"the schema is no JSON schema of 2020-12 ({error.message[:200]})") from error
    except RecursionError as error:
        raise ValueError("the schema is nested too deeply") from error


def _check_parts(schema: Any) -> None:
    """Every pattern in it, wherever it stands, and every reference."""
    if isinstance(schema, list):
        for part in schema:
            _check_parts(part)
    if not isinstance(schema, dict):
        return
    for name, value in schema.items():
        if name in _TOO_COSTLY:
            raise ValueError(f"the schema uses {name}, which is not checked here")
        if name == "$ref" and isinstance(value, str) and not value.startswith("#"):
            raise ValueError("the schema refers to another document")
        if name == "pattern" and isinstance(value, str):
            patterns.compiled(value)
        if name == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                patterns.compiled(pattern)
        _check_parts(value)


def mismatch(schema: str, answer: str) -> str:
    """Why ``answer`` is no JSON that keeps to ``schema``; empty if it does."""
    try:
        value = parsed(answer)
    except ValueError as error:
        return f"no JSON: {error}"[:200]
    try:
        # An empty registry: without one, jsonschema would fetch what a schema refers to.
        found = next(_validator()(_bare(json.loads(schema)), registry=Registry()).iter_errors(value), None)
    except _TooManyStepsError:
        return f"checking it took more than {_MAX_STEPS:,} steps"
    except RecursionError:
        return "the schema refers to itself without an end"
    except (Unresolvable, ValueError, TypeError, ArithmeticError) as error:
        return f"the schema cannot be followed: {error}"[:200]
    return "" if found is None else f"{found.json_path}: {found.message}"[:200]


def _bare(schema: Any) -> Any:
    """``schema`` without the names of dialects in it: at each of them jsonschema would go on with its own."""
    if isinstance(schema, list):
        return [_bare(part) for part in schema]
    if isinstance(schema, dict):
        named = {name: part for name, part in schema.items() if name != "$schema" or not isinstance(part, str)}
        return {name: _bare(part) for name, part in named.items()}
    return schema


def _validator() -> Any:
    """A validator whose every keyword counts as a step; RE2 stands in for ``re``, and counting for comparing all."""
    left = _MAX_STEPS

    def counted(check: Check) -> Check:
        def step(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
            nonlocal left
            left -= 1
            if left < 0:
                raise _TooManyStepsError
            return check(validator, value, instance, schema)

        return step

    checks: Mapping[str, Check] = {**Draft202012Validator.VALIDATORS, **_OWN}
    return validators.extend(Draft202012Validator, {name: counted(check) for name, check in checks.items()})


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and patterns.found(pattern, instance) is None:
        yield ValidationError(f"the text does not match {pattern!r}")


def _pattern_properties(validator: Any, by_pattern: dict[str, Any], instance: Any, _: Any) -> Iterator[ValidationError]:
    for pattern, schema in by_pattern.items() if isinstance(instance, dict) else ():
        expression = patterns.compiled(pattern)
        for name, value in instance.items():
            if expression.search(patterns.whole(name)):
                yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    expressions = [patterns.compiled(pattern) for pattern in schema.get("patternProperties", {})]
    for name, value in instance.items():
        if name in schema.get("properties", {}) or any(one.search(patterns.whole(name)) for one in expressions):
            continue
        if rule is False:
            yield ValidationError(f"{name[:80]!r} is not allowed")
        elif isinstance(rule, dict):
            yield from validator.descend(value, rule, path=name)


def _unique_items(_: Any, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        written = {json.dumps(item, sort_keys=True) for item in instance}
        if len(written) < len(instance):
            yield ValidationError("an item is in the list twice")


_OWN: dict[str, Check] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
