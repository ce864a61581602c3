"""The user's own questions: what is read, what is refused and where, and how answers are scored."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.errors import CatalogError, StudyError, SuiteDataError
from trilemma.records import AnswerRecord
from trilemma.schema import SuiteSpec
from trilemma.settings import Settings
from trilemma.suites.custom import file, judge, patterns, schemas
from trilemma.suites.custom.question import Question
from trilemma.suites.custom.scoring import SCORERS, Rules, number_in
from trilemma.suites.custom.suite import Own
from trilemma.suites.generation import Reply, Task

HEADER = "question,answer,scoring,choices,schema\n"
CELLS = st.text(max_size=20) | st.sampled_from(["exact", "regex", "choice", "json_schema", "[", '"', "1|2", "((", "{}"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CELLS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELLS, inner, max_size=3),
    max_leaves=6,
)


def row(**fields: Any) -> Question:
    return Question.model_validate({"row": 2, "question": "?", **fields})


def right(text: str, /, rules: Rules = Rules(), **fields: Any) -> bool:  # noqa: B008 (a frozen tuple)
    question = row(**fields)
    return SCORERS[question.scoring](question, text, rules).right


def as_table(rows: list[str]) -> bytes:
    return (HEADER + "\n".join(rows)).encode("utf-8", "replace")


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


# --- reading


def test_csv_and_json_lines_give_the_same_questions() -> None:
    table = 'question,answer,scoring,choices,extra\n"Which, of\nthese?",B,choice,one|two,x\n3+4?,7,numeric,,\n'
    lines = [
        {"question": "Which, of\nthese?", "answer": "B", "scoring": "choice", "choices": ["one", "two"]},
        {"question": "3+4?", "answer": 7, "scoring": "numeric"},
    ]
    sheet = file.read(table.encode())
    other = file.read("\n".join(json.dumps(line) for line in lines).encode())
    assert sheet.problems == other.problems == ()
    assert [q.model_dump(exclude={"row"}) for q in sheet.questions] == [
        q.model_dump(exclude={"row"}) for q in other.questions
    ]
    assert [q.row for q in sheet.questions] == [2, 4], "the line of the file, not the number of the record"
    assert sheet.questions[0].right_choice == 1
    assert sheet.unused == ("extra",)


def test_semicolons_tabs_and_a_mark_at_the_beginning_are_read() -> None:
    for separator in ";\t":
        data = f"question{separator}answer\nWho, then?{separator}I\n".encode("utf-8-sig")
        assert [q.question for q in file.read(data).questions] == ["Who, then?"]


@pytest.mark.parametrize(
    ("data", "number", "says"),
    [
        (b"", 0, "no question"),
        (b"a,b\n1,2\n", 1, "no column named question"),
        (b"question,answer\nfine,1\n\xff\xfe,2\n", 3, "no UTF-8"),
        ("question\n".encode("utf-16"), 0, "UTF-16"),
        (b'question,answer\nfine,1\n"open,2\n', 3, "no CSV"),
        (b"question,answer\nfine,1\na,b,c\n", 3, "3 fields, but 2 columns"),
        (b"question,answer\nfine,1\nlost,\n", 3, "the answer is missing"),
        (HEADER.encode() + b"q,(a,regex,,\n", 2, "not understood"),
        (HEADER.encode() + rb"q,(a)\1,regex,," + b"\n", 2, "not understood"),
        (HEADER.encode() + b"q,seven,numeric,,\n", 2, "no number"),
        (HEADER.encode() + b"q,C,choice,a|b,\n", 2, "none of the choices"),
        (HEADER.encode() + b"q,,json_schema,,{\n", 2, "no JSON"),
        (HEADER.encode() + b'q,,json_schema,,"{""$ref"": ""http://x.example/""}"\n', 2, "another document"),
        (HEADER.encode() + b"q,a,vibes,,\n", 2, "scoring"),
        (b'{"question": "q", "answer": "a"}\n{"question"\n', 2, "no JSON"),
        (b'{"question": "q", "answer": "a", "tolerance": NaN}\n', 1, "NaN"),
        (b'{"question": "\\ud800", "answer": "a"}\n', 1, "unicode string"),
        (b'[{"question": "q"}]', 1, "no JSON object"),
        (b"[" * 100_000, 1, "nested too deeply"),
        (b"question,answer\n" + b"x" * 100_001 + b",a\n", 2, "at most 100000 characters"),
        (b"question,answer\n" + b"x" * 200_000 + b",a\n", 2, "field larger"),
        (b"question,answer\n" + b"q,a\n" * 20_001, 20_002, "more than 20,000 rows"),
        (b"question" + b" " * (20 << 20), 0, "larger than 20 MiB"),
    ],
)
def test_what_is_wrong_is_said_with_its_row_and_a_remedy(data: bytes, number: int, says: str) -> None:
    problems = file.read(data).problems
    assert any(p.row == number and says in p.text and p.remedy for p in problems), problems
    with pytest.raises(SuiteDataError):
        file.checked(data)


def test_all_problems_are_told_and_the_other_rows_read() -> None:
    sheet = file.read(b"question,answer\na,1\nb,\nc,3\nd,\n")
    assert [p.row for p in sheet.problems] == [3, 5]
    assert [q.question for q in sheet.questions] == ["a", "c"]
    assert len(file.read(b"question,answer\n" + b"b,\n" * 5000).problems) == file.MAX_PROBLEMS + 1
    with pytest.raises(SuiteDataError, match=r"Row 3: .* 1 more problem\."):
        file.checked(b"question,answer\na,1\nb,\nc,3\nd,\n")


def test_hostile_texts_are_kept_as_they_are() -> None:
    texts = ["=cmd|' /C calc'!A0", "<script>alert(1)</script>", "a\0b", "\u202egnp.exe", "line\u2028one"]
    lines = "\n".join(json.dumps({"question": text, "answer": text}, ensure_ascii=False) for text in texts)
    sheet = file.read(lines.replace("\0", "\\u0000").encode())
    assert [q.question for q in sheet.questions] == texts
    assert sheet.problems == ()
    assert file.read(b"question,answer\na\0b,c\n").questions[0].question == "a\0b"


@given(
    st.binary(max_size=300)
    | st.lists(st.lists(CELLS, max_size=6).map(",".join), max_size=4).map(as_table)
    | st.lists(st.dictionaries(st.sampled_from(file.COLUMNS), VALUES), max_size=3).map(as_lines)
)
def test_any_bytes_are_questions_or_refused(data: bytes) -> None:
    sheet = file.read(data)
    assert sheet.questions or sheet.problems
    with contextlib.suppress(SuiteDataError, StudyError):
        assert file.checked(data) == sheet.questions


def test_a_file_is_kept_under_its_hash(tmp_path: Path) -> None:
    data = b"question,answer\na,b\n"
    digest = file.add(tmp_path, data)
    assert file.add(tmp_path, data) == digest
    assert file.known(tmp_path) == [digest]
    assert file.find(tmp_path, digest[:8].upper()) == digest
    assert file.content(tmp_path, digest) == data
    (tmp_path / f"{digest}.questions").write_bytes(b"question,answer\na,c\n")
    with pytest.raises(SuiteDataError, match="were changed"):
        file.content(tmp_path, digest)
    with pytest.raises(StudyError, match="No file of questions begins"):
        file.find(tmp_path, "zz")
    with pytest.raises(SuiteDataError, match="Row 2"):
        file.add(tmp_path, b"question,answer\na,\n")


# --- scoring


def test_exact_wants_the_text_and_nothing_else() -> None:
    assert right(" New\n York ", answer=["New York", "NYC"])
    assert right("NYC", answer=["New York", "NYC"])
    assert not right("It is NYC", answer="NYC")
    assert not right("nyc", answer="NYC")
    assert right("nyc", Rules(ignore_case=True), answer="NYC")
    assert right("cafe\u0301", answer="caf\u00e9")


@pytest.mark.parametrize(
    ("text", "last", "first"),
    [
        ("3 + 4 = 7.", "7", "3"),
        ("1,234,567.50 in all", "1234567.50", "1234567.50"),
        ("from 3-4", "4", "3"),
        ("it is \u22125 or -.5", "-.5", "-5"),
        ("6.02e23 of them", "6.02e23", "6.02e23"),
        ("none", "", ""),
    ],
)
def test_the_number_of_an_answer(text: str, last: str, first: str) -> None:
    assert (number_in(text, "last"), number_in(text, "first")) == (last, first)


def test_numbers_are_compared_within_the_tolerance() -> None:
    assert right("0.3", answer="0.1", tolerance=0.2, scoring="numeric")
    assert not right("0.31", answer="0.1", tolerance=0.2, scoring="numeric")
    assert right("It costs $1,250.00", answer="1250", scoring="numeric")
    assert right("10.5", Rules(tolerance=0.5), answer="10", scoring="numeric")
    assert not right("10.5", Rules(tolerance=0.5), answer="10", tolerance=0, scoring="numeric")
    assert not right("9" * 100_000, answer="9", scoring="numeric")
    assert not right("1e9999", answer="9", scoring="numeric")


def test_an_expression_that_would_backtrack_for_ever_does_not() -> None:
    assert not right("a" * 1_000_000 + "b", answer="^(a+)+$", scoring="regex")
    assert right("the CODE is x-17", answer=r"[a-z]-\d+$", scoring="regex")
    assert right("YES", Rules(ignore_case=True), answer="^yes$", scoring="regex")
    assert patterns.found("b", "\ud800b") == "b"
    assert number_in("1," * 2_000_000, "last") == "1"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B", True),
        ("b.", True),
        ("the answer is a dog", False),
        ("(B) the second", True),
        ("**B**", True),
        ("The answer is B.", True),
        ("Answer: A? No: the answer is (B)", True),
        ("two words.", True),
        ("A dog is not it", False),
        ("C", False),
        ("", False),
    ],
)
def test_the_choice_of_an_answer(answer: str, expected: bool) -> None:
    assert right(answer, answer="two words", choices=["one", "two words"], scoring="choice") is expected


def test_an_answer_keeps_to_its_schema_or_is_told_why_not() -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "code": {"pattern": "^(a+)+$"}},
        "patternProperties": {"^x_": {"type": "string"}},
        "additionalProperties": False,
        "required": ["n"],
    }
    fields = {"scoring": "json_schema", "schema": schema}
    assert right('{"n": 1, "x_y": "z"}', **fields)
    assert right('```json\n{"n": 1}\n```', **fields)
    assert not right('Here it is: {"n": 1}', **fields)
    assert not right('{"n": 1, "y": 2}', **fields)
    assert not right('{"n": NaN}', **fields)
    assert not right(json.dumps({"n": 1, "code": "a" * 1_000_000 + "b"}), **fields)
    assert "nested" in schemas.mismatch("{}", "[" * 100_000)
    assert schemas.mismatch('{"uniqueItems": true}', json.dumps(list(range(100_000)))) == ""
    assert "twice" in schemas.mismatch('{"uniqueItems": true}', "[1, 2, 1]")


def test_a_schema_can_take_neither_for_ever_nor_the_stack() -> None:
    doubled = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    told = schemas.mismatch(json.dumps({"$defs": {**doubled, "d60": {}}, "$ref": "#/$defs/d0"}), "1")
    assert "steps" in told
    assert "without an end" in schemas.mismatch('{"$ref": "#"}', "1")
    dialect = {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": "^(a+)+$"}
    schema = json.dumps({"$ref": "#/$defs/x", "$defs": {"x": dialect}})
    assert "does not match" in schemas.mismatch(schema, json.dumps("a" * 64 + "b")), "Python's re would never end"
    assert "cannot be followed" in schemas.mismatch('{"$ref": "#/nowhere"}', "1")


# --- the suite


def spec_of(home: Settings, data: bytes, scoring: Any = "exact", **options: Any) -> SuiteSpec:
    digest = file.add(home.questions_dir, data, scoring)
    return SuiteSpec(name="own", options={"file": digest, "scoring": scoring, **options})


@pytest.fixture
def kept(settings: Settings) -> Settings:
    return settings


def test_the_suite_asks_in_a_conversation(kept: Settings) -> None:
    data = b"question,answer,scoring,choices,schema,system\nq,B,choice,x|y,,Be brief.\nj,,json_schema,,{},\n"
    suite = Own()
    spec = spec_of(kept, data, constrain=True, system="Be kind.")
    by_kind = {task.data.scoring: next(suite.script(task, spec)) for task in suite.tasks(spec)}
    chosen, made = by_kind["choice"], by_kind["json_schema"]
    assert chosen.messages[0] == {"role": "system", "content": "Be brief."}
    assert chosen.messages[1]["content"].startswith("q\n\nA. x\nB. y\n\n")
    assert (chosen.schema, made.schema) == ("", "{}")
    assert made.messages[0]["content"] == "Be kind."
    assert spec.subject == f"own:{spec.options['file'][:12]}"


def test_figures_of_two_files_have_two_names(kept: Settings) -> None:
    suite = Own()
    subjects = set()
    for data in (b"question,answer\na,b\n", b"question,answer\na,c\n"):
        spec = spec_of(kept, data).model_copy(update={"concurrency": 4})
        (task,) = suite.tasks(spec)
        grade = suite.grade(task, Reply("b"), spec)
        (figure,) = suite.measurements([record(task, grade.scores, grade.detail)], spec)
        subjects.add(figure.subject)
        assert figure.value == float(data.endswith(b"b\n"))
    assert len(subjects) == 2


def record(task: Task, scores: dict[str, float], detail: dict[str, Any]) -> AnswerRecord:
    return AnswerRecord(
        suite="own", item_id=task.id, index=0, prompt=task.question, answer="", scores=scores, detail=detail
    )


# --- the judge


class _JudgeHandler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((json.loads(body), self.headers.get("Authorization")))
        says = self.server.says
        content = json.dumps({"choices": [{"message": {"content": says}}]} if says else {"error": "no"}).encode()
        self.send_response(200 if says else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def judging() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), _JudgeHandler)
    server.asked, server.says = [], "It matches.\nVERDICT: CORRECT"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_model_judges_and_what_it_said_is_kept(
    kept: Settings, judging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_JUDGE", "sesame")
    url = f"http://127.0.0.1:{judging.server_port}/v1"
    options = {"judge_url": url, "judge_model": "wise", "judge_key_env": "MY_JUDGE"}
    spec = spec_of(kept, b"question,answer\nCapital of France?,Paris\n", "judge", **options)
    suite = Own()
    (task,) = suite.tasks(spec)
    grade = suite.grade(task, Reply("It is ANSWER>>> Paris"), spec)
    assert grade.scores == {"accuracy": 1.0}
    assert grade.detail["judge_said"] == "It matches.\nVERDICT: CORRECT"
    assert grade.detail["judge_wording"] == judge.WORDING
    (body, key) = judging.asked[0]
    assert (body["temperature"], body["model"], key) == (0, "wise", "Bearer sesame")
    assert body["messages"][1]["content"].count("ANSWER>>>") == 1, "an answer cannot end its own quotation"
    assert "sesame" not in json.dumps([spec.model_dump(), grade.detail])
    judging.says = "VERDICT: CORRECT\nOr rather not."
    unclear = suite.grade(task, Reply("Rome"), spec)
    assert unclear.scores == {}
    (figure,) = suite.measurements(
        [record(task, grade.scores, grade.detail), record(task, unclear.scores, unclear.detail)], spec
    )
    assert (figure.n, figure.value) == (1, 1.0)
    assert any("1 of 2 answers got no verdict" in reason for reason in figure.provenance.reasons)


def test_a_judge_that_fails_is_left_alone(kept: Settings, judging: Any) -> None:
    judging.says = ""
    one = judge.Judge(f"http://127.0.0.1:{judging.server_port}/v1", "wise")
    told = [one.rule(row(scoring="judge"), "x") for _ in range(5)]
    assert [ruling.right for ruling in told] == [None] * 5
    assert "400" in told[0].error
    assert len(judging.asked) == 3


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("VERDICT: CORRECT", True),
        ("So.\nVERDICT: INCORRECT\n", False),
        ("VERDICT: CORRECT\nVERDICT: INCORRECT", None),
        ("Verdict: correct", None),
        ("VERDICT: CORRECT.", None),
        ("It is CORRECT", None),
        ("", None),
    ],
)
def test_a_verdict_is_one_line_at_the_end(said: str, expected: bool | None) -> None:
    assert judge.verdict(said) is expected


def test_without_a_judge_or_its_key_nothing_is_asked(kept: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    data = b"question\nq\n"
    with pytest.raises(StudyError, match="judge"):
        Own().tasks(spec_of(kept, data, "judge"))
    options = {"judge_url": "http://127.0.0.1:1/v1", "judge_model": "m", "judge_key_env": "NO_SUCH_KEY"}
    with pytest.raises(CatalogError, match="NO_SUCH_KEY"):
        Own().tasks(spec_of(kept, data, "judge", **options))
