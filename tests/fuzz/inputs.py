"""Pieces of hostile input, and strategies that put them together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

MARKUP = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</script><svg/onload=alert(1)>", "]]>", "<!--",
    "&lt;",
    "[x](javascript:alert(1))", "![x](http://evil.example/x.png)", "$$x$$", ":red[x]", "`x`", "|a|b|", "# x", "- x",
    "\" onmouseover=\"alert(1)", "' x='", "%{x}", "{{ 7 * 7 }}", "{% for %}", "${x}", "www.evil.example", "a@b.example",
)  # fmt: skip
UNSEEN = (
    "\x00", "\x07", "\x1b[2J", "\x1b]0;title\x07", "\x1b[31m", "\x9b31m", "\x7f", "\r", "\n", "\r\n", "\u2028",
    "\u2029",
    "\u202e", "\u202d", "\u2066", "\u2067", "\u2069", "\u200e", "\u200f", "\u061c", "\u200b", "\u200d", "\ufeff",
    "\u00ad",
    "\x85", "\x1c", "\U000e0041", "\ud800", "\udfff",
)  # fmt: skip
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "\uff1d1", "\uff0b1", '="x"')
PATHS = (
    "../../etc/passwd", "/etc/passwd", "..", ".", "", "~", "~root/x", "C:\\Windows\\x", "a/../../b", "a\\..\\b",
    "x\x00y",
    "CON", ".hidden", "a" * 300, "//host/share", "file:///etc/passwd", "/proc/self/environ", "/dev/zero", "-rf",
    "%2e%2e/",
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1", "NaN", "nan", "Infinity", "-inf", "1e999", "-1e999", "1e-400", "9" * 400, "9" * 5000, "0x10",
    "1_000",
    "٣", "½", "²", "1,000", "1.2.3", "--1", "1e", "e1", ".", "-", "+", "true", "null", "1e308", "4294967296",
    "9223372036854775808", "18446744073709551616", "-0", "0.1", "1 000",
)  # fmt: skip
ODD = ("%s%n", "$(id)", "`id`", "'; drop table runs;--", "x" * 2000, "ß" * 50, "İ", "e\u0301" * 40, "👩‍👩‍👧", "ﷺ",
"מימין", "[" * 3000,
       "{" * 500, "(" * 3000, "\\" * 200, "a=b,c=d", "a,b;c\td", "__proto__", "constructor", "__class__")  # fmt: skip
NASTY = (*MARKUP, *UNSEEN, *FORMULAS, *PATHS, *NUMBERS, *ODD)
INTEGERS = (0, 1, -1, 2, 7, 8, 255, 256, 65535, 2**31 - 1, 2**31, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63,
2**64 - 1,
            2**64, -(2**63), 10**18, 10**400)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e308, -1e308, 5e-324, 1e-300, float("inf"), float("-inf"), float("nan"), 1 / 3)


def among(values: Sequence[T]) -> st.SearchStrategy[T]:
    """One of ``values``, some of which may be long: hypothesis would write them all out as the strategy's name."""
    return st.integers(0, len(values) - 1).map(values.__getitem__)


nasty = among(NASTY)
pieces = st.one_of(nasty, st.text(max_size=12), nasty)
texts = st.one_of(nasty, st.text(max_size=40), st.lists(pieces, min_size=2, max_size=6).map("".join))
"""Texts of anybody; may hold halves of surrogate pairs."""
whole_texts = texts.map(lambda text: text.encode("utf-8", "replace").decode())
"""The same as UTF-8 can have them: what comes by an address or a file."""
integers = st.one_of(st.sampled_from(INTEGERS), st.integers(-(2**66), 2**66), st.integers(-3, 40))
floats = st.one_of(st.sampled_from(FLOATS), st.floats())
scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def documents(
    names: tuple[str, ...], values: st.SearchStrategy[Any] = json_values
) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with some of these names, and perhaps others."""
    known = st.dictionaries(st.sampled_from(names), values, max_size=len(names))
    others = st.one_of(st.just({}), st.dictionaries(texts, values, max_size=2))
    return st.builds(lambda a, b: {**a, **b}, others, known)


@st.composite
def changed(draw: st.DrawFn, valid: bytes, most: int = 6) -> bytes:
    """``valid`` with a few bytes overwritten, put in or taken out, or cut short."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, most))):
        if not data:
            break
        at = draw(st.integers(0, len(data) - 1))
        match draw(st.integers(0, 5)):
            case 0:
                data[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF, 0x22, 0x7B, 0x0A)))
            case 1:
                data[at : at + 8] = (draw(integers) & (2**64 - 1)).to_bytes(8, "little")
            case 2:
                data[at : at + 4] = (draw(integers) & (2**32 - 1)).to_bytes(4, "little")
            case 3:
                data[at:at] = draw(st.one_of(st.binary(min_size=1, max_size=9), texts.map(_utf8)))
            case 4:
                del data[at : at + draw(st.integers(1, 64))]
            case _:
                del data[at:]
    return bytes(data)


def replaced(draw: st.DrawFn, value: Any) -> Any:
    """``value`` with one thing somewhere in it replaced, taken out or added."""
    if not (isinstance(value, dict | list) and value) or draw(st.integers(0, 5)) == 0:
        return draw(st.one_of(json_values, nasty, st.just({}), st.just([])))
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        return [*value[:at], replaced(draw, value[at]), *value[at + 1 :]]
    name = draw(st.sampled_from(sorted(value)))
    match draw(st.integers(0, 9)):
        case 0:
            return {key: one for key, one in value.items() if key != name}
        case 1:
            return value | {draw(texts): draw(json_values)}
        case _:
            return value | {name: replaced(draw, value[name])}


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def json_bytes(value: Any) -> bytes:
    """As another program might write it: NaN, huge numbers and halves of characters included."""
    return json.dumps(value).encode()


@st.composite
def toml(draw: st.DrawFn, value: Any) -> str:
    """``value`` (a dictionary) as TOML, as far as TOML has it; broken now and then."""
    lines = [f"{_key(name)} = {_toml(one)}" for name, one in value.items() if one is not None]
    text = "\n".join(lines) + "\n"
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(texts) + text[at:]
    return text


def _key(name: str) -> str:
    return json.dumps(name.encode("utf-8", "replace").decode(), ensure_ascii=True)


def _toml(value: Any) -> str:  # noqa: PLR0911 (one a kind)
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)  # also nan, inf and -inf, as TOML has them
        case str():
            return json.dumps(value.encode("utf-8", "replace").decode(), ensure_ascii=True).replace("\x7f", "")
        case list() | tuple():
            return "[" + ", ".join(_toml(one) for one in value if one is not None) + "]"
        case dict():
            inner = (f"{_key(name)} = {_toml(one)}" for name, one in value.items() if one is not None)
            return "{" + ", ".join(inner) + "}"
    return '"?"'
