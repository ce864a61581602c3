"""Files that nobody vouches for: each importer reads them as data, or says why not; nothing else happens."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trilemma import registry
from trilemma.errors import InteropError
from trilemma.interop import read_data, read_path
from trilemma.interop.base import Imported
from trilemma.interop.reading import HEAD_BYTES, MAX_BYTES, json_of
from trilemma.interop.studies import whole_study
from trilemma.schema import Method

NAMES = registry.names("trilemma.importers")
DATA = Path(__file__).parent / "data"
REAL = sorted(path for path in DATA.iterdir() if path.suffix != ".md")
MAPPING = {"model": "model", "ttft": "ttft_s.median@chat [ms]", "threads": "setting:threads"}


def mapping_of(name: str) -> dict[str, str]:
    return MAPPING if name == "csv" else {}


class Explodes:
    """Would write a file if it were unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n\t ",
        b"\0" * 100,
        b"\xff\xfe\x00",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"[1, 2]",
        b'{"a": ' * 100_000,
        b"[" * 100_000,
        b"9" * 10_000,
        b'{"benchmarks": 1, "metadata": {"guidellm_version": "1"}}',
        b'{"results": {"a": {"alias": "a", "acc,none": "yes"}}, "config": {}}',
        b"INSERT INTO llama_bench (build_commit, n_prompt, avg_ts) VALUES ('a', 'b');\n",
        b"model,model\na,b\n",
        b"model,ttft,threads\n,,\n",
        b"model,ttft,threads\nM,nan,1\nM,inf,1\n",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_no_result_is_refused_with_a_reason(name: str, data: bytes) -> None:
    with pytest.raises(InteropError) as caught:
        read_data("x", data, name, mapping_of(name))
    assert caught.value.message
    assert caught.value.hint


def test_a_pickle_is_refused_and_does_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    bad = tmp_path / "results.json"
    bad.write_bytes(pickle.dumps(Explodes(str(trap))))
    for name in NAMES:
        with pytest.raises(InteropError):
            read_path(bad, name, mapping_of(name))
    assert not trap.exists()


def test_bombs_are_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (2 * MAX_BYTES), 9)
    assert len(bomb) < MAX_BYTES // 100
    with pytest.raises(InteropError, match="more than 64 MiB"):
        read_data("x.json.gz", bomb)
    nested = gzip.compress(bomb)
    with pytest.raises(InteropError):
        read_data("x.json.gz.gz", nested)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.json", "{}")
    with pytest.raises(InteropError, match="Archives"):
        read_data("x.zip", archive.getvalue())
    with pytest.raises(InteropError, match="too early"):
        read_data("x.gz", gzip.compress(b"[1]" * 1000)[:-12])


def test_what_is_too_large_or_no_file_is_not_read(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InteropError, match="larger than 64 MiB"):
        read_path(large)
    with pytest.raises(InteropError, match="is no file"):
        read_path(tmp_path)
    with pytest.raises(InteropError, match="is no file"):
        read_path(tmp_path / "none.json")


def test_numbers_that_are_none_become_nothing() -> None:
    assert json_of('{"a": NaN, "b": [Infinity, -Infinity, 1e999], "c": 1.5}') == {"a": None, "b": [None] * 3, "c": 1.5}


def test_texts_lose_what_would_forge_lines_colours_or_directions() -> None:
    evil = "Mo\u202edel\x1b[31m \u2066x\r\ny\x00"
    row = json.dumps(
        {"build_commit": evil, "model_filename": f"{evil}.Q8_0.gguf", "n_prompt": 8, "n_gen": 0, "avg_ts": 5.0}
    ).replace("\\u0000", "")
    imported, file = read_data(f"../../{evil}.jsonl", row.encode(), "llama-bench")
    told = whole_study(imported, file).model_dump_json()
    for forbidden in ("\u202e", "\u2066", "\\u001b", "\\r", "../"):
        assert forbidden not in told.replace("\\u202e", "\u202e").replace("\\u2066", "\u2066")


