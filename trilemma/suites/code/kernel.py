"""What Linux offers to shut a process in, through its C library: namespaces, a root of its own, Landlock, capabilities.

Only the standard library: :mod:`trilemma.suites.code.guard` loads this file where nothing else can be imported. All
calls raise :class:`OSError` where the kernel lacks the thing or does not permit it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

NEW_USER, NEW_NET, NEW_PID, NEW_IPC, NEW_UTS, NEW_MOUNTS = (
    0x10000000, 0x40000000, 0x20000000, 0x08000000, 0x04000000, 0x00020000,
)  # fmt: skip
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_PDEATHSIG, _DUMPABLE, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 36, 38
_CAPABILITIES_3 = 0x20080522

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 11
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights over files each version of Landlock knows; since version 5 they are 16."""
_TRUNCATE = 1 << 14

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(option: int, value: int) -> None:
    _checked(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0))


def die_with_parent(signal: int) -> None:
    """Be sent ``signal`` when the parent ends."""
    _prctl(_PDEATHSIG, signal)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_SUBREAPER, 1)


def forgo_privileges() -> None:
    """Gain nothing through set-user-id programs, and hold no capability."""
    _prctl(_NO_NEW_PRIVS, 1)
    header = struct.pack("Ii", _CAPABILITIES_3, 0)
    _checked(_LIBC.capset(header, struct.pack("6I", *[0] * 6)))


def become(user: int) -> None:
    """Change from root to ``user``, in no other group than its own."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    # A process that changed its user no longer owns its files under /proc, which map_user writes.
    _prctl(_DUMPABLE, 1)


def unshare(what: int) -> None:
    """Leave the parent's namespaces ``what``."""
    _checked(_LIBC.unshare(what))


def map_user(user: int, group: int) -> None:
    """In a new user namespace: keep this one user and group, the only ones that exist there."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    arguments = [os.fsencode(text) or None for text in (source, target, kind)]
    _checked(_LIBC.mount(*arguments, ctypes.c_ulong(flags), os.fsencode(options) or None))


def own_root(folder: str, readable: Sequence[str], devices: Sequence[str], work: str, disk_bytes: int) -> None:
    """Change to a new root, built over ``folder``, in which nothing exists but ``readable``, ``devices`` and ``work``.

    ``work`` is an empty folder in memory that holds at most ``disk_bytes``; all else is read-only. The caller must have
    a mount namespace of its own.
    """
    _mount("", "/", "", _REC | _PRIVATE)
    _mount("tmpfs", folder, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path in (*readable, *devices):
        target = folder + path
        if Path(path).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).touch()
        _mount(path, target, "", _BIND | _REC)
        if path in devices:
            continue
        # A namespace may not take away the flags that a mount has outside.
        kept = os.statvfs(target).f_flag & (_NOSUID | _NODEV | _NOEXEC)
        _mount("", target, "", _BIND | _REMOUNT | _RDONLY | kept)
    Path(folder + work).mkdir()
    _mount("tmpfs", folder + work, "tmpfs", _NOSUID | _NODEV, f"size={disk_bytes},nr_inodes=1000,mode=777")
    os.chdir(folder)
    _checked(_LIBC.pivot_root(b".", b"."))
    _checked(_LIBC.umount2(b".", _DETACH))
    _mount("", "/", "", _BIND | _REMOUNT | _RDONLY | _NOSUID | _NODEV)


def landlock_version() -> int:
    """Of Landlock's interface; 0 where the kernel has none or it is switched off."""
    return max(0, int(_LIBC.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def landlock(readable: Sequence[str], devices: Sequence[str], work: str) -> None:
    """Only read below ``readable``, read and write ``devices``, and do as one likes in ``work``; execute nothing.

    Where Landlock is new enough, TCP is refused too (version 4), and abstract sockets and signals to processes that
    are not shut in likewise (version 6).
    """
    version = landlock_version()
    every = (1 << _RIGHTS.get(version, 16)) - 1
    fields = [every, 3 if version >= 4 else 0, 3 if version >= 6 else 0]
    used = 3 if version >= 6 else 2 if version >= 4 else 1
    attributes = struct.pack(f"{used}Q", *fields[:used])
    ruleset = _checked(_LIBC.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        rules = [(path, _READ_FILE | (_READ_DIR if Path(path).is_dir() else 0)) for path in readable]
        rules += [(path, _READ_FILE | _WRITE_FILE | _TRUNCATE & every) for path in devices]
        rules.append((work, every & ~(_EXECUTE | _MAKE_SPECIAL)))
        for path, rights in rules:
            with contextlib.suppress(FileNotFoundError):
                _allow(ruleset, path, rights)
        _checked(_LIBC.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _checked(_LIBC.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, folder), 0))
    finally:
        os.close(folder)
