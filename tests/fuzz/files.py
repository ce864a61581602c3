"""Files that somebody sends: questions, traces, studies, presets, profiles, prices, packed studies; what is typed."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.inputs import (
    among,
    changed,
    documents,
    floats,
    integers,
    json_bytes,
    json_values,
    nasty,
    scalars,
    texts,
    toml,
    whole_texts,
)
from tests.fuzz.studies import workload_tables
from tests.fuzz.surface import Surface, put, scratch
from trilemma import kept_files
from trilemma.cli import parse
from trilemma.errors import StudyError, TrilemmaError
from trilemma.planning.demand import Demand
from trilemma.planning.plan import default_assumptions
from trilemma.planning.tables import load_tables
from trilemma.presets import read_preset
from trilemma.profiles import read_profile
from trilemma.sample.file import loads
from trilemma.suites.custom import file as questions
from trilemma.suites.custom.judge import messages
from trilemma.suites.custom.scoring import SCORERS, Rules
from trilemma.workloads import traces

# Questions


_RULES = (Rules(), Rules(ignore_case=True, number="first", tolerance=0.5))
_PATTERNS = (
    "(a+)+$",
    "(a|aa)+b",
    ".*.*.*x",
    "(?i)answer",
    "[",
    "(?P<x>",
    r"\b\d+\b",
    "(" * 600,
    "a{1000}",
    "(x{50}){50}",
    r"\C",
    "",
)
_SCHEMAS = (
    '{"type": "object"}', '{"$ref": "#"}', '{"$ref": "http://evil.example"}', '{"pattern": "(a+)+$"}',
    '{"enum": [1e999]}',
    '{"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}',
    '{"multipleOf": 1e-300}',
    '{"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1}', '{"uniqueItems": true}', "[]", "true",
    '{"patternProperties": {"(": {}}}', '{"additionalProperties": {"$ref": "#"}}', '{"$id": "file:///etc/passwd"}',
    '{"format": "regex", "maxLength": -1}', '{"minItems": 1e400}', '{"items": {"$dynamicRef": "#x"}}',
    '{"type": ["string", 3]}',
)  # fmt: skip
_SCORINGS = ("exact", "regex", "numeric", "choice", "json_schema", "judge")
_fields = st.one_of(
    texts, nasty, st.sampled_from(_PATTERNS), st.sampled_from(_SCHEMAS), st.sampled_from(("A", "a|b", "[1, 2]"))
)


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


@st.composite
def _sheet(draw: st.DrawFn) -> bytes:
    """A file in one of both forms, more or less right."""
    if draw(st.booleans()):
        rows = draw(st.lists(documents(questions.COLUMNS, st.one_of(_fields, json_values)), max_size=4))
        made = [{"question": "q", "answer": "a", "scoring": draw(st.sampled_from(_SCORINGS))} | row for row in rows]
        data = b"\n".join(json_bytes(row) for row in made)
    else:
        names = draw(st.lists(st.sampled_from((*questions.COLUMNS, "x", "=1")), min_size=1, max_size=7))
        names = ["question", *names] if draw(st.integers(0, 4)) else names
        lines = [",".join(map(_field, names))]
        for _ in range(draw(st.integers(0, 4))):
            row = [draw(st.one_of(_fields, st.sampled_from(_SCORINGS))) for _ in names]
            if "scoring" in names and draw(st.booleans()):
                row[names.index("scoring")] = draw(st.sampled_from(_SCORINGS))
            lines.append(",".join(map(_field, row)))
        data = "\n".join(lines).encode("utf-8", draw(st.sampled_from(("replace", "surrogatepass"))))
    if draw(st.integers(0, 4)) == 0 and data:
        data = draw(changed(data))
    return draw(st.sampled_from((b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe"))) + data


_ANSWERS = (
    "", "a", "The answer is B.", "12", "-1e999", "9" * 5000, '{"a": 1}', "[" * 3000, '"' + "a" * 3000 + '"',
    "a" * 20_000 + "!",
    "```json\n{}\n```", "\x00\ud800\u202e", "1e9999", "A) x", "answer: " * 2000, "1" + "0" * 99, "0" * 3000,
    "1,1,1" * 900,
)  # fmt: skip


def _questions(case: tuple[bytes, str]) -> None:
    data, answer = case
    sheet = questions.read(data)
    assert sheet.questions or sheet.problems
    for problem in sheet.problems:
        assert str(problem)
    for question in sheet.questions:
        question.model_dump_json()
        assert question.expected is not None
        for said in (answer, question.answer[0] if question.answer else ""):
            quoted = messages(question, said)[1]["content"]
            assert quoted.count("<<<") == quoted.count(">>>") == 2 + bool(question.answer)
            for rules in _RULES if question.scoring != "judge" else ():
                verdict = SCORERS[question.scoring](question, said, rules)
                json.dumps({"found": verdict.found, "detail": dict(verdict.detail)})


_sheets = st.tuples(_sheet(), st.one_of(among(_ANSWERS), texts))
_BOMB = json_bytes({
    "question": "q", "scoring": "json_schema",
    "schema": {"$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 10} for n in range(12)} | {"a12": {}},
               "$ref": "#/$defs/a0"},
})  # fmt: skip
_DEEP = b'{"question": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


# Traces


@st.composite
def _trace(draw: st.DrawFn) -> bytes:
    fields = ("arrival_s", "prompt", "messages", "prompt_tokens", "output_tokens")
    lines = draw(st.lists(documents(fields, st.one_of(scalars, floats, json_values)), max_size=4))
    right = {"arrival_s": 0.5, "prompt": "x", "output_tokens": 4}
    data = b"\n".join(json_bytes(right | line if draw(st.booleans()) else line) for line in lines)
    return draw(changed(data)) if data and draw(st.integers(0, 3)) == 0 else data


def _traces(data: bytes) -> None:
    lines = traces.parse(data)
    assert lines
    arrivals = [line.arrival_s for line in lines if line.arrival_s is not None]
    assert arrivals == sorted(arrivals)
    assert all(map(math.isfinite, arrivals))
    for line in lines:
        assert all(isinstance(one["content"], str) for one in line.conversation)
    folder = scratch() / "traces"
    digest = traces.add(folder, data)
    assert traces.load(folder, digest) == lines


# Small files that a team edits


_LIMITS = ("peak_memory_bytes <= 400 MiB", "peak memory <= 1e999", "<= 5", "ttft_s@x .../s <= 3", "accuracy >= 40 %",
"x" * 5000 + "<=1",
           " " * 5000, "peak_memory_bytes<=-1KiB", "ttft_s.p95 <= 1 ms", "<script> <= 1")  # fmt: skip


@st.composite
def _preset(draw: st.DrawFn) -> str:
    weights = {"efficiency": 20, "speed": 45, "performance": 35}
    content: dict[str, Any] = {"title": "T", "question": "Q?", "weights": weights}
    content |= draw(
        documents(("title", "question", "about", "weights", "axes", "limits", "workloads", "suites", "devices"))
    )
    if draw(st.booleans()):
        content["limits"] = draw(st.lists(st.one_of(among(_LIMITS), texts), max_size=3))
    if draw(st.booleans()):
        content["workloads"] = draw(st.lists(workload_tables, max_size=2))
    if draw(st.booleans()):
        content["weights"] = {name: draw(st.one_of(floats, integers)) for name in weights}
    return draw(toml(content))


def _presets(text: str) -> None:
    preset = read_preset(put("help-desk.toml", text))
    assert math.isclose(sum(preset.shares.values()), 1.0, rel_tol=1e-6)
    options = iter(preset.study_options)
    for name, value in zip(options, options, strict=True):
        # What it says to type is read as what it means, or refused in words.
        if name == "--workload":
            with contextlib.suppress(TrilemmaError):
                parse.workload(value)


@st.composite
def _profile(draw: st.DrawFn) -> str:
    sizes = st.one_of(
        integers, st.sampled_from(("4 GiB", "1e999 GiB", "-1", "x", "9" * 400 + " B", "nan GiB", "inf")), scalars
    )
    content: dict[str, Any] = {"title": "T", "stands_for": "S", "source": "X", "cores": 1, "memory": "1 GiB"}
    return draw(toml(content | draw(documents(("title", "cores", "memory", "system", "context", "source"), sizes))))


def _profiles(text: str) -> None:
    profile = read_profile(put("phone.toml", text))
    assert profile.device.label
    profile.model_dump_json()


@st.composite
def _tables(draw: st.DrawFn) -> tuple[str, str]:
    entry = {"title": "T", "source": "S", "date": "2026-03", "per_hour": 1.0}
    fields = ("title", "source", "date", "per_hour", "price", "per_kwh", "factor", "g_per_kwh", "own")
    entries = {
        draw(texts): {**entry, **draw(documents(fields, st.one_of(floats, scalars)))}
        for _ in range(draw(st.integers(0, 2)))
    }
    kinds = ("cloud", "machine", "electricity", "pue", "grid")
    content = {draw(st.sampled_from(kinds)): entries} | draw(documents(("currency", *kinds)))
    return draw(toml(content)), draw(st.sampled_from(("prices.toml", "grid.toml")))


def _price_tables(case: tuple[str, str]) -> None:
    text, name = case
    home = scratch() / "tables"
    (home / "planning").mkdir(parents=True, exist_ok=True)
    for other in ("prices.toml", "grid.toml"):
        (home / "planning" / other).unlink(missing_ok=True)
    put(f"tables/planning/{name}", text)
    tables = load_tables(home)
    assert default_assumptions(tables, Demand(requests_per_day=1000)).currency == tables.currency
    for kind in ("cloud", "machine", "electricity", "pue", "grid"):
        assert all(math.isfinite(entry.amount) for entry in tables.entries(kind).values())


# Packed studies, and what is kept under its hash


@st.composite
def _packed(draw: st.DrawFn) -> bytes:
    head = {"format": "trilemma-sample", "version": 1, "study": {}, "artifacts": []} | draw(
        documents(("format", "version", "study"))
    )
    lines = [json_bytes(head), *(json_bytes(draw(json_values)) for _ in range(draw(st.integers(0, 2))))]
    data = gzip.compress(b"\n".join(lines) + b"\n", compresslevel=1)
    return draw(changed(data)) if draw(st.booleans()) else data


def _packed_study(data: bytes) -> None:
    loads(data)


def _kept(case: tuple[bytes, str]) -> None:
    data, beginning = case
    folder = scratch() / "kept"
    digest = kept_files.keep(folder, ".questions", data)
    assert kept_files.read(folder, ".questions", digest) == data
    assert sorted(path.parent for path in folder.iterdir())[0] == folder
    for found in kept_files.beginning_with(folder, ".questions", beginning):
        assert len(found) == 64
    for find in (lambda: questions.find(folder, beginning), lambda: traces.find(folder, beginning)):
        with contextlib.suppress(StudyError):
            assert Path(find()).name in kept_files.known(folder, ".questions")


SURFACES = (
    Surface(
        "Files of questions", _sheets, _questions, share=2,
        examples=((_BOMB, "{}"), (_DEEP, ""), (b"question\n" + b"a\n" * 30_000, ""),
            (b'question,answer\n"' + b"x" * 200_000, "")),
    ),
    Surface("Traces", _trace(), _traces, share=1, examples=(b"[" * 200_000,
        b'{"prompt": "\\ud800", "output_tokens": 2}')),
    Surface(
        "Presets", _preset(), _presets, share=1,
        examples=('title = "T"\nquestion = "Q?"\nweights = {efficiency = 0, speed = 1e308, performance = 1e308}\n',),
    ),
    Surface("Device profiles", _profile(), _profiles, share=0.7),
    Surface("Tables of prices", _tables(), _price_tables, share=1),
    Surface("Packed studies", _packed(), _packed_study, share=0.7),
    Surface("Files kept under their hash", st.tuples(st.binary(max_size=20), whole_texts), _kept, share=0.5),
)  # fmt: skip
