"""What models say: answers to be scored, calls and programs in them."""

from __future__ import annotations

import contextlib
import functools
import json

from hypothesis import strategies as st

from tests.fuzz.inputs import among, documents, json_values, nasty, texts
from tests.fuzz.surface import Surface
from trilemma import registry
from trilemma.effort import is_written
from trilemma.schema import SuiteSpec
from trilemma.suites.bfcl.calls import CallError, looks_like_calls, read_calls
from trilemma.suites.code.extract import completed, continued, fenced
from trilemma.suites.custom import patterns, schemas
from trilemma.suites.custom.judge import verdict
from trilemma.suites.generation import GenerationSuite, Reply, Task


@functools.cache
def _tasks(name: str) -> list[Task]:
    suite = registry.load("trilemma.suites", name)()
    found: list[Task] = suite.tasks(SuiteSpec(name=name, limit=3))
    return found


@functools.cache
def suites() -> tuple[str, ...]:
    """The suites whose answers are written and whose questions are here; programs and judges are tried apart."""
    left_out = ("own", "humaneval", "mbpp", "squad", "lm_eval")
    return tuple(
        name
        for name in registry.names("trilemma.suites")
        if is_written(name)
        and name not in left_out
        and issubclass(kind := registry.load("trilemma.suites", name), GenerationSuite)
        and kind().availability().available
    )


_calls = st.recursive(
    st.one_of(nasty, st.sampled_from(("f(a=1)", "f(a='x')", "True", "1e999", "9**9", "-1", "f(**x)", "lambda: 1",
    "f'{x}'", "...", "b'x'",
                                      "1j", "a.b.c(x=1)", "{'a': 1}", "f(a=1, a=2)", "__import__('os').system('id')"))),
    lambda inner: st.one_of(
        st.builds("f(a={})".format, inner), st.builds("[{}, {}]".format, inner, inner), st.builds("{} * {}".format,
        inner, inner),
        st.builds('{{"name": "f", "arguments": {{"a": {}}}}}'.format, inner),
        st.builds("<tool_call>{}</tool_call>".format, inner),
        st.builds("```python\n{}\n```".format, inner), st.builds("({})".format, inner), st.builds("-{}".format, inner),
    ),
    max_leaves=5,
)  # fmt: skip
_WORST = (
    "x " * 50_000, "1" * 100_000, "." * 100_000, "a." * 40_000, "#### " * 20_000, "*a" * 50_000, "[" * 50_000,
    "$" * 100_000, "'" * 60_000,
    "\n" * 100_000, "answer:" * 20_000, "-0.,$" * 20_000, "**" * 50_000, "```" * 30_000, " " * 100_000,
    "a" * 100_000 + "!", "<tool_call>" * 9000,
    "'t" * 40_000, "P.P.S" * 20_000, "<<" * 50_000, "1," * 50_000, "{" * 50_000, "* * *" * 20_000, "cannot" * 20_000,
    "\u0130" * 40_000,
)  # fmt: skip
_said = st.one_of(texts, _calls, st.lists(texts, max_size=5).map(" ".join), among(_WORST),
                  st.builds(lambda piece, count: piece * count, nasty.filter(lambda text: len(text) < 40),
                  st.integers(1, 300)))  # fmt: skip


def _scored(case: tuple[int, int, str, bool]) -> None:
    which, item, text, failed = case
    name = suites()[which % len(suites())]
    suite, spec = registry.load("trilemma.suites", name)(), SuiteSpec(name=name, limit=3)
    task = _tasks(name)[item % len(_tasks(name))]
    script = suite.script(task, spec)
    next(script)
    for _ in range(200):
        try:
            script.send(Reply(text, "lost" if failed else "", cut=True, tokens=5))
        except StopIteration as end:
            grade = suite.grade(task, end.value, spec)
            break
    else:
        raise AssertionError("the script never ends")
    assert all(0.0 <= score <= 1.0 for score in grade.scores.values())
    json.dumps(grade.detail, allow_nan=False)


def _call_lists(text: str) -> None:
    looks_like_calls(text, ["f"])
    try:
        calls = read_calls(text)
    except CallError as error:
        assert str(error)
        return
    for call in calls:
        assert isinstance(str(call), str)
        assert call.name.isprintable() or call.name


def _programs(text: str) -> None:
    block = fenced(text)
    assert block is None or "```" not in block.split("\n")
    for program in (continued("def f():\n", text), completed("def f():\n    'x'\n", text, "f")):
        assert len(program) < 1_000_000
    assert verdict(text) in (True, False, None)


_schemas = st.one_of(
    documents(("type", "properties", "items", "enum", "pattern", "$ref", "anyOf", "minimum", "multipleOf",
    "uniqueItems", "maxLength",
               "patternProperties", "additionalProperties", "required", "const", "format", "dependentSchemas", "if",
               "then"), json_values),
    json_values,
).map(json.dumps)  # fmt: skip
_schema_cases = st.tuples(st.one_of(_schemas, texts), st.one_of(json_values.map(json.dumps), texts))


def _against_schemas(case: tuple[str, str]) -> None:
    schema, answer = case
    with contextlib.suppress(ValueError):
        schemas.check_schema(schema)
        assert isinstance(schemas.mismatch(schema, answer), str)


def _expressions(case: tuple[str, str]) -> None:
    pattern, text = case
    with contextlib.suppress(ValueError):
        found = patterns.found(pattern, text)
        assert found is None or found in patterns.whole(text)


_pattern_parts = st.sampled_from(
    (
        "a",
        "b",
        ".",
        "*",
        "+",
        "?",
        "(",
        ")",
        "[a-z]",
        "|",
        "^",
        "$",
        r"\d",
        r"\w",
        "{2,5}",
        "(?:",
        "(?i)",
        r"\1",
        "(?=a)",
    )
)
_patterns = st.one_of(st.lists(_pattern_parts, max_size=12).map("".join), texts)

SURFACES = (
    Surface("Answers that are scored", st.tuples(st.integers(0, 99), st.integers(0, 2), _said, st.booleans()), _scored,
        share=3, few=30),
    Surface("Calls of functions in answers", _calls, _call_lists, share=2,
            examples=("a" + ".x" * 6000, "f" + "()" * 6000, "[" + "f(a=1)," * 2000 + "]", "f(a=" + "-" * 5000 + "1)",
                "f(a=9*9" + "*9" * 150 + ")")),
    Surface("Programs and verdicts in answers", _said, _programs, share=1),
    Surface("JSON schemas and answers under them", _schema_cases, _against_schemas, share=2),
    Surface("Regular expressions on answers", st.tuples(_patterns, st.one_of(texts, among(_WORST))),
        _expressions, share=1,
            examples=(("(a+)+$", "a" * 100_000 + "!"), ("(a|aa)+$", "a" * 100_000 + "!"), ("(.*)(.*)(.*)(.*)x",
                "a" * 50_000))),
)  # fmt: skip
