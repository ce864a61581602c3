"""What of SQLite's files is on the disk: every write and every sync is recorded, and a power cut may come after each.

SQLite is asked to open files through a copy of its own layer for the system (a "VFS", https://sqlite.org/vfs.html)
whose writes, truncations, syncs and deletions are noted. A power cut then leaves what had been synced, and of what had
not: nothing, all, the first writes, any of them, and of one of them perhaps only some sectors.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

SECTOR = 512
"""Bytes that a disk writes as one."""

_OK = 0
_METHODS = (
    "xClose", "xRead", "xWrite", "xTruncate", "xSync", "xFileSize", "xLock", "xUnlock", "xCheckReservedLock",
    "xFileControl", "xSectorSize", "xDeviceCharacteristics", "xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap",
    "xFetch", "xUnfetch",
)  # fmt: skip
_FUNCTIONS = (
    "xOpen", "xDelete", "xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose", "xRandomness",
    "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64", "xSetSystemCall", "xGetSystemCall",
    "xNextSystemCall",
)  # fmt: skip


class _IoMethods(ctypes.Structure):
    _fields_ = [("iVersion", ctypes.c_int), *((name, ctypes.c_void_p) for name in _METHODS)]


class _Vfs(ctypes.Structure):
    _fields_ = [
        ("iVersion", ctypes.c_int), ("szOsFile", ctypes.c_int), ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p), ("zName", ctypes.c_char_p), ("pAppData", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in _FUNCTIONS),
    ]  # fmt: skip


_POINTER, _INT, _INT64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _POINTER, _INT, _POINTER)
_DELETE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT)
_WRITE = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, _INT, _INT64)
_TRUNCATE = ctypes.CFUNCTYPE(_INT, _POINTER, _INT64)
_SYNC = ctypes.CFUNCTYPE(_INT, _POINTER, _INT)


class Write(NamedTuple):
    """So many bytes at an offset."""

    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file is cut to so many bytes."""

    size: int


class Event(NamedTuple):
    """Something that happened to a file, or that the caller noted (``what`` is then its note)."""

    what: str
    """``write``, ``truncate``, ``sync``, ``delete``, ``delete synced`` or ``note``."""
    file: str
    change: Write | Truncate | None = None


