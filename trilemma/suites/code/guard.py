"""The other side of :mod:`trilemma.suites.code.sandbox`: shuts itself in, then runs a program and its tests.

Started as a script, isolated (``-I -S -B``), with the limits as its only argument. Three processes: the outermost waits
and kills what is left over; the middle one, the first of its process namespace, sets up the rest and waits; the
innermost runs the program.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import resource
import signal
import sys
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DEVICES = ("/dev/null", "/dev/urandom")
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
_WORK = "/work"
_REASON = 500


def _beside(name: str) -> Any:
    """A module out of this file's folder, which is not on the path of an isolated interpreter."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kernel = _beside("kernel")


def _works(step: Callable[[], None]) -> bool:
    try:
        step()
    except OSError:
        return False
    return True


def _readable() -> list[str]:
    """The standard library and the shared libraries it needs; of folders within each other the outer one."""
    wanted = {*_LIBRARIES, *sys.path, f"{sys.base_prefix}/lib"}
    found = sorted(os.path.normpath(path) for path in wanted if path and Path(path).exists())
    return [path for path in found if not any(path.startswith(f"{other}/") for other in found)]


def _open_to_all(path: str) -> bool:
    """Whether every user may enter ``path`` and the folders above it."""
    return all(part.stat().st_mode & 0o001 for part in (Path(path), *Path(path).parents))


def _namespaces(user: int) -> tuple[bool, bool, bool]:
    """Leave the parent's namespaces; returns whether those of the network, processes and users are new."""
    rest = kernel.NEW_NET | kernel.NEW_PID | kernel.NEW_IPC | kernel.NEW_UTS
    if os.geteuid() == 0:
        if _works(lambda: kernel.unshare(rest)):
            return True, True, False
        # A container's root has often no right to it, while a user namespace gives it to everyone.
        if not all(map(_open_to_all, sys.path[1:])) or not _works(lambda: kernel.become(user)):
            return False, False, False
    own, group = os.geteuid(), os.getegid()
    if not _works(lambda: kernel.unshare(kernel.NEW_USER | rest)):
        return False, False, False
    kernel.map_user(own, group)
    return True, True, True


