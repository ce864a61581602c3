"""A study as one file: the same from both databases, added once, and refused where it is not what it says."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.archive.made import measured, members, packed
from tests.factory import GEMMA, HOST, SMOL, fill_store
from tests.postgres import server
from trilemma.archive import read, write
from trilemma.archive.format import MANIFEST, MAX_SMALL_BYTES, RUNS, STUDY, VOTES
from trilemma.archive.read import import_file
from trilemma.archive.write import export_bytes, export_file
from trilemma.errors import DatabaseTooNewError, StoreError
from trilemma.records import IMPORTED, SAMPLE
from trilemma.sample.loading import add_sample
from trilemma.schema import RunState
from trilemma.store import Store, open_store

Change = Callable[[dict[str, bytes]], None]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("measured")
    with open_store(f"sqlite:///{folder / 'trilemma.db'}") as store:
        return export_bytes(store, measured(store))


def take(store: Store, file: bytes) -> read.Imported:
    return import_file(store, io.BytesIO(file))


def test_it_goes_round_through_both_databases_byte_for_byte(tmp_path: Path) -> None:
    with (
        open_store(f"sqlite:///{tmp_path / 'first.db'}") as first,
        server().database() as url,
        open_store(url) as second,
        open_store(f"sqlite:///{tmp_path / 'third.db'}") as third,
    ):
        study_id = measured(first)
        file = export_bytes(first, study_id)
        for store in (second, third):
            found = take(store, file)
            assert (found.runs, found.fresh_runs, found.study.id) == (5, 5, study_id)
            assert members(export_bytes(store, study_id)) == members(file)
            file = export_bytes(store, study_id)
        assert export_bytes(first, study_id) == file
        for run in first.runs(study_id):
            other = third.run(run.id)
            assert other.spec.device == f"{IMPORTED}local"
            assert (other.state, other.host, other.finished_at) == (run.state, run.host, run.finished_at)
            assert third.samples(run.id) == first.samples(run.id)
            assert third.measurements(run.id) == first.measurements(run.id)
        assert third.votes(study_id) == first.votes(study_id)


def test_importing_twice_changes_nothing(store: Store, file: bytes) -> None:
    take(store, file)
    before = (store.version(), [study.model_dump() for study in store.studies()])
    assert take(store, file).fresh_runs == 0
    assert (store.version(), [study.model_dump() for study in store.studies()]) == before


def test_at_home_it_finds_everything_there(store: Store) -> None:
    study_id = measured(store)
    before = store.runs(study_id)
    assert take(store, export_bytes(store, study_id)).fresh_runs == 0
    assert store.runs(study_id) == before
    assert all(run.spec.device == "local" for run in before)


def test_it_comes_back_after_it_was_deleted(store: Store) -> None:
    study_id = measured(store)
    file = export_bytes(store, study_id)
    store.delete_study(study_id)
    assert take(store, file).fresh_runs == 5
    assert export_bytes(store, study_id) == file


def test_it_is_not_taken_for_what_was_measured_here(store: Store, file: bytes) -> None:
    found = take(store, file)
    assert len(store.run_frame()) == 5, "alone, it is what there is to see"
    facts = store.origin(found.study.id)
    assert facts is not None
    assert facts.imported
    assert facts.host == HOST
    assert store.origin(None) == facts
    mine = fill_store(store, [(SMOL, "F16")], repeats=1)
    assert mine.runs_by_state == {RunState.DONE: 1}, "measured here, not reused"
    assert set(store.run_frame()["run_id"]) == {run.id for run in store.runs(mine.id)}
    assert {run.id for run in store.runs()} == {run.id for run in store.runs(mine.id)}
    assert len(store.run_frame(found.study.id)) == 5
    assert store.origin(mine.id) is store.origin(None) is None
    assert store.foreign_studies() == [found.study.id]
    assert [a.path for a in store.artifacts(forgotten=True) if a.quantization == "Q4_K_M"] == [""]
    assert store.reusable() == {run.spec.fingerprint for run in store.runs(mine.id)}


def test_what_failed_elsewhere_is_not_retried_here(store: Store, file: bytes) -> None:
    """It would lose its records, and no worker here has its device."""
    study_id = take(store, file).study.id
    before = store.runs(study_id)
    failed = next(run for run in before if run.state is RunState.FAILED)
    with pytest.raises(StoreError, match="measured elsewhere"):
        store.retry(failed.id)
    assert store.runs(study_id) == before


def test_only_what_is_over_is_in_it(store: Store, tmp_path: Path) -> None:
    study_id = measured(store)
    done = next(run for run in store.runs(study_id) if run.state is RunState.FAILED)
    store.retry(done.id)
    assert export_file(store, study_id, tmp_path / "deep" / "s.zip") == 1
    assert len(members((tmp_path / "deep" / "s.zip").read_bytes())[RUNS].splitlines()) == 4
    with pytest.raises(StoreError, match="exists already"):
        export_file(store, study_id, tmp_path / "deep" / "s.zip")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["s.zip"]


def test_of_the_machine_it_holds_no_folder_of_weights(file: bytes) -> None:
    assert b"/models/" not in b"".join(members(file).values())


def test_the_sample_study_is_not_packed(store: Store) -> None:
    add_sample(store)
    with pytest.raises(StoreError, match="sample"):
        export_bytes(store, SAMPLE)


def test_namesakes_are_counted(store: Store, file: bytes) -> None:
    fill_store(store, [(GEMMA, "Q2_K")], repeats=1, name="Demo", detail=False)
    assert take(store, file).namesakes == 1


def test_a_study_of_ones_own_takes_no_runs_of_others(store: Store) -> None:
    study_id = measured(store)
    content = members(export_bytes(store, study_id))
    *lines, last = content[RUNS].splitlines(keepends=True)
    whole = json.loads(lines[0])
    whole["run"]["id"] = "beef" * 3
    content[RUNS] = b"".join([*lines, last, json.dumps(whole).encode() + b"\n"])
    with pytest.raises(StoreError, match="was measured here"):
        take(store, packed(content))
    assert len(store.runs(study_id)) == 5


def line(name: str, change: Callable[[dict], object], number: int = 0) -> Change:  # type: ignore[type-arg]
    def apply(content: dict[str, bytes]) -> None:
        lines = content[name].splitlines()
        value = json.loads(lines[number])
        change(value)
        lines[number] = json.dumps(value).encode()
        content[name] = b"\n".join(lines) + b"\n"

    return apply


def put(name: str, data: bytes) -> Change:
    return lambda content: content.update({name: data})


def doubled(content: dict[str, bytes]) -> None:
    content[RUNS] += content[RUNS].splitlines(keepends=True)[0]


def request_twice(whole: dict) -> None:  # type: ignore[type-arg]
    whole["requests"] *= 2


HOSTILE: dict[str, Change] = {
    "a member that leaves its folder": put("../../etc/cron.d/x", b"x"),
    "an absolute member": put("/etc/passwd", b"x"),
    "a member that nobody asked for": put("runs.pickle", b"cos\nsystem\n(S'true'\ntR."),
    "a missing member": lambda content: content.pop(VOTES),
    "no manifest": lambda content: content.pop(MANIFEST),
    "another format": line(MANIFEST, lambda m: m.update(format="zip")),
    "an unknown field": line(RUNS, lambda w: w["run"].update(admin=True)),
    "an id with a path": line(RUNS, lambda w: w["run"].update(id="../../x")),
    "an id with a quote": line(STUDY, lambda s: s.update(id="1' OR '1'='1")),
    "a study called sample": line(STUDY, lambda s: s.update(id="sample")),
    "a run of the sample's device": line(RUNS, lambda w: w["run"]["spec"].update(device="sample")),
    "a run that says where it was imported": line(RUNS, lambda w: w["run"]["spec"].update(device="imported:x")),
    "a run of another study": line(RUNS, lambda w: w["run"].update(study_ids=["aaaaaaaaaaaa"])),
    "a run that waits": line(RUNS, lambda w: w["run"].update(state="waiting")),
    "a run that repeats the future": line(RUNS, lambda w: w["run"].update(rerun_of="beefbeefbeef")),
    "a run twice": doubled,
    "a request twice": line(RUNS, request_twice),
    "a number that no database takes": line(RUNS, lambda w: w["requests"][0].update(submitted_ns=2**80)),
    "a count that is too large": line(RUNS, lambda w: w["requests"][0].update(prompt_tokens=2**70)),
    "text for a number": line(RUNS, lambda w: w["measurements"][0].update(value="1; DROP TABLE runs")),
    "an artifact's file": line("artifacts.jsonl", lambda a: a.update(path="/etc/passwd")),
    "a vote without an id": line(VOTES, lambda v: v.update(id="")),
    "deep nesting": put(RUNS, b'{"run":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"),
    "no JSON": put(STUDY, b"\x80\x04\x95 pickle"),
    "a bomb": put(RUNS, b" " * (32 << 20)),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_file_that_is_not_what_it_says_is_refused_whole(store: Store, file: bytes, change: Change) -> None:
    content = members(file)
    change(content)
    before = store.version()
    with pytest.raises(StoreError) as caught:
        take(store, packed(content))
    assert len(str(caught.value)) < 1000
    assert store.studies() == store.runs() == store.artifacts(forgotten=True) == []
    assert store.version() == before


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing_are_refused(store: Store, file: bytes, compression: int) -> None:
    with pytest.raises(StoreError, match="does not use"):
        take(store, packed(members(file), compression=compression))
    assert take(store, packed(members(file), compression=zipfile.ZIP_STORED)).fresh_runs == 5


def test_a_changed_figure_is_noticed(store: Store, file: bytes) -> None:
    content = members(file)
    content[RUNS] = content[RUNS].replace(b'"value":', b'"value":1', 1)
    with pytest.raises(StoreError, match="manifest"):
        take(store, packed(content, resign=False))


def test_a_newer_file_asks_for_a_newer_trilemma(store: Store, file: bytes) -> None:
    content = members(file)
    line(MANIFEST, lambda m: m.update(version=99))(content)
    with pytest.raises(DatabaseTooNewError, match="99"):
        take(store, packed(content))


def test_a_list_of_very_many_members_is_not_even_read(
    store: Store, monkeypatch: pytest.MonkeyPatch, file: bytes
) -> None:
    content = members(file) | {f"m{number}": b"" for number in range(70_000)}
    many = packed(content)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("the list was read"))
    with pytest.raises(StoreError, match=r"members|end"):
        take(store, many)


def test_limits_of_size_hold_for_what_is_really_unpacked(
    store: Store, file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "MAX_BYTES", 1000)
    with pytest.raises(StoreError, match="larger"):
        take(store, file)
    monkeypatch.undo()
    monkeypatch.setitem(read.MAX_LINE_BYTES, RUNS, 5000)
    with pytest.raises(StoreError, match="longer than"):
        take(store, file)
    monkeypatch.undo()
    monkeypatch.setattr(read, "MAX_LISTS_BYTES", 100)
    with pytest.raises(StoreError, match=r"artifacts\.jsonl is larger"):
        take(store, file)


def test_a_run_may_be_larger_than_everything_else(store: Store, file: bytes) -> None:
    content = members(file)
    line(RUNS, lambda whole: whole["run"].update(log_tail="x" * (MAX_SMALL_BYTES + 1)))(content)
    assert take(store, packed(content, compression=zipfile.ZIP_STORED)).fresh_runs == 5


@pytest.mark.parametrize(
    ("name", "least", "says"),
    [("MAX_LINE_BYTES", {RUNS: 5000}, "A run is larger"), ("MAX_BYTES", 20_000, "The study is larger")],
)
def test_what_no_import_would_take_is_not_written(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, least: object, says: str
) -> None:
    study_id = measured(store)
    before = getattr(write, name)
    monkeypatch.setattr(write, name, {**before, **least} if isinstance(least, dict) else least)
    with pytest.raises(StoreError, match=says) as caught:
        export_file(store, study_id, tmp_path / "large" / "s.zip")
    assert "trilemma export" in caught.value.hint
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name == "large"]


def test_a_shared_rerun_goes_without_the_run_that_it_repeats(store: Store, tmp_path: Path) -> None:
    done = fill_store(store, [(SMOL, "F16")], repeats=1, detail=False)
    spec = store.runs(done.id)[0].spec.model_copy(update={"repeat": 1})
    first = store.add_study(done.spec, [spec])
    original = store.claim_next("test")
    assert original is not None
    store.start_run(original.id, HOST)
    store.finish_run(original.id, RunState.DONE, disturbed=True, disturbances=["others"])
    again = store.add_rerun(original.id)
    store.claim_next("test")
    store.start_run(again, HOST)
    store.finish_run(again, RunState.DONE)
    both = export_bytes(store, first.id)
    second = store.add_study(first.spec.model_copy(update={"name": "Shares"}), [spec])
    assert [run.id for run in store.runs(second.id)] == [again], "the undisturbed one is shared"
    file = export_bytes(store, second.id)
    with open_store(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert take(other, file).runs == 1
        assert export_bytes(other, second.id) == file
    with open_store(f"sqlite:///{tmp_path / 'third.db'}") as third:
        take(third, both)
        assert third.run(again).rerun_of == original.id, "together they stay what they are"


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('fuzzed') / 'trilemma.db'}") as store:
        yield store


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_anywhere_is_an_error_with_a_reason_or_no_damage(
    anywhere: Store, file: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(file[: data.draw(st.integers(0, len(file)), "length")])
    for _ in range(data.draw(st.integers(0, 3), "flips")):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = take(anywhere, bytes(damaged))
    except StoreError as error:
        assert error.hint
        assert anywhere.studies() == []
    else:  # a bit that means nothing, such as a member's date
        assert members(export_bytes(anywhere, found.study.id)) == members(file)
        anywhere.delete_study(found.study.id)
