"""What an answer's calls are, and that nothing a model writes is run, or takes long."""

from __future__ import annotations

from typing import Any

import pytest

from trilemma.suites.bfcl.calls import Call, CallError, looks_like_calls, read_calls

WANTED = [Call("f", {"a": 1}), Call("g.h", {"b": [1, -2.5], "c": {"x": True}})]


@pytest.mark.parametrize(
    "text",
    [
        "[f(a=1), g.h(b=[1, -2.5], c={'x': True})]",
        "f(a=1), g.h(b=[1, -5/2], c={'x': True})",
        "```python\n[f(a=1), g.h(b=[1, -2.5], c={'x': True})]\n```\nThat is all.",
        '[{"name": "f", "arguments": {"a": 1}}, {"name": "g.h", "arguments": {"b": [1, -2.5], "c": {"x": true}}}]',
        '{"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}, '
        '{"function": {"name": "g.h", "arguments": {"b": [1, -2.5], "c": {"x": true}}}}]}',
        '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n<tool_call>\n'
        '{"name": "g.h", "arguments": {"b": [1, -2.5], "c": {"x": true}}}\n</tool_call>',
    ],
)
def test_the_forms_of_calls(text: str) -> None:
    assert read_calls(text) == WANTED


def test_bare_names_are_texts_and_backslashes_are_kept() -> None:
    (call,) = read_calls(r"f(unit=units, pattern='\d', flag=true)")
    assert call.arguments == {"unit": "units", "pattern": r"\d", "flag": "true"}
    assert read_calls("f('x')") == [Call("f", {}, ("x",))]
    assert read_calls("[]") == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        "[f(a=g(1))]",
        "[f(a=__import__('os').system('true'))]",
        "[f(a=[x for x in y])]",
        "[f(**a)]",
        "[f(a=9**9**9)]",
        "[f(a=f'{1}')]",
        "[f(a=1/0)]",
        '[{"name": "f", "arguments": {"a": 1e999}}]',
        '[{"name": "f", "arguments": "{"}]',
        '[{"arguments": {}}]',
        "[f(a=" + "-" * 15_000 + "1)]",
        "[f(a=" + "not " * 4_000 + "1)]",
        "[f(a=" + "[" * 9_000 + ")]",
        '[{"name": "f", "arguments": {"a": ' + "[" * 900 + "]" * 900 + "}}]",
        "[f" + "()" * 9_000 + "]",
        "[f(a=" + "9" * 6_000 + ")]",
        "f(a=1)," * 100,
        "x" * 10_000_000,
    ],
    ids=range(20),
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CallError):
        read_calls(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("[f(a=", True), ("Call f(1 2)", True), ("No function fits (sorry).", False), ("", False)]
)
def test_what_was_meant_as_calls(text: str, meant: bool) -> None:
    assert looks_like_calls(text, {"f"}) is meant


def test_a_call_is_written_as_it_is_read() -> None:
    arguments: dict[str, Any] = {"a": "it's", "b": [1.5, None], "c": {"k": (1, 2)}}
    assert read_calls(str(Call("m.f", arguments))) == [Call("m.f", arguments)]