def test_sql_is_taken_apart_and_not_run() -> None:
    line = (
        "CREATE TABLE x (a); DROP TABLE runs; ATTACH DATABASE '/tmp/evil.db' AS e;\n"
        "INSERT INTO llama_bench (build_commit, model_filename, n_prompt, n_gen, avg_ts) "
        "VALUES ('c', 'm''); DROP TABLE runs; --.Q8_0.gguf', '8', '0', '5.5');\n"
    )
    imported, _ = read_data("x.sql", line.encode(), "llama-bench")
    assert imported.runs[0].measurements[0].value == 5.5
    assert "DROP-TABLE" in imported.runs[0].model


def checked(imported: Imported) -> None:
    """What is true of everything that an importer gives."""
    for run in imported.runs:
        for one in run.measurements:
            assert one.provenance.method is Method.IMPORTED
            assert one.value is None or abs(one.value) < float("inf")
            assert one.low is None or one.value is None or one.low <= one.high  # type: ignore[operator]


@settings(max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_a_damaged_file_is_read_or_refused(path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    small = whole if len(whole) < 20_000 else whole[:20_000]
    at = data.draw(st.integers(0, len(small) - 1))
    length = data.draw(st.integers(0, 200))
    new = data.draw(st.binary(max_size=20) | st.sampled_from([b"null", b"-1", b"[]", b"{}", b'"x"', b"1e400", b"NaN"]))
    damaged = (
        (small[:at] + new + small[at + length :])
        if len(small) == len(whole)
        else whole[:at] + new + whole[at + length :]
    )
    try:
        imported, file = read_data(path.name, damaged)
        checked(imported)
        whole_study(imported, file)
    except InteropError as error:
        assert error.message


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a document's values, of long lists the first two."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*at, key))
    elif isinstance(value, list):
        for index in range(min(2, len(value))):
            yield from paths(value[index], (*at, index))


ODD = [None, -1, 0, 10**30, -1e300, 1e-320, "", "x" * 300, [], {}, True, [None], {"a": None}]


@settings(max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize("path", [path for path in REAL if path.suffix == ".json"], ids=lambda path: path.name)
def test_a_value_of_another_kind_is_read_or_refused(path: Path, data: st.DataObject) -> None:
    document = json.loads(path.read_text())
    *above, last = data.draw(st.sampled_from([at for at in paths(document) if at]))
    inner = document
    for key in above:
        inner = inner[key]
    inner[last] = data.draw(st.sampled_from(ODD))
    try:
        imported, file = read_data(path.name, json.dumps(document).encode())
        checked(imported)
        whole_study(imported, file)
    except InteropError as error:
        assert error.message


@given(st.binary(max_size=HEAD_BYTES // 64))
def test_looking_at_a_file_never_fails(head: bytes) -> None:
    for name in NAMES:
        assert registry.load("trilemma.importers", name)().sniff(head) in (True, False)


def test_a_share_outside_0_and_1_is_left_out() -> None:
    file = DATA / "lm-eval.json"
    document = json.loads(file.read_text())
    document["results"]["made_sums"]["exact_match,flexible-extract"] = -1
    imported, _ = read_data(file.name, json.dumps(document).encode())
    assert [one.why for one in imported.left_out] == ["-1 is no share of the answers"]
    assert {one.subject for run in imported.runs for one in run.measurements} == {"lm_eval made_capitals"}


def test_an_error_below_0_makes_no_interval() -> None:
    file = DATA / "lm-eval.json"
    document = json.loads(file.read_text())
    for scores in document["results"].values():
        scores.update({name: -1 for name in scores if "_stderr" in name})
    imported, _ = read_data(file.name, json.dumps(document).encode())
    found = [one for run in imported.runs for one in run.measurements]
    assert found
    assert all(one.value is not None and one.low is None and one.high is None for one in found)
