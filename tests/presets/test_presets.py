"""Presets as files: the ones that come with Trilemma, a team's own, and broken ones."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from trilemma import registry
from trilemma.analysis.preferences import read_limit
from trilemma.cli import parse
from trilemma.errors import PresetError
from trilemma.presets import find_preset, load_presets, presets, read_preset
from trilemma.presets.study_text import suite_text, workload_text
from trilemma.profiles import load_profiles
from trilemma.schema import Axis, StoppingRule, SuiteSpec, WorkloadSpec
from trilemma.settings import Settings

NAMES = {
    "real-time-assistant", "regulated-answers", "trading-extraction", "document-batch", "phone-edge",
    "on-premise-server", "tool-agent",
}  # fmt: skip
GOOD = 'title = "Ours"\nquestion = "Which one?"\nweights = { efficiency = 1, speed = 1, performance = 2 }\n'


def own(home: Path, name: str, text: str) -> Path:
    folder = home / "presets"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


def test_those_that_come_with_trilemma_are_whole() -> None:
    found, problems = load_presets(None)
    assert problems == []
    assert set(found) == NAMES
    suites, devices = registry.names("trilemma.suites"), load_profiles(None)[0]
    for preset in found.values():
        assert preset.question.endswith("?")
        assert preset.about
        assert preset.limits
        assert set(preset.axes) == set(Axis)
        assert preset.workloads and preset.suites
        assert {suite.name for suite in preset.suites} <= set(suites)
        assert set(preset.devices) <= set(devices)
        assert math.isclose(sum(preset.shares.values()), 1.0)
        assert not preset.own


def test_no_two_of_them_weigh_alike() -> None:
    shares = [tuple(preset.shares.values()) for preset in load_presets(None)[0].values()]
    assert len(set(shares)) == len(shares)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_study_for_it_can_be_made_as_it_says(name: str, home: Path) -> None:
    preset = find_preset(name)
    options = preset.study_options
    pairs = list(zip(options[::2], options[1::2], strict=True))
    assert tuple(parse.workload(text) for option, text in pairs if option == "--workload") == preset.workloads
    assert tuple(parse.suite(text) for option, text in pairs if option == "--suite") == preset.suites
    assert tuple(text for option, text in pairs if option == "--device") == preset.devices


@pytest.mark.parametrize("name", sorted(NAMES))
def test_what_it_limits_a_study_for_it_measures(name: str) -> None:
    """A preset that asks for what its own study does not measure would never be checked."""
    preset = find_preset(name)
    for text in preset.limits:
        subject = read_limit(text, []).name.partition("@")[2]
        assert not subject or subject in preset.subjects, text
        if ".p99" in text:
            assert min(spec.requests for spec in preset.workloads) >= 100
        if ".p95" in text:
            assert min(spec.requests for spec in preset.workloads) >= 20


@pytest.mark.parametrize(
    "spec",
    [
        WorkloadSpec(name="short_chat", prompt_tokens=128, output_tokens=64, requests=10),
        WorkloadSpec(name="long_answer", prompt_tokens=64, output_tokens=9, requests=3, rate=0.5, fit_context=True),
        WorkloadSpec(
            name="short_chat", prompt_tokens=1, output_tokens=2, requests=3, sweep=(1, 4), length_spread=0.25, seed=7
        ),
    ],
)
def test_a_workload_is_written_as_the_command_line_reads_it(spec: WorkloadSpec, home: Path) -> None:
    assert parse.workload(workload_text(spec)) == spec


def test_a_suite_is_written_as_the_command_line_reads_it(home: Path) -> None:
    spec = SuiteSpec(name="gsm8k", limit=20, concurrency=4, stopping=StoppingRule(error=0.1), options={"shots": 3})
    assert parse.suite(suite_text(spec)) == spec


def test_a_teams_own_comes_last_and_wins(settings: Settings) -> None:
    own(settings.home, "ours", GOOD)
    own(settings.home, "phone-edge", GOOD)
    found = presets(settings)
    assert list(found)[-2:] == ["ours", "phone-edge"]
    assert found["ours"].own
    assert found["ours"].shares == {Axis.EFFICIENCY: 0.25, Axis.SPEED: 0.25, Axis.PERFORMANCE: 0.5}
    assert found["phone-edge"].title == "Ours"


def test_a_workload_in_a_file_says_only_what_is_unusual(tmp_path: Path) -> None:
    path = own(tmp_path, "ours", GOOD + '[[workloads]]\nname = "short_chat"\nrequests = 33\n')
    (spec,) = read_preset(path).workloads
    assert (spec.requests, spec.prompt_tokens, spec.output_tokens) == (33, 128, 64)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title = [", "not valid TOML"),
        ("", "title: Field required"),
        (GOOD + "colour = 3\n", "colour: Extra inputs are not permitted"),
        (GOOD.replace("speed = 1", "speed = -1"), "weights: weights must not be negative"),
        (GOOD.replace("speed = 1", "speed = inf"), "weights: weights must not be negative"),
        (GOOD.replace("speed = 1, ", ""), "weights: give a weight to each of efficiency, speed, performance"),
        (GOOD.replace("= 1, speed = 1, performance = 2", "= 0, speed = 0, performance = 0"), "must be above 0"),
        (GOOD.replace("speed", "beauty"), "weights.beauty"),
        (GOOD + 'limits = ["peak_memory_bytes"]\n', "limits: 'peak_memory_bytes' is not a limit"),
        (GOOD + 'limits = ["beauty >= 3"]\n', "limits: There is no figure named 'beauty'"),
        (GOOD + 'limits = ["peak_memory_bytes <= 3 s"]\n', "'s' in"),
        (GOOD + '[axes]\nspeed = ["accuracy"]\n', "axes: 'accuracy' is no figure of speed"),
        (GOOD + '[axes]\nspeed = ["__class__"]\n', "is no figure of speed"),
        (GOOD + '[[workloads]]\nname = "dance"\n', "there is no workload named 'dance'"),
        (GOOD + '[[workloads]]\nname = "short_chat"\nrequests = 0\n', "workloads.0.requests"),
        ("x = " + "[" * 20_000, "not valid TOML"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_broken_file_says_what_is_wrong_and_hides_nothing_else(tmp_path: Path, text: str, says: str) -> None:
    path = own(tmp_path, "phone-edge", text)
    with pytest.raises(PresetError) as caught:
        read_preset(path)
    assert "phone-edge.toml" in str(caught.value)
    assert says in str(caught.value)
    found, problems = load_presets(tmp_path)
    assert "phone-edge" not in found, "the built-in one must not stand in for it"
    assert "tool-agent" in found
    assert len(problems) == 1
    with pytest.raises(PresetError, match=r"phone-edge\.toml"):
        find_preset("phone-edge", tmp_path)


def test_names_and_kinds_of_files_are_checked(tmp_path: Path) -> None:
    own(tmp_path, "<b>Big [one]", GOOD)
    folder = tmp_path / "presets"
    (folder / "bytes.toml").write_bytes(b"\xff\xfe")
    os.mkfifo(folder / "pipe.toml")
    _, problems = load_presets(tmp_path)
    assert len(problems) == 3
    assert any("small letters" in problem for problem in problems)
    assert any("is not a file" in problem for problem in problems)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "presets/../../secret", ""])
def test_a_name_never_leaves_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.toml").write_text(GOOD)
    own(tmp_path, "ours", GOOD)
    with pytest.raises(PresetError, match=r"no preset named.*Known: .*ours"):
        find_preset(name, tmp_path)
