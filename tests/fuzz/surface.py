"""What a fuzzed surface is: inputs, and what must hold of every one of them.

The property is the same everywhere: a :class:`TrilemmaError` or a valid result, nothing else raised; nothing written
and nothing read outside the scratch folder, no program started, no connection made. What is checked beyond that is the
surface's own.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis.strategies import SearchStrategy

from trilemma.errors import TrilemmaError

ROOT = Path(__file__).resolve().parents[2]


class Surface(NamedTuple):
    """Something that takes input from outside.

    Attributes:
        name: What people call it.
        inputs: Hostile and nearly right ones.
        check: Tries one; raises AssertionError, or anything else but a TrilemmaError, where something is wrong.
        examples: Inputs that once were findings, and worst cases that chance does not meet.
        few: How many inputs a normal test run tries.
        share: How many of a campaign's inputs it gets, in proportion to the others.
        watched: Whether what it does to files, processes and the network is looked at.
        prepare: What has to be there before, made once.
    """

    name: str
    inputs: SearchStrategy[Any]
    check: Callable[[Any], None]
    examples: tuple[Any, ...] = ()
    few: int = 25
    share: float = 1.0
    watched: bool = True
    prepare: Callable[[], object] = lambda: None

    def run(self, value: Any) -> None:
        """Try one input."""
        self.prepare()
        try:
            if self.watched:
                with guarded():
                    self.check(value)
            else:
                self.check(value)
        except TrilemmaError as error:
            assert error.message, "an error that says nothing"
        except BaseException as error:
            # A panic of a library in Rust is no Exception; hypothesis would take it for the user's wish to stop.
            if type(error).__name__ == "PanicException":
                raise AssertionError(f"a library panicked: {error}") from error
            raise


@functools.cache
def scratch() -> Path:
    """This process's folder for what is tried; gone when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="trilemma-fuzz-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def put(name: str, content: bytes | str) -> Path:
    """A file of that name in the scratch folder, with this content."""
    path = scratch() / name
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    with open(path, "wb") as file:  # noqa: PTH123 -- Path.write_bytes takes twice as long
        file.write(data)
    return path


def removed(folder: Path) -> Path:
    """``folder``, which is gone now with all that was in it; what is done for that is not looked at."""
    _state.seen, kept = None, getattr(_state, "seen", None)
    shutil.rmtree(folder, ignore_errors=True)
    _state.seen = kept
    return folder


_FORBIDDEN = frozenset({
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "subprocess.Popen",
    "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
    "pickle.find_class", "ctypes.dlopen", "webbrowser.open", "urllib.Request", "os.kill", "os.putenv",
})  # fmt: skip
_CHANGING = frozenset({
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile", "os.chdir",
})  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READABLE = (
    sys.prefix, sys.base_prefix, str(ROOT), "/proc/", "/sys/", "/dev/urandom", "/dev/null", "/usr/share/zoneinfo",
    "/usr/lib", "/etc/localtime", "/etc/mime.types",
    str(Path.home().resolve() / ".streamlit" / "secrets.toml"),  # whether a log-in is configured
)  # fmt: skip
_state = threading.local()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    seen: list[str] | None = getattr(_state, "seen", None)
    if seen is None:
        return
    if event in _FORBIDDEN:
        seen.append(f"{event}{arguments!r:.300}")
    elif event == "open":
        path, _, flags = arguments
        if not isinstance(path, int) and not _allowed(path, bool((flags or 0) & _WRITING)):
            seen.append(f"open {path!r} with flags {flags}")
    elif event in _CHANGING and not all(
        _allowed(one, True) for one in arguments if isinstance(one, str | bytes | Path)
    ):
        seen.append(f"{event}{arguments!r:.300}")


def _allowed(path: Any, writing: bool) -> bool:
    _state.seen, kept = None, _state.seen  # looking at a path is no finding
    try:
        plain = os.path.realpath(os.fsdecode(path))
        return plain.startswith(str(scratch())) or (not writing and plain.startswith(_READABLE))
    except ValueError:  # a zero byte: the system refuses it by itself
        return True
    finally:
        _state.seen = kept


@functools.cache
def _installed() -> None:
    sys.addaudithook(_hook)


@contextmanager
def guarded() -> Iterator[None]:
    """Fails where what runs inside, in this thread, starts a program, connects, or touches files of others."""
    scratch()
    _installed()
    found: list[str] = []
    _state.seen = found
    try:
        yield
    finally:
        _state.seen = None
    assert not found, f"it reached out of its folder: {found[:3]}"
