"""What is installed is what was locked: every package at one version, each of its files by its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+?))?(?: \\)?$")


def pins(file: str) -> dict[tuple[str, str], tuple[str, int]]:
    """By name and marker: the version, and how many hashes there are."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    last = ("", "")
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if match := PIN.match(line):
            last = (match[1], match[3] or "")
            assert last not in found
            found[last] = (match[2], 0)
        elif line.strip().startswith("--hash=sha256:"):
            found[last] = (found[last][0], found[last][1] + 1)
        else:
            assert not line or line.startswith("#"), line
    return found


def test_the_hashes_are_those_of_the_versions_that_are_pinned() -> None:
    constraints, locked = pins("constraints.txt"), pins("packaging/locked.txt")
    assert {name: version for name, (version, _) in constraints.items()} == {
        name: version for name, (version, _) in locked.items()
    }, "run `make lock`"
    assert all(hashes for _, hashes in locked.values())
    assert all(hashes for _, hashes in pins("packaging/data.txt").values())


def test_everything_that_the_environment_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [
        *project["dependencies"],
        *(one for extra in ("demo", "dev") for one in project["optional-dependencies"][extra]),
    ]
    names = {re.split(r"[\[<>=!~; ]", one)[0].lower() for one in asked} - {"trilemma"}
    assert names - {name for name, _ in pins("packaging/locked.txt")} == set(), "run `make lock`"
