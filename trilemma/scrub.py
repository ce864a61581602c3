"""Texts as they may leave the machine: no folder of it, no key, no character that is not seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

_PART = r"[^\s/\\\"'<>:;,|()\[\]{}]+"
_POSIX = re.compile(rf"(?<![\w/.<])/(?:{_PART}/)+({_PART})?")
_WINDOWS = re.compile(rf"(?<!\w)[A-Za-z]:(?:\\+|/)(?:{_PART}(?:\\+|/))*({_PART})?")
_SECRETS = (
    (re.compile(r"://[^/@\s\"'<>]+@"), "://"),
    (re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?:\w+\s+)?)[^\s\"']+"), r"\1[removed]"),
    (re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]{8,}"), r"\1 [removed]"),
    (re.compile(r"\b(?:hf_|gsk_|ghp_|github_pat_)\w{12,}|\bsk-[\w-]{20,}"), "[removed]"),
    (re.compile(r"(?i)\b(api[_-]?key|secret|password|token)(\"?\s*=\s*\"?)[^\s\"'&,;]{4,}"), r"\1\2[removed]"),
)

_SEPARATORS = {"\u2028": " ", "\u2029": " "}


class Scrubber:
    """Cleans texts of one store.

    A path is cut to its last part, whether it looks like one or is known (a folder's name may hold spaces). What looks
    like a key or a password is removed: no part of Trilemma stores one, but an error of another program may quote it.

    Args:
        known_paths: Absolute paths that the store holds; others, such as addresses, are left alone.
        addresses: Of servers, to be cut out too: ``http://10.0.0.5:8000/v1``.
    """

    def __init__(self, known_paths: Iterable[str] = (), addresses: Iterable[str] = ()) -> None:
        # A server's own messages name it without the route.
        places = {part for one in addresses for part in (one, urlsplit(one).netloc) if part}
        self._addresses = sorted(places, key=lambda place: (-len(place), place))
        folders = {str(parent) for path in known_paths for parent in _parents(path)}
        self._folders = sorted(folders, key=lambda folder: (-len(folder), folder))

    def text(self, text: str) -> str:
        """``text`` without folders, keys and characters that are not seen."""
        flat = text
        if not text.isprintable():
            flat = "".join(_SEPARATORS.get(c, c) for c in text if c in "\n\t" or _seen(c))
        for pattern, instead in _SECRETS:
            flat = pattern.sub(instead, flat)
        for address in self._addresses:
            flat = flat.replace(address, "[address]")
        if "/" not in flat and "\\" not in flat:
            return flat
        flat = flat.replace("file://", "")
        for folder in self._folders:
            flat = flat.replace(f"{folder}/", "…/").replace(f"{folder}\\", "…/")
        return _WINDOWS.sub(_last_part, _POSIX.sub(_last_part, flat))

    def deep(self, value: Any) -> Any:
        """``value`` with every text in it cleaned, keys of mappings included; tuples become lists."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.deep(key): self.deep(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.deep(one) for one in value]
        return value


def _seen(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs")


def _last_part(match: re.Match[str]) -> str:
    return f"…/{match[1] or ''}"


def _parents(path: str) -> list[PurePosixPath] | list[PureWindowsPath]:
    if path.startswith("/"):
        return [parent for parent in PurePosixPath(path).parents if len(parent.parts) > 1]
    windows = PureWindowsPath(path)
    return [parent for parent in windows.parents if len(parent.parts) > 1] if windows.drive else []
