"""Studies out of what is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trilemma.cli import parse
from trilemma.errors import NotFoundError, ProfileError, StudyError
from trilemma.schema import Artifact, StudySpec
from trilemma.workloads import PROMPT_SETS

ARTIFACT = Artifact(id="cd" * 32, path="/x.gguf", model="Tiny", quantization="Q8_0", size_bytes=1, source="folder")


def find(name: str) -> Artifact:
    if name in (ARTIFACT.label, ARTIFACT.id):
        return ARTIFACT
    raise NotFoundError(f"No {name}.")


def test_a_workload_starts_from_its_defaults() -> None:
    spec = parse.workload("short_chat:requests=4,output_tokens=32")
    defaults = PROMPT_SETS["short_chat"].defaults()
    assert (spec.requests, spec.output_tokens, spec.prompt_tokens) == (4, 32, defaults.prompt_tokens)


def test_a_bare_number_limits_a_suite_and_unknown_keys_are_its_options() -> None:
    assert parse.suite("hellaswag:100").limit == 100
    spec = parse.suite("perplexity:limit=20,chunk_tokens=256,text=wiki")
    assert (spec.limit, spec.options) == (20, {"chunk_tokens": 256, "text": "wiki"})


def test_lists_are_swept() -> None:
    settings = parse.typed_settings(["threads=1,2", "kv_cache_type=q8_0", "flash_attention=true"])
    assert settings == {"threads": [1, 2], "kv_cache_type": "q8_0", "flash_attention": True}
    made = parse.configurations(["Tiny Q8_0"], "llama.cpp", settings, find)
    assert [c.settings["threads"] for c in made] == [1, 2]
    assert {c.artifact_id for c in made} == {ARTIFACT.id}


def test_no_settings_make_one_configuration() -> None:
    assert parse.sweep({}) == [{}]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (lambda: parse.workload("nope"), "nope"),
        (lambda: parse.workload("short_chat:requests=0"), "requests"),
        (lambda: parse.workload("short_chat:requests"), "key=value"),
        (lambda: parse.suite("hellaswag:-1"), "limit"),
        (lambda: parse.typed_settings(["threads"]), "key=value"),
        (lambda: parse.typed_settings(["threads="]), "key=value"),
        (lambda: parse.workload("short_chat:sweep=a;b"), "sweep"),
        (lambda: parse.workload("short_chat:sweep=1e999"), "sweep"),
        (lambda: parse.workload(f"short_chat:requests=1{'0' * 400}"), "requests"),
        (lambda: parse.suite("own:options=3,x=1"), "options is no table"),
        (lambda: parse.sweep({str(name): [*range(100)] for name in range(9)}), "combinations"),
    ],
)
def test_what_is_wrong_is_named(wrong: object, word: str) -> None:
    with pytest.raises(StudyError, match=word) as caught:
        wrong()  # type: ignore[operator]
    assert caught.value.hint


SHORT = """
name = "sweep"
artifacts = ["Tiny Q8_0"]
workloads = ["short_chat:requests=2", {name = "long_answer", requests = 1}]
suites = ["hellaswag:10"]
repeats = 3
[settings]
threads = [1, 2]
"""


def test_the_short_form_of_a_study_file(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(SHORT)
    spec = parse.study_file(path, find)
    assert (spec.name, spec.repeats, len(spec.configurations)) == ("sweep", 3, 2)
    assert [w.requests for w in spec.workloads] == [2, 1]
    assert spec.suites[0].limit == 10


def test_a_study_written_as_json_reads_back_equal(tmp_path: Path) -> None:
    spec = StudySpec(
        name="again",
        configurations=parse.configurations(["Tiny Q8_0"], "llama.cpp", {"threads": 2}, find),
        workloads=(parse.workload("short_chat"),),
        suites=(parse.suite("perplexity:limit=3,chunk_tokens=64"),),
        seed=7,
    )
    path = tmp_path / "study.json"
    path.write_text(spec.model_dump_json())
    assert parse.study_file(path, find) == spec


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name = ", "neither valid"),
        ('name = "x"\nartifacts = ["Tiny Q8_0"]\ncolour = "red"', "colour"),
        ('name = "x"', "configurations"),
        ('name = "x"\nartifacts = 3', "wrong kind"),
        ('name = "x"\nartifacts = ["Tiny Q8_0"]\nrepeats = 0', "repeats"),
        ('name = "x"\nartifacts = ["Tiny Q8_0"]\nworkloads = [3]', "wrong kind"),
        ("artifacts = []", "name"),
    ],
)
def test_a_malformed_file_says_what_is_wrong(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text)
    with pytest.raises(StudyError, match=word):
        parse.study_file(path, find)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", json.dumps([1]).encode()])
def test_a_file_that_holds_no_study(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "study.json"
    path.write_bytes(content)
    with pytest.raises(StudyError):
        parse.study_file(path, find)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        parse.study_file(tmp_path / "none.toml", find)


def test_devices_multiply_a_study(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    short = 'name = "devices"\nartifacts = ["Tiny Q8_0"]\nworkloads = ["short_chat"]\n'
    path.write_text(short + 'devices = ["this machine", "phone", "edge-2gb"]\n')
    found = parse.study_file(path, find).configurations
    assert [c.profile.name if c.profile else None for c in found] == [None, "phone", "edge-2gb"]
    for bad, says in (
        (short + 'devices = "phone"\n', "must be a list"),
        (short + "devices = [3]\n", "must be a list"),
        ('name = "x"\nconfigurations = []\ndevices = ["phone"]\n', "go with artifacts"),
    ):
        path.write_text(bad)
        with pytest.raises(StudyError, match=says):
            parse.study_file(path, find)
    path.write_text(short + 'devices = ["toaster"]\n')
    with pytest.raises(ProfileError, match="toaster"):
        parse.study_file(path, find)
