"""The packed file: what is in it, what must not be, and what is read back."""

from __future__ import annotations

import getpass
import gzip
import random
import re
import socket

import pytest

from tests.factory import HOST, SUITES, WORKLOAD, artifact, figures
from trilemma.errors import StoreError
from trilemma.records import SAMPLE, AnswerRecord, RequestRecord, WholeStudy
from trilemma.sample import file, words
from trilemma.sample.file import PACKAGED, dumps, loads, packaged
from trilemma.sample.pack import refuse_names, whole_study
from trilemma.schema import Configuration, RunSpec, RunState, StudySpec
from trilemma.store import Store

QUESTION, RIGHT, WRONG, OWN_TEXT = "Who painted the ceiling", "Michelangelo did", "Nobody has", "Tell me of the sea."
WRITTEN, WANTED = "call_me(1)", "call_me(two=2)"


def asked(store: Store, **log: str) -> str:
    """A study whose texts must not be given away: its id."""
    item = store.add_artifact(artifact("tiny", "Q8_0").model_copy(update={"chat_template": "{{ secret }}"}))
    configuration = Configuration(artifact_id=item.id, engine="llama.cpp")
    spec = StudySpec(name="mine", configurations=(configuration,), workloads=(WORKLOAD,), suites=SUITES)
    run_spec = RunSpec(configuration=configuration, workloads=(WORKLOAD,), suites=SUITES, reference_id=item.id)
    study = store.add_study(spec, [run_spec, run_spec.model_copy(update={"repeat": 1})])
    run = store.claim_next("test")
    assert run is not None
    store.start_run(run.id, HOST)
    store.set_engine_info(run.id, {"version": "b7000", "file": "/home/somebody/tiny.gguf"})
    chosen = AnswerRecord(
        suite="hellaswag", item_id="hellaswag/7", index=0, prompt=QUESTION, answer=WRONG, expected=RIGHT,
        scores={"accuracy": 0.0},
        detail={"choices": [RIGHT, WRONG], "logprobs": [-2.0, -1.0], "chosen_index": 1, "expected_index": 0},
    )  # fmt: skip
    written = AnswerRecord(
        suite="bfcl_simple", item_id="bfcl_simple/3", index=0, prompt=QUESTION, answer=WRITTEN, expected=WANTED,
        scores={"success_rate": 0.0}, detail={"requests": [0], "why": f"not {WANTED}", "energy_j": 2.5},
    )  # fmt: skip
    text = AnswerRecord(suite="perplexity", item_id="chunk/0", index=0, prompt=QUESTION, answer="", scores={"p": 2.0})
    requests = [
        RequestRecord(
            workload=WORKLOAD.name, index=0, submitted_ns=1, token_times_ns=(5,), prompt=OWN_TEXT, text="It."
        ),
        RequestRecord(workload="bfcl_simple", index=0, submitted_ns=9, token_times_ns=(12,), prompt=QUESTION, text="a"),
    ]
    store.write_batch(run.id, requests=requests, answers=[chosen, written, text])
    store.set_measurements(run.id, figures(item, random.Random(1)))
    store.finish_run(run.id, RunState.DONE, **log)
    return study.id


def test_questions_and_expected_answers_are_left_out_and_choices_stay(store: Store) -> None:
    study_id = asked(store, log_tail="opened /home/somebody/tiny.gguf")
    data = dumps(whole_study(store, study_id))
    text = gzip.decompress(data).decode()
    for withheld in (QUESTION, RIGHT, WRONG, WANTED, "secret", "/home", "/models", HOST.id):
        assert withheld not in text
    (run,) = loads(data).runs
    by_suite = {answer.suite: answer for answer in run.answers}
    assert by_suite["hellaswag"].answer == "choice 2"
    assert by_suite["hellaswag"].detail == {
        "choices": ["choice 1", "choice 2"], "logprobs": [-2.0, -1.0], "chosen_index": 1,
    }  # fmt: skip
    assert by_suite["bfcl_simple"].answer == WRITTEN
    assert by_suite["bfcl_simple"].detail == {"requests": [0], "energy_j": 2.5}
    assert {answer.item_id for answer in run.answers} == {"hellaswag/7", "bfcl_simple/3", "chunk/0"}
    assert {answer.prompt for answer in run.answers} == {words.WITHHELD}
    assert (by_suite["bfcl_simple"].expected, by_suite["perplexity"].expected) == (words.WITHHELD, "")
    assert [request.prompt for request in run.requests] == [OWN_TEXT, words.WITHHELD]
    assert run.run.engine_info == {"version": "b7000"}
    assert run.run.log_tail == words.NO_LOG


def test_only_finished_runs_are_packed_and_a_study_without_any_is_refused(store: Store) -> None:
    study_id = asked(store)
    whole = whole_study(store, study_id)
    assert [(run.run.id, run.run.state, run.run.study_ids) for run in whole.runs] == [
        ("sample-01", RunState.DONE, (SAMPLE,))
    ]
    configuration = Configuration(artifact_id=artifact("tiny", "Q8_0").id, engine="other")
    waiting = store.add_study(
        StudySpec(name="w", configurations=(configuration,)), [RunSpec(configuration=configuration)]
    )
    with pytest.raises(StoreError, match="is done"):
        whole_study(store, waiting.id)


def test_the_same_study_gives_the_same_bytes_and_is_read_back(store: Store) -> None:
    study_id = asked(store)
    whole = whole_study(store, study_id)
    assert dumps(whole) == dumps(whole_study(store, study_id))
    assert loads(dumps(whole)) == whole


