"""Whether calls are those that were wanted: the rules of the leaderboard's checker of syntax trees, for Python.

Published at gorilla.cs.berkeley.edu/blogs/8_berkeley_function_calling_leaderboard.html (V1), and as its package does
where the text leaves a choice. ``make bench NAME=agents`` compares the verdicts with the package's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trilemma.suites.bfcl.calls import Call

Function = Mapping[str, Any]
"""A function's ``name``, ``description`` and ``parameters``, the latter nearly a JSON schema."""
Answer = Mapping[str, Mapping[str, list[Any]]]
"""The one call that is right: its name, and for each parameter the values that may be given; ``""`` lets it be left."""

TYPES: Mapping[str, type] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
    "any": str,
}
_IGNORED = re.compile(r"[ ,./\-_*^]")


def check_calls(functions: Sequence[Function], calls: Sequence[Call], answers: Sequence[Answer]) -> str:
    """Why ``calls`` are not those of ``answers``, in whichever order; empty where they are.

    Each answer takes the first call left that matches it. A single function is the one of its item, whatever the
    answer says.
    """
    if len(calls) != len(answers):
        return f"{len(calls)} calls instead of {len(answers)}"
    left = list(calls)
    by_name = {str(function["name"]): function for function in functions}
    for answer in answers:
        ((name, allowed),) = answer.items()
        function = by_name.get(name) or functions[0]
        whys = []
        for place, call in enumerate(left):
            why = _mismatch(function, call, allowed)
            if not why:
                del left[place]
                break
            whys.append(why)
        else:
            return whys[0] if len(answers) == 1 else f"no call is the wanted one of {name}: {'; '.join(whys)}"
    return ""


def _mismatch(function: Function, call: Call, allowed: Mapping[str, list[Any]]) -> str:
    """Why ``call`` is not the wanted one of ``function``; empty if it is. What came without a name does not count."""
    if call.name != function["name"]:
        return f"{call.name} is called instead of {function['name']}"
    given = call.arguments
    needed = {str(name) for name in function["parameters"].get("required", ())}
    needed |= {name for name, values in allowed.items() if "" not in values}
    missing = sorted(needed - set(given))
    if missing:
        return f"{missing[0]} is missing"
    properties = function["parameters"]["properties"]
    for name, value in given.items():
        if name not in properties or name not in allowed:
            return f"{name} should not be given"
        why = _wrong(properties[name], value, allowed[name])
        if why:
            return f"{name}: {why}"
    return ""


def _wrong(declared: Mapping[str, Any], value: Any, allowed: list[Any]) -> str:  # noqa: PLR0912 (a list of rules)
    """What is wrong with a parameter's value; empty if nothing is."""
    kind = str(declared["type"])
    expected = TYPES.get(kind)
    if expected is None:
        return f"the function declares an unknown type, {kind}"
    inner = TYPES.get(str(declared.get("items", {}).get("type"))) if kind in ("array", "tuple") else None
    if kind == "tuple" and isinstance(value, tuple):
        value = list(value)
    if kind == "float" and type(value) is int:
        value = float(value)
    usual, found = _type_of(allowed), type(value)
    if found is expected:
        if inner is not None and not any(_inner_types_match(value, inner, one) for one in allowed):
            return f"its items are not all of type {inner.__name__}"
        variable = usual is not None and usual is not expected
    elif found is usual:
        # The answer names a variable, whose type is not the declared one.
        variable = True
    else:
        return f"{found.__name__} instead of {kind}"
    if variable:
        right = value in allowed
    elif expected is dict:
        right = any(_same_dict(value, one) for one in allowed if isinstance(one, dict))
    elif inner is dict:
        right = any(_same_dicts(value, one) for one in allowed)
    elif expected is str:
        right = plain(value) in [plain(one) for one in allowed if isinstance(one, str)]
    elif expected is list:
        wanted = [list(one) for one in allowed if isinstance(one, list | str)]
        right = [plain(one) for one in value] in [[plain(one) for one in values] for values in wanted]
    else:
        right = value in allowed
    return "" if right else f"{value!r} is none of the values that would be right"


def _type_of(allowed: Sequence[Any]) -> type | None:
    """The type of the first value that is not ``""``."""
    return next((type(one) for one in allowed if one != ""), None)


def _inner_types_match(values: list[Any], inner: type, wanted: Any) -> bool:
    """Whether each value has the declared inner type, or that of the wanted list's first. Deeper is not looked."""
    if not isinstance(wanted, list):
        return True
    return all(type(one) in (inner, _type_of(wanted)) for one in values)


def _same_dict(value: Any, wanted: Mapping[str, list[Any]]) -> bool:
    """Whether each key has one of its wanted values, and none is missing that may not be."""
    if not isinstance(value, dict) or any(key not in wanted for key in value):
        return False
    if any(key not in value and "" not in values for key, values in wanted.items()):
        return False
    return all(plain(one) in [plain(other) for other in wanted[key]] for key, one in value.items())


def _same_dicts(values: list[Any], wanted: Sequence[Any]) -> bool:
    return len(values) == len(wanted) and all(
        isinstance(other, dict) and _same_dict(one, other) for one, other in zip(values, wanted, strict=True)
    )


def plain(value: Any) -> Any:
    """A text as it is compared: lower case, without blanks and the characters ``,./-_*^``, quotes of one kind.

    Anything else is itself.
    """
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value
