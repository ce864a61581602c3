"""Device profiles as files: the ones that come with Trilemma, a team's own, and broken ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trilemma.errors import ProfileError, StudyError
from trilemma.limits import usable_cpus
from trilemma.profiles import find_profile, load_profiles, obstacle, on_devices, read_profile
from trilemma.schema import Artifact, Configuration, DeviceProfile, StudySpec, WorkloadSpec
from trilemma.study import plan

CHAT = WorkloadSpec(name="short_chat", prompt_tokens=16, output_tokens=4, requests=1)
GOOD = 'title = "Board"\nstands_for = "A board."\nsource = "ours"\ncores = 1\nmemory = "1 GiB"\nsystem = "256 MiB"\n'
ARTIFACT = Artifact(
    id="a" * 64, path="/m.gguf", model="M", quantization="Q8_0", size_bytes=1, context_length=8192, source="folder"
)


def configuration(**settings: int | None) -> Configuration:
    return Configuration(artifact_id=ARTIFACT.id, engine="llama.cpp", settings=dict(settings))


def test_those_that_come_with_trilemma_are_in_order() -> None:
    found, problems = load_profiles(None)
    assert problems == []
    assert {"phone", "raspberry-pi-5", "raspberry-pi-4gb", "cloud-4vcpu", "edge-2gb"} <= set(found)
    budgets = [profile.device.memory_bytes or 0 for profile in found.values()]
    assert budgets == sorted(budgets)
    assert all(profile.title and profile.stands_for and profile.source for profile in found.values())
    assert found["phone"].device.label == "phone, 2 cores, 2.5 GiB, context 2048"


def test_a_teams_own_comes_beside_and_wins(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "board.toml").write_text(GOOD)
    (folder / "phone.toml").write_text(GOOD)
    found, problems = load_profiles(tmp_path)
    assert problems == []
    assert found["board"].own
    assert found["board"].device.memory_bytes == (1024 - 256) << 20
    assert found["phone"].title == "Board"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cores = [", "not valid TOML"),
        ("", "title: Field required"),
        (GOOD + "speed = 3\n", "speed: Extra inputs are not permitted"),
        (GOOD.replace("cores = 1", "cores = 0"), "cores: "),
        (GOOD.replace('"1 GiB"', '"many"'), "memory: "),
        (GOOD.replace('"256 MiB"', '"2 GiB"'), "system takes all of its memory"),
        (GOOD.replace('"1 GiB"', '"1000000000 TiB"'), "memory: "),
        ("x = " + "[" * 20_000, "not valid TOML"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_broken_file_says_what_is_wrong_and_hides_nothing_else(tmp_path: Path, text: str, says: str) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "phone.toml").write_text(text)
    with pytest.raises(ProfileError) as caught:
        read_profile(folder / "phone.toml")
    assert says in str(caught.value)
    found, problems = load_profiles(tmp_path)
    assert "phone" not in found, "the built-in one must not stand in for it"
    assert "edge-2gb" in found
    assert len(problems) == 1
    with pytest.raises(ProfileError, match=r"phone\.toml"):
        find_profile("phone", tmp_path)


def test_names_and_kinds_of_files_are_checked(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    folder.mkdir()
    (folder / "<b>Big [one].toml").write_text(GOOD)
    (folder / "bytes.toml").write_bytes(b"\xff\xfe")
    os.mkfifo(folder / "pipe.toml")
    _, problems = load_profiles(tmp_path)
    assert len(problems) == 3
    assert any("small letters" in problem for problem in problems)
    assert any("is not a file" in problem for problem in problems)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(ProfileError, match=r"no device profile named 'toaster'.*Known: .*phone"):
        find_profile("toaster", None)


def test_a_device_multiplies_configurations_and_lowers_what_nobody_set() -> None:
    phone = DeviceProfile(name="phone", cores=1, context=1024)
    made = on_devices(
        [configuration(), configuration(context=512), configuration(context=None)], [None, phone], [ARTIFACT]
    )
    assert [(c.profile.name if c.profile else None, c.settings) for c in made] == [
        (None, {}),
        ("phone", {"context": 1024}),
        (None, {"context": 512}),
        ("phone", {"context": 512}),
        (None, {"context": None}),
    ], "the longest that the phone allows is the default lowered to it"
    roomy = DeviceProfile(name="roomy", context=4096)
    assert on_devices([configuration()], [roomy], [ARTIFACT])[0].settings == {}
    assert len({c.id for c in made}) == 5


def planned(one: Configuration) -> None:
    plan(StudySpec(name="s", configurations=(one,), workloads=(CHAT,)), [ARTIFACT])


def test_more_cores_than_there_are_is_refused_when_it_is_planned() -> None:
    many = DeviceProfile(name="many", cores=len(usable_cpus()) + 1)
    assert obstacle(many)
    with pytest.raises(StudyError, match=r"many has \d+ cores, and this machine lets a process use \d+"):
        planned(configuration().model_copy(update={"profile": many}))
    planned(configuration().model_copy(update={"profile": DeviceProfile(name="one", cores=1)}))


def test_a_context_above_the_devices_is_refused_when_it_is_planned() -> None:
    phone = DeviceProfile(name="phone", context=1024)
    with pytest.raises(StudyError, match=r"context of 2000 tokens is longer than the 1024 of phone.*at most 1024"):
        planned(configuration(context=2000).model_copy(update={"profile": phone}))
    with pytest.raises(StudyError, match="context of 2048 tokens"):
        planned(configuration().model_copy(update={"profile": phone}))


def test_a_server_somewhere_is_not_emulated() -> None:
    phone = DeviceProfile(name="phone", context=4096)
    remote = ARTIFACT.model_copy(update={"format": "endpoint"})
    one = configuration().model_copy(update={"profile": phone})
    with pytest.raises(StudyError, match="cannot be limited"):
        plan(StudySpec(name="s", configurations=(one,), workloads=(CHAT,)), [remote])


def test_a_quota_of_cpu_time_is_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may see every CPU and be given the time of one: speeds would be of fewer cores than stated."""
    monkeypatch.setattr("trilemma.limits.cpu_quota", lambda root: 1.0)
    assert "lets a process use 1" in obstacle(DeviceProfile(name="two", cores=2))
    assert obstacle(DeviceProfile(name="one", cores=1)) == ""