@pytest.mark.parametrize("name", ["/home/me/x.gguf", "/srv/data", 'at "/tmp/a"', r"C:\\Users"])
def test_a_folder_in_a_study_is_refused(name: str) -> None:
    with pytest.raises(StoreError, match="names this machine"):
        refuse_names(f'{{"text": "seen in {name}"}}', [])


def test_a_name_of_the_machine_is_refused_and_what_only_looks_like_a_folder_is_not() -> None:
    with pytest.raises(StoreError, match="bobs-laptop"):
        refuse_names('{"text": "on bobs-laptop"}', ["bobs-laptop"])
    refuse_names('{"text": "and/or, 3/4, https://example.org/tmp/x, hellaswag/7"}', ["bobs-laptop"])


@pytest.mark.parametrize(
    "data",
    [b"", b"nonsense", gzip.compress(b"[]\n"), gzip.compress(b'{"format":"trilemma-sample","version":99}\n')],
    ids=["empty", "nonsense", "a list", "another version"],  # gzip writes the time into its bytes
)
def test_a_damaged_file_is_an_error_that_says_what_to_do(data: bytes) -> None:
    with pytest.raises(StoreError, match="cannot be read") as caught:
        loads(data)
    assert "TRILEMMA_SAMPLE" in caught.value.hint


def test_a_truncated_file_is_an_error() -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        loads(PACKAGED.read_bytes()[:-1000])


def test_a_file_that_unpacks_without_an_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(gzip.decompress(PACKAGED.read_bytes())) < file.MAX_BYTES / 8
    monkeypatch.setattr(file, "MAX_BYTES", 1 << 20)
    bomb = gzip.compress(b"\0" * (64 << 20), compresslevel=9)
    assert len(bomb) < 1 << 17
    with pytest.raises(StoreError, match="more than it may"):
        loads(bomb)


@pytest.fixture(scope="module")
def shipped() -> WholeStudy:
    return packaged()


def test_what_is_shipped_is_small_and_in_the_present_form(shipped: WholeStudy) -> None:
    assert PACKAGED.stat().st_size < 3_000_000
    text = gzip.decompress(PACKAGED.read_bytes())  # compressed it may differ by version of zlib
    assert gzip.decompress(dumps(shipped)) == text, "pack it again: `trilemma sample pack`"


def test_what_is_shipped_names_no_folder_host_or_user(shipped: WholeStudy) -> None:
    text = gzip.decompress(PACKAGED.read_bytes()).decode()
    folders = "home|root|work|tmp|usr|var|opt|mnt|srv|etc|private|Users"
    assert re.findall(rf"(?<![\w.:/])/(?:{folders})\b[^\"]{{0,40}}", text) == []
    assert re.findall(r"[A-Z]:\\\\\w", text) == []
    assert re.findall(r"[\w.+-]+@[\w-]+\.\w+", text) == []
    for name in (socket.gethostname(), getpass.getuser()):
        if name not in ("root", "localhost"):
            assert not re.search(rf"\b{re.escape(name)}\b", text)
    assert {run.run.host.id for run in shipped.runs if run.run.host} == {SAMPLE}
    assert {one.path for one in shipped.artifacts} == {""}


def test_what_is_shipped_holds_no_question(shipped: WholeStudy) -> None:
    allowed = {"", words.WITHHELD}
    for run in shipped.runs:
        for answer in run.answers:
            assert {answer.prompt, answer.expected} <= allowed
            assert answer.detail.keys().isdisjoint({"contexts", "expected_index", "why", "trace"})
            choices = answer.detail.get("choices", [])
            assert isinstance(choices, list)
            assert all(re.fullmatch(r"choice \d+", str(choice)) for choice in choices)
        others = [request for request in run.requests if not request.workload.startswith("short_chat")]
        assert others == [] or {request.prompt for request in others} == {words.WITHHELD}


def test_questions_of_the_suites_are_not_in_the_bytes(shipped: WholeStudy) -> None:
    """The data sets' own texts, looked for where they are installed."""
    from trilemma.suites import data
    from trilemma.suites.hellaswag import HellaSwag
    from trilemma.suites.piqa import Piqa

    text = gzip.decompress(PACKAGED.read_bytes()).decode()
    looked = 0
    for suite in (HellaSwag, Piqa):
        if not data.availability(suite.dataset).available:
            pytest.skip("the questions are not installed")
        wanted = {a.item_id for run in shipped.runs for a in run.answers if a.suite == suite.name}
        for row in data.load(suite.dataset).rows:
            if f"{suite.name}/{row.index}" in wanted:
                item = suite().item(row, "x")
                for one in (*item.contexts, *item.choices):
                    if len(one) > 20:
                        looked += 1
                        assert one not in text
    assert looked > 400


def test_it_says_what_it_was_measured_on(shipped: WholeStudy) -> None:
    host = shipped.runs[0].run.host
    assert host is not None
    assert shipped.study.spec.name.startswith("Sample: ")
    assert f"{host.cpu}, {host.cores} cores, Linux" in shipped.study.spec.name


def test_it_is_a_study_to_explore(shipped: WholeStudy) -> None:
    """All three axes, two models, a whole ladder, nothing left unfinished."""
    keys = {m.figure for run in shipped.runs for m in run.measurements if m.value is not None}
    assert {"decode_tps", "peak_memory_bytes", "energy_per_token_j", "accuracy_norm", "success_rate"} <= keys
    assert len({one.model for one in shipped.artifacts}) == 2
    assert len(shipped.study.spec.configurations) == 9
    assert all(run.run.state is RunState.DONE for run in shipped.runs)
    again = [run.run for run in shipped.runs if run.run.rerun_of]
    assert len(shipped.runs) == 18 + len(again)
    assert {run.run.id for run in shipped.runs if run.run.disturbed} >= {run.rerun_of for run in again}