class Recording:
    """Everything that SQLite did to files below a folder, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder.resolve())
        self.events: list[Event] = []

    def note(self, text: str) -> None:
        """Something that the caller has been told, and that must therefore be on the disk."""
        self.events.append(Event("note", text))

    def takes(self, path: str) -> bool:
        """Whether a file is recorded; the shared memory of the write-ahead log does not outlive its processes."""
        return path.startswith(self.folder + "/") and not path.endswith("-shm")


@contextmanager
def recorded(folder: Path) -> Iterator[Recording]:
    """Record what this process's SQLite does below ``folder`` from now on; open no database before.

    Raises:
        OSError: the functions of SQLite that this needs cannot be reached in this Python.
    """
    shim = _Shim(Recording(folder))
    try:
        yield shim.recording
    finally:
        shim.remove()


_shims: list[_Shim] = []
"""Kept for ever: a connection that was opened meanwhile goes on calling them."""


class _Shim:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._paths: dict[int, str] = {}
        self._copies: dict[int, _IoMethods] = {}
        library = ctypes.CDLL(_sqlite3.__file__)
        try:
            find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
            self._unregister = library.sqlite3_vfs_unregister
        except AttributeError as error:
            raise OSError("SQLite is built into this Python so that its functions cannot be reached") from error
        find.restype = ctypes.c_void_p
        self._default = _Vfs.from_address(find(None))
        self._vfs = _Vfs()
        ctypes.pointer(self._vfs)[0] = self._default  # a copy of all fields
        self._vfs.zName, self._vfs.pNext = b"recorded", None
        self._open = _OPEN(self._default.xOpen)
        self._delete = _DELETE(self._default.xDelete)
        self._kept: list[Any] = [_OPEN(self._on_open), _DELETE(self._on_delete)]
        self._vfs.xOpen, self._vfs.xDelete = (_address(one) for one in self._kept)
        _shims.append(self)
        register(ctypes.byref(self._vfs), 1)

    def remove(self) -> None:
        self._unregister(ctypes.byref(self._vfs))

    def _on_open(self, vfs: int, name: int | None, file: int, flags: int, out: int | None) -> int:
        result = self._open(vfs, name, file, flags, out)
        path = ctypes.string_at(name).decode() if name else ""
        if result == _OK and self.recording.takes(path):
            self._paths[file] = path
            methods = ctypes.c_void_p.from_address(file)
            assert methods.value is not None
            if methods.value not in self._copies:
                self._copies[methods.value] = self._patched(methods.value)
            methods.value = ctypes.addressof(self._copies[methods.value])
        return int(result)

    def _on_delete(self, vfs: int, name: int, sync_folder: int) -> int:
        path = ctypes.string_at(name).decode()
        if self.recording.takes(path):
            self.recording.events.append(Event("delete synced" if sync_folder else "delete", path))
        return int(self._delete(vfs, name, sync_folder))

    def _patched(self, address: int) -> _IoMethods:
        original, copy = _IoMethods.from_address(address), _IoMethods()
        ctypes.pointer(copy)[0] = original
        write, truncate, sync = _WRITE(original.xWrite), _TRUNCATE(original.xTruncate), _SYNC(original.xSync)
        events, paths = self.recording.events, self._paths

        def on_write(file: int, data: int, size: int, offset: int) -> int:
            events.append(Event("write", paths[file], Write(offset, ctypes.string_at(data, size))))
            return int(write(file, data, size, offset))

        def on_truncate(file: int, size: int) -> int:
            events.append(Event("truncate", paths[file], Truncate(size)))
            return int(truncate(file, size))

        def on_sync(file: int, flags: int) -> int:
            result = int(sync(file, flags))
            if result == _OK:  # only now is it on the disk
                events.append(Event("sync", paths[file]))
            return result

        callbacks = [_WRITE(on_write), _TRUNCATE(on_truncate), _SYNC(on_sync)]
        self._kept += callbacks
        copy.xWrite, copy.xTruncate, copy.xSync = (_address(one) for one in callbacks)
        return copy


def _address(function: Any) -> int | None:
    return ctypes.cast(function, ctypes.c_void_p).value


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    there: bool = False
    """Whether its name is on the disk, which it is after its first sync: SQLite then syncs the folder too."""
    pending: list[Write | Truncate] = field(default_factory=list)


class PowerCut(NamedTuple):
    """What is found when the power is back."""

    at: int
    """After how many events it went."""
    manner: str
    files: dict[str, bytes]
    """By path; a file whose name had not reached the disk may be missing."""
    noted: tuple[str, ...]


MANNERS = ("nothing unsynced", "everything", "the first writes", "any writes", "the first writes, one torn")


def power_cuts(events: Sequence[Event], at: Sequence[int], generator: random.Random) -> Iterator[PowerCut]:
    """The disk after a power cut that follows the first ``n`` events, for each ``n`` of ``at``."""
    files: dict[str, _File] = {}
    gone: dict[str, _File] = {}
    noted: list[str] = []
    wanted = sorted(at)
    for number in range(len(events) + 1):
        while wanted and wanted[0] == number:
            wanted.pop(0)
            manner = generator.choice(MANNERS)
            yield PowerCut(number, manner, _left(files, gone, manner, generator), tuple(noted))
        if number < len(events):
            _follow(events[number], files, gone, noted)


def _follow(event: Event, files: dict[str, _File], gone: dict[str, _File], noted: list[str]) -> None:
    if event.what == "note":
        noted.append(event.file)
        return
    if event.what.startswith("delete"):
        old = files.pop(event.file, None)
        gone.pop(event.file, None)
        if old is not None and event.what == "delete":  # its folder was not synced: it may come back
            gone[event.file] = old
        return
    file = files.setdefault(event.file, _File())
    if event.change is not None:
        file.pending.append(event.change)
    else:
        _apply(file.durable, file.pending)
        if not file.there:  # the first sync of a new file syncs its folder, and so what was deleted from it
            gone.clear()
        file.pending, file.there = [], True


def _left(files: dict[str, _File], gone: dict[str, _File], manner: str, generator: random.Random) -> dict[str, bytes]:
    left = {}
    for path, file in files.items():
        if not file.there and (manner == "nothing unsynced" or generator.random() < 0.5):
            continue
        content = bytearray(file.durable)
        _apply(content, _survivors(file.pending, manner, generator))
        left[path] = bytes(content)
    for path, file in gone.items():
        if path not in left and file.there and generator.random() < 0.5:
            left[path] = bytes(file.durable)
    return left


def _survivors(pending: list[Write | Truncate], manner: str, generator: random.Random) -> list[Write | Truncate]:
    if manner == "nothing unsynced":
        return []
    if manner == "everything":
        return pending
    if manner == "any writes":
        return [change for change in pending if generator.random() < 0.5]
    first = pending[: generator.randint(0, len(pending))]
    if manner.endswith("torn") and first and isinstance(last := first[-1], Write):
        return [*first[:-1], *_torn(last, generator)]
    return first


def _torn(write: Write, generator: random.Random) -> list[Write]:
    """Some of the sectors of a write."""
    pieces = [
        Write(write.offset + start, write.data[start : start + SECTOR]) for start in range(0, len(write.data), SECTOR)
    ]
    return [piece for piece in pieces if generator.random() < 0.5]


def _apply(content: bytearray, changes: Sequence[Write | Truncate]) -> None:
    for change in changes:
        if isinstance(change, Truncate):
            del content[change.size :]
            content.extend(bytes(max(0, change.size - len(content))))
        else:
            content.extend(bytes(max(0, change.offset - len(content))))
            content[change.offset : change.offset + len(change.data)] = change.data
