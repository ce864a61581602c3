"""Small TOML files that a team edits: read with messages that name the file and the field."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from trilemma.errors import TrilemmaError

_MAX_BYTES = 64 * 1024
_MAX_FILES = 200
_Made = TypeVar("_Made")


def read_toml(
    path: Path, make: Callable[[Mapping[str, Any]], _Made], *, what: str, error: type[TrilemmaError], advice: str
) -> _Made:
    """What ``make`` makes of the content of one file.

    Args:
        path: The file.
        make: May raise pydantic's ``ValidationError`` or ``error``.
        what: What the file is, in messages: "preset".
        error: What is raised.
        advice: What to do, in messages.

    Raises:
        TrilemmaError: the file cannot be read, or a field is missing, unknown or out of range; of the type ``error``.
    """
    try:
        if not path.is_file():
            raise error(f"The {what} {path.name} is not a file.", advice)
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise error(f"The {what} {path.name} is larger than {_MAX_BYTES // 1024} KiB.", advice)
        return make(tomllib.loads(data.decode()))
    except OSError as reason:
        raise error(f"The {what} {path.name} cannot be read ({reason.strerror}).", advice) from reason
    except ValidationError as reason:
        first = reason.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        if where == "name":
            where = "the file's name (small letters, digits, dots and dashes)"
        words = first["msg"].removeprefix("Value error, ").rstrip(".")
        raise error(f"The {what} {path.name}: {where}: {words}.", advice) from reason
    except (ValueError, RecursionError) as reason:
        words = str(reason).splitlines()[0][:200]
        raise error(f"The {what} {path.name} is not valid TOML: {words}", advice) from reason


def read_folders(
    package: str, own: Path | None, read: Callable[[Path, bool], _Made]
) -> tuple[dict[str, _Made], list[str]]:
    """What ``read`` makes of the files of a package's folder ``data``, and over them of those in a team's own folder.

    Args:
        package: Its name.
        own: The team's folder, if there is one.
        read: Is told the file and whether it is the team's own; raises a TrilemmaError for one that is wrong.

    Returns:
        By the files' names without suffix, and what is wrong with those that could not be read.
    """
    found: dict[str, _Made] = {}
    problems: list[str] = []
    for path, is_own in _files(package, own):
        try:
            found[path.stem] = read(path, is_own)
        except TrilemmaError as error:
            found.pop(path.stem, None)  # a broken one of the team's own shall not silently be the built-in one
            problems.append(str(error))
    return found, problems


def _files(package: str, own: Path | None) -> Iterator[tuple[Path, bool]]:
    with resources.as_file(resources.files(package) / "data") as folder:
        yield from ((path, False) for path in sorted(folder.glob("*.toml")))
    if own is not None:
        yield from ((path, True) for path in sorted(own.glob("*.toml"))[:_MAX_FILES])