def _limit(limits: dict[str, int]) -> None:
    for name, value, hard in (
        # The soft limit ends the process with a signal of its own, which one may ignore, the hard one with SIGKILL.
        (resource.RLIMIT_CPU, limits["cpu_s"], limits["cpu_s"] + 1),
        (resource.RLIMIT_AS, limits["memory_bytes"], limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"], limits["file_bytes"]),
        (resource.RLIMIT_NOFILE, limits["open_files"], limits["open_files"]),
        (resource.RLIMIT_NPROC, limits["processes"], limits["processes"]),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
        (resource.RLIMIT_MSGQUEUE, 0, 0),
    ):
        most = resource.getrlimit(name)[1]
        least = hard if most == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(name, (min(value, least), least))


def _shut_in(limits: dict[str, int], folder: str, user: int, spaces: tuple[bool, bool, bool]) -> dict[str, str]:
    """All that is done inside the namespaces; returns what protects from what, empty where nothing does."""
    network, processes, _ = spaces
    readable = _readable()
    if _works(lambda: kernel.unshare(kernel.NEW_MOUNTS)) and _works(
        lambda: kernel.own_root(folder, readable, _DEVICES, _WORK, limits["disk_bytes"])
    ):
        rooted, work = True, _WORK
    else:
        rooted, work = False, folder
    os.chdir(work)
    other = os.geteuid() != 0
    if not other and (rooted or all(map(_open_to_all, [*sys.path[1:], folder]))):
        os.chown(work, user, user)
        other = _works(lambda: kernel.become(user))
    kernel.die_with_parent(signal.SIGKILL)
    _limit(limits)
    kernel.forgo_privileges()
    version = kernel.landlock_version()
    locked = version > 0 and _works(lambda: kernel.landlock(readable, _DEVICES, work))
    scoped = locked and version >= 6
    return {
        "network": "namespace" if network else "Landlock" if locked and version >= 4 else "",
        "datagrams": "namespace" if network else "",
        "files": " and ".join(["own root"] * rooted + [f"Landlock {version}"] * locked),
        "disk": "namespace" if rooted else "",
        "processes": "namespace" if processes else "",
        "signals": "namespace" if processes else "Landlock" if scoped else "",
        "forks": "limit" if other else "",
    }


def _read(source: int) -> bytes:
    """One part of what the sandbox sends: its length in eight bytes, and itself."""

    def exactly(length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = os.read(source, min(length - len(data), 1 << 16))
            if not more:
                raise EOFError
            data += more
        return data

    return exactly(int.from_bytes(exactly(8), "big"))


def _reason(error: BaseException) -> str:
    """The program's own exception in words; making them may run code of the program."""
    try:
        return f"{type(error).__name__}: {error}"[:_REASON]
    except BaseException:
        return "an exception that cannot be shown"


def _run(source: int, verdict: int) -> None:
    """The program, then its tests in the same module, then the word that they went through; never returns.

    What is used at the end is bound before the program can replace it.
    """
    write, leave, read, make, execute, flush = os.write, os._exit, _read, compile, exec, sys.stdout.flush
    module = types.ModuleType("program")
    sys.modules["program"] = module
    try:
        for _ in range(2):
            text = read(source).decode("utf-8")
            execute(make(text, "<program>", "exec", dont_inherit=True), module.__dict__)
        flush()
        word = read(source)
    except BaseException as error:
        write(verdict, f"raised {_reason(error)}".encode("utf-8", "replace"))
        with contextlib.suppress(BaseException):
            flush()
        leave(1)
    write(verdict, word)
    leave(0)


def _wait(child: int) -> int:
    """The exit code of ``child``, as a shell tells it."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_all() -> None:
    """Kill every descendant; orphans become children of this process, so that none gets away."""
    while True:
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    # The name, in brackets, may hold anything.
                    parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[1]
                    if int(parent) == os.getpid():
                        os.kill(int(entry.name), signal.SIGKILL)
        try:
            os.wait()
        except ChildProcessError:
            return


def _stop(*_: object) -> None:
    _end_all()
    os._exit(128 + signal.SIGTERM)


def _inner(limits: dict[str, int], folder: str, user: int, spaces: tuple[bool, bool, bool], verdict: int) -> None:
    """The middle process and the innermost; never returns."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    protections = _shut_in(limits, folder, user, spaces)
    os.write(verdict, json.dumps(protections).encode() + b"\n")
    # Nothing to be read from standard input, and the channels under numbers that nobody can know beforehand.
    numbers = random.sample([number for number in range(10, limits["open_files"]) if number != verdict], 2)
    channels = []
    for channel, number in zip((0, verdict), numbers, strict=True):
        os.dup2(channel, number, inheritable=False)
        channels.append(number)
    os.close(verdict)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.closerange(3, min(numbers))
    child = os.fork()
    if child == 0:
        kernel.die_with_parent(signal.SIGKILL)
        _run(*channels)
    for channel in channels:
        os.close(channel)
    os._exit(_wait(child))


def main() -> None:
    """Read the limits, and be the outermost process."""
    given = json.loads(sys.argv.pop())
    limits, folder, verdict = given["limits"], given["folder"], given["verdict"]
    # A user of its own for every sandbox: limits on processes count those of a user.
    user = random.SystemRandom().randrange(1 << 29, 1 << 30)
    kernel.die_with_parent(signal.SIGKILL)
    kernel.adopt_orphans()
    spaces = _namespaces(user)
    kernel.die_with_parent(signal.SIGKILL)
    child = os.fork()
    if child == 0:
        try:
            _inner(limits, folder, user, spaces, verdict)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(125)
    signal.signal(signal.SIGTERM, _stop)
    os.close(verdict)
    os.close(0)
    code = _wait(child)
    _end_all()
    os._exit(code)


if __name__ == "__main__":
    main()
